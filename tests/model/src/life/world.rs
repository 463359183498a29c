//! What a state consists of in which a Share and two objects that declare the same row live and end.

use crate::remote::{Row, Status};
use crate::world::{Record, RowSeen, View};

/// The Share, then the objects that declare the row, the older first.
pub const OBJECTS: usize = 3;
pub const SHARE: usize = 0;
pub const CHILDREN: [usize; 2] = [1, 2];
/// Shares that may be made at Cloudflare.
pub const SHARES: usize = 2;
pub const OPERATORS: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The objects as the API server has them.
    pub objects: [Object; OBJECTS],
    pub operators: [Operator; OPERATORS],
    pub leader: usize,
    pub remote: [Share; SHARES],
    /// The same a tick ago: what a lagging read may show.
    pub before: [Share; SHARES],
    pub requests: Vec<Request>,
    pub serial: u8,
    /// A call that adds the row to that share was sent, and nobody has looked since.
    pub posted: [bool; SHARES],
    /// The row may stay in that share, because an object that goes leaves it there.
    pub kept: [bool; SHARES],
    /// It has to, since nobody else declared it then.
    pub stays: [bool; SHARES],
    /// An object went with its Share, whose share was to be deleted.
    pub along: [bool; SHARES],
    /// Nothing went wrong so far.
    pub calm: bool,
    /// The law that the last step broke.
    pub broken: Option<&'static str>,
    pub budget: Budget,
}

/// How often each thing may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    pub applies: [u8; OBJECTS],
    /// The row is listed in the Share, or no more.
    pub edits: u8,
    /// The Share is told to leave its share at Cloudflare.
    pub retains: u8,
    /// The Share gets another resource.
    pub spares: u8,
    pub crashes: u8,
    pub takeovers: u8,
    /// Requests and answers that get lost, are refused, or come late.
    pub losses: u8,
    /// Writes to the API server that are applied without an answer.
    pub unheard: u8,
    /// Times that a person removes the row.
    pub removals: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Life {
    #[default]
    Absent,
    Live,
    Deleting,
}

/// A Share, or an object that declares the row: manifest and record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Object {
    pub life: Life,
    pub finalizer: bool,
    pub retain: bool,
    /// The share that is recorded.
    pub bound: Option<usize>,
    /// What is recorded of the row.
    pub row: Record,
    /// Of a Share: it lists the row.
    pub inline: bool,
    /// Of a Share: it has another resource.
    pub spare: bool,
    /// Of a Share: a person has confirmed its deletion.
    pub confirmed: bool,
    /// Of a Share.
    pub intent: Option<Intent>,
    /// Of a child: its record is its own.
    pub claimed: bool,
    /// Of a child: its status says that Cloudflare refused to remove the last resource.
    pub last: bool,
}

/// A create, announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intent {
    pub serial: u8,
    /// Shares that its operator had seen before, one bit each.
    pub known: u8,
    /// Ticks since.
    pub age: u8,
}

/// One process: its caches of the objects, what it has read and remembers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Operator {
    pub cache: [Object; OBJECTS],
    /// Which of them are as new as the objects.
    pub current: [bool; OBJECTS],
    pub views: [View; SHARES],
    pub rows: [Rows; SHARES],
    /// The list was read within this tick.
    pub looked: bool,
    /// By object: the call that adds the row has taken effect.
    pub answered: [bool; OBJECTS],
    /// By object: the row was found in place a tick ago or longer.
    pub sure: [bool; OBJECTS],
    /// By object: it has waited for long that another one records the row.
    pub overdue: [bool; OBJECTS],
    pub call: Option<Waiting>,
    pub pending: Option<Pending>,
}

/// What is known of the row in one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rows {
    pub seen: RowSeen,
    /// It was read within this tick.
    pub fresh: bool,
    /// An answer to its own call within this tick says so.
    pub own: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// The object whose pass made the call.
    pub by: usize,
    pub call: Call,
    pub reply: Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Pending,
    Made(usize),
    /// The row is there now, or is being removed.
    Row(RowSeen),
    Deleting,
    NotFound,
    Refused,
    /// No answer will come.
    Lost,
}

/// A changing call to Cloudflare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Create { serial: u8, carries: bool },
    Add { share: usize },
    Remove { share: usize },
    Delete { share: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    pub call: Call,
    pub from: Option<usize>,
    pub age: u8,
}

/// What an answer brought, and is not recorded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pending {
    Bind {
        share: usize,
        serial: u8,
    },
    Withdraw {
        serial: u8,
    },
    /// The call that adds the row was refused.
    Drop(usize),
    /// The row is being removed because of the object.
    Removed(usize),
    /// The removal was refused, since a share must keep one resource.
    Last(usize),
}

/// A share at Cloudflare, with the one row that this is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Share {
    pub status: Status,
    pub row: Row,
}

impl Object {
    pub fn is(&self, life: Life) -> bool {
        self.life == life
    }

    /// Its finalizer and its record are its own.
    pub fn has_claimed(&self) -> bool {
        self.life != Life::Absent && self.finalizer && self.claimed
    }

    /// Of a child: the row is there because of it.
    pub fn holds(&self) -> bool {
        self.claimed && self.row != Record::Never
    }

    fn tick(&mut self, settle: u8) {
        let older = |age: u8| if age > settle { age } else { age + 1 };
        if let Some(intent) = &mut self.intent {
            intent.age = older(intent.age);
        }
        if let Record::Intended { age } = &mut self.row {
            *age = older(*age);
        }
    }
}

impl Operator {
    pub fn learn(&mut self, object: usize, objects: &[Object; OBJECTS]) {
        self.cache[object] = objects[object];
        self.current[object] = true;
    }

    /// The call that adds the row has taken effect, so short ago that a read need not show it.
    pub fn learned(&mut self, object: usize, answered: bool) {
        self.answered[object] = answered;
        self.sure[object] &= !answered;
    }

    /// The process dies and starts again: the calls that it waited for, and all that it read, are lost to it.
    pub fn restart(&mut self) {
        *self = Operator { cache: self.cache, current: self.current, ..Operator::default() };
    }

    /// It loses the lease, or gets it: it begins again, but for an answer that it still waits for.
    pub fn hand_over(&mut self) {
        let (call, pending) = (self.call, self.pending);
        self.restart();
        (self.call, self.pending) = (call, pending);
    }

    pub fn has_memory(&self) -> bool {
        let mut restarted = self.clone();
        restarted.restart();
        *self != restarted
    }

    fn tick(&mut self, settle: u8) {
        self.looked = false;
        self.sure = [true; OBJECTS];
        self.cache.iter_mut().for_each(|object| object.tick(settle));
        self.views.iter_mut().for_each(View::tick);
        for rows in &mut self.rows {
            (rows.fresh, rows.own) = (false, false);
        }
    }
}

impl World {
    /// An object was changed: what others have of it is old.
    pub fn changed(&mut self, object: usize, by: Option<usize>) {
        for (at, operator) in self.operators.iter_mut().enumerate() {
            if Some(at) == by {
                operator.learn(object, &self.objects);
            } else {
                operator.current[object] = false;
            }
        }
    }

    /// Whether time may go on: what the promise bounds must have happened by then.
    pub fn may_tick(&self, settle: u8) -> bool {
        let waits = self.operators.iter().any(|operator| operator.call.is_some());
        !waits && self.requests.iter().all(|request| request.age < settle)
    }

    /// `awaited`: for which objects another one did not record the row, though it had the time.
    pub fn tick(&mut self, settle: u8, awaited: [bool; OBJECTS]) {
        self.objects.iter_mut().for_each(|object| object.tick(settle));
        for (at, operator) in self.operators.iter_mut().enumerate() {
            operator.tick(settle);
            if at == self.leader {
                operator.overdue = awaited;
            }
        }
        self.requests.iter_mut().for_each(|request| request.age += 1);
        self.before = self.remote;
    }

    /// What a call makes of Cloudflare, and how it is answered.
    /// `last`: where the row is the share's only resource, which Cloudflare does not remove.
    pub fn apply(&mut self, call: Call, last: bool) -> Reply {
        let refuses_last = last && !self.objects[SHARE].spare;
        match call {
            Call::Create { carries, .. } => {
                let Some(at) = self.remote.iter().position(|share| share.status == Status::Unmade) else {
                    return Reply::Refused;
                };
                let row = Row { live: u8::from(carries), leaving: false };
                self.remote[at] = Share { status: Status::Live, row };
                self.posted[at] = carries;
                Reply::Made(at)
            }
            Call::Add { share } if self.remote[share].status == Status::Live => {
                let row = &mut self.remote[share].row;
                row.live = (row.live + 1).min(2);
                Reply::Row(RowSeen::Live)
            }
            Call::Add { .. } => Reply::Refused,
            Call::Remove { share } if self.remote[share].status == Status::Live && self.remote[share].row.live > 0 => {
                if refuses_last {
                    return Reply::Refused;
                }
                let row = &mut self.remote[share].row;
                *row = Row { live: row.live - 1, leaving: true };
                Reply::Row(RowSeen::Leaving)
            }
            Call::Remove { .. } => Reply::NotFound,
            Call::Delete { share } => match self.remote[share].status {
                Status::Live | Status::Leaving => {
                    self.remote[share].status = Status::Leaving;
                    Reply::Deleting
                }
                Status::Unmade | Status::Gone => Reply::NotFound,
            },
        }
    }
}
