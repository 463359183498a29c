//! What the status of every kind says: how far the operator is, and what is wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::core::interned::Interned;

/// `observedGeneration` of an object that no pass has seen; generations start at 1.
pub const UNOBSERVED: i64 = -1;

/// The part of a status that all kinds have.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CommonStatus {
    /// Generation of the object that this status refers to; -1 before the operator has processed the object. If it is lower
    /// than `metadata.generation`, the last change has not been processed yet.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,

    /// `Ready` is always present once the operator has processed the object. `Reconciling` (no action needed yet) and
    /// `Stalled` (someone must act) are present only while true, `Drifted` while something was changed at Cloudflare.
    /// `reason` is one word; `message` says what is wrong and what to do. `cfshare explain` lists all reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Values that were as declared and have since been changed at Cloudflare. They are corrected or, with
    /// `managementPolicy: Observe`, only reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEntry>,

    /// Value of the annotation `reconcile.fluxcd.io/requestedAt` or `cfshare.dev/requestedAt` that was last processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<Interned>,

    /// Last value of the annotation `cfshare.dev/close-breaker`, of this object or of one that closed the circuit breaker for it. It
    /// remains valid even if the annotation is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_close_breaker: Option<Interned>,

    /// The last calls (at most 10, the newest last) that this object made to change something at Cloudflare. A call that
    /// fails again in the same way is listed once, with its first time and ray. For people: the operator does not read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub recent_calls: Vec<RecentCall>,
}

impl Default for CommonStatus {
    fn default() -> Self {
        CommonStatus {
            observed_generation: UNOBSERVED,
            conditions: Vec::new(),
            drift: Vec::new(),
            last_handled_reconcile_at: None,
            last_close_breaker: None,
            recent_calls: Vec::new(),
        }
    }
}

/// One value that was right once and is different now.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// What has changed, such as `name` or the key of a recipient or resource.
    pub path: String,
    /// Value in the manifest.
    pub desired: String,
    /// Value at Cloudflare.
    pub observed: String,
}

/// A call that changed something at Cloudflare, or was to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecentCall {
    /// When it ended.
    pub at: Time,
    /// What it was to do, such as `add recipient 372e67954025e0ba6aaa6d586b9e0b59`.
    pub call: String,
    /// What became of it: `done`; `refused` or `not found` with the HTTP status, so nothing was changed; `unknown` if no
    /// usable response came, so it may have been carried out.
    pub result: Interned,
    /// Ray id of the response, which Cloudflare's support asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ray: Option<String>,
}

fn unobserved() -> i64 {
    UNOBSERVED
}
