//! A pass over a Share that has a credential, and what each of its steps asks of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::desired::Desired;
use super::facts::{Snapshot, Timing, Viewer};
use crate::api::{Share, uid_of};
use crate::cloudflare::{Error, ErrorClass};
use crate::core::id::ShareId;
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::share_step::{Facts, Mode};
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::pass::verdict::Verdict;
use crate::operator::pass::{Pass, breaker};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::remote::session::Session;
use crate::operator::rows::declare::{By, Sibling};
use crate::operator::rows::inventory::{self, Entries, Entry};
use crate::operator::rows::row::Row;
use crate::operator::rows::row_state::label;
use crate::operator::stop::Stop;

/// So many changes of a pass may fail before the others are not tried.
const MAX_FAILED: usize = 3;

pub struct SharePass {
    pub pass: Pass<Share>,
    pub session: Session,
    pub desired: Desired,
    pub mode: Mode,
    /// An organization's recipients were counted once more, since nobody can list them.
    pub counted: bool,
    /// The recipients were listed in this pass in order to replace them, however long that took.
    pub listed: bool,
    /// Why it is not known who declares the rows that are to be removed, so that none is.
    pub unlisted: Option<Verdict>,
    /// Changes that failed in this pass, for a reason that may be theirs alone: the others are made first.
    pub failed: Vec<(String, Error)>,
}

impl SharePass {
    /// Sets a change aside that failed, so that it holds up no other one; `None`: it did. Where some have failed, Cloudflare is
    /// the trouble.
    pub fn set_aside<T>(&mut self, item: String, outcome: Result<T, Stop>) -> Result<Option<T>, Stop> {
        match outcome {
            Err(Stop::Cloudflare(error))
                if error.class() == ErrorClass::Retry && error.is_response() && self.failed.len() < MAX_FAILED =>
            {
                self.failed.push((item, error));
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub fn has_failed(&self, item: &str) -> bool {
        self.failed.iter().any(|(failed, _)| failed == item)
    }

    pub fn row<'a>(&'a self, seen: &'a ObservedShare, key: &'a RowKey) -> Row<'a, Share> {
        let (name, meta) = (self.label(key), self.desired.meta(key));
        Row { pass: &self.pass, session: &self.session, seen, key, name, meta }
    }

    pub fn is_ours(&self, key: &RowKey) -> bool {
        match self.desired.all.get(key).map(|declaration| &declaration.by) {
            Some(By::Share) => true,
            Some(By::Child(_)) => false,
            None => self.is_member(key),
        }
    }

    /// Whether it receives the share as a member of the organization only.
    pub fn is_member(&self, key: &RowKey) -> bool {
        self.desired.organization.is_some() && key.is_recipient() && !self.desired.all.contains_key(key)
    }

    /// The object that declares the row, if it is not the Share itself.
    pub fn declaring(&self, key: &RowKey) -> Option<&Sibling> {
        let Some(By::Child(child)) = self.desired.all.get(key).map(|declaration| &declaration.by) else { return None };
        self.desired.siblings_of(key).iter().find(|sibling| sibling.key == *child)
    }

    /// The label that the manifest gives a row.
    pub fn declared_label(&self, key: &RowKey) -> Option<Interned> {
        self.desired.inline.get(key).and_then(|declaration| declaration.label.clone())
    }

    /// How messages name a row: by its label where there is one.
    pub fn label(&self, key: &RowKey) -> String {
        label(key, self.desired.all.get(key).and_then(|declaration| declaration.label.as_deref()))
    }

    /// Nothing is changed because of the whole operator, and not because the Share is only observed.
    pub fn is_read_only(&self) -> bool {
        self.pass.context.settings.read_only && !self.desired.observe
    }

    pub fn excludes(&self) -> bool {
        self.desired.excluded().next().is_some()
    }

    /// The rows that are recorded, as they are about to be written.
    pub fn entries(&self) -> Entries {
        inventory::entries(&self.pass.status.inventory)
    }

    pub fn record(&mut self, entries: &Entries) {
        self.pass.status.inventory = inventory::inventory(entries);
    }

    /// Records that calls for these rows are about to be sent.
    pub fn intend<'k>(&mut self, keys: impl IntoIterator<Item = &'k RowKey>, now: At) {
        let mut entries = self.entries();
        for key in keys {
            entries.insert(key.clone(), Entry::intended(clock::time(now)).labelled(self.declared_label(key)));
            self.pass.memory(|memory| memory.note_row(key, |row| row.answered = None));
        }
        self.pass.status.bound_uid = uid_of(self.pass.object.as_ref());
        self.record(&entries);
    }

    /// What is reported while the breaker of the account is open, if it is.
    pub fn while_breaker_open(&self) -> Option<Verdict> {
        breaker::while_open(&self.session, &self.pass.key.name, self.share_id().as_ref())
    }

    /// Whether the removal of a row was accepted so lately that reads may not show it yet.
    pub fn is_being_removed(&self, seen: &ObservedShare, key: &RowKey) -> bool {
        self.pass.awaits_effect(&self.row(seen, key).removing())
    }

    /// Nothing is under way any more.
    pub fn stop_following(&self) {
        self.pass.stop_following(&self.session.account);
    }

    pub fn seen(&self, id: &ShareId) -> Option<ObservedShare> {
        self.session.account.cache().seen(id).cloned()
    }

    /// Something is under way: when to look again.
    pub fn follow(&self, seen: &ObservedShare) -> Duration {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", seen.counts, seen.share.status).hash(&mut hasher);
        for row in seen.recipients.iter().flat_map(|r| &r.rows) {
            (row.id.as_str(), row.association_status.as_str()).hash(&mut hasher);
        }
        for row in seen.resources.iter().flatten() {
            (row.id.as_str(), row.status.as_str()).hash(&mut hasher);
        }
        self.pass.follow(&self.session.account, &seen.share.id, hasher.finish())
    }

    /// Takes note that the share is looked at: with which credential, and when for the first time.
    pub fn note_look(&mut self) {
        self.note_credential();
        let now = self.pass.now();
        self.pass.memory(|memory| {
            memory.tries.first_look.get_or_insert(now);
        });
    }

    pub fn facts(&self) -> Facts {
        self.snapshot(|snapshot| snapshot.facts())
    }

    /// Notes down which credential shows the share, or may be believed that it is gone.
    fn note_credential(&mut self) {
        let Some(id) = &self.pass.status.share_id else { return };
        let shown = ShareId::read(id).is_ok_and(|id| self.session.account.cache().seen(&id).is_some());
        let accepted = self.session.account.accepted_at(id);
        if shown || accepted.is_some() {
            self.pass.status.seen_with = Some(self.session.account.seen_with());
        }
        // A word that was given on another Share: the next process has to know that it was on this one too.
        let recorded = self.pass.status.common.last_close_breaker.as_ref();
        let recorded = recorded.and_then(|at| clock::written(at, self.pass.now()));
        if let Some(accepted) = accepted.filter(|accepted| recorded < Some(*accepted)) {
            self.pass.status.common.last_close_breaker = Some(clock::timestamp(accepted).to_string().into());
        }
    }

    /// Asks where the share stands; `ask` must not read or write anything else.
    pub fn snapshot<T>(&self, ask: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let (account, settings) = (&self.session.account, &self.pass.context.settings);
        let recorded = self.pass.status.share_id.as_deref();
        let viewer = Viewer {
            credential: Some(account.fingerprint),
            confirmed_gone: recorded.is_some_and(|id| account.is_accepted(id)),
            children_claim: true,
        };
        let timing = Timing {
            now: self.pass.now(),
            fresh_since: self.pass.fresh_since,
            serving_since: self.pass.serving_since(),
            ahead: account.ahead(),
            settle_time: settings.settle_time,
            read_lag: settings.read_lag(),
        };
        let cache = account.cache();
        self.pass.memory(|memory| {
            ask(&Snapshot {
                object: &self.pass.object,
                desired: &self.desired,
                status: &self.pass.status,
                index: &self.pass.context.cluster.index,
                cache: &cache,
                memory,
                mode: self.mode,
                viewer,
                timing,
            })
        })
    }

    pub fn share_id(&self) -> Option<ShareId> {
        self.snapshot(|snapshot| snapshot.share_id())
    }
}
