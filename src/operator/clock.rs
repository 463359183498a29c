//! The one place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::core::time::At;

#[derive(Debug, Clone, Copy)]
pub struct Clock(pub fn() -> At);

impl Clock {
    pub const SYSTEM: Clock = Clock(system);

    pub fn now(&self) -> At {
        (self.0)()
    }
}

fn system() -> At {
    at(SystemTime::now())
}

pub fn at(time: SystemTime) -> At {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    At(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

pub fn timestamp(at: At) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Kubernetes keeps whole seconds; rounding up, so that nothing seems to have happened too early.
pub fn time(at: At) -> Time {
    let seconds = at.0.div_euclid(1000) + i64::from(at.0.rem_euclid(1000) > 0);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

pub fn from_time(time: &Time) -> At {
    At(time.0.as_millisecond())
}
