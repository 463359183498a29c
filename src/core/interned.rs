//! How do ten thousand objects that repeat the same ids share one copy of each?
//!
//! In a pool that the whole process shares: the one thing in `core` that is not pure.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

use arcstr::ArcStr;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string of which the process keeps one copy: an id, a name or a word that many objects repeat. It is one pointer large,
/// since a settled Share has dozens of them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interned(ArcStr);

#[derive(Default)]
struct Pool {
    texts: HashSet<ArcStr>,
    /// So many were in use when it was last cleared of the others.
    used: usize,
}

/// Fewer are not worth a look.
const FEW: usize = 1024;

/// Makes room for so many texts at once, so that no measured thread is the one on which the pool happens to grow.
#[cfg(test)]
pub fn reserve(texts: usize) {
    POOL.lock().texts.reserve(texts);
}

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

impl Pool {
    fn intern(&mut self, text: &str) -> ArcStr {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= FEW.max(self.used * 2) {
            // Without a count it is a literal, of which there is one copy anyway.
            self.texts.retain(|text| ArcStr::strong_count(text).is_some_and(|count| count > 1));
            self.used = self.texts.len();
        }
        let text = ArcStr::from(text);
        self.texts.insert(text.clone());
        text
    }
}

impl Interned {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Interned {
    fn from(text: &str) -> Self {
        Interned(POOL.lock().intern(text))
    }
}

impl From<String> for Interned {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Interned {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl Default for Interned {
    fn default() -> Self {
        "".into()
    }
}

impl Deref for Interned {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Interned {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Interned {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Interned {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Interned {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Interned {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Interned> for str {
    fn eq(&self, other: &Interned) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Interned> for &str {
    fn eq(&self, other: &Interned) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<Interned> for String {
    fn eq(&self, other: &Interned) -> bool {
        self == other.as_str()
    }
}

impl fmt::Display for Interned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Interned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Interned {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Interned {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_copy() {
        let (one, other): (Interned, Interned) = ("023e105f".into(), String::from("023e105f").into());
        assert!(ArcStr::ptr_eq(&one.0, &other.0));
        assert_ne!(one, Interned::from("023e105e"));
    }

    #[test]
    fn what_nobody_uses_any_more_is_dropped() {
        let mut pool = Pool::default();
        let kept = pool.intern("kept");
        for n in 0..10 * FEW {
            pool.intern(&n.to_string());
            assert!(pool.texts.len() <= FEW, "{} texts for one that is used", pool.texts.len());
        }
        assert!(ArcStr::ptr_eq(&kept, &pool.intern("kept")));
    }
}
