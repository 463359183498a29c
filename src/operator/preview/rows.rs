//! What differs in the name and rows of a share that is there, and who would put it right.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{Call, Look, Preview};
use crate::api::CONFIRM_REMOVALS;
use crate::api::status::UNOBSERVED;
use crate::core::id;
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::{self, Declared, Recorded};
use crate::core::share_step::Mode;
use crate::operator::remote::observed_rows::resource_key;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare::{By, Sibling};
use crate::operator::rows::facts::{RowPlan, RowSnapshot};
use crate::operator::rows::inventory;
use crate::operator::rows::row_state::{RowState, State, of_another_account};
use crate::operator::share::plan::PlanInput;
use crate::operator::share::{losses, name};

impl Look<'_> {
    /// The share is there: what differs in its name and rows.
    pub(super) fn maintain(&self, preview: &mut Preview) {
        let Some(id) = self.subject() else { return };
        let Some(seen) = self.account.cache.seen(&id) else { return };
        let keeps_its_name = name::keeps_its_name(self.share, &self.status);
        if let Some(name) = self.desired.name.clone().filter(|name| !keeps_its_name && *name != seen.share.name) {
            let (index, kept) = (&self.fleet.index, &seen.share.name);
            match name::rival(self.share, &self.desired, index, &self.account.cache, &id, kept) {
                Some(rival) => preview.notes.push(rival.message),
                None => preview.calls.push(Call::RenameShare { from: kept.clone(), to: name }),
            }
        }
        let rows = self.rows(seen);
        let of = |desired: fn(row_step::Step) -> bool| rows.iter().filter(move |(_, row)| desired(row.step));
        for (key, row) in of(|step| matches!(step, row_step::Step::Add | row_step::Step::Restore)) {
            match self.refused(key, seen, &rows) {
                Some(refused) => self.object_to(refused.message, preview),
                None => {
                    let restored = row.step == row_step::Step::Restore;
                    preview.calls.push(Call::Add { row: self.row(key), restored });
                }
            }
        }
        for (key, _) in of(|step| step == row_step::Step::Update) {
            let from = seen.resource(key).map(|row| row.meta.clone()).unwrap_or_default();
            preview.calls.push(Call::Update { row: self.row(key), from, to: self.desired.meta(key) });
        }
        self.hold(seen, preview);
        let recorded = inventory::entries(&self.status.inventory);
        for (key, _) in of(|step| step == row_step::Step::Remove) {
            let mut row = self.row(key);
            row.label = row.label.or_else(|| recorded.get(key)?.label.clone());
            preview.calls.push(Call::Remove { row });
        }
        let waiting = of(|step| step == row_step::Step::Wait).count();
        if waiting > 0 {
            preview.notes.push(format!("already in progress: {}", some_rows(waiting)));
        }
        let foreign = rows.values().filter(|row| row.is_foreign()).count();
        if foreign > 0 {
            preview
                .notes
                .push(format!("not declared in any manifest, and kept (prune is false): {}", some_rows(foreign)));
        }
    }

    /// Why a resource is not added that the share has as one of another account, unless that row is removed first.
    fn refused(&self, key: &RowKey, seen: &ObservedShare, rows: &BTreeMap<RowKey, RowPlan>) -> Option<RowState> {
        let other = resource_key(seen.under_another_account(key)?);
        let goes_first = rows.get(&other).is_some_and(|row| row.step == row_step::Step::Remove);
        let is_refused = |row: &RowState| row.state == State::Refused && !(goes_first && seen.live_resources() > 1);
        of_another_account(key, seen).filter(is_refused)
    }

    /// The object goes and its share stays, but not what child objects take with them.
    pub(super) fn release(&self, preview: &mut Preview) {
        preview.notes.push(match &self.status.share_id {
            Some(id) => format!("being deleted: share {id} stays at Cloudflare"),
            None => "being deleted: nothing was created at Cloudflare".to_owned(),
        });
        let seen = self.subject().and_then(|id| self.account.cache.seen(&id));
        let releases = self.status.share_id.is_some() && self.mode() == Mode::Manage;
        let Some(seen) = seen.filter(|_| releases) else { return };
        let entries = inventory::entries(&self.status.inventory);
        for sibling in self.desired.siblings.iter().filter(|sibling| !sibling.child.is_suspended()) {
            let plan = self.child_plan(sibling, entries.get(&sibling.row), seen, false);
            if plan.is_some_and(|plan| plan.step == row_step::Step::Remove) {
                preview.calls.push(Call::Remove { row: self.row(&sibling.row) });
            }
        }
    }

    /// The step of each row, by the object that looks after it, once all that needs no call is recorded.
    fn rows(&self, seen: &ObservedShare) -> BTreeMap<RowKey, RowPlan> {
        let observing = self.mode() == Mode::Observe;
        let mut entries = inventory::entries(&self.status.inventory);
        let mut rows = loop {
            let (desired, share_id) = (&self.desired, self.status.share_id.as_deref());
            let (known, settings) = (None, self.settings);
            let input = PlanInput { desired, share_id, entries: &entries, settings, observing, known };
            let plan = input.plan(seen);
            let confirmed = plan.of(|step| step == row_step::Step::Confirm);
            let forgotten = plan.of(|step| step == row_step::Step::Forget);
            if confirmed.is_empty() && forgotten.is_empty() {
                break plan.rows;
            }
            entries.extend(confirmed.into_iter().map(|key| (key, inventory::Entry::default())));
            for key in &forgotten {
                entries.remove(key);
            }
        };
        let children = self.desired.siblings.iter().filter(|sibling| !sibling.child.is_suspended());
        for sibling in children {
            if let Some(plan) = self.child_plan(sibling, entries.get(&sibling.row), seen, observing) {
                rows.insert(sibling.row.clone(), plan);
            }
        }
        rows
    }

    /// What a child object would do about its row; `None`: it is not the one that looks after it.
    fn child_plan(
        &self,
        sibling: &Sibling,
        parents: Option<&inventory::Entry>,
        seen: &ObservedShare,
        observing: bool,
    ) -> Option<RowPlan> {
        let child = &sibling.child;
        if sibling.row.is_recipient() && self.desired.organization.is_some() {
            return None;
        }
        let winner = self.desired.all.get(&sibling.row).map(|declaration| &declaration.by);
        let declared = match winner {
            Some(By::Child(key)) if *key == sibling.key => Declared::Here,
            None if child.is_deleting() && !child.retains() => Declared::Nowhere,
            Some(_) | None => return None,
        };
        let (key, meta) = (&sibling.row, child.wanted_meta());
        let snapshot = RowSnapshot { seen, key, meta: Some(&meta), settings: self.settings, known: None };
        let noted = |share: &Option<Interned>| id::same_or_none(share.as_deref(), self.status.share_id.as_deref());
        let own = child.own_record().filter(|record| noted(&record.share_id));
        let mut recorded = match (&own, observing) {
            (_, true) => Recorded::InPlace,
            (Some(record), false) => snapshot.recorded(inventory::Entry::of_child(record).as_ref()),
            (None, false) => snapshot.recorded(parents),
        };
        if row_step::step(snapshot.facts(declared, recorded, false)) == row_step::Step::Confirm {
            recorded = Recorded::InPlace;
        }
        Some(RowPlan::of(snapshot.facts(declared, recorded, false)))
    }

    /// Says so where more would be removed than may be at once.
    fn hold(&self, seen: &ObservedShare, preview: &mut Preview) {
        let (settings, now) = (self.settings, self.account.read_at);
        let mut losing = losses::losing(self.share, &self.desired, &self.status, seen, settings, now, now);
        let asked = self.share.annotations().get(CONFIRM_REMOVALS).map(String::as_str);
        let mut status = self.status.clone();
        if self.share.status.as_ref().is_none_or(|status| status.common.observed_generation == UNOBSERVED) {
            status.ignored_confirmation = asked.map(Interned::from);
        }
        losing.accept(self.share, &mut status, asked);
        preview.unconfirmed = losing.blocked_rows().cloned().collect();
        preview.notes.extend(losing.blocked(self.share, &status).map(|verdict| verdict.message));
    }
}

fn some_rows(n: usize) -> String {
    if n == 1 { "1 recipient or resource".to_owned() } else { format!("{n} recipients or resources") }
}
