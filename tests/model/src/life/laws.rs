//! What must hold in every state, and what counts as having come to rest.

use super::Bounds;
use super::world::{CHILDREN, Call, Life, Object, SHARE, SHARES, World};
use crate::remote::Status;
use crate::world::Record;

pub const DUPLICATE: &str = "no duplicate";
pub const LEAK: &str = "nothing leaks";
pub const WANTED: &str = "nothing is removed that is declared";
pub const LOOK: &str = "no row is added twice without a look between";
pub const KEPT: &str = "what is to stay stays";

/// The law that a state breaks.
pub fn broken(world: &World) -> Option<&'static str> {
    let live = |share: usize| (world.remote[share].status == Status::Live).then(|| world.remote[share].row.live);
    let doubled = |share: usize| live(share).is_some_and(|live| live > 1) && !world.along[share];
    let is_there = |share: usize| live(share).is_some_and(|live| live > 0);
    let comes = |share: usize| live(share).is_some() && coming(world).any(|to| to == share);
    if world.broken.is_some() {
        world.broken
    } else if (0..SHARES).any(doubled) {
        Some(DUPLICATE)
    } else if (0..SHARES).any(|share| (is_there(share) || comes(share)) && !is_answered_for(world, share)) {
        Some(LEAK)
    } else {
        None
    }
}

/// Shares to which a call that adds the row is on its way.
fn coming(world: &World) -> impl Iterator<Item = usize> + '_ {
    world.requests.iter().filter_map(|request| match request.call {
        Call::Add { share } => Some(share),
        Call::Create { .. } | Call::Remove { .. } | Call::Delete { .. } => None,
    })
}

/// Whether somebody still declares the row of that share, will remove it, or said that it stays.
fn is_answered_for(world: &World, at: usize) -> bool {
    let share = &world.objects[SHARE];
    let by_share = match share.life {
        Life::Absent => false,
        // What an unresolved create made is looked for.
        Life::Live | Life::Deleting if share.intent.is_some() => true,
        Life::Live => share.bound == Some(at) && (share.inline || share.row != Record::Never),
        Life::Deleting => share.bound == Some(at) && (!share.retain || share.row != Record::Never),
    };
    let by_child = |child: &Object| match child.life {
        Life::Absent => false,
        Life::Live => child.bound == Some(at) || !share.is(Life::Absent) && share.bound == Some(at),
        Life::Deleting => child.finalizer && child.bound == Some(at) && child.holds(),
    };
    world.kept[at] || world.along[at] || by_share || CHILDREN.into_iter().any(|child| by_child(&world.objects[child]))
}

/// Whether somebody declares the row of that share.
pub fn is_declared(world: &World, at: usize) -> bool {
    let share = &world.objects[SHARE];
    let in_share = |child: &Object| child.bound == Some(at) || share.is(Life::Live) && share.bound == Some(at);
    let by_child = |child: &Object| child.is(Life::Live) && in_share(child);
    share.is(Life::Live) && share.bound == Some(at) && share.inline
        || CHILDREN.into_iter().any(|child| by_child(&world.objects[child]))
}

/// No object that declares the row is on its way out.
pub fn has_ended(world: &World) -> bool {
    !CHILDREN.into_iter().any(|child| world.objects[child].is(Life::Deleting))
}

/// Nothing is under way, no object is on its way out, and Cloudflare has what the objects say.
pub fn is_at_rest(world: &World, bounds: &Bounds) -> bool {
    let busy = world.operators.iter().any(|operator| operator.call.is_some() || operator.pending.is_some());
    let share = &world.objects[SHARE];
    let waits_for_person = bounds.held && share.is(Life::Deleting) && !share.confirmed && !share.retain;
    let leaving = world.remote.iter().any(|share| share.status == Status::Leaving || share.row.leaving);
    if busy
        || !world.requests.is_empty()
        || !has_ended(world)
        || leaving
        || share.is(Life::Deleting) && !waits_for_person
    {
        return false;
    }
    if share.intent.is_some() {
        return false;
    }
    let live = |at: usize| world.remote[at].row.live;
    if !share.is(Life::Live) {
        return true;
    }
    let Some(at) = share.bound else {
        let named = world.remote.iter().any(|share| share.status == Status::Live);
        let lacks = bounds.last
            && !share.spare
            && !share.inline
            && CHILDREN.into_iter().all(|child| !world.objects[child].is(Life::Live));
        return named || lacks;
    };
    let winner = CHILDREN.into_iter().map(|child| &world.objects[child]).find(|child| child.is(Life::Live));
    let in_place = |object: &Object| object.bound == Some(at) && object.row == Record::InPlace;
    match winner {
        _ if share.inline => live(at) == 1 && share.row == Record::InPlace,
        Some(winner) => live(at) == 1 && in_place(winner) && share.row == Record::Never,
        // The last resource stays until there is another.
        None if bounds.last && !share.spare => live(at) == 1 && share.row != Record::Never,
        None => (live(at) == 0 || world.kept[at]) && share.row == Record::Never,
    }
}
