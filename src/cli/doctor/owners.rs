//! Whether every entry of a Share's lists has one field manager: one that two own stays when one of them drops it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::Findings;
use crate::api::{Name, Share, is_deleting};

/// The lists that Kubernetes merges by key, as they are called in field sets.
const LISTS: [(&str, &str); 2] = [("f:recipients", "spec.recipients"), ("f:resources", "spec.resources")];
/// How many Shares are named.
const MOST_NAMED: usize = 5;

pub fn check_owners(shares: &[Share], findings: &mut Findings) {
    let live = shares.iter().filter(|share| !is_deleting(&share.metadata));
    let several: Vec<String> = live.filter_map(about).collect();
    for told in several.iter().take(MOST_NAMED) {
        findings.warn(told.clone());
    }
    if several.len() > MOST_NAMED {
        findings.warn(format!("the same holds for {} more Shares", several.len() - MOST_NAMED));
    }
}

/// What is to be said of a Share with entries that several managers own.
fn about(share: &Share) -> Option<String> {
    let managed = share.metadata.managed_fields.as_deref().unwrap_or_default();
    LISTS.iter().find_map(|(field, path)| {
        let managers = managers_of_shared(managed, field);
        // Who only updates replaces the whole list.
        managers.iter().any(|manager| manager.ends_with(" Apply")).then(|| {
            let managers: Vec<String> = managers.into_iter().collect();
            format!(
                "Share {}: entries of {path} are owned by several field managers ({}), and stay when one of them drops them. \
                 How to hand them over: docs/gitops.md",
                Name::of(share),
                managers.join(", "),
            )
        })
    })
}

/// Who owns entries of the list that somebody else owns as well.
fn managers_of_shared(managed: &[ManagedFieldsEntry], list: &str) -> BTreeSet<String> {
    let mut owners: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for entry in managed.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty()) {
        let or_none = |word: &Option<String>| word.clone().unwrap_or_default();
        let manager = format!("{} {}", or_none(&entry.manager), or_none(&entry.operation));
        let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec")?.get(list)?.as_object());
        for key in fields.into_iter().flat_map(|fields| fields.keys()).filter(|key| key.starts_with("k:")) {
            owners.entry(key).or_default().insert(manager.clone());
        }
    }
    owners.into_values().filter(|managers| managers.len() > 1).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn warned(managed: Value) -> Vec<String> {
        let share = json!({
            "metadata": {"name": "waf", "namespace": "security", "managedFields": managed},
            "spec": {"accountID": "a".repeat(32), "name": "waf"},
        });
        let mut findings = Findings::default();
        check_owners(&[serde_json::from_value(share).expect("a Share")], &mut findings);
        findings.lines.into_iter().map(|(_, line)| line).collect()
    }

    fn entry(manager: &str, operation: &str, list: &str, accounts: &[&str]) -> Value {
        let keys = accounts.iter().map(|account| (format!("k:{{\"accountID\":\"{account}\"}}"), json!({".": {}})));
        let fields: serde_json::Map<String, Value> = keys.collect();
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {list: fields}}})
    }

    #[test]
    fn a_list_whose_entries_belong_to_several_managers_is_named_with_them() {
        let argo = entry("argocd-controller", "Apply", "f:recipients", &["a", "b"]);
        assert_eq!(warned(json!([argo])), [""; 0]);
        let kubectl = entry("kubectl", "Apply", "f:recipients", &["b"]);
        let told = warned(json!([argo, kubectl]));
        assert_eq!(told.len(), 1, "{told:?}");
        let start = "Share security/waf: entries of spec.recipients are owned by several field managers \
                     (argocd-controller Apply, kubectl Apply), ";
        assert!(told[0].starts_with(start), "{told:?}");
        let other = entry("kubectl", "Apply", "f:recipients", &["c"]);
        assert_eq!(warned(json!([argo, other])), [""; 0], "each has its own");
        let updates = ["kubectl-client-side-apply", "kubectl-edit"];
        let updates = updates.map(|manager| entry(manager, "Update", "f:recipients", &["b"]));
        assert_eq!(warned(json!(updates)), [""; 0], "what they drop goes");
    }

    #[test]
    fn other_fields_other_lists_and_the_status_count_for_nothing() {
        let argo = entry("argocd-controller", "Apply", "f:recipients", &["a", "b"]);
        let resources = entry("terraform", "Update", "f:resources", &["c"]);
        let whole = json!({"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:recipients": {}}}});
        let mut status = entry("cfshare", "Update", "f:recipients", &["b"]);
        status["subresource"] = json!("status");
        assert_eq!(warned(json!([argo, resources, whole, status, {"manager": "edit"}])), [""; 0]);
    }
}
