//! Which accounts receive an organization's share though the manifest excludes them, and how is that reported?

use super::plan::Plan;
use super::share_pass::SharePass;
use super::{exceptions, removals};
use crate::api::{EventReason, REQUESTED_AT, Reason};
use crate::core::share_step::Mode;
use crate::operator::cluster::events::Note;
use crate::operator::pass::verdict::{Course, Verdict};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::row_state::{NOT_EXCLUDED, RowState, State, first_and_more};
use crate::operator::{conditions, delays};

/// A message names so many accounts.
const MAX_NAMED: usize = 3;

/// Accounts that were excluded and do not have the share taken away yet. Members who leave later are no reason to be
/// unready.
pub fn leaving_members(share: &SharePass, seen: &ObservedShare) -> usize {
    let leaving = seen.counts.map_or(0, |counts| counts.disassociating);
    let awaited = share.desired.organization.is_some() && share.excludes() && !share.pass.was_ready();
    if awaited { usize::try_from(leaving).unwrap_or(usize::MAX) } else { 0 }
}

/// Takes note of accounts that receive the share though they are excluded, so that it is reported whatever becomes of the
/// pass.
pub fn note_exclusions(share: &mut SharePass, seen: &ObservedShare, plan: &Plan) {
    if share.mode != Mode::Manage || !share.excludes() {
        share.pass.alarm = None;
        return;
    }
    let row_states = exceptions::row_states(share, seen, plan, Some(&removals::losing(share, seen)));
    exceptions::list_exceptions(share, &row_states);
    set_alarm(share, &row_states);
}

/// The share is made, with its resources, and excluded accounts receive it until that is done.
pub fn note_exclusions_to_come(share: &mut SharePass) {
    if !are_to_come(share) {
        return;
    }
    let message = "the account receives the share until it is excluded";
    let row_state = |(key, _)| RowState::of(key, State::Pending, NOT_EXCLUDED, message);
    let row_states: Vec<RowState> = share.desired.excluded().map(row_state).collect();
    exceptions::list_exceptions(share, &row_states);
    set_alarm(share, &row_states);
    draft_alarm(share);
}

/// Whether a share that was just made has its resources already.
fn are_to_come(share: &SharePass) -> bool {
    share.excludes() && !share.pass.status.inventory.resources.is_empty()
}

/// Tells of them, once the share is recorded.
pub fn warn_of_exclusions_to_come(share: &SharePass) {
    if !are_to_come(share) {
        return;
    }
    let message = "Cloudflare does not create a share without resources, so the excluded accounts receive this \
                   share until cfshare has excluded them, immediately after it is created";
    share.pass.event(Note::warning(EventReason::ExclusionsFollow), message);
}

/// Puts what must not be hidden into the next write. What says so already stays as it is until it is known what becomes of
/// the next try, which may be the same.
pub fn draft_alarm(share: &mut SharePass) {
    let Some(alarm) = share.pass.alarm.clone() else { return };
    if !conditions::says(&share.pass.common().conditions, alarm.reason) {
        share.pass.draft(&alarm);
    }
}

/// What an earlier pass reported, as long as nothing newer is known.
pub fn recall_exclusions(share: &mut SharePass) {
    if share.pass.is_deleting() || share.mode != Mode::Manage {
        return;
    }
    let listed = &share.pass.status.exceptions;
    let reported = |(key, _)| {
        let row = exceptions::row_ref(key);
        let entry = listed.iter().find(|entry| entry.state == NOT_EXCLUDED && entry.row == row)?;
        Some(RowState::of(key, State::Pending, NOT_EXCLUDED, entry.message.clone()))
    };
    let row_states: Vec<RowState> = share.desired.excluded().filter_map(reported).collect();
    set_alarm(share, &row_states);
}

/// Has accounts that receive the share though they are excluded reported with whatever the pass ends with.
pub fn set_alarm(share: &mut SharePass, row_states: &[RowState]) {
    share.pass.alarm = not_in_force(share, row_states);
}

fn not_in_force(share: &SharePass, row_states: &[RowState]) -> Option<Verdict> {
    let receiving: Vec<&RowState> = row_states.iter().filter(|row| row.word == NOT_EXCLUDED).collect();
    if receiving.is_empty() {
        return None;
    }
    let named: Vec<String> = receiving.iter().map(|row| share.label(&row.key)).collect();
    let named = first_and_more(&named, MAX_NAMED);
    let see = if receiving.len() > MAX_NAMED { " (see status.exceptions)" } else { "" };
    let (verb, them) = if receiving.len() == 1 { ("receives", "it is") } else { ("receive", "they are") };
    let message = format!("{named}{see} {verb} this share although {them} excluded");
    let now = share.pass.now();
    let refusals = share.pass.memory(|memory| {
        let refusals = receiving.iter().filter_map(|row| memory.refusal(&row.key.to_string(), now).cloned());
        refusals.collect::<Vec<_>>()
    });
    let Some(stuck) = receiving.iter().find(|row| row.state == State::Refused) else {
        return Some(Verdict::working(Reason::ExclusionsNotInForce, message));
    };
    let again = refusals.iter().map(|refused| refused.until.since(now)).min().unwrap_or(delays::HUMAN);
    let message = format!(
        "{message}: {}. cfshare retries automatically; to retry now: `{}`",
        stuck.message,
        share.pass.key.annotate_now(REQUESTED_AT),
    );
    let verdict = Verdict::stalled(Reason::ExclusionsNotInForce, message).requeue_after(again);
    let passing = !refusals.is_empty() && refusals.iter().all(|refused| refused.passing);
    Some(if passing { Verdict { course: Course::Reconciling, ..verdict } } else { verdict })
}
