//! What is the share called at Cloudflare, and may it be called as declared?

use super::desired::Desired;
use super::rivals;
use super::share_pass::SharePass;
use crate::api::status::{DriftEntry, ShareStatus};
use crate::api::{Name, Reason, Share};
use crate::cloudflare::Share as RemoteShare;
use crate::core::id::ShareId;
use crate::core::share_step::Mode;
use crate::operator::cluster::claimant::Claim;
use crate::operator::cluster::index::Index;
use crate::operator::delays;
use crate::operator::pass::memory::Write;
use crate::operator::pass::verdict::Verdict;
use crate::operator::pass::write;
use crate::operator::remote::account_cache::AccountCache;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::stop::Stop;

/// The name at Cloudflare, put right if it differs.
pub async fn correct_name(share: &mut SharePass, id: &ShareId, seen: &ObservedShare) -> Result<Option<Verdict>, Stop> {
    let Some(wanted) = wanted_name(share).cloned() else { return Ok(None) };
    let found = &seen.share.name;
    if *found == wanted {
        share.pass.status.common.drift.retain(|drift| drift.path != "name");
        if share.pass.status.share_name.as_deref() != Some(wanted.as_str()) {
            share.pass.status.share_name = Some(wanted.into());
            share.pass.memory(|memory| memory.write_stuck("name"));
        }
        return Ok(None);
    }
    if share.mode != Mode::Manage {
        return Ok(None);
    }
    let write = Write { item: "name".into(), what: "the share's name".into(), value: wanted, found: found.clone() };
    if share.pass.awaits_effect(&write) && seen.read_at < share.pass.fresh_since {
        share.session.read_share(id).await?;
        let is_read = share.seen(id).is_none_or(|seen| seen.read_at >= share.pass.fresh_since);
        return Ok(share.pass.not_shown_yet(&write).filter(|_| !is_read));
    }
    let write_block = share.pass.write_block(&write).or_else(|| share.pass.not_shown_yet(&write));
    if write_block.is_some() {
        return Ok(write_block);
    }
    if let Some(verdict) = find_rival(share, id, found).await? {
        return Ok(Some(verdict));
    }
    share.pass.show_drift(name_drift(share, seen).into_iter().collect()).await?;
    let change = share.session.rename_share(id, &write.value).await?;
    share.pass.note_answer(change, &write, &format!("Cloudflare refuses the name {}", write.value))?;
    let freed = share.session.account.cache().freed();
    share.pass.context.cluster.requeue_claimants(&share.desired.owner, &freed);
    Ok(None)
}

/// Why the share may not get that name: a name is looked for before a rename as before a create.
async fn find_rival(share: &SharePass, id: &ShareId, kept: &str) -> Result<Option<Verdict>, Stop> {
    let (object, index) = (&share.pass.object, &share.pass.context.cluster.index);
    let known = || rival(object, &share.desired, index, &share.session.account.cache(), id, kept);
    // What is known to be taken costs no look.
    if known().is_none() {
        share.session.await_first_sweep()?;
        share.session.look(share.pass.fresh_since).await?;
    }
    Ok(known())
}

/// Why the share may not get the name that is declared, as far as it is known, and keeps the one that it has.
pub fn rival(
    object: &Share,
    desired: &Desired,
    index: &Index,
    cache: &AccountCache,
    id: &ShareId,
    kept: &str,
) -> Option<Verdict> {
    let name = desired.name.as_deref()?;
    if !index.claims(object) {
        let rival = rivals::named(index, index.rival(object, None));
        return Some(taken(&format!("{rival} already declares the name {name} in this account"), kept, &rival));
    }
    let bears = |share: &RemoteShare| share.name == name && share.id != *id && share.is_sent_by(&desired.owner);
    let other = &cache.live().find(|seen| bears(&seen.share))?.share.id;
    let bound = index.rival(object, Some(other.as_str()));
    let wanted = bound.as_ref().and_then(|bound| index.shares.find(bound)).map(|bound| Claim::of(&bound).name);
    Some(match (bound, wanted.filter(|wanted| **wanted != *name)) {
        (Some(bound), Some(wanted)) => stalled(leaving(name, kept, &bound, &wanted)),
        (Some(bound), None) => {
            let bound = rivals::called(index, &bound);
            taken(&format!("{bound} manages the share {other}, which already has the name {name}"), kept, &bound)
        }
        (None, _) => stalled(format!(
            "share {other} in this account already has the name {name}, so this share keeps the name {kept} and its \
             recipients. Change spec.name, or rename the other share at Cloudflare: deleting it would end the access \
             of its recipients"
        )),
    })
}

/// The name belongs to a Share that is to be called otherwise, and is not yet.
fn leaving(name: &str, kept: &str, other: &Name, wanted: &str) -> String {
    if wanted == kept {
        return format!(
            "this Share and Share {other} are to swap the names {kept} and {name}, which cfshare does not do: both shares \
             keep their names and their recipients. Set spec.name of one of them to a third name, and once the other share \
             has its new name, to the final one"
        );
    }
    format!(
        "Share {other} still has the name {name} and is to be named {wanted}, so this share keeps the name {kept} and its \
         recipients until then. If that does not happen, see the status of Share {other}. If it waits for another \
         name in turn, set spec.name of one of them to a name that no share has"
    )
}

pub fn is_misnamed(share: &SharePass, seen: &ObservedShare) -> bool {
    wanted_name(share).is_some_and(|wanted| *wanted != seen.share.name)
}

/// The name that the share had as declared, and has no more; when only observing, any other name.
pub fn name_drift(share: &SharePass, seen: &ObservedShare) -> Option<DriftEntry> {
    let wanted = wanted_name(share).filter(|wanted| **wanted != seen.share.name)?;
    let edited = share.mode == Mode::Manage && share.pass.status.share_name.as_deref() != Some(wanted.as_str());
    (!edited).then(|| write::drift_entry("name".into(), wanted, &seen.share.name))
}

/// An adopted share keeps the name it has, unless the manifest gives one.
pub fn keeps_its_name(share: &Share, status: &ShareStatus) -> bool {
    status.adopted && share.spec.name.is_none()
}

/// The name that the share is to have, whatever it has now; `None`: the one that it has.
fn wanted_name(share: &SharePass) -> Option<&String> {
    share.desired.name.as_ref().filter(|_| !keeps_its_name(&share.pass.object, &share.pass.status))
}

/// The verdict on a rename to the name of another Share; `rival`: what that is called.
fn taken(by: &str, kept: &str, rival: &str) -> Verdict {
    stalled(format!(
        "{by}, so this share keeps the name {kept} and its recipients. Change spec.name of this Share or of {rival}. {}",
        rivals::not_deleted(rival)
    ))
}

fn stalled(message: String) -> Verdict {
    Verdict::stalled(Reason::NameTaken, message).requeue_after(delays::HUMAN)
}
