//! What one round does to the rows of a share: record what is plain, then add, then change, then remove.

use std::collections::HashSet;

use super::super::clock;
use super::losses;
use super::plan::{Basis, Known, Plan};
use super::removals::Permission;
use super::tend::Round;
use super::work::Work;
use crate::api::Share;
use crate::api::status::DriftEntry;
use crate::cloudflare::ErrorClass;
use crate::core::create::Mode;
use crate::core::id::ShareId;
use crate::core::row::Step;
use crate::core::row_key::RowKey;
use crate::operator::pass::notes::Write;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::declare::By;
use crate::operator::rows::inventory;
use crate::operator::rows::inventory::{Entries, Entry};
use crate::operator::rows::row::Row;
use crate::operator::stop::Stop;

/// So many rows are announced at once.
const BATCH: usize = 8;

impl Work {
    pub(super) fn row<'a>(&'a self, seen: &'a Seen, key: &'a RowKey) -> Row<'a, Share> {
        let meta = self.wanted.all.get(key).map(|declaration| declaration.meta.clone()).unwrap_or_default();
        Row { pass: &self.pass, access: &self.access, seen, key, name: self.label(key), meta }
    }

    pub(super) fn is_ours(&self, key: &RowKey) -> bool {
        !matches!(self.wanted.all.get(key).map(|declaration| &declaration.by), Some(By::Child(_)) | None)
    }

    pub(super) fn plan(&self, seen: &Seen) -> Plan {
        let entries = inventory::entries(&self.pass.status.inventory);
        let basis = Basis {
            wanted: &self.wanted,
            share_id: self.pass.status.share_id.as_deref(),
            entries: &entries,
            settings: &self.pass.context.settings,
            observing: self.mode == Mode::Observe,
            known: (self.mode != Mode::Observe).then(|| {
                self.pass.notes(|notes| Known {
                    started: self.pass.context.started,
                    confirmed: notes.confirmed.clone(),
                    answered: notes.answered.clone(),
                })
            }),
        };
        basis.plan(seen)
    }

    /// One round: record what is plain, then add, then change, then remove.
    pub(super) async fn act(&mut self, seen: &Seen, plan: &Plan) -> Result<Round, Stop> {
        if self.mode != Mode::Manage {
            return Ok(Round::Done);
        }
        self.forget_settled(seen, plan);
        self.note_exclusions(seen, plan);
        self.inherit_last();
        let mut entries = inventory::entries(&self.pass.status.inventory);
        let before = entries.clone();
        // A label that was never recorded is no reason to write.
        let edited = self.pass.common().observed_generation != self.pass.generation();
        for (key, (step, row)) in &plan.steps {
            match step {
                Step::Confirm => {
                    let meta = self.row(seen, key).confirm(*row, &self.pass.status.common.drift);
                    entries.insert(key.clone(), Entry { intended_at: None, meta, name: self.name_of(key) });
                }
                Step::Forget => {
                    entries.remove(key);
                }
                Step::Keep => {
                    if let (Some(entry), true) = (entries.get_mut(key), self.wanted.inline.contains_key(key)) {
                        if edited {
                            entry.name = self.name_of(key);
                        }
                        let hash = self.meta_hash(key);
                        if entry.meta != hash {
                            entry.meta = hash;
                            self.pass.notes(|notes| notes.stayed(&key.to_string()));
                        }
                    }
                }
                Step::Read | Step::Add | Step::Restore | Step::Update | Step::Wait | Step::Remove | Step::Ignore => {}
            }
        }
        if entries != before {
            self.pass.status.inventory = inventory::inventory(&entries);
            return Ok(Round::Again);
        }
        // Resources come last by key and first here: the same call shows how many recipients to expect.
        if let Some(key) = plan.of(|step| step == Step::Read).last() {
            self.row(seen, key).read().await?;
            return Ok(Round::Again);
        }
        let permission = self.permission(seen).await?;
        let mut adds = self.hopeful(plan, seen, |step| matches!(step, Step::Add | Step::Restore), |row| row.adding());
        // Whoever is left out of a share that has nothing yet is so before it has.
        if seen.live_resources() == 0 && adds.iter().any(|key| matches!(key, RowKey::Excluded(_))) {
            adds.retain(|key| matches!(key, RowKey::Excluded(_)));
        }
        adds.retain(|key| permission.allows(key));
        let updates = self.hopeful(plan, seen, |step| step == Step::Update, |row| row.updating());
        let removals = self.due_removals(plan, seen, &permission);
        if adds.is_empty() && updates.is_empty() && removals.is_empty() {
            return Ok(self.held_back(plan).map_or(Round::Done, Round::Hold));
        }
        for key in adds.iter().chain(&removals) {
            if self.row(seen, key).read_if_old().await? {
                return Ok(Round::Again);
            }
        }
        let drift = plan.steps.iter().filter_map(|(key, (step, _))| self.drift_of(key, *step, seen)).collect();
        self.pass.show_drift(drift).await?;
        if !adds.is_empty() {
            self.add(seen, adds, entries, &permission).await?;
        } else if let Some(key) = updates.first() {
            self.row(seen, key).update().await?;
        } else {
            self.remove(seen, removals, &permission).await?;
        }
        Ok(Round::Again)
    }

    /// What was written long ago and is as it should be is no quarrel any more.
    fn forget_settled(&self, seen: &Seen, plan: &Plan) {
        if self.pass.notes(|notes| notes.written.is_empty()) {
            return;
        }
        let quarrels: HashSet<String> = plan
            .steps
            .iter()
            .filter_map(|(key, (step, _))| match step {
                Step::Add | Step::Restore | Step::Update | Step::Confirm | Step::Wait => Some(key.to_string()),
                Step::Remove => Some(self.row(seen, key).removing().item),
                Step::Keep | Step::Read | Step::Forget | Step::Ignore => None,
            })
            .chain(self.is_misnamed(seen).then(|| "name".to_owned()))
            .collect();
        let now = self.pass.now();
        self.pass.notes(|notes| notes.forget_settled(now, |item| quarrels.contains(item)));
    }

    /// A child's removal that was refused as the last resource is ours to finish: the child goes.
    fn inherit_last(&mut self) {
        let mut entries = inventory::entries(&self.pass.status.inventory);
        for sibling in self.wanted.siblings.iter().filter(|s| s.doomed && s.is_last && !s.outside) {
            entries.entry(sibling.row.clone()).or_default();
        }
        self.pass.status.inventory = inventory::inventory(&entries);
    }

    /// The rows that call for such a step, but for those of which it was refused a moment ago or is pointless.
    pub(super) fn hopeful(
        &self,
        plan: &Plan,
        seen: &Seen,
        wanted: fn(Step) -> bool,
        write: fn(&Row<'_, Share>) -> Write,
    ) -> Vec<RowKey> {
        let mut keys = plan.of(wanted);
        keys.retain(|key| self.pass.hindrance(&write(&self.row(seen, key))).is_none());
        keys
    }

    /// The label that the manifest gives a row.
    fn name_of(&self, key: &RowKey) -> Option<String> {
        self.wanted.inline.get(key).and_then(|declaration| declaration.label.clone())
    }

    fn meta_hash(&self, key: &RowKey) -> Option<String> {
        self.wanted.all.get(key).and_then(|declaration| inventory::meta_hash(&declaration.meta))
    }

    fn recorded_meta(&self, key: &RowKey) -> Option<String> {
        inventory::entries(&self.pass.status.inventory).remove(key).and_then(|entry| entry.meta)
    }

    /// What a step says about drift: only what was in place once and is different now has drifted.
    pub(super) fn drift_of(&self, key: &RowKey, step: Step, seen: &Seen) -> Option<DriftEntry> {
        // The manifest says something new: an edit.
        if step == Step::Update && self.mode == Mode::Manage && self.recorded_meta(key) != self.meta_hash(key) {
            return None;
        }
        self.row(seen, key).drift(step)
    }

    /// Announces a batch, with the permit in hand, then sends it.
    async fn add(
        &mut self,
        seen: &Seen,
        mut keys: Vec<RowKey>,
        mut entries: Entries,
        permission: &Permission,
    ) -> Result<(), Stop> {
        let exclusions: Vec<RowKey> = keys.iter().filter(|key| is_exclusion(key)).cloned().collect();
        keys.truncate(BATCH);
        let permit = self.access.permit(keys.len());
        self.draft_alarm();
        if permit.is_err() && self.pass.alarm.is_some() {
            // It may take a while until there is room for the calls.
            self.pass.save().await?;
        }
        let _permit = permit?;
        self.pass.context.remote.gate.may_write()?;
        let now = self.pass.now();
        let before = entries.clone();
        for key in &keys {
            entries.insert(key.clone(), Entry::intended(clock::time(now)).named(self.name_of(key)));
            self.pass.notes(|notes| notes.answered.remove(key));
        }
        if let Permission::Within(losing) = permission {
            losses::record(&mut self.pass.status, keys.iter().filter(|key| losing.rows.contains_key(*key)), now);
        }
        self.pass.status.bound_uid = self.pass.object.metadata.uid.clone();
        self.pass.status.inventory = inventory::inventory(&entries);
        self.pass.save().await?;
        // What was announced and is not sent, or was refused: nothing can come of it. That an account was to be excluded
        // from the start stays on record, or it would count as a loss.
        let take_back = |entries: &mut Entries, key: &RowKey| match before.get(key).filter(|_| is_exclusion(key)) {
            Some(entry) => drop(entries.insert(key.clone(), entry.clone())),
            None => drop(entries.remove(key)),
        };
        let (mut trouble, mut denied) = (None, false);
        for key in keys {
            if trouble.is_some() || denied && is_exclusion(&key) {
                take_back(&mut entries, &key);
                continue;
            }
            let added = self.row(seen, &key).add(now).await;
            if !added.stands {
                take_back(&mut entries, &key);
            }
            match added.outcome {
                Err(Stop::Cloudflare(error)) if is_exclusion(&key) && error.class() == ErrorClass::Denied => {
                    self.exclusion_denied(&exclusions, &error);
                    denied = true;
                }
                outcome => trouble = outcome.err(),
            }
        }
        self.pass.status.inventory = inventory::inventory(&entries);
        let Some(stop) = trouble else { return Ok(()) };
        self.pass.save().await?;
        Err(stop)
    }

    /// A person asks for another try: recipients that failed for good are removed, and then added again.
    pub(super) async fn retry_failed(&mut self, id: &ShareId) -> Result<(), Stop> {
        let Some(seen) = self.seen(id) else { return Ok(()) };
        let inline = self.wanted.inline.keys();
        let failed: Vec<RowKey> = inline.filter(|key| self.row(&seen, key).has_failed()).cloned().collect();
        if failed.is_empty() {
            return Ok(());
        }
        let mut entries = inventory::entries(&self.pass.status.inventory);
        for key in &failed {
            entries.insert(key.clone(), Entry::intended(inventory::settled_long_ago()).named(self.name_of(key)));
        }
        self.pass.status.inventory = inventory::inventory(&entries);
        self.pass.save().await?;
        for key in &failed {
            self.row(&seen, key).retry().await?;
        }
        Ok(())
    }
}

fn is_exclusion(key: &RowKey) -> bool {
    matches!(key, RowKey::Excluded(_))
}
