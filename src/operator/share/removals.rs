//! How rows of a share are removed: when, which of them, and recorded before their calls.

use std::collections::HashSet;
use std::time::Duration;

use super::losses::{self, Basis, Losing};
use super::plan::Plan;
use super::work::Work;
use crate::api::CONFIRM_REMOVALS;
use crate::core::guard::Counted;
use crate::core::row::Step;
use crate::core::row_key::RowKey;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::inventory;
use crate::operator::rows::inventory::Entry;
use crate::operator::stop::Stop;

/// A line that goes may come back as an object of its own within so long.
const HANDOVER: Duration = Duration::from_secs(1);
/// So many removals are recorded at once.
const BATCH: usize = 8;

/// Whether removals may be made.
pub(super) enum Permission {
    /// A person has confirmed them: they do not count.
    Confirmed,
    /// As far as the limit goes.
    Within(Losing),
}

impl Permission {
    /// Whether this row may be removed, or this account excluded.
    pub(super) fn allows(&self, key: &RowKey) -> bool {
        match self {
            Permission::Confirmed => true,
            Permission::Within(losing) => !losing.rows.contains_key(key) || !losing.exceed(losses::counted(key)),
        }
    }
}

impl Work {
    pub(super) fn losing(&self, seen: &Seen) -> Losing {
        let patience = self.pass.context.settings.patience();
        let basis = Basis { wanted: &self.wanted, status: &self.pass.status, seen, now: self.pass.now(), patience };
        basis.losing()
    }

    /// Whether what would be lost now may be; a confirmation is recorded before it counts.
    pub(super) async fn permission(&mut self, seen: &Seen) -> Result<Permission, Stop> {
        let losing = self.losing(seen);
        losing.note_before(&mut self.pass.status);
        if losing.is_nothing() {
            losses::close_confirmation(&mut self.pass.status);
            return Ok(Permission::Within(losing));
        }
        let before = self.pass.status.confirmed_removals.clone();
        let asked = self.pass.asked(CONFIRM_REMOVALS);
        if !losses::is_confirmed(&self.pass.object, &mut self.pass.status, &losing, asked) {
            return Ok(Permission::Within(losing));
        }
        if self.pass.status.confirmed_removals != before {
            tracing::info!(share = %self.pass.key.name, rows = losing.rows.len(), "the removal was confirmed");
            self.pass.save().await?;
        }
        Ok(Permission::Confirmed)
    }

    /// Removals that are allowed, and were not refused a moment ago.
    pub(super) fn due_removals(&self, plan: &Plan, seen: &Seen, permission: &Permission) -> Vec<RowKey> {
        if self.held_back(plan).is_some() {
            return Vec::new();
        }
        let mut keys = self.hopeful(plan, seen, |step| step == Step::Remove, |row| row.removing());
        keys.retain(|key| permission.allows(key));
        keys
    }

    /// How long removals still wait after an edit, if there are any: what moves from the Share into an object of its
    /// own comes a moment later in the same apply.
    pub(super) fn held_back(&self, plan: &Plan) -> Option<Duration> {
        let now = self.pass.now();
        let since_edit = self.pass.notes(|notes| now.since(notes.edited_at));
        let waiting = !plan.of(|step| step == Step::Remove).is_empty();
        (waiting && since_edit < HANDOVER).then(|| HANDOVER - since_edit)
    }

    /// What would be lost and waits for a person.
    fn held(&self, seen: &Seen) -> Option<Losing> {
        let confirmed = losses::holds(&self.pass.object, &self.pass.status);
        Some(self.losing(seen)).filter(|losing| !confirmed && losing.exceeds())
    }

    /// What to tell where rows wait for a person.
    pub(super) fn blocked_removals(&self, seen: &Seen) -> Option<Verdict> {
        self.held(seen)?.blocked(&self.pass.object)
    }

    /// How many rows wait for a person.
    pub(super) fn count_held(&self, seen: &Seen) -> usize {
        let Some(held) = self.held(seen) else { return 0 };
        held.rows.keys().filter(|key| held.exceed(losses::counted(key))).count()
    }

    /// Accounts that are not excluded before a person confirms it.
    pub(super) fn held_exclusions(&self, seen: &Seen) -> HashSet<RowKey> {
        let held = self.held(seen).filter(|losing| losing.exceed(Counted::Accounts));
        let rows = held.into_iter().flat_map(|losing| losing.rows.into_keys());
        rows.filter(|key| matches!(key, RowKey::Excluded(_))).collect()
    }

    /// Removes a batch; what counts is recorded before.
    pub(super) async fn remove(
        &mut self,
        seen: &Seen,
        mut keys: Vec<RowKey>,
        permission: &Permission,
    ) -> Result<(), Stop> {
        if let Permission::Within(losing) = permission {
            keys.truncate(BATCH);
            self.record_losses(keys.iter().filter(|key| losing.rows.contains_key(*key))).await?;
        }
        for key in &keys {
            match self.row(seen, key).remove("declare another one, or delete the Share").await {
                Ok(true) => self.note_removal(key),
                Ok(false) => {}
                Err(stop) => {
                    // What was removed so far is recorded, whatever stops the rest.
                    self.pass.save().await?;
                    return Err(stop);
                }
            }
        }
        Ok(())
    }

    /// Records what is about to be lost, so that it counts whatever happens to the calls or to this process.
    async fn record_losses(&mut self, keys: impl Iterator<Item = &RowKey>) -> Result<(), Stop> {
        let now = self.pass.now();
        if losses::record(&mut self.pass.status, keys, now) { self.pass.save().await } else { Ok(()) }
    }

    /// It goes because of us: where it is declared again, its absence is no drift. The announcement of a call that may
    /// still take effect stands.
    fn note_removal(&mut self, key: &RowKey) {
        let answered = self.pass.notes(|notes| notes.answered.contains_key(key));
        let mut entries = inventory::entries(&self.pass.status.inventory);
        entries.entry(key.clone()).and_modify(|entry| {
            if entry.intended_at.is_none() || answered {
                let name = entry.name.take();
                *entry = Entry::intended(inventory::settled_long_ago()).named(name);
            }
        });
        self.pass.status.inventory = inventory::inventory(&entries);
    }
}
