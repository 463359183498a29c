//! One account as one credential sees it, shared by all passes that work on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::account_cache::AccountCache;
use super::credentials::ResolvedCredential;
use super::limiters::{Caller, Limiter};
use super::observed_share::ObservedShare;
use crate::api::ObjectKey;
use crate::cloudflare::{Credential, Error, ErrorClass, FULL_PAGE, Fingerprint, ResponseHead};
use crate::core::breaker::{Breaker, Change, Loss, Opened, Word};
use crate::core::calls_left::Sent;
use crate::core::id::{AccountId, ShareId};
use crate::core::interned::Interned;
use crate::core::time::At;
use crate::operator::clock::{self, CLOCK_RESOLUTION};

/// So many refusals over so long a time make a credential denied, and so many sweeps without success an account that
/// cannot be read; single ones pass.
const ENOUGH_FAILURES: u32 = 3;
/// How long nothing is called after a refusal by a limiter that does not say how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

pub struct Account {
    pub id: AccountId,
    pub fingerprint: Fingerprint,
    pub limiter: Arc<Limiter>,
    /// What the sweep calls with. Another credential is another `Account`.
    pub credential: Arc<Credential>,
    cache: Mutex<AccountCache>,
    demands: Mutex<Demands>,
    /// Lengths of lists, in pages.
    pages: Mutex<HashMap<String, u32>>,
    /// Held while the newest shares are asked for.
    pub looking: tokio::sync::Mutex<()>,
    /// Somebody wants a sweep.
    pub demanded: Notify,
    /// Another account of the credential can be listed again, which could not be either.
    pub recovered: Notify,
    /// How many shares may still be read by themselves before the first sweep.
    early_reads: Mutex<Option<usize>>,
    /// How far Cloudflare's clock is ahead of ours, in milliseconds.
    skew: AtomicI64,
    /// Objects whose changes at Cloudflare are being followed, and the share of each.
    followed: Mutex<HashMap<ObjectKey, ShareId>>,
    health: Mutex<Health>,
    breaker: Mutex<Breaker>,
    /// What a POST without resources was answered before: refused or not.
    pub empty_refused: Mutex<bool>,
}

#[derive(Default)]
struct Demands {
    waiting: HashMap<ObjectKey, At>,
    newest: Option<At>,
}

#[derive(Default)]
struct Health {
    denials: u32,
    first_denial: Option<At>,
    /// Why the last sweep did not succeed.
    sweep_error: Option<Error>,
    /// Sweeps in a row that did not succeed, and since when.
    failed_sweeps: u32,
    failing_since: At,
    /// When the last complete list was begun, or this account became known.
    read_at: At,
    /// How often complete lists are made.
    sweep_interval: Duration,
    /// An Event tells of it.
    reported: bool,
}

impl Account {
    pub fn new(
        id: AccountId,
        used: &ResolvedCredential,
        limiter: Arc<Limiter>,
        sweep_interval: Duration,
        now: At,
    ) -> Account {
        Account {
            id,
            fingerprint: used.fingerprint(),
            limiter,
            credential: used.credential().clone(),
            cache: Mutex::default(),
            demands: Mutex::default(),
            pages: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            demanded: Notify::new(),
            recovered: Notify::new(),
            early_reads: Mutex::default(),
            skew: AtomicI64::new(0),
            followed: Mutex::default(),
            health: Mutex::new(Health { read_at: now, sweep_interval, ..Health::default() }),
            breaker: Mutex::default(),
            empty_refused: Mutex::new(false),
        }
    }

    pub fn cache(&self) -> MutexGuard<'_, AccountCache> {
        self.cache.lock()
    }

    /// Its credential, as a status says which one showed a share.
    pub fn seen_with(&self) -> Interned {
        self.fingerprint.to_string().into()
    }

    /// Wakes the object when a sweep that began after `since` is complete.
    pub fn demand_sweep(&self, object: ObjectKey, since: At) {
        let mut demands = self.demands.lock();
        demands.waiting.insert(object, since);
        demands.newest = demands.newest.max(Some(since));
        drop(demands);
        self.demanded.notify_one();
    }

    /// When the youngest demand for a sweep was made that no sweep has met.
    pub fn demand(&self) -> Option<At> {
        self.demands.lock().newest
    }

    /// Whether one more share may be read alone while the list of all shares is not complete. The list takes `pages` calls:
    /// there may be as many such reads, or none if one call shows all shares. To count them takes a while, and is done once.
    pub fn take_early_read(&self, pages: impl FnOnce() -> usize) -> bool {
        let mut left = self.early_reads.lock();
        let now = left.unwrap_or_else(pages);
        if left.is_none() && now <= 1 {
            return false;
        }
        *left = Some(now.saturating_sub(1));
        now > 0
    }

    /// A sweep that began then has ended. Returns those who waited for it.
    pub fn swept(&self, began: At, outcome: Result<(), Error>) -> Vec<ObjectKey> {
        let failed = outcome.is_err();
        {
            let mut health = self.health.lock();
            health.failed_sweeps = if failed { health.failed_sweeps + 1 } else { 0 };
            health.reported &= failed || self.breaker.lock().opened().is_some();
            if health.failed_sweeps == 1 {
                health.failing_since = began;
            }
            if !failed {
                health.read_at = health.read_at.max(began);
            }
            health.sweep_error = outcome.err();
        }
        let mut demands = self.demands.lock();
        let met: Vec<ObjectKey> = demands
            .waiting
            .iter()
            .filter(|(_, since)| failed || **since <= began)
            .map(|(key, _)| key.clone())
            .collect();
        if !failed {
            demands.waiting.retain(|_, since| *since > began);
            // After a start all objects wait, and later few.
            demands.waiting.shrink_to_fit();
            demands.newest = demands.waiting.values().max().copied();
        }
        met
    }

    pub fn waiting(&self) -> Vec<ObjectKey> {
        self.demands.lock().waiting.keys().cloned().collect()
    }

    pub fn sweep_error(&self) -> Option<Error> {
        self.health.lock().sweep_error.clone()
    }

    pub fn is_failing(&self) -> bool {
        self.health.lock().failed_sweeps > 0
    }

    /// Whether it failed for a cause that is none of this account's, such as an outage.
    pub fn fails_with_others(&self) -> bool {
        let cause = self.sweep_error().filter(|_| self.is_failing());
        cause.is_some_and(|error| matches!(error.class(), ErrorClass::Retry | ErrorClass::Throttled))
    }

    /// Why nothing can be read, if that has gone on for so long that it is no passing failure: several sweeps failed, or
    /// none was complete for several intervals, whatever the cause. A sweep that may not call does not even fail, nor one
    /// that was not due before the clock was put forward.
    pub fn why_unreadable(&self, now: At, passing_time: Duration) -> Option<Error> {
        let health = self.health.lock();
        let fails = health.failed_sweeps >= ENOUGH_FAILURES && now.since(health.failing_since) >= passing_time;
        let silent = now.since(health.read_at) >= passing_time.max(health.sweep_interval * ENOUGH_FAILURES);
        (fails || silent).then(|| health.sweep_error.clone().unwrap_or_else(|| self.why_silent()))
    }

    /// Why no sweep ends, neither well nor badly.
    fn why_silent(&self) -> Error {
        if self.limiter.is_waiting(&Caller::Sweep(self.id.clone())) {
            Error::Withheld
        } else {
            Error::Lost { cause: "the shares have not been listed for too long".into() }
        }
    }

    pub fn read_at(&self) -> At {
        self.health.lock().read_at
    }

    /// How many pages the list of its shares has.
    pub fn pages(&self) -> usize {
        self.cache().len().div_ceil(FULL_PAGE as usize).max(1)
    }

    pub fn sweep_interval(&self) -> Duration {
        self.health.lock().sweep_interval
    }

    pub fn note_sweep_interval(&self, interval: Duration) {
        self.health.lock().sweep_interval = interval;
    }

    /// How many pages a list had when it was last read.
    pub fn pages_of(&self, list: &str) -> u32 {
        self.pages.lock().get(list).copied().unwrap_or(1)
    }

    /// Only lists of several pages are worth remembering.
    pub fn note_pages(&self, list: &str, pages: u32) {
        let mut all = self.pages.lock();
        if pages > 1 {
            all.insert(list.to_owned(), pages);
        } else {
            all.remove(list);
        }
    }

    /// Whether the caller's Event is the first to tell what is wrong with the credential: then no other one will.
    pub fn claim_report(&self) -> bool {
        !std::mem::replace(&mut self.health.lock().reported, true)
    }

    /// Something of that share is under way that the object waits for.
    pub fn follow(&self, object: &ObjectKey, share: &ShareId) {
        self.followed.lock().insert(object.clone(), share.clone());
    }

    pub fn unfollow(&self, object: &ObjectKey) {
        let mut followed = self.followed.lock();
        if followed.remove(object).is_some() && followed.is_empty() {
            // After a burst of new objects none is followed, and a table keeps its memory.
            followed.shrink_to_fit();
        }
    }

    /// Whether so many shares are being followed that a sweep costs fewer calls than looking at each. Where sweeps do not
    /// show the resources, each share must be read all the same.
    pub fn is_busy(&self) -> bool {
        if self.cache().omits_resources {
            return false;
        }
        let most = self.pages() * 2;
        // One read of a share serves all objects that follow it.
        let (followed, mut shares) = (self.followed.lock(), HashSet::new());
        followed.values().any(|share| {
            shares.insert(share);
            shares.len() > most
        })
    }

    /// Learns from the answer to a call: the limit, the clock, and whether the credential works.
    pub fn learn(&self, call: Sent, head: Option<&ResponseHead>, class: Option<ErrorClass>, now: At) {
        let mut limits = head.map(|head| head.limits);
        if class == Some(ErrorClass::Throttled)
            && let Some(limits) = &mut limits
        {
            // A limiter that names no time still means it.
            limits.retry_after.get_or_insert(DEFAULT_RETRY_AFTER);
        }
        self.limiter.learn_limits(call, limits);
        if let Some(date) = head.and_then(|head| head.date) {
            // The header has whole seconds: half a second more is the best guess.
            self.skew.store(clock::at(date).0 + 500 - now.0, Ordering::Relaxed);
        }
        let mut health = self.health.lock();
        match class {
            Some(ErrorClass::Denied) => {
                health.denials += 1;
                health.first_denial.get_or_insert(now);
            }
            Some(ErrorClass::Retry | ErrorClass::Throttled) => {}
            Some(ErrorClass::Gone | ErrorClass::Conflict | ErrorClass::Rejected) | None => {
                health.denials = 0;
                health.first_denial = None;
            }
        }
    }

    /// Whether refusals have gone on for so long that they are meant.
    pub fn is_denied(&self, now: At, passing_time: Duration) -> bool {
        let health = self.health.lock();
        health.denials >= ENOUGH_FAILURES && health.first_denial.is_some_and(|first| now.since(first) >= passing_time)
    }

    pub fn ahead(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    pub fn remote_time(&self, now: At) -> At {
        At(now.0 + self.ahead())
    }

    /// Whether the credential has never shown a share that another one showed, so that it may be another account's;
    /// `seen_with`: the credential that showed it last.
    pub fn is_hidden(&self, share: &ShareId, seen_with: Option<&str>) -> bool {
        seen_with.is_some_and(|seen_with| *seen_with != *self.seen_with()) && self.cache().seen(share).is_none()
    }

    /// Counts shares that are bound and not there any more; opens the breaker when they are too many to be meant.
    pub fn count_losses(&self, bound: usize, missing: &HashMap<Interned, Loss>, now: At) -> Change {
        let cache = self.cache();
        let is_back = |id: &str| ShareId::read(id).is_ok_and(|id| cache.seen(&id).is_some_and(ObservedShare::is_live));
        self.breaker.lock().note(bound, missing, is_back, now)
    }

    /// A share is there again.
    pub fn share_came_back(&self, id: &str) {
        self.breaker.lock().came_back(id);
    }

    /// Why nothing may be written, if so.
    pub fn breaker(&self) -> Option<String> {
        let breaker = self.breaker.lock();
        let Opened { vanished, of, .. } = breaker.opened()?;
        let missing = match breaker.named() {
            "" => String::new(),
            named => format!(" (missing: {named})"),
        };
        Some(format!(
            "{vanished} of {of} shares of account {} were deleted or disappeared within 10 minutes{missing}, so cfshare \
             changes nothing in this account",
            self.id,
        ))
    }

    /// A person says that losses before that time are meant. Returns whether that closed the breaker.
    pub fn close_breaker(&self, confirmed: At, word: Word) -> bool {
        self.breaker.lock().close(confirmed.plus(CLOCK_RESOLUTION), word)
    }

    /// What a person said to the process before this one: which shares are meant to be gone, and when that was said.
    pub fn recall_accepted(&self, said: impl IntoIterator<Item = (Interned, At)>) {
        self.breaker.lock().recall(said.into_iter().map(|(id, at)| (id, at.plus(CLOCK_RESOLUTION))));
    }

    /// Shares that are missing are no new loss, but for those that were seen to go.
    pub fn discount_losses(&self, ids: impl IntoIterator<Item = Interned>) {
        self.breaker.lock().discount(ids);
    }

    /// When a person said that this share is meant to be gone, among all that vanished.
    pub fn accepted_at(&self, id: &str) -> Option<At> {
        self.breaker.lock().accepted(id).map(|until| until.minus(CLOCK_RESOLUTION))
    }

    /// Whether a person said that this share is meant to be gone.
    pub fn is_accepted(&self, id: &str) -> bool {
        self.accepted_at(id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::limiters::{Limiters, Requester};
    use super::*;
    use crate::api::{Kind, Name};
    use crate::core::limiter::{Priority, Rate};
    use crate::operator::clock::Clock;
    use crate::operator::cluster::work_queue::Requeuer;
    use crate::operator::vital::Vital;

    fn account() -> Account {
        let rate = Rate { per_second: 1.0, burst: 1, concurrency: 1 };
        let requeuer = Arc::new(Requeuer::new(Vec::new()));
        let limiters = Limiters::new(rate, 1.0, Clock(At::default), requeuer, Vital::default());
        let used = ResolvedCredential::new(Credential::Token("canary".into()));
        let id = AccountId::parse(&"a".repeat(32)).expect("an id");
        let limiter = limiters.of(used.fingerprint());
        Account::new(id, &used, limiter, Duration::from_secs(600), At(0))
    }

    /// Counts the losses of an account of ten shares; returns whether nothing may be written then.
    fn stops(account: &Account, missing: &str, second: i64) -> bool {
        let loss = |id: &str| Loss { object: format!("security/{id}"), is_hidden: false, reported: None };
        let missing = missing.split_whitespace().map(|id| (id.into(), loss(id))).collect();
        account.count_losses(10, &missing, At(second * 1000));
        account.breaker().is_some()
    }

    #[tokio::test]
    async fn shares_that_went_within_ten_minutes_stop_all_writes_and_those_that_went_before_do_not() {
        let table: [(&[(&str, i64)], bool); 5] = [
            (&[("a b", 0), ("a b c", 599)], true),
            (&[("a b", 0), ("a b c", 601)], false),
            (&[("a", 0), ("a b", 1200), ("a b c", 2400)], false),
            (&[("a", 0), ("a", 700), ("a b", 710), ("a b c d", 720)], true),
            // Two were recreated, and are bound under other ids.
            (&[("a b", 0), ("c", 300)], true),
        ];
        for (losses, expected) in table {
            let account = account();
            let stopped = losses.iter().fold(false, |_, (missing, second)| stops(&account, missing, *second));
            assert_eq!(stopped, expected, "{losses:?}");
        }
    }

    #[tokio::test]
    async fn a_share_that_came_back_counts_only_once_it_vanishes_again() {
        let account = account();
        assert!(!stops(&account, "a b", 0));
        account.share_came_back("a");
        assert!(!stops(&account, "b c", 300));
        assert!(stops(&account, "a b c", 310));
        assert!(!stops(&account, "", 320), "all are back");
    }

    #[tokio::test]
    async fn shares_that_were_reported_as_gone_long_before_are_no_new_loss() {
        let account = account();
        account.discount_losses(["a", "b", "c"].map(Interned::from));
        assert!(!stops(&account, "a b c", 0));
        assert!(!account.is_accepted("a"), "nobody said so");
        assert!(!stops(&account, "a b c d e", 10));
        assert!(stops(&account, "a b c d e f", 20));
        assert!(!stops(&account, "a b c", 30), "what vanished since is back");
        account.discount_losses(["a", "b", "c"].map(Interned::from));
        assert!(stops(&account, "a b c d e f", 40));
        assert!(account.close_breaker(At(40_000), Word::All));
        assert_eq!(["a", "d"].map(|id| account.accepted_at(id)), [None, Some(At(40_000))], "of what was seen to go");
    }

    #[tokio::test]
    async fn as_many_shares_are_read_alone_as_their_list_has_pages_and_those_are_counted_once() {
        let (account, counted) = (account(), std::cell::Cell::new(0));
        let taken = [1, 3, 9, 9, 9, 9].map(|pages| {
            account.take_early_read(|| {
                counted.set(counted.get() + 1);
                pages
            })
        });
        assert_eq!(taken, [false, true, true, true, false, false]);
        assert_eq!(counted.get(), 2, "again only while one call showed all");
    }

    #[tokio::test]
    async fn an_account_is_busy_once_more_shares_than_two_a_page_are_followed_by_however_many_objects() {
        let account = account();
        let object = |name| ObjectKey { kind: Kind::ShareRecipient, name: Name::new("security", name) };
        let follow = |name, id| account.follow(&object(name), &ShareId::parse(id).expect("an id"));
        for (name, id) in [("a", "s1"), ("b", "s1"), ("b", "s1"), ("c", "s2"), ("d", "s2")] {
            follow(name, id);
        }
        assert!(!account.is_busy(), "two shares");
        follow("b", "s3");
        assert!(account.is_busy());
        account.unfollow(&object("d"));
        assert!(account.is_busy(), "another object follows its share");
        follow("a", "s3");
        assert!(!account.is_busy(), "an object follows one share");
        for name in ["a", "a", "b", "c", "e"] {
            account.unfollow(&object(name));
        }
        assert!(account.followed.lock().is_empty());
    }

    #[tokio::test]
    async fn an_account_that_was_not_listed_for_long_blames_the_rate_limit_only_if_its_list_waits_for_that() {
        let account = account();
        let (id, limiter) = (account.id.clone(), account.limiter.clone());
        let passing = Duration::from_secs(60);
        let why = |second: i64| account.why_unreadable(At(second * 1000), passing).map(|error| error.class());
        assert_eq!(
            [0, 1799, 1800].map(why),
            [None, None, Some(ErrorClass::Retry)],
            "as after the clock was put forward"
        );
        let requester = Requester { caller: Caller::Sweep(id), priority: Priority::Sweep };
        let _permit = limiter.ask(&requester, 0, 1).expect("the first call");
        assert!(limiter.ask(&requester, 0, 1).is_none());
        assert_eq!(why(1800), Some(ErrorClass::Throttled));
        account.swept(At(1_800_000), Ok(()));
        assert_eq!([1800, 3600].map(why), [None, Some(ErrorClass::Throttled)]);
    }
}
