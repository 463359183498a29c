//! What can somebody else change, past the API and its checks?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calls::{organization, recipients, resources};
use crate::report::{self, ShareState};
use crate::share::{Association, Entitlement, Life, RowError, Share};
use crate::wanted::NewResource;
use crate::world::World;

/// `share` is an id. `recipient` is the id of a row or of its account (then the newest row),
/// `resource` the id of a row or of its source object.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// A new row for an account, whatever rows there are.
    AddRecipient {
        share: String,
        account: String,
    },
    RemoveRecipient {
        share: String,
        recipient: String,
    },
    /// The row is gone without a trace.
    EraseRecipient {
        share: String,
        recipient: String,
    },
    AddResource {
        share: String,
        #[serde(rename = "type")]
        resource_type: String,
        id: String,
        /// The owner, unless given.
        #[serde(default)]
        account: Option<String>,
        #[serde(default)]
        meta: Option<Value>,
    },
    RemoveResource {
        share: String,
        resource: String,
    },
    EraseResource {
        share: String,
        resource: String,
    },
    SetMeta {
        share: String,
        resource: String,
        meta: Value,
    },
    /// The source changed: the version grows.
    BumpVersion {
        share: String,
        resource: String,
    },
    Rename {
        share: String,
        name: String,
    },
    /// A status word that the API does not document; without one, the share is what it is by itself.
    /// `unlisted`: a list of active shares leaves it out.
    SetShareStatus {
        share: String,
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        unlisted: bool,
    },
    /// The same for a resource.
    SetResourceStatus {
        share: String,
        resource: String,
        #[serde(default)]
        status: Option<String>,
    },
    SetTags {
        share: String,
        tags: BTreeMap<String, String>,
    },
    /// As DELETE does.
    DeleteShare {
        share: String,
    },
    /// The share is gone at once: 404, and in no list.
    VanishShare {
        share: String,
    },
    /// A share that vanished or was deleted is active again.
    ReappearShare {
        share: String,
    },
    DeleteAll {
        account: String,
    },
    VanishAll {
        account: String,
    },
    /// A status by hand; an undocumented word is shown as it is. `errors` replaces the
    /// entries; `clear` goes back to what the row is by itself.
    SetRecipient {
        share: String,
        recipient: String,
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        errors: Option<Vec<RowError>>,
        #[serde(default)]
        clear: bool,
    },
    /// A removed row is associated again.
    ReappearRecipient {
        share: String,
        recipient: String,
    },
    /// An account is excluded from an organization's share no longer.
    Include {
        share: String,
        account: String,
    },
}

/// Makes the change. Returns the shares that it touched, as they are now.
pub fn edit(world: &mut World, edit: Edit) -> Result<Vec<ShareState>, String> {
    let touched = match edit {
        Edit::DeleteAll { account } => {
            let (stamp, ends) = (world.stamp(), world.ends(&account));
            let indices = present(world, &account);
            for index in &indices {
                world.change(*index, |share| share.begin_delete(&stamp, ends));
            }
            indices
        }
        Edit::VanishAll { account } => {
            let indices = present(world, &account);
            indices.iter().for_each(|index| world.vanish(*index));
            indices
        }
        Edit::VanishShare { share } => {
            let index = find(world, &share)?;
            world.vanish(index);
            vec![index]
        }
        Edit::DeleteShare { share } => {
            let index = find(world, &share)?;
            let owner = world.share(index).account_id.clone();
            let (stamp, ends) = (world.stamp(), world.ends(&owner));
            world.change(index, |share| share.begin_delete(&stamp, ends));
            vec![index]
        }
        Edit::ReappearShare { share } => {
            let index = find(world, &share)?;
            world.reappear(index);
            world.change(index, |share| {
                share.status = Life::Active;
                share.due = None;
            });
            vec![index]
        }
        Edit::Rename { share, name } => {
            let (index, stamp) = (find(world, &share)?, world.stamp());
            world.change(index, |share| {
                share.name = name;
                share.modified = stamp;
            });
            vec![index]
        }
        Edit::SetShareStatus { share, status, unlisted } => {
            let index = find(world, &share)?;
            world.change(index, |share| (share.word, share.unlisted) = (status, unlisted));
            vec![index]
        }
        Edit::SetResourceStatus { share, resource, status } => {
            let index = find(world, &share)?;
            let row = resource_row(world.share(index), &resource)?;
            world.change(index, |share| share.resources[row].word = status);
            vec![index]
        }
        Edit::SetTags { share, tags } => {
            let index = find(world, &share)?;
            world.change(index, |share| share.tags = tags);
            vec![index]
        }
        Edit::Include { share, account } => {
            let index = find(world, &share)?;
            organization::include(world, index, &account);
            vec![index]
        }
        Edit::AddRecipient { share, account } => {
            let index = find(world, &share)?;
            recipients::put(world, index, &[account]);
            vec![index]
        }
        Edit::RemoveRecipient { share, recipient } => {
            let index = find(world, &share)?;
            let row = row(world.share(index), &recipient)?;
            let owner = world.share(index).account_id.clone();
            let (stamp, end) = (world.stamp(), world.ends(&owner).row);
            world.change(index, |share| {
                share.recipients[row].begin_remove(&stamp, end);
                share.touch(&stamp);
            });
            vec![index]
        }
        Edit::EraseRecipient { share, recipient } => {
            let index = find(world, &share)?;
            let row = row(world.share(index), &recipient)?;
            world.change(index, |share| share.recipients.remove(row));
            vec![index]
        }
        Edit::SetRecipient { share, recipient, status, errors, clear } => {
            let index = find(world, &share)?;
            let row = row(world.share(index), &recipient)?;
            world.change(index, |share| {
                let row = &mut share.recipients[row];
                if clear {
                    row.errors = None;
                    row.word = None;
                }
                if let Some(status) = status {
                    set_status(row, status);
                }
                row.errors = errors.or(row.errors.take());
            });
            vec![index]
        }
        Edit::ReappearRecipient { share, recipient } => {
            let (index, stamp) = (find(world, &share)?, world.stamp());
            let row = row(world.share(index), &recipient)?;
            world.change(index, |share| {
                let row = &mut share.recipients[row];
                row.status = Association::Associated;
                row.entitlement = Entitlement::Full;
                row.due = None;
                row.modified = stamp;
            });
            vec![index]
        }
        Edit::AddResource { share, resource_type, id, account, meta } => {
            let index = find(world, &share)?;
            let owner = world.share(index).account_id.clone();
            let new = NewResource {
                account_id: account.unwrap_or(owner),
                resource_id: id,
                resource_type,
                meta: meta.unwrap_or_else(|| serde_json::json!({})),
            };
            resources::insert(world, index, new);
            vec![index]
        }
        Edit::RemoveResource { share, resource } => {
            let index = find(world, &share)?;
            let row = resource_row(world.share(index), &resource)?;
            let owner = world.share(index).account_id.clone();
            let (stamp, end) = (world.stamp(), world.ends(&owner).resource);
            world.change(index, |share| {
                share.resources[row].begin_delete(&stamp, end);
                share.touch(&stamp);
            });
            vec![index]
        }
        Edit::EraseResource { share, resource } => {
            let index = find(world, &share)?;
            let row = resource_row(world.share(index), &resource)?;
            world.change(index, |share| share.resources.remove(row));
            vec![index]
        }
        Edit::SetMeta { share, resource, meta } => {
            let (index, stamp) = (find(world, &share)?, world.stamp());
            let row = resource_row(world.share(index), &resource)?;
            world.change(index, |share| {
                share.resources[row].set_meta(meta, &stamp);
                share.touch(&stamp);
            });
            vec![index]
        }
        Edit::BumpVersion { share, resource } => {
            let (index, stamp) = (find(world, &share)?, world.stamp());
            let row = resource_row(world.share(index), &resource)?;
            world.change(index, |share| {
                share.resources[row].version += 1;
                share.resources[row].modified = stamp;
            });
            vec![index]
        }
    };
    let states = touched.into_iter();
    Ok(states.map(|index| report::share(world, world.share(index))).collect())
}

fn set_status(row: &mut crate::share::Recipient, status: String) {
    match serde_json::from_value(Value::String(status.clone())) {
        Ok(known) => {
            row.status = known;
            row.word = None;
        }
        Err(_) => row.word = Some(status),
    }
    row.due = None;
}

fn present(world: &World, account: &str) -> Vec<usize> {
    let indices = world.sent(account).iter().copied();
    let present = |index: &usize| !world.is_vanished(*index) && world.share(*index).status == Life::Active;
    indices.filter(present).collect()
}

fn find(world: &mut World, id: &str) -> Result<usize, String> {
    let index = world.find_any(id).ok_or_else(|| format!("no share {id}"))?;
    world.settle(index);
    Ok(index)
}

fn row(share: &Share, id: &str) -> Result<usize, String> {
    let found = share.recipients.iter().rposition(|row| row.id == id || row.account_id == id);
    found.ok_or_else(|| format!("no recipient {id} in share {}", share.id))
}

fn resource_row(share: &Share, id: &str) -> Result<usize, String> {
    let found = share.resources.iter().rposition(|row| row.id == id || row.resource_id == id);
    found.ok_or_else(|| format!("no resource {id} in share {}", share.id))
}
