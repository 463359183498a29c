//! On what the step of one row is decided, no matter who declares it: from values alone, for the operator and for
//! `cfshare plan`.

use super::inventory::Entry;
use super::known::Known;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::row_step::{self, Declared, Facts, Observed, Sent, Step};
use crate::operator::clock::{self, CLOCK_RESOLUTION};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::settings::Settings;

pub struct RowSnapshot<'a> {
    pub seen: &'a ObservedShare,
    pub key: &'a RowKey,
    /// What its meta is to be; `None`: whatever it is.
    pub meta: Option<&'a ResourceMeta>,
    pub settings: &'a Settings,
    /// What this process knows of announced calls; `None`: a plan knows only what is recorded.
    pub known: Option<&'a Known<'a>>,
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

impl RowSnapshot<'_> {
    pub fn facts(&self, declared: Declared, recorded: row_step::Recorded, prune: bool) -> Facts {
        Facts { declared, recorded, observed: self.observed(declared, recorded), prune, lagging: self.may_lag() }
    }

    fn observed(&self, declared: Declared, recorded: row_step::Recorded) -> Observed {
        // To believe that a resource on record is gone would leave it shared, or add it a second time.
        let is_recorded = recorded != row_step::Recorded::Never;
        let may_be_new = match recorded {
            row_step::Recorded::Settled => true,
            row_step::Recorded::Answered => declared == Declared::Nowhere,
            row_step::Recorded::Never | row_step::Recorded::Open | row_step::Recorded::InPlace => false,
        };
        if is_recorded && self.known.is_some() && self.seen.may_lack_resource(self.key, may_be_new) {
            return Observed::Unread;
        }
        self.seen.row(self.key, |row| self.meta.is_some_and(|meta| !meta.is_same(&row.meta)))
    }

    /// Whether the rows were read so shortly after this one was found in place that it may be missing all the same.
    fn may_lag(&self) -> bool {
        let read_at = self.seen.rows_read_at(self.key);
        self.known.is_some_and(|known| self.settings.may_lag(read_at, known.in_place_at(self.key)))
    }

    /// What this entry in the inventory of a Share, or this record of a child object, means to these rows.
    pub fn recorded(&self, entry: Option<&Entry>) -> row_step::Recorded {
        let Some(entry) = entry else { return row_step::Recorded::Never };
        let Some(intended) = &entry.intended_at else { return row_step::Recorded::InPlace };
        let (read_at, settle) = (self.seen.rows_read_at(self.key), self.settings.settle_time + CLOCK_RESOLUTION);
        let (at, sent) = match self.known {
            Some(known) => (known.at(intended), known.sent(self.key, intended)),
            None => (clock::from_time(intended), Sent::Answered),
        };
        row_step::Recorded::announced(at, read_at, settle, self.settings.read_lag(), sent)
    }
}
