//! What a child does about its row: compares what is declared, recorded and seen, and acts on it.

use std::sync::Arc;

use kube::ResourceExt;

use super::super::pass::Pass;
use super::super::share::{losses, want};
use super::parent::Parent;
use crate::api::status::ChildStatus;
use crate::api::status::DriftEntry;
use crate::api::{CONFIRM_REMOVALS, Reason, Share};
use crate::cloudflare::ShareStatus;
use crate::core::id::ShareId;
use crate::core::row::{self, Declared, Seen as RowSeen, Step};
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::cluster::objects::Related;
use crate::operator::kinds::Child;
use crate::operator::kinds::ChildTelling;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::access::Access;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::declare;
use crate::operator::rows::facts::{Known, RowSnapshot};
use crate::operator::rows::inventory;
use crate::operator::rows::row::Row;
use crate::operator::rows::standing::{State, Totals, label, standing};
use crate::operator::stop::Stop;
use crate::operator::{clock, waits};

/// More rounds than any row needs: what loops longer is a defect, and goes on in the next pass.
const MAX_ROUNDS: usize = 32;

/// A pass that has a credential, and a share to look at.
pub struct Work<C: Child> {
    pub pass: Pass<C>,
    pub access: Access,
    pub id: ShareId,
    pub key: RowKey,
    pub parent: Parent,
    pub declared: Declared,
}

impl<C: Child> Work<C> {
    pub(super) fn seen(&self) -> Option<Seen> {
        self.access.account.picture().seen(&self.id).cloned()
    }

    pub(super) fn record(&mut self) -> &mut ChildStatus {
        self.pass.status.child()
    }

    pub(super) fn name(&self) -> String {
        label(&self.key, self.pass.object.label().as_deref())
    }

    fn row<'a>(&'a self, seen: &'a Seen) -> Row<'a, C> {
        let meta = self.pass.object.wanted_meta();
        Row { pass: &self.pass, access: &self.access, seen, key: &self.key, name: self.name(), meta }
    }

    /// Step by step, until there is something to tell; `None`: the object is let go.
    pub(super) async fn run(&mut self) -> Result<Option<Verdict>, Stop> {
        // The record must not be behind what the parent is about to drop.
        if !self.parent.observes() {
            self.pass.save().await?;
        }
        let may_write =
            !self.parent.observes() && !self.pass.context.settings.read_only && self.access.account.breaker().is_none();
        let requested = self.pass.is_requested();
        let mut fresh = false;
        if let Some(error) = self.pass.blindness(&self.access) {
            return Err(Stop::Cloudflare(error));
        }
        for _ in 0..MAX_ROUNDS {
            let Some(seen) = self.seen_or_read().await? else { return self.share_gone().await };
            self.record().seen_with = Some(self.access.account.fingerprint.to_string());
            if !requested && !fresh && self.is_trusted(&seen) {
                return Ok(Some(self.pass.as_before()));
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
            match step {
                Step::Read => self.row(&seen).read().await?,
                Step::Confirm => {
                    let drift = self.record().common.drift.clone();
                    let meta_hash = self.row(&seen).confirm(row, &drift);
                    let record = self.record();
                    (record.confirmed, record.intended_at, record.meta_hash) = (true, None, meta_hash);
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
                    return Ok(Some(self.held(&seen, step)));
                }
                Step::Add | Step::Restore => {
                    if let Some(verdict) = self.pass.hindrance(&self.row(&seen).adding()) {
                        return Ok(Some(self.tell(&seen, step, verdict)));
                    }
                    if self.row(&seen).read_if_old().await? {
                        continue;
                    }
                    let drift = self.drift(&seen, step);
                    self.pass.show_drift(drift).await?;
                    self.add(&seen).await?;
                }
                Step::Update => {
                    if let Some(verdict) = self.pass.hindrance(&self.row(&seen).updating()) {
                        return Ok(Some(self.tell(&seen, step, verdict)));
                    }
                    let drift = self.drift(&seen, step);
                    self.pass.show_drift(drift).await?;
                    self.row(&seen).update().await?;
                }
                Step::Remove => {
                    if self.is_declared_outside().await? {
                        // The next pass knows who else declares it.
                        return Ok(Some(self.conclude(&seen, row).again(waits::HANDSHAKE)));
                    }
                    if self.row(&seen).read_if_old().await? {
                        continue;
                    }
                    if let Some(verdict) = self.remove(&seen).await? {
                        return Ok(Some(verdict));
                    }
                }
                Step::Keep | Step::Wait | Step::Ignore => return Ok(Some(self.conclude(&seen, row))),
            }
        }
        Ok(Some(Verdict::unfinished()))
    }

    /// The share as it was seen, or read now; `None`: it is gone.
    async fn seen_or_read(&mut self) -> Result<Option<Seen>, Stop> {
        if let Some(seen) = self.seen() {
            return Ok(Some(seen).filter(Seen::is_live));
        }
        self.access.await_first_sweep()?;
        if !self.access.account.picture().is_missing(&self.id) {
            self.access.read_share(&self.id).await?;
        }
        Ok(self.seen().filter(Seen::is_live))
    }

    /// Whether the last verdict, Ready, still stands though the rows were not listed since the process began.
    fn is_trusted(&mut self, seen: &Seen) -> bool {
        if !self.pass.was_ready() || self.pass.is_doomed() || !self.record().confirmed || self.pass.is_following() {
            return false;
        }
        if seen.share.status != ShareStatus::Active {
            return false;
        }
        match &self.key {
            RowKey::Resource { .. } => {
                self.step(seen).0 == Step::Keep && standing(&self.key, seen, None).state == State::InPlace
            }
            RowKey::Recipient(_) | RowKey::Excluded(_) => {
                let told = self.parent.share.as_ref().and_then(|share| share.status.as_ref()?.recipients.clone());
                seen.recipients.is_none() && told.is_some_and(|told| Totals::recorded(&told) == Totals::observed(seen))
            }
        }
    }

    /// When this process learned that the row's call has taken effect, and when it found the row in place.
    fn known(&self) -> (Option<At>, Option<At>) {
        self.pass.notes(|notes| (notes.answered.get(&self.key).copied(), notes.confirmed.get(&self.key).copied()))
    }

    fn step(&self, seen: &Seen) -> (Step, RowSeen) {
        let (answered, confirmed) = self.known();
        let known = Known { started: self.pass.context.started, confirmed, answered };
        let (meta, settings) = (self.pass.object.wanted_meta(), &self.pass.context.settings);
        let snapshot = RowSnapshot { seen, key: &self.key, meta: Some(&meta), settings, known: Some(known) };
        let recorded = snapshot.recorded_by_child(self.pass.status.record());
        let facts = snapshot.facts(self.declared, recorded, false);
        (row::step(facts), facts.seen)
    }

    /// Reads what is due: what is missing, known to be stale, or asked for.
    async fn refresh(&mut self, seen: &Seen, requested: bool) -> Result<(), Stop> {
        let since = self.pass.outdated_before(requested);
        if !seen.is_outdated(&self.key, since) {
            return Ok(());
        }
        match self.key {
            RowKey::Resource { .. } => self.access.refresh_share(&self.id, since).await,
            RowKey::Recipient(_) | RowKey::Excluded(_) => self.row(seen).read().await,
        }
    }

    /// Where the manifest says something new, what differs is an edit.
    pub(super) fn drift(&mut self, seen: &Seen, step: Step) -> Vec<DriftEntry> {
        let hash = inventory::meta_hash(&self.pass.object.wanted_meta());
        let edited = step == Step::Update && self.record().meta_hash != hash;
        self.row(seen).drift(step).filter(|_| !edited).into_iter().collect()
    }

    /// Announces the row, with the permit in hand, then sends it.
    async fn add(&mut self, seen: &Seen) -> Result<(), Stop> {
        let _permit = self.access.permit(1)?;
        self.pass.context.remote.gate.may_write()?;
        let (uid, now) = (self.pass.object.uid(), self.pass.now());
        let record = self.record();
        record.bound_uid = uid;
        record.intended_at = Some(clock::time(now));
        record.confirmed = false;
        self.pass.notes(|notes| notes.answered.remove(&self.key));
        self.pass.save().await?;
        let added = self.row(seen).add(now).await;
        if !added.stands {
            self.record().intended_at = None;
        }
        if added.outcome.is_err() {
            self.pass.save().await?;
        }
        added.outcome
    }

    /// Whether another object, which the watch does not show, declares the row that this one is about to remove.
    async fn is_declared_outside(&self) -> Result<bool, Stop> {
        let context = &self.pass.context;
        let name = self.pass.object.share();
        context.cluster.outside.look(&context.cluster.index, &name.namespace, waits::FRESH).await?;
        let Some(owner) = self.parent.owner.as_ref() else { return Ok(false) };
        let siblings = declare::siblings(&context.cluster.index, &name, owner);
        Ok(siblings.iter().any(|s| s.outside && !s.doomed && s.row == self.key))
    }

    async fn remove(&mut self, seen: &Seen) -> Result<Option<Verdict>, Stop> {
        let row = self.row(seen);
        // The object stays until the row is gone, so it looks now and then whether somebody gave in.
        let pointless = || self.pass.pointless(&row.removing()).map(|verdict| verdict.again(waits::PERSON));
        if let Some(hindrance) = row.removal_refused().or_else(pointless) {
            return Ok(Some(hindrance));
        }
        if let Some(blocked) = self.ask_share(seen).await? {
            return Ok(Some(blocked));
        }
        let removed = self.row(seen).remove("the Share removes it once it has another one").await?;
        let (answered, _) = self.known();
        let record = self.record();
        // Both calls were answered: what is gone now cannot come back by either.
        if removed && (record.confirmed || answered.is_some()) {
            record.confirmed = false;
            record.intended_at = Some(inventory::settled_long_ago());
        }
        Ok(None)
    }

    /// Whether the row may go now, by the limit of its Share, which counts all that its share loses. It is recorded there
    /// before the call, so that it counts for every object of the share, and after a restart.
    async fn ask_share(&mut self, seen: &Seen) -> Result<Option<Verdict>, Stop> {
        let context = self.pass.context.clone();
        let live = |share: &&Arc<Share>| share.metadata.deletion_timestamp.is_none();
        let Some(share) = self.parent.share.as_ref().filter(live) else { return Ok(None) };
        let Some(mut status) = share.status.clone().filter(|status| status.bound_uid == share.uid()) else {
            return Ok(None);
        };
        let wanted = match want(share, &context.cluster.index) {
            Ok(wanted) => wanted,
            Err(problem) => return Ok(Some(Verdict::stalled(Reason::Invalid, problem).again(waits::PERSON))),
        };
        let (now, patience) = (self.pass.now(), context.settings.patience());
        let losing = losses::Basis { wanted: &wanted, status: &status, seen, now, patience }.losing();
        losing.note_before(&mut status);
        let asked =
            context.cluster.index.asked.value(&Share::key(self.pass.object.share()), share.as_ref(), CONFIRM_REMOVALS);
        if !losses::is_confirmed(share, &mut status, &losing, asked) {
            if losing.exceed(losses::counted(&self.key)) {
                return Ok(losing.blocked(share));
            }
            losses::record(&mut status, std::iter::once(&self.key), now);
        }
        context.cluster.writer.status(&context.cluster.index, share, &status).await?;
        Ok(None)
    }

    /// A person asks for another try: a recipient that failed for good is removed, and then added again.
    async fn retry_failed(&mut self) -> Result<(), Stop> {
        let Some(seen) = self.seen() else { return Ok(()) };
        if self.declared != Declared::Here || !self.row(&seen).has_failed() {
            return Ok(());
        }
        let record = self.record();
        record.intended_at = Some(inventory::settled_long_ago());
        record.confirmed = false;
        self.pass.save().await?;
        self.row(&seen).retry().await
    }
}
