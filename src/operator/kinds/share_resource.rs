//! What a ShareResource declares and records.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{Child, RowStatus, resource};
use crate::api::policy::DeletionPolicy;
use crate::api::status::{ChildStatus, ResourceStatus};
use crate::api::{Name, ObjectKey, ShareResource};
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::operator::cluster::child_object::ChildObject;
use crate::operator::cluster::index::Related;
use crate::operator::remote::observed_share::ObservedShare;

impl RowStatus for ResourceStatus {
    fn record(&self) -> &ChildStatus {
        &self.child
    }

    fn record_mut(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn report_row(&mut self, key: &RowKey, seen: Option<&ObservedShare>) {
        let row = seen.and_then(|seen| seen.resource(key));
        self.share_resource_id = row.map(|row| row.id.to_string());
        self.version = row.and_then(|row| row.resource_version);
        self.remote_status = row.map(|row| row.status.to_string());
    }
}

impl Child for ShareResource {}

impl ChildObject for ShareResource {
    fn object_key(&self) -> ObjectKey {
        Self::key(Name::of(self))
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn share(&self) -> Name {
        Name::new(self.namespace().unwrap_or_default(), self.spec.share_ref.name.clone())
    }

    fn row(&self, owner: &AccountId) -> Result<RowKey, String> {
        resource(&self.spec.kind, &self.spec.id, self.spec.account_id.as_deref(), owner)
    }

    fn label(&self) -> Option<Interned> {
        self.spec.name.clone()
    }

    fn wanted_meta(&self) -> ResourceMeta {
        self.spec.meta.clone().unwrap_or_default()
    }

    fn retains(&self) -> bool {
        self.spec.deletion_policy == Some(DeletionPolicy::Retain)
    }

    fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    fn record(&self) -> Option<&ChildStatus> {
        self.status.as_ref().map(|status| &status.child)
    }
}
