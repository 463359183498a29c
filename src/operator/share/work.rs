//! A pass over a Share that has a credential.

use super::want::Wanted;
use crate::api::Share;
use crate::core::create::{Mode, Named};
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
    /// The share this pass is about: the recorded one, or when observing the one that the manifest means.
    pub fn share_id(&self) -> Option<ShareId> {
        let recorded = self.pass.status.share_id.as_deref().and_then(|id| ShareId::parse(id).ok());
        if recorded.is_some() || self.mode == Mode::Manage {
            return recorded;
        }
        self.wanted.share_id.clone().or_else(|| match self.named() {
            Named::One { id, .. } => Some(id),
            _ => None,
        })
    }
}
