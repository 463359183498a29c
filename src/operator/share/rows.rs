//! The recipients, excluded accounts and resources of a share that is there: compare, add, change, remove.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::api::Reason;
use crate::api::status::{DriftEntry, RecentRemovals};
use crate::cloudflare::{Error, ErrorClass, clean};
use crate::core::create::Mode;
use crate::core::guard::REMOVAL_WINDOW;
use crate::core::id::ShareId;
use crate::core::pace::Class;
use crate::core::row::{Seen as RowSeen, Step};
use crate::core::time::At;

use super::super::access::Stop;
use super::super::apply::{Apply, Change, RowId};
use super::super::clock;
use super::super::declare::By;
use super::super::events::Note;
use super::super::inventory::{self, Entries, Entry};
use super::super::key::RowKey;
use super::super::verdict::Verdict;
use super::super::view::Seen;
use super::Work;
use super::plan::{Basis, Known, Plan};

/// A list of rows that is older is read again before anything is added or removed on its word.
const FRESH: Duration = Duration::from_secs(5);
/// So many rows are announced at once.
const BATCH: usize = 8;
/// A line that goes may come back as an object of its own within so long.
const HANDOVER: Duration = Duration::from_secs(1);
/// So many polls that show nothing new are left to the counts.
const PATIENT_POLLS: u32 = 3;
const MAX_ROUNDS: usize = 200;

/// What a round of work came to.
enum Round {
    Again,
    Done,
    /// Removals wait for a moment.
    Hold(Duration),
}

impl Work {
    /// The share is there: bring its name and rows in line, as far as this pass may, and tell.
    pub(super) async fn tend(&mut self) -> Result<Verdict, Stop> {
        let Some(id) = self.share_id() else { return Ok(Verdict::working(Reason::Progressing, "no share yet")) };
        let requested = self.pass.is_requested();
        if !requested && self.is_trusted(&id) {
            self.settle();
            return Ok(self.as_before());
        }
        if !requested && self.is_just_made(&id) {
            return Ok(self.await_first_look(&id));
        }
        self.refresh(&id, requested).await?;
        if requested && self.mode == Mode::Manage {
            self.retry_failed(&id).await?;
        }
        for _ in 0..MAX_ROUNDS {
            let Some(seen) = self.seen(&id) else { return Ok(self.vanished()) };
            if !seen.is_live() {
                return Ok(self.vanished());
            }
            let trouble = self.tend_name(&id, &seen).await?;
            let Some(seen) = self.seen(&id) else { return Ok(self.vanished()) };
            if self.mode == Mode::Manage && trouble.is_none() && self.is_misnamed(&seen) {
                continue;
            }
            let plan = self.plan(&seen);
            match self.act(&id, &seen, &plan).await? {
                Round::Again => {}
                Round::Hold(wait) => {
                    let message = "a moment, in case that what was taken out comes back as an object of its own";
                    return Ok(Verdict::working(Reason::Progressing, message).again(wait));
                }
                Round::Done => {
                    let verdict = self.report(&id, &seen, &plan);
                    return Ok(trouble.map_or(verdict.clone(), |trouble| verdict.beside(trouble)));
                }
            }
        }
        Ok(Verdict::working(Reason::Progressing, "still at work").again(Duration::from_secs(1)))
    }

    /// Made a moment ago, and its recipients were not listed since: what was asked for takes a while, whoever wakes us.
    fn is_just_made(&self, id: &ShareId) -> bool {
        let now = self.pass.now();
        if self.wanted.inline.keys().any(|key| matches!(key, RowKey::Excluded(_))) {
            // Whoever is to be left out receives it meanwhile.
            return false;
        }
        let (following, due) = self.pass.notes(|notes| (notes.following, notes.due));
        self.seen(id).is_some_and(|seen| {
            seen.recipients.is_none()
                && seen.is_recent(id.as_str(), now, self.access.grace)
                && if following { now < due } else { seen.counts.is_none_or(|counts| counts.associating > 0) }
        })
    }

    fn await_first_look(&mut self, id: &ShareId) -> Verdict {
        let Some(seen) = self.seen(id) else { return self.vanished() };
        let now = self.pass.now();
        let (following, due) = self.pass.notes(|notes| (notes.following, notes.due));
        let wait = if following { due.since(now) } else { self.follow(&seen) };
        Verdict::working(Reason::Associating, format!("share {id} is made; its recipients are being associated"))
            .again(wait)
    }

    fn vanished(&self) -> Verdict {
        Verdict::unknown(Reason::Progressing, "the share went while it was read").again(Duration::from_secs(1))
    }

    fn seen(&self, id: &ShareId) -> Option<Seen> {
        self.access.account.picture().seen(id).cloned()
    }

    /// Whether the last verdict, Ready on this generation, still stands though the recipients were not listed since
    /// the process began: nothing that a sweep shows has moved.
    fn is_trusted(&mut self, id: &ShareId) -> bool {
        if !self.pass.was_ready() || self.pass.notes(|notes| notes.following) {
            return false;
        }
        let Some(seen) = self.seen(id) else { return false };
        if seen.recipients.is_some() || seen.excluded.is_some() {
            return false;
        }
        let told = self.pass.status.recipients.clone().unwrap_or_default();
        let counts = seen.counts.unwrap_or_default();
        let counted = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
        let same_counts = counts.associating == 0
            && counts.disassociating == 0
            && counted(counts.associated) == told.in_place
            && counted(counts.disassociated) == told.disassociated;
        let same_name = self.pass.status.share_name.as_deref() == Some(seen.share.name.as_str());
        let plan = self.plan(&seen);
        let rows_rest = plan.steps.iter().all(|(key, (step, _))| match key {
            RowKey::Resource { .. } => matches!(step, Step::Keep | Step::Ignore),
            RowKey::Recipient(_) | RowKey::Excluded(_) => {
                *step == Step::Read || matches!(step, Step::Keep | Step::Ignore)
            }
        });
        // An entry that is announced and not confirmed, or undeclared, is work.
        let entries = inventory::entries(&self.pass.status.inventory);
        let recorded =
            entries.iter().all(|(key, entry)| entry.intended_at.is_none() && self.wanted.inline.contains_key(key));
        let complete = self.wanted.inline.keys().all(|key| entries.contains_key(key));
        // A child came or went: what was told is out of date.
        let declared = |is: fn(&RowKey) -> bool| counted(self.wanted.all.keys().filter(|key| is(key)).count() as u64);
        let told_resources = self.pass.status.resources.as_ref().map_or(0, |resources| resources.declared);
        let same_declared = declared(|key| matches!(key, RowKey::Resource { .. })) == told_resources
            && (self.wanted.organization.is_some()
                || declared(|key| matches!(key, RowKey::Recipient(_))) == told.declared);
        same_counts && same_name && rows_rest && recorded && complete && same_declared
    }

    fn as_before(&self) -> Verdict {
        let conditions = &self.pass.status.conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let message = ready.map(|condition| condition.message.clone()).unwrap_or_default();
        let observed = ready.is_some_and(|condition| condition.reason == Reason::Observed.as_str());
        Verdict::ready(if observed { Reason::Observed } else { Reason::Associated }, message)
    }

    /// Reads what is due: while something is pending the poll, else only what is missing or known to be stale.
    async fn refresh(&mut self, id: &ShareId, requested: bool) -> Result<(), Stop> {
        let now = self.pass.now();
        let (following, due) = self.pass.notes(|notes| (notes.following, notes.due));
        let poll = following && due <= now;
        let since = if requested {
            self.pass.notes(|notes| *notes.request_met.get_or_insert(now))
        } else if poll {
            due
        } else {
            At::default()
        };
        let Some(seen) = self.seen(id) else { return Ok(()) };
        let pending_rows = seen.resources.is_none() || self.has_pending_resources(&seen);
        let polls = self.pass.notes(|notes| notes.polls);
        let many = self.access.turn.class != Class::Edit && self.access.account.is_busy();
        let membership = self.wanted.organization.is_some() && poll;
        if requested
            || membership
            || seen.read_at == At::default()
            || pending_rows && (poll || seen.resources.is_none())
            || (poll && many)
        {
            self.access.refresh_share(id, since).await?;
        }
        let Some(seen) = self.seen(id) else { return Ok(()) };
        if self.wanted.organization.is_some() {
            if !self.wanted.inline.keys().any(|key| matches!(key, RowKey::Excluded(_))) && seen.excluded.is_none() {
                return Ok(());
            }
            if seen.excluded.as_ref().is_none_or(|(at, _)| *at < since || *at == At::default()) {
                self.access.read_excluded(id).await?;
            }
            return Ok(());
        }
        let listed = seen.recipients.as_ref();
        let old = listed.is_none_or(|r| r.stale || r.read_at < since);
        // With many shares under way, counts tell for a hundred of them in one call when a list is worth its call;
        // but what failed stays associating, so a count that does not move says nothing.
        let still = many && polls < PATIENT_POLLS && seen.counts.is_some_and(|c| c.associating > 0) && !requested;
        if old && !still {
            self.access.read_recipients(id).await?;
        }
        Ok(())
    }

    fn has_pending_resources(&self, seen: &Seen) -> bool {
        let plan = self.plan(seen);
        plan.steps.iter().any(|(key, (step, seen))| {
            matches!(key, RowKey::Resource { .. }) && (matches!(step, Step::Wait) || *seen == RowSeen::Leaving)
        })
    }

    /// The name at Cloudflare, put right if it differs.
    async fn tend_name(&mut self, id: &ShareId, seen: &Seen) -> Result<Option<Verdict>, Stop> {
        let Some(wanted) = self.wanted.name.clone().filter(|_| !self.keeps_its_name()) else { return Ok(None) };
        let found = &seen.share.name;
        if *found == wanted {
            self.pass.status.drift.retain(|drift| drift.path != "name");
            if self.pass.status.share_name.as_ref() != Some(&wanted) {
                self.pass.status.share_name = Some(wanted);
                self.pass.notes(|notes| notes.stayed("name"));
            }
            return Ok(None);
        }
        if self.mode != Mode::Manage {
            return Ok(None);
        }
        if self.pass.notes(|notes| notes.is_pointless("name", &wanted, found)) {
            return Ok(Some(not_converging("the share's name", &wanted, found)));
        }
        let now = self.pass.now();
        if let Some(refused) = self.pass.notes(|notes| notes.refusal("name", now).cloned()) {
            return Ok(Some(Verdict::stalled(Reason::Rejected, refused.message).again(refused.until.since(now))));
        }
        self.show_drift(self.name_drift(seen).into_iter().collect()).await?;
        let apply = Apply { context: &self.pass.context, access: &self.access };
        match apply.rename_share(id, &wanted).await? {
            Change::Done(()) => self.pass.notes(|notes| notes.wrote("name", &wanted, found, now)),
            Change::Unsure(error) => return Err(Stop::Cloudflare(error)),
            Change::Not(error) if error.class() == ErrorClass::Rejected || error.class() == ErrorClass::Conflict => {
                let message = format!("Cloudflare refuses the name {wanted}: {error}");
                self.pass.notes(|notes| notes.refuse("name", message, now));
            }
            Change::Not(error) => return Err(Stop::Cloudflare(error)),
        }
        Ok(None)
    }

    pub(super) fn is_misnamed(&self, seen: &Seen) -> bool {
        !self.keeps_its_name() && self.wanted.name.as_ref().is_some_and(|wanted| *wanted != seen.share.name)
    }

    /// The name that the share had as declared, and has no more; when only observing, any other name.
    pub(super) fn name_drift(&self, seen: &Seen) -> Option<DriftEntry> {
        let wanted = self.wanted.name.clone().filter(|_| self.is_misnamed(seen))?;
        let edited = self.mode == Mode::Manage && self.pass.status.share_name.as_ref() != Some(&wanted);
        let observed = clean(&seen.share.name, 200);
        (!edited).then(|| DriftEntry { path: "name".into(), desired: wanted, observed })
    }

    /// An adopted share keeps the name it has, unless the manifest gives one.
    fn keeps_its_name(&self) -> bool {
        self.pass.status.adopted && self.pass.object.spec.name.is_none()
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
    async fn act(&mut self, id: &ShareId, seen: &Seen, plan: &Plan) -> Result<Round, Stop> {
        if self.mode != Mode::Manage {
            return Ok(Round::Done);
        }
        self.inherit_last();
        let mut entries = inventory::entries(&self.pass.status.inventory);
        let before = entries.clone();
        for (key, (step, row)) in &plan.steps {
            match step {
                Step::Confirm => {
                    self.confirmed(key);
                    let meta = if *row == (RowSeen::Live { differs: true }) {
                        Some(inventory::NEVER.to_owned())
                    } else {
                        self.meta_hash(key)
                    };
                    entries.insert(key.clone(), Entry { intended_at: None, meta });
                    // A row that was put back counts until it has stayed.
                    if self.pass.status.drift.iter().all(|drift| drift.path != key.to_string()) {
                        self.pass.notes(|notes| notes.stayed(&key.to_string()));
                    }
                }
                Step::Forget => {
                    entries.remove(key);
                }
                Step::Keep => {
                    if let (Some(entry), true) = (entries.get_mut(key), self.wanted.inline.contains_key(key)) {
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
        if !plan.of(|step| step == Step::Read).is_empty() {
            return self.read_rows(id, seen, plan).await;
        }
        let adds = self.due(plan.of(|step| matches!(step, Step::Add | Step::Restore)), seen);
        let updates = self.due_updates(plan, seen);
        let removals = self.due_removals(plan);
        if adds.is_empty() && updates.is_empty() && removals.is_empty() {
            return Ok(self.held_back(plan).map_or(Round::Done, Round::Hold));
        }
        if self.read_if_old(id, seen, &adds, &removals).await? {
            return Ok(Round::Again);
        }
        self.show_row_drift(plan, seen).await?;
        if !adds.is_empty() {
            return self.add(id, adds, entries).await;
        }
        if let Some(key) = updates.first() {
            return self.update(id, seen, key).await;
        }
        self.remove(id, seen, &removals).await
    }

    fn confirmed(&self, key: &RowKey) {
        let (now, patience) = (self.pass.now(), self.pass.context.settings.patience());
        self.pass.notes(|notes| notes.confirm(key, now, patience));
    }

    /// A child's removal that was refused as the last resource is ours to finish: the child goes.
    fn inherit_last(&mut self) {
        let mut entries = inventory::entries(&self.pass.status.inventory);
        for sibling in self.wanted.siblings.iter().filter(|s| s.doomed && s.is_last) {
            entries.entry(sibling.row.clone()).or_default();
        }
        self.pass.status.inventory = inventory::inventory(&entries);
    }

    async fn read_rows(&mut self, id: &ShareId, seen: &Seen, plan: &Plan) -> Result<Round, Stop> {
        let unread = plan.of(|step| step == Step::Read);
        if unread.iter().any(|key| matches!(key, RowKey::Resource { .. })) && seen.resources.is_none() {
            self.access.read_resources(id).await?;
        } else if unread.iter().any(|key| matches!(key, RowKey::Recipient(_))) && seen.recipients.is_none() {
            self.access.read_recipients(id).await?;
        } else if unread.iter().any(|key| matches!(key, RowKey::Excluded(_))) && seen.excluded.is_none() {
            self.access.read_excluded(id).await?;
        }
        Ok(Round::Again)
    }

    /// Looks before adding or removing on the word of an old list.
    async fn read_if_old(
        &mut self,
        id: &ShareId,
        seen: &Seen,
        adds: &[RowKey],
        removals: &[RowKey],
    ) -> Result<bool, Stop> {
        let since = self.pass.since.minus(FRESH);
        let touches = |wanted: fn(&RowKey) -> bool| adds.iter().chain(removals).any(wanted);
        if touches(|key| matches!(key, RowKey::Recipient(_)))
            && seen.recipients.as_ref().is_none_or(|r| r.stale || r.read_at < since)
        {
            self.access.read_recipients(id).await?;
            return Ok(true);
        }
        if touches(|key| matches!(key, RowKey::Excluded(_))) && seen.excluded.as_ref().is_none_or(|(at, _)| *at < since)
        {
            self.access.read_excluded(id).await?;
            return Ok(true);
        }
        if touches(|key| matches!(key, RowKey::Resource { .. })) && seen.read_at < since {
            self.access.read_share(id).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Adds that were not refused a moment ago; exclusions before the resources of a share that has none yet.
    fn due(&self, keys: Vec<RowKey>, seen: &Seen) -> Vec<RowKey> {
        let now = self.pass.now();
        let mut keys: Vec<RowKey> = self.pass.notes(|notes| {
            let hopeful = |key: &RowKey| {
                let item = key.to_string();
                notes.refusal(&item, now).is_none() && !notes.is_pointless(&item, "present", "absent")
            };
            keys.into_iter().filter(hopeful).collect()
        });
        let excluded: Vec<RowKey> = keys.iter().filter(|key| matches!(key, RowKey::Excluded(_))).cloned().collect();
        if !excluded.is_empty() && seen.live_resources() == 0 {
            keys = excluded;
        }
        keys
    }

    fn due_updates(&self, plan: &Plan, seen: &Seen) -> Vec<RowKey> {
        let now = self.pass.now();
        let keys = plan.of(|step| step == Step::Update);
        self.pass.notes(|notes| {
            let hopeful = |key: &RowKey| {
                let item = key.to_string();
                notes.refusal(&item, now).is_none()
                    && !notes.is_pointless(&item, &self.meta_text(key), &found_meta(seen, key))
            };
            keys.into_iter().filter(hopeful).collect()
        })
    }

    fn meta_hash(&self, key: &RowKey) -> Option<String> {
        self.wanted.all.get(key).and_then(|declaration| inventory::meta_hash(&declaration.meta))
    }

    pub(super) fn meta_text(&self, key: &RowKey) -> String {
        let meta = self.wanted.all.get(key).map(|declaration| declaration.meta.clone()).unwrap_or_default();
        serde_json::Value::Object(meta).to_string()
    }

    /// Removals that are allowed: not refused a moment ago, and recipients only as far as `maxRemovals` goes.
    fn due_removals(&mut self, plan: &Plan) -> Vec<RowKey> {
        let now = self.pass.now();
        let mut keys = plan.of(|step| step == Step::Remove);
        if self.blocked_removals(plan).is_some() {
            keys.retain(|key| !matches!(key, RowKey::Recipient(_)));
        }
        // What moves from the Share into an object of its own comes a moment later in the same apply.
        let since_edit = self.pass.notes(|notes| now.since(notes.edited_at));
        if since_edit < HANDOVER {
            return Vec::new();
        }
        self.pass.notes(|notes| {
            keys.retain(|key| {
                let item = format!("remove {key}");
                notes.refusal(&item, now).is_none() && !notes.is_pointless(&item, "absent", "present")
            });
        });
        keys
    }

    /// How long removals still wait after an edit, if there are any.
    fn held_back(&self, plan: &Plan) -> Option<Duration> {
        let now = self.pass.now();
        let since_edit = self.pass.notes(|notes| now.since(notes.edited_at));
        let waiting = !plan.of(|step| step == Step::Remove).is_empty();
        (waiting && since_edit < HANDOVER).then(|| HANDOVER - since_edit)
    }

    /// How many recipients wait to be removed for a person's word, of how many: more than the manifest allows at once.
    pub(super) fn blocked_removals(&self, plan: &Plan) -> Option<(usize, usize)> {
        if super::removals_confirmed(&self.pass.object) {
            return None;
        }
        let now = self.pass.now();
        let recent = self.pass.status.recent_removals.as_ref();
        let lately = recent.filter(|recent| now.since(clock::from_time(&recent.since)) < REMOVAL_WINDOW);
        let lately = lately.map_or(0, |recent| usize::try_from(recent.count).unwrap_or(0));
        let lately = lately.max(self.pass.context.recent_removals(&self.pass.key.name));
        let pending = plan.of(|step| step == Step::Remove).iter().filter(|k| matches!(k, RowKey::Recipient(_))).count();
        let live = plan
            .steps
            .iter()
            .filter(|(key, (_, seen))| matches!(key, RowKey::Recipient(_)) && matches!(seen, RowSeen::Live { .. }));
        let live = live.count();
        (pending > 0 && pending + lately > self.wanted.max_removals.of(live + lately)).then_some((pending, live))
    }

    async fn show_drift(&mut self, drift: Vec<DriftEntry>) -> Result<(), Stop> {
        let fresh: Vec<DriftEntry> =
            drift.into_iter().filter(|entry| !self.pass.status.drift.contains(entry)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for entry in &fresh {
            self.pass.context.metrics.drift();
            let message = format!("{}: {} instead of {}; it is put right", entry.path, entry.observed, entry.desired);
            self.pass.event(Note::warning_of("Drifted"), message);
        }
        self.pass.status.drift.retain(|old| fresh.iter().all(|new| new.path != old.path));
        self.pass.status.drift.extend(fresh);
        let now = clock::time(self.pass.now());
        let generation = self.pass.generation();
        let count = self.pass.status.drift.len();
        let verdict = Verdict::working(Reason::Progressing, format!("{count} differences at Cloudflare are put right"));
        let drifted =
            self.pass.status.drift.first().map(|d| format!("{}: {} instead of {}", d.path, d.observed, d.desired));
        super::super::verdict::conclude(&mut self.pass.status.conditions, &verdict, drifted, generation, &now);
        self.pass.save().await
    }

    async fn show_row_drift(&mut self, plan: &Plan, seen: &Seen) -> Result<(), Stop> {
        let drift: Vec<DriftEntry> =
            plan.steps.iter().filter_map(|(key, (step, _))| self.drift_of(key, *step, seen)).collect();
        self.show_drift(drift).await
    }

    /// What a step says about drift: only what was in place once and is different now has drifted.
    pub(super) fn drift_of(&self, key: &RowKey, step: Step, seen: &Seen) -> Option<DriftEntry> {
        let (desired, observed) = match (step, key) {
            (Step::Restore, RowKey::Recipient(account)) => {
                let word = seen.recipient(account).map_or("absent", |row| row.association_status.as_str());
                ("associated".to_owned(), word.to_owned())
            }
            (Step::Restore, RowKey::Excluded(_)) => ("excluded".to_owned(), "absent".to_owned()),
            (Step::Restore, RowKey::Resource { .. }) => ("active".to_owned(), "absent".to_owned()),
            // The manifest says something new: an edit.
            (Step::Update, _) if self.mode == Mode::Manage && self.recorded_meta(key) != self.meta_hash(key) => {
                return None;
            }
            (Step::Update, _) => {
                let observed = seen.resource(key).map(|row| serde_json::Value::Object(row.meta.clone()).to_string());
                (self.meta_text(key), observed.unwrap_or_default())
            }
            _ => return None,
        };
        let path = if step == Step::Update { format!("{key}.meta") } else { key.to_string() };
        let cut = |text: String| clean(&text, 200);
        Some(DriftEntry { path, desired: cut(desired), observed: cut(observed) })
    }

    fn recorded_meta(&self, key: &RowKey) -> Option<String> {
        inventory::entries(&self.pass.status.inventory).remove(key).and_then(|entry| entry.meta)
    }

    /// Announces a batch, with the permit in hand, then sends it.
    async fn add(&mut self, id: &ShareId, mut keys: Vec<RowKey>, mut entries: Entries) -> Result<Round, Stop> {
        keys.truncate(BATCH);
        let _permit = self.access.permit(keys.len())?;
        self.pass.context.may_write()?;
        let now = self.pass.now();
        for key in &keys {
            entries.insert(key.clone(), Entry::intended(clock::time(now)));
            self.pass.notes(|notes| notes.answered.remove(key));
        }
        self.pass.status.bound_uid = self.pass.object.metadata.uid.clone();
        self.pass.status.inventory = inventory::inventory(&entries);
        self.pass.save().await?;
        let mut trouble = None;
        for key in keys {
            let meta = self.wanted.all.get(&key).map(|declaration| declaration.meta.clone()).unwrap_or_default();
            let apply = Apply { context: &self.pass.context, access: &self.access };
            let outcome = if trouble.is_some() { None } else { Some(apply.add(id, &key, &meta).await) };
            match outcome {
                Some(Ok(Change::Done(()))) => self.pass.notes(|notes| {
                    notes.wrote(&key.to_string(), "present", "absent", now);
                    notes.answered.insert(key);
                }),
                Some(Ok(Change::Unsure(error))) => trouble = Some(Stop::Cloudflare(error)),
                Some(Ok(Change::Not(error))) => {
                    entries.remove(&key);
                    trouble = self.add_refused(id, &key, error).await.err();
                }
                Some(Err(stop)) => {
                    entries.remove(&key);
                    trouble = Some(stop);
                }
                // It was announced and is not sent: nothing can come of it.
                None => {
                    entries.remove(&key);
                }
            }
        }
        self.pass.status.inventory = inventory::inventory(&entries);
        match trouble {
            Some(stop) => {
                self.pass.save().await?;
                Err(stop)
            }
            None => Ok(Round::Again),
        }
    }

    async fn add_refused(&mut self, id: &ShareId, key: &RowKey, error: Error) -> Result<(), Stop> {
        match error.class() {
            // It may be there already, or the share is in a state that forbids it: look again.
            ErrorClass::Conflict | ErrorClass::Gone => {
                if self.is_there_after_all(id, key).await? {
                    return Ok(());
                }
                let message = format!("Cloudflare refuses {} for now: {error}", self.label(key));
                let now = self.pass.now();
                self.pass.notes(|notes| notes.refuse(&key.to_string(), message, now));
                Ok(())
            }
            ErrorClass::Rejected => {
                let message = format!("Cloudflare refuses {}: {error}", self.label(key));
                let now = self.pass.now();
                self.pass.notes(|notes| notes.refuse(&key.to_string(), message, now));
                Ok(())
            }
            ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied => Err(Stop::Cloudflare(error)),
        }
    }

    async fn is_there_after_all(&self, id: &ShareId, key: &RowKey) -> Result<bool, Stop> {
        match key {
            RowKey::Recipient(_) => self.access.read_recipients(id).await?,
            RowKey::Excluded(_) => self.access.read_excluded(id).await?,
            RowKey::Resource { .. } => self.access.read_share(id).await?,
        }
        Ok(self.seen(id).is_some_and(|seen| matches!(seen.row(key, |_| false), RowSeen::Live { .. })))
    }

    async fn update(&mut self, id: &ShareId, seen: &Seen, key: &RowKey) -> Result<Round, Stop> {
        let Some(row) = seen.resource(key) else { return Ok(Round::Again) };
        let meta = self.wanted.all.get(key).map(|declaration| declaration.meta.clone()).unwrap_or_default();
        let text = self.meta_text(key);
        let apply = Apply { context: &self.pass.context, access: &self.access };
        let now = self.pass.now();
        match apply.update_resource(id, &row.id, &meta).await? {
            Change::Done(()) => {
                self.pass.notes(|notes| notes.wrote(&key.to_string(), &text, &found_meta(seen, key), now))
            }
            Change::Unsure(error) => return Err(Stop::Cloudflare(error)),
            Change::Not(error) if matches!(error.class(), ErrorClass::Rejected | ErrorClass::Conflict) => {
                let message = format!("Cloudflare refuses the meta of {}: {error}", self.label(key));
                self.pass.notes(|notes| notes.refuse(&key.to_string(), message, now));
            }
            Change::Not(error) => return Err(Stop::Cloudflare(error)),
        }
        Ok(Round::Again)
    }

    async fn remove(&mut self, id: &ShareId, seen: &Seen, keys: &[RowKey]) -> Result<Round, Stop> {
        for key in keys {
            let Some(row) = row_id(seen, key) else { continue };
            let apply = Apply { context: &self.pass.context, access: &self.access };
            let now = self.pass.now();
            let change = match apply.remove(id, &row).await {
                Ok(change) => change,
                Err(stop) => return self.pause_removing(stop).await,
            };
            match change {
                Change::Done(()) => {
                    self.pass.notes(|notes| notes.wrote(&format!("remove {key}"), "absent", "present", now));
                    self.note_removal(key);
                    if matches!(key, RowKey::Recipient(_)) {
                        self.count_removal(now);
                    }
                }
                Change::Unsure(error) => return self.pause_removing(Stop::Cloudflare(error)).await,
                Change::Not(error) if matches!(error.class(), ErrorClass::Rejected | ErrorClass::Conflict) => {
                    let last = matches!(key, RowKey::Resource { .. }) && seen.live_resources() <= 1;
                    let message = if last {
                        format!(
                            "{} stays, since Cloudflare does not remove the last resource of a share: declare another \
                             one, or delete the Share ({error})",
                            self.label(key)
                        )
                    } else {
                        format!("Cloudflare refuses to remove {}: {error}", self.label(key))
                    };
                    self.pass.notes(|notes| notes.refuse(&format!("remove {key}"), message, now));
                }
                Change::Not(error) => return self.pause_removing(Stop::Cloudflare(error)).await,
            }
        }
        Ok(Round::Again)
    }

    /// It goes because of us: where it is declared again, its absence is no drift.
    fn note_removal(&mut self, key: &RowKey) {
        let mut entries = inventory::entries(&self.pass.status.inventory);
        entries.entry(key.clone()).and_modify(|entry| *entry = Entry::intended(inventory::settled_long_ago()));
        self.pass.status.inventory = inventory::inventory(&entries);
    }

    /// What was removed so far counts, whatever stops the rest.
    async fn pause_removing(&mut self, stop: Stop) -> Result<Round, Stop> {
        self.pass.save().await?;
        Err(stop)
    }

    fn count_removal(&mut self, now: At) {
        self.pass.context.count_removal(&self.pass.key.name);
        let recent = self.pass.status.recent_removals.take();
        let lately = recent.filter(|recent| now.since(clock::from_time(&recent.since)) < REMOVAL_WINDOW);
        self.pass.status.recent_removals = Some(match lately {
            Some(recent) => RecentRemovals { count: recent.count.saturating_add(1), ..recent },
            None => RecentRemovals { since: clock::time(now), count: 1 },
        });
    }

    /// A person asks for another try: recipients that failed for good are removed, and then added again.
    async fn retry_failed(&mut self, id: &ShareId) -> Result<(), Stop> {
        let Some(seen) = self.seen(id) else { return Ok(()) };
        let failed: Vec<RowKey> = self
            .wanted
            .inline
            .keys()
            .filter(|key| match key {
                RowKey::Recipient(account) => seen.recipient(account).is_some_and(|row| {
                    let live = matches!(seen.row(key, |_| false), RowSeen::Live { .. });
                    row.errors.iter().any(|error| error.terminal) && live
                }),
                RowKey::Excluded(_) | RowKey::Resource { .. } => false,
            })
            .cloned()
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let mut entries = inventory::entries(&self.pass.status.inventory);
        for key in &failed {
            entries.insert(key.clone(), Entry::intended(inventory::settled_long_ago()));
        }
        self.pass.status.inventory = inventory::inventory(&entries);
        self.pass.save().await?;
        for key in &failed {
            let Some(row) = row_id(&seen, key) else { continue };
            let apply = Apply { context: &self.pass.context, access: &self.access };
            match apply.remove(id, &row).await? {
                Change::Done(()) => {}
                Change::Unsure(error) | Change::Not(error) => return Err(Stop::Cloudflare(error)),
            }
        }
        Ok(())
    }

    /// Nothing is under way any more.
    pub(super) fn settle(&self) {
        let was = self.pass.notes(|notes| std::mem::take(&mut notes.following));
        if was {
            self.access.account.unfollow(&self.pass.key);
        }
    }

    /// Something is under way: when to look again.
    pub(super) fn follow(&self, seen: &Seen) -> Duration {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", seen.counts, seen.share.status).hash(&mut hasher);
        for row in seen.recipients.iter().flat_map(|r| &r.rows) {
            (row.id.as_str(), row.association_status.as_str()).hash(&mut hasher);
        }
        for row in seen.resources.iter().flatten() {
            (row.id.as_str(), row.status.as_str()).hash(&mut hasher);
        }
        self.access.account.follow(&self.pass.key);
        self.plan_poll(hasher.finish())
    }

    pub(super) fn is_ours(&self, key: &RowKey) -> bool {
        !matches!(self.wanted.all.get(key).map(|declaration| &declaration.by), Some(By::Child(_)) | None)
    }
}

pub(super) fn found_meta(seen: &Seen, key: &RowKey) -> String {
    seen.resource(key).map(|row| serde_json::Value::Object(row.meta.clone()).to_string()).unwrap_or_default()
}

/// The id by which a row is removed.
pub fn row_id(seen: &Seen, key: &RowKey) -> Option<RowId> {
    match key {
        RowKey::Recipient(account) => seen.recipient(account).map(|row| RowId::Recipient(row.id.clone())),
        RowKey::Excluded(account) => seen.excluded(account).map(|row| RowId::Excluded(row.id.clone())),
        RowKey::Resource { .. } => seen.resource(key).map(|row| RowId::Resource(row.id.clone())),
    }
}

pub fn not_converging(what: &str, wanted: &str, found: &str) -> Verdict {
    Verdict::stalled(
        Reason::NotConverging,
        format!(
            "{what} was written twice as {wanted} and reads back as {found}: most likely somebody else writes it too. \
             Stopped until one of the two changes"
        ),
    )
}
