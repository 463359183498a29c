//! The objects of one kind in one scope, as the watch brought them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::glance::{Glance, Kept};
use super::packed::Packed;
use crate::api::Name;

/// Objects that are asked for again and again stay unpacked, as long as they are not more than so much JSON.
const UNPACKED: usize = 1 << 20;

pub struct Store<K> {
    inner: Mutex<Inner<K>>,
}

struct Inner<K> {
    held: HashMap<Name, Held<K>>,
    /// Those of a list that is not complete.
    listed: HashMap<Name, Held<K>>,
    unpacked: Unpacked<K>,
}

struct Held<K> {
    packed: Packed<K>,
    /// Hash of what is not our own doing.
    edition: u64,
    glance: Glance,
}

struct Unpacked<K> {
    objects: HashMap<Name, Arc<K>>,
    size: usize,
}

impl<K> Default for Unpacked<K> {
    fn default() -> Unpacked<K> {
        Unpacked { objects: HashMap::new(), size: 0 }
    }
}

impl<K> Default for Store<K> {
    fn default() -> Store<K> {
        let inner = Inner { held: HashMap::new(), listed: HashMap::new(), unpacked: Unpacked::default() };
        Store { inner: Mutex::new(inner) }
    }
}

impl<K: Kept> Held<K> {
    fn new(object: &K) -> Held<K> {
        Held { packed: Packed::new(object), edition: edition(object), glance: object.glance() }
    }
}

impl<K: Kept> Store<K> {
    pub fn of(objects: &[K]) -> Store<K> {
        let store = Store::default();
        store.inner.lock().held.extend(objects.iter().map(|object| (Name::of(object), Held::new(object))));
        store
    }

    /// What the watch brought. Returns whether the object is new, or more of it has changed than its status.
    pub fn take(&self, event: &Event<K>) -> bool {
        let mut inner = self.inner.lock();
        match event {
            Event::Apply(object) => {
                let (name, new) = (Name::of(object), Held::new(object));
                inner.unpacked.objects.remove(&name);
                let edition = new.edition;
                inner.held.insert(name, new).is_none_or(|before| before.edition != edition)
            }
            Event::InitApply(object) => {
                let (name, new) = (Name::of(object), Held::new(object));
                let edition = new.edition;
                let known = inner.held.get(&name).map(|held| held.edition);
                let before = inner.listed.insert(name, new).map(|held| held.edition);
                before.or(known) != Some(edition)
            }
            Event::Delete(object) => {
                let name = Name::of(object);
                inner.unpacked.objects.remove(&name);
                inner.held.remove(&name);
                false
            }
            Event::Init => {
                inner.listed = HashMap::new();
                false
            }
            // The list took the place of what was known.
            Event::InitDone => {
                inner.held = std::mem::take(&mut inner.listed);
                inner.unpacked = Unpacked::default();
                false
            }
        }
    }

    pub fn get(&self, name: &Name) -> Option<Arc<K>> {
        let mut inner = self.inner.lock();
        if let Some(object) = inner.unpacked.objects.get(name) {
            return Some(object.clone());
        }
        let packed = &inner.held.get(name)?.packed;
        let (object, size) = (packed.unpack()?, packed.size());
        if inner.unpacked.size + size > UNPACKED {
            inner.unpacked = Unpacked::default();
        }
        inner.unpacked.size += size;
        inner.unpacked.objects.insert(name.clone(), object.clone());
        Some(object)
    }

    pub fn has(&self, name: &Name) -> bool {
        self.inner.lock().held.contains_key(name)
    }

    pub fn names(&self) -> Vec<Name> {
        self.inner.lock().held.keys().cloned().collect()
    }

    /// Calls `look` for each object.
    pub fn glances(&self, look: &mut impl FnMut(&Name, &Glance)) {
        self.inner.lock().held.iter().for_each(|(name, held)| look(name, &held.glance));
    }

    /// What was unpacked is needed no more.
    pub fn pack(&self) {
        self.inner.lock().unpacked = Unpacked::default();
    }
}

/// A hash of what others change of an object: what changed in the status alone is our own doing.
fn edition<K: Kept>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    (object.uid(), object.meta().generation, object.annotations(), object.finalizers()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;
    use crate::api::ShareRecipient;

    fn object(name: &str, uid: &str, generation: i64) -> ShareRecipient {
        serde_json::from_value(json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient",
            "metadata": {"name": name, "namespace": "a", "uid": uid, "generation": generation},
            "spec": {"shareRef": {"name": "waf"}, "accountID": "372e67954025e0ba6aaa6d586b9e0b59"},
        }))
        .expect("a ShareRecipient")
    }

    #[test]
    fn an_event_is_news_unless_only_the_status_changed() {
        let store = Store::default();
        let one = object("one", "u1", 1);
        assert!(store.take(&Event::Apply(one.clone())));
        let mut told = one.clone();
        told.status = Some(Default::default());
        assert!(!store.take(&Event::Apply(told.clone())));
        assert_eq!(*store.get(&Name::new("a", "one")).expect("it is there"), told);
        assert!(store.take(&Event::Apply(object("one", "u1", 2))));
        let mut finalized = object("one", "u1", 2);
        finalized.finalizers_mut().push("cfshare.dev/finalizer".into());
        assert!(store.take(&Event::Apply(finalized.clone())));
        assert!(!store.take(&Event::Delete(finalized)));
        assert!(store.get(&Name::new("a", "one")).is_none());
        assert!(store.take(&Event::Apply(object("one", "u2", 1))));
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_known_once_it_is_complete() {
        let (store, name) = (Store::default(), |name| Name::new("a", name));
        for event in [Event::Apply(object("one", "u1", 1)), Event::Apply(object("two", "u2", 1)), Event::Init] {
            store.take(&event);
        }
        assert!(!store.take(&Event::InitApply(object("two", "u2", 1))));
        assert!(store.take(&Event::InitApply(object("three", "u3", 1))));
        assert!(store.has(&name("one")) && !store.has(&name("three")));
        store.take(&Event::InitDone);
        assert!(!store.has(&name("one")) && store.get(&name("three")).is_some());
        assert_eq!(store.names().len(), 2);
    }
}
