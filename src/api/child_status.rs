//! What the operator tells and remembers of a ShareRecipient or ShareResource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::common_status::CommonStatus;

/// Where the recipient stands at Cloudflare, as the operator last saw it. Written by the operator only.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecipientStatus {
    #[serde(flatten)]
    pub child: ChildStatus,

    /// Id of the recipient's row in the share; not the account's.
    #[serde(rename = "recipientID", skip_serializing_if = "Option::is_none")]
    pub recipient_id: Option<String>,

    /// Cloudflare's own word for the association, such as `associating`, `associated`, `disassociating` or
    /// `disassociated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association_status: Option<String>,

    /// Resources that Cloudflare could not bring to this account, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RowError>,
}

/// Where the resource stands at Cloudflare, as the operator last saw it. Written by the operator only.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    #[serde(flatten)]
    pub child: ChildStatus,

    /// Id of the resource's row in the share; not the resource's own.
    #[serde(rename = "shareResourceID", skip_serializing_if = "Option::is_none")]
    pub share_resource_id: Option<String>,

    /// Version of the resource that is shared. It moves when the resource changes at its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,

    /// Cloudflare's own word for the row's status, such as `active`, `deleting` or `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_status: Option<String>,
}

/// What both child kinds tell and remember.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ChildStatus {
    #[serde(flatten)]
    pub common: CommonStatus,

    /// UID of the object that this record belongs to, set once its key is held to be this object's. The status of a
    /// copied object is not believed.
    #[serde(rename = "boundUID", skip_serializing_if = "Option::is_none")]
    pub bound_uid: Option<String>,

    /// Id of the share in which the row was made, so that it can be removed when the Share object is gone.
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    pub share_id: Option<String>,

    /// Id of the account that owns that share.
    #[serde(rename = "ownerAccountID", skip_serializing_if = "Option::is_none")]
    pub owner_account_id: Option<String>,

    /// Name of the Secret that the row was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_name: Option<String>,

    /// Short hash of the credential that last showed that share. Under another one, which has never shown it, the share
    /// is not believed to be gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_with: Option<String>,

    /// When the call that adds the row was announced; absent once it was seen in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_at: Option<Time>,

    /// `true`: the row was seen in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,

    /// Hash of the `meta` with which a resource was last seen as declared, absent for `{}`. Where the manifest says
    /// another one now, what differs at Cloudflare is an edit, and no drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_hash: Option<String>,
}

impl ChildStatus {
    /// Whether the record says that the row is there because of the object.
    pub fn holds_row(&self) -> bool {
        self.confirmed || self.intended_at.is_some()
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
    /// What Cloudflare says, such as `Recipient is missing necessary entitlement`.
    pub message: String,
    /// `true`: Cloudflare will not try again by itself.
    pub terminal: bool,
}
