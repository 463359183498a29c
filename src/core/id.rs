//! Which strings may name something at Cloudflare.
//!
//! Cloudflare promises no pattern for its ids, so a valid id is whatever is one safe path segment.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::interned::Interned;

/// Longest id that is accepted. Cloudflare documents 32, Gateway rules are UUIDs of 36.
pub const MAX_ID: usize = 128;

/// Why a string is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid id: must be 1 to {MAX_ID} letters, digits and . _ ~ : = @ + -, starting with a letter or digit, without .."
        )
    }
}

impl std::error::Error for BadId {}

fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:=@+-".contains(&b))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($text:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name($text);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, BadId> {
                if is_id(text) { Ok(Self(text.into())) } else { Err(BadId) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                Self::parse(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// An account, owner or recipient.
    AccountId(Interned),
    /// An organization of accounts.
    OrganizationId(Interned),
    /// A share.
    ShareId(Interned),
    /// A row in a share's list of recipients; not the account it names.
    RecipientId(Box<str>),
    /// What is shared, as its own product names it (a ruleset, a Gateway policy).
    SourceId(Interned),
    /// A row in a share's list of resources; not the resource it names.
    ShareResourceId(Box<str>),
}
