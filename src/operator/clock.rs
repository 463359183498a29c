//! What time is it, for passes, sweeps and statuses? By a clock that nobody puts back or forward; Leases, watches and Events
//! ask the machine's own.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;

use crate::core::time::At;

/// The clock of the machine may differ so much from ours.
const MAX_OFF: Duration = Duration::from_secs(60);
/// It may differ more for so long. Then it was wrong before, and so are we: times that people and other programs name seem to
/// be long past or still to come, and those that we tell are wrong.
const MAX_TIME_OFF: Duration = Duration::from_secs(300);
/// The clock of a person who writes down a time may be this far ahead of ours.
const MAX_PERSON_AHEAD: Duration = Duration::from_secs(300);
/// Kubernetes, and thus conditions, annotations and announcements, keep whole seconds.
pub const CLOCK_RESOLUTION: Duration = Duration::from_secs(1);
/// How often that is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub struct Clock(pub fn() -> At);

impl Clock {
    pub const SYSTEM: Clock = Clock(system);

    pub fn now(&self) -> At {
        (self.0)()
    }
}

/// What the clock of the machine shows, wherever it is put.
pub fn wall() -> At {
    at(SystemTime::now())
}

/// Follows no change of the machine's clock: waits and limits would last longer or end early by as much.
fn system() -> At {
    static STEADY: OnceLock<Mutex<Steady>> = OnceLock::new();
    let (wall, now) = (wall(), Instant::now());
    STEADY.get_or_init(|| Mutex::new(Steady { wall, since: now, up: up_time() })).lock().at(wall, now, up_time)
}

/// How long the machine has been up, the time included in which it was suspended; `None`: it does not say.
fn up_time() -> Option<Duration> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()
}

/// A monotonic clock, anchored to one reading of the wall clock.
struct Steady {
    wall: At,
    since: Instant,
    up: Option<Duration>,
}

impl Steady {
    /// Jumps forward only where the machine was suspended, which the monotonic clock does not count.
    fn at(&mut self, wall: At, now: Instant, up_time: impl Fn() -> Option<Duration>) -> At {
        let steady = self.wall.plus(now.saturating_duration_since(self.since));
        if wall.since(steady) <= MAX_OFF {
            return steady;
        }
        let up = up_time();
        let passed = self.up.zip(up).map(|(before, up)| self.wall.plus(up.saturating_sub(before)));
        if passed.is_some_and(|passed| wall.since(passed) > MAX_OFF) {
            return steady;
        }
        *self = Steady { wall, since: now, up };
        wall
    }
}

/// Until the clock of the machine has differed from ours for so long that ours is wrong. Ours follows no change: only another
/// process starts with the right time.
pub async fn until_wrong() {
    let mut off = Off::default();
    loop {
        let (ours, wall) = (system(), wall());
        if off.for_long(ours.since(wall).max(wall.since(ours)), Instant::now()) {
            return;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// Since when the clock of the machine has been far off.
#[derive(Default)]
struct Off(Option<Instant>);

impl Off {
    fn for_long(&mut self, by: Duration, now: Instant) -> bool {
        self.0 = (by > MAX_OFF).then(|| self.0.unwrap_or(now));
        self.0.is_some_and(|since| now.saturating_duration_since(since) >= MAX_TIME_OFF)
    }
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

/// A time that this operator recorded; `serving_since`, when this process took over the account, if it is still to come,
/// as where the clock was ahead by which it was recorded.
pub fn recorded(time: &Time, now: At, serving_since: At) -> At {
    from_time(time).unless_ahead(now, serving_since)
}

/// A time that a person wrote; `None` if it is none, or so far ahead that it must be a mistake.
pub fn written(value: &str, now: At) -> Option<At> {
    let time = value.parse::<Timestamp>().ok().map(|time| At(time.as_millisecond()));
    time.filter(|time| *time <= now.plus(MAX_PERSON_AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_of_the_clock_is_followed_and_the_time_in_which_a_machine_was_suspended_is_counted() {
        let start = Instant::now();
        let second = |seconds| start + Duration::from_secs(seconds);
        let at = |seconds: i64| At(seconds * 1000);
        let up = |seconds| move || Some(Duration::from_secs(seconds));
        let mut steady = Steady { wall: at(10_000), since: start, up: up(500)() };
        assert_eq!(steady.at(at(10_005), second(5), up(505)), at(10_005));
        assert_eq!(steady.at(at(6_410), second(10), up(510)), at(10_010), "put back by an hour");
        assert_eq!(steady.at(at(10_070), second(20), up(520)), at(10_020), "put forward by less than a minute");
        assert_eq!(steady.at(at(17_230), second(30), up(530)), at(10_030), "put forward by two hours");
        assert_eq!(steady.at(at(10_040), second(40), up(540)), at(10_040), "put right");
        assert_eq!(steady.at(at(17_250), second(50), up(7_750)), at(17_250), "suspended for two hours");
        assert_eq!(steady.at(at(17_260), second(60), up(7_760)), at(17_260));
        let mut steady = Steady { wall: at(10_000), since: start, up: None };
        assert_eq!(steady.at(at(17_230), second(30), || None), at(17_230), "nobody knows");
    }

    #[test]
    fn a_time_is_believed_unless_it_is_still_to_come() {
        let (now, since) = (At(1_000_000_500), At(900_000_000));
        let time = |second| Time(Timestamp::from_second(second).expect("a time"));
        let table = [
            (950_000, 950_000_000, "past"),
            (800_000, 800_000_000, "of another process"),
            (1_000_001, 1_000_001_000, "now, in whole seconds"),
            (1_000_002, 900_000_000, "to come"),
            (1_086_400, 900_000_000, "tomorrow"),
        ];
        for (second, expected, what) in table {
            assert_eq!(recorded(&time(second), now, since), At(expected), "{what}");
        }
        assert!(recorded(&time(1_086_400), now, since) <= recorded(&time(1_086_401), now, since), "in their order");
    }

    #[test]
    fn a_time_that_a_person_wrote_may_be_minutes_ahead_and_not_years() {
        let now = At(1_000_000_000);
        let at = |second: i64| timestamp(At(second * 1000)).to_string();
        let table = [
            (at(999_000), Some(999_000)),
            (at(1_000_300), Some(1_000_300)),
            (at(1_000_301), None),
            ("2099-01-01T00:00:00Z".to_owned(), None),
            ("now".to_owned(), None),
        ];
        for (value, expected) in table {
            assert_eq!(written(&value, now), expected.map(|second| At(second * 1000)), "{value}");
        }
    }

    #[test]
    fn a_clock_that_stays_far_off_was_wrong_before() {
        let (start, mut off) = (Instant::now(), Off::default());
        let mut for_long = |second, by| off.for_long(Duration::from_secs(by), start + Duration::from_secs(second));
        assert!(!for_long(0, 3600) && !for_long(299, 3600));
        assert!(!for_long(300, 60), "it has come near again");
        assert!(!for_long(330, 86_400) && !for_long(629, 86_400) && for_long(630, 86_400));
    }
}
