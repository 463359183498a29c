//! What can happen in the world, one thing at a time, and what comes of it.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::design::Design;
use crate::explore::Recorder;
use crate::laws;
use crate::operator::{self, Next, Read, Write};
use crate::remote::{Remote, Request, Row, Share, Status};
use crate::world::{
    Budget, Call, Done, Intent, OPERATORS, Object, Operator, PERSONS, Pending, ROWS, Record, Reply, RowSeen, RowView,
    SHARES, View, Waiting, World,
};

/// Which world is explored.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub design: Design,
    /// Rows are looked after; else only the share as a whole is.
    pub rows: bool,
    /// Both operators act at any time, as if both held the lease.
    pub both: bool,
    /// The manifest allows taking over a share of the same name.
    pub adopts: bool,
    /// Clocks differ, so that no time tells when a share was made.
    pub skew: bool,
    /// Ticks until a call that was announced cannot take effect any more.
    pub settle: u8,
    pub budget: Budget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An operator's cache catches up with the object.
    CatchUp(usize),
    /// An operator reads what its next step needs.
    Read(usize, Read, Shown),
    /// An operator reads the complete list, as it does now and then.
    Sweep(usize, Shown),
    Write(usize, Write, Heard),
    Send(usize, Call),
    /// The answer arrives.
    Hear(usize),
    /// No usable answer arrives: it is lost, or a 5xx, or comes after the operator gave up.
    Miss(usize),
    /// An operator records what an answer brought.
    Record(usize),
    Crash(usize),
    /// The other operator gets the lease.
    TakeOver,
    /// A call takes effect.
    Apply(Request),
    /// A call gets lost on its way.
    Lose(Request),
    /// Cloudflare refuses a call.
    Refuse(Request),
    Tick,
    Edit(usize),
    DeleteObject,
    PersonMakes,
    PersonRemoves(usize),
    PersonRemovesRow(usize, usize),
    /// Cloudflare ends what it had begun.
    Finish(usize),
    FinishRow(usize, usize),
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

impl Action {
    /// What happens by itself, without a fault and without anybody who changes his mind.
    pub fn helps(&self, world: &World) -> bool {
        match self {
            Action::CatchUp(_)
            | Action::Read(..)
            | Action::Sweep(..)
            | Action::Write(_, _, Heard::Yes)
            | Action::Send(..)
            | Action::Hear(_)
            | Action::Record(_)
            | Action::Apply(_)
            | Action::Tick
            | Action::Finish(_)
            | Action::FinishRow(..) => true,
            Action::Miss(operator) => world.operators[*operator].call.is_some_and(|call| call.reply == Reply::Lost),
            Action::Write(_, _, Heard::No)
            | Action::Crash(_)
            | Action::TakeOver
            | Action::Lose(_)
            | Action::Refuse(_)
            | Action::Edit(_)
            | Action::DeleteObject
            | Action::PersonMakes
            | Action::PersonRemoves(_)
            | Action::PersonRemovesRow(..) => false,
        }
    }
}

#[derive(Clone)]
pub struct Explored {
    pub bounds: Bounds,
    pub recorder: Option<Arc<Recorder>>,
}

impl Model for Explored {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![start(&self.bounds)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if let Some(recorder) = &self.recorder {
            recorder.state(world, laws::is_at_rest(world, &self.bounds));
        }
        for at in 0..OPERATORS {
            self.operator_actions(world, at, actions);
        }
        self.network_actions(world, actions);
        self.outside_actions(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        happen(&mut next, action, &self.bounds);
        if next == *world {
            return None;
        }
        if let Some(recorder) = &self.recorder
            && action.helps(world)
        {
            recorder.step(&next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("no law is broken", |_: &Self, world: &World| laws::broken(world).is_none())]
    }
}

fn start(bounds: &Bounds) -> World {
    let object = Object { declared: [true; ROWS], ..Object::default() };
    let operator = Operator { cache: object.clone(), current: true, ..Operator::default() };
    World {
        object,
        operators: [operator.clone(), operator],
        leader: 0,
        remote: Remote::default(),
        before: Remote::default(),
        requests: Vec::new(),
        serial: 0,
        claimed: false,
        touched: false,
        budget: bounds.budget,
    }
}

impl Explored {
    fn operator_actions(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let operator = &world.operators[at];
        let budget = &world.budget;
        let leads = self.bounds.both || world.leader == at;
        if !operator.current && (leads || operator.pending.is_some()) {
            actions.push(Action::CatchUp(at));
        }
        if let Some(call) = operator.call {
            if matches!(call.reply, Reply::Done(_) | Reply::Refused) {
                actions.push(Action::Hear(at));
            }
            if call.reply == Reply::Lost || budget.losses > 0 {
                actions.push(Action::Miss(at));
            }
        } else if operator.pending.is_some() {
            actions.push(Action::Record(at));
        } else if leads {
            self.steps(world, at, actions);
        }
        if budget.crashes > 0 && operator.has_memory() {
            actions.push(Action::Crash(at));
        }
    }

    fn steps(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let operator = &world.operators[at];
        let lags = world.before != world.remote;
        let shown = [Shown::Now, Shown::Before].into_iter().take(if lags { 2 } else { 1 });
        let next = operator::next(operator, &world.remote, &self.bounds);
        // Sweeps come at any time; before a write or a call they only make a look that could have come later.
        if !operator.cache.gone && matches!(next, Next::Read(_) | Next::Rest) {
            actions.extend(shown.clone().map(|shown| Action::Sweep(at, shown)));
        }
        match next {
            Next::Read(read) => actions.extend(shown.map(|shown| Action::Read(at, read, shown))),
            Next::Write(write) => {
                // A stale cache, or another writer: refused, and nothing comes of it. Only what is not announced
                // goes out all the same.
                if operator.current || self.bounds.design == Design::NoIntent && write == Write::Announce {
                    actions.push(Action::Write(at, write, Heard::Yes));
                    if world.budget.unheard > 0 {
                        actions.push(Action::Write(at, write, Heard::No));
                    }
                }
            }
            Next::Send(call) => actions.push(Action::Send(at, call)),
            Next::Rest => {}
        }
    }

    fn network_actions(&self, world: &World, actions: &mut Vec<Action>) {
        for request in &world.requests {
            if world.remote.has_room() || !matches!(request.call, Call::Create { .. }) {
                actions.push(Action::Apply(*request));
            }
            if world.budget.losses > 0 {
                actions.push(Action::Lose(*request));
                if request.from.is_some() {
                    actions.push(Action::Refuse(*request));
                }
            }
        }
        if !self.bounds.both && world.budget.takeovers > 0 {
            actions.push(Action::TakeOver);
        }
    }

    fn outside_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let budget = &world.budget;
        if world.may_tick(self.bounds.settle) {
            actions.push(Action::Tick);
        }
        if !world.object.gone && !world.object.is_deleting {
            if budget.edits > 0 {
                actions.extend((0..ROWS).map(Action::Edit));
            }
            if budget.deletions > 0 {
                actions.push(Action::DeleteObject);
            }
        }
        for share in 0..SHARES {
            match world.remote.shares[share].status {
                Status::Unmade if share == PERSONS && budget.makes > 0 => actions.push(Action::PersonMakes),
                Status::Live if budget.removals > 0 => {
                    actions.push(Action::PersonRemoves(share));
                    if self.bounds.rows && world.object.share == Some(share) {
                        actions.extend((0..ROWS).map(|row| Action::PersonRemovesRow(share, row)));
                    }
                }
                Status::Leaving => actions.push(Action::Finish(share)),
                Status::Unmade | Status::Live | Status::Gone => {}
            }
            for row in 0..ROWS {
                if world.remote.shares[share].rows[row].leaving {
                    actions.push(Action::FinishRow(share, row));
                }
            }
        }
    }
}

fn happen(world: &mut World, action: Action, bounds: &Bounds) {
    match action {
        Action::CatchUp(at) => world.operators[at].learn(&world.object),
        Action::Read(at, read, shown) => {
            let lags = shown == Shown::Before;
            let shown = seen(world, shown);
            let operator = &mut world.operators[at];
            match read {
                Read::List => {
                    operator.read_list(&shown, false);
                    operator.took_look(bounds);
                }
                Read::Share(share) => operator.read_share(share, &shown),
                Read::Leaving => operator.read_leaving(&shown),
                Read::Rows(share) => operator.read_rows(share, &shown, lags),
            }
        }
        Action::Sweep(at, shown) => {
            let shown = seen(world, shown);
            world.operators[at].read_list(&shown, true);
        }
        Action::Write(at, write, heard) => {
            if heard == Heard::No {
                world.budget.unheard -= 1;
            }
            record(world, at, write, heard, bounds);
        }
        Action::Send(at, call) => send(world, at, call),
        Action::Hear(at) => hear(world, at),
        Action::Miss(at) => miss(world, at, bounds),
        Action::Record(at) => record_answer(world, at, bounds),
        Action::Crash(at) => {
            world.budget.crashes -= 1;
            world.operators[at].restart();
            nobody_waits(world, at);
        }
        Action::TakeOver => {
            world.budget.takeovers -= 1;
            for operator in &mut world.operators {
                operator.hand_over();
            }
            world.leader = 1 - world.leader;
        }
        Action::Apply(request) => {
            take(world, request);
            let before = world.remote.clone();
            let reply = world.remote.apply(request.call);
            let persons = request.call.target() == Some(PERSONS);
            world.touched |= persons && !world.claimed && world.remote != before;
            answer(world, request, reply);
        }
        Action::Lose(request) => {
            world.budget.losses -= 1;
            take(world, request);
            answer(world, request, Reply::Lost);
        }
        Action::Refuse(request) => {
            world.budget.losses -= 1;
            take(world, request);
            answer(world, request, Reply::Refused);
        }
        Action::Tick => world.tick(bounds.settle),
        Action::Edit(row) => {
            world.budget.edits -= 1;
            world.object.declared[row] = !world.object.declared[row];
            world.changed(None);
        }
        Action::DeleteObject => {
            world.budget.deletions -= 1;
            world.object.is_deleting = true;
            world.object.gone = !world.object.guarded;
            world.changed(None);
        }
        Action::PersonMakes => {
            world.budget.makes -= 1;
            // One that is just like the announced create, made while that is open, is taken for its outcome.
            let alike = world.object.intent.is_none() && world.requests.is_empty();
            let row = Row { live: 1, leaving: false };
            world.remote.shares[PERSONS] = Share { status: Status::Live, rows: [row; ROWS], alike };
        }
        Action::PersonRemoves(share) => {
            world.budget.removals -= 1;
            world.remote.shares[share].status = Status::Leaving;
        }
        Action::PersonRemovesRow(share, row) => {
            world.budget.removals -= 1;
            let row = &mut world.remote.shares[share].rows[row];
            *row = Row { live: row.live.saturating_sub(1), leaving: row.leaving };
        }
        Action::Finish(share) => {
            let share = &mut world.remote.shares[share];
            *share = Share { status: Status::Gone, rows: Default::default(), alike: share.alike };
        }
        Action::FinishRow(share, row) => world.remote.shares[share].rows[row].leaving = false,
    }
}

fn seen(world: &World, shown: Shown) -> Remote {
    match shown {
        Shown::Now => world.remote.clone(),
        Shown::Before => world.before.clone(),
    }
}

/// A write that the API server accepts, and what is sent on its strength.
fn record(world: &mut World, at: usize, write: Write, heard: Heard, bounds: &Bounds) {
    let known = world.operators[at].seen_live();
    let older = if bounds.skew { 0 } else { world.remote.made() };
    let object = &mut world.object;
    let mut then = None;
    match write {
        Write::Guard => object.guarded = true,
        Write::Announce => {
            world.serial += 1;
            let serial = world.serial;
            then = Some(Call::Create { serial });
            if bounds.design == Design::NoIntent {
                return send(world, at, Call::Create { serial });
            }
            object.intent = Some(Intent { serial, known, older, age: 0 });
            object.rows = [Record::Intended { age: 0 }; ROWS];
            // Nobody makes one that is just like it so shortly before that a look need not show it.
            if !world.before.is_live(PERSONS) && known & 1 << PERSONS == 0 {
                world.remote.shares[PERSONS].alike = false;
            }
        }
        Write::Bind { share, adopted } => {
            object.share = Some(share);
            object.intent = None;
            object.adopted = adopted;
            world.claimed |= adopted && share == PERSONS;
        }
        Write::GiveUp => {
            object.intent = None;
            object.rows = Default::default();
            object.lost += 1;
        }
        Write::Withdraw => {
            object.intent = None;
            object.rows = Default::default();
        }
        Write::Forget => {
            object.share = None;
            object.rows = Default::default();
        }
        Write::Release => {
            object.guarded = false;
            object.gone = object.is_deleting;
        }
        Write::Rows(rows) => {
            for row in (0..ROWS).filter(|row| rows[*row] == Record::InPlace && object.rows[*row] != Record::InPlace) {
                let view = &mut world.operators[at].rows[row];
                (view.sure, view.answered) = (false, false);
            }
            object.rows = rows;
        }
        Write::AnnounceRow { share, row } => {
            object.rows[row] = Record::Intended { age: 0 };
            let view = &mut world.operators[at].rows[row];
            (view.answered, view.unsent) = (false, heard == Heard::No);
            then = Some(Call::Add { share, row });
        }
    }
    if bounds.design == Design::NoIntent && matches!(write, Write::Bind { .. }) {
        // Nothing else said which rows the share carries.
        world.object.rows = [Record::Intended { age: 0 }; ROWS];
    }
    if write == Write::GiveUp {
        world.operators[at].looks = Default::default();
    }
    match heard {
        Heard::Yes => {
            world.changed(Some(at));
            if matches!(write, Write::Bind { .. }) {
                world.operators[at].was_made();
            }
            if write == Write::Forget {
                world.operators[at].views.iter_mut().for_each(|view| {
                    if matches!(view, View::Missing(_)) {
                        *view = View::Unknown;
                    }
                });
            }
            if let Some(call) = then {
                send(world, at, call);
            }
        }
        // The pass ends: nothing is sent.
        Heard::No => {
            if let Some(Call::Create { serial }) = then {
                world.operators[at].unsent = Some(serial);
            }
            world.changed(None);
        }
    }
}

fn send(world: &mut World, at: usize, call: Call) {
    world.operators[at].call = Some(Waiting { call, reply: Reply::Pending });
    world.requests.push(Request { call, from: Some(at), age: 0 });
}

fn take(world: &mut World, request: Request) {
    let place = world.requests.iter().position(|known| *known == request);
    if let Some(place) = place {
        world.requests.remove(place);
    }
}

fn answer(world: &mut World, request: Request, reply: Reply) {
    if let Some(call) = request.from.and_then(|at| world.operators[at].call.as_mut()) {
        call.reply = reply;
    }
}

fn nobody_waits(world: &mut World, at: usize) {
    for request in &mut world.requests {
        if request.from == Some(at) {
            request.from = None;
        }
    }
}

fn hear(world: &mut World, at: usize) {
    let operator = &mut world.operators[at];
    let Some(Waiting { call, reply }) = operator.call.take() else { return };
    match (call, reply) {
        (Call::Create { serial }, Reply::Done(Done::Made(share))) => {
            operator.looks = Default::default();
            operator.views[share] = View::Live { own: true, read: true };
            operator.pending = Some(Pending::Bind { share, serial });
        }
        (Call::Create { serial }, Reply::Refused) => {
            operator.looks = Default::default();
            operator.pending = Some(Pending::Withdraw { serial });
        }
        (Call::Add { share, row } | Call::Remove { share, row }, Reply::Done(Done::Row(seen))) => {
            if operator.cache.share == Some(share) {
                let view = &mut operator.rows[row];
                *view = RowView { seen, fresh: true, own: true, answered: seen == RowSeen::Live, ..*view };
            }
        }
        (Call::Remove { row, .. }, Reply::Done(Done::NotFound)) => operator.rows[row].seen = RowSeen::Unread,
        (Call::Add { row, .. }, Reply::Refused) => operator.pending = Some(Pending::Drop { row }),
        (Call::Delete { share }, Reply::Done(Done::Deleting)) => operator.views[share] = View::Leaving,
        (Call::Delete { share }, Reply::Done(Done::NotFound)) => operator.missed(share),
        // Tried again.
        (Call::Create { .. } | Call::Add { .. } | Call::Remove { .. } | Call::Delete { .. }, _) => {}
    }
}

fn miss(world: &mut World, at: usize, bounds: &Bounds) {
    let Some(Waiting { call, reply }) = world.operators[at].call.take() else { return };
    if reply != Reply::Lost {
        world.budget.losses -= 1;
    }
    nobody_waits(world, at);
    if let Call::Create { serial } = call {
        let operator = &mut world.operators[at];
        operator.looks = Default::default();
        if bounds.design == Design::TrustFailure {
            operator.pending = Some(Pending::Withdraw { serial });
        }
    }
}

/// What an answer brought is recorded, past conflicts, as long as the announcement stands that it answers.
fn record_answer(world: &mut World, at: usize, bounds: &Bounds) {
    let Some(pending) = world.operators[at].pending.take() else { return };
    let object = &mut world.object;
    let stands = |serial: u8| {
        !object.gone
            && (object.intent.is_some_and(|intent| intent.serial == serial)
                || matches!(bounds.design, Design::BlindBind | Design::NoIntent))
    };
    match pending {
        Pending::Bind { share, serial } if stands(serial) => {
            object.share = Some(share);
            object.intent = None;
            object.adopted = false;
            if matches!(bounds.design, Design::BlindBind | Design::NoIntent) {
                object.rows = [Record::Intended { age: 0 }; ROWS];
            }
            world.changed(Some(at));
            world.operators[at].was_made();
        }
        Pending::Withdraw { serial } if stands(serial) => {
            object.intent = None;
            object.rows = Default::default();
            world.changed(Some(at));
        }
        Pending::Bind { .. } | Pending::Withdraw { .. } => world.operators[at].learn(&world.object),
        Pending::Drop { row } => {
            if world.operators[at].current {
                object.rows[row] = Record::Never;
                world.changed(Some(at));
            }
        }
    }
}
