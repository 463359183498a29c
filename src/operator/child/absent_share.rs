//! What does a child do whose share is not at Cloudflare?

use super::child_pass::ChildPass;
use crate::api::{Name, Reason};
use crate::operator::delays;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::stop::Stop;

/// What a child does whose share is not there; `None`: it is released.
pub async fn share_gone<C: Child>(child: &mut ChildPass<C>) -> Result<Option<Verdict>, Stop> {
    let read_lag = child.pass.context.settings.read_lag();
    if !child.pass.is_deleting() {
        return Ok(Some(wait_for_share(child).requeue_after(read_lag)));
    }
    let is_leaving = child.seen().is_some();
    if !is_leaving {
        breaker::note_confirmation(&mut child.pass);
    }
    if !is_leaving && is_hidden(child) {
        let namespace = child.pass.key.name.namespace.clone();
        let recorded = child.pass.status.record().credentials_name.clone();
        let secret = Name::new(namespace, recorded.unwrap_or_default());
        let what = format!("share {}", child.id);
        return Ok(Some(breaker::not_visible(&child.session, &child.pass.key, &what, &secret)));
    }
    if let Some(verdict) = breaker::while_open(&child.session, &child.pass.object.share(), Some(&child.id)) {
        return Ok(Some(verdict));
    }
    // Its object never asks for the share's deletion, so what proves a loss is enough.
    let has_ended = child.session.account.cache().has_ended(&child.id, false, read_lag);
    if has_ended || is_gone(child) {
        child.pass.remove_finalizer().await?;
        return Ok(None);
    }
    if is_leaving {
        return await_leaving(child).await;
    }
    let first = child.session.account.cache().missing_since(&child.id);
    if child.session.account.cache().was_expected_to_go(&child.id) {
        child.session.read_leaving().await?;
        if is_gone(child) {
            child.pass.remove_finalizer().await?;
            return Ok(None);
        }
    }
    let now = child.pass.now();
    if let Some(first) = first.filter(|first| now.since(*first) >= read_lag) {
        child.session.read_share(&child.id).await?;
        child.session.account.demand_sweep(child.pass.key.clone(), first);
    }
    let message = "the share was not found; checking once more before treating it as deleted";
    Ok(Some(Verdict::working(Reason::Deleting, message).requeue_after(read_lag)))
}

fn is_gone<C: Child>(child: &ChildPass<C>) -> bool {
    child.session.account.cache().is_gone(&child.id, child.pass.context.settings.read_lag())
}

/// One answer that the share is being deleted proves nothing: the row stays if the next one says that it lives. After the
/// read lag, another answer and a complete list without the share must agree. `None`: the child is released.
async fn await_leaving<C: Child>(child: &mut ChildPass<C>) -> Result<Option<Verdict>, Stop> {
    if child.pass.is_poll_due() {
        // One read serves all objects of the share.
        let (now, gap) = (child.pass.now(), child.pass.context.settings.poll_min);
        if child.seen().is_none_or(|seen| now.since(seen.read_at) >= gap) {
            child.session.read_share(&child.id).await?;
        }
        let seen = child.seen();
        if seen.as_ref().is_some_and(ObservedShare::is_live) {
            return Ok(Some(Verdict::unfinished().requeue_after(delays::RECHECK)));
        }
        let read_lag = child.session.read_lag();
        let may_return_until = seen.as_ref().and_then(ObservedShare::left_at).map(|at| at.plus(read_lag));
        if let (Some(seen), Some(until)) = (seen, may_return_until.filter(|until| *until <= now)) {
            let swept = child.session.account.cache().swept;
            if seen.read_at >= until && swept.is_some_and(|swept| swept >= until) {
                child.pass.remove_finalizer().await?;
                return Ok(None);
            }
            child.session.account.demand_sweep(child.pass.key.clone(), until);
        }
    }
    let wait = child.pass.plan_poll(u64::MAX);
    let message = format!("share {} is being deleted; checking once more before that is believed", child.id);
    Ok(Some(Verdict::working(Reason::Deleting, message).requeue_after(wait)))
}

fn wait_for_share<C: Child>(child: &mut ChildPass<C>) -> Verdict {
    child.pass.status.report_row(&child.key, None);
    let name = child.pass.object.share().name;
    let waits = |message| Verdict::working(Reason::WaitingForShare, message);
    match &child.parent.share {
        Some(_) => waits(format!("share {} was not found; waiting for Share {name} to resolve that", child.id)),
        None => child.pass.awaited(waits(format!(
            "Share {name} does not exist, and share {} no longer exists at Cloudflare: apply the Share again, or delete \
             this object",
            child.id
        ))),
    }
}

/// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
/// share is meant to be gone.
fn is_hidden<C: Child>(child: &ChildPass<C>) -> bool {
    child.session.account.is_hidden(&child.id, child.pass.status.record().seen_with.as_deref())
        && !breaker::is_confirmed_gone(&child.pass)
        && !child.session.account.is_accepted(child.id.as_str())
}
