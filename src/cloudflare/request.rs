//! What can be asked of Cloudflare.

use serde::Serialize;

use super::words::{Kind, ShareStatus};
use crate::core::id::{AccountId, OrganizationId, SourceId};
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;

/// Who is to receive. Cloudflare takes an object that names nobody for "my whole organization", so such an
/// object cannot be made of this type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Target {
    #[serde(rename = "recipient_account_id")]
    Account(AccountId),
    #[serde(rename = "organization_id")]
    Organization(OrganizationId),
}

/// A share to be created.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewShare {
    pub name: String,
    pub recipients: Vec<Target>,
    pub resources: Vec<NewResource>,
}

/// A resource to be put into a share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewResource {
    pub meta: ResourceMeta,
    #[serde(rename = "resource_account_id")]
    pub account: AccountId,
    #[serde(rename = "resource_id")]
    pub id: SourceId,
    #[serde(rename = "resource_type")]
    pub kind: Interned,
}

/// In which order of their creation shares are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// Which shares to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareQuery {
    pub kind: Option<Kind>,
    pub status: Option<ShareStatus>,
    pub order: Option<Order>,
    /// With the resources and counts of each.
    pub include: bool,
    pub page: u32,
    pub per_page: u32,
}

/// As many rows as Cloudflare puts on one page.
pub const FULL_PAGE: u32 = 100;

impl Default for ShareQuery {
    fn default() -> Self {
        ShareQuery { kind: None, status: None, order: None, include: false, page: 1, per_page: FULL_PAGE }
    }
}

pub(super) type Query = Vec<(&'static str, String)>;

/// In place of a page: the whole list in one answer.
pub const WHOLE: u32 = 0;

/// What comes with a share only when asked for.
pub(super) const INCLUDE: [&str; 2] = ["include_resources", "include_recipient_counts"];

/// Both or neither: with neither Cloudflare sends the whole list, with one it fills in the other.
pub(super) fn paging(page: u32, per_page: u32) -> Query {
    if page == WHOLE {
        return Query::new();
    }
    vec![("page", page.to_string()), ("per_page", per_page.to_string())]
}

impl ShareQuery {
    pub(super) fn query(&self) -> Query {
        let direction = |order| match order {
            Order::OldestFirst => "asc",
            Order::NewestFirst => "desc",
        };
        let words = [
            ("kind", self.kind.as_ref().map(Kind::as_str)),
            ("status", self.status.as_ref().map(ShareStatus::as_str)),
            ("order", self.order.map(|_| "created")),
            ("direction", self.order.map(direction)),
        ];
        let included = INCLUDE.map(|what| (what, self.include.then_some("true")));
        let mut query = paging(self.page, self.per_page);
        query.extend(words.into_iter().chain(included).filter_map(|(key, word)| Some((key, word?.to_owned()))));
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_exactly_one_field() {
        let account = Target::Account(AccountId::parse("a1").unwrap());
        let organization = Target::Organization(OrganizationId::parse("o1").unwrap());
        assert_eq!(json!([account, organization]), json!([{"recipient_account_id": "a1"}, {"organization_id": "o1"}]));
    }

    #[test]
    fn a_new_share_carries_the_documented_fields() {
        let share = NewShare {
            name: "waf".into(),
            recipients: vec![Target::Account(AccountId::parse("a1").unwrap())],
            resources: vec![NewResource {
                meta: ResourceMeta::default(),
                account: AccountId::parse("a0").unwrap(),
                id: SourceId::parse("b6a1c4de-0b8c-4a8e-9d53-0b1c2d3e4f50").unwrap(),
                kind: "gateway-policy".into(),
            }],
        };
        assert_eq!(
            json!(share),
            json!({
                "name": "waf",
                "recipients": [{"recipient_account_id": "a1"}],
                "resources": [{
                    "meta": {},
                    "resource_account_id": "a0",
                    "resource_id": "b6a1c4de-0b8c-4a8e-9d53-0b1c2d3e4f50",
                    "resource_type": "gateway-policy",
                }],
            })
        );
    }

    #[test]
    fn a_list_always_says_which_page_and_how_long() {
        for query in [ShareQuery::default().query(), paging(1, FULL_PAGE)] {
            assert_eq!(query, [("page", "1".to_owned()), ("per_page", "100".to_owned())]);
        }
    }
}
