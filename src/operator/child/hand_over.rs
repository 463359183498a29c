//! How does a Share that cannot take over a row learn that it is there because of a manifest?

use super::facts;
use super::parent::Parent;
use crate::api::{is_deleting, is_suspended, own_record};
use crate::core::row_key::RowKey;
use crate::operator::kinds::{Child, RowStatus};
use crate::operator::pass::Pass;
use crate::operator::rows::declare::is_inline;
use crate::operator::rows::inventory::{self, Entry};
use crate::operator::rows::known::Known;
use crate::operator::stop::Stop;

/// Writes the record of an object that goes into its Share, where that declares the row itself and does not record it on its
/// own: it is suspended, or has not for long, as without a credential. Once it goes on it would not know that nobody else
/// declared the row. Returns whether that was written now.
pub async fn hand_over<C: Child>(pass: &Pass<C>, parent: &Parent, row: &RowKey) -> Result<bool, Stop> {
    let goes = pass.is_deleting() && !pass.object.is_suspended() && !pass.object.retains();
    let is_asked = goes && !parent.observes() && !parent.outside;
    let Some((share, owner)) = parent.share.as_ref().zip(parent.owner.as_ref()).filter(|_| is_asked) else {
        return Ok(false);
    };
    let waits = is_suspended(share) || facts::is_overdue(pass);
    if !waits || is_deleting(&share.metadata) || !is_inline(share, owner, row) {
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
