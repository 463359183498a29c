//! Writes of an object's status and finalizer, and reads past every cache. Each write is guarded by the version it
//! was decided on.

use std::sync::Arc;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Cluster;
use super::current::Current;
use super::reconciled::Reconciled;
use super::requests::in_time;
use crate::api::{FIELD_MANAGER, FINALIZER, Name, Share, has_finalizer};
use crate::core::time::At;
use crate::operator::stop::Stop;

impl Cluster {
    fn api<K: Reconciled>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.kube.clone(), &object.namespace().unwrap_or_default())
    }

    /// Writes what differs between the object's status and the given one; nothing if they are the same.
    pub async fn write_status<K: Reconciled>(&self, object: &Arc<K>, status: &K::Status) -> Result<Arc<K>, Stop> {
        let before = as_value(&object.status());
        let Some(diff) = difference(&before, &as_value(status)) else { return Ok(object.clone()) };
        let patch = json!({
            "metadata": { "resourceVersion": object.resource_version(), "uid": object.uid() },
            "status": &diff,
        });
        let name = object.name_any();
        let (api, asked) = (self.api(object.as_ref()), self.clock.now());
        let written: K = in_time(api.patch_status(&name, &params(), &Patch::Merge(patch))).await?;
        if let Some(field) = dropped_field(&as_value(status), &as_value(&written.status())) {
            return Err(not_kept(&format!(
                "the API server did not keep status.{field}, without which nothing may be changed at Cloudflare: upgrade the CRDs \
                 to this version of cfshare, and check that no mutating webhook changes the status"
            )));
        }
        // The version in the patch makes it a read as well.
        self.answers.note(&written, asked, self.clock.now());
        Ok(K::cache(&self.index).wrote(written))
    }

    /// Puts our finalizer on the object, or takes it off.
    pub async fn set_finalizer<K: Reconciled>(&self, object: &Arc<K>, wanted: bool) -> Result<Arc<K>, Stop> {
        if has_finalizer(object.meta()) == wanted {
            return Ok(object.clone());
        }
        let mut finalizers: Vec<&str> =
            object.finalizers().iter().map(String::as_str).filter(|f| *f != FINALIZER).collect();
        if wanted {
            finalizers.push(FINALIZER);
        }
        let patch = json!({
            "metadata": {
                "resourceVersion": object.resource_version(), "uid": object.uid(), "finalizers": finalizers,
            },
        });
        let name = object.name_any();
        let (api, asked) = (self.api(object.as_ref()), self.clock.now());
        let written: K = in_time(api.patch(&name, &params(), &Patch::Merge(patch))).await?;
        if has_finalizer(written.meta()) != wanted {
            let what = if wanted {
                "did not keep the finalizer cfshare.dev/finalizer, without which nothing is changed at Cloudflare, since it \
                 would stay there when this object is deleted: most likely a mutating webhook removes the finalizer"
            } else {
                "kept the finalizer cfshare.dev/finalizer, which cfshare has removed: most likely a mutating webhook puts it \
                 back"
            };
            return Err(not_kept(&format!("the API server {what}. Exclude cfshare.dev from that webhook")));
        }
        self.answers.note(&written, asked, self.clock.now());
        Ok(K::cache(&self.index).wrote(written))
    }

    /// The object as it is now, past every cache.
    pub async fn current<K: Reconciled>(&self, name: &Name) -> Result<Option<Arc<K>>, Stop> {
        let api: Api<K> = Api::namespaced(self.kube.clone(), &name.namespace);
        Ok(in_time(api.get_opt(&name.name)).await?.map(|object| K::cache(&self.index).wrote(object)))
    }

    /// Whether the object exists, past every cache.
    pub async fn exists<K: Reconciled>(&self, name: &Name) -> Result<bool, Stop> {
        let api: Api<K> = Api::namespaced(self.kube.clone(), &name.namespace);
        Ok(in_time(api.get_metadata_opt(&name.name)).await?.is_some())
    }

    /// Whether the API server has another version of the object than ours, past every cache; also if it does not say. It is asked
    /// for a list, which needs no more than the watch.
    pub async fn has_other_version<K: Reconciled>(&self, object: &Arc<K>) -> bool {
        let ours = K::cache(&self.index).latest(object.clone());
        let named = ListParams::default().fields(&format!("metadata.name={}", ours.name_any()));
        let listed = in_time(self.api(ours.as_ref()).list_metadata(&named)).await;
        let theirs = listed.ok().and_then(|list| list.items.into_iter().next()?.metadata.resource_version);
        theirs.is_none() || theirs != ours.resource_version()
    }

    /// Asks whether the object is as it is here, unless that is known since a moment ago, and since the pass began. Where it is
    /// not, the next pass has what was read.
    pub async fn confirm<K: Reconciled>(&self, object: &K, began: At) -> Result<Current, Stop> {
        let asked = self.clock.now();
        if let Some(current) = self.answers.recall(object, began, asked) {
            return Ok(current);
        }
        let name = Name::of(object);
        let found = self.current::<K>(&name).await?;
        let is_same =
            |found: &Arc<K>| found.uid() == object.uid() && found.resource_version() == object.resource_version();
        // The answer may have been long on its way: what the watch brought meanwhile is newer.
        let is_last = |found: &Arc<K>| is_same(&K::cache(&self.index).latest(found.clone()));
        match found.filter(|found| is_same(found) && is_last(found)) {
            Some(found) => Ok(self.answers.note(found.as_ref(), asked, self.clock.now())),
            None => {
                tracing::info!(object = %K::key(name), "the API server does not have this version of the object any more; deciding again");
                Err(Stop::Conflict)
            }
        }
    }

    /// Asks whether a Share is as it is known here, also where it is not known at all.
    pub async fn confirm_share(&self, name: &Name, began: At) -> Result<(), Stop> {
        match self.index.shares.known(name) {
            Some(share) => {
                let confirmed = self.confirm(share.as_ref(), began).await;
                if matches!(confirmed, Err(Stop::Conflict))
                    && self.exists::<Share>(name).await.is_ok_and(|exists| !exists)
                {
                    // Nothing else says so to the object that asks, should the watch be silent.
                    self.shards.list_again(self.clock.now());
                }
                confirmed.map(|_| ())
            }
            None if self.exists::<Share>(name).await? => {
                self.shards.list_again(self.clock.now());
                Err(Stop::Conflict)
            }
            None => Ok(()),
        }
    }
}

/// A write that was answered as if it were stored, and is not. A retry does not change it, as with any other refusal.
fn not_kept(message: &str) -> Stop {
    Stop::Kubernetes(kube::Error::Api(Status::failure(message, "Invalid").with_code(422).boxed()))
}

/// Whose fields these are, for `kubectl get --show-managed-fields`.
fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

fn as_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The fields of a status on which calls to Cloudflare rely.
const RELIED_ON: [&str; 10] = [
    "boundUID",
    "shareID",
    "intent",
    "inventory",
    "intendedAt",
    "replacingSince",
    "recentRemovals/rows",
    "recentRemovals/before",
    "recentDeletions",
    "confirmedRemovals",
];

/// A field that is not as it was to be after a write: a CRD of an older version drops what it does not know, and a webhook may
/// drop anything.
fn dropped_field(sent: &Value, written: &Value) -> Option<String> {
    let pointers = RELIED_ON.map(|field| format!("/{field}"));
    let dropped = pointers.iter().find(|at| sent.pointer(at) != written.pointer(at));
    dropped.map(|pointer| pointer[1..].replace('/', "."))
}

/// A merge patch that turns one value into the other; `None` if they are the same.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return Some(after.clone()) };
    let mut patch = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(old) => {
                if let Some(diff) = difference(old, value) {
                    patch.insert(key.clone(), diff);
                }
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Method, Request, Response};
    use kube::client::Body;

    use super::*;
    use crate::api::ShareRecipient;
    use crate::api::status::CreateIntent;
    use crate::operator::clock::Clock;
    use crate::operator::cluster::events::Events;
    use crate::operator::cluster::index::Index;
    use crate::operator::cluster::outside::Outside;
    use crate::operator::cluster::samples;
    use crate::operator::cluster::served::ServedShards;
    use crate::operator::cluster::work_queue::Requeuer;

    /// A cluster whose API server answers each patch like this.
    fn cluster(status: u16, body: Value) -> Cluster {
        let server = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.method(), Method::PATCH);
            let answer = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, std::io::Error>(answer.expect("an answer")) }
        });
        let (kube, clock) = (kube::Client::new(server, "a"), Clock(At::default));
        Cluster {
            clock,
            index: Index::of(&[], &[], &[], At(0)),
            outside: Outside::new(kube.clone(), &[None], clock),
            events: Events::new(kube.clone(), None, Arc::default()),
            kube,
            requeuer: Arc::new(Requeuer::new(Vec::new())),
            shards: ServedShards::new(1, At(0)),
            answers: Default::default(),
        }
    }

    fn object(kind: &str, spec: Value, status: Value) -> Value {
        let metadata = json!({
            "name": "waf", "namespace": "a", "uid": "u1", "resourceVersion": "1", "finalizers": [FINALIZER],
        });
        json!({"apiVersion": "cfshare.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status})
    }

    #[tokio::test]
    async fn an_announcement_that_the_api_server_does_not_keep_is_no_announcement() {
        let spec = json!({"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "resources": []});
        let share = |status| object("Share", spec.clone(), status);
        let intent = json!({"attempt": 1, "name": "waf", "startedAt": "2026-01-01T00:00:00Z", "fingerprint": "f"});
        let before = json!({"observedGeneration": 1});
        let bare: Arc<Share> = Arc::new(serde_json::from_value(share(before.clone())).expect("a Share"));
        let mut wanted = bare.status.clone().unwrap_or_default();
        let announced: CreateIntent = serde_json::from_value(intent.clone()).expect("an announcement");
        wanted.intent = Some(announced.into());
        let kept = share(json!({"observedGeneration": 1, "intent": intent, "unknown": true}));
        for (answer, is_written) in [(kept, true), (share(before), false)] {
            let written = cluster(200, answer).write_status(&bare, &wanted).await;
            assert_eq!(written.is_ok(), is_written, "{written:?}");
            let refusal = written.as_ref().err().and_then(Stop::refusal);
            assert_eq!(refusal.is_some_and(|told| told.contains("upgrade the CRDs")), !is_written, "{written:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_nothing_is_found_takes_no_finalizer_off() {
        let spec = json!({"shareRef": {"name": "waf"}, "accountID": "023e105f4ecef8ad9ca31a8372d0c353"});
        let child = object("ShareRecipient", spec, json!({"observedGeneration": 1}));
        let child: Arc<ShareRecipient> = Arc::new(serde_json::from_value(child).expect("a ShareRecipient"));
        let answer = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": 404});
        assert!(cluster(404, answer).set_finalizer(&child, false).await.is_err());
    }

    #[tokio::test]
    async fn a_finalizer_is_on_or_off_as_the_api_server_stored_it_whatever_was_asked_for() {
        let spec = json!({"shareRef": {"name": "waf"}, "accountID": "023e105f4ecef8ad9ca31a8372d0c353"});
        let child = |finalizers: &[&str]| {
            let mut child = object("ShareRecipient", spec.clone(), json!({"observedGeneration": 1}));
            child["metadata"]["finalizers"] = json!(finalizers);
            child
        };
        let with = || child(&["example.com/other", FINALIZER]);
        let without = || child(&["example.com/other"]);
        for (before, wanted, answer, is_stored) in [
            (without(), true, with(), true),
            (without(), true, without(), false),
            (with(), false, without(), true),
            (with(), false, with(), false),
        ] {
            let before: Arc<ShareRecipient> = Arc::new(serde_json::from_value(before).expect("a ShareRecipient"));
            let cluster = cluster(200, answer);
            let written = cluster.set_finalizer(&before, wanted).await;
            assert_eq!(written.is_ok(), is_stored, "{wanted}: {written:?}");
            let refusal = written.as_ref().err().and_then(Stop::refusal);
            assert_eq!(refusal.is_some_and(|told| told.contains("webhook")), !is_stored, "{wanted}: {written:?}");
        }
    }

    #[tokio::test]
    async fn an_object_is_read_once_a_second_and_a_newer_version_stops_the_pass() {
        let share = |version: &str| {
            let spec = json!({"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "resources": []});
            let mut share = object("Share", spec, json!({"observedGeneration": 1}));
            share["metadata"]["resourceVersion"] = version.into();
            share
        };
        let (reads, newer) = (Arc::new(AtomicUsize::new(0)), share("8"));
        let counted = reads.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = Response::new(Body::from(newer.to_string().into_bytes()));
            async move { Ok::<_, std::io::Error>(answer) }
        });
        let known: Share = serde_json::from_value(share("7")).expect("a Share");
        let kube = kube::Client::new(server, "a");
        let cluster = samples::cluster(kube, std::slice::from_ref(&known), Arc::default(), Clock(|| At(1_000)));
        assert!(matches!(cluster.confirm(&known, At(0)).await, Err(Stop::Conflict)));
        let newer = cluster.index.shares.latest(Arc::new(known));
        assert_eq!(newer.resource_version().as_deref(), Some("8"), "the next pass has what was read");
        for _ in 0..3 {
            assert!(cluster.confirm(newer.as_ref(), At(0)).await.is_ok());
        }
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_a_write_relies_on_is_missed_and_nothing_else() {
        let sent = json!({"intent": 2, "inventory": 1, "drift": 3});
        let dropped = |written: Value| dropped_field(&sent, &written);
        assert_eq!(dropped(sent.clone()), None);
        assert_eq!(dropped(json!({"intent": 2, "inventory": 1})), None, "nothing relies on the drift");
        assert_eq!(dropped(json!({"intent": 2, "drift": 3})), Some("inventory".into()));
        assert_eq!(dropped(json!({"intent": 1, "inventory": 1})), Some("intent".into()));
        assert_eq!(dropped(Value::Null), Some("intent".into()));
        // It only tells what a person is to confirm, and the CRDs of 0.1.0 do not have it.
        let sent = json!({"recentRemovals": {"rows": [1], "withheld": 2}});
        let dropped = |written: Value| dropped_field(&sent, &written);
        assert_eq!(dropped(json!({"recentRemovals": {"rows": [1]}})), None);
        assert_eq!(dropped(json!({"recentRemovals": {"withheld": 2}})), Some("recentRemovals.rows".into()));
    }

    #[test]
    fn a_difference_names_what_changed_came_and_went_and_nothing_else() {
        let before = json!({"a": 1, "b": {"x": 1, "y": 2}, "c": [1], "same": true});
        let after = json!({"a": 2, "b": {"x": 1}, "d": "new", "same": true});
        assert_eq!(difference(&before, &after), Some(json!({"a": 2, "b": {"y": null}, "c": null, "d": "new"})));
        assert_eq!(difference(&after, &after), None);
    }
}
