//! How does each declared row stand, which are not in place, and whose matter is that?

use super::losses::Losing;
use super::members;
use super::plan::Plan;
use super::share_pass::SharePass;
use super::waivers;
use crate::api::status::{ExceptionEntry, RowRef};
use crate::api::{Reason, int32};
use crate::cloudflare::clean;
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::share_step::Mode;
use crate::operator::pass::verdict::latest;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::row::awaits_exclusions;
use crate::operator::rows::row_state::{
    EXCLUSION_BLOCKED, EXCLUSION_PENDING, NOT_CONVERGING, NOT_EXCLUDED, RowState, State, first_of, of_another_account,
    row_state,
};
use crate::operator::{clock, conditions};

const MAX_EXCEPTIONS: usize = 100;
const MAX_MESSAGE: usize = 300;

/// Resources that wait until accounts are excluded. If an exclusion needs a person, so do they.
fn hold_back_resources(row_states: &mut [RowState]) {
    let is_stuck =
        |row: &RowState| row.key.is_excluded() && (row.state == State::Refused || row.word == EXCLUSION_BLOCKED);
    let is_stuck = row_states.iter().any(is_stuck);
    for row in row_states.iter_mut().filter(|row| row.key.is_resource() && row.state == State::Pending) {
        if is_stuck {
            row.state = State::Refused;
        }
        row.message = "it is added once the excluded accounts are excluded".to_owned();
    }
}

/// How excluded accounts stand that are not excluded: whether they receive the share, and why.
fn name_exclusions(row_states: &mut [RowState], seen: &ObservedShare, losing: Option<&Losing>) {
    let blocked = losing.map(Losing::blocked_exclusions).unwrap_or_default();
    for row in row_states.iter_mut().filter(|row| row.key.is_excluded() && !row.is_in_place()) {
        let (word, until) = if blocked.contains(&row.key) {
            (EXCLUSION_BLOCKED, Some("someone confirms the exclusion"))
        } else if seen.live_resources() == 0 {
            (EXCLUSION_PENDING, None)
        } else {
            (NOT_EXCLUDED, Some("it is excluded"))
        };
        row.word = word.to_owned();
        if let Some(until) = until.filter(|_| row.message.is_empty()) {
            row.message = format!("the account receives the share until {until}");
        }
    }
}

/// The first that holds: there under another account, refused lately, not converging, refused to its object, as seen.
fn state_of(share: &SharePass, key: &RowKey, seen: &ObservedShare, step: Option<Step>) -> RowState {
    if let Some(held) = of_another_account(key, seen) {
        return held;
    }
    let now = share.pass.now();
    if let Some(refused) = share.pass.memory(|memory| memory.refusal(&key.to_string(), now).cloned()) {
        let state = if refused.passing && !key.is_excluded() { State::Pending } else { State::Refused };
        return RowState { state, ..RowState::refused(key, refused.message) };
    }
    let write = match step {
        Some(Step::Update) => Some(share.row(seen, key).updating()),
        Some(Step::Add | Step::Restore) => Some(share.row(seen, key).adding()),
        Some(Step::Keep | Step::Read | Step::Confirm | Step::Wait) => None,
        Some(Step::Remove | Step::Forget | Step::Ignore) | None => None,
    };
    if write.is_some_and(|write| share.pass.not_converging(&write).is_some()) {
        let message = "written twice, but Cloudflare still returns a different value";
        return RowState::of(key, State::Refused, NOT_CONVERGING, message);
    }
    if let RowKey::Recipient(account) = key
        && seen.recipient(account).is_none()
        && let Some(sibling) = share.declaring(key).filter(|sibling| sibling.child.is_waived())
    {
        // Only its object knows that Cloudflare refused to add it.
        return RowState::refused(key, format!("Cloudflare refused to add it, see {}", sibling.key));
    }
    row_state(key, seen, step)
}

/// How each declared row stands, and each member of the organization that is known not to receive the share; `losing`: what would
/// be lost, where that may wait for a confirmation.
pub fn row_states(share: &SharePass, seen: &ObservedShare, plan: &Plan, losing: Option<&Losing>) -> Vec<RowState> {
    let step = |key: &RowKey| plan.rows.get(key).map(|row| row.step);
    let mut row_states: Vec<RowState> =
        share.desired.all.keys().map(|key| state_of(share, key, seen, step(key))).collect();
    name_exclusions(&mut row_states, seen, losing);
    if awaits_exclusions(&share.pass.object, seen) {
        hold_back_resources(&mut row_states);
    }
    row_states.extend(members::row_states(seen));
    row_states
}

pub fn list_exceptions(share: &mut SharePass, row_states: &[RowState]) {
    let now = clock::time(share.pass.now());
    let before = std::mem::take(&mut share.pass.status.exceptions);
    let mut listed: Vec<(State, ExceptionEntry)> = row_states
        .iter()
        .filter(|row| !row.is_in_place())
        .map(|row| {
            let entry = ExceptionEntry {
                row: row_ref(&row.key),
                name: share.desired.all.get(&row.key).and_then(|declaration| declaration.label.clone()),
                state: row.word.clone(),
                since: now.clone(),
                terminal: row.state == State::Failed,
                message: clean(&row.message, MAX_MESSAGE),
                waiver: waivers::in_force(share, row),
            };
            let same = |old: &&ExceptionEntry| (&old.row, &old.state) == (&entry.row, &entry.state);
            let entry = match before.iter().find(same) {
                Some(old) => {
                    let message = latest(&old.message, entry.message);
                    ExceptionEntry { since: old.since.clone(), message, ..entry }
                }
                None => entry,
            };
            (row.state, entry)
        })
        .collect();
    // What failed comes first: the list may be cut.
    listed.sort_by_key(|(state, _)| match state {
        State::Failed | State::Refused => 0,
        State::Failing => 1,
        State::Pending | State::InPlace => 2,
    });
    let omitted = listed.len().saturating_sub(MAX_EXCEPTIONS);
    share.pass.status.exceptions_omitted = int32(omitted);
    share.pass.status.exceptions = listed.into_iter().take(MAX_EXCEPTIONS).map(|(_, entry)| entry).collect();
}

/// The row, as the status names it.
pub fn row_ref(key: &RowKey) -> RowRef {
    match key {
        RowKey::Recipient(account) | RowKey::Excluded(account) => {
            RowRef { account_id: Some(account.as_str().into()), ..RowRef::default() }
        }
        RowKey::Resource { kind, id, .. } => {
            RowRef { account_id: None, kind: Some(clean(kind, MAX_MESSAGE).into()), id: Some(id.as_str().into()) }
        }
    }
}

/// Whether the share was Ready once: from then on, rows that objects add are their objects' own matter.
pub fn has_been_ready(share: &SharePass) -> bool {
    let status = &share.pass.status;
    status.first_ready_at.is_some()
        || conditions::readiness(&status.common.conditions) == Some(("True", Reason::Associated.as_str()))
}

/// Rows of objects that a share which was never Ready waits for: all that are on their way.
pub fn awaited<'a>(share: &SharePass, row_states: &'a [RowState]) -> Vec<&'a RowState> {
    if has_been_ready(share) || share.mode != Mode::Manage {
        return Vec::new();
    }
    let on_its_way =
        |sibling: &Sibling| !sibling.child.is_suspended() && !sibling.child.is_stalled() && !sibling.outside;
    let pending = |state: State| matches!(state, State::Pending | State::Failing);
    let awaited = row_states.iter().filter(|row| pending(row.state));
    awaited.filter(|row| share.declaring(&row.key).is_some_and(on_its_way)).collect()
}

/// A row that failed for good is the failure of the object that declares it.
pub fn with_failed_objects(share: &SharePass, row_states: &[RowState], so_far: String) -> String {
    let failed = row_states.iter().filter(|row| !row.is_in_place()).filter_map(|row| {
        let sibling = share.declaring(&row.key)?;
        if waivers::in_force(share, row).is_some() {
            return None;
        }
        let word = match row.state {
            State::Failed | State::Refused => "failed",
            State::InPlace | State::Pending | State::Failing if sibling.child.is_stalled() => "is not in place",
            State::InPlace | State::Pending | State::Failing => return None,
        };
        Some(format!("{} {word}, see {}", share.label(&row.key), sibling.key))
    });
    let failed = first_of(failed, 3, ", ");
    if failed.is_empty() { so_far } else { format!("{so_far}; {failed}") }
}
