//! How a share is made, once, and how a create whose answer was lost comes to an end.

use std::time::Duration;

use super::announced::{CLOCK_SLACK, fingerprint, started_at};
use super::gathering::WHOLE_CREATE;
use super::share_pass::SharePass;
use super::{exclusions, opening, status};
use crate::api::status::{CreateIntent, Inventory};
use crate::api::{EventReason, Reason, Share, int32, uid_of};
use crate::cloudflare::{Error, ErrorClass, NewResource, NewShare, Share as RemoteShare, Target};
use crate::core::id::{self, ShareId};
use crate::core::row_key::RowKey;
use crate::core::share_step::{self, Mode};
use crate::core::time::At;
use crate::operator::cluster::events::Note;
use crate::operator::pass::memory::{Announcement, Conflict, Memory};
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::writer::Change;
use crate::operator::rows::inventory;
use crate::operator::rows::row_state::{first_of, with_more};
use crate::operator::stop::Stop;
use crate::operator::{clock, delays};

/// Where Cloudflare refuses a create without naming the recipient or resource, so many recipients are tried one by one. If it
/// refuses it with each of them, it is about something else, and the create is tried with one other recipient each time.
const MAX_ALONE: usize = 5;
/// So many shares of the wanted name are recorded as known before a create; the status has room for no more.
const MAX_KNOWN: usize = 100;

/// Announces, sends once, and binds. `None`: go on.
pub async fn create(share: &mut SharePass) -> Result<Option<Verdict>, Stop> {
    let rows = rows_to_send(share);
    let Some(new) = new_share(share, &rows) else {
        return Ok(Some(Verdict::working(
            Reason::WaitingForRecipients,
            "none of the declared recipients can be sent yet",
        )));
    };
    let index = &share.pass.context.cluster.index;
    let Some(_turn) = index.turns.take(&share.pass.object) else {
        let message = format!("another Share is creating a share named {}; waiting for it", new.name);
        return Ok(Some(Verdict::working(Reason::Progressing, message).requeue_after(delays::RECHECK)));
    };
    if !index.claims(&share.pass.object) {
        return Ok(None);
    }
    let permit = share.session.write_permit(1)?;
    // Not before the permit, which may be long in coming: an object with the finalizer and without a record has lost it.
    share.pass.add_finalizer().await?;
    let announced = announce(share, &new.name, &rows).await?;
    let answer = share.session.create_share(&new, announced).await;
    drop(permit);
    share.pass.memory(|memory| memory.looks_back.clear());
    match answer {
        Ok(Change::Done(made)) if made.name != new.name => {
            note_other_name(share, &made, announced).await?;
            Ok(None)
        }
        // Another request may have made the share that ours is to have: that one is looked for.
        Ok(Change::Done(made)) if existed_before(share, &made) => {
            tracing::warn!(share = %made.id, "the response to a create is about a share that existed before");
            share.session.account.cache().forget(&made.id);
            Ok(None)
        }
        Ok(Change::Done(made)) => {
            bind(share, &made.id, false).await?;
            share.pass.event(Note::normal(EventReason::Created), format!("created share {}", made.id));
            Ok(None)
        }
        Ok(Change::Unsure(error)) => {
            tracing::warn!(%error, "the outcome of a create request is unknown; looking for the share");
            Ok(None)
        }
        // The request may have come twice, and the answer be that to the second one.
        Ok(Change::Not(error)) if error.class() == ErrorClass::Conflict => {
            share.pass.memory(|memory| memory.create_conflict = Some(Conflict { error, announced, rows }));
            Ok(None)
        }
        Ok(Change::Not(error)) => {
            withdraw(share).await?;
            look_before_the_next(share);
            create_refused(share, error, &rows)
        }
        // It was not sent.
        Err(stop) => {
            withdraw(share).await?;
            Err(stop)
        }
    }
}

/// The answer shows another name: Cloudflare keeps names in another form, or it is the answer to another request. Only a read
/// can tell, so the id is noted down, unless that share was there before.
async fn note_other_name(share: &mut SharePass, made: &RemoteShare, announced: At) -> Result<(), Stop> {
    tracing::warn!(share = %made.id, "the response to a create request is about a share with another name; looking for the share");
    let seen_at = share.session.account.cache().seen(&made.id).map(|seen| seen.first_read_at);
    if existed_before(share, made) || seen_at.is_some_and(|seen_at| seen_at < announced) {
        return Ok(());
    }
    if let Some(intent) = &mut share.pass.status.intent {
        intent.response_share_id = Some(made.id.to_string());
    }
    match save_surely(share, false).await {
        // A CRD of an older version does not have the field: the share is found by its name alone.
        Err(stop) if stop.refusal().is_some() => Ok(()),
        saved => saved,
    }
}

/// Whether the answer to a create is about a share that this create cannot have made.
fn existed_before(share: &SharePass, made: &RemoteShare) -> bool {
    let Some(intent) = &share.pass.status.intent else { return false };
    let oldest = started_at(intent).minus(share_step::CLOCKS_DIFFER);
    let is_older = made.created.is_some_and(|created| At(created.as_millisecond()) < oldest);
    is_older
        || intent.known_shares.iter().any(|known| id::same(known, made.id.as_str()))
        || share.pass.context.cluster.index.is_spoken_for(&share.pass.object, made.id.as_str())
}

/// Whether the announced create was answered with a conflict.
pub fn met_conflict(share: &SharePass) -> bool {
    share.mode == Mode::Manage && share.pass.memory(|memory| memory.create_conflict.is_some())
}

/// Nothing was found yet of a create that was answered with a conflict. That nothing was made is believed as soon as an older
/// share of that name is known, or once a list must show what the create made. `None`: go on.
pub async fn resolve_conflict(share: &mut SharePass) -> Result<Option<Verdict>, Stop> {
    let conflict = share.pass.memory(|memory| memory.create_conflict.clone());
    let Some(Conflict { error, announced, rows }) = conflict else { return Ok(None) };
    let announced_name = share.pass.status.intent.as_ref().map(|intent| intent.name.clone()).unwrap_or_default();
    let named: Vec<RemoteShare> = {
        let cache = share.session.account.cache();
        cache.live().map(|seen| &seen.share).filter(|seen| seen.name == announced_name).cloned().collect()
    };
    let is_taken = named.iter().any(|named| existed_before(share, named));
    let lag_ends = announced.plus(share.session.read_lag()).plus(CLOCK_SLACK);
    if !is_taken && share.pass.memory(|memory| memory.looks_back.iter().all(|(_, look)| *look < lag_ends)) {
        let now = share.pass.now();
        let message = format!(
            "Cloudflare refused to create the share: {error}; looking whether an earlier copy of the request made it"
        );
        let wait = lag_ends.since(now).max(delays::RECHECK);
        return Ok(Some(Verdict::working(Reason::Creating, message).requeue_after(wait)));
    }
    withdraw(share).await?;
    look_before_the_next(share);
    create_refused(share, error, &rows)
}

/// A request that was refused may have been made all the same, or what refused it may be a share of that name: the newest
/// shares are looked at once more before the next request, in this pass too.
fn look_before_the_next(share: &SharePass) {
    let now = share.pass.now();
    share.pass.memory(|memory| memory.create_refused_at = Some(now));
    share.session.account.cache().looked = None;
}

/// The rows of this attempt. With exclusions the resources wait until those are in place, where Cloudflare
/// allows it; after a refusal that named nothing, recipients are tried one by one.
fn rows_to_send(share: &SharePass) -> Vec<RowKey> {
    let mut rows = share.snapshot(|snapshot| snapshot.payload());
    let excludes = rows.iter().any(|key| key.is_excluded());
    rows.retain(|key| !key.is_excluded());
    if excludes && !*share.session.account.empty_refused.lock() {
        rows.retain(|key| !key.is_resource());
    }
    if let Some(tried) = share.pass.memory(|memory| memory.tries.refused_alone.clone()) {
        let chosen = next_alone(&rows, &tried).cloned();
        rows.retain(|key| !key.is_recipient() || Some(key) == chosen.as_ref());
    }
    rows
}

/// The recipient to try alone: one with which the create was not refused yet, or the first once it was with all of them.
fn next_alone<'a>(rows: &'a [RowKey], tried: &[RowKey]) -> Option<&'a RowKey> {
    let recipients = || rows.iter().filter(|key| key.is_recipient());
    recipients().find(|key| !tried.contains(key)).or_else(|| recipients().next())
}

fn new_share(share: &SharePass, rows: &[RowKey]) -> Option<NewShare> {
    let mut new = NewShare { name: share.desired.name.clone()?, recipients: Vec::new(), resources: Vec::new() };
    if let Some(organization) = &share.desired.organization {
        new.recipients.push(Target::Organization(organization.clone()));
    }
    for key in rows {
        match key {
            RowKey::Recipient(account) => new.recipients.push(Target::Account(account.clone())),
            RowKey::Excluded(_) => {}
            RowKey::Resource { kind, id, account } => new.resources.push(NewResource {
                meta: share.desired.meta(key),
                account: account.clone(),
                id: id.clone(),
                kind: kind.clone(),
            }),
        }
    }
    // Nobody documents what an empty list of recipients means: it is never sent.
    (!new.recipients.is_empty()).then_some(new)
}

/// Writes down what is about to be sent. A stale cache or a second writer fails here, before anything is sent.
async fn announce(share: &mut SharePass, name: &str, rows: &[RowKey]) -> Result<At, Stop> {
    let now = share.pass.now();
    let lost = int32(share.pass.status.lost_attempts.len());
    let namesakes = share.session.account.cache().ids_named(name, MAX_KNOWN);
    share.pass.memory(|memory| memory.announced_at = Some(now));
    let intent = Box::new(CreateIntent {
        attempt: lost.saturating_add(1),
        started_at: clock::timestamp(share.session.account.remote_time(now)).to_string(),
        name: name.to_owned(),
        fingerprint: fingerprint(name, rows.iter()),
        known_shares: namesakes,
        response_share_id: None,
    });
    let status = &mut share.pass.status;
    status.bound_uid = uid_of(share.pass.object.as_ref());
    status.seen_with = Some(share.session.account.seen_with());
    status.intent = Some(intent.clone());
    let mut entries = share.entries();
    let entry = |key: &RowKey| inventory::Entry::intended(clock::time(now)).labelled(share.declared_label(key));
    entries.extend(rows.iter().map(|key| (key.clone(), entry(key))));
    share.record(&entries);
    share.pass.announce(&Announcement::Create(intent), now).await?;
    Ok(now)
}

/// The announcement stands in the status, and nothing was sent for it: it goes.
pub async fn withdraw_unsent(share: &mut SharePass) -> Result<(), Stop> {
    drop_announcement(share);
    share.pass.save().await?;
    share.pass.memory(|memory| memory.unsent_creates.clear());
    Ok(())
}

/// Nothing was made: the announcement goes.
async fn withdraw(share: &mut SharePass) -> Result<(), Stop> {
    drop_announcement(share);
    save_surely(share, true).await
}

fn drop_announcement(share: &mut SharePass) -> Option<Box<CreateIntent>> {
    share.pass.memory(|memory| memory.create_conflict = None);
    let status = &mut share.pass.status;
    (status.seen_with, status.inventory) = (None, Inventory::default());
    status.intent.take()
}

/// Records the share's id; tried until it is written, since the id must not be lost.
pub async fn bind(share: &mut SharePass, id: &ShareId, adopted: bool) -> Result<(), Stop> {
    let status = &mut share.pass.status;
    status.bound_uid = uid_of(share.pass.object.as_ref());
    status.share_id = Some(id.as_str().into());
    status.seen_with = Some(share.session.account.seen_with());
    status.intent = None;
    status.adopted = adopted;
    if adopted {
        // Its share stays by default.
        opening::show_policies(&mut share.pass, &share.desired);
        share.pass.add_finalizer().await?;
        share.pass.save().await?;
        share.pass.event(Note::normal(EventReason::Adopted), format!("adopted share {id}"));
    } else {
        // To exclude whom the manifest excluded from the start takes nothing away from anybody who is to have it.
        let mut entries = share.entries();
        for (key, declaration) in share.desired.excluded() {
            let entry = inventory::Entry::settled_long_ago();
            entries.entry(key.clone()).or_insert_with(|| entry.labelled(declaration.label.clone()));
        }
        share.record(&entries);
        exclusions::note_exclusions_to_come(share);
        save_surely(share, true).await?;
        exclusions::warn_of_exclusions_to_come(share);
    }
    // The one call that announced these rows has taken effect.
    let entries = share.entries();
    let now = share.pass.now();
    share.pass.memory(|memory| {
        entries.keys().for_each(|key| memory.note_row(key, |row| row.answered = Some(now)));
        memory.tries.refused_alone = None;
        memory.tries.empty_refused = false;
        memory.create_refused_at = None;
        memory.create_conflict = None;
        memory.due = None;
        memory.tries.polls = 0;
    });
    Ok(())
}

/// Saves the draft, past conflicts with other writers of the object, as long as the announcement stands
/// that it answers. Once that was resolved without us, what we know is older than what is recorded. `is_needed`: also while the
/// API server refuses it.
async fn save_surely(share: &mut SharePass, is_needed: bool) -> Result<(), Stop> {
    let announced = intent(&share.pass.object);
    let mut wait = Duration::from_millis(100);
    loop {
        let stop = match share.pass.save().await {
            Ok(()) => return Ok(()),
            // The announcement is recorded, by which the share is found; no retry makes the object smaller.
            Err(stop) if stop.is_too_large() || !is_needed && stop.refusal().is_some() => return Err(stop),
            Err(stop) => stop,
        };
        let context = share.pass.context.clone();
        match context.cluster.current::<Share>(&share.pass.key.name).await {
            Ok(Some(object))
                if object.metadata.uid == share.pass.object.metadata.uid && intent(&object) == announced =>
            {
                share.pass.object = object;
            }
            Ok(_) => return Err(stop),
            // It stands in the status, for everyone who can read that.
            Err(Stop::Kubernetes(kube::Error::SerdeError(_))) => return Err(stop),
            Err(_) => {}
        }
        share.pass.report_refusal(&stop);
        tracing::warn!(?stop, "the outcome of the create request is not recorded in the status yet; retrying");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// What a refusal of the whole create means for the next attempt.
fn create_refused(share: &SharePass, error: Error, rows: &[RowKey]) -> Result<Option<Verdict>, Stop> {
    let now = share.pass.now();
    // As the create lists them, recipients first.
    let sent: (Vec<RowKey>, Vec<RowKey>) = rows.iter().cloned().partition(RowKey::is_recipient);
    let blamed = blame(&error, &sent);
    // Also a permission may lack for one row alone.
    let is_of_one_row = error.class() == ErrorClass::Denied && blamed.is_some();
    if !error.class().refuses() && !is_of_one_row {
        return Err(Stop::Cloudflare(error));
    }
    if sent.1.is_empty() && error.class() == ErrorClass::Rejected {
        return Ok(empty_refused(share, &error));
    }
    if share.excludes() && error.class() == ErrorClass::Rejected {
        // Its resources were not what the requests without them were refused for.
        *share.session.account.empty_refused.lock() = false;
        share.pass.memory(|memory| memory.tries.empty_refused = false);
    }
    if let Some(key) = blamed {
        let message = format!("Cloudflare refuses {}: {error}", share.label(&key));
        share.pass.memory(|memory| memory.refuse(&key.to_string(), message, now));
        return Ok(None);
    }
    Ok(unnamed_refusal(share, &error, &sent))
}

/// What a refusal means that names no row. One with several recipients may be about one of them: then each is tried alone, which
/// is told first. `None`: go on.
fn unnamed_refusal(share: &SharePass, error: &Error, sent: &(Vec<RowKey>, Vec<RowKey>)) -> Option<Verdict> {
    let now = share.pass.now();
    let with = |rows: &mut dyn Iterator<Item = &RowKey>| {
        let named = first_of(rows.map(|key| share.label(key)), 4, ", ");
        if named.is_empty() { String::new() } else { format!(" with {named}") }
    };
    let message =
        format!("Cloudflare refuses to create this share{}: {error}", with(&mut sent.0.iter().chain(&sent.1)));
    let is_alone = share.pass.memory(|memory| memory.tries.refused_alone.is_some());
    let message = match sent.0.as_slice() {
        [_, _, ..] if error.class() == ErrorClass::Rejected => {
            share.pass.memory(|memory| memory.tries.refused_alone = Some(Vec::new()));
            let message = format!("{message}; trying one recipient at a time, in case it is about one of them");
            return Some(Verdict::working(Reason::Creating, message).requeue_after(delays::RECHECK));
        }
        [only] if is_alone && error.class() == ErrorClass::Rejected => {
            let others_left =
                share.snapshot(|snapshot| snapshot.payload()).iter().any(|key| key.is_recipient() && key != only);
            let blame = format!("Cloudflare refuses {}: {error}", share.label(only));
            if share.pass.memory(|memory| is_about_recipient(memory, only, blame, others_left, now)) {
                return None;
            }
            let resources = with(&mut sent.1.iter());
            format!("Cloudflare refuses to create this share{resources}, also with one recipient at a time: {error}")
        }
        _ => message,
    };
    share.pass.memory(|memory| memory.refuse(WHOLE_CREATE, message, now));
    None
}

/// Takes note that the create was refused with this recipient alone, too. Whether that is taken to be about the recipient: no
/// more once it was so with several, or with all, and those are not refused then.
fn is_about_recipient(memory: &mut Memory, only: &RowKey, message: String, others_left: bool, now: At) -> bool {
    let mut alone = memory.tries.refused_alone.take().unwrap_or_default();
    if alone.contains(only) {
        alone.clear();
    }
    alone.push(only.clone());
    let is_about_it = alone.len() < MAX_ALONE && others_left && !memory.tries.refused.contains_key(WHOLE_CREATE);
    if is_about_it {
        memory.refuse(&only.to_string(), message, now);
    } else {
        alone.iter().for_each(|key| drop(memory.tries.refused.remove(&key.to_string())));
    }
    memory.tries.refused_alone = Some(alone);
    is_about_it
}

/// What the refusal of a create without resources means: once it is refused again, in another pass, the next one carries
/// them. `None`: go on with that.
fn empty_refused(share: &SharePass, error: &Error) -> Option<Verdict> {
    if share.pass.memory(|memory| std::mem::replace(&mut memory.tries.empty_refused, true)) {
        *share.session.account.empty_refused.lock() = true;
        return None;
    }
    let message = format!("Cloudflare refuses to create this share without resources: {error}; trying once more");
    Some(Verdict::working(Reason::Creating, message).requeue_after(delays::RECHECK))
}

pub fn backing_off(share: &mut SharePass) -> Verdict {
    let now = share.pass.now();
    let until = share.snapshot(|snapshot| snapshot.backoff_until()).unwrap_or(now.plus(delays::HUMAN));
    let wait = until.since(now);
    let refusals = share.pass.memory(|memory| {
        let mut backed_off: Vec<String> =
            memory.tries.refused.values().filter(|r| r.until > now).map(|r| r.message.clone()).collect();
        backed_off.sort();
        backed_off
    });
    status::report_unmade(share);
    match refusals.first() {
        Some(first) => {
            let first = with_more(first, refusals.len());
            let message =
                format!("{first}. Fix the manifest or the account at Cloudflare; cfshare retries automatically");
            Verdict::stalled(Reason::Rejected, message).requeue_after(wait)
        }
        None => Verdict::stalled(
            Reason::Ambiguous,
            format!(
                "the outcome of three create requests within one hour is unknown; the next attempt is at {}",
                clock::time(until).0
            ),
        )
        .requeue_after(wait),
    }
}

/// The settle time has passed and nothing was found: the attempt is over.
pub async fn give_up(share: &mut SharePass) -> Result<(), Stop> {
    if let Some(intent) = drop_announcement(share) {
        let lost = &mut share.pass.status.lost_attempts;
        lost.push(clock::time(started_at(&intent)));
        lost.drain(..lost.len().saturating_sub(10));
    }
    share.pass.memory(|memory| memory.looks_back.clear());
    share.pass.save().await
}

/// The bound share is gone: a new one takes its place.
pub async fn forget(share: &mut SharePass) -> Result<(), Stop> {
    let Some(id) = share.pass.status.share_id.clone() else { return Ok(()) };
    share.pass.status.unbind();
    share.pass.save().await?;
    if let Ok(id) = ShareId::read(&id) {
        share.session.account.cache().forget(&id);
    }
    let message = format!("share {id} no longer exists at Cloudflare; recreating it");
    share.pass.event(Note::warning(EventReason::ShareGone), message);
    Ok(())
}

fn intent(share: &Share) -> Option<Box<CreateIntent>> {
    share.status.as_ref().and_then(|status| status.intent.clone())
}

/// The row that a refusal is about: by its pointer into the request, else by an id that its text names.
fn blame(error: &Error, (recipients, resources): &(Vec<RowKey>, Vec<RowKey>)) -> Option<RowKey> {
    for entry in error.errors() {
        if let Some(pointer) = &entry.pointer {
            let mut parts = pointer.split(['/', '.', '[', ']']).filter(|part| !part.is_empty());
            while let Some(part) = parts.next() {
                let list = match part {
                    "recipients" => recipients,
                    "resources" => resources,
                    _ => continue,
                };
                if let Some(key) = parts.next().and_then(|index| index.parse::<usize>().ok()).and_then(|i| list.get(i))
                {
                    return Some(key.clone());
                }
            }
        }
        let named: Vec<&RowKey> = recipients
            .iter()
            .chain(resources)
            .filter(|key| match key {
                RowKey::Recipient(id) | RowKey::Excluded(id) => entry.message.contains(id.as_str()),
                RowKey::Resource { id, .. } => entry.message.contains(id.as_str()),
            })
            .collect();
        if let [only] = named.as_slice() {
            return Some((*only).clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::AccountId;

    const NOW: At = At(1_000_000);

    fn recipients(count: usize) -> Vec<RowKey> {
        (0..count).map(|n| RowKey::Recipient(AccountId::parse(&format!("a{n:02}")).expect("an id"))).collect()
    }

    /// Tries creates with one recipient each that are refused, until the create as a whole is: how many were made.
    fn refused_alone(memory: &mut Memory, all: &[RowKey]) -> usize {
        for tries in 1..100 {
            let payload: Vec<RowKey> =
                all.iter().filter(|key| memory.refusal(&key.to_string(), NOW).is_none()).cloned().collect();
            let tried = memory.tries.refused_alone.clone().expect("they are tried alone");
            let only = next_alone(&payload, &tried).expect("one is left").clone();
            let others_left = payload.iter().any(|key| *key != only);
            if !is_about_recipient(memory, &only, String::new(), others_left, NOW) {
                memory.refuse(WHOLE_CREATE, String::new(), NOW);
                return tries;
            }
            assert!(memory.refusal(&only.to_string(), NOW).is_some());
        }
        panic!("there is no end of it");
    }

    #[test]
    fn what_is_refused_with_each_recipient_is_blamed_on_none() {
        for (count, expected) in [(2, 2), (4, 4), (5, 5), (300, 5)] {
            let all = recipients(count);
            let mut memory = Memory::default();
            memory.tries.refused_alone = Some(Vec::new());
            assert_eq!(refused_alone(&mut memory, &all), expected, "{count} recipients");
            let refused: Vec<&String> = memory.tries.refused.keys().collect();
            assert_eq!(refused, [WHOLE_CREATE], "{count} recipients");
        }
    }

    #[test]
    fn each_later_try_is_with_another_recipient() {
        let all = recipients(7);
        let mut memory = Memory::default();
        memory.tries.refused_alone = Some(Vec::new());
        refused_alone(&mut memory, &all);
        let next =
            |memory: &Memory| next_alone(&all, memory.tries.refused_alone.as_deref().unwrap_or_default()).cloned();
        let mut tried = Vec::new();
        for _ in 0..4 {
            tried.extend(next(&memory));
            assert_eq!(refused_alone(&mut memory, &all), 1);
        }
        let expected = [5, 6, 0, 1].map(|n| all[n].clone());
        assert_eq!(tried, expected);
    }
}
