//! When a share that is not there is believed to be gone.
//!
//! One answer that it does not exist proves little: reads may lag behind, and a wrong credential hides shares.

use std::time::Duration;

use super::time::At;

/// A share that was not there when it was read by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missing {
    /// When it was first and last not there.
    pub first: At,
    pub last: At,
    /// We had asked for its deletion, and Cloudflare had agreed.
    pub expected: bool,
}

impl Missing {
    pub fn since(began: At, expected: bool) -> Missing {
        Missing { first: began, last: began, expected }
    }

    /// It was not there again.
    pub fn again(&mut self, began: At, expected: bool) {
        self.last = self.last.max(began);
        self.expected |= expected;
    }

    /// Where we asked for its deletion, the list of what is being deleted confirms that it is gone: `left` tells when
    /// that was last read without it. Else only a second read, a while later, and a complete list do, begun at `swept`.
    pub fn is_gone(&self, read_lag: Duration, swept: Option<At>, left: Option<At>) -> bool {
        if self.expected {
            return left.is_some_and(|at| at >= self.first);
        }
        self.last.since(self.first) >= read_lag && swept.is_some_and(|at| at >= self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(10);

    #[test]
    fn one_answer_is_no_proof() {
        let mut missing = Missing::since(At(100), false);
        assert!(!missing.is_gone(PATIENCE, Some(At(500)), Some(At(500))));
        missing.again(At(109), false);
        assert!(!missing.is_gone(PATIENCE, Some(At(500)), Some(At(500))));
        missing.again(At(110), false);
        assert!(!missing.is_gone(PATIENCE, Some(At(99)), None));
        assert!(missing.is_gone(PATIENCE, Some(At(100)), None));
    }

    #[test]
    fn what_was_to_be_deleted_is_gone_once_it_is_not_being_deleted_any_more() {
        let missing = Missing::since(At(100), true);
        assert!(!missing.is_gone(PATIENCE, Some(At(500)), None));
        assert!(!missing.is_gone(PATIENCE, Some(At(500)), Some(At(99))));
        assert!(missing.is_gone(PATIENCE, None, Some(At(100))));
    }
}
