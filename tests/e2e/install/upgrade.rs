//! Does `helm upgrade` from 0.1.0 lose nothing, and interrupt nobody?

use std::fs;

use cfshare_simulator::{Entry, Seed, SeedResource, SeedShare};
use serde::Deserialize;
use serde_json::{Value, json};

use super::golden;
use super::node::Node;
use super::site::{SYSTEM, Site, deploy, tenant};
use crate::reader::Reader;
use crate::scene::{condition, describe};

const TEAM: &str = "security-baseline";
/// The accounts and the organization of the golden objects.
const OWNER: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const OTHER_OWNER: &str = "d3d9446802a44259755d38e6d163e820";
const ORGANIZATION: &str = "7f2e1a9c4b3d4e5f8a6b7c8d9e0f1a2b";
const MEMBER: &str = "372e67954025e0ba6aaa6d586b9e0b59";
const EXCLUDED: &str = "6512bd43d9caa6e02c990b0a82652dca";
/// It is in another organization, so Cloudflare refuses it as a recipient.
const REFUSED: &str = "c9f0f895fb98ab9159f51fd0297e236d";
/// A recipient of a share that nobody declared.
const UNMANAGED: &str = "8f14e45fceea167a5a36dedd4bea2543";

pub fn from_0_1_0() {
    let site = Site::start();
    let url = format!("cloudflare.url={}", site.simulator.base_url());
    let chart = format!("{}/chart-0.1.0.tgz", golden::FOLDER);
    let values = ["--set", &url, "--set", "organization.namespaces={security-baseline}"];
    site.helm(&[&["install", "cfshare", &chart, "--namespace", SYSTEM], &values[..]].concat());
    tenant(&site, TEAM, "cloudflare-credentials");
    site.wait("the pod of 0.1.0", || !site.list(SYSTEM, "pods").is_empty());
    let mut node = Node::new(&site);
    node.pretend();
    lease(&site, "cfshare-of-0.1.0", 60);
    let objects = stored(&site, &cloudflare(&site));
    let before = observed(&site, &objects);
    let definitions = uids(&site);

    let calls = site.simulator.last_request();
    let upgrade = ["upgrade", "cfshare", &deploy("chart"), "--namespace", SYSTEM, "--reset-then-reuse-values"];
    site.helm(&[&upgrade[..], &["--set", "sweepInterval=3s"]].concat());
    assert_eq!(node.settle(), 1);
    assert_eq!(definitions, uids(&site), "updated, not replaced");
    assert_eq!(before, observed(&site, &objects));
    assert_eq!(site.simulator.last_request(), calls, "the new pod is on standby while the old one holds the Lease");

    // The old pod ends, and the new one looks at everything.
    lease(&site, "", 1);
    for (kind, name) in &objects {
        ask(&site, kind, name);
    }
    let after = observed(&site, &objects);
    // Except of the one whose create call was lost: what the call made is found.
    let unfinished = |object: &&Value| object["name"] == "unfinished";
    let changed: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new && !unfinished(old)).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    let found = site.wait_ready(TEAM, "shares.cfshare.dev", "unfinished");
    assert_eq!(found["status"]["shareID"], json!(site.simulator.live_shares(OWNER, "unfinished")[0].id));
    assert_eq!(changes(&site, calls), Vec::<String>::new());

    let calls = site.simulator.last_request();
    let add = json!([{ "op": "add", "path": "/spec/recipients/-", "value": { "accountID": EXCLUDED } }]).to_string();
    site.kubectl(&["-n", TEAM, "patch", "shares.cfshare.dev", "whole", "--type=json", "-p", &add]);
    site.wait_object(TEAM, "shares.cfshare.dev", "whole", "has the recipient", |share| {
        share["status"]["recipients"]["summary"] == "2/3"
    });
    let share = after.iter().find(|object| object["name"] == "whole").and_then(|whole| whole["shareID"].as_str());
    let added = format!("POST /accounts/{OWNER}/shares/{}/recipients -> Some(201)", share.expect("its id"));
    assert_eq!(changes(&site, calls), [added]);
}

/// Changing calls, without those for the recipient that Cloudflare refuses: a restart tries it once more.
fn changes(site: &Site, since: u64) -> Vec<String> {
    let journal = site.simulator.journal(None, since);
    let refused =
        |entry: &Entry| entry.applied == 0 || entry.outcome == Some(400) && entry.body.to_string().contains(REFUSED);
    journal.iter().filter(|entry| entry.changing && !refused(entry)).map(describe).collect()
}

/// The Lease as 0.1.0 wrote it, held or given back.
fn lease(site: &Site, holder: &str, seconds: u32) {
    let spec = json!({ "holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": 0 });
    let head = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "cfshare" }, "spec": spec });
    site.apply(SYSTEM, &head.to_string());
}

/// Cloudflare has what the golden objects say. Pairs of ids, in the golden objects and here.
fn cloudflare(site: &Site) -> Vec<(&'static str, String)> {
    site.simulator.organization(ORGANIZATION, &[OWNER, MEMBER, EXCLUDED, OTHER_OWNER]);
    let resource = |kind: &str, id: &str, meta: Value| {
        let meta = Some(meta).filter(|meta| !meta.is_null());
        SeedResource { resource_type: kind.to_owned(), id: id.to_owned(), account: None, meta }
    };
    let share = |name: &str, recipients: &[&str], resources: Vec<SeedResource>| SeedShare {
        name: name.to_owned(),
        recipients: recipients.iter().map(|id| (*id).to_owned()).collect(),
        resources,
        organization: recipients.is_empty(),
    };
    let rules = "2f2feab2026849078ba485f918791bdc";
    let whole = vec![
        resource("custom-ruleset", rules, json!({ "list": [1, "two", { "three": 3 }], "mode": "log" })),
        resource("gateway-policy", "f174e90a-fafe-4643-bbbc-4a0ed4fc8415", Value::Null),
        resource("gateway-destination-ip", "45c48cce2e2d7fbdea1afc51c7c6ad26", Value::Null),
    ];
    let policy = resource("gateway-policy", "0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0", Value::Null);
    let objects = resource("custom-ruleset", "1679091c5a880faf6fb5e6087eb1b2dc", json!({ "mode": "block" }));
    let owned = vec![
        share("objects", &[MEMBER], vec![objects]),
        share("organization", &[], vec![policy]),
        share("WAF baseline", &[MEMBER, UNMANAGED], whole),
        share("unfinished", &[MEMBER], vec![resource("custom-ruleset", rules, Value::Null)]),
    ];
    let adopted = vec![share("by hand", &[MEMBER], vec![resource("custom-ruleset", rules, json!({ "mode": "log" }))])];
    let mut ids = Vec::new();
    for (account, list) in [(OWNER, owned), (OTHER_OWNER, adopted)] {
        let seed =
            Seed { account: account.to_owned(), shares: 0, recipients: 0, resources: 0, prefix: String::new(), list };
        ids.extend(site.simulator.seed(seed).expect("an organization").into_iter().map(|share| share.id));
    }
    let [objects, organization, whole, _, adopted] = ids.try_into().expect("five shares");
    let url = format!("{}/accounts/{OWNER}/shares/{organization}/excluded-recipients", site.simulator.base_url());
    let reader = Reader::new(site.cluster.kubeconfig()).expect("a client");
    reader.call("POST", &url, "a token", &json!({ "account_id": EXCLUDED })).expect("it is excluded");
    let rows = site.simulator.share(&objects).expect("it was made");
    vec![
        ("b7b8381b217d35b00f92a686d18af93d", rows.recipients[0].id.clone()),
        ("9bc7c353cf16b9352fd0c834047f61d5", rows.resources[0].id.clone()),
        ("689e7de22eef390cdcd9fee55b19808d", objects),
        ("fbebf9063c85cb7f5452f7cb2dc63619", organization),
        ("99815b6f99e0b84c2b95a45246f0ac19", whole),
        ("e3aaa14f0266e7c63b79fd40fbb3bf48", adopted),
    ]
}

/// Puts the golden objects into the cluster as 0.1.0 left them. Ids that the servers choose are those of these servers.
fn stored(site: &Site, ids: &[(&str, String)]) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("{}/v1alpha1-0.1.0.yaml", golden::FOLDER)).expect("the objects of 0.1.0");
    let text = ids.iter().fold(text, |text, (golden, here)| {
        assert!(text.contains(golden), "{golden}");
        text.replace(golden, here)
    });
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let mut object = Value::deserialize(document).expect("YAML");
        let kind = format!("{}s.cfshare.dev", object["kind"].as_str().expect("a kind").to_lowercase());
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        site.apply(TEAM, &object.to_string());
        let created = site.get(TEAM, &kind, &name).expect("it was applied");
        if object["status"]["boundUID"].is_string() {
            object["status"]["boundUID"] = created["metadata"]["uid"].clone();
        }
        let patch = json!({ "status": object["status"] }).to_string();
        site.kubectl(&["-n", TEAM, "patch", &kind, &name, "--subresource=status", "--type=merge", "-p", &patch]);
        objects.push((kind, name));
    }
    objects
}

/// What of the objects no upgrade may change.
fn observed(site: &Site, objects: &[(String, String)]) -> Vec<Value> {
    let kept = |(kind, name): &(String, String)| {
        let object = site.get(TEAM, kind, name).expect("it is there");
        let status = &object["status"];
        let ready = condition(&object, "Ready").expect("a condition");
        json!({
            "name": name,
            "uid": object["metadata"]["uid"],
            "finalizers": object["metadata"]["finalizers"],
            "spec": object["spec"],
            "ready": [ready["status"], ready["lastTransitionTime"]],
            "shareID": status["shareID"],
            "boundUID": status["boundUID"],
            "inventory": status["inventory"],
            "rows": [status["recipientID"], status["shareResourceID"], status["confirmed"], status["metaHash"]],
        })
    };
    objects.iter().map(kept).collect()
}

/// Of what must outlive an upgrade.
fn uids(site: &Site) -> String {
    let definitions = ["shares", "sharerecipients", "shareresources"].map(|kind| format!("crd/{kind}.cfshare.dev"));
    let mut args = vec!["-n", SYSTEM, "get", "serviceaccount/cfshare", "deployment/cfshare", "service/cfshare-metrics"];
    args.extend(definitions.iter().map(String::as_str));
    args.extend(["-o", "jsonpath={.items[*].metadata.uid}"]);
    site.kubectl(&args)
}

/// Asks the operator to look at the object now, and waits until it has.
fn ask(site: &Site, kind: &str, name: &str) {
    site.kubectl(&["-n", TEAM, "annotate", kind, name, "cfshare.dev/requestedAt=upgraded"]);
    site.wait_object(TEAM, kind, name, "looked at", |object| object["status"]["lastHandledReconcileAt"] == "upgraded");
}
