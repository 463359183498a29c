//! How a pass over a Share begins, and what it opens to read and write Cloudflare.

use std::sync::Arc;
use std::time::Duration;

use super::desired::{Desired, retains};
use super::share_pass::SharePass;
use super::{apply, delete, deletions, losses};
use crate::api::policy::{DeletionPolicy, ManagementPolicy};
use crate::api::status::{CommonStatus, EffectivePolicies, ShareStatus, UNOBSERVED};
use crate::api::{CONFIRM_REMOVALS, EventReason, Reason, Share, has_finalizer, is_suspended, own_record, uid_of};
use crate::core::interned::Interned;
use crate::core::limiter::Priority;
use crate::core::preflight::{self, Facts, Step, Why};
use crate::core::share_step::Mode;
use crate::operator::cluster::events::Note;
use crate::operator::delays;
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::pass::{Pass, breaker};
use crate::operator::remote::credentials::ResolvedCredential;
use crate::operator::remote::session::Session;
use crate::operator::rows::row_state::first_and_more;
use crate::operator::stop::Stop;

/// A message names so many objects.
const MAX_NAMED: usize = 3;

/// Ids and inventory are believed only where they were written for this very object: a copied manifest may bring
/// a copied status with it.
pub fn begin(context: Arc<Context>, object: Arc<Share>) -> Pass<Share> {
    let latest = context.cluster.index.shares.latest(object);
    let mut pass = Pass::begin(context, latest);
    if pass.status.bound_uid.is_some() && pass.status.bound_uid != uid_of(pass.object.as_ref()) {
        let status = &mut pass.status;
        let common =
            CommonStatus { conditions: std::mem::take(&mut status.common.conditions), ..CommonStatus::default() };
        *status = ShareStatus { common, ..ShareStatus::default() };
    } else if pass.status.bound_uid.is_none() {
        pass.status.share_id = None;
        pass.status.intent = None;
        pass.status.inventory = Default::default();
    }
    if pass.common().observed_generation == UNOBSERVED && pass.status.ignored_confirmation.is_none() {
        pass.status.ignored_confirmation = pass.asked(CONFIRM_REMOVALS).map(Interned::from);
    }
    pass
}

/// `desired`: what the manifest declares, if that can be sent.
pub fn facts(pass: &Pass<Share>, desired: Option<&Desired>) -> Facts {
    let status = &pass.status;
    Facts {
        deleting: pass.is_deleting(),
        finalizer: has_finalizer(&pass.object.metadata),
        lost: has_finalizer(&pass.object.metadata) && own_record(&pass.object).is_none(),
        valid: desired.is_some(),
        suspended: is_suspended(&pass.object),
        announced: status.intent.is_some(),
        bound: status.share_id.is_some(),
        rows: !status.inventory.is_empty(),
        retain: desired.is_some() && retains(&pass.object, Some(status)),
        children_lag: desired.is_some_and(|desired| desired.lagging_children(status).next().is_some()),
    }
}

/// Ends the pass of a Share that may go. Only now it may be known which share stays, so what is asked before any call is asked
/// once more: whether child objects have recorded it.
pub async fn end(mut share: SharePass) -> Result<Option<Duration>, Stop> {
    match preflight::step(&facts(&share.pass, Some(&share.desired))) {
        Step::AwaitChildren => await_children(share.pass, &share.desired).await,
        Step::Release(why) => release(share.pass, why).await,
        Step::Nothing | Step::Refuse | Step::Suspend | Step::Open => {
            release_finalizer(&mut share).await?;
            Ok(None)
        }
    }
}

/// Child objects record the share that stays, and wake this one. One that cannot is reported before long.
pub async fn await_children(pass: Pass<Share>, desired: &Desired) -> Result<Option<Duration>, Stop> {
    let (wait, is_long) = pass.wait_for_peer(delays::PEER_WRITE);
    if !is_long {
        return Ok(Some(wait));
    }
    let lagging: Vec<String> = desired.lagging_children(&pass.status).map(ToString::to_string).collect();
    let message = format!(
        "waiting for {} to record the share that stays, without which its row could not be removed later; the status of the \
         object says why it has not",
        first_and_more(&lagging, MAX_NAMED),
    );
    pass.finish(Verdict::working(Reason::Deleting, message).requeue_after(wait)).await
}

pub async fn release(mut pass: Pass<Share>, why: Why) -> Result<Option<Duration>, Stop> {
    let was_asked = delete::was_asked(&pass);
    drop_finalizer(&mut pass).await?;
    // After the write: a conflict begins the pass again, and would tell it twice.
    if why == Why::RecordLost {
        pass.warn_of_lost_record(record_lost(&pass.object));
    }
    if let Some(id) = &pass.status.share_id {
        let why = match why {
            Why::Suspended => "the Share was suspended when it was deleted",
            Why::NothingMade | Why::RecordLost | Why::Retained => "deletionPolicy is Retain",
        };
        let message = if was_asked {
            format!(
                "Cloudflare was asked to delete share {id} before, so it may not stay; this object no longer waits for that: {why}"
            )
        } else {
            format!("share {id} stays at Cloudflare: {why}")
        };
        pass.event(Note::normal(EventReason::Retained), message);
    }
    Ok(None)
}

/// What may stay at Cloudflare of a Share whose status was wiped, or restored without it.
fn record_lost(share: &Share) -> String {
    let spec = &share.spec;
    let name = spec.name.as_deref().or(spec.share_id.as_deref()).or(share.metadata.name.as_deref()).unwrap_or_default();
    format!(
        "the status of this object does not say that it made a share, or has lost it, so nothing is deleted at Cloudflare: if \
         share {name} of account {} exists, it stays and its recipients still receive it",
        spec.account_id,
    )
}

/// Takes the finalizer off: what the object keeps for others is handed over first.
async fn drop_finalizer(pass: &mut Pass<Share>) -> Result<(), Stop> {
    deletions::hand_over(pass).await?;
    pass.remove_finalizer().await
}

/// Takes the finalizer off where nothing may be made, or nothing is left.
pub async fn release_finalizer(share: &mut SharePass) -> Result<(), Stop> {
    let releases = share.mode == Mode::Observe || share.pass.is_deleting();
    if releases { drop_finalizer(&mut share.pass).await } else { Ok(()) }
}

pub fn show_policies(pass: &mut Pass<Share>, desired: &Desired) {
    let retain = retains(&pass.object, Some(&pass.status));
    pass.status.effective = Some(EffectivePolicies {
        deletion_policy: if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete },
        management_policy: if desired.observe || pass.context.settings.read_only {
            ManagementPolicy::Observe
        } else {
            ManagementPolicy::Manage
        },
        max_removals: losses::max_removals(&pass.status, desired),
    });
}

pub fn open(mut pass: Pass<Share>, desired: Desired, credential: &ResolvedCredential) -> SharePass {
    let priority = priority(&pass);
    let session = pass.open(credential, &desired.owner, priority);
    // Before the mode, in which nothing is written while the breaker is open: a person may close it in this pass.
    breaker::close_breaker(&mut pass, &session);
    let mode = mode(&pass, &session, &desired);
    SharePass { pass, session, desired, mode, counted: false, listed: false, unlisted: None, failed: Vec::new() }
}

/// Adds the finalizer if anything is recorded, and takes over the records of rows that other objects declared before.
pub async fn protect(share: &mut SharePass) -> Result<(), Stop> {
    if share.mode == Mode::Manage && has_record(&share.pass.status) && !share.pass.is_deleting() {
        share.pass.add_finalizer().await?;
        apply::take_over(share).await?;
    }
    Ok(())
}

fn has_record(status: &ShareStatus) -> bool {
    status.share_id.is_some() || status.intent.is_some() || !status.inventory.is_empty()
}

fn priority(pass: &Pass<Share>) -> Priority {
    let edited = pass.status.common.observed_generation != pass.generation();
    if pass.is_deleting() || pass.is_requested() {
        return Priority::Edit;
    }
    match &pass.status.share_id {
        Some(_) if edited => Priority::Edit,
        Some(_) => Priority::Poll,
        None => Priority::Create,
    }
}

fn mode(pass: &Pass<Share>, session: &Session, desired: &Desired) -> Mode {
    let unmade = pass.context.settings.read_only && !has_record(&pass.status) && !pass.is_deleting();
    if desired.observe || unmade {
        Mode::Observe
    } else if pass.context.settings.read_only || session.account.breaker().is_some() {
        Mode::Frozen
    } else {
        Mode::Manage
    }
}
