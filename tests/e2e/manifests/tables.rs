//! Which manifests are tried, and words that the API server's answer must have.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

pub const NAMESPACE: &str = "manifests";

type Spec = Map<String, Value>;

/// A manifest, and words of the refusal; without them it is taken.
pub struct Case {
    pub what: String,
    pub manifest: Value,
    pub says: Vec<String>,
}

/// The same for an object that is there and is changed.
pub struct Change {
    pub before: Value,
    pub after: Case,
}

#[derive(Deserialize)]
struct Group<T> {
    #[serde(default = "share")]
    kind: String,
    #[serde(default)]
    base: Spec,
    #[serde(default)]
    says: Vec<String>,
    #[serde(alias = "changes")]
    specs: BTreeMap<String, T>,
}

#[derive(Deserialize)]
struct Pair {
    from: Spec,
    to: Spec,
    #[serde(default)]
    says: Vec<String>,
}

fn share() -> String {
    "Share".to_owned()
}

pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "cfshare.dev/v1alpha1",
        "kind": kind,
        // The operator of the other tests leaves these alone.
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { (crate::scene::OWN_LABEL): "true" } },
        "spec": spec,
    })
}

impl<T> Group<T> {
    fn manifest(&self, spec: &Spec) -> Value {
        let mut whole = self.base.clone();
        whole.extend(spec.clone());
        object(&self.kind, "tried", whole.into())
    }
}

/// Manifests of `refused.yaml` and `taken.yaml`, and those that are about size.
pub fn cases() -> Vec<Case> {
    let mut cases = sizes();
    for table in [include_str!("refused.yaml"), include_str!("taken.yaml")] {
        let groups: Vec<Group<Spec>> = serde_yaml::from_str(table).unwrap();
        for group in groups {
            cases.extend(group.specs.iter().map(|(what, spec)| Case {
                what: what.clone(),
                manifest: group.manifest(spec),
                says: group.says.clone(),
            }));
        }
    }
    cases
}

/// Changes of `changes.yaml`.
pub fn changes() -> Vec<Change> {
    let groups: Vec<Group<Pair>> = serde_yaml::from_str(include_str!("changes.yaml")).unwrap();
    let of = |group: &Group<Pair>| {
        let change = |(what, pair): (&String, &Pair)| Change {
            before: group.manifest(&pair.from),
            after: Case { what: what.clone(), manifest: group.manifest(&pair.to), says: pair.says.clone() },
        };
        group.specs.iter().map(change).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of).collect()
}

fn sizes() -> Vec<Case> {
    let case = |what: &str, manifest: Value, says: &[&str]| Case {
        what: what.to_owned(),
        manifest,
        says: says.iter().map(|word| (*word).to_owned()).collect(),
    };
    let share = |spec: Value| object("Share", "tried", spec);
    let named = |spec: Value| object("Share", &"a".repeat(101), spec);
    let id = |size: usize| share(json!({ "accountID": "a".repeat(size), "recipients": [] }));
    let name = |size| share(json!({ "accountID": "a", "recipients": [], "name": "ü".repeat(size) }));
    let kind = |size| {
        let resource = json!({ "type": "a".repeat(size), "id": "a" });
        share(json!({ "accountID": "a", "recipients": [], "resources": [resource] }))
    };
    let meta = |size| {
        let meta: Spec = (0..size).map(|n| (format!("k{n}"), json!(n))).collect();
        let resource = json!({ "type": "a", "id": "a", "meta": meta });
        share(json!({ "accountID": "a", "recipients": [], "resources": [resource] }))
    };
    let accounts = |size: u32| -> Value {
        let account = |n| json!({ "accountID": format!("{n:032x}"), "name": format!("team-{n}") });
        (0..size).map(account).collect()
    };
    let crowd = |size| share(json!({ "accountID": "a", "recipients": accounts(size) }));
    let but = |size| share(json!({ "accountID": "a", "organization": { "id": "a", "excluded": accounts(size) } }));
    let pile = |size: u32| {
        let resource = |n| {
            let id = format!("{n:032x}");
            json!({ "type": "a", "id": id, "accountID": id, "name": id, "meta": { "n": n } })
        };
        let resources: Value = (0..size).map(resource).collect();
        share(json!({ "accountID": "a", "recipients": [], "resources": resources }))
    };
    let too_long = ["spec.name", "set spec.name to at most 100 characters"];
    vec![
        case("an id of 128 characters", id(128), &[]),
        case("an id of 129 characters", id(129), &["spec.accountID", "Too long", "128"]),
        case("an id of 64 KiB", id(65536), &["spec.accountID", "Too long", "128"]),
        case("a name of 100 characters", name(100), &[]),
        case("a name of 101 characters", name(101), &["spec.name", "Too long", "100"]),
        case("a type of 63 characters", kind(63), &[]),
        case("a type of 64 characters", kind(64), &["type", "Too long", "63"]),
        case("a meta of 64 keys", meta(64), &[]),
        case("a meta of 65 keys", meta(65), &["meta", "64"]),
        case("1000 recipients", crowd(1000), &[]),
        case("1001 recipients", crowd(1001), &["spec.recipients", "Too many", "1000"]),
        case("1000 exclusions", but(1000), &[]),
        case("1001 exclusions", but(1001), &["excluded", "Too many", "1000"]),
        case("1000 resources", pile(1000), &[]),
        case("1001 resources", pile(1001), &["spec.resources", "Too many", "1000"]),
        case(
            "an object's name that is too long for a share",
            named(json!({ "accountID": "a", "recipients": [] })),
            &too_long,
        ),
        case(
            "a long object's name beside a name",
            named(json!({ "accountID": "a", "recipients": [], "name": "short" })),
            &[],
        ),
        case(
            "a long object's name beside a share id",
            named(json!({ "accountID": "a", "recipients": [], "shareID": "a" })),
            &[],
        ),
    ]
}
