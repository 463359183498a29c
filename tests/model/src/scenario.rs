//! The worlds that are explored, and how much may go wrong in each.

use clap::ValueEnum;

use crate::design::Design;
use crate::model::Bounds;
use crate::world::Budget;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The create and the deletion of a share, with two operators that both act.
    Rivals,
    /// The same, with one operator at a time, and rows that are edited.
    Rows,
    /// A person makes and removes shares of the same name.
    Persons,
    /// The same, where the manifest allows taking over.
    Adoption,
}

impl Scenario {
    pub const ALL: [Scenario; 4] = [Scenario::Rivals, Scenario::Rows, Scenario::Persons, Scenario::Adoption];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::Rivals => "rivals",
            Scenario::Rows => "rows",
            Scenario::Persons => "persons",
            Scenario::Adoption => "adoption",
        }
    }

    pub fn bounds(self, design: Design) -> Bounds {
        let base = Bounds { design, rows: false, both: true, adopts: false, budget: Budget::default() };
        match self {
            Scenario::Rivals => Bounds {
                budget: Budget { crashes: 1, losses: 1, unheard: 1, deletions: 1, ..Budget::default() },
                ..base
            },
            Scenario::Rows => Bounds {
                rows: true,
                both: false,
                budget: Budget { crashes: 1, takeovers: 1, losses: 1, edits: 2, deletions: 0, ..Budget::default() },
                ..base
            },
            Scenario::Persons => Bounds {
                budget: Budget { crashes: 1, losses: 1, deletions: 1, makes: 1, removals: 1, ..Budget::default() },
                ..base
            },
            Scenario::Adoption => Bounds {
                adopts: true,
                budget: Budget { crashes: 1, losses: 1, deletions: 1, makes: 1, removals: 1, ..Budget::default() },
                ..base
            },
        }
    }
}
