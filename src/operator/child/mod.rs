//! One pass over a ShareRecipient or ShareResource: one row of a share, looked after by an object of its own.

mod absent_share;
mod child_pass;
mod facts;
mod hand_over;
mod maintain;
mod messages;
mod parent;
mod removal;
mod status;

use std::sync::Arc;
use std::time::Duration;

use super::pass::Pass;
use crate::api::status::UNOBSERVED;
use crate::api::{DEFAULT_SECRET, Name, Reason, uid_of};
use crate::core::child_step::{self, Step, Wait};
use crate::core::id::{AccountId, ShareId};
use crate::core::interned::Interned;
use crate::core::limiter::Priority;
use crate::core::row_key::RowKey;
use crate::core::row_step::Declared;
use crate::operator::cluster::outside::Recency;
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
    let _lock = context.share_locks.take(&object.share(), &object.object_key())?;
    let mut pass = Pass::begin(context.clone(), C::cache(&context.cluster.index).latest(object));
    drop_foreign_record(&mut pass.status, uid_of(pass.object.as_ref()));
    let parent = parent::parent(&pass);
    let row = parent.owner.as_ref().map(|owner| pass.object.row(owner));
    let declares = row.as_ref().and_then(|row| row.as_ref().ok());
    let others = Others::of(&pass, parent.owner.as_ref(), declares);
    if let Some(key) = declares {
        match hand_over::hand_over(&pass, &parent, key, &others).await {
            Ok(false) => {}
            Ok(true) => return Ok(Some(delays::PEER_WRITE)),
            Err(stop) if stop.is_too_large() => {
                let name = label(key, pass.object.label().as_deref());
                let verdict = messages::share_too_large(&name, &pass.object.share());
                return pass.finish(verdict).await;
            }
            Err(stop) => return Err(stop),
        }
    }
    for _ in 0..MAX_STEPS {
        let facts = facts::facts(&pass, &parent, declares, &others);
        let step = child_step::step(&facts);
        note_wait(&pass, step);
        tracing::trace!(?facts, ?step);
        match (step, &row) {
            (Step::Nothing, _) => return Ok(None),
            (Step::Release, _) => return release(pass, child_step::may_leave_row(&facts), declares).await,
            (Step::Claim, _) => claim(&mut pass).await?,
            (Step::Wait(wait), _) => return wait_for(pass, &parent, wait, &others).await,
            (Step::Refuse(refusal), _) => {
                let winner = facts::winner(&pass, &parent, declares, &others);
                let verdict = messages::refused(&pass.object.share().name, refusal, row, winner.as_ref());
                return pass.finish(verdict).await;
            }
            (Step::RecordOnly | Step::Reconcile, Some(Ok(key))) => {
                let Some((owner, id)) = parent.owner.clone().zip(parent.id.clone()) else { break };
                parent::note_down(&mut pass, &parent, &id, &owner, key, &others.same_row);
                if parent.observes() {
                    // What is only seen is not ours: it would be removed, or added again, once the Share is gone.
                    pass.status.record_mut().bound_uid = None;
                }
                if step == Step::RecordOnly {
                    pass.save().await?;
                    return await_share(pass, delays::PEER_WRITE, "to drop the entry from its inventory").await;
                }
                let key = key.clone();
                return look_after(pass, parent, &owner, id, key, facts.declared).await;
            }
            (Step::RecordOnly | Step::Reconcile, None | Some(Err(_))) => break,
        }
    }
    pass.finish(Verdict::unfinished()).await
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

/// `forgotten`: the row may stay at Cloudflare.
async fn release<C: Child>(mut pass: Pass<C>, forgotten: bool, row: Option<&RowKey>) -> Result<Option<Duration>, Stop> {
    pass.remove_finalizer().await?;
    // After the write: a conflict begins the pass again, and would tell it twice.
    if forgotten {
        pass.warn_of_lost_record(messages::record_lost(&pass, row));
    }
    Ok(None)
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
        Wait::UnreadableShare => messages::unreadable_share(&pass).requeue_after(delays::HUMAN),
        Wait::Share => messages::no_share(&pass),
        Wait::Creation => messages::not_created(&pass, parent),
        Wait::Outcome => {
            let what = "to learn the outcome of its create request, which may have added the entry";
            return await_share(pass, delays::RECHECK, what).await;
        }
        Wait::Successor => {
            if others.same_row.iter().any(|sibling| sibling.late) {
                // What the watch does not show may be gone by now.
                let (outside, index) = (&pass.context.cluster.outside, &pass.context.cluster.index);
                let recency = Recency::within(delays::RECHECK);
                outside.look::<C>(index, &pass.key.name.namespace, recency).await?;
            }
            facts::requeue_successors(&pass, others);
            return Ok(Some(delays::RECHECK));
        }
        Wait::ShareDeletion => return Ok(Some(delays::PEER_WRITE)),
    };
    pass.finish(verdict).await
}

/// An object that is being deleted waits for its Share to do something first, which wakes it. The Share may be unable to.
async fn await_share<C: Child>(pass: Pass<C>, least: Duration, what: &str) -> Result<Option<Duration>, Stop> {
    let (wait, is_long) = pass.wait_for_peer(least);
    if !is_long {
        return Ok(Some(wait));
    }
    let message =
        format!("waiting for Share {} {what}; the status of the Share says why it has not", pass.object.share().name);
    pass.finish(Verdict::working(Reason::Deleting, message).requeue_after(wait)).await
}

/// A record is believed only where it was written for this very object. What was reported of a row stays where nobody is in
/// charge of it: it was reported of this object, which only observes.
fn drop_foreign_record<S: RowStatus>(status: &mut S, uid: Option<Interned>) {
    match &status.record().bound_uid {
        bound if *bound == uid => {}
        Some(_) => status.disown(),
        None => status.record_mut().unbind(),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::status::{RecipientStatus, ResourceStatus};

    fn believed<S: RowStatus + serde::Serialize + serde::de::DeserializeOwned>(
        mut status: Value,
        bound: Value,
    ) -> Value {
        status["boundUID"] = bound;
        let mut status: S = serde_json::from_value(status).expect("a status");
        drop_foreign_record(&mut status, Some("own".into()));
        serde_json::to_value(status).expect("plain data")
    }

    #[test]
    fn nothing_that_was_reported_of_another_objects_row_is_kept() {
        let conditions = json!([{
            "type": "Ready", "status": "True", "reason": "Associated", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]);
        let common = json!({
            "observedGeneration": 1, "conditions": conditions, "lastHandledReconcileAt": "now", "shareID": "share",
            "drift": [{"path": "p", "desired": "d", "observed": "o"}],
            "confirmed": true,
        });
        let with = |more: Value| {
            let mut all = common.clone();
            all.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
            all
        };
        let recipient = with(json!({
            "recipientID": "row", "associationStatus": "associated", "waiverWarned": "2026-01-01T00:00:00Z",
            "errors": [{"resourceID": "id", "message": "m", "terminal": true}],
        }));
        let resource = with(json!({"shareResourceID": "row", "version": 2, "remoteStatus": "active"}));
        let left = json!({"observedGeneration": -1, "conditions": conditions});
        assert_eq!(believed::<RecipientStatus>(recipient.clone(), json!("another")), left);
        assert_eq!(believed::<ResourceStatus>(resource.clone(), json!("another")), left);

        // Of an object that only observes, the report stays, and of its own one all.
        let observed = believed::<RecipientStatus>(recipient.clone(), Value::Null);
        assert_eq!((&observed["recipientID"], &observed["shareID"]), (&json!("row"), &Value::Null));
        let own = believed::<ResourceStatus>(resource, json!("own"));
        assert_eq!(
            (&own["shareResourceID"], &own["shareID"], &own["version"]),
            (&json!("row"), &json!("share"), &json!(2))
        );
    }
}
