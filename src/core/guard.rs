//! When removals and losses are too many to be meant.

use std::time::Duration;

/// Rows removed within this time count together.
const REMOVAL_WINDOW: Duration = Duration::from_secs(600);
/// A removal is recorded before its call, at most so long before: it counts for that much longer.
const RECORD_AGE: Duration = Duration::from_secs(30);
/// Shares vanished within this time count together.
pub const VANISH_WINDOW: Duration = Duration::from_secs(600);
/// Where the manifest gives no limit: the percentage of a share's recipients, and the number, that may be removed.
const DEFAULT_PERCENT: usize = 10;
const DEFAULT_COUNT: usize = 5;

/// How many rows a share may lose within the window without confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The manifest gives none.
    Default,
    Count(usize),
    Percent(usize),
}

/// Which rows are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Accounts that lose the share: removed recipients, and accounts that are excluded from an organization's share.
    Accounts,
    Resources,
}

/// A limit as people write it: a number, or a percentage from `0%` to `100%`.
pub fn number_or_percentage<L>(text: &str, number: fn(usize) -> L, percentage: fn(usize) -> L) -> Option<L> {
    match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|p| *p <= 100).map(percentage),
        None => text.parse().ok().map(number),
    }
}

impl Limit {
    /// A number, or a percentage such as `10%`.
    pub fn parse(text: &str) -> Option<Limit> {
        number_or_percentage(text, Limit::Count, Limit::Percent)
    }

    /// Of so many rows, how many may go. What the manifest says about recipients is kept exactly, a percentage rounded
    /// down. Resources are never more than most of them: a number that suits hundreds of recipients is no permission to
    /// replace all of a few resources. One resource may always be exchanged, unless the manifest says that none may.
    pub fn of(self, counted: Counted, total: usize) -> usize {
        let percent = |p: usize| total.saturating_mul(p) / 100;
        match (counted, self) {
            (Counted::Accounts, Limit::Default) => percent(DEFAULT_PERCENT).max(DEFAULT_COUNT).min(most(total)),
            (Counted::Accounts, Limit::Count(n)) => n,
            (Counted::Accounts, Limit::Percent(p)) => percent(p),
            (Counted::Resources, Limit::Default) => most(total),
            (Counted::Resources, Limit::Count(n)) => n.min(most(total)),
            (Counted::Resources, Limit::Percent(0)) => 0,
            (Counted::Resources, Limit::Percent(p)) => percent(p).max(1).min(most(total)),
        }
    }
}

/// Never all of two or more, nor more than half of four or more.
fn most(total: usize) -> usize {
    match total {
        0 | 1 => total,
        2 | 3 => total - 1,
        _ => total / 2,
    }
}

/// What a share loses of the rows that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Losses {
    /// How many there were before: those that stay, those that would go now, and those that went lately.
    pub total: usize,
    /// How many more there are, which were added since: they may replace what goes, and do not count.
    pub newer: usize,
    /// How many would go now.
    pub pending: usize,
    /// How many others went within the window without confirmation.
    pub lately: usize,
    /// How many waited for a person at once since the last edit. That some of them are kept is no permission to remove the
    /// rest.
    pub withheld: usize,
}

impl Losses {
    /// Whether they wait for a person.
    pub fn exceed(self, limit: Limit, counted: Counted) -> bool {
        self.pending > 0 && self.pending.max(self.withheld) + self.lately > limit.of(counted, self.total)
    }
}

/// Whether a removal that was recorded then still counts.
pub fn counts(recorded: super::time::At, now: super::time::At) -> bool {
    now.since(recorded) < REMOVAL_WINDOW + RECORD_AGE
}

/// Whether a removal that was recorded then must be recorded again before its call.
pub fn is_stale(recorded: super::time::At, now: super::time::At) -> bool {
    now.since(recorded) >= RECORD_AGE
}

/// A person's confirmation of removals, as recorded. It holds for one generation, from the moment that its annotation
/// is seen until nothing is left to remove; the next removals of that generation need another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Confirmation {
    pub generation: i64,
    /// How many there were for this generation.
    pub number: u32,
    /// There is still something to remove.
    pub open: bool,
}

impl Confirmation {
    /// Whether removals of this generation are confirmed.
    pub fn is_in_force(recorded: Option<Confirmation>, generation: i64) -> bool {
        recorded.is_some_and(|recorded| recorded.generation == generation && recorded.open)
    }

    /// The confirmation that comes after the recorded one; `ignored`: the value that the object brought along when it was
    /// first seen.
    pub fn next(recorded: Option<Confirmation>, generation: i64, ignored: Option<&str>) -> Confirmation {
        let before =
            recorded.filter(|recorded| recorded.generation == generation).map_or(0, |recorded| recorded.number);
        let next = |number: u32| Confirmation { generation, number: number.saturating_add(1), open: true };
        match next(before) {
            known if ignored == Some(known.value().as_str()) => next(known.number),
            fresh => fresh,
        }
    }

    /// The value of the annotation that gives it: the generation; a further one of the same generation has its number.
    pub fn value(self) -> String {
        match self.number {
            0 | 1 => self.generation.to_string(),
            n => format!("{}-{n}", self.generation),
        }
    }
}

/// Whether so many shares of an account vanished that its credential is more likely to blame.
pub fn mass_loss(bound: usize, vanished: usize) -> bool {
    vanished >= 3 && vanished * 10 >= bound
}

#[cfg(test)]
mod tests {
    use super::super::time::At;
    use super::*;

    const BOTH: [Counted; 2] = [Counted::Accounts, Counted::Resources];

    fn every() -> impl Iterator<Item = Limit> {
        let counts = (0..=30).map(Limit::Count);
        let percents = (0..=100).map(Limit::Percent);
        counts.chain(percents).chain([Limit::Default])
    }

    #[test]
    fn a_limit_is_read_as_a_number_or_a_percentage() {
        assert_eq!(Limit::parse("0"), Some(Limit::Count(0)));
        assert_eq!(Limit::parse("40"), Some(Limit::Count(40)));
        assert_eq!(Limit::parse("10%"), Some(Limit::Percent(10)));
        assert_eq!(Limit::parse("150%"), None);
        assert_eq!(Limit::parse("ten"), None);
    }

    #[test]
    fn what_the_manifest_says_about_recipients_is_kept_exactly() {
        for total in 0..=60 {
            for n in 0..=70 {
                assert_eq!(Limit::Count(n).of(Counted::Accounts, total), n);
            }
            for p in 0..=100 {
                let allowed = Limit::Percent(p).of(Counted::Accounts, total);
                assert!(allowed * 100 <= total * p && (allowed + 1) * 100 > total * p, "{p} % of {total}: {allowed}");
            }
        }
    }

    #[test]
    fn without_a_limit_a_tenth_and_at_least_five_may_go_but_never_most_of_them() {
        let table = [
            (0, 0),
            (1, 1),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 2),
            (6, 3),
            (7, 3),
            (8, 4),
            (9, 4),
            (10, 5),
            (11, 5),
            (20, 5),
            (59, 5),
            (60, 6),
            (300, 30),
        ];
        for (total, allowed) in table {
            assert_eq!(Limit::Default.of(Counted::Accounts, total), allowed, "{total}");
        }
    }

    #[test]
    fn resources_never_lose_all_of_two_or_more_than_half_of_four_whatever_the_limit() {
        for limit in every() {
            for total in 0..=40 {
                let allowed = limit.of(Counted::Resources, total);
                assert!(total < 2 || allowed < total, "{limit:?} of {total}: {allowed}");
                assert!(total < 4 || allowed <= total / 2, "{limit:?} of {total}: {allowed}");
                let none = matches!(limit, Limit::Count(0) | Limit::Percent(0));
                assert_eq!(allowed == 0, none || total == 0, "one may be exchanged: {limit:?} of {total}");
            }
        }
    }

    /// However removals are spread over the window, no more go than if they came at once.
    #[test]
    fn removals_in_portions_come_to_no_more_than_at_once() {
        for counted in BOTH {
            for limit in every() {
                for total in 0..=16 {
                    for portion in 1..=4 {
                        let mut lately = 0;
                        while lately + portion <= total {
                            let losses = Losses { total, pending: portion, lately, ..Losses::default() };
                            if losses.exceed(limit, counted) {
                                break;
                            }
                            lately += portion;
                        }
                        let most = limit.of(counted, total);
                        assert!(lately <= most, "{limit:?} of {total} by {portion}: {lately} of {most}");
                        let one_more = Losses { total, pending: portion, lately, ..Losses::default() };
                        assert!(lately + portion > total || one_more.exceed(limit, counted));
                    }
                }
            }
        }
    }

    #[test]
    fn no_removal_never_waits() {
        for counted in BOTH {
            for limit in every() {
                for (total, lately) in [(0, 0), (5, 0), (5, 5), (5, 50)] {
                    assert!(!Losses { total, lately, withheld: total, ..Losses::default() }.exceed(limit, counted));
                }
            }
        }
    }

    /// Each removal counts on its own for ten minutes after its call, which may come as late as its record is old.
    #[test]
    fn a_removal_counts_for_the_whole_window_after_its_call() {
        let second = |n: u64| At(0).plus(Duration::from_secs(n));
        for call in 0..30 {
            assert!(!is_stale(second(0), second(call)));
            assert!(counts(second(0), second(call + 599)));
        }
        assert!(is_stale(second(0), second(30)));
        assert!(!counts(second(0), second(630)));
        assert!(counts(second(5), second(0)), "recorded by a clock that is ahead");
    }

    #[test]
    fn a_confirmation_holds_once_and_for_its_generation_alone() {
        let first = Confirmation::next(None, 3, None);
        assert_eq!(first.value(), "3");
        assert!(Confirmation::is_in_force(Some(first), 3));
        assert!(!Confirmation::is_in_force(Some(first), 4));
        assert!(!Confirmation::is_in_force(None, 3));
        let used = Confirmation { open: false, ..first };
        assert!(!Confirmation::is_in_force(Some(used), 3));
        let second = Confirmation::next(Some(used), 3, None);
        assert_eq!(second.value(), "3-2");
        assert_ne!(second.value(), first.value(), "the annotation that is still there confirms nothing more");
        assert_eq!(Confirmation::next(Some(second), 4, None).value(), "4");
    }

    #[test]
    fn what_an_object_brought_along_confirms_nothing() {
        let value = |recorded, brought| Confirmation::next(recorded, 2, Some(brought)).value();
        assert_eq!((value(None, "2"), value(None, "3"), value(None, "2-2")), ("2-2".into(), "2".into(), "2".into()));
        let used = Confirmation { generation: 2, number: 1, open: false };
        assert_eq!((value(Some(used), "2"), value(Some(used), "2-2")), ("2-2".into(), "2-3".into()));
    }

    #[test]
    fn mass_loss_needs_three_and_a_tenth() {
        assert!(!mass_loss(2, 2));
        assert!(mass_loss(3, 3));
        assert!(!mass_loss(100, 9));
        assert!(mass_loss(100, 10));
    }
}
