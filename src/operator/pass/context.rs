//! All that passes share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::notes::Notebook;
use crate::cloudflare::{Client, Fingerprint};
use crate::core::deletions::MaxDeletions;
use crate::core::id::AccountId;
use crate::core::pace::Class;
use crate::core::time::At;
use crate::operator::clock::Clock;
use crate::operator::cluster::events::Events;
use crate::operator::cluster::leader::Leadership;
use crate::operator::cluster::objects::Objects;
use crate::operator::cluster::outside::Outside;
use crate::operator::cluster::record::Records;
use crate::operator::cluster::wakes::Wakes;
use crate::operator::key::ObjectKey;
use crate::operator::remote::access::{Access, Stop};
use crate::operator::remote::account::Account;
use crate::operator::remote::budget::{Budgets, Caller, Turn};
use crate::operator::remote::credentials::{Credentials, Known};
use crate::operator::remote::sweep;
use crate::serve::metrics::Metrics;

/// How far apart objects tell what many have to tell at once.
const TELLING: Duration = Duration::from_millis(50);
/// The longest that one of them waits for that.
const MAX_TURN: Duration = Duration::from_secs(600);

/// What the installer decided.
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
    pub fn settled(&self) -> Duration {
        self.settle_time + self.patience() + Duration::from_secs(2)
    }

    /// For how long a read may lag behind a write, and how long a missing share must stay missing.
    pub fn patience(&self) -> Duration {
        self.settle_time / 4
    }

    /// Whether a read that began then may not show yet what was there at that time.
    pub fn may_lag(&self, read: At, behind: At) -> bool {
        read.since(behind) < self.patience()
    }
}

pub struct Context {
    pub settings: Settings,
    pub clock: Clock,
    pub started: At,
    pub client: Client,
    pub objects: Objects,
    pub outside: Outside,
    pub records: Records,
    pub budgets: Budgets,
    pub credentials: Credentials,
    pub wakes: Arc<Wakes>,
    pub notebook: Notebook,
    pub leadership: Leadership,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    pub stopping: AtomicBool,
    pub accounts: Mutex<HashMap<(Fingerprint, AccountId), Arc<Account>>>,
    /// Deletions of shares that this process recorded; held while one is decided on.
    pub deletions: tokio::sync::Mutex<crate::operator::share::Recorded>,
    /// When the next object may tell what many have to tell at once.
    pub turns: Mutex<At>,
    /// One at a time works on a remote share: its object and its children.
    pub gates: Mutex<HashMap<crate::operator::key::Name, Arc<tokio::sync::Mutex<()>>>>,
}

impl Context {
    /// The account as that credential sees it; its sweep begins with the first use.
    pub fn account(self: &Arc<Self>, known: &Known, id: &AccountId) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let budget = self.budgets.of(known.fingerprint);
            let account = Arc::new(Account::new(id.clone(), known.clone(), budget, self.metrics.clone()));
            tokio::spawn(sweep::run(self.clone(), account.clone()));
            account
        };
        accounts.entry((known.fingerprint, id.clone())).or_insert_with(start).clone()
    }

    /// Drops an account that no object uses any more.
    pub fn drop_account(&self, account: &Account) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.remove(&(account.fingerprint, account.id.clone()));
    }

    /// When an object may tell what many have to tell at once: so the API server is not flooded.
    pub fn turn(&self, now: At) -> At {
        let mut next = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).clamp(now, now.plus(MAX_TURN));
        *next = turn.plus(TELLING);
        turn
    }

    /// The object is gone: nobody follows it any more.
    pub fn unfollow(&self, object: &ObjectKey) {
        for account in self.accounts.lock().unwrap_or_else(PoisonError::into_inner).values() {
            account.unfollow(object);
        }
    }

    pub fn access(self: &Arc<Self>, known: &Known, account: &AccountId, object: &ObjectKey, class: Class) -> Access {
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

    /// Whether a call that changes something may start now and end in time.
    pub fn may_write(&self) -> Result<(), Stop> {
        if self.stopping.load(Ordering::Relaxed) || !self.leadership.lasts(self.settings.call_timeout) {
            return Err(Stop::Stopping);
        }
        Ok(())
    }

    pub fn gate(&self, share: &crate::operator::key::Name) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() > 1024 {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        gates.entry(share.clone()).or_default().clone()
    }
}
