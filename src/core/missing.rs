//! When a share that is not there is believed to be gone.
//!
//! One answer that it does not exist proves little: reads may lag behind, and a wrong credential hides shares.
//!
//! Who may be asked about such a share, and what follows from a yes, in bold where that is a write:
//!
//! | question | yes, if | then |
//! |---|---|---|
//! | `AccountCache::is_missing` | a GET said that it does not exist | it is read again, a while later |
//! | `Account::is_hidden` | only another credential ever showed it | wait for that one, or for a person's word |
//! | `AccountCache::was_expected_to_go` | Cloudflare said that it deletes it | what is being deleted is listed |
//! | `AccountCache::uncounted` | no complete list was begun since | a sweep is demanded, so that the breaker counts it |
//! | [`Missing::is_gone`] | see there | the next two stand on it, or on two answers that it is deleted |
//! | `AccountCache::is_gone` | the list of what is being deleted may prove it | a child that is deleted **is released** |
//! | `AccountCache::is_lost` | only a complete list proves it, since that was counted | see `has_ended` |
//! | `AccountCache::has_ended` | `is_gone` if its object is deleted, else `is_lost` | `Presence::Gone`; see `is_gone` |
//! | `Presence::Gone` | `has_ended`, and not hidden | its Share **creates another one**, or **is released** |
//! | `Breaker` | many of the account went in ten minutes | nothing is written, and nothing believed to be gone |

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
