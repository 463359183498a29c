//! JSON that anybody may have written, read as deep as it makes sense.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// serde_json gives up at 128 levels, and with one value all that stands around it. What is deeper than this is skipped.
pub const MAX_DEPTH: usize = 64;

/// A value, with empty lists and objects where it goes deeper than [`MAX_DEPTH`].
pub fn shallow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Levels(MAX_DEPTH).deserialize(deserializer)
}

/// How many levels of lists and objects a value has.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// How many more levels are read.
struct Levels(usize);

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        match self.0.checked_sub(1) {
            Some(left) => {
                while let Some(value) = seq.next_element_seed(Levels(left))? {
                    values.push(value);
                }
            }
            None => while seq.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        match self.0.checked_sub(1) {
            Some(left) => {
                while let Some(key) = map.next_key::<String>()? {
                    values.insert(key, map.next_value_seed(Levels(left))?);
                }
            }
            None => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        shallow(&mut serde_json::Deserializer::from_str(text)).expect("JSON")
    }

    #[test]
    fn what_is_deeper_than_anybody_needs_is_empty_and_the_rest_stays() {
        for value in [json!({"a": [1, -2, 2.5, null, true, "b", {"c": {}}]}), json!([]), json!("a")] {
            assert_eq!(read(&value.to_string()), value);
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert_eq!(read(&text(MAX_DEPTH)).to_string(), text(MAX_DEPTH));
            assert_eq!(depth(&read(&text(MAX_DEPTH))), MAX_DEPTH);
            let around = read(&format!("{{\"deep\": {}, \"beside\": 1}}", text(100_000)));
            assert_eq!(depth(&around), MAX_DEPTH + 1, "the last level is empty");
            assert_eq!(around["beside"], 1);
        }
    }
}
