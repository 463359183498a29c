//! Which of several Shares may have a share at Cloudflare, or a name there: also those that the watch does not show.

use std::collections::HashSet;
use std::sync::Arc;

use super::claimant::{Claimant, claim};
use super::objects::Objects;
use crate::api::{Kind, Name, ObjectKey, Share};

impl Objects {
    /// All that name this remote share but the one of that name: in the watch, and out of it.
    fn rivals_for(&self, own: &Name, share_id: &str) -> Vec<Arc<Claimant>> {
        let names: HashSet<Name> = self.bound_to(share_id).into_iter().collect();
        self.with_unwatched(own, names, self.unwatched.by_share_id(share_id))
    }

    /// All that want a share of the same name in the same account but the one of that name.
    fn rivals_of(&self, share: &Share) -> Vec<Arc<Claimant>> {
        let (own, claim) = (Name::of(share), claim(share));
        let names: HashSet<Name> = self.claimants(&claim.0, &claim.1).into_iter().collect();
        let mut rivals = self.with_unwatched(&own, names, self.unwatched.by_claim(&claim));
        rivals.retain(|rival| !rival.observes && !rival.by_id);
        rivals
    }

    fn with_unwatched(&self, own: &Name, watched: HashSet<Name>, unwatched: Vec<Arc<Claimant>>) -> Vec<Arc<Claimant>> {
        let watched = watched.iter().filter_map(|name| self.shares.find(name));
        let watched = watched.map(|share| Arc::new(Claimant::of(&share)));
        // What is back in the watch is known better from there.
        let unwatched = unwatched.into_iter().filter(|claimant| self.shares.find(&claimant.name).is_none());
        watched.chain(unwatched).filter(|claimant| claimant.name != *own).collect()
    }

    /// Whether of all objects that name this remote share the given one is the oldest.
    pub fn owns(&self, share: &Share, share_id: &str) -> bool {
        let own = Claimant::of(share);
        self.rivals_for(&own.name, share_id)
            .into_iter()
            // Who only observes takes nothing from anybody.
            .filter(|rival| !rival.observes)
            // An id belongs to one account: who writes another account's cannot take it.
            .filter(|rival| rival.account == own.account)
            .all(|rival| own.age() < rival.age())
    }

    /// Whether another object is bound to this remote share, or wants it by id.
    pub fn is_spoken_for(&self, share: &Name, share_id: &str) -> bool {
        self.rivals_for(share, share_id).iter().any(|rival| !rival.observes)
    }

    /// Whether of all objects that want a share of that name in that account the given one may have it: the one that
    /// has it already, else the oldest. An object that declares no recipients or no resources cannot be created, so it
    /// neither stands in the way of another one nor is refused on account of one.
    pub fn claims(&self, share: &Share) -> bool {
        let own = Claimant::of(share);
        if !self.has_something(&own) {
            return true;
        }
        self.rivals_of(share).iter().filter(|rival| self.has_something(rival)).all(|rival| own.rank() < rival.rank())
    }

    /// Another object that wants the share's name and does not get it, for a message.
    pub fn refused_rival(&self, share: &Share) -> Option<Name> {
        let made = |rival: &Claimant| !rival.share_ids.is_empty();
        self.rivals_of(share).iter().filter(|rival| !made(rival)).map(|rival| rival.name.clone()).min()
    }

    /// Whether there is something to claim a name with: a share, an announced create, or rows to create one from.
    fn has_something(&self, claimant: &Claimant) -> bool {
        if claimant.made || claimant.declares_rows {
            return true;
        }
        let Some(share) = self.shares.find(&claimant.name) else { return false };
        let declares = |kind: Kind| {
            let lives = |key: &ObjectKey| match key.kind {
                Kind::Share => false,
                Kind::ShareRecipient => self.recipients.find(&key.name).is_some_and(|child| {
                    child.spec.suspend != Some(true) && child.metadata.deletion_timestamp.is_none()
                }),
                Kind::ShareResource => self.resources.find(&key.name).is_some_and(|child| {
                    child.spec.suspend != Some(true) && child.metadata.deletion_timestamp.is_none()
                }),
            };
            self.children(&claimant.name).iter().any(|key| key.kind == kind && lives(key))
        };
        let recipients = share.spec.organization.is_some() || share.spec.recipients.iter().flatten().next().is_some();
        (recipients || declares(Kind::ShareRecipient))
            && (!share.spec.resources.is_empty() || declares(Kind::ShareResource))
    }

    /// The older object that stands in the way, for a message.
    pub fn rival(&self, share: &Share, share_id: Option<&str>) -> Option<Name> {
        let own = Name::of(share);
        let (watched, unwatched) = match share_id {
            Some(id) => (self.bound_to(id), self.unwatched.by_share_id(id)),
            None => {
                let claim = claim(share);
                (self.claimants(&claim.0, &claim.1), self.unwatched.by_claim(&claim))
            }
        };
        let unwatched = unwatched.iter().map(|claimant| claimant.name.clone());
        watched.into_iter().chain(unwatched).filter(|name| *name != own).min()
    }
}
