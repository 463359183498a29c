//! Words and ids that occur many times, each kept once.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is kept once, however many have it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Arc<str>);

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
/// Texts that nobody has any more are looked for when the number of texts has doubled, but not below this one.
const FEW: usize = 1024;

#[derive(Default)]
struct Known {
    texts: HashSet<Arc<str>>,
    /// So many were left when those that nobody had were last dropped.
    left: usize,
}

impl Known {
    fn find(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= 2 * self.left.max(FEW) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.left = self.texts.len();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }
}

impl Text {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        // What a panic left behind is whole: no text is taken out and put back.
        Text(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).find(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::from(text.as_str())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Text {
        Text::from(text.as_str())
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::from("")
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        **self == *other.0
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        *self == *other.0
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        String::deserialize(from).map(Text::from)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_those_that_nobody_has_are_dropped() {
        let mut known = Known::default();
        let kept = known.find("kept");
        assert!(Arc::ptr_eq(&kept, &known.find("kept")));
        for n in 0..10 * FEW {
            known.find(&n.to_string());
        }
        assert!(known.texts.len() <= 2 * FEW + 1, "{}", known.texts.len());
        assert!(Arc::ptr_eq(&kept, &known.find("kept")));
    }
}
