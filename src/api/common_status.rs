//! What the status of every kind says: how far the operator is, and what is wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// `observedGeneration` of an object that no pass has seen; generations start at 1.
pub const UNOBSERVED: i64 = -1;

/// The part of a status that all kinds have.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CommonStatus {
    /// Generation of the object that this status speaks of; -1 before the operator has seen it. Lower than
    /// `metadata.generation`: the last change is not carried out yet.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,

    /// `Ready` is always there once the operator has seen the object. `Reconciling` (no action needed yet) and `Stalled`
    /// (a person must act) are there only while true, `Drifted` while something that was right is different. `reason` is
    /// one word, `message` a sentence that says what to do. `cfshare explain` lists all reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// What was in place once and is different now, because somebody changed it at Cloudflare. It is corrected, or, with
    /// `managementPolicy: Observe`, only shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEntry>,

    /// Value of the annotation `reconcile.fluxcd.io/requestedAt` or `cfshare.dev/requestedAt` that was carried out last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Value of the annotation `cfshare.dev/close-breaker` that was seen last. It counts although the annotation may be
    /// gone again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_close_breaker: Option<String>,
}

impl Default for CommonStatus {
    fn default() -> Self {
        CommonStatus {
            observed_generation: UNOBSERVED,
            conditions: Vec::new(),
            drift: Vec::new(),
            last_handled_reconcile_at: None,
            last_close_breaker: None,
        }
    }
}

/// One value that was right once and is different now.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// What is different, such as `name` or the key of a recipient or resource.
    pub path: String,
    /// Value that the manifest says.
    pub desired: String,
    /// Value that Cloudflare says.
    pub observed: String,
}

fn unobserved() -> i64 {
    UNOBSERVED
}
