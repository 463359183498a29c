//! One budget of Cloudflare calls for each credential, whoever spends from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::api::ObjectKey;
use crate::cloudflare::{Fingerprint, Limits};
use crate::core::id::AccountId;
use crate::core::left::{Sent, Told};
use crate::core::pace::{Class, Pace, Rate};
use crate::core::time::At;
use crate::operator::clock::Clock;
use crate::operator::cluster::wakes::Wakes;

/// Tokens at the start of a process: few, so that a crash loop does not overspend.
const TOKENS_AT_START: u32 = 10;
/// How often those that wait are served.
const TICK: Duration = Duration::from_millis(50);

/// Who asks for calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    Object(ObjectKey),
    Sweep(AccountId),
}

/// A caller, and how urgent its calls are.
#[derive(Debug, Clone)]
pub struct Turn {
    pub caller: Caller,
    pub namespace: String,
    pub class: Class,
}

pub struct Budgets {
    rate: Rate,
    clock: Clock,
    wakes: Arc<Wakes>,
    budgets: Mutex<HashMap<Fingerprint, Arc<Budget>>>,
}

pub struct Budget {
    pace: Mutex<Pace<Caller>>,
    clock: Clock,
    /// Somebody queued, or a call ended.
    moved: Notify,
    /// A sweep's turn came.
    sweeps: Notify,
}

/// The right to make some calls, one after the other.
pub struct Permit {
    budget: Arc<Budget>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().done();
        self.budget.moved.notify_one();
    }
}

impl Budgets {
    pub fn new(rate: Rate, clock: Clock, wakes: Arc<Wakes>) -> Budgets {
        Budgets { rate, clock, wakes, budgets: Mutex::default() }
    }

    pub fn of(&self, credential: Fingerprint) -> Arc<Budget> {
        let mut budgets = self.budgets.lock();
        let start = || {
            let budget = Arc::new(Budget {
                pace: Mutex::new(Pace::new(self.rate, TOKENS_AT_START, self.clock.now())),
                clock: self.clock,
                moved: Notify::new(),
                sweeps: Notify::new(),
            });
            tokio::spawn(serve(budget.clone(), self.wakes.clone()));
            budget
        };
        budgets.entry(credential).or_insert_with(start).clone()
    }

    /// Tokens left and callers waiting, by credential.
    pub fn levels(&self) -> Vec<(Fingerprint, f64, usize)> {
        let budgets = self.budgets.lock();
        let level = |(id, budget): (&Fingerprint, &Arc<Budget>)| {
            let pace = budget.lock();
            (*id, pace.tokens(), pace.queued())
        };
        budgets.iter().map(level).collect()
    }
}

/// Wakes those whose turn came, as long as anybody waits.
async fn serve(budget: Arc<Budget>, wakes: Arc<Wakes>) {
    loop {
        let due = {
            let mut pace = budget.lock();
            pace.due(budget.clock.now())
        };
        for caller in due {
            match caller {
                Caller::Object(key) => wakes.wake(&key),
                Caller::Sweep(_) => budget.sweeps.notify_waiters(),
            }
        }
        if budget.lock().queued() > 0 {
            tokio::time::sleep(TICK).await;
        } else {
            budget.moved.notified().await;
        }
    }
}

impl Budget {
    fn lock(&self) -> MutexGuard<'_, Pace<Caller>> {
        self.pace.lock()
    }

    /// A permit for so many calls now; else the caller is queued, and woken when its turn comes for these and for
    /// those that it has `made` already.
    pub fn ask(self: &Arc<Self>, turn: &Turn, made: u32, calls: u32) -> Option<Permit> {
        let now = self.clock.now();
        let granted = self.lock().ask_on(&turn.caller, &turn.namespace, turn.class, (made, calls), now);
        if granted {
            Some(Permit { budget: self.clone() })
        } else {
            self.moved.notify_one();
            None
        }
    }

    /// As `ask`, for what may wait: a sweep.
    pub async fn wait(self: &Arc<Self>, turn: &Turn, calls: u32) -> Permit {
        loop {
            let turned = self.sweeps.notified();
            if let Some(permit) = self.ask(turn, 0, calls) {
                return permit;
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), turned).await;
        }
    }

    /// The caller needs no more calls now.
    pub fn release(&self, turn: &Turn) {
        self.lock().release(&turn.caller);
        self.moved.notify_one();
    }

    /// One of the caller's calls leaves.
    pub fn send(&self, caller: &Caller) -> Sent {
        self.lock().send(caller)
    }

    /// Learns from the answer to a call, if one came, how much is left.
    pub fn heed(&self, call: Sent, limits: Option<&Limits>) {
        let now = self.clock.now();
        let told = limits.map(|limits| Told { remaining: limits.remaining, reset: limits.reset });
        self.lock().heed(call, told, limits.and_then(|limits| limits.retry_after), now);
        self.moved.notify_one();
    }

    /// Whether a call that was granted must be asked for again: a limiter has asked for a pause, or says that no calls are
    /// left for it.
    pub fn must_ask_again(&self) -> bool {
        self.lock().must_ask_again(self.clock.now())
    }

    pub fn closed_until(&self) -> Option<At> {
        self.lock().closed_until(self.clock.now())
    }
}
