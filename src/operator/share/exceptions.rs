//! How does each declared row stand, and which are not in place?

use super::plan::Plan;
use super::removals;
use super::share_pass::SharePass;
use super::waivers;
use crate::api::int32;
use crate::api::status::ExceptionEntry;
use crate::cloudflare::clean;
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::share_step::Mode;
use crate::operator::clock;
use crate::operator::pass::verdict::latest;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::row_state::{EXCLUSION_BLOCKED, NOT_EXCLUDED, RowReport, RowState, State, row_state};

const MAX_EXCEPTIONS: usize = 100;
const MAX_MESSAGE: usize = 300;
/// The share has nothing yet that the account could receive.
const PENDING: &str = "exclusion pending";

/// How excluded accounts stand that are not excluded: whether they receive the share, and why.
fn name_exclusions(share: &SharePass, row_states: &mut [RowReport], seen: &ObservedShare) {
    if !row_states.iter().any(|row| row.key.is_excluded()) {
        return;
    }
    let losing = removals::losing(share, seen);
    // Where nothing is written, nothing waits for a confirmation.
    let blocked = if share.mode == Mode::Manage { losing.blocked_exclusions() } else { Default::default() };
    for RowReport { key, row_state } in row_states {
        if !key.is_excluded() || row_state.state == State::InPlace {
            continue;
        }
        row_state.word = if blocked.contains(key) {
            EXCLUSION_BLOCKED.to_owned()
        } else if seen.live_resources() == 0 {
            PENDING.to_owned()
        } else {
            NOT_EXCLUDED.to_owned()
        };
        let until = match row_state.word.as_str() {
            NOT_EXCLUDED => "it is excluded",
            EXCLUSION_BLOCKED => "someone confirms the exclusion",
            _ => continue,
        };
        if row_state.message.is_empty() {
            row_state.message = format!("the account receives the share until {until}");
        }
    }
}

/// The first that holds: refused lately, not converging, refused to its object, as seen.
fn state_of(share: &SharePass, key: &RowKey, seen: &ObservedShare, step: Option<Step>) -> RowState {
    let now = share.pass.now();
    if let Some(refused) = share.pass.memory(|memory| memory.refusal(&key.to_string(), now).cloned()) {
        let state = if refused.passing && !key.is_excluded() { State::Pending } else { State::Refused };
        return RowState { state, ..RowState::refused(refused.message) };
    }
    let row = share.row(seen, key);
    let write = match step {
        Some(Step::Update) => Some(row.updating()),
        Some(Step::Add | Step::Restore) => Some(row.adding()),
        Some(Step::Keep | Step::Read | Step::Confirm | Step::Wait) => None,
        Some(Step::Remove | Step::Forget | Step::Ignore) | None => None,
    };
    if write.is_some_and(|write| share.pass.not_converging(&write).is_some()) {
        let message = "written twice, but Cloudflare still returns a different value".to_owned();
        return RowState { state: State::Refused, word: "not converging".into(), message };
    }
    if let (RowKey::Recipient(account), Some(child)) = (key, share.declaring(key).filter(|child| child.waived))
        && seen.recipient(account).is_none()
    {
        // Only its object knows that Cloudflare refused to add it.
        return RowState::refused(format!("Cloudflare refused to add it, see {}", child.key));
    }
    row_state(key, seen, step)
}

/// How each declared row stands.
pub fn row_states(share: &SharePass, seen: &ObservedShare, plan: &Plan) -> Vec<RowReport> {
    let step = |key: &RowKey| plan.rows.get(key).map(|row| row.step);
    let report = |key: &RowKey| RowReport { key: key.clone(), row_state: state_of(share, key, seen, step(key)) };
    let rows = share.desired.all.keys().map(report);
    let mut row_states: Vec<RowReport> = rows.collect();
    name_exclusions(share, &mut row_states, seen);
    row_states
}

pub fn list_exceptions(share: &mut SharePass, row_states: &[RowReport]) {
    let now = clock::time(share.pass.now());
    let before = std::mem::take(&mut share.pass.status.exceptions);
    let mut listed: Vec<(State, ExceptionEntry)> = row_states
        .iter()
        .filter(|row| !row.is_in_place())
        .map(|row| {
            let RowReport { key, row_state } = row;
            let (account_id, kind, id) = columns(key);
            let entry = ExceptionEntry {
                account_id,
                kind,
                id,
                name: share.desired.all.get(key).and_then(|declaration| declaration.label.clone()),
                state: row_state.word.clone(),
                since: now.clone(),
                terminal: row_state.state == State::Failed,
                message: clean(&row_state.message, MAX_MESSAGE),
                waiver: waivers::in_force(share, row),
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
            (row_state.state, entry)
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

pub fn columns(key: &RowKey) -> (Option<Interned>, Option<Interned>, Option<Interned>) {
    match key {
        RowKey::Recipient(account) | RowKey::Excluded(account) => (Some(account.as_str().into()), None, None),
        RowKey::Resource { kind, id, .. } => (None, Some(clean(kind, MAX_MESSAGE).into()), Some(id.as_str().into())),
    }
}
