//! Which accounts receive a Share's share, and how far each is, by what its status and those of its children prove.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::proof::{Proof, is_blocked, observes, proof, said};
use super::state::{Cell, State};
use crate::api::condition::ready;
use crate::api::policy::DeletionPolicy;
use crate::api::share::{ExcludedEntry, RecipientEntry};
use crate::api::status::{ExceptionEntry, RecordedAccount, ShareStatus, UnmanagedEntry};
use crate::api::waiver::Waiver;
use crate::api::{ChildObject, Kind, Name, Reason, Share, ShareRecipient, is_deleting};
use crate::cli::output::count;
use crate::cli::reach::Reach;
use crate::core::id::AnyId;
use crate::core::interned::Interned;
use crate::operator::{NOT_CONVERGING, REFUSED, is_about_exclusion, is_settled_long_ago};

/// An account, or all members of an organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiver {
    Account(AnyId),
    Organization(AnyId),
}

/// All that manifests and statuses say of one account.
#[derive(Debug, Clone, Default)]
pub struct Account<'a> {
    /// It is about its exclusion.
    pub is_excluded: bool,
    inline: Option<&'a RecipientEntry>,
    excluded: Option<&'a ExcludedEntry>,
    children: Vec<&'a ShareRecipient>,
    recorded: Option<&'a RecordedAccount>,
    recorded_exclusion: Option<&'a RecordedAccount>,
    unmanaged: Option<&'a UnmanagedEntry>,
    exception: Option<&'a ExceptionEntry>,
}

impl<'a> Account<'a> {
    fn label(&self) -> Option<Interned> {
        let inline = self.inline.map(|entry| &entry.name).into_iter().chain(self.excluded.map(|entry| &entry.name));
        let children = self.children.iter().map(|child| &child.spec.name);
        let listed = self.exception.map(|entry| &entry.name);
        let recorded = self.recorded.into_iter().chain(self.recorded_exclusion).map(|entry| &entry.name);
        inline.chain(children).chain(listed).chain(recorded).flatten().next().cloned()
    }

    pub fn declared_by(&self) -> Vec<String> {
        let inline = (self.inline.is_some() || self.excluded.is_some()).then(|| "Share".to_owned());
        let children = self.live_children().map(|child| format!("ShareRecipient/{}", child.name_any()));
        inline.into_iter().chain(children).collect()
    }

    fn live_children(&self) -> impl Iterator<Item = &'a ShareRecipient> {
        self.children.iter().copied().filter(|child| !child.is_deleting())
    }

    /// The child whose declaration counts: an inline entry wins over all of them.
    fn winner(&self) -> Option<&'a ShareRecipient> {
        let oldest = self.live_children().min_by(|a, b| a.seniority().cmp(&b.seniority()));
        oldest.filter(|_| self.inline.is_none())
    }

    /// What the declaration that counts says of the account's failure.
    fn waiver(&self) -> Option<&'a Waiver> {
        match self.inline {
            Some(entry) => entry.waiver.as_deref(),
            None => self.winner()?.waiver(),
        }
    }
}

/// Accounts, each once, with its id as it was written first.
#[derive(Debug, Clone, Default)]
pub struct Accounts<'a>(BTreeMap<AnyId, Account<'a>>);

impl<'a> Accounts<'a> {
    fn of(share: &'a Share, children: &[&'a ShareRecipient]) -> Accounts<'a> {
        let mut all = Accounts::default();
        for entry in share.spec.organization.iter().flat_map(|organization| &organization.excluded) {
            all.excluded(&entry.account_id).excluded.get_or_insert(entry);
        }
        for entry in share.status.iter().flat_map(|status| &status.inventory.excluded) {
            all.excluded(&entry.account_id).recorded_exclusion.get_or_insert(entry);
        }
        for entry in share.spec.recipients.iter().flatten() {
            all.entry(&entry.account_id).inline.get_or_insert(entry);
        }
        for child in children {
            all.entry(&child.spec.account_id).children.push(child);
        }
        for entry in share.status.iter().flat_map(|status| &status.inventory.recipients) {
            all.entry(&entry.account_id).recorded.get_or_insert(entry);
        }
        for entry in share.status.iter().flat_map(|status| &status.unmanaged) {
            let Some(id) = &entry.row.account_id else { continue };
            all.entry(id).unmanaged.get_or_insert(entry);
        }
        for entry in share.status.iter().flat_map(|status| &status.exceptions) {
            let Some(id) = &entry.row.account_id else { continue };
            let account = all.entry(id);
            if !account.is_excluded || is_about_exclusion(&entry.state) {
                account.exception.get_or_insert(entry);
            }
        }
        all
    }

    pub fn entry(&mut self, id: &str) -> &mut Account<'a> {
        self.0.entry(AnyId::new(id)).or_default()
    }

    pub fn excluded(&mut self, id: &str) -> &mut Account<'a> {
        let account = self.entry(id);
        account.is_excluded = true;
        account
    }

    pub fn all(&self) -> impl Iterator<Item = (&AnyId, &Account<'a>)> {
        self.0.iter()
    }
}

/// What a Share and its children say of its recipients.
pub struct Rows<'a> {
    pub share: &'a Share,
    pub children: Vec<&'a ShareRecipient>,
    pub proof: Proof,
    pub status: ShareStatus,
    pub accounts: Accounts<'a>,
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
        let accounts = Accounts::of(share, &children);
        let rows = Rows { share, children, proof: proof(share), status, accounts, reach };
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
                receiver: Receiver::Organization(AnyId::new(&organization.id)),
                label: None,
                cell: self.organization(),
                declared_by: vec!["Share".into()],
            });
        }
        rows.extend(self.accounts.all().map(|(id, account)| Found {
            cell: if account.is_excluded { self.excluded(account) } else { self.recipient(account) },
            label: account.label(),
            declared_by: account.declared_by(),
            receiver: Receiver::Account(id.clone()),
        }));
        rows
    }

    /// The rows, with those as waived whose failure the manifest accepts at that time.
    pub fn waive(&self, mut found: Vec<Found>, now: Timestamp) -> Vec<Found> {
        for row in found.iter_mut().filter(|row| row.cell.state == State::Failed) {
            let Receiver::Account(account) = &row.receiver else { continue };
            let waiver = self.accounts.0.get(account).and_then(Account::waiver);
            let Some((waiver, until)) = waiver.and_then(|waiver| Some((waiver, waiver.end()?))) else { continue };
            if now < until {
                row.cell.state = State::Waived;
                row.cell.word = format!("{}, waived until {until}", row.cell.word);
                row.cell.why = format!("{}; waived: {}", row.cell.why, waiver.reason);
            }
        }
        found
    }

    fn recipient(&self, account: &Account) -> Cell {
        match &self.proof {
            Proof::NoShare(why) => match account.exception {
                Some(entry) => of_exception(entry),
                None => Cell::new(State::NotShared, "not shared yet", why.clone()),
            },
            Proof::None(why) => Cell::unknown(format!("{why}{}", last_seen(account))),
            Proof::Read { .. } if self.is_deleting() => match account.exception {
                Some(entry) => of_exception(entry),
                None => self.deleting(),
            },
            Proof::Read { current } if account.declared_by().is_empty() => self.undeclared(account, *current),
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

    fn declared(&self, account: &Account, current: bool) -> Cell {
        if let Some(entry) = account.exception {
            return of_exception(entry);
        }
        let own = account.winner();
        if let Some(cell) = own.and_then(|child| beyond(child, self.reach).or_else(|| of_child(child))) {
            return cell;
        }
        let reported = own.is_some_and(says_associated);
        if self.status.exceptions_omitted > 0 && !reported {
            let more = self.status.exceptions_omitted;
            return Cell::unknown(format!("the status leaves out {more} exceptions; --live reads Cloudflare"));
        }
        let recorded = account.recorded.is_some_and(|entry| entry.intended_at.is_none()) || own.is_some_and(confirmed);
        match (recorded || current && observes(&self.status), current) {
            (true, _) => Cell::associated(),
            (false, false) => Cell::unknown("cfshare has not processed the last change of the Share yet"),
            (false, true) => Cell::unknown("cfshare has not confirmed this account yet"),
        }
    }

    fn undeclared(&self, account: &Account, current: bool) -> Cell {
        let child = account.children.iter().copied().find(|child| child.is_deleting());
        if let Some(cell) = child.and_then(|child| beyond(child, self.reach)) {
            return cell;
        }
        if let Some(child) = child.filter(|child| !child.retains()) {
            let conditions = child.conditions();
            let why = ready(conditions).map(said).unwrap_or_default();
            if is_blocked(conditions) {
                return Cell::new(State::Blocked, "to be removed (blocked)", why);
            }
            return Cell::new(State::Leaving, "to be removed", why);
        }
        match (account.recorded, account.unmanaged) {
            (Some(entry), _) => {
                let removed = is_settled_long_ago(entry.intended_at.as_ref());
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
            (None, None) => match account.exception {
                Some(entry) => of_exception(entry),
                None => Cell::unknown("the status does not mention it"),
            },
        }
    }

    fn excluded(&self, account: &Account) -> Cell {
        match &self.proof {
            Proof::NoShare(why) => Cell::new(State::NotShared, "excluded, not shared yet", why.clone()),
            Proof::None(why) => match account.exception {
                // It was so when it was last seen, and nothing has been done about it since.
                Some(entry) => not_excluded(entry),
                None => Cell::unknown(why.clone()),
            },
            Proof::Read { .. } if self.is_deleting() => self.deleting(),
            Proof::Read { current } => match (account.exception, account.excluded.is_some()) {
                (Some(entry), _) => not_excluded(entry),
                (None, true) if self.status.exceptions_omitted > 0 => {
                    Cell::unknown("the status leaves out exceptions; --live reads Cloudflare")
                }
                (None, true) if account.recorded_exclusion.is_some_and(|entry| entry.intended_at.is_none()) => {
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
                    _ if counts.failed > 0 => {
                        Cell::new(State::Failed, word, format!("{} failed", members(counts.failed)))
                    }
                    0 => Cell::new(State::InPlace, word, "as many members of the organization as Cloudflare counts"),
                    n => Cell::new(State::Pending, word, format!("{} pending", members(n))),
                }
            }
        }
    }
}

fn members(n: i32) -> String {
    count(usize::try_from(n).unwrap_or_default(), "member")
}

/// What was seen before nothing could be seen any more.
fn last_seen(account: &Account) -> String {
    let recorded = account.recorded.is_some_and(|entry| entry.intended_at.is_none());
    match account.exception {
        Some(entry) => format!(" (last seen {})", entry.state),
        None if recorded || account.children.iter().any(|child| confirmed(child)) => " (last seen associated)".into(),
        None => String::new(),
    }
}

/// The child's own record says that its row was seen in place.
fn confirmed(child: &ShareRecipient) -> bool {
    child.own_record().is_some_and(|record| record.confirmed)
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
    if ready.status == "Unknown" && !child.is_suspended() {
        return Some(Cell::unknown(said(ready)));
    }
    match status.association_status.as_deref() {
        Some("associated") | None => None,
        Some(word) => Some(Cell::new(State::Pending, word, said(ready))),
    }
}

fn of_exception(entry: &ExceptionEntry) -> Cell {
    let own_word = entry.state == REFUSED || entry.state == NOT_CONVERGING;
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
    let record = child.record();
    let why = ready(child.conditions()).map(said).unwrap_or_else(|| "its Share does not exist".into());
    let held = record.is_some_and(|record| record.share_id.is_some() || record.intended_at.is_some());
    match (record, held) {
        (None, _) => Cell::unknown("cfshare has not processed this ShareRecipient yet"),
        (Some(_), true) => Cell::unknown(why),
        (Some(_), false) => Cell::new(State::NotShared, "not shared yet", why),
    }
}
