//! For how long do edits wait that no pass has looked at?

use std::collections::HashMap;
use std::time::Duration;

use crate::api::ObjectKey;
use crate::core::time::At;

/// Objects whose last edit is not processed yet, with its generation, and when that was first seen.
#[derive(Debug, Default)]
pub struct WaitingEdits {
    waiting: HashMap<ObjectKey, (i64, At)>,
    still: HashMap<ObjectKey, (i64, At)>,
}

impl WaitingEdits {
    /// The object is as the watch shows it now.
    pub fn see(&mut self, object: impl FnOnce() -> ObjectKey, generation: Option<i64>, observed: Option<i64>, now: At) {
        let generation = generation.unwrap_or(0);
        if observed.is_some_and(|observed| observed >= generation) {
            return;
        }
        let object = object();
        let before = self.waiting.get(&object).filter(|(before, _)| *before == generation);
        let since = before.map_or(now, |(_, since)| *since);
        self.still.insert(object, (generation, since));
    }

    pub fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All objects were seen: for how long the oldest edit waits.
    pub fn oldest(&mut self, now: At) -> Duration {
        self.waiting = std::mem::take(&mut self.still);
        self.waiting.values().map(|(_, since)| now.since(*since)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, Name};

    fn look(edits: &mut WaitingEdits, objects: &[(&str, i64, Option<i64>)], seconds: i64) -> u64 {
        let now = At(seconds * 1000);
        for (name, generation, observed) in objects {
            let key = || ObjectKey { kind: Kind::Share, name: Name::new("security", *name) };
            edits.see(key, Some(*generation), *observed, now);
        }
        edits.oldest(now).as_secs()
    }

    #[test]
    fn an_edit_waits_from_when_it_is_seen_until_the_status_covers_it() {
        let mut edits = WaitingEdits::default();
        assert_eq!(look(&mut edits, &[("a", 1, None), ("b", 4, Some(4))], 100), 0);
        assert_eq!(look(&mut edits, &[("a", 1, Some(-1)), ("b", 5, Some(4))], 110), 10);
        assert_eq!(look(&mut edits, &[("a", 1, Some(1)), ("b", 5, Some(4))], 130), 20);
        // The next edit of the same object waits for itself.
        assert_eq!(look(&mut edits, &[("a", 1, Some(1)), ("b", 6, Some(4))], 140), 0);
        assert_eq!(look(&mut edits, &[("b", 6, Some(4))], 145), 5);
        assert_eq!(look(&mut edits, &[], 150), 0, "it was deleted");
        assert_eq!(look(&mut edits, &[("b", 6, Some(4))], 160), 0);
    }
}
