//! Which accounts receive a Share's share, and how far each is, by what its status and those of its children prove.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::proof::{Proof, is_blocked, observes, proof, said};
use super::state::{Cell, State};
use crate::api::condition::ready;
use crate::api::policy::DeletionPolicy;
use crate::api::status::{ExceptionEntry, ShareStatus};
use crate::api::waiver::Waiver;
use crate::api::{Kind, Name, Reason, Share, ShareRecipient, is_deleting};
use crate::cli::reach::Reach;
use crate::core::id::{folded, same};
use crate::core::interned::Interned;

/// An account, or all members of an organization, as the id was written. Upper and lower case of an id mean the same.
#[derive(Debug, Clone)]
pub enum Receiver {
    Account(Interned),
    Organization(String),
}

impl Receiver {
    /// In the form in which receivers are compared.
    fn key(&self) -> (bool, Cow<'_, str>) {
        match self {
            Receiver::Account(id) => (false, folded(id)),
            Receiver::Organization(id) => (true, folded(id)),
        }
    }
}

impl PartialEq for Receiver {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Receiver {}

impl PartialOrd for Receiver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Receiver {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Accounts, each once and as it was written first, and whether it is about their exclusion.
#[derive(Default)]
pub struct Accounts(BTreeMap<String, (Interned, bool)>);

impl Accounts {
    /// An account that receives the share, unless it is known as excluded.
    pub fn receives(&mut self, account: &str) {
        self.entry(account);
    }

    pub fn is_excluded(&mut self, account: &str) {
        self.entry(account).1 = true;
    }

    fn entry(&mut self, account: &str) -> &mut (Interned, bool) {
        self.0.entry(folded(account).into_owned()).or_insert_with(|| (account.into(), false))
    }

    pub fn all(self) -> impl Iterator<Item = (Interned, bool)> {
        self.0.into_values()
    }
}

/// What a Share and its children say of its recipients.
pub struct Rows<'a> {
    pub share: &'a Share,
    pub children: Vec<&'a ShareRecipient>,
    pub proof: Proof,
    pub status: ShareStatus,
    reach: &'a Reach,
}

/// One receiver of the share.
pub struct Found {
    pub receiver: Receiver,
    pub label: Option<Interned>,
    pub cell: Cell,
    /// The objects that declare it.
    pub declared_by: Vec<String>,
}

impl<'a> Rows<'a> {
    pub fn new(share: &'a Share, children: Vec<&'a ShareRecipient>, reach: &'a Reach) -> Rows<'a> {
        let status = share.status.clone().unwrap_or_default();
        let rows = Rows { share, children, proof: proof(share), status, reach };
        match rows.beyond() {
            Some(why) => Rows { proof: Proof::None(why), ..rows },
            None => rows,
        }
    }

    /// Why nobody reconciles the Share, if that is known.
    pub fn beyond(&self) -> Option<String> {
        self.reach.beyond(Kind::Share, &Name::of(self.share))
    }

    /// Whether the operator passes the Share over, as the last pass said.
    pub fn is_suspended(&self) -> bool {
        ready(&self.status.common.conditions).is_some_and(|ready| ready.reason == Reason::Suspended.as_str())
    }

    /// Whether the status says something of who receives the share.
    pub fn is_proved(&self) -> bool {
        match self.proof {
            Proof::NoShare(_) | Proof::Read { .. } => true,
            Proof::None(_) => false,
        }
    }

    fn is_deleting(&self) -> bool {
        is_deleting(&self.share.metadata)
    }

    pub fn all(&self) -> Vec<Found> {
        let mut rows = Vec::new();
        if let Some(organization) = &self.share.spec.organization {
            rows.push(Found {
                receiver: Receiver::Organization(organization.id.clone()),
                label: None,
                cell: self.organization(),
                declared_by: vec!["Share".into()],
            });
        }
        for (account, excluded) in self.accounts().all() {
            rows.push(Found {
                cell: if excluded { self.excluded(&account) } else { self.recipient(&account) },
                label: self.label(&account),
                declared_by: self.declared_by(&account),
                receiver: Receiver::Account(account),
            });
        }
        rows
    }

    /// The rows, with those as waived whose failure the manifest accepts at that time.
    pub fn waive(&self, mut found: Vec<Found>, now: Timestamp) -> Vec<Found> {
        for row in found.iter_mut().filter(|row| row.cell.state == State::Failed) {
            let Receiver::Account(account) = &row.receiver else { continue };
            let waiver = self.waiver(account);
            let Some((waiver, until)) = waiver.and_then(|waiver| Some((waiver, waiver.end()?))) else { continue };
            if now < until {
                row.cell.state = State::Waived;
                row.cell.word = format!("{}, waived until {until}", row.cell.word);
                row.cell.why = format!("{}; waived: {}", row.cell.why, waiver.reason);
            }
        }
        found
    }

    /// What the declaration that counts says of the account's failure.
    fn waiver(&self, account: &str) -> Option<&'a Waiver> {
        match self.share.spec.recipients.iter().flatten().find(|entry| same(&entry.account_id, account)) {
            Some(entry) => entry.waiver.as_deref(),
            None => self.winner(account)?.spec.waiver.as_deref(),
        }
    }

    /// All accounts that anything says something of, and whether it is about their exclusion.
    pub fn accounts(&self) -> Accounts {
        let (spec, status) = (&self.share.spec, &self.status);
        let mut accounts = Accounts::default();
        for entry in spec.organization.iter().flat_map(|organization| &organization.excluded) {
            accounts.is_excluded(&entry.account_id);
        }
        status.inventory.excluded.iter().for_each(|entry| accounts.is_excluded(&entry.account_id));
        spec.recipients.iter().flatten().for_each(|entry| accounts.receives(&entry.account_id));
        self.children.iter().for_each(|child| accounts.receives(&child.spec.account_id));
        status.inventory.recipients.iter().for_each(|entry| accounts.receives(&entry.account_id));
        status.unmanaged.iter().filter_map(|entry| entry.account_id.as_ref()).for_each(|id| accounts.receives(id));
        status.exceptions.iter().filter_map(|entry| entry.account_id.as_ref()).for_each(|id| accounts.receives(id));
        accounts
    }

    fn label(&self, account: &str) -> Option<Interned> {
        let spec = &self.share.spec;
        let excluded = spec.organization.iter().flat_map(|organization| &organization.excluded);
        let excluded = excluded.map(|entry| (&entry.account_id, &entry.name));
        let inline = spec.recipients.iter().flatten().map(|entry| (&entry.account_id, &entry.name)).chain(excluded);
        let inline = inline.filter(|(id, _)| same(id, account));
        let children = self.children.iter().filter(|child| same(&child.spec.account_id, account));
        let listed = self.status.exceptions.iter().filter(|e| names(e.account_id.as_deref(), account));
        let labels = inline.map(|(_, name)| name.clone()).chain(children.map(|child| child.spec.name.clone()));
        let inventory = &self.status.inventory;
        let recorded = inventory.recipients.iter().chain(&inventory.excluded).filter(|e| same(&e.account_id, account));
        let before = listed.map(|entry| entry.name.clone()).chain(recorded.map(|entry| entry.name.clone()));
        labels.chain(before).flatten().next()
    }

    pub fn declared_by(&self, account: &str) -> Vec<String> {
        let spec = &self.share.spec;
        let excluded = spec.organization.iter().flat_map(|organization| &organization.excluded);
        let inline = spec.recipients.iter().flatten().map(|entry| &entry.account_id);
        let mut inline = inline.chain(excluded.map(|entry| &entry.account_id));
        let inline = inline.any(|id| same(id, account)).then(|| "Share".to_owned());
        let children = self.live_children(account).map(|child| format!("ShareRecipient/{}", child.name_any()));
        inline.into_iter().chain(children).collect()
    }

    fn live_children(&self, account: &str) -> impl Iterator<Item = &&'a ShareRecipient> {
        let ours = move |child: &&&ShareRecipient| same(&child.spec.account_id, account);
        self.children.iter().filter(move |child| ours(child) && !is_deleting(&child.metadata))
    }

    fn leaving_child(&self, account: &str) -> Option<&'a ShareRecipient> {
        let mut all = self.children.iter();
        all.find(|child| same(&child.spec.account_id, account) && is_deleting(&child.metadata)).copied()
    }

    fn exception(&self, account: &str) -> Option<&ExceptionEntry> {
        self.status.exceptions.iter().find(|entry| names(entry.account_id.as_deref(), account))
    }

    /// The child whose declaration counts: an inline entry wins, then who has the row, then the older one.
    fn winner(&self, account: &str) -> Option<&'a ShareRecipient> {
        let inline = self.share.spec.recipients.iter().flatten().any(|entry| same(&entry.account_id, account));
        if inline {
            return None;
        }
        let age = |child: &ShareRecipient| {
            (child.creation_timestamp().map(|time| time.0), !confirmed(child), child.name_any())
        };
        self.live_children(account).min_by_key(|child| age(child)).copied()
    }

    fn recipient(&self, account: &str) -> Cell {
        match &self.proof {
            Proof::NoShare(why) => match self.exception(account) {
                Some(entry) => of_exception(entry),
                None => Cell::new(State::NotShared, "not shared yet", why.clone()),
            },
            Proof::None(why) => Cell::unknown(format!("{why}{}", self.last_seen(account))),
            Proof::Read { .. } if self.is_deleting() => match self.exception(account) {
                Some(entry) => of_exception(entry),
                None => self.deleting(),
            },
            Proof::Read { current } if self.declared_by(account).is_empty() => self.undeclared(account, *current),
            Proof::Read { current } => self.declared(account, *current),
        }
    }

    fn deleting(&self) -> Cell {
        let retained = self.status.effective.as_ref().is_some_and(|e| e.deletion_policy == DeletionPolicy::Retain);
        if retained {
            return Cell::new(
                State::Unmanaged,
                "stays",
                "the Share is being deleted, and its share stays at Cloudflare",
            );
        }
        if is_blocked(&self.status.common.conditions) {
            return Cell::new(State::Blocked, "to be removed (blocked)", "the Share is being deleted");
        }
        Cell::new(State::Leaving, "to be removed", "the Share is being deleted")
    }

    fn declared(&self, account: &str, current: bool) -> Cell {
        if let Some(entry) = self.exception(account) {
            return of_exception(entry);
        }
        let own = self.winner(account);
        if let Some(cell) = own.and_then(|child| beyond(child, self.reach).or_else(|| of_child(child))) {
            return cell;
        }
        let reported = own.is_some_and(says_associated);
        if self.status.exceptions_omitted > 0 && !reported {
            let more = self.status.exceptions_omitted;
            return Cell::unknown(format!("the status leaves out {more} exceptions; --live reads Cloudflare"));
        }
        let entry = self.status.inventory.recipients.iter().find(|entry| same(&entry.account_id, account));
        let recorded = entry.is_some_and(|entry| entry.intended_at.is_none()) || own.is_some_and(confirmed);
        match (recorded || current && observes(&self.status), current) {
            (true, _) => Cell::associated(),
            (false, false) => Cell::unknown("cfshare has not processed the last change of the Share yet"),
            (false, true) => Cell::unknown("cfshare has not confirmed this account yet"),
        }
    }

    fn undeclared(&self, account: &str, current: bool) -> Cell {
        let unmanaged = self.status.unmanaged.iter().find(|entry| names(entry.account_id.as_deref(), account));
        let entry = self.status.inventory.recipients.iter().find(|entry| same(&entry.account_id, account));
        let child = self.leaving_child(account);
        if let Some(cell) = child.and_then(|child| beyond(child, self.reach)) {
            return cell;
        }
        if let Some(child) = child.filter(|child| child.spec.deletion_policy != Some(DeletionPolicy::Retain)) {
            let conditions = child.status.as_ref().map(|status| status.child.common.conditions.as_slice());
            let conditions = conditions.unwrap_or_default();
            let why = ready(conditions).map(said).unwrap_or_default();
            if is_blocked(conditions) {
                return Cell::new(State::Blocked, "to be removed (blocked)", why);
            }
            return Cell::new(State::Leaving, "to be removed", why);
        }
        match (entry, unmanaged) {
            (Some(entry), _) => {
                let removed = entry.intended_at.as_ref().is_some_and(|time| time.0 == Timestamp::UNIX_EPOCH);
                let blocked = is_blocked(&self.status.common.conditions);
                match (removed, blocked) {
                    (true, _) => Cell::new(State::Leaving, "being removed", "the removal was sent to Cloudflare"),
                    (false, true) => {
                        let why = ready(&self.status.common.conditions).map(said).unwrap_or_default();
                        Cell::new(State::Blocked, "to be removed (blocked)", why)
                    }
                    (false, false) if entry.intended_at.is_some() => Cell::unknown(
                        "a request to add this account was recorded, and its entry has been removed since",
                    ),
                    (false, false) if current => {
                        Cell::new(State::Leaving, "to be removed", "no manifest declares it now")
                    }
                    (false, false) => Cell::new(
                        State::Leaving,
                        "to be removed",
                        "cfshare has not processed the last change of the Share yet",
                    ),
                }
            }
            (None, Some(entry)) => {
                Cell::new(State::Unmanaged, format!("{}, not declared", entry.state), "no manifest declares it")
            }
            (None, None) => match self.exception(account) {
                Some(entry) => of_exception(entry),
                None => Cell::unknown("the status does not mention it"),
            },
        }
    }

    fn excluded(&self, account: &str) -> Cell {
        let organization = self.share.spec.organization.iter();
        let declared = organization.flat_map(|o| &o.excluded).any(|entry| same(&entry.account_id, account));
        let recorded = self.status.inventory.excluded.iter().find(|entry| same(&entry.account_id, account));
        match &self.proof {
            Proof::NoShare(why) => Cell::new(State::NotShared, "not shared yet", why.clone()),
            Proof::None(why) => match self.exception(account) {
                // It was so when it was last seen, and nothing has been done about it since.
                Some(entry) => not_excluded(entry),
                None => Cell::unknown(why.clone()),
            },
            Proof::Read { .. } if self.is_deleting() => self.deleting(),
            Proof::Read { current } => match (self.exception(account), declared) {
                (Some(entry), _) => not_excluded(entry),
                (None, true) if self.status.exceptions_omitted > 0 => {
                    Cell::unknown("the status leaves out exceptions; --live reads Cloudflare")
                }
                (None, true) if recorded.is_some_and(|entry| entry.intended_at.is_none()) => {
                    Cell::new(State::Excluded, "excluded", "")
                }
                (None, true) if *current && observes(&self.status) => Cell::new(State::Excluded, "excluded", ""),
                (None, true) => Cell::unknown("cfshare has not confirmed this exclusion yet"),
                (None, false) => {
                    Cell::new(State::Leaving, "excluded, to be included", "the exclusion is no longer declared")
                }
            },
        }
    }

    fn organization(&self) -> Cell {
        match &self.proof {
            Proof::NoShare(why) => Cell::new(State::NotShared, "not shared yet", why.clone()),
            Proof::None(why) => Cell::unknown(why.clone()),
            Proof::Read { .. } if self.is_deleting() => self.deleting(),
            Proof::Read { .. } => {
                let Some(counts) = &self.status.recipients else {
                    return Cell::unknown("Cloudflare sent no counts of this share");
                };
                let word = format!("associated {}", counts.summary);
                match counts.pending {
                    0 => Cell::new(State::InPlace, word, "as many members of the organization as Cloudflare counts"),
                    n => Cell::new(State::Pending, word, format!("{n} members are pending")),
                }
            }
        }
    }

    /// What was seen before nothing could be seen any more.
    fn last_seen(&self, account: &str) -> String {
        let entry = self.status.inventory.recipients.iter().find(|entry| same(&entry.account_id, account));
        let recorded = entry.is_some_and(|entry| entry.intended_at.is_none());
        let children = self.children.iter().filter(|child| same(&child.spec.account_id, account));
        let word = match self.exception(account) {
            Some(entry) => Some(entry.state.clone()),
            None if recorded || children.into_iter().any(|child| confirmed(child)) => Some("associated".into()),
            None => None,
        };
        word.map_or(String::new(), |word| format!(" (last seen {word})"))
    }
}

/// Whether an entry is about this account; one about a resource has no account.
fn names(entry: Option<&str>, account: &str) -> bool {
    entry.is_some_and(|id| same(id, account))
}

/// The child's own record says that its row was seen in place.
fn confirmed(child: &ShareRecipient) -> bool {
    let record = child.status.as_ref().map(|status| &status.child);
    record.is_some_and(|record| record.confirmed && record.bound_uid.as_deref() == child.metadata.uid.as_deref())
}

fn says_associated(child: &ShareRecipient) -> bool {
    let status = child.status.as_ref();
    status.is_some_and(|status| {
        ready(&status.child.common.conditions).is_some_and(|ready| ready.status == "True")
            && status.association_status.as_deref() == Some("associated")
            && status.errors.is_empty()
    })
}

/// What is known of the row of a child that nobody reconciles.
fn beyond(child: &ShareRecipient, reach: &Reach) -> Option<Cell> {
    let why = reach.beyond(Kind::ShareRecipient, &Name::of(child))?;
    Some(Cell::unknown(format!("ShareRecipient {} is {why}", child.name_any())))
}

/// What a child says of its row that is not simply in place.
fn of_child(child: &ShareRecipient) -> Option<Cell> {
    let Some(status) = &child.status else {
        return Some(Cell::unknown("cfshare has not processed this ShareRecipient yet"));
    };
    let ready = ready(&status.child.common.conditions)?;
    if let Some(error) = status.errors.iter().find(|error| error.terminal).or_else(|| status.errors.first()) {
        return Some(Cell::new(State::Failed, "failed", error.message.clone()));
    }
    if ready.status == "Unknown" && child.spec.suspend != Some(true) {
        return Some(Cell::unknown(said(ready)));
    }
    match status.association_status.as_deref() {
        Some("associated") | None => None,
        Some(word) => Some(Cell::new(State::Pending, word, said(ready))),
    }
}

fn of_exception(entry: &ExceptionEntry) -> Cell {
    let own_word = entry.state == "refused" || entry.state == "not converging";
    let failed = entry.terminal || !entry.message.is_empty() || own_word;
    let word = match (entry.terminal, failed && !own_word) {
        (true, _) => "failed".to_owned(),
        (false, true) => format!("failing ({})", entry.state),
        (false, false) => entry.state.clone(),
    };
    let mut why = entry.message.clone();
    if entry.terminal {
        why = format!("{} ({}, Cloudflare does not retry)", entry.message, entry.state);
    }
    let state = if failed { State::Failed } else { State::Pending };
    Cell { since: Some(entry.since.0), ..Cell::new(state, word, why) }
}

fn not_excluded(entry: &ExceptionEntry) -> Cell {
    let word = "associated, should be excluded";
    Cell { since: Some(entry.since.0), ..Cell::new(State::NotExcluded, word, entry.message.clone()) }
}

/// What is known of a ShareRecipient whose Share does not exist.
pub fn orphan(child: &ShareRecipient, reach: &Reach) -> Cell {
    if let Some(cell) = beyond(child, reach) {
        return cell;
    }
    let record = child.status.as_ref().map(|status| &status.child);
    let conditions = record.map(|record| record.common.conditions.as_slice()).unwrap_or_default();
    let why = ready(conditions).map(said).unwrap_or_else(|| "its Share does not exist".into());
    let held = record.is_some_and(|record| record.share_id.is_some() || record.intended_at.is_some());
    match (record, held) {
        (None, _) => Cell::unknown("cfshare has not processed this ShareRecipient yet"),
        (Some(_), true) => Cell::unknown(why),
        (Some(_), false) => Cell::new(State::NotShared, "not shared yet", why),
    }
}
