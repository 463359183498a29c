//! How one kind in one scope runs: its stream, its queue, and each pass in a task of its own.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::Api;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config as ControllerConfig, Error as ControllerError};
use kube::runtime::reflector::{self, Store};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use super::cluster::guarded::Guarded;
use super::pass::Pass;
use super::{conditions, delays};
use crate::api::{Kind, Name, ObjectKey, Reason};
use crate::core::health::{self, Sign};
use crate::core::time::At;
use crate::operator::cluster::feed::{Feed, SharedWriter};
use crate::operator::cluster::listwatch;
use crate::operator::cluster::reconciled::{Reconciled, reports_generation};
use crate::operator::cluster::requests::api_in;
use crate::operator::cluster::work_queue::WorkQueue;
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::stop::Stop;
use crate::serve::Health;
use crate::serve::traces::Trace;

/// When to come back after [`Stop::Occupied`], though the end of the other pass requeues the object.
const OCCUPIED_RETRY: Duration = Duration::from_secs(2);
/// So much later for each object that waits for the same share: thousands that come back are work of their own.
const OCCUPIED_RETRY_PER_OBJECT: Duration = Duration::from_millis(10);
/// An object without conditions waits for so long until its status says that it waits.
const SILENT: Duration = Duration::from_secs(20);
/// When to come back after [`Stop::Crowded`].
const CROWDED_RETRY: Duration = Duration::from_millis(200);
/// When to come back after a panic.
const PANIC_RETRY: Duration = Duration::from_secs(60);
/// When to come back to an object that is too large with its status: an edit comes before.
const TOO_LARGE_RETRY: Duration = Duration::from_secs(600);
/// How many passes over objects of one kind run at a time, in each scope.
const CONCURRENCY: u16 = 32;

/// What a pass over one object does. It ends with the time after which the object is looked at again, if at all.
pub type PassOver<K> = fn(Arc<Context>, Arc<K>) -> BoxFuture<'static, Result<Option<Duration>, Stop>>;

/// One scope's store of a kind, what fills it, and who is to be looked at.
pub struct Reflector<K: Reconciled> {
    pub store: Store<K>,
    pub queue: Arc<WorkQueue>,
    writer: SharedWriter<K>,
}

impl<K: Reconciled> Reflector<K> {
    pub fn new() -> Reflector<K> {
        let (store, writer) = reflector::store();
        let queue = Arc::new(WorkQueue::new(CONCURRENCY.into()));
        Reflector { store, queue, writer: Arc::new(parking_lot::Mutex::new(writer)) }
    }
}

/// One namespace or all of them, and what its three controllers have in common.
#[derive(Clone)]
pub struct Scope {
    pub context: Arc<Context>,
    pub namespace: Option<String>,
    /// Its place among all scopes.
    pub at: usize,
    /// Turns true once the scope is served: before that nothing is decided.
    pub served: watch::Receiver<bool>,
    pub health: Health,
    /// Those under way.
    pub passes: TaskTracker,
}

impl Scope {
    /// Runs one kind for as long as it is polled. What is under way goes on when it is dropped.
    pub fn control<K: Reconciled>(&self, reflector: &Reflector<K>, pass: PassOver<K>) -> BoxFuture<'static, ()> {
        let api: Api<Guarded<K>> = api_in(&self.context.cluster.kube, self.namespace.as_deref());
        let (health, at, metrics) = (self.health.clone(), self.at, self.context.metrics.clone());
        let report = move |sign| {
            if let Sign::Failed(cause) = sign {
                metrics.watch_failure(cause);
            }
            let note = |state: &mut health::Health<Kind>, now| state.note(at, K::KIND, sign, now);
            // Each object of a list is progress, and nothing is served because of it.
            if sign == Sign::Progress { health.ask(note) } else { health.note(note) }
        };
        let (context, cluster) = (self.context.clone(), self.context.cluster.clone());
        let deleted = move |object: &ObjectKey| context.forget(object);
        let feed = Feed::new(self.namespace.clone(), cluster, reflector.writer.clone(), report, deleted);
        let stream = listwatch::stream(api, feed);
        let controller = Controller::for_stream(stream, reflector.store.clone())
            .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
            .reconcile_on(reflector.queue.clone().references());
        let (served, passes, queue) = (self.served.clone(), self.passes.clone(), reflector.queue.clone());
        let reconcile = move |object: Arc<K>, context: Arc<Context>| {
            queue.begun(&Name::of(object.as_ref()));
            let (mut served, passes) = (served.clone(), passes.clone());
            async move {
                // Closed only while the process ends.
                let is_served = served.wait_for(|served| *served).await.is_ok();
                Ok::<Action, Infallible>(match is_served {
                    true => reconcile(context, object, pass, passes).await,
                    false => Action::await_change(),
                })
            }
        };
        let failed = |_: Arc<K>, never: &Infallible, _: Arc<Context>| match *never {};
        let (queue, context) = (reflector.queue.clone(), self.context.clone());
        let ended = controller.run(reconcile, failed, self.context.clone());
        Box::pin(ended.for_each(move |ended| {
            if let Err(ControllerError::ObjectNotFound(gone)) = ended {
                let name = Name::new(gone.namespace.unwrap_or_default(), gone.name);
                queue.begun(&name);
                // A pass that ended after the object went may have left something to remember.
                context.forget(&K::key(name));
            }
            std::future::ready(())
        }))
    }
}

/// One pass, and what comes before and after it: a panic in any of these is this object's alone.
async fn reconcile<K: Reconciled>(
    context: Arc<Context>,
    object: Arc<K>,
    pass: PassOver<K>,
    passes: TaskTracker,
) -> Action {
    let metrics = context.metrics.clone();
    let key = K::key(Name::of(object.as_ref()));
    let work = AssertUnwindSafe(run_pass(context, object, pass, passes));
    work.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(object = %key, "panic while reconciling an object");
        metrics.panic();
        Action::requeue(PANIC_RETRY)
    })
}

/// The pass runs in a task of its own, since it goes on when the controller ends.
async fn run_pass<K: Reconciled>(
    context: Arc<Context>,
    object: Arc<K>,
    pass: PassOver<K>,
    passes: TaskTracker,
) -> Action {
    if context.shutdown.is_cancelled() {
        return Action::await_change();
    }
    let object = K::cache(&context.cluster.index).latest(object);
    let key = K::key(Name::of(object.as_ref()));
    if K::cache(&context.cluster.index).is_unreadable(&key.name) {
        return Action::await_change();
    }
    if !K::cache(&context.cluster.index).is_in_scope(object.as_ref()) {
        context.forget(&key);
        return Action::await_change();
    }
    let began = context.clock.now();
    let version = object.meta().resource_version.as_deref().unwrap_or_default();
    if let Some(left) = context.memories.held_for(&key, version, began) {
        return Action::requeue(left);
    }
    let working = match enter(&context, &object, began).await {
        Ok(working) => working,
        Err(action) => return action,
    };
    let generation = object.meta().generation.unwrap_or(0);
    let span = tracing::info_span!("pass", object = %key, generation);
    let trace = context.remote.traces.pass(&key, generation);
    let started = std::time::Instant::now();
    let one = pass(context.clone(), object.clone());
    let task = async move {
        let ended = one.await;
        drop(working);
        ended
    };
    let ended = passes.spawn(trace.around(task.instrument(span.clone()))).await;
    end(trace, &ended);
    context.metrics.pass(key.kind, started.elapsed());
    match &ended {
        Ok(Err(Stop::Queued)) => {
            context.memories.waits(&key, began, reports_generation(object.as_ref()));
        }
        Ok(Err(Stop::Occupied { .. } | Stop::Crowded)) => {}
        Ok(Ok(None)) => context.memories.settles(&key),
        Ok(_) | Err(_) => context.memories.stopped_waiting(&key),
    }
    match ended {
        Ok(Err(stop)) if stop.is_too_large() => report_too_large(context, object).instrument(span).await,
        Ok(ended) => when_next(context, object, began, ended).instrument(span).await,
        Err(panic) => report_panic(context, object, &panic).await,
    }
}

async fn report_panic<K: Reconciled>(context: Arc<Context>, object: Arc<K>, panic: &JoinError) -> Action {
    tracing::error!(object = %K::key(Name::of(object.as_ref())), %panic, "panic while reconciling an object");
    context.metrics.panic();
    let verdict = Verdict::stalled(
        Reason::InternalError,
        "internal error while reconciling this object; cfshare retries automatically. See the operator's log for the \
         cause, and please report it",
    );
    let object = K::cache(&context.cluster.index).latest(object);
    let _ = Pass::begin(context, object).finish(verdict).await;
    Action::requeue(PANIC_RETRY)
}

/// What was to be recorded could not be, so nothing was done that needs the record. The status as it is, with what is wrong
/// in its conditions, is small enough.
async fn report_too_large<K: Reconciled>(context: Arc<Context>, object: Arc<K>) -> Action {
    let object = K::cache(&context.cluster.index).latest(object);
    let verdict = Verdict::stalled(
        Reason::Invalid,
        "the object with its status is too large for Kubernetes (etcd takes 1.5 MiB), so cfshare can record nothing more and \
         changes nothing more at Cloudflare: declare recipients in ShareRecipient and resources in ShareResource objects",
    );
    let verdict = verdict.requeue_after(TOO_LARGE_RETRY);
    if let Err(stop) = Pass::begin(context, object).finish(verdict).await {
        tracing::warn!(
            ?stop,
            "an object is too large for Kubernetes with its status, and that cannot be reported there"
        );
    }
    Action::requeue(TOO_LARGE_RETRY)
}

/// An object of which nothing was ever reported says that it waits for its turn, once it has waited for a while.
async fn report_waiting<K: Reconciled>(context: Arc<Context>, object: Arc<K>) -> Action {
    let object = K::cache(&context.cluster.index).latest(object);
    let is_silent = object.status().is_none_or(|status| conditions::readiness(&status.as_ref().conditions).is_none());
    let waiting_since = context.memories.waiting_since(&K::key(Name::of(object.as_ref())));
    let Some(since) = waiting_since.filter(|_| is_silent) else { return Action::await_change() };
    let left = SILENT.saturating_sub(context.clock.now().since(since));
    if !left.is_zero() {
        return Action::requeue(left);
    }
    let message = "cfshare limits its calls to Cloudflare, and this object has to wait for its turn: the list of the account's \
                   shares, edits, or other programs of the token's user come before. It goes on automatically";
    match Pass::begin(context, object).finish(Verdict::unknown(Reason::Throttled, message)).await {
        Ok(Some(after)) => Action::requeue(after),
        Ok(None) => Action::await_change(),
        Err(stop) => {
            tracing::warn!(?stop, "cannot report that an object waits");
            Action::requeue(delays::TRANSIENT)
        }
    }
}

/// What the trace of a pass says of its end.
fn end(trace: Trace, ended: &Result<Result<Option<Duration>, Stop>, JoinError>) {
    match ended {
        Ok(Ok(_)) => trace.end("done", None),
        Ok(Err(stop)) => match stop {
            Stop::Queued => trace.end("queued", None),
            Stop::Occupied { .. } | Stop::Crowded => trace.end("occupied", None),
            Stop::Conflict => trace.end("conflict", None),
            Stop::Stopping => trace.end("stopping", None),
            Stop::Late => trace.end("late", None),
            Stop::Cloudflare(error) => trace.end("cloudflare_failed", Some(error)),
            Stop::Kubernetes(error) => trace.end("kubernetes_failed", Some(error)),
        },
        Err(panic) => trace.end("panicked", Some(panic)),
    }
}

/// The right to work on the object, or what to do instead: the objects of other shards are looked after by others.
async fn enter<K: Reconciled>(context: &Arc<Context>, object: &Arc<K>, now: At) -> Result<TaskTrackerToken, Action> {
    let cluster = &context.cluster;
    let account = object.account(&cluster.index);
    let shard = cluster.shard_of(account.as_deref());
    let namespace = &Name::of(object.as_ref()).namespace;
    let working = cluster.shards.enter(shard, namespace).ok_or_else(Action::await_change)?;
    // Another process may know the Share already that this one does not, and look after its child objects.
    if account.is_none() && cluster.shards.are_many() {
        match cluster.has_parent(object.as_ref()).await {
            Ok(true) => return Err(Action::requeue(delays::RECHECK)),
            Ok(false) => {}
            Err(stop) => {
                let wait = Pass::begin(context.clone(), object.clone()).unserved(&stop, now).await;
                return Err(Action::requeue(wait));
            }
        }
    }
    Ok(working)
}

/// When the object is looked at again after a pass that began then, and what is reported of one that ended otherwise than with
/// a verdict.
async fn when_next<K: Reconciled>(
    context: Arc<Context>,
    object: Arc<K>,
    began: At,
    ended: Result<Option<Duration>, Stop>,
) -> Action {
    let stop = match ended {
        Ok(Some(after)) => return Action::requeue(after.max(Duration::from_millis(20))),
        Ok(None) => return Action::await_change(),
        Err(stop) => stop,
    };
    match &stop {
        // Woken by the limiter or the sweep.
        Stop::Queued => report_waiting(context, object).await,
        Stop::Occupied { waiting } => Action::requeue(OCCUPIED_RETRY.max(OCCUPIED_RETRY_PER_OBJECT * *waiting)),
        Stop::Crowded => Action::requeue(CROWDED_RETRY),
        Stop::Stopping | Stop::Late => Action::requeue(delays::RECHECK),
        Stop::Conflict | Stop::Kubernetes(_) => {
            Action::requeue(Pass::begin(context, object).unserved(&stop, began).await)
        }
        Stop::Cloudflare(error) => {
            tracing::warn!(%error, "request to Cloudflare failed");
            Action::requeue(delays::TRANSIENT)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use kube::core::Status;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Share;
    use crate::operator::clock::Clock;
    use crate::operator::cluster::work_queue::Requeuer;
    use crate::operator::pass::share_locks::ShareLocks;
    use crate::operator::{cluster, remote};
    use crate::serve::metrics::Metrics;

    fn share(name: &str) -> Value {
        json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": name, "namespace": "a", "uid": name, "generation": 3, "resourceVersion": "1"},
            "spec": {"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "recipients": [], "resources": []},
        })
    }

    /// Paths and what was patched there.
    type Patched = Arc<Mutex<Vec<(String, Value)>>>;

    /// An API server that takes every patch.
    fn server() -> (kube::Client, Patched) {
        let patched = Arc::new(Mutex::new(Vec::new()));
        let taken = patched.clone();
        let server = tower::service_fn(move |request: Request<Body>| {
            let taken = taken.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let path = head.uri.path().to_owned();
                let mut answer = share(path.split('/').rev().find(|part| *part != "status").unwrap_or_default());
                answer["status"] = body["status"].clone();
                if head.method == Method::PATCH {
                    taken.lock().push((path, body));
                }
                Ok::<_, std::io::Error>(Response::new(Body::from(answer.to_string().into_bytes())))
            }
        });
        (kube::Client::new(server, "a"), patched)
    }

    fn context(kube: kube::Client, shares: &[Share]) -> Arc<Context> {
        let (metrics, clock) = (Arc::<Metrics>::default(), Clock::SYSTEM);
        let remote = remote::samples::remote(kube.clone(), remote::samples::client(), metrics.clone(), clock);
        Arc::new(Context {
            settings: remote.settings.clone(),
            clock,
            cluster: Arc::new(cluster::samples::cluster(kube, shares, metrics.clone(), clock)),
            remote: Arc::new(remote),
            memories: Default::default(),
            metrics,
            shutdown: Default::default(),
            deletions: Default::default(),
            next_shared_status: Default::default(),
            refusals_reported: Default::default(),
            namespaces_warned_of: Default::default(),
            share_locks: Arc::new(ShareLocks::new(Arc::new(Requeuer::new(Vec::new())))),
        })
    }

    async fn is_too_large(_: Arc<Context>, _: Arc<Share>) -> Result<Option<Duration>, Stop> {
        let status = Status { code: 500, message: "etcdserver: request is too large".to_owned(), ..Status::default() };
        Err(kube::Error::Api(status.boxed()).into())
    }

    #[tokio::test]
    async fn an_object_that_is_too_large_with_its_status_says_so_and_keeps_what_is_recorded() {
        let (kube, patched) = server();
        let mut recorded = share("big");
        recorded["status"] = json!({"observedGeneration": 1, "boundUID": "big", "shareID": "one"});
        let object: Share = serde_json::from_value(recorded).expect("a Share");
        let context = context(kube, std::slice::from_ref(&object));
        let pass: PassOver<Share> = |context, object| Box::pin(is_too_large(context, object));
        let next = reconcile(context, Arc::new(object), pass, TaskTracker::new()).await;
        assert_eq!(next, Action::requeue(TOO_LARGE_RETRY));
        let patched = patched.lock();
        let statuses: Vec<&Value> =
            patched.iter().filter(|(path, _)| path.ends_with("/status")).map(|(_, p)| p).collect();
        let [patch] = statuses.as_slice() else { panic!("not one status was written: {statuses:#?}") };
        let fields = patch["status"].as_object().expect("a status");
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["conditions", "observedGeneration"], "{patch:#}");
        let ready = &patch["status"]["conditions"][0];
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Invalid")), "{patch:#}");
        assert!(ready["message"].as_str().is_some_and(|said| said.contains("ShareResource objects")), "{patch:#}");
    }

    async fn panics_on_one(_: Arc<Context>, object: Arc<Share>) -> Result<Option<Duration>, Stop> {
        assert!(Name::of(object.as_ref()).name != "bad", "on purpose");
        Ok(Some(Duration::from_secs(7)))
    }

    #[tokio::test]
    async fn a_panic_in_a_pass_is_told_by_its_object_counted_and_no_other_objects() {
        let (kube, patched) = server();
        let [bad, good]: [Share; 2] = ["bad", "good"].map(|name| serde_json::from_value(share(name)).expect("a Share"));
        let context = context(kube, &[bad.clone(), good.clone()]);
        let passes = TaskTracker::new();
        let pass: PassOver<Share> = |context, object| Box::pin(panics_on_one(context, object));
        let one = |object| reconcile(context.clone(), Arc::new(object), pass, passes.clone());
        assert_eq!(one(bad).await, Action::requeue(PANIC_RETRY));
        assert_eq!(one(good).await, Action::requeue(Duration::from_secs(7)));
        let shown = context.metrics.render();
        assert!(shown.contains("cfshare_panics_total 1\n"), "{shown}");
        let statuses: Vec<(String, Value)> =
            patched.lock().iter().filter(|(path, _)| path.ends_with("/status")).cloned().collect();
        let [(path, patch)] = statuses.as_slice() else { panic!("not one status was written: {statuses:#?}") };
        assert!(path.ends_with("/namespaces/a/shares/bad/status"), "{path}");
        assert_eq!(patch["status"]["observedGeneration"], 3, "{patch:#}");
        let conditions = patch["status"]["conditions"].as_array().expect("conditions");
        for (kind, status) in [("Ready", "False"), ("Stalled", "True")] {
            let said = conditions.iter().find(|condition| condition["type"] == kind).expect("it");
            assert_eq!((&said["status"], &said["reason"]), (&json!(status), &json!("InternalError")), "{patch:#}");
        }
        // A process that ends waits for passes: one that panicked must not keep it.
        passes.close();
        assert!(tokio::time::timeout(Duration::from_secs(5), passes.wait()).await.is_ok());
    }
}
