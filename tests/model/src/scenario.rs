//! The worlds that are explored, and how much may go wrong in each.

use clap::ValueEnum;

use crate::design::Design;
use crate::model::Bounds;
use crate::world::Budget;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Two operators act at once on the create and the deletion of a share; calls and answers get lost.
    Rivals,
    /// They crash, and writes to the API server are applied without an answer.
    Crashes,
    /// A person removes shares, calls get lost, and clocks agree.
    Clocks,
    /// A person makes a share of the same name.
    Persons,
    /// The same; the manifest allows taking it over, and a person removes shares.
    Adoption,
    /// One operator after the other looks after rows that are edited.
    Edits,
    /// One operator after the other looks after rows that a person removes.
    Drift,
    /// A call may take effect for twice as long as a read may lag behind.
    Slow,
}

impl Scenario {
    pub const ALL: [Scenario; 8] = [
        Scenario::Rivals,
        Scenario::Crashes,
        Scenario::Clocks,
        Scenario::Persons,
        Scenario::Adoption,
        Scenario::Edits,
        Scenario::Drift,
        Scenario::Slow,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::Rivals => "rivals",
            Scenario::Crashes => "crashes",
            Scenario::Clocks => "clocks",
            Scenario::Persons => "persons",
            Scenario::Adoption => "adoption",
            Scenario::Edits => "edits",
            Scenario::Drift => "drift",
            Scenario::Slow => "slow",
        }
    }

    pub fn bounds(self) -> Bounds {
        let none = Budget::default();
        let whole = |budget| Bounds {
            design: Design::Sound,
            rows: false,
            both: true,
            adopts: false,
            skew: true,
            settle: 1,
            budget,
        };
        let rows = |budget| Bounds { rows: true, both: false, ..whole(budget) };
        match self {
            Scenario::Rivals => whole(Budget { losses: 1, deletions: 1, ..none }),
            Scenario::Crashes => whole(Budget { crashes: 1, unheard: 1, losses: 1, ..none }),
            Scenario::Clocks => Bounds { skew: false, ..whole(Budget { losses: 1, removals: 1, ..none }) },
            Scenario::Persons => whole(Budget { makes: 1, deletions: 1, ..none }),
            Scenario::Adoption => Bounds { adopts: true, ..whole(Budget { makes: 1, removals: 1, ..none }) },
            Scenario::Edits => rows(Budget { takeovers: 1, losses: 1, edits: 2, ..none }),
            Scenario::Drift => rows(Budget { crashes: 1, losses: 1, removals: 1, deletions: 1, ..none }),
            Scenario::Slow => Bounds { settle: 2, ..rows(Budget { crashes: 1, losses: 1, edits: 1, ..none }) },
        }
    }
}

/// A small world that shows what is wrong with a crippled design, and in which the real one must pass.
pub fn exposing(design: Design) -> Bounds {
    let with = |scenario: Scenario, budget| Bounds { design, budget, ..scenario.bounds() };
    let none = Budget::default();
    match design {
        Design::Sound | Design::NoIntent => with(Scenario::Rivals, none),
        Design::NameOnly => with(Scenario::Persons, Budget { makes: 1, deletions: 1, ..none }),
        Design::TrustFailure | Design::TrustSilence | Design::TrustClock | Design::HastyLook => {
            with(Scenario::Rivals, Budget { losses: 1, ..none })
        }
        Design::HastySight => with(Scenario::Persons, Budget { removals: 1, ..none }),
        Design::AnyNotFound => with(Scenario::Rivals, Budget { deletions: 1, ..none }),
        Design::HastyRow => with(Scenario::Edits, Budget { losses: 1, edits: 2, ..none }),
        Design::HastyAbsence => with(Scenario::Drift, Budget { crashes: 1, removals: 1, ..none }),
        Design::HastyConfirm => with(Scenario::Drift, Budget { crashes: 1, losses: 1, removals: 1, ..none }),
        Design::BlindBind => with(Scenario::Persons, Budget { removals: 1, ..none }),
    }
}
