//! A pass over a child that has a credential, and a share to look at.

use super::parent::Parent;
use crate::api::status::{ChildStatus, DriftEntry};
use crate::core::id::ShareId;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Declared, Step};
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::Pass;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::remote::session::Session;
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::row::Row;
use crate::operator::rows::row_state::label;

pub struct ChildPass<C: Child> {
    pub pass: Pass<C>,
    pub session: Session,
    pub id: ShareId,
    pub key: RowKey,
    pub parent: Parent,
    pub declared: Declared,
}

impl<C: Child> ChildPass<C> {
    pub fn seen(&self) -> Option<ObservedShare> {
        self.session.account.cache().seen(&self.id).cloned()
    }

    pub fn record_mut(&mut self) -> &mut ChildStatus {
        self.pass.status.record_mut()
    }

    pub fn note(&mut self, entry: Option<&Entry>) {
        Entry::write_to(entry, self.record_mut());
    }

    pub fn name(&self) -> String {
        label(&self.key, self.pass.object.label().as_deref())
    }

    pub fn row<'a>(&'a self, seen: &'a ObservedShare) -> Row<'a, C> {
        let meta = self.pass.object.wanted_meta();
        Row { pass: &self.pass, session: &self.session, seen, key: &self.key, name: self.name(), meta }
    }

    pub fn drift(&self, seen: &ObservedShare, step: Step) -> Vec<DriftEntry> {
        let (row, recorded) = (self.row(seen), self.pass.status.record().meta_hash.as_ref());
        row.drift(step).filter(|_| !row.is_edit(step, recorded)).into_iter().collect()
    }
}
