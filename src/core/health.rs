//! Whether the operator can do its work, as its Lease, its lists and its loops show.
//!
//! A scope (one namespace, or all of them) is served once its own three lists are complete. Before that the operator
//! waits for the lists of the other scopes, since one share may be claimed in two of them, but only for those that
//! make progress: a scope that cannot be listed holds up no other.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::time::At;

/// For how long others wait for a scope that cannot be listed: it may be a connection that is made again at once.
const FAILING_GRACE: Duration = Duration::from_secs(5);
/// For how long others wait for a list that brings nothing. A streaming list that does not end is given up before.
const SILENT_GRACE: Duration = Duration::from_secs(15);
/// A watch may fail for so long, as while the API server restarts, before the operator says that it is not ready.
const UNREADY_AFTER: Duration = Duration::from_secs(120);
/// A loop of the operator's own that made no progress for so long never will.
const STUCK_AFTER: Duration = Duration::from_secs(180);

/// Why a list or a watch fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    KindMissing,
    Forbidden,
    Failed,
}

/// What a list or a watch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A part of a list came.
    Progress,
    /// The list is complete.
    Listed,
    /// The API server serves the watch.
    Watching,
    Failed(Cause),
}

/// The list and watch of one kind in one scope.
#[derive(Debug, Clone)]
pub struct Watch<K> {
    pub kind: K,
    pub listed: bool,
    progress: At,
    failing: Option<(Cause, At)>,
}

impl<K> Watch<K> {
    pub fn failing(&self) -> Option<Cause> {
        self.failing.map(|(cause, _)| cause)
    }

    fn fails_for(&self, time: Duration, now: At) -> bool {
        self.failing.is_some_and(|(_, since)| now.since(since) >= time)
    }

    fn is_awaited(&self, now: At) -> bool {
        !self.listed && !self.fails_for(FAILING_GRACE, now) && now.since(self.progress) < SILENT_GRACE
    }
}

/// A namespace, or all of them.
#[derive(Debug, Clone)]
pub struct Scope<K> {
    pub namespace: Option<String>,
    pub watches: Vec<Watch<K>>,
    /// Its objects are worked on.
    pub served: bool,
}

/// One namespace or all of them, in a message.
pub fn place(scope: Option<&str>) -> String {
    scope.map_or("all namespaces".to_owned(), |name| format!("namespace {name}"))
}

impl<K> Scope<K> {
    fn is_listed(&self) -> bool {
        self.watches.iter().all(|watch| watch.listed)
    }

    /// Nothing of it is out of date for long.
    fn is_current(&self, now: At) -> bool {
        self.served && !self.watches.iter().any(|watch| watch.fails_for(UNREADY_AFTER, now))
    }
}

/// Which of several replicas works, as far as this one knows.
#[derive(Debug)]
struct Election {
    /// A read of a Lease counts for so long.
    lasts: Duration,
    /// When each Lease was last read, and whether that fails.
    leases: BTreeMap<String, (Option<At>, bool)>,
}

/// `K` is a kind of object.
#[derive(Debug)]
pub struct Health<K> {
    election: Option<Election>,
    /// Empty until this replica leads.
    scopes: Vec<Scope<K>>,
    /// Whether a replica that does not lead could list and watch; `None`: it has not tried.
    prepared: Option<bool>,
    loops: BTreeMap<String, At>,
}

impl<K> Default for Health<K> {
    fn default() -> Self {
        Health { election: None, scopes: Vec::new(), prepared: None, loops: BTreeMap::new() }
    }
}

impl<K: Copy + Eq + Display> Health<K> {
    /// This replica competes for Leases that last so long.
    pub fn competes(&mut self, lasts: Duration) {
        self.election = Some(Election { lasts, leases: BTreeMap::new() });
    }

    /// The Lease of that election was read, and written where it is ours, or that failed.
    pub fn lease(&mut self, election: &str, worked: bool, now: At) {
        if let Some(Election { leases, .. }) = &mut self.election {
            let (read, failing) = leases.entry(election.to_owned()).or_default();
            *failing = !worked;
            *read = if worked { Some(now) } else { *read };
        }
    }

    pub fn lease_fails(&self) -> Option<bool> {
        self.election.as_ref().map(|election| election.leases.values().any(|(_, failing)| *failing))
    }

    /// Whether this replica, which does not lead, could do the work.
    pub fn prepared(&mut self, could: bool) {
        self.prepared = Some(could);
    }

    /// This replica leads from now on, over these scopes with their kinds.
    pub fn leads(&mut self, scopes: &[Option<String>], kinds: &[K], now: At) {
        let watch = |kind| Watch { kind, listed: false, progress: now, failing: None };
        let scope = |namespace: &Option<String>| Scope {
            namespace: namespace.clone(),
            watches: kinds.iter().copied().map(watch).collect(),
            served: false,
        };
        self.scopes = scopes.iter().map(scope).collect();
    }

    pub fn scopes(&self) -> &[Scope<K>] {
        &self.scopes
    }

    pub fn note(&mut self, scope: usize, kind: K, sign: Sign, now: At) {
        let watches = self.scopes.get_mut(scope).into_iter().flat_map(|scope| &mut scope.watches);
        for watch in watches.filter(|watch| watch.kind == kind) {
            match sign {
                Sign::Progress => watch.progress = now,
                Sign::Listed => (watch.listed, watch.failing) = (true, None),
                Sign::Watching => watch.failing = None,
                Sign::Failed(cause) => {
                    let since = watch.failing.map_or(now, |(_, since)| since);
                    watch.failing = Some((cause, since));
                }
            }
        }
    }

    /// Begins to serve what can be served now; returns the scopes that were not served before.
    pub fn serve(&mut self, now: At) -> Vec<usize> {
        if self.scopes.iter().flat_map(|scope| &scope.watches).any(|watch| watch.is_awaited(now)) {
            return Vec::new();
        }
        let ripe = self.scopes.iter_mut().enumerate().filter(|(_, scope)| !scope.served && scope.is_listed());
        let mut served = Vec::new();
        for (at, scope) in ripe {
            scope.served = true;
            served.push(at);
        }
        served
    }

    /// Whether this replica does the work of the operator.
    pub fn works(&self, now: At) -> bool {
        self.scopes.iter().any(|scope| scope.is_current(now))
    }

    /// Whether a rollout may go on: this replica works, or waits and could take over.
    pub fn ready(&self, now: At) -> Result<(), String> {
        if !self.scopes.is_empty() {
            return if self.works(now) { Ok(()) } else { Err(self.idle()) };
        }
        let Some(election) = &self.election else { return Err("the operator is starting".to_owned()) };
        let mut reads = election.leases.values().map(|(read, _)| *read);
        if election.leases.is_empty() || reads.any(|read| read.is_none_or(|read| now.since(read) > election.lasts)) {
            return Err("the Lease cannot be read or renewed: see the log".to_owned());
        }
        match self.prepared {
            Some(true) => Ok(()),
            Some(false) => Err("the objects cannot be listed and watched: see the log".to_owned()),
            None => Err("the operator is starting".to_owned()),
        }
    }

    fn idle(&self) -> String {
        let failing = self.scopes.iter().flat_map(|scope| scope.watches.iter().map(move |watch| (scope, watch)));
        let failing = failing.filter_map(|(scope, watch)| {
            let place = place(scope.namespace.as_deref());
            let how = match (watch.failing(), watch.listed) {
                (Some(Cause::KindMissing), _) => "does not exist: install the CRDs",
                (Some(Cause::Forbidden), _) => "may not be listed and watched",
                (Some(Cause::Failed), _) => "cannot be listed and watched",
                (None, false) => "is not listed yet",
                (None, true) => return None,
            };
            Some(format!("{} in {place} {how}", watch.kind))
        });
        let failing: Vec<String> = failing.collect();
        match failing.as_slice() {
            [] => "no namespace is served yet".to_owned(),
            failing => format!("no namespace is served: {}", failing.join("; ")),
        }
    }

    /// A loop of the operator's own made progress.
    pub fn beat(&mut self, name: &str, now: At) {
        match self.loops.get_mut(name) {
            Some(beat) => *beat = now,
            None => drop(self.loops.insert(name.to_owned(), now)),
        }
    }

    /// The loop ended, as it should.
    pub fn ended(&mut self, name: &str) {
        self.loops.remove(name);
    }

    /// Whether the process makes progress; if not, only a restart helps.
    pub fn alive(&self, now: At) -> Result<(), String> {
        match self.loops.iter().find(|(_, beat)| now.since(**beat) > STUCK_AFTER) {
            Some((name, beat)) => Err(format!("{name} has made no progress for {} s", now.since(*beat).as_secs())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 3] = ["Share", "ShareRecipient", "ShareResource"];

    type Health = super::Health<&'static str>;

    fn at(seconds: i64) -> At {
        At(seconds * 1000)
    }

    fn leader(scopes: &[&str]) -> Health {
        let mut health = Health::default();
        health.competes(Duration::from_secs(60));
        health.lease("the election", true, at(0));
        let scopes: Vec<Option<String>> = scopes.iter().map(|name| Some((*name).to_owned())).collect();
        health.leads(&scopes, &KINDS, at(0));
        health
    }

    fn all(health: &mut Health, scope: usize, sign: Sign, now: At) {
        KINDS.into_iter().for_each(|kind| health.note(scope, kind, sign, now));
    }

    #[test]
    fn a_scope_is_served_when_its_three_lists_are_complete() {
        let mut health = leader(&["a"]);
        health.note(0, "Share", Sign::Listed, at(1));
        health.note(0, "ShareRecipient", Sign::Listed, at(1));
        assert!(health.serve(at(100)).is_empty() && health.ready(at(1)).is_err() && !health.works(at(1)));
        health.note(0, "ShareResource", Sign::Listed, at(1));
        assert_eq!(health.serve(at(1)), [0]);
        assert!(health.serve(at(1)).is_empty() && health.ready(at(1)).is_ok() && health.works(at(1)));
    }

    #[test]
    fn a_scope_that_fails_or_is_silent_holds_up_no_other_for_long() {
        for (sign, grace) in [(Some(Sign::Failed(Cause::Forbidden)), 5), (None, 15)] {
            let mut health = leader(&["a", "b"]);
            all(&mut health, 1, Sign::Listed, at(0));
            if let Some(sign) = sign {
                all(&mut health, 0, sign, at(0));
                all(&mut health, 0, sign, at(4));
            }
            assert!(health.serve(at(grace - 1)).is_empty(), "{sign:?}");
            assert_eq!(health.serve(at(grace)), [1], "{sign:?}");
            assert!(health.ready(at(grace)).is_ok());
            all(&mut health, 0, Sign::Listed, at(60));
            assert_eq!(health.serve(at(60)), [0]);
        }
    }

    #[test]
    fn a_list_that_makes_progress_is_waited_for() {
        let mut health = leader(&["a", "b"]);
        all(&mut health, 1, Sign::Listed, at(0));
        for second in 0..60 {
            all(&mut health, 0, Sign::Progress, at(second));
            assert!(health.serve(at(second)).is_empty());
        }
    }

    #[test]
    fn a_short_outage_of_the_api_server_changes_nothing_and_a_long_one_does() {
        let mut health = leader(&["a"]);
        all(&mut health, 0, Sign::Listed, at(0));
        health.serve(at(0));
        health.note(0, "Share", Sign::Failed(Cause::Failed), at(10));
        health.note(0, "Share", Sign::Failed(Cause::Failed), at(100));
        assert!(health.ready(at(129)).is_ok());
        assert!(!health.works(at(130)) && health.ready(at(130)).is_err_and(|why| why.contains("Share in namespace a")));
        health.note(0, "Share", Sign::Watching, at(140));
        assert!(health.ready(at(140)).is_ok());
    }

    #[test]
    fn a_replica_that_waits_is_ready_once_it_read_the_lease_and_could_work() {
        let mut health = Health::default();
        health.competes(Duration::from_secs(60));
        health.prepared(true);
        assert!(health.ready(at(0)).is_err() && health.lease_fails() == Some(false));
        health.lease("the election", false, at(1));
        assert!(health.ready(at(1)).is_err() && health.lease_fails() == Some(true));
        health.lease("the election", true, at(2));
        assert!(health.ready(at(2)).is_ok() && !health.works(at(2)));
        health.lease("the election", false, at(17));
        assert!(health.ready(at(62)).is_ok() && health.ready(at(63)).is_err());
        health.lease("the election", true, at(64));
        health.prepared(false);
        assert!(health.ready(at(64)).is_err());
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let mut health = leader(&["a"]);
        all(&mut health, 0, Sign::Failed(Cause::KindMissing), at(0));
        let why = health.ready(at(0)).unwrap_err();
        assert!(why.contains("ShareRecipient in namespace a does not exist: install the CRDs"), "{why}");
    }

    #[test]
    fn a_loop_that_does_not_go_on_is_told() {
        let mut health = Health::default();
        assert!(health.alive(at(10_000)).is_ok());
        health.beat("the election", at(0));
        assert!(health.alive(at(180)).is_ok());
        assert!(health.alive(at(181)).is_err_and(|why| why.contains("the election")));
        health.ended("the election");
        assert!(health.alive(at(1_000)).is_ok());
    }
}
