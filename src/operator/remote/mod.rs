//! What does Cloudflare have: read, kept, written, within one limit?

pub mod account;
pub mod account_cache;
pub mod accounts;
pub mod call_log;
pub mod credentials;
pub mod limiters;
pub mod observed_rows;
pub mod observed_share;
pub mod pages;
pub mod recipients;
#[cfg(test)]
pub mod samples;
mod secret;
pub mod session;
pub mod sweep;
pub mod writer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use crate::cloudflare::Client;
use crate::core::id::AccountId;
use crate::operator::clock::Clock;
use crate::operator::cluster::leadership::Leadership;
use crate::operator::stop::Stop;
use crate::serve::metrics::Metrics;
use crate::serve::traces::Traces;
use accounts::Accounts;
use credentials::Credentials;
use limiters::Limiters;

/// Cloudflare, as far as it was read, and the only way to it.
pub struct Remote {
    pub settings: Settings,
    pub clock: Clock,
    pub client: Client,
    pub accounts: Accounts,
    pub limiters: Limiters,
    pub credentials: Credentials,
    pub leadership: Leadership,
    pub shutdown: CancellationToken,
    pub metrics: Arc<Metrics>,
    pub traces: Traces,
}

impl Remote {
    /// Whether a call that changes something in the account may start now and end in time.
    pub fn may_write(&self, account: &AccountId) -> Result<(), Stop> {
        if self.shutdown.is_cancelled() || !self.leadership.lasts(account.as_str(), self.settings.call_timeout) {
            return Err(Stop::Stopping);
        }
        Ok(())
    }
}
