//! The same, as Cloudflare itself says it now.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;

use super::resources::Carried;
use super::rows::{Found, Receiver, Rows};
use super::state::{Cell, State};
use crate::api::secret_of;
use crate::cli::cluster::{Cluster, credential};
use crate::cli::progress;
use crate::cli::remote::{Endpoint, Remote, advice};
use crate::cloudflare::{
    AssociationStatus, ExcludedRecipient, Recipient, ResourceStatus, Share, ShareStatus, TargetType,
};
use crate::core::id::{AccountId, ShareId, same};

/// One share as it was read.
pub struct Read {
    pub share: Share,
    recipients: Vec<Recipient>,
    excluded: Vec<ExcludedRecipient>,
    pub at: Timestamp,
}

/// Reads shares, with a line of progress on a terminal.
pub struct Reader<'a> {
    cluster: &'a Cluster,
    endpoint: &'a Endpoint,
    remotes: HashMap<String, Remote>,
    done: usize,
    total: usize,
}

impl<'a> Reader<'a> {
    pub fn new(cluster: &'a Cluster, endpoint: &'a Endpoint, total: usize) -> Reader<'a> {
        Reader { cluster, endpoint, remotes: HashMap::new(), done: 0, total }
    }

    /// What Cloudflare has for this Share; `None`: it says that there is no such share.
    pub async fn read(&mut self, object: &crate::api::Share, id: &str) -> anyhow::Result<Option<Read>> {
        self.done += 1;
        let (done, total) = (self.done, self.total);
        let what = || format!("reading share {done} of {total} from Cloudflare");
        progress::shown(what, self.read_one(object, id)).await
    }

    async fn read_one(&mut self, object: &crate::api::Share, id: &str) -> anyhow::Result<Option<Read>> {
        let secret = secret_of(object);
        if !self.remotes.contains_key(&secret.to_string()) {
            let known = credential(Some(self.cluster), &secret).await?;
            self.remotes.insert(secret.to_string(), self.endpoint.remote(&known)?);
        }
        let remote = self.remotes.get(&secret.to_string()).context("no client")?;
        let account = AccountId::parse(&object.spec.account_id)?;
        let id = ShareId::parse(id)?;
        let failed = |error: crate::cloudflare::Error| anyhow::anyhow!("share {id}: {}", advice(&error));
        let at = Timestamp::now();
        let Some(share) = existing(remote.share(&account, &id).await.map_err(failed)?) else { return Ok(None) };
        let (mut recipients, mut excluded) = (Vec::new(), Vec::new());
        match &share.target_type {
            TargetType::Account => recipients = remote.recipients(&account, &id, share.counts).await.map_err(failed)?,
            TargetType::Organization => excluded = remote.excluded(&account, &id).await.map_err(failed)?,
            TargetType::Other(word) => anyhow::bail!("share {id} has the unknown target {word}"),
        }
        Ok(Some(Read { share, recipients, excluded, at }))
    }
}

/// The share, unless Cloudflare calls it deleted: its rows may still say what they said before.
fn existing(share: Option<Share>) -> Option<Share> {
    share.filter(|share| match share.status {
        ShareStatus::Deleted => false,
        ShareStatus::Active | ShareStatus::Deleting | ShareStatus::Other(_) => true,
    })
}

impl Read {
    /// What is true of all that still receives a share, or is in it, while Cloudflare deletes it.
    fn leaving(&self) -> Option<Cell> {
        match self.share.status {
            ShareStatus::Deleting | ShareStatus::Deleted => {
                Some(Cell::new(State::Leaving, self.share.status.to_string(), "Cloudflare is deleting the share"))
            }
            ShareStatus::Active | ShareStatus::Other(_) => None,
        }
    }

    /// Every account of which Cloudflare or a manifest says something.
    pub fn rows(&self, rows: &Rows) -> Vec<Found> {
        let mut accounts = rows.accounts();
        for row in self.recipients.iter().filter(|row| row.association_status != AssociationStatus::Disassociated) {
            accounts.receives(row.account_id.as_str());
        }
        self.excluded.iter().for_each(|row| accounts.is_excluded(row.account_id.as_str()));
        let mut found = Vec::new();
        if let Some(id) = &self.share.organization_id.as_ref().filter(|_| self.is_for_organization()) {
            found.push(Found {
                receiver: Receiver::Organization(id.to_string()),
                label: None,
                cell: self.organization(),
                declared_by: vec!["Share".into()],
            });
        }
        let before: BTreeMap<Receiver, Found> = rows.all().into_iter().map(|row| (row.receiver.clone(), row)).collect();
        for (account, excluded) in accounts.all() {
            let declared_by = rows.declared_by(&account);
            let receiver = Receiver::Account(account.clone());
            let reported = before.get(&receiver);
            let cell = match excluded {
                true => self.excluded(&account, !declared_by.is_empty()),
                false => self.recipient(&account, !declared_by.is_empty(), reported.map(|row| &row.cell)),
            };
            if let Some(cell) = cell {
                found.push(Found { label: reported.and_then(|row| row.label.clone()), receiver, cell, declared_by });
            }
        }
        found
    }

    fn is_for_organization(&self) -> bool {
        self.share.target_type == TargetType::Organization
    }

    fn organization(&self) -> Cell {
        if let Some(leaving) = self.leaving() {
            return leaving;
        }
        match self.share.counts {
            Some(counts) if counts.associating == 0 => {
                Cell::new(State::InPlace, format!("associated {}", counts.associated), "")
            }
            Some(counts) => {
                let all = counts.associated + counts.associating;
                Cell::new(State::Pending, format!("associated {}/{all}", counts.associated), "")
            }
            None => Cell::unknown("Cloudflare sent no counts of this share"),
        }
    }

    fn excluded(&self, account: &str, declared: bool) -> Option<Cell> {
        let listed = self.excluded.iter().any(|row| same(row.account_id.as_str(), account));
        match (listed, declared) {
            (true, true) => Some(Cell::new(State::Excluded, "excluded", "")),
            (true, false) => Some(Cell::new(State::Unmanaged, "excluded, not declared", "no manifest excludes it")),
            (false, true) => Some(self.leaving().unwrap_or_else(|| {
                Cell::new(State::NotExcluded, "associated, should be excluded", "Cloudflare does not exclude it")
            })),
            (false, false) => None,
        }
    }

    fn recipient(&self, account: &str, declared: bool, reported: Option<&Cell>) -> Option<Cell> {
        let rank = |row: &&Recipient| match row.association_status {
            AssociationStatus::Associated => 0,
            AssociationStatus::Associating | AssociationStatus::Other(_) => 1,
            AssociationStatus::Disassociating => 2,
            AssociationStatus::Disassociated => 3,
        };
        let row = self.recipients.iter().filter(|row| same(row.account_id.as_str(), account)).min_by_key(rank);
        let row = row.filter(|row| row.association_status != AssociationStatus::Disassociated);
        let Some(row) = row else {
            return declared
                .then(|| Cell::new(State::Pending, "absent", "Cloudflare has no such recipient in the share"));
        };
        if let Some(leaving) = self.leaving() {
            return Some(leaving);
        }
        let word = row.association_status.to_string();
        if row.association_status == AssociationStatus::Disassociating {
            return Some(Cell::new(State::Leaving, word, ""));
        }
        if !declared {
            return Some(match reported {
                Some(reported) if matches!(reported.state, State::Blocked | State::Leaving) => reported.clone(),
                _ => Cell::new(State::Unmanaged, format!("{word}, not declared"), "no manifest declares it"),
            });
        }
        if let Some(error) = row.errors.first() {
            return Some(Cell::new(State::Failed, "failed", error.error.clone()));
        }
        Some(match row.association_status {
            AssociationStatus::Associated => Cell::associated(),
            _ => Cell::new(State::Pending, word, ""),
        })
    }

    pub fn resources(&self, reported: Vec<Carried>) -> Vec<Carried> {
        let rows = self.share.resources.iter().flatten();
        let live: Vec<_> = rows.filter(|row| row.status != ResourceStatus::Deleted).collect();
        let mut all: Vec<Carried> = Vec::new();
        for mut carried in reported {
            let row = live
                .iter()
                .find(|row| row.resource_type == carried.kind && same(row.resource_id.as_str(), &carried.id));
            let leaving = matches!(carried.cell.state, State::Leaving | State::Unmanaged);
            carried.cell = match (row, self.leaving()) {
                (Some(_), Some(gone)) => gone,
                (Some(_), None) if leaving => carried.cell,
                (Some(row), None) if row.status == ResourceStatus::Active => Cell::new(State::InPlace, "active", ""),
                (Some(row), None) => Cell::new(State::Pending, row.status.to_string(), ""),
                (None, _) if leaving => continue,
                (None, _) => Cell::new(State::Pending, "absent", "Cloudflare has no such resource in the share"),
            };
            all.push(carried);
        }
        for row in live {
            let (kind, id) = (row.resource_type.clone(), row.resource_id.to_string());
            if !all.iter().any(|carried| carried.kind == kind && same(&carried.id, &id)) {
                let undeclared = || Cell::new(State::Unmanaged, format!("{}, not declared", row.status), "");
                let cell = self.leaving().unwrap_or_else(undeclared);
                all.push(Carried { kind, id: id.into(), label: None, cell });
            }
        }
        all
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn share(status: &str, resources: &[&str]) -> Share {
        let resource = |id: &&str| json!({"id": "r", "resource_account_id": "acc", "resource_id": id, "resource_type": "t", "status": "active"});
        let resources: Vec<Value> = resources.iter().map(resource).collect();
        let share = json!({"id": "5e1f", "account_id": "acc", "name": "waf", "status": status, "target_type": "account",
                           "resources": resources});
        serde_json::from_value(share).expect("a share")
    }

    /// A share of that status, with these accounts associated.
    pub fn read(status: &str, accounts: &[&str], resources: &[&str]) -> Read {
        let recipient = |id: &&str| json!({"id": "row", "account_id": id, "association_status": "associated"});
        let recipients: Vec<Value> = accounts.iter().map(recipient).collect();
        Read {
            share: share(status, resources),
            recipients: serde_json::from_value(json!(recipients)).expect("recipients"),
            excluded: Vec::new(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_share_that_cloudflare_calls_deleted_is_gone() {
        assert!(existing(Some(share("deleted", &[]))).is_none() && existing(None).is_none());
        for word in ["active", "deleting", "under_review"] {
            assert!(existing(Some(share(word, &[]))).is_some(), "{word}");
        }
    }
}
