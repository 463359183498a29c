//! What of a share is the matter of other objects: the rows that children declare, and its name.

use super::work::Work;
use crate::api::Reason;
use crate::core::id::ShareId;
use crate::core::row_key::RowKey;
use crate::operator::conditions;
use crate::operator::rows::declare::{By, Sibling};
use crate::operator::rows::standing::{Standing, State};

impl Work {
    /// Whether the share was Ready once: from then on, rows that objects add are their objects' own matter.
    pub(super) fn has_been_ready(&self) -> bool {
        let status = &self.pass.status;
        status.first_ready_at.is_some()
            || conditions::readiness(&status.common.conditions) == Some(("True", Reason::Associated.as_str()))
    }

    /// The object that declares the row, if it is not the Share itself.
    fn declaring(&self, key: &RowKey) -> Option<&Sibling> {
        let Some(By::Child(child)) = self.wanted.all.get(key).map(|declaration| &declaration.by) else { return None };
        self.wanted.siblings.iter().find(|sibling| sibling.key == *child)
    }

    /// Rows of objects that a share which was never Ready waits for: all that are on their way.
    pub(super) fn awaited<'a>(&self, standings: &'a [(RowKey, Standing)]) -> Vec<&'a (RowKey, Standing)> {
        if self.has_been_ready() {
            return Vec::new();
        }
        let on_its_way = |sibling: &Sibling| !sibling.suspended && !sibling.stalled && !sibling.outside;
        let pending = |state: State| matches!(state, State::Pending | State::Failing);
        let awaited = standings.iter().filter(|(_, standing)| pending(standing.state));
        awaited.filter(|(key, _)| self.declaring(key).is_some_and(on_its_way)).collect()
    }

    /// A row that failed for good is the failure of the object that declares it.
    pub(super) fn with_failed_objects(&self, standings: &[(RowKey, Standing)], so_far: String) -> String {
        let failed =
            standings.iter().filter(|(_, standing)| standing.state != State::InPlace).filter_map(|(key, standing)| {
                let sibling = self.declaring(key)?;
                let failed = sibling.stalled || matches!(standing.state, State::Failed | State::Refused);
                failed.then(|| format!("{} failed, see {}", self.label(key), sibling.key))
            });
        let failed: Vec<String> = failed.collect();
        match failed.as_slice() {
            [] => so_far,
            named => {
                let more = if named.len() > 3 { ", …" } else { "" };
                format!("{so_far}; {}{more}", named[..named.len().min(3)].join(", "))
            }
        }
    }

    /// Two live shares of one name: ours, and one that may be a create that arrived twice.
    pub(super) fn with_twin(&self, id: &ShareId, so_far: String) -> String {
        let so_far = match self.pass.context.cluster.index.refused_rival(&self.pass.object) {
            Some(rival) => format!("{so_far}; Share {rival} declares the same name in this account and is not created"),
            None => so_far,
        };
        let twin = self.access.account.picture().twin(id).cloned();
        match twin.filter(|twin| !self.pass.context.cluster.index.is_spoken_for(&self.pass.key.name, twin.as_str())) {
            Some(twin) => format!(
                "{so_far}; another live share has the same name (id {twin}), which nobody here declares: delete it at \
                 Cloudflare if it is not needed"
            ),
            None => so_far,
        }
    }
}
