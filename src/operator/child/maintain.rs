//! What a child does about its row: compares what is declared, recorded and seen, and acts on it.

use std::time::Duration;

use super::child_pass::ChildPass;
use super::removal::{Next, awaits_replacement, remove, replacement_pending};
use super::{absent_share, messages, status};
use crate::api::{Reason, uid_of};
use crate::cloudflare::ShareStatus;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Declared, Step};
use crate::core::time::At;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::memory::Announcement;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::facts::{RowPlan, RowSnapshot};
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::known::Known;
use crate::operator::rows::row::awaits_exclusions;
use crate::operator::rows::row_state::{State, Totals, row_state};
use crate::operator::rows::waiver;
use crate::operator::stop::Stop;
use crate::operator::{clock, conditions};

/// More rounds than any row needs: what loops longer is a defect, and goes on in the next pass.
const MAX_ROUNDS: usize = 32;

/// Step by step, until there is something to tell; `None`: the object is released.
pub async fn run<C: Child>(child: &mut ChildPass<C>) -> Result<Option<Verdict>, Stop> {
    // The record must not be behind what the parent is about to drop.
    if !child.parent.observes() {
        child.pass.save().await?;
    }
    let may_write =
        !child.parent.observes() && !child.pass.context.settings.read_only && child.session.account.breaker().is_none();
    let requested = child.pass.is_requested();
    child.pass.check_readable(&child.session)?;
    let Some(seen) = seen_or_read(child).await? else { return absent_share::share_gone(child).await };
    if !requested && is_still_ready(child, &seen) {
        // A sweep shows all of a resource, and nothing of one recipient.
        if child.key.is_resource() {
            child.pass.status.report_row(&child.key, Some(&seen));
        }
        return Ok(Some(child.pass.as_before()));
    }
    if !requested && is_just_made(child, &seen) {
        return Ok(Some(status::report_just_made(child, &seen)));
    }
    // Noted before anything is read: a read that fails or has to wait ends the pass, and the next one still owes it.
    let owes_retry = may_write && child.pass.note_retry_request(requested);
    refresh(child, &seen, requested).await?;
    let wait = if owes_retry { retry_failed(child).await? } else { None };
    for _ in 0..MAX_ROUNDS {
        let Some(seen) = seen_or_read(child).await? else { return absent_share::share_gone(child).await };
        match take_step(child, &seen, may_write).await? {
            Next::Continue(()) => {}
            Next::Break(verdict) => return Ok(verdict.map(|verdict| verdict.requeue_within(wait))),
        }
    }
    Ok(Some(Verdict::unfinished()))
}

async fn take_step<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, may_write: bool) -> Result<Next, Stop> {
    let plan = plan(child, seen);
    let RowPlan { step, observed } = plan;
    match step {
        Step::Read => child.row(seen).read().await?,
        Step::Confirm => {
            let meta = child.row(seen).confirm(observed, &child.pass.status.record().common.drift);
            child.note(Some(&Entry { meta, ..Entry::default() }));
        }
        Step::Forget => return release(child).await,
        Step::Ignore if child.pass.is_deleting() => return release(child).await,
        Step::Add | Step::Restore | Step::Update | Step::Remove if !may_write => {
            return Ok(Next::Break(Some(status::withheld(child, seen, step))));
        }
        Step::Add | Step::Restore if seen.under_another_account(&child.key).is_some() => {
            return Ok(Next::Break(Some(status::report_row_state(child, seen, plan))));
        }
        Step::Add | Step::Restore if waits_for_exclusions(child, seen) => {
            return Ok(Next::Break(Some(status::report(child, seen, step, messages::exclusions_first(child)))));
        }
        Step::Add | Step::Restore | Step::Update => return write(child, seen, step).await,
        Step::Remove => return remove(child, seen, observed).await,
        Step::Keep | Step::Wait | Step::Ignore => {
            return Ok(Next::Break(Some(status::report_row_state(child, seen, plan))));
        }
    }
    Ok(Next::Continue(()))
}

/// Whether accounts that the Share excludes would receive the resource. The Share excludes them.
fn waits_for_exclusions<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> bool {
    child.key.is_resource() && child.parent.share.as_ref().is_some_and(|share| awaits_exclusions(share, seen))
}

async fn release<C: Child>(child: &mut ChildPass<C>) -> Result<Next, Stop> {
    child.pass.remove_finalizer().await?;
    Ok(Next::Break(None))
}

/// Adds or updates the row; what has drifted is shown before.
async fn write<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, step: Step) -> Result<Next, Stop> {
    let updates = step == Step::Update;
    let write = if updates { child.row(seen).updating() } else { child.row(seen).adding() };
    if updates && child.pass.awaits_effect(&write) {
        // One read serves all objects of a share that wait for such an effect at about the same time.
        let since = child.pass.fresh_since.minus(child.pass.context.settings.poll_min / 2);
        if seen.is_outdated(&child.key, since) {
            child.session.read_resources(&child.id).await?;
            return Ok(Next::Continue(()));
        }
    }
    let not_shown_yet = || child.pass.not_shown_yet(&write).filter(|_| updates);
    if let Some(verdict) = child.pass.write_block(&write).or_else(not_shown_yet) {
        return Ok(Next::Break(Some(status::report(child, seen, step, verdict))));
    }
    if let Some(verdict) = awaits_replacement(child, seen, step) {
        return Ok(Next::Break(Some(verdict)));
    }
    if child.row(seen).read_if_old().await? {
        return Ok(Next::Continue(()));
    }
    child.pass.show_drift(child.drift(seen, step)).await?;
    if updates {
        child.row(seen).update().await?
    } else {
        add(child, seen).await?
    }
    Ok(Next::Continue(()))
}

/// The share as it was seen, or read now, which is noted down; `None`: it is gone.
async fn seen_or_read<C: Child>(child: &mut ChildPass<C>) -> Result<Option<ObservedShare>, Stop> {
    if child.seen().is_none() {
        if !child.pass.take_early_read(&child.session, &child.id) {
            child.session.await_first_sweep()?;
        }
        // The sweep may have ended since it was missed.
        if child.seen().is_none() && !child.session.account.cache().is_missing(&child.id) {
            child.session.read_share(&child.id).await?;
        }
    }
    let live = child.seen().filter(ObservedShare::is_live);
    if live.is_none() {
        // One share says nothing of how many are missing.
        child.session.await_first_sweep()?;
    } else {
        child.record_mut().seen_with = Some(child.session.account.seen_with());
    }
    Ok(live)
}

/// Whether the create of its Share carried the row a moment ago, and the time to look has not come.
fn is_just_made<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> bool {
    let made = child.declared == Declared::Here && !child.pass.is_deleting() && child.parent.records(&child.key);
    made && seen.is_just_made(child.pass.due(), child.pass.now(), child.session.read_lag())
}

/// Whether the last verdict, Ready, still stands though the rows were not listed since the process began.
fn is_still_ready<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> bool {
    let confirmed = child.pass.status.record().confirmed;
    if !child.pass.was_ready() || child.pass.is_deleting() || !confirmed || child.pass.is_following() {
        return false;
    }
    // What a waiver accepted may count by now.
    if seen.share.status != ShareStatus::Active || conditions::says(&child.pass.common().conditions, Reason::Waived) {
        return false;
    }
    match &child.key {
        RowKey::Resource { .. } => {
            plan(child, seen).step == Step::Keep && row_state(&child.key, seen, None).state == State::InPlace
        }
        RowKey::Recipient(_) | RowKey::Excluded(_) => {
            let reported = child.parent.share.as_ref().and_then(|share| share.status.as_ref()?.recipients.clone());
            seen.recipients.is_none()
                && reported.is_some_and(|reported| Totals::recorded(&reported) == Totals::observed(seen))
        }
    }
}

/// Whether the row is in place as far as it was read, and no call for it is open that a later read has to tell of.
fn is_in_place<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> bool {
    let is_settled = match plan(child, seen).step {
        Step::Confirm => true,
        Step::Keep => child.pass.status.record().intended_at.is_none(),
        Step::Read | Step::Add | Step::Restore | Step::Update | Step::Wait => false,
        Step::Remove | Step::Forget | Step::Ignore => false,
    };
    is_settled && row_state(&child.key, seen, None).state == State::InPlace
}

fn plan<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> RowPlan {
    let (meta, settings) = (child.pass.object.wanted_meta(), &child.pass.context.settings);
    let known = &Known::of(&child.pass);
    let snapshot = RowSnapshot { seen, key: &child.key, meta: Some(&meta), settings, known: Some(known) };
    let recorded = snapshot.recorded(Entry::of_child(child.pass.status.record()).as_ref());
    RowPlan::of(snapshot.facts(child.declared, recorded, false))
}

/// Reads what is due: what is missing, known to be stale, or asked for.
async fn refresh<C: Child>(child: &ChildPass<C>, seen: &ObservedShare, requested: bool) -> Result<(), Stop> {
    let since = child.pass.outdated_before(requested);
    if !seen.is_outdated(&child.key, since) {
        return Ok(());
    }
    // What a read for another object of the share showed ends the polls.
    if !requested && !seen.is_outdated(&child.key, At::default()) && is_in_place(child, seen) {
        return Ok(());
    }
    match child.key {
        RowKey::Resource { .. } => child.session.refresh_share(&child.id, since).await,
        RowKey::Recipient(_) | RowKey::Excluded(_) => child.row(seen).read().await,
    }
}

/// Announces the row, with the permit in hand, then sends it.
async fn add<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare) -> Result<(), Stop> {
    let _permit = child.session.write_permit(1)?;
    let (uid, now) = (uid_of(child.pass.object.as_ref()), child.pass.now());
    child.record_mut().bound_uid = uid;
    child.note(Some(&Entry::intended(clock::time(now))));
    child.pass.memory(|memory| memory.note_row(&child.key, |row| row.answered = None));
    child.pass.announce(&Announcement::Rows(std::slice::from_ref(&child.key)), now).await?;
    let added = child.row(seen).add(now).await;
    if !added.stands {
        child.note(None);
    }
    if added.outcome.is_err() {
        child.pass.save().await?;
    }
    added.outcome
}

/// A person asks for another try: a recipient that failed for good is removed, and then added again, unless a waiver
/// accepts its failure. Returns how long that has to wait.
async fn retry_failed<C: Child>(child: &mut ChildPass<C>) -> Result<Option<Duration>, Stop> {
    let Some(seen) = child.seen() else { return Ok(None) };
    let is_waived = waiver::in_force(child.pass.object.waiver(), child.pass.now()).is_some();
    if child.declared == Declared::Here && !is_waived && child.row(&seen).has_failed() {
        let wait = replacement_pending(child);
        if wait.is_some() {
            return Ok(wait);
        }
        child.note(Some(&Entry::settled_long_ago()));
        child.pass.save().await?;
        child.row(&seen).retry().await?;
    }
    child.pass.has_retried();
    Ok(None)
}
