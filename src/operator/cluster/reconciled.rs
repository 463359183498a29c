//! What a kind must have so that its status can be written.

use std::fmt::Debug;

use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::index::Related;
use crate::api::status::CommonStatus;
use crate::api::{Share, ShareRecipient, ShareResource};

/// A kind that this operator writes the status of.
pub trait Reconciled:
    Related
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Debug
    + kube::core::object::HasStatus<
        Status: Serialize
                    + DeserializeOwned
                    + Clone
                    + Debug
                    + PartialEq
                    + Default
                    + Send
                    + Sync
                    + AsRef<CommonStatus>
                    + AsMut<CommonStatus>,
    >
{
}

impl Reconciled for Share {}
impl Reconciled for ShareRecipient {}
impl Reconciled for ShareResource {}

/// Whether the status reports the object's present generation.
pub fn reports_generation<K: Reconciled>(object: &K) -> bool {
    let reported = object.status().map(|status| status.as_ref().observed_generation);
    reported == Some(object.meta().generation.unwrap_or(0))
}
