//! What a Share's status proves about its rows.

use crate::api::condition::ready;
use crate::api::status::{ShareStatus, UNOBSERVED};
use crate::api::{Reason, Share};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// There is nothing at Cloudflare because of this Share, and why.
    NoShare(String),
    /// Nothing can be said, and why.
    None(String),
    /// The rows were read; `current`: for the manifest as it is now.
    Read { current: bool },
}

pub fn said(condition: &Condition) -> String {
    format!("{}: {}", condition.reason, condition.message)
}

/// Whether removals, or the deletion, wait for a person.
pub fn is_blocked(conditions: &[Condition]) -> bool {
    let blocked = [Reason::RemovalBlocked, Reason::DeletionBlocked, Reason::DeletionProtected];
    ready(conditions)
        .is_some_and(|ready| ready.status == "False" && blocked.iter().any(|reason| reason.as_str() == ready.reason))
}

pub fn proof(share: &Share) -> Proof {
    let Some(status) = &share.status else {
        return Proof::None("cfshare has not processed this Share yet".into());
    };
    if status.bound_uid.is_some() && status.bound_uid.as_deref() != share.metadata.uid.as_deref() {
        return Proof::None("the status was copied from another object".into());
    }
    let Some(ready) = ready(&status.common.conditions).filter(|_| status.common.observed_generation != UNOBSERVED)
    else {
        return Proof::None("cfshare has not processed this Share yet".into());
    };
    if status.intent.is_some() {
        return Proof::None("a request to create the share is under way, and its result is not known yet".into());
    }
    if status.share_id.is_none() {
        let adopts = share.spec.share_id.is_some();
        let nobody = ready.status == "False" && !adopts && status.lost_attempts.is_empty();
        return if nobody && follows_a_look(&ready.reason) {
            Proof::NoShare(said(ready))
        } else {
            Proof::None(said(ready))
        };
    }
    if ready.status == "Unknown" || !speaks_of_rows(ready) {
        return Proof::None(said(ready));
    }
    match status.remote_status.as_deref() {
        None | Some("active") => {
            Proof::Read { current: Some(status.common.observed_generation) == share.metadata.generation }
        }
        Some(word) => Proof::None(format!("Cloudflare calls the share {word}")),
    }
}

/// The reason of that name; a word that is not known here proves nothing.
fn known(reason: &str) -> Option<Reason> {
    Reason::ALL.iter().find(|known| known.as_str() == reason).copied()
}

/// Whether a pass that ends with this reason, without an id and without an announced create, has looked for a share of the
/// wanted name and found none. With any other reason a share may exist, and accounts may receive it.
fn follows_a_look(reason: &str) -> bool {
    let Some(reason) = known(reason) else { return false };
    match reason {
        Reason::WaitingForRecipients | Reason::WaitingForResources | Reason::Rejected => true,
        // The Share is only observed, and has no share.
        Reason::Differs => true,
        // Either was found, or may be what was found.
        Reason::NameTaken | Reason::Claimed | Reason::Ambiguous | Reason::TargetMismatch => false,
        // The look comes once the children are gathered, and no share is adopted before all Shares are listed.
        Reason::Progressing => false,
        // A create was sent, and may still take effect.
        Reason::Creating => false,
        // They are reported before a look, or without one.
        Reason::Invalid | Reason::OrganizationNotAllowed | Reason::Suspended | Reason::CredentialsNotFound => false,
        Reason::Denied | Reason::Throttled | Reason::Unavailable | Reason::BreakerOpen => false,
        Reason::Observed | Reason::InternalError => false,
        // They are about a share that has an id.
        Reason::Associated | Reason::Waived | Reason::Associating | Reason::RecipientFailed => false,
        Reason::RemovalBlocked | Reason::LastResource | Reason::NotConverging | Reason::OutOfScope => false,
        Reason::ExclusionsNotInForce | Reason::ShareNotFound => false,
        Reason::Deleting | Reason::DeletionBlocked | Reason::DeletionProtected => false,
        // They are about child objects.
        Reason::WaitingForShare | Reason::DuplicateDeclaration => false,
    }
}

/// Whether a pass that ends with this condition has compared the rows.
fn speaks_of_rows(ready: &Condition) -> bool {
    let Some(reason) = known(&ready.reason) else { return false };
    match reason {
        Reason::Associated | Reason::Waived | Reason::Associating | Reason::Progressing | Reason::Rejected => true,
        Reason::RecipientFailed | Reason::RemovalBlocked | Reason::LastResource | Reason::NotConverging => true,
        Reason::Differs | Reason::OutOfScope => true,
        // A status that an older operator has left may say so of a share that is not there.
        Reason::Observed => ready.status == "True",
        // The share is there, and nothing was sent.
        Reason::Deleting | Reason::DeletionBlocked | Reason::DeletionProtected => true,
        // It is reported before rows are compared, too.
        Reason::ExclusionsNotInForce => false,
        Reason::Creating | Reason::WaitingForRecipients | Reason::WaitingForResources => false,
        Reason::WaitingForShare | Reason::NameTaken | Reason::Claimed | Reason::ShareNotFound => false,
        Reason::TargetMismatch | Reason::CredentialsNotFound | Reason::Denied | Reason::Throttled => false,
        Reason::Unavailable | Reason::Ambiguous | Reason::BreakerOpen | Reason::DuplicateDeclaration => false,
        Reason::Suspended | Reason::OrganizationNotAllowed | Reason::Invalid | Reason::InternalError => false,
    }
}

/// Whether the operator only observes, so that no record of its own proves a row.
pub fn observes(status: &ShareStatus) -> bool {
    use crate::api::policy::ManagementPolicy;
    status.effective.as_ref().is_some_and(|effective| effective.management_policy == ManagementPolicy::Observe)
}
