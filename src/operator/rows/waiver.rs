//! Does a waiver hold now, and what is reported of it?

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::status::WaiverInForce;
use crate::api::waiver::Waiver;
use crate::cloudflare::clean;
use crate::core::time::At;
use crate::core::waiver::{self, Stage};
use crate::operator::clock;

/// Longest reason that is shown.
const MAX_REASON: usize = 200;

/// The waiver, unless it has ended.
pub fn in_force(declared: Option<&Waiver>, now: At) -> Option<WaiverInForce> {
    let declared = declared?;
    let until = Time(declared.end()?);
    let in_force = waiver::stage(clock::from_time(&until), now) != Stage::Ended;
    in_force.then(|| WaiverInForce { reason: clean(&declared.reason, MAX_REASON), until })
}

/// What is reported first of a failure whose waiver has ended.
pub fn ended(declared: Option<&Waiver>, now: At) -> String {
    match declared.filter(|_| in_force(declared, now).is_none()) {
        Some(waiver) => format!("the waiver ended at {}: ", waiver.until),
        None => String::new(),
    }
}

pub fn ends_soon(waiver: &WaiverInForce, now: At) -> bool {
    waiver::stage(clock::from_time(&waiver.until), now) == Stage::EndsSoon
}

/// When to look at the object again because of the waiver.
pub fn look_again(waiver: &WaiverInForce, now: At) -> Option<Duration> {
    waiver::look_again(clock::from_time(&waiver.until), now)
}
