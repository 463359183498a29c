//! Who may call Cloudflare when: a token bucket, and a fair queue before it.
//!
//! Cloudflare allows 1,200 calls in five minutes over everything a user does, and refuses every call for five
//! minutes once there are more. So one bucket stands before all calls of one credential. Nobody blocks on it: a caller
//! that gets no token is queued, and is woken when tokens are set aside for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::calls_left::{Left, Limits, Sent};
use super::time::At;

/// Calls reserved for edits, so that a person need not wait behind a thousand new shares: enough for one edit and the reads
/// that follow it.
const KEPT_FOR_EDITS: u32 = 6;
/// How soon a reservation that nobody uses goes back.
const RESERVATION: Duration = Duration::from_secs(5);
/// After so many turns of higher priorities, one of a lower priority is served. Only edits pass it while calls are saved up
/// for it, and as many times at most.
const PATIENCE: u32 = 8;

/// Urgency of a call; the first is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A person changed or deleted something.
    Edit,
    /// A new share.
    Create,
    /// Following what Cloudflare is still doing.
    Poll,
    /// Looking whether anything moved.
    Sweep,
}

#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Calls per second.
    pub per_second: f64,
    /// Calls that may be saved up.
    pub burst: u32,
    /// Calls in flight at once.
    pub concurrency: usize,
}

impl Rate {
    /// The part of this rate that one of several processes may use.
    pub fn part(self, part: f64) -> Rate {
        let burst = (f64::from(self.burst) * part).floor().clamp(1.0, f64::from(self.burst.max(1)));
        Rate { per_second: self.per_second * part.clamp(0.0, 1.0), burst: burst as u32, ..self }
    }
}

/// Tokens of one credential, and who waits for them.
pub struct RateLimiter<K> {
    rate: Rate,
    tokens: f64,
    filled_at: At,
    /// Since when the bucket has been full.
    full_since: Option<At>,
    closed_until: At,
    left: Left,
    in_flight: usize,
    waiting: BTreeMap<Priority, FairQueue<K>>,
    /// In which priority each caller waits.
    priorities: HashMap<K, Priority>,
    reserved: HashMap<K, (u32, At)>,
    /// Calls that were granted to each caller and that it has not sent yet.
    granted: HashMap<K, u32>,
    /// How many turns in a row each priority that waits saw a more urgent one get.
    passed_over: BTreeMap<Priority, u32>,
}

/// Those of one priority that wait: round robin over namespaces.
struct FairQueue<K> {
    order: VecDeque<String>,
    queues: HashMap<String, VecDeque<(K, u32)>>,
}

impl<K> Default for FairQueue<K> {
    fn default() -> Self {
        FairQueue { order: VecDeque::new(), queues: HashMap::new() }
    }
}

impl<K> FairQueue<K> {
    fn push(&mut self, namespace: &str, key: K, calls: u32) {
        let queue = self.queues.entry(namespace.to_owned()).or_default();
        if queue.is_empty() {
            self.order.push_back(namespace.to_owned());
        }
        queue.push_back((key, calls));
    }

    fn peek(&self) -> Option<u32> {
        let queue = self.queues.get(self.order.front()?)?;
        queue.front().map(|(_, calls)| *calls)
    }

    fn pop(&mut self) -> Option<(K, u32)> {
        let namespace = self.order.pop_front()?;
        let queue = self.queues.get_mut(&namespace)?;
        let turn = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        turn
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn remove(&mut self, key: &K)
    where
        K: PartialEq,
    {
        for queue in self.queues.values_mut() {
            queue.retain(|(waiting, _)| waiting != key);
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.order.retain(|namespace| self.queues.contains_key(namespace));
    }
}

impl<K: Clone + Eq + Hash> RateLimiter<K> {
    /// A bucket with so few tokens at start that a crash loop cannot overspend.
    pub fn new(rate: Rate, tokens: u32, now: At) -> Self {
        RateLimiter {
            rate,
            tokens: f64::from(tokens.min(rate.burst)),
            filled_at: now,
            full_since: None,
            closed_until: At::default(),
            left: Left::default(),
            in_flight: 0,
            waiting: BTreeMap::new(),
            priorities: HashMap::new(),
            reserved: HashMap::new(),
            granted: HashMap::new(),
            passed_over: BTreeMap::new(),
        }
    }

    /// From now on only this part of `whole` may be used: others use the rest.
    pub fn divide(&mut self, whole: Rate, part: f64, now: At) {
        self.refill(now);
        self.rate = whole.part(part);
        self.tokens = self.tokens.min(f64::from(self.rate.burst));
    }

    fn refill(&mut self, now: At) {
        let earned = now.since(self.filled_at).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + earned).min(f64::from(self.rate.burst));
        let is_full = self.tokens >= f64::from(self.rate.burst);
        self.full_since = is_full.then(|| self.full_since.unwrap_or(now));
        self.filled_at = self.filled_at.max(now);
        let expired: Vec<K> =
            self.reserved.iter().filter(|(_, (_, end))| *end <= now).map(|(k, _)| k.clone()).collect();
        for key in expired {
            self.unreserve(&key);
        }
    }

    fn open(&self, now: At) -> bool {
        now >= self.closed_until && self.in_flight + self.reserved.len() < self.rate.concurrency
    }

    fn affords(&self, priority: Priority, calls: u32, now: At) -> bool {
        let idle = self.in_flight + self.reserved.len() == 0;
        let kept = if priority == Priority::Edit { 0 } else { self.kept_for_edits() };
        // What takes nearly the whole bucket can leave less, and what takes more than that leaves a debt: the next ones wait
        // until it is paid.
        let needed = calls.saturating_add(kept).min(self.rate.burst);
        self.left.affords(calls, idle, now) && self.tokens >= f64::from(needed)
    }

    /// Where few calls can be saved up, few are kept.
    fn kept_for_edits(&self) -> u32 {
        KEPT_FOR_EDITS.min(self.rate.burst / 8)
    }

    fn take(&mut self, calls: u32) {
        self.full_since = None;
        self.tokens -= f64::from(calls);
        self.left.take(calls);
    }

    /// Whether the key may make so many calls now. If not it is queued, once, and named by `due` when its turn comes.
    pub fn ask(&mut self, key: &K, namespace: &str, priority: Priority, calls: u32, now: At) -> bool {
        self.ask_on(key, namespace, priority, (0, calls), now)
    }

    /// As `ask`, of a caller that has already `made` some calls, and makes them again when it is woken. It waits for
    /// all of them: were it woken for these few, the first ones would use them up, and it would never get further.
    pub fn ask_on(&mut self, key: &K, namespace: &str, priority: Priority, (made, calls): (u32, u32), now: At) -> bool {
        self.refill(now);
        let calls = calls.max(1);
        if now >= self.closed_until
            && let Some((reserved, end)) = self.reserved.remove(key)
        {
            // They were taken when they were set aside.
            if reserved >= calls && !self.left.is_overdrawn() {
                if reserved > calls {
                    self.reserved.insert(key.clone(), (reserved - calls, end));
                }
                return self.grant(key, calls);
            }
            self.give_back(reserved);
            if self.affords(priority, calls, now) {
                self.take(calls);
                return self.grant(key, calls);
            }
        }
        let is_first = self.first().is_none_or(|waiting| priority < waiting) && self.may_pass(priority);
        if is_first && self.open(now) && self.affords(priority, calls, now) {
            self.unqueue(key);
            self.count_served(priority);
            self.take(calls);
            return self.grant(key, calls);
        }
        match self.priorities.get(key) {
            Some(waits) if *waits <= priority => {}
            waits => {
                // What became more urgent does not keep its old place.
                if let Some(queue) = waits.and_then(|waits| self.waiting.get_mut(waits)) {
                    queue.remove(key);
                }
                self.priorities.insert(key.clone(), priority);
                let all = made.saturating_add(calls);
                let queue = self.waiting.entry(priority).or_default();
                if queue.is_empty() {
                    self.passed_over.remove(&priority);
                }
                queue.push(namespace, key.clone(), all);
            }
        }
        false
    }

    /// The caller does not wait any more.
    fn unqueue(&mut self, key: &K) {
        if let Some(queue) = self.priorities.remove(key).and_then(|priority| self.waiting.get_mut(&priority)) {
            queue.remove(key);
        }
    }

    /// The key makes no more calls now: what is set aside for it goes back.
    pub fn release(&mut self, key: &K) {
        if let Some(calls) = self.granted.remove(key).filter(|calls| *calls > 0) {
            self.give_back(calls);
        }
        self.unreserve(key);
    }

    fn unreserve(&mut self, key: &K) {
        if let Some((calls, _)) = self.reserved.remove(key) {
            self.give_back(calls);
        }
    }

    fn give_back(&mut self, calls: u32) {
        self.tokens += f64::from(calls);
        self.left.give_back(calls);
    }

    fn grant(&mut self, key: &K, calls: u32) -> bool {
        *self.granted.entry(key.clone()).or_default() += calls;
        self.in_flight += 1;
        true
    }

    /// One of the key's calls leaves. Its number comes back with its answer.
    pub fn send(&mut self, key: &K) -> Sent {
        if let Some(calls) = self.granted.get_mut(key) {
            *calls = calls.saturating_sub(1);
        }
        self.left.send()
    }

    /// A granted turn has ended.
    pub fn done(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.left.rest();
        }
    }

    /// Those whose turn has come; tokens are set aside for them for a few seconds.
    pub fn due(&mut self, now: At) -> Vec<K> {
        self.refill(now);
        let mut due = Vec::new();
        while self.open(now) {
            let Some((priority, calls)) = self.next_affordable(now) else { break };
            let Some((key, _)) = self.waiting.get_mut(&priority).and_then(FairQueue::pop) else { break };
            self.priorities.remove(&key);
            self.count_served(priority);
            self.take(calls);
            self.reserved.insert(key.clone(), (calls, now.plus(RESERVATION)));
            due.push(key);
        }
        due
    }

    /// Whose turn it is, and for how many calls, if these can be had now.
    fn next_affordable(&self, now: At) -> Option<(Priority, u32)> {
        let affordable = |priority: Priority| {
            let calls = self.waiting.get(&priority)?.peek()?;
            self.affords(priority, calls, now).then_some((priority, calls))
        };
        let overdue = self.overdue().and_then(|(overdue, _)| affordable(overdue));
        overdue.or_else(|| self.first().filter(|first| self.may_pass(*first)).and_then(affordable))
    }

    /// The most urgent that waits.
    fn first(&self) -> Option<Priority> {
        self.waiting.iter().find(|(_, queue)| !queue.is_empty()).map(|(priority, _)| *priority)
    }

    /// The priority that waits and was passed over most, if that was too often, and how often it was.
    fn overdue(&self) -> Option<(Priority, u32)> {
        let waits = |priority: &Priority| self.waiting.get(priority).is_some_and(|queue| !queue.is_empty());
        let passed = self.passed_over.iter().map(|(priority, passed)| (*priority, *passed));
        passed.filter(|(priority, passed)| *passed >= PATIENCE && waits(priority)).max_by_key(|(_, passed)| *passed)
    }

    /// Whether a call of this priority may be made before those of one that was passed over too often.
    fn may_pass(&self, priority: Priority) -> bool {
        let may_pass = |passed| priority == Priority::Edit && passed < 2 * PATIENCE;
        self.overdue().is_none_or(|(overdue, passed)| priority == overdue || may_pass(passed))
    }

    fn count_served(&mut self, served: Priority) {
        self.passed_over.remove(&served);
        for (priority, queue) in &self.waiting {
            if *priority > served && !queue.is_empty() {
                *self.passed_over.entry(*priority).or_default() += 1;
            }
        }
    }

    /// Learns from the answer to a call, if one came, how many more are welcome.
    pub fn learn_limits(&mut self, call: Sent, limits: Option<Limits>, now: At) {
        self.refill(now);
        let reserved = self.reserved.values().map(|(calls, _)| *calls);
        let promised = self.granted.values().copied().chain(reserved).fold(0, u32::saturating_add);
        self.left.learn(call, limits, promised, now);
        if let Some(wait) = limits.and_then(|limits| limits.retry_after) {
            self.close(now.plus(wait));
        }
    }

    fn close(&mut self, until: At) {
        self.closed_until = self.closed_until.max(until);
    }

    /// Whether a call that was granted must be asked for again before it leaves.
    pub fn must_ask_again(&self, now: At) -> bool {
        self.closed_until > now || self.left.is_overdrawn()
    }

    /// Until when every call is refused, if it is.
    pub fn closed_until(&self, now: At) -> Option<At> {
        (self.closed_until > now).then_some(self.closed_until)
    }

    pub fn is_waiting(&self, key: &K) -> bool {
        self.priorities.contains_key(key)
    }

    pub fn queued(&self) -> usize {
        self.waiting.values().flat_map(|queue| queue.queues.values()).map(VecDeque::len).sum()
    }

    pub fn per_second(&self) -> f64 {
        self.rate.per_second
    }

    /// Calls that could be made at once.
    pub fn tokens_at(&mut self, now: At) -> f64 {
        self.refill(now);
        if self.closed_until(now).is_some() {
            return 0.0;
        }
        self.left.at_most(now).map_or(self.tokens, |left| self.tokens.min(left)).max(0.0)
    }

    /// Whether a new limiter would do as well: nobody has called for so long that all calls were saved up for `time`, and
    /// Cloudflare asked for no pause that is not over.
    pub fn rests_for(&mut self, time: Duration, now: At) -> bool {
        self.refill(now);
        let is_full = self.full_since.is_some_and(|since| now.since(since) >= time);
        let is_idle = self.in_flight == 0 && self.queued() == 0 && self.reserved.is_empty();
        is_full && is_idle && self.closed_until(now).is_none() && self.left.at_most(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 3.0, burst: 240, concurrency: 8 };

    #[test]
    fn those_that_divide_a_rate_make_no_more_calls_together() {
        let second = |n: i64| At(n * 1000);
        let mut made = 0;
        let mut limiters = [0; 4].map(|_| RateLimiter::<u32>::new(RATE.part(0.25), 240, second(0)));
        for now in 0..300 {
            for (at, limiter) in limiters.iter_mut().enumerate() {
                // One of them ends after a minute, and its part goes to another one.
                if now == 60 {
                    limiter.divide(RATE, if at == 0 { 0.5 } else { 0.25 }, second(now));
                }
                if at == 3 && now >= 60 {
                    continue;
                }
                loop {
                    if limiter.ask(&0, "n", Priority::Edit, 1, second(now)) {
                        limiter.done();
                        made += 1;
                    } else if limiter.due(second(now)).is_empty() {
                        break;
                    }
                }
            }
        }
        assert!((1000..=1140).contains(&made), "{made}");
    }

    fn at(seconds: i64) -> At {
        At(seconds * 1000)
    }

    fn left(remaining: u64, reset: Option<u64>) -> Option<Limits> {
        Some(Limits { remaining: Some(remaining), reset: reset.map(Duration::from_secs), retry_after: None })
    }

    fn retry_after(seconds: u64) -> Option<Limits> {
        Some(Limits { retry_after: Some(Duration::from_secs(seconds)), ..Limits::default() })
    }

    #[test]
    fn no_five_minutes_see_more_than_1140_calls() {
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        let mut calls = 0;
        for ms in 0..300_000 {
            while limiter.ask(&ms, "ns", Priority::Edit, 1, At(ms)) {
                limiter.done();
                calls += 1;
            }
            limiter.waiting.clear();
            limiter.priorities.clear();
        }
        assert!((1100..=1140).contains(&calls), "{calls}");
    }

    #[test]
    fn a_list_that_is_longer_than_the_bucket_is_paid_for_call_by_call() {
        let list = 300;
        for waits in [false, true] {
            let mut limiter = RateLimiter::new(RATE, if waits { 0 } else { 240 }, at(0));
            assert_eq!(limiter.ask(&1, "ns", Priority::Poll, list, at(0)), !waits);
            let start = if waits { 80 } else { 0 };
            if waits {
                assert_eq!(limiter.due(at(start)), [1]);
                assert!(limiter.ask(&1, "ns", Priority::Poll, list, at(start)));
            }
            limiter.done();
            assert!(
                !limiter.ask(&2, "ns", Priority::Edit, 1, at(start + 20)),
                "60 more than the bucket holds: {waits}"
            );
            assert_eq!(limiter.due(at(start + 21)), [2]);
        }
    }

    #[test]
    fn an_edit_overtakes_bulk_creates_and_sweeps_do_not_starve() {
        let mut limiter = RateLimiter::new(Rate { concurrency: 1000, ..RATE }, 0, at(0));
        assert!(!limiter.ask(&9000, "z", Priority::Sweep, 1, at(0)));
        for i in 0..500 {
            assert!(!limiter.ask(&i, "bulk", Priority::Create, 1, at(0)));
        }
        assert!(!limiter.ask(&1000, "people", Priority::Edit, 1, at(0)));
        assert_eq!(limiter.due(At(400)), vec![1000]);
        assert!(limiter.due(at(10)).contains(&9000));
    }

    #[test]
    fn what_is_neither_first_nor_last_does_not_starve() {
        let mut limiter = RateLimiter::new(Rate { concurrency: 1000, ..RATE }, 0, at(0));
        for i in 0..500 {
            assert!(!limiter.ask(&i, "bulk", Priority::Create, 1, at(0)));
            assert!(!limiter.ask(&(1000 + i), "bulk", Priority::Sweep, 1, at(0)));
        }
        assert!(!limiter.ask(&9000, "z", Priority::Poll, 1, at(0)));
        let due: Vec<i32> = (1..=10).flat_map(|second| limiter.due(at(second))).collect();
        assert!(due.contains(&9000), "{due:?}");
        assert!(due.iter().any(|key| (1000..1500).contains(key)), "{due:?}");
    }

    /// A long poll waits, and was passed over too often. After five seconds, seven calls are left.
    fn overdue_poll() -> RateLimiter<u32> {
        let mut limiter = RateLimiter::new(Rate { concurrency: 1000, ..RATE }, 0, at(0));
        assert!(!limiter.ask(&1, "a", Priority::Poll, 48, at(0)));
        for i in 100..100 + PATIENCE {
            assert!(!limiter.ask(&i, "bulk", Priority::Create, 1, at(0)));
        }
        assert_eq!(limiter.due(at(5)).len(), PATIENCE as usize);
        limiter
    }

    #[test]
    fn an_edit_does_not_wait_until_calls_are_saved_for_a_long_poll() {
        let mut limiter = overdue_poll();
        assert!(!limiter.ask(&2, "people", Priority::Edit, 8, at(5)));
        assert!(!limiter.ask(&200, "bulk", Priority::Create, 1, at(6)), "the others do");
        assert_eq!(limiter.due(at(6)), vec![2]);
    }

    #[test]
    fn a_long_poll_is_served_while_edits_come_without_end() {
        let mut limiter = overdue_poll();
        let mut edits = 0;
        let served = (6..60).find(|second| {
            edits += u32::from(limiter.ask(&(1000 + *second as u32), "people", Priority::Edit, 2, at(*second)));
            let due = limiter.due(at(*second));
            edits += due.iter().take_while(|key| **key != 1).count() as u32;
            due.contains(&1)
        });
        assert!(served.is_some(), "{edits}");
        assert_eq!(edits, PATIENCE);
    }

    #[test]
    fn an_edit_waits_for_no_calls_while_many_shares_are_made() {
        let mut limiter = RateLimiter::new(Rate { concurrency: 1000, ..RATE }, 240, at(0));
        for share in 0..500 {
            limiter.ask(&share, "bulk", Priority::Create, 1, at(0));
        }
        assert_eq!(limiter.queued(), 500 - 234);
        for edit in 1000..1006 {
            assert!(limiter.ask(&edit, "people", Priority::Edit, 1, at(0)), "{edit}");
        }
        assert!(!limiter.ask(&1006, "people", Priority::Edit, 1, at(0)));
        assert_eq!(limiter.due(at(1)), vec![1006], "the others go on once there are as many again");
        assert_eq!(limiter.due(at(3)).len(), 2);
    }

    #[test]
    fn what_takes_the_whole_bucket_gets_it() {
        for burst in [1, 8, 240] {
            let mut limiter = RateLimiter::new(Rate { burst, ..RATE }, 0, at(0));
            assert!(!limiter.ask(&1, "a", Priority::Sweep, 500, at(0)));
            assert_eq!(limiter.due(at(80)), vec![1], "{burst}");
        }
    }

    #[test]
    fn a_caller_that_waits_while_the_rate_is_divided_is_still_served() {
        let mut limiter = RateLimiter::new(RATE, 0, at(0));
        assert!(!limiter.ask(&1, "a", Priority::Edit, 200, at(0)));
        assert!(!limiter.ask(&2, "a", Priority::Edit, 1, at(0)));
        limiter.divide(RATE, 0.25, at(0));
        assert_eq!(limiter.due(at(100)), vec![1]);
        assert!(limiter.ask(&1, "a", Priority::Edit, 200, at(100)));
        limiter.done();
        // 140 of its calls were more than the part holds.
        assert_eq!((limiter.due(at(280)), limiter.due(at(290))), (vec![], vec![2]));
    }

    #[test]
    fn what_becomes_more_urgent_moves_ahead() {
        let mut limiter = RateLimiter::new(Rate { concurrency: 1000, ..RATE }, 0, at(0));
        for i in 0..100 {
            limiter.ask(&i, "bulk", Priority::Create, 1, at(0));
        }
        limiter.ask(&50, "bulk", Priority::Edit, 1, at(0));
        assert_eq!(limiter.due(At(400)), vec![50]);
        assert_eq!(limiter.queued(), 99);
    }

    #[test]
    fn namespaces_take_turns() {
        let mut limiter = RateLimiter::new(Rate { concurrency: 1000, ..RATE }, KEPT_FOR_EDITS, at(0));
        for i in 0..100 {
            limiter.ask(&i, "a", Priority::Create, 1, at(0));
        }
        limiter.ask(&100, "b", Priority::Create, 1, at(0));
        assert_eq!(limiter.due(at(1)), vec![0, 100, 1]);
    }

    #[test]
    fn a_reservation_is_used_by_its_owner_or_goes_back() {
        let mut limiter = RateLimiter::new(RATE, KEPT_FOR_EDITS, at(0));
        assert!(!limiter.ask(&1, "a", Priority::Poll, 1, at(0)));
        assert_eq!(limiter.due(at(1)), vec![1]);
        assert!(limiter.ask(&1, "a", Priority::Poll, 1, at(1)));
        assert!(!limiter.ask(&2, "a", Priority::Poll, 3, at(1)));
        assert_eq!(limiter.due(at(2)), vec![2]);
        let before = limiter.tokens_at(at(2));
        assert!(limiter.tokens_at(at(8)) > before + 18.0 + 2.9);
    }

    #[test]
    fn who_needs_several_calls_in_a_row_is_woken_for_all_of_them() {
        let mut limiter = RateLimiter::new(RATE, 1, at(0));
        assert!(limiter.ask(&1, "a", Priority::Edit, 1, at(0)));
        limiter.done();
        assert!(!limiter.ask_on(&1, "a", Priority::Edit, (1, 4), at(0)));
        // Others wait, too: nothing is left over for it.
        for other in 2..20 {
            limiter.ask(&other, "a", Priority::Edit, 1, at(0));
        }
        assert!(limiter.due(at(1)).is_empty());
        assert!(limiter.due(at(2)).starts_with(&[1]));
        assert!(limiter.ask(&1, "a", Priority::Edit, 1, at(2)));
        limiter.done();
        limiter.due(at(2));
        assert!(limiter.ask_on(&1, "a", Priority::Edit, (1, 4), at(2)));
        assert!(!limiter.reserved.contains_key(&1));
    }

    #[test]
    fn what_is_set_aside_and_not_needed_goes_back_at_once() {
        let mut limiter = RateLimiter::new(RATE, 0, at(0));
        limiter.ask_on(&1, "a", Priority::Edit, (2, 3), at(0));
        assert_eq!(limiter.due(at(2)), vec![1]);
        assert!(limiter.ask(&1, "a", Priority::Edit, 1, at(2)));
        limiter.send(&1);
        limiter.release(&1);
        assert_eq!(limiter.tokens_at(at(2)), 5.0);
    }

    #[test]
    fn what_was_granted_and_not_sent_goes_back_at_the_end() {
        let mut limiter = RateLimiter::new(RATE, 10, at(0));
        assert!(limiter.ask(&1, "a", Priority::Edit, 3, at(0)));
        limiter.send(&1);
        limiter.done();
        limiter.release(&1);
        assert_eq!(limiter.tokens_at(at(0)), 9.0);
    }

    #[test]
    fn the_second_of_two_calls_after_a_reset_waits_for_room() {
        for (room, more) in [(0, false), (1, true)] {
            let mut limiter = RateLimiter::new(RATE, 240, at(0));
            let call = limiter.send(&0);
            limiter.learn_limits(call, left(0, Some(5)), at(0));
            assert!(!limiter.ask(&1, "a", Priority::Edit, 2, at(0)));
            assert_eq!(limiter.due(at(5)), vec![1]);
            assert!(limiter.ask_on(&1, "a", Priority::Edit, (0, 1), at(5)) && !limiter.must_ask_again(at(5)));
            let call = limiter.send(&1);
            limiter.learn_limits(call, left(room, Some(5)), at(5));
            limiter.done();
            assert_eq!(limiter.ask_on(&1, "a", Priority::Edit, (1, 1), at(5)), more, "{room}");
        }
    }

    #[test]
    fn retry_after_closes_for_everybody_and_nothing_passes_before() {
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        let call = limiter.send(&0);
        limiter.learn_limits(call, retry_after(300), at(0));
        assert!(!limiter.ask(&1, "a", Priority::Edit, 1, at(299)));
        assert!(limiter.due(at(299)).is_empty());
        assert_eq!(limiter.due(at(300)), vec![1]);
    }

    #[test]
    fn calls_on_their_way_are_taken_off_what_is_left() {
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        let mut calls = Vec::new();
        for key in 0..5 {
            assert!(limiter.ask(&key, "a", Priority::Edit, 1, at(0)));
            calls.push(limiter.send(&key));
        }
        limiter.learn_limits(calls[0], left(5, None), at(0));
        assert!(limiter.ask(&5, "a", Priority::Edit, 1, at(0)));
        assert!(!limiter.ask(&6, "a", Priority::Edit, 1, at(0)));
    }

    #[test]
    fn when_none_are_left_one_caller_tries_after_the_reset() {
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        assert!(limiter.ask(&0, "a", Priority::Edit, 1, at(0)));
        let call = limiter.send(&0);
        limiter.learn_limits(call, left(0, Some(10)), at(0));
        limiter.done();
        for key in 1..4 {
            assert!(!limiter.ask(&key, "a", Priority::Edit, 2, at(9)));
        }
        assert!(limiter.due(at(9)).is_empty());
        assert_eq!(limiter.due(at(10)), vec![1], "one tries");
        assert!(limiter.ask(&1, "a", Priority::Edit, 2, at(10)));
        assert!(limiter.due(at(10)).is_empty());
        limiter.send(&1);
        let call = limiter.send(&1);
        limiter.learn_limits(call, left(100, Some(10)), at(10));
        limiter.done();
        assert_eq!(limiter.due(at(10)), vec![2, 3]);
    }

    #[test]
    fn a_refused_credential_does_not_count_calls_it_never_made() {
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        let call = limiter.send(&0);
        limiter.learn_limits(call, left(2, Some(30)), at(0));
        assert!(limiter.ask(&1, "a", Priority::Edit, 1, at(0)));
        assert!(limiter.ask(&2, "a", Priority::Edit, 1, at(0)));
        assert!(!limiter.ask(&3, "a", Priority::Edit, 1, at(0)));
    }

    #[test]
    fn calls_that_are_set_aside_or_granted_and_not_sent_count_as_spent() {
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        assert!(limiter.ask(&1, "a", Priority::Edit, 4, at(0)));
        let call = limiter.send(&1);
        limiter.learn_limits(call, left(5, Some(30)), at(0));
        // Three of its own are yet to come.
        assert!(!limiter.ask(&2, "a", Priority::Edit, 3, at(0)));
        limiter.unqueue(&2);
        assert!(limiter.ask(&3, "a", Priority::Edit, 2, at(0)));
        limiter.release(&1);
        let call = limiter.send(&3);
        limiter.learn_limits(call, left(4, Some(30)), at(1));
        assert!(limiter.ask(&4, "b", Priority::Edit, 3, at(1)), "what the first did not send is nobody's any more");
    }

    #[test]
    fn what_can_be_made_at_once_is_what_is_saved_up_by_now_and_what_cloudflare_leaves() {
        let mut limiter = RateLimiter::new(RATE, 16, at(0));
        assert_eq!([0, 10, 1000].map(|second| limiter.tokens_at(at(second))), [16.0, 46.0, 240.0]);
        let call = limiter.send(&0);
        limiter.learn_limits(call, left(5, Some(30)), at(1000));
        assert_eq!(limiter.tokens_at(at(1029)), 5.0);
        assert_eq!(limiter.tokens_at(at(1030)), 240.0, "the window is over");
        let call = limiter.send(&0);
        limiter.learn_limits(call, retry_after(60), at(1030));
        assert_eq!([1089, 1090].map(|second| limiter.tokens_at(at(second))), [0.0, 240.0]);
    }

    #[test]
    fn a_limiter_is_needless_once_it_was_full_for_long_and_no_pause_is_left() {
        let time = Duration::from_secs(300);
        let mut limiter = RateLimiter::new(RATE, 240, at(0));
        let rests = |limiter: &mut RateLimiter<u32>, second| limiter.rests_for(time, at(second));
        assert!(!rests(&mut limiter, 0) && !rests(&mut limiter, 299) && rests(&mut limiter, 300));
        assert!(limiter.ask(&1, "a", Priority::Edit, 1, at(300)));
        let call = limiter.send(&1);
        assert!(!rests(&mut limiter, 1000), "a call is under way");
        limiter.learn_limits(call, None, at(1000));
        limiter.done();
        limiter.release(&1);
        assert!(!rests(&mut limiter, 1299) && rests(&mut limiter, 1300));
        assert!(limiter.ask(&1, "a", Priority::Edit, 3, at(1300)));
        limiter.done();
        assert!(!rests(&mut limiter, 1301) && !rests(&mut limiter, 1600) && rests(&mut limiter, 1601));
        let call = limiter.send(&1);
        limiter.learn_limits(call, retry_after(900), at(1601));
        assert!(!rests(&mut limiter, 2500) && rests(&mut limiter, 2501));
    }

    proptest::proptest! {
        /// Whatever the headers say, and in whatever order answers come.
        #[test]
        fn no_window_sees_too_many_calls_and_none_is_made_before_retry_after(
            steps in proptest::collection::vec((0u8..12, 0u64..2000, 0u64..400, 0i64..2000), 1..400),
        ) {
            let mut limiter = RateLimiter::new(RATE, 240, at(0));
            let (mut now, mut open_at) = (0_i64, 0_i64);
            let (mut calls, mut under_way): (Vec<i64>, Vec<Sent>) = (Vec::new(), Vec::new());
            for (step, remaining, reset, pass) in steps {
                now += pass;
                for key in 0..8_u32 {
                    if limiter.ask(&key, "a", Priority::Edit, 1, At(now)) {
                        proptest::prop_assert!(now >= open_at, "{now} is before {open_at}");
                        calls.push(now);
                        under_way.push(limiter.send(&key));
                    }
                }
                limiter.due(At(now));
                while !under_way.is_empty() && (step > 3 || under_way.len() >= RATE.concurrency) {
                    let call = under_way.remove(remaining as usize % under_way.len());
                    let retry_after = (step == 11).then(|| Duration::from_secs(reset));
                    let limits = match step {
                        0 => None,
                        1..=2 => Some(Limits::default()),
                        _ => left(remaining / 10, Some(reset)).map(|left| Limits { retry_after, ..left }),
                    };
                    limiter.learn_limits(call, limits, At(now));
                    open_at = open_at.max(now + retry_after.map_or(0, |wait| wait.as_millis() as i64));
                    limiter.done();
                }
            }
            for (nth, first) in calls.iter().enumerate() {
                let window = calls[nth..].iter().take_while(|at| **at - first < 300_000).count();
                proptest::prop_assert!(window <= 1140, "{window} calls");
            }
        }
    }
}
