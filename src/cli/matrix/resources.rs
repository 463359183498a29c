//! Which resources a Share's share has, and how far each is.

use std::collections::BTreeMap;

use super::proof::Proof;
use super::rows::Rows;
use super::state::{Cell, State};
use crate::api::status::RowRef;
use crate::api::{Share, ShareResource, is_deleting};
use crate::cloudflare::clean;
use crate::core::id::{AnyId, same};
use crate::core::interned::Interned;

/// Longest part of a resource's name that is shown.
const LONGEST: usize = 200;

/// One resource of a share.
#[derive(Debug, Clone)]
pub struct Carried {
    pub kind: Interned,
    pub id: AnyId,
    pub label: Option<Interned>,
    pub cell: Cell,
}

impl Carried {
    /// Its type and id.
    pub fn key(&self) -> String {
        // Cloudflare's own types have no such characters, but nobody promises it.
        format!("{}/{}", clean(&self.kind, LONGEST), clean(self.id.as_str(), LONGEST))
    }

    /// The label is free text in the manifest, so the id is always shown with it.
    fn name(&self) -> String {
        match &self.label {
            Some(label) => {
                let [kind, label, id] = [&self.kind, label, self.id.as_str()].map(|text| clean(text, LONGEST));
                format!("{kind}/{label} ({id})")
            }
            None => self.key(),
        }
    }

    /// With its state where it is not simply there.
    pub fn words(&self) -> String {
        match self.cell.state {
            State::InPlace => self.name(),
            _ => format!("{} ({})", self.name(), clean(&self.cell.word, LONGEST)),
        }
    }
}

/// The type and the id of a resource.
type Key = (Interned, AnyId);

pub fn resources(rows: &Rows, children: &[&ShareResource]) -> Vec<Carried> {
    let Share { spec, .. } = rows.share;
    let mut all: BTreeMap<Key, (Option<Interned>, bool)> = BTreeMap::new();
    let mut add = |kind: &Interned, id: &Interned, label: Option<Interned>, declared: bool| {
        all.entry((kind.clone(), AnyId::new(id.clone()))).or_insert((label, declared));
    };
    spec.resources.iter().for_each(|entry| add(&entry.kind, &entry.id, entry.name.clone(), true));
    for child in children.iter().filter(|child| !is_deleting(&child.metadata)) {
        add(&child.spec.kind, &child.spec.id, child.spec.name.clone(), true);
    }
    let status = &rows.status;
    status.inventory.resources.iter().for_each(|entry| add(&entry.kind, &entry.id, None, false));
    children.iter().for_each(|child| add(&child.spec.kind, &child.spec.id, None, false));
    let unmanaged = status.unmanaged.iter().filter_map(|entry| entry.row.resource());
    unmanaged.for_each(|(kind, id)| add(kind, id, None, false));
    let carried = all.into_iter().map(|(key, (label, declared))| {
        let cell = cell(rows, children, &key, declared);
        Carried { kind: key.0, id: key.1, label, cell }
    });
    carried.collect()
}

fn cell(rows: &Rows, children: &[&ShareResource], key: &Key, declared: bool) -> Cell {
    let status = &rows.status;
    let is = |kind: &Interned, id: &Interned| *kind == key.0 && same(id, key.1.as_str());
    let of = |row: &RowRef| row.resource().is_some_and(|(kind, id)| is(kind, id));
    let exception = status.exceptions.iter().find(|entry| of(&entry.row));
    let unmanaged = status.unmanaged.iter().find(|entry| of(&entry.row));
    let recorded = status.inventory.resources.iter().find(|entry| is(&entry.kind, &entry.id));
    let confirmed = recorded.is_some_and(|entry| entry.intended_at.is_none())
        || children.iter().any(|child| {
            let record = child.status.as_ref().map(|status| &status.child);
            is(&child.spec.kind, &child.spec.id) && record.is_some_and(|record| record.confirmed)
        });
    match (&rows.proof, declared) {
        (Proof::NoShare(why), _) => Cell::new(State::NotShared, "not shared yet", why.clone()),
        (Proof::None(why), _) => Cell::unknown(why.clone()),
        (Proof::Read { .. }, true) => match exception {
            Some(entry) if entry.message.is_empty() => Cell::new(State::Pending, entry.state.clone(), ""),
            Some(entry) => Cell::new(State::Failed, entry.state.clone(), entry.message.clone()),
            None if status.exceptions_omitted > 0 => Cell::unknown("the status leaves out exceptions"),
            None if confirmed || super::proof::observes(status) => Cell::new(State::InPlace, "active", ""),
            None => Cell::unknown("cfshare has not confirmed this resource yet"),
        },
        (Proof::Read { .. }, false) => match unmanaged {
            Some(entry) => Cell::new(State::Unmanaged, format!("{}, not declared", entry.state), ""),
            None => Cell::new(State::Leaving, "to be removed", ""),
        },
    }
}
