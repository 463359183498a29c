//! Explores every reachable state, checks what must hold in each, and whether each can still come to rest.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::laws;
use crate::model::{Action, Bounds, Explored};
use crate::world::World;

const SHARDS: usize = 64;

pub fn fingerprint(world: &World) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(world)
}

/// What the exploration of one world came to.
pub struct Outcome {
    pub states: usize,
    pub depth: usize,
    pub time: Duration,
    pub at_rest: usize,
    pub violation: Option<Violation>,
}

/// A law, and what leads to a state that breaks it.
pub struct Violation {
    pub law: &'static str,
    pub actions: Vec<Action>,
    pub end: World,
}

/// Explores to the end, or until a law is broken.
pub fn explore(bounds: Bounds, threads: usize) -> Outcome {
    let began = Instant::now();
    let recorder = Arc::new(Recorder::default());
    let explored = Explored { bounds, recorder: Some(recorder.clone()) };
    let checker = explored.checker().threads(threads).finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let broken = !checker.discoveries().is_empty();
    drop(checker);
    let (at_rest, violation) = if broken {
        (0, Some(way_to(bounds, laws::broken)))
    } else {
        let graph = Arc::try_unwrap(recorder).unwrap_or_default().graph();
        let stuck = graph.stuck();
        let is_stuck = |world: &World| stuck.contains(&fingerprint(world)).then_some(laws::HOPEFUL);
        (graph.rests.len(), (!stuck.is_empty()).then(|| way_to(bounds, is_stuck)))
    };
    Outcome { states, depth, time: began.elapsed(), at_rest, violation }
}

/// A shortest way to a state that breaks a law.
fn way_to(bounds: Bounds, broken: impl Fn(&World) -> Option<&'static str>) -> Violation {
    let explored = Explored { bounds, recorder: None };
    let mut reached: Vec<(World, Option<(usize, Action)>)> =
        explored.init_states().into_iter().map(|world| (world, None)).collect();
    let mut known: HashSet<u64> = reached.iter().map(|(world, _)| fingerprint(world)).collect();
    let mut at = 0;
    loop {
        let world = reached[at].0.clone();
        if let Some(law) = broken(&world) {
            return Violation { law, actions: way_back(&reached, at), end: world };
        }
        for (action, next) in explored.next_steps(&world) {
            if known.insert(fingerprint(&next)) {
                reached.push((next, Some((at, action))));
            }
        }
        at += 1;
    }
}

fn way_back(reached: &[(World, Option<(usize, Action)>)], mut at: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some((before, action)) = reached[at].1 {
        actions.push(action);
        at = before;
    }
    actions.reverse();
    actions
}

/// The graph that is explored: its states, and the steps between them that need no fault and nobody's will.
pub struct Recorder {
    shards: Vec<Mutex<Graph>>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

thread_local! {
    /// The state whose steps are being explored.
    static FROM: Cell<u64> = const { Cell::new(0) };
}

#[derive(Default)]
struct Graph {
    states: Vec<u64>,
    rests: Vec<u64>,
    /// From, to.
    edges: Vec<(u64, u64)>,
}

impl Recorder {
    fn shard(&self, of: u64) -> MutexGuard<'_, Graph> {
        let shard = &self.shards[usize::try_from(of % SHARDS as u64).unwrap_or(0)];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A state; the steps that are told next on this thread begin there.
    pub fn state(&self, world: &World, at_rest: bool) {
        let state = fingerprint(world);
        FROM.set(state);
        let mut shard = self.shard(state);
        shard.states.push(state);
        if at_rest {
            shard.rests.push(state);
        }
    }

    pub fn step(&self, to: &World) {
        let edge = (FROM.get(), fingerprint(to));
        self.shard(edge.0).edges.push(edge);
    }

    fn graph(self) -> Graph {
        let mut graph = Graph::default();
        for shard in self.shards {
            let shard = shard.into_inner().unwrap_or_else(PoisonError::into_inner);
            graph.states.extend(shard.states);
            graph.rests.extend(shard.rests);
            graph.edges.extend(shard.edges);
        }
        graph
    }
}

impl Graph {
    /// The states from which no state at rest can be reached: walked backward from those at rest.
    fn stuck(&self) -> HashSet<u64> {
        let hasher = ahash::RandomState::with_seeds(5, 6, 7, 8);
        let mut places: HashMap<u64, u32, ahash::RandomState> =
            HashMap::with_capacity_and_hasher(self.states.len(), hasher);
        for state in &self.states {
            let next = u32::try_from(places.len()).expect("fewer than 2^32 states");
            places.entry(*state).or_insert(next);
        }
        // For each state, where in `sources` those begin that lead to it.
        let mut begins = vec![0u32; places.len() + 1];
        let edges: Vec<(u32, u32)> =
            self.edges.iter().filter_map(|(from, to)| Some((*places.get(from)?, *places.get(to)?))).collect();
        for (_, to) in &edges {
            begins[*to as usize + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut free = begins.clone();
        let mut sources = vec![0u32; edges.len()];
        for (from, to) in &edges {
            sources[free[*to as usize] as usize] = *from;
            free[*to as usize] += 1;
        }
        let mut hopeful = vec![false; places.len()];
        let mut open: Vec<u32> = self.rests.iter().map(|state| places[state]).collect();
        for state in &open {
            hopeful[*state as usize] = true;
        }
        while let Some(state) = open.pop() {
            let (begin, end) = (begins[state as usize] as usize, begins[state as usize + 1] as usize);
            for source in &sources[begin..end] {
                if !std::mem::replace(&mut hopeful[*source as usize], true) {
                    open.push(*source);
                }
            }
        }
        places.into_iter().filter(|(_, place)| !hopeful[*place as usize]).map(|(state, _)| state).collect()
    }
}

impl Violation {
    pub fn tell(&self) -> String {
        let mut text = format!("{}, broken after {} steps:\n", self.law, self.actions.len());
        for (at, action) in self.actions.iter().enumerate() {
            text.push_str(&format!("  {:>2}  {action:?}\n", at + 1));
        }
        text
    }
}
