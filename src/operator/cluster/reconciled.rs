//! What a kind must have so that its objects are kept and related, and their status is written.

use std::fmt::Debug;

use kube::Resource;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::index::Index;
use super::object_cache::ObjectCache;
use super::relations::{LookupKeys, Parent};
use crate::api::status::CommonStatus;
use crate::api::{ChildObject, Kind, Name, ObjectKey, Share, ShareRecipient, ShareResource};
use crate::core::interned::Interned;
use crate::core::time::At;

/// A kind of ours.
pub trait Reconciled:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + HasStatus<
        Status: Serialize
                    + DeserializeOwned
                    + Clone
                    + Debug
                    + PartialEq
                    + Default
                    + Send
                    + Sync
                    + AsRef<CommonStatus>
                    + AsMut<CommonStatus>,
    > + 'static
{
    const KIND: Kind;

    fn cache(index: &Index) -> &ObjectCache<Self>;

    /// Takes note of the object (`None`: it is gone). Returns who else has to look.
    fn relate(index: &Index, name: &Name, object: Option<&Self>, now: At) -> Vec<ObjectKey> {
        let in_scope = object.is_some_and(|object| Self::cache(index).is_in_scope(object));
        let parent = object.and_then(Self::as_child).map(|child| Parent { share: child.share(), in_scope });
        index.relations.lock().relate_child(Self::key(name.clone()), parent, now)
    }

    /// The same object, if it is a child object.
    fn as_child(&self) -> Option<&dyn ChildObject> {
        None
    }

    /// For which object its status says that it was written, if it says so.
    fn bound_uid(&self) -> Option<&str> {
        self.as_child()?.record()?.bound_uid.as_deref()
    }

    /// The Cloudflare account that the object is looked after in; `None`: a child object that has none yet.
    fn account(&self, index: &Index) -> Option<Interned> {
        index.account_of_child(self.as_child()?)
    }

    fn key(name: Name) -> ObjectKey {
        ObjectKey { kind: Self::KIND, name }
    }
}

impl Reconciled for Share {
    const KIND: Kind = Kind::Share;

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.shares
    }

    fn relate(index: &Index, name: &Name, object: Option<&Self>, _now: At) -> Vec<ObjectKey> {
        let keys = object.map(|share| LookupKeys::of(share, index.shares.is_in_scope(share)));
        index.relations.lock().relate_share(name, keys)
    }

    fn bound_uid(&self) -> Option<&str> {
        self.status.as_ref()?.bound_uid.as_deref()
    }

    fn account(&self, _index: &Index) -> Option<Interned> {
        Some(self.spec.account_id.clone())
    }
}

impl Reconciled for ShareRecipient {
    const KIND: Kind = Kind::ShareRecipient;

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.recipients
    }

    fn as_child(&self) -> Option<&dyn ChildObject> {
        Some(self)
    }
}

impl Reconciled for ShareResource {
    const KIND: Kind = Kind::ShareResource;

    fn cache(index: &Index) -> &ObjectCache<Self> {
        &index.resources
    }

    fn as_child(&self) -> Option<&dyn ChildObject> {
        Some(self)
    }
}

impl Index {
    /// Objects as they were read at that time, for a plan.
    pub fn of(shares: &[Share], recipients: &[ShareRecipient], resources: &[ShareResource], at: At) -> Index {
        let index = Index::new(vec![store(shares)], vec![store(recipients)], vec![store(resources)]);
        shares.iter().for_each(|object| drop(index.applied(object, at)));
        recipients.iter().for_each(|object| drop(index.applied(object, at)));
        resources.iter().for_each(|object| drop(index.applied(object, at)));
        index
    }

    /// What the watch brought: an object that came or changed.
    pub fn applied<K: Reconciled>(&self, object: &K, now: At) -> Vec<ObjectKey> {
        let name = Name::of(object);
        K::cache(self).caught_up(&name);
        match K::cache(self).is_in_scope(object) {
            true => self.asked.note(K::key(name.clone()), object),
            false => self.asked.forget(&K::key(name.clone())),
        }
        K::relate(self, &name, Some(object), now)
    }

    /// What the watch brought: an object that went.
    pub fn deleted<K: Reconciled>(&self, object: &K, now: At) -> Vec<ObjectKey> {
        let name = Name::of(object);
        K::cache(self).gone(&name);
        self.asked.forget(&K::key(name.clone()));
        K::relate(self, &name, None, now)
    }

    /// The list of one scope (a namespace, or all) is complete: what it lacks went while nobody watched. It says nothing
    /// of other scopes, whose lists may not have come yet. `deleted` is told of each that went.
    pub fn relisted<K: Reconciled>(
        &self,
        scope: Option<&str>,
        now: At,
        deleted: impl Fn(&ObjectKey),
    ) -> Vec<ObjectKey> {
        if K::KIND == Kind::Share {
            self.unlisted.relisted(scope);
        }
        let mut touched = Vec::new();
        K::cache(self).caught_up_with_list(scope);
        let is_within = |name: &&Name| scope.is_none_or(|scope| name.namespace == scope);
        let known: Vec<Name> = {
            let relations = self.relations.lock();
            match K::KIND {
                Kind::Share => relations.shares.keys().filter(is_within).cloned().collect(),
                kind @ (Kind::ShareRecipient | Kind::ShareResource) => {
                    let names = relations.parents.keys().filter(|key| key.kind == kind).map(|key| &key.name);
                    names.filter(is_within).cloned().collect()
                }
            }
        };
        let gone = known.into_iter().filter(|name| K::cache(self).watched(name).is_none());
        for name in gone {
            let key = K::key(name.clone());
            deleted(&key);
            K::cache(self).gone(&name);
            self.asked.forget(&key);
            touched.extend(K::relate(self, &name, None, now));
        }
        touched
    }
}

pub(super) fn store<K: Reconciled>(objects: &[K]) -> Store<K> {
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(object.clone()));
    }
    writer.apply_watcher_event(&Event::InitDone);
    store
}

pub fn reports_generation<K: Reconciled>(object: &K) -> bool {
    let reported = object.status().map(|status| status.as_ref().observed_generation);
    reported == Some(object.meta().generation.unwrap_or(0))
}
