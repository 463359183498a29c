//! Which step each recipient, excluded account and resource of a share calls for.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::Desired;
use super::share_pass::SharePass;
use crate::api::Share;
use crate::api::status::DriftEntry;
use crate::cloudflare::TargetType;
use crate::core::id;
use crate::core::row_key::RowKey;
use crate::core::row_step::{self, Declared, Step};
use crate::core::share_step::Mode;
use crate::operator::pass::memory::Write;
use crate::operator::remote::observed_rows::resource_key;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::facts::{RowPlan, RowSnapshot};
use crate::operator::rows::inventory::{Entries, Entry};
use crate::operator::rows::known::Known;
use crate::operator::rows::row::Row;
use crate::operator::settings::Settings;

pub struct Plan {
    pub rows: BTreeMap<RowKey, RowPlan>,
}

impl Plan {
    pub fn of(&self, wanted: impl Fn(Step) -> bool) -> Vec<RowKey> {
        self.rows.iter().filter(|(_, row)| wanted(row.step)).map(|(key, _)| key.clone()).collect()
    }
}

/// What the steps are decided on, in addition to what was seen of the share.
pub struct PlanInput<'a> {
    pub desired: &'a Desired,
    /// The share that is recorded.
    pub share_id: Option<&'a str>,
    pub entries: &'a Entries,
    pub settings: &'a Settings,
    /// Nothing is recorded: what is declared is compared as if it had been in place.
    pub observing: bool,
    /// What this process knows of announced calls; where rows are only compared, none may still take effect.
    pub known: Option<&'a Known<'a>>,
}

impl PlanInput<'_> {
    /// One step for each key that is declared, recorded or there.
    pub fn plan(&self, seen: &ObservedShare) -> Plan {
        let desired = self.desired;
        let mut keys: BTreeSet<RowKey> = desired.inline.keys().chain(self.entries.keys()).cloned().collect();
        if desired.organization.is_none() && seen.share.target_type != TargetType::Organization {
            keys.extend(seen.recipients.iter().flat_map(|r| &r.rows).map(|r| RowKey::Recipient(r.account_id.clone())));
        }
        keys.extend(
            seen.excluded.iter().flat_map(|excluded| &excluded.rows).map(|r| RowKey::Excluded(r.account_id.clone())),
        );
        keys.extend(seen.resources.iter().flatten().map(resource_key));
        let rows = keys.into_iter().map(|key| {
            let declared = self.declared(&key);
            let meta = desired.all.get(&key).map(|declaration| &declaration.meta);
            let snapshot = RowSnapshot { seen, key: &key, meta, settings: self.settings, known: self.known };
            let recorded = if self.observing && declared == Declared::Here {
                row_step::Recorded::InPlace
            } else {
                snapshot.recorded(self.entries.get(&key))
            };
            let prune = desired.prune && !key.is_excluded();
            let facts = snapshot.facts(declared, recorded, prune);
            let step = match row_step::step(facts) {
                // The child that looks after the row has not noted it down yet: until then the record is kept here.
                Step::Forget if declared == Declared::Elsewhere && !self.is_taken_over(&key) => Step::Keep,
                step => step,
            };
            (key, RowPlan { step, observed: facts.observed })
        });
        Plan { rows: rows.collect() }
    }

    fn declared(&self, key: &RowKey) -> Declared {
        if self.desired.inline.contains_key(key) {
            return Declared::Here;
        }
        // A child that is being deleted removes its row itself, unless it was refused because it is the last one. One that
        // is out of scope, or late, still exists.
        let looks_after = |s: &Sibling| s.outside || !(s.child.is_deleting() && s.child.is_last());
        let looked_after = self.desired.siblings_of(key).iter().any(looks_after);
        if looked_after { Declared::Elsewhere } else { Declared::Nowhere }
    }

    /// Whether an object has the row in its record, and knows all that is recorded here.
    fn is_taken_over(&self, key: &RowKey) -> bool {
        let own = self.entries.get(key);
        let knows = |entry: &Entry| self.known.is_none_or(|known| known.covers(Some(entry), key, known.key, own));
        let takes = |s: &Sibling| {
            s.child.has_claimed()
                && s.entry.as_ref().is_some_and(knows)
                && id::same_or_none(s.child.share_id(), self.share_id)
        };
        self.desired.siblings_of(key).iter().any(takes)
    }
}

pub fn plan(share: &SharePass, seen: &ObservedShare) -> Plan {
    let entries = share.entries();
    let known = (share.mode != Mode::Observe).then(|| Known::of(&share.pass));
    let input = PlanInput {
        desired: &share.desired,
        share_id: share.pass.status.share_id.as_deref(),
        entries: &entries,
        settings: &share.pass.context.settings,
        observing: share.mode == Mode::Observe,
        known: known.as_ref(),
    };
    input.plan(seen)
}

/// What was in place once, and is different now.
pub fn drift(share: &SharePass, plan: &Plan, seen: &ObservedShare) -> Vec<DriftEntry> {
    let entries = share.entries();
    let drift = |(key, RowPlan { step, .. }): (&RowKey, &RowPlan)| {
        let (row, recorded) = (share.row(seen, key), entries.get(key).and_then(|entry| entry.meta.as_ref()));
        row.drift(*step).filter(|_| share.mode != Mode::Manage || !row.is_edit(*step, recorded))
    };
    let differs = |(_, row): &(&RowKey, &RowPlan)| matches!(row.step, Step::Restore | Step::Update);
    plan.rows.iter().filter(differs).filter_map(drift).collect()
}

/// The rows that call for such a step, but for those of which it was refused a moment ago or is pointless.
pub fn not_backing_off(
    share: &SharePass,
    plan: &Plan,
    seen: &ObservedShare,
    wanted: fn(Step) -> bool,
    write: fn(&Row<'_, Share>) -> Write,
) -> Vec<RowKey> {
    let mut keys = plan.of(wanted);
    keys.retain(|key| share.pass.write_block(&write(&share.row(seen, key))).is_none());
    keys
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;
    use crate::api::{FINALIZER, ShareRecipient};
    use crate::core::share_step::{Gathered, Situation};
    use crate::core::time::At;
    use crate::operator::rows::inventory;
    use crate::operator::rows::row_state::row_state;
    use crate::operator::share::losses;
    use crate::operator::share::samples::{self, ID, NOW, OWNER, UID};

    /// So many objects of one share, each of which has its row in its record.
    fn recipients(count: u32) -> Vec<ShareRecipient> {
        let recipient = |n| {
            let mut object = samples::recipient(json!({"boundUID": UID, "shareID": ID, "confirmed": true}));
            object.metadata.name = Some(format!("recipient-{n}"));
            object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
            object.spec.account_id = format!("{n:032x}").as_str().into();
            object
        };
        (0..count).map(recipient).collect()
    }

    #[test]
    fn the_time_for_a_share_grows_no_faster_than_the_number_of_its_objects() {
        let count = 20_000;
        let (share, objects) = (samples::share(json!({"recipients": []}), samples::bound()), recipients(count));
        let index = samples::index(vec![share.clone()], objects.clone());
        let (desired, status) = (samples::desired(&share, &index), samples::status(&share));
        let listed: Vec<serde_json::Value> = (0..count / 2)
            .map(|n| json!({"id": format!("r{n}"), "account_id": format!("{n:032x}"), "association_status": "associated"}))
            .collect();
        let mut seen = ObservedShare::new(samples::remote(ID, json!({"associated_recipient_count": count / 2})), At(0));
        seen.read_recipients(serde_json::from_value(json!(listed)).expect("recipients"), At(0), Duration::ZERO);
        let world = samples::world(json!({}), Vec::new()).with(|world| {
            world.share.spec.recipients = Some(Vec::new());
            world.recipients = objects;
        });
        let settings = Settings::default();
        let input = PlanInput {
            desired: &desired,
            share_id: Some(ID),
            entries: &inventory::entries(&status.inventory),
            settings: &settings,
            observing: false,
            known: None,
        };

        let start = Instant::now();
        let plan = input.plan(&seen);
        let in_place = desired.all.keys().filter(|key| row_state(key, &seen, None).is_in_place()).count();
        let losing = losses::losing(&share, &desired, &status, &seen, &settings, NOW, NOW);
        let situation = world.facts().situation;
        // Where each object is compared with each other one, every one of these takes a minute or more.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert_eq!(plan.of(|step| step == Step::Keep || step == Step::Confirm).len(), 1 + count as usize / 2);
        assert_eq!(in_place, 1 + count as usize / 2);
        assert!(losing.is_nothing());
        assert!(matches!(situation, Situation::Unbound { gathered: Gathered::Complete, .. }), "{situation:?}");
    }

    #[test]
    fn a_declared_resource_is_not_pruned_though_cloudflare_writes_its_id_without_dashes() {
        let (uuid, bare) = ("b6a1c4de-0b8c-4f5e-9a3d-2c1b0a9f8e7d", "b6a1c4de0b8c4f5e9a3d2c1b0a9f8e7d");
        let row =
            json!({"id": "row1", "resource_account_id": OWNER, "resource_id": bare, "resource_type": "gateway-policy"});
        let seen = ObservedShare::new(samples::remote(ID, json!({"resources": [row]})), At(0));
        let spec = json!({"prune": true, "resources": [{"type": "gateway-policy", "id": uuid}]});
        let entry = json!({"type": "gateway-policy", "id": uuid, "accountID": OWNER});
        for (recorded, expected) in [(json!([]), Step::Confirm), (json!([entry]), Step::Keep)] {
            let share = samples::share(spec.clone(), json!({"inventory": {"resources": recorded}}));
            let index = samples::index(vec![share.clone()], Vec::new());
            let (desired, status) = (samples::desired(&share, &index), samples::status(&share));
            let input = PlanInput {
                desired: &desired,
                share_id: Some(ID),
                entries: &inventory::entries(&status.inventory),
                settings: &Settings::default(),
                observing: false,
                known: None,
            };
            let rows = input.plan(&seen).rows;
            let steps: Vec<Step> = rows.iter().filter(|(key, _)| key.is_resource()).map(|(_, row)| row.step).collect();
            assert_eq!(steps, [expected]);
        }
    }
}
