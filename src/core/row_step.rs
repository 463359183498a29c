//! What to do next about one recipient, excluded account or resource of a share.
//!
//! Rows have natural keys, so the question is always: is the key declared, did we cause it, and is it there?

use std::time::Duration;

use super::time::At;

/// What is known about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    pub declared: Declared,
    pub recorded: Recorded,
    pub observed: Observed,
    /// What nobody declared is to be removed too.
    pub prune: bool,
    /// It was read so soon after it was recorded, or after this process began, that the read may not show it yet.
    pub lagging: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Declared {
    /// By the object that asks.
    Here,
    /// By another object, which looks after it.
    Elsewhere,
    Nowhere,
}

/// What the object that asks has recorded of the key: its `rows::inventory::Entry`, once it is known what became of the
/// announced call. `child_step::OnRecord` is what another object sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recorded {
    Never,
    /// A call that adds it was announced, and may still take effect.
    Open,
    /// That call has taken effect, so that it cannot once more.
    Answered,
    /// That call can no longer take effect, and could not when the rows were read; or it was never sent.
    Settled,
    /// It was seen in place.
    InPlace,
}

/// What the process that asks knows of a call that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// It was not sent, and will not be: this very process announced it, took the write for failed, and sends nothing after
    /// such a write.
    Never,
    /// It may have been, as all that was announced before a restart.
    Maybe,
    /// It was, and has taken effect.
    Answered,
}

impl Recorded {
    /// What an announcement means to rows that were read then. A call that may have been sent may take effect for the settle
    /// time, and reads may lag behind by `read_lag`.
    pub fn announced(at: At, read: At, settle: Duration, read_lag: Duration, sent: Sent) -> Recorded {
        match sent {
            Sent::Never => Recorded::Settled,
            Sent::Maybe | Sent::Answered if read.since(at) > settle + read_lag => Recorded::Settled,
            Sent::Maybe => Recorded::Open,
            Sent::Answered => Recorded::Answered,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observed {
    Unread,
    Absent,
    Live {
        /// A value that can be changed is not as declared.
        differs: bool,
    },
    /// Cloudflare is removing it.
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// As declared, and recorded so.
    Keep,
    /// Read the rows.
    Read,
    /// Announce and send the call that adds it.
    Add,
    /// It is there: record that it is in place.
    Confirm,
    /// It was in place and is not any more: show it, then add it again.
    Restore,
    /// Change the value that differs: show it where it was in place before.
    Update,
    /// For an announced call to settle, or for Cloudflare to finish.
    Wait,
    Remove,
    /// Drop it from the record: it is gone, or another object looks after it.
    Forget,
    /// Nobody's here: show it, touch nothing.
    Ignore,
}

/// The one step that these facts call for.
pub fn step(facts: Facts) -> Step {
    let Facts { declared, recorded, observed, prune, lagging } = facts;
    match (declared, recorded, observed) {
        (Declared::Here, _, Observed::Unread) => Step::Read,
        (Declared::Here, Recorded::Never, Observed::Absent) => Step::Add,
        // Wanted and only disassociating: it must be gone before it can be added.
        (Declared::Here, Recorded::Never, Observed::Leaving) => Step::Wait,
        (Declared::Here, Recorded::Never, Observed::Live { .. }) => Step::Confirm,
        (Declared::Here, Recorded::Settled | Recorded::Answered, Observed::Live { .. }) => Step::Confirm,
        // A read that lags may show a row that has gone since, and the call may still come: the announcement stands.
        (Declared::Here, Recorded::Open, Observed::Live { differs: false }) => Step::Keep,
        (Declared::Here, Recorded::Open, Observed::Live { differs: true }) => Step::Update,
        (Declared::Here, Recorded::Settled, Observed::Absent) => Step::Add,
        (Declared::Here, Recorded::Open | Recorded::Answered, Observed::Absent) => Step::Wait,
        (Declared::Here, Recorded::Open | Recorded::Answered | Recorded::Settled, Observed::Leaving) => Step::Wait,
        (Declared::Here, Recorded::InPlace, Observed::Leaving) => Step::Wait,
        (Declared::Here, Recorded::InPlace, Observed::Absent) if lagging => Step::Wait,
        (Declared::Here, Recorded::InPlace, Observed::Absent) => Step::Restore,
        (Declared::Here, Recorded::InPlace, Observed::Live { differs: true }) => Step::Update,
        (Declared::Here, Recorded::InPlace, Observed::Live { differs: false }) => Step::Keep,

        (Declared::Elsewhere, Recorded::Never, _) => Step::Keep,
        (Declared::Elsewhere, _, _) => Step::Forget,

        (Declared::Nowhere, Recorded::Never, Observed::Live { .. }) if prune => Step::Remove,
        (Declared::Nowhere, Recorded::Never, _) => Step::Ignore,
        (Declared::Nowhere, _, Observed::Unread) => Step::Read,
        (Declared::Nowhere, _, Observed::Live { .. }) => Step::Remove,
        (Declared::Nowhere, _, Observed::Leaving) => Step::Wait,
        // An announced call may still arrive and add what nobody wants any more.
        (Declared::Nowhere, Recorded::Open, Observed::Absent) => Step::Wait,
        (Declared::Nowhere, Recorded::Answered | Recorded::InPlace, Observed::Absent) if lagging => Step::Wait,
        (Declared::Nowhere, Recorded::Answered | Recorded::Settled | Recorded::InPlace, Observed::Absent) => {
            Step::Forget
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<(Facts, Step)> {
        let mut all = Vec::new();
        for declared in [Declared::Here, Declared::Elsewhere, Declared::Nowhere] {
            for recorded in [Recorded::Never, Recorded::Open, Recorded::Answered, Recorded::Settled, Recorded::InPlace]
            {
                for observed in [
                    Observed::Unread,
                    Observed::Absent,
                    Observed::Live { differs: false },
                    Observed::Live { differs: true },
                    Observed::Leaving,
                ] {
                    for (prune, lagging) in [(false, false), (false, true), (true, false), (true, true)] {
                        let facts = Facts { declared, recorded, observed, prune, lagging };
                        all.push((facts, step(facts)));
                    }
                }
            }
        }
        all
    }

    #[test]
    fn an_announced_call_is_open_until_it_settles_unless_it_was_answered_or_never_sent() {
        let (settle, read_lag) = (Duration::from_secs(240), Duration::from_secs(60));
        for (sent, read_after, expected) in [
            (Sent::Maybe, 0, Recorded::Open),
            (Sent::Maybe, 300, Recorded::Open),
            (Sent::Maybe, 301, Recorded::Settled),
            (Sent::Answered, 0, Recorded::Answered),
            (Sent::Answered, 301, Recorded::Settled),
            (Sent::Never, 0, Recorded::Settled),
            (Sent::Never, 301, Recorded::Settled),
        ] {
            let read = At(5).plus(Duration::from_secs(read_after));
            let recorded = Recorded::announced(At(5), read, settle, read_lag, sent);
            assert_eq!(recorded, expected, "{sent:?} {read_after}");
        }
    }

    #[test]
    fn what_nobody_here_declared_is_removed_only_by_prune() {
        for (facts, step) in every() {
            if step == Step::Remove && facts.recorded == Recorded::Never {
                assert!(facts.prune && facts.declared == Declared::Nowhere, "{facts:?}");
            }
        }
    }

    #[test]
    fn what_is_declared_is_never_removed() {
        for (facts, step) in every() {
            assert!(step != Step::Remove || facts.declared == Declared::Nowhere, "{facts:?}");
        }
    }

    #[test]
    fn nothing_is_added_unread_or_while_live_leaving_or_unsettled() {
        for (facts, step) in every() {
            if matches!(step, Step::Add | Step::Restore) {
                assert_eq!((facts.declared, facts.observed), (Declared::Here, Observed::Absent), "{facts:?}");
                assert!(!matches!(facts.recorded, Recorded::Open | Recorded::Answered), "{facts:?}");
            }
        }
    }

    #[test]
    fn what_was_in_place_is_not_believed_absent_while_reads_may_lag() {
        for (facts, step) in every() {
            if facts.recorded == Recorded::InPlace && facts.observed == Observed::Absent && facts.lagging {
                let looked_after = facts.declared == Declared::Elsewhere;
                assert!(step == Step::Wait || looked_after && step == Step::Forget, "{facts:?}");
            }
        }
    }

    #[test]
    fn an_announcement_settles_only_for_rows_read_after_both_times() {
        let (settle, read_lag) = (Duration::from_millis(100), Duration::from_millis(10));
        let announced = |read| Recorded::announced(At(5), At(read), settle, read_lag, Sent::Maybe);
        assert_eq!([0, 115, 116].map(announced), [Recorded::Open, Recorded::Open, Recorded::Settled]);
    }

    #[test]
    fn an_announcement_stands_until_its_call_cannot_take_effect_any_more() {
        for (facts, step) in every() {
            if facts.recorded == Recorded::Open {
                assert!(step != Step::Confirm && step != Step::Add, "{facts:?}");
                assert!(step != Step::Forget || facts.declared == Declared::Elsewhere, "{facts:?}");
            }
        }
    }

    #[test]
    fn what_was_answered_and_is_gone_is_not_waited_for() {
        for (facts, step) in every() {
            let answered = facts.recorded == Recorded::Answered;
            if answered && (facts.declared, facts.observed) == (Declared::Nowhere, Observed::Absent) {
                assert_eq!(step == Step::Forget, !facts.lagging, "{facts:?}");
            }
        }
    }

    #[test]
    fn a_record_is_dropped_only_when_gone_or_looked_after_elsewhere() {
        for (facts, step) in every() {
            if step == Step::Forget {
                assert!(facts.declared != Declared::Here, "{facts:?}");
                assert!(facts.declared == Declared::Elsewhere || facts.observed == Observed::Absent, "{facts:?}");
            }
        }
    }
}
