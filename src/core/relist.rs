//! Whose rows are listed again though nothing that a sweep shows has moved?
//!
//! A sweep shows how many recipients a share has, not which. An account that was removed can come back in its old row
//! while another one is removed: no count moves. Only shares with former recipients can lose one so, and their lists are
//! read again after each sweep, those first that were not read for longest, within a tenth of the calls.

use std::time::Duration;

use super::sweep_interval::PART;
use super::time::At;

/// The lists of all other shares are read again at least so often, since an error entry moves no count.
const HOURLY: Duration = Duration::from_secs(3600);
/// Of those, so many after one sweep.
const OTHERS: usize = 20;
/// The calls between two sweeps, however few the rate allows.
const AT_LEAST: f64 = 2.0;

/// The list of one share's rows.
#[derive(Debug, Clone)]
pub struct Listing<I> {
    pub id: I,
    pub read_at: At,
    /// The calls that it takes.
    pub pages: u32,
    /// Whether one row can take another's place without moving a count.
    pub may_swap: bool,
}

/// The calls that are left for lists of shares with former recipients.
#[derive(Debug)]
pub struct Relist {
    calls_per_second: f64,
    /// Less than 0 after a list that was longer than what was left.
    left: f64,
    filled_at: Option<At>,
}

impl Relist {
    pub fn new(calls_per_second: f64) -> Relist {
        Relist { calls_per_second, left: 0.0, filled_at: None }
    }

    /// Chooses lists to read after a sweep that began now; the next one comes after the interval.
    pub fn choose<I: Clone + Ord>(&mut self, listings: Vec<Listing<I>>, interval: Duration, now: At) -> Vec<I> {
        self.fill(interval, now);
        let mut oldest_first = listings;
        oldest_first.sort_by(|a, b| (a.read_at, &a.id).cmp(&(b.read_at, &b.id)));
        let age = |listing: &Listing<I>| now.since(listing.read_at);
        let mut chosen = Vec::new();
        let mut others = 0;
        for listing in oldest_first {
            // Half of it, since sweeps are not made on the second and lists are read a while after them.
            let swaps = listing.may_swap && age(&listing) >= interval / 2 && self.left > 0.0;
            if swaps {
                self.left -= f64::from(listing.pages.max(1));
            } else if age(&listing) >= HOURLY && others < OTHERS {
                others += 1;
            } else {
                continue;
            }
            chosen.push(listing.id);
        }
        chosen
    }

    fn fill(&mut self, interval: Duration, now: At) {
        let passed = self.filled_at.map_or(interval, |at| now.since(at));
        self.filled_at = Some(now);
        let allowed = (PART * self.calls_per_second * interval.as_secs_f64()).max(AT_LEAST);
        let more = allowed * passed.as_secs_f64() / interval.as_secs_f64();
        self.left = (self.left + more).min(allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> At {
        At(0).plus(Duration::from_secs(seconds))
    }

    /// So many shares, sweeps at these times; returns when each list was read.
    fn run(shares: u32, pages: u32, may_swap: bool, sweeps: impl Iterator<Item = u64>) -> Vec<Vec<u64>> {
        let mut relist = Relist::new(3.0);
        let mut read: Vec<Vec<u64>> = vec![Vec::new(); shares as usize];
        let mut read_at = vec![at(0); shares as usize];
        for now in sweeps {
            let listing = |id: u32| Listing { id, read_at: read_at[id as usize], pages, may_swap };
            for id in relist.choose((0..shares).map(listing).collect(), INTERVAL, at(now)) {
                read[id as usize].push(now);
                read_at[id as usize] = at(now + 20);
            }
        }
        read
    }

    #[test]
    fn the_first_sweep_reads_no_list_and_each_later_one_those_that_may_have_swapped_rows() {
        for read in run(180, 1, true, (0..=3).map(|n| n * 600)) {
            assert_eq!(read, [600, 1200, 1800]);
        }
        // Sweeps are made a tenth earlier or later.
        for read in run(150, 1, true, [0, 540, 1200, 1740].into_iter()) {
            assert_eq!(read, [540, 1200, 1740]);
        }
    }

    #[test]
    fn a_list_takes_its_turn_where_there_are_more_than_a_tenth_of_the_calls_can_read() {
        for (shares, pages, sweeps) in [(360, 1, 2), (500, 1, 3), (90, 4, 2), (3, 200, 4)] {
            let read = run(shares, pages, true, (0..=12).map(|n| n * 600));
            let calls: usize = read.iter().map(|read| read.len() * pages as usize).sum();
            assert!(calls <= 180 * 12 + 200, "{shares} {pages}: {calls}");
            for read in read {
                assert!(read.len() >= 12 / sweeps, "{shares} {pages}: {read:?}");
            }
        }
    }

    #[test]
    fn sweeps_that_are_asked_for_read_no_more_lists() {
        let read = run(500, 1, true, (0..2000).map(|n| n * 3));
        let calls: usize = read.iter().map(Vec::len).sum();
        assert!(calls <= 180 * 11, "{calls}");
        assert!(read.iter().all(|read| !read.is_empty()));
        let read = run(1, 1, true, (0..2000).map(|n| n * 3));
        assert!(read[0].len() <= 20, "{read:?}");
    }

    #[test]
    fn lists_of_shares_without_former_recipients_are_read_hourly() {
        for read in run(20, 1, false, (0..=13).map(|n| n * 600)) {
            assert_eq!(read, [3600, 7200 + 600]);
        }
        let read = run(1000, 1, false, (0..=12).map(|n| n * 600));
        assert_eq!(read.iter().map(Vec::len).sum::<usize>(), OTHERS * 7);
    }

    #[test]
    fn a_short_interval_leaves_two_calls() {
        let mut relist = Relist::new(3.0);
        let listings = |read_at: u64| {
            (0..9).map(|id| Listing { id, read_at: at(read_at), pages: 1, may_swap: true }).collect::<Vec<_>>()
        };
        assert_eq!(relist.choose(listings(0), Duration::from_secs(2), at(2)).len(), 2);
        assert_eq!(relist.choose(listings(2), Duration::from_secs(2), at(4)).len(), 2);
    }
}
