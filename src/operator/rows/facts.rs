//! On what the step of one row is decided, no matter who declares it: from values alone, for the operator and for
//! `cfshare plan`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use litemap::LiteMap;

use super::inventory::Entry;
use crate::core::id::AccountId;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::row_step::{self, Declared, Facts, Observed, Sent, Step};
use crate::core::time::At;
use crate::operator::clock::{self, CLOCK_RESOLUTION};
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::pass::Pass;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::settings::Settings;

pub struct RowSnapshot<'a> {
    pub seen: &'a ObservedShare,
    pub key: &'a RowKey,
    /// What its meta is to be; `None`: whatever it is.
    pub meta: Option<&'a ResourceMeta>,
    pub settings: &'a Settings,
    /// What this process remembers of the rows; `None`: a plan knows only what is recorded.
    pub memories: Option<&'a RowMemories>,
}

/// What is to be done about one row, and what of it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlan {
    pub step: Step,
    pub observed: Observed,
}

impl RowPlan {
    pub fn of(facts: Facts) -> RowPlan {
        RowPlan { step: row_step::step(facts), observed: facts.observed }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.observed, Observed::Live { .. })
    }

    /// It is there, and nobody here declared it.
    pub fn is_foreign(&self) -> bool {
        self.step == Step::Ignore && self.is_live()
    }
}

/// What this process knows of rows in addition to what is recorded.
pub struct RowMemories {
    /// When this process took over the account.
    pub serving_since: At,
    pub now: At,
    /// When it found rows in place.
    pub confirmed: LiteMap<RowKey, At>,
    /// When it learned that the calls which add rows have taken effect.
    pub answered: LiteMap<RowKey, At>,
    /// When it announced calls that it did not send.
    pub unsent: LiteMap<RowKey, At>,
}

impl RowMemories {
    pub fn of<K: Reconciled>(pass: &Pass<K>, account: &AccountId) -> RowMemories {
        let serving_since = pass.context.cluster.shards.serving_since(account.as_str());
        pass.memory(|memory| RowMemories {
            serving_since,
            now: pass.now(),
            confirmed: memory.confirmed.clone(),
            answered: memory.answered.clone(),
            unsent: memory.unsent_rows.clone(),
        })
    }

    /// What it knows of the call that was announced then.
    fn sent(&self, key: &RowKey, announced: &Time) -> Sent {
        let is_that = |at: &&At| clock::time(**at) == *announced && **at >= self.serving_since;
        if self.unsent.get(key).filter(is_that).is_some() {
            Sent::Never
        } else if self.answered.contains_key(key) {
            Sent::Answered
        } else {
            Sent::Maybe
        }
    }

    /// When the row was last known to be in place, or when this process took over.
    fn in_place_at(&self, key: &RowKey) -> At {
        let known = self.confirmed.get(key).max(self.answered.get(key)).copied();
        known.unwrap_or_default().max(self.serving_since)
    }
}

impl RowSnapshot<'_> {
    pub fn facts(&self, declared: Declared, recorded: row_step::Recorded, prune: bool) -> Facts {
        Facts { declared, recorded, observed: self.observed(declared, recorded), prune, lagging: self.may_lag() }
    }

    fn observed(&self, declared: Declared, recorded: row_step::Recorded) -> Observed {
        // To believe that a resource on record is gone would leave it shared, or add it a second time.
        let is_recorded = recorded != row_step::Recorded::Never;
        let may_be_new = match recorded {
            row_step::Recorded::Intended { settled: true, .. } => true,
            row_step::Recorded::Intended { answered, .. } => answered && declared == Declared::Nowhere,
            row_step::Recorded::Never | row_step::Recorded::InPlace => false,
        };
        if is_recorded && self.memories.is_some() && self.seen.may_lack_resource(self.key, may_be_new) {
            return Observed::Unread;
        }
        self.seen.row(self.key, |row| self.meta.is_some_and(|meta| !meta.is_same(&row.meta)))
    }

    /// Whether the rows were read so shortly after this one was found in place that it may be missing all the same.
    fn may_lag(&self) -> bool {
        let read_at = self.seen.rows_read_at(self.key);
        self.memories.is_some_and(|memories| self.settings.may_lag(read_at, memories.in_place_at(self.key)))
    }

    /// What this entry in the inventory of a Share, or this record of a child object, means to these rows.
    pub fn recorded(&self, entry: Option<&Entry>) -> row_step::Recorded {
        let Some(entry) = entry else { return row_step::Recorded::Never };
        let Some(intended) = &entry.intended_at else { return row_step::Recorded::InPlace };
        let (read_at, settle) = (self.seen.rows_read_at(self.key), self.settings.settle_time + CLOCK_RESOLUTION);
        let sent = self.memories.map_or(Sent::Answered, |memories| memories.sent(self.key, intended));
        let at = self.memories.map_or_else(
            || clock::from_time(intended),
            |memories| clock::recorded(intended, memories.now, memories.serving_since),
        );
        row_step::Recorded::announced(at, read_at, settle, self.settings.read_lag(), sent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_very_call_that_this_process_announced_and_did_not_send_counts_as_never_sent() {
        let (at, second) = (At(10_000_500), Duration::from_secs(1));
        let key = RowKey::Recipient(AccountId::parse("372e67954025e0ba6aaa6d586b9e0b59").expect("an id"));
        let other = RowKey::Recipient(AccountId::parse("023e105f4ecef8ad9ca31a8372d0c353").expect("an id"));
        let announced = clock::time(at);
        let table = [
            ("this one", vec![(&key, at)], At(0), false, Sent::Never),
            ("none, as after a restart", vec![], At(0), false, Sent::Maybe),
            ("none, and it has taken effect", vec![], At(0), true, Sent::Answered),
            ("one before it", vec![(&key, at.minus(second))], At(0), false, Sent::Maybe),
            ("one after it", vec![(&key, at.plus(second))], At(0), false, Sent::Maybe),
            ("that of another row", vec![(&other, at)], At(0), false, Sent::Maybe),
            ("this one, and another process served meanwhile", vec![(&key, at)], at.plus(second), false, Sent::Maybe),
        ];
        for (what, unsent, serving_since, answered, expected) in table {
            let memories = RowMemories {
                serving_since,
                now: at,
                confirmed: LiteMap::new(),
                answered: answered.then(|| (key.clone(), at)).into_iter().collect(),
                unsent: unsent.into_iter().map(|(row, at)| (row.clone(), at)).collect(),
            };
            assert_eq!(memories.sent(&key, &announced), expected, "{what}");
        }
    }
}
