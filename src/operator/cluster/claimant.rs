//! What a Share claims at Cloudflare, and where Shares may be whose claims are not known.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::api::status::ShareStatus;
use crate::api::{ConditionType, Name, Reason, Share, is_suspended, observes, own_record};
use crate::core::id::folded;
use crate::core::interned::Interned;
use crate::operator::conditions;

/// Account and name under which a Share wants to be at Cloudflare.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// As a key by which objects are looked up.
    pub account: Interned,
    pub name: Interned,
}

impl Claim {
    pub fn of(share: &Share) -> Claim {
        let name = share.spec.name.clone().unwrap_or_else(|| share.name_any());
        Claim { account: folded_id(&share.spec.account_id), name: name.into() }
    }
}

/// The parts of a Share that tell what it claims.
#[derive(Debug, Clone)]
pub struct Claimant {
    pub name: Name,
    pub created: Option<Timestamp>,
    pub claim: Claim,
    pub share_ids: Vec<Interned>,
    /// Its status records the share. The status is not written by those who write manifests.
    pub bound: bool,
    /// It has a share, or is just creating one.
    pub made: bool,
    /// It has made nothing, and cannot.
    pub idle: bool,
    /// It has the name that it wants, or is just creating a share of it.
    pub holds_name: bool,
    /// It wants a share by its id.
    pub by_id: bool,
    pub observes: bool,
    pub declares_rows: bool,
}

/// Whether the Share itself names somebody who receives it.
pub fn declares_recipients(share: &Share) -> bool {
    share.spec.organization.is_some() || share.spec.recipients.iter().flatten().next().is_some()
}

impl Claimant {
    pub fn of(share: &Share) -> Claimant {
        let record = own_record(share);
        let claim = Claim::of(share);
        let recorded = record.and_then(|status| status.share_id.clone());
        Claimant {
            name: Name::of(share),
            created: share.creation_timestamp().map(|time| time.0),
            made: has_made(record),
            holds_name: holds_name(share, &claim.name),
            bound: recorded.is_some(),
            idle: is_idle(share),
            share_ids: share_ids(share, recorded),
            by_id: share.spec.share_id.is_some(),
            observes: observes(share),
            declares_rows: declares_recipients(share) && !share.spec.resources.is_empty(),
            claim,
        }
    }

    /// Creation times are in whole seconds. On a tie, the object that already has a share counts as the older.
    pub fn age(&self) -> (Option<Timestamp>, bool, &Name) {
        (self.created, !self.made, &self.name)
    }

    /// Among those that mean one remote share: a manifest that writes its id takes it away from nobody.
    pub fn rank_for_share(&self) -> (bool, (Option<Timestamp>, bool, &Name)) {
        (!self.bound, self.age())
    }

    /// Whether it has this remote share of that account, or may take it. Who only observes takes nothing from another object, nor
    /// does one that only saw it while the operator changed nothing, and who writes another account's id cannot take it.
    pub fn may_manage(&self, account: &str, share_id: &str) -> bool {
        !self.observes && *self.claim.account == *account && self.share_ids.contains(&folded_id(share_id))
    }

    pub fn rank(&self) -> (bool, bool, Option<Timestamp>, &Name) {
        (!self.holds_name, self.idle, self.created, &self.name)
    }
}

/// Who may have a name changes with what others declare and record: two that may have it one shortly after the other must not
/// both be sending a create of it.
#[derive(Default, Clone)]
pub struct Turns(Arc<Mutex<HashSet<Claim>>>);

/// The right to create a share of that name, as long as it is kept.
pub struct Turn {
    turns: Turns,
    claim: Claim,
}

impl Turns {
    /// `None`: another object is creating one.
    pub fn take(&self, share: &Share) -> Option<Turn> {
        let claim = Claim::of(share);
        self.0.lock().insert(claim.clone()).then(|| Turn { turns: self.clone(), claim })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().remove(&self.claim);
    }
}

/// Namespaces whose Shares have not been listed since the start.
#[derive(Default)]
pub struct Unlisted(Mutex<BTreeSet<String>>);

impl Unlisted {
    /// These namespaces will be listed.
    pub fn expect(&self, scopes: &[Option<String>]) {
        self.0.lock().extend(scopes.iter().flatten().cloned());
    }

    /// The Shares of that namespace, or of all of them, are listed.
    pub fn relisted(&self, scope: Option<&str>) {
        let mut unlisted = self.0.lock();
        match scope {
            Some(scope) => drop(unlisted.remove(scope)),
            None => unlisted.clear(),
        }
    }

    /// A namespace whose Shares are not known, so that one of them may claim anything.
    pub fn first(&self) -> Option<String> {
        self.0.lock().first().cloned()
    }
}

/// An id as a key by which objects are looked up.
pub fn folded_id(id: &str) -> Interned {
    folded(id).as_ref().into()
}

/// The shares at Cloudflare that a Share is about, as keys: the recorded one, or else the one that the manifest means. Who has
/// a share claims no other one, whatever the manifest says later.
pub fn share_ids(share: &Share, recorded: Option<Interned>) -> Vec<Interned> {
    recorded.as_ref().or(share.spec.share_id.as_ref()).iter().map(|id| folded_id(id)).collect()
}

/// Whether the Share has made nothing, and cannot: it is suspended, or had no right to for so long that it says Stalled; a
/// refusal that passes takes no name away. All that want its name judge by the same record, so it takes part again once a
/// pass has written another reason.
pub fn is_idle(share: &Share) -> bool {
    let stalled = |reason, status: &ShareStatus| {
        conditions::said_in(&status.common.conditions, ConditionType::Stalled, reason).is_some()
    };
    let says = |reason| share.status.as_ref().is_some_and(|status| stalled(reason, status));
    let hindered = [Reason::CredentialsNotFound, Reason::Denied, Reason::OrganizationNotAllowed].into_iter().any(says);
    !has_made(own_record(share)) && (is_suspended(share) || hindered)
}

/// Whether the Share has a share, or is just creating one.
fn has_made(record: Option<&ShareStatus>) -> bool {
    record.is_some_and(|status| status.share_id.is_some() || status.intent.is_some())
}

/// Whether the object has a share of that name, or is just creating it.
fn holds_name(share: &Share, name: &str) -> bool {
    own_record(share).is_some_and(|status| match (&status.share_id, &status.intent) {
        (Some(_), _) => status.share_name.as_deref().is_none_or(|held| held == name),
        (None, Some(intent)) => intent.name == name,
        (None, None) => false,
    })
}
