//! How an object of the three kinds is named.

use std::fmt;

use kube::{Resource, ResourceExt};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Share,
    ShareRecipient,
    ShareResource,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Share, Kind::ShareRecipient, Kind::ShareResource];

    /// What kubectl calls its objects.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Share => "shares",
            Kind::ShareRecipient => "sharerecipients",
            Kind::ShareResource => "shareresources",
        }
    }
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
