//! What an operator does next for a Share or for an object that declares one of its rows.
//!
//! The decisions are those of `core::share_step`, `core::child_step` and `core::row_step`; here their facts are gathered from caches that
//! may be old, as `src/operator` gathers them.

use super::world::{CHILDREN, Call, Life, OBJECTS, Object, Operator, SHARE, SHARES};
use super::{Bounds, Design};
use crate::core::child_step::{self, Deletion, Parent, Successor};
use crate::core::id::ShareId;
use crate::core::row_step::{self, Declared, Observed, Step as RowStep};
use crate::core::share_step::{self, Adoption, Candidates, Gathered, Mode, Named, Presence, Sighting, Situation};
use crate::core::time::At;
use crate::design;
use crate::operator::{TICK, presence, recorded};
use crate::world::{Gap, Record, RowSeen, RowView, View};

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
    Share(usize),
    /// What is being deleted.
    Leaving,
    Rows(usize),
}

/// A write to one object, guarded by the version that it was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    Finalizer,
    /// A child's record becomes its own.
    Claim,
    /// Where a child's row is, and what is known of it; `answered`: the call that announced it has taken effect.
    NoteDown {
        share: usize,
        row: Record,
        answered: bool,
    },
    Row(Record),
    /// The Share finishes the removal that was refused to a child.
    Inherit,
    /// The Share lists a row that an object has in its record.
    TakeOver {
        from: usize,
    },
    /// The call that adds the row, which is then sent.
    AnnounceRow {
        share: usize,
    },
    /// A create, which is then sent.
    Announce {
        carries: bool,
    },
    Bind {
        share: usize,
    },
    GiveUp,
    Forget,
    Release,
}

/// What the operator does next for that object, if it has nothing under way.
pub fn next(operator: &Operator, object: usize, bounds: &Bounds) -> Next {
    if object == SHARE { share_next(operator, bounds) } else { child_next(operator, object, bounds) }
}

fn id(share: usize) -> ShareId {
    ShareId::parse(["first", "second"][share]).expect("an id")
}

fn number(of: &ShareId) -> usize {
    (0..SHARES).find(|share| id(*share) == *of).expect("one of the shares")
}

/// The objects that declare the row and are not being deleted, the winner first.
fn live_children(cache: &[Object; OBJECTS]) -> impl Iterator<Item = usize> + '_ {
    CHILDREN.into_iter().filter(|at| cache[*at].is(Life::Live))
}

fn share_next(operator: &Operator, bounds: &Bounds) -> Next {
    let share = &operator.cache[SHARE];
    let is_deleting = share.is(Life::Deleting);
    if share.is(Life::Absent) || is_deleting && !share.finalizer {
        return Next::Rest;
    }
    if is_deleting && share.intent.is_none() && (share.retain || share.bound.is_none()) {
        let lags = share.retain && children_lag(operator) && bounds.design != Design::LeavesAtOnce;
        return if lags { Next::Rest } else { Next::Write(Write::Release) };
    }
    let has_record = share.bound.is_some() || share.intent.is_some() || share.row != Record::Never;
    if has_record && !is_deleting && !share.finalizer {
        return Next::Write(Write::Finalizer);
    }
    if let Some(from) = takes_over(operator, bounds).filter(|_| !is_deleting) {
        return Next::Write(Write::TakeOver { from });
    }
    match share_step::step(&facts(operator, bounds)) {
        share_step::Step::Read(share_step::Want::List) => Next::Read(Read::List),
        share_step::Step::Read(share_step::Want::Share) => bound(share, |at| Next::Read(Read::Share(at))),
        share_step::Step::Bind { id, .. } => Next::Write(Write::Bind { share: number(&id) }),
        share_step::Step::Create if !share.finalizer => Next::Write(Write::Finalizer),
        share_step::Step::Create => Next::Write(Write::Announce { carries: carries(operator) }),
        share_step::Step::GiveUp | share_step::Step::Withdraw => Next::Write(Write::GiveUp),
        share_step::Step::Delete if bounds.held && !share.confirmed => Next::Rest,
        share_step::Step::Delete => bound(share, |at| Next::Send(Call::Delete { share: at })),
        share_step::Step::Forget => Next::Write(Write::Forget),
        share_step::Step::Release => Next::Write(Write::Release),
        share_step::Step::Maintain => bound(share, |at| share_row(operator, at, bounds)),
        share_step::Step::Await(share_step::Ending::Leaving) => bound(share, |at| Next::Read(Read::Share(at))),
        share_step::Step::Await(share_step::Ending::Confirmation) => bound(share, |at| confirm(operator, at)),
        share_step::Step::Wait(_) | share_step::Step::Refuse(_) => Next::Rest,
    }
}

/// The object that has recorded of a row what the Share, which lists it now, does not know.
fn takes_over(operator: &Operator, bounds: &Bounds) -> Option<usize> {
    let share = &operator.cache[SHARE];
    let bound = share.bound.filter(|_| share.inline);
    bound.and_then(|bound| news(operator, bound, SHARE, share.row, bounds))
}

fn bound(share: &Object, then: impl FnOnce(usize) -> Next) -> Next {
    share.bound.map_or(Next::Rest, then)
}

/// A share that is not there is looked for among what is being deleted, or by its id in a while.
fn confirm(operator: &Operator, share: usize) -> Next {
    match operator.views[share] {
        View::Missing(Gap { expected: true, left: false, .. }) => Next::Read(Read::Leaving),
        View::Missing(Gap { old: true, again: false, .. }) => Next::Read(Read::Share(share)),
        _ => Next::Rest,
    }
}

fn facts(operator: &Operator, bounds: &Bounds) -> share_step::Facts {
    let share = &operator.cache[SHARE];
    let situation = match (share.bound, &share.intent) {
        (Some(at), _) => {
            Situation::Bound { adopted: false, share: presence(operator.views[at], design::Design::Sound) }
        }
        (None, Some(intent)) => {
            let (candidates, settled) = if operator.looked {
                let live = (0..SHARES).filter_map(|at| match operator.views[at] {
                    View::Live { read, .. } => Some((at, read)),
                    _ => None,
                });
                let sightings = live.map(|(at, read)| Sighting {
                    id: id(at),
                    named: true,
                    alike: true,
                    created: None,
                    known: intent.known & 1 << at != 0,
                    sure: intent.age >= 1 && read,
                    taken: false,
                });
                let now = (At::default(), At::default());
                (share_step::candidates(now, sightings), intent.age > bounds.settle)
            } else {
                (Candidates::Unread, false)
            };
            Situation::Announced { candidates, settled, unsent: false }
        }
        (None, None) => Situation::Unbound {
            adoption: Adoption::Never,
            named: named(operator),
            gathered: if bounds.last && !share.spare && !carries(operator) {
                Gathered::NoResources
            } else {
                Gathered::Complete
            },
            may_try: true,
        },
    };
    share_step::Facts {
        mode: Mode::Manage,
        is_deleting: share.is(Life::Deleting),
        retain: share.retain,
        owner: true,
        situation,
    }
}

fn named(operator: &Operator) -> Named {
    let live = (0..SHARES).filter(|at| matches!(operator.views[*at], View::Live { .. }));
    match live.map(id).collect::<Vec<ShareId>>().as_slice() {
        _ if !operator.looked => Named::Unread,
        [] => Named::Nobody,
        [id] => Named::One { id: id.clone(), fits: true },
        ids => Named::Many(ids.to_vec()),
    }
}

/// Whether a create sends the row along: it is listed, or the object that wins will look after it.
fn carries(operator: &Operator) -> bool {
    let winner = live_children(&operator.cache).next();
    operator.cache[SHARE].inline || winner.is_some_and(|winner| operator.cache[winner].has_claimed())
}

/// Objects that have not yet noted down the share that stays.
fn children_lag(operator: &Operator) -> bool {
    let cache = &operator.cache;
    let winner = live_children(cache).next().filter(|_| !cache[SHARE].inline);
    CHILDREN.into_iter().any(|at| {
        let child = &cache[at];
        (winner == Some(at) || child.is(Life::Deleting)) && child.has_claimed() && child.bound != cache[SHARE].bound
    }) && cache[SHARE].bound.is_some()
}

/// The row as the Share has it in its inventory.
fn share_row(operator: &Operator, at: usize, bounds: &Bounds) -> Next {
    let cache = &operator.cache;
    let inherits = CHILDREN.into_iter().any(|child| cache[child].is(Life::Deleting) && cache[child].last);
    if inherits && cache[SHARE].row == Record::Never {
        return Next::Write(Write::Inherit);
    }
    let present = |child: &Object| !(child.is(Life::Absent) || child.is(Life::Deleting) && child.last);
    let declared = if cache[SHARE].inline {
        Declared::Here
    } else if CHILDREN.into_iter().any(|child| present(&cache[child])) && bounds.design != Design::ForgetsObjects {
        Declared::Elsewhere
    } else {
        Declared::Nowhere
    };
    let taken_over = CHILDREN.into_iter().any(|child| {
        let child = &cache[child];
        child.has_claimed() && child.holds() && child.bound == Some(at) && knows(operator, child.row, SHARE, bounds)
    });
    match row_step(operator, SHARE, at, declared, bounds) {
        RowStep::Forget if declared == Declared::Elsewhere && !taken_over && bounds.design != Design::DropsAtOnce => {
            Next::Read(Read::Rows(at))
        }
        RowStep::Forget => Next::Write(Write::Row(Record::Never)),
        step => row_next(operator, step, at),
    }
}

fn row_step(operator: &Operator, object: usize, at: usize, declared: Declared, bounds: &Bounds) -> RowStep {
    let rows = operator.rows[at];
    let (sure, answered) = (operator.sure[object], operator.answered[object]);
    let view = RowView { seen: rows.seen, fresh: rows.fresh, own: rows.own, sure, answered, unsent: false };
    row_step::step(row_step::Facts {
        declared,
        recorded: recorded(operator.cache[object].row, view, bounds.settle, design::Design::Sound),
        observed: match rows.seen {
            RowSeen::Unread => Observed::Unread,
            RowSeen::Absent => Observed::Absent,
            RowSeen::Live => Observed::Live { differs: false },
            RowSeen::Leaving => Observed::Leaving,
        },
        prune: false,
        lagging: !(sure && rows.fresh),
    })
}

/// What both a Share and a child do about the row.
fn row_next(operator: &Operator, step: RowStep, at: usize) -> Next {
    match step {
        RowStep::Confirm => Next::Write(Write::Row(Record::InPlace)),
        RowStep::Add | RowStep::Restore if operator.rows[at].fresh => Next::Write(Write::AnnounceRow { share: at }),
        RowStep::Remove if operator.rows[at].fresh => Next::Send(Call::Remove { share: at }),
        // Polls, looks before it acts on the word of an old list, and looks after what others may have changed.
        RowStep::Add | RowStep::Restore | RowStep::Remove | RowStep::Read | RowStep::Keep | RowStep::Wait => {
            Next::Read(Read::Rows(at))
        }
        RowStep::Ignore | RowStep::Update | RowStep::Forget => Next::Read(Read::Rows(at)),
    }
}

/// The Share, as far as it is the one that the child's row is in.
fn parent(operator: &Operator, child: &Object) -> Option<Object> {
    let share = operator.cache[SHARE];
    let another = child.bound.is_some() && share.bound != child.bound;
    Some(share).filter(|share| !(share.is(Life::Absent) || child.is(Life::Deleting) && another))
}

fn child_step(operator: &Operator, at: usize, bounds: &Bounds) -> child_step::Step {
    let parent = parent(operator, &operator.cache[at]);
    let declared = declared(operator, at, parent.as_ref(), bounds);
    child_step::step(&child_facts(operator, at, parent.as_ref(), declared, bounds))
}

/// Whether the object, which is being deleted, waits for another one to record the row.
pub fn awaits_successor(operator: &Operator, at: usize, bounds: &Bounds) -> bool {
    let there = operator.cache[at].is(Life::Deleting);
    there && child_step(operator, at, bounds) == child_step::Step::Wait(child_step::Wait::Successor)
}

fn child_next(operator: &Operator, at: usize, bounds: &Bounds) -> Next {
    let child = &operator.cache[at];
    if child.is(Life::Absent) {
        return Next::Rest;
    }
    let parent = parent(operator, child);
    let declared = declared(operator, at, parent.as_ref(), bounds);
    match child_step(operator, at, bounds) {
        child_step::Step::Nothing | child_step::Step::Wait(_) | child_step::Step::Refuse(_) => Next::Rest,
        child_step::Step::Release => Next::Write(Write::Release),
        child_step::Step::Claim if !child.finalizer => Next::Write(Write::Finalizer),
        child_step::Step::Claim => Next::Write(Write::Claim),
        step @ (child_step::Step::RecordOnly | child_step::Step::Reconcile) => {
            let id = parent.map_or(child.bound, |share| share.bound);
            let Some(share) = id else { return Next::Rest };
            let noted = note_down(operator, at, share, bounds);
            match noted {
                Some(write) => Next::Write(write),
                None if step == child_step::Step::RecordOnly => Next::Rest,
                None => child_row(operator, at, share, declared, bounds),
            }
        }
    }
}

/// Who looks after the row, as a child sees it.
fn declared(operator: &Operator, at: usize, parent: Option<&Object>, bounds: &Bounds) -> Declared {
    let child = &operator.cache[at];
    if bounds.design == Design::ForgetsOthers {
        return if child.is(Life::Deleting) { Declared::Nowhere } else { Declared::Here };
    }
    if parent.is_some_and(|share| share.is(Life::Live) && share.inline) {
        return Declared::Elsewhere;
    }
    match (child.is(Life::Deleting), live_children(&operator.cache).next()) {
        (true, Some(_)) => Declared::Elsewhere,
        (true, None) => Declared::Nowhere,
        (false, Some(winner)) if winner != at => Declared::Elsewhere,
        (false, Some(_) | None) => Declared::Here,
    }
}

fn child_facts(
    operator: &Operator,
    at: usize,
    parent: Option<&Object>,
    declared: Declared,
    bounds: &Bounds,
) -> child_step::Facts {
    let child = &operator.cache[at];
    let records_row = parent.is_some_and(|share| share.row != Record::Never);
    let others = live_children(&operator.cache).filter(|other| *other != at);
    let keeps = |share: &Object| !child.retain || share.inline;
    let by_share = parent.filter(|share| records_row && keeps(share)).map(|_| SHARE);
    let mut takers = others.filter(|other| operator.cache[*other].holds()).chain(by_share);
    let knows = |taker: usize| knows(operator, operator.cache[taker].row, at, bounds);
    let successor = if bounds.design == Design::ReleasesToAnybody || takers.any(knows) {
        Successor::Recorded
    } else if operator.overdue[at] {
        Successor::Overdue
    } else {
        Successor::Awaited
    };
    let share = match parent {
        None if child.bound.is_none() || bounds.design == Design::ForgetsShare => child_step::Share::Unknown,
        None => child_step::Share::Gone,
        Some(share) => child_step::Share::Present(Parent {
            bound: share.bound.is_some(),
            creating: share.intent.is_some(),
            observes: false,
            suspended: false,
            ends: share.is(Life::Deleting) && (!share.retain || bounds.design == Design::GoesAlong),
            records_row,
        }),
    };
    child_step::Facts {
        deletion: child.is(Life::Deleting).then_some(Deletion {
            finalizer: child.finalizer,
            retain: child.retain,
            last: child.last,
            successor,
            recent: false,
        }),
        suspended: false,
        share,
        valid: true,
        misplaced: false,
        declared,
        claimed: child.finalizer && child.claimed,
        read_only: false,
        record: child_step::Record { share: child.bound.is_some(), row: child.row != Record::Never },
    }
}

/// What a child still has to note down before it looks at its row: where that is, and what others have recorded of it.
fn note_down(operator: &Operator, at: usize, share: usize, bounds: &Bounds) -> Option<Write> {
    let child = &operator.cache[at];
    let own = if child.bound == Some(share) { child.row } else { Record::Never };
    let from = news(operator, share, at, own, bounds);
    let row = from.map_or(own, |from| operator.cache[from].row);
    let answered = from.map_or(operator.answered[at], |from| operator.answered[from]);
    let answered = answered && bounds.design != Design::IgnoresAnswer;
    (child.bound != Some(share) || child.row != row).then_some(Write::NoteDown { share, row, answered })
}

/// Another object whose record of the row of that share tells what this one does not know.
fn news(operator: &Operator, share: usize, asks: usize, own: Record, bounds: &Bounds) -> Option<usize> {
    let holds = |at: &usize| {
        let object = &operator.cache[*at];
        !object.is(Life::Absent) && object.bound == Some(share) && (*at == SHARE || object.claimed)
    };
    let others = [SHARE].into_iter().chain(CHILDREN).filter(|at| *at != asks && holds(at));
    let mut news = others.filter(|at| !knows(operator, own, *at, bounds));
    news.next()
}

/// Whether a record covers what another object has recorded.
fn knows(operator: &Operator, own: Record, other: usize, bounds: &Bounds) -> bool {
    let time = |record: Record| match record {
        Record::Never => child_step::OnRecord::Never,
        Record::Intended { age } => child_step::OnRecord::Announced(At::default().minus(TICK * u32::from(age))),
        Record::InPlace => child_step::OnRecord::InPlace,
    };
    let row = operator.cache[other].row;
    let open = matches!(row, Record::Intended { age } if age <= bounds.settle) && !operator.answered[other];
    child_step::covers(time(own), time(row), open)
}

fn child_row(operator: &Operator, at: usize, share: usize, declared: Declared, bounds: &Bounds) -> Next {
    let child = &operator.cache[at];
    let is_deleting = child.is(Life::Deleting);
    match presence(operator.views[share], design::Design::Sound) {
        Presence::Unread => return Next::Read(Read::Share(share)),
        Presence::Live => {}
        // The share is not there.
        Presence::Leaving | Presence::Gone if is_deleting => return Next::Write(Write::Release),
        Presence::Missing | Presence::Hidden if is_deleting => return confirm(operator, share),
        Presence::Leaving | Presence::Gone | Presence::Missing | Presence::Hidden => return Next::Rest,
    }
    match row_step(operator, at, share, declared, bounds) {
        RowStep::Forget => Next::Write(Write::Release),
        RowStep::Ignore if is_deleting => Next::Write(Write::Release),
        RowStep::Wait | RowStep::Remove if is_deleting && bounds.design == Design::ReleasesUnlooked => {
            Next::Write(Write::Release)
        }
        step => row_next(operator, step, share),
    }
}
