//! How does the test itself speak to the API server?

use std::time::Duration;

use cfshare_testbed::Cluster;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

pub const GROUP: &str = "/apis/cfshare.dev/v1alpha1";

/// What an API server answers that will take the same request later.
const BUSY: [StatusCode; 3] =
    [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
const ATTEMPTS: u64 = 10;

/// The API server, for its administrator.
#[derive(Clone)]
pub struct Kube {
    pub http: Client,
    pub server: String,
    pub token: String,
}

impl Kube {
    pub fn new(cluster: &Cluster) -> Result<Kube, String> {
        let config = cluster.run(&["config", "view", "--raw", "-o", "json"], None).map_err(|e| e.to_string())?;
        let config: Value = serde_json::from_str(&config).map_err(|e| e.to_string())?;
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let authority = text("/clusters/0/cluster/certificate-authority-data");
        let authority = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, authority);
        let authority = reqwest::Certificate::from_pem(&authority.map_err(|e| e.to_string())?);
        let http = Client::builder()
            .no_proxy()
            .tls_certs_only([authority.map_err(|e| e.to_string())?])
            .build()
            .map_err(|e| format!("no client for the API server: {e}"))?;
        Ok(Kube { http, server: cluster.server(), token: text("/users/0/user/token") })
    }

    /// Sends it, again where the API server has too much to do.
    async fn send(&self, request: RequestBuilder) -> Result<Value, String> {
        let request = request.bearer_auth(&self.token);
        for attempt in 1.. {
            let again = request.try_clone().ok_or("the request cannot be repeated")?;
            let answer = again.send().await.map_err(|e| e.to_string())?;
            let status = answer.status();
            let body = answer.text().await.map_err(|e| e.to_string())?;
            if status.is_success() {
                return serde_json::from_str(&body).map_err(|e| e.to_string());
            }
            if !BUSY.contains(&status) || attempt == ATTEMPTS {
                return Err(body);
            }
            tokio::time::sleep(Duration::from_secs(attempt)).await;
        }
        unreachable!("the last attempt returns")
    }

    pub async fn make_namespace(&self, name: &str) -> Result<(), String> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.send(self.http.post(format!("{}/api/v1/namespaces", self.server)).json(&body)).await.map(drop)
    }

    /// Applies an object, server-side; returns what became of it.
    pub async fn apply(&self, path: &str, object: &Value) -> Result<Value, String> {
        let url = format!("{}{path}?fieldManager=person&force=true", self.server);
        let request = self.http.request(Method::PATCH, url).header("content-type", "application/apply-patch+yaml");
        self.send(request.body(object.to_string())).await
    }

    /// Changes an object by a JSON patch (RFC 6902).
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value, String> {
        let request = self.http.request(Method::PATCH, format!("{}{path}", self.server));
        self.send(request.header("content-type", "application/json-patch+json").body(patch.to_string())).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(self.http.get(format!("{}{path}", self.server))).await
    }

    pub async fn put_token(&self, namespace: &str, token: &str) -> Result<(), String> {
        self.put_secret(namespace, "cloudflare-credentials", token).await
    }

    pub async fn put_secret(&self, namespace: &str, name: &str, token: &str) -> Result<(), String> {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"apiToken": token},
        });
        self.apply(&path, &body).await.map(drop)
    }

    pub async fn delete(&self, path: &str) -> Result<Value, String> {
        self.send(self.http.delete(format!("{}{path}", self.server))).await
    }

    /// All objects of a kind in a namespace.
    pub async fn list(&self, namespace: &str, plural: &str) -> Result<Vec<Value>, String> {
        let url = format!("{}{GROUP}/namespaces/{namespace}/{plural}", self.server);
        let mut answer = self.send(self.http.get(url)).await?;
        match answer["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Err("no list".to_owned()),
        }
    }
}
