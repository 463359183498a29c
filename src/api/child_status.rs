//! What the operator tells and remembers of a ShareRecipient or ShareResource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::common_status::CommonStatus;
use crate::core::interned::Interned;

/// State of the recipient at Cloudflare, as last observed by the operator. Written only by the operator.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecipientStatus {
    #[serde(flatten)]
    pub child: ChildStatus,

    /// Id of the recipient in the share, not of the account.
    #[serde(rename = "recipientID", skip_serializing_if = "Option::is_none")]
    pub recipient_id: Option<String>,

    /// Status of the association as reported by Cloudflare, such as `associating`, `associated`, `disassociating` or
    /// `disassociated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association_status: Option<String>,

    /// Resources that Cloudflare could not share with this account, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RowError>,

    /// End of the waiver of whose end an Event has warned already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiver_warned: Option<Time>,
}

/// State of the resource at Cloudflare, as last observed by the operator. Written only by the operator.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    #[serde(flatten)]
    pub child: ChildStatus,

    /// Id of the resource in the share, not at its source.
    #[serde(rename = "shareResourceID", skip_serializing_if = "Option::is_none")]
    pub share_resource_id: Option<String>,

    /// Version of the resource that is shared. It increases when the resource changes at its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,

    /// Status of the resource in the share as reported by Cloudflare, such as `active`, `deleting` or `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_status: Option<String>,
}

/// What both child kinds tell and remember.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ChildStatus {
    #[serde(flatten)]
    pub common: CommonStatus,

    /// UID of the object that this status belongs to, set once this object is in charge of the recipient or resource. The
    /// status of a copied object is ignored.
    #[serde(rename = "boundUID", skip_serializing_if = "Option::is_none")]
    pub bound_uid: Option<Interned>,

    /// Id of the share to which it was added, so that it can be removed even if the Share object no longer exists.
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    pub share_id: Option<Interned>,

    /// Id of the account that owns that share.
    #[serde(rename = "ownerAccountID", skip_serializing_if = "Option::is_none")]
    pub owner_account_id: Option<Interned>,

    /// Name of the Secret with the credential that was used to add it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_name: Option<Interned>,

    /// Short hash of the credential that last showed that share. If a different credential does not show the share, it is
    /// not treated as deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_with: Option<Interned>,

    /// When the request to add it was recorded; not set once it was observed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_at: Option<Time>,

    /// `true`: it was observed in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,

    /// Hash of the `meta` that was last observed as declared, not set for `{}`. If the manifest has been changed since, a
    /// difference at Cloudflare is an edit, not drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_hash: Option<Interned>,
}

impl ChildStatus {
    /// Whether the record says that the row is there because of the object.
    pub fn holds_row(&self) -> bool {
        self.confirmed || self.intended_at.is_some()
    }

    /// Drops what is recorded of the share, as where no object is in charge of it.
    pub fn unbind(&mut self) {
        *self = ChildStatus { common: std::mem::take(&mut self.common), ..ChildStatus::default() };
    }

    /// What is left of a status that was written for another object: its conditions, whose times go on.
    pub fn disowned(&self) -> ChildStatus {
        let conditions = self.common.conditions.clone();
        ChildStatus { common: CommonStatus { conditions, ..CommonStatus::default() }, ..ChildStatus::default() }
    }
}

impl AsRef<CommonStatus> for RecipientStatus {
    fn as_ref(&self) -> &CommonStatus {
        &self.child.common
    }
}

impl AsMut<CommonStatus> for RecipientStatus {
    fn as_mut(&mut self) -> &mut CommonStatus {
        &mut self.child.common
    }
}

impl AsRef<CommonStatus> for ResourceStatus {
    fn as_ref(&self) -> &CommonStatus {
        &self.child.common
    }
}

impl AsMut<CommonStatus> for ResourceStatus {
    fn as_mut(&mut self) -> &mut CommonStatus {
        &mut self.child.common
    }
}

/// One resource that failed for a recipient.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RowError {
    /// Id of the shared resource at its source.
    #[serde(rename = "resourceID")]
    pub resource_id: String,
    /// Error message from Cloudflare, such as `Recipient is missing necessary entitlement`.
    pub message: String,
    /// `true`: Cloudflare does not retry.
    pub terminal: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_another_objects_record_is_kept() {
        let mut status: ChildStatus = serde_json::from_value(json!({
            "observedGeneration": 1,
            "boundUID": "uid",
            "shareID": "share",
            "ownerAccountID": "account",
            "credentialsName": "secret",
            "seenWith": "credential",
            "intendedAt": "2026-01-01T00:00:00Z",
            "confirmed": true,
            "metaHash": "hash",
        }))
        .expect("a status");
        status.unbind();
        assert_eq!(serde_json::to_value(&status).expect("plain data"), json!({"observedGeneration": 1}));
    }
}
