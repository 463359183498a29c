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

/// The shares of an account, or all, in the order of creation; not those that vanished.
pub fn shares(world: &mut World, account: Option<&str>) -> Vec<ShareState> {
    let indices: Vec<usize> = match account {
        Some(account) => world.sent(account).to_vec(),
        None => world.every().collect(),
    };
    let present = indices.into_iter().filter_map(|index| {
        world.settle(index);
        (!world.is_vanished(index)).then(|| share(world, world.share(index)))
    });
    present.collect()
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
