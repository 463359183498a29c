//! What an operator decides in its place: its cache and what it has read, as facts for the production decision
//! functions, and their steps, as the one read, write or call that comes next.

use std::time::Duration;

use crate::core::id::ShareId;
use crate::core::missing::Missing;
use crate::core::row_step::{self, Declared, Observed, Recorded, Sent, Step as RowStep};
use crate::core::share_step::{
    self, Adoption, Candidates, Facts, Gathered, Mode, Named, Presence, Sighting, Situation,
};
use crate::core::share_step::{Ending, Step, Want};
use crate::core::time::At;
use crate::design::Design;
use crate::model::Bounds;
use crate::remote::Remote;
use crate::world::{Call, Gap, Late, Looks, Operator, PERSONS, ROWS, Record, RowSeen, RowView, SHARES, View};

/// How long a tick is, for the functions that count time; any length does.
pub const TICK: Duration = Duration::from_millis(10);
/// Creates of one object whose outcome was never learned, in an hour.
const MAX_LOST: u8 = 3;

/// What an operator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    Read(Read),
    Write(Write),
    Send(Call),
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Read {
    /// The newest live shares.
    List,
    /// One share by its id.
    Share(usize),
    /// What is being deleted.
    Leaving,
    /// The rows of the bound share.
    Rows(usize),
}

/// A write to the API server, guarded by the version that it was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// The finalizer.
    Guard,
    /// A create, which is then sent.
    Announce,
    Bind {
        share: usize,
        adopted: bool,
    },
    GiveUp,
    Withdraw,
    Forget,
    Release,
    /// What is known of the rows.
    Rows([Record; ROWS]),
    /// The call that adds a row, which is then sent.
    AnnounceRow {
        share: usize,
        row: usize,
    },
}

fn id(share: usize) -> ShareId {
    ShareId::parse(["person", "first", "second", "third"][share]).expect("an id")
}

fn share(id: &ShareId) -> usize {
    (0..SHARES).find(|share| self::id(*share) == *id).expect("one of the shares")
}

fn ticks(n: u8) -> At {
    At::default().plus(TICK * u32::from(n))
}

/// What the operator does next, if it has nothing under way.
pub fn next(operator: &Operator, remote: &Remote, bounds: &Bounds) -> Next {
    let cache = &operator.cache;
    if cache.gone {
        return Next::Rest;
    }
    if cache.has_record() && !cache.is_deleting && !cache.guarded {
        return Next::Write(Write::Guard);
    }
    match share_step::step(&facts(operator, remote, bounds)) {
        Step::Read(Want::List) => Next::Read(Read::List),
        Step::Read(Want::Share) => bound(operator, |share| Next::Read(Read::Share(share))),
        Step::Bind { adopted: true, .. } if !cache.guarded => Next::Write(Write::Guard),
        Step::Bind { id, adopted } => Next::Write(Write::Bind { share: share(&id), adopted }),
        Step::Create if !cache.guarded => Next::Write(Write::Guard),
        Step::Create => Next::Write(Write::Announce),
        Step::GiveUp => Next::Write(Write::GiveUp),
        Step::Withdraw => Next::Write(Write::Withdraw),
        Step::Delete => bound(operator, |share| Next::Send(Call::Delete { share })),
        Step::Forget => Next::Write(Write::Forget),
        Step::Release => Next::Write(Write::Release),
        Step::Maintain if bounds.rows => bound(operator, |share| tend(operator, share, bounds)),
        Step::Await(Ending::Leaving) => bound(operator, |share| Next::Read(Read::Share(share))),
        Step::Await(Ending::Confirmation) => bound(operator, |share| confirm(operator, share)),
        Step::Maintain | Step::Wait(_) | Step::Refuse(_) => Next::Rest,
    }
}

fn bound(operator: &Operator, then: impl FnOnce(usize) -> Next) -> Next {
    operator.cache.share.map_or(Next::Rest, then)
}

/// A share that we asked to be deleted is looked for among what is being deleted; any other by its id, in a while.
fn confirm(operator: &Operator, share: usize) -> Next {
    match operator.views[share] {
        View::Missing(Gap { expected: true, left: false, .. }) => Next::Read(Read::Leaving),
        View::Missing(Gap { old: true, again: false, .. }) => Next::Read(Read::Share(share)),
        _ => Next::Rest,
    }
}

fn facts(operator: &Operator, remote: &Remote, bounds: &Bounds) -> Facts {
    let cache = &operator.cache;
    let situation = match (cache.share, &cache.intent) {
        (Some(share), _) => {
            Situation::Bound { adopted: cache.adopted, share: presence(operator.views[share], bounds.design) }
        }
        (None, Some(_)) => {
            let (candidates, settled) = candidates(operator, remote, bounds);
            let is_silent = bounds.design == Design::TrustSilence && operator.call.is_none();
            let unsent = is_silent || cache.intent.is_some_and(|intent| operator.unsent == Some(intent.serial));
            Situation::Announced { candidates, settled, unsent }
        }
        (None, None) => Situation::Unbound {
            adoption: if bounds.adopts { Adoption::SameName } else { Adoption::Never },
            named: named(operator),
            gathered: match cache.declared {
                [false, _] => Gathered::NoRecipients,
                [true, false] => Gathered::NoResources,
                [true, true] => Gathered::Complete,
            },
            may_try: cache.lost < MAX_LOST,
        },
    };
    Facts { mode: Mode::Manage, is_deleting: cache.is_deleting, retain: cache.adopted, owner: true, situation }
}

pub fn presence(view: View, design: Design) -> Presence {
    match view {
        View::Unknown => Presence::Unread,
        View::Live { .. } => Presence::Live,
        View::Leaving => Presence::Leaving,
        View::Missing(_) if design == Design::AnyNotFound => Presence::Gone,
        View::Missing(gap) => {
            let missing =
                Missing { first: ticks(1), last: ticks(if gap.again { 2 } else { 1 }), expected: gap.expected };
            let lacked = |is: bool| is.then_some(missing.last);
            if missing.is_gone(TICK, lacked(gap.swept), lacked(gap.left)) { Presence::Gone } else { Presence::Missing }
        }
    }
}

/// Whether a read within this tick showed it, so that it was live a tick ago or is.
fn was_read(operator: &Operator, share: usize) -> bool {
    matches!(operator.views[share], View::Live { read: true, .. })
}

fn is_seen_live(operator: &Operator, share: usize) -> bool {
    matches!(operator.views[share], View::Live { .. })
}

fn named(operator: &Operator) -> Named {
    if !operator.looked {
        return Named::Unread;
    }
    let ids: Vec<ShareId> = (0..SHARES).filter(|share| is_seen_live(operator, *share)).map(id).collect();
    match ids.as_slice() {
        [] => Named::Nobody,
        [id] => Named::One { id: id.clone(), fits: true },
        _ => Named::Many(ids),
    }
}

fn candidates(operator: &Operator, remote: &Remote, bounds: &Bounds) -> (Candidates, bool) {
    let design = bounds.design;
    let Some(intent) = operator.cache.intent.filter(|_| operator.looks.fresh) else {
        return (Candidates::Unread, false);
    };
    let announced = ticks(1).plus(share_step::CLOCKS_DIFFER);
    let long_before = ticks(0);
    let created = |share: usize| match design {
        Design::TrustClock if bounds.skew => long_before,
        _ if bounds.skew || intent.older & 1 << share != 0 => announced.minus(TICK),
        _ => announced,
    };
    let sightings = (0..SHARES).filter(|share| is_seen_live(operator, *share)).map(|share| Sighting {
        id: id(share),
        named: true,
        alike: share != PERSONS || remote.shares[share].alike || design == Design::NameOnly,
        created: Some(created(share)),
        known: intent.known & 1 << share != 0 && design != Design::NameOnly,
        sure: match design {
            Design::NameOnly => true,
            Design::HastySight => was_read(operator, share),
            _ => intent.age >= 1 && was_read(operator, share),
        },
        taken: false,
    });
    let looks = operator.looks;
    let settled = if design == Design::HastyLook {
        intent.age >= bounds.settle && (looks.early || looks.late == Late::Before)
    } else {
        let first = match looks.late {
            Late::Never => None,
            Late::Now => Some(ticks(2)),
            Late::Before => Some(ticks(1)),
        };
        let looks: Vec<At> = first.filter(|_| looks.serial == intent.serial).into_iter().chain([ticks(2)]).collect();
        share_step::has_settled(if intent.age < bounds.settle { ticks(3) } else { ticks(1) }, &looks, TICK)
    };
    (share_step::candidates((announced, announced), sightings), settled)
}

/// The share is there: the one thing to do next about its rows, adds before removals.
fn tend(operator: &Operator, share: usize, bounds: &Bounds) -> Next {
    let cache = &operator.cache;
    let steps: [RowStep; ROWS] = std::array::from_fn(|row| {
        let view = operator.rows[row];
        row_step::step(row_step::Facts {
            declared: if cache.declared[row] { Declared::Here } else { Declared::Nowhere },
            recorded: recorded(cache.rows[row], view, bounds.settle, bounds.design),
            observed: match view.seen {
                RowSeen::Unread => Observed::Unread,
                RowSeen::Absent => Observed::Absent,
                RowSeen::Live => Observed::Live { differs: false },
                RowSeen::Leaving => Observed::Leaving,
            },
            prune: false,
            // Rows that were read before this tick are read again before they are acted on.
            lagging: !(view.sure && view.fresh) && bounds.design != Design::HastyAbsence,
        })
    });
    let records: [Record; ROWS] = std::array::from_fn(|row| match steps[row] {
        RowStep::Confirm => Record::InPlace,
        RowStep::Forget => Record::Never,
        _ => cache.rows[row],
    });
    if records != cache.rows {
        return Next::Write(Write::Rows(records));
    }
    let add = steps.iter().position(|step| matches!(step, RowStep::Add | RowStep::Restore));
    let remove = steps.iter().position(|step| *step == RowStep::Remove);
    match (add, remove) {
        _ if steps.contains(&RowStep::Read) => Next::Read(Read::Rows(share)),
        (Some(row), _) if operator.rows[row].fresh => Next::Write(Write::AnnounceRow { share, row }),
        (None, Some(row)) if operator.rows[row].fresh => Next::Send(Call::Remove { share, row }),
        // Polls, and looks after what others may have changed.
        _ => Next::Read(Read::Rows(share)),
    }
}

/// What a record means to the row as it was read.
pub fn recorded(record: Record, view: RowView, settle: u8, design: Design) -> Recorded {
    match record {
        Record::Never => Recorded::Never,
        Record::InPlace => Recorded::InPlace,
        Record::Intended { age } => {
            // Rows that were read within this tick were read later in it than it was announced.
            let read = if view.fresh { ticks(age).plus(TICK / 2) } else { At::default() };
            let patience = if design == Design::HastyRow { Duration::ZERO } else { TICK };
            let sent = match (view.unsent, view.answered || design == Design::HastyConfirm) {
                (true, _) => Sent::Never,
                (false, true) => Sent::Answered,
                (false, false) => Sent::Maybe,
            };
            Recorded::announced(ticks(0), read, TICK * u32::from(settle), patience, sent)
        }
    }
}

impl Operator {
    /// Takes in what a read of the list showed; a sweep is complete, so that what it lacks is noticed.
    pub fn read_list(&mut self, shown: &Remote, sweeps: bool) {
        for share in 0..SHARES {
            if shown.is_live(share) {
                self.views[share].saw_live();
            } else if sweeps {
                self.views[share].lacked();
            }
        }
        self.looked = true;
    }

    /// The shares that it believes to be live, one bit each.
    pub fn seen_live(&self) -> u8 {
        let live = (0..SHARES).filter(|share| matches!(self.views[*share], View::Live { .. }));
        live.fold(0, |bits, share| bits | 1 << share)
    }

    /// A look for what an announced create made.
    pub fn took_look(&mut self, bounds: &Bounds) {
        let Some(intent) = self.cache.intent else { return };
        if self.looks.serial != intent.serial {
            self.looks = Looks { serial: intent.serial, ..Looks::default() };
        }
        self.looks.fresh = true;
        if intent.age < bounds.settle {
            // Such a look proves nothing, so only who takes it for proof remembers it.
            self.looks.early = bounds.design == Design::HastyLook;
        } else if self.looks.late == Late::Never {
            self.looks.late = Late::Now;
        }
    }

    pub fn read_share(&mut self, share: usize, shown: &Remote) {
        self.views[share].read(shown.shares[share].status);
    }

    pub fn missed(&mut self, share: usize) {
        self.views[share].missed();
    }

    pub fn read_leaving(&mut self, shown: &Remote) {
        for (share, view) in self.views.iter_mut().enumerate() {
            view.listed_leaving(shown.shares[share].status);
        }
    }

    /// What an answer to its own call said is younger than what a lagging read shows.
    pub fn read_rows(&mut self, share: usize, shown: &Remote, lags: bool) {
        if !shown.is_live(share) {
            self.read_share(share, shown);
            return;
        }
        for (row, view) in self.rows.iter_mut().enumerate() {
            let seen = shown.shares[share].rows[row].seen();
            let known = view.own && lags;
            *view = RowView { seen: if known { view.seen } else { seen }, fresh: true, ..*view };
        }
    }
}
