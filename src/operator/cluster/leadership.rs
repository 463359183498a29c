//! May this process still change something in an account? What passes ask before they do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;

use super::sweeps::SweepLog;
use crate::core::shard;
use crate::core::time::At;
use crate::operator::clock;

/// A point in time by both clocks: the monotonic one stands still while the machine is suspended, and the other one may be
/// put back.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    steady: Instant,
    wall: At,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { steady: Instant::now(), wall: clock::wall() }
    }

    pub fn plus(self, time: Duration) -> Moment {
        Moment { steady: self.steady + time, wall: self.wall.plus(time) }
    }

    pub fn elapsed(&self) -> Duration {
        self.steady.elapsed()
    }

    /// By whichever clock is ahead.
    fn is_before(&self, other: Moment) -> bool {
        self.steady < other.steady && self.wall < other.wall
    }
}

/// Until when a Lease is ours, by our own clocks.
#[derive(Clone, Default)]
pub struct Term(Arc<Mutex<Option<Moment>>>);

impl Term {
    pub fn hold_until(&self, until: Option<Moment>) {
        *self.0.lock() = until;
    }

    /// Whether it is still ours after so long a time.
    pub fn lasts(&self, time: Duration) -> bool {
        self.reaches(Moment::now().plus(time))
    }

    fn reaches(&self, moment: Moment) -> bool {
        self.0.lock().is_some_and(|until| moment.is_before(until))
    }

    pub fn holds(&self) -> bool {
        self.lasts(Duration::ZERO)
    }
}

/// One shard's Lease.
#[derive(Clone, Default)]
pub struct Tenure {
    pub term: Term,
    pub sweeps: Arc<SweepLog>,
}

/// The Leases of this process, by which it may work for an account or not.
#[derive(Clone)]
pub struct Leadership {
    /// `None`: one replica, without election: it always leads.
    shards: Option<Arc<[Tenure]>>,
    /// What all replicas of the same number of shards hold together.
    common: Option<Term>,
}

impl Leadership {
    pub fn always() -> Leadership {
        Leadership { shards: None, common: None }
    }

    pub fn of(shards: Vec<Tenure>, common: Option<Term>) -> Leadership {
        Leadership { shards: Some(shards.into()), common }
    }

    fn tenure(&self, account: &str) -> Option<&Tenure> {
        let shards = self.shards.as_ref()?;
        shards.get(usize::from(shard::of(account, u16::try_from(shards.len()).unwrap_or(1))))
    }

    /// A sweep was complete: the next renewal of the shard's Lease says so, at no cost.
    pub fn note_sweep(&self, account: &str, credential: &str, began: Timestamp, interval: Duration) {
        if let Some(tenure) = self.tenure(account) {
            tenure.sweeps.note(account, credential, began, interval);
        }
    }

    /// The account is not swept with that credential any more.
    pub fn forget_sweep(&self, account: &str, credential: &str) {
        if let Some(tenure) = self.tenure(account) {
            tenure.sweeps.forget(account, credential);
        }
    }

    /// How many calls are left with each credential: the next renewal of each Lease says so.
    pub fn note_left(&self, left: &BTreeMap<String, u32>) {
        self.shards.iter().flat_map(|shards| shards.iter()).for_each(|tenure| tenure.sweeps.note_left(left));
    }

    /// The shard is another replica's now, whose sweeps count.
    pub fn forget_sweeps(&self, shard: u16) {
        if let Some(tenure) = self.shards.as_ref().and_then(|shards| shards.get(usize::from(shard))) {
            tenure.sweeps.clear();
        }
    }

    /// Whether the account is still ours after so long a time.
    pub fn lasts(&self, account: &str, time: Duration) -> bool {
        self.shards.is_none()
            || self.tenure(account).is_some_and(|tenure| tenure.term.lasts(time))
                && self.common.as_ref().is_none_or(|common| common.lasts(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_ours_while_we_hold_both_its_shard_and_the_common_lease() {
        let (zero, one, common) = (Tenure::default(), Tenure::default(), Term::default());
        let leadership = Leadership::of(vec![zero.clone(), one.clone()], Some(common.clone()));
        let (in_zero, in_one) = ("a", "023e105f4ecef8ad9ca31a8372d0c353");
        assert_eq!((shard::of(in_zero, 2), shard::of(in_one, 2)), (0, 1));
        let minute = Duration::from_secs(60);
        let holds = |time| [in_zero, in_one].map(|account| leadership.lasts(account, time));
        zero.term.hold_until(Some(Moment::now().plus(minute)));
        assert_eq!(holds(Duration::ZERO), [false, false], "replicas of another number of shards may work");
        common.hold_until(Some(Moment::now().plus(minute)));
        assert_eq!(holds(Duration::ZERO), [true, false]);
        assert_eq!(holds(minute), [false, false], "a call must end before another replica may lead");
        one.term.hold_until(Some(Moment::now().plus(minute)));
        zero.term.hold_until(None);
        assert_eq!(holds(Duration::ZERO), [false, true]);
    }

    #[test]
    fn a_lease_is_not_ours_any_more_after_the_machine_was_suspended() {
        let (term, taken) = (Term::default(), Moment::now());
        let second = Duration::from_secs;
        term.hold_until(Some(taken.plus(second(60))));
        let later = |steady, wall: At| Moment { steady: taken.steady + second(steady), wall };
        assert!(term.reaches(later(59, taken.wall.plus(second(59)))));
        assert!(!term.reaches(later(1, taken.wall.plus(second(600)))), "the monotonic clock stood still");
        assert!(term.reaches(later(1, taken.wall.minus(second(3600)))), "the other one was put back");
        assert!(!term.reaches(later(60, taken.wall.minus(second(3600)))));
    }

    #[test]
    fn one_replica_without_election_always_leads() {
        assert!(Leadership::always().lasts("a", Duration::from_secs(3600)));
    }
}
