//! Which recipients and resources of a share are declared, and by whom.
//!
//! Entries of the Share itself and child objects mean the same. Where several declare one key, the entry in the
//! Share wins, then the older object, then the name.

use std::collections::BTreeMap;

use crate::api::share::{ExcludedEntry, RecipientEntry, ResourceEntry};
use crate::api::waiver::Waiver;
use crate::api::{Name, ObjectKey, Reason, Share};
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::operator::cluster::child_object::ChildObject;
use crate::operator::cluster::index::Index;
use crate::operator::rows::inventory::Entry;
use crate::operator::{conditions, kinds};

/// One declared row.
#[derive(Debug, Clone)]
pub struct Declaration {
    pub label: Option<Interned>,
    pub meta: ResourceMeta,
    pub waiver: Option<Waiver>,
    pub by: By,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Share,
    Child(ObjectKey),
}

/// The rows that the Share itself declares.
pub fn inline(share: &Share, owner: &AccountId) -> Result<BTreeMap<RowKey, Declaration>, String> {
    let mut rows = BTreeMap::new();
    let entry = |label: &Option<Interned>| Declaration {
        label: label.clone(),
        meta: ResourceMeta::default(),
        waiver: None,
        by: By::Share,
    };
    let excluded = share.spec.organization.iter().flat_map(|organization| &organization.excluded);
    for ExcludedEntry { account_id, name } in excluded {
        rows.insert(RowKey::Excluded(kinds::account(account_id, "spec.organization.excluded")?), entry(name));
    }
    for RecipientEntry { account_id, name, waiver } in share.spec.recipients.iter().flatten() {
        let key = RowKey::Recipient(kinds::account(account_id, "spec.recipients")?);
        rows.insert(key, Declaration { waiver: waiver.as_deref().cloned(), ..entry(name) });
    }
    for ResourceEntry { kind, id, account_id, meta, name } in &share.spec.resources {
        let key = kinds::resource(kind, id, account_id.as_deref(), owner)?;
        rows.insert(key, Declaration { meta: meta.clone().unwrap_or_default(), ..entry(name) });
    }
    Ok(rows)
}

/// A child object as others see it.
pub struct Sibling {
    pub key: ObjectKey,
    pub row: RowKey,
    pub label: Option<Interned>,
    pub meta: ResourceMeta,
    pub waiver: Option<Waiver>,
    pub is_deleting: bool,
    pub suspended: bool,
    /// Its row stays when it goes.
    pub retains: bool,
    pub has_claimed: bool,
    /// The share in its record.
    pub share_id: Option<Interned>,
    /// What its record says of the row, if that is there because of it.
    pub entry: Option<Entry>,
    /// Its removal was refused because it is the last resource.
    pub is_last: bool,
    /// It says that a person must act, so its row is not on its way.
    pub stalled: bool,
    /// It says that its row failed, and that its waiver accepts that.
    pub waived: bool,
    /// It exists though the watch does not show it: its row stays, and nobody looks after it.
    pub outside: bool,
    age: (bool, Option<k8s_openapi::jiff::Timestamp>, bool, String),
}

impl Sibling {
    pub fn of(child: &dyn ChildObject, owner: &AccountId) -> Option<Sibling> {
        let record = child.record();
        let says = |reason| record.is_some_and(|record| conditions::says(&record.common.conditions, reason));
        let own = child.own_record();
        let entry = own.and_then(Entry::of_child);
        let (key, created) = (child.object_key(), child.metadata().creation_timestamp.as_ref().map(|time| time.0));
        Some(Sibling {
            row: child.row(owner).ok()?,
            label: child.label(),
            meta: child.wanted_meta(),
            waiver: child.waiver().cloned(),
            is_deleting: child.is_deleting(),
            suspended: child.is_suspended(),
            retains: child.retains(),
            has_claimed: child.has_claimed(),
            share_id: own.and_then(|record| record.share_id.clone()),
            is_last: says(Reason::LastResource),
            stalled: record.is_some_and(|r| conditions::is_stalled(&r.common.conditions)),
            waived: says(Reason::Waived),
            outside: false,
            // Creation times are in whole seconds. On a tie, the object that already has the row counts as the older.
            age: (false, created, entry.is_none(), key.name.name.to_string()),
            key,
            entry,
        })
    }

    /// A child that the watch does not show, and that therefore wins against no other.
    fn outside(child: &dyn ChildObject, share: &Name, owner: &AccountId) -> Option<Sibling> {
        let mut sibling = Sibling::of(child, owner).filter(|_| child.share() == *share)?;
        sibling.outside = true;
        sibling.age.0 = true;
        Some(sibling)
    }
}

/// All child objects of a share, the winner of each key first, and last those that the watch does not show.
pub fn siblings(index: &Index, share: &Name, owner: &AccountId) -> Vec<Sibling> {
    let watched = index.children(share).into_iter().filter_map(|key| Sibling::of(index.child(&key)?.as_ref(), owner));
    let outside = index.children_outside(&share.namespace).into_iter();
    let outside = outside.filter_map(|child| Sibling::outside(child.as_ref(), share, owner));
    let mut all: Vec<Sibling> = watched.chain(outside).collect();
    all.sort_by(|a, b| a.age.cmp(&b.age));
    all
}

/// Everything that is declared for a share, each key with the declaration that wins.
pub fn all(inline: &BTreeMap<RowKey, Declaration>, siblings: &[Sibling]) -> BTreeMap<RowKey, Declaration> {
    let mut rows = inline.clone();
    for sibling in siblings.iter().filter(|sibling| !sibling.is_deleting && !sibling.outside) {
        rows.entry(sibling.row.clone()).or_insert_with(|| Declaration {
            label: sibling.label.clone(),
            meta: sibling.meta.clone(),
            waiver: sibling.waiver.clone(),
            by: By::Child(sibling.key.clone()),
        });
    }
    rows
}
