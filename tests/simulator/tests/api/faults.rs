//! Do faults, holds, credentials and limits do what they say?

use std::time::Duration;

use crate::caller::{Caller, LONG, SIMULATOR, caller, caller_of, code, start};
use cfshare_simulator::*;
use reqwest::Method;
use serde_json::{Value, json};

const SHARES: &str = "/accounts/*/shares";

/// What the caller saw of one create under a rule, and how many shares there are afterwards.
async fn create_under(action: Value) -> (Result<(u16, String), String>, usize) {
    let caller = caller();
    let action: Action = serde_json::from_value(action).expect("an action");
    let rule = Rule::once("POST", SHARES, action).account(&caller.account);
    let rule = SIMULATOR.fault(rule);
    let body = caller.wanted("x", &[&random_id()]);
    let seen = async {
        let sent = caller.send(Method::POST, "", Some(&body)).await;
        let answer = sent.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        Ok((status, text))
    };
    let seen = seen.await;
    assert_eq!(SIMULATOR.fired(rule), 1);
    (seen, SIMULATOR.state(&caller.account).len())
}

#[tokio::test]
async fn each_fault_applies_and_answers_as_it_says() {
    for (action, answered, shares) in [
        (json!({"do": "drop"}), None, 0),
        (json!({"do": "reset"}), None, 0),
        (json!({"do": "apply_drop"}), None, 1),
        (json!({"do": "apply_reset"}), None, 1),
        (json!({"do": "twice"}), Some(201), 2),
        (json!({"do": "delay_before", "ms": 1}), Some(201), 1),
        (json!({"do": "delay_after", "ms": 1}), Some(201), 1),
        (json!({"do": "status_before", "status": 503, "body": "html"}), Some(503), 0),
        (json!({"do": "status_after", "status": 502}), Some(502), 1),
        (json!({"do": "throttle", "retry_after": "soon"}), Some(429), 0),
        (json!({"do": "forbidden"}), Some(403), 0),
        (json!({"do": "cut"}), None, 1),
        (json!({"do": "garbage"}), Some(201), 1),
        (json!({"do": "unsuccessful"}), Some(201), 1),
        (json!({"do": "null_result"}), Some(201), 1),
        (json!({"do": "unknown_words"}), Some(201), 1),
        (json!({"do": "extra_fields"}), Some(201), 1),
        (json!({"do": "fewer_fields"}), Some(201), 1),
        (json!({"do": "slow", "ms": 1, "bytes": 100}), Some(201), 1),
        (json!({"do": "close"}), Some(201), 1),
        (json!({"do": "close_on_reuse"}), Some(201), 1),
        (json!({"do": "huge", "bytes": 1_000_000}), Some(201), 1),
    ] {
        let (seen, made) = create_under(action.clone()).await;
        let status = seen.as_ref().ok().map(|(status, _)| *status);
        assert_eq!((status, made), (answered, shares), "{action}: {seen:?}");
    }
}

#[tokio::test]
async fn answers_are_spoilt_as_told() {
    let body = async |action: Value| {
        let (seen, _) = create_under(action).await;
        serde_json::from_str::<Value>(&seen.expect("an answer").1).expect("JSON")
    };
    assert_eq!(body(json!({"do": "unknown_words"})).await["result"]["status"], "evaluating");
    assert_eq!(body(json!({"do": "null_result"})).await["result"], Value::Null);
    assert_eq!(body(json!({"do": "unsuccessful"})).await["success"], false);
    let rewrite = json!({"do": "rewrite", "set": {"/result/id": "z"}, "remove": ["/result/name"]});
    let rewritten = body(rewrite).await;
    assert_eq!((&rewritten["result"]["id"], rewritten["result"].get("name")), (&json!("z"), None));
}

#[tokio::test]
async fn a_stalled_request_is_never_answered() {
    for (action, shares) in [(Action::Stall {}, 0), (Action::ApplyStall {}, 1), (Action::StallBody {}, 1)] {
        let caller = caller();
        SIMULATOR.fault(Rule::once("POST", SHARES, action).account(&caller.account));
        let call = caller.post("", caller.wanted("stalled", &[&random_id()]));
        assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
        assert_eq!(SIMULATOR.state(&caller.account).len(), shares);
    }
}

#[tokio::test]
async fn answers_lead_astray_and_connections_end() {
    let caller = caller();
    let rule = |action| SIMULATOR.fault(Rule::once("GET", "*", action).account(&caller.account));
    let share = caller.share("true", &[&random_id()]).await;
    let first = caller.get("?page=1&per_page=1").await.1;
    rule(Action::AnswerOfAnother {});
    assert_eq!(caller.get(&format!("/{share}")).await.1, first);

    rule(Action::Redirect { to: "http://127.0.0.1:1/elsewhere".to_owned() });
    assert!(caller.send(Method::GET, "", None).await.is_err());

    rule(Action::CloseOnReuse {});
    assert_eq!(caller.get("").await.0, 200);
    assert!(caller.send(Method::GET, "", None).await.is_err());
    assert_eq!(caller.get("").await.0, 200);
}

#[tokio::test]
async fn a_late_request_takes_effect_after_its_caller_gave_up() {
    let caller = caller();
    let rule = Rule::once("POST", SHARES, Action::Late { ms: 5 }).account(&caller.account);
    SIMULATOR.fault(rule);
    let body = caller.wanted("late", &[&random_id()]);
    assert!(caller.send(Method::POST, "", Some(&body)).await.is_err());
    assert!(waited(&caller, |entry| entry.applied == 1).await.status.is_none());
    assert_eq!(SIMULATOR.state(&caller.account).len(), 1);
}

#[tokio::test]
async fn a_rule_counts_what_matches_and_acts_from_the_nth_on() {
    let caller = caller();
    let rule = Rule::once("GET", SHARES, Action::Forbidden {});
    let rule = SIMULATOR.fault(rule.account(&caller.account).from(2).times(2));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(caller.get("").await.0);
    }
    assert_eq!(seen, [200, 403, 403, 200]);
    let reports = SIMULATOR.faults();
    let report = reports.iter().find(|report| report.id == rule).expect("a report");
    assert_eq!((report.seen, report.fired), (4, 2));
}

#[tokio::test]
async fn a_held_request_waits_and_outlives_its_caller() {
    for (action, release, shares) in [
        (Action::HoldBefore {}, Release::Drop, 0),
        (Action::HoldBefore {}, Release::ApplyDrop, 1),
        (Action::HoldAfter {}, Release::Drop, 1),
    ] {
        let caller = caller();
        SIMULATOR.fault(Rule::once("POST", SHARES, action).account(&caller.account));
        let account = caller.account.clone();
        let body = caller.wanted("held", &[&random_id()]);
        let call = tokio::spawn(async move { caller.send(Method::POST, "", Some(&body)).await });
        let own = account.clone();
        let found = blocking(move || SIMULATOR.wait_held(LONG, |held| held.account.as_ref() == Some(&own)));
        let held = found.await.expect("a held request");
        call.abort();
        let over = held.id;
        SIMULATOR.release(held.id, release).expect("released");
        let done = blocking(move || SIMULATOR.wait_request(LONG, |entry| entry.seq == over && entry.done));
        assert!(done.await.is_some());
        assert_eq!(SIMULATOR.state(&account).len(), shares);
    }
}

#[tokio::test]
async fn the_journal_tells_who_asked_what_but_no_secret() {
    let caller = caller();
    caller.post("", caller.wanted("told", &[&random_id()])).await;
    let [entry] = &SIMULATOR.journal(Some(&caller.account), 0)[..] else {
        panic!("one request");
    };
    assert_eq!((entry.method.as_str(), entry.applied, entry.status), ("POST", 1, Some(201)));
    assert!(entry.changing && entry.done && entry.body["name"] == "told");
    assert_eq!(entry.credential, Some(short_hash(&caller.token)));
    let all = serde_json::to_string(&entry).expect("JSON");
    assert!(!all.contains(&caller.token));
}

#[tokio::test]
async fn a_token_may_do_what_its_policy_says() {
    let policy = |change: fn(&mut Policy)| {
        let caller = caller();
        let mut policy = Policy::default();
        change(&mut policy);
        SIMULATOR.token(&caller.token, policy);
        caller
    };
    let outcome = async |caller: &Caller| {
        let (read, answer) = caller.get("").await;
        let refused = (read != 200).then(|| code(&answer));
        let write = caller.post("", caller.wanted("x", &[&random_id()])).await.0;
        (read, refused, write)
    };
    assert_eq!(outcome(&policy(|p| p.read_only = true)).await, (200, None, 403));
    assert_eq!(outcome(&policy(|p| p.revoked = true)).await, (403, Some(9109), 403));
    let elsewhere = policy(|p| p.accounts = Some(vec!["0".repeat(32)]));
    assert_eq!(outcome(&elsewhere).await, (403, Some(10000), 403));
    assert_eq!(outcome(&policy(|p| p.flaky = Some(2))).await, (200, None, 403));

    let revoked = policy(|p| p.revoked = true);
    SIMULATOR.switches(Some(&revoked.account), |s| {
        s.bad_credential = BadCredential::Unauthorized;
    });
    assert_eq!(outcome(&revoked).await, (401, Some(10000), 401));

    let path = format!("/accounts/{}/shares", revoked.account);
    let bare = revoked.request(Method::GET, &path).send().await.expect("an answer");
    assert_eq!(bare.status(), 401);
    let key = revoked.request(Method::GET, &path);
    let key = key.header("x-auth-email", "a@b.c").header("x-auth-key", "k");
    assert_eq!(key.send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn too_many_calls_are_refused_until_the_block_ends() {
    let simulator = start(Config::default());
    let caller = caller_of(&simulator);
    let limits = Limits { requests: 3, ..Limits::default() };
    let policy = Policy { limits: Some(limits), ..Policy::default() };
    simulator.token(&caller.token, policy);
    let header = |answer: &reqwest::Response, name: &str| {
        let value = answer.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let call = async || caller.send(Method::GET, "", None).await.expect("an answer");
    let first = call().await;
    assert_eq!(header(&first, "ratelimit").as_deref(), Some("\"default\";r=2;t=300"));
    assert_eq!(header(&first, "ratelimit-policy").as_deref(), Some("\"default\";q=3;w=300"));
    assert_eq!(header(&first, "retry-after"), None);
    assert!(header(&first, "date").is_some() && header(&first, "cf-ray").is_some());
    call().await;
    call().await;
    let refused = call().await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after").as_deref(), Some("300"));
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!(code(&body), 10100);
    simulator.advance(Duration::from_secs(301));
    assert_eq!(call().await.status(), 200);
}

async fn waited(caller: &Caller, fits: fn(&Entry) -> bool) -> Entry {
    let account = Some(caller.account.clone());
    let found = blocking(move || SIMULATOR.wait_request(LONG, |entry| entry.account == account && fits(entry)));
    found.await.expect("a request")
}

async fn blocking<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static) -> R {
    tokio::task::spawn_blocking(wait).await.expect("no panic")
}
