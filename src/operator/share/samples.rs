//! Shares, and what Cloudflare has of them, for tests without a cluster.

use std::time::Duration;

use serde_json::{Value, json};

use super::desired::Desired;
use super::facts::{Snapshot, Timing, Viewer};
use crate::api::status::ShareStatus;
use crate::api::{Share, ShareRecipient};
use crate::cloudflare::{self, Fingerprint};
use crate::core::id::ShareId;
use crate::core::share_step::{Facts, Mode, Step, step};
use crate::core::time::At;
use crate::operator::cluster::index::Index;
use crate::operator::pass::memory::Memory;
use crate::operator::remote::account_cache::AccountCache;

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

pub const NOW: At = At(10_000_000);
pub const ID: &str = "5a5e0000000000000000000000000001";

/// A Share in a cluster, what was read of its account, and what the process remembers.
pub struct World {
    pub share: Share,
    pub recipients: Vec<ShareRecipient>,
    pub cache: AccountCache,
    pub memory: Memory,
    pub mode: Mode,
    pub viewer: Viewer,
    /// How far Cloudflare's clock is ahead, in milliseconds.
    pub ahead: i64,
    pub fresh_since: At,
    pub serving_since: At,
}

pub fn credential(text: &str) -> Fingerprint {
    let data = [("apiToken".to_owned(), text.as_bytes().to_vec())].into();
    cloudflare::Credential::from_secret(&data).expect("a credential").fingerprint()
}

/// A Share that is recorded like that, in an account that was listed a moment ago and has these shares.
pub fn world(status: Value, remote: Vec<cloudflare::Share>) -> World {
    let mut cache = AccountCache::default();
    for share in remote {
        cache.read(share, NOW, Duration::ZERO);
    }
    cache.swept(NOW);
    World {
        share: share(json!({}), status),
        recipients: Vec::new(),
        cache,
        memory: Memory::default(),
        mode: Mode::Manage,
        viewer: Viewer { credential: Some(credential("one")), confirmed_gone: false, children_claim: true },
        ahead: 0,
        fresh_since: NOW,
        serving_since: NOW,
    }
}

impl World {
    pub fn facts(self) -> Facts {
        let index = index(vec![self.share.clone()], self.recipients);
        let desired = desired(&self.share, &index);
        let timing = Timing {
            now: NOW,
            fresh_since: self.fresh_since,
            serving_since: self.serving_since,
            ahead: self.ahead,
            settle_time: Duration::from_secs(240),
            read_lag: Duration::from_secs(60),
        };
        let snapshot = Snapshot {
            object: &self.share,
            desired: &desired,
            status: &status(&self.share),
            index: &index,
            cache: &self.cache,
            memory: &self.memory,
            mode: self.mode,
            viewer: self.viewer,
            timing,
        };
        snapshot.facts()
    }

    pub fn step(self) -> Step {
        step(&self.facts())
    }

    pub fn with(mut self, change: impl FnOnce(&mut World)) -> World {
        change(&mut self);
        self
    }
}

pub fn id() -> ShareId {
    ShareId::parse(ID).expect("an id")
}

pub fn bound() -> Value {
    json!({"shareID": ID, "seenWith": credential("one").to_string()})
}
