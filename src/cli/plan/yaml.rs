//! YAML as kubectl takes it: anchors, merge keys, and the plain words of YAML 1.1 such as `yes` and `off`.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

/// More values than any manifest has, with its aliases replaced.
const MOST: usize = 1_000_000;
/// Deeper than any manifest is.
const DEEPEST: usize = 128;

/// The documents of a text, YAML or JSON.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    if text.trim_start().starts_with('{')
        && let Ok(values) = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>()
    {
        return Ok(values);
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| anyhow::anyhow!("this is not YAML: {error}"))?;
        reader.take(event, span)?;
    }
    Ok(reader.documents)
}

/// A mapping or list that is not complete yet.
enum Open {
    List(Vec<Value>),
    /// What was merged into it stands apart: a key of its own wins.
    Map {
        own: Map<String, Value>,
        merged: Map<String, Value>,
        key: Option<Key>,
    },
}

enum Key {
    Own(String),
    Merge,
}

#[derive(Default)]
struct Reader {
    documents: Vec<Value>,
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, (Value, usize)>,
    /// How many values there are so far, aliases counted as what they stand for.
    count: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> anyhow::Result<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                let merge = text == "<<" && style == ScalarStyle::Plain && tag.is_none();
                let value = scalar(&text, style, tag);
                self.put(value, anchor, merge, span)
            }
            Event::Alias(anchor) => {
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    anyhow::bail!("line {}: an alias is used inside the value that it refers to", span.start.line());
                };
                self.count += size;
                self.put(value, 0, false, span)
            }
            Event::SequenceStart(anchor, _) => self.begin(Open::List(Vec::new()), anchor, span),
            Event::MappingStart(anchor, _) => {
                self.begin(Open::Map { own: Map::new(), merged: Map::new(), key: None }, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((open, anchor)) = self.open.pop() else { return Ok(()) };
                let value = match open {
                    Open::List(items) => Value::Array(items),
                    Open::Map { own, mut merged, .. } => {
                        merged.extend(own);
                        Value::Object(merged)
                    }
                };
                self.put(value, anchor, false, span)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn begin(&mut self, open: Open, anchor: usize, span: Span) -> anyhow::Result<()> {
        if self.open.len() >= DEEPEST {
            anyhow::bail!("line {}: this is nested too deeply", span.start.line());
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn put(&mut self, value: Value, anchor: usize, merge: bool, span: Span) -> anyhow::Result<()> {
        self.count += 1;
        if self.count > MOST {
            anyhow::bail!("line {}: too large once its aliases are expanded", span.start.line());
        }
        if anchor > 0 {
            let size = size(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.open.last_mut() {
            None => self.documents.push(value),
            Some((Open::List(items), _)) => items.push(value),
            Some((Open::Map { own, merged, key }, _)) => match key.take() {
                None if merge => *key = Some(Key::Merge),
                None => *key = Some(Key::Own(word(&value, span)?)),
                Some(Key::Own(name)) => drop(own.insert(name, value)),
                Some(Key::Merge) => merge_into(merged, value, span)?,
            },
        }
        Ok(())
    }
}

/// The first of several wins.
fn merge_into(merged: &mut Map<String, Value>, value: Value, span: Span) -> anyhow::Result<()> {
    let sources = match value {
        Value::Array(items) => items,
        other => vec![other],
    };
    for source in sources {
        let Value::Object(fields) = source else {
            anyhow::bail!("line {}: only a mapping, or a list of mappings, can be merged with <<", span.start.line());
        };
        for (key, value) in fields {
            merged.entry(key).or_insert(value);
        }
    }
    Ok(())
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// JSON has only text for keys.
fn word(value: &Value, span: Span) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Ok("null".into()),
        Value::Array(_) | Value::Object(_) => anyhow::bail!("line {}: a key must be text", span.start.line()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let named = tag.filter(|tag| tag.handle == "tag:yaml.org,2002:").map(|tag| tag.suffix.as_str());
    if style != ScalarStyle::Plain || named == Some("str") || tag.is_some_and(|tag| tag.handle == "!") {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// A number, also as YAML 1.1 writes them: `0x1f`, `0o17`, `017`, `0b11`, `1_000`.
fn number(text: &str) -> Option<Number> {
    let first = text.chars().next()?;
    if !(first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (radix, body) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some(start) if start.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) => (8, &digits[1..]),
        _ => (10, digits),
    };
    let whole = (!body.is_empty() && body.chars().all(|c| c.is_digit(radix))).then(|| u64::from_str_radix(body, radix));
    match whole {
        Some(Ok(n)) if !negative => return Some(n.into()),
        Some(Ok(n)) => return i64::try_from(n).ok().map(|n| Number::from(-n)),
        Some(Err(_)) | None => {}
    }
    let floats = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    plain.parse::<f64>().ok().filter(|_| floats).and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Value {
        let documents = documents(text).expect(text);
        assert_eq!(documents.len(), 1, "{text}");
        documents[0].clone()
    }

    #[test]
    fn words_and_numbers_are_those_of_yaml_1_1_unless_they_are_quoted() {
        let words =
            one("[yes, Off, n, TRUE, ~, \"yes\", 'off', !!str on, yess, 0x1f, 017, 0b11, 1_000, -4, 1e3, 1.5, 12e]");
        assert_eq!(
            words,
            json!([
                true, false, false, true, null, "yes", "off", "on", "yess", 31, 15, 3, 1000, -4, 1000.0, 1.5, "12e"
            ])
        );
        assert_eq!(
            one("a: |\n  yes\nb: 023e105f\nc: 2001-01-01\n"),
            json!({"a": "yes\n", "b": "023e105f", "c": "2001-01-01"})
        );
        assert_eq!(one("{\"a\":\t\"yes\"}"), json!({"a": "yes"}));
    }

    #[test]
    fn anchors_and_merge_keys_are_replaced() {
        let text = "a: &a {x: 1, w: 2}\nb: {<<: *a, w: 3}\nc: {w: 4, <<: [{w: 5, z: 6}, *a]}\nd: [*a, \"<<\"]\n";
        let expected = json!({"a": {"x": 1, "w": 2}, "b": {"x": 1, "w": 3}, "c": {"x": 1, "w": 4, "z": 6},
                              "d": [{"x": 1, "w": 2}, "<<"]});
        assert_eq!(one(text), expected);
        for text in ["a: {<<: 1}", "a: &a [*a]", "a: *missing", "a: [", "{[a]: 1}"] {
            assert!(documents(text).is_err(), "{text}");
        }
    }

    #[test]
    fn aliases_of_aliases_end_before_the_memory_does() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..9 {
            let items = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{items}]\n"));
        }
        assert!(documents(&text).unwrap_err().to_string().contains("too large"));
        assert!(documents(&"[".repeat(1000)).is_err());
    }

    #[test]
    fn a_stream_has_documents_and_a_document_may_be_empty() {
        let documents = documents("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n").expect("YAML");
        assert_eq!(documents, [json!({"a": 1}), Value::Null, json!({"b": 2})]);
    }
}
