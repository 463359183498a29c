//! What a manifest may say of a failure that is known and accepted for a time.

use k8s_openapi::jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rule;

/// A failure that is known and accepted until a date.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiver {
    /// Why the failure is accepted, such as `the account gets its Enterprise plan in March`: 1 to 200 characters. Every
    /// message and table that names the failure says it.
    #[schemars(length(max = rule::MAX_WAIVER_REASON))]
    #[x_kube(validation = rule::waiver_reason())]
    pub reason: String,

    /// When the waiver ends: a date and time in RFC 3339 with its offset, such as `2027-03-31T00:00:00Z`. From then on
    /// the failure counts again.
    #[schemars(length(max = rule::MAX_TIME))]
    #[x_kube(validation = rule::time())]
    pub until: String,
}

impl Waiver {
    /// When it ends. The API server accepts nothing that cannot be read.
    pub fn end(&self) -> Option<Timestamp> {
        self.until.parse().ok()
    }
}
