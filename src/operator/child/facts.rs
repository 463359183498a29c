//! Where a child stands, as facts for the decision.

use std::sync::Arc;
use std::time::Duration;

use super::parent::{Parent, entry_in};
use crate::api::{
    Name, ObjectKey, Reason, Share, has_finalizer, is_deleting, is_suspended, observes, own_record, uid_of,
};
use crate::core::child_step::{self, Deletion, Facts, Record, Successor};
use crate::core::id::{self, AccountId};
use crate::core::row_key::RowKey;
use crate::core::row_step::Declared;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::Pass;
use crate::operator::rows::declare::{self, Sibling};
use crate::operator::rows::inventory::Entry;
use crate::operator::rows::known::Known;
use crate::operator::{conditions, share};

/// Where a namespace or a folder of manifests is deleted, a Share follows its objects within so long.
const DELETED_TOGETHER: Duration = Duration::from_secs(1);
/// How long a child that is being deleted waits for another object to record the row that both declare.
const MAX_SUCCESSION_WAIT: Duration = Duration::from_secs(10);

/// `row`: what the child declares, as far as that can be sent.
pub fn facts<C: Child>(pass: &Pass<C>, parent: &Parent, row: Option<&RowKey>, others: &Others) -> Facts {
    let uid = uid_of(pass.object.as_ref());
    let finalizer = has_finalizer(pass.object.meta());
    let record = pass.status.record();
    let claimed = finalizer && record.bound_uid == uid;
    let last = conditions::says(&record.common.conditions, Reason::LastResource);
    let record = Record { share: record.share_id.is_some(), row: record.holds_row() };
    let deletion = pass.is_deleting().then(|| Deletion {
        finalizer,
        retain: pass.object.retains(),
        last,
        successor: row.map_or(Successor::Recorded, |row| successor(pass, parent, row, others)),
        recent: pass.now().since(pass.memory(|memory| memory.edited_at)) < DELETED_TOGETHER,
    });
    Facts {
        deletion,
        suspended: pass.object.is_suspended(),
        share: situation(pass, parent, row),
        valid: row.is_some(),
        misplaced: matches!(row, Some(RowKey::Recipient(_)))
            && parent.share.as_ref().is_some_and(|share| share.spec.organization.is_some()),
        declared: declared(pass, parent, row, others),
        claimed,
        read_only: pass.context.settings.read_only,
        record,
    }
}

fn situation<C: Child>(pass: &Pass<C>, parent: &Parent, row: Option<&RowKey>) -> child_step::Share {
    if pass.context.cluster.index.shares.is_unreadable(&pass.object.share()) {
        return child_step::Share::Unreadable;
    }
    match &parent.share {
        _ if parent.owner.is_none() => child_step::Share::Unknown,
        None => child_step::Share::Gone,
        Some(share) => child_step::Share::Present(child_step::Parent {
            bound: parent.id.is_some(),
            creating: parent.announced,
            observes: parent.observes(),
            suspended: is_suspended(share),
            ends: is_deleting(&share.metadata) && !share::retains(share, share.status.as_ref()),
            records_row: row.is_some_and(|row| parent.records(row)),
        }),
    }
}

/// Who else may look after the row.
pub struct Others {
    /// The objects that declare the same row, this one among them, the winner first; while it is being deleted, those of a
    /// successor too.
    pub same_row: Vec<Sibling>,
    /// See [`successor_shares`].
    shares: Vec<Arc<Share>>,
}

impl Others {
    pub fn of<C: Child>(pass: &Pass<C>, owner: Option<&AccountId>, row: Option<&RowKey>) -> Others {
        let (index, own, shares) = (&pass.context.cluster.index, pass.object.share(), successor_shares(pass));
        let mut same_row = Vec::new();
        if let Some((owner, row)) = owner.zip(row) {
            let others = shares.iter().map(|share| Name::of(share.as_ref())).filter(|share| *share != own);
            let names: Vec<Name> = std::iter::once(own.clone()).chain(others).collect();
            same_row.extend(names.iter().flat_map(|share| declare::siblings_of_row(index, share, owner, row)));
        }
        Others { same_row, shares }
    }

    /// Other Shares that have the share of that parent.
    pub fn managing(&self, parent: &Parent) -> impl Iterator<Item = &Arc<Share>> {
        let bound = |share: &Share| own_record(share).and_then(|status| status.share_id.clone());
        self.shares.iter().filter(move |share| {
            bound(share).is_some_and(|bound| parent.id.as_ref().is_some_and(|id| id::same(&bound, id.as_str())))
        })
    }
}

/// Other Shares that manage by now the share in which an object that is being deleted has its row, or may take it over: what
/// they declare stays. Where the row stays anyway, only its own Share could remove it, and has to drop it first.
pub fn successor_shares<C: Child>(pass: &Pass<C>) -> Vec<Arc<Share>> {
    let index = &pass.context.cluster.index;
    let record = pass.status.record();
    let may_remove = pass.is_deleting() && !pass.object.retains();
    let Some(id) = record.share_id.as_ref().filter(|_| may_remove) else { return Vec::new() };
    let own = pass.object.share();
    let owner = record.owner_account_id.as_deref().unwrap_or_default();
    let others = index.successors_of(&own, owner, id);
    // Its Share was deleted and applied again, or lost its status, and has no share yet.
    let is_unbound = |share: &Arc<Share>| {
        own_record(share).is_none_or(|status| status.share_id.is_none())
            && !observes(share)
            && share.spec.share_id.as_deref().is_none_or(|wanted| id::same(wanted, id))
            && id::same(owner, &share.spec.account_id)
            && !is_deleting(&share.metadata)
    };
    others.into_iter().chain(index.shares.find(&own).filter(is_unbound)).collect()
}

/// Who looks after the row: the Share itself, an older object, or this one.
fn declared<C: Child>(pass: &Pass<C>, parent: &Parent, row: Option<&RowKey>, others: &Others) -> Declared {
    match winner(pass, parent, row, others) {
        Some(_) => Declared::Elsewhere,
        None if pass.is_deleting() || row.is_none() || parent.owner.is_none() => Declared::Nowhere,
        None => Declared::Here,
    }
}

/// The other object that looks after the row: a Share that declares it itself, or else an object, which is older unless this one
/// goes.
pub fn winner<C: Child>(pass: &Pass<C>, parent: &Parent, row: Option<&RowKey>, others: &Others) -> Option<ObjectKey> {
    let (row, owner) = row.zip(parent.owner.as_ref())?;
    let own = parent.share.iter().filter(|share| !is_deleting(&share.metadata));
    let inline = |share: &Arc<Share>| declare::is_inline(share, owner, row);
    if let Some(share) = own.chain(&others.shares).find(|share| inline(share)) {
        return Some(ObjectKey::share(Name::of(share.as_ref())));
    }
    let first = others.same_row.iter().find(|rival| !rival.child.is_deleting());
    first.map(|rival| rival.key.clone()).filter(|first| *first != pass.key)
}

/// A row that several declare is released only to one that has it in its record, with all that this object announced: two
/// objects that go one after the other would leak it.
fn successor<C: Child>(pass: &Pass<C>, parent: &Parent, row: &RowKey, others: &Others) -> Successor {
    let own = Entry::of_child(pass.status.record());
    let known = Known::of(pass);
    let knows = |entry: &Entry| known.covers(Some(entry), row, &pass.key, own.as_ref());
    // Where the row stays, the Share's record does not do unless it declares the row itself: it removes what nobody declares.
    let declares =
        |share: &Arc<Share>| parent.owner.as_ref().is_some_and(|owner| declare::is_inline(share, owner, row));
    let keeps = |share: &Arc<Share>| !pass.object.retains() || declares(share);
    let is_kept = parent.share.as_ref().is_some_and(keeps);
    let by_parent = is_kept && parent.entry(row).as_ref().is_some_and(knows);
    let by_successor = others.shares.iter().filter_map(|share| entry_in(share, row)).any(|entry| knows(&entry));
    let mut rivals = others.same_row.iter().filter(|rival| rival.key != pass.key && !rival.child.is_deleting());
    let takes_over = |rival: &Sibling| rival.child.is_suspended() || rival.entry.as_ref().is_some_and(knows);
    if by_parent || by_successor || rivals.any(takes_over) {
        return Successor::Recorded;
    }
    // The other one needs no look at Cloudflare for that, but has to be asked first.
    if is_overdue(pass) { Successor::Overdue } else { Successor::Awaited }
}

/// Whether another object has been awaited for so long that it is not awaited any more.
pub fn is_overdue<C: Child>(pass: &Pass<C>) -> bool {
    let awaited = pass.memory(|memory| memory.successor_awaited);
    awaited.is_some_and(|since| pass.now().since(since) >= MAX_SUCCESSION_WAIT)
}

/// Requeues the other objects that declare the row: one of them is to take it over.
pub fn requeue_successors<C: Child>(pass: &Pass<C>, others: &Others) {
    pass.context.cluster.requeuer.requeue(&ObjectKey::share(pass.object.share()));
    for rival in others.same_row.iter().filter(|rival| rival.key != pass.key) {
        pass.context.cluster.requeuer.requeue(&rival.key);
    }
}
