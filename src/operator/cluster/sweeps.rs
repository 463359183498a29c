//! When were the shares of each account last read whole? It stands on the Lease, which is renewed anyway.
//!
//! Statuses cannot say it, since nothing is written to them while nothing changes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Annotation of the Lease.
pub const SWEEPS: &str = "cfshare.dev/sweeps";
/// Accounts that are not swept any more are forgotten after so long.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(48);
/// The API server takes 256 kB of annotations.
const MOST: usize = 2000;

/// The last complete sweep of one account with one credential.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// When it began, in seconds since 1970.
    pub at: i64,
    /// How often the operator sweeps, in seconds.
    pub every: u64,
}

/// Sweeps by account and short hash of the credential.
pub type Sweeps = BTreeMap<String, Sweep>;

pub fn key(account: &str, credential: &str) -> String {
    format!("{account}@{credential}")
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
        let sweep = Sweep { at: began.as_second(), every: interval.as_secs().max(1) };
        self.0.lock().insert(key(account, credential), sweep);
    }

    /// Others sweep these accounts now.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// The annotation, with what another leader wrote before; `None`: there is nothing to say.
    pub fn merged(&self, before: Option<&str>, now: Timestamp) -> Option<String> {
        let mut sweeps = parse(before);
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
    fn sweeps_of_an_earlier_leader_stay_until_they_are_old() {
        let (log, now) = (SweepLog::default(), Timestamp::from_second(1_000_000).expect("a time"));
        assert_eq!(log.merged(None, now), None);
        log.note("a", "f1", now, Duration::from_secs(600));
        let before = r#"{"a@f1":{"at":1,"every":1},"b@f2":{"at":900000,"every":600},"c@f3":{"at":1,"every":600}}"#;
        let after = parse(log.merged(Some(before), now).as_deref());
        let of = |at| Sweep { at, every: 600 };
        assert_eq!(after, [(key("a", "f1"), of(1_000_000)), (key("b", "f2"), of(900_000))].into());
        assert_eq!(parse(Some("no JSON")), Sweeps::new());
    }
}
