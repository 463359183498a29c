//! How a child ends: at once, with its row, or with the share.

use std::time::Duration;

use kube::ResourceExt;

use super::super::key::{Name, RowKey};
use super::super::pass::Pass;
use super::parent::Parent;
use super::work::Work;
use crate::api::{Reason, Share};
use crate::core::id::AccountId;
use crate::operator::cluster::objects::Related;
use crate::operator::kinds::Child;
use crate::operator::kinds::ChildTelling;
use crate::operator::pass::verdict;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::access::Stop;
use crate::operator::remote::account::CLOCK;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::declare;
use crate::operator::rows::inventory;
use crate::operator::{clock, share, waits};

/// How long a row waits for whoever inherits it to take note of that.
const HEIRS: Duration = Duration::from_secs(10);

/// How a child ends that is being deleted.
pub enum End {
    /// It is let go: nothing is to be done about its row, or others do it.
    Release,
    /// Another object has to do its part first.
    Wait(Duration),
    /// It depends on its row.
    Row,
}

/// How a child ends, as far as that needs no call.
pub fn end<C: Child>(pass: &mut Pass<C>, parent: &Parent, key: &RowKey) -> End {
    if parent.observes() {
        return End::Release;
    }
    let kept_by_parent = parent.share.as_ref().is_some_and(|share| {
        let status = share.status.as_ref().filter(|status| status.bound_uid == share.uid());
        status.is_some_and(|status| inventory::entries(&status.inventory).contains_key(key))
    });
    if let Some(share) = &parent.share {
        // It goes with the share.
        if share.metadata.deletion_timestamp.is_some() && !share::retains(share) {
            return End::Release;
        }
        // Removed by the parent, since Cloudflare refuses to remove a last resource.
        let last = verdict::readiness(&pass.status.child().common.conditions)
            .is_some_and(|(_, reason)| reason == Reason::LastResource.as_str());
        if last && kept_by_parent {
            return End::Release;
        }
    }
    if parent.announced && kept_by_parent {
        return End::Wait(waits::MOMENT);
    }
    if pass.object.retains() {
        // Until the parent has let go of the row, it would remove it.
        let suspended = parent.share.as_ref().is_some_and(|share| share.spec.suspend == Some(true));
        let held = kept_by_parent && !suspended;
        return match held {
            true if pass.status.child().share_id.is_none() => End::Row,
            true => End::Wait(waits::HANDSHAKE),
            false => End::Release,
        };
    }
    let nothing_made = parent.id.is_none() && pass.status.child().share_id.is_none();
    // Nothing was made, or it was never held to be ours, and the parent's create did not carry it.
    if nothing_made || !pass.status.child().holds_row() && !kept_by_parent { End::Release } else { End::Row }
}

/// Whether a child that others outlive waits for one of them: its row is let go only to somebody who holds it, else two
/// that go one after the other leak it.
pub fn waits_for_heirs<C: Child>(pass: &mut Pass<C>, parent: &Parent, owner: &AccountId, key: &RowKey) -> bool {
    let doomed = pass.object.meta().deletion_timestamp.as_ref().map(clock::from_time).unwrap_or_default();
    let waited = pass.now().since(doomed);
    let waits = waited < HEIRS && pass.status.child().holds_row() && !is_held_elsewhere(pass, parent, owner, key);
    if waits {
        wake_heirs(pass, owner, key);
    }
    waits
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

impl<C: Child> Work<C> {
    /// What a child does whose share is not there; `None`: it is let go.
    pub(super) async fn share_gone(&mut self) -> Result<Option<Verdict>, Stop> {
        let patience = self.pass.context.settings.patience();
        let now = self.pass.now();
        let leaving = self.seen().is_some_and(|seen| seen.is_leaving());
        if let (true, false, Some(message)) = (self.pass.is_doomed(), leaving, self.access.account.breaker()) {
            return Ok(Some(Verdict::blind(Reason::BreakerOpen, message).common().again(waits::BREAKER)));
        }
        if self.pass.is_doomed() && !leaving && self.is_hidden() {
            let secret = Name::new(
                self.pass.key.name.namespace.clone(),
                self.record().credentials_name.clone().unwrap_or_default(),
            );
            return Ok(Some(share::hidden(self.pass.object.as_ref(), &format!("share {}", self.id), &secret)));
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
        self.pass.status.tell_row(&self.key, None);
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
        let confirmed = share::vouched(self.pass.object.as_ref());
        let record = self.pass.status.child();
        let told = verdict::breaker_told(&record.common.conditions);
        let vouched = confirmed.zip(told).is_some_and(|(confirmed, told)| told <= confirmed.plus(CLOCK));
        self.access.is_stranger(record.seen_with.as_deref())
            && !vouched
            && !self.access.account.is_accepted(self.id.as_str())
    }
}
