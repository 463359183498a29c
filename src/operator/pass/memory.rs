//! What the process remembers of an object between passes, and may lose when it dies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use litemap::LiteMap;
use parking_lot::Mutex;

use crate::api::ObjectKey;
use crate::api::status::CreateIntent;
use crate::cloudflare::{Error, Fingerprint};
use crate::core::failure::{self, Failures};
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::remote::call_log::CallLog;

/// So many looks for an announced create are kept of a credential: together they last longer than a read may lag behind.
const MAX_LOOKS_BACK: usize = 16;
/// So many announcements are remembered that could not be written: at most one of them stands in the status.
const MAX_UNSENT: usize = 4;

#[derive(Default)]
pub struct Memories {
    /// Boxed, since half of a large table is empty.
    objects: Mutex<HashMap<ObjectKey, Box<Memory>>>,
    /// Since when objects wait for their turn. After a start all of them do.
    waiting: Mutex<HashMap<ObjectKey, At>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    uid: Interned,
    /// What this memory belongs to: generation, and the last request to look again.
    revision: (i64, Option<Interned>),
    pub tries: Tries,
    /// When the next poll is due, while something is under way.
    pub due: Option<At>,
    moved: u64,
    /// When this process announced a create.
    pub announced_at: Option<At>,
    /// Announcements of creates that this process took for failed to be written, so that it sent nothing. One of them may stand
    /// in the status all the same.
    pub unsent_creates: Vec<UnsentCreate>,
    /// The same of the last call that replaces all recipients: when it was announced.
    pub unsent_list: Option<At>,
    /// When complete looks for an announced create began, whatever they showed, and with which credential.
    pub looks_back: Vec<(Fingerprint, At)>,
    /// When the last create was refused: what was looked at before says nothing of the next one.
    pub create_refused_at: Option<At>,
    /// The announced create was answered with a conflict.
    pub create_conflict: Option<Conflict>,
    /// When the present revision was first seen.
    pub edited_at: At,
    /// When it may write the status that many objects have to write at once.
    pub status_slot: Option<At>,
    /// When a pass last used this memory.
    used_at: At,
    /// Requests that the API server did not carry out.
    pub unserved: Option<Unserved>,
    /// What is known of rows; nothing of most.
    rows: LiteMap<RowKey, RowMemory>,
    /// Since when it waits for another object to record the row that both declare.
    pub successor_awaited: Option<At>,
    /// Changing calls that the status does not tell yet.
    pub calls: Arc<CallLog>,
    /// When Events were published lately.
    published: Quota,
}

/// What is known of a row in addition to what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RowMemory {
    /// When it was learned that the call which adds it has taken effect.
    pub answered: Option<At>,
    /// When a call was announced that adds it, and that this process did not send.
    pub unsent: Option<At>,
    /// When a call was sent that removes it, and that got no answer.
    pub lost_removal: Option<At>,
    /// When it was found in place lately.
    pub confirmed: Option<At>,
}

/// What a write of the status announces.
pub enum Announcement<'a> {
    /// The call that makes the share.
    Create(Box<CreateIntent>),
    /// Calls that add these rows.
    Rows(&'a [RowKey]),
    /// The call that replaces all recipients, and adds these.
    List(&'a [RowKey]),
}

/// What was tried for the present revision. An edit or a request to look again starts it over.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tries {
    /// What Cloudflare refused, by item.
    pub refused: BTreeMap<String, Refused>,
    /// Successful writes whose value did not stay, by item.
    pub written: BTreeMap<String, Written>,
    /// Polls since something last moved.
    pub polls: u32,
    /// The recipients with which alone the create was refused too, since it was refused as a whole without saying for what;
    /// `None`: it was not.
    pub refused_alone: Option<Vec<RowKey>>,
    /// A create without resources was refused.
    pub empty_refused: bool,
    /// How many calls in a row that replace all recipients had no known outcome, and what became of the last one.
    pub unanswered_lists: Option<(u32, String)>,
    /// When the share that the manifest names by id was last asked for.
    pub asked_for_id: Option<At>,
    /// When the last request to look again was first met: what was read before is too old for it.
    pub request_met: Option<At>,
    /// A person asked for what failed for good to be tried again, and that is not done.
    pub retry_owed: bool,
    /// When it was first asked who has the wanted name.
    pub first_look: Option<At>,
    /// Passes in a row that failed.
    pub failing: Option<Failures>,
    /// Passes in a row in which the API server did not carry out a request.
    pub unserved: u32,
}

/// What the API server did not carry out, since it last did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Unserved {
    pub failing: Option<Failures>,
    /// When it last did not.
    pub last: At,
    /// What was read of Cloudflare since then need not be read again for a moment.
    pub read_since: At,
    /// The version with which passes began that met another writer's, and since when.
    pub outdated: Option<(Interned, At)>,
    /// The version that the object had then, and when it is tried again as long as it has that.
    pub held: Option<(Interned, At)>,
    /// What the log said last, and when.
    pub logged: Option<(String, At)>,
    /// What the last Event said.
    pub reported: Option<String>,
}

/// A create that was announced then, as far as the process knows in vain, and not sent.
#[derive(Debug, Clone, PartialEq)]
pub struct UnsentCreate {
    pub announced: At,
    pub intent: Box<CreateIntent>,
}

/// A create that was answered with a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    pub error: Error,
    pub announced: At,
    /// The rows that it carried.
    pub rows: Vec<RowKey>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub times: u32,
    pub until: At,
    pub since: At,
    pub message: String,
    /// It may pass: nobody has to act yet.
    pub passing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub value: String,
    /// What was there instead.
    pub found: String,
    pub times: u32,
    pub last: At,
}

impl Written {
    fn is(&self, write: &Write) -> bool {
        self.value == write.value && self.found == write.found
    }
}

/// One value that is written in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its key in the memory.
    pub item: String,
    /// What messages call it.
    pub what: String,
    pub value: String,
    pub found: String,
}

/// Events of one object in an hour.
const MAX_EVENTS: usize = 10;
const HOUR: Duration = Duration::from_secs(3600);

/// So many successful writes of one value that does not stay are enough.
const ENOUGH_WRITES: u32 = 2;
/// A write that long ago has nothing to do with the next one.
const FORGET_WRITE_AFTER: Duration = Duration::from_secs(3600);

impl Memories {
    /// The object's memory; a new one if it is another object, with refusals and failures forgotten if it was edited or a
    /// look was requested.
    pub fn with<T>(
        &self,
        key: &ObjectKey,
        uid: &str,
        revision: (i64, Option<Interned>),
        now: At,
        use_them: impl FnOnce(&mut Memory) -> T,
    ) -> T {
        let mut all = self.objects.lock();
        let memory = all.entry(key.clone()).or_default();
        if memory.uid != uid {
            **memory = Memory { uid: uid.into(), revision: revision.clone(), edited_at: now, ..Memory::default() };
        }
        if memory.revision != revision {
            memory.revision = revision;
            memory.edited_at = now;
            memory.tries = Tries::default();
        }
        memory.used_at = now;
        use_them(memory)
    }

    /// What is known of a row because of that object.
    pub fn row(&self, key: &ObjectKey, row: &RowKey) -> RowMemory {
        self.objects.lock().get(key).map(|memory| memory.row(row)).unwrap_or_default()
    }

    /// Since when the object has known what a pass read in which the API server then did not carry out a request.
    pub fn unserved_since(&self, key: &ObjectKey) -> Option<At> {
        self.objects.lock().get(key)?.unserved.as_ref().map(|unserved| unserved.read_since)
    }

    /// For how long the object in that version waits for the next try, whoever requeues it, since the API server did not carry
    /// out the last one.
    pub fn held_for(&self, key: &ObjectKey, version: &str, now: At) -> Option<Duration> {
        let all = self.objects.lock();
        let (held, until) = all.get(key)?.unserved.as_ref()?.held.as_ref()?;
        // Not where the clock went back meanwhile.
        let left = until.since(now);
        (**held == *version && !left.is_zero() && left <= failure::UNSERVED_MAX).then_some(left)
    }

    pub fn waiting_since(&self, key: &ObjectKey) -> Option<At> {
        self.waiting.lock().get(key).copied()
    }

    pub fn waiting(&self) -> Vec<ObjectKey> {
        self.waiting.lock().keys().cloned().collect()
    }

    /// The object's pass, which began then, ended without a permit. After a start that is so for all of them, and nothing is
    /// kept of those whose revision the status reports (`is_reported`) and that this pass saw first.
    pub fn waits(&self, key: &ObjectKey, began: At, is_reported: bool) {
        self.waiting.lock().entry(key.clone()).or_insert(began);
        self.drop_if(key, |memory| is_reported && memory.edited_at >= began && memory.is_blank());
    }

    /// The object's pass ended with something to tell.
    pub fn stopped_waiting(&self, key: &ObjectKey) {
        let mut waiting = self.waiting.lock();
        if waiting.remove(key).is_some() && waiting.is_empty() {
            waiting.shrink_to_fit();
        }
    }

    /// The object's pass ended, and it waits for nothing. Most objects are like that, and nothing is kept of them.
    pub fn settles(&self, key: &ObjectKey) {
        self.stopped_waiting(key);
        if let Some(memory) = self.objects.lock().get_mut(key) {
            memory.served();
        }
        self.drop_if(key, Memory::is_blank);
    }

    fn drop_if(&self, key: &ObjectKey, is_needless: impl Fn(&Memory) -> bool) {
        let mut all = self.objects.lock();
        if all.get(key).is_some_and(|memory| is_needless(memory)) {
            all.remove(key);
        }
    }

    /// What stood in the way of the object may be gone: everything is tried again. What is known of its calls stays known.
    pub fn renew(&self, key: &ObjectKey) {
        if let Some(memory) = self.objects.lock().get_mut(key) {
            memory.tries = Tries::default();
        }
    }

    /// Drops what only counted for a while, and memories in which nothing else is: an object that has settled begins no pass
    /// in which it would be found needless.
    pub fn expire(&self, now: At, read_lag: Duration) {
        let mut all = self.objects.lock();
        let before = all.len();
        all.retain(|_, memory| {
            memory.expire(now, read_lag);
            now.since(memory.used_at) < HOUR || !memory.is_blank()
        });
        if all.len() < before / 2 {
            all.shrink_to_fit();
        }
    }

    pub fn forget(&self, key: &ObjectKey) {
        self.stopped_waiting(key);
        self.objects.lock().remove(key);
    }
}

impl Memory {
    /// What is known after everything was just read.
    pub fn after_a_read(at: At) -> Memory {
        Memory { tries: Tries { asked_for_id: Some(at), ..Tries::default() }, ..Memory::default() }
    }

    /// Whether a new memory would do as well. When the revision came and was first looked at says nothing of a settled
    /// object, and how often it was polled nothing of one that follows nothing.
    fn is_blank(&self) -> bool {
        let Tries { first_look, polls, .. } = self.tries;
        let blank = Memory {
            uid: self.uid.clone(),
            revision: self.revision.clone(),
            tries: Tries { first_look, polls, ..Tries::default() },
            moved: self.moved,
            edited_at: self.edited_at,
            used_at: self.used_at,
            ..Memory::default()
        };
        *self == blank
    }

    pub fn row(&self, key: &RowKey) -> RowMemory {
        self.rows.get(key).copied().unwrap_or_default()
    }

    /// Changes what is known of a row. Where nothing is left, nothing is kept.
    pub fn note_row<T>(&mut self, key: &RowKey, change: impl FnOnce(&mut RowMemory) -> T) -> T {
        let mut row = self.row(key);
        let changed = change(&mut row);
        match row == RowMemory::default() {
            true => drop(self.rows.remove(key)),
            false => drop(self.rows.insert(key.clone(), row)),
        }
        changed
    }

    /// The same of all rows of which something is known.
    pub fn note_rows(&mut self, change: impl Fn(&RowKey, &mut RowMemory)) {
        for (key, row) in self.rows.iter_mut() {
            change(key, row);
        }
        self.rows.retain(|_, row| *row != RowMemory::default());
    }

    /// Takes note of an announcement that is not sent, though it may stand in the status; `at`: when it was announced, or `None`:
    /// it stands there and is sent, and nothing before it does.
    pub fn note_unsent(&mut self, what: &Announcement, at: Option<At>) {
        match (what, at) {
            (Announcement::Create(_), None) => self.unsent_creates.clear(),
            (Announcement::Create(intent), Some(announced)) => {
                if self.unsent_creates.len() == MAX_UNSENT {
                    self.unsent_creates.remove(0);
                }
                self.unsent_creates.push(UnsentCreate { announced, intent: intent.clone() });
            }
            (Announcement::Rows(rows) | Announcement::List(rows), at) => {
                rows.iter().for_each(|row| self.note_row(row, |row| row.unsent = at));
            }
        }
        if matches!(what, Announcement::List(_)) {
            self.unsent_list = at;
        }
    }

    /// Whether this process announced that create, since it took over the account, and sent nothing.
    pub fn is_unsent(&self, intent: &CreateIntent, serving_since: At) -> bool {
        self.unsent_creates.iter().any(|unsent| *unsent.intent == *intent && unsent.announced >= serving_since)
    }

    /// The API server carried out what it was asked for.
    pub fn served(&mut self) {
        (self.unserved, self.tries.unserved) = (None, 0);
    }

    /// A complete look for an announced create has ended. While a person is awaited there is no end of them, and the newest tell
    /// all.
    pub fn note_look_back(&mut self, with: Fingerprint, began: At) {
        self.looks_back.push((with, began));
        let own = |(by, _): &(Fingerprint, At)| *by == with;
        if self.looks_back.iter().filter(|look| own(look)).count() > MAX_LOOKS_BACK
            && let Some(oldest) = self.looks_back.iter().position(own)
        {
            self.looks_back.remove(oldest);
        }
    }

    /// Whether one more Event is welcome: at most ten in an hour.
    pub fn may_publish(&mut self, now: At) -> bool {
        self.published.take(now, MAX_EVENTS, HOUR)
    }

    fn expire(&mut self, now: At, read_lag: Duration) {
        self.published.forget(now, HOUR);
        self.create_refused_at.take_if(|at| now.since(*at) >= HOUR);
        self.unsent_creates.retain(|unsent| now.since(unsent.announced) < HOUR);
        self.note_rows(|_, row| {
            row.lost_removal.take_if(|at| now.since(*at) >= HOUR);
            row.unsent.take_if(|at| now.since(*at) >= HOUR);
        });
        self.unsent_list.take_if(|at| now.since(*at) >= HOUR);
        if self.unserved.as_ref().is_some_and(|unserved| now.since(unserved.last) >= HOUR) {
            self.served();
        }
        self.forget_shown(now, read_lag);
    }

    fn forget_shown(&mut self, now: At, read_lag: Duration) {
        self.note_rows(|_, row| {
            row.confirmed.take_if(|at| now.since(*at) >= read_lag * 2);
        });
    }

    /// A row was found in place. Older entries are dropped, because reads show those rows by now.
    pub fn confirm(&mut self, key: &RowKey, now: At, read_lag: Duration) {
        self.forget_shown(now, read_lag);
        // That its call was answered stays noted: the pass may end before the record is written.
        self.note_row(key, |row| row.confirmed = Some(now));
    }

    /// What is known of the call that was announced for a row which is taken over.
    pub fn learn(&mut self, row: &RowKey, answered: Option<At>) {
        self.note_row(row, |row| (row.unsent, row.answered) = (None, answered));
    }

    pub fn refuse(&mut self, item: &str, message: String, now: At) {
        let refused = self.refused_once_more(item, message, now);
        refused.until = now.plus(failure::after_rejection(refused.times));
    }

    /// Takes note of a refusal for lack of a permission, which may pass: it is tried again soon. After some of them over
    /// `passing_time` a person is needed.
    pub fn deny(&mut self, item: &str, message: String, now: At, passing_time: Duration) {
        let reported = self.tries.refused.get(item).is_some_and(|refused| !refused.passing);
        let refused = self.refused_once_more(item, message, now);
        refused.until = now.plus(failure::after_refusal(refused.times));
        let may_pass = refused.times < failure::REPORTED || now.since(refused.since) < passing_time;
        // What was reported is not taken back while it lasts.
        refused.passing = may_pass && !reported;
    }

    fn refused_once_more(&mut self, item: &str, message: String, now: At) -> &mut Refused {
        let new = Refused { times: 0, until: now, since: now, message: String::new(), passing: false };
        let refused = self.tries.refused.entry(item.to_owned()).or_insert(new);
        refused.times += 1;
        refused.message = message;
        refused.passing = false;
        refused
    }

    /// The refusal that still holds for an item.
    pub fn refusal(&self, item: &str, now: At) -> Option<&Refused> {
        self.tries.refused.get(item).filter(|refused| refused.until > now)
    }

    /// Counts a successful write of a value in place of the one that was found.
    pub fn wrote(&mut self, write: &Write, now: At) {
        let same = |w: &&Written| w.is(write) && now.since(w.last) < FORGET_WRITE_AFTER;
        let times = self.tries.written.get(&write.item).filter(same).map_or(0, |w| w.times);
        let Write { item, value, found, .. } = write.clone();
        self.tries.written.insert(item, Written { value, found, times: times + 1, last: now });
    }

    /// What is left of that time since that value was successfully written, whatever was in its place; `None`: nothing.
    pub fn left_since_written(&self, write: &Write, now: At, time: Duration) -> Option<Duration> {
        let written = self.tries.written.get(&write.item).filter(|written| written.value == write.value)?;
        Some(time.saturating_sub(now.since(written.last))).filter(|left| !left.is_zero())
    }

    /// Whether writing that value once more in place of this one is pointless: it did not stay.
    pub fn is_not_converging(&self, write: &Write) -> bool {
        self.tries.written.get(&write.item).is_some_and(|w| w.is(write) && w.times >= ENOUGH_WRITES)
    }

    /// Whether no write is remembered.
    pub fn has_settled(&self) -> bool {
        self.tries.written.is_empty()
    }

    /// What was written long ago and is not called for any more has stayed.
    pub fn forget_settled(&mut self, now: At, called_for: impl Fn(&str) -> bool) {
        self.tries.written.retain(|item, written| now.since(written.last) < FORGET_WRITE_AFTER || called_for(item));
    }

    /// What was written is there: the next change of it is another matter.
    pub fn write_stuck(&mut self, item: &str) {
        self.tries.written.remove(item);
    }

    /// Plans the next poll: soon after something moved, then less and less often.
    pub fn plan_poll(&mut self, moved: u64, now: At, min: Duration, max: Duration) -> Duration {
        if self.moved != moved {
            self.moved = moved;
            self.tries.polls = 0;
        } else if let Some(due) = self.due.filter(|due| now < *due) {
            return due.since(now);
        } else {
            self.tries.polls += 1;
        }
        let wait = failure::growing(self.tries.polls, min, max);
        self.due = Some(now.plus(wait));
        wait
    }
}

/// At most so many of something within a time: when it happened lately.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quota(Vec<At>);

impl Quota {
    /// Whether it may happen once more, which then counts.
    pub fn take(&mut self, now: At, most: usize, within: Duration) -> bool {
        self.forget(now, within);
        let may = self.0.len() < most;
        if may {
            self.0.push(now);
        }
        may
    }

    /// What was longer ago counts no more.
    pub fn forget(&mut self, now: At, within: Duration) {
        self.0.retain(|at| now.since(*at) < within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, Name};
    use crate::core::id::AccountId;
    use crate::core::share_step::has_settled;

    const NOW: At = At(5);

    #[test]
    fn the_newest_looks_that_showed_nothing_tell_all() {
        let credential = |text: &str| crate::cloudflare::Credential::Token(text.into()).fingerprint();
        let (own, other) = (credential("one"), credential("two"));
        let (mut memory, mut all, read_lag) = (Memory::default(), Vec::new(), Duration::from_secs(60));
        memory.note_look_back(other, At(0));
        for n in 1..=100 {
            let at = At(15_000 * n);
            all.push(at);
            memory.note_look_back(own, at);
            let kept: Vec<At> = memory.looks_back.iter().filter(|(by, _)| *by == own).map(|(_, at)| *at).collect();
            assert!(kept.len() <= 16);
            for end in [0, 240_000, 1_200_000].map(At) {
                assert_eq!(has_settled(end, &kept, read_lag), has_settled(end, &all, read_lag), "{n} looks, {end:?}");
            }
        }
        assert_eq!(memory.looks_back.len(), 17, "those of another credential are kept for themselves");
    }

    #[test]
    fn fresh_hope_forgets_refusals_and_keeps_what_is_known_of_calls() {
        let (memories, key) =
            (Memories::default(), ObjectKey { kind: Kind::Share, name: Name::new("security", "waf") });
        let row = RowKey::Recipient(AccountId::parse(&"a".repeat(32)).expect("an id"));
        let with = |use_them: fn(&mut Memory, &RowKey)| {
            memories.with(&key, "uid", (1, None), NOW, |memory| use_them(memory, &row));
        };
        with(|memory, row| {
            memory.note_row(row, |row| row.answered = Some(NOW));
            memory.refuse("create", "no".to_owned(), NOW);
            memory.tries.failing = Some(Failures { count: 3, since: NOW });
        });
        memories.renew(&key);
        with(|memory, _| assert!(memory.tries.refused.is_empty() && memory.tries.failing.is_none()));
        assert_eq!(memories.row(&key, &row).answered, Some(NOW));
        memories.settles(&key);
        assert_eq!(memories.row(&key, &row).answered, Some(NOW), "that is worth a memory");
    }

    #[test]
    fn a_value_is_awaited_for_the_read_lag_after_it_was_written_whatever_is_found_meanwhile() {
        let (mut memory, lag) = (Memory::default(), Duration::from_secs(60));
        let write = |value: &str, found: &str| {
            let [item, what, value, found] = ["name", "the share's name", value, found].map(str::to_owned);
            Write { item, what, value, found }
        };
        assert_eq!(memory.left_since_written(&write("new", "old"), NOW, lag), None);
        memory.wrote(&write("new", "old"), NOW);
        let left = |value: &str, second: u64| {
            memory.left_since_written(&write(value, "another"), NOW.plus(Duration::from_secs(second)), lag)
        };
        assert_eq!([0, 20, 59].map(|second| left("new", second).map(|left| left.as_secs())), [60, 40, 1].map(Some));
        assert_eq!((left("new", 60), left("newer", 0)), (None, None));
    }

    #[test]
    fn what_the_api_server_did_not_carry_out_waits_for_its_next_try_unless_the_object_changes() {
        let memories = Memories::default();
        let key = ObjectKey { kind: Kind::Share, name: Name::new("security", "waf") };
        let until = NOW.plus(Duration::from_secs(30));
        memories.with(&key, "uid", (1, None), NOW, |memory| {
            memory.unserved = Some(Unserved { held: Some(("7".into(), until)), ..Unserved::default() });
        });
        let held = |version, now| memories.held_for(&key, version, now).map(|left| left.as_secs());
        assert_eq!((held("7", NOW), held("8", NOW), held("7", until)), (Some(30), None, None));
        assert_eq!(held("7", At(-3_600_000)), None, "the clock went back");
        memories.settles(&key);
        assert_eq!(held("7", NOW), None);
    }

    #[test]
    fn nothing_is_kept_of_an_object_that_waits_for_nothing() {
        let memories = Memories::default();
        let key = ObjectKey { kind: Kind::Share, name: Name::new("security", "waf") };
        let with = |use_them: fn(&mut Memory)| memories.with(&key, "uid", (1, None), NOW, use_them);
        with(|memory| memory.due = Some(NOW));
        memories.settles(&key);
        assert_eq!(memories.objects.lock().len(), 1, "it follows something");
        with(|memory| memory.due = None);
        memories.settles(&key);
        assert_eq!(memories.objects.lock().len(), 0);
    }

    #[test]
    fn what_counted_only_for_a_while_is_dropped_without_another_pass() {
        let (memories, read_lag) = (Memories::default(), Duration::from_secs(60));
        let row = RowKey::Recipient(AccountId::parse(&"a".repeat(32)).expect("an id"));
        let key = |name: &str| ObjectKey { kind: Kind::Share, name: Name::new("security", name) };
        let with = |name, use_them: fn(&mut Memory, &RowKey)| {
            memories.with(&key(name), "uid", (1, None), NOW, |memory| use_them(memory, &row));
        };
        with("made", |memory, row| {
            memory.may_publish(NOW);
            memory.confirm(row, NOW, Duration::from_secs(60));
        });
        with("follows", |memory, _| memory.due = Some(NOW));
        let left = |minutes: u64| {
            let now = NOW.plus(Duration::from_secs(minutes * 60));
            memories.with(&key("waits for a person"), "uid", (1, None), now, |_| ());
            memories.expire(now, read_lag);
            memories.objects.lock().len()
        };
        assert_eq!([1, 59, 60, 600].map(left), [3, 3, 2, 2]);
    }

    #[test]
    fn an_object_that_waits_for_its_turn_is_remembered_unless_this_pass_saw_it_first() {
        let memories = Memories::default();
        let key = ObjectKey { kind: Kind::Share, name: Name::new("security", "waf") };
        let see = || memories.with(&key, "uid", (1, None), NOW, |_| ());
        see();
        memories.waits(&key, NOW, false);
        assert_eq!(memories.objects.lock().len(), 1, "its revision is new");
        memories.waits(&key, NOW, true);
        assert_eq!((memories.objects.lock().len(), memories.waiting_since(&key)), (0, Some(NOW)));
        see();
        memories.waits(&key, At(9), true);
        assert_eq!(
            (memories.objects.lock().len(), memories.waiting_since(&key)),
            (1, Some(NOW)),
            "since the first time"
        );
        memories.settles(&key);
        assert_eq!((memories.objects.lock().len(), memories.waiting_since(&key)), (0, None));
    }

    #[test]
    fn no_more_than_so_many_happen_within_the_time() {
        let minute = Duration::from_secs(60);
        let mut quota = Quota::default();
        let taken = [0, 10, 20, 59, 60, 61, 69, 70].map(|second| quota.take(At(second * 1000), 2, minute));
        assert_eq!(taken, [true, true, false, false, true, false, false, true]);
    }
}
