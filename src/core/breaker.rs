//! When do the losses of an account's shares stop all writes to it, and until when?

use std::collections::{HashMap, HashSet};

use super::guard::{VANISH_WINDOW, mass_loss};
use super::interned::Interned;
use super::time::At;

/// So many objects are named of those whose shares are missing.
const MAX_NAMED: usize = 3;

/// Stops all writes when many shares vanish at once.
#[derive(Debug, Default)]
pub struct Breaker {
    opened: Option<Opened>,
    vanished: HashMap<Interned, Vanished>,
    /// Those of which a person said that they are meant to be gone, and until when that holds.
    accepted: HashMap<Interned, At>,
    /// Those that were reported as gone before this process could see them go, and those that the credential has never shown
    /// and that a word on others left alone: no new loss, and nobody's word.
    reported: HashSet<Interned>,
    /// The objects whose shares are missing, as messages name them.
    named: String,
}

#[derive(Debug, Clone, Copy)]
struct Vanished {
    /// Since when, for as long as it is missing, and where it was recreated for as long as that counts.
    at: At,
    is_hidden: bool,
}

/// A share that an object has recorded, and that is not there.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The object.
    pub object: String,
    /// The credential has never shown the share, so that it may be another account's.
    pub is_hidden: bool,
    /// Since when the object says that the breaker is open.
    pub reported: Option<At>,
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

/// Of which losses a person spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Of all of the account.
    All,
    /// Of a share that the credential has never shown, which says nothing of others.
    One,
}

impl Breaker {
    pub fn opened(&self) -> Option<Opened> {
        self.opened
    }

    /// The objects whose shares are missing, the first few by name.
    pub fn named(&self) -> &str {
        &self.named
    }

    /// Takes note of how many shares are bound, and which of them are missing; `is_back`: one that is there again.
    pub fn note(
        &mut self,
        bound: usize,
        missing: &HashMap<Interned, Loss>,
        is_back: impl Fn(&str) -> bool,
        now: At,
    ) -> Change {
        let is_recent = |at: At| now.since(at) < VANISH_WINDOW;
        self.vanished.retain(|id, gone| !is_back(id) && (is_recent(gone.at) || missing.contains_key(id)));
        self.accepted.retain(|id, _| missing.contains_key(id));
        self.reported.retain(|id| missing.contains_key(id));
        let is_known = |id: &Interned| self.accepted.contains_key(id) || self.reported.contains(id);
        let unknown = || missing.iter().filter(|(id, _)| !is_known(id));
        for (id, loss) in unknown() {
            let gone = self.vanished.entry(id.clone()).or_insert(Vanished { at: now, is_hidden: false });
            gone.is_hidden = loss.is_hidden;
        }
        let vanished = self.vanished.values().filter(|gone| is_recent(gone.at)).count();
        let change = match self.opened {
            // All came back: whatever it was has passed.
            Some(_) if unknown().next().is_none() => {
                self.opened = None;
                self.vanished.clear();
                Change::Closed
            }
            None if mass_loss(bound, vanished) => {
                // A process that just began finds it as the one before left it. Of those that were recreated and
                // disappeared again, there may be more than there are now.
                let at = reported_since(missing.values()).unwrap_or(now);
                self.opened = Some(Opened { at, vanished, of: bound.max(vanished) });
                Change::Opened
            }
            Some(_) | None => Change::Same,
        };
        if self.opened.is_some() {
            self.named = names(unknown().map(|(_, loss)| loss.object.as_str()).collect());
        }
        change
    }

    /// A share is there again.
    pub fn came_back(&mut self, id: &str) {
        self.vanished.remove(id);
        self.reported.remove(id);
    }

    /// A person says that the losses until then are meant. Of those that the credential has never shown, that is said on each
    /// of their own objects. Returns whether it closed the breaker.
    pub fn close(&mut self, until: At, word: Word) -> bool {
        let is_later = self.opened.is_none_or(|opened| opened.at > until);
        if is_later || word == Word::One && self.vanished.values().any(|gone| !gone.is_hidden) {
            return false;
        }
        self.opened = None;
        for (id, gone) in std::mem::take(&mut self.vanished) {
            if gone.is_hidden {
                self.reported.insert(id);
            } else {
                self.accepted.insert(id, until);
            }
        }
        true
    }

    /// Shares that are missing are no new loss, but for those that were seen to go.
    pub fn discount(&mut self, ids: impl IntoIterator<Item = Interned>) {
        self.reported.extend(ids.into_iter().filter(|id| !self.vanished.contains_key(id)));
    }

    /// Shares that are missing, and of which a person said to the process before this one that they are meant to be.
    pub fn recall(&mut self, accepted: impl IntoIterator<Item = (Interned, At)>) {
        self.accepted.extend(accepted.into_iter().filter(|(id, _)| !self.vanished.contains_key(id)));
    }

    /// Until when a person said that losses are meant, if this share is one of them.
    pub fn accepted(&self, id: &str) -> Option<At> {
        self.accepted.get(id).copied()
    }
}

/// Since when objects say that the breaker is open. One whose share the credential has never shown may have waited for long:
/// what it says counts only where there is no other loss, which a word that is older would confirm.
fn reported_since<'a>(missing: impl Iterator<Item = &'a Loss> + Clone) -> Option<At> {
    let (mut shown, of) = (missing.clone().filter(|loss| !loss.is_hidden).peekable(), |loss: &Loss| loss.reported);
    if shown.peek().is_some() { shown.filter_map(of).min() } else { missing.filter_map(of).min() }
}

fn names(mut objects: Vec<&str>) -> String {
    objects.sort_unstable();
    let more = objects.len().saturating_sub(MAX_NAMED);
    objects.truncate(MAX_NAMED);
    let named = objects.join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::Change::{Closed, Opened, Same};
    use super::*;

    fn now(minute: i64) -> At {
        At(minute * 60_000)
    }

    fn ids(ids: &str) -> HashSet<Interned> {
        ids.split_whitespace().map(Interned::from).collect()
    }

    fn losses(missing: &str, is_hidden: bool, reported: Option<At>) -> HashMap<Interned, Loss> {
        let loss = |id: &Interned| Loss { object: format!("security/{id}"), is_hidden, reported };
        ids(missing).into_iter().map(|id| (id.clone(), loss(&id))).collect()
    }

    /// Shares that are missing, and that the credential has shown.
    fn shown(missing: &str) -> HashMap<Interned, Loss> {
        losses(missing, false, None)
    }

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
        for (minute, missing, back, expected, why) in table {
            let is_back = |id: &str| back.split_whitespace().any(|one| one == id);
            assert_eq!(breaker.note(20, &shown(missing), is_back, now(minute)), expected, "{minute}: {why}");
        }
        assert!(!breaker.close(now(15), Word::All), "it opened later");
        assert!(breaker.close(now(16), Word::All) && breaker.accepted("e") == Some(now(16)));
        assert_eq!(breaker.note(20, &shown("b c d e"), |_| false, now(17)), Same, "they are meant");
        assert_eq!(breaker.note(20, &shown(""), |_| false, now(18)), Same);
        assert_eq!(breaker.accepted("e"), None, "it was there again");
        assert_eq!(breaker.note(2, &losses("b c d e", false, Some(now(3))), |_| false, now(19)), Opened);
        assert_eq!(
            breaker.opened(),
            Some(super::Opened { at: now(3), vanished: 4, of: 4 }),
            "as the process before left it"
        );
    }

    #[test]
    fn only_a_loss_that_was_reported_before_it_was_seen_is_no_new_one() {
        let mut breaker = Breaker::default();
        breaker.discount(ids("x y z"));
        assert_eq!(breaker.note(20, &shown("x y z a b"), |_| false, now(0)), Same);
        assert_eq!(breaker.accepted("x"), None, "nobody said so");
        assert_eq!(breaker.note(20, &shown("x y z a b c"), |_| false, now(1)), Opened);
        breaker.discount(ids("a b"));
        assert_eq!(breaker.note(20, &shown("x y z a b"), |id| id == "c", now(30)), Same, "nobody vouched for two");
        assert_eq!(breaker.note(20, &shown("x y z"), |id| "a b c".contains(id), now(31)), Closed);
        breaker.came_back("x");
        assert_eq!(breaker.note(20, &shown("x a b"), |_| false, now(32)), Opened, "it went once more");
    }

    #[test]
    fn a_word_confirms_the_loss_of_no_other_share_that_the_credential_has_never_shown() {
        let opened = |missing: &HashMap<Interned, Loss>| {
            let mut breaker = Breaker::default();
            assert_eq!(breaker.note(20, missing, |_| false, now(0)), Opened);
            breaker
        };
        let hidden = |text| losses(text, true, None);
        let both = || shown("a b c").into_iter().chain(hidden("x y")).collect::<HashMap<_, _>>();
        let mut breaker = opened(&both());
        assert!(!breaker.close(now(1), Word::One), "others were lost that the credential has shown");
        assert!(breaker.close(now(1), Word::All));
        assert_eq!(["a", "c", "x"].map(|id| breaker.accepted(id)), [Some(now(1)), Some(now(1)), None]);
        assert_eq!(breaker.note(20, &both(), |_| false, now(2)), Same, "those that are hidden are no new loss");
        for word in [Word::One, Word::All] {
            let mut breaker = opened(&hidden("x y z"));
            assert!(breaker.close(now(1), word), "{word:?}");
            assert_eq!(["x", "y", "z"].map(|id| breaker.accepted(id)), [None; 3], "{word:?}");
            assert_eq!(breaker.note(20, &hidden("x y z"), |_| false, now(2)), Same, "{word:?}");
        }
    }

    #[test]
    fn a_share_that_has_long_been_hidden_does_not_date_the_loss_of_others() {
        let (hidden, lost) = (losses("x", true, Some(now(1))), losses("a b c", false, None));
        let both = hidden.iter().chain(&lost).map(|(id, loss)| (id.clone(), loss.clone())).collect();
        let since = |missing: &HashMap<Interned, Loss>| {
            let mut breaker = Breaker::default();
            breaker.note(4, missing, |_| false, now(60));
            breaker.opened().map(|opened| opened.at)
        };
        assert_eq!(since(&both), Some(now(60)));
        assert_eq!(since(&losses("a b c", false, Some(now(50)))), Some(now(50)));
        assert_eq!(since(&losses("x y z", true, Some(now(1)))), Some(now(1)), "a word on them confirms nothing else");
    }

    #[test]
    fn a_word_that_the_process_before_took_still_holds_for_what_this_one_did_not_see_go() {
        let mut breaker = Breaker::default();
        let said = |ids_: &str| ids(ids_).into_iter().map(|id| (id, now(1)));
        breaker.recall(said("a b c"));
        assert_eq!(breaker.note(20, &shown("a b c d e"), |_| false, now(2)), Same);
        assert_eq!(breaker.accepted("a"), Some(now(1)));
        assert_eq!(breaker.note(20, &shown("a b c d e f"), |_| false, now(3)), Opened, "three others");
        breaker.recall(said("d e f"));
        assert_eq!(["c", "d"].map(|id| breaker.accepted(id)), [Some(now(1)), None]);
        assert_eq!(breaker.named(), "security/d, security/e, security/f", "those that are meant are not missed");
    }

    #[test]
    fn it_names_a_few_of_the_objects_whose_shares_are_missing_now() {
        let mut breaker = Breaker::default();
        let mut named = |missing: &str, back: &str| {
            breaker.note(20, &shown(missing), |id| back.contains(id), now(0));
            breaker.named().to_owned()
        };
        assert_eq!(named("a", ""), "", "it is closed");
        assert_eq!(named("e d c b a", ""), "security/a, security/b, security/c and 2 more");
        assert_eq!(named("e a", "b c d"), "security/a, security/e");
    }

    #[test]
    fn a_report_is_old_after_ten_minutes_or_upon_a_word_on_this_share() {
        let old = |told: i64, word: Option<i64>| is_old_loss(now(told), word.map(now), now(30));
        let table = [(20, None), (21, None), (29, None), (29, Some(28)), (29, Some(19)), (29, Some(18))];
        assert_eq!(table.map(|(told, word)| old(told, word)), [true, false, false, true, true, false]);
    }
}
