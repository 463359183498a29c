//! What does Cloudflare have: read, kept, written, within one limit?

pub mod access;
pub mod account;
pub mod accounts;
pub mod apply;
pub mod budget;
pub mod credentials;
pub mod pages;
pub mod seen;
pub mod sweep;
pub mod view;
pub mod write_gate;

use std::sync::Arc;
use std::time::Duration;

use super::settings::Settings;
use crate::api::ObjectKey;
use crate::cloudflare::Client;
use crate::core::id::AccountId;
use crate::core::pace::Class;
use crate::operator::clock::Clock;
use crate::serve::metrics::Metrics;
use access::Access;
use account::Account;
use accounts::Accounts;
use budget::{Budgets, Caller, Turn};
use credentials::{Credentials, Known};
use write_gate::WriteGate;

/// Cloudflare, as far as it was read, and the only way to it.
pub struct Remote {
    pub settings: Settings,
    pub clock: Clock,
    pub client: Client,
    pub accounts: Accounts,
    pub budgets: Budgets,
    pub credentials: Credentials,
    pub gate: WriteGate,
    pub metrics: Arc<Metrics>,
}

impl Remote {
    /// The account as that credential sees it; its sweeps begin with the first use.
    pub fn account(&self, known: &Known, id: &AccountId) -> Arc<Account> {
        self.accounts.open(&self.budgets, known, id, self.clock.now())
    }

    /// The account, for one pass over an object.
    pub fn access(&self, known: &Known, account: &AccountId, object: &ObjectKey, class: Class) -> Access {
        Access {
            client: self.client.clone(),
            credential: known.credential.clone(),
            account: self.account(known, account),
            clock: self.clock,
            turn: Turn { caller: Caller::Object(object.clone()), namespace: object.name.namespace.clone(), class },
            grace: self.settings.patience(),
            look_gap: Duration::from_secs_f64(3.0 / self.settings.calls_per_second),
            made: Default::default(),
        }
    }
}
