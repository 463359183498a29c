//! What a replica does about the Lease that it has just read.

use std::time::Duration;

/// The Lease as it was read.
#[derive(Debug, Clone, Copy)]
pub struct LeaseState<'a> {
    pub holder: Option<&'a str>,
    /// This process wrote what was read.
    pub own_write: bool,
    /// For how long it has not changed, by our own clock.
    pub unchanged: Duration,
    /// For how long its holder may believe to have it.
    pub lasts: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAction {
    /// Write our name into it, or renew it.
    Write,
    /// Another replica has it: it is free in so long a time, unless it is renewed.
    Wait(Duration),
    /// We hold it, and another process renews it under our name.
    SharedName,
}

/// `holds`: this process holds it, as far as it knows.
pub fn decide(seen: LeaseState<'_>, identity: &str, holds: bool) -> LeaseAction {
    let Some(holder) = seen.holder.filter(|holder| !holder.is_empty()) else { return LeaseAction::Write };
    if holder == identity {
        return if holds && !seen.own_write { LeaseAction::SharedName } else { LeaseAction::Write };
    }
    if seen.unchanged > seen.lasts { LeaseAction::Write } else { LeaseAction::Wait(seen.lasts - seen.unchanged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(60);

    fn seen(holder: Option<&str>, unchanged: u64) -> LeaseState<'_> {
        LeaseState { holder, own_write: false, unchanged: Duration::from_secs(unchanged), lasts: LASTS }
    }

    #[test]
    fn a_free_lease_is_taken_and_another_replicas_is_not() {
        for holder in [None, Some("")] {
            assert_eq!(decide(seen(holder, 0), "me", false), LeaseAction::Write);
        }
        assert_eq!(decide(seen(Some("other"), 0), "me", false), LeaseAction::Wait(LASTS));
        assert_eq!(decide(seen(Some("other"), 60), "me", false), LeaseAction::Wait(Duration::ZERO));
        assert_eq!(decide(seen(Some("other"), 61), "me", false), LeaseAction::Write);
    }

    #[test]
    fn a_name_that_two_processes_have_is_noticed() {
        let ours = LeaseState { own_write: true, ..seen(Some("me"), 5) };
        assert_eq!(decide(ours, "me", true), LeaseAction::Write);
        assert_eq!(decide(seen(Some("me"), 5), "me", true), LeaseAction::SharedName);
        // The one before us in this pod.
        assert_eq!(decide(seen(Some("me"), 5), "me", false), LeaseAction::Write);
    }
}
