//! What a ShareRecipient declares and records.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{RowStatus, account};
use crate::api::child_object::{ChildObject, CommonSpec};
use crate::api::status::{ChildStatus, RecipientStatus, RowError};
use crate::api::waiver::Waiver;
use crate::api::{Kind, ShareRecipient, ShareRecipientSpec};
use crate::cloudflare::{RecipientError, clean};
use crate::core::id::AccountId;
use crate::core::row_key::RowKey;
use crate::operator::remote::observed_share::ObservedShare;

/// Longest list of errors, and longest words of Cloudflare's in it.
const MAX_ERRORS: usize = 20;
const MAX_ID: usize = 200;
const MAX_MESSAGE: usize = 300;

impl RowStatus for RecipientStatus {
    fn record(&self) -> &ChildStatus {
        &self.child
    }

    fn record_mut(&mut self) -> &mut ChildStatus {
        &mut self.child
    }

    fn disown(&mut self) {
        *self = RecipientStatus { child: self.child.disowned(), ..RecipientStatus::default() };
    }

    fn report_row(&mut self, key: &RowKey, seen: Option<&ObservedShare>) {
        let RowKey::Recipient(account) = key else { return };
        let row = seen.and_then(|seen| seen.recipient(account));
        self.recipient_id = row.map(|row| row.id.to_string());
        self.association_status = row.map(|row| row.association_status.to_string());
        let error = |error: &RecipientError| RowError {
            resource_id: clean(&error.resource_id, MAX_ID),
            message: clean(&error.error, MAX_MESSAGE),
            terminal: error.terminal,
        };
        self.errors = row.into_iter().flat_map(|row| &row.errors).take(MAX_ERRORS).map(error).collect();
    }

    fn waiver_warned(&mut self) -> Option<&mut Option<Time>> {
        Some(&mut self.waiver_warned)
    }
}

impl ChildObject for ShareRecipient {
    fn kind(&self) -> Kind {
        Kind::ShareRecipient
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn common_spec(&self) -> CommonSpec<'_> {
        let ShareRecipientSpec { share_ref, name, deletion_policy, suspend, .. } = &self.spec;
        CommonSpec { share_ref, name: name.as_ref(), deletion_policy: *deletion_policy, suspend: *suspend }
    }

    fn row(&self, _owner: &AccountId) -> Result<RowKey, String> {
        Ok(RowKey::Recipient(account(&self.spec.account_id, "spec.accountID")?))
    }

    fn waiver(&self) -> Option<&Waiver> {
        self.spec.waiver.as_deref()
    }

    fn record(&self) -> Option<&ChildStatus> {
        self.status.as_ref().map(|status| &status.child)
    }
}
