//! What of a share is the matter of other objects: the rows that children declare, and its name.

use super::share_pass::SharePass;
use super::waivers;
use crate::api::Reason;
use crate::core::id::ShareId;
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
    let on_its_way = |sibling: &Sibling| !sibling.child.is_suspended() && !sibling.child.is_stalled() && !sibling.outside;
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

/// Two live shares of one name: ours, and one that may be a create that arrived twice.
pub fn with_namesake(share: &SharePass, id: &ShareId, so_far: String) -> String {
    let so_far = match share.pass.context.cluster.index.refused_rival(&share.pass.object) {
        Some(rival) => {
            format!("{so_far}; Share {rival} declares the same name in this account, so no share is created for it")
        }
        None => so_far,
    };
    let index = &share.pass.context.cluster.index;
    let namesakes = share.session.account.cache().namesakes(id);
    let namesake = namesakes.into_iter().find(|other| !index.is_named(&share.pass.object, other.as_str()));
    match (namesake, index.unwatched.unlisted()) {
        (Some(namesake), Some(unlisted)) => format!(
            "{so_far}; another live share has the same name (id {namesake}), which may belong to a Share in namespace \
             {unlisted}, because cfshare cannot list that namespace"
        ),
        (Some(namesake), None) => format!(
            "{so_far}; another live share has the same name (id {namesake}), which no Share that this cfshare watches \
             declares. Find out who uses it before you delete it at Cloudflare: its recipients lose access"
        ),
        (None, _) => so_far,
    }
}
