//! Which calls concern the accounts that a share with an organization leaves out.

use serde_json::{Value, json};

use super::{Answer, delete, get, post, put, within};
use crate::cloudflare::request::{Query, paging};
use crate::cloudflare::{Client, Credential, ExcludedRecipient, Page};
use crate::core::id::{AccountId, RecipientId, ShareId, same};

const EXCLUDED: &str = "excluded-recipients";

impl Client {
    pub async fn list_excluded(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        page: u32,
        per_page: u32,
    ) -> Answer<Page<ExcludedRecipient>> {
        let path = within(account, share, &[EXCLUDED]);
        let call = get("list_excluded", path, paging(page, per_page));
        self.page(credential, call, page).await
    }

    pub async fn add_excluded(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        excluded: &AccountId,
    ) -> Answer<ExcludedRecipient> {
        let path = within(account, share, &[EXCLUDED]);
        let call = post("add_excluded", path, body(excluded));
        self.added(credential, call, |row: &ExcludedRecipient| same(row.account_id.as_str(), excluded.as_str())).await
    }

    /// Replaces the whole list: an account that is not named receives the share again.
    pub async fn replace_excluded(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        excluded: &[AccountId],
    ) -> Answer<()> {
        let path = within(account, share, &[EXCLUDED]);
        let list: Vec<Value> = excluded.iter().map(body).collect();
        let call = put("replace_excluded", path, list);
        self.replaced(credential, call).await
    }

    pub async fn excluded(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        row: &RecipientId,
    ) -> Answer<ExcludedRecipient> {
        let path = within(account, share, &[EXCLUDED, row.as_str()]);
        let call = get("excluded", path, Query::new());
        self.one(credential, call, row.as_str()).await
    }

    pub async fn remove_excluded(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        row: &RecipientId,
    ) -> Answer<Option<ExcludedRecipient>> {
        let path = within(account, share, &[EXCLUDED, row.as_str()]);
        let call = delete("remove_excluded", path);
        self.removed(credential, call, row.as_str()).await
    }
}

fn body(account: &AccountId) -> Value {
    json!({ "account_id": account })
}
