//! How do replicas divide the shards among themselves, as far as this one knows and does its part?
//!
//! Each replica that could do the work renews an entry of its own in an annotation of the common Lease. An entry that
//! does not change for a whole duration, by our own clock, is of a replica that has ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::leadership::Term;
use crate::core::shard::Division;
use crate::serve::Health;

/// Annotation of the common Lease.
pub const REPLICAS: &str = "cfshare.dev/replicas";

pub struct Partition {
    pub shards: u16,
    /// The common Lease.
    pub common: Term,
    /// One of the shards' Leases is taken at a time, so that what this replica holds is counted right.
    pub taking: tokio::sync::Mutex<()>,
    /// This replica took a shard.
    pub moved: Notify,
    given_back: Notify,
    identity: String,
    lasts: Duration,
    health: Health,
    held: Mutex<BTreeSet<u16>>,
    /// Each to be given back when its token is cancelled.
    returning: Mutex<HashMap<u16, CancellationToken>>,
    replicas: Mutex<Replicas>,
}

/// The entries of all replicas, and since when they have been as they are.
#[derive(Default)]
struct Replicas {
    seen: HashMap<String, (i64, Instant)>,
    /// This one is among them.
    announced: bool,
}

impl Partition {
    pub fn new(shards: u16, identity: &str, lasts: Duration, health: Health) -> Partition {
        Partition {
            shards,
            common: Term::default(),
            taking: tokio::sync::Mutex::default(),
            moved: Notify::new(),
            given_back: Notify::new(),
            identity: identity.to_owned(),
            lasts,
            health,
            held: Mutex::default(),
            returning: Mutex::default(),
            replicas: Mutex::default(),
        }
    }

    /// Whether this replica could do the work.
    fn is_able(&self) -> bool {
        self.health.ask(|health, now| health.ready(now).is_ok())
    }

    pub fn division(&self) -> Division {
        let able = self.is_able();
        let others = self.replicas.lock().seen.keys().filter(|name| **name != self.identity).count();
        Division { shards: self.shards, replicas: others + usize::from(able), able, held: self.held.lock().len() }
    }

    pub fn took(&self, shard: u16) {
        if self.held.lock().insert(shard) {
            self.moved.notify_one();
        }
    }

    pub fn released(&self, shard: u16) {
        self.held.lock().remove(&shard);
        self.returning.lock().remove(&shard);
        self.given_back.notify_one();
    }

    pub fn held(&self) -> Vec<u16> {
        self.held.lock().iter().copied().collect()
    }

    /// Nothing is under way in the shard any more: its Lease is given back. Until it is.
    pub async fn give_back(&self, shard: u16) {
        self.returning(shard).cancel();
        while self.held.lock().contains(&shard) {
            self.given_back.notified().await;
        }
    }

    /// Cancelled when the shard's Lease is to be given back.
    pub fn returning(&self, shard: u16) -> CancellationToken {
        self.returning.lock().entry(shard).or_default().clone()
    }

    /// What the annotation is to say after what it says, at a time in seconds.
    pub fn announcement(&self, before: Option<&str>, now: i64) -> Option<String> {
        let able = self.is_able();
        let mut replicas = self.replicas.lock();
        let entries = replicas.merged(before, self.lasts, Instant::now());
        let mut entries: BTreeMap<&str, i64> = entries.iter().map(|(name, time)| (name.as_str(), *time)).collect();
        match able {
            true => drop(entries.insert(&self.identity, now)),
            false => drop(entries.remove(self.identity.as_str())),
        }
        let text = serde_json::to_string(&entries).ok();
        replicas.announced = able;
        text
    }

    /// What the annotation is to say when this replica ends.
    pub fn withdrawal(&self, before: Option<&str>) -> Option<String> {
        let mut entries = parse(before);
        entries.remove(&self.identity)?;
        serde_json::to_string(&entries).ok()
    }

    /// Whether the annotation says of this replica what is true.
    pub fn is_announced(&self) -> bool {
        let able = self.is_able();
        self.replicas.lock().announced == able
    }
}

impl Replicas {
    /// The entries of those that have not ended.
    fn merged(&mut self, annotation: Option<&str>, lasts: Duration, now: Instant) -> BTreeMap<String, i64> {
        let mut entries = parse(annotation);
        self.seen.retain(|name, _| entries.contains_key(name));
        for (name, time) in &entries {
            let seen = self.seen.entry(name.clone()).or_insert((*time, now));
            if seen.0 != *time {
                *seen = (*time, now);
            }
        }
        self.seen.retain(|_, (_, since)| now.duration_since(*since) <= lasts);
        entries.retain(|name, _| self.seen.contains_key(name));
        entries
    }
}

fn parse(annotation: Option<&str>) -> BTreeMap<String, i64> {
    annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_counts_until_its_entry_has_not_changed_for_a_whole_lease() {
        let (mut replicas, lasts, start) = (Replicas::default(), Duration::from_secs(60), Instant::now());
        let mut names = |annotation: &str, after: u64| {
            let merged = replicas.merged(Some(annotation), lasts, start + Duration::from_secs(after));
            merged.into_keys().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(r#"{"a":1,"b":1}"#, 0), "a b");
        assert_eq!(names(r#"{"a":2,"b":1}"#, 50), "a b");
        assert_eq!(names(r#"{"a":3,"b":1}"#, 61), "a", "whatever the wall clock of the other says");
        assert_eq!(names(r#"{"a":3}"#, 70), "a");
        assert_eq!(names(r#"{"a":3,"b":9}"#, 80), "a b", "it is back");
        assert_eq!(names("no JSON", 80), "");
    }
}
