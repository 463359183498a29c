//! What of the row has drifted, and what is an edit?

use super::child_pass::ChildPass;
use crate::api::status::DriftEntry;
use crate::core::row_step::Step;
use crate::operator::kinds::Child;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::inventory;

/// Where the manifest says something new, what differs is an edit.
pub fn drift<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, step: Step) -> Vec<DriftEntry> {
    let hash = inventory::meta_hash(&child.pass.object.wanted_meta());
    let edited = step == Step::Update && child.record().meta_hash != hash;
    child.row(seen).drift(step).filter(|_| !edited).into_iter().collect()
}
