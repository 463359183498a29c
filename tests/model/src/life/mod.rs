//! The life of an object that declares one row of a Share: created, taken over, and deleted, in any order with its Share
//! and with whoever else declares the same row.
//!
//! A world of its own: one Share that may list the row, and two objects that may declare it. Two operators, one after the
//! other, with caches of the three objects that lag one by one; crashes at every step; calls that are lost, or applied with
//! the answer lost; writes to the API server without an answer; reads that lag. The decisions are those of `core::share_step`,
//! `core::child_step` and `core::row_step`.

mod decide;
mod happen;
mod laws;
mod world;

use clap::ValueEnum;

pub use happen::Step;
pub use laws::{DUPLICATE, KEPT, LEAK, LOOK, WANTED};
use world::{Budget, World};

use crate::search::{Help, Outcome, Space, search};

/// The operator as it is, and ones that lack a part of it, which must be found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Design {
    Sound,
    /// A child does not believe that the create which carried its row has taken effect.
    IgnoresAnswer,
    /// A child that is being deleted goes without waiting for its row to be gone.
    ReleasesUnlooked,
    /// A child removes its row whoever else declares it.
    ForgetsOthers,
    /// The Share removes a row that it listed once, though an object declares it now.
    ForgetsObjects,
    /// The Share drops a row from its inventory as soon as an object declares it.
    DropsAtOnce,
    /// A child goes as soon as another object declares its row, which may not have recorded it.
    ReleasesToAnybody,
    /// A Share that leaves its share behind goes before its objects know where their rows are.
    LeavesAtOnce,
    /// A child whose Share is gone does not know any more where its row is.
    ForgetsShare,
    /// A child goes with its Share though the share stays.
    GoesAlong,
    /// An add that got no answer is taken as one that made nothing.
    TrustsFailure,
}

impl Design {
    pub const CRIPPLED: [Design; 10] = [
        Design::IgnoresAnswer,
        Design::ReleasesUnlooked,
        Design::ForgetsOthers,
        Design::ForgetsObjects,
        Design::DropsAtOnce,
        Design::ReleasesToAnybody,
        Design::LeavesAtOnce,
        Design::ForgetsShare,
        Design::GoesAlong,
        Design::TrustsFailure,
    ];

    pub fn describe(self) -> &'static str {
        match self {
            Design::Sound => "the life of a child as it is",
            Design::IgnoresAnswer => "waits for a create that was answered",
            Design::ReleasesUnlooked => "releases without looking",
            Design::ForgetsOthers => "forgets the other declaration",
            Design::ForgetsObjects => "removes what an object declares now",
            Design::DropsAtOnce => "drops a row before its object has recorded it",
            Design::ReleasesToAnybody => "releases to an object that has not recorded the row",
            Design::LeavesAtOnce => "leaves a share before its objects have recorded it",
            Design::ForgetsShare => "forgets the share when the Share is gone",
            Design::GoesAlong => "goes with a Share whose share stays",
            Design::TrustsFailure => "takes a lost answer for a failure",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub design: Design,
    /// The row is the only resource of the share, and Cloudflare does not remove the last one.
    pub last: bool,
    /// The deletion of the Share waits for a person.
    pub held: bool,
    /// The older object leaves its row when it goes.
    pub retain: bool,
    /// The Share lists the row when it is applied.
    pub inline: bool,
    /// Ticks until a call that was announced cannot take effect any more.
    pub settle: u8,
    pub budget: Budget,
}

/// The worlds that are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A Share and an object, applied and deleted in any order; a call or its answer gets lost.
    Alone,
    /// The same with a crash, and a write to the API server without an answer.
    Crashes,
    /// A second object declares the same row.
    Rivals,
    /// The Share lists the row, and lists it no more.
    Moves,
    /// The lease passes to another operator.
    Takeover,
    /// The Share leaves its share behind, and is applied again.
    Retained,
    /// The deletion of the Share waits for a person, who may decide to keep the share.
    Held,
    /// The row is the last resource of its share.
    Last,
    /// The object leaves its row behind, and another one may declare it.
    Left,
    /// A person removes the row.
    Drift,
}

impl Scenario {
    pub const ALL: [Scenario; 10] = [
        Scenario::Alone,
        Scenario::Crashes,
        Scenario::Rivals,
        Scenario::Moves,
        Scenario::Takeover,
        Scenario::Retained,
        Scenario::Held,
        Scenario::Last,
        Scenario::Left,
        Scenario::Drift,
    ];

    pub fn bounds(self) -> Bounds {
        let none = Budget { applies: [1, 1, 0], ..Budget::default() };
        let with = |budget| Bounds {
            design: Design::Sound,
            last: false,
            held: false,
            retain: false,
            inline: false,
            settle: 1,
            budget,
        };
        match self {
            Scenario::Alone => with(Budget { losses: 1, ..none }),
            Scenario::Crashes => with(Budget { crashes: 1, unheard: 1, ..none }),
            Scenario::Rivals => with(Budget { applies: [1, 1, 1], losses: 1, ..none }),
            Scenario::Moves => with(Budget { edits: 2, losses: 1, ..none }),
            Scenario::Takeover => with(Budget { takeovers: 1, ..none }),
            Scenario::Retained => with(Budget { applies: [2, 1, 0], retains: 1, ..none }),
            Scenario::Held => Bounds { held: true, ..with(Budget { retains: 1, ..none }) },
            Scenario::Last => Bounds { last: true, ..with(Budget { spares: 1, ..none }) },
            Scenario::Left => Bounds { retain: true, ..with(Budget { applies: [1, 1, 1], ..none }) },
            Scenario::Drift => with(Budget { crashes: 1, removals: 1, ..none }),
        }
    }
}

/// A small world that shows what is wrong with a crippled design, and in which the real one must pass.
pub fn exposing(design: Design) -> Bounds {
    let calm = Budget { applies: [1, 1, 0], ..Budget::default() };
    let (scenario, budget) = match design {
        Design::Sound | Design::IgnoresAnswer | Design::ReleasesUnlooked => (Scenario::Alone, calm),
        Design::DropsAtOnce => (Scenario::Alone, calm),
        Design::TrustsFailure => (Scenario::Alone, Budget { losses: 1, ..calm }),
        Design::ForgetsOthers | Design::ReleasesToAnybody => (Scenario::Rivals, Budget { applies: [1, 1, 1], ..calm }),
        Design::ForgetsObjects => (Scenario::Moves, Budget { edits: 2, ..calm }),
        Design::LeavesAtOnce | Design::ForgetsShare | Design::GoesAlong => {
            (Scenario::Retained, Budget { retains: 1, ..calm })
        }
    };
    Bounds { design, budget, ..scenario.bounds() }
}

impl Space for Bounds {
    type World = World;
    type Step = Step;

    fn start(&self) -> World {
        World::new(self)
    }

    fn steps(&self, world: &World) -> Vec<(Step, World)> {
        let steps = happen::steps(world, self).into_iter();
        let after = steps.map(|step| {
            let mut next = world.clone();
            happen::happen(&mut next, step, self);
            (step, next)
        });
        after.filter(|(_, next)| next != world).collect()
    }

    fn broken(&self, world: &World) -> Option<&'static str> {
        laws::broken(world)
    }

    fn is_at_rest(&self, world: &World) -> bool {
        laws::is_at_rest(world, self)
    }

    fn help(&self, world: &World, step: Step) -> Help {
        happen::help(world, step)
    }

    fn has_ended(&self, world: &World) -> bool {
        laws::has_ended(world)
    }

    fn is_calm(&self, world: &World) -> bool {
        world.calm
    }
}

/// Explores to the end, or until a law is broken.
pub fn explore(bounds: Bounds) -> Outcome<Step> {
    search(&bounds)
}
