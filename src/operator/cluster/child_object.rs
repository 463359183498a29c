//! What every child object declares and records, whatever its kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::status::ChildStatus;
use crate::api::waiver::Waiver;
use crate::api::{Name, ObjectKey, has_finalizer, is_deleting};
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;

/// An object of its own that declares one row of a share.
pub trait ChildObject: Send + Sync {
    fn object_key(&self) -> ObjectKey;
    fn metadata(&self) -> &ObjectMeta;
    fn share(&self) -> Name;
    /// The row it declares, in a share of that account.
    fn row(&self, owner: &AccountId) -> Result<RowKey, String>;
    fn label(&self) -> Option<Interned>;
    fn wanted_meta(&self) -> ResourceMeta;
    fn retains(&self) -> bool;
    fn is_suspended(&self) -> bool;
    fn record(&self) -> Option<&ChildStatus>;

    /// Until when its failure is accepted.
    fn waiver(&self) -> Option<&Waiver> {
        None
    }

    fn is_deleting(&self) -> bool {
        is_deleting(self.metadata())
    }

    /// What it recorded, if that was written for this very object.
    fn own_record(&self) -> Option<&ChildStatus> {
        self.record().filter(|record| record.bound_uid.as_deref() == self.metadata().uid.as_deref())
    }

    /// Its record is its own, so its row is looked after whatever happens.
    fn has_claimed(&self) -> bool {
        self.own_record().is_some() && has_finalizer(self.metadata())
    }
}
