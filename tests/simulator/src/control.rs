//! What does the control port offer a test in another process?

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::{Core, Release, State};
use crate::gate::{Limits, Policy};
use crate::route;
use crate::settings::merge;
use crate::{edit, report, seed};

/// A status, and JSON.
pub type Answered = (u16, Vec<u8>);

struct Asked<'a> {
    query: Vec<(String, String)>,
    body: &'a [u8],
}

impl Asked<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        let found = self.query.iter().find(|(k, _)| k == key);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        let value = self.value(key).unwrap_or("0");
        value.parse().map_err(|_| format!("{key}: expected a number"))
    }

    fn wait(&self) -> Result<Duration, String> {
        self.number("wait_ms").map(Duration::from_millis)
    }

    fn body<T: DeserializeOwned>(&self) -> Result<T, String> {
        let body = if self.body.is_empty() { b"{}" } else { self.body };
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

#[derive(Deserialize)]
struct TokenBody {
    token: String,
    #[serde(flatten)]
    policy: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersBody {
    members: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    release: Release,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceBody {
    ms: u64,
}

pub async fn answer(core: &Arc<Core>, method: &str, path: &str, query: &str, body: &[u8]) -> Answered {
    let asked = Asked { query: route::query(query), body };
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = if method == "PUT" { "POST" } else { method };
    match respond(core, method, &segments, &asked).await {
        Ok(Some(body)) => (200, body),
        Ok(None) => failure(404, &format!("no {method} {path} here")),
        Err(error) => failure(400, &error),
    }
}

fn failure(status: u16, error: &str) -> Answered {
    (status, json!({"error": error}).to_string().into_bytes())
}

fn written(value: &impl Serialize) -> Result<Option<Vec<u8>>, String> {
    serde_json::to_vec(value).map(Some).map_err(|error| error.to_string())
}

async fn respond(
    core: &Arc<Core>,
    method: &str,
    segments: &[&str],
    asked: &Asked<'_>,
) -> Result<Option<Vec<u8>>, String> {
    let account = asked.value("account");
    match (method, segments) {
        ("GET", ["journal"]) => {
            let since = asked.number("since")?;
            let look = |state: &mut State| {
                let entries = state.journal.since(since, account);
                (!entries.is_empty()).then_some(entries)
            };
            written(&core.wait_async(asked.wait()?, look).await.unwrap_or_default())
        }
        ("GET", ["state"]) => {
            let shares = core.update(|state| report::shares(&mut state.world, account));
            written(&json!({"shares": shares}))
        }
        ("GET", ["tally"]) => written(&core.update(|state| report::tally(&mut state.world, account))),
        ("GET", ["quiet"]) => {
            let account = account.ok_or("account: required")?;
            let look = |state: &mut State| state.world.quiet(account).then_some(true);
            let quiet = core.wait_async(asked.wait()?, look).await;
            written(&json!({"quiet": quiet.unwrap_or(false)}))
        }
        ("GET", ["held"]) => {
            let look = |state: &mut State| {
                let held: Vec<_> = state
                    .held
                    .values()
                    .map(|holding| holding.shown.clone())
                    .filter(|held| account.is_none() || held.account.as_deref() == account)
                    .collect();
                (!held.is_empty()).then_some(held)
            };
            written(&core.wait_async(asked.wait()?, look).await.unwrap_or_default())
        }
        ("POST", ["held", id]) => {
            let id: u64 = id.parse().map_err(|_| "expected a number")?;
            let body: ReleaseBody = asked.body()?;
            release(core, id, body.release)?;
            written(&json!({"released": id}))
        }
        ("GET", ["faults"]) => written(&core.lock().faults.reports()),
        ("POST", ["faults"]) => {
            let rules = match asked.body()? {
                OneOrMany::One(rule) => vec![rule],
                OneOrMany::Many(rules) => rules,
            };
            let add = |rule: Value| serde_json::from_value(rule).map_err(|e| e.to_string());
            let rules = rules.into_iter().map(add).collect::<Result<Vec<_>, String>>()?;
            let ids: Vec<u64> = core.update(|state| rules.into_iter().map(|r| state.faults.add(r)).collect());
            written(&json!({"ids": ids}))
        }
        ("DELETE", ["faults"]) => {
            core.update(|state| state.faults.clear());
            written(&json!({}))
        }
        ("DELETE", ["faults", id]) => {
            let id: u64 = id.parse().map_err(|_| "expected a number")?;
            match core.update(|state| state.faults.remove(id)) {
                true => written(&json!({})),
                false => Err(format!("no rule {id}")),
            }
        }
        ("GET", ["switches"]) => written(core.lock().world.switches.of(account.unwrap_or_default())),
        ("POST", ["switches"]) => {
            let patch = asked.body()?;
            core.update(|state| {
                let switches = state.world.switches.edit(account);
                *switches = merge(switches, patch)?;
                written(switches)
            })
        }
        ("GET", ["delays"]) => written(core.lock().world.delays.of(account.unwrap_or_default())),
        ("POST", ["delays"]) => {
            let patch = asked.body()?;
            core.update(|state| {
                let delays = state.world.delays.edit(account);
                *delays = merge(delays, patch)?;
                written(delays)
            })
        }
        ("POST", ["edit"]) => {
            let body = asked.body()?;
            let shares = core.update(|state| edit::edit(&mut state.world, body))?;
            written(&json!({"shares": shares}))
        }
        ("GET", ["accounts", id]) => written(&*core.lock().world.account(id)),
        ("POST", ["accounts", id]) => {
            let patch = asked.body()?;
            core.update(|state| {
                let account = merge(&*state.world.account(id), patch)?;
                state.world.set_account(id, account.clone());
                written(&account)
            })
        }
        ("POST", ["organizations", id]) => {
            let body: MembersBody = asked.body()?;
            core.update(|state| state.world.set_members(id, body.members));
            written(&json!({}))
        }
        ("POST", ["tokens"]) => {
            let body: TokenBody = asked.body()?;
            let policy = merge(&Policy::default(), body.policy)?;
            core.update(|state| state.gate.set_policy(&body.token, policy));
            written(&json!({}))
        }
        ("POST", ["limits"]) => {
            let patch = asked.body()?;
            core.update(|state| {
                let limits: Limits = merge(&state.gate.limits, patch)?;
                state.gate.limits = limits;
                written(&state.gate.limits)
            })
        }
        ("POST", ["seed"]) => {
            let body = asked.body()?;
            let seeded = core.update(|state| seed::seed(&mut state.world, body))?;
            written(&json!({"shares": seeded}))
        }
        ("POST", ["clock"]) => {
            let body: AdvanceBody = asked.body()?;
            let by = Duration::from_millis(body.ms);
            core.update(|state| state.world.clock.advance(by));
            written(&json!({}))
        }
        ("POST", ["reset"]) => {
            core.reset();
            written(&json!({}))
        }
        _ => Ok(None),
    }
}

/// Lets a held request go on or end.
pub fn release(core: &Core, id: u64, release: Release) -> Result<(), String> {
    let holding = core.update(|state| state.held.remove(&id));
    let holding = holding.ok_or_else(|| format!("no request {id} is held"))?;
    let gone = |_| format!("request {id} is gone");
    holding.release.send(release).map_err(gone)
}
