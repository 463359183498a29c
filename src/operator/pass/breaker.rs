//! How a person says that shares which cannot be seen are meant to be gone, and what the status says until then.

use super::Pass;
use super::verdict::Verdict;
use crate::api::{CLOSE_BREAKER, Name, ObjectKey, Reason, Share};
use crate::core::interned::Interned;
use crate::core::time::At;
use crate::operator::clock::{self, CLOCK_RESOLUTION};
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::conditions::breaker_reported_at;
use crate::operator::delays;
use crate::operator::remote::session::Session;

/// A person says that shares which cannot be seen are meant to be gone: all that vanished together, or this one.
pub fn close_breaker(pass: &mut Pass<Share>, session: &Session) {
    note_confirmation(pass);
    let Some(confirmed) = confirmed_gone_at(pass) else { return };
    if session.account.close_breaker(confirmed) {
        tracing::warn!(account = %session.account.id, "the circuit breaker was closed by annotation");
        pass.context.cluster.requeue_account(&session.account.id);
    }
    if is_confirmed_gone(pass) {
        pass.status.seen_with = Some(session.account.seen_with());
    }
}

/// Whether a person said so once the object reported that its share cannot be seen.
pub fn is_confirmed_gone<K: Reconciled>(pass: &Pass<K>) -> bool {
    let (confirmed, reported) = (confirmed_gone_at(pass), breaker_reported_at(&pass.common().conditions));
    let shards = &pass.context.cluster.shards;
    let serving_since = pass.account.as_ref().map(|account| shards.serving_since(account.id.as_str()));
    let reported = reported.map(|reported| reported.unless_ahead(pass.now(), serving_since.unwrap_or(reported)));
    confirmed.zip(reported).is_some_and(|(confirmed, reported)| reported <= confirmed.plus(CLOCK_RESOLUTION))
}

/// Records in the status that a person said so, by an annotation that is there, or was: the last one. One that is still to
/// come would hold for whatever vanishes until then.
pub fn note_confirmation<K: Reconciled>(pass: &mut Pass<K>) {
    let (asked, now) = (pass.asked(CLOSE_BREAKER).map(Interned::from), pass.now());
    let recorded = &mut pass.common_mut().last_close_breaker;
    let at = |value: &Interned| clock::written(value, now);
    if let Some(asked) = asked.filter(|asked| at(asked) > recorded.as_ref().and_then(at)) {
        *recorded = Some(asked);
    }
}

/// When a person said so last, as it is recorded.
fn confirmed_gone_at<K: Reconciled>(pass: &Pass<K>) -> Option<At> {
    clock::written(pass.common().last_close_breaker.as_ref()?, pass.now())
}

/// What an object says while the breaker of its account is open, if it is; `share`: the Share that it belongs to.
pub fn while_open(session: &Session, share: &Name) -> Option<Verdict> {
    let (cause, Name { namespace, name }) = (session.account.breaker()?, share);
    let message = format!(
        "{cause}. If the API token was replaced by one of another account, put the right one back. If the shares really \
         were deleted: `{}`; cfshare then recreates those that it created, and reports ShareNotFound for adopted ones. To \
         give this share up, delete its object: `kubectl delete --wait=false shares.cfshare.dev {name} -n {namespace}`; the \
         object is removed once no other share of the account is missing, or when you run the first command",
        ObjectKey::share(share.clone()).annotate_now(CLOSE_BREAKER),
    );
    Some(Verdict::unknown_stalled(Reason::BreakerOpen, message).shared().requeue_after(delays::BREAKER))
}

/// What to tell where a credential does not show a share that another one showed.
pub fn not_visible(object: &ObjectKey, what: &str, secret: &Name) -> Verdict {
    let message = format!(
        "cfshare cannot see {what} with the credential in Secret {}, which has never shown it: most likely the \
         credential belongs to another account. Nothing is recreated or released. Restore the right credential; or, if \
         the share no longer exists: `{}`",
        secret.name,
        object.annotate_now(CLOSE_BREAKER),
    );
    Verdict::unknown_stalled(Reason::BreakerOpen, message).requeue_after(delays::BREAKER)
}
