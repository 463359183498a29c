//! Which calls say what a credential is, and what the accounts that it sees are called.

use super::{Answer, get};
use crate::cloudflare::request::paging;
use crate::cloudflare::{Client, Credential, NamedAccount, Page, TokenState};

impl Client {
    pub async fn list_accounts(&self, credential: &Credential, page: u32, per_page: u32) -> Answer<Page<NamedAccount>> {
        let call = get("list_accounts", vec!["accounts"], paging(page, per_page));
        self.page(credential, call, page).await
    }

    /// A token of a user; a token that an account owns is not known there.
    pub async fn verify_token(&self, credential: &Credential) -> Answer<TokenState> {
        let call = get("verify_token", vec!["user", "tokens", "verify"], Vec::new());
        self.added(credential, call, |_: &TokenState| true).await
    }

    /// A token that the account owns.
    pub async fn verify_account_token(&self, credential: &Credential, account: &str) -> Answer<TokenState> {
        let call = get("verify_account_token", vec!["accounts", account, "tokens", "verify"], Vec::new());
        self.added(credential, call, |_: &TokenState| true).await
    }
}
