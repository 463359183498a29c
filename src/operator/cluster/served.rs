//! For which shards does this process work, since when, and what is under way in them?
//!
//! Every process watches all objects and works on those of its own shards. So an object of another shard is there, like
//! any other, and never looks like one that was deleted. A shard that is taken while others are served already is served
//! once everything has been listed since, as a process does that begins.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::api::Kind;
use crate::core::shard;
use crate::core::time::At;

/// Everything is listed again at most so often because the watch lags behind.
const MIN_RELIST_INTERVAL: Duration = Duration::from_secs(30);

pub struct ServedShards {
    shards: Vec<Mutex<Shard>>,
    lists: Mutex<HashMap<(Option<String>, Kind), u64>>,
    /// Number of the list that is wanted of everything.
    wanted: watch::Sender<u64>,
    /// When it was last wanted because the watch lagged behind.
    listed_again: Mutex<Option<At>>,
    pub listed: Notify,
}

#[derive(Default)]
struct Shard {
    serving_since: At,
    /// Number of the first list that counts; `None`: it is not ours.
    list: Option<u64>,
    /// Those under way, also of a time before in which it was ours.
    passes: TaskTracker,
}

impl ServedShards {
    /// One shard is served from the beginning; of several, none.
    pub fn new(shards: u16, now: At) -> ServedShards {
        let shard = || Mutex::new(Shard { serving_since: now, list: (shards == 1).then_some(0), ..Shard::default() });
        ServedShards {
            shards: (0..shards.max(1)).map(|_| shard()).collect(),
            lists: Mutex::default(),
            wanted: watch::Sender::new(0),
            listed_again: Mutex::default(),
            listed: Notify::new(),
        }
    }

    pub fn count(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap_or(1)
    }

    pub fn are_many(&self) -> bool {
        self.shards.len() > 1
    }

    pub fn shard_of(&self, account: &str) -> u16 {
        shard::of(account, self.count())
    }

    fn shard(&self, shard: u16) -> &Mutex<Shard> {
        &self.shards[usize::from(shard) % self.shards.len()]
    }

    /// The right to a pass over an object of the shard in that namespace, if it is ours to work on: for as long as the token
    /// lives.
    pub fn enter(&self, shard: u16, namespace: &str) -> Option<TaskTrackerToken> {
        let state = self.shard(shard).lock();
        let list = state.list?;
        if self.are_many() && !self.is_listed(namespace, list) {
            return None;
        }
        Some(state.passes.token())
    }

    pub fn is_served(&self, shard: u16) -> bool {
        self.shard(shard).lock().list.is_some()
    }

    /// How many shards this process works for.
    pub fn held(&self) -> usize {
        self.shards.iter().filter(|shard| shard.lock().list.is_some()).count()
    }

    /// When this process took over the account: what happened before was done by others.
    pub fn serving_since(&self, account: &str) -> At {
        self.shard(self.shard_of(account)).lock().serving_since
    }

    /// The shards are ours now. They are served as soon as a list of that number is complete.
    pub fn begin(&self, shards: &[u16], now: At) -> u64 {
        let _alone = self.listed_again.lock();
        let list = *self.wanted.borrow() + 1;
        for shard in shards {
            let mut state = self.shard(*shard).lock();
            (state.serving_since, state.list) = (now, Some(list));
        }
        self.wanted.send_replace(list);
        list
    }

    /// No pass begins any more in the shard.
    pub fn end(&self, shard: u16) {
        self.shard(shard).lock().list = None;
    }

    /// Until no pass is under way in the shard.
    pub async fn idle(&self, shard: u16) {
        let passes = self.shard(shard).lock().passes.clone();
        // Only a closed one is waited for; passes may begin all the same.
        passes.close();
        passes.wait().await;
    }

    /// Which list is wanted of everything.
    pub fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Everything is listed again, since the watch lags behind: unless that was asked for a moment ago. Returns whether it is.
    pub fn list_again(&self, now: At) -> bool {
        let mut last = self.listed_again.lock();
        let is_due = last.is_none_or(|last| now.since(last) >= MIN_RELIST_INTERVAL);
        if is_due {
            *last = Some(now);
            self.wanted.send_modify(|list| *list += 1);
        }
        is_due
    }

    /// The list of that number is complete, of one kind in one namespace or all of them.
    pub fn complete(&self, scope: Option<&str>, kind: Kind, list: u64) {
        self.lists.lock().insert((scope.map(str::to_owned), kind), list);
        self.listed.notify_one();
    }

    /// Whether all objects of the namespace were listed since the list of that number was wanted.
    fn is_listed(&self, namespace: &str, list: u64) -> bool {
        self.is_scope_listed(None, list) || self.is_scope_listed(Some(namespace), list)
    }

    /// The same of one watched namespace, or of all of them.
    pub fn is_scope_listed(&self, scope: Option<&str>, list: u64) -> bool {
        let (lists, scope) = (self.lists.lock(), scope.map(str::to_owned));
        Kind::ALL.into_iter().all(|kind| lists.get(&(scope.clone(), kind)).is_some_and(|last| *last >= list))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn one_shard_is_served_as_it_always_was() {
        let served = ServedShards::new(1, At(5));
        assert!(served.enter(served.shard_of("a"), "x").is_some());
        assert_eq!(served.serving_since("a"), At(5));
    }

    #[test]
    fn a_shard_is_served_in_a_namespace_once_that_was_listed_since_it_was_taken() {
        let served = ServedShards::new(2, At(0));
        let enters = |shard, namespace| served.enter(shard, namespace).is_some();
        assert!(!enters(0, "x"), "it is not ours");
        let list = served.begin(&[0], At(7));
        Kind::ALL.iter().for_each(|kind| served.complete(Some("x"), *kind, list - 1));
        assert!(!enters(0, "x"), "that list began before");
        Kind::ALL.iter().for_each(|kind| served.complete(Some("x"), *kind, list));
        assert!(enters(0, "x") && !enters(0, "y") && !enters(1, "x"));
        let later = served.begin(&[1], At(9));
        assert!(enters(0, "x") && !enters(1, "x"), "what is served goes on meanwhile");
        Kind::ALL.iter().for_each(|kind| served.complete(None, *kind, later));
        assert!(enters(1, "x") && enters(1, "y"));
        served.end(0);
        assert!(!enters(0, "x") && enters(1, "x"));
    }

    #[test]
    fn everything_is_listed_again_now_and_then_at_most() {
        let served = ServedShards::new(1, At(0));
        let wanted = served.wanted();
        assert!(served.list_again(At(1_000)) && !served.list_again(At(2_000)) && served.list_again(At(31_000)));
        assert_eq!(*wanted.borrow(), 2);
    }

    #[tokio::test]
    async fn a_shard_is_idle_when_its_last_pass_has_ended() {
        let served = Arc::new(ServedShards::new(2, At(0)));
        let list = served.begin(&[0], At(1));
        Kind::ALL.iter().for_each(|kind| served.complete(None, *kind, list));
        let pass = served.enter(0, "x").expect("a pass");
        served.end(0);
        let idle = tokio::spawn({
            let served = served.clone();
            async move { served.idle(0).await }
        });
        tokio::task::yield_now().await;
        assert!(!idle.is_finished());
        drop(pass);
        idle.await.expect("it is idle");
    }
}
