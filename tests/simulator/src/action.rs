//! What can go wrong with a request?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The connection is closed; nothing is applied.
    Drop {},
    /// The same, with a TCP reset.
    Reset {},
    /// Applied; the connection is closed without an answer.
    ApplyDrop {},
    /// Applied; a TCP reset instead of an answer.
    ApplyReset {},
    /// Waits, then applies and answers.
    DelayBefore { ms: u64 },
    /// Applies, then waits and answers.
    DelayAfter { ms: u64 },
    /// The connection is closed now; the request is applied later.
    Late { ms: u64 },
    /// Applied twice; the second answer is returned.
    Twice {},
    /// Not applied; this status.
    StatusBefore {
        status: u16,
        #[serde(default)]
        body: ErrorBody,
        #[serde(default)]
        code: Option<i64>,
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Applied; this status instead of the true one.
    StatusAfter {
        status: u16,
        #[serde(default)]
        body: ErrorBody,
        #[serde(default)]
        code: Option<i64>,
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// 429, not applied. Any text will do for `retry_after`; without it there is no header.
    Throttle {
        #[serde(default)]
        retry_after: Option<String>,
        #[serde(default)]
        code: Option<i64>,
    },
    /// 403 with 10000, not applied.
    Forbidden {},
    /// The same, with a pointer to a part of the request.
    ForbiddenAt { pointer: String },
    /// Applied; half of the answer, then the connection closes.
    Cut {},
    /// Applied; a body that is not JSON.
    Garbage {
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        content_type: Option<String>,
    },
    /// Applied; the true status with `success: false`.
    Unsuccessful {},
    /// Applied; `result: null`.
    NullResult {},
    /// Applied; every status in the answer is a word that nobody documents.
    UnknownWords {
        #[serde(default)]
        word: Option<String>,
    },
    /// Applied; unknown fields everywhere.
    ExtraFields {},
    /// Applied; optional fields are missing.
    FewerFields {},
    /// Applied; the answer with values set or removed at JSON pointers.
    Rewrite {
        #[serde(default)]
        set: BTreeMap<String, Value>,
        #[serde(default)]
        remove: Vec<String>,
    },
    /// Applied; the answer to the previous request of the same account and method.
    AnswerOfAnother {},
    /// Never answers; nothing is applied.
    Stall {},
    /// Applied; never answers.
    ApplyStall {},
    /// Applied; the head of the answer comes, its body never.
    StallBody {},
    /// Applied; the answer comes in pieces with a pause between them.
    Slow { ms: u64, bytes: usize },
    /// Applied; the answer says `Connection: close`.
    Close {},
    /// Applied and answered; the next request on the connection finds it closed.
    CloseOnReuse {},
    /// 307 to another address; nothing is applied.
    Redirect { to: String },
    /// Applied; the answer has so many bytes.
    Huge { bytes: usize },
    /// Held before it is applied, until released.
    HoldBefore {},
    /// Applied, and held before it is answered, until released.
    HoldAfter {},
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorBody {
    /// Cloudflare's envelope.
    #[default]
    Json,
    Html,
    Empty,
}

impl Action {
    /// The word that names it in JSON.
    pub fn word(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["do"].as_str().unwrap_or_default().to_owned()
    }
}
