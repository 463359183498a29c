//! What /metrics shows of how things stand, taken now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::status::ExceptionEntry;
use crate::api::{ChildObject, Kind, Name, ObjectKey, Reason, Share, is_suspended, secret_of};
use crate::core::time::At;
use crate::operator::conditions::readiness;
use crate::operator::pass::context::Context;
use crate::operator::rows::row_state::{EXCLUSION_BLOCKED, NOT_EXCLUDED};
use crate::operator::rows::waiver;
use crate::serve::Health;
use crate::serve::sampled::{ReadyCounts, UnreadyShare, UsedCredential, Views};

/// How often they are taken: more often than anybody scrapes.
const PERIOD: Duration = Duration::from_secs(5);

/// How often objects are counted that have not changed: a waiver comes near its end without a change.
const UNCHANGED_PERIOD: Duration = Duration::from_secs(60);

/// So many objects are counted before others may use the thread: an edit does not wait for ten thousand.
const YIELD_EVERY: usize = 256;

/// Counts one object; returns the reason where it is not Ready.
fn count(counts: &mut ReadyCounts, kind: Kind, conditions: Option<&Vec<Condition>>) -> Option<String> {
    let ready = conditions.and_then(|conditions| readiness(conditions));
    let (status, reason) = ready.unwrap_or(("Unknown", "Unseen"));
    counts.add(kind, status, reason);
    (status != "True").then(|| reason.to_owned())
}

pub async fn keep(context: Arc<Context>, health: Health) {
    let mut edits = WaitingEdits::default();
    let mut counted = None;
    loop {
        health.beat("the gauges");
        let held = context.cluster.shards.held();
        context.metrics.shards_held(held);
        // A count goes over all objects, and most of the time they are as they were.
        let (state, now) = ((context.cluster.index.changes(), held), context.clock.now());
        let is_counted = counted.is_some_and(|(of, at)| of == state && now.since(at) < UNCHANGED_PERIOD);
        if !is_counted || edits.is_any_waiting() {
            context.metrics.ready(ready_counts(&context, &mut edits).await);
            counted = Some((state, now));
        }
        show_calls_left(&context);
        context.metrics.views(views(&context));
        tokio::time::sleep(PERIOD).await;
    }
}

/// How many calls are left with each credential, for Prometheus and for people who only have kubectl.
fn show_calls_left(context: &Context) {
    let levels = context.remote.limiters.levels();
    // A part of a call is none.
    let left = levels.iter().map(|(credential, tokens, _)| (credential.to_string(), tokens.max(0.0) as u32));
    context.remote.leadership.note_left(&left.collect());
    context.metrics.calls_left(levels);
}

async fn ready_counts(context: &Context, edits: &mut WaitingEdits) -> ReadyCounts {
    let now = context.clock.now();
    let mut counts = ReadyCounts::default();
    let index = &context.cluster.index;
    for (n, share) in index.shares.all().enumerate() {
        if n % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
        if context.cluster.works_on(|| Some(share.spec.account_id.clone())) {
            count_share(&mut counts, edits, &share, now);
            counts.credentials.extend(credential(context, &share));
        }
    }
    for (n, child) in index.all_children().enumerate() {
        if n % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
        if context.cluster.works_on(|| index.account_of_child(child.as_ref())) {
            count_child(&mut counts, edits, child.as_ref(), now);
        }
    }
    counts.oldest_edit = edits.oldest(now);
    counts
}

fn count_share(counts: &mut ReadyCounts, edits: &mut WaitingEdits, share: &Share, now: At) {
    let name = || Name::of(share);
    let conditions = share.status.as_ref().map(|status| &status.common.conditions);
    if !is_suspended(share) {
        let observed = share.status.as_ref().map(|status| status.common.observed_generation);
        edits.see(|| ObjectKey::share(name()), share.metadata.generation, observed, now);
    }
    if let Some(reason) = count(counts, Kind::Share, conditions) {
        let blocked = [Reason::DeletionBlocked, Reason::DeletionProtected].iter().any(|r| r.as_str() == reason);
        if blocked {
            counts.blocked_deletions.push((name(), reason.clone()));
        }
        counts.unready_shares.push(UnreadyShare {
            share: name(),
            account: share.spec.account_id.clone(),
            secret: secret_of(share).name,
            reason,
        });
    }
    counts.recipients.extend(recipients(share));
    let some = |count: i64| Some((name(), count)).filter(|_| count > 0);
    counts.not_excluded.extend(some(not_excluded(share)));
    counts.waivers_ending.extend(some(waivers_ending(share, now)));
    counts.blocked_removals.extend(some(share.status.as_ref().map_or(0, |status| status.blocked_removals.into())));
    counts.unmanaged.extend(some(share.status.as_ref().map_or(0, |status| status.unmanaged_count.into())));
}

fn count_child(counts: &mut ReadyCounts, edits: &mut WaitingEdits, child: &dyn ChildObject, now: At) {
    let kind = child.object_key().kind;
    count(counts, kind, child.record().map(|record| &record.common.conditions));
    if !child.is_suspended() {
        let observed = child.record().map(|record| record.common.observed_generation);
        edits.see(|| child.object_key(), child.metadata().generation, observed, now);
    }
}

/// How many of the declared recipients are in which state, where any is.
fn recipients(share: &Share) -> Vec<(Name, &'static str, i64)> {
    let Some(counts) = share.status.as_ref().and_then(|status| status.recipients.as_ref()) else { return Vec::new() };
    let states = [
        ("associated", counts.associated),
        ("pending", counts.pending),
        ("failed", counts.failed - counts.waived),
        ("waived", counts.waived),
    ];
    let found = states.into_iter().filter(|(_, count)| *count > 0);
    found.map(|(state, count)| (Name::of(share), state, i64::from(count))).collect()
}

/// The credential in the Secret of the Share, or else the one that last showed the share.
fn credential(context: &Context, share: &Share) -> Option<UsedCredential> {
    let secret = secret_of(share);
    let held = context.remote.credentials.held(&secret).map(|credential| credential.to_string().into());
    let credential = held.or_else(|| share.status.as_ref()?.seen_with.clone())?;
    Some(UsedCredential { credential, secret, account: share.spec.account_id.clone() })
}

/// How many accounts receive the share although it excludes them.
fn not_excluded(share: &Share) -> i64 {
    listed(share, |entry| [NOT_EXCLUDED, EXCLUSION_BLOCKED].contains(&&*entry.state))
}

/// How many waivers of recipients that failed end soon.
fn waivers_ending(share: &Share, now: At) -> i64 {
    listed(share, |entry| entry.waiver.as_ref().is_some_and(|waiver| waiver::ends_soon(waiver, now)))
}

fn listed(share: &Share, is: impl Fn(&ExceptionEntry) -> bool) -> i64 {
    share.status.iter().flat_map(|status| &status.exceptions).filter(|entry| is(entry)).count() as i64
}

fn views(context: &Context) -> Views {
    let mut views = Views::default();
    for account in context.remote.accounts.all() {
        let at = account.cache().swept.unwrap_or(context.cluster.shards.serving_since(account.id.as_str()));
        let oldest = views.swept.entry(account.fingerprint).or_insert(at);
        *oldest = at.min(*oldest);
        views.intervals.push((account.fingerprint, account.id.clone(), account.sweep_interval()));
        views.breakers += usize::from(account.breaker().is_some());
    }
    views
}

/// For how long edits wait that no pass has looked at: objects whose last edit is not processed yet, with its
/// generation, and when that was first seen.
#[derive(Debug, Default)]
struct WaitingEdits {
    waiting: HashMap<ObjectKey, (i64, At)>,
    still: HashMap<ObjectKey, (i64, At)>,
}

impl WaitingEdits {
    /// The object is as the watch shows it now.
    fn see(&mut self, object: impl FnOnce() -> ObjectKey, generation: Option<i64>, observed: Option<i64>, now: At) {
        let generation = generation.unwrap_or(0);
        if observed.is_some_and(|observed| observed >= generation) {
            return;
        }
        let object = object();
        let before = self.waiting.get(&object).filter(|(before, _)| *before == generation);
        let since = before.map_or(now, |(_, since)| *since);
        self.still.insert(object, (generation, since));
    }

    fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All objects were seen: for how long the oldest edit waits.
    fn oldest(&mut self, now: At) -> Duration {
        self.waiting = std::mem::take(&mut self.still);
        self.waiting.values().map(|(_, since)| now.since(*since)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(edits: &mut WaitingEdits, objects: &[(&str, i64, Option<i64>)], seconds: i64) -> u64 {
        let now = At(seconds * 1000);
        for (name, generation, observed) in objects {
            let key = || ObjectKey { kind: Kind::Share, name: Name::new("security", *name) };
            edits.see(key, Some(*generation), *observed, now);
        }
        edits.oldest(now).as_secs()
    }

    #[test]
    fn an_edit_waits_from_when_it_is_seen_until_the_status_covers_it() {
        let mut edits = WaitingEdits::default();
        assert_eq!(look(&mut edits, &[("a", 1, None), ("b", 4, Some(4))], 100), 0);
        assert_eq!(look(&mut edits, &[("a", 1, Some(-1)), ("b", 5, Some(4))], 110), 10);
        assert_eq!(look(&mut edits, &[("a", 1, Some(1)), ("b", 5, Some(4))], 130), 20);
        // The next edit of the same object waits for itself.
        assert_eq!(look(&mut edits, &[("a", 1, Some(1)), ("b", 6, Some(4))], 140), 0);
        assert_eq!(look(&mut edits, &[("b", 6, Some(4))], 145), 5);
        assert_eq!(look(&mut edits, &[], 150), 0, "it was deleted");
        assert_eq!(look(&mut edits, &[("b", 6, Some(4))], 160), 0);
    }
}
