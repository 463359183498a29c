//! The same, as Cloudflare itself says it now.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::resources::Carried;
use super::rows::{Found, Receiver, Rows};
use super::state::{Cell, State};
use crate::cli::remote::ReadShare;
use crate::cli::survey::Survey;
use crate::cloudflare::{AssociationStatus, Recipient, ResourceStatus, Share, ShareStatus, TargetType};
use crate::core::id::{AnyId, ShareId, same};

/// What is said of rows of a share that no object has, and why.
const UNMANAGED: &str = "no Share object";
const NO_OBJECT: &str = "no Share in the cluster has this share";
/// A share that is not shown may be there all the same.
const NEVER_SHOWN: &str = "this credential has never shown the share";

/// What Cloudflare has for a Share.
pub enum Answer {
    Read(Box<ReadShare>),
    /// It says that there is no such share.
    Absent,
    /// Nothing can be said, and why.
    Unknown(String),
}

impl Answer {
    /// When Cloudflare showed the share.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Answer::Read(read) => Some(read.at),
            Answer::Absent | Answer::Unknown(_) => None,
        }
    }

    /// What could not be read, and why.
    pub fn unread(&self) -> Option<&String> {
        match self {
            Answer::Read(read) => read.exclusions_unread.as_ref(),
            Answer::Absent => None,
            Answer::Unknown(why) => Some(why),
        }
    }
}

/// What Cloudflare has for this Share.
pub async fn read(survey: &mut Survey<'_>, object: &crate::api::Share, id: &str) -> anyhow::Result<Answer> {
    let account = survey.account(object).await?;
    let id = ShareId::read(id)?;
    let seen_with = object.status.as_ref().and_then(|status| status.seen_with.as_deref());
    Ok(match account.share(&id).await? {
        Some(share) if is_deleted(&share) => Answer::Absent,
        Some(share) => Answer::Read(Box::new(account.read(share).await?)),
        None if seen_with == Some(&*account.remote.fingerprint().to_string()) => Answer::Absent,
        // Cloudflare says the same of a share that the credential may not see.
        None => Answer::Unknown(format!("Cloudflare shows no share {id}, but {NEVER_SHOWN}")),
    })
}

/// How one recipient is that is still there; `reported`: as the status says.
fn of_row(row: &Recipient, declared: bool, reported: Option<&Cell>) -> Cell {
    let word = row.association_status.to_string();
    if row.association_status == AssociationStatus::Disassociating {
        return Cell::new(State::Leaving, word, "");
    }
    if !declared {
        return match reported {
            Some(reported) if matches!(reported.state, State::Blocked | State::Leaving) => reported.clone(),
            _ => Cell::new(State::Unmanaged, format!("{word}, not declared"), "no manifest declares it"),
        };
    }
    if let Some(error) = row.errors.first() {
        return Cell::new(State::Failed, "failed", error.error.clone());
    }
    match row.association_status {
        AssociationStatus::Associated => Cell::associated(),
        _ => Cell::new(State::Pending, word, ""),
    }
}

/// The rows of a deleted share may still say what they said before.
fn is_deleted(share: &Share) -> bool {
    match share.status {
        ShareStatus::Deleted => true,
        ShareStatus::Active | ShareStatus::Deleting | ShareStatus::Other(_) => false,
    }
}

impl ReadShare {
    /// What is true of all that still receives a share, or is in it, while Cloudflare deletes it.
    fn leaving(&self) -> Option<Cell> {
        match self.share.status {
            ShareStatus::Deleting | ShareStatus::Deleted => {
                Some(Cell::new(State::Leaving, self.share.status.to_string(), "Cloudflare is deleting the share"))
            }
            ShareStatus::Active | ShareStatus::Other(_) => None,
        }
    }

    /// Every account that receives a share without an object, or is excluded from it.
    pub fn unmanaged(&self) -> Vec<Found> {
        let cell =
            |state, word: String, since| Cell { since, ..Cell::new(state, format!("{word}, {UNMANAGED}"), NO_OBJECT) };
        let mut all: BTreeMap<Receiver, Cell> = BTreeMap::new();
        if let Some(id) = self.share.organization_id.as_ref().filter(|_| self.is_for_organization()) {
            let word = self.organization().word;
            all.insert(
                Receiver::Organization(AnyId::new(id.as_str())),
                cell(State::Unmanaged, word, self.share.created),
            );
        }
        for row in self.recipients.iter().filter(|row| row.association_status != AssociationStatus::Disassociated) {
            let receiver = Receiver::Account(AnyId::new(row.account_id.as_str()));
            let word = row.association_status.to_string();
            all.entry(receiver).or_insert_with(|| cell(State::Unmanaged, word, row.created));
        }
        for row in &self.excluded {
            let receiver = Receiver::Account(AnyId::new(row.account_id.as_str()));
            all.insert(receiver, cell(State::Excluded, "excluded".to_owned(), None));
        }
        let found = |(receiver, cell)| Found { receiver, label: None, cell, declared_by: Vec::new() };
        all.into_iter().map(found).collect()
    }

    /// Every account of which Cloudflare or a manifest says something.
    pub fn rows(&self, rows: &Rows) -> Vec<Found> {
        let mut accounts = rows.accounts.clone();
        for row in self.recipients.iter().filter(|row| row.association_status != AssociationStatus::Disassociated) {
            accounts.entry(row.account_id.as_str());
        }
        for row in &self.excluded {
            accounts.excluded(row.account_id.as_str());
        }
        let mut found = Vec::new();
        if let Some(id) = &self.share.organization_id.as_ref().filter(|_| self.is_for_organization()) {
            found.push(Found {
                receiver: Receiver::Organization(AnyId::new(id.as_str())),
                label: None,
                cell: self.organization(),
                declared_by: vec!["Share".into()],
            });
        }
        let before: BTreeMap<Receiver, Found> = rows.all().into_iter().map(|row| (row.receiver.clone(), row)).collect();
        for (id, account) in accounts.all() {
            let declared_by = account.declared_by();
            let receiver = Receiver::Account(id.clone());
            let reported = before.get(&receiver);
            let cell = match account.is_excluded {
                true => self.excluded(id.as_str(), !declared_by.is_empty()),
                false => self.recipient(id.as_str(), !declared_by.is_empty(), reported.map(|row| &row.cell)),
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
        if let Some(why) = &self.exclusions_unread {
            return declared.then(|| self.leaving().unwrap_or_else(|| Cell::unknown(why.clone())));
        }
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
        let own = self.recipients.iter().filter(|row| same(row.account_id.as_str(), account));
        let row = own.min_by_key(|row| row.association_status.rank());
        let row = row.filter(|row| row.association_status != AssociationStatus::Disassociated);
        let Some(row) = row else {
            if self.is_for_organization() && !declared {
                // Its recipients are not listed here: the operator found those that failed.
                let are_pending = self.share.counts.is_some_and(|counts| counts.associating > 0);
                return reported.filter(|cell| are_pending && cell.state == State::Failed).cloned();
            }
            return declared
                .then(|| Cell::new(State::Pending, "absent", "Cloudflare has no such recipient in the share"));
        };
        if let Some(leaving) = self.leaving() {
            return Some(leaving);
        }
        let cell = of_row(row, declared, reported);
        Some(Cell { since: cell.since.or(row.created), ..cell })
    }

    pub fn resources(&self, reported: Vec<Carried>) -> Vec<Carried> {
        let rows = self.share.resources.iter().flatten();
        let live: Vec<_> = rows.filter(|row| row.status != ResourceStatus::Deleted).collect();
        let mut all: Vec<Carried> = Vec::new();
        for mut carried in reported {
            let row = live
                .iter()
                .find(|row| row.resource_type == carried.kind && same(row.resource_id.as_str(), carried.id.as_str()));
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
            let (kind, id) = (row.resource_type.clone(), AnyId::new(row.resource_id.as_str()));
            if !all.iter().any(|carried| carried.kind == kind && carried.id == id) {
                let undeclared = || Cell::new(State::Unmanaged, format!("{}, not declared", row.status), "");
                let cell = self.leaving().unwrap_or_else(undeclared);
                all.push(Carried { kind, id, label: None, cell });
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
    pub fn read(status: &str, accounts: &[&str], resources: &[&str]) -> ReadShare {
        let recipient = |id: &&str| json!({"id": "row", "account_id": id, "association_status": "associated"});
        let recipients: Vec<Value> = accounts.iter().map(recipient).collect();
        ReadShare {
            share: share(status, resources),
            recipients: serde_json::from_value(json!(recipients)).expect("recipients"),
            excluded: Vec::new(),
            exclusions_unread: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn where_only_the_exclusions_cannot_be_read_only_they_are_unknown() {
        let mut read = read("active", &[], &["2f2f"]);
        (read.share.target_type, read.exclusions_unread) = (TargetType::Organization, Some("refused".into()));
        let (declared, other) = (read.excluded("a", true), read.excluded("b", false));
        assert_eq!(declared.map(|cell| (cell.state, cell.why)), Some((State::Unknown, "refused".into())));
        assert!(other.is_none());
        assert_eq!(read.resources(Vec::new()).len(), 1);
        read.exclusions_unread = None;
        assert_eq!(read.excluded("a", true).map(|cell| cell.state), Some(State::NotExcluded));
    }

    #[test]
    fn a_share_that_cloudflare_calls_deleted_is_gone() {
        assert!(is_deleted(&share("deleted", &[])));
        for word in ["active", "deleting", "under_review"] {
            assert!(!is_deleted(&share(word, &[])), "{word}");
        }
    }
}
