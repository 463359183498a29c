//! How many rows does a manifest declare, and how many of them count as in place, where there are none at Cloudflare that they were
//! compared with?

use std::collections::BTreeSet;

use super::desired::Desired;
use super::exceptions::row_ref;
use super::losses;
use crate::api::int32;
use crate::api::status::{RecipientCounts, ResourceCounts, ShareStatus};
use crate::core::row_key::RowKey;
use crate::operator::rows::inventory;

/// Counts them, so that a pass that fails does not leave the numbers of the manifest before the edit. What was in place
/// counts as far as it is still declared.
pub fn count(status: &mut ShareStatus, desired: &Desired) {
    let own = inventory::entries(&status.inventory);
    let of_objects = desired.siblings.iter().filter_map(|sibling| Some((&sibling.row, sibling.entry.as_ref()?)));
    let recorded = own.iter().chain(of_objects).filter(|(_, entry)| entry.intended_at.is_none());
    let recorded: BTreeSet<&RowKey> = recorded.map(|(key, _)| key).collect();
    let was_in_place = |key: &RowKey| {
        let is_listed = || {
            let row = row_ref(key);
            status.exceptions.iter().any(|entry| entry.row == row)
        };
        // Of a Share that only observes nothing is recorded.
        (own.is_empty() || recorded.contains(key)) && !is_listed()
    };
    let in_place = |is: fn(&RowKey) -> bool| desired.all.keys().filter(|key| is(key) && was_in_place(key)).count();
    let declared = |is: fn(&RowKey) -> bool| int32(desired.all.keys().filter(|key| is(key)).count());
    let associated = int32(in_place(RowKey::is_recipient)).saturating_sub(status.exceptions_omitted);
    let active = int32(in_place(RowKey::is_resource));
    // An organization's recipients are not declared.
    if let Some(counts) = status.recipients.as_mut().filter(|_| desired.organization.is_none()) {
        counts.declared = declared(RowKey::is_recipient);
        counts.associated = counts.associated.min(associated.max(0));
        counts.failed = counts.failed.min(counts.declared - counts.associated);
        counts.pending = counts.pending.min(counts.declared - counts.associated - counts.failed);
        counts.waived = counts.waived.min(counts.failed);
        counts.summary = format!("{}/{}", counts.associated, counts.declared).into();
    }
    if let Some(counts) = &mut status.resources {
        counts.declared = declared(RowKey::is_resource);
        counts.active = counts.active.min(active);
        counts.summary = format!("{}/{}", counts.active, counts.declared).into();
    }
}

/// Counts them where the share is proven not to be there: what is declared stays declared, and nothing is in place.
pub fn none_in_place(status: &mut ShareStatus, desired: &Desired) {
    let declared = |is: fn(&RowKey) -> bool| int32(desired.all.keys().filter(|key| is(key)).count());
    if let Some(counts) = &mut status.recipients {
        let declared = if desired.organization.is_some() { counts.declared } else { declared(RowKey::is_recipient) };
        *counts = RecipientCounts { declared, summary: format!("0/{declared}").into(), ..RecipientCounts::default() };
    }
    if let Some(counts) = &mut status.resources {
        let declared = declared(RowKey::is_resource);
        *counts = ResourceCounts { declared, active: 0, summary: format!("0/{declared}").into() };
    }
    (status.exceptions, status.exceptions_omitted) = (Vec::new(), 0);
    (status.unmanaged, status.unmanaged_count) = (Vec::new(), 0);
    (status.common.drift, status.blocked_removals) = (Vec::new(), 0);
    let allowed = losses::max_removals(status, desired);
    if let Some(effective) = &mut status.effective {
        effective.max_removals = allowed;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::share::samples::{self, ALPHA, OWNER, RULESET};

    const BETA: &str = "b72e67954025e0ba6aaa6d586b9e0b59";
    const GAMMA: &str = "c72e67954025e0ba6aaa6d586b9e0b59";

    /// The counts after an edit to these recipients, where ALPHA and BETA were declared, and ALPHA in place, before.
    fn counted(recipients: &[&str], change: fn(&mut Value)) -> (String, String) {
        let accounts: Vec<Value> = recipients.iter().map(|id| json!({"accountID": id})).collect();
        let mut status = json!({
            "recipients": {"declared": 2, "associated": 1, "pending": 1, "failed": 0, "summary": "1/2"},
            "resources": {"declared": 1, "active": 1, "summary": "1/1"},
            "exceptions": [{"accountID": BETA, "state": "associating", "since": "2026-01-01T00:00:00Z"}],
            "inventory": {
                "recipients": [{"accountID": ALPHA}, {"accountID": BETA}],
                "resources": [{"type": "custom-ruleset", "id": RULESET, "accountID": OWNER}],
            },
        });
        change(&mut status);
        let share = samples::share(json!({"recipients": accounts}), status);
        let index = samples::index(vec![share.clone()], Vec::new());
        let mut status = samples::status(&share);
        count(&mut status, &samples::desired(&share, &index));
        let recipients = status.recipients.unwrap_or_default();
        assert!(
            recipients.associated + recipients.pending + recipients.failed <= recipients.declared,
            "{recipients:?}"
        );
        (recipients.summary.to_string(), status.resources.unwrap_or_default().summary.to_string())
    }

    /// What is declared, what else was recorded, and what is told then.
    type Row<'a> = (&'a [&'a str], fn(&mut Value), &'a str);

    #[test]
    fn what_an_edit_declares_counts_at_once_and_what_it_takes_away_no_more() {
        let as_it_was: fn(&mut Value) = |_| ();
        let unrecorded: fn(&mut Value) = |status| status["inventory"] = json!({});
        let all_in_place: fn(&mut Value) = |status| {
            status["recipients"] = json!({"declared": 2, "associated": 2, "pending": 0, "failed": 0, "summary": "2/2"});
            status["exceptions"] = json!([]);
        };
        let table: [Row; 8] = [
            (&[ALPHA, BETA], as_it_was, "1/2"),
            (&[ALPHA, BETA, GAMMA], as_it_was, "1/3"),
            (&[BETA, GAMMA], as_it_was, "0/2"),
            (&[ALPHA], as_it_was, "1/1"),
            (&[ALPHA, BETA, GAMMA], all_in_place, "2/3"),
            (&[ALPHA, GAMMA], all_in_place, "1/2"),
            (&[GAMMA], all_in_place, "0/1"),
            (&[ALPHA, BETA, GAMMA], unrecorded, "1/3"),
        ];
        for (recipients, change, expected) in table {
            assert_eq!(counted(recipients, change), (expected.to_owned(), "1/1".to_owned()), "{recipients:?}");
        }
    }
    /// The status of a share with two recipients and a resource after it is proven to be gone.
    fn gone(spec: Value, change: fn(&mut Value)) -> ShareStatus {
        let mut status = json!({
            "recipients": {
                "declared": 2, "associated": 1, "pending": 1, "failed": 0, "inPlace": 4, "disassociated": 3, "summary": "1/2",
            },
            "resources": {"declared": 1, "active": 1, "summary": "1/1"},
            "exceptions": [{"accountID": BETA, "state": "associating", "since": "2026-01-01T00:00:00Z"}],
            "exceptionsOmitted": 1,
            "unmanaged": [{"accountID": GAMMA, "state": "associated"}],
            "unmanagedCount": 1,
            "drift": [{"path": "name", "desired": "a", "observed": "b"}],
            "blockedRemovals": 1,
        });
        change(&mut status);
        let share = samples::share(spec, status);
        let index = samples::index(vec![share.clone()], Vec::new());
        let mut status = samples::status(&share);
        none_in_place(&mut status, &samples::desired(&share, &index));
        status
    }

    #[test]
    fn of_a_share_that_is_gone_nothing_is_in_place() {
        let status = gone(json!({"recipients": [{"accountID": ALPHA}, {"accountID": BETA}]}), |_| ());
        let zero = RecipientCounts { declared: 2, summary: "0/2".into(), ..RecipientCounts::default() };
        assert_eq!(status.recipients, Some(zero));
        assert_eq!(status.resources, Some(ResourceCounts { declared: 1, active: 0, summary: "0/1".into() }));
        assert!(status.exceptions.is_empty() && status.unmanaged.is_empty() && status.common.drift.is_empty());
        assert_eq!((status.exceptions_omitted, status.unmanaged_count, status.blocked_removals), (0, 0, 0));
        let never_seen = |status: &mut Value| (status["recipients"], status["resources"]) = (Value::Null, Value::Null);
        let status = gone(json!({}), never_seen);
        assert_eq!((status.recipients, status.resources), (None, None), "nothing was counted before");
    }
}
