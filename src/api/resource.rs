//! What a `ShareResource` manifest may say.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    recipient::ShareRef,
    rule,
    share::{DeletionPolicy, json_object},
    status::ResourceStatus,
};

/// Which resource goes with which share.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "cfshare.dev",
    version = "v1alpha1",
    kind = "ShareResource",
    doc = "One resource more that a share carries, as an object of its own. It means the same as an entry under \
           `resources` of the Share, and lets each team declare its own ruleset or policy. Where the Share lists the \
           resource too, that entry wins and this object says `DuplicateDeclaration`.",
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
        description = "Whether Cloudflare says active, as written here"
    ),
    printcolumn(name = "Share", type_ = "string", json_path = ".spec.shareRef.name"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "ID", type_ = "string", json_path = ".spec.id"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "What happened and what to do, in a sentence"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.name", priority = 1),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.version", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::immutable_option("accountID", "create another ShareResource, then delete this one")
)]
pub struct ShareResourceSpec {
    /// Share, in the same namespace, that carries the resource. It need not exist yet: until it does the reason says
    /// `WaitingForShare`.
    pub share_ref: ShareRef,

    /// Type as Cloudflare names it, such as `custom-ruleset`, `gateway-policy`, `gateway-destination-ip`,
    /// `gateway-block-page-settings`, `gateway-extended-email-matching`, `idp-federation-grant` or `trust-grant`: 1 to
    /// 63 lower-case letters, digits and -. New types work as soon as Cloudflare has them. Immutable.
    #[serde(rename = "type")]
    #[schemars(length(max = rule::MAX_TYPE))]
    #[x_kube(
        validation = rule::resource_type(),
        validation = rule::immutable("create another ShareResource of the other type, then delete this one")
    )]
    pub kind: String,

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
    pub id: String,

    /// Id of the account that has the resource. Absent: the `accountID` of the Share. Immutable.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub account_id: Option<String>,

    /// Settings that go with the resource, as its product defines them: any JSON object of at most 64 keys. Absent:
    /// `{}`. A change is written to the share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "json_object")]
    pub meta: Option<Map<String, Value>>,

    /// Label for people, such as `extra-rules`: 1 to 100 characters. Never sent to Cloudflare; every message and
    /// table names the resource by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<String>,

    /// What becomes of the resource in the share when this object is deleted. `Delete` (default): it is taken out of
    /// the share, and the object stays until Cloudflare says deleted. `Retain`: it stays in the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `true`: the operator leaves this resource alone until the field is false or absent (default). Deleted meanwhile,
    /// the object goes and the resource stays in the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}
