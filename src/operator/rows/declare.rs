//! Which recipients and resources of a share are declared, and by whom.
//!
//! Entries of the Share itself and child objects mean the same. Where several declare one key, the entry in the
//! Share wins, then the older object, then the name.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::share::{ExcludedEntry, RecipientEntry, ResourceEntry};
use crate::api::waiver::Waiver;
use crate::api::{ChildObject, Name, ObjectKey, Share, has_finalizer};
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::sorted::{Ordered, Sorted};
use crate::operator::cluster::index::Index;
use crate::operator::kinds;
use crate::operator::rows::inventory::Entry;

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

/// Whether the Share itself declares the row, in a manifest that can be carried out.
pub fn is_inline(share: &Share, owner: &AccountId, row: &RowKey) -> bool {
    inline(share, owner).is_ok_and(|rows| rows.contains_key(row))
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
    pub child: Arc<dyn ChildObject>,
    pub key: ObjectKey,
    pub row: RowKey,
    /// What its record says of the row, if that is there because of it.
    pub entry: Option<Entry>,
    /// It is out of scope, or late: its row stays, and nobody looks after it.
    pub outside: bool,
    /// It exists, and the watch has not brought it yet.
    pub late: bool,
}

impl Sibling {
    fn of(child: Arc<dyn ChildObject>, owner: &AccountId, is_in_scope: bool, late: bool) -> Option<Sibling> {
        let row = child.row(owner).ok()?;
        let entry = child.own_record().and_then(Entry::of_child);
        let outside = late || !is_in_scope;
        // What is being deleted and never was ours declares nothing.
        let declares = has_finalizer(child.metadata()) || !child.is_deleting();
        if outside && !declares {
            return None;
        }
        Some(Sibling { key: child.object_key(), row, entry, outside, late, child })
    }

    fn declaration(&self) -> Declaration {
        Declaration {
            label: self.child.label(),
            meta: self.child.wanted_meta(),
            waiver: self.child.waiver().cloned(),
            by: By::Child(self.key.clone()),
        }
    }
}

/// Of those that declare a row, the winner comes first, and last those that nobody looks after.
impl Ordered for Sibling {
    fn order(&self, other: &Self) -> Ordering {
        (&self.row, self.outside, self.child.seniority()).cmp(&(&other.row, other.outside, other.child.seniority()))
    }
}

/// All child objects of a share.
pub fn siblings(index: &Index, share: &Name, owner: &AccountId) -> Sorted<Sibling> {
    find(index, share, owner, |_| true)
}

/// Those that declare one row.
pub fn siblings_of_row(index: &Index, share: &Name, owner: &AccountId, row: &RowKey) -> Sorted<Sibling> {
    find(index, share, owner, |child| child.row(owner).is_ok_and(|declared| declared == *row))
}

fn find(index: &Index, share: &Name, owner: &AccountId, wanted: impl Fn(&dyn ChildObject) -> bool) -> Sorted<Sibling> {
    let known = index.children(share).into_iter().filter_map(|key| index.known_child(&key));
    let late = index.late_children(&share.namespace).filter(|child| child.share() == *share);
    let all = known.map(|child| (child, false)).chain(late.map(|child| (child, true)));
    let sibling = |(child, late): (Arc<dyn ChildObject>, bool)| {
        let is_in_scope = index.selector().matches(child.metadata());
        Sibling::of(child, owner, is_in_scope, late)
    };
    all.filter(|(child, _)| wanted(child.as_ref())).filter_map(sibling).collect::<Vec<_>>().into()
}

/// Everything that is declared for a share, each key with the declaration that wins.
pub fn all(inline: &BTreeMap<RowKey, Declaration>, siblings: &[Sibling]) -> BTreeMap<RowKey, Declaration> {
    let mut rows = inline.clone();
    for sibling in siblings.iter().filter(|sibling| !sibling.child.is_deleting() && !sibling.outside) {
        rows.entry(sibling.row.clone()).or_insert_with(|| sibling.declaration());
    }
    rows
}
