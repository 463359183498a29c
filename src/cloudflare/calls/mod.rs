//! How the calls are put together.
//!
//! A change is asynchronous at Cloudflare: success means that it was taken on. A removal answers with the object
//! and its new status, with its id alone, or with nothing.

mod excluded;
mod identity;
mod recipients;
mod resources;
mod shares;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::Call;
use super::request::Query;
use super::wire::Object;
use super::{Client, Credential, Error, Page, Reply, envelope};
use crate::core::id::{AccountId, ShareId, same};

type Answer<T> = Result<Reply<T>, Error>;

/// The calls in one account, made with one credential.
#[derive(Clone, Copy)]
pub struct Api<'a> {
    client: &'a Client,
    credential: &'a Credential,
    account: &'a AccountId,
}

impl Client {
    pub fn api<'a>(&'a self, credential: &'a Credential, account: &'a AccountId) -> Api<'a> {
        Api { client: self, credential, account }
    }
}

impl<'a> Api<'a> {
    async fn one<T: Object + DeserializeOwned>(self, call: Call<'_>, id: &str) -> Answer<T> {
        self.added(call, |object: &T| same(object.id(), id)).await
    }

    async fn changed<T: DeserializeOwned>(self, call: Call<'_>, id: &str) -> Answer<Option<T>> {
        let changed = self.client.send(self.credential, call, |head, body| {
            let fits = |object: &Value| object["id"].as_str().is_some_and(|found| same(found, id));
            let object = envelope::maybe(head, body, fits)?;
            // One that says no more than its id was taken on as well.
            Ok(object.and_then(|object| serde_json::from_value(object).ok()))
        });
        changed.await
    }

    async fn added<T: DeserializeOwned>(self, call: Call<'_>, fits: impl Fn(&T) -> bool) -> Answer<T> {
        self.client.send(self.credential, call, |head, body| envelope::one(head, body, &fits)).await
    }

    async fn page<T: DeserializeOwned>(self, call: Call<'_>, number: u32) -> Answer<Page<T>> {
        self.client.send(self.credential, call, |head, body| envelope::page(head, body, number)).await
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
    Call { name, method: Method::GET, path, query, body: None }
}

fn post<'a>(name: &'static str, path: Vec<&'a str>, body: impl Serialize) -> Call<'a> {
    Call { name, method: Method::POST, path, query: Query::new(), body: Some(json!(body)) }
}

fn put<'a>(name: &'static str, path: Vec<&'a str>, body: impl Serialize) -> Call<'a> {
    Call { method: Method::PUT, ..post(name, path, body) }
}

fn delete<'a>(name: &'static str, path: Vec<&'a str>) -> Call<'a> {
    Call { method: Method::DELETE, ..get(name, path, Query::new()) }
}
