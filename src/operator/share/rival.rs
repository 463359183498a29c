//! What messages say of a Share that stands in the way of another one.

use crate::api::Name;
use crate::operator::cluster::index::Index;

/// The Share, and why it may be unknown to the reader.
pub fn called(index: &Index, share: &Name) -> String {
    match index.shares.find(share) {
        Some(_) => format!("Share {share}"),
        None => format!("Share {share} (which does not match --watch-label-selector)"),
    }
}

/// Why it is not to be deleted; `rival`: as it is called.
pub fn not_deleted(rival: &str) -> String {
    format!(
        "Deleting {rival} instead deletes its share for all accounts, unless its status.effective.deletionPolicy is Retain"
    )
}
