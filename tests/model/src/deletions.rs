//! Does the guard for deleted Shares keep its limit through crashes and changes of leader?
//!
//! One account with a few Shares, deleted in any order and at any moment by persons who may confirm. The operator decides
//! with its own function, writes its record into the status of any other Share, sends, hands over and releases; it may
//! die between any two of these, and the next one knows what is in statuses only.

use std::collections::{HashMap, VecDeque};

use crate::core::deletions::{Decision, Facts, MaxDeletions, decide};

const SHARES: usize = 5;
const LIMIT: usize = 2;

/// A set of Shares, one bit each.
type Set = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Design {
    /// The operator as it is.
    Sound,
    /// What was deleted is remembered by the process alone.
    Forgetful,
    /// A Share that carries the record goes with it.
    NoHandOver,
    /// What was held back goes once the ten minutes are over.
    Impatient,
}

impl Design {
    pub const CRIPPLED: [Design; 3] = [Design::Forgetful, Design::NoHandOver, Design::Impatient];

    pub fn describe(self) -> &'static str {
        match self {
            Design::Sound => "the guard for deletions as it is",
            Design::Forgetful => "forgets deletions at a restart",
            Design::NoHandOver => "lets the record go with its Share",
            Design::Impatient => "takes time for a confirmation",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Object {
    gone: bool,
    deleting: bool,
    confirmed: bool,
    held: bool,
    /// What its status carries: deletions on record.
    record: Set,
    /// Its share lives at Cloudflare.
    live: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    objects: [Object; SHARES],
    /// What the process remembers.
    memory: Set,
    /// Deletions that the process is about to send.
    permitted: Set,
    /// Deletions that were sent without a confirmation, within the ten minutes.
    sent: Set,
    crashes: u8,
    /// Times that ten minutes pass.
    later: u8,
    broken: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Delete(usize),
    Confirm(usize),
    /// The operator decides, and writes its record into that Share's status where it needs one.
    Decide(usize, Option<usize>),
    Send(usize),
    /// Its share is gone: the record goes to that Share, and the finalizer goes.
    Release(usize, Option<usize>),
    Crash,
    TenMinutes,
}

pub struct Outcome {
    pub states: usize,
    /// The law that is broken, and what leads there.
    pub violation: Option<(&'static str, Vec<Action>)>,
}

/// Explores every state that can be reached, or until a law is broken. Shares differ in nothing but their number, so states
/// that differ in the numbers alone are one; each action names a Share by its number in the state before it.
pub fn explore(design: Design) -> Outcome {
    let object = Object { live: true, ..Object::default() };
    let first =
        World { objects: [object; SHARES], memory: 0, permitted: 0, sent: 0, crashes: 2, later: 1, broken: None };
    let mut came: HashMap<World, Option<(World, Action)>> = HashMap::from([(first.clone(), None)]);
    let mut open = VecDeque::from([first]);
    while let Some(world) = open.pop_front() {
        if let Some(law) = world.broken {
            let mut actions = Vec::new();
            let mut at = &world;
            while let Some(Some((before, action))) = came.get(at) {
                actions.push(*action);
                at = before;
            }
            actions.reverse();
            return Outcome { states: came.len(), violation: Some((law, actions)) };
        }
        for (action, next) in world.steps(design) {
            let next = next.sorted();
            if !came.contains_key(&next) {
                came.insert(next.clone(), Some((world.clone(), action)));
                open.push_back(next);
            }
        }
    }
    Outcome { states: came.len(), violation: None }
}

impl World {
    /// The same state with the Shares numbered by what is true of them.
    fn sorted(&self) -> World {
        let has = |set: Set, n: usize| set & bit(n) != 0;
        let mut order: [usize; SHARES] = std::array::from_fn(|n| n);
        order.sort_by_key(|&n| {
            let Object { gone, deleting, confirmed, held, record, live } = self.objects[n];
            let sets = [self.memory, self.permitted, self.sent].map(|set| has(set, n));
            let named = self.objects.iter().filter(|object| has(object.record, n)).count();
            (gone, deleting, confirmed, held, live, sets, named, has(record, n), record.count_ones())
        });
        let renumber = |set: Set| (0..SHARES).filter(|to| has(set, order[*to])).fold(0, |all, to| all | bit(to));
        World {
            objects: order.map(|n| Object { record: renumber(self.objects[n].record), ..self.objects[n] }),
            memory: renumber(self.memory),
            permitted: renumber(self.permitted),
            sent: renumber(self.sent),
            ..*self
        }
    }

    /// Who may carry the record when that Share is gone; nobody, where it is the last.
    fn keepers(&self, leaving: usize) -> Vec<Option<usize>> {
        let others = (0..SHARES).filter(|n| *n != leaving && !self.objects[*n].gone);
        let keepers: Vec<Option<usize>> = others.map(Some).collect();
        if keepers.is_empty() { vec![None] } else { keepers }
    }

    fn recorded(&self) -> Set {
        self.objects.iter().filter(|object| !object.gone).fold(self.memory, |all, object| all | object.record)
    }

    fn facts(&self, n: usize, design: Design) -> Facts {
        let (object, recorded) = (&self.objects[n], self.recorded());
        Facts {
            confirmed: object.confirmed,
            recorded: recorded & bit(n) != 0,
            withheld: object.held && design != Design::Impatient,
            recent: (recorded & !bit(n)).count_ones() as usize,
            managed: SHARES,
        }
    }

    fn steps(&self, design: Design) -> Vec<(Action, World)> {
        let mut steps = Vec::new();
        let mut step = |action: Action, change: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            change(&mut next);
            steps.push((action, next));
        };
        for (n, object) in self.objects.iter().enumerate().filter(|(_, object)| !object.gone) {
            if !object.deleting {
                step(Action::Delete(n), &|world| world.objects[n].deleting = true);
                continue;
            }
            if !object.confirmed {
                step(Action::Confirm(n), &|world| world.objects[n].confirmed = true);
            }
            if self.permitted & bit(n) != 0 {
                step(Action::Send(n), &|world| world.send(n));
            } else if object.live {
                for keeper in self.keepers(n) {
                    step(Action::Decide(n, keeper), &|world| world.decide(n, keeper, design));
                }
            } else {
                for keeper in self.keepers(n) {
                    step(Action::Release(n, keeper), &|world| world.release(n, keeper, design));
                }
            }
        }
        if self.crashes > 0 {
            step(Action::Crash, &|world| {
                (world.crashes, world.memory, world.permitted) = (world.crashes - 1, 0, 0);
            });
        }
        if self.later > 0 && self.permitted == 0 {
            step(Action::TenMinutes, &|world| {
                (world.later, world.memory, world.sent) = (world.later - 1, 0, 0);
                world.objects.iter_mut().for_each(|object| object.record = 0);
            });
        }
        steps
    }

    fn decide(&mut self, n: usize, keeper: Option<usize>, design: Design) {
        match decide(&self.facts(n, design), MaxDeletions::Count(LIMIT)) {
            Decision::Send => self.permitted |= bit(n),
            Decision::RecordAndSend => {
                self.memory |= bit(n);
                if let Some(keeper) = keeper.filter(|_| design != Design::Forgetful) {
                    self.objects[keeper].record = self.recorded();
                }
                self.permitted |= bit(n);
            }
            Decision::Withhold { .. } => self.objects[n].held = true,
        }
    }

    fn send(&mut self, n: usize) {
        self.permitted &= !bit(n);
        self.objects[n].live = false;
        if self.objects[n].confirmed {
            return;
        }
        self.sent |= bit(n);
        if self.objects[n].held {
            self.broken = Some("what is held back waits for a person");
        } else if self.sent.count_ones() as usize > LIMIT {
            self.broken = Some("no more than the limit within ten minutes");
        }
    }

    fn release(&mut self, n: usize, keeper: Option<usize>, design: Design) {
        if let Some(keeper) = keeper.filter(|_| self.objects[n].record != 0 && design != Design::NoHandOver) {
            self.objects[keeper].record |= self.recorded();
        }
        self.objects[n] = Object { gone: true, ..Object::default() };
    }
}

fn bit(n: usize) -> Set {
    1 << n
}
