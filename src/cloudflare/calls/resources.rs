//! Which calls concern the resources of a share.

use serde_json::json;

use super::{Answer, delete, get, post, put, within};
use crate::cloudflare::request::Query;
use crate::cloudflare::{Client, Credential, NewResource, Page, ResourceQuery, ShareResource};
use crate::core::id::{AccountId, ShareId, ShareResourceId, same};
use crate::core::meta::ResourceMeta;

const RESOURCES: &str = "resources";

impl Client {
    pub async fn list_resources(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        query: &ResourceQuery,
    ) -> Answer<Page<ShareResource>> {
        let path = within(account, share, &[RESOURCES]);
        let call = get("list_resources", path, query.query());
        self.page(credential, call, query.page).await
    }

    pub async fn add_resource(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        resource: &NewResource,
    ) -> Answer<ShareResource> {
        let path = within(account, share, &[RESOURCES]);
        let call = post("add_resource", path, resource);
        self.added(credential, call, |row: &ShareResource| same(row.resource_id.as_str(), resource.id.as_str())).await
    }

    pub async fn resource(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        resource: &ShareResourceId,
    ) -> Answer<ShareResource> {
        let path = within(account, share, &[RESOURCES, resource.as_str()]);
        let call = get("resource", path, Query::new());
        self.one(credential, call, resource.as_str()).await
    }

    /// Only `meta` can be changed.
    pub async fn update_resource(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        resource: &ShareResourceId,
        meta: &ResourceMeta,
    ) -> Answer<ShareResource> {
        let path = within(account, share, &[RESOURCES, resource.as_str()]);
        let call = put("update_resource", path, json!({ "meta": meta }));
        self.one(credential, call, resource.as_str()).await
    }

    pub async fn remove_resource(
        &self,
        credential: &Credential,
        account: &AccountId,
        share: &ShareId,
        resource: &ShareResourceId,
    ) -> Answer<Option<ShareResource>> {
        let path = within(account, share, &[RESOURCES, resource.as_str()]);
        let call = delete("remove_resource", path);
        self.removed(credential, call, resource.as_str()).await
    }
}
