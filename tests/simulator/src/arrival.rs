//! What came in, and how is it written down?

use hyper::HeaderMap;
use serde_json::Value;

use crate::answer::Refusal;
use crate::clock::Stamp;
use crate::core::State;
use crate::fault::{Rule, Target};
use crate::gate::Credential;
use crate::journal::Entry;
use crate::route::{self, Call, Verb};

/// A request as it arrived.
pub struct Arrival {
    pub method: String,
    /// Without `/client/v4`.
    pub path: String,
    pub query: String,
    pub credential: Credential,
    pub body: Vec<u8>,
    /// What the method and the path mean.
    pub route: Result<(Call, Verb), Refusal>,
    user_agent: Option<String>,
}

impl Arrival {
    pub fn new(method: &str, path: &str, query: &str, headers: &HeaderMap, body: Vec<u8>) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let token = text("authorization").and_then(|value| {
            let token = value.strip_prefix("Bearer ")?.trim().to_owned();
            (!token.is_empty()).then_some(token)
        });
        Arrival {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            credential: Credential {
                token,
                email: text("x-auth-email"),
                key: text("x-auth-key").filter(|key| !key.is_empty()),
            },
            body,
            route: route::route(method, path),
            user_agent: text("user-agent"),
        }
    }

    pub fn account(&self) -> Option<&str> {
        let (call, _) = self.route.as_ref().ok()?;
        call.account()
    }

    /// Writes the request down, under a number, and finds the rule that it suffers.
    pub fn open(&self, state: &mut State) -> (u64, Option<Rule>) {
        let text = String::from_utf8_lossy(&self.body);
        let rule = state.faults.strike(&Target {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            body: &text,
            account: self.account(),
        });
        let body = match serde_json::from_slice(&self.body) {
            Ok(body) => body,
            Err(_) if self.body.is_empty() => Value::Null,
            Err(_) => Value::String(text.into_owned()),
        };
        let now = state.world.clock.now();
        let call = self.route.as_ref().ok().map(|(call, _)| call.template());
        let seq = state.journal.open(Entry {
            seq: 0,
            time: Stamp::at(now).text().to_owned(),
            at: now,
            method: self.method.clone(),
            path: self.path.clone(),
            template: call.unwrap_or_default().to_owned(),
            query: self.query.clone(),
            body,
            credential: self.credential.hash(),
            user_agent: self.user_agent.clone(),
            account: self.account().map(str::to_owned),
            changing: self.method != "GET" && self.method != "HEAD",
            applied: 0,
            outcome: None,
            subject: None,
            status: None,
            done: false,
            ray: None,
            latency_us: None,
            fault: rule.as_ref().map(|rule| rule.name.clone()),
        });
        (seq, rule)
    }
}
