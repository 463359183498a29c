//! Which objects exist though the watch does not show them?
//!
//! An object whose labels no longer match the selector leaves the watch as a deleted one does, and after a restart it is
//! not listed at all. It still exists and holds its row, as our finalizer on it says. And a watch that fails, or is late,
//! does not show an object that was just made. So a list without the selector is read before anything is removed because
//! nobody declares it.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use super::index::Index;
use super::object_cache::{Hidden, Unshown};
use super::reconciled::Reconciled;
use super::requests::{api_in, in_time};
use crate::api::{Kind, Name, Share, has_finalizer, is_deleting};
use crate::core::time::At;
use crate::operator::clock::Clock;

/// Objects are listed in pages of so many.
const PAGE_SIZE: u32 = 500;
/// Looks at the child objects of a namespace begin at least so far apart: one serves all who ask meanwhile.
const LOOK_GAP: Duration = Duration::from_secs(1);

/// What became of a wish to know which child objects exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// They were listed recently enough.
    Before,
    /// They were listed now.
    Now,
    /// They were listed a moment ago, and are to be listed once more in a moment.
    Soon,
}

/// The last look, and the lock that lets one caller look for all.
type Look = Arc<tokio::sync::Mutex<Option<Span>>>;

/// A list that failed is not tried again before, however many ask for it.
pub const FAILED_GAP: Duration = Duration::from_secs(10);

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
    /// By kind and namespace.
    children: Mutex<HashMap<(Kind, String), Look>>,
    /// Why the last look of a kind and namespace failed, and when.
    failed: Mutex<HashMap<(Kind, String), (At, kube::Error)>>,
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
            failed: Mutex::default(),
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

    /// Lists the child objects of a kind and namespace, whatever their labels and whether or not the watch works, unless that
    /// was done as recently as wanted and none has left the watch since.
    pub async fn look<K: Reconciled + Debug>(
        &self,
        index: &Index,
        namespace: &str,
        recency: Recency,
    ) -> Result<Looked, kube::Error> {
        let place = (K::KIND, namespace.to_owned());
        let look = self.children.lock().entry(place.clone()).or_default().clone();
        let mut last = look.lock().await;
        let began = self.clock.now();
        if last.is_some_and(|last| recency.admits(last, began, index.departed(namespace))) {
            return Ok(Looked::Before);
        }
        if last.is_some_and(|last| last.began <= began && began.since(last.began) < LOOK_GAP) {
            return Ok(Looked::Soon);
        }
        if let Some((at, error)) = self.failed.lock().get(&place)
            && *at <= began
            && began.since(*at) < FAILED_GAP
        {
            return Err(again(error));
        }
        let listed = self.list_hidden::<K>(index, namespace).await;
        match &listed {
            Ok(_) => self.failed.lock().remove(&place),
            Err(error) => self.failed.lock().insert(place, (self.clock.now(), again(error))),
        };
        let hidden = listed?;
        K::cache(index).found_outside(namespace, hidden);
        *last = Some(Span { began, ended: self.clock.now(), is_complete: true });
        Ok(Looked::Now)
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
            match self.list::<Share>(scope.as_deref(), |share| has_finalizer(&share.metadata)).await {
                Ok((mut shares, unreadable)) => {
                    shares.retain(|share| index.shares.find(&Name::of(share)).is_none());
                    index.unwatched.found(scope.as_deref(), &shares, began);
                    if let Some((name, problem)) =
                        unreadable.into_iter().find(|(name, _)| !index.shares.is_unreadable(name))
                    {
                        tracing::warn!(
                            share = %Share::key(name),
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

    /// The child objects of a kind and namespace that the watch does not show as they are; an error if one of these cannot be
    /// read.
    async fn list_hidden<K: Reconciled + Debug>(
        &self,
        index: &Index,
        namespace: &str,
    ) -> Result<Vec<Unshown<K>>, kube::Error> {
        // What is being deleted and never was ours declares nothing.
        let declares = |object: &K| has_finalizer(object.meta()) || !is_deleting(object.meta());
        let (hidden, unreadable) =
            self.list(Some(namespace), |object| declares(object) && !K::cache(index).is_shown(object)).await?;
        // Of an object that was read before, the store has what it declares.
        let known = |name: &Name| K::cache(index).is_unreadable(name) && K::cache(index).watched(name).is_some();
        if let Some((name, problem)) = unreadable.into_iter().find(|(name, _)| !known(name)) {
            return Err(kube::Error::Service(format!("{} cannot be read: {problem}", K::key(name)).into()));
        }
        let matching = self.matching::<K>(namespace, &hidden).await?;
        let is_late = |object: &K| matching.as_ref().is_none_or(|names| names.contains(&object.name_any()));
        let why = |object: &K| if is_late(object) { Hidden::Late } else { Hidden::OutOfScope };
        Ok(hidden.into_iter().map(|object| Unshown { why: why(&object), object: Arc::new(object) }).collect())
    }

    /// The names of all objects that match the selector, if there are any to ask about; `None`: every name does.
    async fn matching<K: Reconciled + Debug>(
        &self,
        namespace: &str,
        asked: &[K],
    ) -> Result<Option<HashSet<String>>, kube::Error> {
        let Some(selector) = self.selector.as_deref().filter(|_| !asked.is_empty()) else { return Ok(None) };
        let api: Api<K> = Api::namespaced(self.kube.clone(), namespace);
        let mut params = ListParams::default().labels(selector).limit(PAGE_SIZE);
        let mut names = HashSet::new();
        loop {
            let page = in_time(api.list_metadata(&params)).await?;
            names.extend(page.items.iter().map(ResourceExt::name_any));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(Some(names)),
            }
        }
    }

    /// The objects of a kind that are wanted, and which could not be read, with the reason.
    async fn list<K: Reconciled + Debug>(
        &self,
        scope: Option<&str>,
        is_wanted: impl Fn(&K) -> bool,
    ) -> Result<(Vec<K>, Vec<(Name, String)>), kube::Error> {
        let api: Api<DeserializeGuard<K>> = api_in(&self.kube, scope);
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        loop {
            let page = in_time(api.list(&params)).await?;
            for guard in page.items {
                match guard.0 {
                    Ok(object) if is_wanted(&object) => found.push(object),
                    Ok(_) => {}
                    Err(invalid) => {
                        let namespace = invalid.metadata.namespace.as_deref().or(scope).unwrap_or_default();
                        let name = Name::new(namespace, invalid.metadata.name.clone().unwrap_or_default());
                        unreadable.push((name, invalid.error));
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

/// The same error once more, for the next who ask.
fn again(error: &kube::Error) -> kube::Error {
    match error {
        kube::Error::Api(status) => kube::Error::Api(status.clone()),
        kube::Error::Service(text) => kube::Error::Service(text.to_string().into()),
        other => kube::Error::Service(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::ShareRecipient;

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

    const OTHER: &str = "372e67954025e0ba6aaa6d586b9e0b59";

    fn recipient(name: &str, uid: &str, more: Value) -> Value {
        let mut metadata = json!({"name": name, "namespace": "a", "uid": uid, "resourceVersion": "7"});
        metadata.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient", "metadata": metadata,
            "spec": {"shareRef": {"name": "waf"}, "accountID": OTHER},
        })
    }

    /// What is hidden in a namespace where the watch shows `watched`, and the API server lists `listed`; those with labels
    /// match the selector.
    async fn hidden(selector: Option<&str>, watched: &Value, listed: Vec<Value>) -> Vec<(String, Hidden)> {
        let watched: ShareRecipient = serde_json::from_value(watched.clone()).expect("a ShareRecipient");
        let index = Index::of(&[], &[watched], &[], At(0));
        let server = tower::service_fn(move |request: Request<Body>| {
            let by_labels = request.uri().query().is_some_and(|query| query.contains("labelSelector"));
            let mut items = listed.clone();
            items.retain(|item| !by_labels || item["metadata"].get("labels").is_some());
            let list = json!({
                "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipientList", "metadata": {}, "items": items,
            });
            let answer = Response::new(Body::from(list.to_string().into_bytes()));
            async move { Ok::<_, std::io::Error>(answer) }
        });
        let kube = kube::Client::new(server, "a");
        let outside = Outside::new(kube, &[None], selector.map(str::to_owned), Clock(|| At(1_000)));
        let recency = Recency::within(Duration::from_secs(5));
        let look = || outside.look::<ShareRecipient>(&index, "a", recency);
        assert_eq!(look().await.expect("a list"), Looked::Now);
        assert_eq!(look().await.expect("no list"), Looked::Before);
        let since = Recency { asked: Some(At(1_001)), ..recency };
        let again = outside.look::<ShareRecipient>(&index, "a", since).await;
        assert_eq!(again.expect("no list yet"), Looked::Soon);
        let mut found: Vec<(String, Hidden)> =
            index.recipients.all_outside("a").into_iter().map(|(object, why)| (object.name_any(), why)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    #[tokio::test]
    async fn what_the_watch_does_not_show_is_found_with_and_without_a_selector_and_a_finalizer() {
        let watched = recipient("seen", "u1", json!({}));
        let new = recipient("new", "u2", json!({"labels": {"team": "waf"}}));
        let listed = vec![watched.clone(), new, recipient("other", "u3", json!({}))];
        let late = |name: &str| (name.to_owned(), Hidden::Late);
        assert_eq!(hidden(None, &watched, listed.clone()).await, [late("new"), late("other")]);
        let outside = ("other".to_owned(), Hidden::OutOfScope);
        assert_eq!(hidden(Some("team=waf"), &watched, listed).await, [late("new"), outside]);
    }

    #[tokio::test]
    async fn another_object_of_a_name_that_the_watch_shows_is_found_and_one_that_ends_without_our_finalizer_is_not() {
        let watched = recipient("seen", "u1", json!({}));
        let again = recipient("seen", "u2", json!({}));
        let ends = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/theirs"]});
        let found = hidden(None, &watched, vec![again, recipient("ends", "u3", ends)]).await;
        assert_eq!(found, [("seen".to_owned(), Hidden::Late)]);
    }
}
