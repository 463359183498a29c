//! How does the API list an organization's shares, and exclude accounts from them?

use serde_json::{Value, json};

use super::{opened, recipients, seen, shares, writable};
use crate::answer::{Answer, Refusal};
use crate::query::{Include, Kind, Query};
use crate::rules::{DeletedShare, OrganizationCalls};
use crate::share::{Excluded, Life, TargetType};
use crate::view;
use crate::wanted;
use crate::world::World;

pub fn list(world: &mut World, organization: &str, query: &Query, by_key: bool) -> Result<Answer, Refusal> {
    let switches = world.switches.common.clone();
    if switches.organization_calls == OrganizationCalls::KeyOnly && !by_key {
        return Err(Refusal::denied());
    }
    let filter = query.shares()?;
    let indices: Vec<usize> =
        world.every().filter(|index| world.share(*index).organization_id == organization).collect();
    for index in &indices {
        world.settle(*index);
    }
    let show_deleted = switches.deleted_share == DeletedShare::Shown;
    let mut rows = shares::rows(world, &indices, None, &filter, show_deleted);
    if filter.kind == Some(Kind::Received) {
        rows.clear();
    }
    let (page, info) = query.paging()?.cut(&rows);
    let views: Vec<_> = page
        .iter()
        .map(|share| {
            let name = world.account_name(&share.account_id);
            view::share(share, name, Kind::Sent, Include::default(), &switches)
        })
        .collect();
    Ok(Answer::list(views, info))
}

/// The accounts that have been given a name.
pub fn accounts(world: &World, query: &Query) -> Result<Answer, Refusal> {
    let named = world.named_accounts();
    let (page, info) = query.paging()?.cut(&named);
    let views: Vec<_> = page.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
    Ok(Answer::list(views, info))
}

pub fn list_excluded(world: &mut World, account: &str, share: &str, query: &Query) -> Result<Answer, Refusal> {
    let (index, moment) = opened(world, account, share, true)?;
    let share = seen(world, index, moment)?;
    targets_organization(share.target_type)?;
    let (page, info) = query.paging()?.cut(&share.excluded);
    let views: Vec<_> = page.into_iter().map(view::excluded).collect();
    Ok(Answer::list(views, info))
}

pub fn read_excluded(world: &mut World, account: &str, share: &str, id: &str) -> Result<Answer, Refusal> {
    let (index, moment) = opened(world, account, share, false)?;
    let share = seen(world, index, moment)?;
    targets_organization(share.target_type)?;
    match share.excluded.iter().find(|excluded| excluded.id == id) {
        Some(excluded) => Ok(Answer::one(200, id, view::excluded(excluded))),
        None => Err(Refusal::not_found("excluded recipient")),
    }
}

pub fn exclude(world: &mut World, account: &str, share: &str, body: &Value) -> Result<Answer, Refusal> {
    let id = wanted::excluded(body, "")?;
    let index = organization_share(world, account, share)?;
    check_member(world, account, &id, "/account_id")?;
    let mut wanted = excluded_accounts(world, index);
    if !wanted.contains(&id) {
        wanted.push(id.clone());
    }
    set_excluded(world, index, &wanted);
    let excluded = &world.share(index).excluded;
    match excluded.iter().find(|excluded| excluded.account_id == id) {
        Some(excluded) => Ok(Answer::one(201, &excluded.id, view::excluded(excluded))),
        None => Err(Refusal::not_found("excluded recipient")),
    }
}

pub fn replace_excluded(world: &mut World, account: &str, share: &str, body: &Value) -> Result<Answer, Refusal> {
    let Value::Array(values) = body else {
        return Err(Refusal::bad("an array of excluded recipients is required"));
    };
    let index = organization_share(world, account, share)?;
    let mut wanted: Vec<String> = Vec::new();
    for (position, value) in values.iter().enumerate() {
        let id = wanted::excluded(value, &format!("/{position}"))?;
        check_member(world, account, &id, &format!("/{position}/account_id"))?;
        if !wanted.contains(&id) {
            wanted.push(id);
        }
    }
    set_excluded(world, index, &wanted);
    Ok(Answer::nothing())
}

pub fn include_again(world: &mut World, account: &str, share: &str, id: &str) -> Result<Answer, Refusal> {
    let index = organization_share(world, account, share)?;
    let excluded = world.share(index).excluded.iter().find(|e| e.id == id);
    let excluded = excluded.cloned();
    let excluded = excluded.ok_or_else(|| Refusal::not_found("excluded recipient"))?;
    include(world, index, &excluded.account_id);
    Ok(Answer::one(200, id, view::excluded(&excluded)))
}

/// Gives the share to an account that was excluded.
pub fn include(world: &mut World, index: usize, account: &str) {
    let mut wanted = excluded_accounts(world, index);
    wanted.retain(|excluded| excluded != account);
    set_excluded(world, index, &wanted);
}

fn excluded_accounts(world: &World, index: usize) -> Vec<String> {
    let excluded = world.share(index).excluded.iter();
    excluded.map(|e| e.account_id.clone()).collect()
}

fn set_excluded(world: &mut World, index: usize, wanted: &[String]) {
    let old = excluded_accounts(world, index);
    let mut added = Vec::new();
    for id in wanted.iter().filter(|id| !old.contains(id)) {
        added.push(Excluded { id: world.ids.id(), account_id: id.clone(), created: world.stamp() });
    }
    world.change(index, |share| {
        share.excluded.retain(|e| wanted.contains(&e.account_id));
        share.excluded.extend(added);
    });
    follow(world, index);
}

/// Gives each member that is not excluded a row, and no other account one.
fn follow(world: &mut World, index: usize) {
    let share = world.share(index);
    let excluded = excluded_accounts(world, index);
    let wanted: Vec<String> = world
        .members(&share.organization_id)
        .iter()
        .filter(|id| **id != share.account_id && !excluded.contains(id))
        .cloned()
        .collect();
    recipients::become_these(world, index, &wanted);
}

impl World {
    /// Lets every share that targets the organization follow its membership.
    pub fn follow_members(&mut self, organization: &str) {
        for index in self.every() {
            let share = self.share(index);
            let follows = share.target_type == TargetType::Organization
                && share.organization_id == organization
                && share.status == Life::Active;
            if follows {
                follow(self, index);
            }
        }
    }
}

fn organization_share(world: &mut World, account: &str, share: &str) -> Result<usize, Refusal> {
    let index = writable(world, account, share)?;
    targets_organization(world.share(index).target_type)?;
    Ok(index)
}

fn targets_organization(target_type: TargetType) -> Result<(), Refusal> {
    match target_type {
        TargetType::Organization => Ok(()),
        TargetType::Account => {
            Err(Refusal::bad("excluded recipients are only valid on a share that targets an organization"))
        }
    }
}

fn check_member(world: &World, owner: &str, id: &str, at: &str) -> Result<(), Refusal> {
    let checked = world.check_recipient(owner, id);
    checked.map_err(|refusal| refusal.at(at.to_owned()))
}
