//! What a state of the modelled world consists of.
//!
//! Time passes in ticks of the operator's patience: for less than a tick reads may lag behind. A call takes effect
//! within a given number of ticks since it was announced, or never: that is the settle time.

use crate::remote::{Remote, Request, Status};

pub const OPERATORS: usize = 2;
/// The recipient and the resource.
pub const ROWS: usize = 2;
/// A person's share, and those that the operators may make.
pub const SHARES: usize = 4;
/// Which of them is the person's.
pub const PERSONS: usize = 0;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The object as the API server has it.
    pub object: Object,
    pub operators: [Operator; OPERATORS],
    /// Who holds the lease, where there is one.
    pub leader: usize,
    pub remote: Remote,
    /// The same a tick ago: what a lagging read may show.
    pub before: Remote,
    /// Calls on their way, in the order in which they were sent.
    pub requests: Vec<Request>,
    /// Number of the last create.
    pub serial: u8,
    /// A person's share was taken over because the manifest says so.
    pub claimed: bool,
    /// A call changed a person's share that was not.
    pub touched: bool,
    pub budget: Budget,
}

/// How often each thing may still go wrong, or be changed by somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    pub crashes: u8,
    pub takeovers: u8,
    /// Requests and answers that get lost, are refused, or come too late.
    pub losses: u8,
    /// Writes to the API server whose answer gets lost.
    pub unheard: u8,
    pub edits: u8,
    pub deletions: u8,
    /// Shares that a person makes.
    pub makes: u8,
    /// Shares and rows that a person removes.
    pub removals: u8,
}

/// The Share object: its manifest and what is recorded in its status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Object {
    pub gone: bool,
    pub is_deleting: bool,
    /// It has the finalizer.
    pub guarded: bool,
    pub declared: [bool; ROWS],
    pub share: Option<usize>,
    pub adopted: bool,
    pub intent: Option<Intent>,
    pub rows: [Record; ROWS],
    pub lost: u8,
}

/// A create, announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intent {
    pub serial: u8,
    /// The shares that its operator had seen before it, one bit each.
    pub known: u8,
    /// Those that were there, where their times tell.
    pub older: u8,
    /// Ticks since.
    pub age: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Record {
    #[default]
    Never,
    Intended {
        age: u8,
    },
    InPlace,
}

/// One process: what it has read and remembers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Operator {
    pub cache: Object,
    /// The cache is as new as the object.
    pub current: bool,
    pub views: [View; SHARES],
    /// The list was read within this tick.
    pub looked: bool,
    pub looks: Looks,
    pub rows: [RowView; ROWS],
    /// The call that it waits for.
    pub call: Option<Waiting>,
    /// What an answer brought, and is not recorded yet.
    pub pending: Option<Pending>,
    /// The create that it announced without hearing that this was written, so that it did not send it.
    pub unsent: Option<u8>,
}

/// What it believes of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum View {
    #[default]
    Unknown,
    Live {
        /// An answer to its own call within this tick says so.
        own: bool,
        /// A read within this tick showed it.
        read: bool,
    },
    Leaving,
    Missing(Gap),
}

impl View {
    pub fn tick(&mut self) {
        match self {
            View::Live { own, read } => (*own, *read) = (false, false),
            View::Missing(gap) => gap.old = true,
            View::Unknown | View::Leaving => {}
        }
    }

    pub fn saw_live(&mut self) {
        match self {
            // What is older does not replace what is newer.
            View::Live { read, .. } => *read = true,
            View::Leaving => {}
            View::Unknown | View::Missing(_) => *self = View::Live { own: false, read: true },
        }
    }

    /// The list is complete and lacks it.
    pub fn lacked(&mut self) {
        match self {
            View::Live { own: false, .. } => *self = View::Unknown,
            View::Missing(gap) => gap.swept = true,
            View::Unknown | View::Live { own: true, .. } | View::Leaving => {}
        }
    }

    pub fn read(&mut self, status: Status) {
        match status {
            Status::Live => self.saw_live(),
            Status::Leaving => *self = View::Leaving,
            Status::Unmade | Status::Gone => self.missed(),
        }
    }

    pub fn missed(&mut self) {
        match self {
            View::Live { own: true, .. } => {}
            View::Missing(gap) => gap.again |= gap.old,
            View::Unknown | View::Live { own: false, .. } => *self = View::Missing(Gap::default()),
            View::Leaving => *self = View::Missing(Gap { expected: true, ..Gap::default() }),
        }
    }

    /// What is being deleted was listed.
    pub fn listed_leaving(&mut self, status: Status) {
        if let View::Missing(gap) = self {
            gap.left = status != Status::Leaving;
        }
    }
}

/// How often and when a share was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Gap {
    pub expected: bool,
    /// It was missed a tick ago or longer.
    pub old: bool,
    /// It was read again then.
    pub again: bool,
    /// A complete list lacked it since.
    pub swept: bool,
    /// The list of what is being deleted lacked it since.
    pub left: bool,
}

/// Looks for what an announced create made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Looks {
    /// The create that they were for.
    pub serial: u8,
    /// One was within this tick.
    pub fresh: bool,
    /// One was before the settle time ended.
    pub early: bool,
    /// The first one after it ended.
    pub late: Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Late {
    #[default]
    Never,
    Now,
    Before,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RowView {
    pub seen: RowSeen,
    /// It was read within this tick.
    pub fresh: bool,
    /// An answer to its own call within this tick says so.
    pub own: bool,
    /// It was recorded as in place a tick ago or longer, as far as this process knows.
    pub sure: bool,
    /// The call that adds it has taken effect.
    pub answered: bool,
    /// The call that adds it was announced without hearing that this was written, so that it was not sent.
    pub unsent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RowSeen {
    #[default]
    Unread,
    Absent,
    Live,
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Waiting {
    pub call: Call,
    pub reply: Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The request, or its answer, is under way.
    Pending,
    Done(Done),
    Refused,
    /// The request is lost, so no answer will come.
    Lost,
}

/// What a call that took effect is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Done {
    Made(usize),
    Row(RowSeen),
    Deleting,
    NotFound,
}

/// A changing call to Cloudflare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Create { serial: u8 },
    Add { share: usize, row: usize },
    Remove { share: usize, row: usize },
    Delete { share: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pending {
    /// The create made this share.
    Bind { share: usize, serial: u8 },
    /// The create was refused.
    Withdraw { serial: u8 },
    /// The call that adds the row was refused.
    Drop { row: usize },
}

impl Object {
    pub fn has_record(&self) -> bool {
        self.share.is_some() || self.intent.is_some() || self.rows.iter().any(|row| *row != Record::Never)
    }

    /// Ages are told apart up to a tick after the settle time.
    fn tick(&mut self, settle: u8) {
        let older = |age: u8| (age + 1).min(settle + 1);
        if let Some(intent) = &mut self.intent {
            intent.age = older(intent.age);
        }
        for row in &mut self.rows {
            if let Record::Intended { age } = row {
                *age = older(*age);
            }
        }
    }
}

impl Operator {
    /// The cache catches up.
    pub fn learn(&mut self, object: &Object) {
        if self.cache.share != object.share {
            self.rows = Default::default();
        }
        self.cache = object.clone();
        self.current = true;
    }

    /// The one call that announced the rows has taken effect.
    pub fn was_made(&mut self) {
        for (row, view) in self.rows.iter_mut().enumerate() {
            view.answered = self.cache.rows[row] != Record::Never;
        }
    }

    /// The process dies and starts anew: the calls that it waited for, and all that it read, are lost to it.
    pub fn restart(&mut self) {
        *self = Operator { cache: self.cache.clone(), current: self.current, ..Operator::default() };
    }

    /// The process loses the lease, or gets it: it begins anew, but for an answer that it still waits for.
    pub fn hand_over(&mut self) {
        let (call, pending) = (self.call, self.pending);
        self.restart();
        (self.call, self.pending) = (call, pending);
    }

    /// Whether a crash loses anything.
    pub fn has_memory(&self) -> bool {
        let mut restarted = self.clone();
        restarted.restart();
        *self != restarted
    }

    fn tick(&mut self, settle: u8) {
        self.cache.tick(settle);
        self.looked = false;
        self.looks.fresh = false;
        if self.looks.late == Late::Now {
            self.looks.late = Late::Before;
        }
        self.views.iter_mut().for_each(View::tick);
        for row in &mut self.rows {
            row.fresh = false;
            row.own = false;
            row.sure = true;
        }
    }
}

impl World {
    /// Whether time may go on: what the promise bounds must have happened by then.
    pub fn may_tick(&self, settle: u8) -> bool {
        let waits = self.operators.iter().any(|operator| operator.call.is_some());
        !waits && self.requests.iter().all(|request| request.age < settle)
    }

    pub fn tick(&mut self, settle: u8) {
        self.object.tick(settle);
        for operator in &mut self.operators {
            operator.tick(settle);
        }
        for request in &mut self.requests {
            request.age += 1;
        }
        self.before = self.remote.clone();
    }

    /// Somebody changed the object: what others have of it is old.
    pub fn changed(&mut self, by: Option<usize>) {
        for (at, operator) in self.operators.iter_mut().enumerate() {
            if Some(at) == by {
                operator.learn(&self.object);
            } else {
                operator.current = false;
            }
        }
    }
}
