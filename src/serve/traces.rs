//! One trace of each pass and each sweep, with its calls to Cloudflare.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions where there are any, and begin with `cfshare.`
//! otherwise. Nothing here knows a credential.

use std::sync::Arc;
use std::time::SystemTime;

use futures::future::Either;
use opentelemetry::context::{FutureExt, WithContext};
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use crate::api::ObjectKey;
use crate::cloudflare::{Ended, Error};
use crate::core::id::AccountId;

/// Makes traces, or, by default, none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<SdkTracer>>);

/// The trace of one pass or sweep that is under way, if there are traces.
pub struct Trace(Option<Context>);

impl Traces {
    pub fn of(tracer: SdkTracer) -> Traces {
        Traces(Some(Arc::new(tracer)))
    }

    pub fn pass(&self, object: &ObjectKey, generation: i64) -> Trace {
        self.begin(|| {
            let attributes = vec![
                KeyValue::new("k8s.namespace.name", object.name.namespace.to_string()),
                KeyValue::new("cfshare.object.kind", object.kind.to_string()),
                KeyValue::new("cfshare.object.name", object.name.name.to_string()),
                KeyValue::new("cfshare.object.generation", generation),
            ];
            (format!("reconcile {}", object.kind), attributes)
        })
    }

    pub fn sweep(&self, account: &AccountId) -> Trace {
        self.begin(|| ("sweep".to_owned(), vec![KeyValue::new("cfshare.account.id", account.to_string())]))
    }

    fn begin(&self, describe: impl FnOnce() -> (String, Vec<KeyValue>)) -> Trace {
        Trace(self.0.as_deref().map(|tracer| {
            let (name, attributes) = describe();
            let root = Context::new();
            let span = tracer.span_builder(name).with_attributes(attributes).start_with_context(tracer, &root);
            root.with_span(span)
        }))
    }

    /// What the pass under way says of its object.
    pub fn concluded(&self, reason: &'static str) {
        if self.0.is_some() {
            Context::current().span().set_attribute(KeyValue::new("cfshare.object.reason", reason));
        }
    }

    /// A call to Cloudflare ended, in the pass or sweep that made it.
    pub fn call(&self, ended: &Ended<'_>) {
        let Some(tracer) = self.0.as_deref() else { return };
        let now = SystemTime::now();
        let mut span = tracer
            .span_builder(format!("{} {}", ended.method(), ended.route()))
            .with_kind(SpanKind::Client)
            .with_start_time(now.checked_sub(ended.took).unwrap_or(now))
            .with_attributes(attributes(ended))
            .start_with_context(tracer, &Context::current());
        if let Err(error) = ended.answer {
            span.set_status(Status::error(error.to_string()));
        }
        span.end_with_timestamp(now);
    }
}

impl Trace {
    /// Calls that this work makes belong to the trace.
    pub fn around<F: Future>(&self, work: F) -> Either<WithContext<F>, F> {
        match &self.0 {
            Some(context) => Either::Left(work.with_context(context.clone())),
            None => Either::Right(work),
        }
    }

    /// Ends it; `failed`: the work ended with this error.
    pub fn end(self, outcome: &'static str, failed: Option<&dyn std::fmt::Display>) {
        if let Some(context) = self.0 {
            let span = context.span();
            span.set_attribute(KeyValue::new("cfshare.outcome", outcome));
            if let Some(error) = failed {
                span.set_status(Status::error(error.to_string()));
            }
            span.end();
        }
    }
}

/// A header of an answer, as the conventions write it: a list of values.
fn header(name: &'static str, value: String) -> KeyValue {
    KeyValue::new(name, Value::Array(Array::String(vec![StringValue::from(value)])))
}

fn attributes(ended: &Ended<'_>) -> Vec<KeyValue> {
    let url = ended.url();
    let mut attributes = vec![
        KeyValue::new("http.request.method", ended.method().to_owned()),
        KeyValue::new("url.template", ended.route()),
        KeyValue::new("server.address", url.host_str().unwrap_or_default().to_owned()),
        KeyValue::new("server.port", i64::from(url.port_or_known_default().unwrap_or_default())),
        KeyValue::new("url.full", String::from(url)),
        KeyValue::new("cfshare.call", ended.call()),
    ];
    let ids = [("cfshare.account.id", ended.account()), ("cfshare.share.id", ended.share())];
    attributes.extend(ids.into_iter().filter_map(|(name, id)| Some(KeyValue::new(name, id?.to_owned()))));
    if let Some(head) = ended.head() {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(head.status)));
        attributes.extend(head.ray.clone().map(|ray| header("http.response.header.cf-ray", ray)));
        let wait = head.limits.retry_after.map(|wait| wait.as_secs().to_string());
        attributes.extend(wait.map(|wait| header("http.response.header.retry-after", wait)));
    }
    if let Err(error) = ended.answer {
        attributes.push(KeyValue::new("error.type", error_type(error)));
        attributes.push(KeyValue::new("cfshare.error.class", error.class().word()));
    }
    attributes
}

/// The status of a refusal, or what happened instead of an answer.
fn error_type(error: &Error) -> String {
    match error {
        Error::Answered { status, .. } | Error::Garbled { status: status @ 400.., .. } => status.to_string(),
        Error::Garbled { .. } => "unusable".to_owned(),
        Error::NotSent { .. } => "not_sent".to_owned(),
        Error::Withheld => "withheld".to_owned(),
        Error::Lost { .. } => "lost".to_owned(),
    }
}
