//! One pass over a Share: find out where it stands, take the steps that are called for, tell.

mod create;
pub mod plan;
pub mod report;
mod rows;
pub mod sight;
mod situation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use crate::api::share::{AdoptionPolicy, DeletionPolicy, ManagementPolicy, MaxRemovals};
use crate::api::status::{EffectivePolicies, ShareStatus};
use crate::api::{CLOSE_BREAKER, FINALIZER, Reason, Share};
use crate::cloudflare::ErrorClass;
use crate::core::create::{self as creation, Mode, Refusal, Step, Wait, Want};
use crate::core::guard::Limit;
use crate::core::id::{AccountId, OrganizationId, ShareId};
use crate::core::pace::Class;
use crate::core::time::At;

use super::access::{Access, Stop};
use super::account::CLOCK;
use super::apply::{Apply, Change};
use super::context::Context;
use super::credentials::NoCredential;
use super::declare::{self, By, Declaration, Sibling};
use super::events::Note;
use super::key::{Name, RowKey};
use super::objects::{self, Objects};
use super::pass::Pass;
use super::record::Recorded;
use super::sweep;
use super::verdict::{Verdict, breaker_told};

impl Recorded for Share {
    type Status = ShareStatus;

    fn status(&self) -> Option<&ShareStatus> {
        self.status.as_ref()
    }
}

pub use rows::{not_converging, row_id};

/// More steps than any pass needs: what loops longer is a defect, and goes on in the next pass.
const MAX_STEPS: usize = 64;

/// A Share's manifest, checked, with what others declare for it.
pub(super) struct Wanted {
    pub owner: AccountId,
    pub name: Option<String>,
    pub organization: Option<OrganizationId>,
    pub inline: BTreeMap<RowKey, Declaration>,
    pub siblings: Vec<Sibling>,
    pub all: BTreeMap<RowKey, Declaration>,
    pub share_id: Option<ShareId>,
    pub adoption: AdoptionPolicy,
    pub observe: bool,
    pub prune: bool,
    pub max_removals: Limit,
    /// The manifest asks that the share stay on deletion; absent: depends on whether it was adopted.
    pub retain: Option<bool>,
}

/// A pass that has a credential.
pub(super) struct Work {
    pub pass: Pass<Share>,
    pub access: Access,
    pub wanted: Wanted,
    pub mode: Mode,
}

/// Runs one pass; returns when to run the next if nothing wakes it before.
pub async fn pass(context: Arc<Context>, object: Arc<Share>) -> Result<Option<Duration>, Stop> {
    let gate = context.gate(&Name::of(object.as_ref()));
    let Ok(_alone) = gate.try_lock() else { return Err(Stop::Occupied) };
    let mut pass = Pass::begin(context.clone(), context.objects.shares.newest(object));
    believe(&mut pass);
    if pass.is_doomed() && !pass.object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(None);
    }
    let wanted = match want(&pass.object, &context.objects) {
        Ok(wanted) => wanted,
        Err(problem) if pass.is_doomed() && !has_record(&pass.status) => {
            tracing::debug!(problem, "released");
            pass.guard(false).await?;
            return Ok(None);
        }
        Err(problem) => return pass.finish(Verdict::stalled(Reason::Invalid, problem)).await,
    };
    let retain = wanted.retain.unwrap_or(pass.status.adopted);
    if pass.object.spec.suspend == Some(true) {
        if pass.is_doomed() {
            return release(pass, "it was suspended").await;
        }
        let verdict = Verdict::unknown(
            Reason::Suspended,
            "suspended: nothing is compared or changed until spec.suspend is false",
        );
        return pass.finish(verdict.resting()).await;
    }
    if pass.is_doomed() && pass.status.intent.is_none() && (retain || pass.status.share_id.is_none()) {
        if retain && children_lag(&wanted, &pass.status) {
            return Ok(Some(Duration::from_millis(500)));
        }
        return release(pass, "deletionPolicy is Retain").await;
    }
    tell_policies(&mut pass, &wanted, retain);
    let known = match pass.credential(&objects::secret_of(&pass.object)).await {
        Ok(known) => known,
        Err(NoCredential::Unreadable(..)) if pass.was_ready() => return Ok(Some(Duration::from_secs(5))),
        Err(problem) => {
            let mut message = problem.to_string();
            if let (true, Some(id)) = (pass.is_doomed(), &pass.status.share_id) {
                message = format!(
                    "{message}; share {id} of account {} is still there: restore the Secret, or set \
                     deletionPolicy: Retain to let the object go and keep the share",
                    wanted.owner
                );
            }
            // Watching a Secret would need more rights: look now and then.
            let verdict = Verdict::blind(Reason::CredentialsNotFound, message);
            return pass.finish(verdict.again(Duration::from_secs(10))).await;
        }
    };
    let class = class_of(&mut pass);
    let access = context.access(&known, &wanted.owner, &pass.key, class);
    close_breaker(&mut pass, &access);
    let mode = mode(&pass, &access, &wanted);
    let mut work = Work { pass, access, wanted, mode };
    match work.run().await {
        Ok(Some(verdict)) => work.pass.finish(verdict).await,
        Ok(None) => Ok(None),
        Err(Stop::Cloudflare(error)) => {
            let secret = objects::secret_of(&work.pass.object);
            if error.class() == ErrorClass::Denied {
                context.credentials.doubt(&secret);
            }
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
        *status = ShareStatus { conditions: std::mem::take(&mut status.conditions), ..ShareStatus::default() };
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
    let edited = {
        let generation = pass.generation();
        pass.status.observed_generation != generation
    };
    if pass.is_doomed() || pass.is_requested() {
        return Class::Edit;
    }
    match &pass.status.share_id {
        Some(_) if edited => Class::Edit,
        Some(_) => Class::Poll,
        None => Class::Create,
    }
}

/// A person says that shares which cannot be seen are meant to be gone: all that vanished together, or this one.
fn close_breaker(pass: &mut Pass<Share>, access: &Access) {
    let Some(confirmed) = vouched(pass.object.as_ref()) else { return };
    if access.account.close_breaker(confirmed) {
        tracing::warn!(account = %access.account.id, "the breaker was closed by hand");
        sweep::wake_account(&pass.context, &access.account);
    }
    if breaker_told(&pass.status.conditions).is_some_and(|told| told <= confirmed.plus(CLOCK)) {
        pass.status.seen_with = Some(access.account.fingerprint.to_string());
    }
}

/// When a person said that what cannot be seen is meant to be gone.
pub fn vouched<K: kube::Resource>(object: &K) -> Option<At> {
    let time = object.annotations().get(CLOSE_BREAKER)?.parse::<k8s_openapi::jiff::Timestamp>();
    time.ok().map(|time| At(time.as_millisecond()))
}

/// What to tell where a credential does not show a share that another one showed.
pub fn hidden<K: kube::Resource<DynamicType = ()>>(object: &K, id: &ShareId, secret: &Name) -> Verdict {
    let message = format!(
        "share {id} cannot be seen with the credential in Secret {}, which has never shown it: most likely it is one of \
         another account. Nothing is made anew or let go. Put the right credential there; or, if the share is meant to \
         be gone: kubectl annotate --overwrite {} {} -n {} {CLOSE_BREAKER}=$(date -u +%FT%TZ)",
        secret.name,
        K::kind(&()).to_lowercase(),
        object.name_any(),
        object.namespace().unwrap_or_default(),
    );
    Verdict::blind(Reason::BreakerOpen, message).again(Duration::from_secs(15))
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

/// Whether the remote share stays when the object is deleted.
pub fn retains(share: &Share) -> bool {
    let adopted = share.status.as_ref().is_some_and(|status| status.adopted);
    share.spec.deletion_policy.map_or(adopted, |policy| policy == DeletionPolicy::Retain)
}

/// How many recipients may be lost at once without a person's word.
pub fn removal_limit(share: &Share) -> Result<Limit, String> {
    match &share.spec.max_removals {
        None => Ok(Limit::DEFAULT),
        Some(MaxRemovals::Count(n)) => Ok(Limit::Count(usize::try_from(*n).unwrap_or(0))),
        Some(MaxRemovals::Percent(text)) => {
            Limit::parse(text).ok_or_else(|| "spec.maxRemovals: a number, or a percentage from 0% to 100%".to_owned())
        }
    }
}

/// Whether a person confirmed the removals that this generation of the Share brings.
pub fn removals_confirmed(share: &Share) -> bool {
    let generation = share.metadata.generation.unwrap_or(0).to_string();
    share.annotations().get(crate::api::CONFIRM_REMOVALS) == Some(&generation)
}

/// What to tell where too many recipients would be removed.
pub fn removal_blocked(share: &Share, pending: usize, live: usize, allowed: usize) -> Verdict {
    Verdict::stalled(
        Reason::RemovalBlocked,
        format!(
            "{pending} of {live} recipients would be removed, and spec.maxRemovals allows {allowed}: if that is meant, \
             kubectl annotate share {} -n {} {}={} --overwrite",
            share.name_any(),
            share.namespace().unwrap_or_default(),
            crate::api::CONFIRM_REMOVALS,
            share.metadata.generation.unwrap_or(0),
        ),
    )
}

/// Children that have not yet noted down the share that stays: without its id they could never remove their rows.
fn children_lag(wanted: &Wanted, status: &ShareStatus) -> bool {
    let lags = |sibling: &Sibling| {
        let wins = wanted.all.get(&sibling.row).is_some_and(|d| d.by == By::Child(sibling.key.clone()));
        let fits = wanted.organization.is_none() || !matches!(sibling.row, RowKey::Recipient(_));
        (wins || sibling.doomed)
            && fits
            && !sibling.suspended
            && sibling.settled_in
            && sibling.share_id != status.share_id
    };
    status.share_id.is_some() && wanted.siblings.iter().any(lags)
}

async fn release(mut pass: Pass<Share>, why: &str) -> Result<Option<Duration>, Stop> {
    if let Some(id) = &pass.status.share_id {
        let message = format!("share {id} stays at Cloudflare: {why}");
        pass.event(Note::normal_of("Retained"), message);
    }
    pass.guard(false).await?;
    Ok(None)
}

fn tell_policies(pass: &mut Pass<Share>, wanted: &Wanted, retain: bool) {
    let in_place = pass.status.inventory.recipients.len();
    pass.status.effective = Some(EffectivePolicies {
        deletion_policy: if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete },
        management_policy: if wanted.observe { ManagementPolicy::Observe } else { ManagementPolicy::Manage },
        max_removals: i32::try_from(wanted.max_removals.of(in_place)).unwrap_or(i32::MAX),
    });
}

/// What the manifest and the children want, with every id checked.
pub(super) fn want(share: &Share, objects: &Objects) -> Result<Wanted, String> {
    let spec = &share.spec;
    let owner = declare::account(&spec.account_id, "spec.accountID")?;
    let organization = match &spec.organization {
        Some(target) => {
            Some(OrganizationId::parse(&target.id).map_err(|error| format!("spec.organization.id: {error}"))?)
        }
        None => None,
    };
    let share_id = match &spec.share_id {
        Some(id) => Some(ShareId::parse(id).map_err(|error| format!("spec.shareID: {error}"))?),
        None => None,
    };
    let max_removals = removal_limit(share)?;
    let name = spec.name.clone().or_else(|| share_id.is_none().then(|| share.name_any()));
    let inline = declare::inline(share, &owner)?;
    let siblings = declare::siblings(objects, &Name::of(share), &owner);
    let all = declare::all(&inline, &siblings);
    Ok(Wanted {
        owner,
        name,
        organization,
        inline,
        siblings,
        all,
        share_id,
        adoption: spec.adoption_policy.unwrap_or_default(),
        observe: spec.management_policy == Some(ManagementPolicy::Observe),
        prune: spec.prune == Some(true),
        max_removals,
        retain: spec.deletion_policy.map(|policy| policy == DeletionPolicy::Retain),
    })
}

impl Work {
    /// Step by step, until there is something to tell; `None`: the object is let go.
    async fn run(&mut self) -> Result<Option<Verdict>, Stop> {
        if self.mode == Mode::Manage && has_record(&self.pass.status) && !self.pass.is_doomed() {
            self.pass.guard(true).await?;
        }
        if let Some(error) = self.access.blindness(self.pass.context.settings.settle_time / 2) {
            return Err(Stop::Cloudflare(error));
        }
        if let Some(verdict) = self.forbidden() {
            return Ok(Some(verdict));
        }
        let mut asked_again = false;
        for _ in 0..MAX_STEPS {
            self.note_witness();
            let facts = self.facts();
            let step = creation::step(&facts);
            tracing::trace!(?facts, ?step);
            match step {
                Step::Read(Want::Share) => self.read_share().await?,
                Step::Read(Want::List) => self.read_list().await?,
                Step::Bind { id, adopted } => self.bind(&id, adopted).await?,
                Step::Create => {
                    if let Some(verdict) = self.create().await? {
                        return Ok(Some(verdict));
                    }
                }
                Step::GiveUp => self.give_up().await?,
                Step::Forget => self.forget().await?,
                Step::Delete => {
                    if let Some(verdict) = self.delete().await? {
                        return Ok(Some(verdict));
                    }
                }
                Step::Release => {
                    if self.mode == Mode::Observe || self.pass.is_doomed() {
                        self.pass.guard(false).await?;
                    }
                    return Ok(None);
                }
                Step::Tend => {
                    if self.mode == Mode::Observe && !self.pass.is_doomed() {
                        self.pass.guard(false).await?;
                    }
                    return self.tend().await.map(Some);
                }
                Step::Wait(Wait::Confirmation) => {
                    if let Some(verdict) = self.confirm().await? {
                        return Ok(Some(verdict));
                    }
                }
                Step::Wait(Wait::Leaving) => {
                    if let Some(verdict) = self.await_leaving().await? {
                        return Ok(Some(verdict));
                    }
                }
                Step::Wait(wait) => return Ok(Some(self.waiting(wait))),
                // Somebody says that the name is free now.
                Step::Refuse(Refusal::NameTaken(ids)) if self.pass.is_requested() && !asked_again => {
                    asked_again = true;
                    for id in ids.iter().take(3) {
                        self.access.read_share(id).await?;
                    }
                }
                Step::Refuse(refusal) => return Ok(Some(self.refused(refusal))),
            }
        }
        tracing::warn!("a pass did not come to an end in {MAX_STEPS} steps");
        Ok(Some(Verdict::working(Reason::Progressing, "still at work").again(Duration::from_secs(5))))
    }

    /// What the installer or an earlier manifest rules out, whatever is found at Cloudflare.
    fn forbidden(&self) -> Option<Verdict> {
        if self.mode != Mode::Manage || self.pass.is_doomed() {
            return None;
        }
        if self.wanted.organization.is_some() && !self.organization_is_allowed() {
            let message = "shares with a whole organization are not allowed in this namespace: the installer lists the \
                           allowed ones (--organization-shares)";
            return Some(Verdict::stalled(Reason::OrganizationNotAllowed, message));
        }
        let (wanted, recorded) = (self.wanted.share_id.as_ref()?, self.pass.status.share_id.as_ref()?);
        (wanted.as_str() != recorded).then(|| {
            let message = format!(
                "this object has share {recorded}, and spec.shareID names {wanted}: to keep the one it has, write its \
                 id; to take over the other, delete this object and apply it anew (deletionPolicy: Retain keeps the \
                 share it has)"
            );
            Verdict::stalled(Reason::Invalid, message)
        })
    }

    /// The share this pass is about: the recorded one, or when observing the one that the manifest means.
    fn share_id(&self) -> Option<ShareId> {
        let recorded = self.pass.status.share_id.as_deref().and_then(|id| ShareId::parse(id).ok());
        if recorded.is_some() || self.mode == Mode::Manage {
            return recorded;
        }
        self.wanted.share_id.clone().or_else(|| match self.named() {
            creation::Named::One { id, .. } => Some(id),
            _ => None,
        })
    }

    async fn delete(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(id) = self.share_id() else { return Ok(None) };
        let now = self.pass.now();
        if let Some(refused) = self.pass.notes(|notes| notes.refusal("delete", now).cloned()) {
            let verdict = Verdict::stalled(Reason::Rejected, refused.message);
            return Ok(Some(verdict.again(refused.until.since(now))));
        }
        let apply = Apply { context: &self.pass.context, access: &self.access };
        match apply.delete_share(&id).await? {
            Change::Done(()) => Ok(None),
            Change::Unsure(error) => {
                // Read it before it is sent once more.
                self.access.account.picture().forget(&id);
                Err(Stop::Cloudflare(error))
            }
            Change::Not(error) => match error.class() {
                ErrorClass::Rejected => {
                    let message = format!("Cloudflare refuses to delete share {id}: {error}");
                    self.pass.notes(|notes| notes.refuse("delete", message, now));
                    Ok(None)
                }
                // Most likely it is being deleted already.
                ErrorClass::Conflict => {
                    self.access.read_share(&id).await?;
                    let live = self.access.account.picture().seen(&id).is_some_and(|seen| seen.is_live());
                    if live { Err(Stop::Cloudflare(error)) } else { Ok(None) }
                }
                ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied | ErrorClass::Gone => {
                    Err(Stop::Cloudflare(error))
                }
            },
        }
    }

    /// Cloudflare is deleting the share: look now and then whether it is gone.
    async fn await_leaving(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(id) = self.share_id() else { return Ok(None) };
        let now = self.pass.now();
        let due = self.pass.notes(|notes| notes.following && notes.due <= now);
        if due {
            let since = self.pass.notes(|notes| notes.due);
            if self.access.account.picture().leaving.as_ref().is_none_or(|(at, _)| *at < since) {
                self.access.read_leaving().await?;
            }
            let gone_from_list = {
                let picture = self.access.account.picture();
                picture.leaving.as_ref().is_some_and(|(_, ids)| !ids.contains(&id))
            };
            if gone_from_list {
                self.access.read_share(&id).await?;
                let picture = self.access.account.picture();
                if picture.seen(&id).is_none_or(|seen| !seen.is_leaving()) {
                    return Ok(None);
                }
                if picture.is_gone(&id, self.pass.context.settings.patience()) {
                    return Ok(None);
                }
            }
        }
        let wait = self.plan_poll(u64::MAX);
        self.pass.status.remote_status = Some("deleting".into());
        let message = format!("share {id} is being deleted by Cloudflare");
        let reason = if self.pass.is_doomed() { Reason::Deleting } else { Reason::Progressing };
        Ok(Some(Verdict::working(reason, message).again(wait)))
    }

    /// The share was not there: look again after a while before that is believed.
    async fn confirm(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(id) = self.share_id() else { return Ok(None) };
        let patience = self.pass.context.settings.patience();
        let expected = self.access.account.picture().was_expected_to_go(&id);
        if expected && !self.access.account.picture().is_gone(&id, patience) {
            self.access.read_leaving().await?;
            if self.access.account.picture().is_gone(&id, patience) {
                return Ok(None);
            }
        }
        let now = self.pass.now();
        let due = self.pass.notes(|notes| notes.following && notes.due <= now);
        if due {
            self.access.read_share(&id).await?;
            let (missing, gone, first) = {
                let picture = self.access.account.picture();
                (picture.is_missing(&id), picture.is_gone(&id, patience), picture.missing_since(&id))
            };
            if !missing || gone {
                return Ok(None);
            }
            // Twice not there, a while apart: only a complete list can still say otherwise.
            if let Some(first) = first.filter(|first| now.since(*first) >= patience) {
                self.access.account.demand_sweep(self.pass.key.clone(), first);
            }
        }
        self.pass.notes(|notes| {
            if !notes.following || notes.due <= now {
                notes.following = true;
                notes.due = now.plus(patience);
            }
        });
        let message = format!("share {id} is not there any more; looking again before that is believed");
        let verdict = if self.pass.is_doomed() {
            Verdict::working(Reason::Deleting, message)
        } else {
            Verdict::unknown(Reason::ShareNotFound, message)
        };
        Ok(Some(verdict.again(patience)))
    }

    /// When to look again at what Cloudflare is still doing; `moved` changes when something moves.
    pub(super) fn plan_poll(&self, moved: u64) -> Duration {
        let settings = &self.pass.context.settings;
        let now = self.pass.now();
        self.pass.notes(|notes| {
            if !notes.following {
                notes.following = true;
                notes.due = At::default();
            }
            notes.plan_poll(moved, now, settings.poll_min, settings.poll_max)
        })
    }

    fn waiting(&mut self, wait: Wait) -> Verdict {
        let settle = self.pass.context.settings.settle_time;
        match wait {
            Wait::Recipients => Verdict::working(
                Reason::WaitingForRecipients,
                "no recipient is declared yet: list some in spec.recipients, or apply ShareRecipient objects",
            ),
            Wait::Resources => Verdict::working(
                Reason::WaitingForResources,
                "no resource is declared yet: list some in spec.resources, or apply ShareResource objects",
            ),
            Wait::Children => {
                Verdict::working(Reason::Progressing, "waiting for ShareRecipient and ShareResource objects to arrive")
                    .again(Duration::from_millis(500))
            }
            Wait::Settle => Verdict::working(
                Reason::Creating,
                format!(
                    "the answer to the create call was lost; looking for the share it may have made, for {} s in all",
                    settle.as_secs()
                ),
            )
            .again((settle / 16).max(Duration::from_millis(500))),
            Wait::Backoff => self.backing_off(),
            Wait::Thaw => match (&self.pass.status.share_id, &self.pass.status.intent) {
                (Some(id), None) if self.pass.is_doomed() => self.frozen(&format!(
                    "share {id} is not deleted; to let this object go and keep the share, set deletionPolicy: Retain"
                )),
                (Some(id), None) => self.frozen(&format!("share {id} is not there, and is not made anew")),
                (_, _) => self.frozen("the create call that was under way is not resolved"),
            },
            Wait::Sight => match (self.share_id(), self.access.account.breaker()) {
                (Some(id), None) => hidden(self.pass.object.as_ref(), &id, &objects::secret_of(&self.pass.object)),
                (_, _) => self.frozen("the share is not there"),
            },
            Wait::Leaving | Wait::Confirmation => unreachable!("handled where it is met"),
        }
    }

    pub(super) fn frozen(&self, what: &str) -> Verdict {
        match self.access.account.breaker() {
            Some(message) => Verdict::blind(Reason::BreakerOpen, message).quiet(self.access.account.is_told()),
            None if self.pass.context.settings.read_only => {
                Verdict::stalled(Reason::Observed, format!("the operator runs with --read-only: {what}"))
            }
            None => Verdict::stalled(Reason::Observed, format!("managementPolicy is Observe: {what}")),
        }
    }

    fn refused(&self, refusal: Refusal) -> Verdict {
        let id = self.share_id();
        refused(refusal, &self.pass.object, &self.wanted, &self.pass.context.objects, id.as_ref())
    }
}

/// Why nothing is done, and what to write instead.
pub(super) fn refused(
    refusal: Refusal,
    share: &Share,
    wanted: &Wanted,
    objects: &Objects,
    id: Option<&ShareId>,
) -> Verdict {
    let name = wanted.name.clone().unwrap_or_default();
    let list = |ids: &[ShareId]| ids.iter().map(ShareId::as_str).collect::<Vec<_>>().join(", ");
    match refusal {
        Refusal::Claimed => {
            let id = id.map(ShareId::as_str).or(share.spec.share_id.as_deref());
            let rival = objects.rival(share, id);
            let rival = rival.map_or("another object".to_owned(), |rival| format!("the older Share {rival}"));
            Verdict::stalled(
                Reason::Claimed,
                format!("{rival} has this share: delete one of the two, or give this one another spec.name"),
            )
        }
        Refusal::NameTaken(ids) => Verdict::stalled(
            Reason::NameTaken,
            format!(
                "a share named {name} exists (id {}): write `shareID: {}` to take it over, or another spec.name \
                 to make a new one",
                list(&ids),
                ids.first().map(ShareId::as_str).unwrap_or_default()
            ),
        )
        .again(Duration::from_secs(60)),
        Refusal::Ambiguous(ids) if ids.len() == 1 => {
            let rival = ids.first().and_then(|id| objects.rival(share, Some(id.as_str())));
            let rival = rival.map_or("another object".to_owned(), |rival| format!("Share {rival}"));
            Verdict::stalled(
                Reason::Claimed,
                format!(
                    "{rival} has the one share named {name} (id {}): delete one of the two, or give this one another \
                     spec.name",
                    list(&ids)
                ),
            )
            .again(Duration::from_secs(60))
        }
        Refusal::Ambiguous(ids) => Verdict::stalled(
            Reason::Ambiguous,
            format!(
                "{} shares named {name} could be meant (ids {}): write `shareID:` with the right one",
                ids.len(),
                list(&ids)
            ),
        )
        .again(Duration::from_secs(60)),
        Refusal::NotFound => {
            let id = id.map(ShareId::as_str).or(share.spec.share_id.as_deref()).unwrap_or_default();
            Verdict::stalled(
                Reason::ShareNotFound,
                format!(
                    "share {id} does not exist in account {}: a share that was taken over is not made anew. \
                     Correct spec.shareID, or delete this object and apply one without shareID",
                    wanted.owner
                ),
            )
            .again(Duration::from_secs(60))
        }
        Refusal::TargetMismatch => Verdict::stalled(
            Reason::TargetMismatch,
            "the share has another target (accounts or organization) than this manifest, and a target cannot be \
             changed: declare the same target, or use another share",
        ),
        Refusal::Nothing => Verdict::stalled(
            Reason::Differs,
            format!("observed: there is no live share named {name} in account {}", wanted.owner),
        ),
    }
}
