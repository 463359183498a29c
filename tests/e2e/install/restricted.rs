//! Does a namespace that enforces Pod Security "restricted" take the Pod, and no weaker one?

use serde_json::{Value, json};

use super::site::deploy;
use crate::scene::{Scene, World};

/// The Pod of a rendered Deployment, without its controller.
fn pod(world: &World, more: &[&str]) -> Value {
    let chart = deploy("chart");
    let mut args = vec![
        "template",
        "cfshare",
        &chart,
        "--namespace",
        "cfshare-system",
        "--show-only",
        "templates/deployment.yaml",
    ];
    args.extend(more);
    let yaml = world.cluster.run_helm(&args).expect("it renders");
    let deployment: Value = serde_yaml::from_str(&yaml).expect("YAML");
    let mut spec = deployment["spec"]["template"]["spec"].clone();
    // Whether it may be scheduled is another question.
    for key in ["priorityClassName", "runtimeClassName"] {
        spec.as_object_mut().expect("a spec").remove(key);
    }
    spec["serviceAccountName"] = json!("default");
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "cfshare" }, "spec": spec })
}

fn judged(scene: &Scene<'_>, pod: &Value) -> Result<String, String> {
    scene.try_kubectl(&["create", "--dry-run=server", "-f", "-"], Some(&pod.to_string()))
}

fn enforcing(world: &World) -> Scene<'_> {
    let scene = world.scene();
    let labels = ["pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest"];
    scene.kubectl(&["label", "namespace", &scene.namespace, labels[0], labels[1]]);
    scene.wait("the default ServiceAccount", || scene.get("serviceaccount", "default").is_some());
    scene
}

pub fn accepted(world: &World) {
    let scene = enforcing(world);
    let all = deploy("chart/ci/all-values.yaml");
    for values in [&[][..], &["--values", &all], &["--set", "user=null"]] {
        let pod = pod(world, values);
        judged(&scene, &pod).unwrap_or_else(|error| panic!("{error}"));
        // What the standard does not ask for, and we promise.
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        let tokens: Vec<&Value> = pod["spec"]["volumes"]
            .as_array()
            .expect("volumes")
            .iter()
            .flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten())
            .filter(|source| source["serviceAccountToken"].is_object())
            .collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens[0]["serviceAccountToken"]["expirationSeconds"], 3600);
    }
}

pub fn weakened(world: &World) {
    let scene = enforcing(world);
    let strong = pod(world, &[]);
    let container = "/spec/containers/0/securityContext";
    let weakenings = [
        (format!("{container}/allowPrivilegeEscalation"), Value::Null, "allowPrivilegeEscalation"),
        (format!("{container}/allowPrivilegeEscalation"), json!(true), "allowPrivilegeEscalation"),
        (format!("{container}/capabilities"), Value::Null, "capabilities"),
        (format!("{container}/capabilities"), json!({"drop": ["NET_RAW"]}), "capabilities"),
        (format!("{container}/capabilities/add"), json!(["NET_ADMIN"]), "capabilities"),
        (container.into(), json!({"privileged": true}), "privileged"),
        (format!("{container}/runAsUser"), json!(0), "runAsUser=0"),
        ("/spec/securityContext/runAsNonRoot".into(), Value::Null, "runAsNonRoot"),
        ("/spec/securityContext/runAsNonRoot".into(), json!(false), "runAsNonRoot"),
        ("/spec/securityContext/runAsUser".into(), json!(0), "runAsUser=0"),
        ("/spec/securityContext/seccompProfile".into(), Value::Null, "seccompProfile"),
        ("/spec/securityContext/seccompProfile/type".into(), json!("Unconfined"), "seccompProfile"),
        ("/spec/hostNetwork".into(), json!(true), "hostNetwork"),
        ("/spec/hostPID".into(), json!(true), "host namespaces"),
        ("/spec/volumes/-".into(), json!({"name": "host", "hostPath": {"path": "/"}}), "hostPath"),
    ];
    for (path, value, says) in weakenings {
        let mut weak = strong.clone();
        set(&mut weak, &path, value.clone());
        let refused = judged(&scene, &weak).expect_err(&format!("{path} {value}"));
        assert!(refused.contains("violates PodSecurity \"restricted:latest\"") && refused.contains(says), "{refused}");
    }
}

/// Sets what is at a JSON pointer, adds to a list, or takes away where the value is null.
fn set(object: &mut Value, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('/').expect("a pointer");
    match object.pointer_mut(parent) {
        Some(Value::Array(list)) => list.push(value),
        Some(Value::Object(fields)) if value.is_null() => drop(fields.remove(key)),
        Some(Value::Object(fields)) => drop(fields.insert(key.to_owned(), value)),
        _ => panic!("{path}"),
    }
}
