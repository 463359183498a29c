//! Does the bundle for the Operator Lifecycle Manager say the same as the chart?
//!
//! `CFSHARE_UPDATE=1 cargo test --test e2e -- "install: the bundle"` writes it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use super::rendered;
use super::site::deploy;
use crate::scene::World;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const DESCRIPTION: &str = "Keeps [Cloudflare Resource Sharing](https://developers.cloudflare.com/api/resources/resource_sharing/) in \
sync with Kubernetes manifests. `Share`, `ShareRecipient` and `ShareResource` declare what is shared with whom, and \
their status reports the result.

The operator reads one Secret by name, `cloudflare-credentials`, in the namespaces that it watches. A bundle cannot contain \
the ValidatingAdmissionPolicies of the chart, which protect Shares and the three CustomResourceDefinitions from deletion and \
restrict the operator: [apply them in addition](https://cfshare.github.io/cfshare/olm.html).";

fn cluster_service_version(world: &World) -> Value {
    let objects = rendered::objects(&rendered::template(&world.cluster, &["--set", "openshift=true"]).unwrap());
    let deployment = &objects["Deployment cfshare"];
    let mut labels = deployment["metadata"]["labels"].clone();
    let mut spec = deployment["spec"].clone();
    unmanaged_by_helm(&mut labels);
    unmanaged_by_helm(&mut spec["template"]["metadata"]["labels"]);
    let pod = &mut spec["template"]["spec"];
    // Empty in an operator group for all namespaces, which means all here too.
    let watched = json!({"name": "CFSHARE_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['olm.targetNamespaces']"}}});
    pod["containers"][0]["env"].as_array_mut().expect("variables").push(watched);
    let image = pod["containers"][0]["image"].clone();
    let rules = |name: &str| objects[name]["rules"].as_array().expect("rules").clone();
    let all_rules = [rules("ClusterRole cfshare.cfshare-system"), rules("Role cfshare-lease")].concat();
    let modes = ["OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces"];
    let owned: Vec<Value> = ["Share", "ShareRecipient", "ShareResource"].map(|kind| owned(&objects, kind)).into();
    let read = |path: &str| fs::read_to_string(deploy(path)).expect("examples");
    let text = format!("{}\n---\n{}", read("examples/share.yaml"), read("examples/with-objects.yaml"));
    let objects = serde_yaml::Deserializer::from_str(&text).map(|each| Value::deserialize(each).expect("YAML"));
    let mut examples: Vec<Value> = Vec::new();
    for object in objects.filter(|object| object["apiVersion"] == "cfshare.dev/v1alpha1") {
        if examples.iter().all(|example| example["kind"] != object["kind"]) {
            examples.push(object);
        }
    }
    json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": format!("cfshare.v{VERSION}"),
            "labels": {
                "operatorframework.io/arch.amd64": "supported",
                "operatorframework.io/arch.arm64": "supported",
                "operatorframework.io/os.linux": "supported",
            },
            "annotations": {
                "alm-examples": serde_json::to_string_pretty(&examples).expect("JSON"),
                "capabilities": "Full Lifecycle",
                "categories": "Security, Networking",
                "containerImage": image,
                "createdAt": "2026-11-01T00:00:00Z",
                "description": "Keeps Cloudflare Resource Sharing in sync with Kubernetes manifests",
                "repository": "https://github.com/cfshare/cfshare",
                "support": "the cfshare authors",
            },
        },
        "spec": {
            "displayName": "cfshare",
            "description": DESCRIPTION,
            "version": VERSION,
            "maturity": "alpha",
            "minKubeVersion": "1.34.0",
            "provider": {"name": "the cfshare authors", "url": "https://github.com/cfshare/cfshare"},
            "keywords": ["cloudflare", "security", "waf", "zero-trust", "gitops"],
            "links": [{"name": "Documentation", "url": "https://cfshare.github.io/cfshare/"}],
            "icon": [{"base64data": base64(&fs::read(deploy("../docs/icon.svg")).expect("an icon")), "mediatype": "image/svg+xml"}],
            "installModes": modes.map(|mode| json!({"type": mode, "supported": true})),
            "relatedImages": [{"name": "cfshare", "image": image}],
            "customresourcedefinitions": {"owned": owned},
            "install": {
                "strategy": "deployment",
                "spec": {
                    "permissions": [{"serviceAccountName": "cfshare", "rules": all_rules}],
                    "deployments": [{"name": "cfshare", "label": labels, "spec": spec}],
                },
            },
        },
    })
}

/// Takes out what would say that these objects belong to a release of Helm.
fn unmanaged_by_helm(labels: &mut Value) {
    let labels = labels.as_object_mut().expect("labels");
    for label in ["app.kubernetes.io/managed-by", "helm.sh/chart"] {
        labels.remove(label).expect("a label of the chart");
    }
}

fn owned(objects: &std::collections::BTreeMap<String, Value>, kind: &str) -> Value {
    let name = format!("{}s.cfshare.dev", kind.to_lowercase());
    let version = &objects[&format!("CustomResourceDefinition {name}")]["spec"]["versions"][0];
    let description = version["schema"]["openAPIV3Schema"]["description"].as_str().unwrap_or_default();
    let spaced: String = kind.replace("ShareR", "Share r");
    json!({"kind": kind, "name": name, "version": version["name"], "displayName": spaced, "description": description})
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (number >> (18 - 6 * place)) & 63;
            text.push(if place > chunk.len() { '=' } else { ALPHABET[index as usize] as char });
        }
    }
    text
}

pub fn fresh(world: &World) {
    let folder = PathBuf::from(deploy("olm/manifests"));
    let mut files = vec![(
        "cfshare.clusterserviceversion.yaml".to_owned(),
        serde_yaml::to_string(&cluster_service_version(world)).expect("YAML"),
    )];
    for name in ["shares", "sharerecipients", "shareresources"] {
        let crd = fs::read_to_string(format!("{}/crds/{name}.cfshare.dev.yaml", env!("CARGO_MANIFEST_DIR")));
        files.push((format!("{name}.cfshare.dev.yaml"), crd.expect("a CRD")));
    }
    for (name, text) in files {
        let path = folder.join(&name);
        if std::env::var_os("CFSHARE_UPDATE").is_some() {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&path, &text).expect("it is written");
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == text, "deploy/olm/manifests/{name} is stale: CFSHARE_UPDATE=1 writes it");
    }
}

/// The validation that `operator-sdk bundle validate` does, by the library that does it.
pub fn valid(_: &World) {
    let mut command = Command::new("go");
    command.args(["run", ".", &deploy("olm")]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/olm"));
    let output = command.output().expect("go");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}
