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

/// Statuses that tell of a fault of a whole credential are written so far apart.
const STATUS_GAP: Duration = Duration::from_millis(50);
/// Longest that one of them waits for its turn.
const MAX_STATUS_WAIT: Duration = Duration::from_secs(600);
/// At most so many Events a minute, of all objects, say what the API server refuses: where it refuses everything, a few do.
const MAX_REFUSALS_REPORTED: usize = 6;
/// How long after one warning of a namespace that is missing the next one follows.
const NAMESPACE_WARNED_FOR: Duration = Duration::from_secs(60);

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
    /// When the next object may write a status that many write at once.
    pub next_shared_status: Mutex<At>,
    /// When Events said lately what the API server refuses.
    pub refusals_reported: Mutex<Quota>,
    /// Namespaces that do not exist though objects of them do, and when the log said so.
    pub namespaces_warned_of: Mutex<HashMap<String, At>>,
    pub share_locks: Arc<ShareLocks>,
}

impl Context {
    /// When an object may write a status that many write at once, so that the API server is not flooded.
    pub fn status_slot(&self, now: At) -> At {
        let mut next = self.next_shared_status.lock();
        let slot = (*next).clamp(now, now.plus(MAX_STATUS_WAIT));
        *next = slot.plus(STATUS_GAP);
        slot
    }

    /// Whether one more Event may tell what the API server refuses.
    pub fn may_report_refusal(&self, now: At) -> bool {
        self.refusals_reported.lock().take(now, MAX_REFUSALS_REPORTED, Duration::from_secs(60))
    }

    /// Says in the log that objects of a namespace exist and the namespace does not: once, however many they are, and again
    /// while it lasts.
    pub fn warn_of_namespace(&self, namespace: &str, now: At) {
        let mut warned = self.namespaces_warned_of.lock();
        warned.retain(|_, at| now.since(*at) < NAMESPACE_WARNED_FOR);
        if warned.contains_key(namespace) {
            return;
        }
        warned.insert(namespace.to_owned(), now);
        tracing::warn!(
            "namespace {namespace} does not exist any more, but objects of it do: create it again, with its Secret"
        );
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
