//! How an object gets looked at: by a watch event, or by anything else.

use std::sync::Arc;

use super::work_queue::{Urgency, WorkQueue};
use crate::api::{Kind, ObjectKey};

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
