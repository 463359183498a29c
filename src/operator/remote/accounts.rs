//! Which accounts are in use, each as one credential sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::account::Account;
use super::credentials::ResolvedCredential;
use super::limiters::Limiters;
use crate::api::ObjectKey;
use crate::cloudflare::Fingerprint;
use crate::core::id::AccountId;
use crate::core::sweep_interval::sweep_interval;
use crate::core::time::At;

pub struct Accounts {
    sweep_interval: Duration,
    accounts: Mutex<HashMap<(Fingerprint, AccountId), Arc<Account>>>,
    /// Takes each account when it is first used: the receiver starts its sweeps.
    opened: mpsc::UnboundedSender<Arc<Account>>,
}

impl Accounts {
    /// `sweep_interval`: how often the shares of each are to be listed.
    pub fn new(sweep_interval: Duration) -> (Accounts, mpsc::UnboundedReceiver<Arc<Account>>) {
        let (opened, receiver) = mpsc::unbounded_channel();
        (Accounts { sweep_interval, accounts: Mutex::default(), opened }, receiver)
    }

    pub fn open(&self, limiters: &Limiters, credential: &ResolvedCredential, id: &AccountId, now: At) -> Arc<Account> {
        let open = || {
            let limiter = limiters.of(credential.fingerprint());
            let account = Arc::new(Account::new(id.clone(), credential, limiter, self.sweep_interval, now));
            // Nobody receives any more only while the process ends.
            let _ = self.opened.send(account.clone());
            account
        };
        self.accounts.lock().entry((credential.fingerprint(), id.clone())).or_insert_with(open).clone()
    }

    /// Drops an account that no object uses any more.
    pub fn close(&self, account: &Account) {
        self.accounts.lock().remove(&(account.fingerprint, account.id.clone()));
    }

    /// Whether the account is still in use, and not another one of the same name and credential.
    pub fn is_open(&self, account: &Arc<Account>) -> bool {
        let accounts = self.accounts.lock();
        accounts.get(&(account.fingerprint, account.id.clone())).is_some_and(|open| Arc::ptr_eq(open, account))
    }

    /// Updates how often the account is listed. That depends on all accounts with the same credential, which grow and
    /// shrink.
    pub fn update_sweep_interval(&self, account: &Account) -> Duration {
        let all: Vec<usize> = self.alike(account).map(|other| other.pages()).collect();
        let per_second = account.limiter.per_second();
        let interval = sweep_interval(self.sweep_interval, account.pages(), &all, per_second);
        account.note_sweep_interval(interval);
        interval
    }

    /// All accounts that are read with the same credential, this one among them.
    pub fn alike(&self, account: &Account) -> impl Iterator<Item = Arc<Account>> {
        let credential = account.fingerprint;
        self.all().into_iter().filter(move |other| other.fingerprint == credential)
    }

    /// The object is gone: nobody follows it any more.
    pub fn unfollow(&self, object: &ObjectKey) {
        for account in self.accounts.lock().values() {
            account.unfollow(object);
        }
    }

    pub fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.lock().values().cloned().collect()
    }
}
