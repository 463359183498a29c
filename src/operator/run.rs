//! How the operator starts, leads and ends.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::clock::{self, Clock};
use super::controller::{Reflector, Scope};
use super::prepare;
use crate::api::{Kind, ObjectKey, Share, ShareRecipient, ShareResource};
use crate::cloudflare::Client;
use crate::core::limiter::Rate;
use crate::core::shard;
use crate::operator::cluster::Cluster;
use crate::operator::cluster::events::Events;
use crate::operator::cluster::index::Index;
use crate::operator::cluster::leader::{self, Election, Lead, Role};
use crate::operator::cluster::leadership::{Leadership, Tenure};
use crate::operator::cluster::outside::Outside;
use crate::operator::cluster::partition::Partition;
use crate::operator::cluster::selector::LabelSelector;
use crate::operator::cluster::served::ServedShards;
use crate::operator::cluster::watches::Watches;
use crate::operator::cluster::work_queue::{Requeuer, WorkQueue};
use crate::operator::pass::context::Context;
use crate::operator::pass::share_locks::ShareLocks;
use crate::operator::remote::Remote;
use crate::operator::remote::account::Account;
use crate::operator::remote::accounts::Accounts;
use crate::operator::remote::credentials::{Credentials, SECRET_AGE};
use crate::operator::remote::limiters::Limiters;
use crate::operator::remote::sweep;
use crate::operator::settings::Settings;
use crate::operator::vital::Vital;
use crate::operator::{child, gauges, shards, share};
use crate::serve::Health;
use crate::serve::metrics::Metrics;
use crate::serve::traces::Traces;

/// What is under way when the operator must end gets the longest time of a call, and so much more.
const END_MARGIN: Duration = Duration::from_secs(4);
const LOST: &str = "the lease was lost, so another replica may lead; exiting in order to be restarted";
const CLOCK_CHANGED: &str = "the clock of the machine was changed by more than a minute and stays there, so that times in statuses \
                        and metrics are wrong; exiting in order to be restarted";
/// How often health is looked at when nothing happens.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// How often those that wait for their turn are looked at though nothing woke them.
const WAKE_INTERVAL: Duration = Duration::from_secs(60);

pub struct Options {
    pub kube: kube::Client,
    pub cloudflare: Client,
    pub settings: Settings,
    pub rate: Rate,
    /// Empty: all.
    pub namespaces: Vec<String>,
    /// Only objects with these labels are in scope.
    pub selector: LabelSelector,
    pub lead: Option<Lead>,
    /// Into how many shards the accounts are divided, each with a Lease of its own.
    pub shards: u16,
    pub metrics: Arc<Metrics>,
    pub traces: Traces,
    pub health: Health,
}

impl Options {
    /// What is watched: one namespace each, or all of them at once.
    fn scopes(&self) -> Vec<Option<String>> {
        match self.namespaces.as_slice() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        }
    }
}

/// Starts a task that ends with the one that started it.
fn start(vital: &Vital, work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(vital.watch(work)))
}

/// Ends it, and waits until it has.
async fn end(task: AbortOnDropHandle<()>) {
    task.abort();
    let _ = task.await;
}

/// Runs until `shutdown` turns true, until a held lease is lost, or until something happens that nothing goes on without.
pub async fn run(options: Options, vital: Vital, shutdown: watch::Receiver<bool>) -> anyhow::Result<()> {
    options.metrics.sweep_interval(options.settings.sweep_interval);
    options.metrics.shards(options.shards);
    options.metrics.read_only(options.settings.read_only);
    let ends = vital.clone();
    let _clock = start(&vital, async move {
        clock::until_wrong().await;
        ends.end(CLOCK_CHANGED);
    });
    let Some(lead) = options.lead.clone() else {
        return work(&options, &vital, Leadership::always(), shutdown, None).await;
    };
    options.health.note(|health, _| health.competes(lead.duration));
    let mut elections = Elections::start(&options, &vital, &lead);
    let ended = lead_when_elected(&options, &vital, &mut elections, shutdown).await;
    elections.end().await;
    ended
}

/// The Leases that this replica competes for.
struct Elections {
    kube: kube::Client,
    leads: Vec<Lead>,
    running: Vec<AbortOnDropHandle<()>>,
    leading: Vec<watch::Receiver<bool>>,
    leadership: Leadership,
    partition: Option<Arc<Partition>>,
    /// One that was held is lost.
    lease_lost: CancellationToken,
    common: Lead,
}

impl Elections {
    fn start(options: &Options, vital: &Vital, lead: &Lead) -> Elections {
        let lease_lost = CancellationToken::new();
        let (mut running, mut leading) = (Vec::new(), Vec::new());
        let watches = Watches::new(&options.namespaces, Some(options.selector.text()));
        let mut compete = |lead: &Lead, role, tenure: &Tenure| {
            let (kube, health) = (options.kube.clone(), options.health.clone());
            let election = Election::new(kube, lead.clone(), role, tenure, health, watches.clone());
            let (leads, receiver) = watch::channel(false);
            running.push(start(vital, election.run(leads, lease_lost.clone())));
            receiver
        };
        let partition = (options.shards > 1)
            .then(|| Arc::new(Partition::new(options.shards, &lead.identity, lead.duration, options.health.clone())));
        let roles = match &partition {
            None => vec![(lead.clone(), Role::Sole)],
            Some(partition) => {
                let common = Tenure { term: partition.common.clone(), ..Tenure::default() };
                compete(lead, Role::Common(partition.clone()), &common);
                let name = |shard| Lead { name: shard::lease_name(&lead.name, shard), ..lead.clone() };
                (0..options.shards).map(|shard| (name(shard), Role::Shard(shard, partition.clone()))).collect()
            }
        };
        let (mut leads, mut tenures) = (Vec::new(), Vec::new());
        for (lead, role) in roles {
            let tenure = Tenure::default();
            leading.push(compete(&lead, role, &tenure));
            tenures.push(tenure);
            leads.push(lead);
        }
        Elections {
            kube: options.kube.clone(),
            leads,
            running,
            leading,
            leadership: Leadership::of(tenures, partition.as_ref().map(|partition| partition.common.clone())),
            partition,
            lease_lost,
            common: lead.clone(),
        }
    }

    /// Until this replica leads, at least one of the shards.
    async fn lead(&mut self) {
        let leads = self.leading.iter_mut().map(|leads| Box::pin(leads.wait_for(|leads| *leads)));
        // `lease_lost` says that elections ended.
        drop(futures::future::select_all(leads).await);
    }

    /// Gives back what is held. The elections would take it again, so they end first.
    async fn end(self) {
        let Elections { kube, leads, running, partition, common, .. } = self;
        for election in running {
            end(election).await;
        }
        let api = kube::Api::namespaced(kube.clone(), &common.namespace);
        futures::future::join_all(leads.iter().map(|lead| leader::release(&api, lead))).await;
        if let Some(partition) = partition {
            leader::leave(&api, &common, &partition).await;
        }
    }
}

async fn lead_when_elected(
    options: &Options,
    vital: &Vital,
    elections: &mut Elections,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let preparation = prepare::keep(options.kube.clone(), options.scopes(), options.health.clone());
    let _preparation = start(vital, preparation);
    {
        let health = keep_health(options.health.clone(), options.metrics.clone(), Vec::new());
        let _health = start(vital, health);
        let lease_lost = elections.lease_lost.clone();
        tokio::select! {
            () = elections.lead() => {}
            () = lease_lost.cancelled() => anyhow::bail!(LOST),
            why = vital.ended() => anyhow::bail!(why),
            _ = shutdown.wait_for(|down| *down) => return Ok(()),
        }
    }
    work(options, vital, elections.leadership.clone(), shutdown, Some(elections)).await
}

/// All of one scope's objects, by kind.
struct Reflectors {
    shares: Reflector<Share>,
    recipients: Reflector<ShareRecipient>,
    resources: Reflector<ShareResource>,
}

impl Reflectors {
    fn queues(&self, scope: &Option<String>) -> [(Kind, Option<String>, Arc<WorkQueue>); 3] {
        [
            (Kind::Share, scope.clone(), self.shares.queue.clone()),
            (Kind::ShareRecipient, scope.clone(), self.recipients.queue.clone()),
            (Kind::ShareResource, scope.clone(), self.resources.queue.clone()),
        ]
    }
}

async fn work(
    options: &Options,
    vital: &Vital,
    leadership: Leadership,
    mut shutdown: watch::Receiver<bool>,
    elections: Option<&Elections>,
) -> anyhow::Result<()> {
    let scopes = options.scopes();
    options.health.note(|health, now| health.leads(&scopes, &Kind::ALL, now));
    let reflector =
        || Reflectors { shares: Reflector::new(), recipients: Reflector::new(), resources: Reflector::new() };
    let reflectors: Vec<Reflectors> = scopes.iter().map(|_| reflector()).collect();
    let (context, opened) = context(options, vital, leadership, &reflectors);
    let (gates, served): (Vec<_>, Vec<_>) = scopes.iter().map(|_| watch::channel(false)).unzip();
    let passes = TaskTracker::new();
    let controllers = controllers(options, &context, &scopes, &reflectors, served, &passes);
    let running = start(vital, async { drop(futures::future::join_all(controllers).await) });
    let background = [
        start(vital, keep_health(options.health.clone(), options.metrics.clone(), gates)),
        start(vital, keep_credentials(context.clone())),
        start(vital, requeue_those_that_wait(context.clone())),
        start(vital, sweep_accounts(context.clone(), vital.clone(), opened)),
        start(vital, gauges::keep(context.clone(), options.health.clone())),
    ];
    let partition = elections.and_then(|elections| elections.partition.clone());
    let _shards = partition.zip(options.lead.as_ref()).map(|(partition, lead)| {
        let end_timeout = options.settings.call_timeout + END_MARGIN;
        let keep = shards::keep(context.clone(), partition, lead.duration, end_timeout);
        [keep.boxed(), shards::divide_rates(context.clone()).boxed()].map(|work| start(vital, work))
    });
    let lease_lost = async {
        match elections {
            Some(elections) => elections.lease_lost.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        _ = shutdown.wait_for(|down| *down) => Ok(()),
        () = lease_lost => Err(LOST),
        why = vital.ended() => Err(why),
    };
    context.shutdown.cancel();
    tracing::info!("stopping: waiting for calls in progress");
    end(running).await;
    passes.close();
    if tokio::time::timeout(options.settings.call_timeout + END_MARGIN, passes.wait()).await.is_err() {
        tracing::warn!("some objects were still being reconciled at the deadline");
    }
    drop(background);
    ended.map_err(anyhow::Error::msg)
}

/// What all passes share, and the accounts that come into use.
fn context(
    options: &Options,
    vital: &Vital,
    leadership: Leadership,
    reflectors: &[Reflectors],
) -> (Arc<Context>, mpsc::UnboundedReceiver<Arc<Account>>) {
    let clock = Clock::SYSTEM;
    let (kube, settings, scopes) = (&options.kube, options.settings.clone(), options.scopes());
    let requeuer =
        Arc::new(Requeuer::new(scopes.iter().zip(reflectors).flat_map(|(scope, all)| all.queues(scope)).collect()));
    let shutdown = CancellationToken::new();
    let index = Index::new(
        reflectors.iter().map(|reflectors| reflectors.shares.store.clone()).collect(),
        reflectors.iter().map(|reflectors| reflectors.recipients.store.clone()).collect(),
        reflectors.iter().map(|reflectors| reflectors.resources.store.clone()).collect(),
    );
    index.unlisted.expect(&scopes);
    let cluster = Cluster {
        clock,
        index: index.within(&options.selector),
        outside: Outside::new(kube.clone(), &scopes, clock),
        kube: kube.clone(),
        events: Events::new(
            kube.clone(),
            options.lead.as_ref().map(|lead| lead.identity.clone()),
            options.metrics.clone(),
        ),
        requeuer: requeuer.clone(),
        shards: ServedShards::new(options.shards, clock.now()),
        answers: Default::default(),
    };
    let (accounts, opened) = Accounts::new(options.settings.sweep_interval);
    let remote = Remote {
        settings: settings.clone(),
        clock,
        client: options.cloudflare.clone(),
        accounts,
        limiters: Limiters::new(
            options.rate,
            1.0 / f64::from(options.shards.max(1)),
            clock,
            requeuer.clone(),
            vital.clone(),
        ),
        credentials: Credentials::new(kube.clone(), clock),
        leadership,
        shutdown: shutdown.clone(),
        metrics: options.metrics.clone(),
        traces: options.traces.clone(),
    };
    let context = Context {
        settings,
        clock,
        cluster: Arc::new(cluster),
        remote: Arc::new(remote),
        memories: Default::default(),
        metrics: options.metrics.clone(),
        shutdown,
        deletions: Default::default(),
        next_shared_status: Default::default(),
        refusals_reported: Default::default(),
        namespaces_warned_of: Default::default(),
        share_locks: Arc::new(ShareLocks::new(requeuer)),
    };
    (Arc::new(context), opened)
}

/// Starts the sweeps of each account that comes into use. They end with the account, or with the process.
async fn sweep_accounts(context: Arc<Context>, vital: Vital, mut opened: mpsc::UnboundedReceiver<Arc<Account>>) {
    while let Some(account) = opened.recv().await {
        tokio::spawn(vital.watch(sweep::run(context.cluster.clone(), context.remote.clone(), account)));
    }
}

/// One for each kind in each scope.
fn controllers(
    options: &Options,
    context: &Arc<Context>,
    scopes: &[Option<String>],
    reflectors: &[Reflectors],
    served: Vec<watch::Receiver<bool>>,
    passes: &TaskTracker,
) -> Vec<futures::future::BoxFuture<'static, ()>> {
    let of_scope = |(at, namespace): (usize, &Option<String>)| {
        let reflectors = &reflectors[at];
        let scope = Scope {
            context: context.clone(),
            namespace: namespace.clone(),
            at,
            served: served[at].clone(),
            health: options.health.clone(),
            passes: passes.clone(),
        };
        [
            scope.control(&reflectors.shares, |context, share| share::reconcile(context, share).boxed()),
            scope.control(&reflectors.recipients, |context, child| child::reconcile(context, child).boxed()),
            scope.control(&reflectors.resources, |context, child| child::reconcile(context, child).boxed()),
        ]
    };
    scopes.iter().enumerate().flat_map(of_scope).collect()
}

/// Opens the gates of the scopes that can be served, and keeps the metrics of health up to date.
async fn keep_health(health: Health, metrics: Arc<Metrics>, gates: Vec<watch::Sender<bool>>) {
    loop {
        let served = health.ask(|health, now| {
            let served = health.serve(now);
            metrics.health(health, now);
            served
        });
        for at in served {
            if let Some(gate) = gates.get(at) {
                let _ = gate.send(true);
            }
        }
        health.changed(HEALTH_INTERVAL).await;
    }
}

/// Reads the Secrets in use now and then, so that a rotated or removed one is noticed though nothing else happens.
async fn keep_credentials(context: Arc<Context>) {
    loop {
        tokio::time::sleep(SECRET_AGE / 2).await;
        let used = context.cluster.index.accounts_of_secrets();
        let changed = context.remote.credentials.refresh_all(|secret| used.contains_key(secret)).await;
        for (secret, problem) in changed {
            match problem {
                None => tracing::info!(%secret, "the credential in a Secret changed"),
                Some(problem) => {
                    tracing::warn!(%secret, %problem, "the credential in a Secret cannot be read any more")
                }
            }
            for share in context.cluster.index.users(&secret) {
                context.memories.renew(&ObjectKey::share(share.clone()));
                context.cluster.index.children(&share).iter().for_each(|child| context.memories.renew(child));
                context.cluster.requeue_family(&share);
            }
        }
    }
}

/// The limiter or the sweep wakes those that wait for it; this is for the case that a wake is lost. What is remembered of
/// others ends here as well.
async fn requeue_those_that_wait(context: Arc<Context>) {
    loop {
        tokio::time::sleep(WAKE_INTERVAL).await;
        context.memories.waiting().iter().for_each(|key| context.cluster.requeuer.requeue_later(key));
        context.memories.expire(context.clock.now(), context.settings.read_lag());
    }
}
