//! An object of a list or a watch that may not be readable: it must not take the others along.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::core::json;

/// The operator keeps all objects in memory.
const LARGEST_META: usize = 64 * 1024;

/// As kube's `DeserializeGuard`, which fails, with all that stands around it, where an object is nested deeper than serde_json reads.
#[derive(Debug, Clone)]
pub struct Guarded<K>(pub Result<K, InvalidObject>);

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Guarded<K>, D::Error> {
        let value = json::shallow(deserializer)?;
        let metadata = ObjectMeta::deserialize(&value["metadata"]).map_err(D::Error::custom)?;
        let read = check(&value).and_then(|()| K::deserialize(value).map_err(|error| error.to_string()));
        Ok(Guarded(read.map_err(|error| InvalidObject { error, metadata })))
    }
}

/// What the schema of the CRDs cannot check.
fn check(object: &Value) -> Result<(), String> {
    if json::depth(object) > json::MAX_DEPTH {
        return Err(format!("it is nested more than {} levels deep", json::MAX_DEPTH));
    }
    let spec = &object["spec"];
    let inline = spec["resources"].as_array().into_iter().flatten();
    let is_large = |meta: &Value| meta.to_string().len() > LARGEST_META;
    match inline.map(|resource| &resource["meta"]).chain([&spec["meta"]]).any(is_large) {
        true => Err(format!("the meta of a resource is larger than {} KiB", LARGEST_META / 1024)),
        false => Ok(()),
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectList;
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;
    use crate::api::{Share, ShareResource};

    fn resource(meta: &str) -> String {
        let spec =
            format!(r#"{{"shareRef": {{"name": "waf"}}, "type": "custom-ruleset", "id": "5a5e", "meta": {meta}}}"#);
        let head = r#""apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareResource", "metadata": {"name": "one", "namespace": "a"}"#;
        format!("{{{head}, \"spec\": {spec}}}")
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn an_object_that_is_nested_too_deep_or_too_large_takes_no_other_along() {
        let large = json!({"a": "b".repeat(LARGEST_META)}).to_string();
        for (meta, problem) in [(nested(200), "nested more than 64 levels"), (large, "larger than 64 KiB")] {
            let items = [resource("{}"), resource(&meta), resource(&nested(60))].join(", ");
            let list = format!(
                r#"{{"apiVersion": "cfshare.dev/v1alpha1", "kind": "List", "metadata": {{}}, "items": [{items}]}}"#
            );
            let list: ObjectList<Guarded<ShareResource>> = serde_json::from_str(&list).expect("a list");
            let read: Vec<bool> = list.items.iter().map(|item| item.0.is_ok()).collect();
            assert_eq!(read, [true, false, true]);
            let invalid = list.items[1].0.as_ref().expect_err("it is unreadable");
            assert!(invalid.error.contains(problem), "{}", invalid.error);
            assert_eq!(list.items[1].meta().name.as_deref(), Some("one"));
            let event = format!(r#"{{"type": "ADDED", "object": {}}}"#, resource(&meta));
            let event: WatchEvent<Guarded<ShareResource>> = serde_json::from_str(&event).expect("an event");
            assert!(matches!(event, WatchEvent::Added(Guarded(Err(_)))), "{event:?}");
        }
    }

    #[test]
    fn an_object_that_does_not_match_its_type_is_named() {
        let object = json!({"metadata": {"name": "waf", "namespace": "a"}, "spec": {"accountID": 1}});
        let guarded: Guarded<Share> = serde_json::from_value(object).expect("it is named");
        assert_eq!(guarded.meta().name.as_deref(), Some("waf"));
        assert!(guarded.0.is_err());
    }
}
