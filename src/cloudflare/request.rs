//! What can be asked of Cloudflare.

use serde::Serialize;

use super::words::{Kind, ResourceStatus, ShareStatus, TargetType};
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

/// What a share is read with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Include {
    pub resources: bool,
    pub recipient_counts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Name,
    Created,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Which shares to list. A list of an organization knows no `include`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareQuery {
    pub kind: Option<Kind>,
    pub status: Option<ShareStatus>,
    pub target_type: Option<TargetType>,
    pub order: Option<Order>,
    pub direction: Option<Direction>,
    /// Only shares that carry a resource of one of these types.
    pub resource_types: Vec<String>,
    /// Only shares with all of these tags, each `key` or `key=value`. An organization's list knows none.
    pub tags: Vec<String>,
    pub include: Include,
    pub page: u32,
    pub per_page: u32,
}

/// Which resources of a share to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceQuery {
    pub status: Option<ResourceStatus>,
    pub kind: Option<String>,
    pub page: u32,
    pub per_page: u32,
}

/// As many rows as Cloudflare puts on one page.
const FULL_PAGE: u32 = 100;

impl Default for ShareQuery {
    fn default() -> Self {
        ShareQuery {
            kind: None,
            status: None,
            target_type: None,
            order: None,
            direction: None,
            resource_types: Vec::new(),
            tags: Vec::new(),
            include: Include::default(),
            page: 1,
            per_page: FULL_PAGE,
        }
    }
}

impl Default for ResourceQuery {
    fn default() -> Self {
        ResourceQuery { status: None, kind: None, page: 1, per_page: FULL_PAGE }
    }
}

pub(super) type Query = Vec<(&'static str, String)>;

/// In place of a page: the whole list in one answer.
pub const WHOLE: u32 = 0;

/// Both or neither: with neither Cloudflare sends the whole list, with one it fills in the other.
pub(super) fn paging(page: u32, per_page: u32) -> Query {
    if page == WHOLE {
        return Query::new();
    }
    vec![("page", page.to_string()), ("per_page", per_page.to_string())]
}

impl Include {
    pub(super) fn query(self) -> Query {
        let mut query = Query::new();
        if self.resources {
            query.push(("include_resources", "true".into()));
        }
        if self.recipient_counts {
            query.push(("include_recipient_counts", "true".into()));
        }
        query
    }
}

impl ShareQuery {
    pub(super) fn query(&self) -> Query {
        let mut query = paging(self.page, self.per_page);
        let words = [
            ("kind", self.kind.as_ref().map(Kind::as_str)),
            ("status", self.status.as_ref().map(ShareStatus::as_str)),
            ("target_type", self.target_type.as_ref().map(TargetType::as_str)),
            ("order", self.order.map(Order::as_str)),
            ("direction", self.direction.map(Direction::as_str)),
        ];
        query.extend(words.into_iter().filter_map(|(key, word)| Some((key, word?.to_owned()))));
        query.extend(self.resource_types.iter().map(|kind| ("resource_types", kind.clone())));
        query.extend(self.tags.iter().map(|tag| ("tag", tag.clone())));
        query
    }
}

impl ResourceQuery {
    pub(super) fn query(&self) -> Query {
        let mut query = paging(self.page, self.per_page);
        query.extend(self.status.as_ref().map(|status| ("status", status.as_str().to_owned())));
        query.extend(self.kind.clone().map(|kind| ("resource_type", kind)));
        query
    }
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Order::Name => "name",
            Order::Created => "created",
        }
    }
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::Ascending => "asc",
            Direction::Descending => "desc",
        }
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
        for query in [ShareQuery::default().query(), ResourceQuery::default().query()] {
            assert_eq!(query, [("page", "1".to_owned()), ("per_page", "100".to_owned())]);
        }
    }
}
