//! Which words Cloudflare uses for states and kinds, and how a new one survives.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::clean;
use crate::core::interned::Interned;

/// No word is longer.
const MAX_WORD: usize = 100;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($word,)+
            /// A word that is newer than this program, kept as it came but for control characters; empty when there was none.
            Other(Interned),
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(Interned::default())
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $(known if known.eq_ignore_ascii_case($text) => Self::$word,)+
                    other => Self::Other(clean(other, MAX_WORD).into()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&clean(self.as_str(), 64))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(match Value::deserialize(from)? {
                    Value::Null => Self::default(),
                    Value::String(word) => Self::from(word.as_str()),
                    odd => Self::Other(clean(&odd.to_string(), MAX_WORD).into()),
                })
            }
        }
    )+};
}

words! {
    /// Where a share is in its life.
    ShareStatus { Active = "active", Deleting = "deleting", Deleted = "deleted" }
    /// Where a resource is in its life within a share.
    ResourceStatus { Active = "active", Deleting = "deleting", Deleted = "deleted" }
    /// How far a recipient has got, in both directions.
    AssociationStatus {
        Associating = "associating",
        Associated = "associated",
        Disassociating = "disassociating",
        Disassociated = "disassociated",
    }
    /// Whether a share names accounts or follows an organization's members.
    TargetType { Account = "account", Organization = "organization" }
    /// Which end of a share the account is.
    Kind { Sent = "sent", Received = "received" }
}

impl AssociationStatus {
    /// Whether the row is on its way out, or gone.
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Associating | Self::Associated | Self::Other(_) => false,
            Self::Disassociating | Self::Disassociated => true,
        }
    }

    /// Of several rows of an account, the one with the least tells how it stands.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Associated => 0,
            Self::Associating | Self::Other(_) => 1,
            Self::Disassociating => 2,
            Self::Disassociated => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_word_is_kept_clean_and_short() {
        let status: ShareStatus = serde_json::from_str(r#""frozen\u001b[31m""#).unwrap();
        assert_eq!(status, ShareStatus::Other("frozen".into()));
        let long = format!("\"{}\"", "x".repeat(70_000));
        assert!(serde_json::from_str::<ShareStatus>(&long).unwrap().as_str().len() <= MAX_WORD + 3);
        assert_eq!(status.to_string(), "frozen");
        assert_eq!(serde_json::from_str::<Kind>("null").unwrap(), Kind::default());
        assert_eq!(serde_json::from_str::<Kind>("7").unwrap().as_str(), "7".to_owned());
        assert_eq!(
            serde_json::from_str::<AssociationStatus>(r#""associated""#).unwrap(),
            AssociationStatus::Associated
        );
    }

    #[test]
    fn a_word_means_the_same_in_either_case() {
        assert_eq!(ShareStatus::from("ACTIVE"), ShareStatus::Active);
        assert_eq!(AssociationStatus::from("Disassociated"), AssociationStatus::Disassociated);
        assert_eq!(Kind::from("Received"), Kind::Received);
        assert_eq!(ShareStatus::from("Frozen").as_str(), "Frozen");
    }
}
