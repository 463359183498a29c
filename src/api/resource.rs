//! What a `ShareResource` manifest may say.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::core::meta::ResourceMeta;

use super::{policy::DeletionPolicy, recipient::ShareRef, rule, share::json_object, status::ResourceStatus};
use crate::core::interned::Interned;

/// Which resource goes with which share.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "cfshare.dev",
    version = "v1alpha1",
    kind = "ShareResource",
    doc = "One resource of a share. It has the same effect as an entry in `resources` of the Share, and lets each team \
           declare its own ruleset or policy. If the Share lists the resource too, that entry wins, and the reason of \
           this object is `DuplicateDeclaration`.",
    namespaced,
    shortname = "cfsx",
    category = "cloudflare",
    status = "ResourceStatus",
    derive = "Default",
    derive = "PartialEq",
    selectable = ".spec.shareRef.name",
    selectable = ".spec.id",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether Cloudflare reports the resource as active, as declared here"
    ),
    printcolumn(name = "Share", type_ = "string", json_path = ".spec.shareRef.name"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "ID", type_ = "string", json_path = ".spec.id", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.name", priority = 1),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.version", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1,
        description = "What happened and what to do, in a sentence"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::immutable_option("accountID", "create another ShareResource, then delete this one")
)]
pub struct ShareResourceSpec {
    /// Share, in the same namespace, that contains the resource. It does not have to exist yet; until then the reason is
    /// `WaitingForShare`.
    pub share_ref: ShareRef,

    /// Type as Cloudflare names it, such as `custom-ruleset`, `gateway-policy`, `gateway-destination-ip`,
    /// `gateway-block-page-settings`, `gateway-extended-email-matching`, `idp-federation-grant` or `trust-grant`: 1 to
    /// 63 lower-case letters, digits and -. New types work as soon as Cloudflare supports them. Immutable.
    #[serde(rename = "type")]
    #[schemars(length(max = rule::MAX_TYPE))]
    #[x_kube(
        validation = rule::resource_type(),
        validation = rule::immutable("create another ShareResource of the other type, then delete this one")
    )]
    pub kind: Interned,

    /// Id of the resource at its source, such as a ruleset's `2f2feab2026849078ba485f918791bdc` or a Gateway policy's
    /// `f174e90a-fafe-4643-bbbc-4a0ed4fc8415`: 1 to 128 letters, digits and . _ ~ : = @ + -. Immutable: create another
    /// ShareResource instead.
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(
        validation = rule::id(),
        validation = rule::immutable(
            "create another ShareResource for the other resource, then delete this one"
        )
    )]
    pub id: Interned,

    /// Id of the account that owns the resource. If not set: the `accountID` of the Share. Immutable.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub account_id: Option<Interned>,

    /// Settings of the resource in this share, as defined by its product: any JSON object with at most 64 keys. If not
    /// set: `{}`. Changes are written to the share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "json_object")]
    pub meta: Option<ResourceMeta>,

    /// Label for people, such as `extra-rules`: 1 to 100 characters. Never sent to Cloudflare; messages and tables show it
    /// next to the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<Interned>,

    /// What happens when this object is deleted. `Delete` (default): the resource is removed from the share, and the object
    /// remains until Cloudflare reports it as deleted. `Retain`: the resource stays in the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `true`: the operator does not reconcile this resource until the field is false or not set (default). If the object
    /// is deleted while it is suspended, the resource stays in the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}
