//! Whose call is it, may it be made, and has this user called too often?

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::clock::Micros;
use crate::ids::short_hash;
use crate::rules::BadCredential;
use crate::world::millis;

/// Who calls, as the headers say.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    pub token: Option<String>,
    pub email: Option<String>,
    pub key: Option<String>,
}

impl Credential {
    pub fn secret(&self) -> Option<&str> {
        match (&self.token, &self.email, &self.key) {
            (_, Some(_), Some(key)) => Some(key),
            (Some(token), _, _) => Some(token),
            (None, _, _) => None,
        }
    }

    pub fn is_key(&self) -> bool {
        self.email.is_some() && self.key.is_some()
    }

    pub fn hash(&self) -> Option<String> {
        self.secret().map(short_hash)
    }
}

/// What a token (or key) may do. One that nobody described may do everything.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The accounts that it is valid for; `None` is all.
    pub accounts: Option<Vec<String>>,
    /// Writes are refused with 403/10000.
    pub read_only: bool,
    /// Everything is refused as with an invalid credential.
    pub revoked: bool,
    /// Every n-th call is refused with 403/10000.
    pub flaky: Option<u64>,
    /// Lists are empty and GETs find nothing, with status 200 and 404.
    pub blind: bool,
    /// Tokens of one user share their limit; by default each is a user of its own.
    pub user: Option<String>,
    /// When the token expires, as `/user/tokens/verify` tells it.
    pub expires_on: Option<String>,
    /// The account that owns it; `None`: a user does.
    pub owner: Option<String>,
    /// A limit of its own.
    pub limits: Option<Limits>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests in a window; 0 is no limit.
    pub requests: usize,
    pub window_ms: u64,
    /// How long everything is refused once the limit is passed.
    pub block_ms: u64,
    pub headers: LimitHeaders,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { requests: 1200, window_ms: 300_000, block_ms: 300_000, headers: LimitHeaders::One }
    }
}

/// The form of `Ratelimit` and `Ratelimit-Policy`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitHeaders {
    #[default]
    One,
    /// A second item with another name and more room.
    Several,
    Garbage,
    Missing,
    /// The same on every answer, as where a window slides.
    Steady {
        left: u64,
        reset: u64,
    },
}

#[derive(Default)]
pub struct Gate {
    pub limits: Limits,
    policies: HashMap<String, Policy>,
    calls: HashMap<String, u64>,
    windows: HashMap<String, Window>,
}

#[derive(Default)]
struct Window {
    calls: VecDeque<Micros>,
    blocked_until: Micros,
}

/// What a call is about, as far as permission goes.
pub struct Claim<'a> {
    pub account: Option<&'a str>,
    pub changes: bool,
    pub bad_credential: BadCredential,
}

impl Gate {
    pub fn new(limits: Limits) -> Gate {
        Gate { limits, ..Gate::default() }
    }

    pub fn set_policy(&mut self, secret: &str, policy: Policy) {
        self.policies.insert(short_hash(secret), policy);
    }

    pub fn is_blind(&self, credential: &Credential) -> bool {
        self.policy(credential).is_some_and(|policy| policy.blind)
    }

    /// What a token is told of itself; `account`: whose tokens are asked.
    pub fn own(&self, credential: &Credential, account: Option<&str>) -> Result<Answer, Refusal> {
        let policy = self.policy(credential).cloned().unwrap_or_default();
        if credential.is_key() || policy.owner.as_deref() != account {
            return Err(Refusal::new(401, 1000, "Invalid API Token"));
        }
        let mut state = json!({"id": credential.hash(), "status": "active"});
        if let Some(end) = policy.expires_on {
            state["expires_on"] = json!(end);
        }
        Ok(Answer::one(200, "token", state))
    }

    fn policy(&self, credential: &Credential) -> Option<&Policy> {
        self.policies.get(&credential.hash()?)
    }

    fn limits_of(&self, credential: &Credential) -> &Limits {
        let own = self.policy(credential).and_then(|p| p.limits.as_ref());
        own.unwrap_or(&self.limits)
    }

    fn user(&self, credential: &Credential) -> Option<String> {
        let named = self.policy(credential).and_then(|p| p.user.clone());
        named.or_else(|| credential.hash())
    }

    /// Whether the call may be made. It counts if its user is known.
    pub fn admit(&mut self, now: Micros, credential: &Credential, claim: &Claim<'_>) -> Result<(), Refusal> {
        let Some(user) = self.user(credential) else {
            return Err(match claim.bad_credential {
                BadCredential::Forbidden => {
                    Refusal::new(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
                }
                other => Refusal::bad_credential(other),
            });
        };
        let limits = self.limits_of(credential).clone();
        let window = self.windows.entry(user.clone()).or_default();
        window.count(now, &limits)?;
        let Some(policy) = self.policy(credential).cloned() else {
            return Ok(());
        };
        let calls = self.calls.entry(user).or_default();
        *calls += 1;
        if policy.revoked {
            return Err(Refusal::bad_credential(claim.bad_credential));
        }
        let elsewhere = match (&policy.accounts, claim.account) {
            (Some(accounts), Some(account)) => !accounts.iter().any(|a| a == account),
            (None, _) | (Some(_), None) => false,
        };
        let unlucky = policy.flaky.is_some_and(|n| n > 0 && calls.is_multiple_of(n));
        if elsewhere || unlucky || (policy.read_only && claim.changes) {
            return Err(Refusal::denied());
        }
        Ok(())
    }

    /// The values of `Ratelimit` and `Ratelimit-Policy` for an answer to this caller.
    pub fn headers(&self, now: Micros, credential: &Credential) -> Vec<(&'static str, String)> {
        let limits = self.limits_of(credential);
        let window = self.user(credential).and_then(|user| self.windows.get(&user));
        let quota = if limits.requests == 0 { 1_000_000 } else { limits.requests };
        let (left, reset) = window.map_or((quota, 0), |w| w.room(now, limits, quota));
        let seconds = limits.window_ms / 1000;
        let (state, policy) = match limits.headers {
            LimitHeaders::One => {
                (format!("\"default\";r={left};t={reset}"), format!("\"default\";q={quota};w={seconds}"))
            }
            LimitHeaders::Several => (
                format!("\"edge\";r=9000;t=1, \"default\";r={left};t={reset};x=\"y\""),
                format!("\"edge\";q=10000;w=60, \"default\";q={quota};w={seconds}"),
            ),
            LimitHeaders::Garbage => ("\"default\";r=many;t=-1".to_owned(), ";;=".to_owned()),
            LimitHeaders::Missing => return Vec::new(),
            LimitHeaders::Steady { left, reset } => {
                (format!("\"default\";r={left};t={reset}"), format!("\"default\";q={quota};w={seconds}"))
            }
        };
        vec![("ratelimit", state), ("ratelimit-policy", policy)]
    }
}

impl Window {
    fn count(&mut self, now: Micros, limits: &Limits) -> Result<(), Refusal> {
        if limits.requests == 0 {
            return Ok(());
        }
        let oldest = now - millis(Some(limits.window_ms));
        while self.calls.front().is_some_and(|at| *at <= oldest) {
            self.calls.pop_front();
        }
        if now >= self.blocked_until {
            if self.calls.len() < limits.requests {
                self.calls.push_back(now);
                return Ok(());
            }
            self.blocked_until = now + millis(Some(limits.block_ms));
        }
        let seconds = whole_seconds(self.blocked_until - now);
        Err(Refusal::throttled(10100, Some(seconds.to_string())))
    }

    /// Requests left, and seconds until there is more room.
    fn room(&self, now: Micros, limits: &Limits, quota: usize) -> (usize, i64) {
        if now < self.blocked_until {
            return (0, whole_seconds(self.blocked_until - now));
        }
        let window = millis(Some(limits.window_ms));
        let fresh = self.calls.iter().filter(|at| **at > now - window).count();
        let reset = self.calls.iter().find(|at| **at > now - window);
        let reset = reset.map_or(0, |at| whole_seconds(at + window - now));
        (quota.saturating_sub(fresh), reset)
    }
}

fn whole_seconds(micros: Micros) -> i64 {
    micros.div_euclid(1_000_000) + i64::from(micros.rem_euclid(1_000_000) > 0)
}
