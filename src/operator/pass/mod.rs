//! One pass over one object, whatever its kind: begin, save what must not be lost, end with a verdict.

pub mod breaker;
pub mod context;
mod failed;
pub mod follow;
pub mod memory;
pub mod share_locks;
mod unserved;
pub mod verdict;
pub mod write;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::{clock, delays};
use crate::api::condition::ready;
use crate::api::status::{CommonStatus, UNOBSERVED};
use crate::api::{EventReason, FLUX_REQUESTED_AT, Name, ObjectKey, REQUESTED_AT, Reason, is_deleting};
use crate::cloudflare::{FULL_PAGE, clean_ends};
use crate::core::failure::Failures;
use crate::core::id::{AccountId, ShareId};
use crate::core::interned::Interned;
use crate::core::limiter::Priority;
use crate::core::time::At;
use crate::operator::cluster::current::Current;
use crate::operator::cluster::events::Note;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::conditions::{self, breaker_reported_at};
use crate::operator::remote::account::Account;
use crate::operator::remote::call_log::{self, CallLog};
use crate::operator::remote::credentials::{NoCredential, ResolvedCredential};
use crate::operator::remote::session::Session;
use crate::operator::stop::Stop;
use context::Context;
use memory::{Announcement, Memory};
use verdict::{Course, Readiness, Verdict};

/// Longest message of a verdict in the log.
const LONGEST_LOGGED: usize = 1000;
/// What an object that is being deleted waits for is reported after so long.
const REPORTED_AFTER: Duration = Duration::from_secs(10);

/// A pass under way. `status` is the draft of what will be written.
pub struct Pass<K: Reconciled> {
    pub context: Arc<Context>,
    pub key: ObjectKey,
    pub object: Arc<K>,
    pub status: K::Status,
    pub began: At,
    /// What was read since then is fresh. That is when this pass began; where the object had to wait for its turn, when it
    /// began to wait, or nobody in a long queue would ever get beyond reading; and where the API server stopped the last pass
    /// a moment ago, when that began.
    pub fresh_since: At,
    /// The account that it works on, once it has a credential.
    pub account: Option<Arc<Account>>,
    /// What is reported even where the pass fails; see [`Pass::with_alarm`].
    pub alarm: Option<Verdict>,
    /// An Event that is published once the status that records it is written.
    pub warning: Option<(Note, String)>,
}

impl<K: Reconciled> Pass<K> {
    pub fn begin(context: Arc<Context>, object: Arc<K>) -> Pass<K> {
        let key = K::key(Name::of(object.as_ref()));
        let status = object.status().cloned().unwrap_or_default();
        let mut pass = Pass {
            context,
            key,
            object,
            status,
            began: At::default(),
            fresh_since: At::default(),
            account: None,
            alarm: None,
            warning: None,
        };
        let now = pass.now();
        pass.began = now;
        let memories = &pass.context.memories;
        let unserved = || memories.unserved_since(&pass.key).filter(|since| now.since(*since) < unserved::YOUNG);
        pass.fresh_since = memories.waiting_since(&pass.key).or_else(unserved).unwrap_or(now);
        pass
    }

    pub fn now(&self) -> At {
        self.context.clock.now()
    }

    /// When this process took over the object's account: what happened before was done by others.
    pub fn serving_since(&self) -> At {
        let account = self.object.account(&self.context.cluster.index);
        self.context.cluster.shards.serving_since(account.as_deref().unwrap_or_default())
    }

    pub fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or(0)
    }

    pub fn is_deleting(&self) -> bool {
        is_deleting(self.object.meta())
    }

    /// The part of the draft that all kinds have.
    pub fn common(&self) -> &CommonStatus {
        self.status.as_ref()
    }

    pub fn common_mut(&mut self) -> &mut CommonStatus {
        self.status.as_mut()
    }

    /// The value of an annotation that the object has, or had when the watch last saw it with one.
    pub fn asked(&self, annotation: &str) -> Option<String> {
        self.context.cluster.index.asked.value(&self.key, self.object.as_ref(), annotation)
    }

    /// The last request to look now, whichever annotation carries it.
    pub fn request(&self) -> Option<String> {
        last_request([REQUESTED_AT, FLUX_REQUESTED_AT].into_iter().filter_map(|name| self.asked(name)), self.now())
    }

    /// Somebody asks for a look now and has not had it. What an object brings along when it is first seen asks for nothing:
    /// it may be in Git, or of a backup, since long ago.
    pub fn is_requested(&self) -> bool {
        let request = self.request();
        request.is_some()
            && self.common().last_handled_reconcile_at.as_deref() != request.as_deref()
            && self.common().observed_generation != UNOBSERVED
    }

    /// Takes note that what failed for good is to be tried again, if a person asks for that. Returns whether it is, also since an
    /// earlier pass, whose call for that failed, or had to wait.
    pub fn note_retry_request(&self, requested: bool) -> bool {
        self.memory(|memory| {
            memory.tries.retry_owed |= requested;
            memory.tries.retry_owed
        })
    }

    pub fn has_retried(&self) {
        self.memory(|memory| memory.tries.retry_owed = false);
    }

    /// Whether the last verdict was Ready, on this very generation.
    pub fn was_ready(&self) -> bool {
        let common = self.common();
        common.observed_generation == self.generation()
            && conditions::readiness(&common.conditions).is_some_and(|(s, _)| s == "True")
    }

    /// The last verdict, Ready, still stands.
    pub fn as_before(&self) -> Verdict {
        let condition = ready(&self.common().conditions);
        let message = condition.map(|condition| condition.message.clone()).unwrap_or_default();
        let word = condition.map(|condition| condition.reason.as_str());
        let kept = [Reason::Observed, Reason::Waived].into_iter().find(|reason| Some(reason.as_str()) == word);
        Verdict::ready(kept.unwrap_or(Reason::Associated), message)
    }

    /// The verdict, behind what must not be hidden by it.
    pub fn with_alarm(&mut self, verdict: Verdict) -> Verdict {
        match self.alarm.take() {
            Some(alarm) => alarm.with(verdict),
            None => verdict,
        }
    }

    /// Reconciling while something that usually arrives by itself is missing, and Stalled once it has been missing for long.
    pub fn awaited(&self, verdict: Verdict) -> Verdict {
        let now = self.now();
        let since = conditions::said_since(&self.common().conditions, verdict.reason, now, self.serving_since());
        verdict::awaited(verdict, since, now)
    }

    /// Uses what this process remembers of the object. The first use after an edit, or after a request to look again,
    /// forgets what was tried before ([`memory::Tries`]): also in the middle of a pass, since a request may come at any
    /// time.
    pub fn memory<T>(&self, use_them: impl FnOnce(&mut Memory) -> T) -> T {
        let revision = (self.generation(), self.request().map(Interned::from));
        let uid = self.object.uid().unwrap_or_default();
        self.context.memories.with(&self.key, &uid, revision, self.now(), use_them)
    }

    pub async fn credential(&self, secret: &Name) -> Result<ResolvedCredential, NoCredential> {
        self.context.remote.credentials.resolve_for(secret, self.is_deleting()).await
    }

    /// Puts a verdict into the draft.
    pub fn draft(&mut self, verdict: &Verdict) {
        let (generation, now) = (self.generation(), clock::time(self.now()));
        let common = self.common_mut();
        let drifted = verdict::drift_message(&common.drift);
        verdict::set_conditions(&mut common.conditions, verdict, drifted, generation, &now);
    }

    /// Writes the draft now, guarded: what follows relies on it.
    pub async fn save(&mut self) -> Result<(), Stop> {
        let calls = self.calls();
        // Calls that changed nothing are written with the next change.
        if self.object.status() == Some(&self.status) && !calls.has_changes() {
            return Ok(());
        }
        let (unlisted, listed) = (calls.take(), self.common().recent_calls.clone());
        call_log::list(&mut self.common_mut().recent_calls, &unlisted);
        let context = self.context.clone();
        match context.cluster.write_status(&self.object, &self.status).await {
            Ok(written) => {
                self.object = written;
                self.memory(Memory::end_failure);
            }
            Err(stop) => {
                calls.put_back(unlisted);
                self.common_mut().recent_calls = listed;
                return Err(stop);
            }
        }
        Ok(())
    }

    /// Writes an announcement. Where that fails, no call is made, and this process knows that if the announcement is found in the
    /// status all the same. After a conflict, what stands there is somebody else's.
    pub async fn announce(&mut self, what: &Announcement<'_>, at: At) -> Result<(), Stop> {
        let announced = self.save().await;
        self.memory(|memory| match &announced {
            Err(Stop::Conflict) => {}
            Ok(()) => memory.note_unsent(what, None),
            Err(_) => memory.note_unsent(what, Some(at)),
        });
        announced
    }

    /// Changing calls that the status does not list yet.
    fn calls(&self) -> Arc<CallLog> {
        self.memory(|memory| memory.calls.clone())
    }

    pub fn open(&mut self, credential: &ResolvedCredential, account: &AccountId, priority: Priority) -> Session {
        let session =
            Session::open(self.context.remote.clone(), credential, account, self.key.clone(), priority, self.calls());
        self.account = Some(session.account.clone());
        session
    }

    /// Whether this share may be read alone, so that an edit does not wait for the list of all shares: somebody waits for
    /// it, the list is long, and no read has shown yet that the share is not there. Where the breaker stopped writes, the
    /// list must first show how many shares are missing.
    pub fn take_early_read(&self, session: &Session, share: &ShareId) -> bool {
        let account = &session.account;
        let was_stopped = breaker_reported_at(&self.common().conditions).is_some();
        let is_urgent = matches!(session.priority(), Priority::Edit | Priority::Create);
        let is_unread = || {
            let cache = account.cache();
            cache.swept.is_none() && cache.seen(share).is_none() && !cache.is_missing(share)
        };
        let shares = || self.context.cluster.index.of_account(account.id.as_str()).len();
        let pages = || shares().div_ceil(FULL_PAGE as usize);
        !was_stopped && is_urgent && is_unread() && account.take_early_read(pages)
    }

    /// Asks the API server whether the object is still as this pass decides on it, which comes before whatever ends sharing.
    pub async fn confirm(&self) -> Result<Current, Stop> {
        self.context.cluster.confirm(self.object.as_ref(), self.began).await
    }

    pub async fn add_finalizer(&mut self) -> Result<(), Stop> {
        self.object = self.context.cluster.set_finalizer(&self.object, true).await?;
        Ok(())
    }

    pub async fn remove_finalizer(&mut self) -> Result<(), Stop> {
        self.object = self.context.cluster.set_finalizer(&self.object, false).await?;
        Ok(())
    }

    /// Says of an object that is gone now what may stay at Cloudflare, since nobody else will.
    pub fn warn_of_lost_record(&self, message: String) {
        tracing::warn!(object = %self.key, "{message}");
        self.event(Note::warning(EventReason::Retained), message);
    }

    pub fn event(&self, note: Note, message: impl Into<String>) {
        let message = message.into();
        if self.memory(|memory| memory.may_publish(self.context.clock.now())) {
            self.context.cluster.events.publish(self.object.as_ref(), note, message);
        }
    }

    /// Ends the pass with a verdict: writes the status if it differs, and says when to look again.
    pub async fn finish(self, verdict: Verdict) -> Result<Option<Duration>, Stop> {
        self.end(verdict, None).await
    }

    /// The same; `failing`: passes in a row that failed, this one among them.
    pub(super) async fn end(mut self, verdict: Verdict, failing: Option<Failures>) -> Result<Option<Duration>, Stop> {
        let generation = self.generation();
        let request = self.request().map(Interned::from);
        let common = self.common_mut();
        common.observed_generation = generation;
        if request.is_some() {
            common.last_handled_reconcile_at = request;
        }
        let before = conditions::readiness(&common.conditions).map(|(s, r)| (s.to_owned(), r.to_owned()));
        let was_stalled = conditions::is_stalled(&common.conditions);
        self.draft(&verdict);
        let after = conditions::readiness(&self.common().conditions).map(|(s, r)| (s.to_owned(), r.to_owned()));
        if !self.still_leads() {
            return Err(Stop::Stopping);
        }
        let is_shared = verdict.shared && before != after;
        if let Some(wait) = self.status_wait(is_shared) {
            // Its turn is kept until then.
            return Ok(verdict.requeue_within([wait]).requeue_after);
        }
        let note = if before == after && was_stalled == conditions::is_stalled(&self.common().conditions) {
            None
        } else {
            match (verdict.ready, verdict.course) {
                (Readiness::True, _) => Some(Note::normal(verdict.reason)),
                (_, Course::Stalled) => Some(Note::warning(verdict.reason)),
                (Readiness::False | Readiness::Unknown, Course::Reconciling | Course::Resting) => None,
            }
        };
        self.save().await?;
        // After the write: a conflict begins the pass again, and would report it twice.
        let reason = verdict.reason.as_str();
        self.context.remote.traces.concluded(reason);
        match &note {
            Some(_) if verdict.ready == Readiness::True => tracing::info!(reason, "Ready"),
            Some(_) => tracing::warn!(reason, "not Ready: {}", clean_ends(&verdict.message, LONGEST_LOGGED)),
            None => {}
        }
        // Where all objects of a credential say the same, one Event does for all of them.
        let shared = verdict.shared && matches!(verdict.course, Course::Stalled);
        if let Some(note) = note.filter(|_| !verdict.no_event)
            && (!shared || self.account.as_ref().is_none_or(|account| account.claim_report()))
        {
            self.event(note, verdict.message.clone());
        }
        if let Some((note, message)) = self.warning.take() {
            self.event(note, message);
        }
        self.memory(|memory| {
            memory.tries.failing = failing;
            memory.served();
        });
        Ok(verdict.requeue_after)
    }

    /// How long an object that is being deleted waits for another one to do something first, which wakes it, and whether that
    /// has lasted so long that it is reported. The longer it lasts, the more seldom it is looked at.
    pub fn wait_for_peer(&self, least: Duration) -> (Duration, bool) {
        let waited = self.now().since(self.memory(|memory| memory.edited_at));
        (waited.clamp(least, delays::HUMAN), waited >= REPORTED_AFTER)
    }

    /// Whether a verdict of this process still counts. A replica that was stopped for longer than its Lease lasts wakes up with an
    /// old one, and the next leader may have written since.
    fn still_leads(&self) -> bool {
        let leadership = &self.context.remote.leadership;
        match self.object.account(&self.context.cluster.index) {
            Some(account) => leadership.lasts(&account, Duration::ZERO),
            None => self.context.cluster.shards.are_many() || leadership.lasts("", Duration::ZERO),
        }
    }

    /// How long to wait before the status is written, if many objects have to write theirs at once.
    fn status_wait(&self, is_shared: bool) -> Option<Duration> {
        let now = self.now();
        let slot = self.memory(|memory| {
            if !is_shared {
                memory.status_slot = None;
            }
            is_shared.then(|| *memory.status_slot.get_or_insert_with(|| self.context.status_slot(now)))
        })?;
        let wait = slot.since(now);
        if wait.is_zero() {
            self.memory(|memory| memory.status_slot = None);
        }
        (!wait.is_zero()).then_some(wait)
    }
}

/// The last of these requests. One that seems to be made in the future hides no other one.
fn last_request(requests: impl Iterator<Item = String>, now: At) -> Option<String> {
    // Where our own clock is behind, all of them seem to be.
    requests.max_by_key(|value| (moment(value, now), moment(value, At(i64::MAX)), value.clone()))
}

/// When a request was made, as far as its value tells: RFC 3339, or seconds since 1970.
fn moment(value: &str, now: At) -> Option<At> {
    let seconds =
        || value.parse().ok().map(|second: i64| clock::timestamp(At(second.saturating_mul(1000))).to_string());
    clock::written(value, now).or_else(|| clock::written(&seconds()?, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_requests_the_later_counts_unless_it_seems_to_be_made_in_the_future() {
        let now = At(1_800_000_000_000);
        let at = |second: i64| clock::timestamp(At(second * 1000)).to_string();
        let table = [
            (vec![], None),
            (vec!["once".to_owned()], Some("once".to_owned())),
            (vec![at(1_799_999_000), at(1_799_999_001)], Some(at(1_799_999_001))),
            (vec!["1799999002".to_owned(), at(1_799_999_001)], Some("1799999002".to_owned())),
            (vec![at(1_799_999_000), "once".to_owned()], Some(at(1_799_999_000))),
            (vec![at(1_800_086_400), at(1_799_999_000)], Some(at(1_799_999_000))),
            (vec![at(1_800_086_400)], Some(at(1_800_086_400))),
            (vec![at(1_800_086_400), "1800086401".to_owned()], Some("1800086401".to_owned())),
        ];
        for (requests, expected) in table {
            assert_eq!(last_request(requests.clone().into_iter(), now), expected, "{requests:?}");
        }
    }
}
