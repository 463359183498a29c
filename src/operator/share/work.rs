//! A pass over a Share that has a credential.

use super::facts::{Snapshot, Timing, Viewer};
use super::want::Wanted;
use crate::api::Share;
use crate::core::create::Mode;
use crate::core::id::ShareId;
use crate::operator::pass::Pass;
use crate::operator::remote::access::Access;

pub struct Work {
    pub pass: Pass<Share>,
    pub access: Access,
    pub wanted: Wanted,
    pub mode: Mode,
}

impl Work {
    /// Asks where the share stands; `ask` must not read or write anything else.
    pub fn snapshot<T>(&self, ask: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let (account, settings) = (&self.access.account, &self.pass.context.settings);
        let recorded = self.pass.status.share_id.as_deref();
        let viewer = Viewer {
            credential: Some(account.fingerprint),
            confirmed_gone: recorded.is_some_and(|id| account.is_accepted(id)),
            children_claim: true,
        };
        let timing = Timing {
            now: self.pass.now(),
            since: self.pass.since,
            ahead: account.ahead(),
            settle_time: settings.settle_time,
            read_lag: settings.patience(),
        };
        let cache = account.picture();
        self.pass.notes(|memory| {
            ask(&Snapshot {
                object: &self.pass.object,
                name: &self.pass.key.name,
                wanted: &self.wanted,
                status: &self.pass.status,
                index: &self.pass.context.cluster.index,
                cache: &cache,
                memory,
                mode: self.mode,
                viewer,
                timing,
            })
        })
    }

    /// The share this pass is about: the recorded one, or when observing the one that the manifest means.
    pub fn share_id(&self) -> Option<ShareId> {
        self.snapshot(|now| now.share_id())
    }
}
