//! What happens to one request, from its arrival to its answer?

use std::sync::Arc;
use std::time::Duration;

use hyper::{HeaderMap, Response};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::answer::{Answer, Refusal};
use crate::calls::{self, Input};
use crate::clock::{Stamp, http_date};
use crate::core::{Core, Held, Holding, Point, Release, State};
use crate::fault::{Action, ErrorBody, Target};
use crate::gate::{Claim, Credential};
use crate::journal::Entry;
use crate::route::{self, Call, Verb};
use crate::spoil;
use crate::wire::{Fate, Outgoing};

const JSON: &str = "application/json";

/// A request as it arrived.
pub struct Arrival {
    pub method: String,
    /// Without `/client/v4`.
    pub path: String,
    pub query: String,
    pub credential: Credential,
    pub user_agent: Option<String>,
    pub body: Vec<u8>,
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
            user_agent: text("user-agent"),
            body,
        }
    }
}

/// What the connection is to do.
pub enum Delivery {
    Answer(Box<Response<Outgoing>>),
    Close,
    Stall,
}

/// One request under way.
struct Exchange {
    core: Arc<Core>,
    arrival: Arrival,
    route: Result<(Call, Verb), Refusal>,
    seq: u64,
}

/// How an answer that is made leaves.
enum Way {
    Whole,
    Cut,
    StallBody,
    Slow(Duration, usize),
    Huge(usize),
    Closing,
}

pub async fn exchange(core: Arc<Core>, arrival: Arrival, fate: Arc<Fate>) -> Delivery {
    let route = route::route(&arrival.method, &arrival.path);
    let call = route.as_ref().ok();
    let account = call.and_then(|(call, _)| call.account().map(str::to_owned));
    let (seq, rule) = core.update(|state| open(state, &arrival, account.as_deref()));
    let mut exchange = Exchange { core, arrival, route, seq };
    let delivery = match rule {
        None => {
            let answer = exchange.apply();
            exchange.send(answer, JSON, Way::Whole)
        }
        Some((name, action)) => exchange.suffer(name, action, &fate).await,
    };
    exchange.close();
    delivery
}

/// Writes the request down and finds the rule that it suffers.
fn open(state: &mut State, arrival: &Arrival, account: Option<&str>) -> (u64, Option<(String, Action)>) {
    let text = String::from_utf8_lossy(&arrival.body);
    let target = Target { method: &arrival.method, path: &arrival.path, query: &arrival.query, body: &text, account };
    let rule = state.faults.strike(&target).map(|(id, rule)| {
        let name = if rule.name.is_empty() { format!("rule {id}") } else { rule.name };
        (name, rule.action)
    });
    let body = match serde_json::from_slice(&arrival.body) {
        Ok(body) => body,
        Err(_) if arrival.body.is_empty() => Value::Null,
        Err(_) => Value::String(text.into_owned()),
    };
    let fault = rule.as_ref().map(|(name, action)| {
        let action = serde_json::to_value(action).unwrap_or_default();
        format!("{name}: {}", action["do"].as_str().unwrap_or_default())
    });
    let now = state.world.clock.now();
    let seq = state.journal.open(Entry {
        seq: 0,
        time: Stamp::at(now).text().to_owned(),
        at: now,
        method: arrival.method.clone(),
        path: arrival.path.clone(),
        query: arrival.query.clone(),
        body,
        credential: arrival.credential.hash(),
        user_agent: arrival.user_agent.clone(),
        account: account.map(str::to_owned),
        changing: arrival.method != "GET" && arrival.method != "HEAD",
        applied: 0,
        outcome: None,
        subject: None,
        status: None,
        done: false,
        latency_us: None,
        fault,
    });
    (seq, rule)
}

impl Exchange {
    async fn suffer(&mut self, rule: String, action: Action, fate: &Fate) -> Delivery {
        match action {
            Action::Drop {} => Delivery::Close,
            Action::Reset {} => {
                fate.reset();
                Delivery::Close
            }
            Action::ApplyDrop {} => {
                self.apply();
                Delivery::Close
            }
            Action::ApplyReset {} => {
                self.apply();
                fate.reset();
                Delivery::Close
            }
            Action::DelayBefore { ms } => {
                sleep(Duration::from_millis(ms)).await;
                let answer = self.apply();
                self.send(answer, JSON, Way::Whole)
            }
            Action::DelayAfter { ms } => {
                let answer = self.apply();
                sleep(Duration::from_millis(ms)).await;
                self.send(answer, JSON, Way::Whole)
            }
            Action::Late { ms } => {
                self.apply_later(Duration::from_millis(ms));
                Delivery::Close
            }
            Action::Twice {} => {
                self.apply();
                let answer = self.apply();
                self.send(answer, JSON, Way::Whole)
            }
            Action::StatusBefore { status, body, code, retry_after } => {
                let (answer, content_type) = spoil::error(status, body, code, retry_after);
                self.send(answer, content_type, Way::Whole)
            }
            Action::StatusAfter { status, body, code, retry_after } => {
                self.apply();
                let (answer, content_type) = spoil::error(status, body, code, retry_after);
                self.send(answer, content_type, Way::Whole)
            }
            Action::Throttle { retry_after, code } => {
                let code = Some(code.unwrap_or(10100));
                let (answer, _) = spoil::error(429, ErrorBody::Json, code, retry_after);
                self.send(answer, JSON, Way::Whole)
            }
            Action::Forbidden {} => {
                let answer = Refusal::denied().into();
                self.send(answer, JSON, Way::Whole)
            }
            Action::Cut {} => {
                let answer = self.apply();
                self.send(answer, JSON, Way::Cut)
            }
            Action::Garbage { body, content_type } => {
                let mut answer = self.apply();
                let body = body.unwrap_or_else(|| "<html>upstream says hello</html>".to_owned());
                answer.body = body.into_bytes();
                self.send(answer, content_type.as_deref().unwrap_or(JSON), Way::Whole)
            }
            Action::Unsuccessful {} => self.spoilt(spoil::unsuccessful),
            Action::NullResult {} => self.spoilt(spoil::null_result),
            Action::UnknownWords { word } => {
                let word = word.unwrap_or_else(|| "evaluating".to_owned());
                self.spoilt(|body| spoil::unknown_words(body, &word))
            }
            Action::ExtraFields {} => self.spoilt(spoil::extra_fields),
            Action::FewerFields {} => self.spoilt(spoil::fewer_fields),
            Action::Rewrite { set, remove } => self.spoilt(|body| spoil::rewrite(body, &set, &remove)),
            Action::AnswerOfAnother {} => {
                let key = self.answer_key();
                let other = self.core.lock().answers.get(&key).cloned();
                let mut answer = self.apply();
                answer.body = other.unwrap_or(answer.body);
                self.send(answer, JSON, Way::Whole)
            }
            Action::Stall {} => Delivery::Stall,
            Action::ApplyStall {} => {
                self.apply();
                Delivery::Stall
            }
            Action::StallBody {} => {
                let answer = self.apply();
                self.send(answer, JSON, Way::StallBody)
            }
            Action::Slow { ms, bytes } => {
                let answer = self.apply();
                self.send(answer, JSON, Way::Slow(Duration::from_millis(ms), bytes))
            }
            Action::Close {} => {
                let answer = self.apply();
                self.send(answer, JSON, Way::Closing)
            }
            Action::CloseOnReuse {} => {
                fate.close_on_reuse();
                let answer = self.apply();
                self.send(answer, JSON, Way::Whole)
            }
            Action::Redirect { to } => {
                let (answer, content_type) = spoil::error(307, ErrorBody::Html, None, None);
                match self.send(answer, content_type, Way::Whole) {
                    Delivery::Answer(mut response) => {
                        if let Ok(to) = to.parse() {
                            response.headers_mut().insert("location", to);
                        }
                        Delivery::Answer(response)
                    }
                    other @ (Delivery::Close | Delivery::Stall) => other,
                }
            }
            Action::Huge { bytes } => {
                let answer = self.apply();
                self.send(answer, JSON, Way::Huge(bytes))
            }
            Action::HoldBefore {} => match self.held(rule, Point::Before).await {
                Release::Go => {
                    let answer = self.apply();
                    self.send(answer, JSON, Way::Whole)
                }
                Release::ApplyDrop => {
                    self.apply();
                    Delivery::Close
                }
                Release::Drop => Delivery::Close,
            },
            Action::HoldAfter {} => {
                let answer = self.apply();
                match self.held(rule, Point::After).await {
                    Release::Go => self.send(answer, JSON, Way::Whole),
                    Release::ApplyDrop | Release::Drop => Delivery::Close,
                }
            }
        }
    }

    async fn held(&self, rule: String, point: Point) -> Release {
        let (release, released) = oneshot::channel();
        let call = self.route.as_ref().ok();
        let shown = Held {
            id: self.seq,
            rule,
            point,
            method: self.arrival.method.clone(),
            path: self.arrival.path.clone(),
            account: call.and_then(|(call, _)| call.account().map(str::to_owned)),
        };
        self.core.update(|state| {
            let holding = Holding { shown, release };
            state.held.insert(self.seq, holding);
        });
        // A reset of the simulator lets go of everything.
        released.await.unwrap_or(Release::Drop)
    }

    /// Carries the request out.
    fn apply(&self) -> Answer {
        let key = self.answer_key();
        self.core.update(|state| {
            let answer = perform(state, &self.arrival, &self.route);
            if let Some(entry) = state.journal.entry(self.seq) {
                entry.applied += 1;
                entry.outcome = Some(answer.status);
                entry.subject = answer.subject.clone();
            }
            state.answers.insert(key, answer.body.clone());
            answer
        })
    }

    fn apply_later(&self, after: Duration) {
        let later = Exchange {
            core: self.core.clone(),
            arrival: Arrival {
                method: self.arrival.method.clone(),
                path: self.arrival.path.clone(),
                query: self.arrival.query.clone(),
                credential: self.arrival.credential.clone(),
                user_agent: None,
                body: self.arrival.body.clone(),
            },
            route: route::route(&self.arrival.method, &self.arrival.path),
            seq: self.seq,
        };
        tokio::spawn(async move {
            sleep(after).await;
            later.apply();
        });
    }

    fn spoilt(&self, change: impl FnOnce(&mut Value)) -> Delivery {
        let mut answer = self.apply();
        if let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) {
            change(&mut body);
            answer.body = body.to_string().into_bytes();
        }
        self.send(answer, JSON, Way::Whole)
    }

    fn send(&self, answer: Answer, content_type: &str, way: Way) -> Delivery {
        let (now, limits, ray) = self.core.update(|state| {
            if let Some(entry) = state.journal.entry(self.seq) {
                entry.status = Some(answer.status);
            }
            let now = state.world.clock.now();
            let limits = state.gate.headers(now, &self.arrival.credential);
            (now, limits, state.world.ids.word())
        });
        let mut response = Response::builder()
            .status(answer.status)
            .header("date", http_date(now))
            .header("cf-ray", format!("{ray:016x}-SIM"))
            .header("server", "cloudflare");
        if answer.status != 204 {
            response = response.header("content-type", content_type);
        }
        for (name, value) in limits {
            response = response.header(name, value);
        }
        if let Some(after) = answer.retry_after {
            response = response.header("retry-after", after);
        }
        let body = match way {
            Way::Whole => Outgoing::whole(answer.body),
            Way::Cut => Outgoing::cut(answer.body),
            Way::StallBody => Outgoing::stalled(answer.body),
            Way::Slow(pause, bytes) => Outgoing::slow(answer.body, pause, bytes),
            Way::Huge(bytes) => Outgoing::huge(bytes),
            Way::Closing => {
                response = response.header("connection", "close");
                Outgoing::whole(answer.body)
            }
        };
        match response.body(body) {
            Ok(response) => Delivery::Answer(Box::new(response)),
            // Only a header that a rule made up can be invalid.
            Err(_) => Delivery::Close,
        }
    }

    fn close(&self) {
        self.core.update(|state| {
            let now = state.world.clock.now();
            if let Some(entry) = state.journal.entry(self.seq) {
                entry.done = true;
                entry.latency_us = Some(now - entry.at);
            }
        });
    }

    fn answer_key(&self) -> (String, String) {
        let account = match &self.route {
            Ok((call, _)) => call.account().unwrap_or_default().to_owned(),
            Err(_) => String::new(),
        };
        (account, self.arrival.method.clone())
    }
}

fn perform(state: &mut State, arrival: &Arrival, route: &Result<(Call, Verb), Refusal>) -> Answer {
    match attempt(state, arrival, route) {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    }
}

fn attempt(state: &mut State, arrival: &Arrival, route: &Result<(Call, Verb), Refusal>) -> Result<Answer, Refusal> {
    let now = state.world.clock.now();
    let account = route.as_ref().ok().and_then(|(call, _)| call.account());
    let switches = state.world.switches.of(account.unwrap_or_default());
    let claim = Claim {
        account,
        changes: route.as_ref().is_ok_and(|(_, verb)| verb.changes()),
        bad_credential: switches.bad_credential,
    };
    state.gate.admit(now, &arrival.credential, &claim)?;
    let (call, verb) = route.as_ref().map_err(Refusal::clone)?;
    if state.gate.is_blind(&arrival.credential) {
        return match verb {
            Verb::List => Ok(Answer::empty_list()),
            Verb::Read | Verb::Create | Verb::Update | Verb::Replace | Verb::Delete => Err(Refusal::not_found("share")),
        };
    }
    let input = Input { query: &arrival.query, body: &arrival.body, by_key: arrival.credential.is_key() };
    calls::perform(&mut state.world, call, *verb, &input)
}
