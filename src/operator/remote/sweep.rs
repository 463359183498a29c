//! The sweep: one list of all live shares of an account, now and then, in place of a watch.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;

use super::Remote;
use super::account::Account;
use super::limiters::{Caller, Requester};
use super::observed_share::ObservedShare;
use super::pages::read_pages;
use super::session;
use crate::api::{ConditionType, Name, Reason, is_deleting, own_record, secret_of};
use crate::cloudflare::{Api, Error, ErrorClass, FULL_PAGE, Object, Share, ShareQuery, ShareStatus, TargetType};
use crate::core::breaker::{Change, Loss, is_old_loss};
use crate::core::id::ShareId;
use crate::core::limiter::Priority;
use crate::core::relist::{Listing, Relist};
use crate::core::sweep_interval::{retry, spacing};
use crate::core::time::At;
use crate::operator::clock::{self, Clock};
use crate::operator::cluster::Cluster;
use crate::operator::cluster::claimant::folded_id;
use crate::operator::conditions::{breaker_reported_at, is_loss_confirmed, said_in};

/// How often it is looked up whether the account has gone unread for too long, and whether a list is due.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often shares are listed while the circuit breaker is open, if a tenth of the calls is enough for that.
const INTERVAL_WHILE_OPEN: Duration = Duration::from_secs(60);
/// So many shares that a list lacks are read by themselves, and the others after the next list.
const MAX_READ_ALONE: usize = 20;
/// So many shares are looked at before others may use the thread: an edit does not wait for ten thousand.
const YIELD_EVERY: usize = 128;

/// Sweeps until no object uses the account with this credential any more.
pub async fn run(cluster: Arc<Cluster>, remote: Arc<Remote>, account: Arc<Account>) {
    Sweeper { cluster, remote, account, unreadable: AtomicBool::new(false) }.run().await;
}

/// What sweeps one account with one credential.
struct Sweeper {
    cluster: Arc<Cluster>,
    remote: Arc<Remote>,
    account: Arc<Account>,
    /// It has gone unread for so long that the objects of the account say it.
    unreadable: AtomicBool,
}

impl Sweeper {
    async fn run(&self) {
        let mut failures = 0;
        // When the last complete list began, and when the last one that failed ended.
        let (mut last, mut failed) = (At::default(), At::default());
        let mut interval = self.remote.accounts.update_sweep_interval(&self.account);
        let mut relist = Relist::new(self.remote.settings.calls_per_second);
        loop {
            if !self.is_due(failures, (last, failed), interval).await {
                continue;
            }
            if self.remote.shutdown.is_cancelled() || !self.remote.accounts.is_open(&self.account) {
                return;
            }
            if !self.is_in_use().await {
                return self.close();
            }
            let began = self.remote.clock.now();
            let outcome = self.traced(&mut relist, failures, began).await;
            let is_complete = outcome.is_ok();
            if is_complete && failures > 0 {
                // What kept this list away, such as an outage, is over for the others as well.
                let others = self.remote.accounts.alike(&self.account).filter(|other| other.fails_with_others());
                others.for_each(|other| other.recovered.notify_one());
            }
            failures = if is_complete { 0 } else { failures + 1 };
            interval = self.remote.accounts.update_sweep_interval(&self.account);
            if !is_complete {
                failed = self.remote.clock.now();
            } else {
                last = began;
                let (credential, began) = (self.account.fingerprint.to_string(), clock::timestamp(began));
                self.remote.leadership.note_sweep(self.account.id.as_str(), &credential, began, interval);
            }
            self.remote.metrics.sweep(is_complete);
            for key in self.account.swept(began, outcome) {
                self.cluster.requeuer.requeue_later(&key);
            }
            self.requeue_if_readability_changed();
        }
    }

    /// Waits until the next sweep is due; false: somebody wants one earlier, so that it is to be asked again.
    /// `last`, `failed`: when the last complete list began, and when the last one that failed ended.
    async fn is_due(&self, failures: u32, (last, failed): (At, At), interval: Duration) -> bool {
        let account = &self.account;
        let wanted = account.demand().is_some_and(|since| since >= last) && failures == 0;
        let apart = if wanted {
            // No more often than a single share is polled.
            spacing(account.pages(), account.limiter.per_second()).max(self.remote.settings.poll_min)
        } else if account.breaker().is_some() {
            // Nothing is written until a list shows that the shares are back. All that wait for that divide a tenth.
            let open = self.remote.accounts.alike(account).filter(|other| other.breaker().is_some());
            let pages = open.map(|other| other.pages()).sum();
            interval.min(INTERVAL_WHILE_OPEN.max(spacing(pages, account.limiter.per_second())))
        } else {
            staggered(interval, last)
        };
        let due = match failures {
            // Demands that are met already may come again and again, and must not put it off.
            0 => last.plus(apart),
            n => {
                let failing = self.remote.accounts.alike(account).filter(|other| other.is_failing()).count();
                failed.plus(retry(n, failing, account.limiter.per_second()))
            }
        };
        let is_due = async {
            tokio::select! {
                () = until(self.remote.clock, due) => true,
                () = account.demanded.notified(), if failures == 0 && !wanted => false,
                () = account.recovered.notified(), if failures > 0 => true,
            }
        };
        self.watched(is_due).await
    }

    /// One sweep, with its trace; `failures`: those in a row before it that failed.
    async fn traced(&self, relist: &mut Relist, failures: u32, began: At) -> Result<(), Error> {
        let trace = self.remote.traces.sweep(&self.account.id);
        // A panic is one sweep's failure: without sweeps, whatever others change would go unseen.
        let sweep = AssertUnwindSafe(self.sweep(relist, failures, began)).catch_unwind();
        let outcome = self.watched(trace.around(sweep)).await.unwrap_or_else(|_| {
            self.remote.metrics.panic();
            // What it had found out already, nobody was told.
            self.cluster.requeue_account(&self.account.id);
            Err(Error::Lost { cause: "internal error while the list of shares was read; please report it".into() })
        });
        let (word, error) = match &outcome {
            Ok(()) => ("complete", None),
            Err(error) => ("failed", Some(error as &dyn std::fmt::Display)),
        };
        trace.end(word, error);
        outcome
    }

    /// Drops an account that nobody uses with this credential any more.
    fn close(&self) {
        self.remote.accounts.close(&self.account);
        let credential = self.account.fingerprint.to_string();
        self.remote.leadership.forget_sweep(self.account.id.as_str(), &credential);
        // The objects that wait for this sweep, or depend on it, find another account, or that their Secret is gone.
        for key in self.account.waiting() {
            self.cluster.requeuer.requeue_later(&key);
        }
        self.cluster.requeue_account(&self.account.id);
    }

    /// A sweep waits for its time, and may wait for calls that the limit does not leave: meanwhile its account may have gone
    /// unread for too long.
    async fn watched<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = tokio::time::sleep(CHECK_INTERVAL) => self.requeue_if_readability_changed(),
            }
        }
    }

    /// Requeues all objects of an account that became readable, or has not been for so long that their status must say it.
    fn requeue_if_readability_changed(&self) {
        let (now, passing_time) = (self.remote.clock.now(), self.remote.settings.passing_time());
        let is_unreadable = self.account.why_unreadable(now, passing_time).is_some();
        if self.unreadable.swap(is_unreadable, Ordering::Relaxed) != is_unreadable {
            self.cluster.requeue_account(&self.account.id);
        }
    }

    /// Whether some live object still uses this account with this credential.
    async fn is_in_use(&self) -> bool {
        for name in self.cluster.index.of_account(self.account.id.as_str()) {
            let Some(share) = self.cluster.index.shares.find(&name) else { continue };
            if self.uses(&secret_of(&share), is_deleting(&share.metadata)).await {
                return true;
            }
        }
        // Children outlive their Share, and remove their rows with what they noted down.
        for (secret, is_deleting) in self.cluster.index.orphan_secrets(self.account.id.as_str()) {
            if self.uses(&secret, is_deleting).await {
                return true;
            }
        }
        false
    }

    /// Whether a Secret has the account's credential. An object that is being deleted may still need the one that is
    /// remembered.
    async fn uses(&self, secret: &Name, is_deleting: bool) -> bool {
        self.remote.credentials.holds(secret, self.account.fingerprint, is_deleting).await
    }

    fn api(&self) -> Api<'_> {
        self.remote.client.api(&self.account.credential, &self.account.id)
    }

    fn requester(&self, priority: Priority) -> Requester {
        Requester { caller: Caller::Sweep(self.account.id.clone()), priority }
    }

    /// The shares of the account that a list with these filters shows. Each page goes into the cache as it comes, so that a
    /// large account is not held twice; but before the first list is complete nothing is believed of it.
    async fn list(&self, filter: &ShareQuery, priority: Priority, began: At) -> Result<Vec<Listed>, Error> {
        let is_first = self.account.cache().swept.is_none();
        let take = |share: Share| {
            let (id, is_live) = (share.id.clone(), share.is_live());
            if is_first {
                return Listed { id, is_live, share: Some(Box::new(share)) };
            }
            self.account.cache().read(share, began, self.remote.settings.read_lag());
            Listed { id, is_live, share: None }
        };
        let requester = &self.requester(priority);
        let read = read_pages(|page| {
            let call = self.api().list_shares(ShareQuery { page, ..filter.clone() });
            async move {
                let _permit = self.account.limiter.wait(requester, 1).await;
                let reply = session::make(&self.account, &requester.caller, self.remote.clock, call).await?;
                Ok::<_, Error>(reply.body.map(take))
            }
        });
        let changed = || Error::Lost { cause: "the list of shares changed each time it was read".into() };
        read.await?.ok_or_else(changed)
    }

    /// The steps of a sweep, each of which stands on those before it: nobody may believe the list before what it lacks is
    /// read or forgotten, and before losses that are too many have stopped all writes.
    async fn sweep(&self, relist: &mut Relist, failures: u32, began: At) -> Result<(), Error> {
        let live = self.list_live(failures, began).await?;
        let wanted = self.read_wanted(&live, began).await;
        let lacking = self.forget_lacking(&live, &wanted, began);
        self.count_losses(&live).await;
        let (moved, freed) = self.believe_list(began);
        self.wake(moved.iter().chain(&lacking));
        self.wake(self.demand_relists(relist, began).await.iter());
        self.cluster.requeue_claimants(&self.account.id, &freed);
        Ok(())
    }

    /// Lists all live shares, into the cache; returns their ids.
    async fn list_live(&self, failures: u32, began: At) -> Result<HashSet<ShareId>, Error> {
        let priority = priority(self.account.cache().swept, self.account.demand(), failures);
        let mut rows = self.list(&session::live(), priority, began).await?;
        if rows.is_empty() && self.account.cache().swept.is_none() {
            // To believe it would make all shares a second time that no object is bound to yet.
            rows = self.list(&ShareQuery { status: None, kind: None, ..session::live() }, priority, began).await?;
            rows.retain(|listed| listed.share.as_ref().is_none_or(|share| share.is_sent_by(&self.account.id)));
        }
        let live = rows.iter().filter(|listed| listed.is_live).map(|listed| listed.id.clone()).collect();
        let mut cache = self.account.cache();
        for share in rows.into_iter().filter_map(|listed| listed.share) {
            cache.read(*share, began, self.remote.settings.read_lag());
        }
        Ok(live)
    }

    /// What the list lacks is not believed to be there any more, but for those that are `wanted`. Returns it.
    fn forget_lacking(&self, live: &HashSet<ShareId>, wanted: &HashSet<ShareId>, began: At) -> Vec<ShareId> {
        let mut cache = self.account.cache();
        let lacking = cache.lacking(live, began, self.remote.settings.read_lag());
        for id in &lacking {
            match cache.seen_mut(id) {
                // A list of what is active need not show it: a GET will say.
                Some(seen) if matches!(seen.share.status, ShareStatus::Other(_)) => seen.read_again(),
                Some(_) if wanted.contains(id) => {}
                // Gone from the list: a GET will say, and until then nothing is believed of it.
                Some(_) => cache.forget(id),
                None => {}
            }
        }
        lacking
    }

    /// Passes may believe the list from now on. Returns the shares that moved, and the names that became free.
    fn believe_list(&self, began: At) -> (HashSet<ShareId>, HashSet<String>) {
        let mut cache = self.account.cache();
        cache.swept(began);
        cache.pair();
        // What a pass read on its way may concern others.
        (cache.moved(), cache.freed())
    }

    /// Reads the shares that the list lacks, that no object manages, and whose name an object waits for: to believe the list
    /// would make a second share of that name. Returns all of them; those that cannot be read stay as they were seen.
    async fn read_wanted(&self, live: &HashSet<ShareId>, began: At) -> HashSet<ShareId> {
        let read_lag = self.remote.settings.read_lag();
        let is_wanted = |seen: &ObservedShare| {
            !self.cluster.index.is_managed(self.account.id.as_str(), seen.share.id.as_str())
                && !self.cluster.index.claimants(self.account.id.as_str(), &seen.share.name).is_empty()
        };
        let wanted: Vec<ShareId> = {
            let cache = self.account.cache();
            let lacking = cache.lacking(live, began, read_lag);
            lacking.into_iter().filter(|id| cache.seen(id).is_some_and(is_wanted)).collect()
        };
        let requester = self.requester(Priority::Sweep);
        for id in wanted.iter().take(MAX_READ_ALONE) {
            let _permit = self.account.limiter.wait(&requester, 1).await;
            let asked = self.remote.clock.now();
            match session::make(&self.account, &requester.caller, self.remote.clock, self.api().share(id)).await {
                Ok(reply) => self.account.cache().read(reply.body, asked, read_lag),
                Err(error) if error.class() == ErrorClass::Gone => self.account.cache().absent(id, asked, read_lag),
                Err(error) => tracing::debug!(%error, share = %id, "a share that the list lacks cannot be read"),
            }
        }
        wanted.into_iter().collect()
    }

    /// Shares that objects are bound to and that are not there: if they are many, nothing is written any more.
    async fn count_losses(&self, live: &HashSet<ShareId>) {
        let mut ours: HashMap<Name, bool> = HashMap::new();
        let (mut bound, mut missing) = (0, HashMap::new());
        let (now, serving_since) =
            (self.remote.clock.now(), self.cluster.shards.serving_since(self.account.id.as_str()));
        // Shares that objects have long reported as gone, or that a person has confirmed to be gone.
        let (mut told, mut accepted) = (Vec::new(), Vec::new());
        let is_first = self.account.cache().swept.is_none();
        for (n, name) in self.cluster.index.of_account(self.account.id.as_str()).into_iter().enumerate() {
            if n % YIELD_EVERY == 0 {
                tokio::task::yield_now().await;
            }
            let Some(share) = self.cluster.index.shares.find(&name) else { continue };
            let Some(status) = own_record(&share) else { continue };
            let Some(id) = &status.share_id else { continue };
            let secret = secret_of(&share);
            // Another credential may well see other shares of the account.
            let ours = match ours.get(&secret) {
                Some(ours) => *ours,
                None => {
                    let is_ours = self.uses(&secret, false).await;
                    *ours.entry(secret).or_insert(is_ours)
                }
            };
            if is_deleting(&share.metadata) || !ours {
                continue;
            }
            bound += 1;
            // One that Cloudflare is deleting is lost as well: this object did not ask for that.
            let is_live = |id: &ShareId| self.account.cache().seen(id).is_some_and(ObservedShare::is_live);
            let share_id = ShareId::read(id).ok();
            if share_id.as_ref().is_some_and(|id| live.contains(id) || is_live(id)) {
                continue;
            }
            let conditions = &status.common.conditions;
            let seen_with = status.seen_with.as_deref();
            let is_hidden = share_id.is_some_and(|id| self.account.is_hidden(&id, seen_with));
            let said = said_in(conditions, ConditionType::Stalled, Reason::ShareNotFound);
            let word = status.common.last_close_breaker.as_ref().and_then(|at| clock::written(at, now));
            let is_old = said.is_some_and(|said| is_old_loss(said.unless_ahead(now, serving_since), word, now));
            told.extend(is_old.then(|| id.clone()));
            let is_confirmed = is_first && !is_hidden && is_loss_confirmed(conditions);
            accepted.extend(word.filter(|_| is_confirmed).map(|word| (id.clone(), word)));
            let reported = breaker_reported_at(conditions).map(|reported| reported.unless_ahead(now, serving_since));
            missing.insert(id.clone(), Loss { object: name.to_string(), is_hidden, reported });
        }
        // What was reported within the window still counts, also after a restart.
        self.account.discount_losses(told);
        self.account.recall_accepted(accepted);
        let account = &self.account.id;
        match self.account.count_losses(bound, &missing, now) {
            Change::Same => return,
            Change::Opened => {
                let why = self.account.breaker();
                tracing::error!(%account, why, "the circuit breaker opened");
            }
            Change::Closed => tracing::info!(%account, "the shares are back; the circuit breaker is closed"),
        }
        self.cluster.requeue_account(account);
    }

    /// Shares whose rows are to be listed again though nothing has moved.
    async fn demand_relists(&self, relist: &mut Relist, now: At) -> Vec<ShareId> {
        // Which objects they concern is asked without the lock of the cache, for which passes wait.
        let all: Vec<(Listing<ShareId>, bool)> = self.account.cache().live().map(listing).collect();
        let orphans = self.cluster.index.orphans();
        let mut listings = Vec::new();
        for (n, (listing, only_excluded)) in all.into_iter().enumerate() {
            if n % YIELD_EVERY == 0 {
                tokio::task::yield_now().await;
            }
            let has_orphans = orphans.contains_key(&folded_id(listing.id.as_str()));
            if self.is_declared(&listing.id, only_excluded) || has_orphans && !only_excluded {
                listings.push(listing);
            }
        }
        let chosen = relist.choose(listings, self.account.sweep_interval(), now);
        let mut cache = self.account.cache();
        for id in &chosen {
            if let Some(seen) = cache.seen_mut(id) {
                seen.demand_relist(now);
            }
        }
        chosen
    }

    /// Whether objects that name the share declare what its list could show.
    fn is_declared(&self, id: &ShareId, only_excluded: bool) -> bool {
        let excludes = |name: &Name| {
            let share = self.cluster.index.shares.find(name);
            share.is_some_and(|share| share.spec.organization.as_ref().is_some_and(|o| !o.excluded.is_empty()))
        };
        let naming = self.cluster.index.naming(id.as_str());
        if only_excluded { naming.iter().any(excludes) } else { !naming.is_empty() }
    }

    /// Wakes the objects that name these shares, and their children, also those whose Share is gone.
    fn wake<'a>(&self, ids: impl Iterator<Item = &'a ShareId>) {
        let mut ids = ids.peekable();
        if ids.peek().is_none() {
            return;
        }
        let orphans = self.cluster.index.orphans();
        for id in ids {
            let of_share = orphans.get(&folded_id(id.as_str()));
            of_share.into_iter().flatten().for_each(|key| self.cluster.requeuer.requeue(key));
            for name in self.cluster.index.naming(id.as_str()) {
                self.cluster.requeue_family(&name);
            }
        }
    }
}

struct Listed {
    id: ShareId,
    is_live: bool,
    /// `None`: the cache has it already.
    share: Option<Box<Share>>,
}

impl Object for Listed {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// The list of rows of a share, and whether it could show nothing but excluded accounts.
fn listing(seen: &ObservedShare) -> (Listing<ShareId>, bool) {
    let of_organization = seen.share.target_type == TargetType::Organization;
    let listing = Listing {
        id: seen.share.id.clone(),
        read_at: seen.listed_at(),
        pages: seen.list_rows().div_ceil(u64::from(FULL_PAGE)).try_into().unwrap_or(u32::MAX),
        // The recipients of an organization's share follow its members. A share whose counts are not shown shows no change
        // at all.
        may_swap: !of_organization && seen.counts.is_none_or(|counts| counts.disassociated > 0),
    };
    (listing, of_organization && seen.excluded.is_none())
}

/// Until that time has come. A timer alone would be late by as long as the machine was suspended, or by how much its clock
/// was put forward.
async fn until(clock: Clock, due: At) {
    while let Some(nap) = nap(due, clock.now()) {
        tokio::time::sleep(nap).await;
    }
}

/// How long to sleep before the clock is looked at again; `None`: the time has come.
fn nap(due: At, now: At) -> Option<Duration> {
    Some(due.since(now).min(CHECK_INTERVAL)).filter(|left| !left.is_zero())
}

/// How urgent a list is; `failures`: lists before it in a row that failed. Of accounts that a credential may not read,
/// nothing can go on, and they must not hold up the others.
fn priority(swept: Option<At>, demand: Option<At>, failures: u32) -> Priority {
    match (swept, demand) {
        // Nothing of the account can go on before it.
        (None, _) if failures == 0 => Priority::Create,
        (_, Some(_)) => Priority::Poll,
        (_, None) => Priority::Sweep,
    }
}

/// A tenth more or less, so that many accounts do not sweep in step.
fn staggered(interval: Duration, seed: At) -> Duration {
    let tenth = interval.as_millis() as i64 / 10;
    if tenth == 0 {
        return interval;
    }
    let offset = seed.0.wrapping_mul(2_654_435_761).rem_euclid(2 * tenth + 1) - tenth;
    Duration::from_millis((interval.as_millis() as i64 + offset).max(1) as u64)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::core::id::AccountId;
    use crate::operator::cluster;
    use crate::operator::remote::samples;
    use crate::serve::metrics::Metrics;

    /// Whatever is asked for, it is a Secret with a token.
    fn secrets() -> kube::Client {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cloudflare-credentials", "namespace": "a"},
            "data": {"apiToken": "Y2FuYXJ5"},
        });
        let server = tower::service_fn(move |_: Request<Body>| {
            let answer = Response::new(Body::from(secret.to_string().into_bytes()));
            async { Ok::<_, std::io::Error>(answer) }
        });
        kube::Client::new(server, "a")
    }

    fn share(account: &AccountId) -> crate::api::Share {
        let share: Value = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": account.as_str(), "namespace": "a", "uid": account.as_str()},
            "spec": {"accountID": account.as_str(), "recipients": [], "resources": []},
        });
        serde_json::from_value(share).expect("a Share")
    }

    #[tokio::test]
    async fn a_panic_is_the_failure_of_one_sweep_of_one_account() {
        let (clock, metrics) = (Clock::SYSTEM, Arc::<Metrics>::default());
        let [one, other] = ["a", "b"].map(|id| AccountId::parse(&id.repeat(32)).expect("an id"));
        let calls = Arc::new(Mutex::new(Vec::<String>::new()));
        let (made, panics_for) = (calls.clone(), one.clone());
        let client = samples::client().observed(move |ended| {
            let account = ended.account().unwrap_or_default().to_owned();
            let is_first = !made.lock().contains(&account);
            made.lock().push(account.clone());
            assert!(!is_first || account != panics_for.as_str(), "on purpose");
        });
        let kube = secrets();
        let cluster =
            Arc::new(cluster::samples::cluster(kube.clone(), &[share(&one), share(&other)], metrics.clone(), clock));
        let remote = Arc::new(samples::remote(kube, client, metrics.clone(), clock));
        let used = remote.credentials.resolve(&Name::new("a", "cloudflare-credentials")).await.expect("a token");
        let open = |id| remote.accounts.open(&remote.limiters, &used, id, remote.clock.now());
        let accounts = [&one, &other].map(open);
        let sweeps = accounts.clone().map(|account| tokio::spawn(run(cluster.clone(), remote.clone(), account)));
        let called = |id: &AccountId| calls.lock().iter().filter(|call| **call == id.as_str()).count();
        let waiting = async {
            // The next one would come after two seconds.
            while accounts.iter().any(|account| !account.is_failing()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let told = accounts[0].sweep_error().expect("an error").to_string();
            assert!(told.contains("internal error"), "{told}");
            assert!(called(&one) == 1 && called(&other) >= 1, "{calls:?}");
            accounts[0].recovered.notify_one();
            while called(&one) < 2 || accounts[0].sweep_error().is_some_and(|error| error.to_string() == told) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("both are swept, the one again");
        assert!(sweeps.iter().all(|sweeps| !sweeps.is_finished()));
        let shown = metrics.render();
        assert!(shown.contains("cfshare_panics_total 1\n"), "{shown}");
        sweeps.iter().for_each(|sweeps| sweeps.abort());
    }

    #[test]
    fn a_sweep_is_due_by_the_clock_also_after_that_was_put_forward() {
        let second = Duration::from_secs;
        let due = At(1_000_000);
        assert_eq!(nap(due, due.minus(second(600))), Some(CHECK_INTERVAL), "the clock is looked at again and again");
        assert_eq!(nap(due, due.minus(second(2))), Some(second(2)));
        assert_eq!([due, due.plus(second(1))].map(|now| nap(due, now)), [None, None]);
    }

    #[test]
    fn the_first_list_comes_before_others_until_it_has_failed() {
        let now = Some(At(1));
        assert_eq!([None, now].map(|demand| priority(None, demand, 0)), [Priority::Create; 2]);
        for swept in [None, now] {
            assert_eq!(priority(swept, now, 1), Priority::Poll);
            assert_eq!(priority(swept, None, 1), Priority::Sweep);
        }
        assert_eq!([None, now].map(|demand| priority(now, demand, 0)), [Priority::Sweep, Priority::Poll]);
    }
}
