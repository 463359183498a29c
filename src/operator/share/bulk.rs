//! Many recipients at once: where `prune` lets nobody else's recipient stay, one call may replace the whole list.
//!
//! A call that got no answer may take effect later, and would then undo what was added or removed since. So it is
//! announced in the status, and until it is answered or cannot take effect any more, no recipient is changed otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use super::losses::{self, Losing};
use super::plan::Plan;
use super::removals::note_removal;
use super::share_pass::SharePass;
use crate::api::status::ShareStatus;
use crate::cloudflare::{Error, Recipient};
use crate::core::id::AccountId;
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::delays::FRESH;
use crate::operator::pass::memory::{Announcement, Memory};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::remote::writer::Change;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::inventory::Entries;
use crate::operator::settings::Settings;
use crate::operator::stop::Stop;

/// Fewer changes are made one by one, which touches no other row.
const MIN_CHANGES: usize = 20;
/// So many changes are made by one call.
const MAX_CHANGES: usize = 1000;
/// After so many calls in a row without a known outcome, each change is a call of its own.
const MAX_UNANSWERED: u32 = 2;
/// The key of the list in the memory of writes.
const WRITE_KEY: &str = "all recipients";

/// How long a call that was announced may still replace the recipients; `serving_since`: when this process took over the
/// account.
pub fn pending(status: &ShareStatus, settings: &Settings, now: At, serving_since: At) -> Option<Duration> {
    let over = clock::recorded(status.replacing_since.as_ref()?, now, serving_since).plus(settings.settled_after());
    (now < over).then(|| over.since(now))
}

/// The same for the share that a pass is about.
pub fn pending_for(share: &SharePass) -> Option<Duration> {
    let pass = &share.pass;
    let unsent = pass.memory(|memory| memory.unsent_list).filter(|at| *at >= pass.serving_since());
    if unsent.is_some() && unsent.map(clock::time) == pass.status.replacing_since {
        return None;
    }
    pending(&pass.status, &pass.context.settings, pass.now(), pass.serving_since())
}

/// Ends an announcement that has settled; else sets aside what the call, which may still come, would undo.
pub fn settle_or_set_aside(share: &mut SharePass, adds: &mut Vec<RowKey>, removals: &mut Vec<RowKey>) {
    if pending_for(share).is_none() {
        share.pass.status.replacing_since = None;
        return;
    }
    adds.retain(|key| !key.is_recipient());
    removals.retain(|key| !key.is_recipient());
}

/// Whether so much is to be changed that the list is replaced.
pub fn is_worth_it(share: &SharePass, adds: &[RowKey], removals: &[RowKey]) -> bool {
    let recipients = adds.iter().chain(removals).filter(|key| key.is_recipient());
    let refused = share.pass.memory(|memory| memory.tries.refused.contains_key(WRITE_KEY));
    share.desired.prune && share.desired.organization.is_none() && !refused && recipients.count() >= MIN_CHANGES
}

/// Takes note of a call that has no known outcome.
fn note_unanswered(memory: &mut Memory, error: &Error, now: At) {
    let message = format!("the outcome of the request to replace the recipients is unknown: {error}");
    let times = memory.tries.unanswered_lists.as_ref().map_or(0, |(times, _)| *times) + 1;
    if times >= MAX_UNANSWERED {
        memory.refuse(WRITE_KEY, message.clone(), now);
    }
    memory.tries.unanswered_lists = Some((times, message));
}

/// What became of the last call, as long as it may still take effect.
pub fn unanswered(share: &SharePass) -> Option<String> {
    pending_for(share)?;
    share.pass.memory(|memory| memory.tries.unanswered_lists.clone()).map(|(_, message)| message)
}

/// Replaces the list by one that differs from the one that was just read in nothing but these changes.
pub async fn replace(
    share: &mut SharePass,
    seen: &ObservedShare,
    plan: &Plan,
    mut adds: Vec<RowKey>,
    mut removals: Vec<RowKey>,
    losing: &Losing,
) -> Result<(), Stop> {
    adds.retain(RowKey::is_recipient);
    removals.retain(RowKey::is_recipient);
    // The next list is another one.
    if !std::mem::take(&mut share.listed)
        && let Some(key) = adds.iter().chain(&removals).next()
        && seen.is_outdated(key, share.pass.now().minus(FRESH))
    {
        share.listed = true;
        return share.row(seen, key).read().await;
    }
    adds.truncate(MAX_CHANGES);
    removals.truncate(MAX_CHANGES - adds.len());
    let _permit = share.session.write_permit(1)?;
    let now = share.pass.now();
    let before = share.pass.status.inventory.clone();
    let recipients = list(share, seen, plan, &adds, &removals);
    announce(share, &adds, &removals, losing, now).await?;
    let removed = rows(seen, &removals);
    let answer = match share.pass.confirm().await {
        Ok(current) => share.session.replace_recipients(&seen.share.id, &recipients, &removed, now, &current).await,
        Err(stop) => {
            // Nothing is sent, whether or not that can be recorded.
            share.pass.memory(|memory| memory.note_unsent(&Announcement::List(&adds), Some(now)));
            Err(stop)
        }
    };
    let outcome = match answer {
        Ok(Change::Done(())) => {
            note_done(share, seen, &adds, &removals, now);
            return Ok(());
        }
        Ok(Change::Unsure(error)) => {
            share.pass.memory(|memory| note_unanswered(memory, &error, now));
            return Err(Stop::Cloudflare(error));
        }
        // One of them may be why: each is tried for itself.
        Ok(Change::Not(error)) if error.class().refuses() => {
            let message = format!("Cloudflare refuses to replace the recipients: {error}");
            share.pass.memory(|memory| memory.refuse(WRITE_KEY, message, now));
            Ok(())
        }
        Ok(Change::Not(error)) => Err(Stop::Cloudflare(error)),
        Err(stop) => Err(stop),
    };
    share.pass.status.inventory = before;
    share.pass.status.replacing_since = None;
    share.pass.save().await?;
    outcome
}

/// Records what is about to be added and lost, and that the list is about to be replaced.
async fn announce(
    share: &mut SharePass,
    adds: &[RowKey],
    removals: &[RowKey],
    losing: &Losing,
    now: At,
) -> Result<(), Stop> {
    let entries = share.entries();
    // The list names what was announced before, too: its call may take effect as late as this one.
    let announced = entries.iter().filter(|(key, entry)| key.is_recipient() && entry.intended_at.is_some());
    let announced: Vec<RowKey> = announced.map(|(key, _)| key.clone()).collect();
    let inline = |key: &&RowKey| share.desired.inline.contains_key(*key);
    let keys: Vec<RowKey> = adds.iter().chain(&announced).filter(inline).cloned().collect();
    share.intend(&keys, now);
    let counted = adds.iter().chain(removals).filter(|key| losing.is_unconfirmed(key));
    let serving_since = share.pass.serving_since();
    losses::record(&mut share.pass.status, counted, now, serving_since);
    share.pass.status.replacing_since = Some(clock::time(now));
    // What was announced before may have been sent.
    share.pass.announce(&Announcement::List(adds), now).await
}

fn note_done(share: &mut SharePass, seen: &ObservedShare, adds: &[RowKey], removals: &[RowKey], now: At) {
    for key in adds {
        share.row(seen, key).note_added(now);
    }
    for key in removals {
        let write = share.row(seen, key).removing();
        share.pass.memory(|memory| memory.wrote(&write, now));
        note_removal(share, key);
    }
    share.pass.status.replacing_since = None;
    share.pass.memory(|memory| memory.tries.unanswered_lists = None);
}

/// Whom the list names: those that receive the share, and those that were announced and may not be shown yet.
fn list(share: &SharePass, seen: &ObservedShare, plan: &Plan, adds: &[RowKey], removals: &[RowKey]) -> Vec<AccountId> {
    let entries: Entries = share.entries();
    let goes = |key: &RowKey, row: &RowPlan| row.step == Step::Remove && share.is_being_removed(seen, key);
    let live = plan.rows.iter().filter(|(key, row)| row.is_live() && !goes(key, row)).map(|(key, _)| key);
    let own = share.desired.inline.keys().filter(|key| entries.contains_key(*key));
    let theirs = share.desired.siblings.iter().filter(|s| s.entry.is_some() && !s.child.is_deleting()).map(|s| &s.row);
    let mut keys: BTreeSet<&RowKey> = live.chain(own).chain(theirs).chain(adds).collect();
    removals.iter().for_each(|key| {
        keys.remove(key);
    });
    keys.into_iter().filter_map(RowKey::recipient).cloned().collect()
}

fn rows(seen: &ObservedShare, removals: &[RowKey]) -> Vec<Recipient> {
    removals.iter().filter_map(|key| seen.recipient(key.recipient()?).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_two_calls_in_a_row_without_a_known_outcome_the_list_is_replaced_no_more() {
        let mut memory = Memory::default();
        let lost = |cause: &str| Error::Lost { cause: cause.into() };
        note_unanswered(&mut memory, &lost("one"), At(1));
        assert!(!memory.tries.refused.contains_key(WRITE_KEY));
        note_unanswered(&mut memory, &lost("two"), At(2));
        assert!(memory.tries.refused[WRITE_KEY].message.contains("two"));
    }
}
