//! How drift is shown in status, Event and metric before it is corrected.

use super::Pass;
use super::verdict::{Verdict, difference};
use crate::api::status::DriftEntry;
use crate::api::{EventReason, Reason};
use crate::cloudflare::clean;
use crate::operator::cluster::events::Note;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::stop::Stop;

/// Longest value that is shown.
const MAX_VALUE: usize = 200;

pub fn entry(path: String, desired: &str, observed: &str) -> DriftEntry {
    DriftEntry { path, desired: clean(desired, MAX_VALUE), observed: clean(observed, MAX_VALUE) }
}

impl<K: Reconciled> Pass<K> {
    /// Shows what has drifted, unless it is shown already.
    pub async fn show_drift(&mut self, mut found: Vec<DriftEntry>) -> Result<(), Stop> {
        found.retain(|entry| !self.common().drift.contains(entry));
        if found.is_empty() {
            return Ok(());
        }
        let common = self.common_mut();
        common.drift.retain(|old| found.iter().all(|new| new.path != old.path));
        common.drift.extend(found.iter().cloned());
        let differences = match common.drift.len() {
            1 => "correcting 1 difference at Cloudflare".to_owned(),
            n => format!("correcting {n} differences at Cloudflare"),
        };
        self.draft(&Verdict::working(Reason::Progressing, differences));
        self.save().await?;
        // After the write: a conflict begins the pass again, and would tell it twice.
        for entry in &found {
            self.context.metrics.drift();
            self.event(Note::warning(EventReason::Drifted), format!("{}; correcting it", difference(entry)));
        }
        Ok(())
    }
}
