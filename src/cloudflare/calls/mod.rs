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

impl Client {
    async fn one<T: Object + DeserializeOwned>(&self, credential: &Credential, call: Call<'_>, id: &str) -> Answer<T> {
        self.send(credential, call, |head, body| envelope::one(head, body, |object: &T| same(object.id(), id))).await
    }

    async fn removed<T: DeserializeOwned>(
        &self,
        credential: &Credential,
        call: Call<'_>,
        id: &str,
    ) -> Answer<Option<T>> {
        self.send(credential, call, |head, body| {
            let fits = |object: &Value| object["id"].as_str().is_some_and(|found| same(found, id));
            let object = envelope::maybe(head, body, fits)?;
            // One that says no more than its id was taken on as well.
            Ok(object.and_then(|object| serde_json::from_value(object).ok()))
        })
        .await
    }

    async fn added<T: DeserializeOwned>(
        &self,
        credential: &Credential,
        call: Call<'_>,
        fits: impl Fn(&T) -> bool,
    ) -> Answer<T> {
        self.send(credential, call, |head, body| envelope::one(head, body, &fits)).await
    }

    async fn page<T: DeserializeOwned>(&self, credential: &Credential, call: Call<'_>, number: u32) -> Answer<Page<T>> {
        self.send(credential, call, |head, body| envelope::page(head, body, number)).await
    }

    async fn replaced(&self, credential: &Credential, call: Call<'_>) -> Answer<()> {
        self.send(credential, call, envelope::nothing).await
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

fn shares(account: &AccountId) -> Vec<&str> {
    vec!["accounts", account.as_str(), "shares"]
}

/// A path below one share.
fn within<'a>(account: &'a AccountId, share: &'a ShareId, rest: &[&'a str]) -> Vec<&'a str> {
    let mut path = shares(account);
    path.push(share.as_str());
    path.extend(rest);
    path
}
