//! What a child records and tells of its row, by its kind, and when it looks again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::super::key::RowKey;
use super::work::Work;
use crate::api::status::{ChildStatus, RecipientStatus, ResourceStatus, RowError};
use crate::api::{Reason, ShareRecipient, ShareResource};
use crate::cloudflare::{RecipientError, clean};
use crate::core::row::{Recorded as RowRecorded, Seen as RowSeen, Step};
use crate::core::time::At;
use crate::operator::cluster::record::Recorded;
use crate::operator::pass::context::Settings;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::declare::Child;
use crate::operator::rows::inventory;
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::standing::{State, standing};

/// Longest list of errors, and longest words of Cloudflare's in it.
const MAX_ERRORS: usize = 20;
const MAX_ID: usize = 200;
const MAX_MESSAGE: usize = 300;

/// A status with the part that both child kinds share.
pub trait ChildTelling {
    fn child(&mut self) -> &mut ChildStatus;
    /// What only this kind tells of its row.
    fn tell_row(&mut self, key: &RowKey, seen: Option<&Seen>);
}

impl ChildTelling for RecipientStatus {
    fn child(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn tell_row(&mut self, key: &RowKey, seen: Option<&Seen>) {
        let RowKey::Recipient(account) = key else { return };
        let row = seen.and_then(|seen| seen.recipient(account));
        self.recipient_id = row.map(|row| row.id.to_string());
        self.association_status = row.map(|row| row.association_status.to_string());
        let error = |error: &RecipientError| RowError {
            resource_id: clean(&error.resource_id, MAX_ID),
            message: clean(&error.error, MAX_MESSAGE),
            terminal: error.terminal,
        };
        self.errors = row.into_iter().flat_map(|row| &row.errors).take(MAX_ERRORS).map(error).collect();
    }
}

impl ChildTelling for ResourceStatus {
    fn child(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn tell_row(&mut self, key: &RowKey, seen: Option<&Seen>) {
        let row = seen.and_then(|seen| seen.resource(key));
        self.share_resource_id = row.map(|row| row.id.to_string());
        self.version = row.and_then(|row| row.resource_version);
        self.remote_status = row.map(|row| row.status.to_string());
    }
}

impl Recorded for ShareRecipient {
    type Status = RecipientStatus;

    fn status(&self) -> Option<&RecipientStatus> {
        self.status.as_ref()
    }
}

impl Recorded for ShareResource {
    type Status = ResourceStatus;

    fn status(&self) -> Option<&ResourceStatus> {
        self.status.as_ref()
    }
}

/// What a child's record means to rows that were read then; `answered`: the call that it announces has taken effect.
pub fn recorded(record: &ChildStatus, read: At, settings: &Settings, answered: bool) -> RowRecorded {
    match (record.confirmed, &record.intended_at) {
        (true, _) => RowRecorded::InPlace,
        (false, Some(at)) => inventory::recorded(Some(&Entry::intended(at.clone())), read, settings, answered),
        (false, None) => RowRecorded::Never,
    }
}

impl<C: Child> Work<C> {
    /// What is told where something would be changed, and nothing may be.
    pub(super) fn held(&mut self, seen: &Seen, step: Step) -> Verdict {
        let verdict = match self.access.account.breaker() {
            Some(message) => Verdict::blind(Reason::BreakerOpen, message).common(),
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
