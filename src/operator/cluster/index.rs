//! The objects this operator knows, and how they hang together.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::asked::Asked;
use super::child_object::ChildObject;
use super::claimant::{Unwatched, claim, folded_id, share_ids};
use super::object_cache::ObjectCache;
use crate::api::{Kind, Name, ObjectKey, Reason};
use crate::api::{Share, ShareRecipient, ShareResource, is_deleting, observes, own_record};
use crate::core::id::same;
use crate::core::interned::Interned;
use crate::core::shard;
use crate::core::time::At;
use crate::operator::conditions;

/// Name of the Secret where a manifest names none.
pub const DEFAULT_SECRET: &str = "cloudflare-credentials";

pub struct Index {
    pub shares: ObjectCache<Share>,
    pub recipients: ObjectCache<ShareRecipient>,
    pub resources: ObjectCache<ShareResource>,
    /// What annotations asked of them.
    pub asked: Asked,
    /// Claims of Shares that the watch does not show.
    pub unwatched: Unwatched,
    relations: Mutex<Relations>,
}

#[derive(Default)]
struct Relations {
    children: HashMap<Name, HashSet<ObjectKey>>,
    parents: HashMap<ObjectKey, Name>,
    arrivals: HashMap<Name, Arrivals>,
    shares: HashMap<Name, LookupKeys>,
    by_share_id: HashMap<Interned, Vec<Name>>,
    by_claim: HashMap<(Interned, Interned), Vec<Name>>,
    /// When an object that may still exist last left the watch, by namespace.
    departed: HashMap<Interned, At>,
    /// The same of Shares, whatever their namespace.
    share_departed: Option<At>,
}

/// When child objects of a share came.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    pub first: At,
    pub last: At,
}

/// The attributes of a Share by which related objects are looked up.
#[derive(Debug, Clone, PartialEq)]
struct LookupKeys {
    share_ids: Vec<Interned>,
    claim: (Interned, Interned),
    secret: Name,
    /// Hash of what its child objects depend on.
    children_view: u64,
}

impl Relations {
    /// Other Shares that want the same name in the same account: what a Share has to claim it with concerns them.
    fn rivals(&self, share: &Name) -> Vec<ObjectKey> {
        let claim = self.shares.get(share).map(|keys| &keys.claim);
        let same = claim.and_then(|claim| self.by_claim.get(claim)).into_iter().flatten();
        same.filter(|name| *name != share).cloned().map(Share::key).collect()
    }
}

/// A kind whose objects are kept and related.
pub trait Related: Resource<DynamicType = ()> + Clone + Send + Sync + 'static {
    const KIND: Kind;

    fn cache(index: &Index) -> &ObjectCache<Self>;

    /// Takes note of the object (`None`: it is gone). Returns who else has to look.
    fn relate(index: &Index, name: &Name, object: Option<&Self>, now: At) -> Vec<ObjectKey>;

    /// The same object, if it is a child object.
    fn as_child(&self) -> Option<&dyn ChildObject> {
        None
    }

    /// The Cloudflare account that the object is looked after in; `None`: a child object that has none yet.
    fn account(&self, index: &Index) -> Option<Interned> {
        index.account_of_child(self.as_child()?)
    }

    fn key(name: Name) -> ObjectKey {
        ObjectKey { kind: Self::KIND, name }
    }
}

impl Index {
    pub fn new(
        shares: Vec<Store<Share>>,
        recipients: Vec<Store<ShareRecipient>>,
        resources: Vec<Store<ShareResource>>,
    ) -> Index {
        Index {
            shares: ObjectCache::new(shares),
            recipients: ObjectCache::new(recipients),
            resources: ObjectCache::new(resources),
            asked: Asked::default(),
            unwatched: Unwatched::default(),
            relations: Mutex::default(),
        }
    }

    /// Objects as they were read at that time, for a plan.
    pub fn of(shares: &[Share], recipients: &[ShareRecipient], resources: &[ShareResource], at: At) -> Index {
        let index = Index::new(vec![store(shares)], vec![store(recipients)], vec![store(resources)]);
        shares.iter().for_each(|object| drop(index.applied(object, at)));
        recipients.iter().for_each(|object| drop(index.applied(object, at)));
        resources.iter().for_each(|object| drop(index.applied(object, at)));
        index
    }

    /// What the watch brought: an object that came or changed.
    pub fn applied<K: Related>(&self, object: &K, now: At) -> Vec<ObjectKey> {
        let name = Name::of(object);
        K::cache(self).caught_up(&name);
        if K::KIND == Kind::Share {
            self.unwatched.watched(&name);
        }
        self.asked.note(K::key(name.clone()), object);
        K::relate(self, &name, Some(object), now)
    }

    /// What the watch brought: an object that went.
    pub fn deleted<K: Related>(&self, object: &K, now: At) -> Vec<ObjectKey> {
        let name = Name::of(object);
        K::cache(self).gone(&name);
        self.asked.forget(&K::key(name.clone()));
        if K::cache(self).has_left_with_finalizer(object) {
            self.depart::<K>(&name, now);
        } else if K::KIND == Kind::Share {
            self.unwatched.gone(object.uid(), now);
        }
        K::relate(self, &name, None, now)
    }

    /// The object left the watch, and may still exist.
    fn depart<K: Related>(&self, name: &Name, now: At) {
        let mut relations = self.relations.lock();
        relations.departed.insert(name.namespace.clone(), now);
        if K::KIND == Kind::Share {
            relations.share_departed = Some(now);
        }
    }

    /// When a Share that may still exist last left the watch.
    pub fn share_departed(&self) -> Option<At> {
        self.relations.lock().share_departed
    }

    /// When an object of the namespace that may still exist last left the watch.
    pub fn departed(&self, namespace: &str) -> Option<At> {
        self.relations.lock().departed.get(namespace).copied()
    }

    /// The list of one scope (a namespace, or all) is complete: what it lacks went while nobody watched. It says nothing
    /// of other scopes, whose lists may not have come yet. `deleted` is told of each that went.
    pub fn relisted<K: Related>(&self, scope: Option<&str>, now: At, deleted: impl Fn(&ObjectKey)) -> Vec<ObjectKey> {
        if K::KIND == Kind::Share {
            self.unwatched.relisted(scope);
        }
        let mut touched = Vec::new();
        if K::cache(self).came_back() {
            // What was not removed, since objects of this kind may have declared it.
            touched.extend(self.relations.lock().shares.keys().cloned().map(Share::key));
        }
        K::cache(self).caught_up_with_list(scope);
        let known: Vec<Name> = {
            let relations = self.relations.lock();
            match K::KIND {
                Kind::Share => relations.shares.keys().cloned().collect(),
                kind @ (Kind::ShareRecipient | Kind::ShareResource) => {
                    relations.parents.keys().filter(|key| key.kind == kind).map(|key| key.name.clone()).collect()
                }
            }
        };
        let within = known.into_iter().filter(|name| scope.is_none_or(|scope| name.namespace == scope));
        let gone = within.filter(|name| K::cache(self).find(name).is_none());
        for name in gone {
            let key = K::key(name.clone());
            deleted(&key);
            K::cache(self).gone(&name);
            K::cache(self).forget_release(&name);
            self.asked.forget(&key);
            self.depart::<K>(&name, now);
            touched.extend(K::relate(self, &name, None, now));
        }
        touched
    }

    pub fn children(&self, share: &Name) -> Vec<ObjectKey> {
        self.relations.lock().children.get(share).into_iter().flatten().cloned().collect()
    }

    /// Whether child objects may declare what cannot be read: one of them does not decode, or the CRD of their kind is away.
    pub fn has_unreadable_children(&self, namespace: &str) -> bool {
        let is_missing = self.recipients.is_missing() || self.resources.is_missing();
        is_missing || self.recipients.has_unreadable(namespace) || self.resources.has_unreadable(namespace)
    }

    /// How often an object was changed, came or went so far.
    pub fn changes(&self) -> u64 {
        self.shares.changes() + self.recipients.changes() + self.resources.changes()
    }

    pub fn arrivals(&self, share: &Name) -> Option<Arrivals> {
        self.relations.lock().arrivals.get(share).copied()
    }

    /// Objects that are bound to a remote share.
    pub fn bound_to(&self, share_id: &str) -> Vec<Name> {
        self.relations.lock().by_share_id.get(&folded_id(share_id)).into_iter().flatten().cloned().collect()
    }

    pub fn uses_secret(&self, secret: &Name) -> bool {
        self.relations.lock().shares.values().any(|keys| keys.secret == *secret)
    }

    /// The accounts that each Secret is used for.
    pub fn accounts_of_secrets(&self) -> HashMap<Name, HashSet<Interned>> {
        let relations = self.relations.lock();
        let mut accounts = HashMap::<Name, HashSet<Interned>>::new();
        for keys in relations.shares.values() {
            match accounts.get_mut(&keys.secret) {
                Some(of_secret) if of_secret.contains(&keys.claim.0) => {}
                Some(of_secret) => drop(of_secret.insert(keys.claim.0.clone())),
                None => drop(accounts.insert(keys.secret.clone(), [keys.claim.0.clone()].into())),
            }
        }
        accounts
    }

    /// Shares that use a Secret.
    pub fn users(&self, secret: &Name) -> Vec<Name> {
        let relations = self.relations.lock();
        relations.shares.iter().filter(|(_, t)| t.secret == *secret).map(|(name, _)| name.clone()).collect()
    }

    /// Objects that want a share of that name in an account.
    pub fn claimants(&self, account: &str, name: &str) -> Vec<Name> {
        let claim = (folded_id(account), name.into());
        self.relations.lock().by_claim.get(&claim).into_iter().flatten().cloned().collect()
    }

    /// A child object that the watch shows.
    pub fn child(&self, key: &ObjectKey) -> Option<Arc<dyn ChildObject>> {
        match key.kind {
            Kind::Share => None,
            Kind::ShareRecipient => self.recipients.find(&key.name).map(|child| child as Arc<dyn ChildObject>),
            Kind::ShareResource => self.resources.find(&key.name).map(|child| child as Arc<dyn ChildObject>),
        }
    }

    /// All child objects that the watch shows.
    pub fn all_children(&self) -> impl Iterator<Item = Arc<dyn ChildObject>> {
        let recipients = self.recipients.all().map(|child| child as Arc<dyn ChildObject>);
        recipients.chain(self.resources.all().map(|child| child as Arc<dyn ChildObject>))
    }

    /// The child objects of a namespace that exist though the watch does not show them, as they were last read.
    pub fn children_outside(&self, namespace: &str) -> Vec<Arc<dyn ChildObject>> {
        let recipients = self.recipients.all_outside(namespace).into_iter().map(|child| child as Arc<dyn ChildObject>);
        let resources = self.resources.all_outside(namespace).into_iter().map(|child| child as Arc<dyn ChildObject>);
        recipients.chain(resources).collect()
    }

    /// Secrets with which children made their rows in an account, and whether those children are being deleted.
    pub fn orphan_secrets(&self, account: &str) -> HashSet<(Name, bool)> {
        let secret = |child: Arc<dyn ChildObject>| {
            let record = child
                .record()
                .filter(|record| record.owner_account_id.as_deref().is_some_and(|owner| same(owner, account)))?;
            Some((Name::new(child.share().namespace, record.credentials_name.clone()?), child.is_deleting()))
        };
        self.all_children().filter_map(secret).collect()
    }

    /// Shares of an account.
    pub fn of_account(&self, account: &str) -> Vec<Name> {
        let relations = self.relations.lock();
        relations.shares.iter().filter(|(_, t)| same(&t.claim.0, account)).map(|(name, _)| name.clone()).collect()
    }
}

fn store<K: Related>(objects: &[K]) -> Store<K> {
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(object.clone()));
    }
    writer.apply_watcher_event(&Event::InitDone);
    store
}

/// The Secret that a Share's calls are made with.
pub fn secret_of(share: &Share) -> Name {
    let name = share.spec.credentials_ref.as_ref().map_or(DEFAULT_SECRET, |r| r.name.as_str());
    Name::new(share.namespace().unwrap_or_default(), name)
}

impl Related for Share {
    const KIND: Kind = Kind::Share;

    fn account(&self, _index: &Index) -> Option<Interned> {
        Some(self.spec.account_id.clone())
    }

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.shares
    }

    fn relate(index: &Index, name: &Name, object: Option<&Self>, _now: At) -> Vec<ObjectKey> {
        let keys = object.map(|share| {
            // An observing Share records nothing, and must hear of changes all the same.
            let status = own_record(share).or(share.status.as_ref().filter(|_| observes(share)));
            let recorded = status.and_then(|s| s.share_id.clone());
            LookupKeys {
                share_ids: share_ids(share, recorded),
                claim: claim(share),
                secret: secret_of(share),
                children_view: children_view(share),
            }
        });
        let mut relations = index.relations.lock();
        let before = relations.shares.get(name).cloned();
        let mut touched = Vec::new();
        if before != keys {
            touched.extend(relations.children.get(name).into_iter().flatten().cloned());
            let bound = before.as_ref().map(|before| before.share_ids.clone()).unwrap_or_default();
            if let Some(before) = before {
                for id in &before.share_ids {
                    touched.extend(leave(&mut relations.by_share_id, id, name).into_iter().map(Share::key));
                }
                touched.extend(leave(&mut relations.by_claim, &before.claim, name).into_iter().map(Share::key));
                relations.shares.remove(name);
            }
            if let Some(keys) = keys {
                // The lists of other namespaces may bring an older object after a younger one was served.
                for id in &keys.share_ids {
                    touched.extend(join(&mut relations.by_share_id, id, name).into_iter().map(Share::key));
                    if !bound.contains(id) {
                        // A sweep that saw its share move before now did not find it.
                        touched.push(Self::key(name.clone()));
                    }
                }
                touched.extend(join(&mut relations.by_claim, &keys.claim, name).into_iter().map(Share::key));
                relations.shares.insert(name.clone(), keys);
            }
        }
        touched
    }
}

/// What of a Share matters to its children: who it is, how far it is, and what it holds for them.
fn children_view(share: &Share) -> u64 {
    let mut hasher = DefaultHasher::new();
    (share.uid(), share.meta().generation, is_deleting(share.meta())).hash(&mut hasher);
    share.annotations().get(crate::api::CONFIRM_REMOVALS).hash(&mut hasher);
    if let Some(status) = &share.status {
        (&status.bound_uid, &status.share_id, status.intent.is_some()).hash(&mut hasher);
        // That there is nothing to observe.
        (status.share_id.is_none() && conditions::says(&status.common.conditions, Reason::Differs)).hash(&mut hasher);
        let confirmed = status.confirmed_removals.as_ref();
        confirmed.map(|confirmed| (confirmed.generation, confirmed.number, confirmed.open)).hash(&mut hasher);
        let inline = |id: &str| share.spec.recipients.iter().flatten().any(|entry| entry.account_id == id);
        for recorded in status.inventory.recipients.iter().filter(|recorded| !inline(&recorded.account_id)) {
            recorded.account_id.hash(&mut hasher);
        }
        let inline =
            |kind: &str, id: &str| share.spec.resources.iter().any(|entry| entry.kind == kind && entry.id == id);
        for recorded in status.inventory.resources.iter().filter(|recorded| !inline(&recorded.kind, &recorded.id)) {
            (&recorded.kind, &recorded.id).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Puts a name into a list; returns those that were there before, since they may not be the oldest any more.
fn join<Q: Eq + Hash + Clone>(map: &mut HashMap<Q, Vec<Name>>, key: &Q, name: &Name) -> Vec<Name> {
    // Nearly always there is one.
    let names = map.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1));
    let others = names.iter().filter(|other| *other != name).cloned().collect::<Vec<_>>();
    if others.len() == names.len() {
        names.push(name.clone());
    }
    others
}

/// Takes a name out of a list; returns those that are left, since one of them may be the successor.
fn leave<Q: Eq + Hash>(map: &mut HashMap<Q, Vec<Name>>, key: &Q, name: &Name) -> Vec<Name> {
    let Some(names) = map.get_mut(key) else { return Vec::new() };
    names.retain(|other| other != name);
    if names.is_empty() {
        map.remove(key);
        return Vec::new();
    }
    names.clone()
}

impl Index {
    /// The Cloudflare account that a child object is looked after in, if it has one yet.
    pub fn account_of_child(&self, child: &dyn ChildObject) -> Option<Interned> {
        let own = child.own_record().filter(|record| record.bound_uid.is_some());
        let relations = self.relations.lock();
        let child = shard::Child {
            is_deleting: child.is_deleting(),
            parent: relations.shares.get(&child.share()).map(|keys| keys.claim.0.as_str()),
            recorded: own.and_then(|record| record.owner_account_id.as_deref()),
        };
        child.account().map(Interned::from)
    }

    fn relate_child(&self, key: ObjectKey, parent: Option<Name>, now: At) -> Vec<ObjectKey> {
        let mut relations = self.relations.lock();
        let before = relations.parents.get(&key).cloned();
        let mut touched = Vec::new();
        if let Some(before) = before.filter(|before| Some(before) != parent.as_ref()) {
            relations.parents.remove(&key);
            if let Some(children) = relations.children.get_mut(&before) {
                children.remove(&key);
                // Another declaration of the same key may take over.
                touched.extend(children.iter().cloned());
                if children.is_empty() {
                    relations.children.remove(&before);
                    relations.arrivals.remove(&before);
                }
            }
            touched.extend(relations.rivals(&before));
            touched.push(Share::key(before));
        }
        if let Some(parent) = parent {
            if relations.parents.insert(key.clone(), parent.clone()).is_none() {
                touched.extend(relations.rivals(&parent));
                let arrivals = relations.arrivals.entry(parent.clone()).or_insert(Arrivals { first: now, last: now });
                arrivals.last = now;
            }
            relations.children.entry(parent.clone()).or_default().insert(key);
            touched.push(Share::key(parent));
        }
        touched
    }
}

impl Related for ShareRecipient {
    const KIND: Kind = Kind::ShareRecipient;

    fn as_child(&self) -> Option<&dyn ChildObject> {
        Some(self)
    }

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.recipients
    }

    fn relate(index: &Index, name: &Name, object: Option<&Self>, now: At) -> Vec<ObjectKey> {
        index.relate_child(Self::key(name.clone()), object.map(ChildObject::share), now)
    }
}

impl Related for ShareResource {
    const KIND: Kind = Kind::ShareResource;

    fn as_child(&self) -> Option<&dyn ChildObject> {
        Some(self)
    }

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.resources
    }

    fn relate(index: &Index, name: &Name, object: Option<&Self>, now: At) -> Vec<ObjectKey> {
        index.relate_child(Self::key(name.clone()), object.map(ChildObject::share), now)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::{Value, json};

    use super::*;

    const OWNER: &str = "023e105f4ecef8ad9ca31a8372d0c353";
    const NOW: At = At(1_000_000);

    fn object<K: serde::de::DeserializeOwned>(kind: &str, namespace: &str, name: &str, spec: Value) -> K {
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "resourceVersion": "1"},
            "spec": spec,
        });
        serde_json::from_value(object).expect("an object")
    }

    fn share(namespace: &str, name: &str, more: Value) -> Share {
        let mut spec = json!({"accountID": OWNER, "resources": []});
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        object("Share", namespace, name, spec)
    }

    fn recipient(namespace: &str, name: &str, of: &str) -> ShareRecipient {
        object("ShareRecipient", namespace, name, json!({"shareRef": {"name": of}, "accountID": OWNER}))
    }

    /// A ShareRecipient in that version, with a label by which it is recognized.
    fn at(version: &str, label: &str) -> ShareRecipient {
        let mut object = recipient("a", "one", "waf");
        object.metadata.resource_version = Some(version.to_owned());
        object.metadata.labels = Some([("as".to_owned(), label.to_owned())].into());
        object
    }

    fn finalized<K: Related>(mut object: K) -> K {
        object.meta_mut().finalizers = Some(vec![crate::api::FINALIZER.to_owned()]);
        object
    }

    fn names(keys: Vec<ObjectKey>) -> Vec<String> {
        let mut names: Vec<String> = keys.iter().map(|key| key.name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_child_belongs_to_the_share_that_it_names_in_its_own_namespace() {
        let (one, other) = (recipient("a", "one", "waf"), recipient("b", "other", "waf"));
        let index = Index::of(&[share("a", "waf", json!({}))], &[one.clone(), other], &[], NOW);
        assert_eq!(names(index.children(&Name::new("a", "waf"))), ["a/one"]);
        let moved = ShareRecipient { spec: recipient("a", "one", "rules").spec, ..one };
        let touched = names(index.applied(&moved, NOW));
        assert_eq!(touched, ["a/rules", "a/waf"], "both Shares look: the one that loses it and the one that gets it");
        assert_eq!(names(index.children(&Name::new("a", "waf"))), [""; 0]);
    }

    #[test]
    fn the_time_at_which_children_arrive_is_told_from_the_first_to_the_last() {
        let index = Index::of(&[], &[recipient("a", "one", "waf")], &[], At(1));
        index.applied(&recipient("a", "two", "waf"), At(5));
        index.applied(&recipient("a", "two", "waf"), At(9));
        let arrivals = index.arrivals(&Name::new("a", "waf")).expect("children");
        assert_eq!((arrivals.first, arrivals.last), (At(1), At(5)), "an edit is no arrival");
    }

    #[test]
    fn who_wants_the_same_name_or_share_looks_when_another_one_comes_or_goes() {
        let index = Index::of(&[share("a", "waf", json!({}))], &[], &[], NOW);
        let same_name = share("b", "waf", json!({}));
        assert_eq!(names(index.applied(&same_name, NOW)), ["a/waf"]);
        assert_eq!(names(index.deleted(&same_name, NOW)), ["a/waf"]);
        let by_id = |name: &str| share("c", name, json!({"name": name, "shareID": "5a5e"}));
        assert_eq!(names(index.applied(&by_id("one"), NOW)), ["c/one"], "its share may have moved before");
        assert_eq!(names(index.applied(&by_id("two"), NOW)), ["c/one", "c/two"]);
        assert_eq!(names(index.applied(&by_id("two"), NOW)), [""; 0]);
        assert_eq!(index.bound_to("5a5e").len(), 2);
        assert_eq!(index.bound_to("5A5E").len(), 2);
        assert_eq!(index.claimants(OWNER, "waf"), [Name::new("a", "waf")]);
        assert_eq!(index.claimants(&OWNER.to_uppercase(), "waf"), [Name::new("a", "waf")]);
    }

    #[test]
    fn the_list_of_one_scope_says_nothing_of_another() {
        let stores = || vec![store::<Share>(&[]), store::<Share>(&[])];
        let index = Index::new(stores(), Vec::new(), Vec::new());
        for namespace in ["a", "b"] {
            index.applied(&share(namespace, "waf", json!({})), NOW);
        }
        let gone = RefCell::new(Vec::new());
        let touched = names(index.relisted::<Share>(Some("a"), NOW, |key| gone.borrow_mut().push(key.clone())));
        assert_eq!(touched, ["b/waf"], "b/waf may have the name of a/waf now");
        assert_eq!(names(gone.take()), ["a/waf"], "nothing is remembered of it");
        assert_eq!(index.of_account(OWNER), [Name::new("b", "waf")]);
    }

    #[test]
    fn what_left_the_watch_with_our_finalizer_may_still_exist() {
        let (kept, plain) = (finalized(recipient("a", "kept", "waf")), recipient("b", "plain", "waf"));
        let index = Index::of(&[], &[kept.clone(), plain.clone()], &[], NOW);
        index.deleted(&plain, NOW);
        assert_eq!(index.departed("b"), None, "without a finalizer it is deleted");
        index.deleted(&kept, NOW);
        assert_eq!(index.departed("a"), Some(NOW));
    }

    #[test]
    fn what_we_let_go_is_gone_though_the_watch_ends_with_the_finalizer_on_it() {
        let mut is_deleting = finalized(recipient("a", "doomed", "waf"));
        is_deleting.metadata.deletion_timestamp = Some(crate::operator::clock::time(NOW));
        let index = Index::of(&[], std::slice::from_ref(&is_deleting), &[], NOW);
        index.recipients.finalized(&is_deleting, false);
        index.deleted(&is_deleting, NOW);
        assert_eq!(index.departed("a"), None);
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
    fn nothing_is_kept_of_our_write_that_ended_an_object() {
        let (store, writer) = reflector::store();
        drop(writer);
        let index = Index::new(Vec::new(), vec![store], Vec::new());
        let mut released = at("6", "released");
        released.metadata.deletion_timestamp = Some(crate::operator::clock::time(NOW));
        index.recipients.wrote(released.clone());
        let again = at("5", "as it was");
        assert_eq!(index.recipients.latest(Arc::new(again)).labels()["as"], "as it was");
        index.recipients.wrote(at("7", "answered late"));
        assert_eq!(index.recipients.latest(Arc::new(at("5", "as it was"))).labels()["as"], "as it was");
    }

    #[test]
    fn nothing_is_kept_of_a_release_whose_answer_comes_after_the_object_went() {
        let mut is_deleting = finalized(recipient("a", "doomed", "waf"));
        is_deleting.metadata.deletion_timestamp = Some(crate::operator::clock::time(NOW));
        let index = Index::of(&[], &[], &[], NOW);
        index.recipients.finalized(&is_deleting, false);
        // Another object of that name, which leaves the watch with the finalizer.
        assert!(index.recipients.has_left_with_finalizer(&is_deleting));
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
        index.recipients.found_outside_named(&name, Some(at("4", "outside")));
        bring(Event::Init);
        bring(Event::InitApply(at("5", "listed")));
        assert!(index.recipients.watched(&name).is_none());
        assert!(index.recipients.find_outside(&name).is_some(), "it is known all the time, inside or outside");
        bring(Event::InitDone);
        assert!(index.recipients.watched(&name).is_some() && index.recipients.find_outside(&name).is_none());
        index.recipients.wrote(at("6", "ours"));
        bring(Event::Init);
        bring(Event::InitApply(at("6", "ours")));
        assert_eq!(label().as_deref(), Some("ours"), "the store still has the object as it was before our write");
        bring(Event::InitDone);
        assert_eq!(label().as_deref(), Some("ours"));
        bring(Event::Apply(at("7", "theirs")));
        assert_eq!(label().as_deref(), Some("theirs"));
    }

    #[test]
    fn who_uses_a_secret_is_known_with_and_without_its_name_in_the_manifest() {
        let named = share("a", "named", json!({"credentialsRef": {"name": "token"}}));
        let index = Index::of(&[named, share("a", "plain", json!({}))], &[], &[], NOW);
        assert_eq!(index.users(&Name::new("a", "token")), [Name::new("a", "named")]);
        assert_eq!(index.users(&Name::new("a", DEFAULT_SECRET)), [Name::new("a", "plain")]);
        assert!(!index.uses_secret(&Name::new("b", "token")));
    }
}
