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
use crate::cli::reach::Reach;
use crate::cli::remote::ReadShare;
use crate::cloudflare::{Share, clean};
use crate::core::id::AnyId;
use crate::core::interned::Interned;

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Account,
    Share,
    Resource,
}

/// Longest name of a share that is shown.
const LONGEST: usize = 100;

/// One account in one share, or an account that is in none.
pub(super) struct Row {
    pub(super) receiver: Receiver,
    pub(super) label: Option<Interned>,
    pub(super) share: Option<usize>,
    pub(super) cell: Cell,
    pub(super) declared_by: Vec<String>,
}

/// One share with what it carries.
#[derive(Default)]
pub(super) struct Column {
    /// Of its Share; without a namespace: the name at Cloudflare of a share that has none.
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
#[derive(Default)]
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
    /// The shares that have no object are in it, too.
    pub(super) has_unmanaged: bool,
}

impl Column {
    /// A share that no object has.
    pub(super) fn unmanaged(share: &Share, read: Option<&ReadShare>) -> Column {
        Column {
            name: Name::new("", clean(&share.name, LONGEST)),
            share_id: Some(share.id.as_str().into()),
            owner: share.account_id.as_str().into(),
            owner_name: Some(share.account_name.clone()).filter(|name| !name.is_empty()),
            ready: "Unknown".into(),
            reason: "no Share object".into(),
            verified: read.map(|read| read.at),
            resources: read.map(|read| read.resources(Vec::new())).unwrap_or_default(),
            proved: read.is_some(),
            ..Column::default()
        }
    }

    pub(super) fn is_unmanaged(&self) -> bool {
        self.name.namespace.is_empty()
    }

    /// As tables show it.
    pub(super) fn title(&self) -> String {
        match &self.share_id {
            Some(id) if self.is_unmanaged() => format!("{} ({id})", self.name.name),
            Some(_) | None => self.name.to_string(),
        }
    }
}

impl Table {
    pub(super) fn new(at: Timestamp, live: bool) -> Table {
        Table { at, live, ..Table::default() }
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
    pub(super) fn add_orphans(&mut self, objects: &Objects, reach: &Reach) {
        let known: BTreeSet<Name> = objects.shares.iter().map(Name::of).collect();
        let mut orphans: BTreeMap<Name, Vec<Found>> = BTreeMap::new();
        for child in &objects.recipients {
            let parent = Name::new(child.namespace().unwrap_or_default(), child.spec.share_ref.name.clone());
            if known.contains(&parent) {
                continue;
            }
            orphans.entry(parent).or_default().push(Found {
                receiver: Receiver::Account(AnyId::new(child.spec.account_id.clone())),
                label: child.spec.name.clone(),
                cell: rows::orphan(child, reach),
                declared_by: vec![format!("ShareRecipient/{}", child.name_any())],
            });
        }
        for (name, found) in orphans {
            let column = Column {
                name,
                ready: "Unknown".into(),
                reason: "the Share does not exist".into(),
                // Nothing but these objects declares anything for it.
                proved: true,
                ..Column::default()
            };
            self.add(column, found);
        }
    }

    /// Says who receives the share of an organization, which has one row for all of them.
    pub(super) fn note_organizations(&mut self) {
        for row in &self.rows {
            let (Receiver::Organization(id), Some(column)) = (&row.receiver, self.column(row)) else { continue };
            if matches!(row.cell.state, State::Excluded | State::NotShared | State::Nothing) {
                continue;
            }
            let excluded = self.rows.iter().filter(|other| other.share == row.share);
            let except = match excluded.filter(|other| other.cell.state == State::Excluded).count() {
                0 => String::new(),
                n => format!(" except {n} excluded"),
            };
            // Without a share, nobody receives it.
            let is = if column.share_id.is_some() { "is shared" } else { "would be shared" };
            self.notes.push(format!(
                "{} {is} with every account of organization {}{except} ({}); they are not listed one by one",
                column.title(),
                clean(id.as_str(), LONGEST),
                row.cell.word,
            ));
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
        let named = names.iter().filter(|(_, name)| !name.is_empty());
        let named: BTreeMap<Receiver, Interned> =
            named.map(|(id, name)| (Receiver::Account(AnyId::new(id.as_str())), name.as_str().into())).collect();
        let organization = self.rows.iter().any(|row| matches!(row.receiver, Receiver::Organization(_)));
        let left_out = self.columns.iter().any(|column| !column.more.is_empty());
        let unproved = self.unproved();
        let listed: BTreeSet<Receiver> = self.rows.iter().map(|row| row.receiver.clone()).collect();
        let given = names.keys().map(|id| Receiver::Account(AnyId::new(id.as_str())));
        for id in given.filter(|id| !listed.contains(id)) {
            let cell = if organization {
                Cell::unknown("in no share of its own; it may receive those for an organization as a member")
            } else if let Some(why) = &unproved {
                Cell::unknown(why.clone())
            } else if left_out {
                Cell::unknown("not listed, but a status leaves out accounts; --live reads Cloudflare")
            } else {
                let part = part.map_or(String::new(), |part| format!(" {part}"));
                let share = if self.has_unmanaged { "share" } else { "Share object" };
                Cell::new(State::Nothing, format!("in no {share}{part}"), "")
            };
            self.rows.push(Row { receiver: id, label: None, share: None, cell, declared_by: Vec::new() });
        }
        for row in &mut self.rows {
            // What one team calls an account is not what another one reads, but where it has no name for it.
            let label = |of: &BTreeMap<Receiver, Interned>| of.get(&row.receiver).cloned();
            row.label = label(&named).or(row.label.take()).or_else(|| label(&labels));
        }
    }

    /// Why an account without a row may receive a share all the same: which Shares it is not known of.
    fn unproved(&self) -> Option<String> {
        let mut unproved = self.columns.iter().filter(|column| !column.proved);
        let first = unproved.next()?;
        let title = first.title();
        if first.is_unmanaged() {
            return Some(format!("not listed, but the recipients of share {title} could not be read"));
        }
        let shares = match unproved.count() {
            0 => format!("Share {title}"),
            n => format!("Share {title}, and of {n} more,"),
        };
        let what = if self.live {
            "proves nothing, and no share could be read for it"
        } else {
            "proves nothing; --live reads Cloudflare"
        };
        Some(format!("not listed, but the status of {shares} {what}"))
    }

    pub(super) fn column(&self, row: &Row) -> Option<&Column> {
        row.share.and_then(|at| self.columns.get(at))
    }
}
