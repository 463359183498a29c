//! What one round does to the rows of a share: record what needs no call, then make the most urgent kind of change. Rounds
//! follow each other until nothing is left to do.

use std::collections::HashSet;
use std::time::Duration;

use super::losses::Losing;
use super::plan::Plan;
use super::share_pass::SharePass;
use super::{bulk, exclusions, losses, name, outside, plan, removals};
use crate::api::{Reason, secret_of};
use crate::cloudflare::{Error, ErrorClass};
use crate::core::id::ShareId;
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::share_step::Mode;
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::conditions;
use crate::operator::pass::memory::Announcement;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::inventory::{self, Entries, Entry};
use crate::operator::rows::known::{self, Known};
use crate::operator::rows::row::awaits_exclusions;
use crate::operator::rows::waiver;
use crate::operator::stop::Stop;

/// Rows that are announced at once.
const BATCH: usize = 8;
/// So many of them may be denied before the credential is suspected instead.
const MAX_DENIED: usize = 3;

/// What a round of work came to.
pub enum Round {
    Again,
    Done,
    /// Removals wait for a moment.
    Wait(Duration),
}

/// What a round is to change, as far as that is allowed and not refused a moment ago.
struct Changes {
    adds: Vec<RowKey>,
    updates: Vec<RowKey>,
    removals: Vec<RowKey>,
}

impl Changes {
    fn of(share: &SharePass, seen: &ObservedShare, plan: &Plan, losing: &Losing) -> Changes {
        let is_add = |step| matches!(step, Step::Add | Step::Restore);
        let mut adds = plan::not_backing_off(share, plan, seen, is_add, |row| row.adding());
        // Until all exclusions are seen in force: one of unknown outcome, or that was refused, is none.
        if awaits_exclusions(&share.pass.object, seen) {
            adds.retain(|key| !key.is_resource());
        }
        // Where the row of the other account is one that is removed below, the next round adds this one.
        adds.retain(|key| losing.allows(key) && seen.under_another_account(key).is_none());
        let mut updates = plan::not_backing_off(share, plan, seen, |step| step == Step::Update, |row| row.updating());
        updates.retain(|key| !share.pass.awaits_effect(&share.row(seen, key).updating()));
        let mut removals = removals::due_removals(share, plan, seen, losing);
        for keys in [&mut updates, &mut removals] {
            keys.retain(|key| !share.has_failed(&key.to_string()));
        }
        Changes { adds, updates, removals }
    }

    fn len(&self) -> usize {
        self.adds.len() + self.updates.len() + self.removals.len()
    }
}

/// One round: records what needs no call, or makes the most urgent kind of change; the caller repeats it.
///
/// What is recorded or read calls for another plan, so nothing is changed in such a round. A confirmation is recorded before
/// it allows a removal, rows that are about to change are read if that was long ago, and what drifted is shown before it is
/// corrected. Additions come before removals, so that the only resource of a share can be replaced.
pub async fn apply(share: &mut SharePass, seen: &ObservedShare, plan: &Plan) -> Result<Round, Stop> {
    if share.mode != Mode::Manage {
        return Ok(if read_to_compare(share, seen, plan).await? { Round::Again } else { Round::Done });
    }
    forget_settled(share, seen, plan);
    exclusions::note_exclusions(share, seen, plan);
    // Before `record`, so that a row which is only taken over like this does not count as a change that must be written.
    inherit_last(share);
    if record(share, seen, plan) || read(share, seen, plan).await? {
        return Ok(Round::Again);
    }
    let losing = removals::settle_confirmation(share, seen).await?;
    let mut changes = Changes::of(share, seen, plan, &losing);
    bulk::settle_or_set_aside(share, &mut changes.adds, &mut changes.removals);
    // Nothing is removed on the word of the watch alone.
    if !changes.removals.is_empty() && outside::look_before_removal(share, &changes.removals).await {
        return Ok(Round::Again);
    }
    if share.unlisted.is_some() {
        changes.removals.clear();
    }
    if changes.len() == 0 {
        return Ok(removals::wait_after_edit(share, plan, &losing).map_or(Round::Done, Round::Wait));
    }
    for key in changes.adds.iter().chain(&changes.updates).chain(&changes.removals) {
        if share.row(seen, key).read_if_old().await? {
            return Ok(Round::Again);
        }
    }
    share.pass.show_drift(plan::drift(share, plan, seen)).await?;
    draft_progress(share, changes.len());
    if bulk::is_worth_it(share, &changes.adds, &changes.removals) {
        bulk::replace(share, seen, plan, changes.adds, changes.removals, &losing).await?;
    } else if !changes.adds.is_empty() {
        let alone = changes.updates.is_empty() && changes.removals.is_empty();
        add(share, seen, changes.adds, &losing, alone).await?;
    } else if let Some(key) = changes.updates.first() {
        let updated = share.row(seen, key).update().await;
        share.set_aside(key.to_string(), updated)?;
    } else {
        removals::remove(share, seen, changes.removals, &losing).await?;
    }
    Ok(Round::Again)
}

/// What takes long is not Ready meanwhile; the next write of the status says so.
fn draft_progress(share: &mut SharePass, changes: usize) {
    let readiness = conditions::readiness(&share.pass.common().conditions);
    let is_failing =
        readiness.is_some_and(|(status, reason)| status == "False" && reason != Reason::Progressing.as_str());
    if changes > BATCH && !is_failing {
        let message = format!("{changes} recipients and resources are still to be added, updated or removed");
        share.pass.draft(&Verdict::working(Reason::Progressing, message));
    }
}

/// Reads what must be known of rows that are only compared; whether there was anything. What a short list does not show is
/// not absent, nor a resource that only an answer with the share lacks.
async fn read_to_compare(share: &SharePass, seen: &ObservedShare, plan: &Plan) -> Result<bool, Stop> {
    let is_short = share.mode == Mode::Observe && seen.short_list().is_some();
    let is_unlisted = plan.rows.iter().any(|(key, row)| key.is_resource() && row.step == Step::Read);
    let may_read = share.session.account.breaker().is_none();
    Ok((is_short || is_unlisted && may_read) && read(share, seen, plan).await?)
}

/// Records what needs no call. Returns whether there was anything.
fn record(share: &mut SharePass, seen: &ObservedShare, plan: &Plan) -> bool {
    let mut entries = share.entries();
    let before = entries.clone();
    // The write that drops an entry may fail: only what the object does not have any more needs no answer.
    let written = share.pass.object.status.as_ref().map(|status| inventory::entries(&status.inventory));
    let written = written.unwrap_or_default();
    let is_known = |key: &RowKey| before.contains_key(key) || written.contains_key(key);
    share.pass.memory(|memory| {
        memory.note_rows(|key, row| row.answered = row.answered.filter(|_| is_known(key)));
    });
    // A label that was never recorded is no reason to write.
    let edited = share.pass.common().observed_generation != share.pass.generation();
    for (key, RowPlan { step, observed }) in &plan.rows {
        match step {
            Step::Confirm => {
                let meta = share.row(seen, key).confirm(*observed, &share.pass.status.common.drift);
                entries.insert(key.clone(), Entry { intended_at: None, meta, label: share.declared_label(key) });
            }
            Step::Forget => {
                entries.remove(key);
                share.pass.memory(|memory| memory.note_row(key, |row| row.lost_removal = None));
            }
            Step::Keep => {
                let Some((declared, entry)) = share.desired.inline.get(key).zip(entries.get_mut(key)) else { continue };
                if let Some(sent) = share.pass.memory(|memory| memory.note_row(key, |row| row.lost_removal.take())) {
                    // It is wanted again, and the call that removes it may still come: once it cannot, a look tells.
                    entry.intended_at = Some(clock::time(sent));
                    share.pass.memory(|memory| memory.learn(key, None));
                }
                if edited {
                    entry.label = declared.label.clone();
                }
                let hash = inventory::meta_hash(&declared.meta);
                if entry.meta != hash {
                    entry.meta = hash;
                    share.pass.memory(|memory| memory.write_stuck(&key.to_string()));
                }
            }
            Step::Read | Step::Add | Step::Restore | Step::Update | Step::Wait | Step::Remove | Step::Ignore => {}
        }
    }
    if entries == before {
        return false;
    }
    share.record(&entries);
    true
}

/// Reads rows that were never read; whether there were any.
async fn read(share: &SharePass, seen: &ObservedShare, plan: &Plan) -> Result<bool, Stop> {
    let unread = plan.of(|step| step == Step::Read);
    // Resources come last by key and first here: the same call shows how many recipients to expect.
    let Some(key) = unread.last() else { return Ok(false) };
    share.row(seen, key).read().await?;
    Ok(true)
}

/// What was written long ago and is as it should be is not disputed any more.
fn forget_settled(share: &SharePass, seen: &ObservedShare, plan: &Plan) {
    if share.pass.memory(|memory| memory.has_settled()) {
        return;
    }
    let disputed: HashSet<String> = plan
        .rows
        .iter()
        .filter_map(|(key, row)| match row.step {
            Step::Add | Step::Restore | Step::Update | Step::Confirm | Step::Wait => Some(key.to_string()),
            Step::Remove => Some(share.row(seen, key).removing().item),
            Step::Keep | Step::Read | Step::Forget | Step::Ignore => None,
        })
        .chain(name::is_misnamed(share, seen).then(|| "name".to_owned()))
        .collect();
    let now = share.pass.now();
    share.pass.memory(|memory| memory.forget_settled(now, |item| disputed.contains(item)));
}

/// A row that the Share lists now may be in the record of an object that listed it before, or still does: what that one
/// announced is known here before anything is done about the row.
pub async fn take_over(share: &mut SharePass) -> Result<(), Stop> {
    let Some(id) = share.pass.status.share_id.clone() else { return Ok(()) };
    let mut entries = share.entries();
    let before = entries.clone();
    let listed = |sibling: &&Sibling| share.desired.inline.contains_key(&sibling.row);
    for sibling in share.desired.siblings.iter().filter(listed) {
        let (row, own) = (&sibling.row, entries.get(&sibling.row));
        let theirs = known::recorded_in([sibling], &id);
        let Some(taken) = Known::of(&share.pass).to_take_over(own, row, theirs) else { continue };
        share.pass.memory(|memory| memory.learn(row, taken.answered));
        entries.insert(row.clone(), taken.entry.labelled(share.declared_label(row)));
    }
    if entries != before {
        share.record(&entries);
        share.pass.save().await?;
    }
    Ok(())
}

/// Takes over the row of a deleted child that could not be removed because it is the last resource.
fn inherit_last(share: &mut SharePass) {
    let mut entries = share.entries();
    let leaves_it = |s: &&Sibling| s.child.is_deleting() && s.child.is_last() && !s.outside;
    for sibling in share.desired.siblings.iter().filter(leaves_it) {
        entries.entry(sibling.row.clone()).or_default();
    }
    share.record(&entries);
}

/// Announces a batch, with the permit in hand, and sends it; `alone`: nothing else is to be changed.
async fn add(
    share: &mut SharePass,
    seen: &ObservedShare,
    mut keys: Vec<RowKey>,
    losing: &Losing,
    alone: bool,
) -> Result<(), Stop> {
    let before = share.entries();
    let exclusions: Vec<RowKey> = keys.iter().filter(|key| key.is_excluded()).cloned().collect();
    keys.truncate(BATCH);
    let permit = share.session.permit(keys.len());
    exclusions::draft_alarm(share);
    if permit.is_err() && share.pass.alarm.is_some() {
        // It may take a while until there is room for the calls.
        share.pass.save().await?;
    }
    let _permit = permit?;
    share.pass.context.remote.may_write(&share.session.account.id)?;
    let now = share.pass.now();
    share.intend(&keys, now);
    let (counted, serving_since) = (keys.iter().filter(|key| losing.is_unconfirmed(key)), share.pass.serving_since());
    losses::record(&mut share.pass.status, counted, now, serving_since);
    // An account that is excluded loses the share: the version in this write says that it is still to be excluded.
    share.pass.announce(&Announcement::Rows(&keys), now).await?;
    let Sent { void, unseen, suspects, may_add, trouble } = send(share, seen, keys, &exclusions, now).await;
    take_back(share, void, &before);
    let trouble = match trouble.or_else(|| rows_denied(share, suspects, may_add || !alone)) {
        None => read_unseen(share, seen, unseen).await.err(),
        trouble => trouble,
    };
    let Some(stop) = trouble else { return Ok(()) };
    share.pass.save().await?;
    Err(stop)
}

/// What the calls of a batch came to.
#[derive(Default)]
struct Sent {
    /// What is not sent, or was refused.
    void: Vec<RowKey>,
    /// What was added, by answers that do not show it.
    unseen: Vec<RowKey>,
    /// What Cloudflare does not allow, which may be a matter of these rows alone.
    suspects: Vec<(RowKey, Error)>,
    /// The credential may add rows.
    may_add: bool,
    /// Why the rest is not sent.
    trouble: Option<Stop>,
}

/// Sends what was announced, until something is in the way of all; `exclusions`: all accounts that are to be excluded.
async fn send(share: &SharePass, seen: &ObservedShare, keys: Vec<RowKey>, exclusions: &[RowKey], now: At) -> Sent {
    let (mut sent, mut may_exclude) = (Sent::default(), true);
    for key in keys {
        if sent.trouble.is_some() || !may_exclude && key.is_excluded() {
            sent.void.push(key);
            continue;
        }
        let added = share.row(seen, &key).add(now).await;
        if !added.stands {
            sent.void.push(key.clone());
        }
        if added.is_unseen {
            sent.unseen.push(key.clone());
        }
        match added.outcome {
            Err(Stop::Cloudflare(error)) if key.is_excluded() && error.class() == ErrorClass::Denied => {
                // That is reported for the accounts, one call was enough to learn it, and the rest of the share goes on.
                note_denied(share, exclusions, "exclude accounts", &error);
                may_exclude = false;
            }
            Err(Stop::Cloudflare(error)) if error.class() == ErrorClass::Denied && sent.suspects.len() < MAX_DENIED => {
                sent.suspects.push((key, error));
            }
            outcome => {
                sent.may_add |= added.stands && outcome.is_ok();
                sent.trouble = outcome.err();
            }
        }
    }
    sent
}

/// Reads rows that were added by calls whose answers did not show them: all of one kind at once.
async fn read_unseen(share: &SharePass, seen: &ObservedShare, mut unseen: Vec<RowKey>) -> Result<(), Stop> {
    unseen.dedup_by_key(|key| std::mem::discriminant(key));
    for key in &unseen {
        share.row(seen, key).read().await?;
    }
    Ok(())
}

/// What was announced and is not sent, or was refused: nothing can come of it. That an account was to be excluded from the
/// start stays on record, or it would count as a loss.
fn take_back(share: &mut SharePass, void: Vec<RowKey>, before: &Entries) {
    let mut entries = share.entries();
    for key in void {
        match before.get(&key).filter(|_| key.is_excluded()) {
            Some(entry) => entries.insert(key, entry.clone()),
            None => entries.remove(&key),
        };
    }
    share.record(&entries);
}

/// What Cloudflare does not allow to add while it allows to add others, now or when it was refused first, is a matter of these
/// rows: they are tried again by themselves, and keep nobody waiting. So it is while other calls are due, which tell whether
/// the credential is the trouble; else it is taken for that.
fn rows_denied(share: &SharePass, suspects: Vec<(RowKey, Error)>, of_rows: bool) -> Option<Stop> {
    let mut trouble = None;
    for (key, error) in suspects {
        if !of_rows && !share.pass.memory(|memory| memory.tries.refused.contains_key(&key.to_string())) {
            trouble = Some(Stop::Cloudflare(error));
            continue;
        }
        let what = format!("add {}", share.label(&key));
        note_denied(share, &[key], &what, &error);
    }
    trouble
}

/// The credential may not do that for these rows, though it may well do all else.
fn note_denied(share: &SharePass, keys: &[RowKey], what: &str, error: &Error) {
    let secret = secret_of(&share.pass.object);
    share.pass.context.remote.credentials.suspect(&secret);
    let (now, passing_time) = (share.pass.now(), share.pass.context.settings.passing_time());
    let message = format!("Cloudflare does not allow the credential in the Secret {} to {what}: {error}", secret.name);
    for key in keys {
        share.pass.memory(|memory| memory.deny(&key.to_string(), message.clone(), now, passing_time));
    }
}

/// A person asks for another try: recipients that failed for good are removed, and then added again. Those whose failure
/// a waiver accepts keep what they have. Returns how long that has to wait.
pub async fn retry_failed(share: &mut SharePass, id: &ShareId) -> Result<Option<Duration>, Stop> {
    let Some(seen) = share.seen(id) else { return Ok(None) };
    let now = share.pass.now();
    let inline = share.desired.inline.iter();
    let counts = inline.filter(|(_, declared)| waiver::in_force(declared.waiver.as_ref(), now).is_none());
    let failed: Vec<RowKey> =
        counts.map(|(key, _)| key).filter(|key| share.row(&seen, key).has_failed()).cloned().collect();
    if !failed.is_empty() {
        // A call that may still replace all recipients would undo it.
        let wait = bulk::pending_for(share);
        if wait.is_some() {
            return Ok(wait);
        }
        let mut entries = share.entries();
        for key in &failed {
            entries.insert(key.clone(), Entry::settled_long_ago().labelled(share.declared_label(key)));
        }
        share.record(&entries);
        share.pass.save().await?;
    }
    let mut has_retried = true;
    for key in &failed {
        let retried = share.row(&seen, key).retry().await;
        has_retried &= share.set_aside(key.to_string(), retried)?.is_some();
    }
    if has_retried {
        share.pass.has_retried();
    }
    Ok(None)
}
