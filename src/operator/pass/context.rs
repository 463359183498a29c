//! All that passes share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::memory::{Memories, Quota};
use super::share_locks::ShareLocks;
use crate::api::ObjectKey;
use crate::core::deletions::DeletionLog;
use crate::core::id::folded;
use crate::core::time::At;
use crate::operator::clock::Clock;
use crate::operator::cluster::Cluster;
use crate::operator::remote::Remote;
use crate::operator::settings::Settings;
use crate::serve::metrics::Metrics;

/// Events that many objects publish at once are this far apart.
const EVENT_GAP: Duration = Duration::from_millis(50);
/// Longest that one of them waits for its turn.
const MAX_SLOT: Duration = Duration::from_secs(600);
/// At most so many Events a minute, of all objects, say what the API server refuses: where it refuses everything, a few do.
const MAX_REFUSALS_REPORTED: usize = 6;

pub struct Context {
    pub settings: Settings,
    pub clock: Clock,
    pub cluster: Arc<Cluster>,
    pub remote: Arc<Remote>,
    pub memories: Memories,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
    /// Deletions of shares, by account; held while one is decided on.
    pub deletions: Mutex<HashMap<String, Arc<tokio::sync::Mutex<DeletionLog>>>>,
    /// When the next object may publish an Event that many publish at once.
    pub event_slots: Mutex<At>,
    /// When Events said lately what the API server refuses.
    pub refusals_reported: Mutex<Quota>,
    pub share_locks: Arc<ShareLocks>,
}

impl Context {
    /// When an object may publish an Event that many publish at once, so that the API server is not flooded.
    pub fn event_slot(&self, now: At) -> At {
        let mut next = self.event_slots.lock();
        let slot = (*next).clamp(now, now.plus(MAX_SLOT));
        *next = slot.plus(EVENT_GAP);
        slot
    }

    /// Whether one more Event may tell what the API server refuses.
    pub fn may_report_refusal(&self, now: At) -> bool {
        self.refusals_reported.lock().take(now, MAX_REFUSALS_REPORTED, Duration::from_secs(60))
    }

    /// The deletions of an account, which are decided on one after the other.
    pub fn deletions_of(&self, account: &str) -> Arc<tokio::sync::Mutex<DeletionLog>> {
        self.deletions.lock().entry(folded(account).into_owned()).or_default().clone()
    }

    /// The object is gone: nothing is remembered of it, and nobody follows it.
    pub fn forget(&self, object: &ObjectKey) {
        self.memories.forget(object);
        self.remote.accounts.unfollow(object);
    }
}
