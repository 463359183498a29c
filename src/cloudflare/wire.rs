//! What Cloudflare says about shares, their recipients and their resources.
//!
//! Fields come and go: an object decodes as long as it says what it is. Only a missing or empty id of the object itself, or of
//! what it is about, is an error, and a share without a name or a resource without a type. Such a row makes the whole list
//! unusable: without it, the list would say of something that it is not there.

use std::str::FromStr;

use k8s_openapi::jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::Error;
use super::words::{AssociationStatus, Kind, ResourceStatus, ShareStatus, TargetType};
use crate::core::id::{AccountId, OrganizationId, RecipientId, ShareId, ShareResourceId, SourceId};
use crate::core::interned::Interned;
use crate::core::json;
use crate::core::meta::ResourceMeta;

/// A share, sent or received.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Share {
    pub id: ShareId,
    /// The account that sends.
    pub account_id: AccountId,
    #[serde(default, deserialize_with = "or_default")]
    pub account_name: Interned,
    #[serde(default, deserialize_with = "or_default")]
    pub organization_id: Option<OrganizationId>,
    /// By its name a share is found whose create got no response, and one of the same name is not made: without it, a list
    /// proves nothing.
    pub name: String,
    #[serde(default)]
    pub status: ShareStatus,
    #[serde(default)]
    pub target_type: TargetType,
    #[serde(default, deserialize_with = "moment")]
    pub created: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    pub modified: Option<Timestamp>,
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Only when asked for.
    #[serde(default)]
    pub resources: Option<Vec<ShareResource>>,
    /// Present only if requested, and if it has the number of associated recipients; other counts that are missing are zero.
    #[serde(flatten)]
    pub counts: Option<Counts>,
}

impl Share {
    /// Neither deleted nor on its way there.
    pub fn is_live(&self) -> bool {
        matches!(self.status, ShareStatus::Active | ShareStatus::Other(_))
    }

    /// Whether the account owns the share, and does not only receive it.
    pub fn is_sent_by(&self, account: &AccountId) -> bool {
        self.kind != Some(Kind::Received) && self.account_id == *account
    }
}

/// How many recipients of a share are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    #[serde(default, rename = "associating_recipient_count", deserialize_with = "count")]
    pub associating: u64,
    #[serde(rename = "associated_recipient_count", deserialize_with = "count")]
    pub associated: u64,
    #[serde(default, rename = "disassociating_recipient_count", deserialize_with = "count")]
    pub disassociating: u64,
    #[serde(default, rename = "disassociated_recipient_count", deserialize_with = "count")]
    pub disassociated: u64,
}

impl Counts {
    /// What is wrong with a list of the share's recipients that lacks live rows; `None`: nothing. Where only counts of rows
    /// that ended are old, the list is as long as they say, since such rows stay in it.
    pub fn contradict(&self, share: &ShareId, listed: &[Recipient]) -> Option<Error> {
        let counted = self.associating + self.associated;
        if listed.len() as u64 >= counted + self.disassociating + self.disassociated {
            return None;
        }
        let shown = listed.iter().filter(|row| !row.association_status.is_ended()).count() as u64;
        (shown < counted).then(|| {
            let cause = format!(
                "the list of recipients of share {share} shows {shown} that receive it, but Cloudflare counts {counted}"
            );
            Error::Lost { cause }
        })
    }
}

/// One account's row in a share. It stays for ever, as disassociated in the end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Recipient {
    pub id: RecipientId,
    /// The account that receives.
    pub account_id: AccountId,
    #[serde(default)]
    pub association_status: AssociationStatus,
    #[serde(default, deserialize_with = "moment")]
    pub created: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    pub modified: Option<Timestamp>,
    /// Cloudflare calls this list `resources`; it holds what went wrong, resource by resource. Empty as well
    /// when it was not asked for.
    #[serde(default, rename = "resources", deserialize_with = "null_is_empty")]
    pub errors: Vec<RecipientError>,
}

impl Recipient {
    /// Whether Cloudflare has given up.
    pub fn has_failed(&self) -> bool {
        self.errors.iter().any(|error| error.terminal)
    }
}

/// Why a resource did not arrive at a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecipientError {
    #[serde(default, deserialize_with = "or_default")]
    pub resource_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub error: String,
    /// Cloudflare will not try again.
    #[serde(default, deserialize_with = "or_default")]
    pub terminal: bool,
}

/// One resource's row in a share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ShareResource {
    pub id: ShareResourceId,
    pub resource_account_id: AccountId,
    pub resource_id: SourceId,
    pub resource_type: Interned,
    #[serde(default, deserialize_with = "version")]
    pub resource_version: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub meta: ResourceMeta,
    #[serde(default)]
    pub status: ResourceStatus,
    #[serde(default, deserialize_with = "moment")]
    pub created: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    pub modified: Option<Timestamp>,
}

/// An account that a share with an organization leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExcludedRecipient {
    pub id: RecipientId,
    pub account_id: AccountId,
}

/// An account that a credential sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NamedAccount {
    pub id: AccountId,
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
}

impl Object for NamedAccount {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// What Cloudflare says of a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenState {
    /// `active`, `disabled`, `expired`.
    pub status: String,
    /// `None`: never.
    #[serde(default, deserialize_with = "moment")]
    pub expires_on: Option<Timestamp>,
}

/// What has an id of its own.
pub trait Object {
    fn id(&self) -> &str;
}

impl Object for Share {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Object for Recipient {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Object for ShareResource {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Object for ExcludedRecipient {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// A number, or a string that holds one.
pub(super) fn number<T: DeserializeOwned + FromStr>(value: &Value) -> Option<T> {
    T::deserialize(value).ok().or_else(|| value.as_str()?.parse().ok())
}

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    number(&json::shallow(from)?).ok_or_else(|| D::Error::custom("no number"))
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(number(&json::shallow(from)?))
}

/// A value of another shape than promised counts as absent.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(serde_json::from_value(json::shallow(from)?).unwrap_or_default())
}

/// An error entry that cannot be read must not look like none: only null counts as absent.
fn null_is_empty<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let value = json::shallow(from)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn share() -> Value {
        json!({
            "id": "3fd85f74b32742f1bff64a85009dda07",
            "account_id": "023e105f4ecef8ad9ca31a8372d0c353",
            "account_name": "Security",
            "organization_id": "b5ba8a3a2dcf4a5a9b1bb2a9e9a2b3c4",
            "name": "waf",
            "status": "active",
            "target_type": "account",
            "kind": "sent",
            "created": "2026-11-24T10:04:38.123456Z",
            "modified": "2026-11-24T10:04:38.123457Z",
        })
    }

    #[test]
    fn a_share_decodes_as_documented() {
        let share: Share = from_value(share()).unwrap();
        assert_eq!(share.status, ShareStatus::Active);
        assert_eq!(share.kind, Some(Kind::Sent));
        assert!(share.created < share.modified);
        assert_eq!((share.resources, share.counts), (None, None));
    }

    #[test]
    fn meta_of_any_depth_decodes() {
        let meta = format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500));
        let id = "3fd85f74b32742f1bff64a85009dda07";
        let row = format!(
            r#"{{"id": "{id}", "resource_account_id": "{id}", "resource_id": "{id}", "resource_type": "a", "meta": {meta}}}"#
        );
        let row: ShareResource = serde_json::from_str(&row).expect("a resource");
        assert!(!row.meta.0.is_empty());
    }

    #[test]
    fn a_share_is_live_until_it_is_being_deleted_and_sent_by_its_owner_only() {
        let mut share: Share = from_value(share()).unwrap();
        let (owner, receiver) =
            (share.account_id.clone(), AccountId::parse("372e67954025e0ba6aaa6d586b9e0b59").unwrap());
        for (status, live) in [("active", true), ("archived", true), ("deleting", false), ("deleted", false)] {
            share.status = status.into();
            assert_eq!(share.is_live(), live, "{status}");
        }
        for (kind, sent) in [(Some(Kind::Sent), true), (None, true), (Some(Kind::Received), false)] {
            share.kind = kind;
            assert_eq!((share.is_sent_by(&owner), share.is_sent_by(&receiver)), (sent, false));
        }
    }

    #[test]
    fn without_the_associated_ones_nothing_is_counted_and_beside_them_what_is_missing_is_zero() {
        let mut value = share();
        value["associating_recipient_count"] = json!(1);
        value["disassociating_recipient_count"] = json!(3);
        value["disassociated_recipient_count"] = json!(4);
        assert_eq!(from_value::<Share>(value.clone()).unwrap().counts, None);
        value["associated_recipient_count"] = json!(2);
        let expected = Counts { associating: 1, associated: 2, disassociating: 3, disassociated: 4 };
        assert_eq!(from_value::<Share>(value.clone()).unwrap().counts, Some(expected));
        for field in ["associating", "disassociating", "disassociated"] {
            value.as_object_mut().unwrap().remove(&format!("{field}_recipient_count"));
        }
        let expected = Counts { associated: 2, ..Counts::default() };
        assert_eq!(from_value::<Share>(value).unwrap().counts, Some(expected));
    }

    #[test]
    fn a_number_may_come_as_a_string() {
        let mut value = share();
        for (field, count) in
            [("associating", "1"), ("associated", "2"), ("disassociating", "3"), ("disassociated", "4")]
        {
            value[format!("{field}_recipient_count")] = json!(count);
        }
        let expected = Counts { associating: 1, associated: 2, disassociating: 3, disassociated: 4 };
        assert_eq!(from_value::<Share>(value.clone()).unwrap().counts, Some(expected));
        for odd in [json!("many"), json!("-1"), json!(-1), json!(1.5), json!(null), json!([1])] {
            value["associated_recipient_count"] = odd.clone();
            assert_eq!(from_value::<Share>(value.clone()).unwrap().counts, None, "{odd}");
        }
        let version = |version: Value| {
            let row = json!({"id": "x", "resource_account_id": "a", "resource_id": "y", "resource_type": "t",
                "resource_version": version});
            from_value::<ShareResource>(row).unwrap().resource_version
        };
        assert_eq!((version(json!(7)), version(json!("7"))), (Some(7), Some(7)));
        assert_eq!((version(json!("new")), version(json!(null))), (None, None));
    }

    #[test]
    fn what_is_missing_null_new_or_odd_does_not_stop_a_share() {
        let bare: Share = from_value(json!({"id": "s", "account_id": "a", "name": "waf"})).unwrap();
        assert_eq!(bare.status, ShareStatus::default());
        let odd: Share = from_value(json!({
            "id": "s", "account_id": "a", "account_name": null, "organization_id": "../..", "name": "",
            "status": "archived", "target_type": {"new": true}, "created": "yesterday", "modified": 5,
            "kind": null, "resources": null, "associated_recipient_count": "many", "brand_new": [1, {"x": null}],
        }))
        .unwrap();
        assert_eq!(odd.status.as_str(), "archived");
        assert_eq!((odd.organization_id, odd.created, odd.modified, odd.kind), (None, None, None, None));
    }

    #[test]
    fn an_object_without_a_usable_id_is_an_error() {
        for id in [json!(null), json!(""), json!("a\nb"), json!(7)] {
            let mut value = share();
            value["id"] = id.clone();
            assert!(from_value::<Share>(value).is_err(), "{id}");
        }
        assert!(from_value::<Recipient>(json!({"id": "r"})).is_err());
        assert!(from_value::<ShareResource>(json!({"id": "x", "resource_id": "y"})).is_err());
    }

    #[test]
    fn an_id_has_any_form() {
        for id in ["../x", "a/b", " ", "{}", "a|b?c#d%2e", &"x".repeat(200)] {
            let row = json!({"id": id, "resource_account_id": id, "resource_id": id, "resource_type": "t"});
            let row: ShareResource = from_value(row).unwrap();
            assert_eq!((row.id.as_str(), row.resource_account_id.as_str(), row.resource_id.as_str()), (id, id, id));
            let recipient: Recipient = from_value(json!({"id": id, "account_id": id})).unwrap();
            assert_eq!((recipient.id.as_str(), recipient.account_id.as_str()), (id, id));
            let mut value = share();
            value["id"] = json!(id);
            assert_eq!(from_value::<Share>(value).unwrap().id.as_str(), id);
        }
        let nameless = json!({"id": "x", "resource_account_id": "a", "resource_id": "", "resource_type": "t"});
        assert!(from_value::<ShareResource>(nameless).is_ok());
    }

    #[test]
    fn an_object_without_what_it_is_recognized_by_is_an_error() {
        let row = json!({"id": "x", "resource_account_id": "a", "resource_id": "y", "resource_type": "custom-ruleset"});
        assert!(from_value::<ShareResource>(row.clone()).is_ok());
        for unnamed in [json!(null), json!(3)] {
            let (mut share, mut row) = (share(), row.clone());
            (share["name"], row["resource_type"]) = (unnamed.clone(), unnamed);
            assert!(from_value::<Share>(share).is_err() && from_value::<ShareResource>(row).is_err());
        }
        let (mut share, mut row) = (share(), row);
        share.as_object_mut().unwrap().remove("name");
        row.as_object_mut().unwrap().remove("resource_type");
        assert!(from_value::<Share>(share).is_err() && from_value::<ShareResource>(row).is_err());
    }

    #[test]
    fn a_recipient_tells_its_errors() {
        let recipient: Recipient = from_value(json!({
            "id": "r", "account_id": "a", "association_status": "associating",
            "resources": [{"resource_id": "x", "resource_version": 2, "terminal": true,
                "error": "Recipient is missing necessary entitlement"}, {}],
        }))
        .unwrap();
        assert!(recipient.errors[0].terminal);
        assert_eq!(recipient.errors[1].error, "");
        for none in [json!(null), json!([])] {
            let recipient: Recipient = from_value(json!({"id": "r", "account_id": "a", "resources": none})).unwrap();
            assert!(recipient.errors.is_empty());
        }
        assert!(from_value::<Recipient>(json!({"id": "r", "account_id": "a", "resources": "x"})).is_err());
    }

    #[test]
    fn a_resource_keeps_its_uuid_and_meta() {
        let resource: ShareResource = from_value(json!({
            "id": "x", "resource_account_id": "a", "resource_id": "b6a1c4de-0b8c-4a8e-9d53-0b1c2d3e4f50",
            "resource_type": "brand-new", "resource_version": 7, "meta": {"b": null, "a": [1]}, "status": "active",
        }))
        .unwrap();
        assert_eq!(resource.resource_id.as_str().len(), 36);
        assert_eq!(json!(resource.meta), json!({"b": null, "a": [1]}));
        let bare =
            json!({"id": "x", "resource_account_id": "a", "resource_id": "y", "resource_type": "t", "meta": null});
        let bare: ShareResource = from_value(bare).unwrap();
        assert_eq!(bare.meta, ResourceMeta::default());
    }
}
