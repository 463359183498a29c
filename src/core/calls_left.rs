//! How many calls does Cloudflare say are left?
//!
//! Every answer says so, answers overtake each other, and other programs spend from the same limit. So the answer to
//! the call that was sent last counts, whether it says more or less than the one before. What it may not have counted
//! is subtracted: what we sent later or have yet to send, and what was under way together with it, since requests
//! overtake each other as well.

use std::time::Duration;

use super::time::At;

/// A limit whose reset is not advertised is asked about again after this time.
const RESET_UNKNOWN: Duration = Duration::from_secs(1);
/// Cloudflare's window. A header that names a longer time costs one call in each window to learn whether it still holds.
const LONGEST_RESET: Duration = Duration::from_secs(300);
/// How much longer than advertised the next caller waits, where a reset made room for fewer calls than were needed. It doubles
/// each time, so that a sliding window has time to empty.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// A call that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sent {
    /// In the order in which the calls of one credential were sent.
    number: u64,
    /// How many calls were under way then, each of which it may have overtaken.
    under_way: u64,
}

/// How many more calls are welcome, as an answer says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls left in the tightest of the limits that were named.
    pub remaining: Option<u64>,
    /// When that limit starts again.
    pub reset: Option<Duration>,
    /// How long to make no call at all.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Default)]
pub struct Left {
    /// How many calls were sent.
    sent: u64,
    /// How many of them are without an answer so far.
    open: u64,
    /// The last sent of those calls whose answer carried the limit.
    believed: Sent,
    said: Option<Said>,
    probe: Probe,
    patience: Duration,
}

/// The one caller that is let through after a reset, whose first answer tells how much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Probe {
    #[default]
    None,
    Granted,
    Sent(Sent),
}

/// What was said, less what was granted since; below 0 where a caller was let through to ask.
#[derive(Debug, Clone, Copy)]
struct Said {
    calls: i64,
    until: At,
}

impl Left {
    /// A call leaves.
    pub fn send(&mut self) -> Sent {
        self.sent += 1;
        let call = Sent { number: self.sent, under_way: self.open };
        self.open += 1;
        if self.probe == Probe::Granted {
            self.probe = Probe::Sent(call);
        }
        call
    }

    /// No call is under way.
    pub fn rest(&mut self) {
        self.open = 0;
    }

    /// Whether so many calls may be granted. Where too few are left, one caller asks after the reset, while no other call
    /// is under way (`idle`), and its answer tells: where the window slides, the reset makes room for a single call.
    pub fn affords(&self, calls: u32, idle: bool, now: At) -> bool {
        match self.said {
            None => true,
            Some(said) => said.calls >= i64::from(calls) || (now >= said.until && idle),
        }
    }

    /// How many calls are left at most, as far as an answer has said that still holds.
    pub fn at_most(&self, now: At) -> Option<f64> {
        self.said.filter(|said| now < said.until).map(|said| said.calls as f64)
    }

    /// Whether more calls were granted than are left by now. Those that are not sent yet must not leave then, except
    /// the first one after a reset.
    pub fn is_overdrawn(&self) -> bool {
        self.said.is_some_and(|said| said.calls < 0) && self.probe != Probe::Granted
    }

    pub fn take(&mut self, calls: u32) {
        if let Some(said) = &mut self.said {
            said.calls -= i64::from(calls);
            if said.calls < 0 {
                self.probe = Probe::Granted;
            }
        }
    }

    pub fn give_back(&mut self, calls: u32) {
        if let Some(said) = &mut self.said {
            said.calls += i64::from(calls);
        }
        if self.probe == Probe::Granted {
            self.probe = Probe::None;
        }
    }

    /// Learns from the answer to a call, if one came; `promised`: calls that were granted and are not sent yet.
    pub fn learn(&mut self, call: Sent, limits: Option<Limits>, promised: u32, now: At) {
        self.open = self.open.saturating_sub(1);
        let Some(limits) = limits.filter(|_| call >= self.believed) else { return };
        let Some(remaining) = limits.remaining else {
            // Once responses no longer mention the limit, what they said of it before no longer counts.
            self.said = self.said.filter(|said| now < said.until);
            return;
        };
        self.believed = call;
        let uncounted = (self.sent - call.number).saturating_add(u64::from(promised)).saturating_add(call.under_way);
        let calls = i64::try_from(remaining).unwrap_or(i64::MAX);
        let calls = calls.saturating_sub(i64::try_from(uncounted).unwrap_or(i64::MAX));
        if calls >= 0 {
            self.patience = Duration::ZERO;
        } else if self.probe == Probe::Sent(call) {
            self.patience = (self.patience * 2).clamp(FIRST_PATIENCE, LONGEST_RESET);
        }
        let reset = limits.reset.unwrap_or(RESET_UNKNOWN).saturating_add(self.patience);
        self.said = Some(Said { calls, until: now.plus(reset.min(LONGEST_RESET)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(remaining: u64, reset: u64) -> Limits {
        Limits { remaining: Some(remaining), reset: Some(Duration::from_secs(reset)), retry_after: None }
    }

    /// How many single calls are granted now.
    fn grants(left: &Left) -> i64 {
        left.said.expect("something was said").calls
    }

    #[test]
    fn the_answer_to_the_call_that_was_sent_last_is_believed_up_or_down() {
        // Numbers of the calls that are answered, in this order, and what each answer says; 5 calls were sent.
        let cases: &[(&[(u64, u64)], i64)] = &[
            // The four others left before it or later, and may not be counted in it.
            (&[(5, 100)], 96),
            (&[(1, 100)], 96),
            (&[(3, 2)], -2),
            (&[(5, u64::MAX)], i64::MAX - 4),
            (&[(1, 100), (2, 99), (3, 98), (4, 97), (5, 96)], 92),
            (&[(4, 100), (5, 40)], 36),
            (&[(4, 40), (5, 100)], 96),
            (&[(2, 0), (5, 10)], 6),
            (&[(1, 96), (2, 97), (3, 98), (4, 99), (5, 100)], 96),
            // An answer that comes late speaks of the past.
            (&[(5, 40), (4, 41), (3, 42), (2, 43), (1, 44)], 36),
            (&[(5, 40), (4, 39), (3, 42), (2, 43), (1, 44)], 36),
            (&[(5, 100), (4, 40)], 96),
        ];
        for (answers, expected) in cases {
            let mut left = Left::default();
            let calls: Vec<Sent> = (0..5).map(|_| left.send()).collect();
            for (number, remaining) in *answers {
                left.learn(calls[*number as usize - 1], Some(limits(*remaining, 30)), 0, At(0));
            }
            assert_eq!(grants(&left), *expected, "{answers:?}");
        }
    }

    #[test]
    fn only_calls_that_were_under_way_together_can_overtake_each_other() {
        let mut left = Left::default();
        let first = left.send();
        left.learn(first, Some(limits(10, 30)), 0, At(0));
        let [second, third] = [left.send(), left.send()];
        left.learn(third, Some(limits(20, 30)), 0, At(0));
        assert_eq!(grants(&left), 19, "the second one was under way when it left");
        left.learn(second, Some(limits(19, 30)), 0, At(0));
        assert_eq!(grants(&left), 19);
        let fourth = left.send();
        left.learn(fourth, Some(limits(18, 30)), 0, At(0));
        assert_eq!(grants(&left), 18, "nothing was under way when it left");
    }

    #[test]
    fn calls_that_are_granted_and_not_sent_yet_are_subtracted() {
        let mut left = Left::default();
        let call = left.send();
        left.learn(call, Some(limits(10, 30)), 3, At(0));
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
            left.learn(
                call,
                Some(Limits { remaining, reset: reset.map(Duration::from_secs), retry_after: None }),
                0,
                At(0),
            );
            assert_eq!(left.affords(2, true, At(0)), at_once, "{remaining:?} {reset:?}");
            assert!(then == 0 || !left.affords(2, true, At(then - 1)), "{remaining:?} {reset:?}");
            assert!(left.affords(2, true, At(then)), "{remaining:?} {reset:?}");
        }
    }

    #[test]
    fn when_none_are_left_only_one_asks_and_headers_that_stop_coming_bind_nobody() {
        let mut left = Left::default();
        let call = left.send();
        left.learn(call, Some(limits(0, 5)), 0, At(0));
        assert!(!left.affords(1, false, At(5_000)), "another call is under way");
        assert!(left.affords(1, true, At(5_000)));
        let asked = left.send();
        left.learn(asked, None, 0, At(5_001));
        assert!(!left.affords(1, false, At(5_001)), "no answer came");
        let asked = left.send();
        left.learn(asked, Some(Limits::default()), 0, At(5_001));
        assert!(left.affords(100, false, At(5_001)));
    }

    #[test]
    fn the_caller_after_a_reset_sends_one_call_and_the_others_if_the_answer_leaves_room() {
        for (room, more) in [(0, false), (1, true), (2, true)] {
            let mut left = Left::default();
            let call = left.send();
            left.learn(call, Some(limits(0, 5)), 0, At(0));
            assert!(left.affords(2, true, At(5_000)));
            left.take(2);
            assert!(!left.is_overdrawn(), "the first call may leave");
            let probe = left.send();
            assert!(left.is_overdrawn(), "the second one waits for the answer");
            left.learn(probe, Some(limits(room, 5)), 1, At(5_000));
            assert_eq!(!left.is_overdrawn(), more, "{room}");
        }
    }

    #[test]
    fn a_window_that_makes_room_for_one_call_at_a_time_is_given_time_to_empty() {
        let mut left = Left::default();
        let call = left.send();
        left.learn(call, Some(limits(0, 1)), 0, At(0));
        let mut waited = Vec::new();
        let mut now = 0;
        for _ in 0..10 {
            let since = now;
            while !left.affords(2, true, At(now)) {
                now += 1_000;
            }
            waited.push((now - since) / 1_000);
            left.take(2);
            let probe = left.send();
            left.learn(probe, Some(limits(0, 1)), 1, At(now));
            left.give_back(1);
        }
        assert_eq!(waited, [1, 2, 3, 5, 9, 17, 33, 65, 129, 257]);
        left.take(2);
        let probe = left.send();
        left.learn(probe, Some(limits(5, 1)), 1, At(now));
        assert!(left.affords(4, false, At(now)) && !left.affords(5, true, At(now + 999)));
        assert!(left.affords(5, true, At(now + 1_000)), "the patience is over");
    }

    #[test]
    fn calls_that_were_granted_and_are_not_left_any_more_do_not_leave() {
        let mut left = Left::default();
        let call = left.send();
        left.learn(call, Some(limits(10, 5)), 0, At(0));
        left.take(8);
        assert!(!left.is_overdrawn());
        let call = left.send();
        // Another program has spent the rest.
        left.learn(call, Some(limits(2, 5)), 7, At(0));
        for granted in (3..=7).rev() {
            assert!(left.is_overdrawn(), "{granted} granted");
            left.give_back(1);
        }
        assert!(!left.is_overdrawn());
    }

    /// A server with a sliding window, calls and answers that overtake each other, and callers that ask for one to three
    /// calls: whatever the order, nothing is ever refused, and all are served.
    #[test]
    fn no_order_of_calls_and_answers_overspends_a_sliding_window() {
        const LIMIT: u64 = 8;
        const WINDOW: i64 = 5_000;
        for seed in 0..2_000_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut pick = |n: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % n as u64) as usize
            };
            let mut left = Left::default();
            let (mut now, mut unserved, mut granted, mut under_way) = (0, 60, 0_u32, 0);
            let (mut sent, mut answered): (Vec<Sent>, Vec<(Sent, Limits)>) = (Vec::new(), Vec::new());
            let mut counted: Vec<i64> = Vec::new();
            // The first answer comes before anything is asked for, as the first sweep's does.
            let first = left.send();
            left.learn(first, Some(limits(LIMIT, 5)), 0, At(now));
            while unserved > 0 || under_way > 0 || granted > 0 {
                match pick(5) {
                    0 => now += pick(700) as i64,
                    1 if unserved > 0 => {
                        let calls = (1 + pick(3) as u32).min(unserved);
                        let idle = granted == 0 && under_way == 0;
                        if left.affords(calls, idle, At(now)) {
                            left.take(calls);
                            granted += calls;
                            unserved -= calls;
                        }
                    }
                    2 if granted > 0 && left.is_overdrawn() => {
                        left.give_back(granted);
                        unserved += granted;
                        granted = 0;
                    }
                    2 if granted > 0 => {
                        granted -= 1;
                        under_way += 1;
                        sent.push(left.send());
                    }
                    3 if !sent.is_empty() => {
                        let call = sent.swap_remove(pick(sent.len()));
                        counted.retain(|at| *at > now - WINDOW);
                        counted.push(now);
                        assert!(counted.len() as u64 <= LIMIT, "seed {seed}: refused at {now} ms");
                        let reset = (counted[0] + WINDOW - now + 999) / 1_000;
                        answered.push((call, limits(LIMIT - counted.len() as u64, reset as u64)));
                    }
                    4 if !answered.is_empty() => {
                        let (call, limits) = answered.swap_remove(pick(answered.len()));
                        under_way -= 1;
                        left.learn(call, Some(limits), granted, At(now));
                        if under_way == 0 && granted == 0 {
                            left.rest();
                        }
                    }
                    _ => now += 1,
                }
                assert!(now < 10_000_000, "seed {seed}: it comes to rest");
            }
        }
    }

    #[test]
    fn a_header_that_never_changes_stops_nothing() {
        let mut left = Left::default();
        for ms in 0..5_000 {
            assert!(left.affords(1, false, At(ms)));
            left.take(1);
            let call = left.send();
            left.learn(call, Some(limits(1200, 300)), 0, At(ms));
        }
    }
}
