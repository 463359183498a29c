//! Which rows of a share are the matter of the child objects that declare them?

use super::share_pass::SharePass;
use super::waivers;
use crate::api::Reason;
use crate::operator::conditions;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::row_state::{RowState, State, first_of};

/// Whether the share was Ready once: from then on, rows that objects add are their objects' own matter.
pub fn has_been_ready(share: &SharePass) -> bool {
    let status = &share.pass.status;
    status.first_ready_at.is_some()
        || conditions::readiness(&status.common.conditions) == Some(("True", Reason::Associated.as_str()))
}

/// Rows of objects that a share which was never Ready waits for: all that are on their way.
pub fn awaited<'a>(share: &SharePass, row_states: &'a [RowState]) -> Vec<&'a RowState> {
    if has_been_ready(share) {
        return Vec::new();
    }
    let on_its_way =
        |sibling: &Sibling| !sibling.child.is_suspended() && !sibling.child.is_stalled() && !sibling.outside;
    let pending = |state: State| matches!(state, State::Pending | State::Failing);
    let awaited = row_states.iter().filter(|row| pending(row.state));
    awaited.filter(|row| share.declaring(&row.key).is_some_and(on_its_way)).collect()
}

/// A row that failed for good is the failure of the object that declares it.
pub fn with_failed_objects(share: &SharePass, row_states: &[RowState], so_far: String) -> String {
    let failed = row_states.iter().filter(|row| !row.is_in_place()).filter_map(|row| {
        let sibling = share.declaring(&row.key)?;
        if waivers::in_force(share, row).is_some() {
            return None;
        }
        let word = match row.state {
            State::Failed | State::Refused => "failed",
            State::InPlace | State::Pending | State::Failing if sibling.child.is_stalled() => "is not in place",
            State::InPlace | State::Pending | State::Failing => return None,
        };
        Some(format!("{} {word}, see {}", share.label(&row.key), sibling.key))
    });
    let failed = first_of(failed, 3, ", ");
    if failed.is_empty() { so_far } else { format!("{so_far}; {failed}") }
}
