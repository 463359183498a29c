//! When were the shares of each account last read whole? It stands on the Lease, which is renewed anyway.
//!
//! Statuses cannot say it, since nothing is written to them while nothing changes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::core::id::folded;

/// Annotation of the Lease.
pub const SWEEPS: &str = "cfshare.dev/sweeps";
/// Accounts that are not swept any more are forgotten after so long.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(48);
/// The API server takes 256 kB of annotations.
const MOST: usize = 2000;

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

    /// Others sweep these accounts now.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// The annotation, with what another leader wrote before; `None`: there is nothing to say.
    pub fn merged(&self, before: Option<&str>, now: Timestamp) -> Option<String> {
        let mut sweeps = parse(before);
        // What another process had left says nothing now.
        sweeps.values_mut().for_each(|sweep| sweep.left = None);
        sweeps.extend(self.0.lock().clone());
        let oldest = (now - FORGOTTEN).as_second();
        sweeps.retain(|_, sweep| sweep.at >= oldest);
        while sweeps.len() > MOST {
            let oldest = sweeps.iter().min_by_key(|(_, sweep)| sweep.at).map(|(key, _)| key.clone());
            sweeps.remove(&oldest.unwrap_or_default());
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
    }
}
