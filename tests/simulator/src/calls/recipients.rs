//! How does the API list, add, replace, read and remove recipients?

use std::collections::HashSet;

use serde_json::Value;

use super::{opened, seen, writable};
use crate::answer::{Answer, Refusal};
use crate::query::Query;
use crate::rules::{PostedAgain, RecipientReturn, Untargeted};
use crate::share::{Association, Recipient, TargetType};
use crate::view;
use crate::wanted::{self, Target};
use crate::world::World;

pub fn list(world: &mut World, account: &str, share: &str, query: &Query) -> Result<Answer, Refusal> {
    let include = query.include()?;
    let (index, moment) = opened(world, account, share, true)?;
    let switches = world.switches.of(account);
    let share = seen(world, index, moment)?;
    let (page, info) = query.paging()?.cut(&share.recipients);
    let views: Vec<_> = page.iter().map(|row| view::recipient(row, share, include, switches)).collect();
    Ok(Answer::list(views, info))
}

pub fn read(world: &mut World, account: &str, share: &str, id: &str, query: &Query) -> Result<Answer, Refusal> {
    let include = query.include()?;
    let (index, moment) = opened(world, account, share, false)?;
    let switches = world.switches.of(account);
    let share = seen(world, index, moment)?;
    let row = share.recipients.iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| Refusal::not_found("recipient"))?;
    let view = view::recipient(row, share, include, switches);
    Ok(Answer::one(200, id, view))
}

pub fn add(world: &mut World, account: &str, share: &str, body: &Value) -> Result<Answer, Refusal> {
    let target = wanted::target(body, "")?;
    let index = account_share(world, account, share)?;
    let targets = [target];
    refuse_untargeted(world, account, &targets, "")?;
    let ids = accounts(world, account, &targets, "")?;
    let one = matches!(targets[0], Target::Account(_));
    let mut first = None;
    for id in &ids {
        let live = world.share(index).live_recipient(id);
        let position = match (live, world.switches.of(account).live_recipient_again) {
            (None, _) | (Some(_), PostedAgain::SecondRow) => put(world, index, std::slice::from_ref(id))[0],
            (Some(position), PostedAgain::Conflict) if !one => position,
            (Some(_), PostedAgain::Conflict) => {
                return Err(Refusal::conflict(format!("account {id} is a recipient already")));
            }
            (Some(position), PostedAgain::Returned) => position,
        };
        first.get_or_insert(position);
    }
    let share = world.share(index);
    let Some(row) = first.map(|position| &share.recipients[position]) else {
        return Err(Refusal::bad("the organization has no other member"));
    };
    let view = view::recipient(row, share, Default::default(), world.switches.of(account));
    Ok(Answer::one(201, &row.id, view))
}

pub fn replace(world: &mut World, account: &str, share: &str, body: &Value) -> Result<Answer, Refusal> {
    let Value::Array(values) = body else {
        return Err(Refusal::bad("an array of recipients is required"));
    };
    let targets = wanted::targets(values, "")?;
    let index = account_share(world, account, share)?;
    refuse_untargeted(world, account, &targets, "")?;
    let wanted = accounts(world, account, &targets, "")?;
    become_these(world, index, &wanted);
    Ok(Answer::nothing())
}

/// Adds and removes rows until exactly these accounts are live.
pub fn become_these(world: &mut World, index: usize, wanted: &[String]) {
    let share = world.share(index);
    let live: HashSet<String> = share.live_accounts().map(str::to_owned).collect();
    let added: Vec<String> = wanted.iter().filter(|id| !live.contains(*id)).cloned().collect();
    if !added.is_empty() {
        put(world, index, &added);
    }
    let kept: HashSet<&String> = wanted.iter().collect();
    let owner = world.share(index).account_id.clone();
    let (stamp, end) = (world.stamp(), world.ends(&owner).row);
    if live.iter().any(|id| !kept.contains(id)) {
        world.change(index, |share| {
            for row in &mut share.recipients {
                if !kept.contains(&row.account_id) {
                    row.begin_remove(&stamp, end);
                }
            }
            share.touch(&stamp);
        });
    }
}

pub fn remove(world: &mut World, account: &str, share: &str, id: &str) -> Result<Answer, Refusal> {
    let index = account_share(world, account, share)?;
    let rows = &world.share(index).recipients;
    let position = rows.iter().position(|row| row.id == id);
    let position = position.ok_or_else(|| Refusal::not_found("recipient"))?;
    let (stamp, end) = (world.stamp(), world.ends(account).row);
    world.change(index, |share| {
        share.recipients[position].begin_remove(&stamp, end);
        share.touch(&stamp);
    });
    let share = world.share(index);
    let row = &share.recipients[position];
    let view = view::recipient(row, share, Default::default(), world.switches.of(account));
    Ok(Answer::one(200, id, view))
}

/// The accounts that the targets mean, each once and allowed to receive.
pub fn accounts(world: &World, owner: &str, targets: &[Target], at: &str) -> Result<Vec<String>, Refusal> {
    let mut found: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for (position, target) in targets.iter().enumerate() {
        let at = if targets.len() == 1 && at.is_empty() { String::new() } else { format!("{at}/{position}") };
        let ids = match target {
            Target::Account(id) => {
                let at = format!("{at}/recipient_account_id");
                let checked = world.check_recipient(owner, id);
                checked.map_err(|refusal| refusal.at(at.clone()))?;
                if id == owner {
                    return Err(Refusal::bad("the owner cannot be a recipient").at(at));
                }
                vec![id.clone()]
            }
            Target::Organization(id) => {
                if world.account(owner).organization.as_ref() != Some(id) {
                    let text = format!("account {owner} is not in organization {id}");
                    return Err(Refusal::bad(text).at(format!("{at}/organization_id")));
                }
                world.members(id).to_vec()
            }
            Target::Nobody => {
                let organization = world.account(owner).organization.clone();
                world.members(&organization.unwrap_or_default()).to_vec()
            }
        };
        let others = ids.into_iter().filter(|id| id != owner);
        found.extend(others.filter(|id| known.insert(id.clone())));
    }
    Ok(found)
}

/// Adds a row for each account, or wakes its old one where that is the rule. Returns where
/// the rows stand.
pub fn put(world: &mut World, index: usize, accounts: &[String]) -> Vec<usize> {
    let owner = world.share(index).account_id.clone();
    let (stamp, end) = (world.stamp(), world.association_end(&owner));
    let reused = world.switches.of(&owner).recipient_return == RecipientReturn::Reused;
    let rows: Vec<(Recipient, Option<usize>)> = accounts
        .iter()
        .map(|id| {
            let row = Recipient {
                id: world.ids.id(),
                account_id: id.clone(),
                status: Association::Associating,
                due: Some(end),
                created: stamp.clone(),
                modified: stamp.clone(),
                entitlement: world.entitlement(&owner, id),
                errors: None,
                word: None,
            };
            let share = world.share(index);
            (row, reused.then(|| share.ended_recipient(id)).flatten())
        })
        .collect();
    world.change(index, |share| {
        share.touch(&stamp);
        rows.into_iter()
            .map(|(row, old)| match old {
                Some(position) => {
                    share.recipients[position].entitlement = row.entitlement;
                    share.recipients[position].begin_add(&stamp, end);
                    position
                }
                None => {
                    share.recipients.push(row);
                    share.recipients.len() - 1
                }
            })
            .collect()
    })
}

fn account_share(world: &mut World, account: &str, share: &str) -> Result<usize, Refusal> {
    let index = writable(world, account, share)?;
    match world.share(index).target_type {
        TargetType::Account => Ok(index),
        TargetType::Organization => {
            Err(Refusal::bad("the recipients of a share that targets an organization follow its membership"))
        }
    }
}

fn refuse_untargeted(world: &World, account: &str, targets: &[Target], at: &str) -> Result<(), Refusal> {
    let whole = targets.iter().any(|target| !matches!(target, Target::Account(_)));
    match world.switches.of(account).untargeted {
        Untargeted::Refused if whole => {
            let text = "a recipient of this share needs recipient_account_id";
            Err(Refusal::bad(text).at(at.to_owned()))
        }
        Untargeted::Refused | Untargeted::Everyone => Ok(()),
    }
}
