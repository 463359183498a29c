//! What users write and read: the three kinds, their status, conditions and reasons.

// Clippy takes two columns of one priority for one attribute given twice.
#![allow(clippy::duplicated_attributes)]

pub mod admission;
pub mod child_object;
mod child_status;
mod common_status;
pub mod condition;
pub mod crd;
pub mod object;
pub mod policy;
pub mod recipient;
pub mod resource;
pub mod rule;
pub mod share;
pub mod status;
pub mod waiver;

pub use child_object::ChildObject;
pub use condition::{ConditionType, EventReason, Reason};
pub use object::{
    DEFAULT_SECRET, FINALIZER, Kind, Name, ObjectKey, has_finalizer, is_deleting, is_suspended, observes, own_record,
    secret_of, seen_record, uid_of,
};
pub use recipient::{ShareRecipient, ShareRecipientSpec};
pub use resource::{ShareResource, ShareResourceSpec};
pub use share::{Share, ShareSpec};

/// Whose fields the operator's writes are. The user agent begins with it too, so that Events, which name no manager,
/// get the same.
pub const FIELD_MANAGER: &str = "cfshare";

/// Flux's request for a pass now; its value is echoed in `status.lastHandledReconcileAt`.
pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// The same in our own name, for those without Flux.
pub const REQUESTED_AT: &str = "cfshare.dev/requestedAt";
/// Confirms the removals of one generation that `maxRemovals` holds back.
pub const CONFIRM_REMOVALS: &str = "cfshare.dev/confirm-removals";
/// Confirms that the shares of objects which were deleted until this time (RFC 3339) are deleted at Cloudflare.
pub const CONFIRM_DELETION: &str = "cfshare.dev/confirm-deletion";
/// Closes an account's breaker that opened before this time (RFC 3339).
pub const CLOSE_BREAKER: &str = "cfshare.dev/close-breaker";

/// A number as a field of Kubernetes holds it; what is larger than any such field is the largest.
pub fn int32(n: impl TryInto<i32>) -> i32 {
    n.try_into().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, fs, path::Path};

    use serde::{Deserialize, Serialize, de::DeserializeOwned};
    use serde_json::Value;

    use super::*;

    fn survives<K: Serialize + DeserializeOwned + Debug>(manifest: &Value) {
        let object: K = serde_json::from_value(manifest.clone()).unwrap();
        assert_eq!(serde_json::to_value(&object).unwrap(), *manifest, "{object:?}");
    }

    #[test]
    fn every_example_survives_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
        let mut count = 0;
        for file in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let manifest = Value::deserialize(document).unwrap();
                match manifest["kind"].as_str().unwrap() {
                    "Share" => survives::<Share>(&manifest),
                    "ShareRecipient" => survives::<ShareRecipient>(&manifest),
                    "ShareResource" => survives::<ShareResource>(&manifest),
                    other => assert_eq!(other, "Secret"),
                }
                count += 1;
            }
        }
        assert!(count > 10);
    }
}
