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

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: At) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}
