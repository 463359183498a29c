//! What a ShareResource declares and records.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{RowStatus, resource};
use crate::api::child_object::{ChildObject, CommonSpec};
use crate::api::status::{ChildStatus, ResourceStatus};
use crate::api::{Kind, ShareResource, ShareResourceSpec};
use crate::core::id::AccountId;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::operator::remote::observed_share::ObservedShare;

impl RowStatus for ResourceStatus {
    fn record(&self) -> &ChildStatus {
        &self.child
    }

    fn record_mut(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn disown(&mut self) {
        *self = ResourceStatus { child: self.child.disowned(), ..ResourceStatus::default() };
    }

    fn report_row(&mut self, key: &RowKey, seen: Option<&ObservedShare>) {
        let row = seen.and_then(|seen| seen.resource(key));
        self.share_resource_id = row.map(|row| row.id.to_string());
        self.version = row.and_then(|row| row.resource_version);
        self.remote_status = row.map(|row| row.status.to_string());
    }
}

impl ChildObject for ShareResource {
    fn kind(&self) -> Kind {
        Kind::ShareResource
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn common_spec(&self) -> CommonSpec<'_> {
        let ShareResourceSpec { share_ref, name, deletion_policy, suspend, .. } = &self.spec;
        CommonSpec { share_ref, name: name.as_ref(), deletion_policy: *deletion_policy, suspend: *suspend }
    }

    fn row(&self, owner: &AccountId) -> Result<RowKey, String> {
        resource(&self.spec.kind, &self.spec.id, self.spec.account_id.as_deref(), owner)
    }

    fn wanted_meta(&self) -> ResourceMeta {
        self.spec.meta.clone().unwrap_or_default()
    }

    fn record(&self) -> Option<&ChildStatus> {
        self.status.as_ref().map(|status| &status.child)
    }
}
