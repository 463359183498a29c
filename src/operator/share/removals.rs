//! Which rows of a share may be removed now, how many recipients may go at once, and how they go.

use std::time::Duration;

use kube::ResourceExt;

use super::super::key::RowKey;
use super::super::{clock, waits};
use super::Work;
use super::plan::Plan;
use crate::api::share::MaxRemovals;
use crate::api::status::{RecentRemovals, ShareStatus};
use crate::api::{CONFIRM_REMOVALS, Reason, Share};
use crate::core::guard::{Limit, REMOVAL_WINDOW};
use crate::core::row::{Seen as RowSeen, Step};
use crate::core::time::At;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::access::Stop;
use crate::operator::remote::seen::Seen;
use crate::operator::rows::inventory;
use crate::operator::rows::inventory::Entry;

/// A line that goes may come back as an object of its own within so long.
const HANDOVER: Duration = Duration::from_secs(1);

/// How many recipients may be lost at once without a person's word.
pub fn removal_limit(share: &Share) -> Result<Limit, String> {
    match &share.spec.max_removals {
        None => Ok(Limit::DEFAULT),
        Some(MaxRemovals::Count(n)) => Ok(Limit::Count(usize::try_from(*n).unwrap_or(0))),
        Some(MaxRemovals::Percent(text)) => {
            Limit::parse(text).ok_or_else(|| "spec.maxRemovals: a number, or a percentage from 0% to 100%".to_owned())
        }
    }
}

/// Whether a person confirmed the removals that this generation of the Share brings.
fn is_confirmed(share: &Share) -> bool {
    let generation = share.metadata.generation.unwrap_or(0).to_string();
    share.annotations().get(CONFIRM_REMOVALS) == Some(&generation)
}

/// What to tell where `pending` of the `live` recipients would be lost, and with those that were lost lately that is
/// more than the manifest allows without a person's word.
pub fn removal_blocked(share: &Share, pending: usize, live: usize, lately: usize) -> Option<Verdict> {
    let allowed = removal_limit(share).ok()?.of(live + lately);
    if pending == 0 || pending + lately <= allowed || is_confirmed(share) {
        return None;
    }
    let message = format!(
        "{pending} of {live} recipients would be removed, and spec.maxRemovals allows {allowed}: if that is meant, \
         kubectl annotate shares.cfshare.dev {} -n {} {CONFIRM_REMOVALS}={} --overwrite",
        share.name_any(),
        share.namespace().unwrap_or_default(),
        share.metadata.generation.unwrap_or(0),
    );
    Some(Verdict::stalled(Reason::RemovalBlocked, message).again(waits::BLOCKED))
}

/// The removals on record that still count.
fn recent(status: &ShareStatus, now: At) -> Option<&RecentRemovals> {
    status.recent_removals.as_ref().filter(|recent| now.since(clock::from_time(&recent.since)) < REMOVAL_WINDOW)
}

/// How many recipients were removed lately, as far as the Share has that on record.
pub fn removed_lately(status: &ShareStatus, now: At) -> usize {
    recent(status, now).map_or(0, |recent| usize::try_from(recent.count).unwrap_or(0))
}

impl Work {
    /// Removals that are allowed: not refused a moment ago, and recipients only as far as `maxRemovals` goes.
    pub(super) fn due_removals(&self, plan: &Plan, seen: &Seen) -> Vec<RowKey> {
        if self.held_back(plan).is_some() {
            return Vec::new();
        }
        let mut keys = self.hopeful(plan, seen, |step| step == Step::Remove, |row| row.removing());
        if self.blocked_removals(plan).is_some() {
            keys.retain(|key| !matches!(key, RowKey::Recipient(_)));
        }
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

    /// What to tell where recipients wait to be removed for a person's word.
    pub(super) fn blocked_removals(&self, plan: &Plan) -> Option<Verdict> {
        let counted = self.pass.context.recent_removals(&self.pass.key.name);
        let lately = removed_lately(&self.pass.status, self.pass.now()).max(counted);
        let recipients = || plan.steps.iter().filter(|(key, _)| matches!(key, RowKey::Recipient(_)));
        let pending = recipients().filter(|(_, (step, _))| *step == Step::Remove).count();
        let live = recipients().filter(|(_, (_, seen))| matches!(seen, RowSeen::Live { .. })).count();
        removal_blocked(&self.pass.object, pending, live, lately)
    }

    pub(super) async fn remove(&mut self, seen: &Seen, keys: &[RowKey]) -> Result<(), Stop> {
        for key in keys {
            match self.row(seen, key).remove("declare another one, or delete the Share").await {
                Ok(true) => self.note_removal(key),
                Ok(false) => {}
                Err(stop) => {
                    // What was removed so far counts, whatever stops the rest.
                    self.pass.save().await?;
                    return Err(stop);
                }
            }
        }
        Ok(())
    }

    fn note_removal(&mut self, key: &RowKey) {
        // It goes because of us: where it is declared again, its absence is no drift.
        let mut entries = inventory::entries(&self.pass.status.inventory);
        entries.entry(key.clone()).and_modify(|entry| *entry = Entry::intended(inventory::settled_long_ago()));
        self.pass.status.inventory = inventory::inventory(&entries);
        if !matches!(key, RowKey::Recipient(_)) {
            return;
        }
        self.pass.context.count_removal(&self.pass.key.name);
        let now = self.pass.now();
        self.pass.status.recent_removals = Some(match recent(&self.pass.status, now) {
            Some(recent) => RecentRemovals { count: recent.count.saturating_add(1), ..recent.clone() },
            None => RecentRemovals { since: clock::time(now), count: 1 },
        });
    }
}
