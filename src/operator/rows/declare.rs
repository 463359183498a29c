//! Which recipients and resources of a share are declared, and by whom.
//!
//! Entries of the Share itself and child objects mean the same. Where several declare one key, the entry in the
//! Share wins, then the older object, then the name.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Map, Value};

use crate::api::share::{DeletionPolicy, RecipientEntry, ResourceEntry};
use crate::api::status::ChildStatus;
use crate::api::{FINALIZER, Share, ShareRecipient, ShareResource};
use crate::core::id::{AccountId, SourceId};
use crate::operator::child::ChildTelling;
use crate::operator::cluster::objects::Objects;
use crate::operator::cluster::record::Recorded;
use crate::operator::key::{Kind, Name, ObjectKey, RowKey};

/// One declared row.
#[derive(Debug, Clone)]
pub struct Declaration {
    pub label: Option<String>,
    pub meta: Map<String, Value>,
    pub by: By,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Share,
    Child(ObjectKey),
}

/// An object of its own that declares one row of a share.
pub trait Child: Recorded<Status: ChildTelling> {
    fn share(&self) -> Name;
    /// The row it declares, in a share of that account.
    fn row(&self, owner: &AccountId) -> Result<RowKey, String>;
    fn label(&self) -> Option<String>;
    fn wanted_meta(&self) -> Map<String, Value>;
    fn retains(&self) -> bool;
    fn is_suspended(&self) -> bool;
    fn record(&self) -> Option<&ChildStatus>;

    fn is_doomed(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Its record is its own, so its row is looked after whatever happens.
    fn is_settled_in(&self) -> bool {
        let bound = self.record().is_some_and(|record| record.bound_uid == self.uid());
        bound && self.finalizers().iter().any(|f| f == FINALIZER)
    }
}

impl Child for ShareRecipient {
    fn share(&self) -> Name {
        Name::new(self.namespace().unwrap_or_default(), self.spec.share_ref.name.clone())
    }

    fn row(&self, _owner: &AccountId) -> Result<RowKey, String> {
        Ok(RowKey::Recipient(account(&self.spec.account_id, "spec.accountID")?))
    }

    fn label(&self) -> Option<String> {
        self.spec.name.clone()
    }

    fn wanted_meta(&self) -> Map<String, Value> {
        Map::new()
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

impl Child for ShareResource {
    fn share(&self) -> Name {
        Name::new(self.namespace().unwrap_or_default(), self.spec.share_ref.name.clone())
    }

    fn row(&self, owner: &AccountId) -> Result<RowKey, String> {
        resource(&self.spec.kind, &self.spec.id, self.spec.account_id.as_deref(), owner)
    }

    fn label(&self) -> Option<String> {
        self.spec.name.clone()
    }

    fn wanted_meta(&self) -> Map<String, Value> {
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

pub fn account(text: &str, path: &str) -> Result<AccountId, String> {
    AccountId::parse(text).map_err(|error| format!("{path}: {error}"))
}

fn resource(kind: &str, id: &str, of: Option<&str>, owner: &AccountId) -> Result<RowKey, String> {
    let account = of.map_or(Ok(owner.clone()), |of| account(of, "resource accountID"))?;
    let id = SourceId::parse(id).map_err(|error| format!("resource id: {error}"))?;
    Ok(RowKey::Resource { kind: kind.to_owned(), id, account })
}

/// The rows that the Share itself declares.
pub fn inline(share: &Share, owner: &AccountId) -> Result<BTreeMap<RowKey, Declaration>, String> {
    let mut rows = BTreeMap::new();
    let entry = |label: &Option<String>| Declaration { label: label.clone(), meta: Map::new(), by: By::Share };
    let excluded = share.spec.organization.iter().flat_map(|organization| &organization.excluded);
    for RecipientEntry { account_id, name } in excluded {
        rows.insert(RowKey::Excluded(account(account_id, "spec.organization.excluded")?), entry(name));
    }
    for RecipientEntry { account_id, name } in share.spec.recipients.iter().flatten() {
        rows.insert(RowKey::Recipient(account(account_id, "spec.recipients")?), entry(name));
    }
    for ResourceEntry { kind, id, account_id, meta, name } in &share.spec.resources {
        let key = resource(kind, id, account_id.as_deref(), owner)?;
        rows.insert(key, Declaration { meta: meta.clone().unwrap_or_default(), ..entry(name) });
    }
    Ok(rows)
}

/// A child object as others see it.
pub struct Sibling {
    pub key: ObjectKey,
    pub row: RowKey,
    pub label: Option<String>,
    pub meta: Map<String, Value>,
    pub doomed: bool,
    pub suspended: bool,
    pub settled_in: bool,
    /// Share and time of announcement in its record.
    pub share_id: Option<String>,
    /// Its record says that the row is there because of it.
    pub holds: bool,
    /// Its removal was refused because it is the last resource.
    pub is_last: bool,
    age: (Option<k8s_openapi::jiff::Timestamp>, bool, String),
}

impl Sibling {
    pub fn of<C: Child>(child: &C, owner: &AccountId) -> Option<Sibling> {
        let record = child.record();
        let last = record
            .and_then(|r| crate::operator::pass::verdict::readiness(&r.common.conditions))
            .is_some_and(|(_, reason)| reason == crate::api::Reason::LastResource.as_str());
        let holds = record.is_some_and(|r| r.bound_uid == child.uid() && r.holds_row());
        Some(Sibling {
            key: C::key(Name::of(child)),
            row: child.row(owner).ok()?,
            label: child.label(),
            meta: child.wanted_meta(),
            doomed: child.is_doomed(),
            suspended: child.is_suspended(),
            settled_in: child.is_settled_in(),
            holds,
            share_id: record.filter(|r| r.bound_uid == child.uid()).and_then(|r| r.share_id.clone()),
            is_last: last,
            // Ages are told in whole seconds: of two in one, who has the row already is the older.
            age: (child.creation_timestamp().map(|t| t.0), !holds, child.name_any()),
        })
    }
}

/// All child objects of a share, the winner of each key first.
pub fn siblings(objects: &Objects, share: &Name, owner: &AccountId) -> Vec<Sibling> {
    let mut all: Vec<Sibling> = objects
        .children(share)
        .into_iter()
        .filter_map(|key| match key.kind {
            Kind::Share => None,
            Kind::ShareRecipient => objects.recipients.find(&key.name).and_then(|c| Sibling::of(c.as_ref(), owner)),
            Kind::ShareResource => objects.resources.find(&key.name).and_then(|c| Sibling::of(c.as_ref(), owner)),
        })
        .collect();
    all.sort_by(|a, b| a.age.cmp(&b.age));
    all
}

/// Everything that is declared for a share, each key with the declaration that wins.
pub fn all(inline: &BTreeMap<RowKey, Declaration>, siblings: &[Sibling]) -> BTreeMap<RowKey, Declaration> {
    let mut rows = inline.clone();
    for sibling in siblings.iter().filter(|sibling| !sibling.doomed) {
        rows.entry(sibling.row.clone()).or_insert_with(|| Declaration {
            label: sibling.label.clone(),
            meta: sibling.meta.clone(),
            by: By::Child(sibling.key.clone()),
        });
    }
    rows
}
