//! Which objects take over a share as it is.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::api::Name;
use crate::cli::accounts::Accounts;
use crate::cli::remote::ReadShare;
use crate::cloudflare::{Recipient, ResourceStatus, Share, TargetType, clean};
use crate::core::id::{AccountId, ShareId, SourceId};
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;

/// More recipients or resources than a Share can list become objects of their own.
const MOST: usize = 1000;
/// Longest part of an object's name that comes from a share's name.
const LONGEST_NAME: usize = 63;
/// Longest name that a manifest may give a share.
const LONGEST_SHARE_NAME: usize = 100;

/// Makes manifests, each with a name of its own.
pub struct Writer {
    /// `None`: the manifests name no namespace.
    pub namespace: Option<String>,
    /// Recipients and resources become objects of their own, however few.
    pub objects: bool,
    /// Names of accounts, for labels.
    pub labels: Accounts,
    /// Names that objects get instead of those of their shares, by the share's id.
    pub names: BTreeMap<ShareId, String>,
    /// Shares of the cluster that manage a share already, without its id in their manifests.
    pub managed: BTreeMap<ShareId, Name>,
    taken: HashSet<String>,
}

impl Writer {
    pub fn new(namespace: Option<String>, objects: bool) -> Writer {
        let (labels, names, managed) = (Accounts::new(), BTreeMap::new(), BTreeMap::new());
        Writer { namespace, objects, labels, names, managed, taken: HashSet::new() }
    }

    /// An account with its label, as an entry of a list or the start of a spec.
    fn account(&self, id: &AccountId) -> Value {
        match self.labels.get(id).filter(|label| is_nameable(label)) {
            Some(label) => json!({ "accountID": id, "name": label }),
            None => json!({ "accountID": id }),
        }
    }

    /// The Share, and the objects that go with it.
    pub fn manifests(&mut self, found: &ReadShare) -> Vec<Value> {
        let share = &found.share;
        let own = share.account_id.as_str();
        let wanted = self.names.get(&share.id).unwrap_or(&share.name);
        let object = self.name(&slug(wanted), share.id.as_str());
        // Else the share goes with the object where the manifest is applied over a Share that created it.
        let mut spec = json!({ "accountID": own, "shareID": share.id, "deletionPolicy": "Retain" });
        if is_nameable(&share.name) {
            spec["name"] = json!(share.name);
        }
        let mut children = Vec::new();
        if share.target_type == TargetType::Organization {
            let id = share.organization_id.as_ref().map(ToString::to_string).unwrap_or_default();
            let excluded: Vec<Value> = found.excluded.iter().map(|row| self.account(&row.account_id)).collect();
            spec["organization"] =
                if excluded.is_empty() { json!({ "id": id }) } else { json!({ "id": id, "excluded": excluded }) };
        } else {
            let recipients = receiving(&found.recipients);
            let apart = self.objects || recipients.len() > MOST;
            let (inline, objects) = if apart { (Vec::new(), recipients) } else { (recipients, Vec::new()) };
            spec["recipients"] = inline.iter().map(|account| self.account(account)).collect();
            for account in objects {
                let name = self.name(&format!("{object}-{}", slug(account.as_str())), account.as_str());
                let mut spec = self.account(&account);
                spec["shareRef"] = json!({ "name": object });
                spec["deletionPolicy"] = json!("Retain");
                children.push(self.manifest("ShareRecipient", &name, spec));
            }
        }
        let (inline, objects) = self.resources(share);
        if !inline.is_empty() {
            spec["resources"] = json!(inline);
        }
        for mut resource in objects {
            let id = resource["id"].as_str().unwrap_or_default().to_owned();
            let name = self.name(&format!("{object}-{}", slug(&id)), &id);
            resource["shareRef"] = json!({ "name": object });
            resource["deletionPolicy"] = json!("Retain");
            children.push(self.manifest("ShareResource", &name, resource));
        }
        let mut manifests = vec![self.manifest("Share", &object, spec)];
        manifests.append(&mut children);
        manifests
    }

    /// Resources for the Share's own list, and those that need objects.
    fn resources(&self, share: &Share) -> (Vec<Value>, Vec<Value>) {
        let live = share.resources.iter().flatten().filter(|row| match row.status {
            ResourceStatus::Active | ResourceStatus::Other(_) => true,
            ResourceStatus::Deleting | ResourceStatus::Deleted => false,
        });
        // The list of a Share has one entry for each type and id, whatever the account.
        let mut keys: BTreeMap<(&Interned, &SourceId), HashSet<&AccountId>> = BTreeMap::new();
        let (mut inline, mut objects) = (Vec::new(), Vec::new());
        for row in live {
            let (kind, id, account) = (&row.resource_type, &row.resource_id, &row.resource_account_id);
            let mut entry = json!({ "type": kind, "id": id });
            if *account != share.account_id {
                entry["accountID"] = json!(account);
            }
            if row.meta != ResourceMeta::default() {
                entry["meta"] = json!(row.meta);
            }
            let accounts = keys.entry((kind, id)).or_default();
            if !accounts.insert(account) {
                continue;
            }
            if self.objects || accounts.len() > 1 || inline.len() >= MOST {
                objects.push(entry);
            } else {
                inline.push(entry);
            }
        }
        (inline, objects)
    }

    fn manifest(&self, kind: &str, name: &str, spec: Value) -> Value {
        let mut metadata = json!({ "name": name });
        if let Some(namespace) = &self.namespace {
            metadata["namespace"] = json!(namespace);
        }
        json!({ "apiVersion": "cfshare.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
    }

    /// A name that no object before has: with the id where it is taken.
    fn name(&mut self, wanted: &str, id: &str) -> String {
        let id = slug(id);
        let start: String = id.chars().take(8).collect();
        let wanted = if wanted.is_empty() { format!("share-{start}") } else { wanted.to_owned() };
        let more = [wanted.clone(), format!("{wanted}-{start}"), format!("{wanted}-{id}")];
        let numbered = (2..).map(|n| format!("{wanted}-{n}"));
        let free = more.into_iter().chain(numbered).find(|name| !self.taken.contains(name));
        let name = free.unwrap_or(wanted);
        self.taken.insert(name.clone());
        name
    }
}

/// Accounts that receive a share, each once.
fn receiving(rows: &[Recipient]) -> Vec<AccountId> {
    let live = rows.iter().filter(|row| !row.association_status.is_ended());
    let mut known = HashSet::new();
    live.map(|row| &row.account_id).filter(|account| known.insert(*account)).cloned().collect()
}

/// Whether a manifest may give this name; a share that is taken over keeps its own without.
fn is_nameable(name: &str) -> bool {
    let length = name.chars().count();
    (1..=LONGEST_SHARE_NAME).contains(&length) && name.trim() == name && clean(name, usize::MAX) == name
}

/// Lower-case letters, digits and single dashes, as far as the text has them.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if slug.len() >= LONGEST_NAME {
            break;
        }
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn found(name: &str, recipients: usize, more: Value) -> ReadShare {
        let mut share = json!({
            "id": "5e1f00d5", "account_id": "acc", "name": name, "status": "active", "target_type": "account",
            "resources": [{"id": "r1", "resource_account_id": "acc", "resource_id": "s1", "resource_type": "t",
                           "status": "active", "meta": {"a": 1}},
                          {"id": "r2", "resource_account_id": "other", "resource_id": "s1", "resource_type": "t",
                           "status": "active"},
                          {"id": "r3", "resource_account_id": "acc", "resource_id": "s3", "resource_type": "t",
                           "status": "deleted"}],
        });
        share.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let row = |n: usize, word: &str| json!({"id": format!("row{n}"), "account_id": format!("a{n}"), "association_status": word});
        let mut rows: Vec<Value> = (0..recipients).map(|n| row(n, "associated")).collect();
        rows.push(row(0, "disassociated"));
        rows.push(row(9_999, "disassociating"));
        ReadShare {
            share: serde_json::from_value(share).unwrap(),
            recipients: serde_json::from_value(json!(rows)).unwrap(),
            excluded: serde_json::from_value(json!([{"id": "x", "account_id": "left-out"}])).unwrap(),
            exclusions_unread: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn kinds(manifests: &[Value]) -> Vec<&str> {
        manifests.iter().filter_map(|manifest| manifest["kind"].as_str()).collect()
    }

    #[test]
    fn only_what_is_live_is_declared() {
        let manifests = Writer::new(None, false).manifests(&found("WAF: baseline!", 2, json!({})));
        assert_eq!(kinds(&manifests), ["Share", "ShareResource"]);
        assert_eq!(
            manifests[0],
            json!({
                "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "waf-baseline"},
                "spec": {"accountID": "acc", "shareID": "5e1f00d5", "name": "WAF: baseline!", "deletionPolicy": "Retain",
                         "recipients": [{"accountID": "a0"}, {"accountID": "a1"}],
                         "resources": [{"type": "t", "id": "s1", "meta": {"a": 1}}]},
            })
        );
        // The same type and id of another account cannot stand in the same list.
        assert_eq!(
            manifests[1]["spec"],
            json!({"shareRef": {"name": "waf-baseline"}, "type": "t", "id": "s1", "accountID": "other",
                   "deletionPolicy": "Retain"})
        );
    }

    #[test]
    fn many_recipients_become_objects() {
        let manifests = Writer::new(Some("ns".into()), false).manifests(&found("waf", 1001, json!({})));
        assert_eq!(manifests[0]["spec"]["recipients"], json!([]));
        assert_eq!(kinds(&manifests).iter().filter(|kind| **kind == "ShareRecipient").count(), 1001);
        assert!(manifests.iter().all(|manifest| manifest["metadata"]["namespace"] == "ns"));
        let manifests = Writer::new(None, true).manifests(&found("waf", 1, json!({})));
        assert_eq!(kinds(&manifests), ["Share", "ShareRecipient", "ShareResource", "ShareResource"]);
        assert!(manifests[0]["spec"].get("resources").is_none());
        assert!(manifests.iter().all(|manifest| manifest["spec"]["deletionPolicy"] == "Retain"));
    }

    #[test]
    fn a_share_for_an_organization_names_it_and_who_is_left_out() {
        let more = json!({"target_type": "organization", "organization_id": "org"});
        let manifests = Writer::new(None, false).manifests(&found("all", 3, more));
        assert_eq!(manifests[0]["spec"]["organization"], json!({"id": "org", "excluded": [{"accountID": "left-out"}]}));
        assert!(manifests[0]["spec"].get("recipients").is_none());
    }

    #[test]
    fn every_object_has_a_name_of_its_own_that_kubernetes_takes() {
        let mut writer = Writer::new(None, false);
        let names: Vec<String> = ["WAF", "waf", "waf", "Für ALLE -- ü", "日本", ".a..b.", &"x".repeat(90)]
            .map(|name| {
                writer.manifests(&found(name, 1, json!({})))[0]["metadata"]["name"].as_str().unwrap().to_owned()
            })
            .to_vec();
        let expected = ["waf", "waf-5e1f00d5", "waf-2", "f-r-alle", "share-5e1f00d5", "a-b", &"x".repeat(63)];
        assert_eq!(names, expected);
    }

    #[test]
    fn labels_come_from_a_list_of_accounts_and_names_from_addresses() {
        let mut writer = Writer::new(None, false);
        let account = |id| AccountId::parse(id).unwrap();
        writer.labels = [(account("A0"), "Payments".to_owned()), (account("a1"), " odd".to_owned())].into();
        writer.names = [(ShareId::parse("5E1F00D5").unwrap(), "baseline-eu".to_owned())].into();
        let manifest = &writer.manifests(&found("waf", 2, json!({})))[0];
        assert_eq!(manifest["metadata"]["name"], "baseline-eu");
        assert_eq!(
            manifest["spec"]["recipients"],
            json!([{"accountID": "a0", "name": "Payments"}, {"accountID": "a1"}])
        );
    }

    #[test]
    fn a_name_that_a_manifest_may_not_give_is_left_out() {
        for name in ["", " a", "a\u{202e}b", &"x".repeat(101)] {
            let manifests = Writer::new(None, false).manifests(&found(name, 1, json!({})));
            assert!(manifests[0]["spec"].get("name").is_none(), "{name:?}");
        }
    }
}
