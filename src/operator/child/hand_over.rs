//! How does a Share that cannot take over a row learn that it is there because of a manifest?

use std::sync::Arc;

use super::facts::{self, Others};
use super::parent::Parent;
use crate::api::{Share, is_deleting, is_suspended, own_record};
use crate::core::row_key::RowKey;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::Pass;
use crate::operator::rows::declare::is_inline;
use crate::operator::rows::inventory::{self, Entry};
use crate::operator::rows::known::Known;
use crate::operator::stop::Stop;

/// Writes the record of an object that goes into its Share, or the one that manages the share by now, where that declares the
/// row itself and does not record it on its own: it is suspended, or has not for long, as without a credential. Once it goes
/// on it would not know that nobody else declared the row. Returns whether that was written now.
pub async fn hand_over<C: Child>(pass: &Pass<C>, parent: &Parent, row: &RowKey, others: &Others) -> Result<bool, Stop> {
    let goes = pass.is_deleting() && !pass.object.is_suspended() && !pass.object.retains();
    let Some(owner) = parent.owner.as_ref().filter(|_| goes) else { return Ok(false) };
    let own = parent.share.iter().filter(|_| !parent.observes() && !parent.outside);
    let declares = |share: &&Arc<Share>| !is_deleting(&share.metadata) && is_inline(share, owner, row);
    let Some(share) = own.chain(others.managing(parent)).find(declares) else { return Ok(false) };
    if !is_suspended(share) && !facts::is_overdue(pass) {
        return Ok(false);
    }
    let Some((own, mut status)) = Entry::of_child(pass.status.record()).zip(own_record(share).cloned()) else {
        return Ok(false);
    };
    let mut entries = inventory::entries(&status.inventory);
    if entries.get(row).is_some_and(|entry| Known::of(pass).covers(Some(entry), row, &pass.key, Some(&own))) {
        return Ok(false);
    }
    entries.insert(row.clone(), own.labelled(pass.object.label()));
    status.inventory = inventory::inventory(&entries);
    pass.context.cluster.write_status(share, &status).await?;
    Ok(true)
}
