//! Is an object at the API server still as a decision found it?
//!
//! A watch may be silent or late, and a list old. So what ends sharing is only asked of Cloudflare where the object that calls
//! for it was read or written a moment ago in the very version that was decided on.

use std::collections::HashMap;
use std::time::Duration;

use kube::ResourceExt;
use parking_lot::Mutex;

use super::reconciled::Reconciled;
use crate::api::{Name, ObjectKey};
use crate::core::time::At;

/// One read serves several calls that follow each other so closely.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Proof that the API server had the object a moment ago as it was decided on.
#[derive(Debug)]
pub struct Current {
    _private: (),
}

/// UID and version of objects as the API server had them, and when it was asked.
#[derive(Default)]
pub struct Answers {
    last: Mutex<HashMap<ObjectKey, (String, String, At)>>,
}

impl Answers {
    /// The API server, asked then, had the object in this version.
    pub(super) fn note<K: Reconciled>(&self, object: &K, asked: At, now: At) -> Current {
        let (uid, version) = (object.uid().unwrap_or_default(), object.resource_version().unwrap_or_default());
        let mut last = self.last.lock();
        // A few of the last second: what is older serves nobody.
        last.retain(|_, (_, _, asked)| is_recent(*asked, now));
        last.insert(K::key(Name::of(object)), (uid, version, asked));
        Current { _private: () }
    }

    /// Whether it had the object in this version, asked no earlier than that.
    pub(super) fn recall<K: Reconciled>(&self, object: &K, since: At, now: At) -> Option<Current> {
        let last = self.last.lock();
        let is_same = last.get(&K::key(Name::of(object))).is_some_and(|(uid, version, asked)| {
            *asked >= since
                && is_recent(*asked, now)
                && object.uid().as_ref() == Some(uid)
                && object.resource_version().as_ref() == Some(version)
        });
        is_same.then_some(Current { _private: () })
    }
}

/// What seems to be still to come is as good as old: the clock was set back.
fn is_recent(asked: At, now: At) -> bool {
    asked <= now && now.since(asked) < MAX_AGE
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Share;

    fn share(uid: &str, version: &str) -> Share {
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": "waf", "namespace": "a", "uid": uid, "resourceVersion": version},
            "spec": {"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "resources": []},
        });
        serde_json::from_value(object).expect("a Share")
    }

    #[test]
    fn an_answer_confirms_the_very_version_for_a_second_from_when_it_was_asked_for() {
        let answers = Answers::default();
        answers.note(&share("u1", "7"), At(1_000), At(1_500));
        let confirm = |uid, version, since, now| answers.recall(&share(uid, version), At(since), At(now)).is_some();
        assert!(confirm("u1", "7", 1_000, 1_999));
        assert!(!confirm("u1", "7", 1_000, 2_000));
        assert!(!confirm("u1", "7", 1_001, 1_500), "it was asked for by an earlier pass");
        assert!(!confirm("u1", "7", 0, 999), "the clock was set back");
        assert!(!confirm("u1", "8", 0, 1_500));
        assert!(!confirm("u2", "7", 0, 1_500), "another object of that name");
    }
}
