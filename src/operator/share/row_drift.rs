//! What of a row has drifted, and what is an edit?

use super::share_pass::SharePass;
use crate::api::status::DriftEntry;
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::share_step::Mode;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::inventory;

pub fn meta_hash(share: &SharePass, key: &RowKey) -> Option<Interned> {
    share.desired.all.get(key).and_then(|declaration| inventory::meta_hash(&declaration.meta))
}

fn recorded_meta(share: &SharePass, key: &RowKey) -> Option<Interned> {
    share.entries().remove(key).and_then(|entry| entry.meta)
}

/// What a step says about drift: only what was in place once and is different now has drifted.
pub fn drift_of(share: &SharePass, key: &RowKey, step: Step, seen: &ObservedShare) -> Option<DriftEntry> {
    // The manifest says something new: an edit.
    if step == Step::Update && share.mode == Mode::Manage && recorded_meta(share, key) != meta_hash(share, key) {
        return None;
    }
    share.row(seen, key).drift(step)
}
