//! Which members does an organization's share not reach, and what is reported of them?
//!
//! An organization may have 20,000 accounts, so Cloudflare's counts tell how many. Only if these do not move for long, some
//! pages of its recipients are read, once an hour at most.

use std::time::Duration;

use super::share_pass::SharePass;
use crate::api::Reason;
use crate::cloudflare::{AssociationStatus, FULL_PAGE};
use crate::core::id::ShareId;
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::remote::recipients::Members;
use crate::operator::remote::session::MEMBER_PAGES;
use crate::operator::rows::row_state::{RowState, recipient_state};
use crate::operator::stop::Stop;
use crate::operator::{clock, delays};

/// Reads which members are stuck, where that is due; `requested`: since when a person asks for another look.
pub async fn look(share: &SharePass, id: &ShareId, requested: Option<At>) -> Result<(), Stop> {
    let (now, stuck_after) = (share.pass.now(), share.pass.context.settings.stuck_after());
    // Without exclusions all accounts among the exceptions are members.
    let told = share.pass.status.recipients.as_ref().is_some_and(|counts| counts.failed > 0)
        || !share.excludes() && share.pass.status.exceptions.iter().any(|entry| entry.row.account_id.is_some());
    let is_due = |members: &Members| {
        let unread = members.read_at == At::default();
        // What failed before a restart is reported on.
        members.due(stuck_after) <= now || unread && told || !unread && Some(members.read_at) < requested
    };
    let seen = share.seen(id);
    if seen.and_then(|seen| seen.members).is_some_and(|members| is_due(&members)) {
        share.session.read_members(id).await?;
    }
    Ok(())
}

/// How the members stand that were found.
pub fn row_states(seen: &ObservedShare) -> impl Iterator<Item = RowState> {
    let rows = seen.members.iter().flat_map(|members| &members.rows);
    rows.map(|row| recipient_state(&RowKey::Recipient(row.account_id.clone()), row))
}

/// Of how many members that Cloudflare counts as on their way it is known that they failed for good.
pub fn given_up(seen: &ObservedShare) -> u64 {
    let rows = seen.members.iter().flat_map(|members| &members.rows);
    rows.filter(|row| row.has_failed() && row.association_status != AssociationStatus::Associated).count() as u64
}

/// Whether members are on their way.
pub fn are_pending(share: &SharePass) -> bool {
    let pending = share.pass.status.recipients.as_ref().map_or(0, |recipients| recipients.pending);
    share.desired.organization.is_some() && pending > 0
}

/// Whether they are so, and have moved not long ago: the sweep shows when the others do.
pub fn are_moving(share: &SharePass, seen: &ObservedShare) -> bool {
    are_pending(share) && stuck_since(share, seen).is_none()
}

fn stuck_since(share: &SharePass, seen: &ObservedShare) -> Option<At> {
    let members = seen.members.as_ref().filter(|_| share.desired.organization.is_some())?;
    let is_stuck = share.pass.now().since(members.since) >= share.pass.context.settings.stuck_after();
    is_stuck.then_some(members.since)
}

/// When to read them again, without any news.
pub fn look_again(share: &SharePass, seen: &ObservedShare) -> Option<Duration> {
    let members = seen.members.as_ref().filter(|_| share.desired.organization.is_some())?;
    Some(members.due(share.pass.context.settings.stuck_after()).since(share.pass.now()).max(delays::RECHECK))
}

/// What is said of members that are stuck, none of which was found.
pub fn unexplained(share: &SharePass, seen: &ObservedShare) -> String {
    let (Some(since), Some(counts)) = (stuck_since(share, seen), seen.counts) else { return String::new() };
    if !are_pending(share) || row_states(seen).next().is_some() {
        return String::new();
    }
    format!(
        "; {} of {} accounts of the organization have been associating since {}, and cfshare, which reads at most {} of them, \
         does not know which: `cfshare received --account <ID>` shows what one account receives",
        counts.associating,
        counts.associating + counts.associated,
        clock::time(since).0,
        MEMBER_PAGES * FULL_PAGE,
    )
}

/// The verdict on a member that failed for good; `more`: that there are others.
pub fn failed(name: &str, row: &RowState, more: &str) -> Verdict {
    let message = format!(
        "{name} failed: {}{more}. Cloudflare does not retry. Fix the cause in the Cloudflare account, then exclude the account \
         in spec.organization.excluded and include it again; or leave it excluded",
        row.message,
    );
    Verdict::stalled(Reason::RecipientFailed, message)
}
