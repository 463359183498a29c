//! Why nothing is done about a child's row now, and what to write instead.

use super::child_pass::ChildPass;
use super::parent::Parent;
use crate::api::{Kind, Name, ObjectKey, Reason};
use crate::core::child_step::Refusal;
use crate::core::row_key::RowKey;
use crate::operator::cluster::outside::FAILED_GAP;
use crate::operator::cluster::trouble::with_cause;
use crate::operator::kinds::Child;
use crate::operator::pass::Pass;
use crate::operator::pass::verdict::{READ_ONLY, Verdict};
use crate::operator::rows::row_state::label;
use crate::operator::share::outside::into_scope;
use crate::operator::{conditions, delays};

pub fn unreadable_share<C: Child>(pass: &Pass<C>) -> Verdict {
    let share = pass.object.share().name;
    let message = format!("Share {share} does not match the current CRD and cannot be read: fix it and apply it again");
    Verdict::unknown_stalled(Reason::WaitingForShare, message)
}

/// The row is to go, and it is not known who else declares it.
pub fn others_unknown<C: Child>(child: &ChildPass<C>, error: &kube::Error) -> Verdict {
    let message = format!(
        "{} is not removed, because another {} may declare it, and cfshare cannot list those in namespace {}: {}",
        child.name(),
        C::KIND,
        child.pass.key.name.namespace,
        with_cause(error),
    );
    Verdict::unknown(Reason::Deleting, message).requeue_after(FAILED_GAP)
}

/// What becomes of the row is to be recorded in the status of its Share, which has no room left.
pub fn share_too_large(row: &str, share: &Name) -> Verdict {
    let message = format!(
        "{row} cannot be given up, because that cannot be recorded in the status of Share {}: with its status, the Share is too \
         large for Kubernetes (etcd takes 1.5 MiB). Declare its recipients in ShareRecipient and its resources in ShareResource \
         objects, or set deletionPolicy: Retain here to delete this object and keep what it added",
        share.name,
    );
    Verdict::stalled(Reason::Invalid, message).requeue_after(delays::HUMAN)
}

pub fn no_share<C: Child>(pass: &Pass<C>) -> Verdict {
    pass.awaited(waits_for_share(
        pass,
        "does not exist: apply it in this namespace, or delete this object and apply it again with the right shareRef",
    ))
}

/// The Share exists, and has no share at Cloudflare.
pub fn not_created<C: Child>(pass: &Pass<C>, parent: &Parent) -> Verdict {
    if parent.outside {
        let command = into_scope(&pass.context.cluster.index, &ObjectKey::share(pass.object.share()));
        return waits_for_share(
            pass,
            &format!(
                "does not match --watch-label-selector, so cfshare creates no share for it. Restore the labels: {command}"
            ),
        );
    }
    if parent.is_suspended() {
        let share = pass.object.share().name;
        let message = format!("Share {share} is suspended, and does not exist at Cloudflare yet");
        return Verdict::unknown(Reason::Suspended, message).resting();
    }
    if observes_nothing(parent) {
        return nothing_to_observe(pass, parent);
    }
    waits_for_share(pass, "has no share at Cloudflare yet")
}

fn waits_for_share<C: Child>(pass: &Pass<C>, what: &str) -> Verdict {
    Verdict::working(Reason::WaitingForShare, format!("Share {} {what}", pass.object.share().name))
}

/// The Share has found no share, and makes none, since it or the operator only reads.
fn observes_nothing(parent: &Parent) -> bool {
    let status = parent.share.as_ref().and_then(|share| share.status.as_ref());
    status.is_some_and(|status| conditions::says(&status.common.conditions, Reason::Differs))
}

fn nothing_to_observe<C: Child>(pass: &Pass<C>, parent: &Parent) -> Verdict {
    let share = pass.object.share();
    let (why, how) = if pass.context.settings.read_only && !parent.observes() {
        (READ_ONLY.to_owned(), "start the operator without --read-only".to_owned())
    } else {
        let manage = ObjectKey::share(share.clone()).set_field("managementPolicy", "\"Manage\"");
        (format!("Share {} only observes", share.name), manage)
    };
    let message = format!(
        "{why}, and there is no share at Cloudflare that it would observe: nothing is added. To have it created: {how}"
    );
    Verdict::stalled(Reason::Differs, message)
}

/// What may stay at Cloudflare of an object whose status was wiped, or restored without it. Its Share may be gone, and
/// then it is not known which row it declared.
pub fn record_lost<C: Child>(pass: &Pass<C>, row: Option<&RowKey>) -> String {
    let share = pass.object.share().name;
    let row = match (row, C::KIND) {
        (Some(key), _) => label(key, pass.object.label().as_deref()),
        (None, Kind::ShareResource) => "the resource".to_owned(),
        (None, Kind::Share | Kind::ShareRecipient) => "the recipient".to_owned(),
    };
    format!(
        "the status of this object does not say that it added anything at Cloudflare, or has lost it, so nothing is removed \
         there: if {row} is in the share of Share {share}, it stays, unless that Share has prune: true"
    )
}

/// `share`: the name of the Share; `row`: what the object declares, or what is wrong with that; `winner`: who declares it too.
pub fn refused(
    share: &str,
    refusal: Refusal,
    row: Option<Result<RowKey, String>>,
    winner: Option<&ObjectKey>,
) -> Verdict {
    let winner = || winner.map_or("the Share itself or an older object".to_owned(), ToString::to_string);
    match (refusal, row) {
        (Refusal::Organization, _) => Verdict::stalled(
            Reason::Invalid,
            format!(
                "Share {share} is for an organization, so all member accounts receive it already: delete this object; to \
                 exclude accounts, use spec.organization.excluded of the Share"
            ),
        ),
        (Refusal::Duplicate, Some(Ok(key))) => Verdict::stalled(
            Reason::DuplicateDeclaration,
            format!(
                "{} is already declared by {}, which wins: delete one of the two declarations. The row stays as long as one is left",
                label(&key, None),
                winner(),
            ),
        ),
        (Refusal::Invalid, Some(Err(problem))) => Verdict::stalled(Reason::Invalid, problem),
        (Refusal::Invalid | Refusal::Duplicate, _) => Verdict::unfinished(),
    }
}

pub fn exclusions_first<C: Child>(child: &ChildPass<C>) -> Verdict {
    let message = format!("{} is added once the accounts that its Share excludes are excluded", child.name());
    Verdict::working(Reason::Progressing, message).requeue_after(delays::TRANSIENT)
}

/// The resource is the only one that the share has, and another one that it is to have is not there.
pub fn kept_last<C: Child>(child: &ChildPass<C>) -> Verdict {
    let message = format!(
        "{} is the only resource that the share has: it stays until another one that is declared is in place, and the Share \
         removes it then",
        child.name()
    );
    Verdict::working(Reason::LastResource, message).requeue_after(delays::PEER_WRITE)
}

/// How a share comes to lose its last resource, which Cloudflare does not remove.
pub fn instead_of_last<C: Child>(child: &ChildPass<C>) -> String {
    if child.parent.share.is_some() {
        return "the Share removes it as soon as it has another resource".to_owned();
    }
    let (id, retain) = (&child.id, child.pass.key.retain());
    format!(
        "share {id} no longer belongs to the Share of this object. Delete that share at Cloudflare, or apply a Share with \
         spec.shareID: {id} and another resource; or release this object, and its resource stays shared: `{retain}`"
    )
}
