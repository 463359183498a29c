//! What a `Share` manifest may say.

use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::policy::{AdoptionPolicy, DeletionPolicy, ManagementPolicy, MaxRemovals};
use super::{rule, status::ShareStatus};

/// What is shared, with whom, and how far the operator may go.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "cfshare.dev",
    version = "v1alpha1",
    kind = "Share",
    doc = "One share of Cloudflare Resource Sharing: resources of one account, such as WAF rulesets and Gateway \
           policies, that other accounts of the same organization receive. The operator creates it, follows it \
           until Cloudflare says active and associated, keeps it as written, and tells where it stands in `status`.",
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
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, priority = 1),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.accountName", priority = 1),
    printcolumn(name = "Share ID", type_ = "string", json_path = ".status.shareID", priority = 1)
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
    /// Immutable, since a share cannot move: create another Share instead.
    #[serde(rename = "accountID")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(
        validation = rule::id(),
        validation = rule::immutable(
            "a share cannot move to another account, create another Share with the other accountID"
        )
    )]
    pub account_id: String,

    /// Name of the share at Cloudflare, such as `WAF baseline`: 1 to 100 characters. Absent: the name of this
    /// object, or, for a share that was taken over, the name it has. A change renames the share. Where a live
    /// share of that name exists already, nothing is created and the reason says `NameTaken`: choose another
    /// name, or take that share over with `shareID` or `adoptionPolicy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<String>,

    /// Accounts that receive the share, each once, at most 1000. They must be in the organization of the owning
    /// account. A new entry is associated within about two minutes; an entry that is taken away is removed from
    /// the share, within the limit of `maxRemovals`. Write `recipients: []` where ShareRecipient objects bring the
    /// accounts; both ways may be mixed, and beyond 1000 accounts those objects are the way. Either
    /// `recipients` or `organization` is written, never both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["accountID".into()]))]
    pub recipients: Option<Vec<RecipientEntry>>,

    /// Shares with every account of an organization, today's and tomorrow's, instead of `recipients`. It works only
    /// in namespaces that the installer allowed (chart value `organization.namespaces`, flag `--organization-shares`);
    /// elsewhere the reason says `OrganizationNotAllowed`. It can be neither added nor removed later, since Cloudflare
    /// fixes the target when a share is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationTarget>,

    /// What is shared, each resource once, at most 1000. ShareResource objects may bring more. The share is created
    /// as soon as one resource and one recipient, or the organization, are declared; until then the reason says
    /// `WaitingForResources` or `WaitingForRecipients`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rule::MAX_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into(), "id".into()]))]
    pub resources: Vec<ResourceEntry>,

    /// Id of a share that exists already and that this object takes over, such as
    /// `3fd85f74b32742f1bff64a85009dda07`. Absent: a new share is created. Recipients and resources that it has
    /// and that nobody declares stay, unless `prune` is true. Cannot be changed or removed once set. Where no such
    /// share exists the reason says `ShareNotFound`, and nothing is created in its place.
    #[serde(rename = "shareID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub share_id: Option<String>,

    /// What to do where a live share of that name exists already. `Never` (default): nothing is created, and the
    /// reason says `NameTaken`. `SameName`: take it over, if it is the only one, has the same target and no
    /// other object has it. Meant for clusters that are built anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,

    /// Secret with the credentials for Cloudflare's API. Absent: the Secret `cloudflare-credentials` in the same
    /// namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,

    /// `Manage` (default): the share is made as written and kept so. `Observe`: it is read and compared, `status`
    /// reports what differs, and nothing is ever written to Cloudflare, nor when this object is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_policy: Option<ManagementPolicy>,

    /// What to do with recipients and resources of the share that nobody here declared. `false` (default): they
    /// stay, and `status.unmanaged` shows them. `true`: they are removed, within the limit of `maxRemovals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,

    /// How many recipients, and how many resources, may be removed within 10 minutes without confirmation: a number, such
    /// as `20`, or a percentage, such as `25%`, rounded down. It is kept exactly: `0` removes none without confirmation.
    /// Absent: 10 % of the recipients and at least 5, but never all of two or more, nor more than half of four or more.
    /// Resources, whatever is written, never lose all of two or more, nor more than half of four or more; one may always
    /// be exchanged, unless `0` or `0%` is written. What counts: entries that are taken away, ShareRecipient and
    /// ShareResource objects that are deleted, what `prune` removes, and accounts that are added to
    /// `organization.excluded` after the share was created. Beyond the limit nothing is removed, the reason says
    /// `RemovalBlocked`, and the message gives the command that confirms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rule::max_removals())]
    pub max_removals: Option<MaxRemovals>,

    /// What becomes of the share when this object is deleted. `Delete`: it is deleted at Cloudflare too, and the
    /// object stays until it is gone. `Retain`: it stays as it is. Absent: `Delete`, but `Retain` for a share that
    /// was taken over; `status.effective.deletionPolicy` shows which. It is read at the time of the deletion, so it
    /// can be set on an object that is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `true`: the API server refuses to delete this object until the field is false or absent (default), by a
    /// ValidatingAdmissionPolicy that the Helm chart installs. If the object is deleted all the same, for example
    /// with its CRD, its share stays at Cloudflare and the reason says `DeletionProtected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,

    /// `true`: the operator leaves this share alone until the field is false or absent (default). Deleted meanwhile,
    /// the object goes and the share stays as it is.
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
    pub account_id: String,

    /// Label for people, such as `payments-prod`: 1 to 100 characters. Never sent to Cloudflare; every message
    /// and table names the account by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rule::MAX_NAME))]
    #[x_kube(validation = rule::name())]
    pub name: Option<String>,
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

    /// Accounts of the organization that do not receive the share, each once, at most 1000. An entry that is taken
    /// away gives that account the share. Cloudflare excludes accounts only from a share that exists, so an account may
    /// receive it for a moment after its creation, and for as long as Cloudflare refuses the exclusion: the Share is then
    /// not Ready, with the reason `ExclusionsNotInForce`, and `status.exceptions` names the accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rule::MAX_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["accountID".into()]))]
    pub excluded: Vec<RecipientEntry>,
}

/// One resource.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ResourceEntry {
    /// Type as Cloudflare names it, such as `custom-ruleset`, `gateway-policy`, `gateway-destination-ip`,
    /// `gateway-block-page-settings`, `gateway-extended-email-matching`, `idp-federation-grant` or `trust-grant`: 1 to
    /// 63 lower-case letters, digits and -. New types work as soon as Cloudflare has them.
    #[serde(rename = "type")]
    #[schemars(length(max = rule::MAX_TYPE))]
    #[x_kube(validation = rule::resource_type())]
    pub kind: String,

    /// Id of the resource at its source, such as a ruleset's `2f2feab2026849078ba485f918791bdc` or a Gateway policy's
    /// `f174e90a-fafe-4643-bbbc-4a0ed4fc8415`: 1 to 128 letters, digits and . _ ~ : = @ + -.
    #[schemars(length(max = rule::MAX_ID))]
    #[x_kube(validation = rule::id())]
    pub id: String,

    /// Id of the account that has the resource. Absent: the share's own `accountID`.
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
}

/// A Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct CredentialsRef {
    /// Name of the Secret, such as `cloudflare-credentials`. It has the key `apiToken`, or the keys `email` and
    /// `apiKey`. A new value is in use within a minute.
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
