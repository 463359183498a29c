//! What a failed call says of its object, and when it is tried again.

use std::time::Duration;

use super::time::At;

/// So many failures in a row, over some time, are reported; fewer only delay the next try.
pub const REPORTED: u32 = 3;
/// What may pass is tried again after a time between these two.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(60);
/// A request that the API server did not carry out is made again after a time between these; one that was refused for the
/// version of its object sooner, since a newer one is on its way.
const UNSERVED_SOON: Duration = Duration::from_secs(5);
const OUTDATED_SOON: Duration = Duration::from_millis(300);
const UNSERVED_LATE: Duration = Duration::from_secs(45);
/// Longest of these, where the API server asks for more.
pub const UNSERVED_MAX: Duration = Duration::from_secs(60);
/// A credential that has been refused for long is tried no sooner.
const DENIED: Duration = Duration::from_secs(30);

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Transient: try again.
    Retry,
    /// A limiter asks for a pause.
    Throttled,
    /// The credential is wrong or may not do this.
    Denied,
    /// Cloudflare says that the object does not exist. One such answer is not yet proof.
    Gone,
    /// The object is in a state that does not allow the call: read it again.
    Conflict,
    /// The request itself is wrong, or a setting at Cloudflare.
    Rejected,
}

impl ErrorClass {
    /// Whether Cloudflare refuses the request itself, and not the caller or the moment.
    pub fn refuses(self) -> bool {
        match self {
            ErrorClass::Conflict | ErrorClass::Gone | ErrorClass::Rejected => true,
            ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied => false,
        }
    }

    /// As metrics and traces call it.
    pub fn word(self) -> &'static str {
        match self {
            ErrorClass::Retry => "retry",
            ErrorClass::Throttled => "throttled",
            ErrorClass::Denied => "denied",
            ErrorClass::Gone => "not_found",
            ErrorClass::Conflict => "conflict",
            ErrorClass::Rejected => "refused",
        }
    }
}

/// The failures of one object in a row, and when the first of them was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    pub count: u32,
    pub since: At,
}

impl Failures {
    /// Whether they are too many, over too long a time, to pass unmentioned.
    pub fn persist_for(self, time: Duration, now: At) -> bool {
        self.count >= REPORTED && now.since(self.since) >= time
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub class: ErrorClass,
    pub now: At,
    /// This one included.
    pub failures: Failures,
    /// The object says that it is Ready.
    pub was_ready: bool,
    /// The credential has been refused for long, for every object that uses it.
    pub denied_elsewhere: bool,
    /// The limiter lets nobody call for so long.
    pub closed_for: Option<Duration>,
}

/// How long failures may last before they are reported.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For how long a read may lag behind a write.
    pub read_lag: Duration,
    /// For how long a credential may be refused, since a new token takes a while to be known everywhere.
    pub denial: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Throttled,
    /// Reads may well be allowed where writes are not, so it is about the object unless it lasts.
    Denied {
        for_long: bool,
    },
    Unavailable,
    Rejected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    pub cause: Cause,
    /// Whether it is reported now. Until then the object says what it said before.
    pub reported: bool,
    pub retry_after: Duration,
}

pub fn judge(facts: &Facts, bounds: &Bounds) -> Judgement {
    let Facts { class, now, failures, was_ready, denied_elsewhere, closed_for } = *facts;
    let backoff = growing(failures.count.saturating_sub(1), SOON, LATE);
    let reported = !was_ready || failures.persist_for(bounds.read_lag, now);
    match class {
        ErrorClass::Throttled => {
            let retry_after = closed_for.map_or(backoff, |closed| closed.max(SOON));
            Judgement { cause: Cause::Throttled, reported, retry_after }
        }
        ErrorClass::Denied => {
            let for_long = failures.persist_for(bounds.denial, now) || denied_elsewhere;
            let retry_after = if reported && for_long { backoff.max(DENIED) } else { backoff };
            Judgement { cause: Cause::Denied { for_long }, reported, retry_after }
        }
        ErrorClass::Retry | ErrorClass::Conflict => {
            Judgement { cause: Cause::Unavailable, reported, retry_after: backoff }
        }
        ErrorClass::Gone | ErrorClass::Rejected => {
            Judgement { cause: Cause::Rejected, reported: true, retry_after: after_rejection(failures.count) }
        }
    }
}

/// When what was refused once more, but may pass, is tried again.
pub fn after_refusal(times: u32) -> Duration {
    growing(times.saturating_sub(1), SOON, LATE)
}

/// When a request is made again that the API server did not carry out so many times in a row; `asked`: for how long it asks us
/// to wait. Within a minute, so that what it holds up goes on soon after the API server does.
pub fn after_unserved(times: u32, is_outdated: bool, asked: Duration) -> Duration {
    let soon = if is_outdated { OUTDATED_SOON } else { UNSERVED_SOON };
    growing(times.saturating_sub(1), soon, UNSERVED_LATE).max(asked.min(UNSERVED_MAX))
}

/// A delay that grows by half with each step, between two bounds.
pub fn growing(step: u32, min: Duration, max: Duration) -> Duration {
    let factor = 1.5f64.powi(step.min(40) as i32);
    Duration::from_secs_f64((min.as_secs_f64() * factor).min(max.as_secs_f64()))
}

/// When to try again what Cloudflare refused: most causes are fixed there, not in the manifest.
pub fn after_rejection(times: u32) -> Duration {
    let minutes = match times {
        0 | 1 => 1,
        2 => 5,
        3 => 15,
        _ => 60,
    };
    Duration::from_secs(minutes * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { read_lag: Duration::from_secs(60), denial: Duration::from_secs(120) };

    fn facts(class: ErrorClass, count: u32, since: u64, was_ready: bool) -> Facts {
        let now = At(1_000_000_000);
        let failures = Failures { count, since: now.minus(Duration::from_secs(since)) };
        Facts { class, now, failures, was_ready, denied_elsewhere: false, closed_for: None }
    }

    fn seconds(class: ErrorClass, count: u32, since: u64, was_ready: bool) -> (Cause, bool, u64) {
        let judged = judge(&facts(class, count, since, was_ready), &BOUNDS);
        (judged.cause, judged.reported, judged.retry_after.as_secs())
    }

    #[test]
    fn what_each_failure_means() {
        use ErrorClass::{Conflict, Denied, Gone, Rejected, Retry, Throttled};
        let new = Cause::Denied { for_long: false };
        let long = Cause::Denied { for_long: true };
        let cases = [
            ("one failure leaves Ready alone", (Retry, 1, 0, true), (Cause::Unavailable, false, 1)),
            ("many within a moment too", (Retry, 9, 59, true), (Cause::Unavailable, false, 25)),
            ("two over a long time too", (Retry, 2, 3600, true), (Cause::Unavailable, false, 1)),
            ("three over a minute are reported", (Retry, 3, 60, true), (Cause::Unavailable, true, 2)),
            ("what was not Ready says it at once", (Retry, 1, 0, false), (Cause::Unavailable, true, 1)),
            ("a conflict is read again", (Conflict, 1, 0, true), (Cause::Unavailable, false, 1)),
            ("never later than a minute", (Retry, 99, 9999, true), (Cause::Unavailable, true, 60)),
            ("a refusal is reported at once", (Rejected, 1, 0, true), (Cause::Rejected, true, 60)),
            ("and tried ever later", (Rejected, 4, 0, true), (Cause::Rejected, true, 3600)),
            ("what is gone cannot be called", (Gone, 2, 0, true), (Cause::Rejected, true, 300)),
            ("a new token is not known everywhere", (Denied, 3, 60, true), (new, true, 2)),
            ("denied for long", (Denied, 3, 120, true), (long, true, 30)),
            ("throttled", (Throttled, 1, 0, true), (Cause::Throttled, false, 1)),
        ];
        for (what, (class, count, since, was_ready), expected) in cases {
            assert_eq!(seconds(class, count, since, was_ready), expected, "{what}");
        }
    }

    #[test]
    fn a_credential_that_others_find_refused_is_denied_for_all() {
        let facts = Facts { denied_elsewhere: true, ..facts(ErrorClass::Denied, 1, 0, false) };
        let expected = Judgement { cause: Cause::Denied { for_long: true }, reported: true, retry_after: DENIED };
        assert_eq!(judge(&facts, &BOUNDS), expected);
    }

    #[test]
    fn what_the_api_server_does_not_carry_out_is_tried_ever_later_and_within_a_minute() {
        let delays = |is_outdated, asked| {
            let asked = Duration::from_secs(asked);
            [1, 2, 3, 9, 99].map(|times| after_unserved(times, is_outdated, asked).as_millis())
        };
        assert_eq!(delays(true, 0), [300, 450, 675, 7_688, 45_000], "one conflict is nothing");
        assert_eq!(delays(false, 0), [5_000, 7_500, 11_250, 45_000, 45_000]);
        assert_eq!(delays(false, 30), [30_000, 30_000, 30_000, 45_000, 45_000]);
        assert_eq!(delays(true, 86_400), [60_000; 5]);
        let tries = |is_outdated| {
            let mut passed = Duration::ZERO;
            (1..).find(|times| {
                passed += after_unserved(*times, is_outdated, Duration::ZERO);
                passed > Duration::from_secs(60)
            })
        };
        assert_eq!((tries(true), tries(false)), (Some(12), Some(5)), "in the first minute");
    }

    #[test]
    fn a_closed_limiter_says_when_to_come_back() {
        let facts = Facts { closed_for: Some(Duration::from_secs(300)), ..facts(ErrorClass::Throttled, 1, 0, false) };
        assert_eq!(judge(&facts, &BOUNDS).retry_after, Duration::from_secs(300));
    }
}
