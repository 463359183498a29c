//! What becomes of known objects whose namespace may not be watched any more?
//!
//! When a namespace is deleted, the Role that allows the watch may go before the objects. So those that are known are
//! read one by one: what is being deleted is released as usual, and what is gone is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt};

use super::Cluster;
use super::reconciled::Reconciled;
use super::requests::in_time;
use crate::api::{Name, is_deleting};

/// Reads the known objects of one kind in a namespace, one round at a time; `learn` takes what the watch would have brought.
pub fn read_known<K: Reconciled>(
    cluster: &Arc<Cluster>,
    namespace: &str,
    busy: &Arc<AtomicBool>,
    learn: impl Fn(&Event<K>) + Send + 'static,
) {
    if busy.swap(true, Ordering::AcqRel) {
        return;
    }
    let (cluster, namespace, round_ends) = (cluster.clone(), namespace.to_owned(), Ends(busy.clone()));
    tokio::spawn(async move {
        let _round_ends = round_ends;
        if let Err(error) = round(&cluster, &namespace, learn).await {
            tracing::warn!(%error, namespace, kind = %K::kind(&()), "known objects can no longer be read either");
        }
    });
}

/// A round ends, however it does.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn round<K: Reconciled>(
    cluster: &Arc<Cluster>,
    namespace: &str,
    learn: impl Fn(&Event<K>),
) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(cluster.kube.clone(), namespace);
    let known: Vec<Arc<K>> =
        K::cache(&cluster.index).all().filter(|o| o.namespace().as_deref() == Some(namespace)).collect();
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
