//! What the operator tells of a Share, and what it must remember across its own death.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use super::child_status::{ChildStatus, RecipientStatus, ResourceStatus, RowError};
pub use super::common_status::{CommonStatus, DriftEntry, RecentCall, UNOBSERVED};
use super::policy::{DeletionPolicy, ManagementPolicy};
use crate::core::id::ShareId;
use crate::core::interned::Interned;

/// State of the share at Cloudflare, as last observed by the operator. Written only by the operator.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ShareStatus {
    #[serde(flatten)]
    pub common: CommonStatus,

    /// Id of the share at Cloudflare, such as `3fd85f74b32742f1bff64a85009dda07`. Not set if there is none yet.
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    pub share_id: Option<Interned>,

    /// Name of the share at Cloudflare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_name: Option<Interned>,

    /// Name of the owning account at Cloudflare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<Interned>,

    /// Target of the share: `account` (single accounts) or `organization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_type: Option<Interned>,

    /// Status of the share as reported by Cloudflare, such as `active`, `deleting` or `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_status: Option<Interned>,

    /// Numbers of recipients by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<RecipientCounts>,

    /// Numbers of resources by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceCounts>,

    /// Declared recipients and resources that are pending or failed, and accounts whose exclusion is not in force (at most
    /// 100 are listed).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionEntry>,

    /// Number of exceptions that are not listed in `exceptions`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exceptions_omitted: i32,

    /// Waivers of inline recipients of whose end an Event has warned already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiver_warnings: Vec<WaiverWarning>,

    /// Recipients and resources of this share that no object declares (at most 20 are listed). They stay unless `prune` is
    /// true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmanaged: Vec<UnmanagedEntry>,

    /// Total number of unmanaged recipients and resources.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unmanaged_count: i32,

    /// Policies in effect, including defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectivePolicies>,

    /// When the share first became Ready. Until then, Ready waits for all declared recipients and resources, including those
    /// of ShareRecipient and ShareResource objects; afterwards, new ones of those objects do not make the Share unready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ready_at: Option<Time>,

    /// UID of the object that this status belongs to. The status of a copied object is ignored.
    #[serde(rename = "boundUID", skip_serializing_if = "Option::is_none")]
    pub bound_uid: Option<Interned>,

    /// `true`: the share existed before this object and was adopted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,

    /// A create request whose outcome is not recorded yet. It is resolved before another one is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Box<CreateIntent>>,

    /// Times of create requests whose outcome is unknown. At most three are made within an hour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_attempts: Vec<Time>,

    /// Short hash of the credential that last showed the share, or with which it is created. If a different credential does
    /// not show the share, it is not treated as deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_with: Option<Interned>,

    /// What this object created or adopted at Cloudflare. Entries that are no longer declared are removed.
    #[serde(default, skip_serializing_if = "Inventory::is_empty")]
    pub inventory: Inventory,

    /// When a request to replace the whole list of recipients was recorded whose outcome is unknown. While it may still take
    /// effect, recipients are neither added nor removed in any other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacing_since: Option<Time>,

    /// What was removed without confirmation within the last 10 minutes, for `maxRemovals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_removals: Option<Box<RecentRemovals>>,

    /// Number of recipients and resources that are not removed, and of accounts that are not excluded, because of
    /// `maxRemovals`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub blocked_removals: i32,

    /// The last confirmation of removals. It remains valid even if its annotation is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_removals: Option<Box<ConfirmedRemovals>>,

    /// Value that the annotation `cfshare.dev/confirm-removals` had when the operator first saw this object. It confirms
    /// nothing: it is that of an earlier object, from Git or a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_confirmation: Option<Interned>,

    /// Since when `--max-deletions` has blocked the deletion of the share, although this object is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_held_since: Option<Time>,

    /// Other Shares of this account whose shares were deleted within 10 minutes before the last entry, for
    /// `--max-deletions`. They are recorded here because those objects no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_deletions: Vec<RecentDeletion>,
}

impl ShareStatus {
    /// The share that the object is bound to.
    pub fn recorded_share(&self) -> Option<ShareId> {
        self.share_id.as_deref().and_then(|id| ShareId::read(id).ok())
    }

    /// Drops what is recorded of the share that the object was bound to, and keeps what is recorded of the object.
    pub fn unbind(&mut self) {
        let old = std::mem::take(self);
        *self = ShareStatus {
            common: CommonStatus { drift: Vec::new(), ..old.common },
            share_name: old.share_name,
            account_name: old.account_name,
            target_type: old.target_type,
            waiver_warnings: old.waiver_warnings,
            effective: old.effective,
            bound_uid: old.bound_uid,
            adopted: old.adopted,
            intent: old.intent,
            lost_attempts: old.lost_attempts,
            // Its number is used up.
            confirmed_removals: old.confirmed_removals,
            ignored_confirmation: old.ignored_confirmation,
            deletion_held_since: old.deletion_held_since,
            recent_deletions: old.recent_deletions,
            ..ShareStatus::default()
        };
    }
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
    /// Number of declared accounts, in the Share and in ShareRecipient objects.
    pub declared: i32,
    /// Number of declared accounts that Cloudflare reports as associated, without an error.
    pub associated: i32,
    /// Number of declared accounts that are pending.
    pub pending: i32,
    /// Number of declared accounts that failed; `exceptions` lists them.
    pub failed: i32,
    /// How many of those that failed have a waiver in force.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waived: i32,
    /// Number of accounts that Cloudflare counts as associated with the share, declared or not.
    #[serde(default)]
    pub in_place: i32,
    /// Number of accounts that Cloudflare counts as disassociated (former recipients).
    #[serde(default)]
    pub disassociated: i32,
    /// `associated/declared`, such as `297/300`; shown by `kubectl get`.
    pub summary: Interned,
}

/// How many resources are where.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ResourceCounts {
    /// Number of declared resources, in the Share and in ShareResource objects.
    pub declared: i32,
    /// Number of declared resources that Cloudflare reports as active.
    pub active: i32,
    /// `active/declared`, such as `4/4`; shown by `kubectl get`.
    pub summary: Interned,
}

/// Which row of a share: a recipient or an excluded account by its id, a resource by its type and id.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RowRef {
    /// Id of the account, for a recipient.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Interned>,
    /// Type, for a resource.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Interned>,
    /// Id, for a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Interned>,
}

impl RowRef {
    /// Type and id of a resource.
    pub fn resource(&self) -> Option<(&Interned, &Interned)> {
        self.kind.as_ref().zip(self.id.as_ref())
    }
}

impl fmt::Display for RowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |word: &Option<Interned>| word.clone().unwrap_or_else(|| "?".into());
        match &self.account_id {
            Some(account) => f.write_str(account),
            None => write!(f, "{}/{}", or_unknown(&self.kind), or_unknown(&self.id)),
        }
    }
}

/// One declared recipient or resource that is not cleanly in place.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionEntry {
    #[serde(flatten)]
    pub row: RowRef,
    /// Label in the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Interned>,
    /// State as reported by Cloudflare, such as `associating`, or the reason why it is not in place.
    pub state: String,
    /// Since when.
    pub since: Time,
    /// `true`: Cloudflare does not retry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// What Cloudflare says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The waiver in force, under which this failure does not keep the object that declares it from being Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<WaiverInForce>,
}

/// A waiver that has not ended.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WaiverInForce {
    /// Why the failure is accepted, as the manifest says.
    pub reason: String,
    /// When the waiver ends.
    pub until: Time,
}

impl fmt::Display for WaiverInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waived until {}: {}", self.until.0, self.reason)
    }
}

/// The end of a waiver of which an Event has warned.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WaiverWarning {
    /// Id of the account.
    #[serde(rename = "accountID")]
    pub account_id: Interned,
    /// When its waiver ends.
    pub until: Time,
}

/// One recipient or resource that no manifest declares.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct UnmanagedEntry {
    #[serde(flatten)]
    pub row: RowRef,
    /// State as reported by Cloudflare, such as `associated` or `active`.
    pub state: String,
}

/// The policies in force, defaults applied.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePolicies {
    /// What happens to the share when this object is deleted: `Delete` or `Retain`.
    pub deletion_policy: DeletionPolicy,
    /// Whether the operator writes to Cloudflare: `Manage`, or `Observe`, which also applies if it runs with `--read-only`.
    pub management_policy: ManagementPolicy,
    /// How many of the current recipients may be removed within 10 minutes without confirmation.
    pub max_removals: i32,
}

/// A create call, announced before it is sent.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CreateIntent {
    /// Number of this attempt, starting at 1.
    pub attempt: i32,
    /// Time when it was recorded, by Cloudflare's clock.
    pub started_at: String,
    /// Name in the request.
    pub name: String,
    /// Hash of the request.
    pub fingerprint: String,
    /// Ids of shares with that name that existed before; none of them can be the result of this request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub known_shares: Vec<String>,
    /// Id of the share in the response, if its name there is different. It is bound once a read confirms it.
    #[serde(rename = "responseShareID", default, skip_serializing_if = "Option::is_none")]
    pub response_share_id: Option<String>,
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
    pub account_id: Interned,
    /// When the request to add it was recorded; not set once it was observed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_at: Option<Time>,
    /// Label in the manifest when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Interned>,
}

/// A resource in the inventory.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecordedResource {
    /// Type of the resource.
    #[serde(rename = "type")]
    pub kind: Interned,
    /// Id of the resource at its source.
    pub id: Interned,
    /// Id of the account that owns it.
    #[serde(rename = "accountID")]
    pub account_id: Interned,
    /// When the request to add it was recorded; not set once it was observed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_at: Option<Time>,
    /// Label in the manifest when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Interned>,
    /// Hash of the `meta` that was last observed as declared, not set for `{}`. If the manifest has been changed since, a
    /// difference at Cloudflare is an edit, not drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_hash: Option<Interned>,
}

/// What was removed without confirmation, recorded before each call.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecentRemovals {
    /// Recipients and resources that were or are being removed, and excluded accounts; each counts for 10 minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RemovedRow>,
    /// Numbers of recipients and resources before the pending removals; not set if none is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RowTotals>,
    /// Numbers of recipients and resources whose removal waits for confirmation; not set if none waits. They do not decrease
    /// while one of them waits and the Share is not edited, so that keeping some does not remove the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
}

/// How many removals wait for confirmation, or did before some of the rows were kept.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Withheld {
    /// Generation of the Share.
    pub generation: i64,
    /// Accounts that would lose the share.
    pub recipients: i32,
    /// Resources that would be removed.
    pub resources: i32,
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
    /// Number of confirmations for this generation.
    pub number: i32,
    /// `true`: the confirmed removals are still in progress. `false`: they are complete; further removals need another
    /// confirmation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// The confirmed removals, until all of them are complete. What is removed besides needs another confirmation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_recorded_of_a_share_that_is_gone_does_not_hold_for_the_next_one() {
        let (id, at) = ("3fd85f74b32742f1bff64a85009dda07", "2026-01-01T00:00:00Z");
        let mut kept = json!({
            "observedGeneration": 1,
            "lastHandledReconcileAt": at,
            "shareName": "waf",
            "accountName": "security",
            "targetType": "account",
            "waiverWarnings": [{"accountID": id, "until": at}],
            "effective": {"deletionPolicy": "Delete", "managementPolicy": "Manage", "maxRemovals": 1},
            "boundUID": "uid",
            "adopted": true,
            "intent": {"attempt": 1, "startedAt": at, "name": "waf", "fingerprint": "hash"},
            "lostAttempts": [at],
            "confirmedRemovals": {"generation": 1, "number": 1},
            "ignoredConfirmation": "1",
            "deletionHeldSince": at,
            "recentDeletions": [{"uid": "other", "at": at}],
        });
        let dropped = json!({
            "drift": [{"path": "name", "desired": "waf", "observed": "other"}],
            "shareID": id,
            "remoteStatus": "deleted",
            "recipients": {"declared": 1, "associated": 1, "pending": 0, "failed": 0, "summary": "1/1"},
            "resources": {"declared": 1, "active": 1, "summary": "1/1"},
            "exceptions": [{"accountID": id, "state": "associating", "since": at}],
            "exceptionsOmitted": 1,
            "unmanaged": [{"accountID": id, "state": "associated"}],
            "unmanagedCount": 1,
            "firstReadyAt": at,
            "seenWith": "credential",
            "inventory": {"recipients": [{"accountID": id}]},
            "replacingSince": at,
            "recentRemovals": {"rows": [{"row": "recipients[a]", "at": at}]},
            "blockedRemovals": 1,
        });
        let before = kept.clone();
        kept.as_object_mut().expect("an object").extend(dropped.as_object().expect("an object").clone());
        let mut status: ShareStatus = serde_json::from_value(kept).expect("a status");
        status.unbind();
        let fields = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(fields(&serde_json::to_value(&status).expect("plain data")), fields(&before));
    }
}
