//! Who receives one share: its recipients as they were listed, or the accounts that an organization's share leaves out, and
//! the members of the organization that do not receive it.

use std::time::Duration;

use crate::cloudflare::{AssociationStatus, Counts, ExcludedRecipient, Recipient};
use crate::core::sorted::Sorted;
use crate::core::time::At;

/// Members of an organization that do not get on are read at most once in so long.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// How long after a read that failed they are read again.
const FAILED_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The recipients of a share, with their errors.
#[derive(Debug, Clone)]
pub struct Recipients {
    pub rows: Sorted<Recipient>,
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

/// Members of an organization that its share does not reach yet. Cloudflare counts them; they are read only if that takes long.
#[derive(Debug, Clone)]
pub struct Members {
    /// How many are on their way.
    associating: u64,
    /// Since when they are as many, as far as this process knows.
    pub since: At,
    /// When they were last read.
    pub read_at: At,
    /// That read failed.
    failed: bool,
    /// Those that were found then, and that still are on their way if any is.
    pub rows: Vec<Recipient>,
}

impl Members {
    /// What is known once so many are counted; `None`: nobody is on the way.
    pub(super) fn counted(known: Option<Box<Members>>, associating: u64, at: At) -> Option<Box<Members>> {
        let new =
            || Box::new(Members { associating, since: at, read_at: At::default(), failed: false, rows: Vec::new() });
        let mut members = (associating > 0).then(|| known.unwrap_or_else(new))?;
        if members.associating != associating {
            (members.associating, members.since) = (associating, at);
            // Of others nobody knows whether they arrived.
            members.rows.retain(|row| row.has_failed() && row.association_status == AssociationStatus::Associating);
            if members.rows.len() as u64 > associating {
                members.rows.clear();
            }
        }
        Some(members)
    }

    /// When they are to be read: once nothing has moved for so long, and then rarely.
    pub fn due(&self, stuck_after: Duration) -> At {
        let again = if self.failed { FAILED_AGAIN_AFTER } else { READ_AGAIN_AFTER };
        self.since.plus(stuck_after).max(self.read_at.plus(again))
    }

    /// Takes recipients of the share; `None`: they could not be read.
    pub(super) fn read(&mut self, rows: Option<Vec<Recipient>>, began: At) {
        (self.read_at, self.failed) = (began, rows.is_none());
        let Some(mut rows) = rows else { return };
        rows.retain(|row| match row.association_status {
            AssociationStatus::Associated => !row.errors.is_empty(),
            AssociationStatus::Associating | AssociationStatus::Other(_) => true,
            AssociationStatus::Disassociating | AssociationStatus::Disassociated => false,
        });
        rows.sort_by(|a, b| a.account_id.cmp(&b.account_id));
        rows.dedup_by(|a, b| a.account_id == b.account_id);
        self.rows = rows;
    }
}

impl Recipients {
    pub fn unread() -> Box<Recipients> {
        let rows = Vec::new().into();
        Box::new(Recipients { rows, read_at: At::default(), stale: true, reread_for: None, may_lag: false })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE: i64 = 60_000;
    const STUCK_AFTER: Duration = Duration::from_secs(600);

    fn recipient(account: &str, status: &str, terminal: Option<bool>) -> Recipient {
        let errors: Vec<_> =
            terminal.iter().map(|terminal| json!({"error": "no plan", "terminal": terminal})).collect();
        let row = json!({"id": account, "account_id": account, "association_status": status, "resources": errors});
        serde_json::from_value(row).expect("a row as Cloudflare writes it")
    }

    fn accounts(members: &Members) -> Vec<&str> {
        members.rows.iter().map(|row| row.account_id.as_str()).collect()
    }

    #[test]
    fn members_are_read_once_their_number_has_not_moved_for_long_and_then_once_an_hour() {
        let start = 1_800_000_000_000;
        let at = |minute: i64| At(start + minute * MINUTE);
        let count = |known, associating, minute| Members::counted(known, associating, at(minute));
        let due = |members: &Option<Box<Members>>| {
            members.as_ref().map(|members| (members.due(STUCK_AFTER).0 - start) / MINUTE)
        };
        assert!(count(None, 0, 0).is_none());
        let mut members = count(None, 3, 0);
        assert_eq!(due(&members), Some(10));
        members = count(members, 2, 5);
        assert_eq!(due(&members), Some(15));
        members = count(members, 2, 14);
        assert_eq!(due(&members), Some(15));
        members.as_mut().expect("some are on their way").read(None, at(14));
        assert_eq!(due(&members), Some(15), "a minute after they could not be read");
        members.as_mut().expect("some are on their way").read(Some(Vec::new()), at(15));
        assert_eq!(due(&members), Some(75));
        members = count(members, 1, 70);
        assert_eq!(due(&members), Some(80));
        members = count(members, 2, 20);
        assert_eq!(due(&members), Some(75), "an hour after the last time");
        assert!(count(members, 0, 90).is_none());
    }

    #[test]
    fn members_are_known_that_do_not_receive_the_share_and_only_as_long_as_that_is_sure() {
        let rows = || {
            vec![
                recipient("a", "associated", None),
                recipient("b", "associating", Some(true)),
                recipient("c", "associating", None),
                recipient("d", "disassociated", Some(true)),
                recipient("e", "associated", Some(false)),
                recipient("f", "associating", Some(true)),
            ]
        };
        let read = || {
            let mut members = Members::counted(None, 3, At(1)).expect("some are on their way");
            members.read(Some(rows()), At(2));
            members
        };
        assert_eq!(accounts(&read()), ["b", "c", "e", "f"]);
        let mut members = read();
        members.read(None, At(3));
        assert_eq!(accounts(&members), ["b", "c", "e", "f"]);
        for (associating, known) in [(3, &["b", "c", "e", "f"][..]), (4, &["b", "f"]), (2, &["b", "f"]), (1, &[])] {
            let members = Members::counted(Some(read()), associating, At(4)).expect("some are on their way");
            assert_eq!(accounts(&members), known, "{associating}");
        }
    }
}
