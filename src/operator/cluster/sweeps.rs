//! When were the shares of each account last read whole? It stands on the Lease, which is renewed anyway.
//!
//! Statuses cannot say it, since nothing is written to them while nothing changes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::core::id::folded;

/// Annotation of the Lease.
pub const SWEEPS: &str = "cfshare.dev/sweeps";
/// Accounts that are not swept any more are forgotten after so long.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(48);
/// The API server takes 256 kB of annotations.
const MAX_SWEEPS: usize = 2000;

/// The last complete sweep of one account with one credential.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sweep {
    /// When it began, in seconds since 1970.
    pub at: i64,
    /// How often the operator sweeps, in seconds.
    pub every: u64,
    /// Calls that could be made at once with the credential when the Lease was renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
}

/// Sweeps by account and short hash of the credential.
pub type Sweeps = BTreeMap<String, Sweep>;

pub fn key(account: &str, credential: &str) -> String {
    format!("{}@{credential}", folded(account))
}

/// What an annotation says; nothing where it cannot be read.
pub fn parse(annotation: Option<&str>) -> Sweeps {
    annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The sweeps of this process.
#[derive(Default)]
pub struct SweepLog(Mutex<Sweeps>);

impl SweepLog {
    pub fn note(&self, account: &str, credential: &str, began: Timestamp, interval: Duration) {
        let mut sweeps = self.0.lock();
        let sweep = sweeps.entry(key(account, credential)).or_default();
        (sweep.at, sweep.every) = (began.as_second(), interval.as_secs().max(1));
    }

    /// How many calls are left with each credential, by short hash.
    pub fn note_left(&self, left: &BTreeMap<String, u32>) {
        for (key, sweep) in self.0.lock().iter_mut() {
            let credential = key.rsplit_once('@').map_or("", |(_, credential)| credential);
            sweep.left = left.get(credential).copied();
        }
    }

    /// Nobody uses the account with that credential any more.
    pub fn forget(&self, account: &str, credential: &str) {
        self.0.lock().remove(&key(account, credential));
    }

    /// Others sweep these accounts now.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// The annotation, with what another leader wrote before; `None`: there is nothing to say.
    pub fn merged(&self, before: Option<&str>, now: Timestamp) -> Option<String> {
        let mut sweeps = parse(before);
        // What another process had left says nothing now.
        // Nor does a time to come, of a clock that was ahead.
        for sweep in sweeps.values_mut() {
            (sweep.at, sweep.left) = (sweep.at.min(now.as_second()), None);
        }
        let oldest = (now - FORGET_AFTER).as_second();
        {
            let mut own = self.0.lock();
            own.retain(|_, sweep| sweep.at >= oldest);
            sweeps.extend(own.clone());
        }
        sweeps.retain(|_, sweep| sweep.at >= oldest);
        if sweeps.len() > MAX_SWEEPS {
            let mut newest_first: Vec<(String, Sweep)> = sweeps.into_iter().collect();
            newest_first.sort_by_key(|(_, sweep)| Reverse(sweep.at));
            newest_first.truncate(MAX_SWEEPS);
            sweeps = newest_first.into_iter().collect();
        }
        if sweeps.is_empty() && before.is_none() { None } else { serde_json::to_string(&sweeps).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_sweep_however_it_is_spelled() {
        assert_eq!(key("AB1", "f"), key("ab1", "f"));
    }

    #[test]
    fn sweeps_of_an_earlier_leader_stay_until_they_are_old() {
        let (log, now) = (SweepLog::default(), Timestamp::from_second(1_000_000).expect("a time"));
        assert_eq!(log.merged(None, now), None);
        log.note("a", "f1", now, Duration::from_secs(600));
        log.note_left(&[("f1".to_owned(), 7), ("f2".to_owned(), 8)].into());
        let before =
            r#"{"a@f1":{"at":1,"every":1},"b@f2":{"at":900000,"every":600,"left":9},"c@f3":{"at":1,"every":600}}"#;
        let after = parse(log.merged(Some(before), now).as_deref());
        let of = |at, left| Sweep { at, every: 600, left };
        let expected = [(key("a", "f1"), of(1_000_000, Some(7))), (key("b", "f2"), of(900_000, None))];
        assert_eq!(after, expected.into());
        assert_eq!(parse(Some("no JSON")), Sweeps::new());
        let ahead = parse(SweepLog::default().merged(Some(r#"{"b@f2":{"at":1086400,"every":600}}"#), now).as_deref());
        assert_eq!(ahead, [(key("b", "f2"), of(1_000_000, None))].into(), "of a clock that was a day ahead");
    }

    #[test]
    fn nothing_is_kept_of_what_is_not_swept_any_more_and_of_too_many_the_newest_stay() {
        let (log, now) = (SweepLog::default(), Timestamp::from_second(1_000_000).expect("a time"));
        let note = |account: &str, at| log.note(account, "f", at, Duration::from_secs(600));
        note("ab1", now);
        log.forget("AB1", "f");
        note("old", now - FORGET_AFTER - SignedDuration::from_secs(1));
        for n in 0..MAX_SWEEPS as i64 + 500 {
            note(&format!("a{n}"), now - SignedDuration::from_secs(n));
        }
        let merged = parse(log.merged(None, now).as_deref());
        assert_eq!(
            (merged.len(), merged.values().map(|sweep| sweep.at).min()),
            (MAX_SWEEPS, Some(1_000_001 - MAX_SWEEPS as i64))
        );
        assert_eq!(log.0.lock().len(), MAX_SWEEPS + 500);
    }
}
