//! Explores the whole of a small world step by step: what breaks a law, and what can never come to rest?

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;

/// A world with all that may happen in it.
pub trait Space {
    type World: Clone + Hash;
    type Step: Copy + Debug;

    fn start(&self) -> Self::World;
    fn steps(&self, world: &Self::World) -> Vec<(Self::Step, Self::World)>;
    /// The law that a state breaks.
    fn broken(&self, world: &Self::World) -> Option<&'static str>;

    /// Nothing is under way, and everything is as it should be.
    fn is_at_rest(&self, _: &Self::World) -> bool {
        true
    }

    /// How a step brings the world to rest, if it is no fault and nobody's will.
    fn help(&self, _: &Self::World, _: Self::Step) -> Help {
        Help::None
    }

    /// What has to end has ended.
    fn has_ended(&self, _: &Self::World) -> bool {
        true
    }

    /// Nothing went wrong so far, so what has to end ends without waiting for time to pass.
    fn is_calm(&self, _: &Self::World) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Help {
    None,
    Now,
    /// Time passes.
    Later,
}

/// What is checked once all states are known: each can come to rest without a fault and without anybody's help.
pub const HOPEFUL: &str = "everything comes to rest";
/// Where nothing went wrong, without time passing.
pub const PROMPT: &str = "what has to end does not wait for time to pass";

pub struct Outcome<S> {
    pub states: usize,
    pub at_rest: usize,
    /// The law that is broken, and a shortest way there.
    pub violation: Option<(&'static str, Vec<S>)>,
}

impl<S: Debug> Outcome<S> {
    pub fn tell(&self) -> String {
        let Some((law, way)) = &self.violation else { return "nothing is broken".to_owned() };
        let steps = way.iter().enumerate().map(|(at, step)| format!("  {:>2}  {step:?}\n", at + 1));
        format!("{law}, broken after {} steps:\n{}", way.len(), steps.collect::<String>())
    }
}

/// Explores to the end, or until a law is broken.
pub fn search<T: Space>(space: &T) -> Outcome<T::Step> {
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut graph = Graph {
        came: Vec::new(),
        rests: Vec::new(),
        ends: Vec::new(),
        calm: Vec::new(),
        now: Vec::new(),
        later: Vec::new(),
    };
    let start = space.start();
    let mut places: HashMap<u64, u32, ahash::RandomState> = HashMap::with_hasher(hasher.clone());
    places.insert(hasher.hash_one(&start), 0);
    graph.came.push(None);
    let mut open = VecDeque::from([(0, start)]);
    while let Some((at, world)) = open.pop_front() {
        if let Some(law) = space.broken(&world) {
            return graph.outcome(Some((law, at)));
        }
        if space.is_at_rest(&world) {
            graph.rests.push(at);
        }
        if space.has_ended(&world) {
            graph.ends.push(at);
        }
        if space.is_calm(&world) {
            graph.calm.push(at);
        }
        for (step, next) in space.steps(&world) {
            let to = match places.entry(hasher.hash_one(&next)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let to = u32::try_from(graph.came.len()).expect("fewer than 2^32 states");
                    place.insert(to);
                    graph.came.push(Some((at, step)));
                    open.push_back((to, next));
                    to
                }
            };
            match space.help(&world, step) {
                Help::None => {}
                Help::Now => graph.now.push((at, to)),
                Help::Later => graph.later.push((at, to)),
            }
        }
    }
    let prompt = graph.lead_to(&graph.ends, &graph.now);
    let late = graph.calm.iter().copied().find(|at| !prompt[*at as usize]);
    let all: Vec<(u32, u32)> = graph.now.iter().chain(&graph.later).copied().collect();
    let hopeful = graph.lead_to(&graph.rests, &all);
    let stuck = (0..graph.came.len()).find(|at| !hopeful[*at]).and_then(|at| u32::try_from(at).ok());
    graph.outcome(stuck.map(|at| (HOPEFUL, at)).or(late.map(|at| (PROMPT, at))))
}

/// The states by number, and the steps between them.
struct Graph<S> {
    came: Vec<Option<(u32, S)>>,
    rests: Vec<u32>,
    ends: Vec<u32>,
    calm: Vec<u32>,
    now: Vec<(u32, u32)>,
    later: Vec<(u32, u32)>,
}

impl<S: Copy> Graph<S> {
    fn outcome(self, broken: Option<(&'static str, u32)>) -> Outcome<S> {
        let violation = broken.map(|(law, end)| {
            let mut way = Vec::new();
            let mut at = end;
            while let Some((before, step)) = self.came[at as usize] {
                way.push(step);
                at = before;
            }
            way.reverse();
            (law, way)
        });
        Outcome { states: self.came.len(), at_rest: self.rests.len(), violation }
    }

    /// From which states these steps lead to one of those: walked backward.
    fn lead_to(&self, ends: &[u32], edges: &[(u32, u32)]) -> Vec<bool> {
        let mut begins = vec![0usize; self.came.len() + 1];
        for (_, to) in edges {
            begins[*to as usize + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut free = begins.clone();
        let mut sources = vec![0u32; edges.len()];
        for (from, to) in edges {
            sources[free[*to as usize]] = *from;
            free[*to as usize] += 1;
        }
        let mut reaches = vec![false; self.came.len()];
        let mut open = ends.to_vec();
        for at in &open {
            reaches[*at as usize] = true;
        }
        while let Some(at) = open.pop() {
            for source in &sources[begins[at as usize]..begins[at as usize + 1]] {
                if !std::mem::replace(&mut reaches[*source as usize], true) {
                    open.push(*source);
                }
            }
        }
        reaches
    }
}
