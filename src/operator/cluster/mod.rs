//! What does Kubernetes have: watched, indexed, written, requeued?

pub mod asked;
pub mod claimant;
pub mod claims;
pub mod events;
pub mod index;
pub mod leader;
mod listwatch;
pub mod object_cache;
pub mod outside;
pub mod record;
pub mod requeuer;
pub mod revoked;
pub mod sweeps;
pub mod trouble;
pub mod watch;

use std::sync::Arc;

use crate::api::{Name, Share};
use crate::core::id::AccountId;
use crate::operator::clock::Clock;
use events::Events;
use index::{Index, Related};
use outside::Outside;
use record::Records;
use requeuer::Requeuer;

/// The objects of the cluster, and all that is done to them.
pub struct Cluster {
    pub clock: Clock,
    pub index: Index,
    pub outside: Outside,
    pub writer: Records,
    pub events: Events,
    pub requeuer: Arc<Requeuer>,
}

impl Cluster {
    /// Requeues a Share and its child objects.
    pub fn requeue_family(&self, share: &Name) {
        self.requeuer.requeue(&Share::key(share.clone()));
        for child in self.index.children(share) {
            self.requeuer.requeue(&child);
        }
    }

    /// Requeues all objects of an account.
    pub fn requeue_account(&self, account: &AccountId) {
        for share in self.index.of_account(account.as_str()) {
            self.requeue_family(&share);
        }
    }
}
