//! What the conditions of an object say.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::clock;
use crate::api::condition::ready;
pub use crate::api::condition::{is_stalled, says};
use crate::api::{ConditionType, Reason};
use crate::core::time::At;

/// Since when the object says this in its Ready condition; `now` if it does not say it yet. `serving_since`: when this
/// process took over the account.
pub fn said_since(conditions: &[Condition], reason: Reason, now: At, serving_since: At) -> At {
    said_in(conditions, ConditionType::Ready, reason).map_or(now, |said| said.unless_ahead(now, serving_since))
}

/// Since when the object says this in that condition.
pub fn said_in(conditions: &[Condition], kind: ConditionType, reason: Reason) -> Option<At> {
    let said = conditions.iter().find(|c| c.type_ == kind.as_str() && c.reason == reason.as_str());
    said.map(|said| clock::from_time(&said.last_transition_time))
}

/// Since when an object says that its share is missed, and that a person is needed.
pub fn breaker_reported_at(conditions: &[Condition]) -> Option<At> {
    said_in(conditions, ConditionType::Stalled, Reason::BreakerOpen)
}

/// Whether a process took a person's word that the object's share is meant to be gone, and was checking once more.
pub fn is_loss_confirmed(conditions: &[Condition]) -> bool {
    said_in(conditions, ConditionType::Reconciling, Reason::BreakerOpen).is_some()
}

/// Status and reason of the Ready condition.
pub fn readiness(conditions: &[Condition]) -> Option<(&str, &str)> {
    ready(conditions).map(|ready| (ready.status.as_str(), ready.reason.as_str()))
}
