//! What must hold in every state, and what counts as having come to rest.

use crate::model::Bounds;
use crate::world::{Call, PERSONS, ROWS, Record, World};

/// What is checked once all states are known: each can come to rest without a fault and without anybody's help.
pub const HOPEFUL: &str = "everything comes to rest";

/// The law that a state breaks.
pub fn broken(world: &World) -> Option<&'static str> {
    if !is_alone(world) {
        Some("no duplicate")
    } else if world.touched {
        Some("nothing foreign is touched")
    } else if !is_tight(world) {
        Some("nothing leaks")
    } else {
        None
    }
}

/// At most one live share that the object caused or took over, and one live row per key.
fn is_alone(world: &World) -> bool {
    let taken_over = world.object.adopted && !world.object.gone && world.remote.is_live(PERSONS);
    let one_row = world.remote.shares.iter().flat_map(|share| &share.rows).all(|row| row.live <= 1);
    world.remote.own() + usize::from(taken_over) <= 1 && one_row
}

/// The object is gone only once nothing of it lives, or is on its way.
fn is_tight(world: &World) -> bool {
    let coming = world.requests.iter().any(|request| matches!(request.call, Call::Create { .. }));
    !world.object.gone || world.remote.own() == 0 && !coming
}

/// Nothing is under way, and Cloudflare has what the object says.
pub fn is_at_rest(world: &World, bounds: &Bounds) -> bool {
    let object = &world.object;
    let busy = world.operators.iter().any(|operator| operator.call.is_some() || operator.pending.is_some());
    if busy || !world.requests.is_empty() {
        return false;
    }
    if object.gone {
        return world.remote.own() == 0;
    }
    if object.is_deleting || object.intent.is_some() {
        return false;
    }
    match object.share {
        // Taken over, and gone since: refused, since it is never made anew.
        Some(share) if object.adopted && !world.remote.is_live(share) => true,
        Some(share) => world.remote.is_live(share) && (!bounds.rows || rows_rest(world, share)),
        None => {
            let complete = object.declared == [true; ROWS];
            let taken = !bounds.adopts && world.remote.is_live(PERSONS);
            world.remote.own() == 0 && (!complete || taken)
        }
    }
}

fn rows_rest(world: &World, share: usize) -> bool {
    (0..ROWS).all(|row| {
        let live = world.remote.shares[share].rows[row].live;
        let record = world.object.rows[row];
        if world.object.declared[row] {
            live == 1 && record == Record::InPlace
        } else {
            // What was never declared while the share was ours is a person's.
            record == Record::Never && (live == 0 || share == PERSONS)
        }
    })
}
