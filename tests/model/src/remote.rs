//! Cloudflare as the model has it: shares with their rows, and what calls make of them.

use crate::world::{Call, Done, PERSONS, ROWS, Reply, RowSeen, SHARES};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Remote {
    pub shares: [Share; SHARES],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Share {
    pub status: Status,
    pub rows: [Row; ROWS],
    /// A person's share that has the resource which the manifest declares.
    pub alike: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// Not made yet.
    #[default]
    Unmade,
    Live,
    Leaving,
    Gone,
}

/// The rows of one key. A call that adds a key which is there makes a second one: the worst that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Row {
    pub live: u8,
    pub leaving: bool,
}

/// A call on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    pub call: Call,
    /// Who waits for the answer.
    pub from: Option<usize>,
    /// Ticks since it was sent.
    pub age: u8,
}

impl Row {
    pub fn seen(&self) -> RowSeen {
        match (self.live, self.leaving) {
            (0, false) => RowSeen::Absent,
            (0, true) => RowSeen::Leaving,
            _ => RowSeen::Live,
        }
    }
}

impl Remote {
    pub fn is_live(&self, share: usize) -> bool {
        self.shares[share].status == Status::Live
    }

    /// Live shares that the operators made.
    pub fn own(&self) -> usize {
        (0..SHARES).filter(|share| *share != PERSONS && self.is_live(*share)).count()
    }

    /// The shares that were ever made, one bit each.
    pub fn made(&self) -> u8 {
        let made = (0..SHARES).filter(|share| self.shares[*share].status != Status::Unmade);
        made.fold(0, |bits, share| bits | 1 << share)
    }

    fn room(&self) -> Option<usize> {
        (0..SHARES).find(|share| *share != PERSONS && self.shares[*share].status == Status::Unmade)
    }

    pub fn has_room(&self) -> bool {
        self.room().is_some()
    }

    /// What a call makes of it, and how it is answered.
    pub fn apply(&mut self, call: Call) -> Reply {
        match call {
            Call::Create { .. } => {
                let Some(share) = self.room() else { return Reply::Refused };
                let row = Row { live: 1, leaving: false };
                self.shares[share] = Share { status: Status::Live, rows: [row; ROWS], alike: true };
                Reply::Done(Done::Made(share))
            }
            Call::Add { share, row } if self.is_live(share) => {
                let row = &mut self.shares[share].rows[row];
                row.live = (row.live + 1).min(2);
                Reply::Done(Done::Row(RowSeen::Live))
            }
            Call::Add { .. } => Reply::Refused,
            Call::Remove { share, row } if self.is_live(share) && self.shares[share].rows[row].live > 0 => {
                let row = &mut self.shares[share].rows[row];
                *row = Row { live: row.live - 1, leaving: true };
                Reply::Done(Done::Row(RowSeen::Leaving))
            }
            Call::Remove { .. } => Reply::Done(Done::NotFound),
            Call::Delete { share } => match self.shares[share].status {
                Status::Live => {
                    self.shares[share].status = Status::Leaving;
                    Reply::Done(Done::Deleting)
                }
                Status::Leaving => Reply::Done(Done::Deleting),
                Status::Unmade | Status::Gone => Reply::Done(Done::NotFound),
            },
        }
    }
}

impl Call {
    /// The share that it changes.
    pub fn target(&self) -> Option<usize> {
        match self {
            Call::Create { .. } => None,
            Call::Add { share, .. } | Call::Remove { share, .. } | Call::Delete { share } => Some(*share),
        }
    }
}
