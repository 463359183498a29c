//! How a share that is there comes to an end, and when it is believed that it has.

use super::deletions;
use super::share_pass::SharePass;
use crate::api::{CLOSE_BREAKER, ConditionType, Reason, Share};
use crate::cloudflare::ErrorClass;
use crate::core::id::ShareId;
use crate::core::time::At;
use crate::operator::pass::Pass;
use crate::operator::pass::memory::Write;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::writer::Change;
use crate::operator::stop::Stop;
use crate::operator::{clock, conditions};

/// Names the call that deletes a share in what this process remembers of its writes and refusals.
const DELETION: &str = "delete";

pub async fn delete(share: &mut SharePass) -> Result<Option<Verdict>, Stop> {
    let Some(id) = share.share_id() else { return Ok(None) };
    let now = share.pass.now();
    if let Some(verdict) = share.pass.refusal(DELETION, Reason::Rejected) {
        return Ok(Some(verdict));
    }
    if let Some(verdict) = deletions::withheld_deletion(share).await? {
        return Ok(Some(verdict));
    }
    let asked = share.pass.memory(|memory| memory.tries.written.get(DELETION).map(|written| written.last));
    if asked.is_some_and(|asked| now.since(asked) < share.pass.context.settings.poll_max) {
        return await_effect(share, &id).await;
    }
    // The manifest may say by now that the share is to stay.
    let current = share.pass.confirm().await?;
    match share.session.delete_share(&id, &current).await? {
        Change::Done(()) => {
            let (item, what) = (DELETION.into(), "the share".into());
            let deletion = Write { item, what, value: "deleted".into(), found: "live".into() };
            share.pass.memory(|memory| memory.wrote(&deletion, now));
            Ok(None)
        }
        Change::Unsure(error) => {
            // Read it before it is sent once more.
            share.session.account.cache().forget(&id);
            Err(Stop::Cloudflare(error))
        }
        Change::Not(error) => match error.class() {
            ErrorClass::Rejected => {
                let message = format!("Cloudflare refuses to delete share {id}: {error}");
                share.pass.memory(|memory| memory.refuse(DELETION, message, now));
                Ok(None)
            }
            // Most likely it is being deleted already.
            ErrorClass::Conflict => {
                share.session.read_share(&id).await?;
                let live = share.session.account.cache().seen(&id).is_some_and(|seen| seen.is_live());
                if !live {
                    return Ok(None);
                }
                let wait = share.pass.plan_poll(u64::MAX);
                Ok(Some(undeleted(share, &id, &format!("refuses: {error}")).requeue_after(wait)))
            }
            ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied | ErrorClass::Gone => {
                Err(Stop::Cloudflare(error))
            }
        },
    }
}

/// Whether Cloudflare was asked to delete the share of a deleted object, as far as is known, or is deleting it anyway.
pub fn was_asked(pass: &Pass<Share>) -> bool {
    pass.status.remote_status.as_deref() == Some("deleting")
        || pass.memory(|memory| memory.tries.written.contains_key(DELETION))
}

/// Cloudflare agreed to delete the share a moment ago, or did not find it, and shows it all the same: the call is not sent
/// at once again.
async fn await_effect(share: &SharePass, id: &ShareId) -> Result<Option<Verdict>, Stop> {
    if share.pass.is_poll_due() {
        share.session.read_share(id).await?;
        if !share.seen(id).is_some_and(|seen| seen.is_live()) {
            return Ok(None);
        }
    }
    let wait = share.pass.plan_poll(u64::MAX);
    Ok(Some(undeleted(share, id, "still shows it").requeue_after(wait)))
}

/// Cloudflare is deleting the share: look now and then whether it is gone.
pub async fn await_leaving(share: &mut SharePass) -> Result<Option<Verdict>, Stop> {
    let Some(id) = share.share_id() else { return Ok(None) };
    have_loss_counted(share, &id);
    if let Some(since) = share.pass.due().filter(|due| *due <= share.pass.now()) {
        if share.session.account.cache().leaving.as_ref().is_none_or(|(at, _)| *at < since) {
            share.session.read_leaving().await?;
        }
        let gone_from_list = {
            let cache = share.session.account.cache();
            cache.leaving.as_ref().is_some_and(|(_, ids)| !ids.contains(&id))
        };
        if gone_from_list {
            share.session.read_share(&id).await?;
            let cache = share.session.account.cache();
            let is_leaving = cache.seen(&id).is_some_and(|seen| seen.is_leaving());
            if !is_leaving || cache.has_ended(&id, share.pass.is_deleting(), share.session.read_lag()) {
                return Ok(None);
            }
        }
    }
    let wait = share.pass.plan_poll(u64::MAX);
    share.pass.status.remote_status = Some("deleting".into());
    let message = format!("share {id} is being deleted by Cloudflare");
    let verdict = match overdue_since(share) {
        Some(since) => overdue(share, &id, since),
        None if share.pass.is_deleting() => Verdict::working(Reason::Deleting, message),
        None if share.session.account.is_accepted(id.as_str()) => confirmed(&message),
        None => Verdict::working(Reason::Progressing, message),
    };
    Ok(Some(verdict.requeue_after(wait)))
}

/// Since when Cloudflare has been asked to delete the share of a deleted object, if that is far longer than the usual two
/// minutes.
fn overdue_since(share: &SharePass) -> Option<At> {
    let (conditions, settle_time) = (&share.pass.common().conditions, share.pass.context.settings.settle_time);
    let (now, serving_since) = (share.pass.now(), share.pass.serving_since());
    let deleted = clock::from_time(share.pass.object.metadata.deletion_timestamp.as_ref()?);
    // Another machine's clock; only one that is far ahead is not believed.
    let deleted = deleted.unless_ahead(now.plus(settle_time), serving_since);
    let said_in =
        |kind| Some(conditions::said_in(conditions, kind, Reason::Deleting)?.unless_ahead(now, serving_since));
    if let Some(reported) = said_in(ConditionType::Stalled) {
        return Some(reported.minus(settle_time));
    }
    // The time of a condition is that of its status, not of its reason: the deletion may have waited for a person before,
    // when it was not Reconciling, or for Cloudflare, when it was not known whether it is Ready.
    let began = said_in(ConditionType::Reconciling)?.max(said_in(ConditionType::Ready)?).max(deleted);
    (now.since(began) >= settle_time).then(|| now.minus(settle_time))
}

/// What is reported of a share that stays though Cloudflare was asked to delete it; `why`: what Cloudflare does instead.
fn undeleted(share: &SharePass, id: &ShareId, why: &str) -> Verdict {
    let Some(since) = overdue_since(share) else {
        let message = format!("Cloudflare was asked to delete share {id}, and {why}: cfshare asks again");
        return Verdict::working(Reason::Deleting, message);
    };
    let (account, support) = (&share.session.account.id, what_remains(share));
    let message = format!(
        "Cloudflare has been asked to delete share {id} of account {account} since {}, and {why}, so accounts may still \
         receive it: cfshare keeps asking, and {support}",
        clock::timestamp(since),
    );
    Verdict::stalled(Reason::Deleting, message)
}

/// What is reported of a share that Cloudflare has been deleting for too long.
fn overdue(share: &SharePass, id: &ShareId, since: At) -> Verdict {
    let (account, support) = (&share.session.account.id, what_remains(share));
    let message = format!(
        "Cloudflare has been deleting share {id} of account {account} since {}, and accounts may still receive it: cfshare \
         keeps looking, and {support}",
        clock::timestamp(since),
    );
    Verdict::stalled(Reason::Deleting, message)
}

/// What people can do about a deletion that takes too long.
fn what_remains(share: &SharePass) -> String {
    let retain = share.pass.key.retain();
    format!("Cloudflare's support can say what holds it up. To release this object without waiting: {retain}")
}

/// Somebody else deletes the share, or it disappeared: nothing is created in its place before a complete list has
/// shown how many more there are.
fn have_loss_counted(share: &SharePass, id: &ShareId) {
    let since = share.session.account.cache().uncounted(id);
    if let Some(since) = since.filter(|_| !share.pass.is_deleting()) {
        share.session.account.demand_sweep(share.pass.key.clone(), since);
    }
}

/// The share was not there: look again after a while before that is believed.
pub async fn confirm(share: &SharePass) -> Result<Option<Verdict>, Stop> {
    let Some(id) = share.share_id() else { return Ok(None) };
    let read_lag = share.pass.context.settings.read_lag();
    have_loss_counted(share, &id);
    let expected = share.pass.is_deleting() && share.session.account.cache().was_expected_to_go(&id);
    if expected && !share.session.account.cache().is_gone(&id, read_lag) {
        share.session.read_leaving().await?;
        if share.session.account.cache().is_gone(&id, read_lag) {
            return Ok(None);
        }
    }
    let now = share.pass.now();
    if share.pass.is_poll_due() {
        share.session.read_share(&id).await?;
        let (missing, gone, first) = {
            let cache = share.session.account.cache();
            let live = cache.seen(&id).is_some_and(|seen| !seen.is_leaving());
            (!live, cache.has_ended(&id, share.pass.is_deleting(), read_lag), cache.missing_since(&id))
        };
        if !missing || gone {
            return Ok(None);
        }
        // Twice not there, a while apart: only a complete list can still say otherwise.
        if let Some(first) = first.filter(|first| now.since(*first) >= read_lag) {
            share.session.account.demand_sweep(share.pass.key.clone(), first);
        }
    }
    share.pass.memory(|memory| {
        if memory.due.is_none_or(|due| due <= now) {
            memory.due = Some(now.plus(read_lag));
        }
    });
    let message = format!("share {id} was not found; checking once more before treating it as deleted");
    let asked = expected || share.pass.memory(|memory| memory.tries.written.contains_key(DELETION));
    let verdict = match overdue_since(share) {
        Some(_) if asked => undeleted(share, &id, "the list of shares that would show that it is gone cannot be read"),
        Some(_) | None if share.pass.is_deleting() => Verdict::working(Reason::Deleting, message),
        Some(_) | None if share.session.account.is_accepted(id.as_str()) => confirmed(&message),
        Some(_) | None => Verdict::unknown(Reason::ShareNotFound, message),
    };
    Ok(Some(verdict.requeue_after(read_lag)))
}

/// What is reported of a loss that a person has confirmed: it keeps the reason of which that was said, so that the next
/// process knows that it was said of this share.
fn confirmed(message: &str) -> Verdict {
    Verdict::unknown(Reason::BreakerOpen, format!("{message}. The annotation {CLOSE_BREAKER} was accepted"))
}
