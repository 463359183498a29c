//! Objects and an account as they were read, for a plan.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{Share, ShareRecipient, ShareResource};
use crate::cloudflare::{self, ExcludedRecipient, Fingerprint, Recipient, TargetType};
use crate::core::id::{ShareId, same};
use crate::core::time::At;
use crate::operator::cluster::index::Index;
use crate::operator::remote::account_cache::AccountCache;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::share::deletions::is_managed;

/// Objects that are looked at together.
pub struct Fleet {
    pub(super) index: Index,
}

pub struct ReadAccount {
    pub(super) cache: AccountCache,
    pub(super) read_at: At,
    pub(super) read_with: Option<ReadWith>,
}

/// The credential that an account was read with.
#[derive(Debug, Clone, Copy)]
pub struct ReadWith {
    pub credential: Fingerprint,
    /// It is that of the Share's Secret, which the operator uses.
    pub is_of_secret: bool,
}

impl Fleet {
    pub fn new(shares: Vec<Share>, recipients: Vec<ShareRecipient>, resources: Vec<ShareResource>) -> Fleet {
        Fleet { index: Index::of(&shares, &recipients, &resources, At::default()) }
    }

    /// How many Shares the limit on deletions in an account is a part of.
    pub fn managed(&self, account: &str) -> usize {
        self.shares().filter(|share| same(&share.spec.account_id, account) && is_managed(share)).count()
    }

    pub fn shares(&self) -> impl Iterator<Item = Arc<Share>> {
        self.index.shares.all()
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
        ReadAccount { cache, read_at: began, read_with: None }
    }

    /// The same, where it is known what it was read with: what this credential has never shown is not believed to be gone.
    pub fn with(self, read_with: ReadWith) -> ReadAccount {
        ReadAccount { read_with: Some(read_with), ..self }
    }

    pub fn seen(&self, id: &ShareId) -> Option<&ObservedShare> {
        self.cache.seen(id)
    }

    /// What a read of one share by its id showed.
    pub fn learn(&mut self, id: &ShareId, share: Option<cloudflare::Share>) {
        match share {
            Some(share) => self.cache.read(share, self.read_at, Duration::ZERO),
            None => self.cache.absent(id, self.read_at, Duration::ZERO),
        }
    }

    /// What a read of the rows showed that such a share has.
    pub fn learn_rows(&mut self, id: &ShareId, recipients: Vec<Recipient>, excluded: Vec<ExcludedRecipient>) {
        let read_at = self.read_at;
        let Some(seen) = self.cache.seen_mut(id) else { return };
        if seen.share.target_type == TargetType::Organization {
            seen.read_excluded(excluded, read_at, Duration::ZERO);
        } else {
            seen.read_recipients(recipients, read_at, Duration::ZERO);
        }
    }
}
