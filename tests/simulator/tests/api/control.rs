//! Does the control port do what the library does, and refuse what it does not know?

use crate::caller::{SIMULATOR, caller};
use cfshare_simulator::random_id;
use serde_json::{Value, json};

async fn ask(method: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}{path}", SIMULATOR.control_url());
    let method = method.parse().expect("a method");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = http.request(method, url);
    let answer = request.json(&body).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn settings_are_changed_field_by_field_and_account_by_account() {
    let caller = caller();
    let path = format!("/switches?account={}", caller.account);
    let (status, switches) = ask("PUT", &path, json!({"same_name": "conflict"})).await;
    assert_eq!((status, &switches["same_name"]), (200, &json!("conflict")));
    assert_eq!(ask("GET", "/switches", json!(null)).await.1["same_name"], "allowed");
    let delays = ask("POST", &format!("/delays?account={}", caller.account), json!({"associate_ms": null})).await;
    assert_eq!(delays.1["associate_ms"], Value::Null);
    for (path, body) in [
        ("/switches", json!({"same_nam": "conflict"})),
        ("/switches", json!({"same_name": "maybe"})),
        ("/delays", json!({"associate": 1})),
        ("/faults", json!({"pathh": "*", "action": {"do": "drop"}})),
        ("/faults", json!({"action": {"do": "explode"}})),
        ("/faults", json!({"action": {"do": "drop", "ms": 1}})),
        ("/edit", json!({"op": "rename", "share": "none", "name": "x"})),
        ("/tokens", json!({"token": "t", "read_onli": true})),
        ("/held/1000000", json!({"release": "go"})),
    ] {
        let (status, answer) = ask("POST", path, body).await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer["error"].is_string());
    }
    assert_eq!(ask("GET", "/nothing", json!(null)).await.0, 404);
}

#[tokio::test]
async fn a_request_is_held_and_released_from_outside() {
    let caller = caller();
    let account = caller.account.clone();
    let rule = json!({"method": "POST", "path": "/accounts/*/shares", "account": account,
        "action": {"do": "hold_before"}});
    let (_, rules) = ask("POST", "/faults", rule).await;
    let call = tokio::spawn(async move { caller.share("held", &[&random_id()]).await });
    let held = ask("GET", &format!("/held?account={account}&wait_ms=10000"), json!(null)).await;
    let held = &held.1[0];
    assert_eq!((&held["point"], &held["method"]), (&json!("before"), &json!("POST")));
    let state = format!("/state?account={account}");
    assert_eq!(ask("GET", &state, json!(null)).await.1["shares"], json!([]));
    ask("POST", &format!("/held/{}", held["id"]), json!({"release": "go"})).await;
    let share = call.await.expect("no panic");
    assert_eq!(ask("GET", &state, json!(null)).await.1["shares"][0]["id"], share);
    let reports = ask("GET", "/faults", json!(null)).await.1;
    let report = reports.as_array().expect("rules").iter().find(|rule| rule["id"] == rules["ids"][0]);
    assert_eq!(report.expect("our rule")["fired"], 1);
    let journal = ask("GET", &format!("/journal?account={account}"), json!(null)).await.1;
    assert_eq!(journal[0]["template"], "/accounts/*/shares");
}

#[tokio::test]
async fn a_seeded_account_is_settled_and_counted() {
    let account = random_id();
    let list = json!([{"name": "given", "recipients": ["1".repeat(32)],
        "resources": [{"type": "trust-grant", "id": "x"}]}]);
    let seed = json!({"account": account, "shares": 200, "recipients": 3, "resources": 2, "list": list});
    let (status, seeded) = ask("POST", "/seed", seed).await;
    assert_eq!((status, seeded["shares"].as_array().map(Vec::len)), (200, Some(201)));
    let tally = ask("GET", &format!("/tally?account={account}"), json!(null)).await.1;
    assert_eq!((&tally["active_shares"], &tally["associated"]), (&json!(201), &json!(601)));
    assert_eq!(tally["active_resources"], 401);
    let quiet = ask("GET", &format!("/quiet?account={account}"), json!(null)).await.1;
    assert_eq!(quiet["quiet"], true);
}
