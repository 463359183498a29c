//! What is reported of a share: counts, exceptions, what nobody declared, drift, and the verdict.

use super::losses::Losing;
use super::plan::Plan;
use super::share_pass::SharePass;
use super::{bulk, exceptions, exclusions, members, name, outside, plan, removals, rivals, waivers};
use crate::api::status::{RecipientCounts, ResourceCounts, UnmanagedEntry};
use crate::api::{Reason, int32};
use crate::cloudflare::{AssociationStatus, Share as RemoteShare, ShareStatus, clean};
use crate::core::id::ShareId;
use crate::core::interned::Interned;
use crate::core::row_key::RowKey;
use crate::core::row_step::{Observed, Step};
use crate::core::share_step::Mode;
use crate::operator::pass::verdict::{READ_ONLY, Verdict};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::row_state::{NOT_EXCLUDED, RowState, State, first_of, row_state, with_more};
use crate::operator::{clock, delays};

const MAX_UNMANAGED: usize = 20;
const MAX_MESSAGE: usize = 300;
/// Polls without news for which a share is followed that is neither as usual nor on its way: over two minutes by default.
const MAX_STRANGE_POLLS: u32 = 10;

/// Fills the status from what was seen, and returns the verdict.
pub fn report(share: &mut SharePass, id: &ShareId, seen: &ObservedShare, plan: &Plan) -> Verdict {
    let status = &mut share.pass.status;
    status.share_id = Some(id.as_str().into());
    [status.account_name, status.target_type, status.remote_status] = words(&seen.share);
    if status.share_name.is_none() || share.mode != Mode::Manage {
        status.share_name = Some(clean(&seen.share.name, MAX_MESSAGE).into());
    }
    // Where nothing is written, nothing waits for a confirmation.
    let losing = (share.mode == Mode::Manage).then(|| removals::losing(share, seen));
    let row_states = exceptions::row_states(share, seen, plan, losing.as_ref());
    count(share, &row_states, seen);
    exceptions::list_exceptions(share, &row_states);
    list_unmanaged(share, seen, plan);
    list_drift(share, seen, plan);
    share.pass.status.blocked_removals = losing.as_ref().map_or(0, |losing| int32(losing.blocked_rows().count()));
    let so_far = so_far(share, seen);
    let summary = Summary { id, seen, plan, row_states: &row_states, losing: losing.as_ref(), so_far };
    let verdict = match share.mode {
        Mode::Manage => judge(share, summary),
        Mode::Observe | Mode::Frozen => compare(share, summary),
    };
    let verdict = name_kept(share, seen, plan, verdict).requeue_within(members::look_again(share, seen));
    waivers::note_ends(share, &row_states, verdict)
}

/// Names the resource that stays though no manifest declares it, since the share would have none without it.
fn name_kept(share: &SharePass, seen: &ObservedShare, plan: &Plan, verdict: Verdict) -> Verdict {
    let removed = plan.of(|step| step == Step::Remove);
    match removals::kept_last(&share.desired, seen, &removed).filter(|_| share.mode == Mode::Manage) {
        Some(key) => {
            let message =
                format!("{}; {} stays until another resource is in place", verdict.message, share.label(&key));
            Verdict { message, ..verdict }
        }
        None => verdict,
    }
}

/// What is recorded of a share in Cloudflare's words: the name of its account, its target, and its status.
pub fn words(share: &RemoteShare) -> [Option<Interned>; 3] {
    let name = Some(clean(&share.account_name, MAX_MESSAGE).into()).filter(|name: &Interned| !name.is_empty());
    [name, Some(share.target_type.to_string().into()), Some(share.status.to_string().into())]
}

fn judge(share: &mut SharePass, summary: Summary<'_>) -> Verdict {
    let seen = summary.seen;
    exclusions::set_alarm(share, summary.row_states);
    let row_states: Vec<RowState> = summary.row_states.iter().filter(|row| row.word != NOT_EXCLUDED).cloned().collect();
    let verdict = rows_verdict(share, Summary { row_states: &row_states, ..summary });
    let follows = share.pass.alarm.as_ref().is_some_and(|alarm| alarm.requeue_after.is_none());
    let wait = follows.then(|| share.follow(seen));
    share.pass.with_alarm(verdict).requeue_within(wait)
}

/// What was seen, in numbers.
fn so_far(share: &SharePass, seen: &ObservedShare) -> String {
    let status = &share.pass.status;
    let recipients = status.recipients.as_ref().map(|counts| format!("{} recipients associated", counts.summary));
    let resources = status.resources.as_ref().map(|counts| format!("{} resources active", counts.summary));
    let counted = recipients.into_iter().chain(resources).collect::<Vec<_>>().join(", ");
    counted + &members::unexplained(share, seen)
}

/// What is said of a share that is Ready as `status` recorded it, and has no exceptions.
pub fn ready_message(share: &SharePass, id: &ShareId, seen: &ObservedShare) -> String {
    rivals::with_namesake(share, id, with_unmanaged(share, so_far(share, seen)))
}

/// What is reported of the rows while the share is not made: those that were refused.
pub fn report_unmade(share: &mut SharePass) {
    let now = share.pass.now();
    let row_states: Vec<RowState> = share.pass.memory(|memory| {
        let refused = share.desired.all.keys().filter_map(|key| {
            let refused = memory.refusal(&key.to_string(), now)?;
            Some(RowState::refused(key, refused.message.clone()))
        });
        refused.collect()
    });
    exceptions::list_exceptions(share, &row_states);
}

fn count(share: &mut SharePass, row_states: &[RowState], seen: &ObservedShare) {
    let of = |recipients: bool, wanted: &[State]| {
        let rows = row_states.iter().filter(|row| match row.key {
            RowKey::Recipient(_) => recipients,
            RowKey::Resource { .. } => !recipients,
            RowKey::Excluded(_) => false,
        });
        int32(rows.filter(|row| wanted.contains(&row.state)).count())
    };
    let any = [State::InPlace, State::Pending, State::Failing, State::Failed, State::Refused];
    let counts = seen.counts.unwrap_or_default();
    let mut recipients = RecipientCounts {
        declared: of(true, &any),
        associated: of(true, &[State::InPlace]),
        pending: of(true, &[State::Pending, State::Failing]),
        failed: of(true, &[State::Failed, State::Refused]),
        waived: int32(row_states.iter().filter(|row| waivers::in_force(share, row).is_some()).count()),
        in_place: int32(counts.associated),
        disassociated: int32(counts.disassociated),
        summary: Interned::default(),
    };
    if let Some(listed) = &seen.recipients {
        let with = |word: AssociationStatus| int32(listed.rows.iter().filter(|r| r.association_status == word).count());
        recipients.in_place = with(AssociationStatus::Associated);
        recipients.disassociated = with(AssociationStatus::Disassociated);
    }
    if share.desired.organization.is_some() {
        // Its recipients follow the membership: Cloudflare's counts tell how many there are, and which of them failed is read.
        recipients.declared = int32(counts.associating + counts.associated);
        recipients.associated = int32(counts.associated);
        recipients.pending = int32(counts.associating.saturating_sub(members::given_up(seen)));
    }
    recipients.summary = format!("{}/{}", recipients.associated, recipients.declared).into();
    let mut resources = ResourceCounts {
        declared: of(false, &any),
        active: of(false, &[State::InPlace]),
        summary: Interned::default(),
    };
    resources.summary = format!("{}/{}", resources.active, resources.declared).into();
    // Of an organization's share without counts, nobody knows how many receive it.
    let is_counted = share.desired.organization.is_none() || seen.counts.is_some();
    share.pass.status.recipients = is_counted.then_some(recipients);
    share.pass.status.resources = Some(resources);
    // It follows from the counts, so a pass after a restart must find nothing to change.
    let allowed = super::losses::max_removals(&share.pass.status, &share.desired);
    if let Some(effective) = &mut share.pass.status.effective {
        effective.max_removals = allowed;
    }
}

fn list_unmanaged(share: &mut SharePass, seen: &ObservedShare, plan: &Plan) {
    let mut unmanaged: Vec<UnmanagedEntry> = plan
        .rows
        .iter()
        .filter(|(_, row)| row.is_foreign())
        .map(|(key, _)| UnmanagedEntry { row: exceptions::row_ref(key), state: row_state(key, seen, None).word })
        .collect();
    // Of recipients the counts tell as well.
    unmanaged.sort_by_key(|entry| entry.row.account_id.is_some());
    share.pass.status.unmanaged_count = int32(unmanaged.len());
    share.pass.status.unmanaged = unmanaged.into_iter().take(MAX_UNMANAGED).collect();
}

/// Drift stays listed until the value is as declared again.
fn list_drift(share: &mut SharePass, seen: &ObservedShare, plan: &Plan) {
    let is_clean = |(key, RowPlan { step, .. }): (&RowKey, &RowPlan)| {
        *step == Step::Keep && row_state(key, seen, None).state == State::InPlace || *step == Step::Ignore
    };
    let misnamed = name::is_misnamed(share, seen);
    share.pass.status.common.drift.retain(|drift| {
        let mut rows = plan.rows.iter().filter(|(key, _)| drift.path.starts_with(&key.to_string())).peekable();
        drift.path == "name" && misnamed || rows.peek().is_some() && !rows.any(is_clean)
    });
    // What is left is only observed, or could not be put right.
    let mut reported = plan::drift(share, plan, seen);
    reported.extend(name::name_drift(share, seen));
    if share.mode == Mode::Manage {
        let drift = &mut share.pass.status.common.drift;
        drift.retain(|old| reported.iter().all(|new| new.path != old.path));
        drift.extend(reported);
    } else {
        share.pass.status.common.drift = reported;
    }
}

/// What is known of the share once all is counted.
struct Summary<'a> {
    id: &'a ShareId,
    seen: &'a ObservedShare,
    plan: &'a Plan,
    row_states: &'a [RowState],
    /// What would be lost, where it may be.
    losing: Option<&'a Losing>,
    /// How many are in place.
    so_far: String,
}

fn rows_verdict(share: &mut SharePass, summary: Summary<'_>) -> Verdict {
    // An account whose exclusion waits for a person is not on its way.
    let blocked = summary.losing.map(Losing::blocked_exclusions).unwrap_or_default();
    let ours = |state: State| -> Vec<&RowState> {
        let rows = summary.row_states.iter().filter(|row| row.state == state && share.is_ours(&row.key));
        rows.filter(|row| !blocked.contains(&row.key) && waivers::in_force(share, row).is_none()).collect()
    };
    let waiting: Vec<_> = ours(State::Pending).into_iter().chain(ours(State::Failing)).collect();
    let stuck = stuck(share, &summary, &ours(State::Failed), &ours(State::Refused));
    if let Some(verdict) = under_way(share, &summary, waiting, stuck.is_some()) {
        return stuck.into_iter().fold(verdict, Verdict::with);
    }
    share.stop_following();
    stuck.unwrap_or_else(|| ready(share, summary))
}

/// What is still on its way, if anything is; `has_stuck`: something does not go on in addition.
fn under_way(share: &SharePass, summary: &Summary<'_>, waiting: Vec<&RowState>, has_stuck: bool) -> Option<Verdict> {
    let Summary { seen, plan, row_states, losing, so_far, .. } = summary;
    let is_replacing = bulk::pending_for(share).is_some();
    // What is not removed yet only because the list may still be replaced receives the share until then.
    let is_due = |key: &RowKey| is_replacing && key.is_recipient() && losing.is_some_and(|losing| losing.allows(key));
    let leaving = plan.rows.iter().filter(|(key, RowPlan { step, observed })| {
        !share.desired.all.contains_key(*key)
            && (*step == Step::Wait
                || *step == Step::Remove
                    && (*observed == Observed::Leaving || is_due(key) || share.is_being_removed(seen, key)))
    });
    let leaving = leaving.count() + exclusions::leaving_members(share, seen);
    let awaited = exceptions::awaited(share, row_states);
    let is_active = seen.share.status == ShareStatus::Active;
    let moving =
        waiting.iter().any(|row| !share.is_member(&row.key)) || leaving > 0 || members::are_moving(share, seen);
    let is_strange = !is_active || is_uncounted(share, seen);
    let is_stuck = !waiting.is_empty() || members::are_pending(share);
    if !moving && !is_strange && !is_stuck && (awaited.is_empty() || has_stuck) {
        return None;
    }
    let follows = moving || is_strange && may_soon_be_usual(share);
    let wait = match (follows, awaited.is_empty()) {
        (true, _) => Some(share.follow(seen)),
        // The objects follow their own rows, and what they say wakes us.
        (false, false) => Some(delays::HUMAN),
        (false, true) => None,
    };
    if !follows {
        share.stop_following();
    }
    let rows: Vec<_> = waiting.into_iter().chain(awaited).collect();
    let mut message = with_rows(share, so_far, &rows);
    if let Some(unanswered) = bulk::unanswered(share) {
        message = format!("{message}; {unanswered}");
    }
    if !is_active {
        message = format!("{message}; {}", not_active(seen));
    }
    if leaving > 0 {
        message = format!("{message}; {leaving} being removed");
    }
    if is_uncounted(share, seen) {
        message = format!("{message}; {}", uncounted(follows));
    }
    let verdict = match is_uncounted(share, seen) && !follows {
        true => Verdict::unknown_stalled(Reason::Associating, message),
        false => Verdict::working(Reason::Associating, message),
    };
    Some(verdict.requeue_within(wait))
}

/// Without counts nobody knows who receives an organization's share.
fn is_uncounted(share: &SharePass, seen: &ObservedShare) -> bool {
    share.desired.organization.is_some() && seen.counts.is_none()
}

/// `may_come`: the counts may be those of a change that takes effect.
fn uncounted(may_come: bool) -> String {
    let what = "Cloudflare does not say how many accounts receive the share";
    if may_come {
        return what.to_owned();
    }
    format!(
        "{what}, so cfshare does not know whether all of them do. `cfshare received --account <ID>` shows what one account \
         receives. Nothing is changed meanwhile; if it stays so, ask Cloudflare's support"
    )
}

/// Whether an unknown status, or counts that are missing, may be those of a change that takes effect. Nobody knows how long
/// others last: the sweep shows when they end.
fn may_soon_be_usual(share: &SharePass) -> bool {
    share.pass.memory(|memory| memory.tries.polls) < MAX_STRANGE_POLLS
}

fn with_rows(share: &SharePass, message: &str, rows: &[&RowState]) -> String {
    let named = first_of(rows.iter().map(|row| row.so_far(&share.label(&row.key))), 3, ", ");
    if named.is_empty() { message.to_owned() } else { format!("{message}; {named}") }
}

fn ready(share: &mut SharePass, summary: Summary<'_>) -> Verdict {
    let so_far = with_unmanaged(share, exceptions::with_failed_objects(share, summary.row_states, summary.so_far));
    if share.mode != Mode::Manage {
        let message = format!("share {} matches the manifest; {so_far}", summary.id);
        return waivers::with_waived(share, summary.row_states, Verdict::ready(Reason::Observed, message));
    }
    if !exceptions::has_been_ready(share) && share.pass.alarm.is_none() {
        share.pass.status.first_ready_at = Some(clock::time(share.pass.now()));
    }
    let verdict = Verdict::ready(Reason::Associated, rivals::with_namesake(share, summary.id, so_far));
    let verdict = waivers::with_waived(share, summary.row_states, verdict);
    let entries = share.entries();
    if entries.values().any(|entry| entry.intended_at.is_some()) {
        // The record still has to learn that an announced call has settled.
        return verdict.requeue_after(share.pass.look_once_settled());
    }
    verdict
}

/// Who receives the share, or what is in it, beside what the manifests declare must be seen where people look.
fn with_unmanaged(share: &SharePass, message: String) -> String {
    match share.pass.status.unmanaged_count {
        0 => message,
        count => format!("{message}; in the share though no manifest declares them: {count} (see status.unmanaged)"),
    }
}

/// What does not go on by itself, the most pressing first.
fn stuck(share: &SharePass, summary: &Summary<'_>, failed: &[&RowState], refused: &[&RowState]) -> Option<Verdict> {
    let Summary { seen, plan, losing, .. } = summary;
    if let Some(verdict) = losing.and_then(|losing| losing.blocked(&share.pass.object, &share.pass.status)) {
        return Some(verdict);
    }
    let rows = |wanted: fn(Step) -> bool| {
        let steps = plan.rows.iter().filter(move |(_, row)| wanted(row.step));
        steps.map(|(key, _)| share.row(seen, key))
    };
    let updates = rows(|step| step == Step::Update).map(|row| row.updating());
    let adds = rows(|step| matches!(step, Step::Add | Step::Restore)).map(|row| row.adding());
    let removals = rows(|step| step == Step::Remove).map(|row| row.removing());
    if let Some(verdict) = updates.chain(adds).chain(removals).find_map(|write| share.pass.not_converging(&write)) {
        return Some(verdict);
    }
    if let Some(row) = refused.first() {
        let refusal = |row: &&RowState| share.pass.refusal(&row.key.to_string(), Reason::Rejected)?.requeue_after;
        let removals = rows(|step| step == Step::Remove).filter_map(|row| row.removal_refused()?.requeue_after);
        let again = refused.iter().filter_map(refusal).chain(removals).min();
        let message = format!("{}{}", waivers::ended(share, &row.key), row.message);
        return Some(Verdict::stalled(Reason::Rejected, with_more(&message, refused.len())).requeue_within(again));
    }
    if let Some(verdict) = rows(|step| step == Step::Remove).find_map(|row| row.removal_refused()) {
        return Some(verdict);
    }
    if let Some(row) = failed.first() {
        let (name, more) = (share.label(&row.key), with_more("", failed.len()));
        let ended = waivers::ended(share, &row.key);
        if share.mode != Mode::Manage {
            let cause = "Cloudflare does not retry: fix the cause in the Cloudflare account";
            let message = format!("{ended}{name} failed: {}{more}. {cause}", row.message);
            return Some(Verdict::stalled(Reason::RecipientFailed, message));
        }
        if share.is_member(&row.key) {
            return Some(members::failed(&name, row, &more));
        }
        let given_up = row.given_up(&name, &share.pass.key, &more);
        return Some(Verdict::stalled(Reason::RecipientFailed, format!("{ended}{given_up}")));
    }
    outside::out_of_scope(share).filter(|_| share.mode == Mode::Manage)
}

/// Where nothing may be written: whether anything would be, and else how the rows are.
fn compare(share: &mut SharePass, summary: Summary<'_>) -> Verdict {
    if let Some(verdict) = share.while_breaker_open() {
        return verdict;
    }
    let changes = summary.plan.of(|step| matches!(step, Step::Add | Step::Restore | Step::Update | Step::Remove));
    let renamed = share.pass.status.common.drift.iter().any(|drift| drift.path == "name");
    if changes.is_empty() && !renamed {
        let verdict = rows_verdict(share, summary);
        return Verdict { message: format!("observed: {}", verdict.message), ..verdict };
    }
    let named = renamed.then(|| "its name".to_owned()).into_iter();
    let named: Vec<String> = named.chain(changes.iter().take(3).map(|key| share.label(key))).collect();
    let count = changes.len() + usize::from(renamed);
    let why = if share.is_read_only() { READ_ONLY } else { "observed" };
    Verdict::stalled(
        Reason::Differs,
        format!(
            "{why}: share {} differs in {count} place{} ({}{}); nothing is changed",
            summary.id,
            if count == 1 { "" } else { "s" },
            named.join(", "),
            if changes.len() > 3 { ", …" } else { "" },
        ),
    )
}

/// Where nothing may be written: `what` is left as it is.
pub fn frozen(share: &SharePass, reason: Reason, what: &str) -> Verdict {
    share.while_breaker_open().unwrap_or_else(|| {
        let why = if share.is_read_only() { READ_ONLY } else { "managementPolicy is Observe" };
        Verdict::stalled(reason, format!("{why}: {what}"))
    })
}

/// What is reported of a share that is live and not active: a status that is not known may mean anything.
fn not_active(seen: &ObservedShare) -> String {
    match seen.share.status.as_str() {
        "" => "Cloudflare does not report the share as active".to_owned(),
        word => format!("the status of the share at Cloudflare is {}, not active", clean(word, 40)),
    }
}
