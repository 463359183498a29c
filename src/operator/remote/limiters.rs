//! One rate limit of Cloudflare calls for each credential, no matter who spends from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::ObjectKey;
use crate::cloudflare::Fingerprint;
use crate::core::calls_left::{Limits, Sent};
use crate::core::id::AccountId;
use crate::core::limiter::{Priority, Rate, RateLimiter};
use crate::core::time::At;
use crate::operator::clock::Clock;
use crate::operator::cluster::work_queue::Requeuer;
use crate::operator::vital::Vital;

/// Tokens at the start of a process: few, so that a crash loop does not overspend.
const TOKENS_AT_START: u32 = 16;
/// How often those that wait are served.
const SERVE_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is looked up whether a limiter is still needed.
const NEED_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Cloudflare counts the calls of so long a time.
const RATE_WINDOW: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    Object(ObjectKey),
    Sweep(AccountId),
}

#[derive(Debug, Clone)]
pub struct Requester {
    pub caller: Caller,
    pub priority: Priority,
}

impl Caller {
    fn namespace(&self) -> &str {
        match self {
            Caller::Object(key) => &key.name.namespace,
            Caller::Sweep(_) => "",
        }
    }
}

pub struct Limiters {
    rate: Rate,
    /// The part of it that a credential has until it is known who else uses it.
    first: f64,
    clock: Clock,
    requeuer: Arc<Requeuer>,
    vital: Vital,
    limiters: Arc<Mutex<ByCredential>>,
}

type ByCredential = HashMap<Fingerprint, Arc<Limiter>>;

pub struct Limiter {
    state: Mutex<RateLimiter<Caller>>,
    clock: Clock,
    /// Somebody queued, or a call ended.
    moved: Notify,
    /// A sweep's turn came.
    sweeps: Notify,
}

/// The right to make some calls, one after the other.
pub struct Permit {
    limiter: Arc<Limiter>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.state.lock().done();
        self.limiter.moved.notify_one();
    }
}

impl Limiters {
    pub fn new(rate: Rate, first: f64, clock: Clock, requeuer: Arc<Requeuer>, vital: Vital) -> Limiters {
        Limiters { rate, first, clock, requeuer, vital, limiters: Arc::default() }
    }

    pub fn of(&self, credential: Fingerprint) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock();
        let start = || {
            let limiter = Arc::new(Limiter {
                state: Mutex::new(RateLimiter::new(self.rate.part(self.first), TOKENS_AT_START, self.clock.now())),
                clock: self.clock,
                moved: Notify::new(),
                sweeps: Notify::new(),
            });
            let work = serve(credential, limiter.clone(), self.requeuer.clone(), self.limiters.clone());
            tokio::spawn(self.vital.watch(work));
            limiter
        };
        limiters.entry(credential).or_insert_with(start).clone()
    }

    /// Which part of its rate each credential may use here, since other processes use the rest.
    pub fn divide(&self, part: impl Fn(Fingerprint) -> f64) {
        let now = self.clock.now();
        for (credential, limiter) in self.limiters.lock().iter() {
            limiter.state.lock().divide(self.rate, part(*credential), now);
        }
    }

    /// Calls that could be made at once and callers waiting, by credential.
    pub fn levels(&self) -> Vec<(Fingerprint, f64, usize)> {
        let (limiters, now) = (self.limiters.lock(), self.clock.now());
        let level = |(id, limiter): (&Fingerprint, &Arc<Limiter>)| {
            let mut state = limiter.state.lock();
            (*id, state.tokens_at(now), state.queued())
        };
        limiters.iter().map(level).collect()
    }
}

/// Wakes those whose turn came, as long as anybody waits. Ends with the limiter, which is dropped once it is needless.
async fn serve(
    credential: Fingerprint,
    limiter: Arc<Limiter>,
    requeuer: Arc<Requeuer>,
    limiters: Arc<Mutex<ByCredential>>,
) {
    loop {
        let due = limiter.state.lock().due(limiter.clock.now());
        for caller in due {
            match caller {
                Caller::Object(key) => requeuer.requeue(&key),
                Caller::Sweep(_) => limiter.sweeps.notify_waiters(),
            }
        }
        if limiter.state.lock().queued() > 0 {
            tokio::time::sleep(SERVE_INTERVAL).await;
        } else if tokio::time::timeout(NEED_CHECK_INTERVAL, limiter.moved.notified()).await.is_err()
            && drop_needless(credential, &mut limiters.lock())
        {
            return;
        }
    }
}

/// Drops a limiter that nobody holds any more, and that a new one could replace without more calls than the rate allows.
fn drop_needless(credential: Fingerprint, limiters: &mut ByCredential) -> bool {
    let is_needless = |limiter: &mut Arc<Limiter>| {
        // By others than `limiters` and the task that serves it. Nobody can get it meanwhile.
        let is_held = Arc::strong_count(limiter) > 2;
        let is_rested = limiter.state.lock().rests_for(RATE_WINDOW, limiter.clock.now());
        !is_held && is_rested
    };
    limiters.get_mut(&credential).is_some_and(is_needless) && limiters.remove(&credential).is_some()
}

impl Limiter {
    /// A permit for so many calls now; else the caller is queued, and woken when its turn comes for these and for
    /// those that it has `made` already.
    pub fn ask(self: &Arc<Self>, requester: &Requester, made: u32, calls: u32) -> Option<Permit> {
        let now = self.clock.now();
        let Requester { caller, priority } = requester;
        if self.state.lock().ask_on(caller, caller.namespace(), *priority, (made, calls), now) {
            Some(Permit { limiter: self.clone() })
        } else {
            self.moved.notify_one();
            None
        }
    }

    /// As `ask`, for what may wait: a sweep.
    pub async fn wait(self: &Arc<Self>, requester: &Requester, calls: u32) -> Permit {
        loop {
            let turned = self.sweeps.notified();
            if let Some(permit) = self.ask(requester, 0, calls) {
                return permit;
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), turned).await;
        }
    }

    /// The caller needs no more calls now.
    pub fn release(&self, requester: &Requester) {
        self.state.lock().release(&requester.caller);
        self.moved.notify_one();
    }

    /// Counts one of the caller's calls, which is sent now.
    pub fn send(&self, caller: &Caller) -> Sent {
        self.state.lock().send(caller)
    }

    /// Learns from the answer to a call, if one came, how much is left.
    pub fn learn_limits(&self, call: Sent, limits: Option<Limits>) {
        self.state.lock().learn_limits(call, limits, self.clock.now());
        self.moved.notify_one();
    }

    /// Whether a call that was granted must be asked for again: a limiter has asked for a pause, or says that no calls are
    /// left for it.
    pub fn must_ask_again(&self) -> bool {
        self.state.lock().must_ask_again(self.clock.now())
    }

    pub fn is_waiting(&self, caller: &Caller) -> bool {
        self.state.lock().is_waiting(caller)
    }

    /// Calls per second that may be made here.
    pub fn per_second(&self) -> f64 {
        self.state.lock().per_second()
    }

    pub fn closed_until(&self) -> Option<At> {
        self.state.lock().closed_until(self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::cloudflare::Credential;

    static NOW: AtomicI64 = AtomicI64::new(0);

    #[tokio::test]
    async fn a_limiter_goes_once_nobody_holds_it_and_the_rate_needs_it_no_more() {
        let clock = Clock(|| At(NOW.load(Ordering::SeqCst)));
        let rate = Rate { per_second: 3.0, burst: 240, concurrency: 8 };
        let limiters = Limiters::new(rate, 1.0, clock, Arc::new(Requeuer::new(Vec::new())), Vital::default());
        let credential = Credential::Token("canary".into()).fingerprint();
        let goes = |second: i64| {
            NOW.store(second * 1000, Ordering::SeqCst);
            drop_needless(credential, &mut limiters.limiters.lock())
        };
        let held = limiters.of(credential);
        assert!(!goes(75) && !goes(1000), "somebody holds it");
        let caller = Caller::Sweep(AccountId::parse(&"a".repeat(32)).expect("an id"));
        let requester = Requester { caller, priority: Priority::Edit };
        let permit = held.ask(&requester, 0, 200).expect("a permit");
        drop(held);
        assert!(!goes(2000), "a call is under way");
        drop(permit);
        limiters.of(credential).release(&requester);
        assert!(limiters.of(credential).ask(&requester, 0, 200).is_some());
        assert!(!goes(2010) && !goes(2080) && !goes(2379) && goes(2380));
        assert_eq!(limiters.levels().len(), 0);
        assert_eq!(limiters.of(credential).state.lock().tokens_at(clock.now()), f64::from(TOKENS_AT_START));
    }
}
