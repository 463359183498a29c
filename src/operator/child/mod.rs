//! One pass over a ShareRecipient or ShareResource: one row of a share, looked after by an object of its own.

mod child_pass;
mod delete;
mod facts;
mod maintain;
mod parent;
mod row_drift;
mod status;
mod waived;

use std::sync::Arc;
use std::time::Duration;

use super::pass::Pass;
use crate::api::{Name, Reason, Share, has_finalizer, uid_of};
use crate::core::child_step::{self, Refusal, Step, Wait};
use crate::core::id::{AccountId, ShareId};
use crate::core::limiter::Priority;
use crate::core::row_key::RowKey;
use crate::core::row_step::Declared;
use crate::operator::cluster::index;
use crate::operator::cluster::index::Related;
use crate::operator::conditions;
use crate::operator::delays;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::{self, Verdict};
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::row_state::label;
use crate::operator::share::outside::into_scope;
use crate::operator::stop::Stop;
use child_pass::ChildPass;
use parent::Parent;

/// A claim, and what follows it.
const MAX_STEPS: usize = 3;

/// Runs one pass; returns when to run the next if nothing wakes it before.
pub async fn reconcile<C: Child>(context: Arc<Context>, object: Arc<C>) -> Result<Option<Duration>, Stop> {
    let share_lock = context.share_lock(&object.share());
    let Ok(_alone) = share_lock.try_lock() else { return Err(Stop::Occupied) };
    let mut pass = Pass::begin(context.clone(), C::cache(&context.cluster.index).latest(object));
    believe(&mut pass);
    look_outside(&pass).await?;
    let parent = parent::parent(&mut pass);
    let row = parent.owner.as_ref().map(|owner| pass.object.row(owner));
    let declares = row.as_ref().and_then(|row| row.as_ref().ok());
    let rivals = declares.zip(parent.owner.as_ref()).map(|(row, owner)| facts::rivals(&pass, owner, row));
    let rivals = rivals.unwrap_or_default();
    for _ in 0..MAX_STEPS {
        let facts = facts::facts(&mut pass, &parent, declares, &rivals);
        let step = child_step::step(&facts);
        note_wait(&pass, step);
        tracing::trace!(?facts, ?step);
        match (step, &row) {
            (Step::Nothing, _) => return Ok(None),
            (Step::Release, _) => return release(pass).await,
            (Step::Claim, _) => claim(&mut pass).await?,
            (Step::Wait(wait), _) => return waiting(pass, &parent, wait, &rivals).await,
            (Step::Refuse(refusal), _) => return refuse(pass, refusal, row).await,
            (Step::RecordOnly | Step::Reconcile, Some(Ok(key))) => {
                let Some((owner, id)) = parent.owner.clone().zip(parent.id.clone()) else { break };
                parent::note_down(&mut pass, &parent, &id, &owner, key, &rivals);
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
async fn look_outside<C: Child>(pass: &Pass<C>) -> Result<(), Stop> {
    let share = pass.object.share();
    let ends = pass.is_deleting() && !has_finalizer(pass.object.meta());
    if ends || pass.object.is_suspended() || pass.context.cluster.index.shares.is_unreadable(&share) {
        return Ok(());
    }
    let (outside, objects) = (&pass.context.cluster.outside, &pass.context.cluster.index);
    let age = if pass.is_deleting() { Duration::ZERO } else { delays::FRESH };
    outside.look_for_share(objects, &share, age).await?;
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
    let secret = parent.secret.clone().unwrap_or_else(|| Name::new(namespace, index::DEFAULT_SECRET));
    let known = match pass.credential(&secret).await {
        Ok(known) => known,
        Err(problem) => {
            return pass.without_credential(problem, Some(format!("{} of share {id}", label(&key, None)))).await;
        }
    };
    let priority = if pass.is_deleting() || !pass.was_ready() { Priority::Edit } else { Priority::Poll };
    let session = pass.open(&known, owner, priority);
    let mut child = ChildPass { pass, session, id, key, parent, declared };
    match maintain::run(&mut child).await {
        Ok(Some(verdict)) => {
            let verdict = waived::excuse(&mut child, verdict);
            child.pass.finish(verdict).await
        }
        Ok(None) => Ok(None),
        Err(Stop::Cloudflare(error)) => child.pass.fail(error, &child.session, &secret).await,
        Err(stop) => Err(stop),
    }
}

/// Takes note of how long another object is awaited.
fn note_wait<C: Child>(pass: &Pass<C>, step: Step) {
    let now = pass.now();
    let waits = step == Step::Wait(Wait::Successor);
    pass.memory(|memory| memory.successor_awaited = waits.then(|| memory.successor_awaited.unwrap_or(now)));
}

async fn waiting<C: Child>(
    pass: Pass<C>,
    parent: &Parent,
    wait: Wait,
    rivals: &[Sibling],
) -> Result<Option<Duration>, Stop> {
    let share = pass.object.share().name;
    let waits_for_share = |what: &str| Verdict::working(Reason::WaitingForShare, format!("Share {share} {what}"));
    let verdict = match wait {
        Wait::Suspended => Verdict::suspended(),
        Wait::UnreadableShare if pass.is_deleting() => return Ok(Some(delays::HUMAN)),
        Wait::UnreadableShare => {
            let message =
                format!("Share {share} does not match the current CRD and cannot be read: fix it and apply it again");
            Verdict::unknown_stalled(Reason::WaitingForShare, message)
        }
        Wait::Share => {
            let since = conditions::said_since(&pass.common().conditions, Reason::WaitingForShare, pass.now());
            let missing = waits_for_share("does not exist: apply it in this namespace, or fix shareRef");
            verdict::awaited(missing, since, pass.now())
        }
        Wait::Creation if parent.outside => {
            let command = into_scope(&pass.context.cluster.outside, &Share::key(pass.object.share()));
            waits_for_share(&format!(
                "does not match --watch-label-selector, so cfshare creates no share for it. Restore the labels: {command}"
            ))
        }
        Wait::Creation if parent.share.as_ref().is_some_and(|share| share.spec.suspend == Some(true)) => {
            let message = format!("Share {share} is suspended, and does not exist at Cloudflare yet");
            Verdict::unknown(Reason::Suspended, message).resting()
        }
        Wait::Creation if observes_nothing(parent) => {
            let (read_only, Name { namespace, name }) = (pass.context.settings.read_only, pass.object.share());
            let (why, how) = if read_only {
                ("the operator runs with --read-only".to_owned(), "start the operator without --read-only".to_owned())
            } else {
                let patch = r#"{"spec":{"managementPolicy":"Manage"}}"#;
                let manage =
                    format!("kubectl patch shares.cfshare.dev {name} -n {namespace} --type merge -p '{patch}'");
                (format!("Share {share} only observes"), manage)
            };
            let message = format!(
                "{why}, and there is no share at Cloudflare that it would observe: nothing is added. To have it created: {how}"
            );
            Verdict::stalled(Reason::Differs, message)
        }
        Wait::Creation => waits_for_share("has no share at Cloudflare yet"),
        Wait::Outcome => return Ok(Some(delays::SHORT)),
        Wait::Successor => {
            facts::wake_successors(&pass, rivals);
            return Ok(Some(delays::SHORT));
        }
        Wait::Company | Wait::Handover => return Ok(Some(delays::PEER_WRITE)),
    };
    pass.finish(verdict).await
}

/// The Share has found no share, and makes none, since it or the operator only reads.
fn observes_nothing(parent: &Parent) -> bool {
    let status = parent.share.as_ref().and_then(|share| share.status.as_ref());
    status.is_some_and(|status| conditions::says(&status.common.conditions, Reason::Differs))
}

async fn refuse<C: Child>(
    pass: Pass<C>,
    refusal: Refusal,
    row: Option<Result<RowKey, String>>,
) -> Result<Option<Duration>, Stop> {
    let share = pass.object.share().name;
    let verdict = match (refusal, row) {
        (Refusal::Organization, _) => Verdict::stalled(
            Reason::Invalid,
            format!(
                "Share {share} is for an organization, so all member accounts receive it already: delete this object; to \
                 exclude accounts, use spec.organization.excluded of the Share"
            ),
        ),
        (Refusal::Duplicate, Some(Ok(key))) => Verdict::stalled(
            Reason::DuplicateDeclaration,
            format!("{} is already declared by the Share itself or by an older object, which wins", label(&key, None)),
        ),
        (Refusal::Invalid, Some(Err(problem))) => Verdict::stalled(Reason::Invalid, problem),
        (Refusal::Invalid | Refusal::Duplicate, _) => Verdict::unfinished(),
    };
    pass.finish(verdict).await
}

/// A record is believed only where it was written for this very object.
fn believe<C: Child>(pass: &mut Pass<C>) {
    let uid = uid_of(pass.object.as_ref());
    let child = pass.status.child();
    if child.bound_uid != uid {
        child.bound_uid = None;
        child.share_id = None;
        child.owner_account_id = None;
        child.credentials_name = None;
        child.seen_with = None;
        child.intended_at = None;
        child.confirmed = false;
    }
}

async fn release<C: Child>(mut pass: Pass<C>) -> Result<Option<Duration>, Stop> {
    pass.remove_finalizer().await?;
    Ok(None)
}

/// Finalizer and record before anything is made, so that a parent's create may carry this row.
async fn claim<C: Child>(pass: &mut Pass<C>) -> Result<(), Stop> {
    pass.add_finalizer().await?;
    let uid = uid_of(pass.object.as_ref());
    if pass.status.child().bound_uid != uid {
        pass.status.child().bound_uid = uid;
        pass.save().await?;
    }
    Ok(())
}
