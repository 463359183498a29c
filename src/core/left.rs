//! How many calls does Cloudflare say are left?
//!
//! Every answer says so, answers overtake each other, and other programs spend from the same limit. So the answer to
//! the call that was sent last counts, whether it says more or less than the one before. What it may not have counted
//! is subtracted: what we sent later or have yet to send, and what was sent before and is not answered, since requests
//! overtake each other as well.

use std::collections::BTreeSet;
use std::time::Duration;

use super::time::At;

/// A limit whose reset is not told is asked about again after this time.
const RESET_UNKNOWN: Duration = Duration::from_secs(1);
/// Cloudflare's window. A header that names a longer time costs one call in each window to learn whether it still holds.
const LONGEST_RESET: Duration = Duration::from_secs(300);

/// The number of a call, in the order in which the calls of one credential were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sent(u64);

/// What an answer says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    pub remaining: Option<u64>,
    pub reset: Option<Duration>,
}

#[derive(Debug, Default)]
pub struct Left {
    sent: Sent,
    /// Calls without an answer so far.
    open: BTreeSet<Sent>,
    /// The last sent of those calls whose answer told of the limit.
    believed: Sent,
    said: Option<Said>,
}

/// What was said, less what was granted since; below 0 where a caller was let through to ask.
#[derive(Debug, Clone, Copy)]
struct Said {
    remaining: u64,
    calls: i64,
    until: At,
}

impl Left {
    /// A call leaves.
    pub fn send(&mut self) -> Sent {
        self.sent.0 += 1;
        self.open.insert(self.sent);
        self.sent
    }

    /// No call is under way.
    pub fn rest(&mut self) {
        self.open.clear();
    }

    /// Whether so many calls may be granted. Where too few are left, one caller asks after the reset, while no other call
    /// is under way (`idle`), and its answer tells: where the window slides, the reset makes room for a single call.
    pub fn affords(&self, calls: u32, idle: bool, now: At) -> bool {
        match self.said {
            None => true,
            Some(said) => said.calls >= i64::from(calls) || (now >= said.until && idle),
        }
    }

    pub fn take(&mut self, calls: u32) {
        if let Some(said) = &mut self.said {
            said.calls -= i64::from(calls);
        }
    }

    pub fn give_back(&mut self, calls: u32) {
        if let Some(said) = &mut self.said {
            said.calls += i64::from(calls);
        }
    }

    /// Learns from the answer to a call, if one came; `promised`: calls that were granted and are not sent yet.
    pub fn learn(&mut self, call: Sent, told: Option<Told>, promised: u32, now: At) {
        let was_open = self.open.remove(&call);
        let Some(told) = told else { return };
        if call < self.believed {
            // It says as much or more, so it was counted first, and was subtracted in vain.
            if let Some(said) = self.said.as_mut().filter(|said| was_open && told.remaining >= Some(said.remaining)) {
                said.calls += 1;
            }
            return;
        }
        let Some(remaining) = told.remaining else {
            // Who does not tell of the limit any more does not hold us to what was told of it before.
            self.said = self.said.filter(|said| now < said.until);
            return;
        };
        self.believed = call;
        let later = self.sent.0.saturating_sub(call.0).saturating_add(u64::from(promised));
        let earlier = self.open.range(..call).count() as u64;
        let calls = i64::try_from(remaining).unwrap_or(i64::MAX);
        let calls = calls.saturating_sub(i64::try_from(later.saturating_add(earlier)).unwrap_or(i64::MAX));
        let until = now.plus(told.reset.unwrap_or(RESET_UNKNOWN).min(LONGEST_RESET));
        self.said = Some(Said { remaining, calls, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(remaining: u64, reset: u64) -> Told {
        Told { remaining: Some(remaining), reset: Some(Duration::from_secs(reset)) }
    }

    /// How many single calls are granted now.
    fn grants(left: &Left) -> i64 {
        left.said.expect("something was said").calls
    }

    #[test]
    fn the_answer_to_the_call_that_was_sent_last_is_believed_up_or_down() {
        // Numbers of the calls that are answered, in this order, and what each answer says; 5 calls were sent.
        let cases: &[(&[(u64, u64)], i64)] = &[
            // Four others are not answered, and may not be counted in it.
            (&[(5, 100)], 96),
            (&[(1, 100)], 96),
            (&[(3, 2)], -2),
            (&[(5, u64::MAX)], i64::MAX - 4),
            (&[(1, 100), (2, 99), (3, 98), (4, 97), (5, 96)], 96),
            (&[(4, 100), (5, 40)], 37),
            (&[(4, 40), (5, 100)], 97),
            (&[(2, 0), (5, 10)], 7),
            // An answer that comes late speaks of the past: that call was counted before.
            (&[(5, 40), (4, 41), (3, 42), (2, 43), (1, 44)], 40),
            (&[(5, 40), (4, 40), (3, 40), (2, 40), (1, 40)], 40),
            // Or its call was overtaken, and is still to be subtracted.
            (&[(5, 40), (4, 39), (3, 42), (2, 43), (1, 44)], 39),
            (&[(5, 100), (4, 40)], 96),
        ];
        for (answers, expected) in cases {
            let mut left = Left::default();
            let calls: Vec<Sent> = (0..5).map(|_| left.send()).collect();
            for (number, remaining) in *answers {
                left.learn(calls[*number as usize - 1], Some(told(*remaining, 30)), 0, At(0));
            }
            assert_eq!(grants(&left), *expected, "{answers:?}");
        }
    }

    #[test]
    fn calls_that_are_granted_and_not_sent_yet_are_subtracted() {
        let mut left = Left::default();
        let call = left.send();
        left.learn(call, Some(told(10, 30)), 3, At(0));
        assert!(left.affords(7, false, At(0)) && !left.affords(8, false, At(0)));
        left.take(7);
        assert!(!left.affords(1, true, At(0)));
        left.give_back(2);
        assert!(left.affords(2, false, At(0)));
    }

    #[test]
    fn what_a_header_says_holds_until_its_reset() {
        // Remaining, reset in seconds, whether two calls are granted at once; after so many ms they are.
        let cases = [
            (Some(0), Some(0), true, 0),
            (Some(0), Some(10), false, 10_000),
            (Some(1), Some(10), false, 10_000),
            (Some(2), Some(10), true, 0),
            (Some(0), None, false, 1_000),
            (Some(0), Some(u64::MAX), false, 300_000),
            (None, Some(10), true, 0),
            (None, None, true, 0),
        ];
        for (remaining, reset, at_once, then) in cases {
            let mut left = Left::default();
            let call = left.send();
            left.learn(call, Some(Told { remaining, reset: reset.map(Duration::from_secs) }), 0, At(0));
            assert_eq!(left.affords(2, true, At(0)), at_once, "{remaining:?} {reset:?}");
            assert!(then == 0 || !left.affords(2, true, At(then - 1)), "{remaining:?} {reset:?}");
            assert!(left.affords(2, true, At(then)), "{remaining:?} {reset:?}");
        }
    }

    #[test]
    fn when_none_are_left_only_one_asks_and_headers_that_stop_coming_bind_nobody() {
        let mut left = Left::default();
        let call = left.send();
        left.learn(call, Some(told(0, 5)), 0, At(0));
        assert!(!left.affords(1, false, At(5_000)), "another call is under way");
        assert!(left.affords(1, true, At(5_000)));
        let asked = left.send();
        left.learn(asked, None, 0, At(5_001));
        assert!(!left.affords(1, false, At(5_001)), "no answer came");
        let asked = left.send();
        left.learn(asked, Some(Told::default()), 0, At(5_001));
        assert!(left.affords(100, false, At(5_001)));
    }

    #[test]
    fn a_header_that_never_changes_stops_nothing() {
        let mut left = Left::default();
        for ms in 0..5_000 {
            assert!(left.affords(1, false, At(ms)));
            left.take(1);
            let call = left.send();
            left.learn(call, Some(told(1200, 300)), 0, At(ms));
        }
    }
}
