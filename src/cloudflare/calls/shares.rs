//! Which calls concern shares.

use serde_json::json;

use super::{Answer, Api, delete, get, post, put};
use crate::cloudflare::request::INCLUDE;
use crate::cloudflare::{NewShare, Page, Share, ShareQuery};
use crate::core::id::{ShareId, same};

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
}
