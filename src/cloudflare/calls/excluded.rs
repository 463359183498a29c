//! Which calls concern the accounts that a share with an organization leaves out.

use serde_json::json;

use super::{Answer, Api, delete, get, post};
use crate::cloudflare::request::{FULL_PAGE, paging};
use crate::cloudflare::{ExcludedRecipient, Page};
use crate::core::id::{AccountId, RecipientId, ShareId, same};

const EXCLUDED: &str = "excluded-recipients";

impl Api<'_> {
    pub async fn list_excluded(self, share: &ShareId, page: u32) -> Answer<Page<ExcludedRecipient>> {
        let call = get("list_excluded", self.within(share, &[EXCLUDED]), paging(page, FULL_PAGE));
        self.page(call, page).await
    }

    pub async fn add_excluded(self, share: &ShareId, excluded: &AccountId) -> Answer<ExcludedRecipient> {
        let call = post("add_excluded", self.within(share, &[EXCLUDED]), json!({ "account_id": excluded }));
        self.added(call, |row: &ExcludedRecipient| same(row.account_id.as_str(), excluded.as_str())).await
    }

    pub async fn remove_excluded(self, share: &ShareId, row: &RecipientId) -> Answer<Option<ExcludedRecipient>> {
        let call = delete("remove_excluded", self.within(share, &[EXCLUDED, row.as_str()]));
        self.changed(call, row.as_str()).await
    }
}
