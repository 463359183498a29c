//! How the operator starts, runs its three controllers while it leads, and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::predicates;
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::{Controller, Predicate, WatchStreamExt};
use tokio::sync::watch;
use tracing::Instrument;

use super::clock::Clock;
use super::key::{Kind, Name};
use super::pass::Pass;
use super::waits;
use crate::api::{Reason, Share, ShareRecipient, ShareResource};
use crate::cloudflare::Client;
use crate::core::pace::Rate;
use crate::operator::cluster::events::{Events, Note};
use crate::operator::cluster::leader;
use crate::operator::cluster::leader::{Election, Leadership};
use crate::operator::cluster::objects::Objects;
use crate::operator::cluster::outside::Outside;
use crate::operator::cluster::record::{Recorded, Records};
use crate::operator::cluster::wakes;
use crate::operator::cluster::wakes::Wakes;
use crate::operator::cluster::watch as watches;
use crate::operator::pass::context::{Context, Settings};
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::access::Stop;
use crate::operator::remote::budget::Budgets;
use crate::operator::remote::credentials::{Credentials, FRESH};
use crate::operator::remote::sweep;
use crate::operator::{child, gauges, share};
use crate::serve::Readiness;
use crate::serve::metrics::Metrics;

/// When to come back while another object of the same share is being worked on.
const OCCUPIED: Duration = Duration::from_millis(200);
/// How many objects of one kind are looked at at once.
const CONCURRENCY: u16 = 64;

/// Where and as whom replicas compete.
#[derive(Debug, Clone)]
pub struct Lead {
    pub namespace: String,
    pub name: String,
    pub identity: String,
    pub duration: Duration,
}

pub struct Options {
    pub kube: kube::Client,
    pub cloudflare: Client,
    pub settings: Settings,
    pub rate: Rate,
    /// Empty: all.
    pub namespaces: Vec<String>,
    pub selector: Option<String>,
    pub lead: Option<Lead>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
}

/// Runs until `shutdown` turns true, or until a held lease is lost.
pub async fn run(options: Options, mut shutdown: watch::Receiver<bool>) -> anyhow::Result<()> {
    let leadership = match &options.lead {
        None => Leadership::always(),
        Some(lead) => {
            let api = Api::namespaced(options.kube.clone(), &lead.namespace);
            let (election, leadership) = Election::new(api, &lead.name, lead.identity.clone(), lead.duration);
            let (leads_sender, mut leads) = watch::channel(false);
            let election = tokio::spawn(election.run(leads_sender));
            options.readiness.stand_by();
            tokio::select! {
                changed = leads.wait_for(|leads| *leads) => { changed?; }
                _ = shutdown.wait_for(|down| *down) => return Ok(()),
            }
            let ended = work(&options, leadership, shutdown, Some(leads)).await;
            // It would take back what is given back below.
            election.abort();
            let _ = election.await;
            let api = Api::namespaced(options.kube.clone(), &lead.namespace);
            leader::release(&api, &lead.name, &lead.identity).await;
            return ended;
        }
    };
    work(&options, leadership, shutdown, None).await
}

/// One scope's streams and stores of all kinds.
type Shelf<K> = (Store<K>, Arc<std::sync::Mutex<Writer<K>>>);

fn shelf<K>() -> Shelf<K>
where
    K: Recorded,
{
    let (store, writer) = reflector::store();
    (store, Arc::new(std::sync::Mutex::new(writer)))
}

async fn work(
    options: &Options,
    leadership: Leadership,
    mut shutdown: watch::Receiver<bool>,
    leads: Option<watch::Receiver<bool>>,
) -> anyhow::Result<()> {
    let scopes: Vec<Option<String>> = match options.namespaces.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let (wakes, ends) = Wakes::new(&scopes);
    let wakes = Arc::new(wakes);
    let clock = Clock::SYSTEM;
    let shares: Vec<Shelf<Share>> = scopes.iter().map(|_| shelf()).collect();
    let recipients: Vec<Shelf<ShareRecipient>> = scopes.iter().map(|_| shelf()).collect();
    let resources: Vec<Shelf<ShareResource>> = scopes.iter().map(|_| shelf()).collect();
    let context = Arc::new(Context {
        settings: options.settings.clone(),
        clock,
        started: clock.now(),
        client: options.cloudflare.clone(),
        objects: Objects::new(
            shares.iter().map(|s| s.0.clone()).collect(),
            recipients.iter().map(|s| s.0.clone()).collect(),
            resources.iter().map(|s| s.0.clone()).collect(),
        ),
        outside: Outside::new(options.kube.clone(), options.selector.clone(), clock),
        records: Records { kube: options.kube.clone() },
        budgets: Budgets::new(options.rate, clock, wakes.clone()),
        credentials: Credentials::new(options.kube.clone(), clock),
        wakes,
        notebook: Default::default(),
        leadership,
        events: Events::new(options.kube.clone(), options.lead.as_ref().map(|lead| lead.identity.clone())),
        metrics: options.metrics.clone(),
        stopping: AtomicBool::new(false),
        accounts: Default::default(),
        deletions: Default::default(),
        turns: Default::default(),
        gates: Default::default(),
    });
    let (stop_sender, stop) = watch::channel(false);
    let mut controllers = Vec::new();
    let mut listed = Vec::new();
    for (kind, scope, names) in ends {
        let at = scopes.iter().position(|s| *s == scope).unwrap_or(0);
        let done = Arc::new(AtomicBool::new(false));
        listed.push(done.clone());
        let hub = Hub { context: context.clone(), options, scope, stop: stop.clone(), listed: done };
        controllers.push(match kind {
            Kind::Share => hub.control(&shares[at], names, share::pass),
            Kind::ShareRecipient => hub.control(&recipients[at], names, child::pass::<ShareRecipient>),
            Kind::ShareResource => hub.control(&resources[at], names, child::pass::<ShareResource>),
        });
    }
    let ready = {
        let readiness = options.readiness.clone();
        let listed = listed.clone();
        tokio::spawn(async move {
            while !listed.iter().all(|done| done.load(Ordering::Acquire)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            readiness.ready();
        })
    };
    let background =
        [ready, tokio::spawn(keep_credentials(context.clone())), tokio::spawn(gauges::keep(context.clone()))];
    options.metrics.works(options.settings.sweep_interval);
    let lost = async {
        match leads {
            Some(mut leads) => drop(leads.wait_for(|leads| !*leads).await),
            None => std::future::pending().await,
        }
    };
    let running = tokio::spawn(futures::future::join_all(controllers));
    let lost_lease = tokio::select! {
        _ = shutdown.wait_for(|down| *down) => false,
        () = lost => true,
    };
    context.stopping.store(true, Ordering::Relaxed);
    let _ = stop_sender.send(true);
    tracing::info!("stopping: waiting for the calls that are under way");
    let limit = options.settings.call_timeout + Duration::from_secs(5);
    if tokio::time::timeout(limit, running).await.is_err() {
        tracing::warn!("some passes did not end in time");
    }
    for task in background {
        task.abort();
    }
    if lost_lease {
        anyhow::bail!("the lease was lost, so another replica may lead: ending, to start anew");
    }
    Ok(())
}

struct Hub<'a> {
    context: Arc<Context>,
    options: &'a Options,
    scope: Option<String>,
    stop: watch::Receiver<bool>,
    listed: Arc<AtomicBool>,
}

/// All lists of all kinds and scopes must be complete before anything is decided on them.
#[derive(Debug)]
struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Never {}

impl Hub<'_> {
    /// One controller of one kind in one scope.
    fn control<K, F>(
        self,
        shelf: &Shelf<K>,
        names: futures::channel::mpsc::UnboundedReceiver<Name>,
        pass: fn(Arc<Context>, Arc<K>) -> F,
    ) -> futures::future::BoxFuture<'static, ()>
    where
        K: Recorded,
        F: Future<Output = Result<Option<Duration>, Stop>> + Send + 'static,
    {
        let kube = self.options.kube.clone();
        let api: Api<DeserializeGuard<K>> = match &self.scope {
            Some(namespace) => Api::namespaced(kube, namespace),
            None => Api::all(kube),
        };
        let selector = self.options.selector.as_deref();
        let stream =
            watches::stream(api, self.scope.clone(), selector, shelf.1.clone(), self.context.clone(), self.listed);
        // What changed in the status alone is our own doing.
        let stream = stream.predicate_filter(
            predicates::generation.combine(predicates::annotations).combine(predicates::finalizers),
            Default::default(),
        );
        let mut stop = self.stop;
        let readiness = self.options.readiness.clone();
        let controller = Controller::for_stream(stream, shelf.0.clone())
            .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
            .reconcile_on(wakes::references(names))
            .graceful_shutdown_on(async move { drop(stop.wait_for(|stop| *stop).await) });
        let context = self.context;
        let reconcile = move |object: Arc<K>, context: Arc<Context>| {
            let readiness = readiness.clone();
            async move {
                if !readiness.is_ready() {
                    return Ok::<Action, Never>(Action::requeue(Duration::from_millis(250)));
                }
                Ok(reconcile(context, object, pass).await)
            }
        };
        let failed = |_: Arc<K>, _: &Never, _: Arc<Context>| Action::requeue(Duration::from_secs(1));
        Box::pin(controller.run(reconcile, failed, context).for_each(|_| std::future::ready(())))
    }
}

/// One pass in a task of its own: it goes on when the controller ends, and a panic in it is this object's alone.
async fn reconcile<K, F>(context: Arc<Context>, object: Arc<K>, pass: fn(Arc<Context>, Arc<K>) -> F) -> Action
where
    K: Recorded,
    F: Future<Output = Result<Option<Duration>, Stop>> + Send + 'static,
{
    if context.stopping.load(Ordering::Relaxed) {
        return Action::await_change();
    }
    let object = K::kept(&context.objects).newest(object);
    let key = K::key(Name::of(object.as_ref()));
    if K::kept(&context.objects).is_unreadable(&key.name) {
        return Action::await_change();
    }
    let generation = object.meta().generation.unwrap_or(0);
    let began = context.clock.now();
    let span = tracing::info_span!("pass", object = %key, generation);
    let started = std::time::Instant::now();
    let ended = tokio::spawn(pass(context.clone(), object.clone()).instrument(span.clone())).await;
    context.metrics.pass(key.kind, started.elapsed());
    match &ended {
        Ok(Err(Stop::Queued)) => context.notebook.waits(&key, Some(began)),
        Ok(Err(Stop::Occupied)) => {}
        Ok(_) | Err(_) => context.notebook.waits(&key, None),
    }
    let _entered = span.enter();
    match ended {
        Ok(Ok(Some(after))) => Action::requeue(after.max(Duration::from_millis(20))),
        Ok(Ok(None)) => Action::await_change(),
        // Woken by the budget or the sweep; this is for the case that the wake is lost.
        Ok(Err(Stop::Queued)) => Action::requeue(Duration::from_secs(60)),
        Ok(Err(Stop::Occupied)) => Action::requeue(OCCUPIED),
        Ok(Err(Stop::Conflict)) => Action::requeue(Duration::from_millis(300)),
        Ok(Err(Stop::Stopping | Stop::Late)) => Action::requeue(waits::MOMENT),
        Ok(Err(Stop::Kubernetes(kube::Error::Api(status)))) if status.code == 404 => Action::await_change(),
        Ok(Err(Stop::Kubernetes(kube::Error::Api(status))))
            if status.code == 403 && object.meta().deletion_timestamp.is_some() =>
        {
            tracing::warn!(error = %status.message, "the API server forbids what the deletion of this object needs");
            context.metrics.deletion_forbidden();
            let message = format!(
                "the deletion cannot finish, because the API server forbids cfshare a request: {}. Grant the right, or \
                 remove the finalizer cfshare.dev/finalizer, which keeps at Cloudflare what is left there",
                status.message
            );
            Pass::begin(context, object).event_once(Note::warning_of("DeletionForbidden"), message);
            Action::requeue(waits::HICCUP)
        }
        Ok(Err(Stop::Kubernetes(error))) => {
            tracing::warn!(%error, "the API server refused or failed");
            Action::requeue(waits::HICCUP)
        }
        Ok(Err(Stop::Cloudflare(error))) => {
            tracing::warn!(%error, "cloudflare refused or failed");
            Action::requeue(waits::HICCUP)
        }
        Err(panic) => {
            drop(_entered);
            tracing::error!(object = %key, %panic, "a pass panicked");
            context.metrics.panic();
            let verdict = Verdict::stalled(
                Reason::InternalError,
                "the operator failed inside while it worked on this object; its log says where. Please report it",
            );
            let _ = Pass::begin(context, object).finish(verdict).await;
            Action::requeue(Duration::from_secs(60))
        }
    }
}

/// Reads the Secrets in use now and then, so that a rotated or removed one is noticed though nothing else happens.
async fn keep_credentials(context: Arc<Context>) {
    loop {
        tokio::time::sleep(FRESH / 2).await;
        let changed = context.credentials.refresh_all(|secret| context.objects.uses_secret(secret)).await;
        for secret in changed {
            tracing::info!(%secret, "the credential changed");
            for share in context.objects.users(&secret) {
                context.notebook.forget(&<Share as crate::operator::cluster::objects::Related>::key(share.clone()));
                sweep::wake_family(&context, &share);
            }
        }
    }
}
