//! A share that is there: what of it must be read again, and whether its name and rows are as declared.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::super::waits;
use super::outside::Looked;
use super::trust::Settled;
use super::work::Work;
use crate::api::Reason;
use crate::api::status::DriftEntry;
use crate::cloudflare::{Kind as ShareKind, Share as RemoteShare};
use crate::core::create::Mode;
use crate::core::id::ShareId;
use crate::core::pace::Class;
use crate::core::row::{Seen as RowSeen, Step};
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::pass::drift;
use crate::operator::pass::notes::Write;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::apply::Apply;
use crate::operator::remote::seen::Seen;
use crate::operator::stop::Stop;

/// So many polls that show nothing new are left to the counts.
const PATIENT_POLLS: u32 = 3;
/// More rounds than most edits need: the rest is done in the next pass.
const MAX_ROUNDS: usize = 200;

/// What a round of work came to.
pub(super) enum Round {
    Again,
    Done,
    /// Removals wait for a moment.
    Hold(Duration),
}

/// What is told of a rename that would make two live shares of one name.
fn taken(by: &str, kept: &str) -> Verdict {
    let message = format!(
        "{by}, so this share keeps the name {kept} and its recipients: give spec.name another value, or rename or delete \
         the other one"
    );
    Verdict::stalled(Reason::NameTaken, message).again(waits::PERSON)
}

impl Work {
    /// The share is there: bring its name and rows in line, as far as this pass may, and tell.
    pub(super) async fn tend(&mut self) -> Result<Verdict, Stop> {
        let Some(id) = self.share_id() else { return Ok(Verdict::working(Reason::Progressing, "no share yet")) };
        let requested = self.pass.is_requested();
        if !requested && self.is_trusted(&id) {
            self.settle();
            return Ok(self.pass.as_before());
        }
        if !requested && self.is_just_made(&id) {
            return Ok(self.await_first_look(&id));
        }
        self.refresh(&id, requested).await?;
        if requested && self.mode == Mode::Manage {
            self.retry_failed(&id).await?;
        }
        let mut counted = false;
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
            let mut plan = self.plan(&seen);
            let trouble = match self.look_outside(&plan, requested).await {
                Looked::Enough => trouble,
                Looked::Now => continue,
                Looked::Not(unseen) => {
                    plan.hold_removals();
                    Some(trouble.unwrap_or(unseen))
                }
            };
            match self.act(&seen, &plan).await? {
                Round::Again => {}
                Round::Hold(wait) => {
                    let message = "a moment, in case that what was taken out comes back as an object of its own";
                    return Ok(Verdict::working(Reason::Progressing, message).again(wait));
                }
                Round::Done if self.wanted.organization.is_some() && seen.counts.is_none() && !counted => {
                    self.access.read_share(&id).await?;
                    counted = true;
                }
                Round::Done => {
                    let verdict = self.report(&id, &seen, &plan);
                    return Ok(trouble.map_or(verdict.clone(), |trouble| verdict.beside(trouble)));
                }
            }
        }
        Ok(Verdict::unfinished())
    }

    /// Made a moment ago, and its recipients were not listed since: what was asked for takes a while, whoever wakes us.
    fn is_just_made(&self, id: &ShareId) -> bool {
        let now = self.pass.now();
        if self.excludes() {
            // Whoever is to be left out receives it meanwhile.
            return false;
        }
        let due = self.pass.due();
        self.seen(id).is_some_and(|seen| {
            seen.recipients.is_none()
                && seen.is_recent(id.as_str(), now, self.access.grace)
                && due.map_or(seen.counts.is_none_or(|counts| counts.associating > 0), |due| now < due)
        })
    }

    fn await_first_look(&mut self, id: &ShareId) -> Verdict {
        let Some(seen) = self.seen(id) else { return self.vanished() };
        let now = self.pass.now();
        let wait = self.pass.due().map_or_else(|| self.follow(&seen), |due| due.since(now));
        Verdict::working(Reason::Associating, format!("share {id} is made; its recipients are being associated"))
            .again(wait)
    }

    fn vanished(&self) -> Verdict {
        Verdict::unknown(Reason::Progressing, "the share went while it was read").again(waits::MOMENT)
    }

    fn excludes(&self) -> bool {
        self.wanted.inline.keys().any(|key| matches!(key, RowKey::Excluded(_)))
    }

    /// Nothing is under way any more.
    pub(super) fn settle(&self) {
        self.pass.settle(&self.access.account);
    }

    pub(super) fn seen(&self, id: &ShareId) -> Option<Seen> {
        self.access.account.picture().seen(id).cloned()
    }

    /// Whether the last verdict, Ready on this generation, still stands though the recipients were not listed since
    /// the process began: nothing that a sweep shows has moved.
    fn is_trusted(&self, id: &ShareId) -> bool {
        if !self.pass.was_ready() || self.pass.is_following() {
            return false;
        }
        let unlisted = |seen: &Seen| seen.recipients.is_none() && seen.excluded.is_none();
        let Some(seen) = self.seen(id).filter(unlisted) else { return false };
        let recorded = Settled::recorded(&self.pass.status, &self.wanted);
        let observed = Settled::observed(&seen, &self.wanted, &self.plan(&seen));
        if recorded != observed {
            tracing::debug!(?recorded, ?observed, "the share is not as it was recorded");
        }
        recorded == observed
    }

    /// Reads what is due: while something is pending the poll, else only what is missing or known to be stale.
    async fn refresh(&mut self, id: &ShareId, requested: bool) -> Result<(), Stop> {
        let poll = self.pass.is_poll_due();
        let since = self.pass.outdated_before(requested);
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
            if !self.excludes() && seen.excluded.is_none() {
                return Ok(());
            }
            if seen.are_exclusions_outdated(since) {
                self.access.read_excluded(id).await?;
            }
            return Ok(());
        }
        // With many shares under way, counts tell for a hundred of them in one call when a list is worth its call;
        // but what failed stays associating, so a count that does not move says nothing.
        let still = many && polls < PATIENT_POLLS && seen.counts.is_some_and(|c| c.associating > 0) && !requested;
        if seen.are_recipients_outdated(since) && !still {
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
        self.pass.follow(&self.access.account, hasher.finish())
    }

    /// The name at Cloudflare, put right if it differs.
    async fn tend_name(&mut self, id: &ShareId, seen: &Seen) -> Result<Option<Verdict>, Stop> {
        let Some(wanted) = self.wanted.name.clone().filter(|_| !self.keeps_its_name()) else { return Ok(None) };
        let found = &seen.share.name;
        if *found == wanted {
            self.pass.status.common.drift.retain(|drift| drift.path != "name");
            if self.pass.status.share_name.as_ref() != Some(&wanted) {
                self.pass.status.share_name = Some(wanted);
                self.pass.notes(|notes| notes.stayed("name"));
            }
            return Ok(None);
        }
        if self.mode != Mode::Manage {
            return Ok(None);
        }
        let write = Write { item: "name".into(), what: "the share's name".into(), value: wanted, found: found.clone() };
        let hindrance = self.pass.hindrance(&write);
        if hindrance.is_some() {
            return Ok(hindrance);
        }
        if let Some(verdict) = self.name_taken(id, &write.value, found).await? {
            return Ok(Some(verdict));
        }
        self.pass.show_drift(self.name_drift(seen).into_iter().collect()).await?;
        let apply = Apply { remote: &self.pass.context.remote, access: &self.access };
        let change = apply.rename_share(id, &write.value).await?;
        self.pass.note_answer(change, &write, &format!("Cloudflare refuses the name {}", write.value))?;
        Ok(None)
    }

    /// Why the share may not get that name: a name is looked for before a rename as before a create.
    async fn name_taken(&self, id: &ShareId, name: &str, kept: &str) -> Result<Option<Verdict>, Stop> {
        let objects = &self.pass.context.cluster.index;
        if !objects.claims(&self.pass.object) {
            let rival = objects.rival(&self.pass.object, None);
            let rival = rival.map_or("another object".to_owned(), |rival| format!("Share {rival}"));
            return Ok(Some(taken(&format!("{rival} declares the name {name} in this account"), kept)));
        }
        let bearer = || {
            let picture = self.access.account.picture();
            let bears =
                |share: &RemoteShare| share.name == name && share.id != *id && share.kind != Some(ShareKind::Received);
            picture.live().find(|seen| bears(&seen.share)).map(|seen| seen.share.id.clone())
        };
        // What is known to be taken costs no look.
        if bearer().is_none() {
            self.access.look(self.pass.since).await?;
        }
        Ok(bearer().map(|other| taken(&format!("share {other} of this account has the name {name}"), kept)))
    }

    pub(super) fn is_misnamed(&self, seen: &Seen) -> bool {
        !self.keeps_its_name() && self.wanted.name.as_ref().is_some_and(|wanted| *wanted != seen.share.name)
    }

    /// The name that the share had as declared, and has no more; when only observing, any other name.
    pub(super) fn name_drift(&self, seen: &Seen) -> Option<DriftEntry> {
        let wanted = self.wanted.name.clone().filter(|_| self.is_misnamed(seen))?;
        let edited = self.mode == Mode::Manage && self.pass.status.share_name.as_ref() != Some(&wanted);
        (!edited).then(|| drift::entry("name".into(), &wanted, &seen.share.name))
    }

    /// An adopted share keeps the name it has, unless the manifest gives one.
    fn keeps_its_name(&self) -> bool {
        self.pass.status.adopted && self.pass.object.spec.name.is_none()
    }
}
