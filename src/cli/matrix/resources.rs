//! Which resources a Share's share has, and how far each is.

use std::collections::BTreeMap;

use super::proof::Proof;
use super::rows::Rows;
use super::state::{Cell, State};
use crate::api::status::{ExceptionEntry, UnmanagedEntry};
use crate::api::{Share, ShareResource, is_deleting};
use crate::core::interned::Interned;

/// One resource of a share.
#[derive(Debug, Clone)]
pub struct Carried {
    pub kind: Interned,
    pub id: Interned,
    pub label: Option<Interned>,
    pub cell: Cell,
}

impl Carried {
    pub fn name(&self) -> String {
        format!("{}/{}", self.kind, self.label.as_deref().unwrap_or(&self.id))
    }

    /// With its state where it is not simply there.
    pub fn words(&self) -> String {
        match self.cell.state {
            State::InPlace => self.name(),
            _ => format!("{} ({})", self.name(), self.cell.word),
        }
    }
}

type Key = (Interned, Interned);

pub fn resources(rows: &Rows, children: &[&ShareResource]) -> Vec<Carried> {
    let Share { spec, .. } = rows.share;
    let mut declared: BTreeMap<Key, Option<Interned>> = BTreeMap::new();
    for entry in &spec.resources {
        declared.insert((entry.kind.clone(), entry.id.clone()), entry.name.clone());
    }
    for child in children.iter().filter(|child| !is_deleting(&child.metadata)) {
        declared.entry((child.spec.kind.clone(), child.spec.id.clone())).or_insert_with(|| child.spec.name.clone());
    }
    let status = &rows.status;
    let mut all: Vec<Key> = declared.keys().cloned().collect();
    all.extend(status.inventory.resources.iter().map(|entry| (entry.kind.clone(), entry.id.clone())));
    all.extend(children.iter().map(|child| (child.spec.kind.clone(), child.spec.id.clone())));
    all.extend(status.unmanaged.iter().filter_map(|entry| Some((entry.kind.clone()?, entry.id.clone()?))));
    all.sort();
    all.dedup();
    let carried = all.into_iter().map(|key| {
        let cell = cell(rows, children, &key, declared.contains_key(&key));
        let label = declared.get(&key).cloned().flatten();
        let (kind, id) = key;
        Carried { kind, id, label, cell }
    });
    carried.collect()
}

fn cell(rows: &Rows, children: &[&ShareResource], key: &Key, declared: bool) -> Cell {
    let status = &rows.status;
    let of =
        |kind: &Option<Interned>, id: &Option<Interned>| kind.as_ref() == Some(&key.0) && id.as_ref() == Some(&key.1);
    let exception: Option<&ExceptionEntry> = status.exceptions.iter().find(|entry| of(&entry.kind, &entry.id));
    let unmanaged: Option<&UnmanagedEntry> = status.unmanaged.iter().find(|entry| of(&entry.kind, &entry.id));
    let recorded = status.inventory.resources.iter().find(|entry| entry.kind == key.0 && entry.id == key.1);
    let confirmed = recorded.is_some_and(|entry| entry.intended_at.is_none())
        || children.iter().any(|child| {
            let record = child.status.as_ref().map(|status| &status.child);
            child.spec.kind == key.0 && child.spec.id == key.1 && record.is_some_and(|record| record.confirmed)
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
