//! How do traces get to a collector? In batches, from a bounded queue, so that no pass waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use super::traces::Traces;
use crate::cloudflare::innermost;

/// Longest that the end of the process waits for the last traces.
const LAST: Duration = Duration::from_secs(3);
/// Longest that one batch takes, as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of a collector that is read.
const MAX_ANSWER: usize = 1 << 20;

/// Where traces go, as the flags and the standard variables say.
pub struct Destination {
    /// URL that batches are sent to.
    pub endpoint: String,
    /// PEM text with authorities to trust in addition to the system's.
    pub certificate: Option<Vec<u8>>,
    pub timeout: Option<Duration>,
    /// Unique name of this replica.
    pub instance: String,
}

/// What sends traces; by default nothing.
#[derive(Default)]
pub struct Exporter(Option<SdkTracerProvider>);

impl Exporter {
    /// Starts the thread that sends. Headers, sampler, limits and attributes of the resource come from the standard
    /// variables, which the SDK reads itself.
    pub fn start(to: Destination) -> anyhow::Result<Exporter> {
        let collector = Collector::new(&to)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_endpoint(&to.endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(to.timeout.unwrap_or(TIMEOUT))
            .build()?;
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(to.instance)).build();
        Ok(Exporter(Some(provider)))
    }

    pub fn traces(&self) -> Traces {
        self.0.as_ref().map(|provider| Traces::of(provider.tracer("cfshare"))).unwrap_or_default()
    }

    /// Sends what is left, within a bound.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        // It blocks, and the request that it waits for needs the runtime.
        let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
    }
}

/// Attributes of this process: those of the standard variables, otherwise our own.
fn resource(instance: String) -> Resource {
    let said = Resource::builder().build();
    let own = [
        KeyValue::new("service.name", "cfshare"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
    ];
    let unsaid = |key: &Key| said.get(key).is_none_or(|value| value.as_str().starts_with("unknown_service"));
    let own: Vec<KeyValue> = own.into_iter().filter(|attribute| unsaid(&attribute.key)).collect();
    Resource::builder().with_attributes(own).build()
}

/// The collector, over the HTTP client that calls Cloudflare too.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    /// The thread of the exporter does not belong to it.
    runtime: Handle,
    failing: Arc<AtomicBool>,
}

impl Collector {
    fn new(to: &Destination) -> anyhow::Result<Collector> {
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(to.timeout.unwrap_or(TIMEOUT))
            .user_agent(concat!("cfshare/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &to.certificate {
            http = http.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        Ok(Collector { http: http.build()?, runtime: Handle::try_current()?, failing: Arc::default() })
    }

    /// One line when it begins to fail, and one when that is over.
    fn tell(&self, outcome: Result<u16, String>) {
        let problem = match outcome {
            Ok(200..=299) => None,
            Ok(status) => Some(format!("it answered with status {status}")),
            Err(error) => Some(error),
        };
        let failed = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed => tracing::warn!(
                problem,
                "traces cannot be sent to the collector and are dropped until it accepts them; nothing else is affected. \
                 Check the OTLP endpoint, its headers and the NetworkPolicy"
            ),
            None if failed => tracing::info!("the collector accepts traces again"),
            Some(_) | None => {}
        }
    }
}

type Sending<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'life0, 'async_trait>(&'life0 self, request: Request<Bytes>) -> Sending<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let sent = self.runtime.spawn(send(self.http.clone(), request)).await;
            let answer = sent.unwrap_or_else(|failed| Err(failed.to_string()));
            self.tell(answer.as_ref().map(|answer| answer.status().as_u16()).map_err(Clone::clone));
            answer.map_err(HttpError::from)
        })
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let cause = |error: reqwest::Error| innermost(&error.without_url());
    let request = reqwest::Request::try_from(request).map_err(cause)?;
    let mut answer = http.execute(request).await.map_err(cause)?;
    let (headers, mut body) = (std::mem::take(answer.headers_mut()), Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(cause)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("its answer is longer than {MAX_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = headers;
    Ok(response)
}
