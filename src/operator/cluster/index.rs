//! The objects this operator knows, and how they hang together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::runtime::reflector::Store;
use parking_lot::Mutex;

use super::asked::Asked;
use super::claimant::{Claim, Turns, Unlisted, folded_id};
use super::object_cache::ObjectCache;
use super::relations::{Arrivals, Relations};
use super::selector::LabelSelector;
use crate::api::{ChildObject, Kind, Name, ObjectKey, Share, ShareRecipient, ShareResource, is_deleting};
use crate::core::id::same;
use crate::core::interned::Interned;
use crate::core::shard;

pub struct Index {
    pub shares: ObjectCache<Share>,
    pub recipients: ObjectCache<ShareRecipient>,
    pub resources: ObjectCache<ShareResource>,
    /// What annotations asked of them.
    pub asked: Asked,
    /// Where Shares may be that are not known.
    pub unlisted: Unlisted,
    /// Names of which a share is being created.
    pub turns: Turns,
    pub(super) relations: Mutex<Relations>,
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
            unlisted: Unlisted::default(),
            turns: Turns::default(),
            relations: Mutex::default(),
        }
    }

    /// Only objects with these labels are in scope.
    pub fn within(mut self, selector: &LabelSelector) -> Index {
        self.shares.selector = selector.clone();
        self.recipients.selector = selector.clone();
        self.resources.selector = selector.clone();
        self
    }

    pub fn selector(&self) -> &LabelSelector {
        &self.shares.selector
    }

    /// The child objects of a Share, in scope or out of it.
    pub fn children(&self, share: &Name) -> Vec<ObjectKey> {
        self.relations.lock().children.get(share).into_iter().flatten().cloned().collect()
    }

    /// How often an object was changed, came or went so far.
    pub fn changes(&self) -> u64 {
        self.shares.changes() + self.recipients.changes() + self.resources.changes()
    }

    pub fn arrivals(&self, share: &Name) -> Option<Arrivals> {
        self.relations.lock().arrivals.get(share).copied()
    }

    /// Objects in scope that have a remote share, want it by its id, or observe it, of whatever account.
    pub fn naming(&self, share_id: &str) -> Vec<Name> {
        let relations = self.relations.lock();
        let naming = relations.by_share_id.get(&folded_id(share_id)).into_iter().flatten();
        naming.filter(|name| relations.is_in_scope(name)).cloned().collect()
    }

    /// The accounts that Shares in scope use each Secret for.
    pub fn accounts_of_secrets(&self) -> HashMap<Name, HashSet<Interned>> {
        let relations = self.relations.lock();
        let mut accounts = HashMap::<Name, HashSet<Interned>>::new();
        for keys in relations.shares.values().filter(|keys| keys.in_scope) {
            match accounts.get_mut(&keys.secret) {
                Some(of_secret) if of_secret.contains(&keys.claim.account) => {}
                Some(of_secret) => drop(of_secret.insert(keys.claim.account.clone())),
                None => drop(accounts.insert(keys.secret.clone(), [keys.claim.account.clone()].into())),
            }
        }
        accounts
    }

    /// Shares in scope that use a Secret.
    pub fn users(&self, secret: &Name) -> Vec<Name> {
        let relations = self.relations.lock();
        let uses = relations.shares.iter().filter(|(_, keys)| keys.in_scope && keys.secret == *secret);
        uses.map(|(name, _)| name.clone()).collect()
    }

    /// Objects in scope that want a share of that name in an account.
    pub fn claimants(&self, account: &str, name: &str) -> Vec<Name> {
        let claim = Claim { account: folded_id(account), name: name.into() };
        let relations = self.relations.lock();
        let wanting = relations.by_claim.get(&claim).into_iter().flatten();
        wanting.filter(|name| relations.is_in_scope(name)).cloned().collect()
    }

    /// A child object that is in scope.
    pub fn child(&self, key: &ObjectKey) -> Option<Arc<dyn ChildObject>> {
        match key.kind {
            Kind::Share => None,
            Kind::ShareRecipient => self.recipients.find(&key.name).map(any_kind),
            Kind::ShareResource => self.resources.find(&key.name).map(any_kind),
        }
    }

    /// A child object, in scope or out of it.
    pub fn known_child(&self, key: &ObjectKey) -> Option<Arc<dyn ChildObject>> {
        match key.kind {
            Kind::Share => None,
            Kind::ShareRecipient => self.recipients.known(&key.name).map(any_kind),
            Kind::ShareResource => self.resources.known(&key.name).map(any_kind),
        }
    }

    /// All child objects that are in scope.
    pub fn all_children(&self) -> impl Iterator<Item = Arc<dyn ChildObject>> {
        self.recipients.all().map(any_kind).chain(self.resources.all().map(any_kind))
    }

    /// The child objects of a namespace that exist though the watch does not show them, as they were last read.
    pub fn late_children(&self, namespace: &str) -> impl Iterator<Item = Arc<dyn ChildObject>> {
        let recipients = self.recipients.late_ones(namespace).into_iter().map(any_kind);
        recipients.chain(self.resources.late_ones(namespace).into_iter().map(any_kind))
    }

    /// Whether everything that is known in a namespace is being deleted, as where the namespace itself is.
    pub fn is_going(&self, namespace: &str) -> bool {
        let shares = self.shares_in(namespace);
        let mut shares = shares.iter().filter_map(|name| self.shares.known(name));
        let children = self.recipients.all_known().map(any_kind).chain(self.resources.all_known().map(any_kind));
        let mut children = children.filter(|child| &*child.share().namespace == namespace);
        shares.all(|share| is_deleting(&share.metadata)) && children.all(|child| child.is_deleting())
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

    pub fn shares_in(&self, namespace: &str) -> Vec<Name> {
        self.relations.lock().shares.keys().filter(|name| name.namespace == namespace).cloned().collect()
    }

    /// Child objects whose Share is gone or out of scope, by the remote share that has their rows.
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
            let of_none = relations.children.iter().filter(|(share, _)| !relations.is_in_scope(share));
            of_none.flat_map(|(_, keys)| keys.iter().cloned()).collect()
        };
        keys.iter().filter_map(|key| self.child(key)).collect()
    }

    /// Shares in scope of an account.
    pub fn of_account(&self, account: &str) -> Vec<Name> {
        let relations = self.relations.lock();
        let of_account =
            relations.shares.iter().filter(|(_, keys)| keys.in_scope && same(&keys.claim.account, account));
        of_account.map(|(name, _)| name.clone()).collect()
    }

    /// The Cloudflare account that a child object is looked after in, if it has one yet.
    pub fn account_of_child(&self, child: &dyn ChildObject) -> Option<Interned> {
        let own = child.own_record().filter(|record| record.bound_uid.is_some());
        let relations = self.relations.lock();
        let parent = relations.shares.get(&child.share()).map(|keys| keys.claim.account.as_str());
        let recorded = own.and_then(|record| record.owner_account_id.as_deref());
        shard::account_of_child(child.is_deleting(), parent, recorded).map(Interned::from)
    }
}

fn any_kind<K: ChildObject + 'static>(child: Arc<K>) -> Arc<dyn ChildObject> {
    child
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::{Value, json};

    use super::super::reconciled::{Reconciled, store};
    use super::*;
    use crate::core::time::At;

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

    fn finalized<K: Reconciled>(mut object: K) -> K {
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
        assert_eq!(index.naming("5a5e").len(), 2);
        assert_eq!(index.naming("5A5E").len(), 2);
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
    fn what_is_out_of_scope_is_known_and_looked_after_by_nobody() {
        let labelled = |mut share: Share, team: &str| {
            share.metadata.labels = Some([("team".to_owned(), team.to_owned())].into());
            share
        };
        let own = |namespace| finalized(share(namespace, "waf", json!({"shareID": "5a5e"})));
        let child = recipient("b", "one", "waf");
        let index = Index::new(vec![store(&[])], vec![store(std::slice::from_ref(&child))], vec![store(&[])]);
        let index = index.within(&"team=waf".parse().expect("a selector"));
        index.applied(&child, NOW);
        index.applied(&labelled(own("a"), "waf"), NOW);
        assert_eq!(names(index.applied(&labelled(own("b"), "waf"), NOW)), ["a/waf", "a/waf", "b/one", "b/waf"]);
        assert_eq!((index.naming("5a5e").len(), index.of_account(OWNER).len()), (2, 2));
        let touched = names(index.applied(&labelled(own("b"), "dns"), NOW));
        assert!(["a/waf", "b/one"].iter().all(|name| touched.contains(&(*name).to_owned())), "{touched:?}");
        let a = [Name::new("a", "waf")];
        assert_eq!((index.naming("5a5e"), index.of_account(OWNER)), (a.to_vec(), a.to_vec()));
        assert_eq!((index.claimants(OWNER, "waf"), index.accounts_of_secrets().len()), (a.to_vec(), 1));
        assert!(index.account_of_child(&child).is_some(), "its Share is known all the same");
        let key = ShareRecipient::key(Name::new("b", "one"));
        assert!(index.child(&key).is_none() && index.known_child(&key).is_some());
        assert_eq!(names(index.children(&Name::new("b", "waf"))), ["b/one"]);
    }

    #[test]
    fn who_uses_a_secret_is_known_with_and_without_its_name_in_the_manifest() {
        let named = share("a", "named", json!({"credentialsRef": {"name": "token"}}));
        let index = Index::of(&[named, share("a", "plain", json!({}))], &[], &[], NOW);
        assert_eq!(index.users(&Name::new("a", "token")), [Name::new("a", "named")]);
        assert_eq!(index.users(&Name::new("a", crate::api::DEFAULT_SECRET)), [Name::new("a", "plain")]);
        assert!(!index.accounts_of_secrets().contains_key(&Name::new("b", "token")));
    }
}
