//! How one row of a share stands, as far as the share was read.

use std::cmp::Ordering;

use super::observed_share::ObservedShare;
use crate::cloudflare::{AssociationStatus, ExcludedRecipient, Recipient, ResourceStatus, ShareResource};
use crate::core::id::{AccountId, RecipientId, ShareResourceId, SourceId};
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::Observed;
use crate::core::sorted::Ordered;
use crate::core::time::At;

/// A row that can be removed.
#[derive(Debug, Clone)]
pub enum RowId {
    Recipient(RecipientId),
    Excluded(RecipientId),
    Resource(ShareResourceId),
}

/// Of several rows of an account, the one that tells how it stands comes first.
impl Ordered for Recipient {
    fn order(&self, other: &Self) -> Ordering {
        let rank = |row: &Recipient| (row.association_status.rank(), row.created);
        let order = self.account_id.cmp(&other.account_id).then_with(|| rank(self).cmp(&rank(other)));
        order.then_with(|| self.id.cmp(&other.id))
    }
}

/// Of several rows of a resource, the live one comes first.
impl Ordered for ShareResource {
    fn order(&self, other: &Self) -> Ordering {
        let rank = |row: &ShareResource| match row.status {
            ResourceStatus::Active | ResourceStatus::Other(_) => 0,
            ResourceStatus::Deleting => 1,
            ResourceStatus::Deleted => 2,
        };
        let order =
            names(self).cmp(&names(other)).then_with(|| (rank(self), self.created).cmp(&(rank(other), other.created)));
        order.then_with(|| self.id.cmp(&other.id))
    }
}

/// What identifies a resource.
fn names(row: &ShareResource) -> (&Interned, &SourceId, &AccountId) {
    (&row.resource_type, &row.resource_id, &row.resource_account_id)
}

impl ObservedShare {
    /// The live row of an account, or else the one that is on its way out.
    pub fn recipient(&self, account: &AccountId) -> Option<&Recipient> {
        self.recipients_of(account).first()
    }

    fn recipients_of(&self, account: &AccountId) -> &[Recipient] {
        let recipients = self.recipients.as_ref();
        recipients.map_or(&[], |recipients| recipients.rows.at(|row| row.account_id.cmp(account)))
    }

    pub fn excluded(&self, account: &AccountId) -> Option<&ExcludedRecipient> {
        self.excluded.as_ref()?.rows.iter().find(|row| row.account_id == *account)
    }

    pub fn resource(&self, key: &RowKey) -> Option<&ShareResource> {
        self.resources_of(key).first()
    }

    fn resources_of(&self, key: &RowKey) -> &[ShareResource] {
        let (RowKey::Resource { kind, id, account }, Some(rows)) = (key, &self.resources) else { return &[] };
        rows.at(|row| names(row).cmp(&(kind, id, account)))
    }

    /// The row by which the share has a resource as one of another account than this key says. An id names one resource, so it
    /// cannot be added while that row exists.
    pub fn under_another_account(&self, key: &RowKey) -> Option<&ShareResource> {
        let RowKey::Resource { kind, id, account } = key else { return None };
        let rows = self.resources.as_ref()?.at(|row| (&row.resource_type, &row.resource_id).cmp(&(kind, id)));
        let there = || rows.iter().filter(|row| resource_seen(Some(row), false) != Observed::Absent);
        let other = there().min_by_key(|row| row.status == ResourceStatus::Deleting);
        other.filter(|_| there().all(|row| row.resource_account_id != *account))
    }

    /// All rows of a key that receive, exclude or share now: by which it is removed. There may be several.
    pub fn live_rows(&self, key: &RowKey) -> Vec<RowId> {
        match key {
            RowKey::Recipient(account) => {
                let live = self.recipients_of(account).iter().filter(|row| !row.association_status.is_ended());
                live.map(|row| RowId::Recipient(row.id.clone())).collect()
            }
            RowKey::Excluded(account) => {
                let rows = self.excluded.iter().flat_map(|excluded| &excluded.rows);
                rows.filter(|row| row.account_id == *account).map(|row| RowId::Excluded(row.id.clone())).collect()
            }
            RowKey::Resource { .. } => {
                let is_live = |row: &&ShareResource| matches!(resource_seen(Some(row), false), Observed::Live { .. });
                let live = self.resources_of(key).iter().filter(is_live);
                live.map(|row| RowId::Resource(row.id.clone())).collect()
            }
        }
    }

    /// How many resources are live, no matter who declared them.
    pub fn live_resources(&self) -> usize {
        self.resources.iter().flatten().filter(|row| resource_seen(Some(row), false) != Observed::Absent).count()
    }

    /// When the rows among which this key is looked for were last read.
    pub fn rows_read_at(&self, key: &RowKey) -> At {
        match key {
            RowKey::Recipient(_) => self.recipients.as_ref().map_or(At::default(), |recipients| recipients.read_at),
            RowKey::Excluded(_) => self.excluded.as_ref().map_or(At::default(), |excluded| excluded.read_at),
            RowKey::Resource { .. } => self.resources_read_at,
        }
    }

    pub fn are_recipients_outdated(&self, since: At) -> bool {
        self.recipients.as_ref().is_none_or(|recipients| recipients.stale || recipients.read_at < since)
    }

    pub fn are_exclusions_outdated(&self, since: At) -> bool {
        self.excluded.as_ref().is_none_or(|excluded| excluded.read_at < since || excluded.read_at == At::default())
    }

    /// Whether the rows among which this key is looked for are older than that, or known not to be true any more.
    pub fn is_outdated(&self, key: &RowKey, since: At) -> bool {
        match key {
            RowKey::Recipient(_) => self.are_recipients_outdated(since),
            RowKey::Excluded(_) => self.are_exclusions_outdated(since),
            RowKey::Resource { .. } => {
                self.lacks_resources() || self.resources_read_at < since || self.resources_read_at == At::default()
            }
        }
    }

    /// Whether a key is there, for the table of rows.
    pub fn row(&self, key: &RowKey, differs: impl FnOnce(&ShareResource) -> bool) -> Observed {
        match key {
            RowKey::Recipient(_) if self.recipients.is_none() => Observed::Unread,
            RowKey::Recipient(account) => match recipient_seen(self.recipient(account)) {
                Observed::Absent if self.short_list().is_some() => Observed::Unread,
                seen => seen,
            },
            RowKey::Excluded(_) if self.excluded.is_none() => Observed::Unread,
            RowKey::Excluded(account) if self.excluded(account).is_some() => Observed::Live { differs: false },
            RowKey::Excluded(_) => Observed::Absent,
            RowKey::Resource { .. } if self.lacks_resources() => Observed::Unread,
            RowKey::Resource { .. } => {
                let row = self.resource(key);
                resource_seen(row, row.is_some_and(differs))
            }
        }
    }

    /// Whether nothing but their own list can say that a resource is not there: the answer with the share may lack it.
    /// `may_be_new`: a call that adds it may have taken effect after that list was last read.
    pub fn may_lack_resource(&self, key: &RowKey, may_be_new: bool) -> bool {
        let listed = self.resources_listed_at;
        let is_old = listed == At::default() || may_be_new && listed < self.resources_read_at;
        key.is_resource() && is_old && self.row(key, |_| false) == Observed::Absent
    }
}

fn recipient_seen(row: Option<&Recipient>) -> Observed {
    match row.map(|row| &row.association_status) {
        None | Some(AssociationStatus::Disassociated) => Observed::Absent,
        Some(AssociationStatus::Disassociating) => Observed::Leaving,
        Some(AssociationStatus::Associating | AssociationStatus::Associated | AssociationStatus::Other(_)) => {
            Observed::Live { differs: false }
        }
    }
}

fn resource_seen(row: Option<&ShareResource>, differs: bool) -> Observed {
    match row.map(|row| &row.status) {
        None | Some(ResourceStatus::Deleted) => Observed::Absent,
        Some(ResourceStatus::Deleting) => Observed::Leaving,
        Some(ResourceStatus::Active | ResourceStatus::Other(_)) => Observed::Live { differs },
    }
}

pub fn resource_key(row: &ShareResource) -> RowKey {
    RowKey::Resource {
        kind: row.resource_type.clone(),
        id: row.resource_id.clone(),
        account: row.resource_account_id.clone(),
    }
}
