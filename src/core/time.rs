//! Points in time, as milliseconds since 1970, given by a caller that has a clock.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At(pub i64);

impl At {
    pub fn plus(self, d: Duration) -> At {
        At(self.0.saturating_add(millis(d)))
    }

    pub fn minus(self, d: Duration) -> At {
        At(self.0.saturating_sub(millis(d)))
    }

    /// A time that was recorded; `instead` if it is still to come, as where the clock was ahead by which it was recorded.
    pub fn unless_ahead(self, now: At, instead: At) -> At {
        // Kubernetes keeps whole seconds, rounded up.
        if self > now.plus(Duration::from_secs(1)) { instead } else { self }
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: At) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_time_that_is_still_to_come_is_not_believed() {
        let (now, since) = (At(1_000_500), At(900_000));
        for (recorded, expected) in [(950_000, 950_000), (1_001_000, 1_001_000), (1_001_501, 900_000)] {
            assert_eq!(At(recorded).unless_ahead(now, since), At(expected), "{recorded}");
        }
    }
}
