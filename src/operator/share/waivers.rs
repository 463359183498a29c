//! Which failures does a manifest accept for now, and what is reported of them?

use super::share_pass::SharePass;
use crate::api::status::{WaiverInForce, WaiverWarning};
use crate::api::{EventReason, Reason};
use crate::core::row_key::RowKey;
use crate::operator::cluster::events::Note;
use crate::operator::pass::verdict::Verdict;
use crate::operator::rows::row_state::{REFUSED, RowState, State, first_of, with_more};
use crate::operator::rows::waiver;

/// At most so many are named in a message.
const MAX_NAMED: usize = 3;

/// The waiver under which a row's failure is accepted now.
pub fn in_force(share: &SharePass, row: &RowState) -> Option<WaiverInForce> {
    let failed = row.state == State::Failed || row.state == State::Refused && row.word == REFUSED;
    if !failed || !row.key.is_recipient() {
        return None;
    }
    waiver::in_force(share.desired.all.get(&row.key)?.waiver.as_ref(), share.pass.now())
}

fn waived<'r>(share: &SharePass, row_states: &'r [RowState]) -> Vec<(&'r RowState, WaiverInForce)> {
    row_states.iter().filter_map(|row| Some((row, in_force(share, row)?))).collect()
}

/// What is reported first of a row whose waiver has ended.
pub fn ended(share: &SharePass, key: &RowKey) -> String {
    let declared = share.desired.all.get(key).and_then(|declaration| declaration.waiver.as_ref());
    waiver::ended(declared, share.pass.now())
}

/// The verdict Ready, where failures are waived: it says so, and refused calls are tried again as before.
pub fn with_waived(share: &SharePass, row_states: &[RowState], verdict: Verdict) -> Verdict {
    let waived = waived(share, row_states);
    if waived.is_empty() {
        return verdict;
    }
    let named = waived
        .iter()
        .take(MAX_NAMED)
        .map(|(row, waiver)| format!("{} failed: {}, {waiver}", share.label(&row.key), row.message));
    let named: Vec<String> = named.collect();
    let all = with_more(&named.join("; "), waived.len() - named.len() + 1);
    let retries =
        waived.iter().filter_map(|(row, _)| share.pass.refusal(&row.key.to_string(), Reason::Rejected)?.requeue_after);
    let message = format!("{}; {all}", verdict.message);
    Verdict { reason: Reason::Waived, message, ..verdict }.requeue_within(retries)
}

/// Has the share looked at again when a waiver changes, and warns before one of its own ends.
pub fn note_ends(share: &mut SharePass, row_states: &[RowState], verdict: Verdict) -> Verdict {
    let now = share.pass.now();
    let waived = waived(share, row_states);
    let changes = waived.iter().filter_map(|(_, waiver)| waiver::look_again(waiver, now));
    let verdict = verdict.requeue_within(changes);
    let ending = waived.into_iter().filter(|(row, waiver)| share.is_ours(&row.key) && waiver::ends_soon(waiver, now));
    let ending: Vec<(String, WaiverWarning)> = ending
        .filter_map(|(row, waiver)| {
            let text = format!("{} is {waiver}", share.label(&row.key));
            Some((text, WaiverWarning { account_id: row.key.recipient()?.as_str().into(), until: waiver.until }))
        })
        .collect();
    let before = std::mem::take(&mut share.pass.status.waiver_warnings);
    let fresh = ending.iter().filter(|(_, warning)| !before.contains(warning)).map(|(text, _)| text.clone());
    let fresh = first_of(fresh, MAX_NAMED, "; ");
    if !fresh.is_empty() {
        let text = format!("{fresh}. Not Ready again from then on");
        share.pass.warning = Some((Note::warning(EventReason::WaiverEnds), text));
    }
    share.pass.status.waiver_warnings = ending.into_iter().map(|(_, warning)| warning).collect();
    verdict
}
