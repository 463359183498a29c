//! What a child belongs to: its Share, as far as that exists, and who looks after its row.

use std::sync::Arc;

use crate::api::{Name, ObjectKey, Share, is_suspended, observes, own_record, secret_of, seen_record, uid_of};
use crate::core::id::{self, AccountId, ShareId};
use crate::core::row_key::RowKey;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::Pass;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::inventory::{self, Entry};
use crate::operator::rows::known::{self, Known, TakenOver};

pub struct Parent {
    pub share: Option<Arc<Share>>,
    /// Id of the remote share, recorded by the parent, or by the child where the parent is gone.
    pub id: Option<ShareId>,
    pub owner: Option<AccountId>,
    pub secret: Option<Name>,
    /// The parent's create is announced, and its outcome not known.
    pub announced: bool,
    /// The Share exists, and the operator's selector does not match it.
    pub outside: bool,
}

impl Parent {
    pub fn records(&self, row: &RowKey) -> bool {
        self.entry(row).is_some()
    }

    pub fn entry(&self, row: &RowKey) -> Option<Entry> {
        entry_in(self.share.as_ref()?, row)
    }

    pub fn is_suspended(&self) -> bool {
        self.share.as_ref().is_some_and(|share| is_suspended(share))
    }

    pub fn observes(&self) -> bool {
        self.share.as_ref().is_some_and(|share| observes(share))
    }
}

pub fn entry_in(share: &Share, row: &RowKey) -> Option<Entry> {
    inventory::entries(&own_record(share)?.inventory).remove(row)
}

/// The Share that the child names, or what the child remembers of it.
pub fn parent<C: Child>(pass: &Pass<C>) -> Parent {
    let name = pass.object.share();
    let shares = &pass.context.cluster.index.shares;
    let share = shares.known(&name);
    let outside = share.as_ref().is_some_and(|share| !shares.is_in_scope(share));
    let recorded = pass.status.record().clone();
    // A child that goes removes its row where it made it, even if a new Share has taken the name since.
    let another = share.as_ref().is_some_and(|share| {
        let bound = own_record(share).and_then(|status| status.share_id.as_deref());
        recorded.share_id.is_some() && !id::same_or_none(bound, recorded.share_id.as_deref())
    });
    let share = share.filter(|_| !(pass.is_deleting() && another));
    let parsed = |recorded: Option<&str>| recorded.and_then(|id| ShareId::read(id).ok());
    match share {
        Some(share) => {
            let own = own_record(&share);
            // An observing Share is bound to nothing. What it saw is believed only where nothing is changed.
            let only_reads = observes(&share) || pass.context.settings.read_only;
            let readable = if only_reads { seen_record(&share) } else { own };
            Parent {
                id: parsed(readable.and_then(|status| status.share_id.as_deref())),
                owner: AccountId::parse(&share.spec.account_id).ok(),
                secret: Some(secret_of(&share)),
                announced: own.is_some_and(|status| status.intent.is_some()),
                share: Some(share),
                outside,
            }
        }
        None => Parent {
            share: None,
            id: parsed(recorded.share_id.as_deref()),
            owner: recorded.owner_account_id.as_deref().and_then(|id| AccountId::parse(id).ok()),
            secret: recorded.credentials_name.map(|secret| Name::new(name.namespace, secret)),
            announced: false,
            outside: false,
        },
    }
}

/// Notes down what is needed to remove the row when the Share is gone, and takes over what the Share, or another object
/// that declares the same row, has recorded of it.
pub fn note_down<C: Child>(
    pass: &mut Pass<C>,
    parent: &Parent,
    id: &ShareId,
    owner: &AccountId,
    key: &RowKey,
    same_row: &[Sibling],
) {
    let (uid, is_deleting) = (uid_of(pass.object.as_ref()), pass.is_deleting());
    let child = pass.status.record_mut();
    if !id::same_or_none(child.share_id.as_deref(), Some(id.as_str())) {
        child.share_id = Some(id.as_str().into());
        child.seen_with = None;
        child.common.drift.clear();
        Entry::write_to(None, child);
    }
    if is_deleting {
        // It may have been deleted before it was claimed: its record is believed all the same.
        child.bound_uid = uid;
    }
    let own = Entry::of_child(child);
    let by_share = parent.share.as_ref().map(|share| ObjectKey::share(Name::of(share.as_ref()))).zip(parent.entry(key));
    let others = same_row.iter().filter(|rival| rival.key != pass.key);
    let recorded = by_share.iter().map(|(by, entry)| (by, entry)).chain(known::recorded_in(others, id.as_str()));
    if let Some(TakenOver { entry, answered }) = Known::of(pass).to_take_over(own.as_ref(), key, recorded) {
        pass.memory(|memory| memory.learn(key, answered));
        Entry::write_to(Some(&entry), pass.status.record_mut());
    }
    let child = pass.status.record_mut();
    child.owner_account_id = Some(owner.as_str().into());
    if let Some(secret) = &parent.secret {
        child.credentials_name = Some(secret.name.clone());
    }
}
