//! What one share looks like at Cloudflare: the share itself, and as much of its rows as was read or written.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use litemap::LiteMap;

use super::recipients::{Exclusions, Members, Recipients};
use crate::cloudflare::{
    AssociationStatus, Counts, Error, ExcludedRecipient, Recipient, ResourceStatus, Share, ShareResource, ShareStatus,
    TargetType,
};
use crate::core::id::{RecipientId, ShareResourceId};
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::sorted::{Ordered, Sorted};
use crate::core::time::At;

#[derive(Debug, Clone)]
pub struct ObservedShare {
    pub share: Share,
    pub resources: Option<Sorted<ShareResource>>,
    /// When they were read; earlier than the share where the last answer left them out.
    pub(super) resources_read_at: At,
    /// When their own list was last read, if nothing that came after it differs: an answer with the share may lack one.
    pub(super) resources_listed_at: At,
    pub counts: Option<Counts>,
    /// When they were read, or became unknown.
    counted_at: At,
    pub first_read_at: At,
    pub read_at: At,
    /// When it was first read as being deleted, or deleted.
    left_at: Option<At>,
    /// Boxed, since few shares are read so closely.
    pub recipients: Option<Box<Recipients>>,
    pub excluded: Option<Exclusions>,
    /// Of an organization's share: those that it does not reach yet. `None`: it reaches all that are counted.
    pub members: Option<Box<Members>>,
    /// When they were last to be listed again though nothing had moved.
    relist_demanded_at: At,
    /// Answers of our own writes, which a slower read must not undo. Most shares have none, or one.
    answered: LiteMap<Interned, Answer>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    at: At,
    /// When the row was first in an answer, if our own call added it.
    added: Option<At>,
}

impl ObservedShare {
    pub fn new(mut share: Share, began: At) -> ObservedShare {
        let resources = share.resources.take().map(Sorted::from);
        let counts = share.counts.take();
        let left_at = is_leaving(&share).then_some(began);
        ObservedShare {
            share,
            left_at,
            resources_read_at: if resources.is_some() { began } else { At::default() },
            resources,
            resources_listed_at: At::default(),
            members: counts.and_then(|counts| Members::counted(None, counts.associating, began)),
            counts,
            counted_at: began,
            read_at: began,
            first_read_at: began,
            recipients: None,
            excluded: None,
            relist_demanded_at: At::default(),
            answered: LiteMap::new_vec(),
        }
    }

    /// A share that the answer to our own write showed first.
    pub fn made(share: Share, now: At) -> ObservedShare {
        let id = share.id.to_string();
        ObservedShare {
            answered: LiteMap::from_iter([(id.into(), Answer { at: now, added: Some(now) })]),
            ..ObservedShare::new(share, now)
        }
    }

    pub fn is_live(&self) -> bool {
        self.share.is_live()
    }

    pub fn is_leaving(&self) -> bool {
        is_leaving(&self.share)
    }

    /// When it was first read as being deleted, or deleted; `None`: it is live.
    pub fn left_at(&self) -> Option<At> {
        self.left_at.filter(|_| self.is_leaving())
    }

    /// Whether it is deleted, and was read as that, or as being deleted, before: one answer proves nothing.
    pub fn is_surely_deleted(&self) -> bool {
        self.share.status == ShareStatus::Deleted && self.left_at().is_some_and(|left_at| self.read_at > left_at)
    }

    /// Whether our own write of that row was answered so shortly before that a read may not show it yet.
    pub fn is_recent(&self, id: &str, began: At, read_lag: Duration) -> bool {
        self.answered.get(id).is_some_and(|answer| began.since(answer.at) < read_lag)
    }

    /// Whether our own call made it a moment ago, and its recipients were not listed since: what was asked for takes a
    /// while. `due`: when the asking pass, which follows it, looks next.
    pub fn is_just_made(&self, due: Option<At>, now: At, read_lag: Duration) -> bool {
        self.recipients.is_none()
            && self.is_recent(self.share.id.as_str(), now, read_lag)
            && due.map_or(self.counts.is_none_or(|counts| counts.associating > 0), |due| now < due)
    }

    /// Whether counts are missing that a read since then, or since our own call made them unknown, might bring.
    pub fn may_be_counted(&self, since: At) -> bool {
        self.counts.is_none() && self.read_at < since.max(self.counted_at)
    }

    /// Whether our own call added that row less than so long before; one that it only changed is not new.
    pub fn is_new(&self, id: &str, now: At, within: Duration) -> bool {
        let added = self.answered.get(id).and_then(|answer| answer.added);
        added.is_some_and(|at| now.since(at) < within)
    }

    /// A row was in the answer to our own call; `was_there`: before that call, too.
    fn note_answer(&mut self, id: String, now: At, was_there: bool) {
        let added = self.answered.get(id.as_str()).map_or((!was_there).then_some(now), |answer| answer.added);
        self.answered.insert(id.into(), Answer { at: now, added });
    }

    /// Returns whether anything is different now.
    pub fn read(&mut self, mut share: Share, began: At, read_lag: Duration) -> bool {
        let before = (self.share.name.clone(), self.share.status.clone(), self.counts);
        let resources_moved = match share.resources.take() {
            Some(rows) => {
                let moved = self.read_resources(rows, began, read_lag);
                if moved {
                    self.resources_listed_at = At::default();
                }
                moved
            }
            None => self.leave_out_resources(began),
        };
        if let Some(counts) = share.counts.take().filter(|_| began >= self.counted_at) {
            self.members = Members::counted(self.members.take(), counts.associating, began);
            (self.counts, self.counted_at) = (Some(counts), began);
        }
        let ours = self.is_recent(share.id.as_str(), began, read_lag);
        let undoes = ours && self.is_leaving() && share.is_live();
        if !undoes && !is_older(share.modified, self.share.modified, ours) {
            self.share = share;
        }
        self.left_at = self.is_leaving().then(|| self.left_at.unwrap_or(began));
        self.answered.retain(|_, answer| began.since(answer.at) < read_lag);
        if self.answered.is_empty() {
            // A map that was emptied keeps its memory.
            self.answered = LiteMap::new_vec();
        }
        self.read_at = self.read_at.max(began);
        let same = (&before.0, &before.1, before.2) == (&self.share.name, &self.share.status, self.counts);
        let counts = self.counts;
        // Somebody may have changed the exclusions; an own list of them is the only place where that shows.
        let moved = before.2.is_some() && before.2 != counts;
        if let (true, Some(excluded)) = (moved, &mut self.excluded) {
            excluded.read_at = At::default();
        }
        let rows_moved = self.recipients.as_mut().is_some_and(|recipients| {
            // Counts that are older than the list say nothing about it.
            let contradicted =
                recipients.read_at <= began && counts.is_some_and(|counts| recipients.note_counts(counts));
            // A recipient may fail on a new version of a resource, which moves no count.
            recipients.stale |= contradicted || resources_moved;
            contradicted
        });
        !same || resources_moved || rows_moved
    }

    pub fn wrote(&mut self, mut share: Share, now: At) {
        self.note_answer(share.id.to_string(), now, true);
        if let Some(resources) = share.resources.take() {
            (self.resources, self.resources_listed_at) = (Some(resources.into()), At::default());
            (self.read_at, self.resources_read_at) = (now, now);
        }
        self.share = share;
        self.left_at = self.is_leaving().then(|| self.left_at.unwrap_or(now));
    }

    /// An answer left the resources out. Where there were none, there most likely are none; where there were some, they are
    /// unread. Returns whether that is news.
    fn leave_out_resources(&mut self, began: At) -> bool {
        match &self.resources {
            None => false,
            Some(known) if known.is_empty() => {
                self.resources_read_at = self.resources_read_at.max(began);
                false
            }
            Some(_) => !self.lacks_resources(),
        }
    }

    pub fn resources_read_at(&self) -> At {
        self.resources_read_at
    }

    /// Whether they were never read, or the last answer left them out.
    pub fn lacks_resources(&self) -> bool {
        self.resources.is_none() || self.resources_read_at < self.read_at
    }

    /// Takes in a list of the resources that is complete, unlike what an answer with the share shows.
    pub fn list_resources(&mut self, rows: Vec<ShareResource>, began: At, read_lag: Duration) {
        self.read_resources(rows, began, read_lag);
        self.resources_listed_at = began;
    }

    /// Returns whether any row is different now.
    fn read_resources(&mut self, rows: Vec<ShareResource>, began: At, read_lag: Duration) -> bool {
        let known = self.resources.as_deref().unwrap_or_default();
        let rows = self.merge(known, rows, began, read_lag, |row: &ShareResource| Version {
            id: row.id.to_string(),
            modified: row.modified,
            leaves: matches!(row.status, ResourceStatus::Deleting | ResourceStatus::Deleted),
        });
        let known = self.resources.replace(rows);
        self.resources_read_at = self.resources_read_at.max(began);
        known.is_some() && known != self.resources
    }

    /// The list of recipients, complete.
    pub fn read_recipients(&mut self, rows: Vec<Recipient>, began: At, read_lag: Duration) {
        let known: &[Recipient] = self.recipients.as_ref().map_or(&[], |recipients| &recipients.rows);
        let rows = self.merge(known, rows, began, read_lag, |row: &Recipient| Version {
            id: row.id.to_string(),
            modified: row.modified,
            leaves: row.association_status.is_ended(),
        });
        let may_lag = self.is_recent(self.share.id.as_str(), began, read_lag);
        let reread_for = self.recipients.as_ref().and_then(|recipients| recipients.reread_for);
        self.recipients = Some(Box::new(Recipients { rows, read_at: began, stale: false, reread_for, may_lag }));
    }

    /// What is wrong with the list of recipients while Cloudflare counts more than it shows: what is not in it may be there
    /// all the same. Of a share that was just made, the list may lag behind.
    pub fn short_list(&self) -> Option<Error> {
        let recipients = self.recipients.as_ref().filter(|recipients| !recipients.may_lag)?;
        self.counts?.contradict(&self.share.id, &recipients.rows)
    }

    /// Whether a list of recipients lacks any that was there before: their rows never go. No share is without one, unless
    /// nobody ever received it.
    pub fn lacks_recipients(&self, rows: &[Recipient]) -> bool {
        let known = self.recipients.iter().flat_map(|recipients| &recipients.rows).map(|row| &row.id);
        rows.is_empty() || lacks_any(known, rows.iter().map(|row| &row.id))
    }

    /// Whether a list of excluded accounts lacks any that was there before; `recorded`: some were, as far as is recorded.
    pub fn lacks_excluded(&self, rows: &[ExcludedRecipient], recorded: bool) -> bool {
        match &self.excluded {
            Some(known) => lacks_any(known.rows.iter().map(|row| &row.id), rows.iter().map(|row| &row.id)),
            None => recorded && rows.is_empty(),
        }
    }

    /// New rows, but for those that our own recent writes know better.
    fn merge<R: Clone + Ordered>(
        &self,
        known: &[R],
        rows: Vec<R>,
        began: At,
        read_lag: Duration,
        about: impl Fn(&R) -> Version,
    ) -> Sorted<R> {
        let mut ours: HashMap<String, R> = HashMap::new();
        for row in known {
            let id = about(row).id;
            if self.is_recent(&id, began, read_lag) {
                ours.insert(id, row.clone());
            }
        }
        let mut merged: Vec<R> = rows
            .into_iter()
            .map(|row| {
                let version = about(&row);
                match ours.remove(&version.id) {
                    Some(own) if version.is_behind(&about(&own)) => own,
                    _ => row,
                }
            })
            .collect();
        merged.extend(ours.into_values());
        merged.shrink_to_fit();
        merged.into()
    }

    /// When its recipients, or its exclusions, were last listed or called for; where they never were, when it was first
    /// seen. Where nobody may answer the call now, others have their turn.
    pub fn listed_at(&self) -> At {
        let recipients = self.recipients.as_ref().map(|recipients| recipients.read_at);
        let excluded = self.excluded.as_ref().map(|excluded| excluded.read_at);
        recipients.or(excluded).unwrap_or(self.first_read_at).max(self.relist_demanded_at)
    }

    /// Whether its recipients were listed, and not only those shown by the answers to our own writes.
    pub fn has_listed_recipients(&self) -> bool {
        self.recipients.as_ref().is_some_and(|recipients| recipients.read_at != At::default())
    }

    /// How many rows the list of its recipients, or of its exclusions, has.
    pub fn list_rows(&self) -> u64 {
        if self.share.target_type == TargetType::Organization {
            return self.excluded.as_ref().map_or(0, |excluded| excluded.rows.len() as u64);
        }
        let counted = self.counts.map(|c| c.associating + c.associated + c.disassociating + c.disassociated);
        let listed = self.recipients.as_ref().map(|recipients| recipients.rows.len() as u64);
        counted.max(listed).unwrap_or(0)
    }

    /// Nothing says that its rows moved, but they must be listed again all the same.
    pub fn demand_relist(&mut self, now: At) {
        self.relist_demanded_at = now;
        if self.share.target_type == TargetType::Organization {
            self.excluded.get_or_insert_default().read_at = At::default();
            return;
        }
        self.recipients.get_or_insert_with(Recipients::unread).stale = true;
    }

    /// What is known of the rows must be read again before anything is decided on it.
    pub fn outdate(&mut self) {
        if let Some(recipients) = &mut self.recipients {
            recipients.stale = true;
        }
        if let Some(excluded) = &mut self.excluded {
            excluded.read_at = At::default();
        }
        (self.read_at, self.resources_read_at) = (At::default(), At::default());
    }

    /// The share itself must be read again; nothing says that its rows moved.
    pub fn read_again(&mut self) {
        (self.read_at, self.resources_read_at) = (At::default(), At::default());
    }

    /// The row of a recipient in the answer to our own write.
    pub fn wrote_recipient(&mut self, row: Recipient, now: At) {
        let was_there = self.recipients.iter().flat_map(|recipients| &recipients.rows).any(|known| known.id == row.id);
        self.note_answer(row.id.to_string(), now, was_there);
        let recipients = self.recipients.get_or_insert_with(Recipients::unread);
        let id = row.id.clone();
        recipients.rows.replace(row, |known| known.id == id);
    }

    /// As above, for one that our own call removes: it goes, whatever the answer shows of it, if anything.
    pub fn removed_recipient(&mut self, id: &RecipientId, answer: Option<Recipient>, now: At) {
        let known = || self.recipients.iter().flat_map(|listed| &listed.rows).find(|row| row.id == *id).cloned();
        let Some(mut row) = answer.or_else(known) else { return self.outdate() };
        if !row.association_status.is_ended() {
            row.association_status = AssociationStatus::Disassociating;
        }
        self.wrote_recipient(row, now);
    }

    /// The list of exclusions, complete, but for those that our own recent calls ended.
    pub fn read_excluded(&mut self, mut rows: Vec<ExcludedRecipient>, began: At, read_lag: Duration) {
        rows.retain(|row| !self.is_recent(row.id.as_str(), began, read_lag));
        self.excluded = Some(Exclusions { read_at: began, rows });
    }

    /// An excluded account in the answer to our own write. Who receives the share now, only a read can tell.
    pub fn wrote_excluded(&mut self, row: ExcludedRecipient, now: At) {
        self.answered.remove(row.id.as_str());
        if let Some(members) = &mut self.members {
            members.rows.retain(|member| member.account_id != row.account_id);
        }
        if let Some(excluded) = &mut self.excluded {
            excluded.rows.retain(|known| known.account_id != row.account_id);
            excluded.rows.push(row);
        }
        (self.counts, self.counted_at) = (None, now);
    }

    /// As above, for one that is excluded no more.
    pub fn removed_excluded(&mut self, row: &RecipientId, now: At) {
        self.note_answer(row.to_string(), now, true);
        if let Some(excluded) = &mut self.excluded {
            excluded.rows.retain(|known| known.id != *row);
        }
        (self.counts, self.counted_at) = (None, now);
    }

    /// Our own call added a row that its answer does not show.
    pub fn added_unseen(&mut self, key: &RowKey, now: At) {
        if key.is_excluded() {
            (self.counts, self.counted_at) = (None, now);
        }
        self.outdate();
    }

    /// The row of a resource in the answer to our own write.
    pub fn wrote_resource(&mut self, row: ShareResource, now: At) {
        let was_there = self.resources.iter().flatten().any(|known| known.id == row.id);
        self.note_answer(row.id.to_string(), now, was_there);
        if let Some(resources) = &mut self.resources {
            let id = row.id.clone();
            resources.replace(row, |known| known.id == id);
        }
    }

    /// As above, for one that our own call removes.
    pub fn removed_resource(&mut self, id: &ShareResourceId, answer: Option<ShareResource>, now: At) {
        let known = || self.resources.iter().flatten().find(|row| row.id == *id).cloned();
        let Some(mut row) = answer.or_else(known) else { return self.outdate() };
        if !matches!(row.status, ResourceStatus::Deleting | ResourceStatus::Deleted) {
            row.status = ResourceStatus::Deleting;
        }
        self.wrote_resource(row, now);
    }
}

/// What tells whether a row is newer than another one of its id.
struct Version {
    id: String,
    modified: Option<Timestamp>,
    /// It is on its way out, or gone.
    leaves: bool,
}

impl Version {
    /// Whether our own recent answer about the row is newer. One that removed it stands until the row is another one.
    fn is_behind(&self, own: &Version) -> bool {
        let undoes = own.leaves && !self.leaves && self.modified == own.modified;
        undoes || is_older(self.modified, own.modified, true)
    }
}

/// Whether a row is older than the one that is known. Without times, our own recent answer wins.
fn is_older(row: Option<Timestamp>, known: Option<Timestamp>, ours: bool) -> bool {
    match (row, known) {
        (Some(row), Some(known)) => row < known,
        _ => ours,
    }
}

fn lacks_any<'a>(
    mut known: impl Iterator<Item = &'a RecipientId>,
    listed: impl Iterator<Item = &'a RecipientId>,
) -> bool {
    let listed: HashSet<&RecipientId> = listed.collect();
    known.any(|id| !listed.contains(id))
}

fn is_leaving(share: &Share) -> bool {
    matches!(share.status, ShareStatus::Deleting | ShareStatus::Deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::AccountId;
    use crate::core::row_step::Observed;
    use serde_json::json;

    #[test]
    fn what_is_to_be_listed_again_is_outdated_whether_it_was_listed_before_or_not() {
        for target in ["account", "organization"] {
            let share = json!({
                "id": "s1", "account_id": "acc", "account_name": "Security", "organization_id": "org", "name": "waf",
                "status": "active", "target_type": target,
            });
            let share: Share = serde_json::from_value(share).expect("a share as Cloudflare writes it");
            let outdated =
                |seen: &ObservedShare| seen.are_recipients_outdated(At(1)) && seen.are_exclusions_outdated(At(1));
            let mut seen = ObservedShare::new(share, At(1_000));
            seen.demand_relist(At(5_000));
            assert!(outdated(&seen) && seen.listed_at() == At(5_000), "{target}");
            if target == "organization" {
                seen.excluded = Some(Exclusions { read_at: At(6_000), rows: Vec::new() });
            } else {
                seen.read_recipients(Vec::new(), At(6_000), Duration::ZERO);
            }
            assert_eq!(seen.listed_at(), At(6_000), "{target}");
            seen.demand_relist(At(9_000));
            assert!(outdated(&seen) && seen.listed_at() == At(9_000), "{target}");
        }
    }

    fn account_share() -> ObservedShare {
        let share =
            json!({"id": "s1", "account_id": "acc", "name": "waf", "status": "active", "target_type": "account"});
        ObservedShare::new(serde_json::from_value(share).expect("a share as Cloudflare writes it"), At(0))
    }

    fn recipient(id: &str, status: &str, modified: u32) -> Recipient {
        let modified = format!("2026-01-01T00:00:{modified:02}Z");
        let row = json!({"id": id, "account_id": "372e", "association_status": status, "modified": modified});
        serde_json::from_value(row).expect("a row as Cloudflare writes it")
    }

    #[test]
    fn a_row_that_our_own_call_removes_goes_whatever_its_answer_says_until_it_is_another_one() {
        let (account, lag) = (AccountId::parse("372e").expect("an id"), Duration::from_secs(60));
        let key = RowKey::Recipient(account);
        let answers = [None, Some(recipient("r1", "associated", 1)), Some(recipient("r1", "revoking", 1))];
        for answer in answers {
            let mut seen = account_share();
            seen.read_recipients(vec![recipient("r1", "associated", 1)], At(1_000), lag);
            seen.removed_recipient(&RecipientId::parse("r1").expect("an id"), answer.clone(), At(2_000));
            let mut shown = |row: Recipient, at: i64| {
                seen.read_recipients(vec![row], At(at), lag);
                seen.row(&key, |_| false)
            };
            let live = Observed::Live { differs: false };
            assert_eq!(shown(recipient("r1", "associated", 1), 3_000), Observed::Leaving, "{answer:?}");
            assert_eq!(shown(recipient("r1", "associated", 2), 4_000), live, "it is another one");
            let mut seen = account_share();
            seen.read_recipients(vec![recipient("r1", "associated", 1)], At(1_000), lag);
            seen.removed_recipient(&RecipientId::parse("r1").expect("an id"), answer, At(2_000));
            seen.read_recipients(vec![recipient("r1", "associated", 1)], At(90_000), lag);
            assert_eq!(seen.row(&key, |_| false), live, "it stays for so long that it did not go");
        }
    }

    #[test]
    fn a_list_is_short_that_lacks_what_was_listed_or_recorded() {
        let mut seen = account_share();
        let rows = |ids: &[&str]| ids.iter().map(|id| recipient(id, "associated", 1)).collect::<Vec<_>>();
        assert!(seen.lacks_recipients(&rows(&[])) && !seen.lacks_recipients(&rows(&["r1"])));
        seen.read_recipients(rows(&["r1", "r2"]), At(1_000), Duration::ZERO);
        assert!(seen.lacks_recipients(&rows(&["r2", "r3"])) && !seen.lacks_recipients(&rows(&["r3", "r2", "r1"])));
        let excluded = |ids: &[&str]| -> Vec<ExcludedRecipient> {
            let rows = ids.iter().map(|id| json!({"id": id, "account_id": "372e"})).collect::<Vec<_>>();
            serde_json::from_value(json!(rows)).expect("rows")
        };
        assert!(seen.lacks_excluded(&excluded(&[]), true) && !seen.lacks_excluded(&excluded(&[]), false));
        assert!(!seen.lacks_excluded(&excluded(&["e1"]), true));
        seen.excluded = Some(Exclusions { read_at: At(1_000), rows: excluded(&["e1"]) });
        assert!(seen.lacks_excluded(&excluded(&["e2"]), false) && !seen.lacks_excluded(&excluded(&["e2", "e1"]), true));
        seen.excluded = Some(Exclusions { read_at: At(1_000), rows: Vec::new() });
        assert!(!seen.lacks_excluded(&excluded(&[]), true), "it was believed before");
    }

    #[test]
    fn resources_that_an_answer_left_out_are_unread_unless_there_were_none() {
        let share = |resources: serde_json::Value| -> Share {
            let mut share = json!({"id": "s1", "account_id": "acc", "name": "waf", "status": "active"});
            if !resources.is_null() {
                share["resources"] = resources;
            }
            serde_json::from_value(share).expect("a share as Cloudflare writes it")
        };
        let row =
            json!([{"id": "a1", "resource_account_id": "acc", "resource_id": "r1", "resource_type": "gateway-policy"}]);
        let mut seen = ObservedShare::new(share(json!(null)), At(1_000));
        assert!(seen.lacks_resources());
        seen.list_resources(serde_json::from_value(row.clone()).expect("rows"), At(1_000), Duration::ZERO);
        assert!(!seen.lacks_resources());
        assert!(seen.read(share(json!(null)), At(2_000), Duration::ZERO), "that is news");
        assert!(seen.lacks_resources() && !seen.read(share(json!(null)), At(3_000), Duration::ZERO), "told once");
        seen.read(share(row), At(4_000), Duration::ZERO);
        assert!(!seen.lacks_resources());
        seen.read(share(json!([])), At(5_000), Duration::ZERO);
        assert!(!seen.read(share(json!(null)), At(6_000), Duration::ZERO) && !seen.lacks_resources());
    }
}
