//! Does a waiver hold now, does it end soon, and what is reported of it?

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::status::WaiverInForce;
use crate::api::waiver::Waiver;
use crate::cloudflare::clean;
use crate::core::time::At;
use crate::operator::clock;

/// Longest reason that is shown.
const MAX_REASON: usize = 200;
/// So long before its end people are warned.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Nothing sleeps longer than this: timers have a limit, and clocks are corrected.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The waiver, unless it has ended.
pub fn in_force(declared: Option<&Waiver>, now: At) -> Option<WaiverInForce> {
    let declared = declared?;
    let until = Time(declared.end()?);
    let in_force = now < clock::from_time(&until);
    in_force.then(|| WaiverInForce { reason: clean(&declared.reason, MAX_REASON), until })
}

/// What is reported first of a failure whose waiver has ended.
pub fn ended(declared: Option<&Waiver>, now: At) -> String {
    match declared.filter(|_| in_force(declared, now).is_none()) {
        Some(waiver) => format!("the waiver ended at {}: ", waiver.until),
        None => String::new(),
    }
}

/// Whether it holds, and ends within the time of notice.
pub fn ends_soon(waiver: &WaiverInForce, now: At) -> bool {
    let end = clock::from_time(&waiver.until);
    end.minus(NOTICE) <= now && now < end
}

/// When to look at the object again because of the waiver; `None`: it changes no more.
pub fn look_again(waiver: &WaiverInForce, now: At) -> Option<Duration> {
    let end = clock::from_time(&waiver.until);
    let change = [end.minus(NOTICE), end].into_iter().find(|change| now < *change)?;
    Some(change.since(now).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_holds_until_its_end_and_is_looked_at_when_that_changes() {
        const HOUR: i64 = 3_600_000;
        let until = At(10_000 * HOUR);
        let end = clock::time(until);
        let declared = Waiver { reason: "no plan yet".into(), until: end.0.to_string() };
        let waiver = WaiverInForce { reason: declared.reason.clone(), until: end };
        let stage = |now| (in_force(Some(&declared), now).is_some(), ends_soon(&waiver, now));
        let (holds, is_soon, has_ended) = ((true, false), (true, true), (false, false));
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        // Hours before the end, how far it is, and when to look again.
        let table = [
            (9_000, holds, hours(24)),
            (192, holds, hours(24)),
            (169, holds, hours(1)),
            (168, is_soon, hours(24)),
            (5, is_soon, hours(5)),
            (0, has_ended, None),
            (-1, has_ended, None),
        ];
        for (left, expected, again) in table {
            let now = At(until.0 - left * HOUR);
            assert_eq!((stage(now), look_again(&waiver, now)), (expected, again), "{left} hours before the end");
        }
        let last = At(until.0 - 1);
        assert_eq!((stage(last), look_again(&waiver, last)), (is_soon, Some(Duration::from_millis(1))));
    }
}
