//! What a child does about its row: compares what is declared, recorded and seen, and acts on it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::child_pass::ChildPass;
use super::{absent_share, facts, messages, parent, status};
use crate::api::{self, CONFIRM_REMOVALS, Name, ObjectKey, Reason, Share, is_deleting, own_record, uid_of};
use crate::cloudflare::ShareStatus;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Declared, Observed, Step};
use crate::core::time::At;
use crate::operator::cluster::outside::Recency;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::memory::Announcement;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare::{self, Sibling};
use crate::operator::rows::facts::{RowPlan, RowSnapshot};
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::known::Known;
use crate::operator::rows::row_state::{State, Totals, row_state};
use crate::operator::rows::waiver;
use crate::operator::share::{bulk, desired, losses};
use crate::operator::stop::Stop;
use crate::operator::{clock, conditions, delays};

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
    let owes_retry = may_write && child.pass.owes_retry(requested);
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

/// Another step follows, or there is something to report; `None`: the object is released.
type Next = ControlFlow<Option<Verdict>>;

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
        Step::Add | Step::Restore | Step::Update => return write(child, seen, step).await,
        Step::Remove => return remove(child, seen, observed).await,
        Step::Keep | Step::Wait | Step::Ignore => {
            return Ok(Next::Break(Some(status::report_row_state(child, seen, plan))));
        }
    }
    Ok(Next::Continue(()))
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

/// Removes the row, unless it may not go, or another object that the watch does not show declares it.
async fn remove<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, observed: Observed) -> Result<Next, Stop> {
    let next = match removal_block(child, seen) {
        // Many may wait like that, and for long: nothing is listed for them.
        Some(verdict) => Next::Break(Some(verdict)),
        None => remove_undeclared(child, seen, observed).await?,
    };
    Ok(match next {
        // Its Share has had the row on record all along, so that no change there starts the pass that releases this one.
        Next::Break(Some(verdict)) if verdict.reason == Reason::LastResource && child.parent.records(&child.key) => {
            Next::Break(Some(verdict.requeue_after(delays::PEER_WRITE)))
        }
        next => next,
    })
}

/// Why the row may not be removed for now, as far as is known without asking anybody.
fn removal_block<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> Option<Verdict> {
    let row = child.row(seen);
    // The object stays, and looks now and then, until the row is gone.
    let not_converging =
        || child.pass.not_converging(&row.removing()).map(|verdict| verdict.requeue_after(delays::HUMAN));
    row.removal_refused().or_else(not_converging).or_else(|| match counted_removal(child, seen) {
        Counted::Blocked(verdict) => Some(verdict),
        Counted::Nowhere | Counted::By(..) => None,
    })
}

async fn remove_undeclared<C: Child>(
    child: &mut ChildPass<C>,
    seen: &ObservedShare,
    observed: Observed,
) -> Result<Next, Stop> {
    match is_declared_elsewhere(child).await {
        Ok(false) => {}
        Ok(true) => {
            // The next pass knows who else declares it.
            let verdict = status::report_row_state(child, seen, RowPlan { step: Step::Remove, observed });
            return Ok(Next::Break(Some(verdict.requeue_after(delays::PEER_WRITE))));
        }
        Err(stop) => {
            // What a person has to correct is told by an Event.
            let Stop::Kubernetes(error) = &stop else { return Err(stop) };
            if stop.refusal().is_some() {
                return Err(stop);
            }
            let verdict = messages::others_unknown(child, error);
            return Ok(Next::Break(Some(status::report(child, seen, Step::Remove, verdict))));
        }
    }
    if let Some(verdict) = awaits_replacement(child, seen, Step::Remove) {
        return Ok(Next::Break(Some(verdict)));
    }
    if child.row(seen).read_if_old().await? {
        return Ok(Next::Continue(()));
    }
    Ok(match send_removal(child, seen).await? {
        None => Next::Continue(()),
        Some(verdict) => Next::Break(Some(verdict)),
    })
}

/// Waits for a call of the Share that may still replace all recipients, and with them what is done to this one.
fn awaits_replacement<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, step: Step) -> Option<Verdict> {
    let wait = replacement_pending(child)?;
    let message = format!("{} waits for a request of its Share that may still replace all recipients", child.name());
    Some(status::report(child, seen, step, Verdict::working(Reason::Progressing, message).requeue_after(wait)))
}

/// How long a call of the Share may still replace all recipients, this one among them.
fn replacement_pending<C: Child>(child: &ChildPass<C>) -> Option<Duration> {
    let RowKey::Recipient(_) = child.key else { return None };
    let status = child.parent.share.as_ref()?.status.as_ref()?;
    bulk::pending(status, &child.pass.context.settings, child.pass.now(), child.pass.serving_since())
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

/// Whether another object declares the row that this one is about to remove, also one that the watch does not show.
async fn is_declared_elsewhere<C: Child>(child: &ChildPass<C>) -> Result<bool, Stop> {
    let context = &child.pass.context;
    let Some(owner) = child.parent.owner.as_ref() else { return Ok(false) };
    let successors = facts::successor_shares(&child.pass);
    let others = successors.iter().map(|share| Name::of(share.as_ref()));
    let shares: BTreeSet<Name> = std::iter::once(child.pass.object.share()).chain(others).collect();
    // What was listed before the deletion was seen does not show what was to take its place.
    let asked = Some(child.pass.memory(|memory| memory.edited_at));
    for share in &shares {
        let recency = Recency { asked, ..Recency::within(delays::FRESH) };
        let looked = context.cluster.outside.look::<C>(&context.cluster.index, &share.namespace, recency).await;
        match looked {
            Ok(()) => {}
            // With a namespace the right to list in it may go first; what is made there is deleted with it.
            Err(kube::Error::Api(status)) if status.code == 403 && context.cluster.index.is_going(&share.namespace) => {
            }
            Err(error) => return Err(error.into()),
        }
        let siblings = declare::siblings(&context.cluster.index, share, owner);
        let is_other = |s: &&Sibling| s.key != child.pass.key && s.row == child.key && !s.child.is_deleting();
        if siblings.iter().any(|sibling| is_other(&sibling)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks whether this object still calls for the removal, and its Share, and those that may take the row over, still do not
/// declare the row.
async fn confirm<C: Child>(child: &ChildPass<C>) -> Result<(), Stop> {
    child.pass.confirm().await?;
    let (cluster, name, began) = (&child.pass.context.cluster, child.pass.object.share(), child.pass.began);
    let versions = |share: Option<&Arc<Share>>| share.map(|share| (share.uid(), share.resource_version()));
    if versions(parent::parent(&child.pass).share.as_ref()) != versions(child.parent.share.as_ref()) {
        return Err(Stop::Conflict);
    }
    match &child.parent.share {
        Some(share) => cluster.confirm(share.as_ref(), began).await.map(|_| ())?,
        None => cluster.confirm_share(&name, began).await?,
    }
    let Some(owner) = &child.parent.owner else { return Ok(()) };
    for share in facts::successor_shares(&child.pass) {
        cluster.confirm(share.as_ref(), began).await?;
        if declare::is_inline(&share, owner, &child.key) {
            return Err(Stop::Conflict);
        }
    }
    Ok(())
}

async fn send_removal<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare) -> Result<Option<Verdict>, Stop> {
    confirm(child).await?;
    if let Some(blocked) = record_removal(child, seen).await? {
        return Ok(Some(blocked));
    }
    let instead = messages::instead_of_last(child);
    let removed = child.row(seen).remove(&instead).await?;
    let answered = child.pass.memory(|memory| memory.row(&child.key).answered.is_some());
    // Both calls were answered: what is gone now cannot come back by either.
    if removed && (child.pass.status.record().confirmed || answered) {
        child.note(Some(&Entry::settled_long_ago()));
    }
    Ok(None)
}

/// What the limit of its Share, which counts all that its share loses, says of the removal of the row.
enum Counted {
    /// There is no Share to count it.
    Nowhere,
    /// It may go once this Share has this status.
    By(Arc<Share>, Box<api::status::ShareStatus>),
    Blocked(Verdict),
}

fn counted_removal<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> Counted {
    let context = &child.pass.context;
    let live = |share: &&Arc<Share>| !is_deleting(&share.metadata);
    let Some(share) = child.parent.share.as_ref().filter(live) else { return Counted::Nowhere };
    let Some(mut status) = own_record(share).cloned().map(Box::new) else { return Counted::Nowhere };
    let desired = match desired::desired(share, &context.cluster.index) {
        Ok(desired) => desired,
        Err(problem) => {
            return Counted::Blocked(Verdict::stalled(Reason::Invalid, problem).requeue_after(delays::HUMAN));
        }
    };
    let (now, serving_since) = (child.pass.now(), child.pass.serving_since());
    let mut losing = losses::losing(share, &desired, &status, seen, &context.settings, now, serving_since);
    losing.record_totals(share, &mut status);
    let asked = context.cluster.index.asked.value(
        &ObjectKey::share(child.pass.object.share()),
        share.as_ref(),
        CONFIRM_REMOVALS,
    );
    losing.accept(share, &mut status, asked.as_deref());
    if !losing.allows(&child.key)
        && let Some(blocked) = losing.blocked(share, &status)
    {
        return Counted::Blocked(blocked);
    }
    let counted = std::iter::once(&child.key).filter(|key| losing.is_unconfirmed(key));
    losses::record(&mut status, counted, now, serving_since);
    Counted::By(share.clone(), status)
}

/// Records the removal in the Share before the call, so that it counts for every object of the share, and after a restart.
/// Returns why it may not be made.
async fn record_removal<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> Result<Option<Verdict>, Stop> {
    let (share, status) = match counted_removal(child, seen) {
        Counted::Nowhere => return Ok(None),
        Counted::Blocked(verdict) => return Ok(Some(verdict)),
        Counted::By(share, status) => (share, status),
    };
    match child.pass.context.cluster.write_status(&share, &status).await {
        Ok(_) => Ok(None),
        Err(stop) if stop.is_too_large() => Ok(Some(messages::share_too_large(child))),
        Err(stop) => Err(stop),
    }
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
