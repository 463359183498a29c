//! The objects of one kind as the watch brought them, or as our own last write left them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use crate::operator::key::Name;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Objects of one kind: what the watch brought, and where our own writes are ahead of it.
pub struct Kept<K: Resource<DynamicType = ()> + Clone + 'static> {
    stores: Vec<Store<K>>,
    ahead: Mutex<HashMap<Name, Arc<K>>>,
    /// Objects that are there and cannot be read; what was read of them before is kept in the store.
    unreadable: Mutex<HashSet<Name>>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Kept<K> {
    /// One store for each watched scope.
    pub fn new(stores: Vec<Store<K>>) -> Self {
        Kept { stores, ahead: Mutex::default(), unreadable: Mutex::default() }
    }

    fn unreadable(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last that came of the object could not be read: nothing is done on the word of what is kept.
    pub fn is_unreadable(&self, name: &Name) -> bool {
        self.unreadable().contains(name)
    }

    pub fn has_unreadable(&self, namespace: &str) -> bool {
        self.unreadable().iter().any(|name| name.namespace == namespace)
    }

    pub fn became_unreadable(&self, name: Name) {
        self.unreadable().insert(name);
    }

    /// Returns whether that is news.
    pub fn became_readable(&self, name: &Name) -> bool {
        self.unreadable().remove(name)
    }

    /// Of one scope's objects only these cannot be read.
    pub fn only_unreadable(&self, scope: Option<&str>, names: HashSet<Name>) {
        let mut unreadable = self.unreadable();
        unreadable.retain(|name| scope.is_some_and(|scope| name.namespace != scope));
        unreadable.extend(names);
    }

    fn ahead(&self) -> MutexGuard<'_, HashMap<Name, Arc<K>>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn find(&self, name: &Name) -> Option<Arc<K>> {
        self.watched(name).map(|object| self.newest(object))
    }

    fn watched(&self, name: &Name) -> Option<Arc<K>> {
        let reference = ObjectRef::new(&name.name).within(&name.namespace);
        self.stores.iter().find_map(|store| store.get(&reference))
    }

    /// The object, or what our own last write made of it where the watch has not brought that yet.
    pub fn newest(&self, object: Arc<K>) -> Arc<K> {
        let name = Name::of(object.as_ref());
        let mut ahead = self.ahead();
        match ahead.get(&name) {
            Some(own) if own.uid() == object.uid() && version(own.as_ref()) > version(object.as_ref()) => own.clone(),
            Some(_) => {
                ahead.remove(&name);
                object
            }
            None => object,
        }
    }

    /// The object as our own write left it, kept until the watch has brought it too.
    pub fn wrote(&self, mut object: K) -> Arc<K> {
        trim(&mut object);
        let object = Arc::new(object);
        let name = Name::of(object.as_ref());
        let mut ahead = self.ahead();
        let watched = self.watched(&name);
        if watched.is_none_or(|w| w.uid() != object.uid() || version(w.as_ref()) < version(object.as_ref())) {
            ahead.insert(name, object.clone());
        }
        object
    }

    pub fn caught_up(&self, object: &K) {
        let name = Name::of(object);
        let mut ahead = self.ahead();
        if ahead.get(&name).is_some_and(|own| own.uid() != object.uid() || version(own.as_ref()) <= version(object)) {
            ahead.remove(&name);
        }
    }

    pub fn gone(&self, name: &Name) {
        self.ahead().remove(name);
    }

    pub fn all(&self) -> impl Iterator<Item = Arc<K>> {
        self.stores.iter().flat_map(Store::state).map(|object| self.newest(object))
    }
}

/// What is kept of ten thousand objects should be what is needed.
pub fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Versions are numbers that grow, since Kubernetes 1.35 by promise and before that in fact.
fn version<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}
