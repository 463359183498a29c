//! The objects of one kind as the watch brought them, or as our own last write left them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::selector::LabelSelector;
use crate::api::{FLUX_REQUESTED_AT, Name};

/// How the names of our annotations begin.
const ANNOTATIONS: &str = "cfshare.dev/";
/// Nothing that an annotation asks is longer.
const LONGEST_ANNOTATION: usize = 256;

/// Objects of one kind: what the watch brought, and where our own writes are ahead of it.
pub struct ObjectCache<K: Resource<DynamicType = ()> + Clone + 'static> {
    stores: Vec<Store<K>>,
    own_writes: Mutex<HashMap<Name, OwnWrite<K>>>,
    /// Objects that are there and cannot be read; what was read of them before is kept in the store.
    unreadable: Mutex<HashSet<Name>>,
    /// Objects that exist though the watch does not show them, or shows others of their names; see [`super::outside`].
    late: Mutex<HashMap<Name, Arc<K>>>,
    /// All others are left alone.
    pub(super) selector: LabelSelector,
    changes: AtomicU64,
}

struct OwnWrite<K> {
    object: Arc<K>,
    /// A list began since, and thus has it, or what became of it.
    precedes_list: bool,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> ObjectCache<K> {
    /// One store for each watched scope.
    pub fn new(stores: Vec<Store<K>>) -> Self {
        ObjectCache {
            stores,
            own_writes: Mutex::default(),
            unreadable: Mutex::default(),
            late: Mutex::default(),
            selector: LabelSelector::default(),
            changes: AtomicU64::default(),
        }
    }

    /// How often an object was changed, came or went so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the latest version of the object cannot be read: nothing is done because of the older one in the store.
    pub fn is_unreadable(&self, name: &Name) -> bool {
        self.unreadable.lock().contains(name)
    }

    /// How many objects of one scope cannot be read and never could.
    pub fn never_read(&self, scope: Option<&str>) -> usize {
        let unreadable = self.unreadable.lock();
        let within = unreadable.iter().filter(|name| scope.is_none_or(|scope| name.namespace == scope));
        within.filter(|name| self.watched(name).is_none()).count()
    }

    pub fn became_unreadable(&self, name: Name) {
        self.unreadable.lock().insert(name);
    }

    /// Returns whether that is news.
    pub fn became_readable(&self, name: &Name) -> bool {
        self.unreadable.lock().remove(name)
    }

    /// Of one scope's objects only these cannot be read. Returns those that could not before.
    pub fn only_unreadable(&self, scope: Option<&str>, names: &HashSet<Name>) -> Vec<Name> {
        let mut unreadable = self.unreadable.lock();
        let is_within = |name: &Name| scope.is_none_or(|scope| name.namespace == scope);
        let readable = unreadable.extract_if(|name| is_within(name) && !names.contains(name)).collect();
        unreadable.extend(names.iter().cloned());
        readable
    }

    pub fn is_in_scope(&self, object: &K) -> bool {
        self.selector.matches(object.meta())
    }

    /// The object, if it is in scope.
    pub fn find(&self, name: &Name) -> Option<Arc<K>> {
        self.known(name).filter(|object| self.is_in_scope(object))
    }

    /// The object, in scope or out of it.
    pub fn known(&self, name: &Name) -> Option<Arc<K>> {
        let mut own_writes = self.own_writes.lock();
        // Under the lock: an own write is dropped only once the store has it.
        let watched = self.watched(name)?;
        Some(newest(&mut own_writes, name, watched))
    }

    /// The object as the watch brought it last.
    pub fn watched(&self, name: &Name) -> Option<Arc<K>> {
        let reference = ObjectRef::new(&name.name).within(&name.namespace);
        self.stores.iter().find_map(|store| store.get(&reference))
    }

    /// The object as it is now, where the watch or our own last write went on since it was taken from here.
    pub fn latest(&self, object: Arc<K>) -> Arc<K> {
        let (name, uid) = (Name::of(object.as_ref()), object.uid());
        let own_writes = self.own_writes.lock();
        let own = own_writes.get(&name).map(|own| own.object.clone());
        let others = self.watched(&name).into_iter().chain(own).filter(|other| other.uid() == uid);
        others.fold(object, |newest, other| if version(&*other) > version(&*newest) { other } else { newest })
    }

    /// The object as our own write left it, kept until the watch has brought it too.
    pub fn wrote(&self, mut object: K) -> Arc<K> {
        trim(&mut object);
        let object = Arc::new(object);
        let name = Name::of(object.as_ref());
        let mut own_writes = self.own_writes.lock();
        let is_ahead = match self.watched(&name) {
            Some(watched) => watched.uid() != object.uid() || version(watched.as_ref()) < version(object.as_ref()),
            // The watch said already that it is gone, or never showed it: nothing would take the write out again.
            None => false,
        };
        if is_ahead {
            own_writes.insert(name, OwnWrite { object: object.clone(), precedes_list: false });
        }
        self.changed();
        object
    }

    /// The store has changed: what it has of the object counts again. What a list brings is there only once the list is
    /// complete.
    pub fn caught_up(&self, name: &Name) {
        let mut late = self.late.lock();
        let mut own_writes = self.own_writes.lock();
        self.changed();
        let Some(watched) = self.watched(name) else { return };
        if late.get(name).is_some_and(|late| late.uid() == watched.uid()) {
            late.remove(name);
        }
        newest(&mut own_writes, name, watched);
    }

    pub fn list_begins(&self, scope: Option<&str>) {
        let mut own_writes = self.own_writes.lock();
        let within = own_writes.iter_mut().filter(|(name, _)| scope.is_none_or(|scope| name.namespace == scope));
        within.for_each(|(_, own)| own.precedes_list = true);
    }

    /// As `caught_up`, for all objects that were late: a list of one scope is complete. Our writes from before it
    /// began count no longer, even if their versions are higher: etcd may have been restored from a backup.
    pub fn caught_up_with_list(&self, scope: Option<&str>) {
        self.own_writes
            .lock()
            .retain(|name, own| !own.precedes_list || scope.is_some_and(|scope| name.namespace != scope));
        let late: Vec<Name> = self.late.lock().keys().cloned().collect();
        late.iter().for_each(|name| self.caught_up(name));
        self.changed();
    }

    pub fn gone(&self, name: &Name) {
        self.own_writes.lock().remove(name);
        self.changed();
    }

    /// What the store has of the object counts, even if our own write is ahead of it.
    pub fn disbelieve_own_write(&self, name: &Name) {
        self.own_writes.lock().remove(name);
    }

    /// The objects of a namespace that exist though the watch does not show them, as they were last read.
    pub fn late_ones(&self, namespace: &str) -> Vec<Arc<K>> {
        let late = self.late.lock();
        late.iter().filter(|(name, _)| name.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// Whether the watch shows this very object, not only one of its name.
    pub fn is_shown(&self, object: &K) -> bool {
        self.watched(&Name::of(object)).is_some_and(|watched| watched.uid() == object.uid())
    }

    /// All of a namespace that were found although the watch does not show them; those that it shows are passed over.
    pub fn found_late(&self, namespace: &str, objects: Vec<K>) {
        let mut late = self.late.lock();
        late.retain(|name, _| name.namespace != namespace);
        for mut object in objects {
            // Looked up under the lock: what comes into the watch now is taken out after us.
            if !self.is_shown(&object) {
                trim(&mut object);
                late.insert(Name::of(&object), Arc::new(object));
            }
        }
    }

    /// All objects that are in scope.
    pub fn all(&self) -> impl Iterator<Item = Arc<K>> {
        self.all_known().filter(|object| self.is_in_scope(object))
    }

    /// All objects, in scope or out of it.
    pub fn all_known(&self) -> impl Iterator<Item = Arc<K>> {
        let own_writes = self.own_writes.lock();
        let mut objects: Vec<Arc<K>> = self.stores.iter().flat_map(Store::state).collect();
        // A few own writes among ten thousand objects: no name of the others is interned for it.
        let ahead: HashMap<(&str, &str), &Arc<K>> =
            own_writes.iter().map(|(name, own)| ((&*name.namespace, &*name.name), &own.object)).collect();
        for object in objects.iter_mut().filter(|_| !ahead.is_empty()) {
            let meta = object.meta();
            let name = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
            if let Some(own) = ahead.get(&name).filter(|own| is_ahead(own.as_ref(), object.as_ref())) {
                *object = Arc::clone(own);
            }
        }
        objects.into_iter()
    }
}

/// What the watch brought, or what our own write made of it where that is ahead; an own write that is not is dropped.
fn newest<K: Resource<DynamicType = ()>>(
    own_writes: &mut HashMap<Name, OwnWrite<K>>,
    name: &Name,
    watched: Arc<K>,
) -> Arc<K> {
    match own_writes.get(name).map(|own| &own.object) {
        Some(own) if is_ahead(own.as_ref(), watched.as_ref()) => own.clone(),
        Some(_) => {
            own_writes.remove(name);
            watched
        }
        None => watched,
    }
}

/// Whether our own write of an object came after what the watch brought.
fn is_ahead<K: Resource>(own: &K, watched: &K) -> bool {
    own.uid() == watched.uid() && version(own) > version(watched)
}

/// Whether the operator reads that annotation.
fn is_ours(name: &str) -> bool {
    name.starts_with(ANNOTATIONS) || name == FLUX_REQUESTED_AT
}

/// What is kept of ten thousand objects should be what is needed.
pub fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    object.annotations_mut().retain(|name, value| is_ours(name) && value.len() <= LONGEST_ANNOTATION);
}

/// Versions are numbers that grow, since Kubernetes 1.35 by promise and before that in fact.
fn version<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::api::ShareRecipient;
    use crate::core::time::At;
    use crate::operator::clock;
    use crate::operator::cluster::index::Index;

    const NOW: At = At(1_000_000);

    /// A ShareRecipient in that version, with a label by which it is recognized.
    fn at(version: &str, label: &str) -> ShareRecipient {
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1",
            "kind": "ShareRecipient",
            "metadata": {
                "name": "one", "namespace": "a", "uid": "a-one", "resourceVersion": version, "labels": {"as": label},
            },
            "spec": {"shareRef": {"name": "waf"}, "accountID": "023e105f4ecef8ad9ca31a8372d0c353"},
        });
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn our_own_write_counts_until_the_watch_has_brought_it_or_something_newer() {
        let (store, mut writer) = reflector::store();
        let index = Index::new(Vec::new(), vec![store], Vec::new());
        let mut watch = |object: ShareRecipient| {
            writer.apply_watcher_event(&Event::Apply(object.clone()));
            index.applied(&object, NOW);
        };
        watch(at("5", "watched"));
        let label = || index.recipients.find(&Name::new("a", "one")).expect("it is there").labels()["as"].clone();
        index.recipients.wrote(at("6", "ours"));
        assert_eq!(label(), "ours");
        let ours = index.recipients.latest(Arc::new(at("5", "watched")));
        assert_eq!(index.recipients.latest(ours).labels()["as"], "ours");
        assert_eq!(label(), "ours", "however often the latest is asked for");
        watch(at("7", "theirs"));
        assert_eq!(label(), "theirs", "what the store has counts again once the watch is past our write");
        index.recipients.wrote(at("4", "old"));
        assert_eq!(label(), "theirs", "an answer that comes late does not undo what the watch brought");
        let taken_before = index.recipients.latest(Arc::new(at("3", "before")));
        assert_eq!(
            taken_before.labels()["as"],
            "theirs",
            "what was taken from the store a moment ago may be old by now"
        );
    }

    #[test]
    fn a_list_that_began_after_our_own_write_has_the_last_word() {
        let (store, mut writer) = reflector::store();
        let index = Index::new(Vec::new(), vec![store], Vec::new());
        let mut list = |write: Option<ShareRecipient>| {
            index.recipients.list_begins(None);
            writer.apply_watcher_event(&Event::Init);
            write.into_iter().for_each(|object| drop(index.recipients.wrote(object)));
            writer.apply_watcher_event(&Event::InitApply(at("5", "listed")));
            writer.apply_watcher_event(&Event::InitDone);
            index.relisted::<ShareRecipient>(None, NOW, |_| ());
        };
        let label = || index.recipients.find(&Name::new("a", "one")).expect("it is there").labels()["as"].clone();
        index.recipients.wrote(at("9", "ours"));
        list(None);
        assert_eq!(label(), "listed", "etcd was restored from a backup");
        list(Some(at("6", "ours")));
        assert_eq!(label(), "ours", "it was written while the list came");
    }

    #[test]
    fn a_list_tells_which_objects_of_its_scope_can_be_read_again() {
        let index = Index::of(&[], &[], &[], NOW);
        let name = |namespace| Name::new(namespace, "one");
        ["a", "b"].into_iter().for_each(|namespace| index.recipients.became_unreadable(name(namespace)));
        assert_eq!(index.recipients.only_unreadable(Some("a"), &[name("a")].into()), []);
        assert_eq!(index.recipients.only_unreadable(Some("a"), &HashSet::new()), [name("a")]);
        assert!(index.recipients.is_unreadable(&name("b")) && !index.recipients.is_unreadable(&name("a")));
        assert_eq!(index.recipients.only_unreadable(None, &HashSet::new()), [name("b")]);
    }

    #[test]
    fn nothing_is_kept_of_our_write_that_ended_an_object() {
        let (store, writer) = reflector::store();
        drop(writer);
        let index = Index::new(Vec::new(), vec![store], Vec::new());
        let mut released = at("6", "released");
        released.metadata.deletion_timestamp = Some(clock::time(NOW));
        index.recipients.wrote(released.clone());
        let again = at("5", "as it was");
        assert_eq!(index.recipients.latest(Arc::new(again)).labels()["as"], "as it was");
        index.recipients.wrote(at("7", "answered late"));
        assert_eq!(index.recipients.latest(Arc::new(at("5", "as it was"))).labels()["as"], "as it was");
    }

    #[test]
    fn what_a_list_brings_counts_only_once_the_list_is_complete() {
        let (store, mut writer) = reflector::store();
        let index = Index::new(Vec::new(), vec![store], Vec::new());
        let mut bring = |event: Event<ShareRecipient>| {
            writer.apply_watcher_event(&event);
            match &event {
                Event::InitApply(object) | Event::Apply(object) => drop(index.applied(object, NOW)),
                Event::InitDone => drop(index.relisted::<ShareRecipient>(None, NOW, |_| ())),
                Event::Init | Event::Delete(_) => {}
            }
        };
        let name = Name::new("a", "one");
        let label = || index.recipients.find(&name).map(|object| object.labels()["as"].clone());
        index.recipients.found_late("a", vec![at("4", "late")]);
        bring(Event::Init);
        bring(Event::InitApply(at("5", "listed")));
        assert!(index.recipients.watched(&name).is_none());
        assert!(!index.recipients.late_ones("a").is_empty(), "it is known all the time, late or not");
        bring(Event::InitDone);
        assert!(index.recipients.watched(&name).is_some() && index.recipients.late_ones("a").is_empty());
        index.recipients.wrote(at("6", "ours"));
        bring(Event::Init);
        bring(Event::InitApply(at("6", "ours")));
        assert_eq!(label().as_deref(), Some("ours"), "the store still has the object as it was before our write");
        bring(Event::InitDone);
        assert_eq!(label().as_deref(), Some("ours"));
        bring(Event::Apply(at("7", "theirs")));
        assert_eq!(label().as_deref(), Some("theirs"));
    }
}
