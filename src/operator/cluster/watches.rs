//! Which objects does the operator watch? It stands on the Lease, since a status cannot say that nobody looks after it.

use serde::{Deserialize, Serialize};

/// Annotation of the Lease.
pub const WATCHES: &str = "cfshare.dev/watches";

/// What the installer decided.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Watches {
    /// Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Labels that an object must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

impl Watches {
    pub fn new(namespaces: &[String], selector: Option<&str>) -> Watches {
        let selector = selector.map(str::trim).filter(|selector| !selector.is_empty());
        Watches { namespaces: namespaces.to_vec(), selector: selector.map(str::to_owned) }
    }

    /// What an annotation says; `None`: nothing, as that of an older operator.
    pub fn parse(annotation: Option<&str>) -> Option<Watches> {
        serde_json::from_str(annotation?).ok()
    }

    pub fn annotation(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_is_read_as_it_was_written_and_an_older_operator_says_nothing() {
        for (namespaces, selector) in [(vec![], None), (vec!["a".to_owned(), "b".to_owned()], Some("team=waf"))] {
            let watches = Watches::new(&namespaces, selector);
            assert_eq!(Watches::parse(watches.annotation().as_deref()), Some(watches));
        }
        assert_eq!(Watches::new(&[], Some(" ")), Watches::default());
        assert_eq!([None, Some("no JSON")].map(Watches::parse), [None, None]);
    }
}
