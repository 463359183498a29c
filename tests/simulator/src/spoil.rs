//! How is a true answer spoilt?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::action::ErrorBody;
use crate::answer::{Answer, Refusal};
use crate::course::End;

pub enum Spoil {
    Unsuccessful,
    NullResult,
    UnknownWords { word: String },
    ExtraFields,
    FewerFields,
    Rewrite { set: BTreeMap<String, Value>, remove: Vec<String> },
}

pub fn spoilt(mut body: Value, how: &Spoil) -> Value {
    match how {
        Spoil::Unsuccessful => {
            body["success"] = json!(false);
            body["errors"] = json!([{"code": 1000, "message": "fault injected"}]);
            body["result"] = Value::Null;
        }
        Spoil::NullResult => body["result"] = Value::Null,
        Spoil::UnknownWords { word } => each_object(&mut body["result"], &mut |fields| {
            for key in ["status", "association_status", "target_type", "kind"] {
                if let Some(value) = fields.get_mut(key) {
                    *value = json!(word);
                }
            }
        }),
        Spoil::ExtraFields => each_object(&mut body, &mut |fields| {
            let extra = json!({"nested": [1, null, "x"]});
            fields.insert("zz_unknown".to_owned(), extra);
        }),
        Spoil::FewerFields => each_object(&mut body, &mut |fields| {
            for key in ["kind", "result_info", "messages", "account_name", "resource_version"] {
                fields.remove(key);
            }
        }),
        Spoil::Rewrite { set, remove } => rewrite(&mut body, set, remove),
    }
    body
}

/// An error of a proxy or of the edge, in place of an answer.
pub fn error(status: u16, body: ErrorBody, code: Option<i64>, retry_after: Option<String>) -> End {
    let code = code.unwrap_or(default_code(status));
    let refusal = Refusal { retry_after, ..Refusal::new(status, code, "fault injected") };
    let mut answer = Answer::from(refusal);
    let content_type = match body {
        ErrorBody::Json => "application/json",
        ErrorBody::Html => {
            answer.body = page(status);
            "text/html; charset=UTF-8"
        }
        ErrorBody::Empty => {
            answer.body.clear();
            "text/plain"
        }
    };
    End::Instead { answer, content_type }
}

pub fn instead(refusal: Refusal) -> End {
    End::Instead { answer: refusal.into(), content_type: "application/json" }
}

pub fn redirect(to: String) -> End {
    let answer = Answer { status: 307, body: page(307), headers: vec![("location", to)], ..Answer::nothing() };
    End::Instead { answer, content_type: "text/html; charset=UTF-8" }
}

fn page(status: u16) -> Vec<u8> {
    format!(
        "<!DOCTYPE html>\n<html><head><title>{status}</title></head>\
         <body><h1>Error {status}</h1><p>cloudflare</p></body></html>\n"
    )
    .into_bytes()
}

fn default_code(status: u16) -> i64 {
    match status {
        400 => 1001,
        401 | 403 => 10000,
        404 => 1004,
        409 => 1009,
        429 => 971,
        _ => 1000,
    }
}

fn rewrite(body: &mut Value, set: &BTreeMap<String, Value>, remove: &[String]) {
    for (pointer, value) in set {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            *body = value.clone();
            continue;
        };
        match body.pointer_mut(parent) {
            Some(Value::Object(fields)) => {
                fields.insert(key.to_owned(), value.clone());
            }
            Some(Value::Array(rows)) => match key.parse::<usize>() {
                Ok(index) if index < rows.len() => rows[index] = value.clone(),
                Ok(_) | Err(_) => rows.push(value.clone()),
            },
            Some(_) | None => {}
        }
    }
    for pointer in remove {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            continue;
        };
        match body.pointer_mut(parent) {
            Some(Value::Object(fields)) => {
                fields.remove(key);
            }
            Some(Value::Array(rows)) => {
                let index = key.parse::<usize>().ok().filter(|i| *i < rows.len());
                if let Some(index) = index {
                    rows.remove(index);
                }
            }
            Some(_) | None => {}
        }
    }
}

fn each_object(value: &mut Value, change: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                if key != "meta" {
                    each_object(value, change);
                }
            }
            // Last, so that what it adds is not visited in turn.
            change(fields);
        }
        Value::Array(rows) => rows.iter_mut().for_each(|row| each_object(row, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
