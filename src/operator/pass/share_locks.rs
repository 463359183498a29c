//! One pass at a time works on a share: that of its object, or of one of its child objects.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::{Kind, Name, ObjectKey};
use crate::operator::cluster::work_queue::Requeuer;
use crate::operator::stop::Stop;

pub struct ShareLocks {
    requeuer: Arc<Requeuer>,
    shares: Mutex<HashMap<Name, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    is_taken: bool,
    /// In the order in which they came, the Share first: child objects may wait for it.
    objects: VecDeque<ObjectKey>,
    /// The same without an order: thousands may wait, and all of them ask again now and then.
    known: HashSet<ObjectKey>,
}

impl Waiting {
    fn add(&mut self, object: &ObjectKey) {
        if !self.known.insert(object.clone()) {
            return;
        }
        match object.kind {
            Kind::Share => self.objects.push_front(object.clone()),
            Kind::ShareRecipient | Kind::ShareResource => self.objects.push_back(object.clone()),
        }
    }

    fn remove(&mut self, object: &ObjectKey) {
        if self.known.remove(object) {
            self.objects.retain(|waiting| waiting != object);
        }
    }

    fn next(&mut self) -> Option<ObjectKey> {
        let next = self.objects.pop_front()?;
        self.known.remove(&next);
        Some(next)
    }
}

/// The right to work on a share. Dropping it requeues the next object that waits for it.
pub struct ShareLock {
    locks: Arc<ShareLocks>,
    share: Name,
}

impl ShareLocks {
    pub fn new(requeuer: Arc<Requeuer>) -> ShareLocks {
        ShareLocks { requeuer, shares: Mutex::default() }
    }

    /// The lock, for that object, unless another one has it.
    pub fn take(self: &Arc<Self>, share: &Name, object: &ObjectKey) -> Result<ShareLock, Stop> {
        let mut shares = self.shares.lock();
        let waiting = shares.entry(share.clone()).or_default();
        if waiting.is_taken {
            waiting.add(object);
            return Err(Stop::Occupied { waiting: waiting.known.len().try_into().unwrap_or(u32::MAX) });
        }
        waiting.is_taken = true;
        waiting.remove(object);
        Ok(ShareLock { locks: self.clone(), share: share.clone() })
    }
}

impl Drop for ShareLock {
    fn drop(&mut self) {
        let mut shares = self.locks.shares.lock();
        let Some(waiting) = shares.get_mut(&self.share) else { return };
        waiting.is_taken = false;
        // Only one, since the others would find it taken. Each also comes back by itself after a while.
        let next = waiting.next();
        if waiting.objects.is_empty() {
            shares.remove(&self.share);
        }
        if let Some(next) = next {
            self.locks.requeuer.requeue(&next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::cluster::work_queue::WorkQueue;

    fn recipient(name: &str) -> ObjectKey {
        ObjectKey { kind: Kind::ShareRecipient, name: Name::new("security", name) }
    }

    #[test]
    fn each_that_waits_is_requeued_when_it_is_its_turn() {
        let queue = Arc::new(WorkQueue::new(9));
        let requeuer = Requeuer::new(vec![(Kind::ShareRecipient, None, queue.clone())]);
        let locks = Arc::new(ShareLocks::new(Arc::new(requeuer)));
        let (waf, dns) = (Name::new("security", "waf"), Name::new("security", "dns"));
        let [a, b, c] = ["a", "b", "c"].map(recipient);

        let first = locks.take(&waf, &a).expect("nobody has it");
        assert!(locks.take(&dns, &b).is_ok(), "another share");
        assert!(locks.take(&waf, &b).is_err() && locks.take(&waf, &b).is_err() && locks.take(&waf, &c).is_err());
        assert_eq!(queue.names(), [""; 0], "it is taken");
        drop(first);
        assert_eq!(queue.names(), ["b"]);
        let second = locks.take(&waf, &b).expect("its turn");
        drop(second);
        assert_eq!(queue.names(), ["b", "c"]);
        drop(locks.take(&waf, &c).expect("its turn"));
        assert!(locks.shares.lock().is_empty(), "nothing is kept");
    }

    #[test]
    fn who_comes_by_itself_does_not_wait_any_more() {
        let queue = Arc::new(WorkQueue::new(9));
        let requeuer = Requeuer::new(vec![(Kind::ShareRecipient, None, queue.clone())]);
        let locks = Arc::new(ShareLocks::new(Arc::new(requeuer)));
        let waf = Name::new("security", "waf");
        let [a, b, c] = ["a", "b", "c"].map(recipient);
        let first = locks.take(&waf, &a).expect("nobody has it");
        assert!(locks.take(&waf, &b).is_err() && locks.take(&waf, &c).is_err());
        drop(first);
        // Not the one that was requeued.
        drop(locks.take(&waf, &c).expect("nobody has it"));
        assert_eq!(queue.names(), ["b"], "the other one is asked no second time");
        assert!(locks.shares.lock().is_empty(), "nothing is kept");
    }

    #[test]
    fn the_share_goes_before_the_objects_that_wait_longer() {
        let shares = Arc::new(WorkQueue::new(9));
        let recipients = Arc::new(WorkQueue::new(9));
        let queues = vec![(Kind::Share, None, shares.clone()), (Kind::ShareRecipient, None, recipients.clone())];
        let locks = Arc::new(ShareLocks::new(Arc::new(Requeuer::new(queues))));
        let waf = Name::new("security", "waf");
        let [a, b] = ["a", "b"].map(recipient);
        let first = locks.take(&waf, &a).expect("nobody has it");
        let share = ObjectKey { kind: Kind::Share, name: waf.clone() };
        assert!(locks.take(&waf, &b).is_err() && locks.take(&waf, &share).is_err());
        drop(first);
        assert_eq!(shares.names(), ["waf"]);
        assert_eq!(recipients.names(), [""; 0]);
    }
}
