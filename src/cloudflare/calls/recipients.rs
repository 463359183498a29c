//! Which calls concern the recipients of a share.

use super::{Answer, delete, get, post, put, within};
use crate::cloudflare::request::paging;
use crate::cloudflare::{Client, Credential, Include, Page, Recipient, Target};
use crate::core::id::{AccountId, RecipientId, ShareId, same};

const RECIPIENTS: &str = "recipients";

impl Client {
    /// Every row that ever was, disassociated ones included.
    pub async fn list_recipients(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        include_resources: bool,
        page: u32,
        per_page: u32,
    ) -> Answer<Page<Recipient>> {
        let mut query = paging(page, per_page);
        query.extend(errors(include_resources).query());
        let call = get("list_recipients", within(account, share, &[RECIPIENTS]), query);
        self.page(credential, call, page).await
    }

    pub async fn add_recipient(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        target: &Target,
    ) -> Answer<Recipient> {
        let path = within(account, share, &[RECIPIENTS]);
        let call = post("add_recipient", path, target);
        self.added(credential, call, |row: &Recipient| match target {
            Target::Account(wanted) => same(row.account_id.as_str(), wanted.as_str()),
            Target::Organization(_) => true,
        })
        .await
    }

    /// Replaces the whole list: an account that is not named is disassociated, no matter who added them.
    pub async fn replace_recipients(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        targets: &[Target],
    ) -> Answer<()> {
        let path = within(account, share, &[RECIPIENTS]);
        let call = put("replace_recipients", path, targets);
        self.replaced(credential, call).await
    }

    pub async fn recipient(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        recipient: &RecipientId,
        include_resources: bool,
    ) -> Answer<Recipient> {
        let path = within(account, share, &[RECIPIENTS, recipient.as_str()]);
        let call = get("recipient", path, errors(include_resources).query());
        self.one(credential, call, recipient.as_str()).await
    }

    pub async fn remove_recipient(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        recipient: &RecipientId,
    ) -> Answer<Option<Recipient>> {
        let path = within(account, share, &[RECIPIENTS, recipient.as_str()]);
        let call = delete("remove_recipient", path);
        self.removed(credential, call, recipient.as_str()).await
    }
}

/// A recipient's `resources` are its errors.
fn errors(included: bool) -> Include {
    Include { resources: included, recipient_counts: false }
}
