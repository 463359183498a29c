//! The objects this operator knows, and how they hang together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::asked::Asked;
use super::child_object::ChildObject;
use super::claimant::{Claim, Turns, Unwatched, folded_id};
use super::object_cache::ObjectCache;
use super::relations::{Arrivals, LookupKeys, Relations};
use crate::api::{Kind, Name, ObjectKey, Share, ShareRecipient, ShareResource};
use crate::core::id::same;
use crate::core::interned::Interned;
use crate::core::shard;
use crate::core::time::At;

pub struct Index {
    pub shares: ObjectCache<Share>,
    pub recipients: ObjectCache<ShareRecipient>,
    pub resources: ObjectCache<ShareResource>,
    /// What annotations asked of them.
    pub asked: Asked,
    /// Claims of Shares that the watch does not show.
    pub unwatched: Unwatched,
    /// Names of which a share is being created.
    pub turns: Turns,
    relations: Mutex<Relations>,
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
            turns: Turns::default(),
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
                Some(of_secret) if of_secret.contains(&keys.claim.account) => {}
                Some(of_secret) => drop(of_secret.insert(keys.claim.account.clone())),
                None => drop(accounts.insert(keys.secret.clone(), [keys.claim.account.clone()].into())),
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
        let claim = Claim { account: folded_id(account), name: name.into() };
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

    /// Child objects whose Share is gone, by the remote share that has their rows.
    pub fn orphans(&self) -> HashMap<Interned, Vec<ObjectKey>> {
        let mut orphans = HashMap::<Interned, Vec<ObjectKey>>::new();
        for child in self.without_share() {
            if let Some(id) = child.record().and_then(|record| record.share_id.as_deref()) {
                orphans.entry(folded_id(id)).or_default().push(child.object_key());
            }
        }
        orphans
    }

    /// Those with rows in an account.
    pub fn orphans_in(&self, account: &str) -> Vec<ObjectKey> {
        let owner = |child: &Arc<dyn ChildObject>| child.record().and_then(|record| record.owner_account_id.clone());
        let mut orphans = self.without_share();
        orphans.retain(|child| owner(child).is_some_and(|owner| same(&owner, account)));
        orphans.iter().map(|child| child.object_key()).collect()
    }

    fn without_share(&self) -> Vec<Arc<dyn ChildObject>> {
        let keys: Vec<ObjectKey> = {
            let relations = self.relations.lock();
            let of_none = relations.children.iter().filter(|(share, _)| !relations.shares.contains_key(*share));
            of_none.flat_map(|(_, keys)| keys.iter().cloned()).collect()
        };
        keys.iter().filter_map(|key| self.child(key)).collect()
    }

    /// Shares of an account.
    pub fn of_account(&self, account: &str) -> Vec<Name> {
        let relations = self.relations.lock();
        relations.shares.iter().filter(|(_, t)| same(&t.claim.account, account)).map(|(name, _)| name.clone()).collect()
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

impl Related for Share {
    const KIND: Kind = Kind::Share;

    fn account(&self, _index: &Index) -> Option<Interned> {
        Some(self.spec.account_id.clone())
    }

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.shares
    }

    fn relate(index: &Index, name: &Name, object: Option<&Self>, _now: At) -> Vec<ObjectKey> {
        index.relations.lock().relate_share(name, object.map(LookupKeys::of))
    }
}

impl Index {
    /// The Cloudflare account that a child object is looked after in, if it has one yet.
    pub fn account_of_child(&self, child: &dyn ChildObject) -> Option<Interned> {
        let own = child.own_record().filter(|record| record.bound_uid.is_some());
        let relations = self.relations.lock();
        let child = shard::Child {
            is_deleting: child.is_deleting(),
            parent: relations.shares.get(&child.share()).map(|keys| keys.claim.account.as_str()),
            recorded: own.and_then(|record| record.owner_account_id.as_deref()),
        };
        child.account().map(Interned::from)
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
        index.relations.lock().relate_child(Self::key(name.clone()), object.map(ChildObject::share), now)
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
        index.relations.lock().relate_child(Self::key(name.clone()), object.map(ChildObject::share), now)
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
    fn who_uses_a_secret_is_known_with_and_without_its_name_in_the_manifest() {
        let named = share("a", "named", json!({"credentialsRef": {"name": "token"}}));
        let index = Index::of(&[named, share("a", "plain", json!({}))], &[], &[], NOW);
        assert_eq!(index.users(&Name::new("a", "token")), [Name::new("a", "named")]);
        assert_eq!(index.users(&Name::new("a", crate::api::DEFAULT_SECRET)), [Name::new("a", "plain")]);
        assert!(!index.uses_secret(&Name::new("b", "token")));
    }
}
