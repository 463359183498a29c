//! How far a waiver is: does it hold, does it end soon, and when does that change?

use std::time::Duration;

use super::time::At;

/// So long before its end people are warned.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Nothing sleeps longer than this: timers have a limit, and clocks are corrected.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Holds,
    /// It holds, and ends within the time of notice.
    EndsSoon,
    Ended,
}

pub fn stage(until: At, now: At) -> Stage {
    if now >= until {
        Stage::Ended
    } else if now >= until.minus(NOTICE) {
        Stage::EndsSoon
    } else {
        Stage::Holds
    }
}

/// When to look at it again; `None`: it changes no more.
pub fn look_again(until: At, now: At) -> Option<Duration> {
    let change = match stage(until, now) {
        Stage::Holds => until.minus(NOTICE),
        Stage::EndsSoon => until,
        Stage::Ended => return None,
    };
    Some(change.since(now).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_holds_until_its_end_and_is_looked_at_when_that_changes() {
        const HOUR: i64 = 3_600_000;
        let until = At(10_000 * HOUR);
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        // Hours before the end, how far it is, and when to look again.
        let table = [
            (9_000, Stage::Holds, hours(24)),
            (192, Stage::Holds, hours(24)),
            (169, Stage::Holds, hours(1)),
            (168, Stage::EndsSoon, hours(24)),
            (5, Stage::EndsSoon, hours(5)),
            (0, Stage::Ended, None),
            (-1, Stage::Ended, None),
        ];
        for (left, expected, again) in table {
            let now = At(until.0 - left * HOUR);
            assert_eq!((stage(until, now), look_again(until, now)), (expected, again), "{left} hours before the end");
        }
        let last = At(until.0 - 1);
        assert_eq!((stage(until, last), look_again(until, last)), (Stage::EndsSoon, Some(Duration::from_millis(1))));
    }
}
