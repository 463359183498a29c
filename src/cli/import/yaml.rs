//! How a manifest is written so that every reader of YAML takes the same from it: all text that is data is quoted.

use std::fmt::Write;

use serde_json::Value;

/// One document: mappings in blocks, the entries of lists on one line each.
pub fn document(manifest: &Value, comment: Option<&str>) -> String {
    let mut text = String::from("---\n");
    if let Some(comment) = comment {
        text.push_str(&format!("# {comment}\n"));
    }
    block(&mut text, manifest, 0);
    text
}

fn block(text: &mut String, value: &Value, indent: usize) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        text.push_str(&" ".repeat(indent));
        match value {
            Value::Object(inner) if !inner.is_empty() && key != "meta" => {
                text.push_str(key);
                text.push_str(":\n");
                block(text, value, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push_str(key);
                text.push_str(":\n");
                for item in items {
                    text.push_str(&" ".repeat(indent));
                    text.push_str("- ");
                    flow(text, item);
                    text.push('\n');
                }
            }
            Value::String(word) if is_word(key) => {
                text.push_str(&format!("{key}: {word}\n"));
            }
            other => {
                text.push_str(key);
                text.push_str(": ");
                flow(text, other);
                text.push('\n');
            }
        }
    }
}

/// Fields whose values are words of ours and need no quotes.
fn is_word(key: &str) -> bool {
    key == "apiVersion" || key == "kind"
}

fn flow(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(word) => quote(text, word),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                flow(text, item);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (at, (key, value)) in fields.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                if is_plain(key) {
                    text.push_str(key)
                } else {
                    quote(text, key)
                }
                text.push_str(": ");
                flow(text, value);
            }
            text.push('}');
        }
    }
}

/// A key that no reader takes for anything but text: our own fields, and such as them.
fn is_plain(key: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric())
        && !WORDS.contains(&key.to_ascii_lowercase().as_str())
}

fn quote(text: &mut String, word: &str) {
    text.push('"');
    for c in word.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            // Line breaks to some readers, or not to be printed.
            c if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_quoted_and_lists_have_one_line_an_entry() {
        let manifest = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "a"},
            "spec": {"accountID": "0123", "recipients": [{"accountID": "12345", "name": "on"}], "resources": []},
        });
        assert_eq!(
            document(&manifest, None),
            "---\napiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata:\n  name: \"a\"\nspec:\n  accountID: \"0123\"\n  \
             recipients:\n  - {accountID: \"12345\", name: \"on\"}\n  resources: []\n"
        );
    }

    #[test]
    fn whatever_is_written_reads_back() {
        let odd = "a\"b\\c\n\t\u{0}\u{7f}\u{85}\u{2028}é€\u{1f600} # : - {";
        let manifest = json!({
            "kind": "X", "spec": {
                "name": odd, "yes": odd, "flag": true, "meta": {odd: [1, 2.5, null, {"no": odd, "n": {}}], "a": {"b": {}}},
                "list": [{"meta": {"x": [odd]}}, "12e3", "0x1f"], "empty": {},
            },
        });
        let text = document(&manifest, None);
        let documents: Vec<Value> =
            serde_yaml::Deserializer::from_str(&text).map(|d| Value::deserialize(d).expect("it is YAML")).collect();
        assert_eq!(documents, [manifest], "{text}");
    }
}
