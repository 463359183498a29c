//! How many rows a share loses without confirmation, whatever happens to the operators that remove them.
//!
//! A world of its own: rows that the Share lists and rows that objects declare, taken away one by one; two operators that
//! both believe to lead, with caches of the Share that lag; crashes between a record and its call. The decisions are those
//! of `core::guard`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use clap::ValueEnum;

use crate::core::guard::{self, Confirmation, Counted, Limit, Losses};
use crate::core::time::At;

/// The first are entries of the Share, the others objects.
const ROWS: usize = 4;
const INLINE: usize = 2;
const OPERATORS: usize = 2;
/// Half of the window: so many milliseconds pass in a tick.
const TICK: i64 = 300_000;
/// What is lost counts for ten minutes: in its tick and the next one.
const WINDOW: u8 = 2;
/// A record that is older does not count.
const OLD: u8 = 3;
const GENERATION: i64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Guard {
    /// As it is.
    Sound,
    /// Removals of objects are remembered by the process that makes them.
    Forgets,
    /// Entries and objects are counted separately.
    CountsApart,
    /// A removal is recorded once its call was answered.
    RecordsLate,
    /// One window for all: it begins with the first removal and ends ten minutes after.
    OneWindow,
    /// A confirmation holds for its generation for ever.
    EternalYes,
    /// A confirmation holds for whatever is taken away until all is removed.
    OpenYes,
}

impl Guard {
    pub const CRIPPLED: [Guard; 6] =
        [Guard::Forgets, Guard::CountsApart, Guard::RecordsLate, Guard::OneWindow, Guard::EternalYes, Guard::OpenYes];

    pub fn describe(self) -> &'static str {
        match self {
            Guard::Sound => "the guard as it is",
            Guard::Forgets => "forgets removed objects at a restart",
            Guard::CountsApart => "counts entries and objects separately",
            Guard::RecordsLate => "records a removal after its call",
            Guard::OneWindow => "starts the window anew for all at once",
            Guard::EternalYes => "takes one confirmation for all to come",
            Guard::OpenYes => "takes a confirmation for what is taken away while it is carried out",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub guard: Guard,
    pub limit: Limit,
    /// Which rows may be taken away; the others stay.
    pub rows: [bool; ROWS],
    pub crashes: u8,
    /// Writes to the API server that are applied without an answer.
    pub unheard: u8,
    pub ticks: u8,
    pub confirmations: u8,
}

/// What stands in the status of the Share, and of it what an operator has in its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Status {
    /// How many ticks ago the removal of a row was recorded.
    recorded: [Option<u8>; ROWS],
    /// The window that begins with the first removal: how old it is, and what it counts.
    window: Option<(u8, u8)>,
    confirmed: Option<Confirmation>,
    /// The rows that were confirmed.
    covered: [bool; ROWS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Operator {
    cache: Status,
    current: bool,
    /// What this process remembers of objects that it removed.
    memory: [Option<u8>; ROWS],
    /// It saw the annotation with this number, which may be gone again.
    asked: u32,
    /// A removal that it may make now, and whether it is confirmed.
    call: Option<(usize, bool)>,
    /// A removal that was answered and is not recorded yet.
    answered: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    live: [bool; ROWS],
    /// What reads may still show.
    before: [bool; ROWS],
    unwanted: [bool; ROWS],
    status: Status,
    operators: [Operator; OPERATORS],
    /// Calls under way: whether they are confirmed, and who waits for the answer.
    calls: [Option<(bool, Option<usize>)>; ROWS],
    /// How many ticks ago a row was lost that no person meant.
    lost: [Option<u8>; ROWS],
    /// What a person was asked about and confirmed.
    meant: [bool; ROWS],
    crashes: u8,
    unheard: u8,
    ticks: u8,
    confirmations: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A line is taken out, or an object is deleted.
    Unwant(usize),
    /// A person annotates the Share, having seen what waits.
    Confirm,
    CatchUp(usize),
    /// An operator decides on what a read shows (now, or before), and writes to the Share that it will remove a row.
    Begin {
        operator: usize,
        row: usize,
        lags: bool,
    },
    /// The same write, of which it hears nothing, so that it sends no call.
    BeginUnheard {
        operator: usize,
        row: usize,
        lags: bool,
    },
    /// An operator records that a person has confirmed.
    Accept {
        operator: usize,
        lags: bool,
    },
    /// An operator finds nothing to remove any more.
    Close(usize),
    Send(usize),
    Apply(usize),
    Record(usize),
    Crash(usize),
    Tick,
}

pub struct Outcome {
    pub states: usize,
    pub way: Option<Vec<Step>>,
}

impl Outcome {
    pub fn tell(&self) -> String {
        let steps = self.way.iter().flatten().enumerate();
        steps.map(|(at, step)| format!("  {:>2}  {step:?}\n", at + 1)).collect()
    }
}

/// Explores to the end, or until more is lost than may be, by a shortest way.
pub fn explore(bounds: Bounds) -> Outcome {
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let start = World::new(bounds);
    let first = hasher.hash_one(&start);
    let mut reached: HashMap<u64, Option<(u64, Step)>> = HashMap::from([(first, None)]);
    let mut open = VecDeque::from([(first, start)]);
    while let Some((state, world)) = open.pop_front() {
        if world.loses_too_much(bounds.limit) {
            let mut way = Vec::new();
            let mut at = state;
            while let Some(Some((before, step))) = reached.get(&at) {
                way.push(*step);
                at = *before;
            }
            way.reverse();
            return Outcome { states: reached.len(), way: Some(way) };
        }
        for step in world.steps(bounds) {
            let mut next = world.clone();
            next.happen(step, bounds);
            let fingerprint = hasher.hash_one(&next);
            if let Entry::Vacant(place) = reached.entry(fingerprint) {
                place.insert(Some((state, step)));
                open.push_back((fingerprint, next));
            }
        }
    }
    Outcome { states: reached.len(), way: None }
}

/// Whether what was recorded so many ticks ago still counts.
fn counts(age: u8) -> bool {
    guard::counts(At(0), At(i64::from(age) * TICK))
}

/// A tick later; what is as old as that is forgotten.
fn ages(ages: &mut [Option<u8>], until: u8) {
    for age in ages {
        *age = age.map(|age| age + 1).filter(|age| *age < until);
    }
}

impl World {
    fn new(bounds: Bounds) -> World {
        let operator = Operator {
            cache: Status::default(),
            current: true,
            memory: [None; ROWS],
            asked: 0,
            call: None,
            answered: None,
        };
        World {
            live: [true; ROWS],
            before: [true; ROWS],
            unwanted: [false; ROWS],
            status: Status::default(),
            operators: [operator; OPERATORS],
            calls: [None; ROWS],
            lost: [None; ROWS],
            meant: [false; ROWS],
            crashes: bounds.crashes,
            unheard: bounds.unheard,
            ticks: bounds.ticks,
            confirmations: bounds.confirmations,
        }
    }

    /// The law: within the window no more rows are lost than may be, of those that were there when it began.
    fn loses_too_much(&self, limit: Limit) -> bool {
        let lost = self.lost.iter().flatten().count();
        let live = self.live.iter().filter(|live| **live).count();
        lost > limit.of(Counted::Accounts, live + lost)
    }

    fn losses(&self, operator: &Operator, row: usize, lags: bool, guard: Guard) -> Losses {
        let shown = if lags { self.before } else { self.live };
        let apart = guard == Guard::CountsApart;
        let alike = |other: &usize| !apart || (*other < INLINE) == (row < INLINE);
        let pends = |row: &usize| self.unwanted[*row] && shown[*row];
        let recorded = |row: &usize| {
            let own = guard == Guard::Forgets && *row >= INLINE;
            if own { operator.memory[*row] } else { operator.cache.recorded[*row] }.is_some_and(counts)
        };
        let confirmed = |row: &usize| self.is_confirmed(operator, *row, guard);
        let pending = (0..ROWS).filter(alike).filter(|row| pends(row) && !confirmed(row)).count();
        let lately = match guard {
            Guard::OneWindow => operator.cache.window.map_or(0, |(_, count)| usize::from(count)),
            Guard::Sound
            | Guard::Forgets
            | Guard::CountsApart
            | Guard::RecordsLate
            | Guard::EternalYes
            | Guard::OpenYes => (0..ROWS).filter(alike).filter(|row| recorded(row) && !pends(row)).count(),
        };
        let total = (0..ROWS).filter(|row| shown[*row] || recorded(row)).count();
        Losses { total, pending, lately, ..Losses::default() }
    }

    fn is_confirmed(&self, operator: &Operator, row: usize, guard: Guard) -> bool {
        let confirmed = Confirmation::is_in_force(operator.cache.confirmed, GENERATION);
        match guard {
            Guard::EternalYes => operator.cache.confirmed.is_some(),
            Guard::OpenYes => confirmed,
            Guard::Sound | Guard::Forgets | Guard::CountsApart | Guard::RecordsLate | Guard::OneWindow => {
                confirmed && operator.cache.covered[row]
            }
        }
    }

    fn steps(&self, bounds: Bounds) -> Vec<Step> {
        let mut steps: Vec<Step> =
            (0..ROWS).filter(|row| bounds.rows[*row] && !self.unwanted[*row]).map(Step::Unwant).collect();
        let waits = (0..ROWS).any(|row| self.unwanted[row] && self.live[row]);
        if self.confirmations > 0 && waits {
            steps.push(Step::Confirm);
        }
        let views: &[bool] = if self.before == self.live { &[false] } else { &[false, true] };
        for (at, operator) in self.operators.iter().enumerate() {
            if !operator.current {
                steps.push(Step::CatchUp(at));
            }
            if self.crashes > 0 {
                steps.push(Step::Crash(at));
            }
            if operator.answered.is_some() {
                steps.push(Step::Record(at));
            }
            if operator.call.is_some() {
                steps.push(Step::Send(at));
                continue;
            }
            for &lags in views {
                steps.extend(self.decisions(at, lags, bounds));
            }
        }
        steps.extend((0..ROWS).filter(|row| self.calls[*row].is_some()).map(Step::Apply));
        let busy = self.calls.iter().any(Option::is_some) || self.operators.iter().any(|o| o.call.is_some());
        // A call is made and takes effect soon after its record, or not at all.
        if self.ticks > 0 && !busy {
            steps.push(Step::Tick);
        }
        steps
    }

    fn decisions(&self, at: usize, lags: bool, bounds: Bounds) -> Vec<Step> {
        let operator = &self.operators[at];
        let shown = if lags { self.before } else { self.live };
        let mut steps = Vec::new();
        let pending = (0..ROWS).filter(|row| self.unwanted[*row] && shown[*row]);
        let mut nothing = true;
        for row in pending {
            nothing = false;
            let exceed = self.losses(operator, row, lags, bounds.guard).exceed(bounds.limit, Counted::Accounts);
            let confirmed = self.is_confirmed(operator, row, bounds.guard);
            // A stale cache is refused by the API server, and nothing is called.
            if !operator.current && bounds.guard != Guard::RecordsLate {
                continue;
            }
            if !exceed || confirmed {
                steps.push(Step::Begin { operator: at, row, lags });
                if self.unheard > 0 {
                    steps.push(Step::BeginUnheard { operator: at, row, lags });
                }
            } else if operator.asked == Confirmation::next(operator.cache.confirmed, GENERATION, None).number {
                steps.push(Step::Accept { operator: at, lags });
            }
        }
        if nothing && operator.current && operator.cache.confirmed.is_some_and(|confirmed| confirmed.open) {
            steps.push(Step::Close(at));
        }
        steps
    }

    /// What the API server takes only from a cache that is as new as the object.
    fn write(&mut self, at: usize, status: Status, heard: bool) {
        self.status = status;
        for (other, operator) in self.operators.iter_mut().enumerate() {
            operator.current = other == at && heard;
        }
        if heard {
            self.operators[at].cache = status;
        }
    }

    fn happen(&mut self, step: Step, bounds: Bounds) {
        match step {
            Step::Unwant(row) => self.unwanted[row] = true,
            Step::Confirm => {
                self.confirmations -= 1;
                for row in 0..ROWS {
                    self.meant[row] |= self.unwanted[row] && self.live[row];
                }
                // The command in the message names the next number.
                let number = Confirmation::next(self.status.confirmed, GENERATION, None).number;
                self.operators.iter_mut().for_each(|operator| operator.asked = number);
            }
            Step::CatchUp(at) => (self.operators[at].cache, self.operators[at].current) = (self.status, true),
            Step::Begin { operator, row, .. } => self.begin(operator, row, true, bounds.guard),
            Step::BeginUnheard { operator, row, .. } => {
                self.unheard -= 1;
                self.begin(operator, row, false, bounds.guard);
            }
            Step::Accept { operator, lags } => {
                let cache = self.operators[operator].cache;
                let confirmed = Some(Confirmation::next(cache.confirmed, GENERATION, None));
                let shown = if lags { self.before } else { self.live };
                let covered: [bool; ROWS] = std::array::from_fn(|row| self.unwanted[row] && shown[row]);
                // What is taken away before the confirmation is recorded goes along.
                self.meant.iter_mut().zip(covered).for_each(|(meant, covered)| *meant |= covered);
                self.write(operator, Status { confirmed, covered, ..cache }, true);
            }
            Step::Close(at) => {
                let cache = self.operators[at].cache;
                let confirmed = cache.confirmed.map(|confirmed| Confirmation { open: false, ..confirmed });
                self.write(at, Status { confirmed, covered: [false; ROWS], ..cache }, true);
            }
            Step::Send(at) => {
                let Some((row, confirmed)) = self.operators[at].call.take() else { return };
                if self.live[row] {
                    self.calls[row] = Some((confirmed, Some(at)));
                }
            }
            Step::Apply(row) => {
                let Some((_, waits)) = self.calls[row].take() else { return };
                self.live[row] = false;
                if !self.meant[row] {
                    self.lost[row] = Some(0);
                }
                if let Some(at) = waits {
                    let operator = &mut self.operators[at];
                    operator.memory[row] = (bounds.guard == Guard::Forgets).then_some(0);
                    operator.answered = (bounds.guard == Guard::RecordsLate).then_some(row);
                }
            }
            Step::Record(at) => {
                let Some(row) = self.operators[at].answered.take() else { return };
                let mut status = self.status;
                status.recorded[row] = Some(0);
                self.write(at, status, true);
            }
            Step::Crash(at) => {
                self.crashes -= 1;
                let operator = &mut self.operators[at];
                *operator = Operator { cache: self.status, current: true, memory: [None; ROWS], asked: 0, ..*operator };
                (operator.call, operator.answered) = (None, None);
                for (_, waits) in self.calls.iter_mut().flatten() {
                    *waits = waits.filter(|waiting| *waiting != at);
                }
            }
            Step::Tick => {
                self.ticks -= 1;
                self.before = self.live;
                ages(&mut self.lost, WINDOW);
                ages(&mut self.status.recorded, OLD);
                let age = |window: &mut Option<(u8, u8)>| {
                    *window = window.map(|(age, count)| (age + 1, count)).filter(|(age, _)| *age < WINDOW);
                };
                age(&mut self.status.window);
                for operator in &mut self.operators {
                    ages(&mut operator.cache.recorded, OLD);
                    ages(&mut operator.memory, OLD);
                    age(&mut operator.cache.window);
                }
            }
        }
    }

    /// Records that a row is about to be removed; who hears of that may send the call.
    fn begin(&mut self, at: usize, row: usize, heard: bool, guard: Guard) {
        let operator = self.operators[at];
        let confirmed = self.is_confirmed(&operator, row, guard);
        let mut status = operator.cache;
        let own = guard == Guard::Forgets && row >= INLINE;
        if guard != Guard::RecordsLate && !confirmed && !own {
            status.recorded[row] = Some(0);
            if guard == Guard::OneWindow {
                status.window = Some(status.window.map_or((0, 1), |(age, count)| (age, count + 1)));
            }
        }
        if status != operator.cache {
            self.write(at, status, heard);
        }
        if heard {
            self.operators[at].call = Some((row, confirmed));
        }
    }
}

/// One entry and two objects are taken away, or all.
const MIXED: [bool; ROWS] = [true, false, true, true];
const ALL: [bool; ROWS] = [true; ROWS];

const NOTHING: Bounds = Bounds {
    guard: Guard::Sound,
    limit: Limit::Count(1),
    rows: MIXED,
    crashes: 0,
    unheard: 0,
    ticks: 0,
    confirmations: 0,
};

/// The worlds in which the guard as it is must hold.
pub const SOUND: [Bounds; 4] = [
    Bounds { crashes: 1, unheard: 1, ticks: 1, ..NOTHING },
    Bounds { limit: Limit::Default, rows: ALL, crashes: 1, ..NOTHING },
    Bounds { limit: Limit::Count(2), rows: ALL, ticks: 2, ..NOTHING },
    Bounds { limit: Limit::Count(0), crashes: 1, confirmations: 1, ..NOTHING },
];

/// A small world that shows what is wrong with a crippled guard, and in which the real one must hold.
pub fn exposing(guard: Guard) -> Bounds {
    let world = match guard {
        Guard::Sound | Guard::Forgets | Guard::CountsApart | Guard::RecordsLate => SOUND[0],
        Guard::OneWindow => SOUND[2],
        Guard::EternalYes | Guard::OpenYes => SOUND[3],
    };
    Bounds { guard, ..world }
}
