//! Which part of the API carries out a call?

pub mod organization;
pub mod recipients;
pub mod resources;
mod shares;

use crate::answer::{Answer, Refusal};
use crate::clock::Micros;
use crate::query::Query;
use crate::route::{Call, Verb};
use crate::rules::{ListInfo, ReceivedRead, WriteWhileDeleting};
use crate::share::{Life, Share};
use crate::wanted;
use crate::world::World;

/// What a call says beside its path.
pub struct Input<'a> {
    pub query: &'a str,
    pub body: &'a [u8],
    /// With an e-mail address and a key, not with a token.
    pub by_key: bool,
}

pub fn perform(world: &mut World, call: &Call, verb: Verb, input: &Input<'_>) -> Result<Answer, Refusal> {
    let account = call.account().unwrap_or_default();
    let switches = world.switches.of(account);
    let (pointer, list_info) = (switches.error_pointer, switches.list_info);
    let query = Query::parse(input.query, switches);
    if !world.account(account).known {
        return Err(Refusal::denied());
    }
    let body = || wanted::json(input.body);
    let answer = match (call, verb) {
        (Call::Shares { account }, Verb::Create) => shares::create(world, account, &body()?),
        (Call::Shares { account }, _) => shares::list(world, account, &query),
        (Call::Share { account, share }, Verb::Update) => shares::rename(world, account, share, &body()?),
        (Call::Share { account, share }, Verb::Delete) => shares::delete(world, account, share),
        (Call::Share { account, share }, _) => shares::read(world, account, share, &query),
        (Call::Recipients { account, share }, Verb::Create) => recipients::add(world, account, share, &body()?),
        (Call::Recipients { account, share }, Verb::Replace) => recipients::replace(world, account, share, &body()?),
        (Call::Recipients { account, share }, _) => recipients::list(world, account, share, &query),
        (Call::Recipient { account, share, id }, Verb::Delete) => recipients::remove(world, account, share, id),
        (Call::Recipient { account, share, id }, _) => recipients::read(world, account, share, id, &query),
        (Call::Resources { account, share }, Verb::Create) => resources::add(world, account, share, &body()?),
        (Call::Resources { account, share }, _) => resources::list(world, account, share, &query),
        (Call::Resource { account, share, id }, Verb::Update) => resources::update(world, account, share, id, &body()?),
        (Call::Resource { account, share, id }, Verb::Delete) => resources::remove(world, account, share, id),
        (Call::Resource { account, share, id }, _) => resources::read(world, account, share, id),
        (Call::AllExcluded { account, share }, Verb::Create) => organization::exclude(world, account, share, &body()?),
        (Call::AllExcluded { account, share }, Verb::Replace) => {
            organization::replace_excluded(world, account, share, &body()?)
        }
        (Call::AllExcluded { account, share }, _) => organization::list_excluded(world, account, share, &query),
        (Call::Excluded { account, share, id }, Verb::Delete) => organization::include_again(world, account, share, id),
        (Call::Excluded { account, share, id }, _) => organization::read_excluded(world, account, share, id),
        (Call::Accounts, _) => organization::accounts(world, &query),
        (Call::OwnToken { .. }, _) => Err(Refusal::denied()),
        (Call::OrganizationShares { organization }, _) => organization::list(world, organization, &query, input.by_key),
    };
    let answer = answer.map(|answer| match list_info {
        ListInfo::Shown => answer,
        ListInfo::Absent => answer.without_info(),
    });
    answer.map_err(|refusal| Refusal { pointer: refusal.pointer.filter(|_| pointer), ..refusal })
}

/// The share that a write is about.
fn writable(world: &mut World, account: &str, id: &str) -> Result<usize, Refusal> {
    let missing = || Refusal::not_found("share");
    let index = world.find(account, id).ok_or_else(missing)?;
    world.settle(index);
    if world.is_vanished(index) {
        return Err(missing());
    }
    match world.share(index).status {
        Life::Active => Ok(index),
        Life::Deleted => Err(missing()),
        Life::Deleting => match world.switches.of(account).write_while_deleting {
            WriteWhileDeleting::Conflict => Err(Refusal::conflict("share is being deleted")),
            WriteWhileDeleting::NotFound => Err(missing()),
            WriteWhileDeleting::Accepted => Ok(index),
        },
    }
}

/// The share that a read is about, and the moment that the read sees.
fn readable(world: &mut World, account: &str, id: &str, list: bool) -> Result<(usize, Option<Micros>), Refusal> {
    let missing = || Refusal::not_found("share");
    let index = world.find_any(id).ok_or_else(missing)?;
    world.settle(index);
    let moment = world.moment(account, list);
    let switches = world.switches.of(account);
    let share = world.share_at(index, moment).ok_or_else(missing)?;
    let own = share.account_id == account;
    let received = switches.received_read == ReceivedRead::Shown && share.received_by(account);
    if own || received { Ok((index, moment)) } else { Err(missing()) }
}

/// The same, for a group of objects inside a share that is not gone.
fn opened(world: &mut World, account: &str, id: &str, list: bool) -> Result<(usize, Option<Micros>), Refusal> {
    let (index, moment) = readable(world, account, id, list)?;
    match seen(world, index, moment)?.status {
        Life::Active | Life::Deleting => Ok((index, moment)),
        Life::Deleted => Err(Refusal::not_found("share")),
    }
}

fn seen(world: &World, index: usize, moment: Option<Micros>) -> Result<&Share, Refusal> {
    let share = world.share_at(index, moment);
    share.ok_or_else(|| Refusal::not_found("share"))
}
