//! What is done to one row of a share once that is decided, no matter who declares it.

use super::inventory;
use crate::api::share::ExcludedEntry;
use crate::api::status::DriftEntry;
use crate::api::{Reason, Share};
use crate::cloudflare::{Error, ErrorClass, Recipient};
use crate::core::id::{AccountId, ShareId, ShareResourceId};
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Observed, Step};
use crate::core::time::At;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::delays::FRESH;
use crate::operator::pass::memory::Write;
use crate::operator::pass::verdict::Verdict;
use crate::operator::pass::{Pass, write};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::remote::session::Session;
use crate::operator::remote::writer::Change;
use crate::operator::stop::Stop;

/// One row, as a pass saw the share that it is of.
pub struct Row<'a, K: Reconciled> {
    pub pass: &'a Pass<K>,
    pub session: &'a Session,
    pub seen: &'a ObservedShare,
    pub key: &'a RowKey,
    /// How messages name it.
    pub name: String,
    /// What is wanted of it, if it is a resource.
    pub meta: ResourceMeta,
}

pub struct Added {
    /// The call was made, or may have been: the announcement stands.
    pub stands: bool,
    /// It was made, and its answer does not show the row: before a read shows it, it is not known to be in place.
    pub is_unseen: bool,
    pub outcome: Result<(), Stop>,
}

impl<K: Reconciled> Row<'_, K> {
    fn share(&self) -> &ShareId {
        &self.seen.share.id
    }

    pub fn adding(&self) -> Write {
        let (item, what) = (self.key.to_string(), self.name.clone());
        Write { item, what, value: "present".to_owned(), found: "absent".to_owned() }
    }

    pub fn updating(&self) -> Write {
        let found = self.seen.resource(self.key).map(|row| row.meta.to_string()).unwrap_or_default();
        let (item, what) = (self.key.to_string(), format!("the meta of {}", self.name));
        Write { item, what, value: self.meta.to_string(), found }
    }

    /// That the last resource may not go says nothing about it once there is another.
    pub fn removing(&self) -> Write {
        let last = if self.is_last() { "the last " } else { "" };
        let (item, what) = (format!("remove {last}{}", self.key), self.name.clone());
        Write { item, what, value: "absent".to_owned(), found: "present".to_owned() }
    }

    /// It was found in place: takes note of that, and returns what is recorded of its meta. What drifted counts as
    /// written until it has stayed.
    pub fn confirm(&self, row: Observed, drift: &[DriftEntry]) -> Option<Interned> {
        let item = self.key.to_string();
        let (now, read_lag) = (self.pass.now(), self.pass.context.settings.read_lag());
        self.pass.memory(|memory| {
            memory.confirm(self.key, now, read_lag);
            if !drift.iter().any(|entry| entry.path.starts_with(&item)) {
                memory.write_stuck(&item);
            }
        });
        match row {
            Observed::Live { differs: true } => Some(inventory::NEVER.into()),
            Observed::Unread | Observed::Absent | Observed::Live { differs: false } | Observed::Leaving => {
                inventory::meta_hash(&self.meta)
            }
        }
    }

    /// Adds it. The caller holds the permit and has announced it.
    pub async fn add(&self, announced: At) -> Added {
        match self.session.add(self.share(), self.key, &self.meta, announced).await {
            // What Cloudflare has under another account was not added by that.
            Ok(Change::Done(_)) if self.is_now(|seen| seen.under_another_account(self.key).is_some()) => {
                Added { stands: false, is_unseen: false, outcome: Ok(()) }
            }
            Ok(Change::Done(is_shown)) => {
                self.note_added(self.pass.now());
                Added { stands: true, is_unseen: !is_shown, outcome: Ok(()) }
            }
            Ok(Change::Unsure(error)) => {
                // Carried out, by its status: if nothing comes of it, again and again, that does not go on.
                if error.head().is_some_and(|head| (200..300).contains(&head.status)) {
                    self.pass.memory(|memory| memory.wrote(&self.adding(), self.pass.now()));
                }
                Added { stands: true, is_unseen: false, outcome: Err(Stop::Cloudflare(error)) }
            }
            Ok(Change::Not(error)) => Added { stands: false, is_unseen: false, outcome: self.add_refused(error).await },
            Err(stop) => Added { stands: false, is_unseen: false, outcome: Err(stop) },
        }
    }

    /// The call that adds it was answered.
    pub fn note_added(&self, now: At) {
        self.pass.memory(|memory| {
            memory.wrote(&self.adding(), now);
            memory.note_row(self.key, |row| row.answered = Some(now));
        });
    }

    async fn add_refused(&self, error: Error) -> Result<(), Stop> {
        let for_now = match error.class() {
            // It may be there already, or the share is in a state that forbids it: look again.
            ErrorClass::Conflict | ErrorClass::Gone => {
                if error.class() == ErrorClass::Conflict && self.is_share_gone().await?
                    || self.is_there_after_all().await?
                {
                    return Ok(());
                }
                " for now"
            }
            ErrorClass::Rejected => "",
            ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied => return Err(Stop::Cloudflare(error)),
        };
        let message = format!("Cloudflare refuses {}{for_now}: {error}", self.name);
        let now = self.pass.now();
        self.pass.memory(|memory| memory.refuse(&self.key.to_string(), message, now));
        Ok(())
    }

    /// Whether that is so by what is known of the share now.
    fn is_now(&self, is: impl FnOnce(&ObservedShare) -> bool) -> bool {
        self.session.account.cache().seen(self.share()).is_some_and(is)
    }

    /// What is refused on a share that is on its way out says nothing of the row: the next look reports the share.
    async fn is_share_gone(&self) -> Result<bool, Stop> {
        self.session.read_share(self.share()).await.inspect_err(|_| self.session.stale(self.share()))?;
        Ok(!self.is_now(ObservedShare::is_live))
    }

    /// Whether it is there, under whichever account.
    async fn is_there_after_all(&self) -> Result<bool, Stop> {
        // If it cannot be read now, it is read before the next try.
        self.read().await.inspect_err(|_| self.session.stale(self.share()))?;
        Ok(self.is_now(|seen| is_live(seen, self.key) || seen.under_another_account(self.key).is_some()))
    }

    /// Writes the meta that is wanted.
    pub async fn update(&self) -> Result<(), Stop> {
        let Some(row) = self.seen.resource(self.key) else { return Ok(()) };
        let write = self.updating();
        let change = self.session.update_resource(self.share(), self.key, &row.id, &self.meta).await?;
        let is_gone =
            matches!(&change, Change::Not(error) | Change::Unsure(error) if error.class() == ErrorClass::Gone);
        if is_gone && self.is_replaced(&row.id).await? {
            return Ok(());
        }
        self.pass.note_answer(change, &write, &format!("Cloudflare refuses {}", write.what)).map(drop)
    }

    /// Whether that row is not there any more: somebody may have removed the resource and added it again.
    async fn is_replaced(&self, row: &ShareResourceId) -> Result<bool, Stop> {
        self.read().await?;
        let cache = self.session.account.cache();
        let now = cache.seen(self.share()).and_then(|seen| seen.resource(self.key));
        Ok(now.is_none_or(|now| now.id != *row))
    }

    /// Removes it, with all rows that it has, and returns whether that was done; `instead`: how a share comes to lose its last
    /// resource.
    pub async fn remove(&self, instead: &str) -> Result<bool, Stop> {
        let rows = self.seen.live_rows(self.key);
        if rows.is_empty() {
            return Ok(false);
        }
        let mut change = Change::Done(());
        for row in &rows {
            let current = self.pass.confirm().await?;
            change = self.session.remove(self.share(), self.key, row, &current).await?;
            if !matches!(change, Change::Done(())) {
                break;
            }
        }
        self.note_removal(&change);
        if matches!(&change, Change::Not(error) if error.class() == ErrorClass::Conflict)
            && self.is_share_gone().await?
        {
            return Ok(false);
        }
        let refused = if self.is_last() {
            format!(
                "{} is not removed, because Cloudflare does not remove the last resource of a share ({instead})",
                self.name
            )
        } else {
            format!("Cloudflare refuses to remove {}", self.name)
        };
        self.pass.note_answer(change, &self.removing(), &refused)
    }

    /// A removal that got no answer may take effect later, also where the row is wanted again by then.
    fn note_removal(&self, change: &Change<()>) {
        let now = self.pass.now();
        let lost = match change {
            Change::Unsure(_) => Some(now),
            Change::Done(()) => None,
            Change::Not(_) => return,
        };
        self.pass.memory(|memory| memory.note_row(self.key, |row| row.lost_removal = lost));
    }

    /// The refusal of its removal, while that holds.
    pub fn removal_refused(&self) -> Option<Verdict> {
        let reason = if self.is_last() { Reason::LastResource } else { Reason::Rejected };
        self.pass.refusal(&self.removing().item, reason)
    }

    /// Whether it is a recipient that failed for good.
    pub fn has_failed(&self) -> bool {
        let row = self.key.recipient().and_then(|account| self.seen.recipient(account));
        row.is_some_and(Recipient::has_failed) && is_live(self.seen, self.key)
    }

    /// Removes a recipient that failed, to be added again. The caller has announced that. A refusal is noted as one of the
    /// recipient.
    pub async fn retry(&self) -> Result<(), Stop> {
        let refused = format!("Cloudflare refuses to remove {}, which must go before it can be added again", self.name);
        for row in self.seen.live_rows(self.key) {
            let current = self.pass.confirm().await?;
            match self.session.remove(self.share(), self.key, &row, &current).await? {
                Change::Done(()) => {}
                change => return self.pass.note_answer(change, &self.adding(), &refused).map(|_| ()),
            }
        }
        Ok(())
    }

    /// Whether it is a resource, and no other is left.
    fn is_last(&self) -> bool {
        self.key.is_resource() && self.seen.live_resources() <= 1
    }

    pub async fn read(&self) -> Result<(), Stop> {
        match self.key {
            RowKey::Recipient(_) => self.session.read_recipient(self.share(), self.key).await,
            // This is only asked for an exclusion that is on record, or was listed before.
            RowKey::Excluded(_) => self.session.read_excluded(self.share(), true).await,
            RowKey::Resource { .. } => self.session.read_resource(self.share(), self.key).await,
        }
    }

    /// Reads the row again before anything is added, changed or removed because of an old list. Returns whether it did.
    pub async fn read_if_old(&self) -> Result<bool, Stop> {
        let old = self.seen.is_outdated(self.key, self.pass.fresh_since.minus(FRESH));
        if old {
            match self.key {
                RowKey::Recipient(_) | RowKey::Excluded(_) => self.read().await?,
                RowKey::Resource { .. } => self.session.read_resources(self.share()).await?,
            }
        }
        Ok(old)
    }

    /// What drift shows of a row that was in place once, and calls for this step now.
    pub fn drift(&self, step: Step) -> Option<DriftEntry> {
        let (path, desired, observed) = match step {
            Step::Restore => {
                let (desired, observed) = match self.key {
                    RowKey::Recipient(account) => {
                        let row = self.seen.recipient(account);
                        ("associated", row.map_or("absent", |row| row.association_status.as_str()))
                    }
                    RowKey::Excluded(_) => ("excluded", "absent"),
                    RowKey::Resource { .. } => ("active", "absent"),
                };
                (self.key.to_string(), desired.to_owned(), observed.to_owned())
            }
            Step::Update => {
                let Write { value, found, .. } = self.updating();
                (format!("{}.meta", self.key), value, found)
            }
            Step::Keep | Step::Read | Step::Add | Step::Confirm | Step::Wait => return None,
            Step::Remove | Step::Forget | Step::Ignore => return None,
        };
        Some(write::drift_entry(path, &desired, &observed))
    }

    /// Whether the manifest says something new of its meta, so that what differs is an edit, and no drift.
    pub fn is_edit(&self, step: Step, recorded_meta: Option<&Interned>) -> bool {
        step == Step::Update && recorded_meta != inventory::meta_hash(&self.meta).as_ref()
    }
}

/// Whether resources wait: the share has none yet, and an account that the manifest excludes would receive them.
pub fn awaits_exclusions(share: &Share, seen: &ObservedShare) -> bool {
    let mut excluded = share.spec.organization.iter().flat_map(|organization| &organization.excluded);
    let is_in_force = |entry: &ExcludedEntry| {
        AccountId::parse(&entry.account_id).is_ok_and(|account| is_live(seen, &RowKey::Excluded(account)))
    };
    seen.live_resources() == 0 && !excluded.all(is_in_force)
}

/// Whether the row is there, and not on its way out.
pub fn is_live(seen: &ObservedShare, key: &RowKey) -> bool {
    matches!(seen.row(key, |_| false), Observed::Live { .. })
}
