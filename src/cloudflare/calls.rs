//! Which calls there are, and how they are put together.
//!
//! A change is asynchronous at Cloudflare: success means that it was taken on. Any change but the create of a share may answer
//! with the object and its new status, with its id alone, or with nothing.

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::Call;
use super::request::{FULL_PAGE, INCLUDE, Query, paging};
use super::wire::Object;
use super::{
    Client, Credential, Error, ExcludedRecipient, NamedAccount, NewResource, NewShare, Page, Recipient, Reply,
    ResponseHead, Share, ShareQuery, ShareResource, Target, TokenState, envelope,
};
use crate::core::id::{AccountId, RecipientId, ShareId, ShareResourceId, same};
use crate::core::meta::ResourceMeta;

const EXCLUDED: &str = "excluded-recipients";
const RECIPIENTS: &str = "recipients";
const RESOURCES: &str = "resources";

type Answer<T> = Result<Reply<T>, Error>;

/// The calls in one account, made with one credential.
#[derive(Clone, Copy)]
pub struct Api<'a> {
    client: &'a Client,
    credential: &'a Credential,
    account: &'a AccountId,
    /// What the call changes, for the log.
    change: Option<&'a str>,
}

impl Client {
    pub fn api<'a>(&'a self, credential: &'a Credential, account: &'a AccountId) -> Api<'a> {
        Api { client: self, credential, account, change: None }
    }

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
    pub async fn list_shares(self, query: ShareQuery) -> Answer<Page<Share>> {
        self.page(get("list_shares", self.shares(), query.query()), query.page).await
    }

    /// Cannot be repeated: Cloudflare knows no idempotency key, and names need not be unique.
    pub async fn create_share(self, share: &NewShare) -> Answer<Share> {
        let call = post("create_share", self.shares(), share);
        self.added(call, |made: &Share| same(made.account_id.as_str(), self.account.as_str())).await
    }

    /// With its resources and counts.
    pub async fn share(self, share: &ShareId) -> Answer<Share> {
        let included = INCLUDE.map(|what| (what, "true".to_owned())).to_vec();
        self.one(get("share", self.within(share, &[]), included), share.as_str()).await
    }

    pub async fn rename_share(self, share: &ShareId, name: &str) -> Answer<Option<Share>> {
        let call = put("rename_share", self.within(share, &[]), json!({ "name": name }));
        self.changed(call, share.as_str()).await
    }

    pub async fn delete_share(self, share: &ShareId) -> Answer<Option<Share>> {
        self.changed(delete("delete_share", self.within(share, &[])), share.as_str()).await
    }

    /// Every row that ever was, disassociated ones included, with its errors.
    pub async fn list_recipients(self, share: &ShareId, page: u32) -> Answer<Page<Recipient>> {
        let mut query = paging(page, FULL_PAGE);
        // A recipient's `resources` are its errors.
        query.push(("include_resources", "true".into()));
        self.page(get("list_recipients", self.within(share, &[RECIPIENTS]), query), page).await
    }

    pub async fn add_recipient(self, share: &ShareId, account: &AccountId) -> Answer<Option<Recipient>> {
        let target = Target::Account(account.clone());
        let call = post("add_recipient", self.within(share, &[RECIPIENTS]), target);
        self.accepted(call, |row: &Recipient| same(row.account_id.as_str(), account.as_str())).await
    }

    /// Replaces the whole list: an account that is not named is disassociated, no matter who added them.
    pub async fn replace_recipients(self, share: &ShareId, accounts: &[AccountId]) -> Answer<()> {
        let targets: Vec<Target> = accounts.iter().cloned().map(Target::Account).collect();
        let call = put("replace_recipients", self.within(share, &[RECIPIENTS]), targets);
        self.send(call, envelope::nothing).await
    }

    pub async fn remove_recipient(self, share: &ShareId, recipient: &RecipientId) -> Answer<Option<Recipient>> {
        let call = delete("remove_recipient", self.within(share, &[RECIPIENTS, recipient.as_str()]));
        self.changed(call, recipient.as_str()).await
    }

    pub async fn list_excluded(self, share: &ShareId, page: u32) -> Answer<Page<ExcludedRecipient>> {
        let call = get("list_excluded", self.within(share, &[EXCLUDED]), paging(page, FULL_PAGE));
        self.page(call, page).await
    }

    pub async fn add_excluded(self, share: &ShareId, excluded: &AccountId) -> Answer<Option<ExcludedRecipient>> {
        let call = post("add_excluded", self.within(share, &[EXCLUDED]), json!({ "account_id": excluded }));
        self.accepted(call, |row: &ExcludedRecipient| same(row.account_id.as_str(), excluded.as_str())).await
    }

    pub async fn remove_excluded(self, share: &ShareId, row: &RecipientId) -> Answer<Option<ExcludedRecipient>> {
        let call = delete("remove_excluded", self.within(share, &[EXCLUDED, row.as_str()]));
        self.changed(call, row.as_str()).await
    }

    pub async fn list_resources(self, share: &ShareId, page: u32) -> Answer<Page<ShareResource>> {
        let call = get("list_resources", self.within(share, &[RESOURCES]), paging(page, FULL_PAGE));
        self.page(call, page).await
    }

    pub async fn add_resource(self, share: &ShareId, resource: &NewResource) -> Answer<Option<ShareResource>> {
        let call = post("add_resource", self.within(share, &[RESOURCES]), resource);
        self.accepted(call, |row: &ShareResource| same(row.resource_id.as_str(), resource.id.as_str())).await
    }

    /// Only `meta` can be changed.
    pub async fn update_resource(
        self,
        share: &ShareId,
        resource: &ShareResourceId,
        meta: &ResourceMeta,
    ) -> Answer<Option<ShareResource>> {
        let path = self.within(share, &[RESOURCES, resource.as_str()]);
        self.changed(put("update_resource", path, json!({ "meta": meta })), resource.as_str()).await
    }

    pub async fn remove_resource(self, share: &ShareId, resource: &ShareResourceId) -> Answer<Option<ShareResource>> {
        let call = delete("remove_resource", self.within(share, &[RESOURCES, resource.as_str()]));
        self.changed(call, resource.as_str()).await
    }

    /// A token that the account owns.
    pub async fn verify_account_token(self) -> Answer<TokenState> {
        let path = vec!["accounts", self.account.as_str(), "tokens", "verify"];
        self.added(get("verify_account_token", path, Vec::new()), |_| true).await
    }
}

impl<'a> Api<'a> {
    /// The log says this of the call, such as `add recipient` with the account.
    pub fn logged(self, change: &'a str) -> Api<'a> {
        Api { change: Some(change), ..self }
    }

    async fn one<T: Object + DeserializeOwned>(self, call: Call<'_>, id: &str) -> Answer<T> {
        self.added(call, |object: &T| same(object.id(), id)).await
    }

    async fn changed<T: DeserializeOwned>(self, call: Call<'_>, id: &str) -> Answer<Option<T>> {
        let changed = self.send(call, |head, body| {
            let fits = |object: &Value| object["id"].as_str().is_some_and(|found| same(found, id));
            let object = envelope::maybe(head, body, fits)?;
            // One that says no more than its id was taken on as well.
            Ok(object.and_then(|object| serde_json::from_value(object).ok()))
        });
        changed.await
    }

    /// A row that was added. `None`: it was taken on, and the answer does not say enough of it.
    async fn accepted<T: DeserializeOwned>(self, call: Call<'_>, fits: impl Fn(&T) -> bool) -> Answer<Option<T>> {
        let accepted = self.send(call, |head, body| {
            let row: Option<Value> = envelope::maybe(head, body, |_| true)?;
            match row.and_then(|row| serde_json::from_value(row).ok()) {
                Some(row) if !fits(&row) => Err(Error::garbled(head, "it is about another object")),
                row => Ok(row),
            }
        });
        accepted.await
    }

    async fn added<T: DeserializeOwned>(self, call: Call<'_>, fits: impl Fn(&T) -> bool) -> Answer<T> {
        self.send(call, |head, body| envelope::one(head, body, &fits)).await
    }

    async fn page<T: DeserializeOwned>(self, call: Call<'_>, number: u32) -> Answer<Page<T>> {
        self.send(call, |head, body| envelope::page(head, body, number)).await
    }

    async fn send<T>(self, call: Call<'_>, read: impl Fn(&ResponseHead, &[u8]) -> Result<T, Error>) -> Answer<T> {
        // A POST that was refused without a reason may have been made: it would be made once more.
        let is_repeatable = [Method::PUT, Method::DELETE].contains(&call.method);
        let read = |head: &ResponseHead, body: &[u8]| {
            read(head, body).map_err(|error| if is_repeatable { error.of_repeatable() } else { error })
        };
        self.client.send(self.credential, Call { change: self.change, ..call }, read).await
    }

    fn shares(self) -> Vec<&'a str> {
        vec!["accounts", self.account.as_str(), "shares"]
    }

    /// A path below one share.
    fn within<'b>(self, share: &'b ShareId, rest: &[&'b str]) -> Vec<&'b str>
    where
        'a: 'b,
    {
        [&self.shares(), &[share.as_str()][..], rest].concat()
    }
}

fn get<'a>(name: &'static str, path: Vec<&'a str>, query: Query) -> Call<'a> {
    Call { name, method: Method::GET, path, query, body: None, change: None }
}

fn post<'a>(name: &'static str, path: Vec<&'a str>, body: impl Serialize) -> Call<'a> {
    Call { name, method: Method::POST, path, query: Query::new(), body: Some(json!(body)), change: None }
}

fn put<'a>(name: &'static str, path: Vec<&'a str>, body: impl Serialize) -> Call<'a> {
    Call { method: Method::PUT, ..post(name, path, body) }
}

fn delete<'a>(name: &'static str, path: Vec<&'a str>) -> Call<'a> {
    Call { method: Method::DELETE, ..get(name, path, Query::new()) }
}
