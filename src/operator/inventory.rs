//! The record of what an object caused at Cloudflare, read and changed by key.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::status::{Inventory, RecordedAccount, RecordedResource};
use crate::core::id::{AccountId, SourceId};
use crate::core::row::Recorded;
use crate::core::time::At;

use super::clock;
use super::key::RowKey;

/// When a row was announced; `None`: it was seen in place.
pub type Entries = BTreeMap<RowKey, Option<Time>>;

pub fn entries(inventory: &Inventory) -> Entries {
    let account = |recorded: &RecordedAccount, key: fn(AccountId) -> RowKey| {
        let id = AccountId::parse(&recorded.account_id).ok()?;
        Some((key(id), recorded.intended_at.clone()))
    };
    let recipients = inventory.recipients.iter().filter_map(|r| account(r, RowKey::Recipient));
    let excluded = inventory.excluded.iter().filter_map(|r| account(r, RowKey::Excluded));
    let resources = inventory.resources.iter().filter_map(|r| {
        let key = RowKey::Resource {
            kind: r.kind.clone(),
            id: SourceId::parse(&r.id).ok()?,
            account: AccountId::parse(&r.account_id).ok()?,
        };
        Some((key, r.intended_at.clone()))
    });
    recipients.chain(excluded).chain(resources).collect()
}

pub fn inventory(entries: &Entries) -> Inventory {
    let mut inventory = Inventory::default();
    for (key, intended_at) in entries {
        let account = |id: &AccountId| RecordedAccount { account_id: id.to_string(), intended_at: intended_at.clone() };
        match key {
            RowKey::Recipient(id) => inventory.recipients.push(account(id)),
            RowKey::Excluded(id) => inventory.excluded.push(account(id)),
            RowKey::Resource { kind, id, account } => inventory.resources.push(RecordedResource {
                kind: kind.clone(),
                id: id.to_string(),
                account_id: account.to_string(),
                intended_at: intended_at.clone(),
            }),
        }
    }
    inventory
}

/// What a record of an announcement means now.
pub fn recorded(entry: Option<&Option<Time>>, now: At, settle: Duration) -> Recorded {
    match entry {
        None => Recorded::Never,
        Some(None) => Recorded::InPlace,
        Some(Some(intended)) => Recorded::Intended { settled: now.since(clock::from_time(intended)) > settle },
    }
}

/// An announcement that has settled: nothing sent before can take effect any more.
pub fn settled_long_ago() -> Time {
    clock::time(At::default())
}
