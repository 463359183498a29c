//! The settings of a resource in a share: any JSON object, of which Cloudflare may sort keys and drop nulls.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::json;

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ResourceMeta(pub Map<String, Value>);

impl<'de> Deserialize<'de> for ResourceMeta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ResourceMeta, D::Error> {
        match json::shallow(deserializer)? {
            Value::Object(map) => Ok(ResourceMeta(map)),
            _ => Err(D::Error::custom("meta must be an object")),
        }
    }
}

impl ResourceMeta {
    /// Whether both mean the same to Cloudflare.
    pub fn is_same(&self, other: &ResourceMeta) -> bool {
        same_object(&self.0, &other.0)
    }
}

/// As JSON.
impl fmt::Display for ResourceMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

fn same_object(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let present = |map: &Map<String, Value>| map.values().filter(|v| !v.is_null()).count();
    present(a) == present(b)
        && a.iter().filter(|(_, v)| !v.is_null()).all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => same_object(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_nulls_and_number_forms_do_not_matter_and_values_do() {
        let meta = |value: Value| serde_json::from_value::<ResourceMeta>(value).expect("an object");
        let same = |a, b| meta(a).is_same(&meta(b));
        assert!(same(json!({"a": 1, "b": null, "c": {"x": null}}), json!({"c": {}, "a": 1.0})));
        assert!(!same(json!({"a": 1}), json!({"a": 2})));
        assert!(!same(json!({"a": [1, 2]}), json!({"a": [2, 1]})));
        assert!(!same(json!({"a": 1}), json!({})));
    }
}
