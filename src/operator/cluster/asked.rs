//! What annotations asked of an object, also once they are gone again.
//!
//! GitOps tools take away an annotation that is not in Git, often before a pass could look at it. The watch brings every
//! version of an object, so what was asked is noted when it comes; passes record it in the status.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use kube::{Resource, ResourceExt};

use crate::api::{CLOSE_BREAKER, CONFIRM_DELETION, CONFIRM_REMOVALS, FLUX_REQUESTED_AT, ObjectKey, REQUESTED_AT};

/// The annotations by which a person asks for something.
const QUESTIONS: [&str; 5] = [CONFIRM_REMOVALS, CONFIRM_DELETION, REQUESTED_AT, FLUX_REQUESTED_AT, CLOSE_BREAKER];

type Values = BTreeMap<&'static str, String>;

#[derive(Default)]
pub struct Asked {
    /// The last value of each, by object and its UID.
    last: Mutex<HashMap<ObjectKey, (String, Values)>>,
}

impl Asked {
    pub fn note<K: Resource>(&self, key: ObjectKey, object: &K) {
        let present = QUESTIONS.into_iter().filter_map(|name| Some((name, object.annotations().get(name)?.clone())));
        let present: Values = present.collect();
        if present.is_empty() {
            return;
        }
        let mut last = self.last.lock();
        let (uid, values) = last.entry(key).or_default();
        let own = object.uid().unwrap_or_default();
        if *uid != own {
            (*uid, *values) = (own, Values::new());
        }
        // Of two ways to ask for a look, the newer request counts.
        for (name, other) in [(REQUESTED_AT, FLUX_REQUESTED_AT), (FLUX_REQUESTED_AT, REQUESTED_AT)] {
            if present.contains_key(name) && values.get(name) != present.get(name) {
                values.remove(other);
            }
        }
        values.extend(present);
    }

    pub fn forget(&self, key: &ObjectKey) {
        self.last.lock().remove(key);
    }

    /// The value of an annotation that the object has, or else had last.
    pub fn value<K: Resource>(&self, key: &ObjectKey, object: &K, name: &str) -> Option<String> {
        if let Some(present) = object.annotations().get(name) {
            return Some(present.clone());
        }
        let last = self.last.lock();
        let (uid, values) = last.get(key)?;
        values.get(name).filter(|_| object.uid().as_ref() == Some(uid)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Name;
    use crate::api::Share;

    fn share(uid: &str, annotations: &[(&str, &str)]) -> Share {
        let mut share: Share = serde_json::from_value(serde_json::json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": "waf", "namespace": "a", "uid": uid},
            "spec": {"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "recipients": []},
        }))
        .expect("a Share");
        share.annotations_mut().extend(annotations.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        share
    }

    #[test]
    fn what_was_asked_counts_although_its_annotation_is_gone_but_not_for_another_object() {
        let (asked, key) = (Asked::default(), ObjectKey::share(Name::new("a", "waf")));
        let value = |object: &Share| asked.value(&key, object, CONFIRM_REMOVALS);
        let bare = share("one", &[]);
        assert_eq!(value(&bare), None);
        asked.note(key.clone(), &share("one", &[(CONFIRM_REMOVALS, "3"), ("other", "x")]));
        asked.note(key.clone(), &bare);
        assert_eq!(value(&bare).as_deref(), Some("3"));
        assert_eq!(value(&share("one", &[(CONFIRM_REMOVALS, "2")])).as_deref(), Some("2"));
        assert_eq!(value(&share("two", &[])), None);
        asked.note(key.clone(), &share("two", &[(REQUESTED_AT, "now")]));
        assert_eq!(value(&bare), None);
        asked.note(key.clone(), &share("two", &[(FLUX_REQUESTED_AT, "later")]));
        assert_eq!(asked.value(&key, &share("two", &[]), REQUESTED_AT), None);
        assert_eq!(asked.value(&key, &share("two", &[]), FLUX_REQUESTED_AT).as_deref(), Some("later"));
        asked.forget(&key);
        assert_eq!(asked.value(&key, &share("two", &[]), REQUESTED_AT), None);
    }
}
