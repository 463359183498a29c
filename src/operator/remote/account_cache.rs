//! What an account looks like at Cloudflare, as far as this process has read or written it.
//!
//! Cloudflare has no watch, so a sweep keeps this cache up to date, as does every read and every answer to an own
//! write. What is older never replaces what is newer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::observed_share::ObservedShare;
use crate::cloudflare::{Kind, Share};
use crate::core::id::{AccountId, ShareId};
use crate::core::missing::Missing;
use crate::core::time::At;

/// For how long a share that nobody asks for is remembered as missing.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Boxed, since half of a large table is empty.
type Shares = HashMap<ShareId, Box<ObservedShare>>;

/// One account, seen with one credential.
#[derive(Default)]
pub struct AccountCache {
    shares: Shares,
    /// When the last complete list of live shares was begun.
    pub swept: Option<At>,
    /// That list left out the resources of most shares.
    pub omits_resources: bool,
    /// When the newest page of that list was last asked for.
    pub looked: Option<At>,
    /// The last look at the newest shares did not show all of them, so that the next one reads the whole list.
    pub has_no_order: bool,
    /// Shares that Cloudflare was deleting, and when that list was begun.
    pub leaving: Option<(At, HashSet<ShareId>)>,
    missing: HashMap<ShareId, Missing>,
    /// Shares in which any read showed something new whose objects are not requeued yet.
    moved: HashSet<ShareId>,
    /// Live sent shares of which there are others of the same name: all of that name, by each of them.
    namesakes: HashMap<ShareId, Arc<[ShareId]>>,
    /// Names that a share has no more, or has only now, and whose claimants are not requeued yet.
    freed: HashSet<String>,
}

impl AccountCache {
    pub fn seen(&self, id: &ShareId) -> Option<&ObservedShare> {
        self.shares.get(id).map(Box::as_ref)
    }

    pub fn live(&self) -> impl Iterator<Item = &ObservedShare> {
        self.shares.values().map(Box::as_ref).filter(|seen| seen.is_live())
    }

    /// Ids of the shares of that name that were seen, live ones first, at most so many.
    pub fn ids_named(&self, name: &str, max: usize) -> Vec<String> {
        let named = self.shares.values().filter(|seen| seen.share.name == name);
        let mut ids: Vec<(bool, String)> = named.map(|seen| (!seen.is_live(), seen.share.id.to_string())).collect();
        ids.sort();
        ids.truncate(max);
        ids.into_iter().map(|(_, id)| id).collect()
    }

    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// A share as a list or a GET showed it.
    pub fn read(&mut self, share: Share, began: At, read_lag: Duration) {
        self.missing.remove(&share.id);
        let id = share.id.clone();
        let before = self.live_name(&id).map(str::to_owned);
        let moved = self.change(&id, |shares| match shares.get_mut(&id) {
            Some(seen) => seen.read(share, began, read_lag),
            None => {
                shares.insert(id.clone(), Box::new(ObservedShare::new(share, began)));
                true
            }
        });
        // The first list is for all.
        let borne = self.live_name(&id).filter(|name| self.swept.is_some() && before.as_deref() != Some(*name));
        self.freed.extend(borne.map(str::to_owned));
        if moved {
            self.moved.insert(id);
        }
    }

    /// The same of the rows of a list.
    pub fn read_all(&mut self, shares: Vec<Share>, began: At, read_lag: Duration) {
        for share in shares {
            self.read(share, began, read_lag);
        }
    }

    fn live_name(&self, id: &ShareId) -> Option<&str> {
        self.seen(id).filter(|seen| seen.is_live()).map(|seen| seen.share.name.as_str())
    }

    /// Changes what is kept of a share, and takes note of the name that this frees.
    fn change<T>(&mut self, id: &ShareId, change: impl FnOnce(&mut Shares) -> T) -> T {
        let name = self.live_name(id).map(str::to_owned);
        let changed = change(&mut self.shares);
        let freed = name.filter(|name| self.live_name(id) != Some(name.as_str()));
        self.freed.extend(freed);
        changed
    }

    /// The names that became free, or were given to a share, since this was last asked.
    pub fn freed(&mut self) -> HashSet<String> {
        std::mem::take(&mut self.freed)
    }

    /// The shares that moved since this was last asked.
    pub fn moved(&mut self) -> HashSet<ShareId> {
        std::mem::take(&mut self.moved)
    }

    /// A share as the answer to our own write showed it.
    pub fn wrote(&mut self, share: Share, now: At) {
        let id = share.id.clone();
        self.missing.remove(&id);
        self.change(&id, |shares| match shares.get_mut(&id) {
            Some(seen) => seen.wrote(share, now),
            None => drop(shares.insert(id.clone(), Box::new(ObservedShare::made(share, now)))),
        });
    }

    /// A GET said that the share does not exist.
    pub fn absent(&mut self, id: &ShareId, began: At, read_lag: Duration) {
        let expected = match self.shares.get(id) {
            Some(seen) if !seen.is_leaving() && seen.is_recent(id.as_str(), began, read_lag) => return,
            Some(seen) => seen.is_leaving(),
            None => false,
        };
        self.change(id, |shares| shares.remove(id));
        self.missing.entry(id.clone()).or_insert(Missing::since(began, expected)).again(began, expected);
    }

    /// Finds live sent shares that have one name; those that were alone, or among others, before have moved.
    pub fn pair(&mut self) {
        let sent = self.shares.values().filter(|seen| seen.is_live() && seen.share.kind != Some(Kind::Received));
        let mut names: HashMap<(&AccountId, &str), Vec<&ShareId>> = HashMap::new();
        for seen in sent {
            names.entry((&seen.share.account_id, &seen.share.name)).or_default().push(&seen.share.id);
        }
        let mut namesakes: HashMap<ShareId, Arc<[ShareId]>> = HashMap::new();
        for mut ids in names.into_values().filter(|ids| ids.len() > 1) {
            ids.sort();
            let all: Arc<[ShareId]> = ids.into_iter().cloned().collect();
            namesakes.extend(all.iter().map(|id| (id.clone(), all.clone())));
        }
        let changed = namesakes.iter().filter(|(id, all)| self.namesakes.get(*id) != Some(all)).map(|(id, _)| id);
        let single = self.namesakes.keys().filter(|id| !namesakes.contains_key(*id));
        self.moved.extend(changed.chain(single).cloned());
        self.namesakes = namesakes;
    }

    /// Other live shares of the same name, as of the last sweep.
    pub fn namesakes(&self, id: &ShareId) -> Vec<ShareId> {
        self.namesakes.get(id).iter().flat_map(|all| all.iter()).filter(|other| *other != id).cloned().collect()
    }

    /// A complete list that began then is taken in.
    pub fn swept(&mut self, began: At) {
        self.swept = Some(self.swept.map_or(began, |at| at.max(began)));
        self.looked = self.looked.max(self.swept);
        self.missing.retain(|_, missing| began.since(missing.last) < FORGET_AFTER);
        self.shares.retain(|_, seen| seen.is_live() || began.since(seen.read_at) < FORGET_AFTER);
        let omits = |seen: &&ObservedShare| seen.lacks_resources();
        self.omits_resources = self.live().filter(omits).count() * 2 > self.live().count();
    }

    /// The shares that a complete list, begun then, lacks; it showed just these live ones.
    pub fn lacking(&self, live: &HashSet<ShareId>, began: At, read_lag: Duration) -> Vec<ShareId> {
        let lacking = self.shares.iter().filter(|(id, seen)| {
            seen.is_live()
                && !live.contains(*id)
                && seen.read_at < began
                && !seen.is_recent(id.as_str(), began, read_lag)
        });
        lacking.map(|(id, _)| id.clone()).collect()
    }

    /// Whether the share is gone for good.
    pub fn is_gone(&self, id: &ShareId, read_lag: Duration) -> bool {
        let left = self.leaving.as_ref().filter(|(_, ids)| !ids.contains(id)).map(|(at, _)| *at);
        match (self.shares.get(id), self.missing.get(id)) {
            (Some(seen), _) => seen.is_surely_deleted() && (left >= seen.left_at() || self.uncounted(id).is_none()),
            (None, Some(missing)) => missing.is_gone(read_lag, self.swept, left),
            (None, None) => false,
        }
    }

    /// Whether a share that nobody here asked to delete is gone for good: the breaker had a complete list to count its
    /// loss by, which was begun after the share was first found missing or being deleted.
    fn is_lost(&self, id: &ShareId, read_lag: Duration) -> bool {
        match (self.shares.get(id), self.missing.get(id)) {
            (Some(seen), _) => seen.is_surely_deleted() && self.uncounted(id).is_none(),
            (None, Some(missing)) => Missing { expected: false, ..*missing }.is_gone(read_lag, self.swept, None),
            (None, None) => false,
        }
    }

    /// Whether a share that a pass is about is gone for good; `is_deleting`: its object asks Cloudflare to delete it.
    pub fn has_ended(&self, id: &ShareId, is_deleting: bool, read_lag: Duration) -> bool {
        if is_deleting { self.is_gone(id, read_lag) } else { self.is_lost(id, read_lag) }
    }

    /// Since when a share is missing or being deleted, if no complete list was begun since.
    pub fn uncounted(&self, id: &ShareId) -> Option<At> {
        let since = match (self.shares.get(id), self.missing.get(id)) {
            (Some(seen), _) => seen.left_at(),
            (None, missing) => missing.map(|missing| missing.first),
        };
        since.filter(|since| self.swept.is_none_or(|swept| swept < *since))
    }

    pub fn is_missing(&self, id: &ShareId) -> bool {
        self.missing.contains_key(id)
    }

    /// A share that is missing is still of interest.
    pub fn still_missing(&mut self, id: &ShareId, now: At) {
        if let Some(missing) = self.missing.get_mut(id) {
            missing.last = missing.last.max(now);
        }
    }

    pub fn missing_since(&self, id: &ShareId) -> Option<At> {
        self.missing.get(id).map(|missing| missing.first)
    }

    /// Cloudflare said that it is being deleted, or deleted, before it was not found, or says so now.
    pub fn was_expected_to_go(&self, id: &ShareId) -> bool {
        let is_leaving = self.seen(id).is_some_and(ObservedShare::is_leaving);
        is_leaving || self.missing.get(id).is_some_and(|missing| missing.expected)
    }

    pub fn forget(&mut self, id: &ShareId) {
        self.change(id, |shares| shares.remove(id));
        self.missing.remove(id);
    }

    pub fn seen_mut(&mut self, id: &ShareId) -> Option<&mut ObservedShare> {
        self.shares.get_mut(id).map(Box::as_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn share(meta: serde_json::Value, version: i64) -> Share {
        let resource = json!({
            "id": "a1", "resource_account_id": "acc", "resource_id": "r1", "resource_type": "custom-ruleset",
            "resource_version": version, "meta": meta, "status": "active",
        });
        let share = json!({
            "id": "s1", "account_id": "acc", "account_name": "Security", "organization_id": "org", "name": "waf",
            "status": "active", "target_type": "account", "resources": [resource],
        });
        serde_json::from_value(share).expect("a share as Cloudflare writes it")
    }

    #[test]
    fn who_wants_a_name_hears_when_a_share_gets_it_or_loses_it() {
        let mut cache = AccountCache::default();
        let mut read = |name: &str, swept: bool| {
            cache.read(Share { name: name.into(), ..share(json!({}), 1) }, At(1), Duration::ZERO);
            if swept {
                cache.swept(At(1));
            }
            let mut names: Vec<String> = cache.freed().into_iter().collect();
            names.sort();
            names
        };
        assert_eq!(read("waf", true), [""; 0], "the first list is for all");
        assert_eq!(read("waf", false), [""; 0]);
        assert_eq!(read("rules", false), ["rules", "waf"]);
        cache.forget(&ShareId::parse("s1").expect("an id"));
        assert_eq!(cache.freed(), ["rules".to_owned()].into());
        cache.read(share(json!({}), 1), At(2), Duration::ZERO);
        assert_eq!(cache.freed(), ["waf".to_owned()].into());
    }

    #[test]
    fn a_list_without_the_resources_of_most_shares_omits_them() {
        let (mut cache, lag) = (AccountCache::default(), Duration::from_secs(60));
        let mut sweep = |began: i64, omitting: usize| {
            for n in 0..3 {
                let mut share = share(json!({}), began);
                share.id = ShareId::parse(&format!("s{n}")).expect("an id");
                share.resources.take_if(|_| n < omitting);
                cache.read(share, At(began), lag);
            }
            cache.swept(At(began));
            cache.omits_resources
        };
        assert_eq!(
            [(1, 0), (2, 1), (3, 2), (4, 3), (5, 0)].map(|(at, n)| sweep(at, n)),
            [false, false, true, true, false]
        );
    }

    #[test]
    fn each_share_of_a_name_knows_all_others_and_moves_when_they_change() {
        let mut cache = AccountCache::default();
        let id = |n: i64| ShareId::parse(&format!("s{n}")).expect("an id");
        let mut add = |n: i64| {
            cache.read(Share { id: id(n), ..share(json!({}), 1) }, At(n), Duration::ZERO);
            cache.moved();
            cache.pair();
            (cache.moved().len(), cache.namesakes(&id(2)))
        };
        assert_eq!(add(2), (0, vec![]));
        assert_eq!(add(1), (2, vec![id(1)]));
        assert_eq!(add(3), (3, vec![id(1), id(3)]));
        assert_eq!(add(3), (0, vec![id(1), id(3)]));
    }

    #[test]
    fn a_share_that_is_shown_as_deleted_is_gone_once_a_second_read_and_a_list_say_so() {
        let (id, lag) = (ShareId::parse("s1").expect("an id"), Duration::from_secs(60));
        let with = |read: &[(&str, i64)], swept: Option<i64>, left: Option<i64>| {
            let mut cache = AccountCache::default();
            for (status, at) in read {
                let mut share = share(json!({}), 1);
                share.status = (*status).into();
                cache.read(share, At(*at), lag);
            }
            if let Some(at) = swept {
                cache.swept(At(at));
            }
            cache.leaving = left.map(|at| (At(at), HashSet::new()));
            (cache.has_ended(&id, true, lag), cache.has_ended(&id, false, lag))
        };
        let table: [(&str, &[(&str, i64)], _, _, _); 9] = [
            ("one list alone", &[("deleted", 10)], Some(10), None, (false, false)),
            ("one read, and a list", &[("deleted", 10)], Some(20), Some(20), (false, false)),
            ("two reads, and no list", &[("deleted", 10), ("deleted", 20)], None, None, (false, false)),
            ("two reads, and lists before", &[("deleted", 10), ("deleted", 20)], Some(9), Some(9), (false, false)),
            ("two reads, and a list", &[("deleting", 10), ("deleted", 20)], Some(10), None, (true, true)),
            ("two reads, and what leaves", &[("deleting", 10), ("deleted", 20)], None, Some(10), (true, false)),
            (
                "alive in between",
                &[("deleted", 10), ("active", 20), ("deleted", 30)],
                Some(40),
                Some(40),
                (false, false),
            ),
            ("being deleted", &[("deleting", 10), ("deleting", 20)], Some(30), Some(30), (false, false)),
            ("alive again", &[("deleting", 10), ("deleted", 20), ("active", 30)], Some(30), Some(30), (false, false)),
        ];
        for (what, read, swept, left, expected) in table {
            assert_eq!(with(read, swept, left), expected, "{what}");
        }
    }

    #[test]
    fn a_resource_that_somebody_changed_moves_its_share_though_no_count_moves() {
        let mut cache = AccountCache::default();
        let mut moves = |meta: serde_json::Value, version: i64| {
            cache.read(share(meta, version), At(version * 1000), Duration::from_secs(60));
            cache.moved().len()
        };
        assert_eq!(moves(json!({}), 1), 1, "a new share");
        assert_eq!(moves(json!({}), 1), 0);
        assert_eq!(moves(json!({"mode": "log"}), 2), 1);
        assert_eq!(moves(json!({"mode": "log"}), 2), 0);
    }
}
