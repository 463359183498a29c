//! How does an account come to have many shares at once?

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::calls::{recipients, resources};
use crate::ids::Ids;
use crate::share::{Association, TargetType};
use crate::wanted::NewResource;
use crate::world::World;

/// So many shares, each with so many recipients and resources, all of them settled.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    pub account: String,
    #[serde(default)]
    pub shares: usize,
    #[serde(default)]
    pub recipients: usize,
    #[serde(default)]
    pub resources: usize,
    /// Names are `<prefix>-0`, `<prefix>-1` and so on.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Shares that are given one by one.
    #[serde(default)]
    pub list: Vec<SeedShare>,
}

fn prefix() -> String {
    "share".to_owned()
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeedShare {
    pub name: String,
    /// Account ids.
    #[serde(default)]
    pub recipients: Vec<String>,
    #[serde(default)]
    pub resources: Vec<SeedResource>,
    /// The share targets the owner's organization; `recipients` is then left empty.
    #[serde(default)]
    pub organization: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeedResource {
    #[serde(rename = "type")]
    pub resource_type: String,
    pub id: String,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub meta: Option<Value>,
}

/// A share that was made, with what it was given.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seeded {
    pub id: String,
    #[serde(flatten)]
    pub share: SeedShare,
}

pub fn seed(world: &mut World, seed: Seed) -> Result<Vec<Seeded>, String> {
    // The same seed names the same accounts and resources, so that manifests can be written
    // without asking.
    let mut ids = Ids::seeded(seed.shares as u64);
    let counted = (0..seed.shares).map(|number| SeedShare {
        name: format!("{}-{number}", seed.prefix),
        recipients: (0..seed.recipients).map(|_| ids.id()).collect(),
        resources: (0..seed.resources)
            .map(|_| SeedResource {
                resource_type: "custom-ruleset".to_owned(),
                id: ids.id(),
                account: None,
                meta: None,
            })
            .collect(),
        organization: false,
    });
    let wanted: Vec<SeedShare> = counted.chain(seed.list).collect();
    let Some(organization) = world.account(&seed.account).organization.clone() else {
        return Err(format!("account {} is in no organization", seed.account));
    };
    let made = wanted.into_iter().map(|share| {
        let id = make(world, &seed.account, &organization, &share);
        Seeded { id, share }
    });
    Ok(made.collect())
}

fn make(world: &mut World, account: &str, organization: &str, share: &SeedShare) -> String {
    let (target_type, accounts) = if share.organization {
        let members = world.members(organization).iter();
        let others = members.filter(|id| *id != account).cloned().collect();
        (TargetType::Organization, others)
    } else {
        (TargetType::Account, share.recipients.clone())
    };
    let name = share.name.clone();
    let index = world.insert_empty(account, organization.to_owned(), name, target_type);
    recipients::put(world, index, &accounts);
    for resource in &share.resources {
        let new = NewResource {
            account_id: resource.account.clone().unwrap_or_else(|| account.to_owned()),
            resource_id: resource.id.clone(),
            resource_type: resource.resource_type.clone(),
            meta: resource.meta.clone().unwrap_or_else(|| json!({})),
        };
        resources::insert(world, index, new);
    }
    world.change(index, |share| {
        for row in &mut share.recipients {
            row.status = Association::Associated;
            row.due = None;
        }
    });
    world.share(index).id.clone()
}
