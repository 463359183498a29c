//! Why nothing is done about a share now, and what to write instead.

use super::desired::Desired;
use super::share_pass::SharePass;
use super::{create, declared, rivals, status};
use crate::api::status::ShareStatus;
use crate::api::{Reason, Share, is_deleting, own_record, secret_of};
use crate::core::id::{self, ShareId};
use crate::core::share_step::{Mode, Refusal, Wait};
use crate::operator::cluster::claimant::Claimant;
use crate::operator::cluster::index::Index;
use crate::operator::delays;
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::{READ_ONLY, Verdict};

/// What the installer or an earlier manifest rules out, whatever is found at Cloudflare.
pub fn forbidden(share: &SharePass) -> Option<Verdict> {
    if share.mode != Mode::Manage || share.pass.is_deleting() {
        return None;
    }
    let mut allowed = share.pass.context.settings.organization_shares.iter();
    let is_allowed = |namespace: &String| *namespace == share.pass.key.name.namespace || namespace == "*";
    if share.desired.organization.is_some() && !allowed.any(is_allowed) {
        let shared = match &share.pass.status.share_id {
            Some(id) => format!(", and share {id} stays as it is: its accounts continue to receive it"),
            None => String::new(),
        };
        let message = format!(
            "sharing with a whole organization is not allowed in this namespace, so cfshare makes no changes{shared}. Ask the \
             administrator of cfshare to add the namespace to the chart value organization.namespaces (flag \
             --organization-shares)"
        );
        return Some(Verdict::stalled(Reason::OrganizationNotAllowed, message));
    }
    other_share(&share.desired, &share.pass.status).map(|message| Verdict::stalled(Reason::Invalid, message))
}

/// What is wrong where the manifest means another share than the one that the object manages.
pub fn other_share(desired: &Desired, status: &ShareStatus) -> Option<String> {
    let (wanted, recorded) = (desired.share_id.as_ref()?, status.share_id.as_ref()?);
    (!id::same(wanted.as_str(), recorded)).then(|| {
        format!(
            "this object manages share {recorded}, but spec.shareID is {wanted} and cannot be changed. Set deletionPolicy: \
             Retain, so that share {recorded} stays at Cloudflare, delete this object, and apply it again with the id of the \
             share that it is to manage"
        )
    })
}

pub fn waiting(share: &mut SharePass, wait: Wait) -> Verdict {
    let settle = share.pass.context.settings.settle_time;
    match wait {
        Wait::Recipients => Verdict::working(
            Reason::WaitingForRecipients,
            "no recipient is declared yet, so no share is created: add one to spec.recipients, or apply a ShareRecipient",
        ),
        Wait::Resources => Verdict::working(
            Reason::WaitingForResources,
            "no resource is declared yet, so no share is created: add one to spec.resources, or apply a ShareResource",
        ),
        Wait::Children => {
            Verdict::working(Reason::Progressing, "waiting a few seconds for more ShareRecipient and ShareResource objects")
                .requeue_after(delays::PEER_WRITE)
        }
        Wait::Settle => Verdict::working(
            Reason::Creating,
            format!(
                "the response to the create request was lost; looking for the share that it may have created, for up to {} s",
                settle.as_secs()
            ),
        )
        .requeue_after((settle / 16).max(delays::PEER_WRITE)),
        Wait::Backoff => create::backing_off(share),
        Wait::Thaw => {
            let (reason, what) = withheld(share);
            // While the breaker is open, it may not be gone.
            if reason == Reason::ShareNotFound && !share.pass.is_deleting() && share.while_breaker_open().is_none() {
                report_gone(share);
            }
            status::frozen(share, reason, &what)
        }
        Wait::Visibility => {
            let what = share.share_id().map_or_else(
                || "the share that a create request without a response may have created".to_owned(),
                |id| format!("share {id}"),
            );
            breaker::not_visible(&share.session, &share.pass.key, &what, &secret_of(&share.pass.object))
        }
    }
}

/// What is not done while nothing may be written, and the reason that says how the share stands.
fn withheld(share: &SharePass) -> (Reason, String) {
    let Some(id) = &share.pass.status.share_id else {
        return (Reason::Creating, "the outcome of an earlier create request is unknown".to_owned());
    };
    let is_there = share.share_id().and_then(|id| share.seen(&id)).is_some_and(|seen| seen.is_live());
    if !share.pass.is_deleting() {
        return (Reason::ShareNotFound, format!("share {id} was not found, and is not recreated"));
    }
    let (reason, how) =
        if is_there { (Reason::Differs, "is not deleted") } else { (Reason::ShareNotFound, "was not found") };
    let message = format!(
        "share {id} {how}, and this object stays until cfshare may write. To delete the object and keep the share, set \
         deletionPolicy: Retain"
    );
    (reason, message)
}

/// What is reported instead of a look at a share that is not there, while nothing of its account is believed.
pub fn held_by_breaker(share: &SharePass) -> Option<Verdict> {
    if share.mode == Mode::Manage || share.pass.is_deleting() {
        return None;
    }
    share.while_breaker_open()
}

/// The status says nothing more of a share that is proven not to be there.
fn report_gone(share: &mut SharePass) {
    let seen = share.share_id().and_then(|id| share.seen(&id));
    share.pass.status.remote_status = seen.map(|seen| seen.share.status.to_string().into());
    declared::none_in_place(&mut share.pass.status, &share.desired);
}

pub fn refuse(share: &mut SharePass, refusal: Refusal) -> Verdict {
    let id = share.share_id();
    match &refusal {
        Refusal::NotFound | Refusal::Nothing => report_gone(share),
        Refusal::Claimed
        | Refusal::NameTaken(_)
        | Refusal::Ambiguous(_)
        | Refusal::Taken(_)
        | Refusal::TargetMismatch => {}
    }
    if let (Refusal::NotFound, Some(id)) = (&refusal, &id) {
        // As long as this is said, the sweep would show it if it came back: it need not be asked for.
        share.session.account.cache().still_missing(id, share.pass.now());
    }
    let leaves = rival_leaves(share, &refusal);
    if refusal == Refusal::Nothing && share.is_read_only() {
        return Verdict::stalled(Reason::Differs, nothing(READ_ONLY, &share.desired));
    }
    let verdict = refused(refusal, &share.pass.object, &share.desired, &share.pass.context.cluster.index, id.as_ref());
    if leaves {
        return share.pass.awaited(verdict);
    }
    verdict
}

/// Whether the object that stands in the way is being deleted: its share goes with it, or is free, within minutes.
fn rival_leaves(share: &SharePass, refusal: &Refusal) -> bool {
    let (index, object) = (&share.pass.context.cluster.index, &share.pass.object);
    let rival = match refusal {
        Refusal::Claimed => {
            let id = share.share_id().map(|id| id.as_str().into()).or_else(|| object.spec.share_id.clone());
            index.rival(object, id.as_deref())
        }
        Refusal::NameTaken(ids) | Refusal::Ambiguous(ids) => {
            ids.iter().find_map(|id| index.rival(object, Some(id.as_str())))
        }
        Refusal::Taken(id) => index.rival(object, Some(id.as_str())),
        Refusal::NotFound | Refusal::TargetMismatch | Refusal::Nothing => None,
    };
    let rival = rival.and_then(|name| index.shares.find(&name));
    rival.is_some_and(|rival| is_deleting(&rival.metadata))
}

pub fn refused(refusal: Refusal, share: &Share, desired: &Desired, index: &Index, id: Option<&ShareId>) -> Verdict {
    let name = desired.name.as_deref().unwrap_or_default();
    let id = id.map(ShareId::as_str).or(share.spec.share_id.as_deref());
    match refusal {
        Refusal::Claimed => Verdict::stalled(Reason::Claimed, claimed(share, index, name, id)),
        Refusal::NameTaken(ids) => {
            Verdict::stalled(Reason::NameTaken, name_taken(share, index, name, &ids)).requeue_after(delays::HUMAN)
        }
        Refusal::Ambiguous(ids) => {
            Verdict::stalled(Reason::Ambiguous, ambiguous(name, &ids)).requeue_after(delays::HUMAN)
        }
        Refusal::Taken(id) => {
            let message = none_created(share, index, &id, &format!("the only share named {name} (id {id})"));
            Verdict::stalled(Reason::Claimed, message).requeue_after(delays::HUMAN)
        }
        Refusal::NotFound => Verdict::stalled(Reason::ShareNotFound, not_found(share, desired, id.unwrap_or_default()))
            .requeue_after(delays::HUMAN),
        Refusal::TargetMismatch => Verdict::stalled(
            Reason::TargetMismatch,
            "the share at Cloudflare has another target (accounts, or another organization) than this manifest, and neither \
             can be changed. Delete this object, which changes nothing at Cloudflare, and apply it again with the target of \
             the share, or with another spec.name and without shareID to create another share",
        ),
        Refusal::Nothing => Verdict::stalled(Reason::Differs, nothing("observed", desired)),
    }
}

/// `why`: why none is created.
fn nothing(why: &str, desired: &Desired) -> String {
    let name = desired.name.as_deref().unwrap_or_default();
    format!("{why}: there is no live share named {name} in account {}", desired.owner)
}

fn claimed(share: &Share, index: &Index, name: &str, id: Option<&str>) -> String {
    match id {
        Some(id) => {
            let (has_it, not_deleted) = rival_has(share, index, id, &format!("share {id}"));
            format!(
                "{has_it}, so cfshare does nothing for this object. Delete this object, which changes nothing at \
                 Cloudflare. {not_deleted}"
            )
        }
        None => {
            let rival = index.rival(share, None);
            let other = rival.as_ref().and_then(|rival| index.shares.known(rival));
            let has_made = other.is_some_and(|other| Claimant::of(&other).made);
            let rival = rivals::named(index, rival);
            let not_deleted =
                if has_made { rivals::not_deleted(&rival) } else { format!("{rival} manages no share so far") };
            format!("{rival} already has the name {name}, or claims it, so {NONE_CREATED} {not_deleted}")
        }
    }
}

fn name_taken(share: &Share, index: &Index, name: &str, ids: &[ShareId]) -> String {
    if let Some(id) = ids.iter().find(|id| index.rival(share, Some(id.as_str())).is_some()) {
        return none_created(share, index, id, &format!("the share named {name} (id {id})"));
    }
    match ids {
        [id] => format!(
            "a share named {name} already exists (id {id}), so none is created: set `shareID: {id}` to adopt it, or \
             change spec.name to create another one"
        ),
        ids => format!(
            "{} shares named {name} already exist (ids {}), so none is created: set `shareID` to the one to adopt, or \
             change spec.name to create another one",
            ids.len(),
            list(ids)
        ),
    }
}

/// What the Share that stands in the way has to do with a share, called so, and why it is not to be deleted instead.
fn rival_has(share: &Share, index: &Index, id: &str, called: &str) -> (String, String) {
    let rival = index.rival(share, Some(id));
    let only_wants_it = rival.as_ref().is_some_and(|rival| !index.manages(rival, id));
    let rival = rivals::named(index, rival);
    if only_wants_it {
        (format!("{rival} is to adopt {called} by its spec.shareID"), format!("{rival} manages no share so far"))
    } else {
        (format!("{rival} already manages {called}"), rivals::not_deleted(&rival))
    }
}

const NONE_CREATED: &str = "no share is created for this object. Give this object another spec.name, or delete it, which changes \
                            nothing at Cloudflare.";

fn none_created(share: &Share, index: &Index, id: &ShareId, called: &str) -> String {
    let (has_it, not_deleted) = rival_has(share, index, id.as_str(), called);
    format!("{has_it}, so {NONE_CREATED} {not_deleted}")
}

fn ambiguous(name: &str, ids: &[ShareId]) -> String {
    format!(
        "{} shares are named {name} (ids {}), so none of them is adopted or changed. Set spec.shareID to the right id",
        ids.len(),
        list(ids)
    )
}

fn not_found(share: &Share, desired: &Desired, id: &str) -> String {
    let adopted = own_record(share).is_some_and(|status| status.adopted);
    let by_id = share.spec.share_id.is_some();
    let why = match (adopted, by_id) {
        (true, _) => ", and an adopted share is not recreated",
        (false, true) => "",
        (false, false) => ", and is not recreated, because managementPolicy is Observe",
    };
    let instead = match (by_id, adopted) {
        (true, _) => {
            "Neither shareID nor accountID can be changed: delete this object, which changes nothing at Cloudflare, and apply \
             it again with the right ids, or without shareID to create a new share"
        }
        (false, true) => {
            "To create a new share, delete this object, which changes nothing at Cloudflare, and apply it again"
        }
        (false, false) => "To have it recreated, set managementPolicy: Manage",
    };
    format!("share {id} does not exist in account {}{why}. {instead}", desired.owner)
}

fn list(ids: &[ShareId]) -> String {
    ids.iter().map(ShareId::as_str).collect::<Vec<_>>().join(", ")
}
