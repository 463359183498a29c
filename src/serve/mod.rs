//! What the process shows of itself: health, metrics, logs.

pub mod admin;
pub mod logs;
pub mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the process can do its work: the first lists are complete, or it stands by for the lease.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

const STARTING: u8 = 0;
const STANDING_BY: u8 = 1;
const READY: u8 = 2;

impl Readiness {
    pub fn stand_by(&self) {
        let _ = self.0.compare_exchange(STARTING, STANDING_BY, Ordering::AcqRel, Ordering::Acquire);
    }

    pub fn ready(&self) {
        self.0.store(READY, Ordering::Release);
    }

    /// All lists are complete.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    /// Ready, or standing by: a rollout may go on.
    pub fn is_fine(&self) -> bool {
        self.0.load(Ordering::Acquire) != STARTING
    }
}
