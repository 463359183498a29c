//! What is a share made of, and how does it change by itself as time passes?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Micros, Stamp};

/// Of a share or a resource.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    Active,
    Deleting,
    Deleted,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Association {
    Associating,
    Associated,
    Disassociating,
    Disassociated,
}

impl Life {
    pub fn word(self) -> &'static str {
        match self {
            Life::Active => "active",
            Life::Deleting => "deleting",
            Life::Deleted => "deleted",
        }
    }
}

impl Association {
    pub fn live(self) -> bool {
        match self {
            Association::Associating | Association::Associated => true,
            Association::Disassociating | Association::Disassociated => false,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Association::Associating => "associating",
            Association::Associated => "associated",
            Association::Disassociating => "disassociating",
            Association::Disassociated => "disassociated",
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetType {
    Account,
    Organization,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entitlement {
    Full,
    /// Missing: the row never becomes associated.
    Blocks,
    /// Missing: the row becomes associated and carries an error.
    Complains,
}

/// An entry of a recipient's `resources[]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RowError {
    pub resource_id: String,
    pub resource_version: i64,
    pub error: String,
    pub terminal: bool,
}

#[derive(Clone, Debug)]
pub struct Recipient {
    pub id: String,
    pub account_id: String,
    pub status: Association,
    /// When the change under way is complete; none if none is under way.
    pub due: Option<Micros>,
    pub created: Stamp,
    pub modified: Stamp,
    pub entitlement: Entitlement,
    /// Error entries set by hand, instead of those that a missing entitlement causes.
    pub errors: Option<Vec<RowError>>,
    /// A status word set by hand that the API does not document.
    pub word: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Resource {
    pub id: String,
    pub account_id: String,
    pub resource_id: String,
    pub resource_type: String,
    pub version: i64,
    pub meta: Value,
    pub status: Life,
    /// A status word set by hand that the API does not document.
    pub word: Option<String>,
    pub due: Option<Micros>,
    pub created: Stamp,
    pub modified: Stamp,
}

#[derive(Clone, Debug)]
pub struct Excluded {
    pub id: String,
    pub account_id: String,
    pub created: Stamp,
}

#[derive(Clone, Debug)]
pub struct Share {
    pub id: String,
    pub account_id: String,
    pub organization_id: String,
    pub name: String,
    pub target_type: TargetType,
    pub status: Life,
    pub due: Option<Micros>,
    pub created: Stamp,
    pub modified: Stamp,
    pub recipients: Vec<Recipient>,
    pub resources: Vec<Resource>,
    pub excluded: Vec<Excluded>,
    pub tags: BTreeMap<String, String>,
    /// A status word set by hand that the API does not document.
    pub word: Option<String>,
    /// A list of active shares leaves it out.
    pub unlisted: bool,
    /// Whether `modified` moves with the rows.
    pub modified_moves: bool,
    /// The earliest `due` of all: before it there is nothing to do.
    pub next_due: Micros,
}

impl Share {
    /// The live row of an account; of several, the first.
    pub fn live_recipient(&self, account: &str) -> Option<usize> {
        self.recipients.iter().position(|row| row.status.live() && row.account_id == account)
    }

    /// A row of the account that is not live, which a share may use again.
    pub fn ended_recipient(&self, account: &str) -> Option<usize> {
        self.recipients.iter().position(|row| !row.status.live() && row.account_id == account)
    }

    pub fn live_accounts(&self) -> impl Iterator<Item = &str> {
        let live = self.recipients.iter().filter(|row| row.status.live());
        live.map(|row| row.account_id.as_str())
    }

    /// Notes that a recipient or resource changed.
    pub fn touch(&mut self, stamp: &Stamp) {
        if self.modified_moves {
            self.modified = stamp.clone();
        }
    }

    /// Whether the account has a row that is not yet disassociated.
    pub fn received_by(&self, account: &str) -> bool {
        self.recipients.iter().any(|row| row.account_id == account && row.status != Association::Disassociated)
    }

    pub fn active_resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|r| r.status == Life::Active)
    }

    /// Completes every change that is due. Says whether anything changed.
    pub fn settle(&mut self, now: Micros) -> bool {
        if now < self.next_due {
            return false;
        }
        let mut last: Option<Stamp> = None;
        let mut moved = |stamp: &Stamp| match &last {
            Some(newest) if newest.at >= stamp.at => {}
            _ => last = Some(stamp.clone()),
        };
        for row in &mut self.recipients {
            if let Some(stamp) = row.settle(now) {
                moved(&stamp);
            }
        }
        for resource in &mut self.resources {
            if let Some(at) = resource.due.filter(|at| *at <= now) {
                resource.due = None;
                resource.status = Life::Deleted;
                resource.modified = Stamp::at(at);
                moved(&resource.modified);
            }
        }
        if self.modified_moves
            && let Some(stamp) = last
        {
            self.modified = stamp;
        }
        if let Some(at) = self.due.filter(|at| *at <= now) {
            self.due = None;
            self.status = Life::Deleted;
            self.modified = Stamp::at(at);
        }
        self.reschedule();
        true
    }

    pub fn reschedule(&mut self) {
        let rows = self.recipients.iter().filter_map(|row| row.due);
        let resources = self.resources.iter().filter_map(|r| r.due);
        self.next_due = rows.chain(resources).chain(self.due).min().unwrap_or(Micros::MAX);
    }

    /// Begins to delete the share and all that is in it.
    pub fn begin_delete(&mut self, stamp: &Stamp, ends: Ends) {
        self.status = Life::Deleting;
        self.due = Some(ends.share);
        self.modified = stamp.clone();
        for row in &mut self.recipients {
            row.begin_remove(stamp, ends.row);
        }
        for resource in &mut self.resources {
            resource.begin_delete(stamp, ends.resource);
        }
        self.reschedule();
    }
}

/// When deletions that begin now will be complete.
#[derive(Clone, Copy)]
pub struct Ends {
    pub share: Micros,
    pub row: Micros,
    pub resource: Micros,
}

impl Recipient {
    fn settle(&mut self, now: Micros) -> Option<Stamp> {
        let at = self.due.filter(|at| *at <= now)?;
        self.due = None;
        self.status = match (self.status, self.entitlement) {
            (Association::Associating, Entitlement::Blocks) => Association::Associating,
            (Association::Associating | Association::Associated, _) => Association::Associated,
            (Association::Disassociating | Association::Disassociated, _) => Association::Disassociated,
        };
        self.modified = Stamp::at(at);
        Some(self.modified.clone())
    }

    pub fn begin_remove(&mut self, stamp: &Stamp, end: Micros) {
        if self.status.live() {
            self.status = Association::Disassociating;
            self.due = Some(end);
            self.modified = stamp.clone();
            self.word = None;
        }
    }

    pub fn begin_add(&mut self, stamp: &Stamp, end: Micros) {
        self.status = Association::Associating;
        self.due = Some(end);
        self.modified = stamp.clone();
        self.word = None;
    }

    /// Whether a missing entitlement shows: the attempt is over and failed.
    pub fn complains(&self) -> bool {
        self.entitlement != Entitlement::Full && self.status.live() && self.due.is_none()
    }
}

impl Resource {
    pub fn begin_delete(&mut self, stamp: &Stamp, end: Micros) {
        if self.status == Life::Active {
            self.status = Life::Deleting;
            self.due = Some(end);
            self.modified = stamp.clone();
        }
    }
    pub fn set_meta(&mut self, meta: Value, stamp: &Stamp) {
        self.meta = meta;
        self.version += 1;
        self.modified = stamp.clone();
    }
}
