//! Which calls concern the recipients of a share.

use super::{Answer, Api, delete, get, post, put};
use crate::cloudflare::request::{FULL_PAGE, paging};
use crate::cloudflare::{Page, Recipient, Target, envelope};
use crate::core::id::{RecipientId, ShareId, same};

const RECIPIENTS: &str = "recipients";

impl Api<'_> {
    /// Every row that ever was, disassociated ones included, with its errors.
    pub async fn list_recipients(self, share: &ShareId, page: u32) -> Answer<Page<Recipient>> {
        let mut query = paging(page, FULL_PAGE);
        // A recipient's `resources` are its errors.
        query.push(("include_resources", "true".into()));
        self.page(get("list_recipients", self.within(share, &[RECIPIENTS]), query), page).await
    }

    pub async fn add_recipient(self, share: &ShareId, target: &Target) -> Answer<Recipient> {
        let call = post("add_recipient", self.within(share, &[RECIPIENTS]), target);
        self.added(call, |row: &Recipient| match target {
            Target::Account(wanted) => same(row.account_id.as_str(), wanted.as_str()),
            Target::Organization(_) => true,
        })
        .await
    }

    /// Replaces the whole list: an account that is not named is disassociated, no matter who added them.
    pub async fn replace_recipients(self, share: &ShareId, targets: &[Target]) -> Answer<()> {
        let call = put("replace_recipients", self.within(share, &[RECIPIENTS]), targets);
        self.client.send(self.credential, call, envelope::nothing).await
    }

    pub async fn remove_recipient(self, share: &ShareId, recipient: &RecipientId) -> Answer<Option<Recipient>> {
        let call = delete("remove_recipient", self.within(share, &[RECIPIENTS, recipient.as_str()]));
        self.changed(call, recipient.as_str()).await
    }
}
