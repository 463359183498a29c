//! One pass over a ShareRecipient or ShareResource: one row of a share, looked after by an object of its own.

mod absent_share;
mod child_pass;
mod facts;
mod maintain;
mod messages;
mod parent;
mod status;

use std::sync::Arc;
use std::time::Duration;

use super::pass::Pass;
use crate::api::status::UNOBSERVED;
use crate::api::{DEFAULT_SECRET, Name, has_finalizer, uid_of};
use crate::core::child_step::{self, Step, Wait};
use crate::core::id::{AccountId, ShareId};
use crate::core::limiter::Priority;
use crate::core::row_key::RowKey;
use crate::core::row_step::Declared;
use crate::operator::delays;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::row_state::label;
use crate::operator::stop::Stop;
use child_pass::ChildPass;
use facts::Others;
use parent::Parent;

/// A claim, and what follows it.
const MAX_STEPS: usize = 3;

/// Runs one pass; returns when to run the next if nothing wakes it before.
pub async fn reconcile<C: Child>(context: Arc<Context>, object: Arc<C>) -> Result<Option<Duration>, Stop> {
    let Some(_lock) = context.share_locks.take(&object.share(), &object.object_key()) else {
        return Err(Stop::Occupied);
    };
    let mut pass = Pass::begin(context.clone(), C::cache(&context.cluster.index).latest(object));
    drop_foreign_record(&mut pass);
    read_hidden_share(&pass).await?;
    let parent = parent::parent(&pass);
    let row = parent.owner.as_ref().map(|owner| pass.object.row(owner));
    let declares = row.as_ref().and_then(|row| row.as_ref().ok());
    let others = Others::of(&pass, parent.owner.as_ref(), declares);
    for _ in 0..MAX_STEPS {
        let facts = facts::facts(&pass, &parent, declares, &others);
        let step = child_step::step(&facts);
        note_wait(&pass, step);
        tracing::trace!(?facts, ?step);
        match (step, &row) {
            (Step::Nothing, _) => return Ok(None),
            (Step::Release, _) => return pass.remove_finalizer().await.map(|()| None),
            (Step::Claim, _) => claim(&mut pass).await?,
            (Step::Wait(wait), _) => return wait_for(pass, &parent, wait, &others).await,
            (Step::Refuse(refusal), _) => {
                let verdict = messages::refused(&pass.object.share().name, refusal, row);
                return pass.finish(verdict).await;
            }
            (Step::RecordOnly | Step::Reconcile, Some(Ok(key))) => {
                let Some((owner, id)) = parent.owner.clone().zip(parent.id.clone()) else { break };
                parent::note_down(&mut pass, &parent, &id, &owner, key, &others.same_row);
                if step == Step::RecordOnly {
                    pass.save().await?;
                    return Ok(Some(delays::PEER_WRITE));
                }
                let key = key.clone();
                return look_after(pass, parent, &owner, id, key, facts.declared).await;
            }
            (Step::RecordOnly | Step::Reconcile, None | Some(Err(_))) => break,
        }
    }
    pass.finish(Verdict::unfinished()).await
}

/// Reads the Share if the selector hides it: what it declares decides whether a row is removed.
async fn read_hidden_share<C: Child>(pass: &Pass<C>) -> Result<(), Stop> {
    let share = pass.object.share();
    let ends = pass.is_deleting() && !has_finalizer(pass.object.meta());
    if ends || pass.object.is_suspended() || pass.context.cluster.index.shares.is_unreadable(&share) {
        return Ok(());
    }
    let (outside, index) = (&pass.context.cluster.outside, &pass.context.cluster.index);
    let age = if pass.is_deleting() { Duration::ZERO } else { delays::FRESH };
    outside.look_for_share(index, &share, age).await?;
    Ok(())
}

/// The part of a pass that reads and writes Cloudflare.
async fn look_after<C: Child>(
    mut pass: Pass<C>,
    parent: Parent,
    owner: &AccountId,
    id: ShareId,
    key: RowKey,
    declared: Declared,
) -> Result<Option<Duration>, Stop> {
    let namespace = pass.key.name.namespace.clone();
    let secret = parent.secret.clone().unwrap_or_else(|| Name::new(namespace, DEFAULT_SECRET));
    let credential = match pass.credential(&secret).await {
        Ok(credential) => credential,
        Err(problem) => {
            return pass.without_credential(problem, Some(format!("{} of share {id}", label(&key, None)))).await;
        }
    };
    let priority = priority(&pass);
    let session = pass.open(&credential, owner, priority);
    let mut child = ChildPass { pass, session, id, key, parent, declared };
    match maintain::run(&mut child).await {
        Ok(Some(verdict)) => {
            let verdict = status::excuse(&mut child, verdict);
            child.pass.finish(verdict).await
        }
        Ok(None) => Ok(None),
        Err(Stop::Cloudflare(error)) => child.pass.fail(error, &child.session, &secret).await,
        Err(stop) => Err(stop),
    }
}

/// As of a Share: many new objects do not keep an edit waiting.
fn priority<C: Child>(pass: &Pass<C>) -> Priority {
    let reported = pass.common().observed_generation;
    let edited = reported != UNOBSERVED && reported != pass.generation();
    if pass.is_deleting() || pass.is_requested() || edited {
        return Priority::Edit;
    }
    match Entry::of_child(pass.status.record()) {
        Some(_) => Priority::Poll,
        None => Priority::Create,
    }
}

/// Takes note of how long another object is awaited.
fn note_wait<C: Child>(pass: &Pass<C>, step: Step) {
    let now = pass.now();
    let waits = step == Step::Wait(Wait::Successor);
    pass.memory(|memory| memory.successor_awaited = waits.then(|| memory.successor_awaited.unwrap_or(now)));
}

/// Nothing more is done now, and what is awaited wakes the object.
async fn wait_for<C: Child>(
    pass: Pass<C>,
    parent: &Parent,
    wait: Wait,
    others: &Others,
) -> Result<Option<Duration>, Stop> {
    let verdict = match wait {
        Wait::Suspended => Verdict::suspended(),
        Wait::UnreadableShare if pass.is_deleting() => return Ok(Some(delays::HUMAN)),
        Wait::UnreadableShare => messages::unreadable_share(&pass),
        Wait::Share => messages::no_share(&pass),
        Wait::Creation => messages::not_created(&pass, parent),
        Wait::Outcome => return Ok(Some(delays::RECHECK)),
        Wait::Successor => {
            facts::requeue_successors(&pass, others);
            return Ok(Some(delays::RECHECK));
        }
        Wait::ShareDeletion | Wait::Handover => return Ok(Some(delays::PEER_WRITE)),
    };
    pass.finish(verdict).await
}

/// A record is believed only where it was written for this very object.
fn drop_foreign_record<C: Child>(pass: &mut Pass<C>) {
    let uid = uid_of(pass.object.as_ref());
    if pass.status.record().bound_uid != uid {
        pass.status.record_mut().unbind();
    }
}

/// Finalizer and record before anything is made, so that a parent's create may carry this row.
async fn claim<C: Child>(pass: &mut Pass<C>) -> Result<(), Stop> {
    pass.add_finalizer().await?;
    let uid = uid_of(pass.object.as_ref());
    if pass.status.record().bound_uid != uid {
        pass.status.record_mut().bound_uid = uid;
        pass.save().await?;
    }
    Ok(())
}
