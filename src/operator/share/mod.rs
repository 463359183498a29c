//! One pass over a Share: find out where it stands, take the steps that are called for, report.

mod announced;
mod apply;
pub mod bulk;
mod create;
mod declared;
mod delete;
pub mod deletions;
pub mod desired;
mod exceptions;
mod exclusions;
pub mod facts;
mod gathering;
pub mod losses;
mod maintain;
mod members;
mod messages;
pub mod name;
mod opening;
pub mod outside;
pub mod plan;
pub mod removals;
mod rivals;
#[cfg(test)]
mod samples;
mod share_pass;
mod status;
mod still_ready;
mod waivers;

use std::sync::Arc;
use std::time::Duration;

use super::pass::Pass;
use super::stop::Stop;
use crate::api::{Name, ObjectKey, Reason, Share, secret_of};
use crate::core::preflight::{self, Step as Preflight};
use crate::core::share_step::{self, Ending, Refusal, Step, Wait, Want};
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;

pub use desired::{Desired, retains};
pub use losses::next_confirmation;
pub use messages::{other_share, refused};
use share_pass::SharePass;

/// More steps than any pass needs: what loops longer is a defect, and goes on in the next pass.
const MAX_STEPS: usize = 64;
/// So many shares of a name that was taken are read once more on request.
const MAX_ASKED_AGAIN: usize = 3;

/// One pass; returns when to run the next if nothing requeues the object before.
pub async fn reconcile(context: Arc<Context>, object: Arc<Share>) -> Result<Option<Duration>, Stop> {
    let name = Name::of(object.as_ref());
    let _lock = context.share_locks.take(&name, &ObjectKey::share(name.clone()))?;
    let pass = opening::begin(context, object);
    let desired = desired::desired(&pass.object, &pass.context.cluster.index);
    match (preflight::step(&opening::facts(&pass, desired.as_ref().ok())), desired) {
        (Preflight::Nothing, _) => Ok(None),
        (Preflight::Release(why), _) => opening::release(pass, why).await,
        (Preflight::Suspend, _) => pass.finish(Verdict::suspended()).await,
        (Preflight::AwaitChildren, Ok(desired)) => opening::await_children(pass, &desired).await,
        (Preflight::Refuse | Preflight::Open | Preflight::AwaitChildren, Err(problem)) => {
            pass.finish(Verdict::stalled(Reason::Invalid, problem)).await
        }
        (Preflight::Open | Preflight::Refuse, Ok(desired)) => with_account(pass, desired).await,
    }
}

/// The part of a pass that reads and writes Cloudflare.
async fn with_account(mut pass: Pass<Share>, desired: Desired) -> Result<Option<Duration>, Stop> {
    if pass.common().observed_generation != pass.generation() && !pass.is_deleting() {
        declared::count(&mut pass.status, &desired);
    }
    opening::show_policies(&mut pass, &desired);
    let secret = secret_of(&pass.object);
    let credential = match pass.credential(&secret).await {
        Ok(credential) => credential,
        Err(problem) => {
            let share = pass.status.share_id.as_ref().map(|id| format!("share {id} of account {}", desired.owner));
            return pass.without_credential(problem, share).await;
        }
    };
    let mut share = opening::open(pass, desired, &credential);
    exclusions::recall_exclusions(&mut share);
    match steps(&mut share).await {
        Ok(Some(verdict)) => share.pass.finish(verdict).await,
        Ok(None) => opening::end(share).await,
        Err(Stop::Cloudflare(error)) => share.pass.fail(error, &share.session, &secret).await,
        Err(stop) => Err(stop),
    }
}

/// Step by step, until there is something to report; `None`: nothing is left to guard, and the object may go.
async fn steps(share: &mut SharePass) -> Result<Option<Verdict>, Stop> {
    // First, since it needs no look at the account: whatever ends the pass below, the finalizer is on what is recorded, and
    // what other objects announced is known.
    opening::protect(share).await?;
    share.pass.check_readable(&share.session)?;
    if let Some(verdict) = messages::forbidden(share) {
        return Ok(Some(verdict));
    }
    let mut asked_again = false;
    for _ in 0..MAX_STEPS {
        share.note_look();
        let facts = share.facts();
        let step = share_step::step(&facts);
        tracing::trace!(?facts, ?step);
        let verdict = match step {
            Step::Read(Want::Share) => read_share(share).await.map(|()| None),
            Step::Read(Want::List) => read_list(share).await.map(|()| None),
            Step::Bind { id, adopted } => match rivals::awaits_lists(share).filter(|_| adopted) {
                Some(verdict) => Ok(Some(verdict)),
                None => create::bind(share, &id, adopted).await.map(|()| None),
            },
            Step::Create => create::create(share).await,
            Step::GiveUp => create::give_up(share).await.map(|()| None),
            Step::Withdraw => create::withdraw_unsent(share).await.map(|()| None),
            Step::Forget => create::forget(share).await.map(|()| None),
            Step::Delete => delete::delete(share).await,
            Step::Release => return Ok(None),
            Step::Maintain => maintain::maintain(share).await.map(Some),
            Step::Wait(Wait::Settle) if create::met_conflict(share) => create::resolve_conflict(share).await,
            Step::Await(ending) => match (messages::held_by_breaker(share), ending) {
                (Some(verdict), _) => Ok(Some(verdict)),
                (None, Ending::Leaving) => delete::await_leaving(share).await,
                (None, Ending::Confirmation) => delete::confirm(share).await,
            },
            Step::Wait(wait) => Ok(Some(messages::waiting(share, wait))),
            // Somebody says that the name is free now.
            Step::Refuse(Refusal::NameTaken(ids)) if share.pass.is_requested() && !asked_again => {
                asked_again = true;
                for id in ids.iter().take(MAX_ASKED_AGAIN) {
                    share.session.read_share(id).await?;
                }
                Ok(None)
            }
            Step::Refuse(refusal) => Ok(Some(messages::refuse(share, refusal))),
        }?;
        if verdict.is_some() {
            return Ok(verdict);
        }
    }
    tracing::warn!("a pass did not finish within {MAX_STEPS} steps");
    Ok(Some(Verdict::unfinished()))
}

async fn read_share(share: &SharePass) -> Result<(), Stop> {
    let id = share.share_id().or_else(|| share.desired.share_id.clone());
    let may_read = share.share_id().is_some_and(|id| share.pass.take_early_read(&share.session, &id));
    if !may_read {
        share.session.await_first_sweep()?;
    }
    // The sweep may have ended since it was missed.
    let Some(id) = id.filter(|id| share.seen(id).is_none()) else { return Ok(()) };
    share.session.read_share(&id).await?;
    let now = share.pass.now();
    share.pass.memory(|memory| memory.tries.asked_for_id = Some(now));
    Ok(())
}

async fn read_list(share: &SharePass) -> Result<(), Stop> {
    share.session.await_first_sweep()?;
    let Some(intent) = share.pass.status.intent.clone() else {
        return share.session.look(share.snapshot(|snapshot| snapshot.look_since())).await;
    };
    let began = share.pass.now();
    let since = share.snapshot(|snapshot| snapshot.announced_since(&intent)).minus(share_step::CLOCKS_DIFFER);
    share.session.look_back(since).await?;
    let with = share.session.account.fingerprint;
    share.pass.memory(|memory| memory.note_look_back(with, began));
    Ok(())
}
