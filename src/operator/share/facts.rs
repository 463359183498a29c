//! Where a Share stands, as facts for the decision.
//!
//! The operator and `cfshare plan` gather them by this one function, from values alone.

use std::time::Duration;

use kube::ResourceExt;

use super::desired::{Desired, retains};
use crate::api::policy::AdoptionPolicy;
use crate::api::status::ShareStatus;
use crate::api::{Share, is_deleting};
use crate::cloudflare::{Fingerprint, Share as RemoteShare, ShareStatus as RemoteStatus, TargetType};
use crate::core::id::ShareId;
use crate::core::share_step::{Adoption, Facts, Found, Mode, Named, Presence, Situation};
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::cluster::index::Index;
use crate::operator::pass::memory::Memory;
use crate::operator::remote::account_cache::AccountCache;

/// A look at the newest shares serves all creates for so long.
const MAX_LOOK_AGE: Duration = Duration::from_secs(15);
/// How far the API server's clock may be behind ours.
pub(super) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// A share that the manifest names by id and that is not there is asked for again after so long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(55);

/// All that the facts depend on.
pub struct Snapshot<'a> {
    pub object: &'a Share,
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
    /// `None`: it is not known, so whatever was seen before may have been seen with it.
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
    pub fresh_since: At,
    /// When this process took over the account.
    pub serving_since: At,
    /// How far Cloudflare's clock is ahead of ours, in milliseconds.
    pub ahead: i64,
    pub settle_time: Duration,
    pub read_lag: Duration,
}

impl Timing {
    pub(super) fn remote(&self, at: At) -> At {
        At(at.0 + self.ahead)
    }

    pub(super) fn local(&self, remote: At) -> At {
        At(remote.0 - self.ahead)
    }
}

impl Snapshot<'_> {
    pub fn facts(&self) -> Facts {
        let (index, object, status) = (self.index, self.object, self.status);
        let (owner, situation) = match (&status.share_id, &status.intent) {
            (Some(id), _) => {
                let share = ShareId::read(id).map_or(Presence::Gone, |id| self.presence(&id));
                (index.owns(object, id), Situation::Bound { adopted: status.adopted, share })
            }
            (None, Some(intent)) => {
                let (candidates, settled) = self.candidates(intent);
                let unsent = self.memory.is_unsent(intent, self.timing.serving_since);
                (index.claims(object), Situation::Announced { candidates, settled, unsent })
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
        let retain = retains(object, Some(status));
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

    pub fn meant(&self) -> Option<ShareId> {
        self.desired.share_id.as_ref().map(|id| self.spelled(id)).or_else(|| match self.named() {
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
    pub(super) fn is_other_credential(&self) -> bool {
        let seen_with = self.status.seen_with.as_deref();
        self.viewer.credential.zip(seen_with).is_some_and(|(own, seen_with)| own.to_string() != seen_with)
    }

    /// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
    /// share is meant to be gone.
    fn is_hidden(&self, id: &ShareId) -> bool {
        let leaves = self.is_deleting() && self.status.remote_status.as_deref() == Some("deleting");
        let shown = self.cache.seen(id).is_some();
        self.is_other_credential() && !shown && !leaves && !self.viewer.confirmed_gone
    }

    fn adoption(&self) -> Adoption {
        let Some(id) = &self.desired.share_id else {
            return match self.desired.adoption {
                AdoptionPolicy::Never => Adoption::Never,
                AdoptionPolicy::SameName => Adoption::SameName,
            };
        };
        // What is not there may come: ask again once a minute.
        let asked_lately = self.memory.tries.asked_for_id.is_some_and(|at| self.timing.now.since(at) < ASK_AGAIN_AFTER);
        match self.found(id) {
            // One that is known to be deleted, or to be another account's, stays so.
            Found::Missing if !asked_lately && self.cache.seen(id).is_none() => {
                Adoption::Exactly(id.clone(), Found::Unread)
            }
            found => Adoption::Exactly(self.spelled(id), found),
        }
    }

    /// The id as Cloudflare writes it: its paths may tell apart what an id in a manifest does not.
    fn spelled(&self, id: &ShareId) -> ShareId {
        self.cache.seen(id).map_or_else(|| id.clone(), |seen| seen.share.id.clone())
    }

    /// How old a look at the newest shares may be: what a person made before the manifest must be known, however
    /// young both are, and what a refused create made all the same.
    pub fn look_since(&self) -> At {
        let first = self.memory.tries.first_look.unwrap_or(self.timing.now);
        let created = self.object.creation_timestamp().map(|time| clock::from_time(&time));
        let old = first
            .min(created.map_or(first, |created| created.plus(MAX_CLOCK_SKEW)))
            .max(self.timing.fresh_since.minus(MAX_LOOK_AGE));
        old.max(self.memory.create_refused_at.unwrap_or_default())
    }

    fn named(&self) -> Named {
        let (Some(_), Some(looked)) = (self.cache.swept, self.cache.looked) else { return Named::Unread };
        // Observe mode never creates, so an older list is good enough.
        if self.mode != Mode::Observe && looked < self.look_since() {
            return Named::Unread;
        }
        self.live_named()
    }

    /// Whether the share is there, whichever credential saw it last.
    fn cached_presence(&self, id: &ShareId) -> Presence {
        let has_ended = || self.cache.has_ended(id, self.is_deleting(), self.timing.read_lag);
        match self.cache.seen(id).map(|seen| &seen.share.status) {
            Some(RemoteStatus::Active | RemoteStatus::Other(_)) => Presence::Live,
            // One share says nothing of how many are missing.
            _ if self.cache.swept.is_none() => Presence::Unread,
            Some(RemoteStatus::Deleting) => Presence::Leaving,
            Some(RemoteStatus::Deleted) if has_ended() => Presence::Gone,
            Some(RemoteStatus::Deleted) => Presence::Missing,
            None if has_ended() => Presence::Gone,
            None if self.cache.is_missing(id) => Presence::Missing,
            None => Presence::Unread,
        }
    }

    /// What became of a share that the manifest names by id.
    fn found(&self, id: &ShareId) -> Found {
        match self.cache.seen(id) {
            Some(seen) if !seen.share.is_sent_by(&self.desired.owner) => Found::Missing,
            Some(seen) if seen.is_live() && self.fits(&seen.share) => Found::Fits,
            Some(seen) if seen.is_live() => Found::Misfits,
            Some(_) => Found::Missing,
            None if self.cache.is_missing(id) => Found::Missing,
            None => Found::Unread,
        }
    }

    /// Whether a share has the target that the manifest declares.
    pub(super) fn fits(&self, share: &RemoteShare) -> bool {
        match (&self.desired.organization, &share.target_type) {
            (None, TargetType::Organization) | (Some(_), TargetType::Account) => false,
            // A target type that this program does not know is not what the manifest declares.
            (_, TargetType::Other(word)) if !word.is_empty() => false,
            (Some(desired), _) => share.organization_id.as_ref().is_none_or(|id| id == desired),
            (None, _) => true,
        }
    }

    /// Live shares that bear the wanted name.
    fn live_named(&self) -> Named {
        let Some(name) = &self.desired.name else { return Named::Nobody };
        let mut ids: Vec<(ShareId, bool)> = self
            .cache
            .live()
            .filter(|seen| seen.share.name == *name && seen.share.is_sent_by(&self.desired.owner))
            .map(|seen| (seen.share.id.clone(), self.fits(&seen.share)))
            .collect();
        if self.desired.adoption == AdoptionPolicy::SameName && ids.len() > 1 {
            ids.retain(|(id, _)| !self.index.is_spoken_for(self.object, id.as_str()));
        }
        ids.sort();
        match ids.as_slice() {
            [] => Named::Nobody,
            [(id, fits)] => {
                let free = self.desired.observe || !self.index.is_spoken_for(self.object, id.as_str());
                if free { Named::One { id: id.clone(), fits: *fits } } else { Named::Taken(id.clone()) }
            }
            many => Named::Many(many.iter().map(|(id, _)| id.clone()).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::share_step::{Refusal, Step, Want};
    use crate::operator::share::samples::{self, ID, NOW, World, bound, credential, id, world};

    #[test]
    fn a_share_to_adopt_that_is_known_to_be_deleted_or_received_is_refused_at_once() {
        let seen = |fields| world(json!({}), vec![samples::remote(ID, fields)]);
        let refused = Step::Refuse(Refusal::NotFound);
        let misfits = Step::Refuse(Refusal::TargetMismatch);
        let table = [
            (json!({}), Step::Bind { id: id(), adopted: true }),
            (json!({"status": "deleting"}), refused.clone()),
            (json!({"status": "deleted"}), refused.clone()),
            (json!({"kind": "received"}), refused.clone()),
            (json!({"account_id": samples::ALPHA, "kind": null}), refused.clone()),
            (json!({"target_type": "organization"}), misfits.clone()),
            (json!({"target_type": "organizational_unit"}), misfits),
            (json!({"target_type": null}), Step::Bind { id: id(), adopted: true }),
        ];
        for (fields, expected) in table {
            let found = seen(fields.clone()).with(|world| world.share.spec.share_id = Some(ID.into()));
            assert_eq!(found.step(), expected, "{fields}");
        }
        let unread = world(json!({}), Vec::new()).with(|world| world.share.spec.share_id = Some(ID.into()));
        assert_eq!(unread.step(), Step::Read(Want::Share));
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
}
