//! Which shard does an account belong to, and how do replicas divide the shards among themselves?
//!
//! Every Cloudflare account belongs to one of N shards, and each shard has a Lease of its own, so one account has one
//! writer and one rate limit one spender. While N is 1 there is one Lease, of the plain name. While N is greater, that Lease
//! is held by all replicas of the same N together: so replicas of another N, for which the accounts are divided
//! otherwise, wait until the last of them has ended.

use std::time::Duration;

use super::id::folded;

/// More shards than anybody needs: one process serves ten thousand Shares.
pub const MAX_SHARDS: u16 = 32;

const COMMON: &str = "shards-of-";

/// The shard of an account: FNV-1a of 64 bits over the bytes of its id, modulo the number of shards. It must never change,
/// since replicas of two versions may run at the same time.
pub fn of(account: &str, shards: u16) -> u16 {
    let hash = folded(account)
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u16::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

/// Name of a shard's Lease.
pub fn lease_name(base: &str, shard: u16) -> String {
    format!("{base}-shard-{shard}")
}

/// Whom the common Lease names while there are so many shards.
pub fn common_holder(shards: u16) -> String {
    format!("{COMMON}{shards}")
}

/// How many shards there are, as the holder of the common Lease says; `None`: it is one replica, which does all the work.
pub fn shards_of_holder(holder: &str) -> Option<u16> {
    let shards = holder.strip_prefix(COMMON)?.parse().ok()?;
    (2..=MAX_SHARDS).contains(&shards).then_some(shards)
}

/// The account whose shard looks after a child object, of that of its Share, `parent`, and that in which it recorded its
/// row. A child that goes removes its row where it made it, even if a Share of another account has taken the name since.
pub fn account_of_child<'a>(is_deleting: bool, parent: Option<&'a str>, recorded: Option<&'a str>) -> Option<&'a str> {
    if is_deleting { recorded.or(parent) } else { parent.or(recorded) }
}

/// How the replicas divide the shards, as one of them sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    pub shards: u16,
    /// Replicas that could do the work, this one included where it could.
    pub replicas: usize,
    /// This one could.
    pub able: bool,
    /// Shards that it holds.
    pub held: usize,
}

impl Division {
    /// How many shards a replica takes at most while others could take the rest.
    fn fair(self) -> usize {
        usize::from(self.shards).div_ceil(self.replicas.max(1))
    }

    /// How long a Lease must be free before this replica takes it: the more it holds, the longer, so that replicas that
    /// start together share. One that holds its part leaves the rest to others, unless they do not take it.
    pub fn takeover_delay(self, lease: Duration) -> Duration {
        if self.able && self.held < self.fair() {
            lease / 60 * u32::try_from(self.held).unwrap_or(u32::MAX)
        } else {
            lease / 2
        }
    }

    /// Whether it has more than its part, so that another one has less.
    pub fn exceeds(self) -> bool {
        self.held > self.fair()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_an_account_never_changes() {
        // Replicas of two versions may run at the same time.
        let known = [
            ("023e105f4ecef8ad9ca31a8372d0c353", [1, 1, 5, 21]),
            ("", [1, 2, 5, 5]),
            ("a", [0, 1, 4, 12]),
            ("ffffffffffffffffffffffffffffffff", [1, 1, 5, 5]),
        ];
        for (account, shards) in known {
            assert_eq!([2, 3, 8, 32].map(|n| of(account, n)), shards, "{account}");
            assert_eq!(of(account, 1), 0);
        }
    }

    #[test]
    fn accounts_are_spread_over_all_shards() {
        let account =
            |i: u64| format!("{:032x}", u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        for shards in 2..=MAX_SHARDS {
            let mut counts = vec![0; usize::from(shards)];
            (0..3200).for_each(|i| counts[usize::from(of(&account(i), shards))] += 1);
            let even = 3200 / usize::from(shards);
            assert!(counts.iter().all(|count| (even / 2..=even * 2).contains(count)), "{shards}: {counts:?}");
        }
    }

    #[test]
    fn the_common_lease_tells_how_many_shards_there_are() {
        for shards in 2..=MAX_SHARDS {
            assert_eq!(shards_of_holder(&common_holder(shards)), Some(shards));
        }
        for other in ["", "cfshare-7d9f-x2x", "shards-of-", "shards-of-x", "shards-of-1", "shards-of-33"] {
            assert_eq!(shards_of_holder(other), None, "{other}");
        }
    }

    #[test]
    fn a_child_is_looked_after_where_its_row_is() {
        assert_eq!(account_of_child(false, Some("new"), Some("old")), Some("new"));
        assert_eq!(account_of_child(true, Some("new"), Some("old")), Some("old"));
        assert_eq!(account_of_child(false, None, Some("old")), Some("old"));
        assert_eq!(account_of_child(true, Some("new"), None), Some("new"));
        assert_eq!(account_of_child(false, None, None), None);
    }

    /// Replicas that keep to the rules, one after the other, until nothing moves.
    fn settle(shards: u16, mut held: Vec<usize>) -> Vec<usize> {
        let replicas = held.len();
        for _ in 0..1000 {
            let division = |held| Division { shards, replicas, able: true, held };
            let free = usize::from(shards) - held.iter().sum::<usize>();
            if free > 0 {
                let lease = Duration::from_secs(60);
                let at = (0..replicas).min_by_key(|at| division(held[*at]).takeover_delay(lease)).expect("a replica");
                held[at] += 1;
            } else if let Some(at) = (0..replicas).find(|at| division(held[*at]).exceeds()) {
                held[at] -= 1;
            } else {
                break;
            }
        }
        held
    }

    #[test]
    fn replicas_end_with_equal_parts_wherever_they_begin() {
        for shards in 2..=12 {
            for replicas in 1..=9 {
                for first in 0..=usize::from(shards) {
                    let mut held = vec![0; replicas];
                    held[0] = first;
                    let held = settle(shards, held);
                    assert_eq!(held.iter().sum::<usize>(), usize::from(shards), "{shards} among {replicas}: {held:?}");
                    let fair = usize::from(shards).div_ceil(replicas);
                    assert!(held.iter().all(|held| *held <= fair), "{shards} among {replicas}: {held:?}");
                }
            }
        }
    }

    #[test]
    fn one_that_could_not_do_the_work_takes_a_shard_only_where_nobody_else_does() {
        let lease = Duration::from_secs(60);
        let of = |able, held| Division { shards: 4, replicas: 2, able, held }.takeover_delay(lease);
        assert_eq!([of(true, 0), of(true, 1), of(true, 2)].map(|time| time.as_secs()), [0, 1, 30]);
        assert_eq!(of(false, 0).as_secs(), 30);
    }
}
