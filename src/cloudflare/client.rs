//! How a call gets to Cloudflare and its answer back.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use reqwest::{Request, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};

use super::request::Query;
use super::{Credential, Error, Options, ResponseHead, SetupError, clean};

/// What a call brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    pub body: T,
    pub head: ResponseHead,
}

/// The head of the answer to a call, if one came.
pub fn head<T>(answer: &Result<Reply<T>, Error>) -> Option<&ResponseHead> {
    answer.as_ref().map_or_else(Error::head, |reply| Some(&reply.head))
}

/// Calls Cloudflare; a clone shares its connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Learns how each call ended.
    observer: Option<Arc<Observe>>,
}

type Observe = dyn Fn(&Ended<'_>) + Send + Sync;

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    call: &'a Call<'a>,
    base: &'a Url,
    pub answer: Result<&'a ResponseHead, &'a Error>,
    pub took: Duration,
}

impl Ended<'_> {
    /// Name of the call, such as `create_share`.
    pub fn call(&self) -> &'static str {
        self.call.name
    }

    pub fn method(&self) -> &str {
        self.call.method.as_str()
    }

    /// What an answer says in addition to its body, if one came.
    pub fn head(&self) -> Option<&ResponseHead> {
        self.answer.map_or_else(Error::head, Some)
    }

    pub fn account(&self) -> Option<&str> {
        self.call.path.get(1).copied()
    }

    pub fn share(&self) -> Option<&str> {
        self.call.path.get(3).copied()
    }

    /// What was asked for. The credential is in the headers, so it is not in here.
    pub fn url(&self) -> Url {
        let mut url = locate(self.base, &self.call.path);
        if !self.call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.call.query);
        }
        url
    }

    /// The path with a name in place of each id: `/accounts/{account_id}/shares`. Every second part of a path is an id.
    pub fn route(&self) -> String {
        let mut route = String::new();
        for pair in self.call.path.chunks(2) {
            route.push_str(&format!("/{}", pair[0]));
            if pair.len() == 2 {
                let one = pair[0].strip_suffix('s').unwrap_or(pair[0]).replace('-', "_");
                route.push_str(&format!("/{{{one}_id}}"));
            }
        }
        route
    }
}

struct Shared {
    http: RwLock<reqwest::Client>,
    options: Options,
    base: Url,
}

/// One call, before it is made.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub name: &'static str,
    pub method: Method,
    pub path: Vec<&'a str>,
    pub query: Query,
    pub body: Option<Value>,
    /// What it changes, for the log.
    pub change: Option<&'a str>,
}

impl Client {
    pub fn new(options: Options) -> Result<Client, SetupError> {
        Ok(Client {
            shared: Arc::new(Shared { http: RwLock::new(options.http()?), base: options.base()?, options }),
            observer: None,
        })
    }

    /// Tells of the end of each call that this client, or a clone of it, makes from now on.
    pub fn observed(self, observer: impl Fn(&Ended<'_>) + Send + Sync + 'static) -> Client {
        Client { observer: Some(Arc::new(observer)), ..self }
    }

    /// Trusts the authorities of this CA bundle in place of those of the one before, for connections made from now on,
    /// in all clones. Calls that are under way go on. A bundle that cannot be used changes nothing.
    pub fn trust(&self, ca_bundle: Vec<u8>) -> Result<(), SetupError> {
        let http = Options { ca_bundle: Some(ca_bundle), ..self.shared.options.clone() }.http()?;
        *self.shared.http.write().unwrap_or_else(PoisonError::into_inner) = http;
        Ok(())
    }

    fn http(&self) -> reqwest::Client {
        self.shared.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes one call once, reads its answer and leaves one line about it in the log.
    pub(super) async fn send<T>(
        &self,
        credential: &Credential,
        call: Call<'_>,
        read: impl Fn(&ResponseHead, &[u8]) -> Result<T, Error>,
    ) -> Result<Reply<T>, Error> {
        let started = Instant::now();
        let outcome = match self.exchange(credential, &call).await {
            Ok((head, body)) => read(&head, &body)
                .or_else(|error| match credential.redact(&body) {
                    Some(hidden) => read(&head, &hidden),
                    None => Err(error),
                })
                .map(|body| Reply { body, head }),
            Err(error) => Err(error),
        };
        let (answer, took) = (outcome.as_ref().map(|reply| &reply.head), started.elapsed());
        call.log(answer, took);
        if let Some(observe) = &self.observer {
            observe(&Ended { call: &call, base: &self.shared.base, answer, took });
        }
        outcome
    }

    async fn exchange(&self, credential: &Credential, call: &Call<'_>) -> Result<(ResponseHead, Vec<u8>), Error> {
        let request = self.request(credential, call)?;
        let Options { connect_timeout, answer_timeout, total_timeout, max_answer, .. } = self.shared.options;
        let deadline = Instant::now() + total_timeout;
        let patience = (connect_timeout + answer_timeout).min(total_timeout);
        let response = match timeout(patience, self.http().execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                return Err(Error::NotSent { cause: root(error) });
            }
            Ok(Err(error)) => return Err(Error::Lost { cause: root(error) }),
            Err(_) => {
                let cause = format!("none came within {patience:?}");
                return Err(Error::Lost { cause });
            }
        };
        let head = ResponseHead::read(response.status().as_u16(), response.headers());
        match timeout_at(deadline, body(response, max_answer)).await {
            Ok(Ok(body)) => Ok((head, body)),
            Ok(Err(what)) => Err(Error::garbled(&head, what)),
            Err(_) => {
                let what = format!("it did not end within {total_timeout:?}");
                Err(Error::garbled(&head, what))
            }
        }
    }

    fn request(&self, credential: &Credential, call: &Call<'_>) -> Result<Request, Error> {
        let unfit = |cause: &str| Error::NotSent { cause: cause.to_owned() };
        if !call.path.iter().all(|part| is_segment(part)) {
            return Err(unfit("an id that is empty, . or .. cannot be sent"));
        }
        let headers = credential.headers().map_err(|_| unfit("the credential does not fit into a header"))?;
        let mut request = self
            .http()
            .request(call.method.clone(), locate(&self.shared.base, &call.path))
            .headers(headers)
            .header(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        request.build().map_err(|error| unfit(&root(error)))
    }
}

impl Call<'_> {
    /// Changing calls are the record of what was done and always logged, reads only when asked for.
    fn log(&self, outcome: Result<&ResponseHead, &Error>, took: Duration) {
        let head = outcome.map_or_else(Error::head, Some);
        let (status, ray) = (head.map(|head| head.status), head.and_then(|head| head.ray.as_deref()));
        let (owner, share) = (self.path.get(1), self.path.get(3));
        let result = match outcome {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.method == Method::GET {
            debug!(call = self.name, method = %self.method, account = owner, share, result, status, ray, ms, "cloudflare call");
        } else {
            info!(call = self.name, change = self.change, method = %self.method, account = owner, share, result, status, ray, ms, "cloudflare call");
        }
    }
}

/// Whether a part can be a segment of a path: others would make it the path of something else.
pub(super) fn is_segment(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(char::is_control)
}

/// Each part becomes one segment of the path: what means something in a URL is encoded.
pub(super) fn locate(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

async fn body(mut response: Response, max: usize) -> Result<Vec<u8>, String> {
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(Vec::new());
    }
    let too_long = || Err(format!("it is longer than {max} bytes"));
    let announced = response.content_length().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced > max {
        return too_long();
    }
    let mut body = Vec::with_capacity(announced);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > max => return too_long(),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(format!("it broke off: {}", root(error))),
        }
    }
}

/// What is behind an error that wraps others.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What is behind an error of the HTTP client, without its URL.
fn root(error: reqwest::Error) -> String {
    clean(&innermost(&error.without_url()), super::error::MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_text::LogText;

    fn located(path: &[&str]) -> String {
        locate(&Url::parse("https://example.com/client/v4/").unwrap(), path).into()
    }

    #[test]
    fn every_part_is_one_segment_of_the_path() {
        assert_eq!(located(&["accounts", "a", "shares"]), "https://example.com/client/v4/accounts/a/shares");
        assert_eq!(
            located(&["accounts", "a/../b?c=d#e%2e \0é", "shares"]),
            "https://example.com/client/v4/accounts/a%2F..%2Fb%3Fc=d%23e%252e%20%00%C3%A9/shares"
        );
        assert_eq!(located(&["a.b_c~d:e=f@g+h-i"]), "https://example.com/client/v4/a.b_c~d:e=f@g+h-i");
    }

    #[test]
    fn an_id_that_would_make_another_path_is_never_sent() {
        let client = Client::new(Options::default()).unwrap();
        let credential = Credential::Token("x".into());
        let url = |id: &'static str| {
            let path = vec!["accounts", "a", "shares", "s", "recipients", id];
            let call = Call { name: "x", method: Method::DELETE, path, query: Query::new(), body: None, change: None };
            client.request(&credential, &call).map(|request| request.url().path().to_owned())
        };
        for unfit in ["", ".", "..", "a\tb", "\n"] {
            assert!(matches!(url(unfit), Err(Error::NotSent { .. })), "{unfit:?}");
        }
        let encoded = [
            ("../x", "..%2Fx"),
            ("/", "%2F"),
            ("%2e%2e", "%252e%252e"),
            (" ", "%20"),
            ("a?b#c", "a%3Fb%23c"),
            ("...", "..."),
            ("a\\b", "a%5Cb"),
        ];
        for (id, segment) in encoded {
            assert_eq!(url(id).unwrap(), format!("/client/v4/accounts/a/shares/s/recipients/{segment}"));
        }
    }

    fn seen(path: &[&'static str], query: Query) -> (String, String) {
        let call = Call { name: "x", method: Method::GET, path: path.to_vec(), query, body: None, change: None };
        let head = ResponseHead { status: 200, date: None, ray: None, limits: Default::default() };
        let base = Url::parse("https://example.com/client/v4").unwrap();
        let ended = Ended { call: &call, base: &base, answer: Ok(&head), took: Duration::ZERO };
        (ended.route(), ended.url().into())
    }

    #[test]
    fn the_route_of_a_call_has_no_id_and_its_url_has_all() {
        let one = |path: &[&'static str]| seen(path, Query::new()).0;
        assert_eq!(one(&["accounts", "a", "shares"]), "/accounts/{account_id}/shares");
        assert_eq!(one(&["organizations", "o", "shares"]), "/organizations/{organization_id}/shares");
        let (route, url) = seen(
            &["accounts", "a", "shares", "s", "excluded-recipients", "r"],
            vec![("page", "2".into()), ("order", "a b".into())],
        );
        assert_eq!(route, "/accounts/{account_id}/shares/{share_id}/excluded-recipients/{excluded_recipient_id}");
        let base = "https://example.com/client/v4";
        assert_eq!(url, format!("{base}/accounts/a/shares/s/excluded-recipients/r?page=2&order=a+b"));
    }

    #[test]
    fn a_credential_that_fits_no_header_is_never_sent() {
        let client = Client::new(Options::default()).unwrap();
        let credential = Credential::Token("canary\r\nx".into());
        let call =
            Call { name: "x", method: Method::GET, path: vec!["x"], query: Query::new(), body: None, change: None };
        let error = client.request(&credential, &call).unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    /// What a piece of code logs, as JSON lines.
    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let text = LogText::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = text.read();
        let lines = serde_json::Deserializer::from_str(&text).into_iter();
        lines.map(|line| line.unwrap()).collect()
    }

    #[test]
    fn a_changing_call_leaves_one_line_and_a_read_none() {
        let call = |method| Call {
            name: "rename_share",
            method,
            path: vec!["accounts", "a1", "shares", "s1"],
            query: Query::new(),
            body: Some(serde_json::json!({"name": "canary"})),
            change: Some("rename share s1"),
        };
        let head = ResponseHead { status: 200, date: None, ray: Some("8f1b-FRA".into()), limits: Default::default() };
        let took = Duration::from_millis(12);
        let lines = logged(|| {
            call(Method::GET).log(Ok(&head), took);
            call(Method::PUT).log(Ok(&head), took);
            let error = Error::Lost { cause: "no luck".into() };
            call(Method::PUT).log(Err(&error), took);
        });
        let fields: Vec<&Value> = lines.iter().map(|line| &line["fields"]).collect();
        let done = serde_json::json!({
            "message": "cloudflare call", "call": "rename_share", "change": "rename share s1", "method": "PUT", "account": "a1", "share": "s1",
            "result": "done", "status": 200, "ray": "8f1b-FRA", "ms": 12,
        });
        let lost = serde_json::json!({
            "message": "cloudflare call", "call": "rename_share", "change": "rename share s1", "method": "PUT", "account": "a1", "share": "s1",
            "result": "no usable response from Cloudflare: no luck", "ms": 12,
        });
        assert_eq!(fields, [&done, &lost]);
    }
}
