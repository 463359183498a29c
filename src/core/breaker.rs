//! When do the losses of an account's shares stop all writes to it, and until when?

use std::collections::{HashMap, HashSet};

use super::guard::{VANISH_WINDOW, mass_loss};
use super::interned::Interned;
use super::time::At;

/// Stops all writes when many shares vanish at once.
#[derive(Debug, Default)]
pub struct Breaker {
    opened: Option<Opened>,
    /// Since when, for as long as they are missing, and of those that were recreated for as long as that counts.
    vanished: HashMap<Interned, At>,
    /// Those of which a person said that they are meant to be gone, and until when that holds.
    accepted: HashMap<Interned, At>,
    /// Those that were reported as gone before this process could see them go: no new loss, and nobody's word.
    reported: HashSet<Interned>,
}

/// Whether a share that an object has reported as gone since `told` is no new loss for a process that did not see it go;
/// `word`: when a person said that this very share is meant to be gone, which is reported within minutes.
pub fn is_old_loss(told: At, word: Option<At>, now: At) -> bool {
    now.since(told) >= VANISH_WINDOW || word.is_some_and(|word| told <= word.plus(VANISH_WINDOW))
}

/// Since when the breaker is open, and because of how many shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    pub at: At,
    pub vanished: usize,
    /// Of so many.
    pub of: usize,
}

/// What a count of the losses came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
    Same,
}

impl Breaker {
    pub fn opened(&self) -> Option<Opened> {
        self.opened
    }

    /// Takes note of how many shares are bound, and which of them are missing; `is_back`: one that is there again.
    /// `reported` is since when objects say that the breaker is open.
    pub fn note(
        &mut self,
        bound: usize,
        missing: &HashSet<Interned>,
        is_back: impl Fn(&str) -> bool,
        reported: Option<At>,
        now: At,
    ) -> Change {
        let is_recent = |at: &At| now.since(*at) < VANISH_WINDOW;
        self.vanished.retain(|id, at| !is_back(id) && (is_recent(at) || missing.contains(id)));
        self.accepted.retain(|id, _| missing.contains(id));
        self.reported.retain(|id| missing.contains(id));
        let is_known = |id: &Interned| self.accepted.contains_key(id) || self.reported.contains(id);
        for id in missing.iter().filter(|id| !is_known(id)) {
            self.vanished.entry(id.clone()).or_insert(now);
        }
        let vanished = self.vanished.values().filter(|at| is_recent(at)).count();
        match self.opened {
            // All came back: whatever it was has passed.
            Some(_) if missing.iter().all(is_known) => {
                self.opened = None;
                self.vanished.clear();
                Change::Closed
            }
            None if mass_loss(bound, vanished) => {
                // A process that just began finds it as the one before left it. Of those that were recreated and
                // disappeared again, there may be more than there are now.
                self.opened = Some(Opened { at: reported.unwrap_or(now), vanished, of: bound.max(vanished) });
                Change::Opened
            }
            Some(_) | None => Change::Same,
        }
    }

    /// A share is there again.
    pub fn came_back(&mut self, id: &str) {
        self.vanished.remove(id);
        self.reported.remove(id);
    }

    /// A person says that the losses until then are meant. Returns whether that closed the breaker.
    pub fn close(&mut self, until: At) -> bool {
        if self.opened.is_none_or(|opened| opened.at > until) {
            return false;
        }
        self.opened = None;
        let vanished = std::mem::take(&mut self.vanished);
        self.accepted.extend(vanished.into_keys().map(|id| (id, until)));
        true
    }

    /// Shares that are missing are no new loss, but for those that were seen to go.
    pub fn discount(&mut self, ids: impl IntoIterator<Item = Interned>) {
        self.reported.extend(ids.into_iter().filter(|id| !self.vanished.contains_key(id)));
    }

    /// Until when a person said that losses are meant, if this share is one of them.
    pub fn accepted(&self, id: &str) -> Option<At> {
        self.accepted.get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Change::{Closed, Opened, Same};
    use super::*;

    #[test]
    fn it_opens_for_many_losses_within_ten_minutes_and_closes_when_all_are_back_or_meant() {
        let mut breaker = Breaker::default();
        // Minute, ids of the bound shares that are missing, ids of those that are back, and what that comes to, of 20 shares.
        let table = [
            (0, "x", "", Same, "one passes"),
            (1, "a", "x", Same, "one that is back does not count"),
            (9, "b", "", Same, "two pass"),
            (11, "b c", "", Same, "one that went long ago does not count"),
            (12, "b c d", "", Opened, "three of twenty"),
            (13, "b", "c d", Same, "one is still missing"),
            (14, "", "b c d", Closed, "all are back"),
            (15, "b c", "", Same, "two pass again"),
            (16, "b c d e", "", Opened, "four of twenty"),
        ];
        let now = |minute: i64| At(minute * 60_000);
        let ids = |ids: &str| ids.split_whitespace().map(Interned::from).collect::<HashSet<_>>();
        for (minute, missing, back, expected, why) in table {
            let is_back = |id: &str| back.split_whitespace().any(|one| one == id);
            assert_eq!(breaker.note(20, &ids(missing), is_back, None, now(minute)), expected, "{minute}: {why}");
        }
        assert!(!breaker.close(now(15)), "it opened later");
        assert!(breaker.close(now(16)) && breaker.accepted("e") == Some(now(16)));
        assert_eq!(breaker.note(20, &ids("b c d e"), |_| false, None, now(17)), Same, "they are meant");
        assert_eq!(breaker.note(20, &ids(""), |_| false, None, now(18)), Same);
        assert_eq!(breaker.accepted("e"), None, "it was there again");
        assert_eq!(breaker.note(2, &ids("b c d e"), |_| false, Some(now(3)), now(19)), Opened);
        assert_eq!(
            breaker.opened(),
            Some(super::Opened { at: now(3), vanished: 4, of: 4 }),
            "as the process before left it"
        );
    }

    #[test]
    fn only_a_loss_that_was_reported_before_it_was_seen_is_no_new_one() {
        let mut breaker = Breaker::default();
        let now = |minute: i64| At(minute * 60_000);
        let ids = |ids: &str| ids.split_whitespace().map(Interned::from).collect::<HashSet<_>>();
        breaker.discount(ids("x y z"));
        assert_eq!(breaker.note(20, &ids("x y z a b"), |_| false, None, now(0)), Same);
        assert_eq!(breaker.accepted("x"), None, "nobody said so");
        assert_eq!(breaker.note(20, &ids("x y z a b c"), |_| false, None, now(1)), Opened);
        breaker.discount(ids("a b"));
        assert_eq!(breaker.note(20, &ids("x y z a b"), |id| id == "c", None, now(30)), Same, "nobody vouched for two");
        assert_eq!(breaker.note(20, &ids("x y z"), |id| "a b c".contains(id), None, now(31)), Closed);
        breaker.came_back("x");
        assert_eq!(breaker.note(20, &ids("x a b"), |_| false, None, now(32)), Opened, "it went once more");
    }

    #[test]
    fn a_report_is_old_after_ten_minutes_or_upon_a_word_on_this_share() {
        let now = |minute: i64| At(minute * 60_000);
        let old = |told: i64, word: Option<i64>| is_old_loss(now(told), word.map(now), now(30));
        let table = [(20, None), (21, None), (29, None), (29, Some(28)), (29, Some(19)), (29, Some(18))];
        assert_eq!(table.map(|(told, word)| old(told, word)), [true, false, false, true, true, false]);
    }
}
