//! What the matrix shows: shares with what they carry, and a row for each account in each share.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::resources::Carried;
use super::rows::{self, Found, Receiver};
use super::state::{Cell, State};
use crate::api::Name;
use crate::cli::accounts::Accounts;
use crate::cli::cluster::Objects;
use crate::core::interned::Interned;

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Account,
    Share,
    Resource,
}

/// One account in one share, or an account that is in none.
pub(super) struct Row {
    pub(super) receiver: Receiver,
    pub(super) label: Option<Interned>,
    pub(super) share: Option<usize>,
    pub(super) cell: Cell,
    pub(super) declared_by: Vec<String>,
}

/// One share with what it carries.
pub(super) struct Column {
    pub(super) name: Name,
    pub(super) share_id: Option<Interned>,
    pub(super) owner: Interned,
    pub(super) owner_name: Option<Interned>,
    pub(super) ready: String,
    pub(super) reason: String,
    /// When all of this was last verified at Cloudflare.
    pub(super) verified: Option<Timestamp>,
    pub(super) resources: Vec<Carried>,
    /// What the status leaves out.
    pub(super) more: Vec<String>,
    /// The status, or a read of Cloudflare, says something of who receives the share.
    pub(super) proved: bool,
}

/// All that is shown.
pub(super) struct Table {
    pub(super) at: Timestamp,
    /// Cloudflare was read for it.
    pub(super) live: bool,
    /// Why it may not be true any more.
    pub(super) warnings: Vec<String>,
    /// What cannot be known, though nothing speaks against it.
    pub(super) notes: Vec<String>,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    pub(super) fn new(at: Timestamp, live: bool) -> Table {
        Table { at, live, warnings: Vec::new(), notes: Vec::new(), columns: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn add(&mut self, column: Column, found: Vec<Found>) {
        let share = Some(self.columns.len());
        self.columns.push(column);
        let row = |Found { receiver, label, cell, declared_by }| Row { receiver, label, share, cell, declared_by };
        self.rows.extend(found.into_iter().map(row));
    }

    /// ShareRecipients whose Share does not exist may have left something at Cloudflare.
    pub(super) fn add_orphans(&mut self, objects: &Objects) {
        let known: BTreeSet<Name> = objects.shares.iter().map(Name::of).collect();
        let mut orphans: BTreeMap<Name, Vec<Found>> = BTreeMap::new();
        for child in &objects.recipients {
            let parent = Name::new(child.namespace().unwrap_or_default(), child.spec.share_ref.name.clone());
            if known.contains(&parent) {
                continue;
            }
            orphans.entry(parent).or_default().push(Found {
                receiver: Receiver::Account(child.spec.account_id.clone()),
                label: child.spec.name.clone(),
                cell: rows::orphan(child),
                declared_by: vec![format!("ShareRecipient/{}", child.name_any())],
            });
        }
        for (name, found) in orphans {
            let column = Column {
                name,
                share_id: None,
                owner: Interned::default(),
                owner_name: None,
                ready: "Unknown".into(),
                reason: "the Share does not exist".into(),
                verified: None,
                resources: Vec::new(),
                more: Vec::new(),
                // Nothing but these objects declares anything for it.
                proved: true,
            };
            self.add(column, found);
        }
    }

    /// Names from a file come before labels; accounts of the file that are nowhere are listed. `part`: which part of the
    /// cluster was read, if not all of it.
    pub(super) fn name_accounts(&mut self, names: &Accounts, part: Option<&str>) {
        let mut labels: BTreeMap<Receiver, Interned> = BTreeMap::new();
        for row in &self.rows {
            if let Some(label) = &row.label {
                labels.entry(row.receiver.clone()).or_insert_with(|| label.clone());
            }
        }
        for (id, name) in names.iter().filter(|(_, name)| !name.is_empty()) {
            labels.insert(Receiver::Account(id.as_str().into()), name.as_str().into());
        }
        let organization = self.rows.iter().any(|row| matches!(row.receiver, Receiver::Organization(_)));
        let left_out = self.columns.iter().any(|column| !column.more.is_empty());
        let unproved = self.unproved();
        let listed: BTreeSet<Receiver> = self.rows.iter().map(|row| row.receiver.clone()).collect();
        let given = names.keys().map(|id| Receiver::Account(id.as_str().into()));
        for id in given.filter(|id| !listed.contains(id)) {
            let cell = if organization {
                Cell::unknown("in no share of its own; it may receive those for an organization as a member")
            } else if let Some(why) = &unproved {
                Cell::unknown(why.clone())
            } else if left_out {
                Cell::unknown("not listed, but a status leaves out accounts; --live reads Cloudflare")
            } else {
                let part = part.map_or(String::new(), |part| format!(" {part}"));
                Cell::new(State::Nothing, format!("in no share{part}"), "")
            };
            self.rows.push(Row { receiver: id, label: None, share: None, cell, declared_by: Vec::new() });
        }
        for row in &mut self.rows {
            row.label = labels.get(&row.receiver).cloned();
        }
    }

    /// Why an account without a row may receive a share all the same: which Shares it is not known of.
    fn unproved(&self) -> Option<String> {
        let mut names = self.columns.iter().filter(|column| !column.proved).map(|column| &column.name);
        let first = names.next()?;
        let shares = match names.count() {
            0 => format!("Share {first}"),
            n => format!("Share {first}, and of {n} more,"),
        };
        let what = if self.live {
            "proves nothing and has no id of a share that could be read"
        } else {
            "proves nothing; --live reads Cloudflare"
        };
        Some(format!("not listed, but the status of {shares} {what}"))
    }

    pub(super) fn column(&self, row: &Row) -> Option<&Column> {
        row.share.and_then(|at| self.columns.get(at))
    }
}
