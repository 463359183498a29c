//! Writes of an object's status and finalizer, and reads past every cache. Each write is guarded by the version it
//! was decided on.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Cluster;
use super::reconciled::Reconciled;
use super::requests::in_time;
use crate::api::{FIELD_MANAGER, FINALIZER, Name, has_finalizer};
use crate::operator::stop::Stop;

impl Cluster {
    fn api<K: Reconciled>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.kube.clone(), &object.namespace().unwrap_or_default())
    }

    /// Writes what differs between the object's status and the given one; nothing if they are the same.
    pub async fn write_status<K: Reconciled>(&self, object: &Arc<K>, status: &K::Status) -> Result<Arc<K>, Stop> {
        let before = as_value(&object.status());
        let Some(diff) = difference(&before, &as_value(status)) else { return Ok(object.clone()) };
        let patch = json!({
            "metadata": { "resourceVersion": object.resource_version(), "uid": object.uid() },
            "status": diff,
        });
        let name = object.name_any();
        let api = self.api(object.as_ref());
        let written = in_time(api.patch_status(&name, &params(), &Patch::Merge(patch))).await?;
        Ok(K::cache(&self.index).wrote(written))
    }

    /// Puts our finalizer on the object, or takes it off.
    pub async fn set_finalizer<K: Reconciled>(&self, object: &Arc<K>, wanted: bool) -> Result<Arc<K>, Stop> {
        if has_finalizer(object.meta()) == wanted {
            return Ok(object.clone());
        }
        let mut finalizers: Vec<&str> =
            object.finalizers().iter().map(String::as_str).filter(|f| *f != FINALIZER).collect();
        if wanted {
            finalizers.push(FINALIZER);
        }
        let patch = json!({
            "metadata": {
                "resourceVersion": object.resource_version(), "uid": object.uid(), "finalizers": finalizers,
            },
        });
        let name = object.name_any();
        let api = self.api(object.as_ref());
        let written = in_time(api.patch(&name, &params(), &Patch::Merge(patch))).await?;
        K::cache(&self.index).finalized(&written, wanted);
        Ok(K::cache(&self.index).wrote(written))
    }

    /// The object as it is now, past every cache.
    pub async fn current<K: Reconciled>(&self, name: &Name) -> Result<Option<Arc<K>>, Stop> {
        let api: Api<K> = Api::namespaced(self.kube.clone(), &name.namespace);
        Ok(in_time(api.get_opt(&name.name)).await?.map(|object| K::cache(&self.index).wrote(object)))
    }

    /// Whether the object exists, past every cache.
    pub async fn exists<K: Reconciled>(&self, name: &Name) -> Result<bool, Stop> {
        let api: Api<K> = Api::namespaced(self.kube.clone(), &name.namespace);
        Ok(in_time(api.get_metadata_opt(&name.name)).await?.is_some())
    }
}

/// Whose fields these are, for `kubectl get --show-managed-fields`.
fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

fn as_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// A merge patch that turns one value into the other; `None` if they are the same.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return Some(after.clone()) };
    let mut patch = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(old) => {
                if let Some(diff) = difference(old, value) {
                    patch.insert(key.clone(), diff);
                }
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_changed_came_and_went_and_nothing_else() {
        let before = json!({"a": 1, "b": {"x": 1, "y": 2}, "c": [1], "same": true});
        let after = json!({"a": 2, "b": {"x": 1}, "d": "new", "same": true});
        assert_eq!(difference(&before, &after), Some(json!({"a": 2, "b": {"y": null}, "c": null, "d": "new"})));
        assert_eq!(difference(&after, &after), None);
    }
}
