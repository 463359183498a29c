//! When removals and losses are too many to be meant.

use std::time::Duration;

/// Recipients removed within this time count together.
pub const REMOVAL_WINDOW: Duration = Duration::from_secs(600);
/// Shares vanished within this time count together.
pub const VANISH_WINDOW: Duration = Duration::from_secs(600);
/// Removals of so few recipients never wait for a person, unless the manifest gives a number of its own.
pub const FREE_REMOVALS: usize = 5;

/// How many recipients may be lost at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Count(usize),
    Percent(usize),
}

impl Limit {
    pub const DEFAULT: Limit = Limit::Percent(10);

    /// A number, or a percentage such as `10%`.
    pub fn parse(text: &str) -> Option<Limit> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|p| *p <= 100).map(Limit::Percent),
            None => text.parse().ok().map(Limit::Count),
        }
    }

    /// Of so many recipients in place, how many may go.
    pub fn of(self, in_place: usize) -> usize {
        match self {
            Limit::Count(n) => n.max(FREE_REMOVALS),
            Limit::Percent(p) => (in_place * p / 100).max(FREE_REMOVALS),
        }
    }
}

/// Whether so many shares of an account vanished that its credential is more likely to blame.
pub fn mass_loss(bound: usize, vanished: usize) -> bool {
    vanished >= 3 && vanished * 10 >= bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_below_five() {
        assert_eq!(Limit::parse("10%").map(|l| l.of(300)), Some(30));
        assert_eq!(Limit::parse("10%").map(|l| l.of(20)), Some(5));
        assert_eq!(Limit::parse("40").map(|l| l.of(20)), Some(40));
        assert_eq!(Limit::parse("0").map(|l| l.of(20)), Some(5));
        assert_eq!(Limit::parse("150%"), None);
    }

    #[test]
    fn mass_loss_needs_three_and_a_tenth() {
        assert!(!mass_loss(2, 2));
        assert!(mass_loss(3, 3));
        assert!(!mass_loss(100, 9));
        assert!(mass_loss(100, 10));
    }
}
