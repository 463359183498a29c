//! How does the API list, create, read, rename and delete shares?

use serde_json::Value;

use super::{readable, recipients, resources, seen, writable};
use crate::answer::{Answer, Refusal};
use crate::clock::Micros;
use crate::query::{Include, Kind, Order, Query, ShareFilter};
use crate::rules::{
    DeletedShare, EmptyCreate, ListFilters, ListWithoutKind, PostedAgain, SameName, Switches, Untargeted,
};
use crate::share::{Life, Share, TargetType};
use crate::view;
use crate::wanted::{self, NewShare, Target};
use crate::world::World;

pub fn list(world: &mut World, account: &str, query: &Query) -> Result<Answer, Refusal> {
    let mut filter = query.shares()?;
    let include = query.include()?;
    let switches = world.switches.of(account).clone();
    let ignored = switches.list_filters == ListFilters::Ignored;
    if ignored {
        (filter.kind, filter.status) = (None, None);
    }
    let (sent, received) = match (filter.kind, switches.list_without_kind) {
        (Some(Kind::Sent), _) | (None, ListWithoutKind::Sent) => (true, false),
        (Some(Kind::Received), _) => (false, true),
        (None, ListWithoutKind::Both) => (true, true),
    };
    let mut indices = Vec::new();
    if received {
        indices.extend(world.received(account));
    }
    if sent {
        indices.extend_from_slice(world.sent(account));
    }
    if received && sent {
        indices.sort_unstable();
        indices.dedup();
    }
    for index in &indices {
        world.settle(*index);
    }
    let moment = world.moment(account, true);
    let show_deleted = ignored || switches.deleted_share == DeletedShare::Shown;
    let mut rows = rows(world, &indices, moment, &filter, show_deleted);
    if received {
        rows.retain(|share| share.account_id == account || share.received_by(account));
    }
    let (page, info) = query.paging()?.cut(&rows);
    let views: Vec<_> = page
        .iter()
        .map(|share| {
            let kind = if share.account_id == account { Kind::Sent } else { Kind::Received };
            let name = world.account_name(&share.account_id);
            view::share(share, name, kind, include, &switches)
        })
        .collect();
    Ok(Answer::list(views, info))
}

/// The shares of a list that pass its filter, in its order.
pub fn rows<'a>(
    world: &'a World,
    indices: &[usize],
    moment: Option<Micros>,
    filter: &ShareFilter,
    show_deleted: bool,
) -> Vec<&'a Share> {
    let mut rows: Vec<&'a Share> = indices
        .iter()
        .filter_map(|index| world.share_at(*index, moment))
        .filter(|share| passes(share, filter, show_deleted))
        .collect();
    match filter.order {
        // They stand in the order of creation.
        Order::Created => {}
        Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
    }
    if filter.descending {
        rows.reverse();
    }
    rows
}

fn passes(share: &Share, filter: &ShareFilter, show_deleted: bool) -> bool {
    let status = match filter.status {
        Some(status) => share.status == status && !(share.unlisted && status == Life::Active),
        None => share.status != Life::Deleted || show_deleted,
    };
    let target = filter.target_type.is_none_or(|t| share.target_type == t);
    let types = filter.resource_types.is_empty()
        || share.resources.iter().any(|resource| {
            resource.status != Life::Deleted && filter.resource_types.contains(&resource.resource_type)
        });
    let tags = filter.tags.iter().all(|(key, wanted)| {
        let found = share.tags.get(key);
        found.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
    });
    status && target && types && tags
}

pub fn create(world: &mut World, account: &str, body: &Value) -> Result<Answer, Refusal> {
    let new = wanted::new_share(body)?;
    let index = build(world, account, new)?;
    one(world, account, index, 201, Include::default())
}

/// Makes a share, or none at all.
fn build(world: &mut World, account: &str, new: NewShare) -> Result<usize, Refusal> {
    let switches = world.switches.of(account).clone();
    if switches.empty_create == EmptyCreate::Refused {
        for (key, empty) in [("recipients", new.recipients.is_empty()), ("resources", new.resources.is_empty())] {
            if empty {
                let text = format!("{key}: at least one is required");
                return Err(Refusal::bad(text).at(format!("/{key}")));
            }
        }
    }
    if switches.same_name == SameName::Conflict && named(world, account, &new.name) {
        let text = format!("a share named {} exists already", new.name);
        return Err(Refusal::conflict(text).at("/name".to_owned()));
    }
    let target_type = target_type(&new.recipients, switches.untargeted)?;
    let Some(organization_id) = world.account(account).organization.clone() else {
        return Err(Refusal::bad(format!("account {account} is in no organization")));
    };
    let wanted = recipients::accounts(world, account, &new.recipients, "/recipients")?;
    for (position, resource) in new.resources.iter().enumerate() {
        resources::check(world, account, resource, &format!("/resources/{position}"))?;
    }
    if switches.resource_again == PostedAgain::Conflict {
        resources::refuse_twins(&new.resources)?;
    }
    let name = kept(&new.name, &switches);
    let index = world.insert_empty(account, organization_id, name, target_type);
    recipients::put(world, index, &wanted);
    for resource in new.resources {
        resources::put(world, index, resource)?;
    }
    Ok(index)
}

/// What is kept of a name.
fn kept(name: &str, switches: &Switches) -> String {
    let squeezed = || name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = if switches.squeeze_names { squeezed() } else { name.to_owned() };
    name.chars().take(switches.cut_names.unwrap_or(usize::MAX)).collect()
}

fn named(world: &World, account: &str, name: &str) -> bool {
    world.sent(account).iter().any(|index| {
        let share = world.share(*index);
        !world.is_vanished(*index) && share.status == Life::Active && share.name == name
    })
}

/// A share whose one recipient is an organization, or nobody, targets the organization.
fn target_type(recipients: &[Target], untargeted: Untargeted) -> Result<TargetType, Refusal> {
    let whole = recipients.iter().any(|target| match target {
        Target::Account(_) => false,
        Target::Organization(_) | Target::Nobody => true,
    });
    let nobody = recipients.contains(&Target::Nobody);
    if nobody && untargeted == Untargeted::Refused {
        let text = "a recipient needs recipient_account_id or organization_id";
        return Err(Refusal::bad(text).at("/recipients".to_owned()));
    }
    match (whole, recipients.len()) {
        (false, _) => Ok(TargetType::Account),
        (true, 1) => Ok(TargetType::Organization),
        (true, _) if nobody => Ok(TargetType::Account),
        (true, _) => {
            let text = "an organization is the only recipient of its share";
            Err(Refusal::bad(text).at("/recipients".to_owned()))
        }
    }
}

pub fn read(world: &mut World, account: &str, id: &str, query: &Query) -> Result<Answer, Refusal> {
    let include = query.include()?;
    let (index, moment) = readable(world, account, id, false)?;
    let switches = world.switches.of(account);
    let share = seen(world, index, moment)?;
    match (share.status, switches.deleted_share) {
        (Life::Deleted, DeletedShare::NotFound) => Err(Refusal::not_found("share")),
        (Life::Deleted, DeletedShare::Shown) | (Life::Active | Life::Deleting, _) => {
            let kind = if share.account_id == account { Kind::Sent } else { Kind::Received };
            let name = world.account_name(&share.account_id);
            let view = view::share(share, name, kind, include, switches);
            Ok(Answer::one(200, id, view))
        }
    }
}

pub fn rename(world: &mut World, account: &str, id: &str, body: &Value) -> Result<Answer, Refusal> {
    let name = wanted::name(body)?;
    let name = kept(&name, world.switches.of(account));
    let index = writable(world, account, id)?;
    let same = world.share(index).name == name;
    let refused = world.switches.of(account).same_name == SameName::Conflict;
    if refused && !same && named(world, account, &name) {
        let text = format!("a share named {name} exists already");
        return Err(Refusal::conflict(text).at("/name".to_owned()));
    }
    let stamp = world.stamp();
    world.change(index, |share| {
        share.name = name;
        share.modified = stamp;
    });
    one(world, account, index, 200, Include::default())
}

pub fn delete(world: &mut World, account: &str, id: &str) -> Result<Answer, Refusal> {
    let index = writable(world, account, id)?;
    if world.share(index).status == Life::Active {
        let stamp = world.stamp();
        let ends = world.ends(account);
        world.change(index, |share| share.begin_delete(&stamp, ends));
    }
    one(world, account, index, 200, Include::default())
}

/// The answer to a write: the share as it is now.
fn one(world: &World, account: &str, index: usize, status: u16, include: Include) -> Result<Answer, Refusal> {
    let share = world.share(index);
    let name = world.account_name(&share.account_id);
    let switches = world.switches.of(account);
    let view = view::share(share, name, Kind::Sent, include, switches);
    Ok(Answer::one(status, &share.id, view))
}
