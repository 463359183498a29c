//! The health of this process, as its parts note it and its endpoints tell it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::api::Kind;
use crate::core::health;
use crate::core::time::At;

#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<health::Health<Kind>>>,
    changed: Arc<Notify>,
    /// Times are counted from here, whatever becomes of the wall clock.
    origin: Instant,
}

impl Default for Health {
    fn default() -> Health {
        Health { state: Arc::default(), changed: Arc::default(), origin: Instant::now() }
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, health::Health<Kind>> {
        self.state.lock()
    }

    fn now(&self) -> At {
        At(i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Takes note of something.
    pub fn note(&self, what: impl FnOnce(&mut health::Health<Kind>, At)) {
        what(&mut self.state(), self.now());
        self.changed.notify_one();
    }

    pub fn ask<T>(&self, what: impl FnOnce(&mut health::Health<Kind>, At) -> T) -> T {
        what(&mut self.state(), self.now())
    }

    /// Until something was noted, or so much time has passed.
    pub async fn changed(&self, within: Duration) {
        let _ = tokio::time::timeout(within, self.changed.notified()).await;
    }

    /// A loop of the operator's own made progress.
    pub fn beat(&self, name: &str) {
        let now = self.now();
        self.state().beat(name, now);
    }
}
