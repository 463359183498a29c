//! What the operator tells of a Share, and what it must remember across its own death.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use super::child_status::{ChildStatus, RecipientStatus, ResourceStatus, RowError};
pub use super::common_status::{CommonStatus, DriftEntry, UNOBSERVED};
use super::policy::{DeletionPolicy, ManagementPolicy};

/// Where the share stands at Cloudflare, as the operator last saw it. Written by the operator only.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ShareStatus {
    #[serde(flatten)]
    pub common: CommonStatus,

    /// Id of the share at Cloudflare, such as `3fd85f74b32742f1bff64a85009dda07`. Absent: there is none yet.
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    pub share_id: Option<String>,

    /// Name of the share at Cloudflare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_name: Option<String>,

    /// Name of the owning account at Cloudflare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,

    /// Whom the share is for: `account` (single accounts) or `organization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_type: Option<String>,

    /// Cloudflare's own word for the share's status, such as `active`, `deleting` or `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_status: Option<String>,

    /// How many recipients are where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<RecipientCounts>,

    /// How many resources are where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceCounts>,

    /// Declared recipients and resources that are pending or failed, and excluded accounts that are not excluded; at most
    /// 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionEntry>,

    /// How many exceptions there are beyond those in `exceptions`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exceptions_omitted: i32,

    /// Recipients and resources of this share that no manifest declares, at most 20. They stay, unless `prune` is true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmanaged: Vec<UnmanagedEntry>,

    /// How many unmanaged recipients and resources there are in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unmanaged_count: i32,

    /// The policies in force, defaults applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectivePolicies>,

    /// When the share first became Ready. Until then Ready waits for every declared row, whoever declared it; afterwards
    /// rows that ShareRecipient and ShareResource objects add do not take Ready away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ready_at: Option<Time>,

    /// UID of the object that this record belongs to. The status of a copied object is not believed.
    #[serde(rename = "boundUID", skip_serializing_if = "Option::is_none")]
    pub bound_uid: Option<String>,

    /// `true`: the share was there before this object and was taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,

    /// A create call that was announced and whose outcome is not recorded yet. It is resolved before any other is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<CreateIntent>,

    /// When create calls were announced, within the last hour, whose outcome was never learned. Three are the limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_attempts: Vec<Time>,

    /// Short hash of the credential that last showed the share, or sends its create call. Under another one, which has
    /// never shown it, the share is not believed to be gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_with: Option<String>,

    /// What this object caused at Cloudflare, or took over. What is in it and declared no longer is removed.
    #[serde(default, skip_serializing_if = "Inventory::is_empty")]
    pub inventory: Inventory,

    /// When a call that replaces the whole list of recipients was announced whose outcome is not known. No recipient is
    /// added or removed otherwise while it may still take effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacing_since: Option<Time>,

    /// What was removed without confirmation within the last 10 minutes, for `maxRemovals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_removals: Option<RecentRemovals>,

    /// How many recipients and resources are still there because `maxRemovals` holds their removal back, and how many
    /// accounts are not excluded for that reason.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub blocked_removals: i32,

    /// The last confirmation of removals that was seen. It counts although its annotation may be gone again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_removals: Option<ConfirmedRemovals>,

    /// Since when the share is not deleted, though this object is, because `--max-deletions` holds it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_held_since: Option<Time>,

    /// Other Shares of this account whose shares were deleted within 10 minutes before the last entry, for
    /// `--max-deletions`. It stands here because those objects are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_deletions: Vec<RecentDeletion>,
}

impl AsRef<CommonStatus> for ShareStatus {
    fn as_ref(&self) -> &CommonStatus {
        &self.common
    }
}

impl AsMut<CommonStatus> for ShareStatus {
    fn as_mut(&mut self) -> &mut CommonStatus {
        &mut self.common
    }
}

/// How many recipients are where.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecipientCounts {
    /// How many accounts are declared, inline and as objects.
    pub declared: i32,
    /// How many of them Cloudflare says are associated, without an error.
    pub associated: i32,
    /// How many of them are on their way.
    pub pending: i32,
    /// How many of them failed; `exceptions` says which.
    pub failed: i32,
    /// How many accounts Cloudflare counts as associated with the share, whoever declared them.
    #[serde(default)]
    pub in_place: i32,
    /// How many accounts Cloudflare counts as disassociated: former recipients.
    #[serde(default)]
    pub disassociated: i32,
    /// `associated/declared`, such as `297/300`, for the table.
    pub summary: String,
}

/// How many resources are where.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ResourceCounts {
    /// How many resources are declared, inline and as objects.
    pub declared: i32,
    /// How many of them Cloudflare says are active.
    pub active: i32,
    /// `active/declared`, such as `4/4`, for the table.
    pub summary: String,
}

/// One declared recipient or resource that is not cleanly in place.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionEntry {
    /// Id of the account, where it is a recipient.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Type, where it is a resource.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Id, where it is a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Label that the manifest gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Cloudflare's own word for where it stands, such as `associating`, or what stands in its way.
    pub state: String,
    /// Since when.
    pub since: Time,
    /// `true`: Cloudflare will not try again by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// What Cloudflare says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One recipient or resource that no manifest declares.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct UnmanagedEntry {
    /// Id of the account, where it is a recipient.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Type, where it is a resource.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Id, where it is a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Cloudflare's own word for where it stands, such as `associated` or `active`.
    pub state: String,
}

/// The policies in force, defaults applied.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePolicies {
    /// What becomes of the share when this object is deleted: `Delete` or `Retain`.
    pub deletion_policy: DeletionPolicy,
    /// Whether Cloudflare is written to: `Manage`, or `Observe`, also where the whole operator only observes.
    pub management_policy: ManagementPolicy,
    /// How many of the recipients that there are now may be removed within 10 minutes without confirmation.
    pub max_removals: i32,
}

/// A create call, announced before it is sent.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CreateIntent {
    /// Number of this attempt, from 1.
    pub attempt: i32,
    /// Cloudflare's clock when it was announced.
    pub started_at: String,
    /// Name that is sent.
    pub name: String,
    /// Hash of all that is sent.
    pub fingerprint: String,
    /// Shares of that name that were there before it, by id: none of them is taken for what this call made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub known_shares: Vec<String>,
}

/// What this object caused at Cloudflare, or took over.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Accounts that receive the share because of this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<RecordedAccount>,
    /// Accounts that are excluded because of this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<RecordedAccount>,
    /// Resources that are in the share because of this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<RecordedResource>,
}

impl Inventory {
    pub fn is_empty(&self) -> bool {
        self.recipients.is_empty() && self.excluded.is_empty() && self.resources.is_empty()
    }
}

/// A recipient or excluded account in the inventory.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecordedAccount {
    /// Id of the account.
    #[serde(rename = "accountID")]
    pub account_id: String,
    /// When the call that adds it was announced; absent once it was seen in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_at: Option<Time>,
    /// Label that the manifest gave it when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A resource in the inventory.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecordedResource {
    /// Type of the resource.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the resource at its source.
    pub id: String,
    /// Id of the account that has it.
    #[serde(rename = "accountID")]
    pub account_id: String,
    /// When the call that adds it was announced; absent once it was seen in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_at: Option<Time>,
    /// Label that the manifest gave it when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hash of the `meta` with which it was last seen as declared, absent for `{}`. Where the manifest says another one
    /// now, what differs at Cloudflare is an edit, and no drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_hash: Option<String>,
}

/// What was removed without confirmation, recorded before each call.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecentRemovals {
    /// Rows that were removed, or are about to be, and accounts that were excluded; each counts for 10 minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RemovedRow>,
    /// How many rows there were before the removals that are still to be made; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RowTotals>,
}

/// One row that was removed.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RemovedRow {
    /// Key of the row, such as `recipients[372e67954025e0ba6aaa6d586b9e0b59]`.
    pub row: String,
    /// When its removal was recorded.
    pub at: Time,
}

/// How many accounts receive a share, and how many resources it has.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RowTotals {
    /// Accounts that receive the share.
    pub recipients: i32,
    /// Resources that are in the share.
    pub resources: i32,
}

/// A confirmation of removals by annotation.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedRemovals {
    /// Generation of the object whose removals are confirmed.
    pub generation: i64,
    /// How many confirmations there were for this generation.
    pub number: i32,
    /// `true`: what was confirmed is still being removed. `false`: all is done; the next removals need another
    /// confirmation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// A share that was deleted because its object was.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecentDeletion {
    /// UID of the deleted object.
    pub uid: String,
    /// When the deletion was permitted.
    pub at: Time,
}

fn is_zero(n: &i32) -> bool {
    *n == 0
}
