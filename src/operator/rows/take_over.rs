//! What does one object's record of a row tell another one that takes the row over?
//!
//! A call that one object announced may take effect while another one looks after the row: the one that takes the row over takes
//! the record over, and only then is the other record dropped. That needs no look at Cloudflare.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::declare::Sibling;
use super::inventory::Entry;
use crate::api::ObjectKey;
use crate::core::child_step::{OnRecord, covers};
use crate::core::id;
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::pass::Pass;
use crate::operator::pass::context::Context;
use crate::operator::pass::memory::Memories;

/// On what is decided whether an announced call may still take effect.
pub struct Announcements<'a> {
    pub memories: &'a Memories,
    pub now: At,
    /// When this process took over the account.
    pub serving_since: At,
    /// After so long it cannot any more.
    pub settled: Duration,
}

/// What somebody else has recorded of a row.
#[derive(Debug, Clone)]
pub struct TakenOver {
    pub entry: Entry,
    /// When it was learned that the announced call has taken effect.
    pub answered: Option<At>,
}

impl<'a> Announcements<'a> {
    pub fn of<K: Reconciled>(pass: &'a Pass<K>) -> Announcements<'a> {
        let Context { memories, settings, .. } = pass.context.as_ref();
        Announcements {
            memories,
            now: pass.now(),
            serving_since: pass.serving_since(),
            settled: settings.settled_after(),
        }
    }

    /// When a call was announced, by any object.
    pub fn at(&self, announced: &Time) -> At {
        clock::recorded(announced, self.now, self.serving_since)
    }

    fn on_record(&self, entry: Option<&Entry>) -> OnRecord {
        match entry.map(|entry| &entry.intended_at) {
            None => OnRecord::Never,
            Some(None) => OnRecord::InPlace,
            Some(Some(at)) => OnRecord::Announced(self.at(at)),
        }
    }

    /// Whether the call that this object announced may still take effect.
    pub fn is_open(&self, by: &ObjectKey, row: &RowKey, entry: &Entry) -> bool {
        let announced = entry.intended_at.as_ref().map(|at| self.at(at));
        let settled = announced.is_none_or(|at| self.now.since(at) > self.settled);
        !settled && self.memories.answered(by, row).is_none()
    }

    /// Whether who has `own` recorded knows what `other` has recorded.
    pub fn covers(&self, own: Option<&Entry>, row: &RowKey, by: &ObjectKey, other: Option<&Entry>) -> bool {
        let open = other.is_some_and(|entry| self.is_open(by, row, entry));
        covers(self.on_record(own), self.on_record(other), open)
    }

    /// The first record of these that tells what is not known yet.
    pub fn to_take_over<'e>(
        &self,
        own: Option<&Entry>,
        row: &RowKey,
        others: impl IntoIterator<Item = (&'e ObjectKey, &'e Entry)>,
    ) -> Option<TakenOver> {
        let mut others = others.into_iter();
        let (by, entry) = others.find(|(by, entry)| !self.covers(own, row, by, Some(entry)))?;
        Some(TakenOver { entry: entry.clone(), answered: self.memories.answered(by, row) })
    }
}

/// What these objects have recorded of a row in that share.
pub fn recorded_in<'s>(
    siblings: impl IntoIterator<Item = &'s Sibling>,
    share: &str,
) -> impl Iterator<Item = (&'s ObjectKey, &'s Entry)> {
    let noted = move |sibling: &&Sibling| sibling.child.share_id().is_some_and(|noted| id::same(noted, share));
    let there = siblings.into_iter().filter(noted);
    there.filter_map(|sibling| Some((&sibling.key, sibling.entry.as_ref()?)))
}
