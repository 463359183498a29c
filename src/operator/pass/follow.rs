//! When an object is looked at again while Cloudflare is still at work on it, and what was read too long ago for that.

use std::time::Duration;

use super::Pass;
use crate::core::id::ShareId;
use crate::core::time::At;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::remote::account::Account;

impl<K: Reconciled> Pass<K> {
    /// Whether something is under way, and its next poll not due yet: when it is.
    pub fn due(&self) -> Option<At> {
        self.memory(|memory| memory.due)
    }

    pub fn is_following(&self) -> bool {
        self.due().is_some()
    }

    /// Whether something is under way, and it is time to look at it.
    pub fn is_poll_due(&self) -> bool {
        self.due().is_some_and(|due| due <= self.now())
    }

    /// What was read before then is too old for this pass: a look was requested then, or a poll became due.
    pub fn outdated_before(&self, requested: bool) -> At {
        let now = self.now();
        if requested {
            return self.memory(|memory| *memory.tries.request_met.get_or_insert(now));
        }
        // One read serves all objects of a share whose polls are due at about the same time.
        let shared = self.context.settings.poll_min / 2;
        self.due().filter(|due| *due <= now).map(|due| due.minus(shared)).unwrap_or_default()
    }

    /// Something of that share is under way: when to look again; `moved` changes when something moves.
    pub fn follow(&self, account: &Account, share: &ShareId, moved: u64) -> Duration {
        account.follow(&self.key, share);
        self.plan_poll(moved)
    }

    pub fn plan_poll(&self, moved: u64) -> Duration {
        let settings = &self.context.settings;
        let now = self.now();
        self.memory(|memory| memory.plan_poll(moved, now, settings.poll_min, settings.poll_max))
    }

    /// Plans one look at a time at which a call that was announced, and not answered, has settled.
    pub fn look_once_settled(&self) -> Duration {
        let wait = self.context.settings.settled_after();
        let due = self.now().plus(wait);
        self.memory(|memory| memory.due = Some(due));
        wait
    }

    /// Nothing is under way any more.
    pub fn stop_following(&self, account: &Account) {
        if self.memory(|memory| memory.due.take()).is_some() {
            account.unfollow(&self.key);
        }
    }
}
