//! What follows where the API server does not carry out a request: when is it made again, and who is told?

use std::time::Duration;

use kube::ResourceExt;
use kube::core::Status;

use super::memory::Memory;
use super::{LONGEST_LOGGED, Pass};
use crate::api::EventReason;
use crate::cloudflare::clean_ends;
use crate::core::failure::{self, Failures};
use crate::core::time::At;
use crate::operator::cluster::events::Note;
use crate::operator::cluster::intake::is_edited;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::cluster::trouble::with_cause;
use crate::operator::delays;
use crate::operator::stop::Stop;

/// So long after a pass began that the API server stopped, what it read of Cloudflare need not be read again. Announcements
/// that are not kept shall not use up the calls.
pub const YOUNG: Duration = Duration::from_secs(30);
/// What fails for so long is reported: an API server that restarts, or a burst of other writers, passes by itself.
const LASTING: Duration = Duration::from_secs(60);
/// What was logged of an object is logged again after so long, so that the last lines of a log have it.
const LOGGED_AGAIN: Duration = Duration::from_secs(600);

/// Why a write met another version of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outdated {
    /// Somebody else writes too, or did so a moment ago.
    Others,
    /// The watch has not brought what the API server has.
    Behind,
    /// Nobody: it is the version that the API server has.
    Nobody,
}

impl Outdated {
    fn text(self) -> &'static str {
        match self {
            Outdated::Others => "409 Conflict: others change the object at the same time, again and again",
            Outdated::Behind => "409 Conflict: the watch of cfshare has not brought the newest version of the object",
            Outdated::Nobody => {
                "409 Conflict, although nobody else has changed this object: what it depends on, such as its Share, changes again \
                 and again, or cfshare does not see the newest version of that; or a webhook, or what is between cfshare and the API \
                 server, refuses the request"
            }
        }
    }
}

impl Memory {
    /// Takes note that the API server has carried out a write: what fails now and then does not last.
    pub fn end_failure(&mut self) {
        if let Some(unserved) = &mut self.unserved {
            unserved.failing = None;
        }
    }

    /// Takes note that the API server did not carry out a request of a pass whose reads are fresh since then. Returns the
    /// failures in a row, and after how many since the last edit it is tried again.
    fn note_unserved(&mut self, read_since: At, now: At) -> (Failures, u32) {
        self.tries.unserved = self.tries.unserved.saturating_add(1);
        let unserved = self.unserved.get_or_insert_default();
        unserved.last = now;
        if now.since(unserved.read_since) >= YOUNG {
            unserved.read_since = read_since;
        }
        let failing = unserved.failing.get_or_insert(Failures { count: 0, since: now });
        failing.count = failing.count.saturating_add(1);
        (*failing, self.tries.unserved)
    }

    /// Takes note that a write of this version of the object met another writer's. Returns whether such writes have done so for
    /// so long that the watch should have brought the other version by now.
    fn note_outdated(&mut self, version: &str, now: At) -> bool {
        let outdated = &mut self.unserved.get_or_insert_default().outdated;
        match outdated {
            Some((before, since)) if **before == *version => now.since(*since) >= delays::TRANSIENT,
            _ => {
                *outdated = Some((version.into(), now));
                false
            }
        }
    }

    /// Whether the log is to say so: what it said a while ago it need not repeat.
    fn is_worth_logging(&mut self, text: &str, now: At) -> bool {
        let logged = &mut self.unserved.get_or_insert_default().logged;
        let is_new = logged.as_ref().is_none_or(|(last, at)| last != text || now.since(*at) >= LOGGED_AGAIN);
        if is_new {
            *logged = Some((text.to_owned(), now));
        }
        is_new
    }
}

impl<K: Reconciled> Pass<K> {
    /// Takes note that the API server did not carry out a request of a pass that began then, and reports what lasts, or does not
    /// pass by itself. Returns when to try again.
    pub async fn unserved(&self, stop: &Stop, began: At) -> Duration {
        let (now, read_since) = (self.now(), self.fresh_since.min(began));
        let (failing, times) = self.memory(|memory| memory.note_unserved(read_since, now));
        let (is_outdated, asked) = match stop {
            Stop::Kubernetes(kube::Error::Api(status)) => {
                (false, status.details.as_ref().map_or(0, |details| details.retry_after_seconds))
            }
            stop => (matches!(stop, Stop::Conflict), 0),
        };
        let lasts = failing.persist_for(LASTING, now);
        match stop {
            Stop::Conflict => {
                let why = self.why_outdated().await;
                if lasts {
                    self.report_failure(why.text(), true);
                }
            }
            _ if stop.refusal().is_some() => self.report_refusal(stop),
            // If it is the object that is gone, the watch ends this.
            Stop::Kubernetes(kube::Error::Api(status)) if status.code == 404 => {
                if let Some(namespace) = missing_namespace(status) {
                    self.context.warn_of_namespace(namespace, now);
                }
            }
            Stop::Kubernetes(error) => self.report_failure(&with_cause(error), lasts),
            _ => {}
        }
        let wait = failure::after_unserved(times, is_outdated, Duration::from_secs(asked.into()));
        let object = K::cache(&self.context.cluster.index).latest(self.object.clone());
        // An edit that came meanwhile does not wait.
        if !is_edited(self.object.meta(), object.meta()) {
            let held = (object.resource_version().unwrap_or_default().into(), now.plus(wait));
            self.memory(|memory| memory.unserved.get_or_insert_default().held = Some(held));
        }
        wait
    }

    async fn why_outdated(&self) -> Outdated {
        let (now, version) = (self.now(), self.object.resource_version().unwrap_or_default());
        let cluster = &self.context.cluster;
        if !self.memory(|memory| memory.note_outdated(&version, now)) {
            return Outdated::Others;
        }
        if cluster.has_other_version(&self.object).await {
            cluster.distrust(self.object.as_ref());
            return Outdated::Behind;
        }
        Outdated::Nobody
    }

    /// Reports a failure that passes by itself: in the log, and once it has lasted also in a metric and an Event.
    fn report_failure(&self, cause: &str, lasts: bool) {
        let cause = clean_ends(cause, LONGEST_LOGGED);
        if self.memory(|memory| memory.is_worth_logging(&cause, self.context.clock.now())) {
            tracing::warn!(object = %self.key, error = %cause, "request to the API server failed");
        }
        if lasts {
            self.context.metrics.request_refused();
            let message = format!(
                "requests by cfshare for this object have failed at the API server for more than a minute, so its status may be \
                 out of date, and changes may not reach Cloudflare: {cause}. cfshare retries automatically"
            );
            self.publish_once(EventReason::RequestRefused, message);
        }
    }

    /// Reports in the log, a metric and an Event what the API server refuses, since the status may not be written. There is
    /// no Event if the object's last one said the same, or if other objects had theirs just now: the next try comes soon.
    pub fn report_refusal(&self, stop: &Stop) {
        let Some(refusal) = stop.refusal() else { return };
        let refusal = clean_ends(refusal, LONGEST_LOGGED);
        let (reason, message) = if self.is_deleting() {
            self.context.metrics.deletion_forbidden();
            let message = format!(
                "the deletion cannot finish, because the API server refuses a request by cfshare: {refusal}. Grant the \
                 permission or change the policy, or remove the finalizer cfshare.dev/finalizer, which leaves at Cloudflare \
                 what is still there",
            );
            (EventReason::DeletionForbidden, message)
        } else {
            self.context.metrics.request_refused();
            let message = format!(
                "the API server refuses a request by cfshare, so the status of this object may be out of date, and changes \
                 may not reach Cloudflare: {refusal}. Grant the permission, or change the policy or webhook",
            );
            (EventReason::RequestRefused, message)
        };
        if self.memory(|memory| memory.is_worth_logging(&message, self.context.clock.now())) {
            tracing::warn!(object = %self.key, "{message}");
        }
        self.publish_once(reason, message);
    }

    fn publish_once(&self, reason: EventReason, message: String) {
        let reported = |memory: &mut Memory| memory.unserved.get_or_insert_default().reported.clone();
        if self.memory(reported).as_ref() != Some(&message) && self.context.may_report_refusal(self.now()) {
            self.memory(|memory| memory.unserved.get_or_insert_default().reported = Some(message.clone()));
            self.event(Note::warning(reason), message);
        }
    }
}

/// The namespace that the API server does not find, where it is not the object: somebody finalized it by force, and the
/// objects in it stay for ever, since nothing of them can be written.
fn missing_namespace(status: &Status) -> Option<&str> {
    status.details.as_ref().filter(|details| details.kind == "namespaces").map(|details| details.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_answer_that_the_namespace_is_missing_is_told_from_one_that_the_object_is() {
        let status = |details: Value| -> Status {
            let status =
                json!({"status": "Failure", "message": "no", "reason": "NotFound", "code": 404, "details": details});
            serde_json::from_value(status).expect("a status")
        };
        assert_eq!(missing_namespace(&status(json!({"name": "g", "kind": "namespaces"}))), Some("g"));
        assert_eq!(missing_namespace(&status(json!({"name": "g", "kind": "shares", "group": "cfshare.dev"}))), None);
        assert_eq!(missing_namespace(&status(Value::Null)), None);
    }

    fn at(second: i64) -> At {
        At(second * 1000)
    }

    #[test]
    fn a_write_of_one_version_that_meets_another_for_seconds_should_have_been_overtaken_by_the_watch() {
        let mut memory = Memory::default();
        let told = [("1", 0), ("1", 4), ("1", 5), ("2", 6), ("2", 11)]
            .map(|(version, second)| memory.note_outdated(version, at(second)));
        assert_eq!(told, [false, false, true, false, true]);
    }

    #[test]
    fn the_same_refusal_is_logged_now_and_then() {
        let mut memory = Memory::default();
        let told = [("a", 0), ("a", 300), ("b", 301), ("b", 900), ("b", 901)]
            .map(|(text, second)| memory.is_worth_logging(text, at(second)));
        assert_eq!(told, [true, false, true, false, true]);
    }

    #[test]
    fn what_was_read_for_a_write_that_failed_serves_the_next_tries_for_a_moment() {
        let mut memory = Memory::default();
        let tries = [0, 6, 14, 28, 31, 60].map(|second| {
            memory.note_unserved(at(second), at(second + 1));
            memory.unserved.as_ref().map(|unserved| unserved.read_since)
        });
        assert_eq!(tries, [0, 0, 0, 0, 31, 60].map(|second| Some(at(second))));
    }

    #[test]
    fn an_edit_and_a_success_begin_the_delays_anew_and_only_a_success_ends_the_failure() {
        let mut memory = Memory::default();
        let note = |memory: &mut Memory, second| memory.note_unserved(at(second), at(second));
        let failing = |count, second| Failures { count, since: at(second) };
        assert_eq!(note(&mut memory, 1), (failing(1, 1), 1));
        assert_eq!(note(&mut memory, 2), (failing(2, 1), 2));
        memory.tries = Default::default();
        assert_eq!(note(&mut memory, 3), (failing(3, 1), 1));
        memory.end_failure();
        assert_eq!(note(&mut memory, 4), (failing(1, 4), 2), "after a write that was carried out");
        memory.served();
        assert_eq!(note(&mut memory, 5), (failing(1, 5), 1));
    }
}
