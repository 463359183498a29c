//! How do objects of one kind come in: which of what the list or the watch brought calls for a pass?

use std::collections::HashSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::Event;

use super::feed::Feed;
use super::guarded::Guarded;
use super::reconciled::{Reconciled, reports_generation};
use super::work_queue::Urgency;
use super::{Cluster, object_cache};
use crate::api::{Name, ObjectKey, is_deleting};
use crate::core::health::Sign;

/// What takes in the events of one kind in one scope: it fills the store, and requeues what is to be looked at. An object
/// that does not decode is logged and stops nobody. What was read of it before stays, so that what it declares is not taken
/// for undeclared.
pub struct Intake<K: Reconciled> {
    feed: Arc<Feed<K>>,
    /// The number for which the last list began.
    listing: u64,
    /// Who has to look once this list is complete: the store does not have its objects before.
    to_requeue: Vec<(ObjectKey, Urgency)>,
    /// Objects of this list that cannot be read.
    unreadable: HashSet<Name>,
    /// How many objects were known when this list began.
    known: usize,
    /// So many of them it has.
    found: usize,
    /// It has what was not known, or known otherwise.
    has_news: bool,
}

impl<K: Reconciled> Intake<K> {
    pub fn new(feed: Arc<Feed<K>>) -> Intake<K> {
        Intake {
            feed,
            listing: 0,
            to_requeue: Vec::new(),
            unreadable: HashSet::new(),
            known: 0,
            found: 0,
            has_news: false,
        }
    }

    /// A list begins, for that number.
    pub fn list_begins(&mut self, number: u64) {
        self.listing = number;
        self.feed.cache().list_begins(self.feed.scope.as_deref());
    }

    /// Whether the last complete list differed from what was known when it began.
    pub fn has_missed(&self) -> bool {
        self.has_news || self.found < self.known
    }

    /// Compares what a list brings with what the watch brought before.
    fn compare(&mut self, event: &Event<K>) {
        match event {
            Event::Init => (self.known, self.found, self.has_news) = (self.feed.readable(), 0, false),
            Event::InitApply(object) => {
                let before = self.feed.cache().watched(&Name::of(object));
                self.found += usize::from(before.is_some());
                self.has_news |= before.is_none_or(|before| before.resource_version() != object.resource_version());
            }
            Event::InitDone | Event::Apply(_) | Event::Delete(_) => {}
        }
    }

    /// Takes in what the list or the watch brought.
    pub fn bring(&mut self, event: Event<Guarded<K>>) {
        let mut readable = Vec::new();
        match &event {
            Event::Init => self.unreadable.clear(),
            Event::InitApply(guard) => self.unreadable.extend(guard.0.as_ref().err().map(name_of)),
            Event::Apply(Guarded(Ok(object))) => readable.push(Name::of(object)),
            Event::Delete(guard) => readable.push(guard.0.as_ref().map_or_else(name_of, Name::of)),
            Event::InitDone | Event::Apply(_) => {}
        }
        let is_complete = matches!(event, Event::InitDone);
        if let Some(mut event) = decoded(event, &self.feed.cluster) {
            if let Event::Apply(object) | Event::InitApply(object) = &mut event {
                object_cache::trim(object);
            }
            self.compare(&event);
            self.take(&event);
        }
        // Only now: before the store has them, they seem to declare nothing.
        if is_complete {
            let unreadable = std::mem::take(&mut self.unreadable);
            readable = self.feed.cache().only_unreadable(self.feed.scope.as_deref(), &unreadable);
        } else {
            readable.retain(|name| self.feed.cache().became_readable(name));
        }
        self.feed.requeue_those_who_waited(&readable);
        if is_complete {
            self.feed.report(Sign::Listed);
            self.complete();
        }
    }

    /// Whether the object of an event is to be looked at: what changed in its status alone is our own doing, unless somebody
    /// else took away what the status said, or wrote that of another object over it. What is out of scope is looked at once,
    /// when it leaves: then it is forgotten.
    fn calls_for_a_pass(&self, event: &Event<K>) -> bool {
        let (Event::Apply(object) | Event::InitApply(object)) = event else { return false };
        let is_in_scope = self.feed.cache().is_in_scope(object);
        let Some(before) = self.feed.cache().watched(&Name::of(object)) else { return is_in_scope };
        if self.feed.cache().is_in_scope(before.as_ref()) != is_in_scope {
            return true;
        }
        if !is_in_scope {
            return false;
        }
        is_edited(before.meta(), object.meta())
            || match event {
                Event::Apply(_) => {
                    says_something(before.as_ref()) && !says_something(object)
                        || has_foreign_status(object) && !has_foreign_status(before.as_ref())
                }
                // A list may bring what no watch event did.
                _ => before.resource_version() != object.resource_version(),
            }
    }

    fn take(&mut self, event: &Event<K>) {
        if let Event::Init = event {
            self.to_requeue.clear();
        }
        let own = match event {
            Event::Apply(object) if self.calls_for_a_pass(event) => Some((object, Urgency::Next)),
            // Somebody may wait for what happened while nobody watched.
            Event::InitApply(object) if self.calls_for_a_pass(event) => {
                let is_settled = reports_generation(object) && !is_deleting(object.meta());
                Some((object, if is_settled { Urgency::Later } else { Urgency::Next }))
            }
            _ => None,
        };
        let own = own.map(|(object, urgency)| (K::key(Name::of(object)), urgency));
        let touched = self.feed.take_note(event);
        let is_one_of_many = matches!(event, Event::InitApply(_) | Event::InitDone);
        let urgency = if is_one_of_many { Urgency::Later } else { Urgency::Next };
        let to_look = own.into_iter().chain(touched.into_iter().map(|key| (key, urgency)));
        if let Event::InitApply(_) = event {
            self.to_requeue.extend(to_look);
        } else {
            to_look.for_each(|(key, urgency)| self.feed.cluster.requeuer.add(&key, urgency));
        }
    }

    /// A pass that began before did not find what the list brought, or found it as it was.
    fn complete(&mut self) {
        for (key, urgency) in std::mem::take(&mut self.to_requeue) {
            self.feed.cluster.requeuer.add(&key, urgency);
        }
        self.feed.cluster.shards.complete(self.feed.scope.as_deref(), K::KIND, self.listing);
    }
}

/// Whether it is another object, another generation, or asks for something else.
pub fn is_edited(before: &ObjectMeta, now: &ObjectMeta) -> bool {
    before.uid != now.uid
        || before.generation != now.generation
        || before.annotations != now.annotations
        || before.finalizers != now.finalizers
}

fn says_something<K: Reconciled>(object: &K) -> bool {
    object.status().is_some_and(|status| !status.as_ref().conditions.is_empty())
}

/// Whether its status was written for another object: the pass that finds it so drops that. Never our own doing.
fn has_foreign_status<K: Reconciled>(object: &K) -> bool {
    object.bound_uid().is_some_and(|bound| object.meta().uid.as_deref() != Some(bound))
}

fn name_of(invalid: &InvalidObject) -> Name {
    let ObjectMeta { namespace, name, .. } = invalid.metadata.clone();
    Name::new(namespace.unwrap_or_default(), name.unwrap_or_default())
}

/// The event of an object that can be read, or of what is kept of it.
fn decoded<K: Reconciled>(event: Event<Guarded<K>>, cluster: &Cluster) -> Option<Event<K>> {
    let kept = K::cache(&cluster.index);
    let last = |name: &Name| kept.known(name).map(|object| object.as_ref().clone());
    let read = |guard: Guarded<K>| {
        guard.0.map_err(|invalid| {
            let name = name_of(&invalid);
            tracing::error!(
                object = %K::key(name.clone()),
                error = %invalid.error,
                "an object does not match the current CRD and is skipped: fix it and apply it again"
            );
            kept.became_unreadable(name.clone());
            name
        })
    };
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        // The store keeps what it has of one that cannot be read.
        Event::Apply(guard) => read(guard).ok().map(Event::Apply),
        Event::InitApply(guard) => read(guard).map_or_else(|name| last(&name), Some).map(Event::InitApply),
        Event::Delete(guard) => guard.0.map_or_else(|invalid| last(&name_of(&invalid)), Some).map(Event::Delete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_foreign_where_it_names_another_object() {
        let with = |bound: serde_json::Value| {
            let share: crate::api::Share = serde_json::from_value(serde_json::json!({
                "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "waf", "uid": "own"},
                "spec": {"accountID": "023e105f4ecef8ad9ca31a8372d0c353"}, "status": {"boundUID": bound},
            }))
            .expect("a Share");
            let child: crate::api::ShareResource = serde_json::from_value(serde_json::json!({
                "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareResource", "metadata": {"name": "one", "uid": "own"},
                "spec": {"shareRef": {"name": "waf"}, "type": "custom-ruleset", "id": "2f2feab2026849078ba485f918791bdc"},
                "status": {"boundUID": bound},
            }))
            .expect("a ShareResource");
            (has_foreign_status(&share), has_foreign_status(&child))
        };
        assert_eq!(with("another".into()), (true, true));
        assert_eq!(with("own".into()), (false, false));
        assert_eq!(with(serde_json::Value::Null), (false, false));
    }

    #[test]
    fn an_object_is_looked_at_for_what_people_change_and_not_for_its_status() {
        let before = ObjectMeta {
            uid: Some("u1".to_owned()),
            generation: Some(1),
            resource_version: Some("7".to_owned()),
            ..ObjectMeta::default()
        };
        let after = |change: fn(&mut ObjectMeta)| {
            let mut now = ObjectMeta { resource_version: Some("8".to_owned()), ..before.clone() };
            change(&mut now);
            is_edited(&before, &now)
        };
        assert!(!after(|_| {}));
        assert!(after(|now| now.generation = Some(2)));
        assert!(after(|now| now.uid = Some("u2".to_owned())), "another object of the same name");
        assert!(after(|now| now.annotations = Some([("a".to_owned(), "b".to_owned())].into())));
        assert!(after(|now| now.finalizers = Some(vec!["cfshare.dev/finalizer".to_owned()])));
    }
}
