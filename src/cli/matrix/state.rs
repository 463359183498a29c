//! How far an account or a resource is in a share, in words that never say more than was seen.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// What is known of one account in one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Cloudflare says so, without an error.
    InPlace,
    /// On its way, or missing for now.
    Pending,
    /// Failed, or refused.
    Failed,
    /// The same, and a waiver accepts it for now.
    Waived,
    /// Declared no longer, and still there.
    Leaving,
    /// The same, and waiting for a person.
    Blocked,
    Excluded,
    /// It receives the share though the manifest excludes it.
    NotExcluded,
    /// There is no share at Cloudflare yet.
    NotShared,
    /// It is there, and no manifest declares it.
    Unmanaged,
    /// It cannot be said.
    Unknown,
    /// It is in no share here.
    Nothing,
}

/// One state, as the legend of the page explains it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Legend {
    id: &'static str,
    meaning: &'static str,
    symbol: &'static str,
    problem: bool,
}

impl State {
    /// What needs somebody first comes first.
    pub const ALL: [State; 12] = [
        State::Failed,
        State::NotExcluded,
        State::Blocked,
        State::Unknown,
        State::Unmanaged,
        State::Waived,
        State::Pending,
        State::Leaving,
        State::NotShared,
        State::InPlace,
        State::Excluded,
        State::Nothing,
    ];

    /// What the legend says of it, with its word for programs and a mark that tells it apart without colours.
    pub fn legend(self) -> Legend {
        let (id, symbol, meaning) = match self {
            State::InPlace => ("associated", "✓", "associated: Cloudflare says so, without an error"),
            State::Pending => ("pending", "…", "pending: in progress, or missing for now"),
            State::Failed => ("failed", "✗", "failed: Cloudflare reports an error or refused the call"),
            State::Waived => ("waived", "~", "failed (waived): the manifest accepts the failure until a date"),
            State::Leaving => ("toBeRemoved", "↓", "to be removed: no longer declared, but still receiving"),
            State::Blocked => {
                ("removalBlocked", "■", "to be removed (blocked): still receiving until someone confirms the removal")
            }
            State::Excluded => ("excluded", "⊘", "excluded from a share for an organization"),
            State::NotExcluded => {
                ("shouldBeExcluded", "!", "associated, should be excluded: the account receives the share")
            }
            State::NotShared => ("notShared", "○", "not shared yet: there is no share at Cloudflare"),
            State::Unmanaged => {
                ("unmanaged", "+", "not declared: someone else added the account, or created the share, at Cloudflare")
            }
            State::Unknown => ("unknown", "?", "unknown: the status does not prove a state"),
            State::Nothing => ("inNoShare", "·", "in no share here"),
        };
        Legend { id, meaning, symbol, problem: self.is_problem() }
    }

    pub fn id(self) -> &'static str {
        self.legend().id
    }

    /// Whether somebody should look at it.
    fn is_problem(self) -> bool {
        match self {
            State::InPlace | State::Excluded | State::Nothing | State::Waived => false,
            State::Pending | State::Failed | State::Leaving | State::Blocked | State::NotExcluded => true,
            State::NotShared | State::Unmanaged | State::Unknown => true,
        }
    }
}

/// One state with its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub state: State,
    /// As tables show it.
    pub word: String,
    /// Why, where there is something to say.
    pub why: String,
    /// Since when it has been so, where the status says.
    pub since: Option<Timestamp>,
}

impl Cell {
    pub fn new(state: State, word: impl Into<String>, why: impl Into<String>) -> Cell {
        Cell { state, word: word.into(), why: why.into(), since: None }
    }

    pub fn unknown(why: impl Into<String>) -> Cell {
        Cell::new(State::Unknown, "unknown", why)
    }

    pub fn associated() -> Cell {
        Cell::new(State::InPlace, "associated", "")
    }
}
