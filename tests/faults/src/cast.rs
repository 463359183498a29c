//! Who takes part in a life, and by which names are they called in every life?

use std::collections::{BTreeMap, BTreeSet};

use cfshare_simulator::{Association, Life, ShareState};
use serde_json::{Value, json};

use crate::LABEL;
use crate::kube::GROUP;

/// Name of the Share object.
pub const SHARE: &str = "waf";
pub const FINALIZER: &str = "cfshare.dev/finalizer";
/// An account that somebody else adds to our share.
pub const STRANGER: &str = "f";

/// The account or resource that a one-letter name stands for: the same in every life, so that lists have one order.
pub fn id(name: &str) -> String {
    name.repeat(32)
}

/// The name that an id has, if it has one.
pub fn name(id: &str) -> Option<&str> {
    let first = id.get(..1)?;
    (id.len() == 32 && id.chars().all(|c| first.starts_with(c))).then_some(first)
}

/// What is to be at Cloudflare: rows by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub recipients: BTreeSet<String>,
    /// With their meta.
    pub resources: BTreeMap<String, Value>,
}

impl Wanted {
    pub fn new(name: &str, recipients: &[&str], resources: &[(&str, Value)]) -> Wanted {
        Wanted {
            name: name.to_owned(),
            recipients: recipients.iter().map(|&r| r.to_owned()).collect(),
            resources: resources.iter().map(|(r, meta)| ((*r).to_owned(), meta.clone())).collect(),
        }
    }

    /// The Share object that declares this.
    pub fn manifest(&self, account: &str, annotations: Value) -> Value {
        let recipients: Vec<Value> = self.recipients.iter().map(|r| json!({"accountID": id(r)})).collect();
        let resource = |(r, meta): (&String, &Value)| json!({"type": "custom-ruleset", "id": id(r), "meta": meta});
        let resources: Vec<Value> = self.resources.iter().map(resource).collect();
        let mut share = object("Share", SHARE);
        share["metadata"]["annotations"] = annotations;
        share["spec"] =
            json!({"accountID": account, "name": self.name, "recipients": recipients, "resources": resources});
        share
    }

    /// What a Share object declares.
    pub fn of(share: &Value) -> Wanted {
        let list = |key: &str| share["spec"][key].as_array().cloned().unwrap_or_default();
        let word = |value: &Value| name(value.as_str().unwrap_or_default()).unwrap_or("?").to_owned();
        Wanted {
            name: share["spec"]["name"].as_str().unwrap_or(SHARE).to_owned(),
            recipients: list("recipients").iter().map(|r| word(&r["accountID"])).collect(),
            resources: list("resources").iter().map(|r| (word(&r["id"]), r["meta"].clone())).collect(),
        }
    }

    /// Everything that is declared here and at least that is in place, in this share.
    pub fn stands(&self, share: &ShareState) -> Result<(), String> {
        if share.name != self.name {
            return Err(format!("its name is {} instead of {}", share.name, self.name));
        }
        for r in &self.recipients {
            if !share.recipients.iter().any(|row| row.account_id == id(r) && row.status == Association::Associated) {
                return Err(format!("recipient {r} is not associated"));
            }
        }
        for (r, meta) in &self.resources {
            let there = |meta: &Value| {
                let mut rows = share.resources.iter();
                rows.any(|row| row.resource_id == id(r) && row.status == Life::Active && row.meta == *meta)
            };
            if !there(meta) {
                return Err(format!("resource {r} is not active with meta {meta}"));
            }
        }
        Ok(())
    }
}

/// Row counts by name: live rows only.
pub fn live_rows(share: &ShareState) -> (Vec<String>, Vec<String>) {
    let word = |id: &str| name(id).unwrap_or("?").to_owned();
    let mut recipients: Vec<String> = share.live_recipients().iter().map(|r| word(&r.account_id)).collect();
    let mut resources: Vec<String> = share.live_resources().iter().map(|r| word(&r.resource_id)).collect();
    recipients.sort();
    resources.sort();
    (recipients, resources)
}

pub fn recipient(name: &str) -> Value {
    let mut child = object("ShareRecipient", name);
    child["spec"] = json!({"shareRef": {"name": SHARE}, "accountID": id(name)});
    child
}

pub fn resource(name: &str, meta: &Value) -> Value {
    let mut child = object("ShareResource", name);
    child["spec"] = json!({"shareRef": {"name": SHARE}, "type": "custom-ruleset", "id": id(name), "meta": meta});
    child
}

fn object(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cfshare.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "labels": {LABEL: "true"}},
    })
}

pub fn plural(kind: &str) -> String {
    format!("{}s", kind.to_lowercase())
}

/// Where an object is at the API server.
pub fn path(namespace: &str, kind: &str, name: &str) -> String {
    format!("{GROUP}/namespaces/{namespace}/{}/{name}", plural(kind))
}

pub fn is_doomed(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub fn is_guarded(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|f| f == FINALIZER))
}

pub fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

/// Ready, and the status speaks of the present generation.
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
}
