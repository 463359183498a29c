//! May a call that changes something start now?

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::core::id::AccountId;
use crate::operator::cluster::leadership::Leadership;
use crate::operator::stop::Stop;

pub struct WriteGate {
    pub leadership: Leadership,
    pub shutdown: CancellationToken,
    /// Longest that one call takes.
    pub call_timeout: Duration,
}

impl WriteGate {
    /// Whether a call that changes something in the account may start now and end in time.
    pub fn may_write(&self, account: &AccountId) -> Result<(), Stop> {
        if self.shutdown.is_cancelled() || !self.leadership.lasts(account.as_str(), self.call_timeout) {
            return Err(Stop::Stopping);
        }
        Ok(())
    }
}
