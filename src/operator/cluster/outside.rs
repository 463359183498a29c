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

use super::has_status::HasStatus;
use super::index::Index;
use super::requests::{api_in, in_time};
use crate::api::{Name, has_finalizer};
use crate::api::{Share, ShareRecipient, ShareResource};
use crate::core::time::At;
use crate::operator::clock::Clock;

/// Objects are listed in pages of so many.
const PAGE: u32 = 500;

/// When the last look began, and the lock that lets one caller look for all.
type Look = Arc<tokio::sync::Mutex<Option<At>>>;

pub struct Outside {
    kube: kube::Client,
    selector: Option<String>,
    clock: Clock,
    /// What is watched: one namespace each, or all of them at once.
    scopes: Vec<Option<String>>,
    /// When the last look for claims began and ended.
    claims: tokio::sync::Mutex<Option<(At, At)>>,
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

    /// What is watched: one namespace each, or all of them at once.
    pub fn scopes(&self) -> &[Option<String>] {
        &self.scopes
    }

    /// Lists the child objects of a namespace, whatever their labels, unless that was done within `age` and none has left
    /// the watch since. Returns whether it was done now.
    pub async fn look(&self, index: &Index, namespace: &str, age: Duration) -> Result<bool, kube::Error> {
        if self.selector.is_none() {
            return Ok(false);
        }
        let look = self.children.lock().entry(namespace.to_owned()).or_default().clone();
        let mut last = look.lock().await;
        let began = self.clock.now();
        if last.is_some_and(|last| is_recent(last, began, age, index.departed(namespace))) {
            return Ok(false);
        }
        let recipients = self.list_all::<ShareRecipient>(index, namespace).await?;
        let resources = self.list_all::<ShareResource>(index, namespace).await?;
        index.recipients.found_outside(namespace, recipients);
        index.resources.found_outside(namespace, resources);
        *last = Some(began);
        Ok(true)
    }

    /// Lists the Shares of all watched namespaces, whatever their labels, since they may have the share that another one
    /// names: unless that was done within `age` and none has left the watch since. Returns whether it was done now.
    pub async fn look_for_claims(&self, index: &Index, age: Duration) -> Result<bool, kube::Error> {
        if self.selector.is_none() {
            return Ok(false);
        }
        let mut last = self.claims.lock().await;
        let (began, departed) = (self.clock.now(), index.share_departed());
        let known = |(before, ended): (At, At)| began.since(ended) < age && departed.is_none_or(|at| before > at);
        if last.is_some_and(known) {
            return Ok(false);
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
        *last = Some((began, self.clock.now()));
        failure.map_or(Ok(true), Err)
    }

    /// Reads a Share that the watch does not show, unless that was done a moment ago.
    pub async fn look_for_share(&self, index: &Index, name: &Name, age: Duration) -> Result<(), kube::Error> {
        if self.selector.is_none() || index.shares.find(name).is_some() {
            return Ok(());
        }
        let look = self.shares.lock().entry(name.clone()).or_default().clone();
        let mut last = look.lock().await;
        let began = self.clock.now();
        if last.is_some_and(|last| is_recent(last, began, age, index.departed(&name.namespace))) {
            return Ok(());
        }
        let api: Api<Share> = Api::namespaced(self.kube.clone(), &name.namespace);
        index.shares.found_outside_named(name, in_time(api.get_opt(&name.name)).await?);
        *last = Some(began);
        Ok(())
    }

    /// The objects of a kind and namespace that are ours; an error if one of them cannot be read.
    async fn list_all<K: HasStatus + Debug>(&self, index: &Index, namespace: &str) -> Result<Vec<K>, kube::Error> {
        match self.list(index, Some(namespace)).await? {
            (found, None) => Ok(found),
            (_, Some(problem)) => Err(kube::Error::Service(problem.into())),
        }
    }

    /// The objects of a kind that are ours, and which of them the watch does not show and cannot be read.
    async fn list<K: HasStatus + Debug>(
        &self,
        index: &Index,
        scope: Option<&str>,
    ) -> Result<(Vec<K>, Option<String>), kube::Error> {
        let api: Api<DeserializeGuard<K>> = api_in(&self.kube, scope);
        let mut params = ListParams::default().limit(PAGE);
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

/// Whether a look that began at `last` still tells who is outside.
fn is_recent(last: At, now: At, age: Duration, departed: Option<At>) -> bool {
    now.since(last) < age && departed.is_none_or(|departed| last > departed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_nothing_of_who_left_since() {
        let second = Duration::from_secs(1);
        assert!(is_recent(At(1_000), At(1_500), second, None));
        assert!(is_recent(At(1_000), At(1_500), second, Some(At(999))));
        assert!(!is_recent(At(1_000), At(1_500), second, Some(At(1_000))));
        assert!(!is_recent(At(1_000), At(1_500), second, Some(At(1_200))));
        assert!(!is_recent(At(1_000), At(2_000), second, None));
    }
}
