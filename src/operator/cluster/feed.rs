//! Where does what becomes of one kind in one scope go: into the store and the index, and to those who have to look?

use std::sync::Arc;

use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;

use super::Cluster;
use super::object_cache::ObjectCache;
use super::reconciled::Reconciled;
use super::revoked;
use crate::api::{Name, ObjectKey};
use crate::core::health::{Cause, Sign};

/// The writer of a store, which a reflector and its feed share.
pub type SharedWriter<K> = Arc<parking_lot::Mutex<Writer<K>>>;

pub struct Feed<K: Reconciled> {
    pub scope: Option<String>,
    pub cluster: Arc<Cluster>,
    writer: SharedWriter<K>,
    /// Learns of each sign of life.
    report: Box<dyn Fn(Sign) + Send + Sync>,
    /// Learns of each object that is gone.
    deleted: Box<dyn Fn(&ObjectKey) + Send + Sync>,
    /// Held while known objects are read one by one.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl<K: Reconciled> Feed<K> {
    pub fn new(
        scope: Option<String>,
        cluster: Arc<Cluster>,
        writer: SharedWriter<K>,
        report: impl Fn(Sign) + Send + Sync + 'static,
        deleted: impl Fn(&ObjectKey) + Send + Sync + 'static,
    ) -> Feed<K> {
        let (report, deleted) = (Box::new(report), Box::new(deleted));
        Feed { scope, cluster, writer, report, deleted, reading: Arc::default() }
    }

    pub fn cache(&self) -> &ObjectCache<K> {
        K::cache(&self.cluster.index)
    }

    /// How many objects of this scope are known, among them those that cannot be read.
    pub fn known(&self) -> usize {
        self.readable() + self.cache().never_read(self.scope.as_deref())
    }

    /// How many of them were read.
    pub fn readable(&self) -> usize {
        self.writer.lock().as_reader().len()
    }

    /// Passes a sign on. Where the namespace may not be watched any more, its known objects are read one by one.
    pub fn report(self: &Arc<Self>, sign: Sign) {
        (self.report)(sign);
        let (Some(namespace), Sign::Failed(Cause::Forbidden)) = (&self.scope, sign) else { return };
        let noting = self.clone();
        revoked::read_known::<K>(&self.cluster, namespace, &self.reading, move |event| {
            noting.take_note(event).iter().for_each(|key| noting.cluster.requeuer.requeue(key));
        });
    }

    /// Requeues these objects, which can be read again or are gone, and the objects that waited for them.
    pub fn requeue_those_who_waited(&self, readable: &[Name]) {
        let cluster = &self.cluster;
        for name in readable {
            cluster.requeuer.requeue(&K::key(name.clone()));
            cluster.requeue_family(name);
        }
    }

    /// Takes note of an event. Returns who else has to look.
    pub fn take_note(&self, event: &Event<K>) -> Vec<ObjectKey> {
        let (index, now) = (&self.cluster.index, self.cluster.clock.now());
        self.writer.lock().apply_watcher_event(event);
        match event {
            Event::Apply(object) | Event::InitApply(object) => index.applied(object, now),
            Event::Delete(object) => {
                (self.deleted)(&K::key(Name::of(object)));
                index.deleted(object, now)
            }
            Event::InitDone => index.relisted::<K>(self.scope.as_deref(), now, &self.deleted),
            Event::Init => Vec::new(),
        }
    }
}
