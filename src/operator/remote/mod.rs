//! What does Cloudflare have: read, kept, written, within one limit?

pub mod account;
pub mod account_cache;
pub mod accounts;
pub mod call_log;
pub mod credentials;
pub mod followed;
pub mod limiters;
pub mod observed_share;
pub mod pages;
pub mod session;
pub mod sweep;
pub mod write_gate;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use super::settings::Settings;
use crate::api::ObjectKey;
use crate::cloudflare::Client;
use crate::core::id::AccountId;
use crate::core::limiter::Priority;
use crate::operator::clock::Clock;
use crate::serve::metrics::Metrics;
use crate::serve::traces::Traces;
use account::Account;
use accounts::Accounts;
use call_log::CallLog;
use credentials::{Credentials, ResolvedCredential};
use limiters::{Caller, Limiters, Requester};
use session::Session;
use write_gate::WriteGate;

/// Cloudflare, as far as it was read, and the only way to it.
pub struct Remote {
    pub settings: Settings,
    pub clock: Clock,
    pub client: Client,
    pub accounts: Accounts,
    pub limiters: Limiters,
    pub credentials: Credentials,
    pub gate: WriteGate,
    pub metrics: Arc<Metrics>,
    pub traces: Traces,
}

impl Remote {
    /// The account as that credential sees it; its sweeps begin with the first use.
    pub fn account(&self, credential: &ResolvedCredential, id: &AccountId) -> Arc<Account> {
        self.accounts.open(&self.limiters, credential, id, self.clock.now())
    }

    /// The account, for one pass over an object.
    pub fn session(
        &self,
        credential: &ResolvedCredential,
        account: &AccountId,
        object: &ObjectKey,
        priority: Priority,
        calls: Arc<CallLog>,
    ) -> Session {
        Session {
            client: self.client.clone(),
            credential: credential.credential.clone(),
            account: self.account(credential, account),
            clock: self.clock,
            requester: Requester {
                caller: Caller::Object(object.clone()),
                namespace: object.name.namespace.to_string(),
                priority,
            },
            read_lag: self.settings.read_lag(),
            look_gap: Duration::from_secs_f64(3.0 / self.settings.calls_per_second),
            made: Default::default(),
            calls,
        }
    }
}
