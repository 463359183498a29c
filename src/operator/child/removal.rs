//! How is the row of a child removed, and what speaks against it?

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::child_pass::ChildPass;
use super::{facts, messages, parent, status};
use crate::api::status::ShareStatus;
use crate::api::{CONFIRM_REMOVALS, Name, ObjectKey, Reason, Share, is_deleting, is_suspended, observes, own_record};
use crate::core::row_key::RowKey;
use crate::core::row_step::{Observed, Step};
use crate::operator::cluster::outside::Recency;
use crate::operator::delays;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::inventory::Entry;
use crate::operator::share::{bulk, desired, losses, removals};
use crate::operator::stop::Stop;

/// Another step follows, or there is something to report; `None`: the object is released.
pub type Next = ControlFlow<Option<Verdict>>;

/// Removes the row, unless it may not go, or another object that the watch does not show declares it.
pub async fn remove<C: Child>(
    child: &mut ChildPass<C>,
    seen: &ObservedShare,
    observed: Observed,
) -> Result<Next, Stop> {
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
        Counted::Nowhere | Counted::By(..) => kept_last(child, seen).then(|| messages::kept_last(child)),
    })
}

/// Whether the share would be without resources though one is declared: its Share takes the row over then.
fn kept_last<C: Child>(child: &ChildPass<C>, seen: &ObservedShare) -> bool {
    let stays = |share: &&Arc<Share>| !is_deleting(&share.metadata) && !is_suspended(share) && !observes(share);
    let share = child.parent.share.as_ref().filter(|_| child.key.is_resource()).filter(stays);
    let Some(share) = share else { return false };
    let desired = desired::desired(share, &child.pass.context.cluster.index);
    desired.is_ok_and(|desired| removals::kept_last(&desired, seen, std::slice::from_ref(&child.key)).is_some())
}

async fn remove_undeclared<C: Child>(
    child: &mut ChildPass<C>,
    seen: &ObservedShare,
    observed: Observed,
) -> Result<Next, Stop> {
    if child.pass.awaits_effect(&child.row(seen).removing()) {
        // The removal was accepted a moment ago, and may only not be shown yet.
        let plan = RowPlan { step: Step::Wait, observed: Observed::Leaving };
        return Ok(Next::Break(Some(status::report_row_state(child, seen, plan))));
    }
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
        let siblings = declare::siblings_of_row(&context.cluster.index, share, owner, &child.key);
        if siblings.iter().any(|sibling| sibling.key != child.pass.key && !sibling.child.is_deleting()) {
            return Ok(true);
        }
    }
    Ok(false)
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

/// What the limit of its Share, which counts all that its share loses, says of the removal of the row.
enum Counted {
    /// There is no Share to count it.
    Nowhere,
    /// It may go once this Share has this status.
    By(Arc<Share>, Box<ShareStatus>),
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
        Err(stop) if stop.is_too_large() => {
            Ok(Some(messages::share_too_large(&child.name(), &child.pass.object.share())))
        }
        Err(stop) => Err(stop),
    }
}

/// Waits for a call of the Share that may still replace all recipients, and with them what is done to this one.
pub fn awaits_replacement<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, step: Step) -> Option<Verdict> {
    let wait = replacement_pending(child)?;
    let message = format!("{} waits for a request of its Share that may still replace all recipients", child.name());
    Some(status::report(child, seen, step, Verdict::working(Reason::Progressing, message).requeue_after(wait)))
}

/// How long a call of the Share may still replace all recipients, this one among them.
pub fn replacement_pending<C: Child>(child: &ChildPass<C>) -> Option<Duration> {
    let RowKey::Recipient(_) = child.key else { return None };
    let status = child.parent.share.as_ref()?.status.as_ref()?;
    bulk::pending(status, &child.pass.context.settings, child.pass.now(), child.pass.serving_since())
}
