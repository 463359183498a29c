//! Which objects exist though the watch does not show them?
//!
//! An object whose labels no longer match the selector leaves the watch as a deleted one does, and after a restart it is
//! not listed at all. It still exists and holds its row, as our finalizer on it says. So where a selector is set, a list
//! without it is read before anything is removed because nobody declares it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use parking_lot::Mutex;

use super::index::Index;
use super::reconciled::Reconciled;
use super::requests::{api_in, in_time};
use crate::api::{Name, Share, ShareRecipient, ShareResource, has_finalizer};
use crate::core::time::At;
use crate::operator::clock::Clock;

/// Objects are listed in pages of so many.
const PAGE_SIZE: u32 = 500;

/// The last look, and the lock that lets one caller look for all.
type Look = Arc<tokio::sync::Mutex<Option<Span>>>;

/// When a look began and ended.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: At,
    ended: At,
    /// All that was to be listed was.
    is_complete: bool,
}

/// How recent a look must be to do.
#[derive(Debug, Clone, Copy)]
pub struct Recency {
    /// It ended so shortly before. A look may take longer than that.
    pub within: Duration,
    /// It began no earlier than somebody asked for one.
    pub asked: Option<At>,
    /// It showed everything: one that failed in part does not do.
    pub complete: bool,
}

impl Recency {
    pub fn within(within: Duration) -> Recency {
        Recency { within, asked: None, complete: false }
    }

    /// Whether a look tells at that time who is outside; `departed`: when an object last left the watch.
    fn admits(self, look: Span, now: At, departed: Option<At>) -> bool {
        let Span { began, ended, is_complete } = look;
        now.since(ended) < self.within
            && (is_complete || !self.complete)
            && self.asked.is_none_or(|asked| began >= asked)
            && departed.is_none_or(|departed| began > departed)
    }
}

pub struct Outside {
    kube: kube::Client,
    selector: Option<String>,
    clock: Clock,
    /// What is watched: one namespace each, or all of them at once.
    scopes: Vec<Option<String>>,
    claims: tokio::sync::Mutex<Option<Span>>,
    children: Mutex<HashMap<String, Look>>,
    shares: Mutex<HashMap<Name, Look>>,
}

impl Outside {
    pub fn new(kube: kube::Client, scopes: &[Option<String>], selector: Option<String>, clock: Clock) -> Outside {
        let selector = selector.filter(|selector| !selector.trim().is_empty());
        Outside {
            kube,
            selector,
            clock,
            scopes: scopes.to_vec(),
            claims: tokio::sync::Mutex::default(),
            children: Mutex::default(),
            shares: Mutex::default(),
        }
    }

    /// The labels that objects must have to be watched; `None`: all are watched, so nothing is outside.
    pub fn selector(&self) -> Option<&str> {
        self.selector.as_deref()
    }

    pub fn scopes(&self) -> &[Option<String>] {
        &self.scopes
    }

    /// Lists the child objects of a namespace, whatever their labels, unless that was done as recently as wanted and none has
    /// left the watch since. Returns whether it was done now.
    pub async fn look(&self, index: &Index, namespace: &str, recency: Recency) -> Result<bool, kube::Error> {
        if self.selector.is_none() {
            return Ok(false);
        }
        let look = self.children.lock().entry(namespace.to_owned()).or_default().clone();
        let mut last = look.lock().await;
        let began = self.clock.now();
        if last.is_some_and(|last| recency.admits(last, began, index.departed(namespace))) {
            return Ok(false);
        }
        let recipients = self.list_all::<ShareRecipient>(index, namespace).await?;
        let resources = self.list_all::<ShareResource>(index, namespace).await?;
        index.recipients.found_outside(namespace, recipients);
        index.resources.found_outside(namespace, resources);
        *last = Some(Span { began, ended: self.clock.now(), is_complete: true });
        Ok(true)
    }

    /// Lists the Shares of all watched namespaces, whatever their labels, since they may have the share that another one
    /// names: unless that was done as recently as wanted and none has left the watch since. Returns whether it was done now.
    pub async fn look_for_claims(&self, index: &Index, recency: Recency) -> Result<bool, kube::Error> {
        if self.selector.is_none() {
            return Ok(false);
        }
        let mut last = self.claims.lock().await;
        let began = self.clock.now();
        if last.is_some_and(|last| recency.admits(last, began, index.share_departed())) {
            return Ok(false);
        }
        if last.is_some_and(|last| Recency { complete: false, ..recency }.admits(last, began, index.share_departed())) {
            // Many may wait for this one.
            return Err(kube::Error::Service("not all Shares could be listed a moment ago".into()));
        }
        let mut failure = None;
        for scope in &self.scopes {
            // A namespace that cannot be listed hides no claim of another one.
            match self.list::<Share>(index, scope.as_deref()).await {
                Ok((mut shares, unreadable)) => {
                    shares.retain(|share| index.shares.find(&Name::of(share)).is_none());
                    index.unwatched.found(scope.as_deref(), &shares, began);
                    if let Some(problem) = unreadable {
                        tracing::warn!(
                            problem,
                            "a Share outside --watch-label-selector cannot be read, so the share that it manages is unknown"
                        );
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        *last = Some(Span { began, ended: self.clock.now(), is_complete: failure.is_none() });
        failure.map_or(Ok(true), Err)
    }

    /// Reads a Share that the watch does not show, unless that was done within that time.
    pub async fn look_for_share(&self, index: &Index, name: &Name, within: Duration) -> Result<(), kube::Error> {
        if self.selector.is_none() || index.shares.find(name).is_some() {
            return Ok(());
        }
        let look = self.shares.lock().entry(name.clone()).or_default().clone();
        let mut last = look.lock().await;
        let began = self.clock.now();
        if last.is_some_and(|last| Recency::within(within).admits(last, began, index.departed(&name.namespace))) {
            return Ok(());
        }
        let api: Api<Share> = Api::namespaced(self.kube.clone(), &name.namespace);
        index.shares.found_outside_named(name, in_time(api.get_opt(&name.name)).await?);
        *last = Some(Span { began, ended: self.clock.now(), is_complete: true });
        Ok(())
    }

    /// The objects of a kind and namespace that are ours; an error if one of them cannot be read.
    async fn list_all<K: Reconciled + Debug>(&self, index: &Index, namespace: &str) -> Result<Vec<K>, kube::Error> {
        match self.list(index, Some(namespace)).await? {
            (found, None) => Ok(found),
            (_, Some(problem)) => Err(kube::Error::Service(problem.into())),
        }
    }

    /// The objects of a kind that are ours, and which of them the watch does not show and cannot be read.
    async fn list<K: Reconciled + Debug>(
        &self,
        index: &Index,
        scope: Option<&str>,
    ) -> Result<(Vec<K>, Option<String>), kube::Error> {
        let api: Api<DeserializeGuard<K>> = api_in(&self.kube, scope);
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let (mut found, mut unreadable) = (Vec::new(), None);
        loop {
            let page = in_time(api.list(&params)).await?;
            for guard in page.items {
                match guard.0 {
                    Ok(object) if has_finalizer(object.meta()) => found.push(object),
                    Ok(_) => {}
                    Err(invalid) => {
                        let meta = &invalid.metadata;
                        let namespace = meta.namespace.as_deref().or(scope).unwrap_or_default();
                        let name = Name::new(namespace, meta.name.clone().unwrap_or_default());
                        if has_finalizer(meta) && !K::cache(index).is_unreadable(&name) {
                            unreadable = Some(format!("{} cannot be read: {}", K::key(name), invalid.error));
                        }
                    }
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok((found, unreadable)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a look does that may have ended a second ago.
    fn admits((began, ended): (i64, i64), now: i64, departed: Option<i64>, asked: Option<i64>) -> bool {
        let recency = Recency { within: Duration::from_secs(1), asked: asked.map(At), complete: false };
        recency.admits(Span { began: At(began), ended: At(ended), is_complete: true }, At(now), departed.map(At))
    }

    #[test]
    fn a_look_tells_nothing_of_who_left_since() {
        assert!(admits((1_000, 1_000), 1_500, None, None));
        assert!(admits((1_000, 1_000), 1_500, Some(999), None));
        assert!(!admits((1_000, 1_000), 1_500, Some(1_000), None));
        assert!(!admits((1_000, 1_000), 1_500, Some(1_200), None));
        assert!(!admits((1_000, 1_000), 2_000, None, None));
    }

    #[test]
    fn a_look_that_takes_long_is_as_old_as_its_end_and_tells_of_its_begin() {
        assert!(admits((1_000, 9_000), 9_500, None, None));
        assert!(!admits((1_000, 9_000), 10_000, None, None));
        assert!(!admits((1_000, 9_000), 9_500, Some(5_000), None), "somebody left while it was under way");
        assert!(!admits((1_000, 9_000), 9_500, None, Some(5_000)), "somebody asked while it was under way");
        assert!(admits((5_000, 9_000), 9_500, None, Some(5_000)));
    }

    #[test]
    fn a_look_that_failed_in_part_does_not_do_where_everything_must_be_known() {
        let admits = |complete, is_complete| {
            let recency = Recency { within: Duration::from_secs(1), asked: None, complete };
            recency.admits(Span { began: At(0), ended: At(0), is_complete }, At(500), None)
        };
        assert!(admits(false, false) && admits(false, true) && admits(true, true));
        assert!(!admits(true, false));
    }
}
