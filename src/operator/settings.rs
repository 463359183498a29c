//! What the installer decided.

use std::time::Duration;

use crate::core::deletions::MaxDeletions;
use crate::core::time::At;

#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub sweep_interval: Duration,
    pub poll_min: Duration,
    pub poll_max: Duration,
    /// After this time a call that was sent cannot take effect any more.
    pub settle_time: Duration,
    pub read_only: bool,
    /// Namespaces in which shares may target an organization.
    pub organization_shares: Vec<String>,
    /// How many shares of an account are deleted within 10 minutes without a person's confirmation.
    pub max_deletions: MaxDeletions,
    pub calls_per_second: f64,
    /// Longest that one call to Cloudflare takes.
    pub call_timeout: Duration,
}

impl Settings {
    /// After so long an announced call that was not answered has settled, and reads show what it did.
    pub fn settled_after(&self) -> Duration {
        self.settle_time + self.read_lag() + Duration::from_secs(2)
    }

    /// For how long a read may lag behind a write, and how long a missing share must stay missing.
    pub fn read_lag(&self) -> Duration {
        self.settle_time / 4
    }

    /// How long refusals, or an account that cannot be read, may be a passing failure.
    pub fn passing_time(&self) -> Duration {
        self.settle_time / 2
    }

    /// After so long without a change, what was on its way counts as stuck.
    pub fn stuck_after(&self) -> Duration {
        self.passing_time() * 5
    }

    /// Whether a read that began then may not show yet what was there at that time.
    pub fn may_lag(&self, read: At, behind: At) -> bool {
        read.since(behind) < self.read_lag()
    }
}
