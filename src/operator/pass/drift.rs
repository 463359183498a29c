//! How it is told that something is different at Cloudflare, before it is put right.

use super::verdict;
use super::verdict::Verdict;
use super::{Pass, Telling};
use crate::api::Reason;
use crate::api::status::DriftEntry;
use crate::cloudflare::clean;
use crate::operator::clock;
use crate::operator::cluster::events::Note;
use crate::operator::cluster::record::Recorded;
use crate::operator::remote::access::Stop;

/// Longest value that is shown.
const MAX_VALUE: usize = 200;

impl<K: Recorded> Pass<K> {
    /// Shows what has drifted, unless it is shown already.
    pub async fn show_drift(&mut self, mut drift: Vec<DriftEntry>) -> Result<(), Stop> {
        drift.retain(|entry| !self.status.told().drift.contains(entry));
        if drift.is_empty() {
            return Ok(());
        }
        for entry in &drift {
            self.context.metrics.drift();
            self.event(Note::warning_of("Drifted"), format!("{}; it is put right", told(entry)));
        }
        let now = clock::time(self.now());
        let generation = self.generation();
        let status = self.status.told();
        status.drift.retain(|old| drift.iter().all(|new| new.path != old.path));
        status.drift.extend(drift);
        let differences = match status.drift.len() {
            1 => "a difference at Cloudflare is put right".to_owned(),
            n => format!("{n} differences at Cloudflare are put right"),
        };
        let verdict = Verdict::working(Reason::Progressing, differences);
        verdict::conclude(status.conditions, &verdict, message(status.drift), generation, &now);
        self.save().await
    }
}

pub fn entry(path: String, desired: &str, observed: &str) -> DriftEntry {
    DriftEntry { path, desired: clean(desired, MAX_VALUE), observed: clean(observed, MAX_VALUE) }
}

/// What a condition says of drift.
pub fn message(drift: &[DriftEntry]) -> Option<String> {
    let first = told(drift.first()?);
    Some(match drift.len() {
        1 => first,
        n => format!("{first}, and {} more", n - 1),
    })
}

fn told(entry: &DriftEntry) -> String {
    format!("{}: {} instead of {}", entry.path, entry.observed, entry.desired)
}
