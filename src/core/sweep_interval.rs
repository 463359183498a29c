//! How often may all shares of an account be listed, so that edits have the calls?
//!
//! A list takes a call for each page, and a large account has a thousand of them. All lists with one credential take at
//! most a tenth of its calls. Accounts divide it fairly: only those are listed less often that would take more than
//! their share of it, so a small account does not wait for a large one.

use std::time::Duration;

use super::failure;

/// The part of a credential's calls that sweeps may take, and the lists of rows after them once more.
pub(super) const PART: f64 = 0.1;
/// A list that failed is tried again after a time that grows from one of these to the other, if a tenth is enough for that.
const SOON: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(60);
/// However few calls there are.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The time in which a tenth of these calls per second are enough for so many pages.
pub fn spacing(pages: usize, calls_per_second: f64) -> Duration {
    over(pages, PART * calls_per_second)
}

/// When the list of an account is tried again that failed so many times in a row, as those of so many accounts with the
/// same credential do (`failing`). Each try takes a call.
pub fn retry(failures: u32, failing: usize, calls_per_second: f64) -> Duration {
    failure::growing(failures.saturating_sub(1), SOON, LATE.max(spacing(failing, calls_per_second)))
}

/// How often an account of so many pages is listed: as often as configured, unless that is too often. `all`: the pages of
/// each account that is listed with the same credential, itself included.
pub fn sweep_interval(configured: Duration, pages: usize, all: &[usize], calls_per_second: f64) -> Duration {
    let at_most = fair_share(configured, all, PART * calls_per_second);
    at_most.map_or(configured, |share| configured.max(over(pages, share)))
}

/// The pages per second that each account may take at most; `None`: as many as it wants.
fn fair_share(configured: Duration, all: &[usize], allowed: f64) -> Option<f64> {
    let mut smallest_first = all.to_vec();
    smallest_first.sort_unstable();
    let mut left = allowed;
    for (at, pages) in smallest_first.iter().enumerate() {
        let share = left / (smallest_first.len() - at) as f64;
        let wanted = *pages as f64 / configured.as_secs_f64();
        if wanted > share {
            return Some(share);
        }
        left -= wanted;
    }
    None
}

fn over(pages: usize, per_second: f64) -> Duration {
    Duration::try_from_secs_f64(pages as f64 / per_second).map_or(LONGEST, |time| time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: f64 = 60.0;

    #[test]
    fn only_what_would_take_more_than_a_tenth_is_listed_less_often() {
        for (configured, pages, per_second, expected) in [
            // By default: up to 18,000 shares every 10 minutes, 100,000 nearly every hour.
            (10.0 * MINUTE, 1, 3.0, 10.0 * MINUTE),
            (10.0 * MINUTE, 180, 3.0, 10.0 * MINUTE),
            (10.0 * MINUTE, 181, 3.0, 603.3),
            (10.0 * MINUTE, 1000, 3.0, 3333.3),
            // One of two shards has half of the calls.
            (10.0 * MINUTE, 180, 1.5, 20.0 * MINUTE),
            (MINUTE, 100, 5000.0, MINUTE),
            (0.5, 1, 100.0, 0.5),
            (2.0, 1, 3.0, 3.3),
            (10.0 * MINUTE, 1, 0.0, 24.0 * 60.0 * MINUTE),
        ] {
            let seen = sweep_interval(Duration::from_secs_f64(configured), pages, &[pages], per_second).as_secs_f64();
            assert!((seen - expected).abs() < 0.1, "{configured} {pages} {per_second}: {seen}");
        }
    }

    #[test]
    fn a_small_account_does_not_wait_for_a_large_one_with_the_same_credential() {
        let seconds = |pages: usize, all: &[usize]| sweep_interval(Duration::from_secs(600), pages, all, 3.0).as_secs();
        let all = [1, 1, 1000];
        assert_eq!((seconds(1, &all), seconds(1000, &all)), (600, 3370));
        let all = [1, 400, 400];
        assert_eq!((seconds(1, &all), seconds(400, &all)), (600, 2681));
        assert_eq!(seconds(1, &[1; 360]), 1200);
    }

    #[test]
    fn lists_that_fail_take_no_more_than_a_tenth_together_however_many_accounts_cannot_be_read() {
        let times = |failing, per_second| [1, 2, 3, 100].map(|failures| retry(failures, failing, per_second));
        let seconds = |of: [f64; 4]| of.map(Duration::from_secs_f64);
        assert_eq!(times(1, 3.0), seconds([2.0, 3.0, 4.5, 60.0]));
        assert_eq!(times(18, 3.0), seconds([2.0, 3.0, 4.5, 60.0]));
        assert_eq!(times(300, 3.0), seconds([2.0, 3.0, 4.5, 1000.0]));
        assert_eq!(times(1, 0.0)[3], LONGEST);
    }

    proptest::proptest! {
        #[test]
        fn all_sweeps_with_a_credential_take_at_most_a_tenth_of_its_calls(
            all in proptest::collection::vec(1usize..1000, 1..40), configured in 1u64..3600, per_second in 0.5f64..100.0,
        ) {
            let interval = |pages| sweep_interval(Duration::from_secs(configured), pages, &all, per_second).as_secs_f64();
            let taken: f64 = all.iter().filter(|p| interval(**p) < LONGEST.as_secs_f64()).map(|p| *p as f64 / interval(*p)).sum();
            proptest::prop_assert!(taken <= PART * per_second * 1.0001, "{taken}");
            proptest::prop_assert!(all.iter().all(|pages| interval(*pages) >= configured as f64));
        }
    }
}
