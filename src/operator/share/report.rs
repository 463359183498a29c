//! What is told of a share: counts, exceptions, what nobody declared, drift, and the verdict.

use super::super::clock;
use super::plan::Plan;
use super::work::Work;
use crate::api::Reason;
use crate::api::status::{DriftEntry, ExceptionEntry, RecipientCounts, ResourceCounts, UnmanagedEntry};
use crate::cloudflare::{AssociationStatus, ShareStatus, clean};
use crate::core::create::Mode;
use crate::core::id::ShareId;
use crate::core::row::{Seen as RowSeen, Step};
use crate::core::row_key::RowKey;
use crate::operator::pass::verdict::{Verdict, latest};
use crate::operator::remote::seen::Seen;
use crate::operator::rows::inventory;
use crate::operator::rows::standing::{NOT_EXCLUDED, Standing, State, standing};
use crate::operator::waits;

const MAX_EXCEPTIONS: usize = 100;
const MAX_UNMANAGED: usize = 20;
const MAX_MESSAGE: usize = 300;

impl Work {
    fn standing(&self, key: &RowKey, seen: &Seen, step: Option<Step>) -> Standing {
        let now = self.pass.now();
        if let Some(refused) = self.pass.notes(|notes| notes.refusal(&key.to_string(), now).cloned()) {
            return Standing { state: State::Refused, word: "refused".into(), message: refused.message };
        }
        let row = self.row(seen, key);
        let write = match step {
            Some(Step::Update) => Some(row.updating()),
            Some(Step::Add | Step::Restore) => Some(row.adding()),
            _ => None,
        };
        if write.is_some_and(|write| self.pass.pointless(&write).is_some()) {
            let message = "written twice, and it reads back different".to_owned();
            return Standing { state: State::Refused, word: "not converging".into(), message };
        }
        standing(key, seen, step)
    }

    /// Fills the status from what was seen, and concludes.
    pub(super) fn report(&mut self, id: &ShareId, seen: &Seen, plan: &Plan) -> Verdict {
        let status = &mut self.pass.status;
        status.share_id = Some(id.to_string());
        status.account_name = Some(clean(&seen.share.account_name, MAX_MESSAGE)).filter(|name| !name.is_empty());
        status.target_type = Some(seen.share.target_type.to_string());
        status.remote_status = Some(seen.share.status.to_string());
        if status.share_name.is_none() || self.mode != Mode::Manage {
            status.share_name = Some(clean(&seen.share.name, MAX_MESSAGE));
        }
        let mut standings = self.standings(seen, plan);
        self.count(&standings, seen);
        self.list_exceptions(&standings);
        self.list_unmanaged(seen, plan);
        self.list_drift(seen, plan);
        self.count_blocked(seen);
        if self.mode != Mode::Manage {
            return self.compare(id, seen, plan);
        }
        self.pass.alarm = self.not_in_force(&standings);
        standings.retain(|(_, standing)| standing.word != NOT_EXCLUDED);
        let verdict = self.conclude(id, seen, plan, &standings);
        match self.pass.alarm.take() {
            Some(alarm) if alarm.again.is_none() => alarm.again(self.follow(seen)).before(verdict),
            Some(alarm) => alarm.before(verdict),
            None => verdict,
        }
    }

    /// How each declared row stands.
    pub(super) fn standings(&self, seen: &Seen, plan: &Plan) -> Vec<(RowKey, Standing)> {
        let step = |key: &RowKey| plan.steps.get(key).map(|(step, _)| *step);
        let rows = self.wanted.all.keys().map(|key| (key.clone(), self.standing(key, seen, step(key))));
        let mut standings: Vec<(RowKey, Standing)> = rows.collect();
        self.name_exclusions(&mut standings, seen);
        standings
    }

    /// How many rows wait for a person before they are removed.
    fn count_blocked(&mut self, seen: &Seen) {
        let blocked = if self.mode == Mode::Manage { self.count_held(seen) } else { 0 };
        self.pass.status.blocked_removals = i32::try_from(blocked).unwrap_or(i32::MAX);
    }

    /// What was seen, in numbers.
    fn so_far(&self) -> String {
        let of = |summary: Option<&String>| summary.cloned().unwrap_or_default();
        format!(
            "{} recipients associated, {} resources active",
            of(self.pass.status.recipients.as_ref().map(|counts| &counts.summary)),
            of(self.pass.status.resources.as_ref().map(|counts| &counts.summary)),
        )
    }

    /// What is told of the rows while the share is not made: those that were refused.
    pub(super) fn report_unmade(&mut self) {
        let now = self.pass.now();
        let standings: Vec<(RowKey, Standing)> = self.pass.notes(|notes| {
            let refused = self.wanted.all.keys().filter_map(|key| {
                let refused = notes.refusal(&key.to_string(), now)?;
                let message = refused.message.clone();
                Some((key.clone(), Standing { state: State::Refused, word: "refused".into(), message }))
            });
            refused.collect()
        });
        self.list_exceptions(&standings);
    }

    fn count(&mut self, standings: &[(RowKey, Standing)], seen: &Seen) {
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let of = |recipients: bool, wanted: &[State]| {
            let rows = standings.iter().filter(|(key, _)| match key {
                RowKey::Recipient(_) => recipients,
                RowKey::Resource { .. } => !recipients,
                RowKey::Excluded(_) => false,
            });
            number(rows.filter(|(_, standing)| wanted.contains(&standing.state)).count())
        };
        let any = [State::InPlace, State::Pending, State::Failing, State::Failed, State::Refused];
        let counts = seen.counts.unwrap_or_default();
        let counted = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
        let mut recipients = RecipientCounts {
            declared: of(true, &any),
            associated: of(true, &[State::InPlace]),
            pending: of(true, &[State::Pending, State::Failing]),
            failed: of(true, &[State::Failed, State::Refused]),
            in_place: counted(counts.associated),
            disassociated: counted(counts.disassociated),
            summary: String::new(),
        };
        if let Some(listed) = &seen.recipients {
            let with =
                |word: AssociationStatus| number(listed.rows.iter().filter(|r| r.association_status == word).count());
            recipients.in_place = with(AssociationStatus::Associated);
            recipients.disassociated = with(AssociationStatus::Disassociated);
        }
        if self.wanted.organization.is_some() {
            // Its recipients follow the membership: Cloudflare's counts are all there is to know.
            recipients.declared = counted(counts.associating + counts.associated);
            recipients.associated = counted(counts.associated);
            recipients.pending = counted(counts.associating);
        }
        recipients.summary = format!("{}/{}", recipients.associated, recipients.declared);
        let mut resources =
            ResourceCounts { declared: of(false, &any), active: of(false, &[State::InPlace]), summary: String::new() };
        resources.summary = format!("{}/{}", resources.active, resources.declared);
        self.pass.status.recipients = Some(recipients);
        self.pass.status.resources = Some(resources);
        // It follows from the counts, so a pass after a restart must find nothing to change.
        let allowed = super::losses::max_removals(&self.pass.status, &self.wanted);
        if let Some(effective) = &mut self.pass.status.effective {
            effective.max_removals = allowed;
        }
    }

    pub(super) fn list_exceptions(&mut self, standings: &[(RowKey, Standing)]) {
        let now = clock::time(self.pass.now());
        let before = std::mem::take(&mut self.pass.status.exceptions);
        let mut listed: Vec<(State, ExceptionEntry)> = standings
            .iter()
            .filter(|(_, standing)| standing.state != State::InPlace)
            .map(|(key, standing)| {
                let (account_id, kind, id) = columns(key);
                let entry = ExceptionEntry {
                    account_id,
                    kind,
                    id,
                    name: self.wanted.all.get(key).and_then(|declaration| declaration.label.clone()),
                    state: standing.word.clone(),
                    since: now.clone(),
                    terminal: standing.state == State::Failed,
                    message: clean(&standing.message, MAX_MESSAGE),
                };
                let same = |old: &&ExceptionEntry| {
                    (&old.account_id, &old.kind, &old.id, &old.state)
                        == (&entry.account_id, &entry.kind, &entry.id, &entry.state)
                };
                let entry = match before.iter().find(same) {
                    Some(old) => {
                        let message = latest(&old.message, entry.message);
                        ExceptionEntry { since: old.since.clone(), message, ..entry }
                    }
                    None => entry,
                };
                (standing.state, entry)
            })
            .collect();
        // What failed comes first: the list may be cut.
        listed.sort_by_key(|(state, _)| match state {
            State::Failed | State::Refused => 0,
            State::Failing => 1,
            State::Pending | State::InPlace => 2,
        });
        let omitted = listed.len().saturating_sub(MAX_EXCEPTIONS);
        self.pass.status.exceptions_omitted = i32::try_from(omitted).unwrap_or(i32::MAX);
        self.pass.status.exceptions = listed.into_iter().take(MAX_EXCEPTIONS).map(|(_, entry)| entry).collect();
    }

    fn list_unmanaged(&mut self, seen: &Seen, plan: &Plan) {
        let unmanaged: Vec<UnmanagedEntry> = plan
            .steps
            .iter()
            .filter(|(_, (step, row))| *step == Step::Ignore && matches!(row, RowSeen::Live { .. }))
            .map(|(key, _)| {
                let (account_id, kind, id) = columns(key);
                UnmanagedEntry { account_id, kind, id, state: standing(key, seen, None).word }
            })
            .collect();
        self.pass.status.unmanaged_count = i32::try_from(unmanaged.len()).unwrap_or(i32::MAX);
        self.pass.status.unmanaged = unmanaged.into_iter().take(MAX_UNMANAGED).collect();
    }

    /// Drift stays told until the value is as declared again.
    fn list_drift(&mut self, seen: &Seen, plan: &Plan) {
        let clean_rows: Vec<String> = plan
            .steps
            .iter()
            .filter(|(key, (step, _))| {
                *step == Step::Keep && standing(key, seen, None).state == State::InPlace || *step == Step::Ignore
            })
            .map(|(key, _)| key.to_string())
            .collect();
        let gone = |path: &str| !plan.steps.keys().any(|key| path.starts_with(&key.to_string()));
        let misnamed = self.is_misnamed(seen);
        self.pass.status.common.drift.retain(|drift| {
            drift.path == "name" && misnamed
                || !(clean_rows.iter().any(|row| drift.path.starts_with(row.as_str())) || gone(&drift.path))
        });
        // What is left is only observed, or could not be put right.
        let mut told: Vec<DriftEntry> =
            plan.steps.iter().filter_map(|(key, (step, _))| self.drift_of(key, *step, seen)).collect();
        told.extend(self.name_drift(seen));
        if self.mode == Mode::Manage {
            let drift = &mut self.pass.status.common.drift;
            drift.retain(|old| told.iter().all(|new| new.path != old.path));
            drift.extend(told);
        } else {
            self.pass.status.common.drift = told;
        }
    }

    fn conclude(&mut self, id: &ShareId, seen: &Seen, plan: &Plan, standings: &[(RowKey, Standing)]) -> Verdict {
        let recipients = self.pass.status.recipients.clone().unwrap_or_default();
        let so_far = self.so_far();
        // An account whose exclusion waits for a person is not on its way.
        let held = self.held_exclusions(seen);
        let ours = |state: State| -> Vec<&(RowKey, Standing)> {
            let rows = standings.iter().filter(|(key, s)| s.state == state && self.is_ours(key));
            rows.filter(|(key, _)| !held.contains(key)).collect()
        };
        let leaving = plan.steps.iter().filter(|(key, (step, row))| {
            !self.wanted.all.contains_key(*key)
                && (*step == Step::Wait || *step == Step::Remove && *row == RowSeen::Leaving)
        });
        let leaving = leaving.count() + self.leaving_members(seen);
        let waiting = ours(State::Pending).len() + ours(State::Failing).len();
        let awaited = self.awaited(standings);
        // Without counts nobody knows who receives it.
        let organization_pending =
            self.wanted.organization.is_some() && (recipients.pending > 0 || seen.counts.is_none());
        let stuck = self.stuck(plan, seen, &ours(State::Failed), &ours(State::Refused));
        let is_active = seen.share.status == ShareStatus::Active;
        let under_way = waiting > 0 || leaving > 0 || organization_pending;
        if under_way || !is_active || (!awaited.is_empty() && stuck.is_none()) {
            let wait = match (under_way, awaited.is_empty()) {
                (true, _) => Some(self.follow(seen)),
                // The objects follow their own rows, and what they say wakes us.
                (false, false) => Some(waits::PERSON),
                // Nobody knows how long an unknown status lasts: the sweep shows when it ends.
                (false, true) => None,
            };
            if !under_way {
                self.settle();
            }
            let waiting = waiting + awaited.len();
            let named = ours(State::Pending).into_iter().chain(ours(State::Failing)).chain(awaited).take(3);
            let named: Vec<String> = named.map(|(key, s)| format!("{} is {}", self.label(key), s.word)).collect();
            let mut message = so_far;
            if !named.is_empty() {
                let more = if waiting > named.len() { ", …" } else { "" };
                message = format!("{message}; {}{more}", named.join(", "));
            }
            if !is_active {
                message = format!("{message}; {}", not_active(seen));
            }
            if leaving > 0 {
                message = format!("{message}; {leaving} on the way out");
            }
            if let Some(stuck) = &stuck {
                message = format!("{message}. {}", stuck.message);
            }
            return Verdict { again: wait, ..Verdict::working(Reason::Associating, message) };
        }
        self.settle();
        match stuck {
            Some(verdict) => verdict,
            None => {
                if !self.has_been_ready() && self.pass.alarm.is_none() {
                    self.pass.status.first_ready_at = Some(clock::time(self.pass.now()));
                }
                let so_far = self.with_failed_objects(standings, so_far);
                let verdict = Verdict::ready(Reason::Associated, self.with_twin(id, so_far));
                let entries = inventory::entries(&self.pass.status.inventory);
                if entries.values().any(|entry| entry.intended_at.is_some()) {
                    // The record still has to learn that an announced call has settled.
                    return verdict.again(self.pass.look_once_settled());
                }
                verdict
            }
        }
    }

    /// What does not go on by itself, the most pressing first.
    fn stuck(
        &self,
        plan: &Plan,
        seen: &Seen,
        failed: &[&(RowKey, Standing)],
        refused: &[&(RowKey, Standing)],
    ) -> Option<Verdict> {
        if let Some(verdict) = self.blocked_removals(seen) {
            return Some(verdict);
        }
        let rows = |wanted: fn(Step) -> bool| {
            let steps = plan.steps.iter().filter(move |(_, (step, _))| wanted(*step));
            steps.map(|(key, _)| self.row(seen, key))
        };
        let updates = rows(|step| step == Step::Update).map(|row| row.updating());
        let adds = rows(|step| matches!(step, Step::Add | Step::Restore)).map(|row| row.adding());
        let removals = rows(|step| step == Step::Remove).map(|row| row.removing());
        if let Some(verdict) = updates.chain(adds).chain(removals).find_map(|write| self.pass.pointless(&write)) {
            return Some(verdict);
        }
        if let Some((key, standing)) = refused.first() {
            let again = self.pass.refusal(&key.to_string(), Reason::Rejected).and_then(|verdict| verdict.again);
            let verdict = Verdict::stalled(Reason::Rejected, with_more(&standing.message, refused.len()));
            return Some(verdict.again(again.unwrap_or_default()));
        }
        if let Some(verdict) = rows(|step| step == Step::Remove).find_map(|row| row.removal_refused()) {
            return Some(verdict);
        }
        if let Some((key, standing)) = failed.first() {
            let message = standing.given_up(&self.label(key), self.pass.object.as_ref());
            return Some(Verdict::stalled(Reason::RecipientFailed, with_more(&message, failed.len())));
        }
        self.out_of_scope()
    }

    /// Where nothing may be written: whether anything would be.
    fn compare(&mut self, id: &ShareId, seen: &Seen, plan: &Plan) -> Verdict {
        let so_far = self.so_far();
        if self.access.account.breaker().is_some() {
            return self.frozen("");
        }
        let changes = plan.of(|step| matches!(step, Step::Add | Step::Restore | Step::Update | Step::Remove));
        let renamed = self.pass.status.common.drift.iter().any(|drift| drift.path == "name");
        if changes.is_empty() && !renamed && seen.share.status != ShareStatus::Active {
            return Verdict::working(Reason::Associating, format!("observed: {so_far}; {}", not_active(seen)));
        }
        if changes.is_empty() && !renamed {
            let message = format!("observed: share {id} is as declared; {so_far}");
            return Verdict::ready(Reason::Observed, message);
        }
        let named: Vec<String> = changes.iter().take(3).map(|key| self.label(key)).collect();
        let renamed = if renamed { "its name, " } else { "" };
        let count = changes.len() + usize::from(!renamed.is_empty());
        Verdict::stalled(
            Reason::Differs,
            format!(
                "observed: share {id} differs in {count} place{} ({renamed}{}{}); nothing is changed",
                if count == 1 { "" } else { "s" },
                named.join(", "),
                if changes.len() > 3 { ", …" } else { "" },
            ),
        )
    }
}

/// What is told of a share that is live and not active: a status that is not known may mean anything.
fn not_active(seen: &Seen) -> String {
    match seen.share.status.as_str() {
        "" => "Cloudflare does not say that the share is active".to_owned(),
        word => format!("the status of the share at Cloudflare is {}, not active", clean(word, 40)),
    }
}

pub(super) fn with_more(message: &str, count: usize) -> String {
    match count {
        0 | 1 => message.to_owned(),
        n => format!("{message} (and {} more, see status.exceptions)", n - 1),
    }
}

fn columns(key: &RowKey) -> (Option<String>, Option<String>, Option<String>) {
    match key {
        RowKey::Recipient(account) | RowKey::Excluded(account) => (Some(account.to_string()), None, None),
        RowKey::Resource { kind, id, .. } => (None, Some(clean(kind, MAX_MESSAGE)), Some(id.to_string())),
    }
}
