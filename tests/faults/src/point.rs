//! Where in a life can something go wrong, and what?

use std::fmt;
use std::str::FromStr;

/// What happens in a life, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Create,
    Edit,
    Children,
    Rotate,
    Delete,
}

impl Phase {
    pub const ALL: [Phase; 5] = [Phase::Create, Phase::Edit, Phase::Children, Phase::Rotate, Phase::Delete];

    fn word(self) -> &'static str {
        match self {
            Phase::Create => "create",
            Phase::Edit => "edit",
            Phase::Children => "children",
            Phase::Rotate => "rotate",
            Phase::Delete => "delete",
        }
    }
}

/// To whom the operator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Cloudflare,
    Kubernetes,
}

/// A kind of request within a phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub phase: Phase,
    pub side: Side,
    pub verb: String,
    /// The path with a star for each id; at the API server, kind and subresource.
    pub path: String,
    /// Which object it is about, by the name that it has in every life.
    pub role: String,
}

/// The n-th such request, from 1. It means the same in every life.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    pub place: Place,
    pub nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { phase, verb, path, role, side: _ } = &self.place;
        let space = if role.is_empty() { "" } else { " " };
        write!(f, "{} {verb} {path}{space}{role} #{}", phase.word(), self.nth)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The operator dies before the request is forwarded.
    KillBefore,
    /// It dies when the request was carried out and not yet answered.
    KillAfter,
    /// It is asked to end, and then the request is carried out and answered.
    Terminate,
    /// The request gets lost.
    Drop,
    /// The answer gets lost.
    ApplyDrop,
    /// The connection closes, and a second later the request is carried out.
    Late,
    /// Status 500, not carried out.
    RefuseBefore,
    /// Status 500, carried out.
    RefuseAfter,
}

impl Action {
    pub const ALL: [Action; 8] = [
        Action::KillBefore,
        Action::KillAfter,
        Action::Terminate,
        Action::Drop,
        Action::ApplyDrop,
        Action::Late,
        Action::RefuseBefore,
        Action::RefuseAfter,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Action::KillBefore => "kill-before",
            Action::KillAfter => "kill-after",
            Action::Terminate => "terminate",
            Action::Drop => "drop",
            Action::ApplyDrop => "apply-drop",
            Action::Late => "late",
            Action::RefuseBefore => "500-before",
            Action::RefuseAfter => "500-after",
        }
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(word: &str) -> Result<Action, String> {
        let found = Action::ALL.into_iter().find(|action| action.word() == word);
        let words = Action::ALL.map(Action::word).join(", ");
        found.ok_or(format!("{word} is no action: write one of {words}"))
    }
}

/// One fault of one life.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fault {
    pub point: Point,
    pub action: Action,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.point, self.action.word())
    }
}
