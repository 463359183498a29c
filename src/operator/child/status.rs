//! What a child records and tells of its row, by its kind, and when it looks again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::child_pass::ChildPass;
use crate::api::status::WaiverInForce;
use crate::api::{EventReason, Reason};
use crate::cloudflare::{ShareStatus, clean};
use crate::core::row_step::{Observed, Step};
use crate::operator::clock;
use crate::operator::cluster::events::Note;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::{READ_ONLY, Verdict};
use crate::operator::remote::observed_share::ObservedShare;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::inventory::{self, Entry};
use crate::operator::rows::known::Known;
use crate::operator::rows::row_state::{State, row_state};
use crate::operator::rows::waiver;

/// What is reported where something would be changed, and nothing may be.
pub fn withheld<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, step: Step) -> Verdict {
    let verdict = match breaker::while_open(&child.session, &child.pass.object.share(), Some(&child.id)) {
        Some(verdict) => verdict,
        None if child.parent.observes() => {
            Verdict::stalled(Reason::Differs, format!("observed: {} differs; nothing is changed", child.name()))
        }
        None => Verdict::stalled(Reason::Differs, format!("{READ_ONLY}: {} differs", child.name())),
    };
    report(child, seen, step, verdict)
}

/// Reports a row for which that step is called for and not taken.
pub fn report<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, step: Step, verdict: Verdict) -> Verdict {
    child.pass.status.report_row(&child.key, Some(seen));
    child.record_mut().common.drift = child.drift(seen, step);
    verdict
}

/// Reports a row that the create of its Share carried a moment ago.
pub fn report_just_made<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare) -> Verdict {
    let wait = child.pass.due().map_or_else(|| follow(child, ""), |due| due.since(child.pass.now()));
    let message = format!("{} was created with share {}; its status is read next", child.name(), child.id);
    report(child, seen, Step::Wait, Verdict::working(Reason::Associating, message).requeue_after(wait))
}

/// Reports how the row stands where nothing more can be done about it now; `plan`: what it calls for.
pub fn report_row_state<C: Child>(child: &mut ChildPass<C>, seen: &ObservedShare, plan: RowPlan) -> Verdict {
    child.pass.status.report_row(&child.key, Some(seen));
    let row = row_state(&child.key, seen, Some(plan.step));
    let word = &row.word;
    if child.pass.is_deleting() {
        let message = leaving(child, plan.observed);
        return Verdict::working(Reason::Deleting, message).requeue_after(follow(child, word));
    }
    match row.state {
        State::InPlace if seen.share.status != ShareStatus::Active => {
            child.pass.stop_following(&child.session.account);
            let status = clean(seen.share.status.as_str(), 40);
            let message = format!("{} is {word}; the status of the share is {status}, not active", child.name());
            Verdict::working(Reason::Associating, message)
        }
        State::InPlace if plan.is_live() => {
            let hash = inventory::meta_hash(&child.pass.object.wanted_meta());
            if child.pass.status.record().meta_hash != hash {
                child.record_mut().meta_hash = hash;
                child.pass.memory(|memory| memory.write_stuck(&child.key.to_string()));
            }
            child.record_mut().common.drift.clear();
            let now = child.pass.now();
            child.pass.memory(|memory| memory.forget_settled(now, |_| false));
            child.pass.stop_following(&child.session.account);
            let verdict = Verdict::ready(Reason::Associated, format!("{} is {word}", child.name()));
            if child.pass.status.record().intended_at.is_some() {
                // The record still has to learn that the announced call has settled.
                return verdict.requeue_after(child.pass.look_once_settled());
            }
            verdict
        }
        State::Failed => {
            child.pass.stop_following(&child.session.account);
            Verdict::stalled(Reason::RecipientFailed, row.given_up(&child.name(), &child.pass.key, ""))
        }
        State::Refused => {
            child.pass.stop_following(&child.session.account);
            Verdict::stalled(Reason::Rejected, row.message)
        }
        State::InPlace | State::Pending | State::Failing => {
            Verdict::working(Reason::Associating, row.so_far(&child.name())).requeue_after(follow(child, word))
        }
    }
}

/// What is reported of a row that goes.
fn leaving<C: Child>(child: &ChildPass<C>, row: Observed) -> String {
    let entry = Entry::of_child(child.pass.status.record()).filter(|_| row == Observed::Absent);
    let known = Known::of(&child.pass);
    let open = entry.filter(|entry| known.is_open(&child.pass.key, &child.key, entry));
    match open.and_then(|entry| entry.intended_at) {
        Some(at) => format!(
            "{} is not part of the share, but the request that adds it got no response and may still take effect: cfshare \
             waits until {}",
            child.name(),
            clock::time(known.at(&at).plus(known.settings.settled_after())).0,
        ),
        None => format!("{} is being removed by Cloudflare", child.name()),
    }
}

fn follow<C: Child>(child: &ChildPass<C>, word: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    child.pass.follow(&child.session.account, &child.id, hasher.finish())
}

/// The verdict, or Ready where it says no more than that the row failed, and a waiver accepts that.
pub fn excuse<C: Child>(child: &mut ChildPass<C>, verdict: Verdict) -> Verdict {
    let failed = matches!(verdict.reason, Reason::RecipientFailed | Reason::Rejected);
    if !failed || child.pass.is_deleting() || child.parent.observes() {
        return verdict;
    }
    let now = child.pass.now();
    let declared = child.pass.object.waiver();
    let Some(waiver) = waiver::in_force(declared, now) else {
        let message = format!("{}{}", waiver::ended(declared, now), verdict.message);
        return Verdict { message, ..verdict };
    };
    warn_of_end(child, &waiver);
    let reported = format!("{waiver}. {}", verdict.message);
    let ready = Verdict::ready(Reason::Waived, reported);
    ready.requeue_within(verdict.requeue_after).requeue_within(waiver::look_again(&waiver, now))
}

/// Warns once before the waiver ends.
fn warn_of_end<C: Child>(child: &mut ChildPass<C>, waiver: &WaiverInForce) {
    if !waiver::ends_soon(waiver, child.pass.now()) {
        return;
    }
    let text = format!("{} is {waiver}. Not Ready again from then on", child.name());
    let Some(warned) = child.pass.status.waiver_warned() else { return };
    if warned.as_ref() != Some(&waiver.until) {
        *warned = Some(waiver.until.clone());
        child.pass.warning = Some((Note::warning(EventReason::WaiverEnds), text));
    }
}
