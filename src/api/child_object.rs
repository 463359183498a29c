//! What every child object declares and records, whatever its kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::condition::{self, Reason};
use super::object::{Kind, Name, ObjectKey, has_finalizer, is_deleting};
use super::policy::DeletionPolicy;
use super::recipient::ShareRef;
use super::status::ChildStatus;
use super::waiver::Waiver;
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;

/// What the specs of all child kinds have.
pub struct CommonSpec<'a> {
    pub share_ref: &'a ShareRef,
    pub name: Option<&'a Interned>,
    pub deletion_policy: Option<DeletionPolicy>,
    pub suspend: Option<bool>,
}

/// An object of its own that declares one row of a share.
pub trait ChildObject: Send + Sync {
    fn kind(&self) -> Kind;
    fn metadata(&self) -> &ObjectMeta;
    fn common_spec(&self) -> CommonSpec<'_>;
    /// The row it declares, in a share of that account.
    fn row(&self, owner: &AccountId) -> Result<RowKey, String>;
    fn record(&self) -> Option<&ChildStatus>;

    fn object_key(&self) -> ObjectKey {
        let ObjectMeta { namespace, name, .. } = self.metadata();
        let name = Name::new(namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
        ObjectKey { kind: self.kind(), name }
    }

    /// The Share that it belongs to.
    fn share(&self) -> Name {
        let namespace = self.metadata().namespace.as_deref().unwrap_or_default();
        Name::new(namespace, self.common_spec().share_ref.name.clone())
    }

    /// Of the objects that declare a row, the one with the least wins. Creation times are in whole seconds: on a tie, the
    /// object that already has the row counts as the older.
    fn seniority(&self) -> (Option<Timestamp>, bool, Option<&str>) {
        let ObjectMeta { creation_timestamp, name, .. } = self.metadata();
        let has_row = self.own_record().is_some_and(ChildStatus::holds_row);
        (creation_timestamp.as_ref().map(|time| time.0), !has_row, name.as_deref())
    }

    /// The share in its record.
    fn share_id(&self) -> Option<&str> {
        self.own_record()?.share_id.as_deref()
    }

    fn label(&self) -> Option<Interned> {
        self.common_spec().name.cloned()
    }

    fn retains(&self) -> bool {
        self.common_spec().deletion_policy == Some(DeletionPolicy::Retain)
    }

    fn is_suspended(&self) -> bool {
        self.common_spec().suspend == Some(true)
    }

    fn wanted_meta(&self) -> ResourceMeta {
        ResourceMeta::default()
    }

    fn conditions(&self) -> &[Condition] {
        self.record().map_or(&[], |record| &record.common.conditions)
    }

    /// Its removal waits, or was refused, because it is the last resource.
    fn is_last(&self) -> bool {
        condition::says(self.conditions(), Reason::LastResource)
    }

    /// It says that a person must act, so its row is not on its way.
    fn is_stalled(&self) -> bool {
        condition::is_stalled(self.conditions())
    }

    /// It says that its row failed, and that its waiver accepts that.
    fn is_waived(&self) -> bool {
        condition::says(self.conditions(), Reason::Waived)
    }

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
