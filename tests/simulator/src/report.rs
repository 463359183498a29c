//! How does a share look in full, for a test that checks the end state?

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::share::{Association, Life, RowError, Share, TargetType};
use crate::view;
use crate::world::World;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShareState {
    pub id: String,
    pub account_id: String,
    pub organization_id: String,
    pub name: String,
    pub target_type: TargetType,
    pub status: Life,
    pub created: String,
    pub modified: String,
    /// All rows, the disassociated ones too.
    pub recipients: Vec<RecipientState>,
    /// All rows, the deleted ones too.
    pub resources: Vec<ResourceState>,
    /// Account ids.
    pub excluded: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RecipientState {
    pub id: String,
    pub account_id: String,
    pub status: Association,
    pub errors: Vec<RowError>,
    pub created: String,
    pub modified: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ResourceState {
    pub id: String,
    pub resource_account_id: String,
    pub resource_id: String,
    pub resource_type: String,
    pub version: i64,
    pub meta: Value,
    pub status: Life,
    pub created: String,
    pub modified: String,
}

impl ShareState {
    /// Neither deleting nor deleted.
    pub fn live(&self) -> bool {
        self.status == Life::Active
    }

    pub fn live_recipients(&self) -> Vec<&RecipientState> {
        let rows = self.recipients.iter();
        rows.filter(|row| row.status.live()).collect()
    }

    pub fn live_resources(&self) -> Vec<&ResourceState> {
        let rows = self.resources.iter();
        rows.filter(|row| row.status == Life::Active).collect()
    }
}

/// How many are in which state; cheap, where [`ShareState`]s would be many.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    pub active_shares: usize,
    pub deleting_shares: usize,
    pub deleted_shares: usize,
    /// Recipients and resources of active shares.
    pub associating: usize,
    pub associated: usize,
    pub disassociating: usize,
    pub disassociated: usize,
    pub active_resources: usize,
    pub deleting_resources: usize,
    pub deleted_resources: usize,
}

/// The shares of an account, or all, in the order of creation; not those that vanished.
pub fn shares(world: &mut World, account: Option<&str>) -> Vec<ShareState> {
    let indices = present(world, account);
    indices.into_iter().map(|index| share(world, world.share(index))).collect()
}

pub fn tally(world: &mut World, account: Option<&str>) -> Tally {
    let mut tally = Tally::default();
    for index in present(world, account) {
        let share = world.share(index);
        match share.status {
            Life::Active => tally.active_shares += 1,
            Life::Deleting => tally.deleting_shares += 1,
            Life::Deleted => tally.deleted_shares += 1,
        }
        if share.status != Life::Active {
            continue;
        }
        for row in &share.recipients {
            match row.status {
                Association::Associating => tally.associating += 1,
                Association::Associated => tally.associated += 1,
                Association::Disassociating => tally.disassociating += 1,
                Association::Disassociated => tally.disassociated += 1,
            }
        }
        for resource in &share.resources {
            match resource.status {
                Life::Active => tally.active_resources += 1,
                Life::Deleting => tally.deleting_resources += 1,
                Life::Deleted => tally.deleted_resources += 1,
            }
        }
    }
    tally
}

fn present(world: &mut World, account: Option<&str>) -> Vec<usize> {
    let mut indices: Vec<usize> = match account {
        Some(account) => world.sent(account).to_vec(),
        None => world.every().collect(),
    };
    indices.iter().for_each(|index| world.settle(*index));
    indices.retain(|index| !world.is_vanished(*index));
    indices
}

pub fn share(world: &World, share: &Share) -> ShareState {
    let switches = world.switches.of(&share.account_id);
    ShareState {
        id: share.id.clone(),
        account_id: share.account_id.clone(),
        organization_id: share.organization_id.clone(),
        name: share.name.clone(),
        target_type: share.target_type,
        status: share.status,
        created: share.created.text().to_owned(),
        modified: share.modified.text().to_owned(),
        recipients: share
            .recipients
            .iter()
            .map(|row| RecipientState {
                id: row.id.clone(),
                account_id: row.account_id.clone(),
                status: row.status,
                errors: view::errors(row, share, switches),
                created: row.created.text().to_owned(),
                modified: row.modified.text().to_owned(),
            })
            .collect(),
        resources: share
            .resources
            .iter()
            .map(|resource| ResourceState {
                id: resource.id.clone(),
                resource_account_id: resource.account_id.clone(),
                resource_id: resource.resource_id.clone(),
                resource_type: resource.resource_type.clone(),
                version: resource.version,
                meta: resource.meta.clone(),
                status: resource.status,
                created: resource.created.text().to_owned(),
                modified: resource.modified.text().to_owned(),
            })
            .collect(),
        excluded: share.excluded.iter().map(|e| e.account_id.clone()).collect(),
    }
}
