//! What is reported of a row that failed while its object has a waiver.

use super::child_pass::ChildPass;
use crate::api::status::WaiverInForce;
use crate::api::{EventReason, Reason};
use crate::operator::cluster::events::Note;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::verdict::Verdict;
use crate::operator::rows::waiver;

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
    warn(child, &waiver);
    let reported = format!("{waiver}. {}", verdict.message);
    let ready = Verdict::ready(Reason::Waived, reported);
    ready.requeue_within(verdict.requeue_after).requeue_within(waiver::look_again(&waiver, now))
}

/// Warns once before the waiver ends.
fn warn<C: Child>(child: &mut ChildPass<C>, waiver: &WaiverInForce) {
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
