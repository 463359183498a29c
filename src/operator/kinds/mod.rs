//! What must be known of a kind: what its objects declare and record. One file each.

mod share_recipient;
mod share_resource;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::ChildObject;
use crate::api::status::ChildStatus;
use crate::core::id::{AccountId, SourceId};
use crate::core::row_key::RowKey;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::remote::observed_share::ObservedShare;

/// A status with the part that both child kinds share.
pub trait RowStatus {
    fn record(&self) -> &ChildStatus;
    fn record_mut(&mut self) -> &mut ChildStatus;
    /// Drops all that was recorded and reported of another object's row, but the conditions, whose times go on.
    fn disown(&mut self);
    /// What only this kind reports of its row.
    fn report_row(&mut self, key: &RowKey, seen: Option<&ObservedShare>);
    /// Of which end of a waiver an Event has warned, where the kind has waivers.
    fn waiver_warned(&mut self) -> Option<&mut Option<Time>> {
        None
    }
}

pub trait Child: Reconciled<Status: RowStatus> + ChildObject {}

impl<K: Reconciled<Status: RowStatus> + ChildObject> Child for K {}

/// An account's id in a manifest; `path`: the field that it stands in.
pub fn account(text: &str, path: &str) -> Result<AccountId, String> {
    AccountId::parse(text).map_err(|error| format!("{path}: {error}"))
}

/// The row of a resource that a manifest declares, in a share of `owner`.
pub fn resource(kind: &str, id: &str, of: Option<&str>, owner: &AccountId) -> Result<RowKey, String> {
    let account = of.map_or(Ok(owner.clone()), |of| account(of, "resource accountID"))?;
    let id = SourceId::parse(id).map_err(|error| format!("resource id: {error}"))?;
    Ok(RowKey::Resource { kind: kind.into(), id, account })
}
