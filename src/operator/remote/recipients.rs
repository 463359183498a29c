//! Who receives one share: its recipients as they were listed, or the accounts that an organization's share leaves out.

use crate::cloudflare::{AssociationStatus, Counts, ExcludedRecipient, Recipient};
use crate::core::time::At;

/// The recipients of a share, with their errors.
#[derive(Debug, Clone)]
pub struct Recipients {
    pub rows: Vec<Recipient>,
    pub read_at: At,
    /// Something moved since: read again.
    pub stale: bool,
    /// Counts that these rows were read again for.
    pub(super) reread_for: Option<Counts>,
    /// Our own call made the share a moment before they were read.
    pub(super) may_lag: bool,
}

/// The accounts that are excluded from an organization's share.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    /// The default: they must be read again.
    pub read_at: At,
    pub rows: Vec<ExcludedRecipient>,
}

impl Recipients {
    pub fn unread() -> Box<Recipients> {
        Box::new(Recipients { rows: Vec::new(), read_at: At::default(), stale: true, reread_for: None, may_lag: false })
    }

    /// Takes note of counts. Whether they are of other rows than these, and not for the second time.
    pub fn note_counts(&mut self, counts: Counts) -> bool {
        let mut own = Counts::default();
        for row in &self.rows {
            match row.association_status {
                AssociationStatus::Associating => own.associating += 1,
                AssociationStatus::Associated => own.associated += 1,
                AssociationStatus::Disassociating => own.disassociating += 1,
                AssociationStatus::Disassociated => own.disassociated += 1,
                AssociationStatus::Other(_) => {}
            }
        }
        let is_new = own != counts && self.reread_for != Some(counts);
        self.reread_for = (own != counts).then_some(counts);
        is_new
    }
}
