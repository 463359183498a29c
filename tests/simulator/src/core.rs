//! Where is everything kept, and how does somebody wait for a change of it?

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::Config;
use crate::clock::Clock;
use crate::fault::Faults;
use crate::gate::Gate;
use crate::ids::Ids;
use crate::journal::Journal;
use crate::world::World;

pub struct Core {
    config: Config,
    state: Mutex<State>,
    changed: Condvar,
    pulse: watch::Sender<u64>,
}

pub struct State {
    pub world: World,
    pub gate: Gate,
    pub faults: Faults,
    pub journal: Journal,
    pub held: BTreeMap<u64, Holding>,
    /// The last true answer by account and method.
    pub answers: HashMap<(String, String), Vec<u8>>,
}

/// A request that waits to be released.
pub struct Holding {
    pub shown: Held,
    pub release: oneshot::Sender<Release>,
}

/// A request that is held, under the number that releases it: its place in the journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Held {
    pub id: u64,
    pub rule: String,
    pub point: Point,
    pub method: String,
    pub path: String,
    pub account: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// It arrived and is not applied.
    Before,
    /// It is applied and not answered.
    After,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// Goes on: applied if it was not yet, and answered.
    Go,
    /// Applied if it was not yet; the connection is closed unanswered.
    ApplyDrop,
    /// The connection is closed unanswered; what is not applied will not be.
    Drop,
}

impl State {
    fn new(config: &Config) -> State {
        let ids = match config.seed {
            Some(seed) => Ids::seeded(seed),
            None => Ids::random(),
        };
        State {
            world: World::new(Clock::start(), ids, config.switches.clone(), config.delays.clone()),
            gate: Gate::new(config.limits.clone()),
            faults: Faults::default(),
            journal: Journal::default(),
            held: BTreeMap::new(),
            answers: HashMap::new(),
        }
    }
}

impl Core {
    pub fn new(config: Config) -> Core {
        Core { state: Mutex::new(State::new(&config)), config, changed: Condvar::new(), pulse: watch::Sender::new(0) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in one call must not take the others with it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everybody who waits.
    pub fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        self.pulse.send_modify(|beat| *beat += 1);
        result
    }

    pub fn reset(&self) {
        self.update(|state| *state = State::new(&self.config));
    }

    /// Blocks until `look` finds something, and gives up after `timeout`.
    pub fn wait<R>(&self, timeout: Duration, mut look: impl FnMut(&mut State) -> Option<R>) -> Option<R> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            // Changes by time alone wake nobody, so look again now and then.
            let nap = left.min(Duration::from_millis(20));
            let woken = self.changed.wait_timeout(state, nap);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same for a task.
    pub async fn wait_async<R>(&self, timeout: Duration, mut look: impl FnMut(&mut State) -> Option<R>) -> Option<R> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut beats = self.pulse.subscribe();
        loop {
            beats.mark_unchanged();
            if let Some(found) = look(&mut self.lock()) {
                return Some(found);
            }
            if tokio::time::Instant::now() >= deadline {
                return None;
            }
            let nap = tokio::time::Instant::now() + Duration::from_millis(20);
            // Whether it was a change or the time, the next look tells.
            let _ = tokio::time::timeout_at(nap.min(deadline), beats.changed()).await;
        }
    }
}
