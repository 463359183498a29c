//! Shares, and what Cloudflare has of them, for tests without a cluster.

use serde_json::{Value, json};

use super::desired::Desired;
use crate::api::status::ShareStatus;
use crate::api::{Share, ShareRecipient};
use crate::cloudflare;
use crate::core::time::At;
use crate::operator::cluster::index::Index;

pub const OWNER: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub const ALPHA: &str = "372e67954025e0ba6aaa6d586b9e0b59";
pub const RULESET: &str = "2f2feab2026849078ba485f918791bdc";
/// Of every object here.
pub const UID: &str = "3d0a6a4e-0000-4000-8000-000000000001";

fn object(kind: &str, name: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "cfshare.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name, "namespace": "a", "uid": UID, "generation": 1, "creationTimestamp": "1970-01-01T00:00:01Z",
        },
        "spec": spec,
        "status": status,
    })
}

/// Share a/waf with one recipient and one resource; `spec` and `status` replace or add fields.
pub fn share(spec: Value, status: Value) -> Share {
    let mut all = json!({
        "accountID": OWNER,
        "recipients": [{"accountID": ALPHA}],
        "resources": [{"type": "custom-ruleset", "id": RULESET}],
    });
    let fields = |value: Value| value.as_object().cloned().unwrap_or_default();
    all.as_object_mut().expect("an object").extend(fields(spec));
    let mut recorded = json!({"boundUID": UID});
    recorded.as_object_mut().expect("an object").extend(fields(status));
    serde_json::from_value(object("Share", "waf", all, recorded)).expect("a Share")
}

/// ShareRecipient a/alpha of Share a/waf.
pub fn recipient(status: Value) -> ShareRecipient {
    let spec = json!({"shareRef": {"name": "waf"}, "accountID": ALPHA});
    serde_json::from_value(object("ShareRecipient", "alpha", spec, status)).expect("a ShareRecipient")
}

/// The index of these objects, which came long ago.
pub fn index(shares: Vec<Share>, recipients: Vec<ShareRecipient>) -> Index {
    Index::of(&shares, &recipients, &[], At(0))
}

pub fn desired(share: &Share, index: &Index) -> Desired {
    super::desired::desired(share, index).expect("a manifest that can be carried out")
}

pub fn status(share: &Share) -> ShareStatus {
    share.status.clone().unwrap_or_default()
}

/// The share at Cloudflare as a list shows it, with its resource and one associated recipient; `fields` replace or add.
pub fn remote(id: &str, fields: Value) -> cloudflare::Share {
    let mut all = json!({
        "id": id, "account_id": OWNER, "account_name": "Security", "name": "waf", "status": "active",
        "target_type": "account", "kind": "sent", "created": "2026-01-01T00:00:00Z",
        "resources": [{
            "id": "row1", "resource_account_id": OWNER, "resource_id": RULESET, "resource_type": "custom-ruleset",
            "resource_version": 1, "meta": {}, "status": "active",
        }],
        "associating_recipient_count": 0, "associated_recipient_count": 1,
        "disassociating_recipient_count": 0, "disassociated_recipient_count": 0,
    });
    all.as_object_mut().expect("an object").extend(fields.as_object().cloned().unwrap_or_default());
    serde_json::from_value(all).expect("a share as Cloudflare writes it")
}
