//! Which objects are to be looked at next, by which controller, and in which order?
//!
//! Kube's controller takes memory for whatever it is told of, also later, and takes from that in any order. So it is told of
//! a few at a time, those first that somebody may be waiting for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use futures::{Stream, stream};
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::{Kind, Name, ObjectKey};
#[cfg(test)]
use crate::core::interned::Interned;

/// How soon an object is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Something happened to it.
    Next,
    /// It is one of many: of a list, or of an account.
    Later,
}

/// Objects of one kind in one scope, by name, each at most once.
pub struct WorkQueue {
    waiting: Mutex<Waiting>,
    /// One was added, or begun.
    moved: Notify,
    /// So many may be handed out whose pass has not begun.
    most: usize,
}

#[derive(Default)]
struct Waiting {
    next: VecDeque<Name>,
    later: VecDeque<Name>,
    urgency: HashMap<Name, Urgency>,
    handed_out: HashSet<Name>,
}

impl Waiting {
    fn add(&mut self, name: &Name, urgency: Urgency) {
        // The pass to come sees what is there then.
        let is_known = self.handed_out.contains(name);
        match self.urgency.get(name) {
            _ if is_known => return,
            Some(before) if *before == Urgency::Next || urgency == Urgency::Later => return,
            // What it leaves behind among those that come later is passed over.
            Some(_) | None => self.urgency.insert(name.clone(), urgency),
        };
        match urgency {
            Urgency::Next => self.next.push_back(name.clone()),
            Urgency::Later => self.later.push_back(name.clone()),
        }
    }

    fn take(&mut self) -> Option<Name> {
        let name = loop {
            let (name, urgency) = match self.next.pop_front() {
                Some(name) => (name, Urgency::Next),
                None => (self.later.pop_front()?, Urgency::Later),
            };
            if self.urgency.get(&name) == Some(&urgency) {
                break name;
            }
        };
        self.urgency.remove(&name);
        if self.urgency.is_empty() {
            // After a start all objects wait, and later few.
            (self.next, self.later, self.urgency) = Default::default();
        }
        self.handed_out.insert(name.clone());
        Some(name)
    }
}

impl WorkQueue {
    pub fn new(most: usize) -> WorkQueue {
        WorkQueue { waiting: Mutex::default(), moved: Notify::new(), most }
    }

    pub fn add(&self, name: &Name, urgency: Urgency) {
        self.waiting.lock().add(name, urgency);
        self.moved.notify_one();
    }

    /// The pass over the object begins, or there is no such object.
    pub fn begun(&self, name: &Name) {
        self.waiting.lock().handed_out.remove(name);
        self.moved.notify_one();
    }

    async fn next(&self) -> Name {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.handed_out.len() < self.most
                    && let Some(name) = waiting.take()
                {
                    return name;
                }
            }
            self.moved.notified().await;
        }
    }

    /// What is to be looked at next, in that order.
    #[cfg(test)]
    pub fn names(&self) -> Vec<Interned> {
        self.waiting.lock().next.iter().map(|name| name.name.clone()).collect()
    }

    /// The names, as kube's controller wants them.
    pub fn references<K>(self: Arc<Self>) -> impl Stream<Item = ObjectRef<K>> + Send + 'static
    where
        K: kube::Resource<DynamicType = ()> + 'static,
    {
        stream::unfold(self, |queue| async {
            let name = queue.next().await;
            Some((ObjectRef::new(&name.name).within(&name.namespace), queue))
        })
    }
}

/// The queue of each controller: of one kind, in one namespace or all.
pub struct Requeuer {
    queues: Vec<(Kind, Option<String>, Arc<WorkQueue>)>,
}

impl Requeuer {
    pub fn new(queues: Vec<(Kind, Option<String>, Arc<WorkQueue>)>) -> Requeuer {
        Requeuer { queues }
    }

    /// Something happened to the object.
    pub fn requeue(&self, key: &ObjectKey) {
        self.add(key, Urgency::Next);
    }

    /// The object is one of many.
    pub fn requeue_later(&self, key: &ObjectKey) {
        self.add(key, Urgency::Later);
    }

    pub fn add(&self, key: &ObjectKey, urgency: Urgency) {
        for (kind, scope, queue) in &self.queues {
            if *kind == key.kind && scope.as_ref().is_none_or(|namespace| *namespace == key.name.namespace) {
                queue.add(&key.name, urgency);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Urgency::{Later, Next};
    use super::*;

    fn name(name: &str) -> Name {
        Name::new("x", name)
    }

    fn taken(queue: &WorkQueue) -> String {
        let taken: Vec<String> =
            std::iter::from_fn(|| queue.next().now_or_never()).map(|name| name.name.to_string()).collect();
        taken.join(" ")
    }

    #[test]
    fn what_somebody_waits_for_is_looked_at_first() {
        let queue = WorkQueue::new(9);
        for (object, urgency) in [("a", Later), ("b", Later), ("c", Next), ("b", Next), ("d", Next), ("c", Later)] {
            queue.add(&name(object), urgency);
        }
        assert_eq!(taken(&queue), "c b d a");
    }

    #[test]
    fn few_are_handed_out_at_once() {
        let queue = WorkQueue::new(2);
        ["a", "b", "c", "d"].iter().for_each(|object| queue.add(&name(object), Later));
        assert_eq!(taken(&queue), "a b");
        queue.begun(&name("b"));
        assert_eq!(taken(&queue), "c");
        queue.begun(&name("a"));
        queue.begun(&name("a"));
        assert_eq!(taken(&queue), "d");
    }

    #[test]
    fn what_happens_once_a_pass_has_begun_takes_another_one() {
        let queue = WorkQueue::new(9);
        queue.add(&name("a"), Later);
        assert_eq!(taken(&queue), "a");
        queue.add(&name("a"), Next);
        assert_eq!(taken(&queue), "", "its pass has not begun, and will see it");
        queue.begun(&name("a"));
        queue.add(&name("a"), Next);
        assert_eq!(taken(&queue), "a");
    }
}
