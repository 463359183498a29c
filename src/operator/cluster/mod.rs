//! What does Kubernetes have: watched, indexed, written, requeued?

pub mod asked;
pub mod claimant;
pub mod claims;
pub mod current;
pub mod events;
pub mod feed;
pub mod guarded;
pub mod index;
pub mod intake;
pub mod leader;
pub mod leadership;
pub mod listwatch;
pub mod object_cache;
pub mod outside;
pub mod partition;
pub mod reconciled;
pub mod relations;
pub mod requests;
pub mod revoked;
#[cfg(test)]
pub mod samples;
pub mod selector;
pub mod served;
pub mod sweeps;
pub mod trouble;
pub mod watches;
pub mod work_queue;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::{ChildObject, Name, ObjectKey, Share};
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::operator::clock::Clock;
use crate::operator::stop::Stop;
use current::Answers;
use events::Events;
use index::Index;
use outside::Outside;
use reconciled::Reconciled;
use served::ServedShards;
use work_queue::Requeuer;

/// The objects of the cluster, and all that is done to them.
pub struct Cluster {
    pub clock: Clock,
    pub index: Index,
    pub outside: Outside,
    pub kube: kube::Client,
    pub events: Events,
    pub requeuer: Arc<Requeuer>,
    pub shards: ServedShards,
    /// What the API server had a moment ago.
    pub answers: Answers,
}

impl Cluster {
    /// Whether this process works on objects of that account: all others are only looked at.
    pub fn works_on(&self, account: impl FnOnce() -> Option<Interned>) -> bool {
        !self.shards.are_many() || self.shards.is_served(self.shard_of(account().as_deref()))
    }

    /// Whether the Share of a child object exists, past every cache; one that cannot be read is as good as none.
    pub async fn has_parent<K: Reconciled>(&self, object: &K) -> Result<bool, Stop> {
        match object.as_child().map(ChildObject::share).filter(|share| !self.index.shares.is_unreadable(share)) {
            Some(share) => self.exists::<Share>(&share).await,
            None => Ok(false),
        }
    }

    /// The shard that objects of that account belong to. A child object without an account is looked after by the first.
    pub fn shard_of(&self, account: Option<&str>) -> u16 {
        account.map_or(0, |account| self.shards.shard_of(account))
    }

    /// The API server refused a write for its version again and again, and the watch brings no other one.
    pub fn distrust<K: Reconciled>(&self, object: &K) {
        let name = Name::of(object);
        // It may be of a history that a restore of etcd took back.
        K::cache(&self.index).disbelieve_own_write(&name);
        if self.shards.list_again(self.clock.now()) {
            tracing::warn!(object = %K::key(name), "the watch does not bring what the API server has; listing everything again");
        }
    }

    /// Requeues a Share and its child objects.
    pub fn requeue_family(&self, share: &Name) {
        self.family(share).for_each(|key| self.requeuer.requeue(&key));
    }

    /// Requeues the Shares that want one of these names in an account, which are free again or were given to a share.
    pub fn requeue_claimants(&self, account: &AccountId, freed: &HashSet<String>) {
        for share in freed.iter().flat_map(|name| self.index.claimants(account.as_str(), name)) {
            self.requeuer.requeue(&ObjectKey::share(share));
        }
    }

    pub fn requeue_account(&self, account: &AccountId) {
        for share in self.index.of_account(account.as_str()) {
            self.family(&share).for_each(|key| self.requeuer.requeue_later(&key));
        }
        self.index.orphans_in(account.as_str()).iter().for_each(|key| self.requeuer.requeue_later(key));
    }

    fn family(&self, share: &Name) -> impl Iterator<Item = ObjectKey> {
        std::iter::once(ObjectKey::share(share.clone())).chain(self.index.children(share))
    }
}
