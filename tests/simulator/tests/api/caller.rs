//! How do the tests call the simulator? Each caller has an account of its own.

use std::sync::LazyLock;
use std::time::Duration;

use cfshare_simulator::{Config, Delays, Simulator, Switches, random_id};
use reqwest::{Method, Response};
use serde_json::{Value, json};

pub const LONG: Duration = Duration::from_secs(10);

pub static SIMULATOR: LazyLock<Simulator> = LazyLock::new(|| {
    let delay = Some(1_000_000);
    let delays =
        Delays { associate_ms: delay, disassociate_ms: delay, delete_share_ms: delay, delete_resource_ms: delay };
    start(Config { delays, ..Config::default() })
});

pub fn start(config: Config) -> Simulator {
    Simulator::start(config).expect("the simulator starts")
}

pub struct Caller {
    http: reqwest::Client,
    base_url: String,
    pub account: String,
    pub token: String,
}

pub fn caller() -> Caller {
    caller_of(&SIMULATOR)
}

pub fn caller_of(simulator: &Simulator) -> Caller {
    Caller {
        http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        base_url: simulator.base_url().to_owned(),
        account: random_id(),
        token: random_id(),
    }
}

/// A caller whose changes complete at once.
pub fn quick_caller() -> Caller {
    let caller = caller();
    SIMULATOR.delays(Some(&caller.account), |delays| {
        delays.associate_ms = Some(0);
        delays.disassociate_ms = Some(0);
        delays.delete_share_ms = Some(0);
        delays.delete_resource_ms = Some(0);
    });
    caller
}

pub fn resource(account: &str, id: &str) -> Value {
    json!({"meta": {}, "resource_account_id": account, "resource_id": id,
        "resource_type": "custom-ruleset"})
}

pub fn to(account: &str) -> Value {
    json!({"recipient_account_id": account})
}

impl Caller {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base_url);
        self.http.request(method, url)
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Result<Response> {
        let path = format!("/accounts/{}/shares{path}", self.account);
        let request = self.request(method, &path).bearer_auth(&self.token);
        match body {
            Some(body) => request.json(body).send().await,
            None => request.send().await,
        }
    }

    /// The status and the whole envelope.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let answer = self.send(method, path, body).await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PUT, path, Some(&body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::DELETE, path, None).await
    }

    pub fn wanted(&self, name: &str, recipients: &[&str]) -> Value {
        let recipients: Vec<Value> = recipients.iter().map(|id| to(id)).collect();
        let resources = [resource(&self.account, "first-source")];
        json!({"name": name, "recipients": recipients, "resources": resources})
    }

    /// Makes a share with one resource; its id.
    pub async fn share(&self, name: &str, recipients: &[&str]) -> String {
        let (status, answer) = self.post("", self.wanted(name, recipients)).await;
        assert_eq!(status, 201, "{answer}");
        id(&answer)
    }

    /// What the list of a path shows in one field.
    pub async fn column(&self, path: &str, field: &str) -> Vec<String> {
        let (status, answer) = self.get(path).await;
        assert_eq!(status, 200, "{answer}");
        column(&answer, field)
    }
}

pub fn id(answer: &Value) -> String {
    let id = answer["result"]["id"].as_str();
    id.unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
}

pub fn code(answer: &Value) -> i64 {
    let code = answer["errors"][0]["code"].as_i64();
    code.unwrap_or_else(|| panic!("no code in {answer}"))
}

pub fn column(answer: &Value, field: &str) -> Vec<String> {
    let rows = answer["result"].as_array();
    let rows = rows.unwrap_or_else(|| panic!("no rows in {answer}"));
    rows.iter().map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect()
}

/// Changes the switches of the caller's account.
pub fn switch(caller: &Caller, change: impl FnOnce(&mut Switches)) {
    SIMULATOR.switches(Some(&caller.account), change);
}
