//! What does the create of a share carry, is it complete, and may it be tried now?

use std::time::Duration;

use kube::ResourceExt;

use super::facts::{MAX_CLOCK_SKEW, Snapshot};
use crate::api::Name;
use crate::core::row_key::RowKey;
use crate::core::share_step::Gathered;
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::rows::declare::By;

/// The key of the create as a whole in the memory of refusals.
pub const WHOLE_CREATE: &str = "create";
/// Children that come as objects are gathered until none came for so long, and at most so long in all.
const QUIET_TIME: Duration = Duration::from_secs(3);
const MAX_GATHERING_TIME: Duration = Duration::from_secs(15);
/// Creates of one object whose outcome was never learned, in an hour.
const MAX_LOST: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

impl Snapshot<'_> {
    pub(super) fn gathered(&self) -> Gathered {
        let now = self.timing.now;
        let arrivals = self.index.arrivals(&Name::of(self.object));
        if arrivals.is_some_and(|came| now.since(came.last) < QUIET_TIME && now.since(came.first) < MAX_GATHERING_TIME)
        {
            return Gathered::Arriving;
        }
        let gathered = self.lacking_kind();
        // What a new one lacks most likely comes next, from the same folder.
        if self.is_new() && gathered != Gathered::Complete { Gathered::Arriving } else { gathered }
    }

    /// Whether the Share came a moment ago, and not merely this process.
    fn is_new(&self) -> bool {
        let now = self.timing.now;
        let created = self.object.creation_timestamp().map(|time| clock::from_time(&time));
        self.memory.tries.first_look.is_some_and(|first| now.since(first) < QUIET_TIME)
            && created.is_some_and(|created| now.since(created) < QUIET_TIME + MAX_CLOCK_SKEW)
    }

    fn lacking_kind(&self) -> Gathered {
        if self.desired.organization.is_none() && !self.carries(RowKey::is_recipient) {
            return self.lacking(Gathered::NoRecipients, RowKey::is_recipient);
        }
        if !self.carries(RowKey::is_resource) {
            return self.lacking(Gathered::NoResources, RowKey::is_resource);
        }
        Gathered::Complete
    }

    /// Nothing to send of one kind: because none is declared, or because each was refused.
    fn lacking(&self, none: Gathered, of_kind: fn(&RowKey) -> bool) -> Gathered {
        let refused = self.desired.all.keys().any(|key| of_kind(key) && self.is_refused(key));
        if refused { Gathered::Complete } else { none }
    }

    fn is_refused(&self, key: &RowKey) -> bool {
        self.memory.refusal(&key.to_string(), self.timing.now).is_some()
    }

    /// The rows that a create carries: all declared ones whose owner will look after them, but for refused ones.
    pub fn payload(&self) -> Vec<RowKey> {
        self.to_carry(|_| true).cloned().collect()
    }

    /// Whether any of them is of this kind.
    fn carries(&self, is_of_kind: fn(&RowKey) -> bool) -> bool {
        self.to_carry(is_of_kind).next().is_some()
    }

    fn to_carry(&self, wanted: fn(&RowKey) -> bool) -> impl Iterator<Item = &RowKey> {
        let claimed = |key: &RowKey, by: &By| match by {
            By::Share => true,
            By::Child(child) => self.desired.siblings_of(key).iter().any(|sibling| {
                let claimed = sibling.child.has_claimed() || !self.viewer.children_claim;
                sibling.key == *child && claimed && !sibling.child.is_suspended()
            }),
        };
        // Every member of an organization receives its share: no account is named in addition.
        let sendable = |key: &RowKey| self.desired.organization.is_none() || !key.is_recipient();
        let rows = self.desired.all.iter().filter(move |(key, _)| wanted(key) && sendable(key));
        let rows = rows.filter(move |(key, declaration)| claimed(key, &declaration.by) && !self.is_refused(key));
        rows.map(|(key, _)| key)
    }

    /// When a create may be tried again, if not now.
    pub fn backoff_until(&self) -> Option<At> {
        let now = self.timing.now;
        // They have Cloudflare's time.
        let lost = self.status.lost_attempts.iter().map(|at| self.timing.local(clock::from_time(at)));
        let lately: Vec<At> = lost.filter(|at| now.since(*at) < HOUR).collect();
        if lately.len() >= MAX_LOST {
            return lately.iter().min().map(|first| first.plus(HOUR));
        }
        if let Some(refused) = self.memory.refusal(WHOLE_CREATE, now) {
            return Some(refused.until);
        }
        // Every declared recipient, or resource, was refused: wait for the first that may be tried again.
        let recipients = self.desired.organization.is_some() || self.carries(RowKey::is_recipient);
        if recipients && self.carries(RowKey::is_resource) {
            return None;
        }
        self.memory.tries.refused.values().map(|refused| refused.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::share_step::{Refusal, Step, Wait, Want};
    use crate::operator::remote::account_cache::AccountCache;
    use crate::operator::share::samples::{self, ID, NOW, id, world};

    #[test]
    fn a_share_that_is_recorded_nowhere_is_created_once_everything_is_known() {
        let unbound = || world(json!({}), Vec::new());
        let table = [
            ("all is known", unbound(), Step::Create),
            ("never listed", unbound().with(|world| world.cache = AccountCache::default()), Step::Read(Want::List)),
            (
                "listed before the manifest came, and not since",
                unbound().with(|world| {
                    world.share.metadata.creation_timestamp = Some(clock::time(NOW.plus(MAX_CLOCK_SKEW)));
                    world.cache.looked = Some(NOW.minus(Duration::from_secs(1)));
                }),
                Step::Read(Want::List),
            ),
            (
                "the create was refused a moment ago",
                unbound().with(|world| {
                    world.memory.refuse("create", "no".into(), NOW);
                }),
                Step::Wait(Wait::Backoff),
            ),
            (
                "the create was refused since the last look",
                unbound().with(|world| world.memory.create_refused_at = Some(NOW.plus(Duration::from_millis(1)))),
                Step::Read(Want::List),
            ),
            (
                "its only recipient was refused a moment ago",
                unbound().with(|world| {
                    world.memory.refuse(&format!("recipients[{}]", samples::ALPHA), "no".into(), NOW);
                }),
                Step::Wait(Wait::Backoff),
            ),
            (
                "three creates were lost within an hour",
                unbound().with(|world| {
                    let lost = clock::time(NOW.minus(Duration::from_secs(600)));
                    world.share.status.get_or_insert_default().lost_attempts = vec![lost; 3];
                }),
                Step::Wait(Wait::Backoff),
            ),
            (
                "three creates were lost within an hour, by Cloudflare's clock",
                unbound().with(|world| {
                    world.ahead = -7_200_000;
                    let lost = clock::time(At(NOW.minus(Duration::from_secs(600)).0 + world.ahead));
                    world.share.status.get_or_insert_default().lost_attempts = vec![lost; 3];
                }),
                Step::Wait(Wait::Backoff),
            ),
            (
                "no recipient",
                unbound().with(|world| world.share.spec.recipients = Some(Vec::new())),
                Step::Wait(Wait::Recipients),
            ),
            (
                "no recipient, of a Share that came a moment ago",
                unbound().with(|world| {
                    world.share.spec.recipients = Some(Vec::new());
                    world.memory.tries.first_look = Some(NOW.minus(Duration::from_secs(2)));
                    world.share.metadata.creation_timestamp = Some(clock::time(NOW.minus(Duration::from_secs(3))));
                }),
                Step::Wait(Wait::Children),
            ),
            (
                "no recipient, of an older Share that this process sees for the first time",
                unbound().with(|world| {
                    world.share.spec.recipients = Some(Vec::new());
                    world.memory.tries.first_look = Some(NOW.minus(Duration::from_secs(2)));
                    world.share.metadata.creation_timestamp = Some(clock::time(NOW.minus(Duration::from_secs(60))));
                }),
                Step::Wait(Wait::Recipients),
            ),
            ("no resource", unbound().with(|world| world.share.spec.resources.clear()), Step::Wait(Wait::Resources)),
            (
                "the name is taken",
                world(json!({}), vec![samples::remote(ID, json!({}))]),
                Step::Refuse(Refusal::NameTaken(vec![id()])),
            ),
            (
                "the name is that of a share which the account only receives",
                world(json!({}), vec![samples::remote(ID, json!({"kind": "received"}))]),
                Step::Create,
            ),
        ];
        for (what, world, expected) in table {
            assert_eq!(world.step(), expected, "{what}");
        }
    }

    #[test]
    fn a_child_object_counts_once_it_has_claimed_its_row_and_in_a_plan_at_once() {
        let with_child = |claimed: bool| {
            world(json!({}), Vec::new()).with(|world| {
                world.share.spec.recipients = Some(Vec::new());
                let mut child = samples::recipient(json!({"boundUID": samples::UID}));
                child.metadata.finalizers = claimed.then(|| vec![crate::api::FINALIZER.to_owned()]);
                world.recipients = vec![child];
            })
        };
        assert_eq!(with_child(true).step(), Step::Create);
        assert_eq!(with_child(false).step(), Step::Wait(Wait::Recipients));
        assert_eq!(with_child(false).with(|world| world.viewer.children_claim = false).step(), Step::Create);
    }
}
