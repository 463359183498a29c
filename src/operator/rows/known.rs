//! What does this process know of the calls that objects announced for a row?
//!
//! A call that one object announced may take effect while another one looks after the row: the one that takes the row over takes
//! the record over, and only then is the other record dropped. That needs no look at Cloudflare.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::declare::Sibling;
use super::inventory::Entry;
use crate::api::ObjectKey;
use crate::core::child_step::{OnRecord, covers};
use crate::core::id;
use crate::core::row_key::RowKey;
use crate::core::row_step::Sent;
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::pass::Pass;
use crate::operator::pass::context::Context;
use crate::operator::pass::memory::Memories;
use crate::operator::settings::Settings;

pub struct Known<'a> {
    pub memories: &'a Memories,
    /// The object that asks.
    pub key: &'a ObjectKey,
    pub now: At,
    /// When this process took over the account.
    pub serving_since: At,
    pub settings: &'a Settings,
}

/// What somebody else has recorded of a row.
#[derive(Debug, Clone)]
pub struct TakenOver {
    pub entry: Entry,
    /// When it was learned that the announced call has taken effect.
    pub answered: Option<At>,
}

impl<'a> Known<'a> {
    pub fn of<K: Reconciled>(pass: &'a Pass<K>) -> Known<'a> {
        let Context { memories, settings, .. } = pass.context.as_ref();
        Known { memories, key: &pass.key, now: pass.now(), serving_since: pass.serving_since(), settings }
    }

    /// When a call was announced, by any object.
    pub fn at(&self, announced: &Time) -> At {
        clock::recorded(announced, self.now, self.serving_since)
    }

    /// What is known of the call that the object which asks announced then.
    pub fn sent(&self, row: &RowKey, announced: &Time) -> Sent {
        let row = self.memories.row(self.key, row);
        if row.unsent.is_some_and(|at| clock::time(at) == *announced && at >= self.serving_since) {
            Sent::Never
        } else if row.answered.is_some() {
            Sent::Answered
        } else {
            Sent::Maybe
        }
    }

    /// When the row was last known to be in place, or when this process took over.
    pub fn in_place_at(&self, row: &RowKey) -> At {
        let row = self.memories.row(self.key, row);
        row.confirmed.max(row.answered).unwrap_or_default().max(self.serving_since)
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
        let settled = announced.is_none_or(|at| self.now.since(at) > self.settings.settled_after());
        !settled && self.memories.row(by, row).answered.is_none()
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
        Some(TakenOver { entry: entry.clone(), answered: self.memories.row(by, row).answered })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::Name;
    use crate::core::id::AccountId;
    use crate::operator::pass::memory::Announcement;

    #[test]
    fn only_the_very_call_that_this_process_announced_and_did_not_send_counts_as_never_sent() {
        let (at, second) = (At(10_000_500), Duration::from_secs(1));
        let row = RowKey::Recipient(AccountId::parse("372e67954025e0ba6aaa6d586b9e0b59").expect("an id"));
        let other = RowKey::Recipient(AccountId::parse("023e105f4ecef8ad9ca31a8372d0c353").expect("an id"));
        let announced = clock::time(at);
        let table = [
            ("this one", vec![(&row, at)], At(0), false, Sent::Never),
            ("none, as after a restart", vec![], At(0), false, Sent::Maybe),
            ("none, and it has taken effect", vec![], At(0), true, Sent::Answered),
            ("one before it", vec![(&row, at.minus(second))], At(0), false, Sent::Maybe),
            ("one after it", vec![(&row, at.plus(second))], At(0), false, Sent::Maybe),
            ("that of another row", vec![(&other, at)], At(0), false, Sent::Maybe),
            ("this one, and another process served meanwhile", vec![(&row, at)], at.plus(second), false, Sent::Maybe),
        ];
        for (what, unsent, serving_since, answered, expected) in table {
            let (memories, key) = (Memories::default(), ObjectKey::share(Name::new("security", "waf")));
            memories.with(&key, "uid", (1, None), at, |memory| {
                for (row, at) in unsent {
                    memory.note_unsent(&Announcement::Rows(std::slice::from_ref(row)), Some(at));
                }
                memory.note_row(&row, |row| row.answered = answered.then_some(at));
            });
            let known =
                Known { memories: &memories, key: &key, now: at, serving_since, settings: &Settings::default() };
            assert_eq!(known.sent(&row, &announced), expected, "{what}");
        }
    }
}
