//! What becomes of known objects whose namespace may not be watched any more?
//!
//! When a namespace is deleted, the Role that allows the watch may go before the objects. So those that are known are
//! read one by one: what is being deleted is released as usual, and what is gone is forgotten.

use std::sync::Arc;

use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt};
use tokio::sync::Mutex;

use super::Cluster;
use super::reconciled::Reconciled;
use super::requests::in_time;
use super::trouble::with_cause;
use crate::api::{Name, is_deleting};

/// Reads the known objects of one kind in a namespace, unless a round is under way, which holds `reading`; `learn` takes
/// what the watch would have brought.
pub fn read_known<K: Reconciled>(
    cluster: &Arc<Cluster>,
    namespace: &str,
    reading: &Arc<Mutex<()>>,
    learn: impl Fn(&Event<K>) + Send + 'static,
) {
    let Ok(alone) = reading.clone().try_lock_owned() else { return };
    let (cluster, namespace) = (cluster.clone(), namespace.to_owned());
    tokio::spawn(async move {
        let _alone = alone;
        if let Err(error) = round(&cluster, &namespace, learn).await {
            tracing::warn!(error = with_cause(&error), namespace, kind = %K::kind(&()), "known objects can no longer be read either");
        }
    });
}

async fn round<K: Reconciled>(
    cluster: &Arc<Cluster>,
    namespace: &str,
    learn: impl Fn(&Event<K>),
) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(cluster.kube.clone(), namespace);
    let known: Vec<Arc<K>> =
        K::cache(&cluster.index).all_known().filter(|o| o.namespace().as_deref() == Some(namespace)).collect();
    for object in known {
        let read = in_time(api.get_opt(&object.name_any())).await?;
        match read.filter(|found| found.uid() == object.uid()) {
            // One that stays: it is not the namespace that goes.
            Some(found) if !is_deleting(found.meta()) => return Ok(()),
            Some(found) if found.resource_version() == object.resource_version() => {}
            Some(found) => learn(&Event::Apply(found)),
            None => learn(&Event::Delete(object.as_ref().clone())),
        }
        cluster.requeuer.requeue(&K::key(Name::of(object.as_ref())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Share;
    use crate::operator::clock::Clock;
    use crate::operator::cluster::samples;

    fn share(version: &str, deleted: Option<&str>) -> Value {
        json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {
                "name": "waf", "namespace": "a", "uid": "u", "resourceVersion": version, "deletionTimestamp": deleted,
            },
            "spec": {"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "recipients": [], "resources": []},
        })
    }

    /// What is learned of the one known object where the API server has that; `None`: it has none.
    async fn learned(found: Option<Value>) -> Vec<&'static str> {
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
        let (code, body) = found.map_or((404, status), |found| (200, found));
        let server = tower::service_fn(move |_: Request<Body>| {
            let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async { Ok::<_, std::io::Error>(answer.expect("an answer")) }
        });
        let known: Share = serde_json::from_value(share("1", None)).expect("a Share");
        let kube = kube::Client::new(server, "a");
        let cluster = Arc::new(samples::cluster(kube, &[known], Arc::default(), Clock::SYSTEM));
        let learned = Mutex::new(Vec::new());
        let learn = |event: &Event<Share>| {
            learned.lock().push(match event {
                Event::Apply(_) => "applied",
                Event::Delete(_) => "deleted",
                Event::Init | Event::InitApply(_) | Event::InitDone => "listed",
            });
        };
        round(&cluster, "a", learn).await.expect("it is read");
        learned.into_inner()
    }

    #[tokio::test]
    async fn an_object_that_stays_is_none_of_a_namespace_that_goes() {
        assert_eq!(learned(Some(share("2", None))).await, [""; 0], "the right to watch is missing, and no more");
        assert_eq!(learned(Some(share("2", Some("2026-01-01T00:00:00Z")))).await, ["applied"]);
        assert_eq!(learned(Some(share("1", Some("2026-01-01T00:00:00Z")))).await, [""; 0]);
        assert_eq!(learned(None).await, ["deleted"]);
    }
}
