//! What the operator records of a Share.

use crate::api::Share;
use crate::api::status::ShareStatus;
use crate::operator::cluster::has_status::HasStatus;

impl HasStatus for Share {
    type Status = ShareStatus;

    fn status(&self) -> Option<&ShareStatus> {
        self.status.as_ref()
    }
}
