//! Which objects belong together: children to their Share, Shares to a share, a name or a Secret.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::{Resource, ResourceExt};

use super::claimant::{Claim, is_idle, share_ids};
use crate::api::{
    CONFIRM_REMOVALS, Name, ObjectKey, Reason, Share, has_finalizer, is_deleting, secret_of, seen_record,
};
use crate::core::interned::Interned;
use crate::core::time::At;
use crate::operator::conditions;

#[derive(Default)]
pub struct Relations {
    pub(super) children: HashMap<Name, HashSet<ObjectKey>>,
    pub(super) parents: HashMap<ObjectKey, Parent>,
    pub(super) arrivals: HashMap<Name, Arrivals>,
    pub(super) shares: HashMap<Name, LookupKeys>,
    pub(super) by_share_id: HashMap<Interned, Vec<Name>>,
    pub(super) by_claim: HashMap<Claim, Vec<Name>>,
}

/// The Share that a child object belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    pub share: Name,
    /// Whether the child object is in scope.
    pub in_scope: bool,
}

/// When child objects of a share came.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    pub first: At,
    pub last: At,
}

/// The attributes of a Share by which related objects are looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupKeys {
    share_ids: Vec<Interned>,
    pub(super) claim: Claim,
    pub(super) secret: Name,
    /// It leaves the name to others that want it.
    idle: bool,
    pub(super) in_scope: bool,
    /// It may have a share or a name: also out of scope, as long as our finalizer says so.
    claims: bool,
    /// Hash of what its child objects depend on.
    children_view: u64,
}

impl LookupKeys {
    pub fn of(share: &Share, in_scope: bool) -> LookupKeys {
        // An observing Share records nothing, and must hear of changes all the same.
        let recorded = seen_record(share).and_then(|status| status.share_id.clone());
        LookupKeys {
            share_ids: share_ids(share, recorded),
            claim: Claim::of(share),
            secret: secret_of(share),
            idle: is_idle(share),
            in_scope,
            claims: in_scope || has_finalizer(&share.metadata),
            children_view: children_view(share),
        }
    }
}

impl Relations {
    /// Takes note of a Share; `keys`: `None`, it is gone. Returns who else has to look.
    pub fn relate_share(&mut self, name: &Name, keys: Option<LookupKeys>) -> Vec<ObjectKey> {
        let before = self.shares.get(name).cloned();
        let mut touched = Vec::new();
        if before == keys {
            return touched;
        }
        touched.extend(self.children.get(name).into_iter().flatten().cloned());
        let bound = before.as_ref().map(|before| before.share_ids.clone()).unwrap_or_default();
        if before.as_ref().is_some_and(|before| before.idle) && keys.as_ref().is_some_and(|keys| !keys.idle) {
            // What it was refused while others went first, it may have now.
            touched.push(ObjectKey::share(name.clone()));
        }
        self.shares.remove(name);
        if let Some(before) = before.filter(|before| before.claims) {
            for id in &before.share_ids {
                touched.extend(leave(&mut self.by_share_id, id, name).into_iter().map(ObjectKey::share));
            }
            touched.extend(leave(&mut self.by_claim, &before.claim, name).into_iter().map(ObjectKey::share));
        }
        if let Some(keys) = keys.as_ref().filter(|keys| keys.claims) {
            // The lists of other namespaces may bring an older object after a younger one was served.
            for id in &keys.share_ids {
                touched.extend(join(&mut self.by_share_id, id, name).into_iter().map(ObjectKey::share));
                if !bound.contains(id) {
                    // A sweep that saw its share move before now did not find it.
                    touched.push(ObjectKey::share(name.clone()));
                }
            }
            touched.extend(join(&mut self.by_claim, &keys.claim, name).into_iter().map(ObjectKey::share));
        }
        self.shares.extend(keys.map(|keys| (name.clone(), keys)));
        touched
    }

    pub fn is_in_scope(&self, share: &Name) -> bool {
        self.shares.get(share).is_some_and(|keys| keys.in_scope)
    }

    /// Takes note of a child object and of the Share that it belongs to; `parent`: `None`, it is gone. Returns who has to
    /// look: also where it comes into scope, or leaves it.
    pub fn relate_child(&mut self, key: ObjectKey, parent: Option<Parent>, now: At) -> Vec<ObjectKey> {
        let before = self.parents.get(&key).cloned();
        let mut touched = Vec::new();
        if let Some(Parent { share: before, .. }) = before.filter(|before| Some(before) != parent.as_ref()) {
            self.parents.remove(&key);
            if let Some(children) = self.children.get_mut(&before) {
                children.remove(&key);
                // Another declaration of the same key may take over.
                touched.extend(children.iter().cloned());
                if children.is_empty() {
                    self.children.remove(&before);
                    self.arrivals.remove(&before);
                }
            }
            touched.extend(self.rivals(&before));
            touched.push(ObjectKey::share(before));
        }
        if let Some(parent) = parent {
            let share = parent.share.clone();
            if self.parents.insert(key.clone(), parent).is_none() {
                touched.extend(self.rivals(&share));
                let arrivals = self.arrivals.entry(share.clone()).or_insert(Arrivals { first: now, last: now });
                arrivals.last = now;
            }
            self.children.entry(share.clone()).or_default().insert(key);
            touched.push(ObjectKey::share(share));
        }
        touched
    }

    /// Other Shares that want the same name in the same account: what a Share has to claim it with concerns them.
    fn rivals(&self, share: &Name) -> Vec<ObjectKey> {
        let claim = self.shares.get(share).map(|keys| &keys.claim);
        let same = claim.and_then(|claim| self.by_claim.get(claim)).into_iter().flatten();
        same.filter(|name| *name != share).cloned().map(ObjectKey::share).collect()
    }
}

/// What of a Share matters to its children: who it is, how far it is, and what it holds for them.
fn children_view(share: &Share) -> u64 {
    let mut hasher = DefaultHasher::new();
    (share.uid(), share.meta().generation, is_deleting(share.meta())).hash(&mut hasher);
    share.annotations().get(CONFIRM_REMOVALS).hash(&mut hasher);
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
