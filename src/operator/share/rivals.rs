//! Which other Share stands in the way of one, seen or unseen?

use std::time::Duration;

use super::share_pass::SharePass;
use crate::api::{Name, Reason};
use crate::core::id::ShareId;
use crate::core::share_step::{Mode, Refusal, Step};
use crate::operator::cluster::index::Index;
use crate::operator::cluster::outside::Recency;
use crate::operator::delays;
use crate::operator::pass::verdict::Verdict;
use crate::operator::stop::Stop;

/// For so long a look holds for what is only reported, or was never seen to leave.
const MAX_AGE_FOR_REPORTS: Duration = Duration::from_secs(600);
/// A look was made since the start, and since the last Share left the watch.
const ONCE: Duration = Duration::MAX;

/// Looks for claims of Shares outside, as recent as the step needs them. Returns whether to decide again.
pub async fn look_for_rivals(share: &SharePass, step: &Step) -> Result<bool, Stop> {
    let has_namesake = || {
        let id = share.pass.status.recorded_share();
        id.is_some_and(|id| !share.session.account.cache().namesakes(&id).is_empty())
    };
    let has_claimant = matches!(
        step,
        Step::Refuse(Refusal::NameTaken(_) | Refusal::Ambiguous(_) | Refusal::Taken(_) | Refusal::Claimed)
    );
    // Somebody says that it is another way now.
    let asked = (has_claimant && share.pass.is_requested()).then(|| share.pass.outdated_before(true));
    let within = match step {
        _ if share.mode == Mode::Observe => return Ok(false),
        Step::Bind { .. } | Step::Delete => delays::FRESH,
        Step::Create
        | Step::Refuse(Refusal::NameTaken(_) | Refusal::Ambiguous(_) | Refusal::Taken(_) | Refusal::Claimed) => {
            delays::HUMAN
        }
        Step::Maintain if has_namesake() => MAX_AGE_FOR_REPORTS,
        Step::Maintain
        | Step::Read(_)
        | Step::GiveUp
        | Step::Withdraw
        | Step::Forget
        | Step::Release
        | Step::Wait(_)
        | Step::Await(_)
        | Step::Refuse(Refusal::NotFound | Refusal::TargetMismatch | Refusal::Nothing) => ONCE,
    };
    let cluster = &share.pass.context.cluster;
    // What is taken over is somebody else's as long as nobody can tell.
    let complete = matches!(step, Step::Bind { .. });
    match cluster.outside.look_for_claims(&cluster.index, Recency { within, asked, complete }).await {
        Ok(looked) => Ok(looked),
        // Whether a namespace that was never listed stands in the way is decided where it can be told: see `awaits_lists`.
        Err(error) if complete && cluster.index.unwatched.unlisted().is_none() => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "the Shares outside --watch-label-selector cannot be listed");
            Ok(false)
        }
    }
}

/// Why no share may be taken over now: a Share that was not listed yet may have it.
pub fn awaits_lists(share: &SharePass) -> Option<Verdict> {
    let namespace = share.pass.context.cluster.index.unwatched.unlisted()?;
    let message = format!(
        "no share is adopted yet, because cfshare cannot list the Shares in namespace {namespace}, and one of them \
         may manage it already. Allow cfshare to list that namespace, or remove it from --namespace"
    );
    Some(Verdict::working(Reason::Progressing, message).requeue_after(delays::TRANSIENT))
}

/// What messages call the Share in the way, if that is known.
pub fn named(index: &Index, rival: Option<Name>) -> String {
    rival.map_or("another object".to_owned(), |rival| called(index, &rival))
}

/// The Share, and why it may be unknown to the reader.
pub fn called(index: &Index, share: &Name) -> String {
    match index.shares.find(share) {
        Some(_) => format!("Share {share}"),
        None => format!("Share {share} (which does not match --watch-label-selector)"),
    }
}

/// Why it is not to be deleted; `rival`: as it is called.
pub fn not_deleted(rival: &str) -> String {
    format!(
        "Deleting {rival} instead deletes its share for all accounts, unless its status.effective.deletionPolicy is Retain"
    )
}

/// Two live shares of one name: ours, and one that may be a create that arrived twice.
pub fn with_namesake(share: &SharePass, id: &ShareId, so_far: String) -> String {
    let so_far = match share.pass.context.cluster.index.refused_rival(&share.pass.object) {
        Some(rival) => {
            format!("{so_far}; Share {rival} declares the same name in this account, so no share is created for it")
        }
        None => so_far,
    };
    let index = &share.pass.context.cluster.index;
    let namesakes = share.session.account.cache().namesakes(id);
    let namesake = namesakes.into_iter().find(|other| !index.is_named(&share.pass.object, other.as_str()));
    match (namesake, index.unwatched.unlisted()) {
        (Some(namesake), Some(unlisted)) => format!(
            "{so_far}; another live share has the same name (id {namesake}), which may belong to a Share in namespace \
             {unlisted}, because cfshare cannot list that namespace"
        ),
        (Some(namesake), None) => format!(
            "{so_far}; another live share has the same name (id {namesake}), which no Share that this cfshare watches \
             declares. Find out who uses it before you delete it at Cloudflare: its recipients lose access"
        ),
        (None, _) => so_far,
    }
}
