//! What can happen in the world, one thing at a time, and what comes of it.

use super::decide::{self, Next, Read, Write};
use super::laws;
use super::world::{
    Budget, CHILDREN, Call, Intent, Life, OBJECTS, OPERATORS, Object, Operator, Pending, Reply, Request, SHARE, SHARES,
    Share, Waiting, World,
};
use super::{Bounds, Design};
use crate::remote::Status;
use crate::search::Help;
use crate::world::{Record, RowSeen, View};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An operator's cache catches up with an object: the Share is 0, the others declare its row.
    CatchUp(usize, usize),
    /// An operator reads what the next step for any object needs.
    Read(usize, Read, Shown),
    /// An operator reads the complete list, as it does now and then.
    Sweep(usize, Shown),
    /// An operator writes to an object.
    Write(usize, usize, Write, Heard),
    /// An operator calls Cloudflare for an object.
    Send(usize, usize, Call),
    Hear(usize),
    /// No usable answer arrives.
    Miss(usize),
    /// An operator records what an answer brought.
    Record(usize),
    Crash(usize),
    TakeOver,
    /// A call takes effect.
    Apply(Request),
    /// A call gets lost on its way.
    Lose(Request),
    Tick,
    Create(usize),
    Delete(usize),
    /// The Share lists the row, or no more.
    Edit,
    /// The Share is told to leave its share at Cloudflare.
    Retain,
    /// A person confirms the deletion of the Share.
    Confirm,
    /// The Share gets another resource.
    Spare,
    PersonRemoves(usize),
    /// Cloudflare ends what it had begun.
    Finish(usize),
    FinishRow(usize),
}

/// What a read shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Now,
    /// What was a tick ago.
    Before,
}

/// Whether the answer to a write to the API server arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Yes,
    No,
}

/// What happens without a fault and without anybody who changes his mind.
pub fn help(world: &World, step: Step) -> Help {
    match step {
        Step::CatchUp(..)
        | Step::Read(..)
        | Step::Sweep(..)
        | Step::Write(_, _, _, Heard::Yes)
        | Step::Send(..)
        | Step::Hear(_)
        | Step::Record(_)
        | Step::Apply(_)
        | Step::Finish(_)
        | Step::FinishRow(_) => Help::Now,
        Step::Miss(at) if world.operators[at].call.is_some_and(|call| call.reply == Reply::Lost) => Help::Now,
        Step::Tick => Help::Later,
        Step::Miss(_)
        | Step::Write(_, _, _, Heard::No)
        | Step::Crash(_)
        | Step::TakeOver
        | Step::Lose(_)
        | Step::Create(_)
        | Step::Delete(_)
        | Step::Edit
        | Step::Retain
        | Step::Confirm
        | Step::Spare
        | Step::PersonRemoves(_) => Help::None,
    }
}

impl World {
    pub fn new(bounds: &Bounds) -> World {
        let operator = Operator { current: [true; OBJECTS], sure: [true; OBJECTS], ..Operator::default() };
        World {
            objects: Default::default(),
            operators: [operator.clone(), operator],
            leader: 0,
            remote: Default::default(),
            before: Default::default(),
            requests: Vec::new(),
            serial: 0,
            posted: [false; SHARES],
            kept: [false; SHARES],
            stays: [false; SHARES],
            along: [false; SHARES],
            calm: true,
            broken: None,
            budget: bounds.budget,
        }
    }
}

pub fn steps(world: &World, bounds: &Bounds) -> Vec<Step> {
    let mut steps = Vec::new();
    for at in 0..OPERATORS {
        operator_steps(world, at, bounds, &mut steps);
    }
    for request in &world.requests {
        steps.push(Step::Apply(*request));
        if world.budget.losses > 0 {
            steps.push(Step::Lose(*request));
        }
    }
    if world.budget.takeovers > 0 {
        steps.push(Step::TakeOver);
    }
    if world.may_tick(bounds.settle) {
        steps.push(Step::Tick);
    }
    for share in 0..SHARES {
        let Share { status, row } = world.remote[share];
        if status == Status::Leaving {
            steps.push(Step::Finish(share));
        }
        if status == Status::Live && row.leaving {
            steps.push(Step::FinishRow(share));
        }
        if status == Status::Live && row.live > 0 && world.budget.removals > 0 {
            steps.push(Step::PersonRemoves(share));
        }
    }
    people(world, bounds, &mut steps);
    steps
}

fn people(world: &World, bounds: &Bounds, steps: &mut Vec<Step>) {
    let Budget { applies, edits, retains, spares, .. } = world.budget;
    let share = &world.objects[SHARE];
    for object in 0..OBJECTS {
        let waits = object == CHILDREN[1] && applies[CHILDREN[0]] > 0;
        match world.objects[object].life {
            Life::Absent if applies[object] > 0 && !waits => steps.push(Step::Create(object)),
            Life::Live => steps.push(Step::Delete(object)),
            Life::Absent | Life::Deleting => {}
        }
    }
    if share.is(Life::Live) && edits > 0 {
        steps.push(Step::Edit);
    }
    if !share.is(Life::Absent) && !share.retain && retains > 0 {
        steps.push(Step::Retain);
    }
    if bounds.held && share.is(Life::Deleting) && !share.confirmed {
        steps.push(Step::Confirm);
    }
    if share.is(Life::Live) && !share.spare && spares > 0 {
        steps.push(Step::Spare);
    }
}

fn operator_steps(world: &World, at: usize, bounds: &Bounds, steps: &mut Vec<Step>) {
    let operator = &world.operators[at];
    let leads = world.leader == at;
    if leads || operator.pending.is_some() {
        let old = (0..OBJECTS).filter(|object| !operator.current[*object]);
        steps.extend(old.map(|object| Step::CatchUp(at, object)));
    }
    if world.budget.crashes > 0 && operator.has_memory() {
        steps.push(Step::Crash(at));
    }
    if let Some(call) = operator.call {
        if !matches!(call.reply, Reply::Pending | Reply::Lost) {
            steps.push(Step::Hear(at));
        }
        if call.reply == Reply::Lost || world.budget.losses > 0 {
            steps.push(Step::Miss(at));
        }
        return;
    }
    if operator.pending.is_some() {
        return steps.push(Step::Record(at));
    }
    if !leads {
        return;
    }
    let lags = world.before != world.remote;
    let shown = [Shown::Now, Shown::Before].into_iter().take(if lags { 2 } else { 1 });
    let mut reads = false;
    for object in 0..OBJECTS {
        match decide::next(operator, object, bounds) {
            Next::Read(read) => {
                reads = true;
                steps.extend(shown.clone().map(|shown| Step::Read(at, read, shown)));
            }
            // A stale cache, or another writer: refused, and nothing comes of it.
            Next::Write(write) if operator.current[object] => {
                steps.push(Step::Write(at, object, write, Heard::Yes));
                if world.budget.unheard > 0 {
                    steps.push(Step::Write(at, object, write, Heard::No));
                }
            }
            Next::Send(call) => steps.push(Step::Send(at, object, call)),
            Next::Write(_) | Next::Rest => {}
        }
    }
    if reads || operator.views.iter().any(|view| matches!(view, View::Missing(_))) {
        steps.extend(shown.map(|shown| Step::Sweep(at, shown)));
    }
}

pub fn happen(world: &mut World, step: Step, bounds: &Bounds) {
    match step {
        Step::CatchUp(at, object) => {
            let objects = world.objects;
            world.operators[at].learn(object, &objects);
        }
        Step::Read(at, read, shown) => {
            world.calm &= shown == Shown::Now;
            take_in(world, at, read, shown);
        }
        Step::Sweep(at, shown) => {
            world.calm &= shown == Shown::Now;
            let remote = shown_by(world, shown);
            read_list(&mut world.operators[at], &remote);
        }
        Step::Write(at, object, write, heard) => {
            if heard == Heard::No {
                world.budget.unheard -= 1;
                world.calm = false;
            }
            self::write(world, at, object, write, heard);
        }
        Step::Send(at, object, call) => send(world, at, object, call),
        Step::Hear(at) => hear(world, at),
        Step::Miss(at) => miss(world, at, bounds),
        Step::Record(at) => record(world, at),
        Step::Crash(at) => {
            world.budget.crashes -= 1;
            world.calm = false;
            world.operators[at].restart();
            nobody_waits(world, at);
        }
        Step::TakeOver => {
            world.budget.takeovers -= 1;
            world.calm = false;
            world.operators.iter_mut().for_each(Operator::hand_over);
            world.leader = 1 - world.leader;
        }
        Step::Apply(request) => {
            take(world, request);
            let reply = world.apply(request.call, bounds.last);
            answer(world, request, reply);
        }
        Step::Lose(request) => {
            world.budget.losses -= 1;
            world.calm = false;
            take(world, request);
            answer(world, request, Reply::Lost);
        }
        Step::Tick => {
            let awaited = awaited(world, bounds);
            world.tick(bounds.settle, awaited);
        }
        Step::PersonRemoves(share) => {
            world.budget.removals -= 1;
            world.calm = false;
            world.remote[share].row.live -= 1;
        }
        Step::Finish(share) => world.remote[share] = Share { status: Status::Gone, ..Share::default() },
        Step::FinishRow(share) => world.remote[share].row.leaving = false,
        Step::Create(_) | Step::Delete(_) | Step::Edit | Step::Retain | Step::Confirm | Step::Spare => {
            edit(world, step, bounds);
        }
    }
}

/// For which objects another one is awaited in vain: the operator knows all objects as they are, and has nothing to write to
/// any of them.
fn awaited(world: &World, bounds: &Bounds) -> [bool; OBJECTS] {
    let operator = &world.operators[world.leader];
    let writes = |object| matches!(decide::next(operator, object, bounds), Next::Write(_));
    let idle = operator.current == [true; OBJECTS] && operator.pending.is_none() && !(0..OBJECTS).any(writes);
    std::array::from_fn(|object| idle && object != SHARE && decide::awaits_successor(operator, object, bounds))
}

fn edit(world: &mut World, step: Step, bounds: &Bounds) {
    let object = match step {
        Step::Create(object) | Step::Delete(object) => object,
        _ => SHARE,
    };
    // What is declared again while it is being removed waits for that.
    let calls = world.operators.iter().any(|operator| operator.call.is_some());
    world.calm &= !calls && !world.remote.iter().any(|share| share.row.leaving);
    // Of two objects that had a row one removes it, and the other waits until no list is so old as to hide it.
    let another = |at: usize| at != object && world.budget.applies[at] < bounds.budget.applies[at];
    world.calm &= object == SHARE || !CHILDREN.into_iter().any(another);
    let changed = &mut world.objects[object];
    match step {
        Step::Create(SHARE) => {
            world.budget.applies[SHARE] -= 1;
            *changed = Object { life: Life::Live, inline: bounds.inline, ..Object::default() };
        }
        Step::Create(_) => {
            world.budget.applies[object] -= 1;
            let retain = bounds.retain && object == CHILDREN[0];
            *changed = Object { life: Life::Live, retain, ..Object::default() };
        }
        Step::Delete(_) if changed.finalizer => changed.life = Life::Deleting,
        Step::Delete(_) => *changed = Object::default(),
        Step::Edit => {
            world.budget.edits -= 1;
            changed.inline = !changed.inline;
        }
        Step::Retain => {
            world.budget.retains -= 1;
            changed.retain = true;
        }
        Step::Confirm => changed.confirmed = true,
        Step::Spare => {
            world.budget.spares -= 1;
            changed.spare = true;
        }
        _ => {}
    }
    world.changed(object, None);
}

fn shown_by(world: &World, shown: Shown) -> [Share; SHARES] {
    match shown {
        Shown::Now => world.remote,
        Shown::Before => world.before,
    }
}

fn read_list(operator: &mut Operator, shown: &[Share; SHARES]) {
    for (view, share) in operator.views.iter_mut().zip(shown) {
        match share.status {
            Status::Live => view.saw_live(),
            Status::Unmade | Status::Leaving | Status::Gone => view.lacked(),
        }
    }
    operator.looked = true;
}

fn take_in(world: &mut World, at: usize, read: Read, shown: Shown) {
    let remote = shown_by(world, shown);
    let operator = &mut world.operators[at];
    match read {
        Read::List => read_list(operator, &remote),
        Read::Share(share) => operator.views[share].read(remote[share].status),
        Read::Leaving => {
            let shares = operator.views.iter_mut().zip(&remote);
            shares.for_each(|(view, share)| view.listed_leaving(share.status));
        }
        Read::Rows(share) if remote[share].status != Status::Live => operator.views[share].read(remote[share].status),
        Read::Rows(share) => {
            let rows = &mut operator.rows[share];
            // What an answer to its own call said is younger than what a lagging read shows.
            if !(rows.own && shown == Shown::Before) {
                rows.seen = remote[share].row.seen();
            }
            rows.fresh = true;
            world.posted[share] = false;
        }
    }
}

/// A write that the API server accepts, and what is sent on its strength.
fn write(world: &mut World, at: usize, object: usize, write: Write, heard: Heard) {
    let operator = &mut world.operators[at];
    let changed = &mut world.objects[object];
    let mut then = None;
    match write {
        Write::Finalizer => changed.finalizer = true,
        Write::Claim => changed.claimed = true,
        Write::NoteDown { share, row, answered } => {
            (changed.claimed, changed.bound, changed.row) = (true, Some(share), row);
            operator.learned(object, answered);
        }
        Write::Row(row) => {
            if row == Record::InPlace && changed.row != row {
                operator.sure[object] = false;
            }
            changed.row = row;
        }
        Write::Inherit => changed.row = Record::InPlace,
        Write::TakeOver { from } => {
            changed.row = operator.cache[from].row;
            operator.learned(object, operator.answered[from]);
        }
        Write::AnnounceRow { share } => {
            changed.row = Record::Intended { age: 0 };
            operator.answered[object] = false;
            then = Some(Call::Add { share });
        }
        Write::Announce { carries } => {
            world.serial += 1;
            let live = (0..SHARES).filter(|share| matches!(operator.views[*share], View::Live { .. }));
            let known = live.fold(0, |bits, share| bits | 1 << share);
            changed.intent = Some(Intent { serial: world.serial, known, age: 0 });
            changed.row = if carries { Record::Intended { age: 0 } } else { Record::Never };
            then = Some(Call::Create { serial: world.serial, carries });
        }
        Write::Bind { share } => (changed.bound, changed.intent) = (Some(share), None),
        Write::GiveUp => (changed.intent, changed.row) = (None, Record::Never),
        Write::Forget => {
            (changed.bound, changed.row) = (None, Record::Never);
            operator.views.iter_mut().filter(|view| matches!(view, View::Missing(_))).for_each(|view| {
                *view = View::Unknown;
            });
        }
        Write::Release => {
            let cache = operator.cache;
            ends(world, object, &cache);
            world.objects[object] = Object::default();
        }
    }
    // Who has a row in its record answers for it from then on.
    if let Object { bound: Some(share), row: Record::Intended { .. } | Record::InPlace, .. } = world.objects[object] {
        (world.kept[share], world.stays[share]) = (false, false);
    }
    match heard {
        Heard::Yes => {
            world.changed(object, Some(at));
            if matches!(write, Write::Bind { .. }) {
                was_made(&mut world.operators[at]);
            }
            if write == Write::Release {
                forget(&mut world.operators[at], object);
            }
            if let Some(call) = then {
                send(world, at, object, call);
            }
        }
        // The pass ends: nothing is sent.
        Heard::No => world.changed(object, None),
    }
}

/// The one call that announced the rows of a Share has taken effect.
fn was_made(operator: &mut Operator) {
    operator.learned(SHARE, operator.cache[SHARE].row != Record::Never);
}

/// The notes of an object go with it.
fn forget(operator: &mut Operator, object: usize) {
    (operator.answered[object], operator.sure[object], operator.overdue[object]) = (false, true, false);
}

/// What it means for the rows at Cloudflare that an object goes: some are to stay. `cache`: what the operator knows.
fn ends(world: &mut World, object: usize, cache: &[Object; OBJECTS]) {
    let (ended, share) = (world.objects[object], &cache[SHARE]);
    let Some(at) = ended.bound.or(share.bound) else { return };
    if object == SHARE {
        let known = CHILDREN.into_iter().any(|child| world.objects[child].has_claimed());
        world.kept[at] |= ended.retain && (ended.inline || !known);
    } else if share.is(Life::Deleting) && share.bound == Some(at) && !share.retain {
        world.along[at] = true;
    } else if ended.holds() {
        let others = CHILDREN.into_iter().any(|child| child != object && !world.objects[child].is(Life::Absent));
        world.kept[at] |= ended.retain;
        world.stays[at] |= ended.retain && !others && !(share.is(Life::Live) && share.inline);
    }
}

fn send(world: &mut World, at: usize, by: usize, call: Call) {
    match call {
        Call::Add { share } => {
            if world.posted[share] {
                world.broken = Some(laws::LOOK);
            }
            world.posted[share] = true;
        }
        Call::Remove { share } => {
            // What an old cache does not show cannot be respected.
            let knows = world.operators[at].current == [true; OBJECTS];
            if knows && laws::is_declared(world, share) {
                world.broken = Some(laws::WANTED);
            } else if knows && world.stays[share] {
                world.broken = Some(laws::KEPT);
            }
        }
        Call::Create { .. } | Call::Delete { .. } => {}
    }
    world.operators[at].call = Some(Waiting { by, call, reply: Reply::Pending });
    world.requests.push(Request { call, from: Some(at), age: 0 });
}

fn take(world: &mut World, request: Request) {
    if let Some(place) = world.requests.iter().position(|known| *known == request) {
        world.requests.remove(place);
    }
}

fn answer(world: &mut World, request: Request, reply: Reply) {
    if let Some(call) = request.from.and_then(|at| world.operators[at].call.as_mut()) {
        call.reply = reply;
    }
}

fn nobody_waits(world: &mut World, at: usize) {
    for request in world.requests.iter_mut().filter(|request| request.from == Some(at)) {
        request.from = None;
    }
}

fn hear(world: &mut World, at: usize) {
    let operator = &mut world.operators[at];
    let Some(Waiting { by, call, reply }) = operator.call.take() else { return };
    match (call, reply) {
        (Call::Create { serial, .. }, Reply::Made(share)) => {
            operator.views[share] = View::Live { own: true, read: true };
            operator.pending = Some(Pending::Bind { share, serial });
        }
        (Call::Create { serial, .. }, _) => operator.pending = Some(Pending::Withdraw { serial }),
        (Call::Add { share } | Call::Remove { share }, Reply::Row(seen)) => {
            let rows = &mut operator.rows[share];
            (rows.seen, rows.fresh, rows.own) = (seen, true, true);
            if seen == RowSeen::Live {
                operator.learned(by, true);
            } else {
                operator.pending = Some(Pending::Removed(by));
            }
        }
        // It may be there already, or is not tried again before the next look.
        (Call::Add { share }, _) => {
            operator.rows[share].seen = RowSeen::Unread;
            operator.pending = Some(Pending::Drop(by));
        }
        (Call::Remove { .. }, Reply::Refused) if by != SHARE => operator.pending = Some(Pending::Last(by)),
        (Call::Remove { share }, _) => operator.rows[share].seen = RowSeen::Unread,
        (Call::Delete { share }, Reply::Deleting) => operator.views[share] = View::Leaving,
        (Call::Delete { share }, _) => operator.views[share].missed(),
    }
}

fn miss(world: &mut World, at: usize, bounds: &Bounds) {
    let Some(Waiting { by, call, reply }) = world.operators[at].call.take() else { return };
    if reply != Reply::Lost {
        world.budget.losses -= 1;
        world.calm = false;
    }
    nobody_waits(world, at);
    let operator = &mut world.operators[at];
    match call {
        Call::Add { .. } if bounds.design == Design::TrustsFailure => operator.pending = Some(Pending::Drop(by)),
        // Read it before it is sent once more.
        Call::Delete { share } => operator.views[share] = View::Unknown,
        Call::Add { share } | Call::Remove { share } => operator.rows[share].seen = RowSeen::Unread,
        Call::Create { .. } => operator.looked = false,
    }
}

/// The age of an announcement that has settled, whatever the settle time of the world.
const SETTLED: u8 = 9;

/// What an answer brought is recorded, as long as what it answers stands.
fn record(world: &mut World, at: usize) {
    let Some(pending) = world.operators[at].pending.take() else { return };
    let current = world.operators[at].current;
    let stands = |world: &World, serial| world.objects[SHARE].intent.is_some_and(|intent| intent.serial == serial);
    let (object, change): (usize, fn(&mut Object)) = match pending {
        // Past conflicts with whoever else writes to the object.
        Pending::Bind { share, serial } if stands(world, serial) => {
            let object = &mut world.objects[SHARE];
            (object.bound, object.intent) = (Some(share), None);
            world.changed(SHARE, Some(at));
            return was_made(&mut world.operators[at]);
        }
        Pending::Withdraw { serial } if stands(world, serial) => {
            let object = &mut world.objects[SHARE];
            (object.intent, object.row) = (None, Record::Never);
            return world.changed(SHARE, Some(at));
        }
        Pending::Bind { .. } | Pending::Withdraw { .. } => {
            let objects = world.objects;
            return world.operators[at].learn(SHARE, &objects);
        }
        Pending::Drop(object) => (object, |object| object.row = Record::Never),
        // Both calls were answered: what is gone now cannot come back by either.
        Pending::Removed(object) => {
            let known = world.operators[at].answered[object] || world.objects[object].row == Record::InPlace;
            if !known {
                return;
            }
            (object, |object| {
                if object.row != Record::Never {
                    object.row = Record::Intended { age: SETTLED };
                }
            })
        }
        Pending::Last(object) => (object, |object| object.last = true),
    };
    world.calm &= current[object];
    if current[object] && !world.objects[object].is(Life::Absent) {
        change(&mut world.objects[object]);
        world.changed(object, Some(at));
    }
}
