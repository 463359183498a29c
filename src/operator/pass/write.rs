//! What does a pass do about a value that it writes: show that it drifted, ask whether it is written once more, and take
//! note of the answer?

use std::time::Duration;

use super::Pass;
use super::memory::Write;
use super::verdict::{Verdict, difference};
use crate::api::status::DriftEntry;
use crate::api::{EventReason, REQUESTED_AT, Reason};
use crate::cloudflare::{Error, ErrorClass, clean};
use crate::operator::cluster::events::Note;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::remote::writer::Change;
use crate::operator::stop::Stop;

/// So many passes in a row read again what was not found, some minutes in all: then it counts as refused.
const ENOUGH_READS: u32 = 8;
/// Longest value that is shown.
const MAX_VALUE: usize = 200;

/// One value that has drifted, as the status lists it.
pub fn drift_entry(path: String, desired: &str, observed: &str) -> DriftEntry {
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

    /// The refusal of an item that still holds; it is tried again by itself.
    pub fn refusal(&self, item: &str, reason: Reason) -> Option<Verdict> {
        let now = self.now();
        let refused = self.memory(|memory| memory.refusal(item, now).cloned())?;
        Some(Verdict::stalled(reason, refused.message).requeue_after(refused.until.since(now)))
    }

    /// What did not stay, however often it was written.
    pub fn not_converging(&self, write: &Write) -> Option<Verdict> {
        let Write { what, value, found, .. } = write;
        self.memory(|memory| memory.is_not_converging(write)).then(|| {
            Verdict::stalled(
                Reason::NotConverging,
                format!(
                    "{what} was written twice as {value}, but Cloudflare still returns {found}: most likely somebody else \
                     changes it too. cfshare does not write it again until one of the two values changes; once nobody else \
                     changes it: {}",
                    self.key.annotate_now(REQUESTED_AT),
                ),
            )
        })
    }

    /// Why a value is not written now: it was refused a moment ago, or is pointless.
    pub fn write_block(&self, write: &Write) -> Option<Verdict> {
        self.refusal(&write.item, Reason::Rejected).or_else(|| self.not_converging(write))
    }

    /// Whether that value was accepted so shortly before that Cloudflare, whose changes come later than its answers, may not
    /// show it yet.
    pub fn awaits_effect(&self, write: &Write) -> bool {
        self.effect_within(write).is_some()
    }

    fn effect_within(&self, write: &Write) -> Option<Duration> {
        let (now, read_lag) = (self.now(), self.context.settings.read_lag());
        self.memory(|memory| memory.left_since_written(write, now, read_lag))
    }

    /// What is reported of that meanwhile. Each pass reads it again; the polls of what is under way count for themselves.
    pub fn not_shown_yet(&self, write: &Write) -> Option<Verdict> {
        self.effect_within(write).map(|left| {
            let message = format!("Cloudflare accepted {} for {}, and does not show it yet", write.value, write.what);
            let wait = left.min(self.context.settings.poll_min * 4);
            Verdict::working(Reason::Progressing, message).requeue_after(wait)
        })
    }

    /// Takes note of what became of a write, and returns whether it was made; `refused`: how a refusal is reported. One whose
    /// outcome is unknown does not count: it is tried again, at the pace of failures.
    pub fn note_answer(&self, change: Change<()>, write: &Write, refused: &str) -> Result<bool, Stop> {
        let now = self.now();
        match change {
            Change::Done(()) => {
                self.memory(|memory| memory.wrote(write, now));
                Ok(true)
            }
            // What was seen is out of date: it is read again, soon, and some times.
            Change::Not(error) | Change::Unsure(error)
                if error.class() == ErrorClass::Gone
                    && self.memory(|memory| memory.tries.failing.map_or(0, |failing| failing.count)) < ENOUGH_READS =>
            {
                Err(Stop::Cloudflare(Error::Lost { cause: format!("{} was not found: {error}", write.what) }))
            }
            Change::Unsure(error) if error.class() != ErrorClass::Gone => Err(Stop::Cloudflare(error)),
            Change::Not(error) | Change::Unsure(error) => match error.class() {
                ErrorClass::Rejected | ErrorClass::Conflict | ErrorClass::Gone => {
                    self.memory(|memory| memory.refuse(&write.item, format!("{refused}: {error}"), now));
                    Ok(false)
                }
                ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied => Err(Stop::Cloudflare(error)),
            },
        }
    }
}
