//! Which calls say what a credential is, and what the accounts that it sees are called.

use super::{Answer, Api, get};
use crate::cloudflare::request::paging;
use crate::cloudflare::{Client, Credential, NamedAccount, Page, TokenState, envelope};

impl Client {
    pub async fn list_accounts(&self, credential: &Credential, page: u32, per_page: u32) -> Answer<Page<NamedAccount>> {
        let call = get("list_accounts", vec!["accounts"], paging(page, per_page));
        self.send(credential, call, |head, body| envelope::page(head, body, page)).await
    }

    /// A token of a user; a token that an account owns is not known there.
    pub async fn verify_token(&self, credential: &Credential) -> Answer<TokenState> {
        let call = get("verify_token", vec!["user", "tokens", "verify"], Vec::new());
        self.send(credential, call, |head, body| envelope::one(head, body, |_| true)).await
    }
}

impl Api<'_> {
    /// A token that the account owns.
    pub async fn verify_account_token(self) -> Answer<TokenState> {
        let path = vec!["accounts", self.account.as_str(), "tokens", "verify"];
        self.added(get("verify_account_token", path, Vec::new()), |_| true).await
    }
}
