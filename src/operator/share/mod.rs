//! One pass over a Share: find out where it stands, take the steps that are called for, tell.

mod act;
mod create;
mod deletions;
mod ending;
mod exclusions;
pub mod facts;
pub mod losses;
mod others;
pub mod outside;
pub mod plan;
mod reads;
mod refusal;
mod removals;
mod report;
#[cfg(test)]
mod samples;
pub mod sight;
mod tend;
mod trust;
mod want;
mod work;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::pass::Pass;
use crate::api::Name;
use crate::api::share::{DeletionPolicy, ManagementPolicy};
use crate::api::status::{CommonStatus, EffectivePolicies, ShareStatus};
use crate::api::{FINALIZER, Reason, Share};
use crate::core::create::{self as creation, Mode, Refusal, Step, Wait, Want};
use crate::core::pace::Class;
use crate::operator::cluster::events::Note;
use crate::operator::cluster::objects;
use crate::operator::pass::breaker;
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::access::Access;
use crate::operator::stop::Stop;
use crate::operator::waits;

pub use refusal::refused;
pub use want::{Wanted, retains, want};
use work::Work;

/// More steps than any pass needs: what loops longer is a defect, and goes on in the next pass.
const MAX_STEPS: usize = 64;

/// Runs one pass; returns when to run the next if nothing wakes it before.
pub async fn pass(context: Arc<Context>, object: Arc<Share>) -> Result<Option<Duration>, Stop> {
    let share_lock = context.share_lock(&Name::of(object.as_ref()));
    let Ok(_alone) = share_lock.try_lock() else { return Err(Stop::Occupied) };
    let mut pass = Pass::begin(context.clone(), context.cluster.index.shares.newest(object));
    believe(&mut pass);
    if pass.is_doomed() && !pass.object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(None);
    }
    let wanted = match want(&pass.object, &context.cluster.index) {
        Ok(wanted) => wanted,
        Err(problem) if pass.is_doomed() && !has_record(&pass.status) => {
            tracing::debug!(problem, "released");
            drop_finalizer(&mut pass).await?;
            return Ok(None);
        }
        Err(problem) => return pass.finish(Verdict::stalled(Reason::Invalid, problem)).await,
    };
    let retain = wanted.retain.unwrap_or(pass.status.adopted);
    if pass.object.spec.suspend == Some(true) {
        if pass.is_doomed() {
            return release(pass, "it was suspended").await;
        }
        return pass.finish(Verdict::suspended()).await;
    }
    if pass.is_doomed() && pass.status.intent.is_none() && (retain || pass.status.share_id.is_none()) {
        if retain && wanted.children_lag(&pass.status) {
            return Ok(Some(waits::HANDSHAKE));
        }
        return release(pass, "deletionPolicy is Retain").await;
    }
    tell_policies(&mut pass, &wanted, retain);
    let known = match pass.credential(&objects::secret_of(&pass.object)).await {
        Ok(known) => known,
        Err(problem) => {
            let share = pass.status.share_id.as_ref().map(|id| format!("share {id} of account {}", wanted.owner));
            return pass.without_credential(problem, share).await;
        }
    };
    let class = class_of(&mut pass);
    let access = context.remote.access(&known, &wanted.owner, &pass.key, class);
    breaker::close_breaker(&mut pass, &access);
    let mode = mode(&pass, &access, &wanted);
    pass.account = Some(access.account.clone());
    let mut work = Work { pass, access, wanted, mode };
    work.recall_exclusions();
    match work.run().await {
        Ok(Some(verdict)) => work.pass.finish(verdict).await,
        Ok(None) => Ok(None),
        Err(Stop::Cloudflare(error)) => {
            let secret = objects::secret_of(&work.pass.object);
            work.pass.fail(error, &work.access, &secret).await
        }
        Err(stop) => Err(stop),
    }
}

/// Ids and inventory are believed only where they were written for this very object: a copied manifest may bring
/// a copied status with it.
fn believe(pass: &mut Pass<Share>) {
    if pass.status.bound_uid.is_some() && pass.status.bound_uid != pass.object.uid() {
        let status = &mut pass.status;
        let common =
            CommonStatus { conditions: std::mem::take(&mut status.common.conditions), ..CommonStatus::default() };
        *status = ShareStatus { common, ..ShareStatus::default() };
    } else if pass.status.bound_uid.is_none() {
        pass.status.share_id = None;
        pass.status.intent = None;
        pass.status.inventory = Default::default();
    }
}

fn has_record(status: &ShareStatus) -> bool {
    status.share_id.is_some() || status.intent.is_some() || !status.inventory.is_empty()
}

fn class_of(pass: &mut Pass<Share>) -> Class {
    let edited = pass.status.common.observed_generation != pass.generation();
    if pass.is_doomed() || pass.is_requested() {
        return Class::Edit;
    }
    match &pass.status.share_id {
        Some(_) if edited => Class::Edit,
        Some(_) => Class::Poll,
        None => Class::Create,
    }
}

fn mode(pass: &Pass<Share>, access: &Access, wanted: &Wanted) -> Mode {
    let unmade = pass.context.settings.read_only && !has_record(&pass.status) && !pass.is_doomed();
    if wanted.observe || unmade {
        Mode::Observe
    } else if pass.context.settings.read_only || access.account.breaker().is_some() {
        Mode::Frozen
    } else {
        Mode::Manage
    }
}

async fn release(mut pass: Pass<Share>, why: &str) -> Result<Option<Duration>, Stop> {
    drop_finalizer(&mut pass).await?;
    // After the write: a conflict begins the pass again, and would tell it twice.
    if let Some(id) = &pass.status.share_id {
        let message = format!("share {id} stays at Cloudflare: {why}");
        pass.event(Note::normal_of("Retained"), message);
    }
    Ok(None)
}

/// Takes the finalizer off: what the object keeps for others is handed over first.
async fn drop_finalizer(pass: &mut Pass<Share>) -> Result<(), Stop> {
    deletions::hand_over(pass).await?;
    pass.guard(false).await
}

fn tell_policies(pass: &mut Pass<Share>, wanted: &Wanted, retain: bool) {
    pass.status.effective = Some(EffectivePolicies {
        deletion_policy: if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete },
        management_policy: if wanted.observe || pass.context.settings.read_only {
            ManagementPolicy::Observe
        } else {
            ManagementPolicy::Manage
        },
        max_removals: losses::max_removals(&pass.status, wanted),
    });
}

impl Work {
    /// Step by step, until there is something to tell; `None`: the object is let go.
    async fn run(&mut self) -> Result<Option<Verdict>, Stop> {
        if self.mode == Mode::Manage && has_record(&self.pass.status) && !self.pass.is_doomed() {
            self.pass.guard(true).await?;
        }
        if let Some(error) = self.pass.blindness(&self.access) {
            return Err(Stop::Cloudflare(error));
        }
        if let Some(verdict) = self.forbidden() {
            return Ok(Some(verdict));
        }
        let mut asked_again = false;
        for _ in 0..MAX_STEPS {
            self.note_witness();
            let now = self.pass.now();
            self.pass.notes(|notes| {
                notes.first_look.get_or_insert(now);
            });
            let facts = self.snapshot(|now| now.facts());
            let step = creation::step(&facts);
            tracing::trace!(?facts, ?step);
            let told = match step {
                Step::Read(Want::Share) => self.read_share().await.map(|()| None),
                Step::Read(Want::List) => self.read_list().await.map(|()| None),
                Step::Bind { id, adopted } => self.bind(&id, adopted).await.map(|()| None),
                Step::Create => self.create().await,
                Step::GiveUp => self.give_up().await.map(|()| None),
                Step::Forget => self.forget().await.map(|()| None),
                Step::Delete => self.delete().await,
                Step::Release => {
                    if self.mode == Mode::Observe || self.pass.is_doomed() {
                        drop_finalizer(&mut self.pass).await?;
                    }
                    return Ok(None);
                }
                Step::Tend => {
                    if self.mode == Mode::Observe && !self.pass.is_doomed() {
                        drop_finalizer(&mut self.pass).await?;
                    }
                    self.tend().await.map(Some)
                }
                Step::Wait(Wait::Confirmation) => self.confirm().await,
                Step::Wait(Wait::Leaving) => self.await_leaving().await,
                Step::Wait(wait) => Ok(Some(self.waiting(wait))),
                // Somebody says that the name is free now.
                Step::Refuse(Refusal::NameTaken(ids)) if self.pass.is_requested() && !asked_again => {
                    asked_again = true;
                    for id in ids.iter().take(3) {
                        self.access.read_share(id).await?;
                    }
                    Ok(None)
                }
                Step::Refuse(refusal) => Ok(Some(self.refused(refusal))),
            }?;
            if told.is_some() {
                return Ok(told);
            }
        }
        tracing::warn!("a pass did not come to an end in {MAX_STEPS} steps");
        Ok(Some(Verdict::unfinished()))
    }
}
