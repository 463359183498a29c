//! What was asked, when, by whom, and what became of it?

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request. Secrets are never in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entry {
    pub seq: u64,
    /// RFC 3339.
    pub time: String,
    /// Microseconds since 1970.
    pub at: i64,
    pub method: String,
    /// Without `/client/v4`.
    pub path: String,
    /// The path with `*` for each id, as a rule has it; empty if there is no such route.
    pub template: String,
    pub query: String,
    /// JSON, or else text.
    pub body: Value,
    /// A short hash of the token or key.
    pub credential: Option<String>,
    pub user_agent: Option<String>,
    pub account: Option<String>,
    /// POST, PUT or DELETE.
    pub changing: bool,
    /// How often it was carried out; 2 if it was forwarded twice.
    pub applied: u32,
    /// The true status, whatever was answered.
    pub outcome: Option<u16>,
    /// The id of the object that the true answer is about.
    pub subject: Option<String>,
    /// The status that was answered; none while it is open, or if it was never answered.
    pub status: Option<u16>,
    /// The ray of the answer that was sent.
    pub ray: Option<String>,
    /// Whether the request is over for the server.
    pub done: bool,
    pub latency_us: Option<i64>,
    /// The name of the rule that it suffered.
    pub fault: Option<String>,
}

#[derive(Default)]
pub struct Journal {
    entries: Vec<Entry>,
}

impl Journal {
    /// Adds an entry and numbers it, from 1.
    pub fn open(&mut self, entry: Entry) -> u64 {
        let seq = self.entries.len() as u64 + 1;
        self.entries.push(Entry { seq, ..entry });
        seq
    }

    pub fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        self.entries.get_mut(seq.checked_sub(1)? as usize)
    }

    /// The entries after `since`, of one account or all.
    pub fn since(&self, since: u64, account: Option<&str>) -> Vec<Entry> {
        let start = (since as usize).min(self.entries.len());
        self.entries[start..]
            .iter()
            .filter(|entry| account.is_none_or(|a| entry.account.as_deref() == Some(a)))
            .cloned()
            .collect()
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
