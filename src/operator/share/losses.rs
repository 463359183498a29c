//! Which rows a share would lose, of how many, and whether that waits for a person.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::desired::Desired;
use crate::api::status::{ConfirmedRemovals, RecentRemovals, RemovedRow, RowTotals, ShareStatus, Withheld};
use crate::api::{CONFIRM_REMOVALS, Reason, Share, int32};
use crate::core::guard::{self, Confirmation, Counted, Limit, Losses};
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::Observed;
use crate::core::time::At;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_rows::resource_key;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::inventory;
use crate::operator::rows::row::is_live;
use crate::operator::rows::row_state::label;
use crate::operator::settings::Settings;
use crate::operator::{clock, delays};

/// Longest list of names in a message: it must fit into an Event with all the rest.
const MAX_NAMES: usize = 400;

/// How many recipients may be removed without confirmation, of those that the status counts.
pub fn max_removals(status: &ShareStatus, desired: &Desired) -> i32 {
    let recipients = usize::try_from(counted_recipients(status)).unwrap_or(0);
    int32(desired.max_removals.of(Counted::Accounts, recipients))
}

/// How many recipients there were when they were last compared; what an edit declares in addition must not raise the limit.
fn counted_recipients(status: &ShareStatus) -> i32 {
    let counts = status.recipients.as_ref();
    counts.map_or(0, |counts| (counts.associated + counts.pending + counts.failed).max(counts.in_place))
}

pub fn counted(key: &RowKey) -> Counted {
    match key {
        RowKey::Recipient(_) | RowKey::Excluded(_) => Counted::Accounts,
        RowKey::Resource { .. } => Counted::Resources,
    }
}

/// What a share would lose now, no matter who declared it: entries of the Share that were taken away, child objects that are
/// deleted, and accounts that are excluded after the share was created.
pub struct Losing {
    /// With their labels.
    rows: BTreeMap<RowKey, Option<Interned>>,
    /// Those of them whose removal a person has confirmed: they do not count.
    confirmed: BTreeSet<RowKey>,
    /// Those of them that an object declared which is being deleted.
    of_deleted: BTreeSet<RowKey>,
    accounts: Losses,
    resources: Losses,
    limit: Limit,
}

/// What the share would lose now; `status`: as it is about to be written; `serving_since`: when this process took over the
/// account.
pub fn losing(
    share: &Share,
    desired: &Desired,
    status: &ShareStatus,
    seen: &ObservedShare,
    settings: &Settings,
    now: At,
    serving_since: At,
) -> Losing {
    let input = LossInput { share, desired, status, seen, now, read_lag: settings.read_lag() };
    let rows = input.rows();
    let confirmed = input.confirmed(&rows);
    let recent = recorded(status, now, serving_since);
    let pends: HashSet<String> = rows.keys().map(RowKey::folded).collect();
    let lately =
        |counted: Counted| recent.iter().filter(|row| is_counted(row, counted) && !pends.contains(**row)).count();
    let pending = |of: Counted| rows.keys().filter(|key| counted(key) == of && !confirmed.contains(*key)).count();
    let losses = |of: Counted| {
        let (total, newer) = input.total(of, &rows, &recent);
        Losses { total, newer, pending: pending(of), lately: lately(of), withheld: input.withheld(of) }
    };
    let (accounts, resources) = (losses(Counted::Accounts), losses(Counted::Resources));
    let of_deleted = input.leaving().map(|sibling| sibling.row.clone()).filter(|key| rows.contains_key(key)).collect();
    Losing { accounts, resources, limit: desired.max_removals, rows, confirmed, of_deleted }
}

struct LossInput<'a> {
    share: &'a Share,
    desired: &'a Desired,
    status: &'a ShareStatus,
    seen: &'a ObservedShare,
    now: At,
    /// For so long after our own call a row counts as new.
    read_lag: Duration,
}

impl LossInput<'_> {
    /// Which of these rows a person confirmed, and nothing that came to be removed since.
    fn confirmed(&self, rows: &BTreeMap<RowKey, Option<Interned>>) -> BTreeSet<RowKey> {
        let recorded = self.status.confirmed_removals.as_ref().filter(|_| is_confirmed(self.share, self.status));
        let Some(recorded) = recorded else { return BTreeSet::new() };
        let listed: HashSet<&str> = recorded.rows.iter().map(String::as_str).collect();
        rows.keys().filter(|key| listed.contains(key.folded().as_str())).cloned().collect()
    }

    /// Objects that are being deleted, and whose rows go with them.
    fn leaving(&self) -> impl Iterator<Item = &Sibling> {
        let leaves =
            |s: &&Sibling| s.child.is_deleting() && !s.child.is_suspended() && !s.child.retains() && !s.outside;
        self.desired.siblings.iter().filter(leaves)
    }

    fn rows(&self) -> BTreeMap<RowKey, Option<Interned>> {
        let desired = self.desired;
        let entries = inventory::entries(&self.status.inventory);
        let mut rows = BTreeMap::new();
        if desired.prune {
            rows.extend(self.live().into_iter().map(|key| (key, None)));
        }
        rows.extend(entries.iter().map(|(key, entry)| (key.clone(), entry.label.clone())));
        for sibling in &desired.siblings {
            rows.remove(&sibling.row);
        }
        for sibling in self.leaving() {
            if sibling.entry.is_some() || entries.contains_key(&sibling.row) {
                rows.insert(sibling.row.clone(), sibling.child.label());
            }
        }
        rows.retain(|key, _| !key.is_excluded() && !desired.all.contains_key(key) && is_live(self.seen, key));
        for (key, declaration) in desired.excluded() {
            // What the manifest excluded when the share was created is in the inventory.
            if !entries.contains_key(key) && self.seen.row(key, |_| false) == Observed::Absent {
                rows.insert(key.clone(), declaration.label.clone());
            }
        }
        rows
    }

    /// Live rows, as far as they were listed.
    fn live(&self) -> BTreeSet<RowKey> {
        let recipients = self.seen.recipients.iter().flat_map(|recipients| &recipients.rows);
        let recipients = recipients.map(|row| RowKey::Recipient(row.account_id.clone()));
        let resources = self.seen.resources.iter().flatten().map(resource_key);
        recipients.chain(resources).filter(|key| is_live(self.seen, key)).collect()
    }

    /// How many there were before the first of the removals that are to be made, and how many more there are now. What
    /// replaces them does not count: otherwise the removal of all would look like that of half.
    fn total(&self, of: Counted, rows: &BTreeMap<RowKey, Option<Interned>>, recent: &[&str]) -> (usize, usize) {
        let lost: BTreeSet<String> =
            recent.iter().filter(|row| is_counted(row, of)).map(|row| (*row).to_owned()).collect();
        let before = self.status.recent_removals.as_ref().and_then(|recent| recent.before.as_ref());
        let before = before.map(|before| match of {
            Counted::Accounts => usize::try_from(before.recipients).unwrap_or(0),
            Counted::Resources => usize::try_from(before.resources).unwrap_or(0),
        });
        let pending: BTreeSet<String> = rows.keys().filter(|key| counted(key) == of).map(RowKey::folded).collect();
        let going: BTreeSet<String> = pending.union(&lost).cloned().collect();
        let (all, replacing) = match self.unlisted(of) {
            Some(live) => (live.saturating_add(lost.len()).max(pending.len()), 0),
            None => {
                let live = self.live().into_iter().filter(|key| counted(key) == of).map(|key| (key.folded(), key));
                let staying: BTreeMap<String, RowKey> = live.filter(|(row, _)| !going.contains(row)).collect();
                // An object that is deleted may be replaced by one that was applied a moment before.
                let deleted = |sibling: &Sibling| sibling.child.is_deleting() && counted(&sibling.row) == of;
                let replaced = before.is_none() && self.desired.siblings.iter().any(deleted);
                let replacing = staying.values().filter(|key| replaced && self.is_new(key)).count();
                (going.len() + staying.len(), replacing)
            }
        };
        // Objects that were deleted one after the other may have been new when the first of them was counted.
        let total = before.unwrap_or(usize::MAX).min(all - replacing).max(going.len());
        (total, all.saturating_sub(total))
    }

    /// How many waited for a person at once, of this generation of the Share.
    fn withheld(&self, of: Counted) -> usize {
        let recorded = self.status.recent_removals.as_ref().and_then(|recent| recent.withheld.as_ref());
        let recorded = recorded.filter(|withheld| withheld.generation == generation(self.share));
        let number = recorded.map_or(0, |withheld| match of {
            Counted::Accounts => withheld.recipients,
            Counted::Resources => withheld.resources,
        });
        usize::try_from(number).unwrap_or(0)
    }

    /// How many are live as far as counts tell, where their rows were not listed since the process began.
    fn unlisted(&self, of: Counted) -> Option<usize> {
        let recipients = counted_recipients(self.status);
        let resources = self.status.resources.as_ref().map_or(0, |recorded| recorded.declared);
        let recorded = |n: i32| u64::try_from(n).unwrap_or(0);
        let live = match of {
            // The recipients of an organization's share are never listed.
            Counted::Accounts if self.desired.organization.is_some() || !self.seen.has_listed_recipients() => {
                self.seen.counts.map_or(recorded(recipients), |counts| counts.associating + counts.associated)
            }
            Counted::Resources if self.seen.resources.is_none() => recorded(resources),
            Counted::Accounts | Counted::Resources => return None,
        };
        Some(usize::try_from(live).unwrap_or(usize::MAX))
    }

    /// Whether our own call added it a moment ago.
    fn is_new(&self, key: &RowKey) -> bool {
        let id = match key {
            RowKey::Recipient(account) => self.seen.recipient(account).map(|row| row.id.to_string()),
            RowKey::Excluded(_) => None,
            RowKey::Resource { .. } => self.seen.resource(key).map(|row| row.id.to_string()),
        };
        id.is_some_and(|id| self.seen.is_new(&id, self.now, self.read_lag))
    }
}

/// The rows on record that still count.
fn recorded(status: &ShareStatus, now: At, serving_since: At) -> Vec<&str> {
    let rows = status.recent_removals.iter().flat_map(|recent| &recent.rows);
    let counts = |row: &&RemovedRow| guard::counts(clock::recorded(&row.at, now, serving_since), now);
    rows.filter(counts).map(|row| row.row.as_str()).collect()
}

fn is_counted(row: &str, counted: Counted) -> bool {
    (counted == Counted::Resources) == row.starts_with("resources[")
}

impl Losing {
    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty()
    }

    fn of(&self, counted: Counted) -> Losses {
        match counted {
            Counted::Accounts => self.accounts,
            Counted::Resources => self.resources,
        }
    }

    /// Whether these rows are too many to be meant.
    fn exceed(&self, of: Counted) -> bool {
        self.of(of).exceed(self.limit, of)
    }

    fn exceeds(&self) -> bool {
        self.exceed(Counted::Accounts) || self.exceed(Counted::Resources)
    }

    /// Whether this row is to go, and no person has confirmed it.
    pub fn is_unconfirmed(&self, key: &RowKey) -> bool {
        self.rows.contains_key(key) && !self.confirmed.contains(key)
    }

    /// Whether this row may be removed, or this account excluded.
    pub fn allows(&self, key: &RowKey) -> bool {
        !self.is_unconfirmed(key) || !self.exceed(counted(key))
    }

    /// The rows that wait for a person.
    pub fn blocked_rows(&self) -> impl Iterator<Item = &RowKey> {
        self.rows.keys().filter(|key| !self.allows(key))
    }

    /// Accounts that are not excluded before a person confirms it.
    pub fn blocked_exclusions(&self) -> HashSet<&RowKey> {
        self.blocked_rows().filter(|key| key.is_excluded()).collect()
    }

    /// Takes a person's confirmation of all that would be lost now, if there is one, and records it; `asked`: the value of
    /// the annotation. Where it returns true, the status must be saved before anything is done on the strength of it.
    pub fn accept(&mut self, share: &Share, status: &mut ShareStatus, asked: Option<&str>) -> bool {
        let next = next(share, Some(status));
        if !self.exceeds() || asked != Some(next.value().as_str()) {
            return false;
        }
        self.confirmed = self.rows.keys().cloned().collect();
        for losses in [&mut self.accounts, &mut self.resources] {
            (losses.pending, losses.withheld) = (0, 0);
        }
        if let Some(recent) = &mut status.recent_removals {
            recent.withheld = None;
        }
        let confirmed = ConfirmedRemovals {
            generation: next.generation,
            number: int32(next.number),
            open: true,
            rows: self.rows.keys().map(RowKey::folded).collect(),
        };
        status.confirmed_removals = Some(confirmed.into());
        true
    }

    /// Records how many rows there were before the removals, as long as some are still to be made, and how many wait for a
    /// person. Comes before [`Losing::accept`], whose caller saves both at once.
    pub fn record_totals(&self, share: &Share, status: &mut ShareStatus) {
        let before = (!self.is_nothing())
            .then(|| RowTotals { recipients: int32(self.accounts.total), resources: int32(self.resources.total) });
        let waiting = |of: Counted| {
            let Losses { pending, withheld, .. } = self.of(of);
            if self.exceed(of) { int32(pending.max(withheld)) } else { 0 }
        };
        let withheld = self.exceeds().then(|| Withheld {
            generation: generation(share),
            recipients: waiting(Counted::Accounts),
            resources: waiting(Counted::Resources),
        });
        let mut recent = status.recent_removals.take().unwrap_or_default();
        (recent.before, recent.withheld) = (before, withheld);
        status.recent_removals = (*recent != RecentRemovals::default()).then_some(recent);
    }

    /// What is reported of rows that wait for a person, and of what to do.
    pub fn blocked(&self, share: &Share, status: &ShareStatus) -> Option<Verdict> {
        let over: Vec<Counted> =
            [Counted::Accounts, Counted::Resources].into_iter().filter(|counted| self.exceed(*counted)).collect();
        if over.is_empty() {
            return None;
        }
        let many: Vec<String> = over.iter().map(|counted| self.how_many(*counted)).collect();
        let allowed: Vec<String> = over.iter().map(|counted| self.how_many_may(*counted)).collect();
        let names = self.names();
        let limit = match &share.spec.max_removals {
            None => "not set".to_owned(),
            Some(IntOrString::Int(n)) => n.to_string(),
            Some(IntOrString::String(text)) => text.clone(),
        };
        let keep = self.how_to_keep().join(", and ");
        let message = format!(
            "{}; only {} may be removed within 10 minutes without confirmation (spec.maxRemovals: {limit}), so these are \
             kept for now: {names}. To remove them: kubectl annotate shares.cfshare.dev {} -n {} {CONFIRM_REMOVALS}={} \
             --overwrite; to keep them, {keep}",
            many.join(", and "),
            allowed.join(" and "),
            share.name_any(),
            share.namespace().unwrap_or_default(),
            next(share, Some(status)).value(),
        );
        Some(Verdict::stalled(Reason::RemovalBlocked, message).requeue_after(delays::BLOCKED))
    }

    /// How many of how many, and what went lately.
    fn how_many(&self, counted: Counted) -> String {
        let Losses { total, newer, pending, lately, withheld } = self.of(counted);
        let fate = match counted {
            Counted::Accounts => "recipients would lose the share",
            Counted::Resources => "resources would be removed",
        };
        let kept = match withheld.saturating_sub(pending) {
            0 => String::new(),
            _ => format!(" ({withheld} until some were kept)"),
        };
        let lately = match lately {
            0 => String::new(),
            n => format!(", in addition to {n} in the last 10 minutes"),
        };
        let newer = match newer {
            0 => String::new(),
            n => format!(", not counting {n} added lately"),
        };
        format!("{pending} of {total} {fate}{kept}{lately}{newer}")
    }

    /// What keeps the rows that wait for a person.
    fn how_to_keep(&self) -> Vec<&'static str> {
        let blocked: Vec<&RowKey> = self.blocked_rows().collect();
        let declared = |key: &RowKey| !key.is_excluded() && !self.of_deleted.contains(key);
        let ways = [
            (blocked.iter().any(|key| declared(key)), "declare them again"),
            // Kubernetes does not take a deletion back.
            (
                blocked.iter().any(|key| self.of_deleted.contains(*key)),
                "set deletionPolicy: Retain on the objects that are being deleted",
            ),
            (blocked.iter().any(|key| key.is_excluded()), "take them out of spec.organization.excluded"),
        ];
        ways.into_iter().filter(|(needed, _)| *needed).map(|(_, way)| way).collect()
    }

    fn how_many_may(&self, counted: Counted) -> String {
        let allowed = self.limit.of(counted, self.of(counted).total);
        match (counted, allowed) {
            (Counted::Accounts, 1) => "1 recipient".to_owned(),
            (Counted::Accounts, n) => format!("{n} recipients"),
            (Counted::Resources, 1) => "1 resource".to_owned(),
            (Counted::Resources, n) => format!("{n} resources"),
        }
    }

    /// What waits for a person.
    fn names(&self) -> String {
        let mut names = String::new();
        let rows: Vec<String> = self
            .rows
            .iter()
            .filter(|(key, _)| !self.allows(key))
            .map(|(key, name)| label(key, name.as_deref()))
            .collect();
        for (at, name) in rows.iter().enumerate() {
            if at > 0 && names.len() + name.len() > MAX_NAMES {
                return format!("{names} and {} more", rows.len() - at);
            }
            if at > 0 {
                names.push_str(", ");
            }
            names.push_str(name);
        }
        names
    }
}

fn generation(share: &Share) -> i64 {
    share.metadata.generation.unwrap_or(0)
}

fn confirmation(status: Option<&ShareStatus>) -> Option<Confirmation> {
    let recorded = status?.confirmed_removals.as_ref()?;
    let number = u32::try_from(recorded.number).unwrap_or(0);
    Some(Confirmation { generation: recorded.generation, number, open: recorded.open })
}

/// The value of the annotation by which a person confirms what the Share would lose now.
pub fn next_confirmation(share: &Share) -> String {
    next(share, share.status.as_ref()).value()
}

fn next(share: &Share, status: Option<&ShareStatus>) -> Confirmation {
    let ignored = status.and_then(|status| status.ignored_confirmation.as_deref());
    Confirmation::next(confirmation(status), generation(share), ignored)
}

/// Whether what was confirmed is still being removed, and the Share was not edited since.
fn is_confirmed(share: &Share, status: &ShareStatus) -> bool {
    Confirmation::is_in_force(confirmation(Some(status)), generation(share))
}

/// All that was confirmed is removed: what comes next needs another confirmation.
pub fn close_confirmation(status: &mut ShareStatus) {
    if let Some(confirmed) = &mut status.confirmed_removals {
        confirmed.open = false;
        confirmed.rows.clear();
    }
}

/// Records that these rows are about to be removed, and drops what does not count any more. Returns whether anything is
/// to be saved before the calls.
pub fn record<'k>(
    status: &mut ShareStatus,
    keys: impl Iterator<Item = &'k RowKey>,
    now: At,
    serving_since: At,
) -> bool {
    let mut recent = status.recent_removals.take().unwrap_or_default();
    let before = recent.rows.clone();
    let recorded_at = |row: &RemovedRow| clock::recorded(&row.at, now, serving_since);
    recent.rows.retain(|row| guard::counts(recorded_at(row), now));
    for key in keys {
        let row = key.folded();
        match recent.rows.iter_mut().find(|known| known.row == row) {
            Some(known) if !guard::is_stale(recorded_at(known), now) => {}
            Some(known) => known.at = clock::time(now),
            None => recent.rows.push(RemovedRow { row, at: clock::time(now) }),
        }
    }
    let changed = recent.rows != before;
    status.recent_removals = (*recent != RecentRemovals::default()).then_some(recent);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::share::samples;
    use serde_json::json;

    const ID: &str = "3fd85f74b32742f1bff64a85009dda07";

    /// How many recipients and resources there were before the removals, of a share with four associated recipients.
    fn totals(status: serde_json::Value, resources: serde_json::Value) -> (usize, usize) {
        let counts = json!({"associated_recipient_count": 4, "resources": resources});
        let seen = ObservedShare::new(samples::remote(ID, counts), At(0));
        let share = samples::share(json!({}), status);
        let index = samples::index(vec![share.clone()], vec![]);
        let (desired, status) = (samples::desired(&share, &index), samples::status(&share));
        let losing = losing(&share, &desired, &status, &seen, &Settings::default(), At(0), At(0));
        (losing.accounts.total, losing.resources.total)
    }

    #[test]
    fn rows_that_were_not_listed_since_the_process_began_are_counted_all_the_same() {
        let lost = json!({"row": format!("recipients[{}]", samples::ALPHA), "at": "1970-01-01T00:00:00Z"});
        let before = json!({"before": {"recipients": 4, "resources": 3}, "rows": [lost]});
        assert_eq!(totals(json!({"recentRemovals": before}), json!(null)).0, 4);
        assert_eq!(totals(json!({}), json!(null)).0, 4);
        let recorded = json!({"resources": {"declared": 3, "active": 3, "summary": "3/3"}});
        assert_eq!(totals(recorded, json!(null)).1, 3);
        assert_eq!(totals(json!({}), json!([])).1, 0);
    }

    #[test]
    fn a_removal_recorded_at_a_time_still_to_come_counts_from_when_the_process_began() {
        let (now, minutes) = (At(10_000_000), |n: u64| Duration::from_secs(60 * n));
        let at = clock::timestamp(now.plus(minutes(120))).to_string();
        let row = json!({"row": format!("recipients[{}]", samples::ALPHA), "at": at});
        let share = samples::share(json!({}), json!({"recentRemovals": {"rows": [row]}}));
        let mut status = samples::status(&share);
        assert_eq!(recorded(&status, now, now.minus(minutes(9))).len(), 1);
        assert!(recorded(&status, now, now.minus(minutes(11))).is_empty());
        assert!(record(&mut status, std::iter::empty(), now, now.minus(minutes(11))), "it is dropped");
        assert_eq!(status.recent_removals, None);
    }

    #[test]
    fn a_row_counts_once_in_whatever_case_its_id_is_written() {
        let listed: Vec<serde_json::Value> = (0..4)
            .map(|n| json!({"id": format!("r{n}"), "account_id": format!("{n}{ID}"), "association_status": "associated"}))
            .collect();
        let recorded: Vec<serde_json::Value> =
            (0..4).map(|n| json!({"accountID": format!("{n}{ID}").to_uppercase()})).collect();
        let mut seen = ObservedShare::new(samples::remote(ID, json!({"associated_recipient_count": 4})), At(0));
        seen.read_recipients(serde_json::from_value(json!(listed)).expect("recipients"), At(0), Duration::ZERO);
        let resource =
            json!({"type": "custom-ruleset", "id": samples::RULESET.to_uppercase(), "accountID": samples::OWNER});
        let inventory = json!({"recipients": recorded, "resources": [resource]});
        let nothing_declared = json!({"recipients": [], "resources": []});
        let share = samples::share(nothing_declared, json!({"inventory": inventory}));
        let index = samples::index(vec![share.clone()], vec![]);
        let (desired, status) = (samples::desired(&share, &index), samples::status(&share));
        let losing = losing(&share, &desired, &status, &seen, &Settings::default(), At(0), At(0));
        assert_eq!((losing.accounts.total, losing.accounts.pending), (4, 4));
        assert_eq!((losing.resources.total, losing.resources.pending), (1, 1));
        assert!(losing.exceed(Counted::Accounts), "all of four");
    }

    /// What a share of nine recipients loses of which `pending` are not declared any more and the others are kept, by a
    /// status that says what was removed and withheld.
    fn losing_of_nine(pending: usize, recent: serde_json::Value) -> (Share, ShareStatus, Losing) {
        let account = |n: usize| format!("{n}{ID}")[..32].to_owned();
        let listed: Vec<serde_json::Value> = (0..9)
            .map(|n| json!({"id": format!("r{n}"), "account_id": account(n), "association_status": "associated"}))
            .collect();
        let recorded: Vec<serde_json::Value> = (0..pending).map(|n| json!({"accountID": account(n)})).collect();
        let mut seen = ObservedShare::new(samples::remote(ID, json!({"associated_recipient_count": 9})), At(0));
        seen.read_recipients(serde_json::from_value(json!(listed)).expect("recipients"), At(0), Duration::ZERO);
        let status = json!({"inventory": {"recipients": recorded}, "recentRemovals": recent});
        let share = samples::share(json!({"recipients": []}), status);
        let index = samples::index(vec![share.clone()], vec![]);
        let (desired, status) = (samples::desired(&share, &index), samples::status(&share));
        let losing = losing(&share, &desired, &status, &seen, &Settings::default(), At(0), At(0));
        (share, status, losing)
    }

    #[test]
    fn rows_that_wait_for_a_person_still_wait_when_others_of_them_are_kept() {
        let generation = losing_of_nine(8, json!(null)).0.metadata.generation.unwrap_or(0);
        let withheld = |pending, recorded| {
            let (share, mut status, losing) = losing_of_nine(pending, json!({"withheld": recorded}));
            losing.record_totals(&share, &mut status);
            let recorded = status.recent_removals.and_then(|recent| recent.withheld);
            (losing.exceeds(), recorded.map_or(0, |withheld| withheld.recipients))
        };
        let eight = json!({"generation": generation, "recipients": 8, "resources": 0});
        assert_eq!(withheld(8, json!(null)), (true, 8));
        assert_eq!(withheld(4, eight.clone()), (true, 8), "four were kept");
        assert_eq!(withheld(0, eight.clone()), (false, 0), "all were kept");
        assert_eq!(withheld(4, json!(null)), (false, 0));
        let before = json!({"generation": generation - 1, "recipients": 8, "resources": 0});
        assert_eq!(withheld(4, before), (false, 0), "the Share was edited since");

        let (share, mut status, mut losing) = losing_of_nine(4, json!({"withheld": eight}));
        let message = losing.blocked(&share, &status).expect("blocked").message;
        assert!(
            message.starts_with("4 of 9 recipients would lose the share (8 until some were kept); only 4 "),
            "{message}"
        );
        let value = next(&share, Some(&status)).value();
        assert!(losing.accept(&share, &mut status, Some(&value)));
        assert!(!losing.exceeds());
        assert_eq!(
            status.recent_removals.and_then(|recent| recent.withheld),
            None,
            "a confirmation holds for all of them"
        );
    }

    #[test]
    fn what_was_added_since_the_removals_began_is_named_and_does_not_count() {
        let (share, status, losing) = losing_of_nine(6, json!({"before": {"recipients": 7, "resources": 0}}));
        let message = losing.blocked(&share, &status).expect("blocked").message;
        let expected = "6 of 7 recipients would lose the share, not counting 2 added lately; only 3 recipients may ";
        assert!(message.starts_with(expected), "{message}");
    }
}
