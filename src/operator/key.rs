//! How the operator names objects to itself.

use std::fmt;

use kube::{Resource, ResourceExt};

use crate::core::id::{AccountId, SourceId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Share,
    ShareRecipient,
    ShareResource,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Share => "Share",
            Kind::ShareRecipient => "ShareRecipient",
            Kind::ShareResource => "ShareResource",
        })
    }
}

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub namespace: String,
    pub name: String,
}

impl Name {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Name {
        Name { namespace: namespace.into(), name: name.into() }
    }

    pub fn of<K: Resource>(object: &K) -> Name {
        Name::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub kind: Kind,
    pub name: Name,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One row of a share: what identifies a recipient, an excluded account or a resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKey {
    Recipient(AccountId),
    Excluded(AccountId),
    Resource { kind: String, id: SourceId, account: AccountId },
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
