//! On what the step of one row is decided, no matter who declares it: from values alone, for the operator and for
//! `cfshare plan`.

use super::inventory::{self, Entry};
use crate::api::status::ChildStatus;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Declared, Facts, Observed, Recorded};
use crate::core::time::At;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::settings::Settings;

/// One row of a share as it was read.
pub struct RowSnapshot<'a> {
    pub seen: &'a ObservedShare,
    pub key: &'a RowKey,
    /// What its meta is to be; `None`: whatever it is.
    pub meta: Option<&'a ResourceMeta>,
    pub settings: &'a Settings,
    /// What this process knows of it; `None`: a plan knows only what is recorded.
    pub known: Option<RowMemory>,
}

/// What this process knows of a row in addition to what is recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowMemory {
    /// When it began.
    pub started: At,
    /// When it found the row in place.
    pub confirmed: Option<At>,
    /// When it learned that the call which adds the row has taken effect.
    pub answered: Option<At>,
}

impl RowMemory {
    fn latest(self) -> At {
        self.confirmed.max(self.answered).unwrap_or_default().max(self.started)
    }
}

impl RowSnapshot<'_> {
    pub fn facts(&self, declared: Declared, recorded: Recorded, prune: bool) -> Facts {
        Facts { declared, recorded, seen: self.observed(), prune, lagging: self.may_lag() }
    }

    fn observed(&self) -> Observed {
        self.seen.row(self.key, |row| self.meta.is_some_and(|meta| !meta.is_same(&row.meta)))
    }

    /// Whether the rows were read so shortly after this one was found in place that it may be missing all the same.
    fn may_lag(&self) -> bool {
        let known = self.known.map(RowMemory::latest);
        known.is_some_and(|since| self.settings.may_lag(self.seen.rows_read_at(self.key), since))
    }

    fn is_answered(&self) -> bool {
        self.known.is_none_or(|known| known.answered.is_some())
    }

    /// What the entry in the inventory of a Share means to these rows.
    pub fn recorded(&self, entry: Option<&Entry>) -> Recorded {
        inventory::recorded(entry, self.seen.rows_read_at(self.key), self.settings, self.is_answered())
    }

    /// What the record of a child object means to these rows.
    pub fn recorded_by_child(&self, record: &ChildStatus) -> Recorded {
        inventory::recorded_by_child(record, self.seen.rows_read_at(self.key), self.settings, self.is_answered())
    }
}
