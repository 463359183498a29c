//! How one kind in one scope runs: its stream, its queue, and each pass in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, stream};
use kube::Api;
use kube::core::DeserializeGuard;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument;

use super::delays;
use super::pass::Pass;
use super::queue::Queue;
use crate::api::Reason;
use crate::api::{Name, ObjectKey};
use crate::core::health::Sign;
use crate::operator::cluster::events::Note;
use crate::operator::cluster::record::Recorded;
use crate::operator::cluster::store::Store;
use crate::operator::cluster::watch as watches;
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::stop::Stop;
use crate::serve::Health;

/// When to come back while another object of the same share is being worked on.
const OCCUPIED: Duration = Duration::from_millis(200);
/// How many objects of one kind are looked at at once.
const CONCURRENCY: usize = 64;

/// One namespace or all of them, and what its three controllers have in common.
#[derive(Clone)]
pub struct Scope {
    pub context: Arc<Context>,
    pub kube: kube::Client,
    pub namespace: Option<String>,
    /// Its place among all scopes.
    pub at: usize,
    pub selector: Option<String>,
    /// Turns true once the scope is served: before that nothing is decided.
    pub served: watch::Receiver<bool>,
    pub health: Health,
    /// Each pass has one of these; when all are gone, no pass is under way.
    pub under_way: mpsc::Sender<()>,
}

impl Scope {
    /// Runs one kind for as long as it is polled. What is under way goes on when it is dropped.
    pub fn control<K, F>(
        &self,
        store: Arc<Store<K>>,
        names: UnboundedReceiver<Name>,
        pass: fn(Arc<Context>, Arc<K>) -> F,
    ) -> BoxFuture<'static, ()>
    where
        K: Recorded,
        F: Future<Output = Result<Option<Duration>, Stop>> + Send + 'static,
    {
        let api: Api<DeserializeGuard<K>> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.kube.clone(), namespace),
            None => Api::all(self.kube.clone()),
        };
        let (health, at, metrics) = (self.health.clone(), self.at, self.context.metrics.clone());
        let report = move |sign| {
            if let Sign::Failed(cause) = sign {
                metrics.watch_failure(cause);
            }
            health.note(|health, now| health.note(at, K::KIND, sign, now));
        };
        let selector = self.selector.clone();
        let context = self.context.clone();
        let deleted = move |object: &ObjectKey| context.forget(object);
        let cluster = self.context.cluster.clone();
        let changed = watches::stream(api, self.namespace.clone(), selector, store, cluster, report, deleted);
        let (context, served, under_way) = (self.context.clone(), self.served.clone(), self.under_way.clone());
        let reconcile = move |name: Name| {
            let (context, mut served, under_way) = (context.clone(), served.clone(), under_way.clone());
            async move {
                // Closed only while the process ends.
                let is_served = served.wait_for(|served| *served).await.is_ok();
                let object = K::cache(&context.cluster.index).find(&name).filter(|_| is_served)?;
                reconcile(context, object, pass, under_way).await
            }
        };
        Box::pin(work_off(stream::select(changed, names), reconcile))
    }
}

/// Looks at each object that is named, at many at once but never twice at one, and again after the time that each look
/// returns.
async fn work_off<F>(names: impl Stream<Item = Name>, look: impl Fn(Name) -> F)
where
    F: Future<Output = Option<Duration>>,
{
    let mut queue = Queue::default();
    let mut looks = FuturesUnordered::new();
    let mut names = std::pin::pin!(names.fuse());
    loop {
        let now = Instant::now();
        while queue.running() < CONCURRENCY
            && let Some(name) = queue.take(now)
        {
            let one = look(name.clone());
            looks.push(async move { (name, one.await) });
        }
        let next = queue.next().filter(|_| queue.running() < CONCURRENCY);
        tokio::select! {
            name = names.next() => match name {
                Some(name) => queue.add(name, Instant::now()),
                // Only while the process ends.
                None => return,
            },
            Some((name, again)) = looks.next() => {
                let now = Instant::now();
                queue.ended(&name, now);
                if let Some(at) = again.and_then(|after| now.checked_add(after)) {
                    queue.add(name, at);
                }
            }
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}

/// One pass in a task of its own: it goes on when the controller ends, and a panic in it is this object's alone.
async fn reconcile<K, F>(
    context: Arc<Context>,
    object: Arc<K>,
    pass: fn(Arc<Context>, Arc<K>) -> F,
    under_way: mpsc::Sender<()>,
) -> Option<Duration>
where
    K: Recorded,
    F: Future<Output = Result<Option<Duration>, Stop>> + Send + 'static,
{
    if context.shutdown.is_cancelled() {
        return None;
    }
    let object = K::cache(&context.cluster.index).latest(object);
    let key = K::key(Name::of(object.as_ref()));
    if K::cache(&context.cluster.index).is_unreadable(&key.name) {
        return None;
    }
    let generation = object.meta().generation.unwrap_or(0);
    let began = context.clock.now();
    let span = tracing::info_span!("pass", object = %key, generation);
    let started = std::time::Instant::now();
    let one = pass(context.clone(), object.clone());
    let task = async move {
        let ended = one.await;
        drop(under_way);
        ended
    };
    let ended = tokio::spawn(task.instrument(span.clone())).await;
    context.metrics.pass(key.kind, started.elapsed());
    match &ended {
        Ok(Err(Stop::Queued)) => context.memories.waits(&key, Some(began)),
        Ok(Err(Stop::Occupied)) => {}
        Ok(_) | Err(_) => context.memories.waits(&key, None),
    }
    match ended {
        Ok(ended) => span.in_scope(|| when_next(context, object, ended)),
        Err(panic) => {
            tracing::error!(object = %key, %panic, "panic while reconciling an object");
            context.metrics.panic();
            let verdict = Verdict::stalled(
                Reason::InternalError,
                "internal error while reconciling this object; cfshare retries automatically. See the operator's log for the \
                 cause, and please report it",
            );
            let _ = Pass::begin(context, object).finish(verdict).await;
            Some(Duration::from_secs(60))
        }
    }
}

/// When the object is looked at again, and what is told of a pass that ended otherwise than with a verdict.
fn when_next<K: Recorded>(
    context: Arc<Context>,
    object: Arc<K>,
    ended: Result<Option<Duration>, Stop>,
) -> Option<Duration> {
    let is_deleting = object.meta().deletion_timestamp.is_some();
    let stop = match ended {
        Ok(Some(after)) => return Some(after.max(Duration::from_millis(20))),
        Ok(None) => return None,
        Err(stop) => stop,
    };
    match stop {
        // Woken by the budget or the sweep; this is for the case that the wake is lost.
        Stop::Queued => Some(Duration::from_secs(60)),
        Stop::Occupied => Some(OCCUPIED),
        Stop::Conflict => Some(Duration::from_millis(300)),
        Stop::Stopping | Stop::Late => Some(delays::SHORT),
        Stop::Kubernetes(kube::Error::Api(status)) if status.code == 404 => None,
        Stop::Kubernetes(kube::Error::Api(status)) if status.code == 403 && is_deleting => {
            tracing::warn!(error = %status.message, "the API server forbids a request that the deletion of this object requires");
            context.metrics.deletion_forbidden();
            let message = format!(
                "the deletion cannot finish, because the API server forbids a request by cfshare: {}. Grant the permission, \
                 or remove the finalizer cfshare.dev/finalizer, which leaves at Cloudflare what is still there",
                status.message
            );
            Pass::begin(context, object).event_once(Note::warning_of("DeletionForbidden"), message);
            Some(delays::TRANSIENT)
        }
        Stop::Kubernetes(error) => {
            tracing::warn!(%error, "request to the API server failed");
            Some(delays::TRANSIENT)
        }
        Stop::Cloudflare(error) => {
            tracing::warn!(%error, "request to Cloudflare failed");
            Some(delays::TRANSIENT)
        }
    }
}
