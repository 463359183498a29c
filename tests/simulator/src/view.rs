//! How are shares, recipients and resources written in JSON?

use serde::Serialize;
use serde_json::Value;

use crate::clock::Stamp;
use crate::query::{Include, Kind};
use crate::rules::{DeletedResources, ErrorNames, IncludedResources, MetaEcho, Switches, Unasked};
use crate::share::{Association, Excluded, Life, Recipient, Resource, RowError, Share, TargetType};

#[derive(Serialize)]
pub struct ShareView<'a> {
    id: &'a str,
    account_id: &'a str,
    account_name: String,
    organization_id: &'a str,
    name: &'a str,
    status: &'a str,
    target_type: TargetType,
    kind: &'static str,
    created: &'a Stamp,
    modified: &'a Stamp,
    #[serde(flatten)]
    counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Vec<ResourceView<'a>>>,
}

#[derive(Default, Serialize)]
struct Counts {
    associating_recipient_count: usize,
    associated_recipient_count: usize,
    disassociating_recipient_count: usize,
    disassociated_recipient_count: usize,
}

#[derive(Serialize)]
pub struct ResourceView<'a> {
    id: &'a str,
    resource_account_id: &'a str,
    resource_id: &'a str,
    resource_type: &'a str,
    resource_version: i64,
    meta: &'a Value,
    status: &'a str,
    created: &'a Stamp,
    modified: &'a Stamp,
}

#[derive(Serialize)]
pub struct RecipientView<'a> {
    id: &'a str,
    account_id: &'a str,
    association_status: &'a str,
    created: &'a Stamp,
    modified: &'a Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Vec<RowError>>,
}

#[derive(Serialize)]
pub struct ExcludedView<'a> {
    id: &'a str,
    account_id: &'a str,
    created: &'a Stamp,
    modified: &'a Stamp,
}

pub fn share<'a>(
    share: &'a Share,
    account_name: String,
    kind: Kind,
    include: Include,
    switches: &Switches,
) -> ShareView<'a> {
    let shown = |r: &&Resource| r.status != Life::Deleted || switches.deleted_resources == DeletedResources::Shown;
    let resources = include.resources.then(|| share.resources.iter().filter(shown).map(resource).collect::<Vec<_>>());
    let resources = resources.filter(|rows| match switches.included_resources {
        IncludedResources::Shown => true,
        IncludedResources::EmptyLeftOut => !rows.is_empty(),
        IncludedResources::LeftOut => false,
    });
    ShareView {
        id: &share.id,
        account_id: &share.account_id,
        account_name,
        organization_id: &share.organization_id,
        name: &share.name,
        status: share.word.as_deref().filter(|_| share.status == Life::Active).unwrap_or(share.status.word()),
        target_type: share.target_type,
        kind: match kind {
            Kind::Sent => "sent",
            Kind::Received => "received",
        },
        created: &share.created,
        modified: &share.modified,
        counts: include.counts.then(|| count(share)),
        resources,
    }
}

fn count(share: &Share) -> Counts {
    let mut counts = Counts::default();
    for row in &share.recipients {
        *match row.status {
            Association::Associating => &mut counts.associating_recipient_count,
            Association::Associated => &mut counts.associated_recipient_count,
            Association::Disassociating => &mut counts.disassociating_recipient_count,
            Association::Disassociated => &mut counts.disassociated_recipient_count,
        } += 1;
    }
    counts
}

pub fn resource(resource: &Resource) -> ResourceView<'_> {
    ResourceView {
        id: &resource.id,
        resource_account_id: &resource.account_id,
        resource_id: &resource.resource_id,
        resource_type: &resource.resource_type,
        resource_version: resource.version,
        meta: &resource.meta,
        status: resource.word.as_deref().filter(|_| resource.status == Life::Active).unwrap_or(resource.status.word()),
        created: &resource.created,
        modified: &resource.modified,
    }
}

pub fn recipient<'a>(row: &'a Recipient, share: &Share, include: Include, switches: &Switches) -> RecipientView<'a> {
    let asked = include.resources || switches.errors_unasked == Unasked::Shown;
    RecipientView {
        id: &row.id,
        account_id: &row.account_id,
        association_status: row.word.as_deref().unwrap_or(row.status.word()),
        created: &row.created,
        modified: &row.modified,
        resources: asked.then(|| errors(row, share, switches)),
    }
}

/// The error entries of a row: set by hand, or what a missing entitlement causes.
pub fn errors(row: &Recipient, share: &Share, switches: &Switches) -> Vec<RowError> {
    if let Some(errors) = &row.errors {
        return errors.clone();
    }
    if !row.complains() {
        return Vec::new();
    }
    share
        .active_resources()
        .map(|resource| RowError {
            resource_id: match switches.error_names {
                ErrorNames::SourceId => resource.resource_id.clone(),
                ErrorNames::ShareResourceId => resource.id.clone(),
            },
            resource_version: resource.version,
            error: "Recipient is missing necessary entitlement".to_owned(),
            terminal: true,
        })
        .collect()
}

pub fn excluded(excluded: &Excluded) -> ExcludedView<'_> {
    ExcludedView {
        id: &excluded.id,
        account_id: &excluded.account_id,
        created: &excluded.created,
        modified: &excluded.created,
    }
}

/// `meta` as it will come back.
pub fn echoed(meta: Value, echo: MetaEcho) -> Value {
    match (echo, meta) {
        (MetaEcho::Normalized, Value::Object(fields)) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, echoed(value, echo)))
                .collect(),
        ),
        (MetaEcho::Normalized | MetaEcho::AsSent, meta) => meta,
    }
}
