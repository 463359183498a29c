//! Does the last verdict, Ready, still hold after a restart, though the recipients were not listed since?
//!
//! It does where all that a sweep shows is as the status recorded it. Then nothing is read, and nothing written.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::Desired;
use super::plan::Plan;
use super::{exceptions, status};
use crate::api::int32;
use crate::api::status::{RowRef, ShareStatus, UnmanagedEntry};
use crate::cloudflare::ShareStatus as RemoteStatus;
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::inventory;
use crate::operator::rows::row_state::{State, Totals, row_state};

/// All that a sweep shows of a share, and all that is declared for it, at rest.
#[derive(Debug, PartialEq, Eq)]
pub struct AtRest {
    is_active: bool,
    name: Option<String>,
    words: [Option<Interned>; 3],
    totals: Totals,
    /// How many recipients and resources are declared, by any object. An organization's recipients are not declared.
    declared: (Option<i32>, i32),
    /// How many of those are in place. Of declared recipients a sweep does not show which are.
    in_place: (i32, i32),
    /// How much else the status lists that a sweep does not prove: exceptions, drift, and removals that are blocked.
    doubtful: i32,
    /// The rows that the Share itself declares, and whether a call for them is announced and not confirmed.
    inline: BTreeMap<RowKey, bool>,
    /// Resources that nobody here declared, with their state; `None`: more than the status lists. Recipients are in the totals.
    foreign: Option<BTreeSet<(Interned, Interned, String)>>,
    /// Rows that call for a read or a change.
    restless: BTreeSet<RowKey>,
}

impl AtRest {
    /// As the status recorded it when the share was last found Ready.
    pub fn recorded(status: &ShareStatus, desired: &Desired) -> AtRest {
        let recipients = status.recipients.clone().unwrap_or_default();
        let entries = inventory::entries(&status.inventory);
        let ends_with_recipient = status.unmanaged.last().is_some_and(|entry| entry.row.account_id.is_some());
        let are_listed = status.unmanaged_count <= int32(status.unmanaged.len()) || ends_with_recipient;
        let resource = |entry: &UnmanagedEntry| foreign(&entry.row, &entry.state);
        AtRest {
            is_active: true,
            name: status.share_name.as_deref().map(str::to_owned),
            words: [&status.account_name, &status.target_type, &status.remote_status].map(Clone::clone),
            totals: Totals::recorded(&recipients),
            declared: (
                desired.organization.is_none().then_some(recipients.declared),
                status.resources.as_ref().map_or(0, |resources| resources.declared),
            ),
            in_place: (recipients.associated, status.resources.as_ref().map_or(0, |resources| resources.active)),
            doubtful: int32(status.exceptions.len())
                .saturating_add(status.exceptions_omitted)
                .saturating_add(int32(status.common.drift.len()))
                .saturating_add(status.blocked_removals),
            foreign: are_listed.then(|| status.unmanaged.iter().filter_map(resource).collect()),
            inline: entries.into_iter().map(|(key, entry)| (key, entry.intended_at.is_some())).collect(),
            restless: BTreeSet::new(),
        }
    }

    /// As the sweep and the manifests show it now.
    pub fn observed(seen: &ObservedShare, desired: &Desired, plan: &Plan) -> AtRest {
        let declared = |is: fn(&RowKey) -> bool| int32(desired.all.keys().filter(|key| is(key)).count());
        let recipients = || declared(|key| key.is_recipient());
        let is_in_place = |key: &&RowKey| key.is_resource() && row_state(key, seen, None).state == State::InPlace;
        let associated = match desired.organization {
            Some(_) => seen.counts.map_or(0, |counts| int32(counts.associated)),
            None => recipients(),
        };
        let resource = |(key, row): (&RowKey, &RowPlan)| {
            foreign(&exceptions::row_ref(key), &row_state(key, seen, None).word).filter(|_| row.is_foreign())
        };
        let restless = plan.rows.iter().filter(|(key, row)| !is_at_rest(key, row.step, seen, desired));
        AtRest {
            is_active: seen.share.status == RemoteStatus::Active,
            name: Some(seen.share.name.clone()),
            words: status::words(&seen.share),
            totals: Totals::observed(seen),
            declared: (desired.organization.is_none().then(recipients), declared(|key| key.is_resource())),
            in_place: (associated, int32(desired.all.keys().filter(is_in_place).count())),
            doubtful: 0,
            foreign: Some(plan.rows.iter().filter_map(resource).collect()),
            inline: desired.inline.keys().map(|key| (key.clone(), false)).collect(),
            restless: restless.map(|(key, _)| key.clone()).collect(),
        }
    }
}

/// A resource with its state.
fn foreign(row: &RowRef, state: &str) -> Option<(Interned, Interned, String)> {
    row.resource().map(|(kind, id)| (kind.clone(), id.clone(), state.to_owned()))
}

/// Whether a row calls for nothing. For recipients that were never listed the totals are compared.
fn is_at_rest(key: &RowKey, step: Step, seen: &ObservedShare, desired: &Desired) -> bool {
    match key {
        RowKey::Resource { .. } if desired.all.contains_key(key) => {
            step == Step::Keep && row_state(key, seen, Some(step)).state == State::InPlace
        }
        RowKey::Resource { .. } => matches!(step, Step::Keep | Step::Ignore),
        RowKey::Recipient(_) | RowKey::Excluded(_) => matches!(step, Step::Read | Step::Keep | Step::Ignore),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::{Name, ObjectKey, Share, ShareRecipient};
    use crate::core::time::At;
    use crate::operator::pass::memory::Memories;
    use crate::operator::rows::known::Known;
    use crate::operator::settings::Settings;
    use crate::operator::share::plan::PlanInput;
    use crate::operator::share::samples::{self, ALPHA, OWNER, RULESET};

    const ID: &str = "5a5e0000000000000000000000000001";

    /// What was recorded of a share when it was Ready.
    fn ready() -> Value {
        json!({
            "shareID": ID,
            "shareName": "waf",
            "accountName": "Security",
            "targetType": "account",
            "remoteStatus": "active",
            "recipients": {"declared": 1, "associated": 1, "pending": 0, "failed": 0, "inPlace": 1, "summary": "1/1"},
            "resources": {"declared": 1, "active": 1, "summary": "1/1"},
            "inventory": {
                "recipients": [{"accountID": ALPHA}],
                "resources": [{"type": "custom-ruleset", "id": RULESET, "accountID": OWNER}],
            },
        })
    }

    /// What was recorded, and what a restarted operator sees in its first sweep.
    fn compare(share: &Share, remote: Value) -> (AtRest, AtRest) {
        compare_with(share, Vec::new(), remote)
    }

    fn compare_with(share: &Share, recipients: Vec<ShareRecipient>, remote: Value) -> (AtRest, AtRest) {
        let index = samples::index(vec![share.clone()], recipients);
        let (desired, status) = (samples::desired(share, &index), samples::status(share));
        let now = At(1_000_000_000);
        let seen = ObservedShare::new(samples::remote(ID, remote), now);
        let settings = Settings { settle_time: Duration::from_secs(240), ..Settings::default() };
        let entries = inventory::entries(&status.inventory);
        let (memories, key) = (&Memories::default(), &ObjectKey::share(Name::of(share)));
        let known = Known { memories, key, now, serving_since: now, settings: &settings };
        let input = PlanInput {
            desired: &desired,
            share_id: status.share_id.as_deref(),
            entries: &entries,
            settings: &settings,
            observing: false,
            known: Some(&known),
        };
        (AtRest::recorded(&status, &desired), AtRest::observed(&seen, &desired, &input.plan(&seen)))
    }

    #[test]
    fn what_is_as_it_was_recorded_is_still_ready() {
        let (recorded, observed) = compare(&samples::share(json!({}), ready()), json!({}));
        assert_eq!(recorded, observed);
        let foreign = json!({"resources": [
            {"id": "row1", "resource_account_id": OWNER, "resource_id": RULESET, "resource_type": "custom-ruleset",
             "resource_version": 1, "meta": {}, "status": "active"},
            {"id": "row2", "resource_account_id": OWNER, "resource_id": ALPHA, "resource_type": "custom-ruleset",
             "resource_version": 1, "meta": {}, "status": "active"},
        ]});
        let (recorded, observed) = compare(&samples::share(json!({}), ready()), foreign.clone());
        assert_ne!(recorded, observed, "a resource that nobody here declared is to be listed");
        let listed = |of: Value, count: u32| {
            let mut status = ready();
            (status["unmanaged"], status["unmanagedCount"]) = (of, json!(count));
            samples::share(json!({}), status)
        };
        let resource = json!({"type": "custom-ruleset", "id": ALPHA, "state": "active"});
        let share = listed(json!([resource]), 1);
        let (recorded, observed) = compare(&share, foreign.clone());
        assert_eq!(recorded, observed, "it is listed");
        let (recorded, observed) = compare(&share, json!({}));
        assert_ne!(recorded, observed, "it has gone");
        let (recorded, observed) = compare(&listed(json!([resource]), 2), foreign);
        assert_ne!(recorded, observed, "others may be among those that are not listed");
    }

    #[test]
    fn anything_that_a_sweep_shows_to_be_different_is_looked_at() {
        let resource = |meta: Value, status: &str| {
            json!({"resources": [
                {"id": "row1", "resource_account_id": OWNER, "resource_id": RULESET,
                 "resource_type": "custom-ruleset", "resource_version": 1, "meta": meta, "status": status},
            ]})
        };
        let table = [
            ("another name", json!({"name": "other"})),
            ("a status that is not active", json!({"status": "paused"})),
            ("a recipient more", json!({"associated_recipient_count": 2})),
            ("a recipient less", json!({"associated_recipient_count": 0})),
            ("a recipient that went", json!({"disassociated_recipient_count": 1})),
            ("a recipient on its way in", json!({"associating_recipient_count": 1})),
            ("a recipient on its way out", json!({"disassociating_recipient_count": 1})),
            ("a resource less", json!({"resources": []})),
            ("resources that were not listed", json!({"resources": null})),
            ("a resource with another meta", resource(json!({"mode": "log"}), "active")),
            ("a resource on its way out", resource(json!({}), "deleting")),
        ];
        for (what, remote) in table {
            let (recorded, observed) = compare(&samples::share(json!({}), ready()), remote);
            assert_ne!(recorded, observed, "{what}");
        }
    }

    /// What is recorded of them would stay though it has passed: the sweep shows only part of it.
    #[test]
    fn whatever_else_is_recorded_than_rows_in_place_is_looked_at() {
        let exception = |row: Value| {
            let mut entry = json!({"state": "pending", "since": "2026-01-01T00:00:00Z"});
            entry.as_object_mut().expect("an object").extend(row.as_object().cloned().unwrap_or_default());
            entry
        };
        let resource = exception(json!({"type": "custom-ruleset", "id": RULESET}));
        let table = [
            ("a resource that was not active", "/resources/active", json!(0)),
            ("a resource among the exceptions", "/exceptions", json!([resource])),
            ("a recipient that was not associated", "/recipients/associated", json!(0)),
            ("a recipient among the exceptions", "/exceptions", json!([exception(json!({"accountID": ALPHA}))])),
            ("exceptions that are not listed", "/exceptionsOmitted", json!(1)),
            ("drift", "/drift", json!([{"path": "name", "desired": "a", "observed": "b"}])),
            ("removals that were blocked", "/blockedRemovals", json!(1)),
            ("another name of the account", "/accountName", json!("Sales")),
            ("another target", "/targetType", json!("organization")),
            ("another status at Cloudflare", "/remoteStatus", json!("deleting")),
        ];
        for (what, path, value) in table {
            let mut status = ready();
            match status.pointer_mut(path) {
                Some(field) => *field = value,
                None => status[path.trim_start_matches('/')] = value,
            }
            let (recorded, observed) = compare(&samples::share(json!({}), status), json!({}));
            assert_ne!(recorded, observed, "{what}");
        }
    }

    #[test]
    fn rows_of_other_objects_that_are_in_place_are_still_so() {
        let share = samples::share(json!({"recipients": []}), {
            let mut status = ready();
            status["inventory"]["recipients"] = json!([]);
            status
        });
        let (recorded, observed) = compare_with(&share, vec![samples::recipient(json!({}))], json!({}));
        assert_eq!(recorded, observed);
    }

    #[test]
    fn anything_that_is_declared_or_recorded_otherwise_is_looked_at() {
        let with = |change: fn(&mut Value)| {
            let mut status = ready();
            change(&mut status);
            samples::share(json!({}), status)
        };
        let table = [
            ("never told which name", with(|status| status["shareName"] = Value::Null)),
            ("told of more recipients", with(|status| status["recipients"]["declared"] = json!(2))),
            ("told of no resource", with(|status| status["resources"] = Value::Null)),
            (
                "an announced call",
                with(|status| {
                    status["inventory"]["recipients"][0]["intendedAt"] = json!("2026-01-01T00:00:00Z");
                }),
            ),
            ("a row that is not recorded", with(|status| status["inventory"]["recipients"] = json!([]))),
            (
                "a row that is not declared any more",
                with(|status| {
                    status["inventory"]["recipients"] = json!([{"accountID": ALPHA}, {"accountID": OWNER}]);
                }),
            ),
            (
                "a recipient that is declared and was not",
                samples::share(json!({"recipients": [{"accountID": ALPHA}, {"accountID": OWNER}]}), ready()),
            ),
        ];
        for (what, share) in table {
            let (recorded, observed) = compare(&share, json!({}));
            assert_ne!(recorded, observed, "{what}");
        }
    }
}
