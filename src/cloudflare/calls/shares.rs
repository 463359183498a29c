//! Which calls concern shares.

use serde_json::json;

use super::{Answer, delete, get, post, put, shares, within};
use crate::cloudflare::{Client, Credential, Include, NewShare, Page, Share, ShareQuery};
use crate::core::id::{AccountId, OrganizationId, ShareId, same};

impl Client {
    pub async fn list_shares(
        &self,
        credential: &Credential,
        account: &AccountId,
        query: &ShareQuery,
    ) -> Answer<Page<Share>> {
        let mut asked = query.query();
        asked.extend(query.include.query());
        let call = get("list_shares", shares(account), asked);
        self.page(credential, call, query.page).await
    }

    /// What is shared within an organization. `query.include` does not apply here.
    pub async fn list_organization_shares(
        &self,
        credential: &Credential,
        organization: &OrganizationId,
        query: &ShareQuery,
    ) -> Answer<Page<Share>> {
        let path = vec!["organizations", organization.as_str(), "shares"];
        let call = get("list_organization_shares", path, query.query());
        self.page(credential, call, query.page).await
    }

    /// Cannot be repeated: Cloudflare knows no idempotency key, and names need not be unique.
    pub async fn create_share(&self, credential: &Credential, account: &AccountId, share: &NewShare) -> Answer<Share> {
        let call = post("create_share", shares(account), share);
        self.added(credential, call, |made: &Share| same(made.account_id.as_str(), account.as_str())).await
    }

    pub async fn share(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        include: Include,
    ) -> Answer<Share> {
        let call = get("share", within(account, share, &[]), include.query());
        self.one(credential, call, share.as_str()).await
    }

    pub async fn rename_share(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        name: &str,
    ) -> Answer<Share> {
        let body = json!({ "name": name });
        let call = put("rename_share", within(account, share, &[]), body);
        self.one(credential, call, share.as_str()).await
    }

    pub async fn delete_share(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
    ) -> Answer<Option<Share>> {
        let call = delete("delete_share", within(account, share, &[]));
        self.removed(credential, call, share.as_str()).await
    }
}
