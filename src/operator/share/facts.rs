//! Where a Share stands, as facts for the decision.
//!
//! The operator and `cfshare plan` gather them by this one function, from values alone.

use std::time::Duration;

use kube::ResourceExt;

use super::desired::Desired;
use crate::api::policy::AdoptionPolicy;
use crate::api::status::{CreateIntent, ShareStatus};
use crate::api::{Name, Share, is_deleting};
use crate::cloudflare::{Fingerprint, ShareResource};
use crate::core::id::{ShareId, folded};
use crate::core::row_key::RowKey;
use crate::core::share_step;
use crate::core::share_step::{
    Adoption, Candidates, Facts, Found, Gathered, Mode, Named, Presence, Sighting, Situation,
};
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::cluster::index::Index;
use crate::operator::pass::memory::Memory;
use crate::operator::remote::account_cache::AccountCache;
use crate::operator::remote::observed_share::{ObservedShare, resource_key};
use crate::operator::rows::declare::By;

/// A look at the newest shares serves all creates for so long.
const LOOK: Duration = Duration::from_secs(15);
/// How far the API server's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(5);
/// Children that come as objects are gathered until none came for so long, and at most so long in all.
const QUIET: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(15);
/// Creates of one object whose outcome was never learned, in an hour.
const MAX_LOST: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);
/// A share that the manifest names by id and that is not there is asked for again after so long.
const ASKED_LATELY: Duration = Duration::from_secs(55);
/// Cloudflare's clock as its headers tell it has whole seconds, and ours of it is a guess.
pub const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// All that the facts depend on.
pub struct Snapshot<'a> {
    pub object: &'a Share,
    pub name: &'a Name,
    pub desired: &'a Desired,
    /// What is recorded of this very object.
    pub status: &'a ShareStatus,
    pub index: &'a Index,
    pub cache: &'a AccountCache,
    pub memory: &'a Memory,
    pub mode: Mode,
    pub viewer: Viewer,
    pub timing: Timing,
}

/// Who reads the account.
pub struct Viewer {
    /// `None`: for a plan, whatever was seen with another credential before.
    pub credential: Option<Fingerprint>,
    /// A person said that the recorded share is meant to be gone.
    pub confirmed_gone: bool,
    /// A create carries the row of a child object once that has recorded the Share; a plan is of before that.
    pub children_claim: bool,
}

/// When it is, and how long things take.
pub struct Timing {
    pub now: At,
    /// What was read since then is fresh.
    pub since: At,
    /// How far Cloudflare's clock is ahead of ours, in milliseconds.
    pub ahead: i64,
    /// After this time a call that was sent cannot take effect any more.
    pub settle_time: Duration,
    /// For how long a read may lag behind a write, and how long a missing share must stay missing.
    pub read_lag: Duration,
}

impl Timing {
    fn remote(&self, at: At) -> At {
        At(at.0 + self.ahead)
    }
}

impl Snapshot<'_> {
    pub fn facts(&self) -> Facts {
        let (index, object, status) = (self.index, self.object, self.status);
        let (owner, situation) = match (&status.share_id, &status.intent) {
            (Some(id), _) => {
                let share = ShareId::parse(id).map_or(Presence::Gone, |id| self.presence(&id));
                (index.owns(object, id), Situation::Bound { adopted: status.adopted, share })
            }
            (None, Some(intent)) => {
                let (candidates, settled) = self.candidates(intent);
                (index.claims(object), Situation::Announced { candidates, settled })
            }
            (None, None) => {
                let owner = match &self.desired.share_id {
                    Some(id) => index.owns(object, id.as_str()),
                    None => index.claims(object),
                };
                let (adoption, named, gathered) = (self.adoption(), self.named(), self.gathered());
                let may_try = self.backoff_until().is_none();
                (owner, Situation::Unbound { adoption, named, gathered, may_try })
            }
        };
        let retain = self.desired.retains(status);
        Facts { mode: self.mode, is_deleting: self.is_deleting(), retain, owner, situation }
    }

    /// The share that this is about: the recorded one, or when observing the one that the manifest means.
    pub fn share_id(&self) -> Option<ShareId> {
        let recorded = self.status.recorded_share();
        if recorded.is_some() || self.mode == Mode::Manage {
            return recorded;
        }
        self.meant()
    }

    /// The share that the manifest means, by id or by name.
    pub fn meant(&self) -> Option<ShareId> {
        self.desired.share_id.clone().or_else(|| match self.named() {
            Named::One { id, .. } => Some(id),
            Named::Unread | Named::Nobody | Named::Taken(_) | Named::Many(_) => None,
        })
    }

    pub fn is_deleting(&self) -> bool {
        is_deleting(&self.object.metadata)
    }

    fn presence(&self, id: &ShareId) -> Presence {
        match self.cached_presence(id) {
            Presence::Missing | Presence::Gone if self.is_hidden(id) => Presence::Hidden,
            other => other,
        }
    }

    /// Whether the last that saw the share, or sent its create, was another credential.
    fn is_stranger(&self) -> bool {
        let seen_with = self.status.seen_with.as_deref();
        self.viewer.credential.zip(seen_with).is_some_and(|(own, seen_with)| own.to_string() != seen_with)
    }

    /// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
    /// share is meant to be gone.
    fn is_hidden(&self, id: &ShareId) -> bool {
        let leaves = self.is_deleting() && self.status.remote_status.as_deref() == Some("deleting");
        let shown = self.cache.seen(id).is_some();
        self.is_stranger() && !shown && !leaves && !self.viewer.confirmed_gone
    }

    fn adoption(&self) -> Adoption {
        let Some(id) = &self.desired.share_id else {
            return match self.desired.adoption {
                AdoptionPolicy::Never => Adoption::Never,
                AdoptionPolicy::SameName => Adoption::SameName,
            };
        };
        // What is not there may come: ask again once a minute.
        let asked_lately = self.memory.tries.asked_for_id.is_some_and(|at| self.timing.now.since(at) < ASKED_LATELY);
        match self.found(id) {
            // One that is known to be deleted, or to be another account's, stays so.
            Found::Missing if !asked_lately && self.cache.seen(id).is_none() => {
                Adoption::Exactly(id.clone(), Found::Unread)
            }
            found => Adoption::Exactly(id.clone(), found),
        }
    }

    /// How old a look at the newest shares may be: what a person made before the manifest must be known, however
    /// young both are.
    pub fn look_since(&self) -> At {
        let first = self.memory.tries.first_look.unwrap_or(self.timing.now);
        let created = self.object.creation_timestamp().map(|time| clock::from_time(&time));
        first.min(created.map_or(first, |created| created.plus(SKEW))).max(self.timing.since.minus(LOOK))
    }

    fn named(&self) -> Named {
        let (Some(_), Some(looked)) = (self.cache.swept, self.cache.looked) else { return Named::Unread };
        // Observe mode never creates, so an older list is good enough.
        if self.mode != Mode::Observe && looked < self.look_since() {
            return Named::Unread;
        }
        self.live_named()
    }

    fn gathered(&self) -> Gathered {
        let now = self.timing.now;
        let arrivals = self.index.arrivals(self.name);
        if arrivals.is_some_and(|came| now.since(came.last) < QUIET && now.since(came.first) < LONGEST) {
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
        self.memory.tries.first_look.is_some_and(|first| now.since(first) < QUIET)
            && created.is_some_and(|created| now.since(created) < QUIET + SKEW)
    }

    fn lacking_kind(&self) -> Gathered {
        let payload = self.payload();
        if self.desired.organization.is_none() && !payload.iter().any(RowKey::is_recipient) {
            return self.lacking(Gathered::NoRecipients, RowKey::is_recipient);
        }
        if !payload.iter().any(RowKey::is_resource) {
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
        let claimed = |by: &By| match by {
            By::Share => true,
            By::Child(key) => self.desired.siblings.iter().any(|sibling| {
                let claimed = sibling.has_claimed || !self.viewer.children_claim;
                sibling.key == *key && claimed && !sibling.suspended
            }),
        };
        let rows = self.desired.all.iter().filter(|(_, declaration)| claimed(&declaration.by)).map(|(key, _)| key);
        // Every member of an organization receives its share: no account is named in addition.
        let sendable = |key: &&RowKey| self.desired.organization.is_none() || !key.is_recipient();
        rows.filter(sendable).filter(|key| !self.is_refused(key)).cloned().collect()
    }

    /// When a create may be tried again, if not now.
    pub fn backoff_until(&self) -> Option<At> {
        let now = self.timing.now;
        let lost = self.status.lost_attempts.iter().map(clock::from_time);
        let lately: Vec<At> = lost.filter(|at| now.since(*at) < HOUR).collect();
        if lately.len() >= MAX_LOST {
            return lately.iter().min().map(|first| first.plus(HOUR));
        }
        if let Some(refused) = self.memory.refusal("create", now) {
            return Some(refused.until);
        }
        // Every declared recipient, or resource, was refused: wait for the first that may be tried again.
        let payload = self.payload();
        let recipients = self.desired.organization.is_some() || payload.iter().any(RowKey::is_recipient);
        if recipients && payload.iter().any(RowKey::is_resource) {
            return None;
        }
        self.memory.tries.refused.values().map(|refused| refused.until).filter(|until| *until > now).min()
    }

    /// Live shares that the announced create may have made, and whether no more can come.
    fn candidates(&self, intent: &CreateIntent) -> (Candidates, bool) {
        let Timing { now, settle_time, read_lag, .. } = self.timing;
        // What another credential showed, or did not show, proves nothing.
        let own = |(by, _): &&(Fingerprint, At)| Some(*by) == self.viewer.credential;
        let looks: Vec<At> = self.memory.empty_looks.iter().filter(own).map(|(_, at)| *at).collect();
        let started = started_at(intent);
        let end = started.plus(settle_time).plus(CLOCK_SLACK);
        let remote: Vec<At> = looks.iter().map(|look| self.timing.remote(*look)).collect();
        let announced = self.memory.announced_at;
        // Cloudflare's clock may jump: what this process announced settles by its own clock as well.
        let settled = share_step::has_settled(end, &remote, read_lag)
            && announced.is_none_or(|at| share_step::has_settled(at.plus(settle_time), &looks, read_lag));
        if settled && self.is_stranger() && self.cache.swept.is_some() && self.cache.live().next().is_none() {
            // The sweep will tell if that changes.
            return (Candidates::Hidden, true);
        }
        let fresh = (settle_time / 16).max(Duration::from_millis(400));
        if looks.last().is_none_or(|last| now.since(*last) >= fresh) {
            return (Candidates::Unread, false);
        }
        let sightings = self.cache.live().map(|seen| {
            let sure = self.timing.remote(seen.read_at) >= started.plus(read_lag)
                && announced.is_none_or(|at| seen.read_at >= at.plus(read_lag));
            self.sighting(intent, seen, sure)
        });
        let times = (started.minus(CLOCK_SLACK), self.timing.remote(now).plus(CLOCK_SLACK));
        let candidates = match (share_step::candidates(times, sightings), &self.desired.share_id) {
            // A person chose among those that could be meant.
            (Candidates::Many(ids), Some(chosen)) if ids.contains(chosen) => Candidates::One(chosen.clone()),
            (candidates, _) => candidates,
        };
        (candidates, settled)
    }

    fn sighting(&self, intent: &CreateIntent, seen: &ObservedShare, sure: bool) -> Sighting {
        let share = &seen.share;
        let named = share.name == intent.name && share.is_sent_by(&self.desired.owner);
        let same = |rows: &[ShareResource]| {
            let keys: Vec<RowKey> = rows.iter().map(resource_key).collect();
            fingerprint(&intent.name, keys.iter()) == intent.fingerprint
        };
        Sighting {
            id: share.id.clone(),
            named,
            alike: named && seen.resources.as_deref().is_none_or(same),
            created: share.created.map(|created| At(created.as_millisecond())),
            sure,
            known: intent.known_shares.iter().any(|known| known == share.id.as_str()),
            taken: self.index.is_spoken_for(self.object, share.id.as_str()),
        }
    }
}

pub fn started_at(intent: &CreateIntent) -> At {
    let parsed = intent.started_at.parse::<k8s_openapi::jiff::Timestamp>();
    At(parsed.map_or(0, |time| time.as_millisecond()))
}

/// Hash of what a create is recognized by: its name and its resources.
pub fn fingerprint<'a>(name: &str, rows: impl Iterator<Item = &'a RowKey>) -> String {
    use sha2::{Digest, Sha256};
    let mut keys: Vec<String> = rows
        .filter_map(|key| match key {
            RowKey::Resource { kind, id, account } => {
                Some(format!("{kind}\n{}\n{}", folded(id.as_str()), folded(account.as_str())))
            }
            RowKey::Recipient(_) | RowKey::Excluded(_) => None,
        })
        .collect();
    keys.sort();
    let digest = Sha256::digest(format!("{name}\n\n{}", keys.join("\n\n")));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{Name, ShareRecipient};
    use crate::core::share_step::{Refusal, Step, Wait, Want, step};
    use crate::operator::share::samples;

    const NOW: At = At(10_000_000);
    const ID: &str = "5a5e0000000000000000000000000001";

    /// A Share in a cluster, what was read of its account, and what the process remembers.
    struct World {
        share: Share,
        recipients: Vec<ShareRecipient>,
        cache: AccountCache,
        memory: Memory,
        mode: Mode,
        viewer: Viewer,
    }

    fn credential(text: &str) -> Fingerprint {
        let data = [("apiToken".to_owned(), text.as_bytes().to_vec())].into();
        crate::cloudflare::Credential::from_secret(&data).expect("a credential").fingerprint()
    }

    /// A Share that is recorded like that, in an account that was listed a moment ago and has these shares.
    fn world(status: serde_json::Value, remote: Vec<crate::cloudflare::Share>) -> World {
        let mut cache = AccountCache::default();
        for share in remote {
            cache.read(share, NOW, Duration::ZERO);
        }
        cache.swept(NOW);
        World {
            share: samples::share(json!({}), status),
            recipients: Vec::new(),
            cache,
            memory: Memory::default(),
            mode: Mode::Manage,
            viewer: Viewer { credential: Some(credential("one")), confirmed_gone: false, children_claim: true },
        }
    }

    impl World {
        fn facts(self) -> Facts {
            let index = samples::index(vec![self.share.clone()], self.recipients);
            let desired = samples::desired(&self.share, &index);
            let timing = Timing {
                now: NOW,
                since: NOW,
                ahead: 0,
                settle_time: Duration::from_secs(240),
                read_lag: Duration::from_secs(60),
            };
            let snapshot = Snapshot {
                object: &self.share,
                name: &Name::of(&self.share),
                desired: &desired,
                status: &samples::status(&self.share),
                index: &index,
                cache: &self.cache,
                memory: &self.memory,
                mode: self.mode,
                viewer: self.viewer,
                timing,
            };
            snapshot.facts()
        }

        fn step(self) -> Step {
            step(&self.facts())
        }

        fn with(mut self, change: impl FnOnce(&mut World)) -> World {
            change(&mut self);
            self
        }
    }

    fn id() -> ShareId {
        ShareId::parse(ID).expect("an id")
    }

    fn bound() -> serde_json::Value {
        json!({"shareID": ID, "seenWith": credential("one").to_string()})
    }

    #[test]
    fn a_share_to_adopt_that_is_known_to_be_deleted_or_received_is_refused_at_once() {
        let seen = |fields| world(json!({}), vec![samples::remote(ID, fields)]);
        let refused = Step::Refuse(Refusal::NotFound);
        let table = [
            (json!({}), Step::Bind { id: id(), adopted: true }),
            (json!({"status": "deleting"}), refused.clone()),
            (json!({"status": "deleted"}), refused.clone()),
            (json!({"kind": "received"}), refused.clone()),
            (json!({"account_id": samples::ALPHA, "kind": null}), refused.clone()),
        ];
        for (fields, expected) in table {
            let found = seen(fields.clone()).with(|world| world.share.spec.share_id = Some(ID.into()));
            assert_eq!(found.step(), expected, "{fields}");
        }
        let unread = world(json!({}), Vec::new()).with(|world| world.share.spec.share_id = Some(ID.into()));
        assert_eq!(unread.step(), Step::Read(Want::Share));
    }

    #[test]
    fn a_share_that_is_recorded_nowhere_is_created_once_everything_is_known() {
        let unbound = || world(json!({}), Vec::new());
        let table = [
            ("all is known", unbound(), Step::Create),
            ("never listed", unbound().with(|world| world.cache = AccountCache::default()), Step::Read(Want::List)),
            (
                "listed before the manifest came, and not since",
                unbound().with(|world| {
                    world.share.metadata.creation_timestamp = Some(clock::time(NOW.plus(SKEW)));
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

    #[test]
    fn a_bound_share_is_as_far_there_as_the_credential_that_saw_it_shows() {
        let there = || world(bound(), vec![samples::remote(ID, json!({}))]);
        let missing = || {
            world(bound(), Vec::new()).with(|world| {
                world.cache.absent(&id(), NOW.minus(Duration::from_secs(120)), Duration::ZERO);
            })
        };
        let other = |world: &mut World| world.viewer.credential = Some(credential("two"));
        let table = [
            ("live", there(), Presence::Live),
            ("live, seen with another credential", there().with(other), Presence::Live),
            (
                "being deleted",
                world(bound(), vec![samples::remote(ID, json!({"status": "deleting"}))]),
                Presence::Leaving,
            ),
            (
                "a word that nobody knows",
                world(bound(), vec![samples::remote(ID, json!({"status": "paused"}))]),
                Presence::Live,
            ),
            ("never asked for", world(bound(), Vec::new()), Presence::Unread),
            ("absent once", missing(), Presence::Missing),
            ("absent for another credential", missing().with(other), Presence::Hidden),
            (
                "absent for another credential, and confirmed",
                missing().with(other).with(|world| world.viewer.confirmed_gone = true),
                Presence::Missing,
            ),
            (
                "absent twice, a while apart, and from a list",
                missing().with(|world| world.cache.absent(&id(), NOW, Duration::ZERO)),
                Presence::Gone,
            ),
            (
                "absent for whoever asks for a plan",
                missing().with(|world| world.viewer.credential = None),
                Presence::Missing,
            ),
        ];
        for (what, world, expected) in table {
            let Situation::Bound { share, .. } = world.facts().situation else { panic!("{what}: not bound") };
            assert_eq!(share, expected, "{what}");
        }
    }

    #[test]
    fn an_announced_create_is_resolved_only_by_looks_of_the_credential_that_sent_it() {
        let announced_at = NOW.minus(Duration::from_secs(600));
        let rows = [RowKey::Resource {
            kind: "custom-ruleset".into(),
            id: crate::core::id::SourceId::parse(samples::RULESET).expect("an id"),
            account: crate::core::id::AccountId::parse(samples::OWNER).expect("an id"),
        }];
        let status = json!({
            "seenWith": credential("one").to_string(),
            "intent": {
                "attempt": 1, "name": "waf", "startedAt": clock::timestamp(announced_at).to_string(),
                "fingerprint": fingerprint("waf", rows.iter()), "knownShares": [],
            },
        });
        let looks = |by: &str| {
            let at = |seconds| (credential(by), NOW.minus(Duration::from_secs(seconds)));
            vec![at(200), at(100), at(1)]
        };
        let made = || {
            let created = clock::timestamp(announced_at.plus(Duration::from_secs(1))).to_string();
            samples::remote(ID, json!({"created": created}))
        };
        let announced =
            |remote, by: &str| world(status.clone(), remote).with(|world| world.memory.empty_looks = looks(by));
        let table = [
            ("no look yet", world(status.clone(), vec![made()]), Step::Read(Want::List)),
            ("made", announced(vec![made()], "one"), Step::Bind { id: id(), adopted: false }),
            ("not made", announced(Vec::new(), "one"), Step::GiveUp),
            ("looked at with another credential", announced(Vec::new(), "two"), Step::Read(Want::List)),
            (
                "made by somebody with other resources",
                announced(vec![samples::remote(ID, json!({"resources": []}))], "one"),
                Step::GiveUp,
            ),
        ];
        for (what, world, expected) in table {
            assert_eq!(world.step(), expected, "{what}");
        }
    }
}
