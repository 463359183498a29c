//! What the API server would refuse of a manifest, as far as that can be told without one.
//!
//! The schema of the CRD says it, with its own sentences. Not all of it is run: of the rules in CEL only those about the
//! target, the share's id, the name and what is immutable, and neither patterns nor bounds of numbers.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{crd, rule};

/// The schemas of the three kinds.
pub struct Admission(Vec<(String, Value)>);

impl Admission {
    pub fn of_crds() -> Admission {
        let schema = |crd| {
            let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
            let kind = crd["spec"]["names"]["kind"].as_str().expect("a CRD is of a kind").to_owned();
            (kind, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
        };
        Admission(crd::definitions().into_iter().map(schema).collect())
    }

    /// Why this object would be refused, one sentence each; `old`: the object that it would replace.
    pub fn refusals(&self, kind: &str, old: Option<&Value>, new: &Value) -> Vec<String> {
        let mut refusals = Vec::new();
        for (_, schema) in self.0.iter().filter(|(of, _)| of == kind) {
            // What the operator writes into a status is no matter of a manifest.
            let spec = |object: &Value| json!({ "metadata": object["metadata"], "spec": object["spec"] });
            check("", schema, old.map(spec).as_ref(), &spec(new), &mut refusals);
        }
        refusals
    }
}

fn check(path: &str, schema: &Value, old: Option<&Value>, new: &Value, refusals: &mut Vec<String>) {
    for validation in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = |key: &str| validation[key].as_str().unwrap_or_default();
        if breaks(text("rule"), text("fieldPath"), old, new) {
            let field = format!("{path}{}", text("fieldPath"));
            refusals.push(format!("{}: {}", field.trim_start_matches('.'), text("message")));
        }
    }
    match new {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema["properties"].get(name) {
                    let old = old.and_then(|old| old.get(name));
                    check(&format!("{path}.{name}"), schema, old, value, refusals);
                }
            }
        }
        Value::Array(entries) => {
            refusals.extend(of_list(path.trim_start_matches('.'), schema, entries));
            for (at, entry) in entries.iter().enumerate() {
                // No rule of an entry compares it with what was there.
                check(&format!("{path}[{at}]"), &schema["items"], None, entry, refusals);
            }
        }
        Value::String(text) => {
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            if text.chars().count() as u64 > most {
                refusals.push(format!("{}: must have at most {most} characters", path.trim_start_matches('.')));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Too many entries, or two for the same thing.
fn of_list(path: &str, schema: &Value, entries: &[Value]) -> Vec<String> {
    let mut refusals = Vec::new();
    let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
    if entries.len() as u64 > most {
        refusals.push(format!("{path}: has {} entries, and at most {most} are allowed", entries.len()));
    }
    let keys: Vec<&str> =
        schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let key_of =
        |entry: &Value| keys.iter().map(|key| entry[*key].as_str().unwrap_or_default()).collect::<Vec<_>>().join("/");
    let mut seen = HashSet::new();
    for (at, entry) in entries.iter().enumerate().filter(|_| !keys.is_empty()) {
        if !seen.insert(key_of(entry)) {
            refusals.push(format!("{path}[{at}]: {} is listed twice: remove one of the entries", key_of(entry)));
        }
    }
    refusals
}

/// Whether this rule is known and broken.
fn breaks(rule: &str, field_path: &str, old: Option<&Value>, new: &Value) -> bool {
    let holds = known(rule, field_path);
    holds.is_some_and(|holds| !holds(field_path.trim_start_matches('.'), old, new))
}

/// Whether a rule holds for the field that it is about, the value that was there, and the one that comes.
type Holds = fn(&str, Option<&Value>, &Value) -> bool;

/// What a rule in CEL means.
fn known(rule: &str, field_path: &str) -> Option<Holds> {
    let field = field_path.trim_start_matches('.');
    let rules: [(String, Holds); 7] = [
        (rule::immutable("").rule, |_, old, new| old.is_none_or(|old| old == new)),
        (rule::immutable_option(field, "").rule, |field, old, new| {
            old.is_none_or(|old| old.get(field) == new.get(field))
        }),
        (rule::target_kept().rule, |field, old, new| {
            old.is_none_or(|old| old.get(field).is_some() == new.get(field).is_some())
        }),
        (rule::share_id_kept().rule, |field, old, new| {
            old.and_then(|old| old.get(field)).is_none_or(|id| new.get(field) == Some(id))
        }),
        (rule::has_target().rule, |_, old, new| {
            old.is_some() || new.get("recipients").is_some() || new.get("organization").is_some()
        }),
        (rule::one_target().rule, |_, _, new| new.get("recipients").is_none() || new.get("organization").is_none()),
        (rule::object_name_fits().rule, |_, _, new| {
            let (spec, name) = (&new["spec"], new["metadata"]["name"].as_str().unwrap_or_default());
            spec.get("name").is_some() || spec.get("shareID").is_some() || name.len() <= 100
        }),
    ];
    rules.into_iter().find(|(known, _)| known == rule).map(|(_, holds)| holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(spec: Value) -> Value {
        json!({ "metadata": { "name": "a" }, "spec": spec })
    }

    fn refusals(kind: &str, old: Option<Value>, new: Value) -> String {
        Admission::of_crds().refusals(kind, old.as_ref(), &new).join("\n")
    }

    #[test]
    fn every_rule_that_compares_with_what_was_there_is_known() {
        fn walk(path: &str, schema: &Value, found: &mut Vec<String>) {
            for validation in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let text = |key: &str| validation[key].as_str().unwrap_or_default();
                if text("rule").contains("oldSelf") {
                    assert!(known(text("rule"), text("fieldPath")).is_some(), "{path}: {}", text("rule"));
                    assert!(!path.contains("[]"), "{path}: entries are not compared");
                    found.push(path.to_owned());
                }
            }
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                walk(&format!("{path}.{name}"), inner, found);
            }
            if schema["items"].is_object() {
                walk(&format!("{path}[]"), &schema["items"], found);
            }
        }
        let mut found = Vec::new();
        for (kind, schema) in &Admission::of_crds().0 {
            walk(kind, schema, &mut found);
        }
        assert_eq!(found.len(), 11, "{found:?}");
    }

    #[test]
    fn what_is_immutable_is_refused_with_the_sentence_of_the_crd() {
        let old = share(json!({ "accountID": "a", "recipients": [] }));
        let said = refusals("Share", Some(old.clone()), share(json!({ "accountID": "b", "recipients": [] })));
        assert_eq!(
            said,
            "spec.accountID: cannot be changed: a share cannot move to another account, create another Share with the \
             other accountID"
        );
        let organization = share(json!({ "accountID": "a", "organization": { "id": "o" } }));
        for (old, new) in [(&old, &organization), (&organization, &old)] {
            let said = refusals("Share", Some(old.clone()), new.clone());
            assert!(said.starts_with("spec.organization: organization can be neither added nor removed"), "{said}");
        }
        let adopted = |id: &str| share(json!({ "accountID": "a", "recipients": [], "shareID": id }));
        let said = refusals("Share", Some(adopted("1")), adopted("2"));
        assert!(said.starts_with("spec.shareID: shareID cannot be changed or removed once set"), "{said}");
        assert_eq!(refusals("Share", Some(old.clone()), adopted("1")), "");
        assert!(refusals("Share", Some(adopted("1")), old).starts_with("spec.shareID: "));
    }

    #[test]
    fn so_it_is_for_children() {
        let child = |share: &str, account: &str| json!({ "metadata": { "name": "c" }, "spec": { "shareRef": { "name": share }, "accountID": account } });
        let said = refusals("ShareRecipient", Some(child("s", "1")), child("t", "2"));
        assert!(said.contains("spec.accountID: cannot be changed: create another ShareRecipient"), "{said}");
        assert!(said.contains("spec.shareRef.name: cannot be changed: create another object"), "{said}");
        let resource = |more: Value| {
            let mut spec = json!({ "shareRef": { "name": "s" }, "type": "t", "id": "1" });
            spec.as_object_mut().expect("a map").extend(more.as_object().cloned().expect("a map"));
            json!({ "metadata": { "name": "r" }, "spec": spec })
        };
        let (bare, of_another) = (resource(json!({})), resource(json!({ "accountID": "b" })));
        let said = refusals("ShareResource", Some(bare.clone()), of_another);
        assert!(said.starts_with("spec.accountID: cannot be changed, added or removed: "), "{said}");
        assert_eq!(refusals("ShareResource", Some(bare.clone()), bare), "");
    }

    #[test]
    fn a_share_names_one_target_and_each_account_once() {
        let both = share(json!({ "accountID": "a", "recipients": [], "organization": { "id": "o" } }));
        assert!(refusals("Share", None, both).starts_with("spec.organization: organization already includes"));
        let neither = share(json!({ "accountID": "a" }));
        let said = refusals("Share", None, neither.clone());
        assert!(said.starts_with("spec.recipients: specify who receives the share"), "{said}");
        let old = share(json!({ "accountID": "a", "recipients": [] }));
        assert_eq!(refusals("Share", Some(old), neither), "");
        let twice = share(json!({ "accountID": "a", "recipients": [{ "accountID": "b" }, { "accountID": "b" }] }));
        let said = refusals("Share", None, twice);
        assert_eq!(said, "spec.recipients[1]: b is listed twice: remove one of the entries");
        let long = share(json!({ "accountID": "a", "recipients": [], "name": "x".repeat(101) }));
        assert_eq!(refusals("Share", None, long), "spec.name: must have at most 100 characters");
        let mut unnamed = share(json!({ "accountID": "a", "recipients": [] }));
        unnamed["metadata"]["name"] = json!("n".repeat(101));
        assert!(refusals("Share", None, unnamed).starts_with("spec.name: set spec.name to at most 100"));
    }
}
