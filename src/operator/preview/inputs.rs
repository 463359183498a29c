//! Objects and an account as they were read, for a plan.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{Share, ShareRecipient, ShareResource};
use crate::cloudflare;
use crate::core::id::{ShareId, same};
use crate::core::time::At;
use crate::operator::cluster::index::Index;
use crate::operator::remote::account_cache::AccountCache;
use crate::operator::remote::recipients::Exclusions;
use crate::operator::share::deletions::is_managed;

/// Objects that are looked at together.
pub struct Fleet {
    pub(super) index: Index,
    shares: Vec<Arc<Share>>,
}

/// An account as it was read.
pub struct ReadAccount {
    pub(super) cache: AccountCache,
    pub(super) read_at: At,
}

impl Fleet {
    pub fn new(shares: Vec<Share>, recipients: Vec<ShareRecipient>, resources: Vec<ShareResource>) -> Fleet {
        let index = Index::of(&shares, &recipients, &resources, At::default());
        Fleet { index, shares: shares.into_iter().map(Arc::new).collect() }
    }

    /// How many Shares the limit on deletions in an account is a part of.
    pub fn managed(&self, account: &str) -> usize {
        self.shares.iter().filter(|share| same(&share.spec.account_id, account) && is_managed(share)).count()
    }

    pub fn shares(&self) -> &[Arc<Share>] {
        &self.shares
    }
}

impl ReadAccount {
    /// All live shares that the account sends, read then.
    pub fn new(shares: Vec<cloudflare::Share>, began: At) -> ReadAccount {
        let mut cache = AccountCache::default();
        for share in shares {
            cache.read(share, began, Duration::ZERO);
        }
        cache.swept(began);
        ReadAccount { cache, read_at: began }
    }

    pub fn knows(&self, id: &ShareId) -> bool {
        self.cache.seen(id).is_some()
    }

    pub fn counts(&self, id: &ShareId) -> Option<cloudflare::Counts> {
        self.cache.seen(id).and_then(|seen| seen.counts)
    }

    /// Its recipients follow the membership: far too many to list.
    pub fn is_for_organization(&self, id: &ShareId) -> bool {
        self.cache.seen(id).is_some_and(|seen| seen.share.target_type == cloudflare::TargetType::Organization)
    }

    /// What a read of one share by its id showed.
    pub fn learn(&mut self, id: &ShareId, share: Option<cloudflare::Share>) {
        match share {
            Some(share) => self.cache.read(share, self.read_at, Duration::ZERO),
            None => self.cache.absent(id, self.read_at, Duration::ZERO),
        }
    }

    pub fn learn_recipients(&mut self, id: &ShareId, rows: Vec<cloudflare::Recipient>) {
        let read_at = self.read_at;
        if let Some(seen) = self.cache.seen_mut(id) {
            seen.read_recipients(rows, read_at, Duration::ZERO);
        }
    }

    pub fn learn_excluded(&mut self, id: &ShareId, rows: Vec<cloudflare::ExcludedRecipient>) {
        if let Some(seen) = self.cache.seen_mut(id) {
            seen.excluded = Some(Exclusions { read_at: self.read_at, rows });
        }
    }
}
