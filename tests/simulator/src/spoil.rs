//! How is a true answer spoilt?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::fault::ErrorBody;

/// An error of a proxy or of the edge, in place of an answer.
pub fn error(status: u16, body: ErrorBody, code: Option<i64>, retry_after: Option<String>) -> (Answer, &'static str) {
    let refusal =
        Refusal { retry_after, ..Refusal::new(status, code.unwrap_or(default_code(status)), "fault injected") };
    let mut answer = Answer::from(refusal);
    match body {
        ErrorBody::Json => (answer, "application/json"),
        ErrorBody::Html => {
            answer.body = format!(
                "<!DOCTYPE html>\n<html><head><title>{status}</title></head>\
                 <body><h1>Error {status}</h1><p>cloudflare</p></body></html>\n"
            )
            .into_bytes();
            (answer, "text/html; charset=UTF-8")
        }
        ErrorBody::Empty => {
            answer.body.clear();
            (answer, "text/plain")
        }
    }
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

pub fn unsuccessful(body: &mut Value) {
    body["success"] = json!(false);
    body["errors"] = json!([{"code": 1000, "message": "fault injected"}]);
    body["result"] = Value::Null;
}

pub fn null_result(body: &mut Value) {
    body["result"] = Value::Null;
}

pub fn unknown_words(body: &mut Value, word: &str) {
    each_object(&mut body["result"], &mut |fields| {
        for key in ["status", "association_status", "target_type", "kind"] {
            if let Some(value) = fields.get_mut(key) {
                *value = json!(word);
            }
        }
    });
}

pub fn extra_fields(body: &mut Value) {
    each_object(body, &mut |fields| {
        let extra = json!({"nested": [1, null, "x"]});
        fields.insert("zz_unknown".to_owned(), extra);
    });
}

pub fn fewer_fields(body: &mut Value) {
    each_object(body, &mut |fields| {
        for key in ["kind", "result_info", "messages", "account_name", "resource_version"] {
            fields.remove(key);
        }
    });
}

pub fn rewrite(body: &mut Value, set: &BTreeMap<String, Value>, remove: &[String]) {
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
