//! Whether a share at Cloudflare is there for a Share object, and may be taken over.

use super::facts::Snapshot;
use crate::api::policy::AdoptionPolicy;
use crate::cloudflare::{Share as RemoteShare, ShareStatus, TargetType};
use crate::core::id::ShareId;
use crate::core::share_step::{Found, Named, Presence};

impl Snapshot<'_> {
    /// Whether the share is there, whichever credential saw it last.
    pub fn cached_presence(&self, id: &ShareId) -> Presence {
        let has_ended = || self.cache.has_ended(id, self.is_deleting(), self.timing.read_lag);
        match self.cache.seen(id).map(|seen| &seen.share.status) {
            Some(ShareStatus::Active | ShareStatus::Other(_)) => Presence::Live,
            // One share says nothing of how many are missing.
            _ if self.cache.swept.is_none() => Presence::Unread,
            Some(ShareStatus::Deleting) => Presence::Leaving,
            Some(ShareStatus::Deleted) if has_ended() => Presence::Gone,
            Some(ShareStatus::Deleted) => Presence::Missing,
            None if has_ended() => Presence::Gone,
            None if self.cache.is_missing(id) => Presence::Missing,
            None => Presence::Unread,
        }
    }

    /// What became of a share that the manifest names by id.
    pub fn found(&self, id: &ShareId) -> Found {
        match self.cache.seen(id) {
            Some(seen) if !self.is_sent(&seen.share) => Found::Missing,
            Some(seen) if seen.is_live() && self.fits(&seen.share) => Found::Fits,
            Some(seen) if seen.is_live() => Found::Misfits,
            Some(_) => Found::Missing,
            None if self.cache.is_missing(id) => Found::Missing,
            None => Found::Unread,
        }
    }

    /// Whether the declared account owns the share, and does not only receive it.
    fn is_sent(&self, share: &RemoteShare) -> bool {
        share.is_sent_by(&self.desired.owner)
    }

    /// Whether a share is ours to send and has the target that the manifest declares.
    fn fits(&self, share: &RemoteShare) -> bool {
        if !self.is_sent(share) {
            return false;
        }
        match (&self.desired.organization, &share.target_type) {
            (None, TargetType::Organization) | (Some(_), TargetType::Account) => false,
            // A target type that this program does not know is not what the manifest declares.
            (_, TargetType::Other(word)) if !word.is_empty() => false,
            (Some(desired), _) => share.organization_id.as_ref().is_none_or(|id| id == desired),
            (None, _) => true,
        }
    }

    /// Live shares that bear the wanted name.
    pub fn live_named(&self) -> Named {
        let Some(name) = &self.desired.name else { return Named::Nobody };
        let mut ids: Vec<(ShareId, bool)> = self
            .cache
            .live()
            .filter(|seen| seen.share.name == *name && self.is_sent(&seen.share))
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
