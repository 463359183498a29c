//! What does a child do whose share is not at Cloudflare?

use super::child_pass::ChildPass;
use crate::api::{Name, Reason};
use crate::core::time::At;
use crate::operator::delays;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::Verdict;
use crate::operator::stop::Stop;

/// What a child that is being deleted knows of its share, which is not there.
enum Absence {
    Gone,
    /// Nothing is believed of the account, for that cause.
    Doubted(String),
    /// The credential may be another account's.
    Hidden,
    /// It was first read as being deleted, or deleted, then.
    Leaving(At),
    /// It was not found, for the first time then.
    Missing(Option<At>),
}

/// What a child does whose share is not there; `None`: it is released.
pub async fn share_gone<C: Child>(child: &mut ChildPass<C>) -> Result<Option<Verdict>, Stop> {
    let read_lag = child.pass.context.settings.read_lag();
    if !child.pass.is_deleting() {
        return Ok(Some(wait_for_share(child).requeue_after(read_lag)));
    }
    match absence(child) {
        Absence::Gone => {
            child.pass.remove_finalizer().await?;
            Ok(None)
        }
        Absence::Doubted(cause) => Ok(Some(breaker::open(&cause, &child.pass.object.share()))),
        Absence::Hidden => {
            let namespace = child.pass.key.name.namespace.clone();
            let recorded = child.pass.status.record().credentials_name.clone();
            let secret = Name::new(namespace, recorded.unwrap_or_default());
            Ok(Some(breaker::not_visible(&child.pass.key, &format!("share {}", child.id), &secret)))
        }
        Absence::Leaving(since) => {
            // One answer proves little, and nobody would remove the row any more. A Share that asked for this lets its child
            // objects go without a look.
            let believed = since.plus(read_lag);
            if child.pass.now() >= believed {
                child.session.read_share(&child.id).await?;
                if child.seen().is_some_and(|seen| seen.is_leaving()) {
                    child.pass.remove_finalizer().await?;
                    return Ok(None);
                }
            }
            let wait = believed.since(child.pass.now()).max(delays::SHORT);
            let message = format!("share {} is being deleted; checking once more before that is believed", child.id);
            Ok(Some(Verdict::working(Reason::Deleting, message).requeue_after(wait)))
        }
        Absence::Missing(first) => {
            if child.session.account.cache().was_expected_to_go(&child.id) {
                child.session.read_leaving().await?;
                if child.session.account.cache().is_gone(&child.id, read_lag) {
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
    }
}

fn absence<C: Child>(child: &mut ChildPass<C>) -> Absence {
    if let Some(since) = child.seen().and_then(|seen| seen.left_at()) {
        return Absence::Leaving(since);
    }
    if let Some(cause) = child.session.account.breaker() {
        return Absence::Doubted(cause);
    }
    if is_hidden(child) {
        return Absence::Hidden;
    }
    let cache = child.session.account.cache();
    if cache.is_gone(&child.id, child.pass.context.settings.read_lag()) {
        return Absence::Gone;
    }
    Absence::Missing(cache.missing_since(&child.id))
}

fn wait_for_share<C: Child>(child: &mut ChildPass<C>) -> Verdict {
    child.pass.status.report_row(&child.key, None);
    let name = child.pass.object.share().name;
    let message = match &child.parent.share {
        Some(_) => format!("share {} was not found; waiting for Share {name} to resolve that", child.id),
        None => format!("Share {name} does not exist, and share {} no longer exists at Cloudflare", child.id),
    };
    Verdict::working(Reason::WaitingForShare, message)
}

/// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
/// share is meant to be gone.
fn is_hidden<C: Child>(child: &mut ChildPass<C>) -> bool {
    let is_confirmed_gone = breaker::is_confirmed_gone(&mut child.pass);
    child.session.is_stranger(child.pass.status.record().seen_with.as_deref())
        && !is_confirmed_gone
        && !child.session.account.is_accepted(child.id.as_str())
}
