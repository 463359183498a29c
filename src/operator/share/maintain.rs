//! A share that is there: what of it must be read again, and whether its name and rows are as declared.

use super::apply::Round;
use super::share_pass::SharePass;
use super::still_ready::AtRest;
use super::{apply, members, name, opening, outside, plan, status};
use crate::api::Reason;
use crate::cloudflare::ShareStatus;
use crate::core::id::ShareId;
use crate::core::limiter::Priority;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Observed, Step};
use crate::core::share_step::Mode;
use crate::core::time::At;
use crate::operator::delays;
use crate::operator::pass::verdict::{Course, Readiness, Verdict, as_written};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::row_state::{State, row_state};
use crate::operator::stop::Stop;

/// The name among what is changed.
const NAME: &str = "name";
/// Polls without news for which the counts suffice, and the recipients are not listed.
const MAX_POLLS_BY_COUNTS: u32 = 3;
/// More rounds than most edits need: the rest is done in the next pass.
const MAX_ROUNDS: usize = 200;

/// The share is there: bring its name and rows in line, as far as this pass may, and tell.
pub async fn maintain(share: &mut SharePass) -> Result<Verdict, Stop> {
    let Some(id) = share.share_id() else { return Ok(Verdict::working(Reason::Progressing, "no share yet")) };
    if share.mode == Mode::Observe {
        // It makes nothing, so nothing of it is left behind.
        opening::release_finalizer(share).await?;
    }
    let requested = share.pass.is_requested();
    if !requested && is_still_ready(share, &id) {
        share.stop_following();
        return Ok(share.pass.as_before());
    }
    if !requested && is_just_made(share, &id) {
        return Ok(report_just_made(share, &id));
    }
    // Noted before anything is read: a read that fails or has to wait ends the pass, and the next one still owes it.
    let owes_retry = share.mode == Mode::Manage && share.pass.note_retry_request(requested);
    refresh(share, &id, requested).await?;
    let wait = if owes_retry { apply::retry_failed(share, &id).await? } else { None };
    for _ in 0..MAX_ROUNDS {
        if let Some(verdict) = round(share, &id, requested).await? {
            if let Some((_, error)) = share.failed.drain(..).next() {
                // Accounts that are to be excluded and receive the share are told of whatever else fails.
                share.pass.alarm = Some(verdict).filter(|verdict| verdict.reason == Reason::ExclusionsNotInForce);
                share.pass.save().await?;
                return Err(Stop::Cloudflare(error));
            }
            return Ok(verdict.requeue_within(wait));
        }
    }
    Ok(Verdict::unfinished())
}

/// One round over the name and the rows; `None`: there is more to do, or to look at.
async fn round(share: &mut SharePass, id: &ShareId, requested: bool) -> Result<Option<Verdict>, Stop> {
    let Some(before) = share.seen(id).filter(ObservedShare::is_live) else { return Ok(Some(vanished())) };
    let trouble = if share.has_failed(NAME) {
        None
    } else {
        let corrected = name::correct_name(share, id, &before).await;
        share.set_aside(NAME.to_owned(), corrected)?.flatten()
    };
    let Some(seen) = share.seen(id) else { return Ok(Some(vanished())) };
    let renamed = seen.share.name != before.share.name;
    // The next round records the new name, which this one may have written a moment ago.
    let is_corrected = trouble.is_none() && !share.has_failed(NAME);
    if renamed || share.mode == Mode::Manage && is_corrected && name::is_misnamed(share, &seen) {
        return Ok(None);
    }
    let mut plan = plan::plan(share, &seen);
    if outside::look_for_children_outside(share, &plan, requested).await {
        return Ok(None);
    }
    if share.unlisted.is_some() {
        plan.defer_removals();
    }
    match apply::apply(share, &seen, &plan).await? {
        Round::Again => Ok(None),
        Round::Wait(wait) => {
            let message = "waiting one second before removing entries, in case they reappear as ShareRecipient or \
                           ShareResource objects";
            Ok(Some(Verdict::working(Reason::Progressing, message).requeue_after(wait)))
        }
        Round::Done
            if share.desired.organization.is_some()
                && seen.may_be_counted(share.pass.fresh_since)
                && !share.counted =>
        {
            share.session.read_share(id).await?;
            share.counted = true;
            Ok(None)
        }
        Round::Done => {
            let verdict = status::report(share, id, &seen, &plan);
            Ok(Some(joined(verdict, trouble, share.unlisted.take())))
        }
    }
}

/// One report of how the share stands, of what troubles it, and of removals that wait until objects can be listed.
fn joined(verdict: Verdict, trouble: Option<Verdict>, unlisted: Option<Verdict>) -> Verdict {
    match (trouble, unlisted) {
        (Some(trouble), _) if verdict.course == Course::Reconciling => verdict.with(trouble),
        (Some(trouble), _) => trouble.with(verdict),
        // What waits for a person is not removed either way.
        (None, Some(unlisted)) if verdict.reason == Reason::RemovalBlocked => {
            verdict.requeue_within(unlisted.requeue_after)
        }
        (None, Some(unlisted)) if verdict.ready == Readiness::True => unlisted.with(verdict),
        (None, Some(unlisted)) => verdict.with(unlisted),
        (None, None) => verdict,
    }
}

/// Made a moment ago, and its recipients were not listed since: what was asked for takes a while, whatever woke this pass.
fn is_just_made(share: &SharePass, id: &ShareId) -> bool {
    let now = share.pass.now();
    if share.excludes() {
        // The accounts to be excluded receive it in the meantime.
        return false;
    }
    let due = share.pass.due();
    share.seen(id).is_some_and(|seen| seen.is_just_made(due, now, share.session.read_lag()))
}

fn report_just_made(share: &SharePass, id: &ShareId) -> Verdict {
    let Some(seen) = share.seen(id) else { return vanished() };
    let now = share.pass.now();
    let wait = share.pass.due().map_or_else(|| share.follow(&seen), |due| due.since(now));
    Verdict::working(Reason::Associating, format!("created share {id}; its recipients are being associated"))
        .requeue_after(wait)
}

fn vanished() -> Verdict {
    Verdict::unknown(Reason::Progressing, "the share is not in what was read; reading again")
        .requeue_after(delays::RECHECK)
}

/// Whether the last verdict, Ready on this generation, still stands though the recipients were not listed since
/// the process began: nothing that a sweep shows has moved.
fn is_still_ready(share: &SharePass, id: &ShareId) -> bool {
    if !share.pass.was_ready() || share.pass.is_following() {
        return false;
    }
    // What nobody declares was left alone, as where an object could not be read, and may have to go by now.
    if share.desired.prune && share.desired.organization.is_none() && share.pass.status.unmanaged_count > 0 {
        return false;
    }
    let unlisted = |seen: &ObservedShare| seen.recipients.is_none() && seen.excluded.is_none();
    let Some(seen) = share.seen(id).filter(unlisted) else { return false };
    // Other shares and objects of its name may have come or gone.
    let is_said = || share.pass.as_before().message == as_written(&status::ready_message(share, id, &seen));
    let is_outside = || share.desired.siblings.iter().any(|sibling| sibling.outside);
    if share.mode == Mode::Manage && (!is_said() || is_outside()) {
        return false;
    }
    let recorded = AtRest::recorded(&share.pass.status, &share.desired);
    let observed = AtRest::observed(&seen, &share.desired, &plan::plan(share, &seen));
    if recorded != observed {
        tracing::debug!(?recorded, ?observed, "the share differs from the recorded state");
    }
    recorded == observed
}

/// Reads what is due: what a poll covers while something is pending, otherwise only what is missing or known to be stale.
async fn refresh(share: &SharePass, id: &ShareId, requested: bool) -> Result<(), Stop> {
    let poll = share.pass.is_poll_due();
    let since = share.pass.outdated_before(requested);
    let Some(seen) = share.seen(id) else { return Ok(()) };
    let resources_due = seen.lacks_resources() || poll && has_pending_resources(share, &seen);
    let polls = share.pass.memory(|memory| memory.tries.polls);
    let many = share.session.priority() != Priority::Edit && share.session.account.is_busy();
    let followed_itself = poll && (share.desired.organization.is_some() || seen.share.status != ShareStatus::Active);
    if requested || followed_itself || seen.read_at == At::default() || resources_due || poll && many {
        share.session.refresh_share(id, since).await?;
    }
    let Some(seen) = share.seen(id) else { return Ok(()) };
    if share.desired.organization.is_some() {
        members::look(share, id, requested.then_some(since)).await?;
        if !share.excludes() && seen.excluded.is_none() {
            return Ok(());
        }
        if seen.are_exclusions_outdated(since) {
            let recorded = share.entries().iter().any(|(key, entry)| key.is_excluded() && entry.intended_at.is_none());
            share.session.read_excluded(id, recorded).await?;
        }
        return Ok(());
    }
    // While many shares are followed, one page of counts covers a hundred of them, so a share's recipients are listed only
    // once its counts have moved. What failed is counted as associating for ever, so after some polls they are listed anyway.
    let counts_suffice =
        many && polls < MAX_POLLS_BY_COUNTS && seen.counts.is_some_and(|c| c.associating > 0) && !requested;
    if seen.are_recipients_outdated(since) && !counts_suffice {
        share.session.read_recipients(id).await?;
    }
    Ok(())
}

fn has_pending_resources(share: &SharePass, seen: &ObservedShare) -> bool {
    let (plan, entries) = (plan::plan(share, seen), share.entries());
    // Only a later read tells that the call of such a row has taken effect, or cannot any more.
    let is_unanswered = |key: &RowKey| {
        let is_announced = entries.get(key).is_some_and(|entry| entry.intended_at.is_some());
        is_announced && !share.pass.memory(|memory| memory.row(key).answered.is_some())
    };
    // A status that is not the usual one may be so only at first.
    let is_strange = |key: &RowKey| row_state(key, seen, None).state == State::Pending;
    let mut resources = plan.rows.iter().filter(|(key, _)| key.is_resource());
    resources.any(|(key, row)| {
        row.step == Step::Wait
            || row.observed == Observed::Leaving
            || row.is_live() && is_strange(key)
            || row.step == Step::Update && share.pass.awaits_effect(&share.row(seen, key).updating())
            || row.step == Step::Remove && share.is_being_removed(seen, key)
            || is_unanswered(key)
    })
}
