//! Accounts as the credentials of Shares show them, each listed once.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::credentials::Remotes;
use super::remote::{ReadShare, Remote, advice, explained_of};
use crate::api;
use crate::cloudflare::{Error, ErrorClass, Fingerprint, Share};
use crate::core::id::{AccountId, ShareId};

/// After so many failures in a row, what is left of an account is not tried any more.
const GIVE_UP: u32 = 3;

pub struct Survey<'a> {
    remotes: Remotes<'a>,
    /// Those that were listed, or what to say of those that could not be.
    accounts: HashMap<View, Result<Rc<Account>, String>>,
}

/// An account, as the credential of this fingerprint sees it.
pub type View = (AccountId, Fingerprint);

pub struct Account {
    pub remote: Arc<Remote>,
    pub id: AccountId,
    /// When the list was begun.
    pub began: Timestamp,
    /// All live shares that it sends.
    pub shares: Vec<Share>,
    /// How often Cloudflare has refused to be read, or was not reached, since it last was.
    failures: Cell<u32>,
}

impl<'a> Survey<'a> {
    pub fn new(remotes: Remotes<'a>) -> Survey<'a> {
        Survey { remotes, accounts: HashMap::new() }
    }

    /// The Share's account, listed the first time that the same credential is asked for it.
    pub async fn account(&mut self, share: &api::Share) -> anyhow::Result<Rc<Account>> {
        let remote = self.remotes.of(share).await?;
        let id = AccountId::parse(&share.spec.account_id)?;
        let view = (id.clone(), remote.fingerprint());
        let listed = match self.accounts.get(&view) {
            Some(listed) => listed.clone(),
            None => {
                let began = Timestamp::now();
                let listed = remote.shares(&id).await.map_err(|error| advice(&error));
                let account = |shares| Rc::new(Account { remote, id, began, shares, failures: Cell::new(0) });
                self.accounts.entry(view).insert_entry(listed.map(account)).get().clone()
            }
        };
        listed.map_err(anyhow::Error::msg)
    }
}

impl Account {
    pub fn view(&self) -> View {
        (self.id.clone(), self.remote.fingerprint())
    }

    /// One share; the list need not show it. `None`: Cloudflare says that it does not exist.
    pub async fn share(&self, id: &ShareId) -> anyhow::Result<Option<Share>> {
        match self.shares.iter().find(|share| share.id == *id) {
            Some(share) => Ok(Some(share.clone())),
            None => {
                let read = async { self.remote.share(&self.id, id).await.map_err(|error| explained_of(id, error)) };
                self.ask(id, read).await
            }
        }
    }

    /// A share of the account, with its rows.
    pub async fn read(&self, share: Share) -> anyhow::Result<ReadShare> {
        let id = share.id.clone();
        let read = self.ask(&id, self.remote.read_for_show(&self.id, share)).await?;
        Ok(ReadShare { at: self.began, ..read })
    }

    /// What is read of one share; an error where the account cannot be read: each try may take minutes.
    pub async fn ask<T>(&self, id: &ShareId, read: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let failures = self.failures.get();
        anyhow::ensure!(
            failures < GIVE_UP,
            "share {id}: not read, because the {GIVE_UP} reads of this account before it failed"
        );
        let outcome = read.await;
        let class = outcome.as_ref().err().and_then(|error| error.downcast_ref::<Error>()).map(Error::class);
        self.failures.set(match class {
            Some(ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied) => failures + 1,
            // It is about one share.
            Some(ErrorClass::Conflict | ErrorClass::Gone | ErrorClass::Rejected) | None => 0,
        });
        outcome
    }
}
