//! Which objects of one kind are looked at next, and when?

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use crate::api::Name;

/// Objects that wait for their time, and those that are being worked on: never one of them twice at once.
#[derive(Default)]
pub struct Queue {
    due: HashMap<Name, Instant>,
    order: BTreeSet<(Instant, Name)>,
    running: HashSet<Name>,
    /// Their time came while they were being worked on.
    again: HashSet<Name>,
}

impl Queue {
    /// Looks at the object at that time, or sooner where that was wanted before.
    pub fn add(&mut self, name: Name, at: Instant) {
        if self.again.contains(&name) {
            return;
        }
        if let Some(known) = self.due.get_mut(&name) {
            if *known <= at {
                return;
            }
            self.order.remove(&(*known, name.clone()));
            *known = at;
        } else {
            self.due.insert(name.clone(), at);
        }
        self.order.insert((at, name));
    }

    /// The object that has waited longest of those whose time has come.
    pub fn take(&mut self, now: Instant) -> Option<Name> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, name) = self.order.pop_first()?;
            self.due.remove(&name);
            if self.running.insert(name.clone()) {
                return Some(name);
            }
            self.again.insert(name);
        }
        None
    }

    /// The object is not being worked on any more.
    pub fn ended(&mut self, name: &Name, now: Instant) {
        self.running.remove(name);
        if self.again.remove(name) {
            self.add(name.clone(), now);
        }
    }

    /// When the next object's time comes.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(name: &str) -> Name {
        Name::new("a", name)
    }

    #[test]
    fn the_earlier_of_two_times_counts_and_each_object_is_taken_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        queue.add(name("one"), at(9));
        queue.add(name("one"), at(3));
        queue.add(name("one"), at(5));
        queue.add(name("two"), at(4));
        assert_eq!((queue.next(), queue.take(at(2))), (Some(at(3)), None));
        assert_eq!(queue.take(at(4)), Some(name("one")));
        assert_eq!(queue.take(at(4)), Some(name("two")));
        assert_eq!((queue.take(at(10)), queue.next(), queue.running()), (None, None, 2));
    }

    #[test]
    fn an_object_whose_time_comes_while_it_is_worked_on_is_taken_once_more_afterwards() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        queue.add(name("one"), now);
        assert_eq!(queue.take(now), Some(name("one")));
        queue.add(name("one"), now);
        queue.add(name("two"), now);
        assert_eq!(queue.take(now), Some(name("two")));
        assert_eq!(queue.take(now), None);
        queue.add(name("one"), now);
        queue.ended(&name("one"), later);
        queue.add(name("one"), later + Duration::from_secs(60));
        assert_eq!(queue.take(later), Some(name("one")));
        queue.ended(&name("one"), later);
        assert_eq!((queue.take(later), queue.next()), (None, None));
    }
}
