//! How rows of a share are removed: when, which of them, and recorded before their calls.

use std::time::Duration;

use super::desired::Desired;
use super::losses::Losing;
use super::plan::Plan;
use super::share_pass::SharePass;
use super::{losses, plan};
use crate::api::{CONFIRM_REMOVALS, Reason};
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::time::At;
use crate::operator::conditions;
use crate::operator::remote::observed_rows::resource_key;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::row::is_live;
use crate::operator::stop::Stop;

/// How long an entry that was taken away may take to come back as an object of its own.
const HANDOVER_TIME: Duration = Duration::from_secs(1);
/// Removals that are recorded at once.
const BATCH: usize = 8;

/// What would be lost now.
pub fn losing(share: &SharePass, seen: &ObservedShare) -> Losing {
    let pass = &share.pass;
    let (settings, now) = (&pass.context.settings, pass.now());
    losses::losing(&pass.object, &share.desired, &pass.status, seen, settings, now, pass.serving_since())
}

/// What would be lost now. A person's confirmation is recorded before it counts, and closed once nothing is left of it.
pub async fn settle_confirmation(share: &mut SharePass, seen: &ObservedShare) -> Result<Losing, Stop> {
    let mut losing = losing(share, seen);
    losing.record_totals(&share.pass.object, &mut share.pass.status);
    if losing.is_nothing() {
        losses::close_confirmation(&mut share.pass.status);
        return Ok(losing);
    }
    let asked = share.pass.asked(CONFIRM_REMOVALS);
    if losing.accept(&share.pass.object, &mut share.pass.status, asked.as_deref()) {
        let rows = share.pass.status.confirmed_removals.as_ref().map_or(0, |confirmed| confirmed.rows.len());
        tracing::info!(share = %share.pass.key.name, rows, "the removal was confirmed");
        share.pass.save().await?;
    }
    Ok(losing)
}

/// Removals that are allowed, and were not refused a moment ago.
pub fn due_removals(share: &SharePass, plan: &Plan, seen: &ObservedShare, losing: &Losing) -> Vec<RowKey> {
    if deferred_for(share, plan).is_some() {
        return Vec::new();
    }
    let mut keys = plan::not_backing_off(share, plan, seen, |step| step == Step::Remove, |row| row.removing());
    keys.retain(|key| losing.allows(key) && !share.is_being_removed(seen, key));
    if let Some(last) = kept_last(&share.desired, seen, &keys) {
        keys.retain(|key| *key != last);
    }
    keys
}

/// The resource that stays for now, of those that are to be removed: without it the share would have none, and one that it is
/// to have is not there.
pub fn kept_last(desired: &Desired, seen: &ObservedShare, removed: &[RowKey]) -> Option<RowKey> {
    // One that is there under another account can only be added once that row has gone.
    let is_missing = |key: &RowKey| !is_live(seen, key) && seen.under_another_account(key).is_none();
    let is_awaited = desired.all.keys().any(|key| key.is_resource() && is_missing(key));
    let mut live = seen.resources.iter().flatten().map(resource_key).filter(|key| is_live(seen, key));
    let is_emptied = live.all(|key| removed.contains(&key));
    removed.iter().find(|key| key.is_resource()).filter(|_| is_awaited && is_emptied).cloned()
}

/// How long removals still wait after an edit, if there are any: what moves from the Share into an object of its
/// own comes a moment later in the same apply.
pub fn deferred_for(share: &SharePass, plan: &Plan) -> Option<Duration> {
    let now = share.pass.now();
    let since_edit = share.pass.memory(|memory| now.since(memory.edited_at));
    let waiting = !plan.of(|step| step == Step::Remove).is_empty();
    (waiting && since_edit < HANDOVER_TIME).then(|| HANDOVER_TIME - since_edit)
}

/// The same, unless the wait changes nothing: it has been said of this very edit that all of them wait for a person.
pub fn wait_after_edit(share: &SharePass, plan: &Plan, losing: &Losing) -> Option<Duration> {
    let (common, generation) = (share.pass.common(), share.pass.generation());
    let told = common.observed_generation == generation && conditions::says(&common.conditions, Reason::RemovalBlocked);
    let waits = |key: &RowKey| told && !losing.allows(key);
    deferred_for(share, plan).filter(|_| !plan.of(|step| step == Step::Remove).iter().all(waits))
}

/// The rows that are to be removed, as far as the plan tells, and need not wait for what may come with the edit.
pub fn planned(share: &SharePass, plan: &Plan) -> Vec<RowKey> {
    if deferred_for(share, plan).is_some() { Vec::new() } else { plan.of(|step| step == Step::Remove) }
}

/// From when on an object must be there that takes over what the last edit took away.
pub fn handed_over_at(share: &SharePass) -> At {
    share.pass.memory(|memory| memory.edited_at).plus(HANDOVER_TIME)
}

/// Removes a batch; what counts is recorded before.
pub async fn remove(
    share: &mut SharePass,
    seen: &ObservedShare,
    mut keys: Vec<RowKey>,
    losing: &Losing,
) -> Result<(), Stop> {
    keys.truncate(BATCH);
    let (now, serving_since) = (share.pass.now(), share.pass.serving_since());
    let counted = keys.iter().filter(|key| losing.is_unconfirmed(key));
    if losses::record(&mut share.pass.status, counted, now, serving_since) {
        // So that it counts whatever happens to the calls or to this process.
        share.pass.save().await?;
    }
    for key in &keys {
        let removed = share.row(seen, key).remove("declare another resource, or delete the Share").await;
        match share.set_aside(key.to_string(), removed) {
            Ok(Some(true)) => note_removal(share, key),
            Ok(Some(false) | None) => {}
            Err(stop) => {
                // What was removed so far is recorded, whatever stops the rest.
                share.pass.save().await?;
                return Err(stop);
            }
        }
    }
    Ok(())
}

/// It goes because of us: where it is declared again, its absence is no drift. The announcement of a call that may
/// still take effect stands.
pub fn note_removal(share: &mut SharePass, key: &RowKey) {
    let answered = share.pass.memory(|memory| memory.row(key).answered.is_some());
    let mut entries = share.entries();
    entries.entry(key.clone()).and_modify(|entry| {
        if entry.intended_at.is_none() || answered {
            let label = entry.label.take();
            *entry = Entry::settled_long_ago().labelled(label);
        }
    });
    share.record(&entries);
}
