//! What a `Share` manifest may say.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::core::meta::ResourceMeta;

use super::policy::{AdoptionPolicy, DeletionPolicy, ManagementPolicy};
use super::{rule, status::ShareStatus, waiver::Waiver};
use crate::core::interned::Interned;

/// What is shared, with whom, and how far the operator may go.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "cfshare.dev",
    version = "v1alpha1",
    kind = "Share",
    doc = "One share of Cloudflare Resource Sharing: resources of one account, such as WAF rulesets and Gateway \
           policies, that other accounts of the same organization receive. The operator creates it, follows it \
           until Cloudflare reports it as active and associated, corrects drift, and reports its state in `status`.",
    namespaced,
    shortname = "cfs",
    category = "cloudflare",
    status = "ShareStatus",
    derive = "Default",
    derive = "PartialEq",
    selectable = ".spec.accountID",
    validation = rule::object_name_fits(),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Recipients", type_ = "string", json_path = ".status.recipients.summary"),
    printcolumn(name = "Resources", type_ = "string", json_path = ".status.resources.summary"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.accountName", priority = 1),
    printcolumn(name = "Share ID", type_ = "string", json_path = ".status.shareID", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::has_target(),
    validation = rule::one_target(),
    validation = rule::target_kept(),
    validation = rule::share_id_kept()
)]
pub struct ShareSpec {
    /// Id of the Cloudflare account that owns the share, such as `023e105f4ecef8ad9ca31a8372d0c353`:
    /// 1 to 128 letters, digits and . _ ~ : = @ + -. The credentials must be allowed to edit its shares.
    /// Immutable, because a share cannot move to another account: create another Share instead.
    #[serde(rename = "accountID")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(
        validation = rule::id(),
        validation = rule::immutable(
            "a share cannot move to another account, create another Share with the other accountID"
        )
    )]
    pub account_id: Interned,

    /// Name of the share at Cloudflare, such as `WAF baseline`: 1 to 100 characters. If not set: the name of
    /// this object or, for an adopted share, its current name. A change renames the share. If a live share with that
    /// name already exists, nothing is created and the reason is `NameTaken`: choose another name, or adopt that
    /// share with `shareID` or `adoptionPolicy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<String>,

    /// Accounts that receive the share, each once, at most 1000. They must be in the organization of the owning
    /// account. A new entry is associated within about two minutes; when an entry is deleted here, the account is removed
    /// from the share, within the limit of `maxRemovals`. Set `recipients: []` if only ShareRecipient objects declare
    /// accounts. Both can be combined; for more than 1000 accounts, use ShareRecipient objects. Set either
    /// `recipients` or `organization`, not both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["accountID".into()]))]
    pub recipients: Option<Vec<RecipientEntry>>,

    /// Shares with every current and future account of an organization, instead of `recipients`. Only allowed in
    /// namespaces listed in the chart value `organization.namespaces` (flag `--organization-shares`); elsewhere the
    /// reason is `OrganizationNotAllowed`. It can be neither added nor removed later, because Cloudflare fixes the
    /// target when a share is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationTarget>,

    /// Resources that are shared, each once, at most 1000. ShareResource objects can add more. The share is created as
    /// soon as at least one resource and one recipient (or the organization) are declared; until then the reason is
    /// `WaitingForResources` or `WaitingForRecipients`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rule::MAX_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into(), "id".into()]))]
    pub resources: Vec<ResourceEntry>,

    /// Id of an existing share that this object adopts, such as `3fd85f74b32742f1bff64a85009dda07`. If not set, a new
    /// share is created. Existing recipients and resources that are not declared stay, unless `prune` is true. Cannot
    /// be changed or removed once set. If no such share exists, the reason is `ShareNotFound`, and no share is created
    /// in its place.
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub share_id: Option<Interned>,

    /// What to do if a live share with that name already exists. `Never` (default): nothing is created, and the reason
    /// is `NameTaken`. `SameName`: adopt it, if it is the only one, has the same target, and no other object manages
    /// it. Use this to rebuild a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,

    /// Secret with the credentials for the Cloudflare API. If not set: the Secret `cloudflare-credentials` in the same
    /// namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,

    /// `Manage` (default): create the share as declared and correct drift. `Observe`: only read and compare it;
    /// `status` reports the differences, and nothing is written to Cloudflare, not even when this object is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_policy: Option<ManagementPolicy>,

    /// What to do with recipients and resources of the share that no object declares. `false` (default): they stay, and
    /// `status.unmanaged` shows them. `true`: they are removed, within the limit of `maxRemovals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,

    /// How many recipients, and how many resources, may be removed within 10 minutes without confirmation: a number, such
    /// as `20`, or a percentage, such as `25%`, rounded down. It applies exactly: `0` removes none without
    /// confirmation. If not set: 10 % of the recipients and at least 5, but never all of two or more, nor more than half
    /// of four or more. For resources, whatever the value is: never all of two or more, nor more than half of four or
    /// more; one can always be replaced, unless the value is `0` or `0%`. The limit counts deleted entries, deleted
    /// ShareRecipient and ShareResource objects, what `prune` removes, and accounts that are added to
    /// `organization.excluded` after the share was created. Beyond the limit, nothing is removed, the reason is
    /// `RemovalBlocked`, and the message contains the command that confirms the removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rule::max_removals())]
    pub max_removals: Option<IntOrString>,

    /// What happens to the share when this object is deleted. `Delete`: it is also deleted at Cloudflare, and the object
    /// remains until it is gone. `Retain`: it stays at Cloudflare unchanged. If not set: `Delete`, but `Retain` for an
    /// adopted share; `status.effective.deletionPolicy` shows which. It takes effect during the deletion, so it can
    /// still be changed on an object that is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `true`: the API server refuses to delete this object until the field is false or not set (default), by a
    /// ValidatingAdmissionPolicy that the Helm chart installs. If the object is deleted anyway, for example
    /// together with its CRD, its share stays at Cloudflare and the reason is `DeletionProtected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,

    /// `true`: the operator does not reconcile this share until the field is false or not set (default). If the object is
    /// deleted while it is suspended, the share stays at Cloudflare. ShareRecipients and ShareResources have their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// One account.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RecipientEntry {
    /// Id of the account, such as `372e67954025e0ba6aaa6d586b9e0b59`: 1 to 128 letters, digits and
    /// . _ ~ : = @ + -. Quote an id that YAML would take for a number, such as one of digits only.
    #[serde(rename = "accountID")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub account_id: Interned,

    /// Label for people, such as `payments-prod`: 1 to 100 characters. Never sent to Cloudflare; messages and tables show
    /// it next to the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<Interned>,

    /// A known failure of this account that is accepted for a time: until then it does not keep the Share from being
    /// Ready, and is listed as waived. It changes no call to Cloudflare, and means nothing while the account has not
    /// failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Box<Waiver>>,
}

/// One account that does not receive the share.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedEntry {
    /// Id of the account, such as `372e67954025e0ba6aaa6d586b9e0b59`: 1 to 128 letters, digits and
    /// . _ ~ : = @ + -. Quote an id that YAML would take for a number, such as one of digits only.
    #[serde(rename = "accountID")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub account_id: Interned,

    /// Label for people, such as `payments-prod`: 1 to 100 characters. Never sent to Cloudflare; messages and tables show
    /// it next to the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<Interned>,
}

/// An organization of accounts.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationTarget {
    /// Id of the organization, such as `7f2e1a9c4b3d4e5f8a6b7c8d9e0f1a2b`: 1 to 128 letters, digits and
    /// . _ ~ : = @ + -. Immutable: create another Share instead.
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(
        validation = rule::id(),
        validation = rule::immutable(
            "Cloudflare fixes the target when a share is created, create another Share with the other organization"
        )
    )]
    pub id: String,

    /// Accounts of the organization that do not receive the share, each once, at most 1000. When an entry is deleted, that
    /// account receives the share. Cloudflare excludes accounts only from an existing share, so an account may receive
    /// it briefly after it is created, and as long as Cloudflare refuses the exclusion. The Share is then not Ready, with
    /// the reason `ExclusionsNotInForce`, and `status.exceptions` lists the accounts. An account that is added later receives
    /// the share until the exclusion is confirmed, if `maxRemovals` does not allow it (`RemovalBlocked`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rule::MAX_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["accountID".into()]))]
    pub excluded: Vec<ExcludedEntry>,
}

/// One resource.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ResourceEntry {
    /// Type as Cloudflare names it, such as `custom-ruleset`, `gateway-policy`, `gateway-destination-ip`,
    /// `gateway-block-page-settings`, `gateway-extended-email-matching`, `idp-federation-grant` or `trust-grant`: 1 to
    /// 63 lower-case letters, digits and -. New types work as soon as Cloudflare supports them.
    #[serde(rename = "type")]
    #[schemars(length(max = rule::MAX_TYPE))]
    #[x_kube(validation = rule::resource_type())]
    pub kind: Interned,

    /// Id of the resource at its source, such as a ruleset's `2f2feab2026849078ba485f918791bdc` or a Gateway policy's
    /// `f174e90a-fafe-4643-bbbc-4a0ed4fc8415`: 1 to 128 letters, digits and . _ ~ : = @ + -.
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub id: Interned,

    /// Id of the account that owns the resource. If not set: the `accountID` of the share.
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
}

/// A Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct CredentialsRef {
    /// Name of the Secret, such as `cloudflare-credentials`. It must have the key `apiToken`, or the keys `email` and
    /// `apiKey`. A changed value is used within a minute.
    #[schemars(length(max = rule::MAX_OBJECT_NAME))]
    #[x_kube(validation = rule::object_name())]
    pub name: String,
}

/// Any JSON object. It is one value: Cloudflare replaces it whole, so two authors cannot own parts of it.
pub(super) fn json_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
