//! When the share of a deleted object may be deleted at Cloudflare, and when a person has to confirm that first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::guard::number_or_percentage;
use super::time::At;

/// Deletions within this time count together.
const DELETION_WINDOW: Duration = Duration::from_secs(600);
/// Where the limit is a percentage, so few deletions never wait for a person.
const FREE_DELETIONS: usize = 5;
/// A confirmation may name a time so far ahead, so that none is valid for ever.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// Thousands of deletions may be held back: the shares of their account are counted so often for all of them.
const COUNTED: Duration = Duration::from_secs(5);
/// Kubernetes keeps times in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// When deletions were recorded, by UID of the object.
pub type Record = BTreeMap<String, At>;

/// What this process knows of the deletions of one account.
#[derive(Debug, Default)]
pub struct DeletionLog {
    /// What any Share of the account has on record, and what this process recorded: the watch may bring its writes late.
    pub recorded: Record,
    /// When its managed shares were last counted, and how many there were.
    counted: Option<(At, usize)>,
}

impl DeletionLog {
    pub fn count(&mut self, managed: usize, now: At) {
        self.counted = Some((now, managed));
    }

    /// How many managed shares there were a moment ago: good enough for a deletion that is held back whatever it is.
    pub fn counted_lately(&self, now: At) -> Option<usize> {
        self.counted.filter(|(at, _)| now.since(*at) < COUNTED).map(|(_, managed)| managed)
    }
}

/// How many shares of one account may be deleted within the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaxDeletions {
    /// Exactly so many.
    Count(usize),
    /// Of the account's managed shares, and never fewer than `FREE_DELETIONS`.
    Percent(usize),
}

impl Default for MaxDeletions {
    fn default() -> Self {
        MaxDeletions::Percent(10)
    }
}

impl std::str::FromStr for MaxDeletions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is neither a number, such as 20, nor a percentage from 0% to 100%");
        number_or_percentage(text, MaxDeletions::Count, MaxDeletions::Percent).ok_or_else(problem)
    }
}

impl MaxDeletions {
    pub fn of(self, managed: usize) -> usize {
        match self {
            MaxDeletions::Count(count) => count,
            // Nothing is held back, whatever is counted by now.
            MaxDeletions::Percent(100) => usize::MAX,
            MaxDeletions::Percent(percent) => (managed * percent / 100).max(FREE_DELETIONS),
        }
    }
}

/// What is known when a share is about to be deleted because its object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// A person confirmed this deletion.
    pub confirmed: bool,
    /// This deletion is on record already: it counts once, however often it is sent.
    pub recorded: bool,
    /// It was held back before. Only a person ends that: time does not.
    pub withheld: bool,
    /// Other deletions on record within the window.
    pub recent: usize,
    /// Managed shares of the account: the bound ones, those being deleted, and those on record that are gone.
    pub managed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The deletion may be sent.
    Send,
    /// It may be sent once it is on record where a restart finds it.
    RecordAndSend,
    /// A person has to confirm it: so many are allowed.
    Withhold { allowed: usize },
}

pub fn decide(facts: &Facts, limit: MaxDeletions) -> Decision {
    let allowed = limit.of(facts.managed);
    if facts.confirmed || facts.recorded {
        Decision::Send
    } else if facts.withheld || facts.recent >= allowed {
        Decision::Withhold { allowed }
    } else if allowed == usize::MAX {
        // Nothing counts the deletions.
        Decision::Send
    } else {
        Decision::RecordAndSend
    }
}

/// Whether a confirmation that names the time `until` covers a deletion that was requested at `deleted`.
pub fn is_confirmed(until: At, deleted: At, now: At) -> bool {
    deleted.0 <= until.plus(SECOND).0 && until.since(now) <= MAX_AHEAD
}

/// Whether a deletion on record still counts.
pub fn counts(recorded: At, now: At) -> bool {
    now.since(recorded) < DELETION_WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_exactly_and_a_percentage_is_never_below_five() {
        let of = |text: &str, managed| text.parse::<MaxDeletions>().map(|limit| limit.of(managed));
        assert_eq!(of("10%", 300), Ok(30));
        assert_eq!(of("10%", 20), Ok(5));
        assert_eq!(of("0%", 20), Ok(5));
        assert_eq!(of("0", 20), Ok(0));
        assert_eq!(of("2", 2000), Ok(2));
        assert!(of("101%", 1).is_err() && of("", 1).is_err() && of("-1", 1).is_err() && of("ten", 1).is_err());
    }

    #[test]
    fn every_combination_of_facts_keeps_the_limit() {
        let limit = MaxDeletions::Count(2);
        for bits in 0..8_u8 {
            for recent in 0..4 {
                let bit = |n: u8| bits & (1 << n) != 0;
                let (confirmed, recorded, withheld) = (bit(0), bit(1), bit(2));
                let decision = decide(&Facts { confirmed, recorded, withheld, recent, managed: 9 }, limit);
                let sends = matches!(decision, Decision::Send | Decision::RecordAndSend);
                assert!(!sends || confirmed || recorded || (recent < 2 && !withheld), "{decision:?}");
                assert_eq!(decision == Decision::RecordAndSend, sends && !confirmed && !recorded);
            }
        }
    }

    #[test]
    fn without_a_limit_nothing_is_recorded_and_what_waits_goes_on_waiting() {
        let limit = "100%".parse().expect("a limit");
        let decision = |withheld| {
            let facts = Facts { confirmed: false, recorded: false, withheld, recent: 8, managed: 9 };
            decide(&facts, limit)
        };
        assert_eq!(decision(false), Decision::Send);
        assert_eq!(decision(true), Decision::Withhold { allowed: usize::MAX });
    }

    #[test]
    fn a_confirmation_covers_what_was_deleted_until_then() {
        let (deleted, now) = (At(1_000_000), At(1_060_000));
        assert!(is_confirmed(At(1_000_000), deleted, now));
        assert!(is_confirmed(At(1_050_000), deleted, now));
        assert!(!is_confirmed(At(990_000), deleted, now), "it speaks of earlier ones");
        assert!(is_confirmed(now.plus(MAX_AHEAD), deleted, now));
        assert!(!is_confirmed(now.plus(MAX_AHEAD + SECOND), deleted, now), "for ever");
    }

    #[test]
    fn shares_are_counted_again_after_some_seconds() {
        let (mut log, now) = (DeletionLog::default(), At(1_000_000));
        assert_eq!(log.counted_lately(now), None);
        log.count(7, now);
        assert_eq!([0, 4_999, 5_000].map(|ms| log.counted_lately(At(now.0 + ms))), [Some(7), Some(7), None]);
    }

    #[test]
    fn a_deletion_counts_for_ten_minutes() {
        assert!(counts(At(0), At(599_999)));
        assert!(!counts(At(0), At(600_000)));
    }
}
