//! Which strings may name something at Cloudflare.
//!
//! Cloudflare promises no pattern for its ids, so what it sends is taken as it is: one row that is strange must not hide all
//! others. What people write is checked. Ids of hex digits mean the same in either case, and a UUID with or without its dashes:
//! people write them in both ways, and Cloudflare need not repeat what they wrote.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::interned::Interned;

/// Longest id that is accepted of people. Cloudflare documents 32, Gateway rules are UUIDs of 36.
pub const MAX_ID: usize = 128;

/// Why what somebody wrote is no id.
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

/// Why what Cloudflare sent, or what is recorded of it, is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableId;

impl fmt::Display for UnreadableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unusable id: it is empty or has control characters")
    }
}

impl std::error::Error for UnreadableId {}

fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:=@+-".contains(&b))
}

/// Rows are told apart by such an id, and it is sent back: two that are empty would count as one row.
fn is_legible(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// What it names is nothing but compared.
fn is_text(_: &str) -> bool {
    true
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Hex digits with dashes at their four places.
fn is_uuid(text: &str) -> bool {
    let fits =
        |(at, byte): (usize, u8)| if [8, 13, 18, 23].contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// The id in the form in which ids are compared.
pub fn folded(id: &str) -> Cow<'_, str> {
    if is_uuid(id) {
        Cow::Owned(id.replace('-', "").to_ascii_lowercase())
    } else if id.bytes().any(|b| b.is_ascii_uppercase()) && is_hex(id) {
        Cow::Owned(id.to_ascii_lowercase())
    } else {
        Cow::Borrowed(id)
    }
}

/// Whether two ids name the same.
pub fn same(one: &str, other: &str) -> bool {
    let is_either_uuid = || one.len() != other.len() && (is_uuid(one) || is_uuid(other));
    one == other || one.eq_ignore_ascii_case(other) && is_hex(one) || is_either_uuid() && folded(one) == folded(other)
}

/// How two ids are ordered: as their folded forms are. What differs before any capital letter, which may be folded, decides;
/// trees of thousands of ids are searched by that.
fn order(one: &str, other: &str) -> Ordering {
    let bytes = || one.bytes().zip(other.bytes());
    let is_open = |(one, other): (u8, u8)| one != other || one.is_ascii_uppercase();
    match bytes().find(|pair| is_open(*pair)) {
        Some((a, b)) if !a.is_ascii_uppercase() && !b.is_ascii_uppercase() && !is_uuid(one) && !is_uuid(other) => {
            a.cmp(&b)
        }
        Some(_) | None => folded(one).cmp(&folded(other)),
    }
}

/// Whether both name the same, or nothing.
pub fn same_or_none(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// How ids are compared and displayed.
macro_rules! impl_id {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                same(&self.0, &other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                folded(&self.0).hash(state);
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                order(&self.0, &other.0)
            }
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($text:ty) if $is_readable:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name($text);

        impl_id!($name);

        impl $name {
            /// One that somebody wrote.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                if is_id(text) { Ok(Self(text.into())) } else { Err(BadId) }
            }

            /// One that Cloudflare sent, or that is recorded of it.
            pub fn read(text: &str) -> Result<Self, UnreadableId> {
                if $is_readable(text) { Ok(Self(text.into())) } else { Err(UnreadableId) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnreadableId;

            fn try_from(text: String) -> Result<Self, UnreadableId> {
                Self::read(&text)
            }
        }
    )*};
}

ids! {
    /// An account, owner or recipient.
    AccountId(Interned) if is_legible,
    /// An organization of accounts.
    OrganizationId(Interned) if is_id,
    /// A share.
    ShareId(Interned) if is_legible,
    /// A row in a share's list of recipients; not the account it names.
    RecipientId(Box<str>) if is_legible,
    /// What is shared, as its own product names it (a ruleset, a Gateway policy).
    SourceId(Interned) if is_text,
    /// A row in a share's list of resources; not the resource it names.
    ShareResourceId(Box<str>) if is_legible,
}

/// What somebody wrote where an id belongs, valid or not.
#[derive(Debug, Clone, Serialize)]
pub struct AnyId(Interned);

impl_id!(AnyId);

impl AnyId {
    pub fn new(text: impl Into<Interned>) -> AnyId {
        AnyId(text.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn what_is_sent_is_taken_as_it_is_and_what_is_written_is_checked() {
        for odd in ["idp/okta", "a b", "{}", "|", "..", "a?b#c%2f", "é", &"x".repeat(500)] {
            assert!(ShareId::parse(odd).is_err() && SourceId::parse(odd).is_err(), "{odd}");
            assert!(ShareId::read(odd).is_ok_and(|id| id.as_str() == odd), "{odd}");
            assert!(SourceId::read(odd).is_ok_and(|id| id.as_str() == odd), "{odd}");
        }
        for unusable in ["", "a\tb", "\0"] {
            assert!(RecipientId::read(unusable).is_err() && AccountId::read(unusable).is_err(), "{unusable:?}");
            assert!(SourceId::read(unusable).is_ok(), "{unusable:?}");
        }
    }

    #[test]
    fn a_uuid_means_the_same_with_and_without_dashes_and_nothing_else_does() {
        let uuid = "b6a1c4de-0b8c-4f5e-9a3d-2c1b0a9f8e7d";
        let bare = uuid.replace('-', "");
        let others = [
            &uuid[..35],
            "b6a1c4de0-b8c-4f5e-9a3d-2c1b0a9f8e7d",
            "b6a1c4de0b8c-4f5e-9a3d-2c1b0a9f8e7d",
            "g6a1c4de-0b8c-4f5e-9a3d-2c1b0a9f8e7d",
            "b6a1c4de-0b8c-4f5e-9a3d-2c1b0a9f8e7e",
        ];
        let id = |text: &str| SourceId::parse(text).expect("an id");
        let all = [uuid, &bare, &uuid.to_uppercase(), &bare.to_uppercase()].map(id);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 1);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1);
        assert_eq!(all[0].as_str(), uuid, "it keeps its spelling");
        for one in &all {
            assert!(all.iter().all(|other| one == other), "{one}");
            for other in others.map(id) {
                assert!(*one != other && one.cmp(&other) != Ordering::Equal, "{one} {other}");
            }
        }
    }

    #[test]
    fn ids_are_ordered_as_their_folded_forms_are() {
        let uuid = "b6a1c4de-0b8c-4f5e-9a3d-2c1b0a9f8e7d";
        let (bare, capital) = (uuid.replace('-', ""), uuid.to_uppercase());
        let near = ["b6a1c4de-0b8c", "b6a1c4de0b8c-4", "b6a1c4de0b8c4f5e9a3d2c1b0a9f8e7c"];
        let short = ["", "a", "A", "a1", "A1", "a1b", "a1B", "A1g", "a1G", "Ag", "aG", "b0", "B0", "a-1", "0", "Z"];
        let ids: Vec<&str> = near.into_iter().chain(short).chain([uuid, &bare, &capital]).collect();
        for one in &ids {
            for other in &ids {
                assert_eq!(order(one, other), folded(one).cmp(&folded(other)), "{one} {other}");
            }
        }
    }

    #[test]
    fn ids_of_hex_digits_mean_the_same_in_either_case_and_keep_their_spelling() {
        let ids = ["023E105F", "023e105f", "b6a1c4de-0b8c", "B6A1C4DE-0b8c", "Zone", "zone"];
        let ids: Vec<AccountId> = ids.iter().map(|id| AccountId::parse(id).unwrap()).collect();
        for (at, one) in ids.iter().enumerate() {
            for (place, other) in ids.iter().enumerate() {
                let expected = at == place || at / 2 == place / 2 && at < 4;
                assert_eq!(one == other, expected, "{one} {other}");
                assert_eq!(one.cmp(other) == Ordering::Equal, expected, "{one} {other}");
            }
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(ids[0].as_str(), "023E105F");
    }
}
