//! One pass over a ShareRecipient or ShareResource: one row of a share, looked after by an object of its own.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use crate::api::status::{ChildStatus, DriftEntry, RecipientStatus, ResourceStatus, RowError};
use crate::api::{FINALIZER, Reason, Share, ShareRecipient, ShareResource};
use crate::cloudflare::{ErrorClass, clean};
use crate::core::id::{AccountId, ShareId};
use crate::core::meta;
use crate::core::pace::Class;
use crate::core::row::{self, Declared, Recorded as RowRecorded, Seen as RowSeen, Step};
use crate::core::time::At;

use super::access::{Access, Stop};
use super::account::CLOCK;
use super::apply::{Apply, Change, RowId};
use super::clock;
use super::context::{Context, Settings};
use super::credentials::NoCredential;
use super::declare::{self, Child};
use super::events::Note;
use super::inventory::{self, Entry};
use super::key::{Name, RowKey};
use super::objects::{self, Related};
use super::pass::{Pass, Telling};
use super::record::Recorded;
use super::share::report::{State, label, standing};
use super::verdict::Verdict;
use super::view::Seen;

/// How long a row waits for whoever inherits it to take note of that.
const HEIRS: Duration = Duration::from_secs(10);
const FRESH: Duration = Duration::from_secs(5);
const MAX_ROUNDS: usize = 32;

/// A status with the part that both child kinds share.
pub trait ChildTelling: Telling {
    fn child(&mut self) -> &mut ChildStatus;
    /// What only this kind tells of its row.
    fn tell_row(&mut self, key: &RowKey, seen: Option<&Seen>);
}

impl ChildTelling for RecipientStatus {
    fn child(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn tell_row(&mut self, key: &RowKey, seen: Option<&Seen>) {
        let RowKey::Recipient(account) = key else { return };
        let row = seen.and_then(|seen| seen.recipient(account));
        self.recipient_id = row.map(|row| row.id.to_string());
        self.association_status = row.map(|row| row.association_status.to_string());
        let error = |error: &crate::cloudflare::RecipientError| RowError {
            resource_id: clean(&error.resource_id, 200),
            message: clean(&error.error, 300),
            terminal: error.terminal,
        };
        self.errors = row.into_iter().flat_map(|row| &row.errors).take(20).map(error).collect();
    }
}

impl ChildTelling for ResourceStatus {
    fn child(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn tell_row(&mut self, key: &RowKey, seen: Option<&Seen>) {
        let row = seen.and_then(|seen| seen.resource(key));
        self.share_resource_id = row.map(|row| row.id.to_string());
        self.version = row.and_then(|row| row.resource_version);
        self.remote_status = row.map(|row| row.status.to_string());
    }
}

impl Recorded for ShareRecipient {
    type Status = RecipientStatus;

    fn status(&self) -> Option<&RecipientStatus> {
        self.status.as_ref()
    }
}

impl Recorded for ShareResource {
    type Status = ResourceStatus;

    fn status(&self) -> Option<&ResourceStatus> {
        self.status.as_ref()
    }
}

/// What a child belongs to, as far as it exists.
struct Parent {
    share: Option<Arc<Share>>,
    /// Id of the remote share, recorded by the parent, or by the child where the parent is gone.
    id: Option<ShareId>,
    owner: Option<AccountId>,
    secret: Option<Name>,
    /// The parent's create is announced, and its outcome not known.
    announced: bool,
}

struct Work<C: Child> {
    pass: Pass<C>,
    access: Access,
    id: ShareId,
    key: RowKey,
    parent: Parent,
    declared: Declared,
}

/// Runs one pass; returns when to run the next if nothing wakes it before.
pub async fn pass<C: Child>(context: Arc<Context>, object: Arc<C>) -> Result<Option<Duration>, Stop> {
    let name = object.share();
    let gate = context.gate(&name);
    let Ok(_alone) = gate.try_lock() else { return Err(Stop::Occupied) };
    let mut pass = Pass::begin(context.clone(), C::kept(&context.objects).newest(object));
    believe(&mut pass);
    if pass.is_doomed() && !pass.object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(None);
    }
    if pass.object.is_suspended() {
        if pass.is_doomed() {
            return release(pass).await;
        }
        let verdict = Verdict::unknown(
            Reason::Suspended,
            "suspended: nothing is compared or changed until spec.suspend is false",
        );
        return pass.finish(verdict.resting()).await;
    }
    let parent = parent(&mut pass);
    let Some(owner) = parent.owner.clone() else {
        return no_share(pass, &name, "does not exist").await;
    };
    let key = match pass.object.row(&owner) {
        Ok(key) => key,
        Err(_) if pass.is_doomed() => return release(pass).await,
        Err(problem) => return pass.finish(Verdict::stalled(Reason::Invalid, problem)).await,
    };
    let observing = parent
        .share
        .as_ref()
        .is_some_and(|share| share.spec.management_policy == Some(crate::api::share::ManagementPolicy::Observe));
    if pass.is_doomed() {
        if let Some(done) = easy_end(&mut pass, &parent, &key, observing)? {
            return match done {
                Some(wait) => Ok(Some(wait)),
                None => release(pass).await,
            };
        }
    } else if !observing && !context.settings.read_only {
        claim(&mut pass).await?;
    }
    if let (RowKey::Recipient(_), Some(share)) = (&key, &parent.share)
        && share.spec.organization.is_some()
        && !pass.is_doomed()
    {
        let message = format!(
            "Share {} is shared with an organization, whose members all receive it: delete this object, or use \
             spec.organization.excluded there",
            name.name
        );
        return pass.finish(Verdict::stalled(Reason::Invalid, message)).await;
    }
    let declared = declared(&pass, &parent, &owner, &key);
    if declared == Declared::Elsewhere {
        if pass.is_doomed() {
            // The row is let go only to somebody who holds it: else two that go one after the other leak it.
            let doomed = pass.object.meta().deletion_timestamp.as_ref().map(clock::from_time).unwrap_or_default();
            let waited = pass.now().since(doomed);
            let held = is_held_elsewhere(&pass, &parent, &owner, &key);
            if holds(pass.status.child()) && !held && waited < HEIRS {
                wake_heirs(&pass, &owner, &key);
                return Ok(Some(Duration::from_secs(1)));
            }
            return release(pass).await;
        }
        let message =
            format!("{} is declared by the Share itself or by an older object, which wins", label(&key, None));
        return pass.finish(Verdict::stalled(Reason::DuplicateDeclaration, message)).await;
    }
    let Some(id) = parent.id.clone() else {
        return no_share(pass, &name, "is not made at Cloudflare yet").await;
    };
    note_down(&mut pass, &parent, &id, &owner, &key);
    if pass.is_doomed() && pass.object.retains() {
        // Once this is written the parent lets go of the row, and this object may go.
        pass.save().await?;
        return Ok(Some(Duration::from_millis(500)));
    }
    let secret = parent.secret.clone().unwrap_or_else(|| Name::new(name.namespace.clone(), objects::DEFAULT_SECRET));
    let known = match pass.credential(&secret).await {
        Ok(known) => known,
        Err(NoCredential::Unreadable(..)) if pass.was_ready() => return Ok(Some(Duration::from_secs(5))),
        Err(problem) => {
            let message = match pass.is_doomed() {
                true => format!(
                    "{problem}; {} is still there: restore the Secret, or set deletionPolicy: Retain",
                    label(&key, None)
                ),
                false => problem.to_string(),
            };
            return pass
                .finish(Verdict::blind(Reason::CredentialsNotFound, message).again(Duration::from_secs(10)))
                .await;
        }
    };
    let class = if pass.is_doomed() || !pass.was_ready() { Class::Edit } else { Class::Poll };
    let access = context.access(&known, &owner, &pass.key, class);
    let mut work = Work { pass, access, id, key, parent, declared };
    match work.run(observing).await {
        Ok(Some(verdict)) => work.pass.finish(verdict).await,
        Ok(None) => Ok(None),
        Err(Stop::Cloudflare(error)) => {
            if error.class() == ErrorClass::Denied {
                context.credentials.doubt(&secret);
            }
            work.pass.fail(error, &work.access, &secret).await
        }
        Err(stop) => Err(stop),
    }
}

/// A record is believed only where it was written for this very object.
fn believe<C: Child>(pass: &mut Pass<C>) {
    let uid = pass.object.uid();
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
    pass.guard(false).await?;
    Ok(None)
}

/// The Share that the child names, or what the child remembers of it.
fn parent<C: Child>(pass: &mut Pass<C>) -> Parent {
    let name = pass.object.share();
    let share = pass.context.objects.shares.find(&name);
    let recorded = pass.status.child().clone();
    let own_id = recorded.share_id.as_deref().and_then(|id| ShareId::parse(id).ok());
    // A child that goes removes its row where it made it, even if a new Share has taken the name since.
    let another = share.as_ref().is_some_and(|share| {
        let status = share.status.as_ref().filter(|status| status.bound_uid == share.uid());
        let bound = status.and_then(|status| status.share_id.as_deref());
        recorded.share_id.is_some() && bound != recorded.share_id.as_deref()
    });
    let share = share.filter(|_| !(pass.is_doomed() && another));
    match share {
        Some(share) => {
            let status = share.status.clone().filter(|status| status.bound_uid == share.uid());
            let id = status.as_ref().and_then(|s| s.share_id.as_deref()).and_then(|id| ShareId::parse(id).ok());
            let observed = share
                .status
                .as_ref()
                .filter(|_| share.spec.management_policy == Some(crate::api::share::ManagementPolicy::Observe));
            let observed = observed.and_then(|s| s.share_id.as_deref()).and_then(|id| ShareId::parse(id).ok());
            Parent {
                id: id.or(observed),
                owner: AccountId::parse(&share.spec.account_id).ok(),
                secret: Some(objects::secret_of(&share)),
                announced: status.is_some_and(|status| status.intent.is_some()),
                share: Some(share),
            }
        }
        None => Parent {
            share: None,
            id: own_id,
            owner: recorded.owner_account_id.as_deref().and_then(|id| AccountId::parse(id).ok()),
            secret: recorded.credentials_name.map(|secret| Name::new(name.namespace, secret)),
            announced: false,
        },
    }
}

async fn no_share<C: Child>(pass: Pass<C>, name: &Name, what: &str) -> Result<Option<Duration>, Stop> {
    if pass.is_doomed() {
        return release(pass).await;
    }
    let mut pass = pass;
    if !pass.context.settings.read_only {
        claim(&mut pass).await?;
    }
    pass.finish(Verdict::working(Reason::WaitingForShare, format!("Share {} {what}", name.name))).await
}

/// Ends of a child that need no call: `Some(None)` let it go, `Some(Some(..))` wait, `None` look further.
fn easy_end<C: Child>(
    pass: &mut Pass<C>,
    parent: &Parent,
    key: &RowKey,
    observing: bool,
) -> Result<Option<Option<Duration>>, Stop> {
    if observing {
        return Ok(Some(None));
    }
    let parents_record = parent.share.as_ref().and_then(|share| {
        let status = share.status.as_ref().filter(|status| status.bound_uid == share.uid())?;
        let entries = inventory::entries(&status.inventory);
        Some((entries.get(key).cloned(), status.share_id.is_some()))
    });
    let kept_by_parent = matches!(&parents_record, Some((Some(_), _)));
    if let Some(share) = &parent.share {
        let doomed = share.metadata.deletion_timestamp.is_some();
        let retains = super::share::retains(share);
        // It goes with the share.
        if doomed && !retains {
            return Ok(Some(None));
        }
        // Removed by the parent, since Cloudflare refuses to remove a last resource.
        let last = super::verdict::readiness(&pass.status.child().conditions)
            .is_some_and(|(_, reason)| reason == Reason::LastResource.as_str());
        if last && kept_by_parent {
            return Ok(Some(None));
        }
    }
    if parent.announced && kept_by_parent {
        return Ok(Some(Some(Duration::from_secs(1))));
    }
    if pass.object.retains() {
        // Until the parent has let go of the row, it would remove it.
        let suspended = parent.share.as_ref().is_some_and(|share| share.spec.suspend == Some(true));
        let held = kept_by_parent && !suspended;
        return Ok(if held && pass.status.child().share_id.is_none() {
            None
        } else if held {
            Some(Some(Duration::from_millis(500)))
        } else {
            Some(None)
        });
    }
    let nothing_made = parent.id.is_none() && pass.status.child().share_id.is_none();
    if nothing_made {
        return Ok(Some(None));
    }
    // Never held to be ours, and the parent's create did not carry it.
    let ours = pass.status.child().confirmed || pass.status.child().intended_at.is_some() || kept_by_parent;
    Ok(if ours { None } else { Some(None) })
}

/// Finalizer and record before anything is made, so that a parent's create may carry this row.
async fn claim<C: Child>(pass: &mut Pass<C>) -> Result<(), Stop> {
    pass.guard(true).await?;
    let uid = pass.object.uid();
    if pass.status.child().bound_uid != uid {
        pass.status.child().bound_uid = uid;
        pass.save().await?;
    }
    Ok(())
}

/// What a child's record means to rows that were read then; `answered`: the call that it announces has taken effect.
pub fn recorded(record: &ChildStatus, read: At, settings: &Settings, answered: bool) -> RowRecorded {
    match (record.confirmed, &record.intended_at) {
        (true, _) => RowRecorded::InPlace,
        (false, Some(at)) => inventory::recorded(Some(&Entry::intended(at.clone())), read, settings, answered),
        (false, None) => RowRecorded::Never,
    }
}

/// Who looks after the row: the Share itself, an older object, or this one.
fn declared<C: Child>(pass: &Pass<C>, parent: &Parent, owner: &AccountId, key: &RowKey) -> Declared {
    if let Some(share) = &parent.share
        && share.metadata.deletion_timestamp.is_none()
        && declare::inline(share, owner).is_ok_and(|rows| rows.contains_key(key))
    {
        return Declared::Elsewhere;
    }
    let siblings = declare::siblings(&pass.context.objects, &pass.object.share(), owner);
    let same: Vec<_> = siblings.iter().filter(|s| s.row == *key && (!s.doomed || s.key == pass.key)).collect();
    match same.first() {
        _ if pass.is_doomed() && same.len() > 1 => Declared::Elsewhere,
        _ if pass.is_doomed() => Declared::Nowhere,
        Some(first) if first.key != pass.key => Declared::Elsewhere,
        Some(_) | None => Declared::Here,
    }
}

/// Whether a record says that the row is there because of the object.
fn holds(record: &ChildStatus) -> bool {
    record.confirmed || record.intended_at.is_some()
}

/// Whether the Share or another child has the row in its record, or will not look because it is suspended.
fn is_held_elsewhere<C: Child>(pass: &Pass<C>, parent: &Parent, owner: &AccountId, key: &RowKey) -> bool {
    let by_parent = parent.share.as_ref().is_some_and(|share| {
        let recorded = share.status.as_ref().is_some_and(|s| inventory::entries(&s.inventory).contains_key(key));
        recorded || share.spec.suspend == Some(true)
    });
    let siblings = declare::siblings(&pass.context.objects, &pass.object.share(), owner);
    let others = siblings.iter().filter(|s| s.row == *key && s.key != pass.key && !s.doomed);
    by_parent || others.into_iter().any(|sibling| sibling.holds || sibling.suspended)
}

/// Lets those look who also declare the row: one of them is to take it over.
fn wake_heirs<C: Child>(pass: &Pass<C>, owner: &AccountId, key: &RowKey) {
    let name = pass.object.share();
    pass.context.wakes.wake(&Share::key(name.clone()));
    for sibling in declare::siblings(&pass.context.objects, &name, owner) {
        if sibling.row == *key && sibling.key != pass.key {
            pass.context.wakes.wake(&sibling.key);
        }
    }
}

/// Notes down what is needed to remove the row when the Share is gone, and takes over what its create announced.
fn note_down<C: Child>(pass: &mut Pass<C>, parent: &Parent, id: &ShareId, owner: &AccountId, key: &RowKey) {
    let announced = parent.share.as_ref().and_then(|share| {
        let status = share.status.as_ref()?;
        inventory::entries(&status.inventory).get(key).cloned()
    });
    let child = pass.status.child();
    if child.share_id.as_deref() != Some(id.as_str()) {
        child.share_id = Some(id.to_string());
        child.seen_with = None;
        child.confirmed = false;
        child.intended_at = None;
        child.drift.clear();
    }
    if !holds(child) {
        match announced {
            Some(Entry { intended_at: None, meta }) => {
                child.confirmed = true;
                child.meta_hash = meta;
            }
            // The create that carried it has made the share.
            Some(Entry { intended_at, .. }) => {
                child.intended_at = intended_at;
                pass.notes(|notes| notes.answered.insert(key.clone()));
            }
            None => {}
        }
    }
    let child = pass.status.child();
    child.owner_account_id = Some(owner.to_string());
    if let Some(secret) = &parent.secret {
        child.credentials_name = Some(secret.name.clone());
    }
}

impl<C: Child> Work<C> {
    fn seen(&self) -> Option<Seen> {
        self.access.account.picture().seen(&self.id).cloned()
    }

    fn record(&mut self) -> &mut ChildStatus {
        self.pass.status.child()
    }

    async fn run(&mut self, observing: bool) -> Result<Option<Verdict>, Stop> {
        // The record must not be behind what the parent is about to drop.
        if !observing {
            self.pass.save().await?;
        }
        let may_write = !observing && !self.pass.context.settings.read_only && self.access.account.breaker().is_none();
        let requested = self.pass.is_requested();
        let mut fresh = false;
        if let Some(error) = self.access.blindness(self.pass.context.settings.settle_time / 2) {
            return Err(Stop::Cloudflare(error));
        }
        for _ in 0..MAX_ROUNDS {
            let Some(seen) = self.seen_or_read().await? else { return self.share_gone().await };
            self.record().seen_with = Some(self.access.account.fingerprint.to_string());
            if !requested && !fresh && self.is_trusted(&seen) {
                return Ok(Some(self.as_before()));
            }
            if !fresh {
                fresh = true;
                self.refresh(&seen, requested).await?;
                if requested && may_write {
                    self.retry_failed().await?;
                }
                continue;
            }
            let (step, row) = self.step(&seen);
            let key = self.key.clone();
            match step {
                Step::Read => self.read_row().await?,
                Step::Confirm => {
                    let (now, patience) = (self.pass.now(), self.pass.context.settings.patience());
                    self.pass.notes(|notes| notes.confirm(&key, now, patience));
                    self.record().confirmed = true;
                    self.record().meta_hash = if row == (RowSeen::Live { differs: true }) {
                        Some(inventory::NEVER.to_owned())
                    } else {
                        inventory::meta_hash(&self.pass.object.wanted_meta())
                    };
                    self.record().intended_at = None;
                    // A row that was put back counts until it has stayed.
                    if self.record().drift.is_empty() {
                        self.pass.notes(|notes| notes.stayed(&key.to_string()));
                    }
                }
                Step::Forget => {
                    self.pass.guard(false).await?;
                    return Ok(None);
                }
                Step::Ignore if self.pass.is_doomed() => {
                    self.pass.guard(false).await?;
                    return Ok(None);
                }
                Step::Add | Step::Restore | Step::Update | Step::Remove if !may_write => {
                    return Ok(Some(self.held(observing, &seen)));
                }
                Step::Add | Step::Restore => {
                    if let Some(verdict) = self.refused(&key.to_string()) {
                        return Ok(Some(self.tell(&seen, verdict)));
                    }
                    if self.pass.notes(|notes| notes.is_pointless(&key.to_string(), "present", "absent")) {
                        let verdict = Verdict::stalled(
                            Reason::NotConverging,
                            format!(
                                "{} was added twice and is not there: most likely somebody removes it",
                                self.name()
                            ),
                        );
                        return Ok(Some(self.tell(&seen, verdict)));
                    }
                    if self.read_if_old(&seen).await? {
                        continue;
                    }
                    if step == Step::Restore {
                        self.show_drift("in place", "absent", key.to_string()).await?;
                    }
                    self.add().await?;
                }
                Step::Update => {
                    if let Some(verdict) = self.update(&seen).await? {
                        return Ok(Some(self.tell(&seen, verdict)));
                    }
                }
                Step::Remove => {
                    if self.read_if_old(&seen).await? {
                        continue;
                    }
                    if let Some(verdict) = self.remove(&seen).await? {
                        return Ok(Some(verdict));
                    }
                }
                Step::Keep | Step::Wait | Step::Ignore => return Ok(Some(self.conclude(&seen, row))),
            }
        }
        Ok(Some(Verdict::working(Reason::Progressing, "still at work").again(Duration::from_secs(5))))
    }

    /// A person asks for another try: a recipient that failed for good is removed, and then added again.
    async fn retry_failed(&mut self) -> Result<(), Stop> {
        let (RowKey::Recipient(account), Declared::Here) = (&self.key, self.declared) else { return Ok(()) };
        let Some(seen) = self.seen() else { return Ok(()) };
        let Some(row) = seen.recipient(account).filter(|row| row.errors.iter().any(|error| error.terminal)) else {
            return Ok(());
        };
        if !matches!(seen.row(&self.key, |_| false), RowSeen::Live { .. }) {
            return Ok(());
        }
        self.record().intended_at = Some(inventory::settled_long_ago());
        self.record().confirmed = false;
        self.pass.save().await?;
        let apply = Apply { context: &self.pass.context, access: &self.access };
        match apply.remove(&self.id, &RowId::Recipient(row.id.clone())).await? {
            Change::Done(()) => Ok(()),
            Change::Unsure(error) | Change::Not(error) => Err(Stop::Cloudflare(error)),
        }
    }

    /// The share as it was seen, or read now; `None`: it is gone.
    async fn seen_or_read(&mut self) -> Result<Option<Seen>, Stop> {
        if let Some(seen) = self.seen() {
            return Ok(Some(seen).filter(Seen::is_live));
        }
        if self.access.account.picture().swept.is_none() {
            self.access.account.demand_sweep(self.pass.key.clone(), At::default());
            return match self.access.account.sweep_error() {
                Some(error) => Err(Stop::Cloudflare(error)),
                None => Err(Stop::Queued),
            };
        }
        if !self.access.account.picture().is_missing(&self.id) {
            self.access.read_share(&self.id).await?;
        }
        Ok(self.seen().filter(Seen::is_live))
    }

    async fn share_gone(&mut self) -> Result<Option<Verdict>, Stop> {
        let patience = self.pass.context.settings.patience();
        let now = self.pass.now();
        let leaving = self.seen().is_some_and(|seen| seen.is_leaving());
        if let (true, false, Some(message)) = (self.pass.is_doomed(), leaving, self.access.account.breaker()) {
            return Ok(Some(Verdict::blind(Reason::BreakerOpen, message).again(Duration::from_secs(15))));
        }
        if self.pass.is_doomed() && !leaving && self.is_hidden() {
            let secret = Name::new(
                self.pass.key.name.namespace.clone(),
                self.record().credentials_name.clone().unwrap_or_default(),
            );
            return Ok(Some(super::share::hidden(self.pass.object.as_ref(), &self.id, &secret)));
        }
        if self.pass.is_doomed() {
            let (gone, leaving, first) = {
                let picture = self.access.account.picture();
                (
                    picture.is_gone(&self.id, patience),
                    picture.seen(&self.id).is_some_and(Seen::is_leaving),
                    picture.missing_since(&self.id),
                )
            };
            if gone || leaving {
                self.pass.guard(false).await?;
                return Ok(None);
            }
            if let Some(first) = first.filter(|first| now.since(*first) >= patience) {
                self.access.read_share(&self.id).await?;
                self.access.account.demand_sweep(self.pass.key.clone(), first);
            }
            let verdict = Verdict::working(Reason::Deleting, "the share is not there any more; looking again");
            return Ok(Some(verdict.again(patience)));
        }
        let key = self.key.clone();
        self.pass.status.tell_row(&key, None);
        let name = self.pass.object.share().name;
        let message = match &self.parent.share {
            Some(_) => format!("share {} is not there; Share {name} looks after that", self.id),
            None => format!("Share {name} does not exist, and share {} is gone from Cloudflare", self.id),
        };
        Ok(Some(Verdict::working(Reason::WaitingForShare, message).again(patience)))
    }

    /// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
    /// share is meant to be gone.
    fn is_hidden(&mut self) -> bool {
        let confirmed = super::share::vouched(self.pass.object.as_ref());
        let record = self.pass.status.child();
        let told = super::verdict::breaker_told(&record.conditions);
        let vouched = confirmed.zip(told).is_some_and(|(confirmed, told)| told <= confirmed.plus(CLOCK));
        self.access.is_stranger(record.seen_with.as_deref())
            && !vouched
            && !self.access.account.is_accepted(self.id.as_str())
    }

    /// Whether the last verdict, Ready, still stands though the rows were not listed since the process began.
    fn is_trusted(&mut self, seen: &Seen) -> bool {
        if !self.pass.was_ready() || self.pass.is_doomed() || !self.record().confirmed {
            return false;
        }
        if self.pass.notes(|notes| notes.following) {
            return false;
        }
        match &self.key {
            RowKey::Resource { .. } => self.step(seen).0 == Step::Keep,
            RowKey::Recipient(_) | RowKey::Excluded(_) => {
                let told = self.parent.share.as_ref().and_then(|share| share.status.as_ref()?.recipients.clone());
                let counts = seen.counts.unwrap_or_default();
                let counted = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
                seen.recipients.is_none()
                    && counts.associating == 0
                    && counts.disassociating == 0
                    && told.is_some_and(|told| {
                        told.in_place == counted(counts.associated)
                            && told.disassociated == counted(counts.disassociated)
                    })
            }
        }
    }

    fn as_before(&mut self) -> Verdict {
        let conditions = &self.pass.status.child().conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        Verdict::ready(Reason::Associated, ready.map(|c| c.message.clone()).unwrap_or_default())
    }

    fn step(&mut self, seen: &Seen) -> (Step, RowSeen) {
        let context = self.pass.context.clone();
        let read_at = seen.rows_read_at(&self.key);
        let answered = self.pass.notes(|notes| notes.answered.contains(&self.key));
        let recorded = recorded(self.record(), read_at, &context.settings, answered);
        let wanted = self.pass.object.wanted_meta();
        let row_seen = seen.row(&self.key, |row| !meta::same_object(&wanted, &row.meta));
        let confirmed = self.pass.notes(|notes| notes.confirmed.get(&self.key).copied());
        let known = confirmed.unwrap_or_default().max(context.started);
        let lagging = context.settings.may_lag(read_at, known);
        let facts = row::Facts { declared: self.declared, recorded, seen: row_seen, prune: false, lagging };
        (row::step(facts), row_seen)
    }

    async fn refresh(&mut self, seen: &Seen, requested: bool) -> Result<(), Stop> {
        let now = self.pass.now();
        let (following, due) = self.pass.notes(|notes| (notes.following, notes.due));
        let poll = following && due <= now;
        let since = if requested {
            self.pass.notes(|notes| *notes.request_met.get_or_insert(now))
        } else if poll {
            due
        } else {
            At::default()
        };
        match self.key {
            RowKey::Resource { .. } => {
                if seen.resources.is_none() || seen.read_at < since || seen.read_at == At::default() {
                    self.access.refresh_share(&self.id, since).await?;
                }
            }
            RowKey::Recipient(_) | RowKey::Excluded(_) => {
                if seen.recipients.as_ref().is_none_or(|r| r.stale || r.read_at < since) {
                    self.access.read_recipients(&self.id).await?;
                }
            }
        }
        Ok(())
    }

    async fn read_row(&mut self) -> Result<(), Stop> {
        match self.key {
            RowKey::Resource { .. } => self.access.read_resources(&self.id).await,
            RowKey::Recipient(_) | RowKey::Excluded(_) => self.access.read_recipients(&self.id).await,
        }
    }

    async fn read_if_old(&mut self, seen: &Seen) -> Result<bool, Stop> {
        let since = self.pass.since.minus(FRESH);
        let old = match self.key {
            RowKey::Resource { .. } => seen.read_at < since,
            RowKey::Recipient(_) | RowKey::Excluded(_) => {
                seen.recipients.as_ref().is_none_or(|r| r.stale || r.read_at < since)
            }
        };
        if old {
            self.read_row().await?;
        }
        Ok(old)
    }

    fn refused(&self, item: &str) -> Option<Verdict> {
        let now = self.pass.now();
        let refused = self.pass.notes(|notes| notes.refusal(item, now).cloned())?;
        Some(Verdict::stalled(Reason::Rejected, refused.message).again(refused.until.since(now)))
    }

    fn name(&self) -> String {
        label(&self.key, self.pass.object.label().as_deref())
    }

    async fn show_drift(&mut self, desired: &str, observed: &str, path: String) -> Result<(), Stop> {
        let cut = |text: &str| clean(text, 200);
        let entry = DriftEntry { path, desired: cut(desired), observed: cut(observed) };
        if self.record().drift.contains(&entry) {
            return Ok(());
        }
        self.pass.context.metrics.drift();
        let message = format!("{}: {} instead of {}; it is put right", entry.path, entry.observed, entry.desired);
        self.pass.event(Note::warning_of("Drifted"), message.clone());
        self.record().drift = vec![entry];
        let now = clock::time(self.pass.now());
        let generation = self.pass.generation();
        let verdict = Verdict::working(Reason::Progressing, "a difference at Cloudflare is put right");
        super::verdict::conclude(self.pass.status.told().conditions, &verdict, Some(message), generation, &now);
        self.pass.save().await
    }

    async fn add(&mut self) -> Result<(), Stop> {
        let _permit = self.access.permit(1)?;
        self.pass.context.may_write()?;
        let now = self.pass.now();
        let (uid, id, key) = (self.pass.object.uid(), self.id.clone(), self.key.clone());
        let record = self.record();
        record.bound_uid = uid;
        record.intended_at = Some(clock::time(now));
        record.confirmed = false;
        self.pass.notes(|notes| notes.answered.remove(&key));
        self.pass.save().await?;
        let meta = self.pass.object.wanted_meta();
        let apply = Apply { context: &self.pass.context, access: &self.access };
        match apply.add(&id, &key, &meta).await {
            Ok(Change::Done(())) => {
                self.pass.notes(|notes| {
                    notes.wrote(&key.to_string(), "present", "absent", now);
                    notes.answered.insert(key);
                });
                Ok(())
            }
            Ok(Change::Unsure(error)) => Err(Stop::Cloudflare(error)),
            Ok(Change::Not(error)) => {
                self.record().intended_at = None;
                match error.class() {
                    ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied => {
                        self.pass.save().await?;
                        Err(Stop::Cloudflare(error))
                    }
                    ErrorClass::Conflict | ErrorClass::Gone | ErrorClass::Rejected => {
                        if error.class() != ErrorClass::Rejected
                            && let Some(seen) = self.access.account.picture().seen_mut(&id)
                        {
                            seen.outdate();
                        }
                        let message = format!("Cloudflare refuses {}: {error}", self.name());
                        self.pass.notes(|notes| notes.refuse(&key.to_string(), message, now));
                        Ok(())
                    }
                }
            }
            Err(stop) => {
                self.record().intended_at = None;
                self.pass.save().await?;
                Err(stop)
            }
        }
    }

    async fn update(&mut self, seen: &Seen) -> Result<Option<Verdict>, Stop> {
        let item = self.key.to_string();
        if let Some(verdict) = self.refused(&item) {
            return Ok(Some(verdict));
        }
        let Some(row) = seen.resource(&self.key).cloned() else { return Ok(None) };
        let meta = self.pass.object.wanted_meta();
        let text = serde_json::Value::Object(meta.clone()).to_string();
        let found = serde_json::Value::Object(row.meta.clone()).to_string();
        if self.pass.notes(|notes| notes.is_pointless(&item, &text, &found)) {
            return Ok(Some(super::share::not_converging(&format!("the meta of {}", self.name()), &text, &found)));
        }
        // Where the manifest says something new it is an edit.
        if self.record().meta_hash == inventory::meta_hash(&meta) {
            self.show_drift(&text, &found, format!("{item}.meta")).await?;
        }
        let now = self.pass.now();
        let apply = Apply { context: &self.pass.context, access: &self.access };
        match apply.update_resource(&self.id, &row.id, &meta).await? {
            Change::Done(()) => self.pass.notes(|notes| notes.wrote(&item, &text, &found, now)),
            Change::Unsure(error) => return Err(Stop::Cloudflare(error)),
            Change::Not(error) if matches!(error.class(), ErrorClass::Rejected | ErrorClass::Conflict) => {
                let message = format!("Cloudflare refuses the meta of {}: {error}", self.name());
                self.pass.notes(|notes| notes.refuse(&item, message, now));
            }
            Change::Not(error) => return Err(Stop::Cloudflare(error)),
        }
        Ok(None)
    }

    async fn remove(&mut self, seen: &Seen) -> Result<Option<Verdict>, Stop> {
        let item = format!("remove {}", self.key);
        let last = matches!(self.key, RowKey::Resource { .. }) && seen.live_resources() <= 1;
        let now = self.pass.now();
        if let Some(refused) = self.pass.notes(|notes| notes.refusal(&item, now).cloned()) {
            let reason = if last { Reason::LastResource } else { Reason::Rejected };
            return Ok(Some(Verdict::stalled(reason, refused.message).again(refused.until.since(now))));
        }
        let row = super::share::row_id(seen, &self.key);
        let Some(row) = row else { return Ok(None) };
        if let Some(verdict) = self.blocked(seen) {
            return Ok(Some(verdict.again(Duration::from_secs(30))));
        }
        let apply = Apply { context: &self.pass.context, access: &self.access };
        match apply.remove(&self.id, &row).await? {
            Change::Done(()) => {
                if matches!(self.key, RowKey::Recipient(_)) {
                    self.pass.context.count_removal(&self.pass.object.share());
                }
                Ok(None)
            }
            Change::Unsure(error) => Err(Stop::Cloudflare(error)),
            Change::Not(error) if matches!(error.class(), ErrorClass::Rejected | ErrorClass::Conflict) => {
                let what = if last {
                    "Cloudflare does not remove the last resource of a share; the Share removes it once it has another"
                } else {
                    "Cloudflare refuses to remove it"
                };
                let message = format!("{}: {what} ({error})", self.name());
                self.pass.notes(|notes| notes.refuse(&item, message, now));
                Ok(None)
            }
            Change::Not(error) => Err(Stop::Cloudflare(error)),
        }
    }

    /// Too many recipients of the share are being removed at once to be meant.
    fn blocked(&self, seen: &Seen) -> Option<Verdict> {
        let share = self.parent.share.as_ref().filter(|share| share.metadata.deletion_timestamp.is_none())?;
        if !matches!(self.key, RowKey::Recipient(_)) || super::share::removals_confirmed(share) {
            return None;
        }
        let name = self.pass.object.share();
        let live = seen.live_recipients();
        let lately = self.pass.context.recent_removals(&name);
        let leaves = |sibling: &&declare::Sibling| {
            sibling.doomed && !sibling.suspended && matches!(seen.row(&sibling.row, |_| false), RowSeen::Live { .. })
        };
        let owner = AccountId::parse(&share.spec.account_id).ok()?;
        let siblings = declare::siblings(&self.pass.context.objects, &name, &owner);
        let recipients = siblings.iter().filter(|s| matches!(s.row, RowKey::Recipient(_)));
        let pending = recipients.filter(leaves).count();
        let allowed = super::share::removal_limit(share).ok()?.of(live + lately);
        (pending + lately > allowed).then(|| super::share::removal_blocked(share, pending, live, allowed))
    }

    fn held(&mut self, observing: bool, seen: &Seen) -> Verdict {
        let verdict = match self.access.account.breaker() {
            Some(message) => Verdict::blind(Reason::BreakerOpen, message),
            None if observing => {
                Verdict::stalled(Reason::Differs, format!("observed: {} differs; nothing is changed", self.name()))
            }
            None => Verdict::stalled(
                Reason::Differs,
                format!("the operator runs with --read-only: {} differs", self.name()),
            ),
        };
        self.tell(seen, verdict)
    }

    fn tell(&mut self, seen: &Seen, verdict: Verdict) -> Verdict {
        let key = self.key.clone();
        self.pass.status.tell_row(&key, Some(seen));
        verdict
    }

    fn conclude(&mut self, seen: &Seen, row: RowSeen) -> Verdict {
        let key = self.key.clone();
        self.pass.status.tell_row(&key, Some(seen));
        if self.pass.is_doomed() {
            let wait = self.follow(seen);
            let verdict = Verdict::working(Reason::Deleting, format!("{} is being removed by Cloudflare", self.name()));
            return verdict.again(wait);
        }
        let stand = standing(&key, seen, None);
        let word = stand.word.clone();
        match stand.state {
            State::InPlace if matches!(row, RowSeen::Live { .. }) => {
                let hash = inventory::meta_hash(&self.pass.object.wanted_meta());
                if self.record().meta_hash != hash {
                    self.record().meta_hash = hash;
                    self.pass.notes(|notes| notes.stayed(&key.to_string()));
                }
                self.record().drift.clear();
                self.settle();
                let verdict = Verdict::ready(Reason::Associated, format!("{} is {word}", self.name()));
                if self.record().intended_at.is_some() {
                    // The record still has to learn that the announced call has settled.
                    return verdict.again(self.pass.look_once_settled());
                }
                verdict
            }
            State::Failed => {
                self.settle();
                Verdict::stalled(
                    Reason::RecipientFailed,
                    format!(
                        "{} failed: {}. Cloudflare does not try again: mend it there, then annotate this object with {}={}",
                        self.name(),
                        stand.message,
                        crate::api::REQUESTED_AT,
                        "$(date -u +%FT%TZ)",
                    ),
                )
            }
            State::InPlace | State::Pending | State::Failing | State::Refused => {
                let wait = self.follow(seen);
                let detail = if stand.message.is_empty() { String::new() } else { format!(": {}", stand.message) };
                Verdict::working(Reason::Associating, format!("{} is {word}{detail}", self.name())).again(wait)
            }
        }
    }

    fn settle(&self) {
        if self.pass.notes(|notes| std::mem::take(&mut notes.following)) {
            self.access.account.unfollow(&self.pass.key);
        }
    }

    fn follow(&self, seen: &Seen) -> Duration {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        standing(&self.key, seen, None).word.hash(&mut hasher);
        self.access.account.follow(&self.pass.key);
        let settings = &self.pass.context.settings;
        let now = self.pass.now();
        self.pass.notes(|notes| {
            if !notes.following {
                notes.following = true;
                notes.due = At::default();
            }
            notes.plan_poll(hasher.finish(), now, settings.poll_min, settings.poll_max)
        })
    }
}
