//! What identifies one row of a share.

use std::fmt;

use super::id::{AccountId, SourceId, folded};
use super::interned::Interned;

/// One row of a share: what identifies a recipient, an excluded account or a resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKey {
    Recipient(AccountId),
    Excluded(AccountId),
    Resource { kind: Interned, id: SourceId, account: AccountId },
}

impl RowKey {
    /// The account of a recipient.
    pub fn recipient(&self) -> Option<&AccountId> {
        match self {
            RowKey::Recipient(account) => Some(account),
            RowKey::Excluded(_) | RowKey::Resource { .. } => None,
        }
    }

    pub fn is_recipient(&self) -> bool {
        self.recipient().is_some()
    }

    pub fn is_excluded(&self) -> bool {
        matches!(self, RowKey::Excluded(_))
    }

    pub fn is_resource(&self) -> bool {
        matches!(self, RowKey::Resource { .. })
    }

    /// As it is displayed, but alike for ids that name the same.
    pub fn folded(&self) -> String {
        match self {
            RowKey::Recipient(account) => format!("recipients[{}]", folded(account.as_str())),
            RowKey::Excluded(account) => format!("organization.excluded[{}]", folded(account.as_str())),
            RowKey::Resource { kind, id, .. } => format!("resources[{kind}/{}]", folded(id.as_str())),
        }
    }

    /// What it is, and its id, in the words of messages.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            RowKey::Recipient(account) => ("recipient", account.to_string()),
            RowKey::Excluded(account) => ("excluded account", account.to_string()),
            RowKey::Resource { kind, id, .. } => ("resource", format!("{kind}/{id}")),
        }
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowKey::Recipient(account) => write!(f, "recipients[{account}]"),
            RowKey::Excluded(account) => write!(f, "organization.excluded[{account}]"),
            RowKey::Resource { kind, id, .. } => write!(f, "resources[{kind}/{id}]"),
        }
    }
}
