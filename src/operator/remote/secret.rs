//! How is a Secret read, so that nothing of what it holds reaches a log?
//!
//! The answer of the API server is read here, and nowhere else. Kube's own client logs the text of an answer that it cannot
//! read, and an error of serde quotes the value that it did not expect.

use std::collections::BTreeMap;

use http::StatusCode;
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Client, Resource};

use crate::api::Name;
use crate::cloudflare::clean;
use crate::operator::cluster::requests::in_time;

/// Longest text of the API server's own that is passed on.
const MAX_REASON: usize = 300;

/// Why a Secret was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    Missing,
    Forbidden,
    Failed(String),
}

/// What the Secret holds, by key.
pub async fn read(kube: &Client, name: &Name) -> Result<BTreeMap<String, Vec<u8>>, Unread> {
    let failed = |error: kube::Error| Unread::Failed(error.to_string());
    let path = Secret::url_path(&(), Some(&name.namespace));
    let request = Request::new(path).get(&name.name, &GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest).map_err(failed)?.map(Body::from);
    let answer = in_time(async {
        let answer = kube.send(request).await?;
        Ok((answer.status(), answer.into_body().collect_bytes().await?))
    });
    let (status, text) = answer.await.map_err(failed)?;
    held(status, &text)
}

fn held(status: StatusCode, text: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Unread> {
    match status {
        StatusCode::NOT_FOUND => return Err(Unread::Missing),
        StatusCode::FORBIDDEN => return Err(Unread::Forbidden),
        _ if !status.is_success() => return Err(Unread::Failed(refusal(status, text))),
        _ => {}
    }
    let secret: Secret = serde_json::from_slice(text).map_err(|error| {
        let what = if error.is_eof() { "ended too early" } else { "is not a Secret" };
        Unread::Failed(format!("the response of the API server {what}"))
    })?;
    Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
}

/// The API server's own word, if it is that; what else came with such a status may be anything.
fn refusal(status: StatusCode, text: &[u8]) -> String {
    let said = serde_json::from_slice::<Status>(text).ok();
    let said = said.filter(|said| said.code == status.as_u16() && !said.message.is_empty());
    match said {
        Some(said) => format!("{} ({})", clean(&said.message, MAX_REASON), status.as_u16()),
        None => format!("the API server answered with HTTP status {}", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use serde_json::json;

    use super::*;
    use crate::log_text::LogText;

    /// `canary-of-the-secret` in base64.
    const CANARY: &str = "Y2FuYXJ5LW9mLXRoZS1zZWNyZXQ=";

    fn secret() -> String {
        let metadata = json!({"name": "token", "namespace": "a"});
        json!({"kind": "Secret", "apiVersion": "v1", "data": {"apiToken": CANARY}, "metadata": metadata}).to_string()
    }

    /// What comes of that answer, and all that any crate logs meanwhile.
    async fn read_from(status: u16, body: String) -> (Result<BTreeMap<String, Vec<u8>>, Unread>, String) {
        let log = LogText::default();
        let writer = log.clone();
        let everything = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let server = tower::service_fn(move |_: http::Request<Body>| {
            let answer = Response::builder().status(status).body(Body::from(body.clone().into_bytes()));
            async move { Ok::<_, std::io::Error>(answer.expect("an answer")) }
        });
        let _logging = tracing::subscriber::set_default(everything);
        let read = read(&Client::new(server, "default"), &Name::new("a", "token")).await;
        tracing::info!("the end");
        let text = log.read();
        (read, text)
    }

    #[tokio::test]
    async fn whatever_the_api_server_answers_nothing_of_a_secret_is_told() {
        let whole = secret();
        let cut = whole[..whole.find("metadata").expect("metadata")].to_owned();
        let not_base64 = whole.replace(CANARY, &format!("{CANARY}!"));
        let flat = json!({"kind": "Secret", "apiVersion": "v1", "data": CANARY, "metadata": {}}).to_string();
        let other_kind = json!({"kind": CANARY, "apiVersion": "v1", "metadata": {}}).to_string();
        let status = |code: u16, message: &str| {
            json!({"kind": "Status", "apiVersion": "v1", "message": message, "code": code}).to_string()
        };
        let failed = |text: &str| Err(Unread::Failed(text.to_owned()));
        let early = failed("the response of the API server ended too early");
        let other = failed("the response of the API server is not a Secret");
        let bare = |code: u16| failed(&format!("the API server answered with HTTP status {code}"));
        let held = Ok([("apiToken".to_owned(), b"canary-of-the-secret".to_vec())].into());
        let table = [
            ("whole", 200, whole.clone(), held),
            ("cut short", 200, cut.clone(), early),
            ("with a value that is not base64", 200, not_base64, other),
            ("with text in place of the map", 200, flat, failed("the response of the API server is not a Secret")),
            ("of another kind", 200, other_kind, failed("the response of the API server is not a Secret")),
            ("with the status of a failure", 500, whole, bare(500)),
            ("cut short, with the status of a failure", 502, cut, bare(502)),
            ("a failure", 500, status(500, "etcd is slow"), failed("etcd is slow (500)")),
            ("a refusal", 403, status(403, "no"), Err(Unread::Forbidden)),
            ("nothing", 404, status(404, "no"), Err(Unread::Missing)),
        ];
        for (what, code, body, expected) in table {
            let (read, log) = read_from(code, body).await;
            assert!(!format!("{read:?}").contains(&CANARY[..8]), "{what}");
            assert_eq!(read, expected, "{what}");
            assert!(log.contains("the end") && !log.contains(&CANARY[..8]), "{what}: {log}");
        }
    }
}
