//! What goes back to the caller: results and refusals in Cloudflare's envelope.

use serde::Serialize;
use serde_json::{Value, json};

use crate::rules::BadCredential;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// JSON; empty with 204.
    pub body: Vec<u8>,
    /// The id of the object in `result`, for the journal.
    pub subject: Option<String>,
    pub headers: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
pub struct PageInfo {
    pub count: usize,
    pub page: usize,
    pub per_page: usize,
    pub total_count: usize,
    pub total_pages: usize,
}

#[derive(Serialize)]
struct Envelope<T> {
    result: T,
    success: bool,
    errors: [(); 0],
    messages: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<PageInfo>,
}

impl Answer {
    pub fn one(status: u16, id: &str, result: impl Serialize) -> Answer {
        Answer { subject: Some(id.to_owned()), ..Answer::envelope(status, result, None) }
    }

    pub fn list(rows: impl Serialize, info: PageInfo) -> Answer {
        Answer::envelope(200, rows, Some(info))
    }

    pub fn empty_list() -> Answer {
        let info = PageInfo { count: 0, page: 1, per_page: 20, total_count: 0, total_pages: 0 };
        Answer::list([(); 0], info)
    }

    pub fn nothing() -> Answer {
        Answer { status: 204, body: Vec::new(), subject: None, headers: Vec::new() }
    }

    /// The same without `result_info`.
    pub fn without_info(self) -> Answer {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(&self.body) else { return self };
        fields.remove("result_info");
        Answer { body: Value::Object(fields).to_string().into_bytes(), ..self }
    }

    fn envelope(status: u16, result: impl Serialize, result_info: Option<PageInfo>) -> Answer {
        let envelope = Envelope { result, success: true, errors: [], messages: [], result_info };
        Answer {
            status,
            body: serde_json::to_vec(&envelope).expect("our own types serialize"),
            subject: None,
            headers: Vec::new(),
        }
    }
}

/// A call that Cloudflare does not carry out.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub errors: Vec<(i64, String)>,
    pub pointer: Option<String>,
    pub retry_after: Option<String>,
    /// What lies behind the first error, by code and text.
    pub chain: Option<(i64, &'static str)>,
}

impl Refusal {
    pub fn new(status: u16, code: i64, message: impl Into<String>) -> Refusal {
        Refusal { status, errors: vec![(code, message.into())], pointer: None, retry_after: None, chain: None }
    }

    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(400, 1001, message)
    }

    pub fn not_found(what: &str) -> Refusal {
        Refusal::new(404, 1004, format!("{what} not found"))
    }

    pub fn conflict(message: impl Into<String>) -> Refusal {
        Refusal::new(409, 1009, message)
    }

    pub fn denied() -> Refusal {
        Refusal::new(403, 10000, "Authentication error")
    }

    /// The answer to a credential that is not valid.
    pub fn bad_credential(form: BadCredential) -> Refusal {
        match form {
            BadCredential::Forbidden => Refusal::new(403, 9109, "Invalid access token"),
            BadCredential::Unauthorized => Refusal::new(401, 10000, "Authentication error"),
            BadCredential::Malformed => Refusal {
                chain: Some((6111, "Invalid format for Authorization header")),
                ..Refusal::new(400, 6003, "Invalid request headers")
            },
            BadCredential::BadRequest => Refusal::new(400, 10000, "Authentication error"),
        }
    }

    pub fn no_route(path: &str) -> Refusal {
        Refusal {
            status: 400,
            errors: vec![
                (7003, format!("Could not route to {path}, perhaps your object identifier is invalid?")),
                (7000, "No route for that URI".to_owned()),
            ],
            pointer: None,
            retry_after: None,
            chain: None,
        }
    }

    pub fn throttled(code: i64, retry_after: Option<String>) -> Refusal {
        Refusal { retry_after, ..Refusal::new(429, code, "Rate limited. Please wait and try again") }
    }

    pub fn at(mut self, pointer: String) -> Refusal {
        self.pointer = Some(pointer);
        self
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        let errors: Vec<Value> = refusal
            .errors
            .iter()
            .map(|(code, message)| {
                let mut error = json!({"code": code, "message": message});
                if let Some((code, message)) = &refusal.chain {
                    error["error_chain"] = json!([{"code": code, "message": message}]);
                }
                if let Some(pointer) = &refusal.pointer {
                    error["source"] = json!({"pointer": pointer});
                }
                error
            })
            .collect();
        let body = json!({"result": null, "success": false, "errors": errors, "messages": []});
        let after = refusal.retry_after;
        Answer {
            status: refusal.status,
            body: body.to_string().into_bytes(),
            subject: None,
            headers: after.map(|after| ("retry-after", after)).into_iter().collect(),
        }
    }
}
