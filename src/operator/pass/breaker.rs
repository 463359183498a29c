//! How a person says that shares which cannot be seen are meant to be gone, and what the status says until then.

use super::Pass;
use super::verdict::Verdict;
use crate::api::{CLOSE_BREAKER, Name, ObjectKey, Reason, Share};
use crate::core::breaker::Word;
use crate::core::id::ShareId;
use crate::core::interned::Interned;
use crate::core::time::At;
use crate::operator::clock::{self, CLOCK_RESOLUTION};
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::conditions::breaker_reported_at;
use crate::operator::delays;
use crate::operator::remote::session::Session;

/// A person says that shares which cannot be seen are meant to be gone: all that vanished together, or this one. What is said
/// of a share that this credential has never shown is said of no other, and waits until nothing stops all writes.
pub fn close_breaker(pass: &mut Pass<Share>, session: &Session) {
    note_confirmation(pass);
    let Some(confirmed) = confirmed_gone_at(pass) else { return };
    let (share, seen_with) = (pass.status.recorded_share(), pass.status.seen_with.as_deref());
    let is_hidden = share.is_some_and(|id| session.account.is_hidden(&id, seen_with));
    let word = if is_hidden { Word::One } else { Word::All };
    if session.account.close_breaker(confirmed, word) {
        tracing::warn!(account = %session.account.id, "the circuit breaker was closed by annotation");
        pass.context.cluster.requeue_account(&session.account.id);
    }
    if session.account.breaker().is_none() && is_confirmed_gone(pass) {
        pass.status.seen_with = Some(session.account.seen_with());
        // So that the object tells the next process of it.
        session.account.recall_accepted(pass.status.share_id.clone().map(|id| (id, confirmed)));
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

/// What an object says while the breaker of its account is open, if it is; `share`: the Share that it belongs to, and `id`:
/// the share of that.
pub fn while_open(session: &Session, share: &Name, id: Option<&ShareId>) -> Option<Verdict> {
    let cause = session.account.breaker()?;
    let cache = session.account.cache();
    let is_there = id.and_then(|id| match cache.seen(id) {
        Some(seen) => Some(seen.is_live()),
        None => cache.is_missing(id).then_some(false),
    });
    let message = open(&cause, share, is_there);
    let verdict = Verdict::unknown_stalled(Reason::BreakerOpen, message).shared().requeue_after(delays::BREAKER);
    // The one Event for all of them belongs to a Share that misses its share.
    Some(if is_there == Some(false) { verdict } else { verdict.without_event() })
}

/// Nobody is told to give up a share that may be there; `is_there`: whether it was when it was last read, if it was.
fn open(cause: &str, share: &Name, is_there: Option<bool>) -> String {
    let Name { namespace, name } = share;
    let there = match is_there {
        Some(true) => {
            " This share was there when cfshare last read it, so keep its object: it only waits for the missing ones."
        }
        Some(false) | None => "",
    };
    let give_up = match is_there {
        Some(true) | None => String::new(),
        Some(false) => format!(
            ". To give this share up, delete its object: `kubectl delete --wait=false shares.cfshare.dev {name} -n \
             {namespace}`; the object is removed once no other share of the account is missing, or when you run the first \
             command"
        ),
    };
    format!(
        "{cause}.{there} If the API token was replaced by one of another account, put the right one back. If the missing \
         shares really were deleted: `{}`; cfshare then recreates those that it created, and reports ShareNotFound for \
         adopted ones{give_up}",
        ObjectKey::share(share.clone()).annotate_now(CLOSE_BREAKER),
    )
}

/// What to tell where a credential does not show a share that another one showed: many objects may, where the breaker opened.
pub fn not_visible(session: &Session, object: &ObjectKey, what: &str, secret: &Name) -> Verdict {
    let message = not_visible_with(object, what, secret);
    let verdict = Verdict::unknown_stalled(Reason::BreakerOpen, message).requeue_after(delays::BREAKER);
    if session.account.breaker().is_some() { verdict.shared() } else { verdict }
}

pub fn not_visible_with(object: &ObjectKey, what: &str, secret: &Name) -> String {
    format!(
        "cfshare cannot see {what} with the credential in Secret {}, which has never shown it: most likely the \
         credential belongs to another account. Nothing is recreated or released. Restore the right credential; or, if \
         the share no longer exists: `{}`",
        secret.name,
        object.annotate_now(CLOSE_BREAKER),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_share_that_is_missing_it_is_said_how_to_give_it_up() {
        let told = |is_there| open("6 of 10 shares", &Name::new("p5", "s9"), is_there);
        let has = |text: &'static str| [Some(true), None, Some(false)].map(|is_there| told(is_there).contains(text));
        assert_eq!(has("6 of 10 shares. "), [true; 3]);
        assert_eq!(has("kubectl delete"), [false, false, true]);
        assert_eq!(has("kubectl annotate --overwrite shares.cfshare.dev s9 -n p5"), [true; 3]);
        assert_eq!(has("keep its object"), [true, false, false]);
        assert_eq!(has("the right one back"), [true; 3]);
    }
}
