//! What a child records and tells of its row, by its kind, and when it looks again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::work::Work;
use crate::api::Reason;
use crate::cloudflare::{ShareStatus, clean};
use crate::core::row::{Seen as RowSeen, Step};
use crate::operator::kinds::{Child, ChildTelling};
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::inventory;
use crate::operator::rows::standing::{State, standing};

impl<C: Child> Work<C> {
    /// What is told where something would be changed, and nothing may be.
    pub(super) fn held(&mut self, seen: &Seen, step: Step) -> Verdict {
        let verdict = match self.access.account.breaker() {
            Some(cause) => breaker::open(&cause, &self.pass.object.share()),
            None if self.parent.observes() => {
                Verdict::stalled(Reason::Differs, format!("observed: {} differs; nothing is changed", self.name()))
            }
            None => Verdict::stalled(
                Reason::Differs,
                format!("the operator runs with --read-only: {} differs", self.name()),
            ),
        };
        self.tell(seen, step, verdict)
    }

    /// Tells of a row for which that step is called for and not taken.
    pub(super) fn tell(&mut self, seen: &Seen, step: Step, verdict: Verdict) -> Verdict {
        self.pass.status.tell_row(&self.key, Some(seen));
        self.record().common.drift = self.drift(seen, step);
        verdict
    }

    pub(super) fn conclude(&mut self, seen: &Seen, row: RowSeen) -> Verdict {
        self.pass.status.tell_row(&self.key, Some(seen));
        let stand = standing(&self.key, seen, None);
        let word = &stand.word;
        if self.pass.is_doomed() {
            let message = format!("{} is being removed by Cloudflare", self.name());
            return Verdict::working(Reason::Deleting, message).again(self.follow(word));
        }
        match stand.state {
            State::InPlace if seen.share.status != ShareStatus::Active => {
                self.pass.settle(&self.access.account);
                let status = clean(seen.share.status.as_str(), 40);
                let message = format!("{} is {word}; the status of the share is {status}, not active", self.name());
                Verdict::working(Reason::Associating, message)
            }
            State::InPlace if matches!(row, RowSeen::Live { .. }) => {
                let hash = inventory::meta_hash(&self.pass.object.wanted_meta());
                if self.record().meta_hash != hash {
                    self.record().meta_hash = hash;
                    self.pass.notes(|notes| notes.stayed(&self.key.to_string()));
                }
                self.record().common.drift.clear();
                let now = self.pass.now();
                self.pass.notes(|notes| notes.forget_settled(now, |_| false));
                self.pass.settle(&self.access.account);
                let verdict = Verdict::ready(Reason::Associated, format!("{} is {word}", self.name()));
                if self.record().intended_at.is_some() {
                    // The record still has to learn that the announced call has settled.
                    return verdict.again(self.pass.look_once_settled());
                }
                verdict
            }
            State::Failed => {
                self.pass.settle(&self.access.account);
                Verdict::stalled(Reason::RecipientFailed, stand.given_up(&self.name(), self.pass.object.as_ref()))
            }
            State::InPlace | State::Pending | State::Failing | State::Refused => {
                let detail = if stand.message.is_empty() { String::new() } else { format!(": {}", stand.message) };
                let message = format!("{} is {word}{detail}", self.name());
                Verdict::working(Reason::Associating, message).again(self.follow(word))
            }
        }
    }

    fn follow(&self, word: &str) -> Duration {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        self.pass.follow(&self.access.account, hasher.finish())
    }
}
