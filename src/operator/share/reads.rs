//! The reads that fill gaps in what is known of a share.

use super::announced::started_at;
use super::share_pass::SharePass;
use crate::core::id::ShareId;
use crate::core::share_step;
use crate::operator::stop::Stop;

pub async fn read_share(share: &SharePass) -> Result<(), Stop> {
    let id = share.share_id().or_else(|| share.desired.share_id.clone());
    let may_read = share.share_id().is_some_and(|id| share.pass.take_early_read(&share.session, &id));
    if !may_read {
        share.session.await_first_sweep()?;
    }
    // The sweep may have ended since it was missed.
    let Some(id) = id.filter(|id| share.seen(id).is_none()) else { return Ok(()) };
    share.session.read_share(&id).await?;
    let now = share.pass.now();
    share.pass.memory(|memory| memory.tries.asked_for_id = Some(now));
    Ok(())
}

pub async fn read_list(share: &SharePass) -> Result<(), Stop> {
    share.session.await_first_sweep()?;
    let Some(intent) = share.pass.status.intent.clone() else {
        return share.session.look(share.snapshot(|now| now.look_since())).await;
    };
    let began = share.pass.now();
    let since = started_at(&intent).minus(share_step::CLOCKS_DIFFER);
    share.session.look_back(since).await?;
    let with = share.session.account.fingerprint;
    share.pass.memory(|memory| memory.note_empty_look(with, began));
    Ok(())
}

/// Reads the first few of these shares once more.
pub async fn read_shares(share: &SharePass, ids: &[ShareId]) -> Result<(), Stop> {
    for id in ids.iter().take(3) {
        share.session.read_share(id).await?;
    }
    Ok(())
}
