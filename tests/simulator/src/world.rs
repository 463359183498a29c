//! Which accounts, organizations and shares are there, and how did they look a moment ago?

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::answer::Refusal;
use crate::clock::{Clock, Micros, Stamp};
use crate::ids::Ids;
use crate::record::Record;
use crate::rules::{Delays, NotEntitled, Switches};
use crate::settings::PerAccount;
use crate::share::{Ends, Entitlement, Life, Share, TargetType};

/// The organization of every account of which nothing else was said.
const COMMON_ORGANIZATION: &str = "0c0ffee0c0ffee0c0ffee0c0ffee0c0f";

/// What is known of an account. By default every well-formed id is a known, entitled account
/// of the common organization.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    pub name: Option<String>,
    pub known: bool,
    pub entitled: bool,
    /// `None` (in JSON `null`): in no organization.
    pub organization: Option<String>,
    /// Source objects that the account does not have; it has all others.
    pub unknown_resources: HashSet<String>,
}

impl Default for Account {
    fn default() -> Self {
        Account {
            name: None,
            known: true,
            entitled: true,
            organization: Some(COMMON_ORGANIZATION.to_owned()),
            unknown_resources: HashSet::new(),
        }
    }
}

pub struct World {
    pub clock: Clock,
    pub ids: Ids,
    pub switches: PerAccount<Switches>,
    pub delays: PerAccount<Delays>,
    accounts: HashMap<String, Account>,
    organizations: HashMap<String, Vec<String>>,
    /// In the order of creation, which is the order of `created`.
    shares: Vec<Record>,
    by_id: HashMap<String, usize>,
    sent: HashMap<String, Vec<usize>>,
    received: HashMap<String, Vec<usize>>,
}

impl World {
    pub fn new(clock: Clock, ids: Ids, switches: Switches, delays: Delays) -> World {
        let members = (1..=3).map(|n| format!("{n:032x}")).collect();
        World {
            clock,
            ids,
            switches: PerAccount::new(switches),
            delays: PerAccount::new(delays),
            accounts: HashMap::new(),
            organizations: HashMap::from([(COMMON_ORGANIZATION.to_owned(), members)]),
            shares: Vec::new(),
            by_id: HashMap::new(),
            sent: HashMap::new(),
            received: HashMap::new(),
        }
    }

    pub fn account(&self, id: &str) -> Cow<'_, Account> {
        match self.accounts.get(id) {
            Some(account) => Cow::Borrowed(account),
            None => Cow::Owned(Account::default()),
        }
    }

    pub fn account_name(&self, id: &str) -> String {
        let named = self.accounts.get(id).and_then(|a| a.name.clone());
        named.unwrap_or_else(|| format!("Account {}", &id[..id.len().min(6)]))
    }

    /// By id.
    pub fn named_accounts(&self) -> Vec<(String, String)> {
        let named = self.accounts.iter().filter_map(|(id, account)| Some((id.clone(), account.name.clone()?)));
        let mut named: Vec<_> = named.collect();
        named.sort();
        named
    }

    pub fn set_account(&mut self, id: &str, account: Account) {
        self.accounts.insert(id.to_owned(), account);
        let now = self.clock.now();
        for index in self.received.get(id).cloned().unwrap_or_default() {
            let owner = self.shares[index].share.account_id.clone();
            let entitlement = self.entitlement(&owner, id);
            let due = now.saturating_add(millis(self.delays.of(&owner).associate_ms));
            self.change_at(index, now, |share| {
                let rows = share.recipients.iter_mut();
                for row in rows.filter(|row| row.account_id == id) {
                    if row.entitlement != entitlement && row.status.live() {
                        row.entitlement = entitlement;
                        row.due = Some(due);
                    }
                }
            });
        }
    }

    /// Of an account, for what this owner shares with it.
    pub fn entitlement(&self, owner: &str, account: &str) -> Entitlement {
        match (self.account(account).entitled, self.switches.of(owner).not_entitled) {
            (true, _) => Entitlement::Full,
            (false, NotEntitled::StaysAssociating) => Entitlement::Blocks,
            (false, NotEntitled::Associated) => Entitlement::Complains,
        }
    }

    pub fn members(&self, organization: &str) -> &[String] {
        let members = self.organizations.get(organization);
        members.map_or(&[], Vec::as_slice)
    }

    /// Sets who belongs to an organization. The shares that target it follow.
    pub fn set_members(&mut self, organization: &str, members: Vec<String>) {
        for id in self.members(organization).to_vec() {
            if !members.contains(&id) && organization != COMMON_ORGANIZATION {
                self.accounts.entry(id).or_default().organization = None;
            }
        }
        for id in &members {
            let account = self.accounts.entry(id.clone()).or_default();
            account.organization = Some(organization.to_owned());
        }
        self.organizations.insert(organization.to_owned(), members);
        self.follow_members(organization);
    }

    /// When changes that begin now will be complete, for an owner.
    pub fn ends(&self, owner: &str) -> Ends {
        let (now, delays) = (self.clock.now(), self.delays.of(owner));
        Ends {
            share: now.saturating_add(millis(delays.delete_share_ms)),
            row: now.saturating_add(millis(delays.disassociate_ms)),
            resource: now.saturating_add(millis(delays.delete_resource_ms)),
        }
    }

    pub fn association_end(&self, owner: &str) -> Micros {
        let delay = self.delays.of(owner).associate_ms;
        self.clock.now().saturating_add(millis(delay))
    }

    fn lag(&self, owner: &str) -> Micros {
        let switches = self.switches.of(owner);
        millis(Some(switches.list_lag_ms.max(switches.get_lag_ms)))
    }

    /// The moment that a read of an account sees; none is the present.
    pub fn moment(&self, account: &str, list: bool) -> Option<Micros> {
        let switches = self.switches.of(account);
        let lag = if list { switches.list_lag_ms } else { switches.get_lag_ms };
        (lag > 0).then(|| self.clock.now() - millis(Some(lag)))
    }

    /// Adds a share without recipients and resources.
    pub fn insert_empty(
        &mut self,
        account: &str,
        organization_id: String,
        name: String,
        target_type: TargetType,
    ) -> usize {
        let stamp = self.stamp();
        let share = Share {
            id: self.ids.id(),
            account_id: account.to_owned(),
            organization_id,
            name,
            target_type,
            status: Life::Active,
            word: None,
            unlisted: false,
            due: None,
            created: stamp.clone(),
            modified: stamp,
            recipients: Vec::new(),
            resources: Vec::new(),
            excluded: Vec::new(),
            tags: BTreeMap::new(),
            modified_moves: self.switches.of(account).modified_moves,
            next_due: Micros::MAX,
        };
        let index = self.shares.len();
        self.by_id.insert(share.id.clone(), index);
        let sent = self.sent.entry(share.account_id.clone());
        sent.or_default().push(index);
        self.shares.push(Record::new(share));
        index
    }

    /// Changes a share, and keeps what it was where reads lag.
    pub fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Share) -> R) -> R {
        self.change_at(index, self.clock.now(), change)
    }

    fn change_at<R>(&mut self, index: usize, now: Micros, change: impl FnOnce(&mut Share) -> R) -> R {
        let lag = self.lag(&self.shares[index].share.account_id);
        let record = &mut self.shares[index];
        record.settle(now, lag);
        record.keep(now, lag);
        let rows = record.share.recipients.len();
        let result = change(&mut record.share);
        record.share.reschedule();
        // A row may have been erased.
        for row in record.share.recipients.iter().skip(rows) {
            let received = self.received.entry(row.account_id.clone()).or_default();
            if received.last() != Some(&index) {
                received.push(index);
            }
        }
        result
    }

    /// Takes a share away without a trace.
    pub fn vanish(&mut self, index: usize) {
        self.shares[index].vanished = true;
    }

    pub fn reappear(&mut self, index: usize) {
        self.shares[index].vanished = false;
    }

    pub fn settle(&mut self, index: usize) {
        let now = self.clock.now();
        if now >= self.shares[index].share.next_due {
            let lag = self.lag(&self.shares[index].share.account_id);
            self.shares[index].settle(now, lag);
        }
    }

    /// The position of a share of this account, vanished or not.
    pub fn find(&self, account: &str, id: &str) -> Option<usize> {
        let index = *self.by_id.get(id)?;
        (self.shares[index].share.account_id == account).then_some(index)
    }

    pub fn find_any(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn share(&self, index: usize) -> &Share {
        &self.shares[index].share
    }

    pub fn is_vanished(&self, index: usize) -> bool {
        self.shares[index].vanished
    }

    pub fn share_at(&self, index: usize, moment: Option<Micros>) -> Option<&Share> {
        self.shares[index].at(moment)
    }

    pub fn sent(&self, account: &str) -> &[usize] {
        self.sent.get(account).map_or(&[], Vec::as_slice)
    }

    /// Shares in which the account has or had a row, each once, in the order of creation.
    pub fn received(&self, account: &str) -> Vec<usize> {
        let mut indices = self.received.get(account).cloned().unwrap_or_default();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    pub fn every(&self) -> std::ops::Range<usize> {
        0..self.shares.len()
    }

    /// Whether the account may receive from this owner.
    pub fn check_recipient(&self, owner: &str, id: &str) -> Result<(), Refusal> {
        let account = self.account(id);
        if !account.known {
            return Err(Refusal::bad(format!("unknown account {id}")));
        }
        if account.organization.is_none() || account.organization != self.account(owner).organization {
            let text = format!("account {id} is not in the organization of the share's owner");
            return Err(Refusal::bad(text));
        }
        Ok(())
    }

    pub fn stamp(&mut self) -> Stamp {
        self.clock.stamp()
    }

    /// Whether no change is under way in what an account shares.
    pub fn quiet(&mut self, account: &str) -> bool {
        let now = self.clock.now();
        self.sent(account).iter().all(|index| {
            let share = self.share(*index);
            let over = |due: Micros| due <= now || due == Micros::MAX;
            share.due.is_none_or(over)
                && share.resources.iter().all(|r| r.due.is_none_or(over))
                && share.recipients.iter().all(|row| row.due.is_none_or(over))
        })
    }
}

/// A delay in microseconds; never is later than any moment.
pub fn millis(delay: Option<u64>) -> Micros {
    let delay = delay.and_then(|ms| i64::try_from(ms).ok());
    delay.map_or(Micros::MAX, |ms| ms.saturating_mul(1000))
}
