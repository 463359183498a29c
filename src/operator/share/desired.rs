//! What the manifest of a Share wants, checked, with what other objects declare for it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::api::policy::{AdoptionPolicy, DeletionPolicy};
use crate::api::status::ShareStatus;
use crate::api::{Name, ObjectKey, Share, observes};
use crate::core::guard::Limit;
use crate::core::id::{self, AccountId, OrganizationId, ShareId};
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::sorted::Sorted;
use crate::operator::cluster::index::Index;
use crate::operator::kinds;
use crate::operator::rows::declare::{self, By, Declaration, Sibling};

/// A Share's manifest, checked, with what others declare for it.
pub struct Desired {
    pub owner: AccountId,
    pub name: Option<String>,
    pub organization: Option<OrganizationId>,
    pub inline: BTreeMap<RowKey, Declaration>,
    pub siblings: Sorted<Sibling>,
    pub all: BTreeMap<RowKey, Declaration>,
    pub share_id: Option<ShareId>,
    pub adoption: AdoptionPolicy,
    pub observe: bool,
    pub prune: bool,
    pub max_removals: Limit,
}

/// What the manifest and the children declare, with every id checked; an error says what cannot be sent.
pub fn desired(share: &Share, index: &Index) -> Result<Desired, String> {
    let spec = &share.spec;
    let owner = kinds::account(&spec.account_id, "spec.accountID")?;
    let organization = spec.organization.as_ref().map(|target| OrganizationId::parse(&target.id)).transpose();
    let organization = organization.map_err(|error| format!("spec.organization.id: {error}"))?;
    let share_id = spec.share_id.as_deref().map(ShareId::parse).transpose();
    let share_id = share_id.map_err(|error| format!("spec.shareID: {error}"))?;
    let max_removals = removal_limit(share)?;
    let name = spec.name.clone().or_else(|| share_id.is_none().then(|| share.name_any()));
    let inline = declare::inline(share, &owner)?;
    let siblings = declare::siblings(index, &Name::of(share), &owner);
    let all = declare::all(&inline, &siblings);
    Ok(Desired {
        owner,
        name,
        organization,
        inline,
        siblings,
        all,
        share_id,
        adoption: spec.adoption_policy.unwrap_or_default(),
        observe: observes(share),
        prune: spec.prune == Some(true),
        max_removals,
    })
}

/// Whether the remote share stays when the object is deleted: an adopted one does, unless the manifest says otherwise.
pub fn retains(share: &Share, status: Option<&ShareStatus>) -> bool {
    let adopted = status.is_some_and(|status| status.adopted);
    share.spec.deletion_policy.map_or(adopted, |policy| policy == DeletionPolicy::Retain)
}

/// What the manifest says of how many rows may be lost without confirmation.
fn removal_limit(share: &Share) -> Result<Limit, String> {
    match &share.spec.max_removals {
        None => Ok(Limit::Default),
        Some(IntOrString::Int(n)) => Ok(Limit::Count(usize::try_from(*n).unwrap_or(0))),
        Some(IntOrString::String(text)) => Limit::parse(text)
            .ok_or_else(|| "spec.maxRemovals: must be a number, or a percentage from 0% to 100%".to_owned()),
    }
}

impl Desired {
    pub fn meta(&self, key: &RowKey) -> ResourceMeta {
        self.all.get(key).map(|declaration| declaration.meta.clone()).unwrap_or_default()
    }

    /// The objects that declare a row, the winner first.
    pub fn siblings_of(&self, row: &RowKey) -> &[Sibling] {
        self.siblings.at(|sibling| sibling.row.cmp(row))
    }

    /// The accounts that the manifest excludes.
    pub fn excluded(&self) -> impl Iterator<Item = (&RowKey, &Declaration)> {
        self.inline.iter().filter(|(key, _)| key.is_excluded())
    }

    /// Takes note of objects that were found since. Returns whether there is news.
    pub fn look_again(&mut self, share: &Share, index: &Index) -> bool {
        let before = std::mem::replace(&mut self.siblings, declare::siblings(index, &Name::of(share), &self.owner));
        self.all = declare::all(&self.inline, &self.siblings);
        let is_same = |(a, b): (&Sibling, &Sibling)| {
            (&a.key, &a.row, a.outside, a.child.is_deleting()) == (&b.key, &b.row, b.outside, b.child.is_deleting())
        };
        before.len() != self.siblings.len() || !before.iter().zip(&self.siblings).all(is_same)
    }

    /// Children that have not yet noted down the share that stays: without its id they could never remove their rows.
    pub fn lagging_children<'s>(&'s self, status: &'s ShareStatus) -> impl Iterator<Item = &'s ObjectKey> {
        let lags = move |sibling: &&Sibling| {
            let child = &sibling.child;
            let wins = self.all.get(&sibling.row).is_some_and(|d| d.by == By::Child(sibling.key.clone()));
            let fits = self.organization.is_none() || !sibling.row.is_recipient();
            (wins || child.is_deleting())
                && !sibling.outside
                && fits
                && !child.is_suspended()
                && child.has_claimed()
                && !id::same_or_none(child.share_id(), status.share_id.as_deref())
        };
        self.siblings.iter().filter(|_| status.share_id.is_some()).filter(lags).map(|sibling| &sibling.key)
    }
}
