//! Whether a value is written once more, and what the answer to the write means.

use std::time::Duration;

use super::Pass;
use super::memory::Write;
use super::verdict::Verdict;
use crate::api::{REQUESTED_AT, Reason};
use crate::cloudflare::{Error, ErrorClass};
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::remote::writer::Change;
use crate::operator::stop::Stop;

/// So many passes in a row read again what was not found, some minutes in all: then it counts as refused.
const ENOUGH_READS: u32 = 8;

impl<K: Reconciled> Pass<K> {
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

    /// Takes note of what became of a write, and returns whether it was made; `refused`: how that is reported.
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
