//! How does the API list, add, read, update and remove the resources of a share?

use std::collections::HashSet;

use serde_json::Value;

use super::{opened, seen, writable};
use crate::answer::{Answer, Refusal};
use crate::query::Query;
use crate::rules::{DeletedResources, LastResource, PostedAgain};
use crate::share::{Life, Resource};
use crate::view;
use crate::wanted::{self, NewResource};
use crate::world::World;

pub fn list(world: &mut World, account: &str, share: &str, query: &Query) -> Result<Answer, Refusal> {
    let status = query.life()?;
    let of_type = query.value("resource_type");
    let (index, moment) = opened(world, account, share, true)?;
    let deleted = world.switches.of(account).deleted_resources == DeletedResources::Shown;
    let share = seen(world, index, moment)?;
    let rows: Vec<&Resource> = share
        .resources
        .iter()
        .filter(|resource| match status {
            Some(status) => resource.status == status,
            None => resource.status != Life::Deleted || deleted,
        })
        .filter(|resource| of_type.is_none_or(|t| resource.resource_type == t))
        .collect();
    let (page, info) = query.paging()?.cut(&rows);
    let views: Vec<_> = page.iter().map(|row| view::resource(row)).collect();
    Ok(Answer::list(views, info))
}

pub fn read(world: &mut World, account: &str, share: &str, id: &str) -> Result<Answer, Refusal> {
    let (index, moment) = opened(world, account, share, false)?;
    let deleted = world.switches.of(account).deleted_resources == DeletedResources::Shown;
    let share = seen(world, index, moment)?;
    let found = share.resources.iter().find(|resource| resource.id == id);
    match found.filter(|resource| resource.status != Life::Deleted || deleted) {
        Some(resource) => Ok(Answer::one(200, id, view::resource(resource))),
        None => Err(Refusal::not_found("resource")),
    }
}

pub fn add(world: &mut World, account: &str, share: &str, body: &Value) -> Result<Answer, Refusal> {
    let new = wanted::resource(body, "")?;
    let index = writable(world, account, share)?;
    check(world, account, &new, "")?;
    let position = put(world, index, new)?;
    let resource = &world.share(index).resources[position];
    Ok(Answer::one(201, &resource.id, view::resource(resource)))
}

/// Whether the source object exists.
pub fn check(world: &World, owner: &str, new: &NewResource, at: &str) -> Result<(), Refusal> {
    let source = world.account(&new.account_id);
    if !source.known {
        let text = format!("unknown account {}", new.account_id);
        return Err(Refusal::bad(text).at(format!("{at}/resource_account_id")));
    }
    let missing = source.unknown_resources.contains(&new.resource_id)
        || world.account(owner).unknown_resources.contains(&new.resource_id);
    if missing {
        let text = format!("unknown resource {} {}", new.resource_type, new.resource_id);
        return Err(Refusal::bad(text).at(format!("{at}/resource_id")));
    }
    Ok(())
}

/// A share is made with all its resources or not at all.
pub fn refuse_twins(resources: &[NewResource]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for new in resources {
        if !seen.insert((&new.account_id, &new.resource_type, &new.resource_id)) {
            let text = format!("resource {} stands in the list twice", new.resource_id);
            return Err(Refusal::conflict(text));
        }
    }
    Ok(())
}

/// Adds a resource, or finds it. Returns its position.
pub fn put(world: &mut World, index: usize, new: NewResource) -> Result<usize, Refusal> {
    let owner = &world.share(index).account_id;
    let again = world.switches.of(owner).resource_again;
    let live = world.share(index).resources.iter().position(|resource| {
        resource.status == Life::Active
            && resource.resource_type == new.resource_type
            && resource.resource_id == new.resource_id
    });
    match (live, again) {
        (Some(position), PostedAgain::Returned) => Ok(position),
        (Some(_), PostedAgain::Conflict) => {
            let text = format!("resource {} is in the share already", new.resource_id);
            Err(Refusal::conflict(text))
        }
        (Some(_), PostedAgain::SecondRow) | (None, _) => Ok(insert(world, index, new)),
    }
}

/// Adds a resource, whatever there is.
pub fn insert(world: &mut World, index: usize, new: NewResource) -> usize {
    let owner = &world.share(index).account_id;
    let echo = world.switches.of(owner).meta_echo;
    let (id, stamp) = (world.ids.id(), world.stamp());
    world.change(index, |share| {
        share.touch(&stamp);
        share.resources.push(Resource {
            id,
            account_id: new.account_id,
            resource_id: new.resource_id,
            resource_type: new.resource_type,
            version: 1,
            meta: view::echoed(new.meta, echo),
            status: Life::Active,
            word: None,
            due: None,
            created: stamp.clone(),
            modified: stamp,
        });
        share.resources.len() - 1
    })
}

pub fn update(world: &mut World, account: &str, share: &str, id: &str, body: &Value) -> Result<Answer, Refusal> {
    let meta = wanted::meta(body, "")?;
    let index = writable(world, account, share)?;
    let position = position(world, index, id)?;
    let echo = world.switches.of(account).meta_echo;
    let stamp = world.stamp();
    world.change(index, |share| {
        share.resources[position].set_meta(view::echoed(meta, echo), &stamp);
        share.touch(&stamp);
    });
    let resource = &world.share(index).resources[position];
    Ok(Answer::one(200, id, view::resource(resource)))
}

pub fn remove(world: &mut World, account: &str, share: &str, id: &str) -> Result<Answer, Refusal> {
    let index = writable(world, account, share)?;
    let position = position(world, index, id)?;
    let share = world.share(index);
    let last = share.resources[position].status == Life::Active && share.active_resources().count() == 1;
    if last && world.switches.of(account).last_resource == LastResource::Kept {
        return Err(Refusal::bad("the last resource of a share cannot be deleted"));
    }
    let (stamp, end) = (world.stamp(), world.ends(account).resource);
    world.change(index, |share| {
        share.resources[position].begin_delete(&stamp, end);
        share.touch(&stamp);
    });
    let resource = &world.share(index).resources[position];
    Ok(Answer::one(200, id, view::resource(resource)))
}

fn position(world: &World, index: usize, id: &str) -> Result<usize, Refusal> {
    let resources = &world.share(index).resources;
    let found = resources.iter().position(|resource| resource.id == id && resource.status != Life::Deleted);
    found.ok_or_else(|| Refusal::not_found("resource"))
}
