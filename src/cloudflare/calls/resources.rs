//! Which calls concern the resources of a share.

use serde_json::json;

use super::{Answer, Api, delete, get, post, put};
use crate::cloudflare::request::{FULL_PAGE, paging};
use crate::cloudflare::{NewResource, Page, ShareResource};
use crate::core::id::{ShareId, ShareResourceId, same};
use crate::core::meta::ResourceMeta;

const RESOURCES: &str = "resources";

impl Api<'_> {
    pub async fn list_resources(self, share: &ShareId, page: u32) -> Answer<Page<ShareResource>> {
        let call = get("list_resources", self.within(share, &[RESOURCES]), paging(page, FULL_PAGE));
        self.page(call, page).await
    }

    pub async fn add_resource(self, share: &ShareId, resource: &NewResource) -> Answer<ShareResource> {
        let call = post("add_resource", self.within(share, &[RESOURCES]), resource);
        self.added(call, |row: &ShareResource| same(row.resource_id.as_str(), resource.id.as_str())).await
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
}
