//! What a `ShareRecipient` manifest may say.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{policy::DeletionPolicy, rule, status::RecipientStatus, waiver::Waiver};
use crate::core::interned::Interned;

/// Which account receives which share.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "cfshare.dev",
    version = "v1alpha1",
    kind = "ShareRecipient",
    doc = "One account that receives a share. It has the same effect as an entry in `recipients` of the Share, and lets \
           each team declare its own account. If the Share lists the account too, that entry wins, and the reason of \
           this object is `DuplicateDeclaration`.",
    namespaced,
    shortname = "cfsr",
    category = "cloudflare",
    status = "RecipientStatus",
    derive = "Default",
    derive = "PartialEq",
    selectable = ".spec.shareRef.name",
    selectable = ".spec.accountID",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether Cloudflare reports the recipient as associated, without an error"
    ),
    printcolumn(name = "Share", type_ = "string", json_path = ".spec.shareRef.name"),
    printcolumn(name = "Label", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.accountID", priority = 1),
    printcolumn(name = "Recipient ID", type_ = "string", json_path = ".status.recipientID", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1,
        description = "What happened and what to do, in a sentence"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ShareRecipientSpec {
    /// Share, in the same namespace, that the account receives. It does not have to exist yet; until then the reason is
    /// `WaitingForShare`. A Share for an organization cannot have ShareRecipients.
    pub share_ref: ShareRef,

    /// Id of the account, such as `372e67954025e0ba6aaa6d586b9e0b59`: 1 to 128 letters, digits and
    /// . _ ~ : = @ + -. Immutable: create another ShareRecipient instead.
    #[serde(rename = "accountID")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(
        validation = rule::id(),
        validation = rule::immutable(
            "create another ShareRecipient for the other account, then delete this one"
        )
    )]
    pub account_id: Interned,

    /// Label for people, such as `payments-prod`: 1 to 100 characters. Never sent to Cloudflare; messages and tables show
    /// it next to the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<Interned>,

    /// A known failure of this account that is accepted for a time: until then this object is Ready with the reason
    /// `Waived` although the account failed, and the Share lists it as waived. It changes no call to Cloudflare, and means
    /// nothing while the account has not failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Box<Waiver>>,

    /// What happens when this object is deleted. `Delete` (default): the account is removed from the share, and the object
    /// remains until Cloudflare reports it as disassociated. `Retain`: the account keeps the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `true`: the operator does not reconcile this recipient until the field is false or not set (default). If the object
    /// is deleted while it is suspended, the account keeps the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A Share in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct ShareRef {
    /// Name of the Share object, such as `waf-baseline`; not the share's name or id at Cloudflare. Immutable.
    #[schemars(length(max = rule::MAX_OBJECT_NAME))]
    #[x_kube(
        validation = rule::object_name(),
        validation = rule::immutable("create another object for the other Share, then delete this one")
    )]
    pub name: Interned,
}
