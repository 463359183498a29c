//! What a child does whose share is not at Cloudflare.

use super::child_pass::ChildPass;
use crate::api::{Name, Reason};
use crate::operator::conditions;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::account::CLOCK;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::stop::Stop;

/// What a child does whose share is not there; `None`: it is released.
pub async fn share_gone<C: Child>(child: &mut ChildPass<C>) -> Result<Option<Verdict>, Stop> {
    let read_lag = child.pass.context.settings.read_lag();
    let now = child.pass.now();
    let leaving = child.seen().is_some_and(|seen| seen.is_leaving());
    if let (true, false, Some(cause)) = (child.pass.is_deleting(), leaving, child.session.account.breaker()) {
        return Ok(Some(breaker::open(&cause, &child.pass.object.share())));
    }
    if child.pass.is_deleting() && !leaving && is_hidden(child) {
        let secret = Name::new(
            child.pass.key.name.namespace.clone(),
            child.record().credentials_name.clone().unwrap_or_default(),
        );
        return Ok(Some(breaker::not_visible(&child.pass.key, &format!("share {}", child.id), &secret)));
    }
    if child.pass.is_deleting() {
        let (gone, leaving, first) = {
            let cache = child.session.account.cache();
            (
                cache.is_gone(&child.id, read_lag),
                cache.seen(&child.id).is_some_and(ObservedShare::is_leaving),
                cache.missing_since(&child.id),
            )
        };
        if gone || leaving {
            child.pass.remove_finalizer().await?;
            return Ok(None);
        }
        if let Some(first) = first.filter(|first| now.since(*first) >= read_lag) {
            child.session.read_share(&child.id).await?;
            child.session.account.demand_sweep(child.pass.key.clone(), first);
        }
        let verdict = Verdict::working(
            Reason::Deleting,
            "the share was not found; checking once more before treating it as deleted",
        );
        return Ok(Some(verdict.requeue_after(read_lag)));
    }
    child.pass.status.report_row(&child.key, None);
    let name = child.pass.object.share().name;
    let message = match &child.parent.share {
        Some(_) => format!("share {} was not found; waiting for Share {name} to resolve that", child.id),
        None => format!("Share {name} does not exist, and share {} no longer exists at Cloudflare", child.id),
    };
    Ok(Some(Verdict::working(Reason::WaitingForShare, message).requeue_after(read_lag)))
}

/// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
/// share is meant to be gone.
fn is_hidden<C: Child>(child: &mut ChildPass<C>) -> bool {
    let confirmed = breaker::confirmed_gone_at(&mut child.pass);
    let record = child.pass.status.child();
    let reported = conditions::breaker_reported_at(&record.common.conditions);
    let confirmed_gone_at =
        confirmed.zip(reported).is_some_and(|(confirmed, reported)| reported <= confirmed.plus(CLOCK));
    child.session.is_stranger(record.seen_with.as_deref())
        && !confirmed_gone_at
        && !child.session.account.is_accepted(child.id.as_str())
}
