//! At most so many of something within a time.

use std::time::Duration;

use crate::core::time::At;

/// When it happened lately.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quota(Vec<At>);

impl Quota {
    /// Whether it may happen once more, which then counts.
    pub fn take(&mut self, now: At, most: usize, within: Duration) -> bool {
        self.forget(now, within);
        let may = self.0.len() < most;
        if may {
            self.0.push(now);
        }
        may
    }

    /// What was longer ago counts no more.
    pub fn forget(&mut self, now: At, within: Duration) {
        self.0.retain(|at| now.since(*at) < within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_happen_within_the_time() {
        let minute = Duration::from_secs(60);
        let mut quota = Quota::default();
        let taken = [0, 10, 20, 59, 60, 61, 69, 70].map(|second| quota.take(At(second * 1000), 2, minute));
        assert_eq!(taken, [true, true, false, false, true, false, false, true]);
    }
}
