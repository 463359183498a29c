//! The record of what an object caused at Cloudflare, read and changed by key.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use sha2::{Digest, Sha256};

use crate::api::status::{ChildStatus, Inventory, RecordedAccount, RecordedResource};
use crate::core::id::{AccountId, SourceId};
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::clock;

pub type Entries = BTreeMap<RowKey, Entry>;

/// What is recorded of one row. `row_step::Recorded` is what that means for the next step of the row, and
/// `child_step::OnRecord` what it means to an object that takes the row over.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// When the call that adds it was announced; `None`: it was seen in place.
    pub intended_at: Option<Time>,
    /// The meta that it was last seen with as declared; see [`meta_hash`].
    pub meta: Option<Interned>,
    /// The label that the manifest gave it, for messages once it is declared no longer.
    pub label: Option<Interned>,
}

impl Entry {
    pub fn intended(at: Time) -> Entry {
        Entry { intended_at: Some(at), ..Entry::default() }
    }

    /// An announcement that has settled, as of a row that goes because of us: nothing sent before can take effect any more.
    pub fn settled_long_ago() -> Entry {
        Entry::intended(clock::time(At::default()))
    }

    pub fn of_child(record: &ChildStatus) -> Option<Entry> {
        match (record.confirmed, &record.intended_at) {
            (true, _) => Some(Entry { meta: record.meta_hash.clone(), ..Entry::default() }),
            (false, Some(at)) => Some(Entry::intended(at.clone())),
            (false, None) => None,
        }
    }

    /// Has a child record that of its row: the inverse of [`Entry::of_child`]. While a call is announced, the meta that was
    /// last seen stays known.
    pub fn write_to(entry: Option<&Entry>, record: &mut ChildStatus) {
        record.confirmed = entry.is_some_and(|entry| entry.intended_at.is_none());
        record.intended_at = entry.and_then(|entry| entry.intended_at.clone());
        if record.intended_at.is_none() {
            record.meta_hash = entry.and_then(|entry| entry.meta.clone());
        }
    }

    pub fn labelled(self, label: Option<Interned>) -> Entry {
        Entry { label, ..self }
    }
}

/// Whether what is recorded is `Entry::settled_long_ago`.
pub fn is_settled_long_ago(intended_at: Option<&Time>) -> bool {
    intended_at.is_some_and(|at| clock::from_time(at) == At::default())
}

/// Stands for a meta that was never as declared.
pub const NEVER: &str = "none";

/// What is recorded of a resource's meta; nothing of the empty one, which most have.
pub fn meta_hash(meta: &ResourceMeta) -> Option<Interned> {
    let hash = || Sha256::digest(meta.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    (*meta != ResourceMeta::default()).then(|| hash().into())
}

pub fn entries(inventory: &Inventory) -> Entries {
    let account = |recorded: &RecordedAccount, key: fn(AccountId) -> RowKey| {
        let id = AccountId::parse(&recorded.account_id).ok()?;
        Some((key(id), Entry { intended_at: recorded.intended_at.clone(), meta: None, label: recorded.name.clone() }))
    };
    let recipients = inventory.recipients.iter().filter_map(|r| account(r, RowKey::Recipient));
    let excluded = inventory.excluded.iter().filter_map(|r| account(r, RowKey::Excluded));
    let resources = inventory.resources.iter().filter_map(|r| {
        let key = RowKey::Resource {
            kind: r.kind.clone(),
            id: SourceId::parse(&r.id).ok()?,
            account: AccountId::parse(&r.account_id).ok()?,
        };
        Some((key, Entry { intended_at: r.intended_at.clone(), meta: r.meta_hash.clone(), label: r.name.clone() }))
    });
    recipients.chain(excluded).chain(resources).collect()
}

pub fn inventory(entries: &Entries) -> Inventory {
    let mut inventory = Inventory::default();
    for (key, Entry { intended_at, meta, label }) in entries {
        let account = |id: &AccountId| RecordedAccount {
            account_id: id.as_str().into(),
            intended_at: intended_at.clone(),
            name: label.clone(),
        };
        match key {
            RowKey::Recipient(id) => inventory.recipients.push(account(id)),
            RowKey::Excluded(id) => inventory.excluded.push(account(id)),
            RowKey::Resource { kind, id, account } => inventory.resources.push(RecordedResource {
                kind: kind.clone(),
                id: id.as_str().into(),
                account_id: account.as_str().into(),
                intended_at: intended_at.clone(),
                name: label.clone(),
                meta_hash: meta.clone(),
            }),
        }
    }
    inventory
}
