//! Which child objects exist though the watch does not show them?
//!
//! A watch that fails, or is late, does not show an object that was just made. So a list is read before anything is removed
//! because nobody declares it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use parking_lot::Mutex;

use super::guarded::Guarded;
use super::index::Index;
use super::reconciled::Reconciled;
use super::requests::in_time;
use super::trouble::with_cause;
use crate::api::{Kind, Name, has_finalizer, is_deleting};
use crate::core::time::At;
use crate::operator::clock::Clock;

/// Objects are listed in pages of so many.
const PAGE_SIZE: u32 = 500;
/// Looks at the child objects of a namespace begin at least so far apart: one serves all who ask meanwhile.
const LOOK_GAP: Duration = Duration::from_secs(1);

/// The last look, and the lock that lets one caller look for all.
type Look = Arc<tokio::sync::Mutex<Option<Span>>>;

/// A list that failed is not tried again before, however many ask for it.
pub const FAILED_GAP: Duration = Duration::from_secs(10);

/// When a look began and ended.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: At,
    ended: At,
}

/// How recent a look must be to do.
#[derive(Debug, Clone, Copy)]
pub struct Recency {
    /// It ended so shortly before. A look may take longer than that.
    pub within: Duration,
    /// It began no earlier than somebody asked for one.
    pub asked: Option<At>,
}

impl Recency {
    pub fn within(within: Duration) -> Recency {
        Recency { within, asked: None }
    }

    /// Whether a look tells at that time who is outside.
    fn admits(self, Span { began, ended }: Span, now: At) -> bool {
        now.since(ended) < self.within && self.asked.is_none_or(|asked| began >= asked)
    }
}

pub struct Outside {
    kube: kube::Client,
    clock: Clock,
    /// What is watched: one namespace each, or all of them at once.
    scopes: Vec<Option<String>>,
    /// By kind and namespace.
    children: Mutex<HashMap<(Kind, String), Look>>,
    /// Why the last look of a kind and namespace failed, and when.
    failed: Mutex<HashMap<(Kind, String), (At, kube::Error)>>,
}

impl Outside {
    pub fn new(kube: kube::Client, scopes: &[Option<String>], clock: Clock) -> Outside {
        Outside { kube, clock, scopes: scopes.to_vec(), children: Mutex::default(), failed: Mutex::default() }
    }

    pub fn scopes(&self) -> &[Option<String>] {
        &self.scopes
    }

    /// Lists the child objects of a kind and namespace, whether or not the watch works, unless that was done as recently as
    /// wanted: then what is late is known.
    pub async fn look<K: Reconciled + Debug>(
        &self,
        index: &Index,
        namespace: &str,
        recency: Recency,
    ) -> Result<(), kube::Error> {
        let place = (K::KIND, namespace.to_owned());
        let look = self.children.lock().entry(place.clone()).or_default().clone();
        let mut last = look.lock().await;
        if last.is_some_and(|last| recency.admits(last, self.clock.now())) {
            return Ok(());
        }
        if let Some(last) = *last {
            tokio::time::sleep(LOOK_GAP.saturating_sub(self.clock.now().since(last.began))).await;
        }
        let began = self.clock.now();
        if let Some((at, error)) = self.failed.lock().get(&place)
            && *at <= began
            && began.since(*at) < FAILED_GAP
        {
            return Err(again(error));
        }
        let listed = self.list_late::<K>(index, namespace).await;
        match &listed {
            Ok(_) => self.failed.lock().remove(&place),
            Err(error) => {
                let before = self.failed.lock().insert(place, (self.clock.now(), again(error)));
                if before.as_ref().is_none_or(|(_, before)| with_cause(before) != with_cause(error)) {
                    tracing::warn!(
                        error = with_cause(error),
                        namespace,
                        "{}s cannot be listed, so none of what they may declare is removed",
                        K::KIND
                    );
                }
                before
            }
        };
        K::cache(index).found_late(namespace, listed?);
        *last = Some(Span { began, ended: self.clock.now() });
        Ok(())
    }

    /// The child objects of a kind and namespace that the watch does not show as they are; an error if one of these cannot be
    /// read.
    async fn list_late<K: Reconciled + Debug>(&self, index: &Index, namespace: &str) -> Result<Vec<K>, kube::Error> {
        let api: Api<Guarded<K>> = Api::namespaced(self.kube.clone(), namespace);
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let mut late = Vec::new();
        loop {
            let page = in_time(api.list(&params)).await?;
            for guard in page.items {
                match guard.0 {
                    Ok(object) if declares(&object) && !K::cache(index).is_shown(&object) => late.push(object),
                    Ok(_) => {}
                    Err(invalid) => {
                        let name = Name::new(namespace, invalid.metadata.name.clone().unwrap_or_default());
                        // Of an object that was read before, the store has what it declares, which cannot change.
                        let known = K::cache(index).watched(&name).and_then(|known| known.meta().uid.clone());
                        if known.is_none() || known != invalid.metadata.uid {
                            let problem = format!("{} cannot be read: {}", K::key(name), invalid.error);
                            return Err(kube::Error::Service(problem.into()));
                        }
                    }
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(late),
            }
        }
    }
}

/// What is being deleted and never was ours declares nothing.
fn declares<K: Reconciled>(object: &K) -> bool {
    has_finalizer(object.meta()) || !is_deleting(object.meta())
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use http::{Request, Response};
    use kube::ResourceExt;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::ShareRecipient;

    /// Whether a look does that may have ended a second ago.
    fn admits((began, ended): (i64, i64), now: i64, asked: Option<i64>) -> bool {
        let recency = Recency { within: Duration::from_secs(1), asked: asked.map(At) };
        recency.admits(Span { began: At(began), ended: At(ended) }, At(now))
    }

    #[test]
    fn a_look_that_takes_long_is_as_old_as_its_end_and_tells_of_its_begin() {
        assert!(admits((1_000, 9_000), 9_500, None));
        assert!(!admits((1_000, 9_000), 10_000, None));
        assert!(!admits((1_000, 9_000), 9_500, Some(5_000)), "somebody asked while it was under way");
        assert!(admits((5_000, 9_000), 9_500, Some(5_000)));
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

    /// What is late in a namespace where the watch shows `watched`, and the API server lists `listed`.
    async fn late(watched: &Value, listed: Vec<Value>) -> Vec<String> {
        let watched: ShareRecipient = serde_json::from_value(watched.clone()).expect("a ShareRecipient");
        let index = Index::of(&[], &[watched], &[], At(0));
        let lists = Arc::new(AtomicUsize::new(0));
        let counted = lists.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let list = json!({
                "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipientList", "metadata": {}, "items": listed,
            });
            let answer = Response::new(Body::from(list.to_string().into_bytes()));
            async move { Ok::<_, std::io::Error>(answer) }
        });
        let kube = kube::Client::new(server, "a");
        let outside = Outside::new(kube, &[None], Clock(|| At(1_000)));
        let recency = Recency::within(Duration::from_secs(5));
        let since = Recency { asked: Some(At(1_001)), ..recency };
        let started = Instant::now();
        for (recency, expected) in [(recency, 1), (recency, 1), (since, 2)] {
            outside.look::<ShareRecipient>(&index, "a", recency).await.expect("a list");
            assert_eq!(lists.load(Ordering::SeqCst), expected);
        }
        assert!(started.elapsed() >= LOOK_GAP, "two lists do not follow each other at once");
        let mut found: Vec<String> = index.recipients.late_ones("a").iter().map(|object| object.name_any()).collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn what_the_watch_does_not_show_is_found_with_and_without_labels_and_a_finalizer() {
        let watched = recipient("seen", "u1", json!({}));
        let new = recipient("new", "u2", json!({"labels": {"team": "waf"}}));
        assert_eq!(
            late(&watched, vec![watched.clone(), new, recipient("other", "u3", json!({}))]).await,
            ["new", "other"]
        );
    }

    #[tokio::test]
    async fn another_object_of_a_name_that_the_watch_shows_is_found_and_one_that_ends_without_our_finalizer_is_not() {
        let watched = recipient("seen", "u1", json!({}));
        let again = recipient("seen", "u2", json!({}));
        let ends = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/theirs"]});
        assert_eq!(late(&watched, vec![again, recipient("ends", "u3", ends)]).await, ["seen"]);
    }
}
