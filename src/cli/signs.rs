//! What the objects themselves show of the operator, where its Lease does not say whether it is active.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Resource;

use super::lease::{Leader, Pulse, age};
use crate::api::status::CommonStatus;
use crate::api::{FIELD_MANAGER, Kind, Name, ObjectKey, REQUESTED_AT, Share, ShareRecipient};

/// Two sweeps of the default interval, since only the operator knows its own, and a minute.
const ALLOWED: SignedDuration = SignedDuration::from_mins(21);
/// A change that has waited for so long shows that nobody is at work.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// One object, as far as it shows whether the operator is active.
struct Trace {
    object: ObjectKey,
    /// When the operator last wrote its status.
    written: Option<Timestamp>,
    /// Since when its last change has been waiting.
    waiting: Option<Timestamp>,
    /// Recipients of it may have failed for good: a request to reconcile it removes them, and adds them again.
    failed: bool,
}

impl Trace {
    fn of(kind: Kind, meta: &ObjectMeta, observed: Option<i64>, failed: bool) -> Trace {
        let name = Name::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let object = ObjectKey { kind, name };
        let edits = meta.managed_fields.iter().flatten();
        let edits = edits.filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
        let edited = edits.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.time.as_ref());
        let changed = edited.chain(&meta.creation_timestamp).map(|time| time.0).max();
        let waiting = if observed == meta.generation { None } else { changed };
        Trace { object, written: written(meta), waiting, failed }
    }
}

/// What Shares and ShareRecipients show of the operator.
fn traces(shares: &[Share], recipients: &[ShareRecipient]) -> Vec<Trace> {
    let observed = |common: &CommonStatus| common.observed_generation;
    let shares = shares.iter().map(|share| {
        let status = share.status.as_ref();
        let failed = status.is_some_and(|status| {
            status.exceptions_omitted > 0 || status.exceptions.iter().any(|exception| exception.terminal)
        });
        Trace::of(Kind::Share, share.meta(), status.map(|status| observed(&status.common)), failed)
    });
    let recipients = recipients.iter().map(|child| {
        let status = child.status.as_ref();
        let failed = status.is_some_and(|status| status.errors.iter().any(|error| error.terminal));
        let observed = status.map(|status| observed(&status.child.common));
        Trace::of(Kind::ShareRecipient, child.meta(), observed, failed)
    });
    shares.chain(recipients).collect()
}

/// What is to be said before the statuses of these objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Foreword {
    /// Why they may not be true any more.
    pub warning: Option<String>,
    /// What cannot be known, though nothing speaks against them.
    pub note: Option<String>,
}

impl Foreword {
    pub fn new(pulse: &Pulse, shares: &[Share], recipients: &[ShareRecipient], now: Timestamp) -> Foreword {
        let Leader::Unknown(why) = &pulse.leader else {
            let accounts = shares.iter().map(|share| share.spec.account_id.as_str());
            return Foreword { warning: pulse.warning(accounts), note: None };
        };
        match judge(&traces(shares, recipients), now) {
            Ok(active) => Foreword { note: Some(format!("{why}; {active}")), warning: None },
            Err(doubt) => Foreword { warning: Some(format!("{why}; {doubt}")), note: None },
        }
    }

    /// As the first lines of a text.
    pub fn lines(&self) -> String {
        let warning = self.warning.iter().map(|warning| format!("WARNING: {warning}\n"));
        warning.chain(self.note.iter().map(|note| format!("NOTE: {note}\n"))).collect()
    }
}

/// When the operator last wrote the object's status.
pub fn written(meta: &ObjectMeta) -> Option<Timestamp> {
    let status = meta.managed_fields.iter().flatten().filter(|entry| entry.subresource.as_deref() == Some("status"));
    let own = status.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    own.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// What the objects say together: that the operator was active not long ago, and when; or else why that is in doubt.
fn judge(traces: &[Trace], now: Timestamp) -> Result<String, String> {
    let overdue = traces.iter().filter_map(|trace| Some((trace.waiting?, trace))).min_by_key(|(since, _)| *since);
    if let Some((since, trace)) = overdue.filter(|(since, _)| now.duration_since(*since) > PATIENCE) {
        let since = age(now.duration_since(since));
        return Err(format!("the last change of {} has not been processed for {since}", trace.object));
    }
    let written = traces.iter().filter_map(|trace| Some((trace.written?, trace)));
    let Some((at, trace)) = written.clone().max_by_key(|(at, _)| *at) else {
        return Err("cfshare has not written any status yet".into());
    };
    let ago = age(now.duration_since(at));
    if now.duration_since(at) <= ALLOWED {
        return Ok(format!("cfshare was active {ago} ago, when it wrote the status of {}", trace.object));
    }
    let harmless = written.filter(|(_, trace)| !trace.failed).max_by_key(|(at, _)| *at);
    let ask = harmless.map(|(_, trace)| trace.object.annotate_now(REQUESTED_AT));
    let how = ask.map(|command| format!("; if this command makes it write one, it is active: {command}"));
    Err(format!(
        "cfshare last wrote a status {ago} ago, and may have had nothing to write, or may have stopped{}",
        how.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trace(name: &str, written: &str, edited: &str, observed: i64) -> Trace {
        let meta = json!({"name": name, "namespace": "ns", "generation": 2, "managedFields": [
            {"manager": "kubectl", "operation": "Apply", "time": edited},
            {"manager": "cfshare", "operation": "Update", "time": "2026-01-01T00:59:59Z"},
            {"manager": "kubectl", "operation": "Update", "subresource": "status", "time": "2026-01-01T00:59:59Z"},
            {"manager": "cfshare", "operation": "Update", "subresource": "status", "time": written},
        ]});
        Trace::of(Kind::Share, &serde_json::from_value(meta).expect("metadata"), Some(observed), false)
    }

    #[test]
    fn no_command_is_offered_that_removes_a_recipient() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let (older, newer) = ("2026-01-01T00:20:00Z", "2026-01-01T00:30:00Z");
        let failed = || Trace { failed: true, ..trace("failed", newer, older, 2) };
        let said = judge(&[failed(), trace("fine", older, older, 2)], now).expect_err("it is old");
        assert!(said.starts_with("cfshare last wrote a status 30m ago"), "{said}");
        assert!(said.contains("kubectl annotate --overwrite shares.cfshare.dev fine -n ns "), "{said}");
        let said = judge(&[failed()], now).expect_err("it is old");
        assert!(said.ends_with("or may have stopped"), "{said}");
    }

    #[test]
    fn a_late_status_or_a_change_that_waits_puts_the_operator_in_doubt() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let (late, old) = ("2026-01-01T00:45:00Z", "2026-01-01T00:30:00Z");
        let said = judge(&[trace("a", old, old, 2), trace("b", late, old, 2)], now);
        assert_eq!(said, Ok("cfshare was active 15m ago, when it wrote the status of Share ns/b".into()));
        let said = judge(&[trace("a", old, old, 2)], now).expect_err("it is old");
        assert!(said.starts_with("cfshare last wrote a status 30m ago, and may have had nothing"), "{said}");
        assert!(said.contains("kubectl annotate --overwrite shares.cfshare.dev a -n ns cfshare.dev/requestedAt="));
        let said = judge(&[trace("a", late, "2026-01-01T00:50:00Z", 1)], now);
        assert_eq!(said, Err("the last change of Share ns/a has not been processed for 10m".into()));
        assert!(judge(&[trace("a", late, "2026-01-01T00:59:00Z", 1)], now).is_ok(), "a minute is no wonder");
        assert!(judge(&[], now).is_err());
    }
}
