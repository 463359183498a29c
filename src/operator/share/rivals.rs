//! Which other Share stands in the way of one, in scope or out of it?

use super::share_pass::SharePass;
use crate::api::{Name, Reason};
use crate::core::id::ShareId;
use crate::operator::cluster::index::Index;
use crate::operator::delays;
use crate::operator::pass::verdict::Verdict;

/// Why no share may be taken over now: a Share that was not listed yet may have it.
pub fn awaits_lists(share: &SharePass) -> Option<Verdict> {
    let namespace = share.pass.context.cluster.index.unlisted.first()?;
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
    match (namesake, index.unlisted.first()) {
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
