//! Is the control plane a real one, and does it end when it should?
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cfshare_testbed::{Cluster, Component, Folder, Options, Process, wait};

const PATIENCE: Duration = Duration::from_secs(20);

const ACCOUNT_WITHOUT_RIGHTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: tenant, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bot, namespace: tenant}
"#;

const ROOT_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: root, namespace: tenant}
spec: {containers: [{name: root, image: root, securityContext: {privileged: true}}]}
"#;

const KIND: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: probes.cfshare.dev}
spec:
  group: cfshare.dev
  names: {kind: Probe, plural: probes}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

const PROBE: &str = r#"
apiVersion: cfshare.dev/v1
kind: Probe
metadata: {name: probe, namespace: tenant}
spec: {colour: blue}
"#;

#[test]
fn a_cluster_enforces_audits_recovers_and_leaves_nothing() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    cluster.run(&["apply", "-f", "-"], Some(ACCOUNT_WITHOUT_RIGHTS)).unwrap();

    let bot = cluster.kubeconfig_for("tenant", "bot").unwrap();
    let denied = cluster.kubectl(&["get", "secrets"]).env("KUBECONFIG", bot).output().unwrap();
    assert!(String::from_utf8_lossy(&denied.stderr).contains("Forbidden"), "{denied:?}");
    let refused = cluster.run(&["apply", "-f", "-"], Some(ROOT_POD)).unwrap_err();
    assert!(refused.to_string().contains("PodSecurity"), "{refused}");

    cluster.run(&["apply", "-f", "-"], Some(KIND)).unwrap();
    cluster.run(&["wait", "--for=condition=Established", "crd/probes.cfshare.dev"], None).unwrap();
    cluster.run(&["apply", "-f", "-"], Some(PROBE)).unwrap();

    let (entries, mark) = cluster.audit_since(0).unwrap();
    assert!(entries.iter().any(|entry| entry["user"]["username"] == "system:serviceaccount:tenant:bot"
        && entry["objectRef"]["resource"] == "secrets"
        && entry["responseStatus"]["code"] == 403));
    assert!(entries.iter().any(|entry| entry["requestObject"]["spec"]["colour"] == "blue"));

    cluster.restart(Component::Etcd).unwrap();
    cluster.restart(Component::ApiServer).unwrap();
    let colour = ["get", "probe", "probe", "-n", "tenant", "-o", "jsonpath={.spec.colour}"];
    assert_eq!(cluster.run(&colour, None).unwrap(), "blue");
    let (later, _) = cluster.audit_since(mark).unwrap();
    assert!(later.iter().any(|entry| entry["verb"] == "get" && entry["objectRef"]["resource"] == "probes"));

    // The controllers work, also after the outage: they finish a namespace.
    cluster.run(&["delete", "namespace", "tenant", "--timeout=30s"], None).unwrap();

    let folder = cluster.folder().to_owned();
    assert_eq!(processes_in(&folder), 3);
    cluster.stop();
    assert_eq!(processes_in(&folder), 0);
    assert!(!folder.exists());
}

#[test]
fn helm_installs_a_chart() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let chart = cluster.folder().join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: probe\nversion: 0.1.0\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: probe}\ndata: {colour: '{{ .Values.colour }}'}\n";
    fs::write(chart.join("templates/probe.yaml"), template).unwrap();
    cluster.run_helm(&["install", "probe", chart.to_str().unwrap(), "--set", "colour=blue", "--wait"]).unwrap();
    let colour = cluster.run(&["get", "configmap", "probe", "-o", "jsonpath={.data.colour}"], None).unwrap();
    assert_eq!(colour, "blue");
}

#[test]
fn nothing_outlives_a_killed_program() {
    let place = Folder::temporary().unwrap();
    let data = place.join("cluster");
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.arg("--folder").arg(&data);
    let testbed = Process::start(command, place.join("log")).unwrap();
    assert!(testbed.logs("Ctrl-C", Duration::from_secs(1200)), "{}", testbed.log());
    assert_eq!(processes_in(&data), 3);
    testbed.kill();
    assert!(wait::until(PATIENCE, || (processes_in(&data) == 0).then_some(())).is_some());
}

#[test]
fn a_terminated_program_leaves_no_folder() {
    let place = Folder::temporary().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.env("TMPDIR", place.path());
    let testbed = Process::start(command, place.join("log")).unwrap();
    assert!(testbed.logs("Ctrl-C", Duration::from_secs(1200)), "{}", testbed.log());
    assert!(testbed.stop(PATIENCE).is_some_and(|status| status.success()), "{}", testbed.log());
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "only our own log and lock: {left:?}");
}

#[test]
fn without_go_and_programs_one_sentence_names_the_two_ways_out() {
    let empty = Folder::temporary().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("build")
        .env("PATH", empty.path())
        .env("CFSHARE_TESTBED_CACHE", empty.path())
        .env_remove("KUBEBUILDER_ASSETS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("install Go 1.26 or newer") && said.contains("KUBEBUILDER_ASSETS"), "{said}");
}

/// How many programs run in this folder.
fn processes_in(folder: &Path) -> usize {
    let runs_here = |process: &fs::DirEntry| {
        let place = fs::read_link(process.path().join("cwd")).unwrap_or_default();
        // As text: of a folder that is gone, Linux says "… (deleted)".
        place.to_string_lossy().starts_with(&*folder.to_string_lossy())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(runs_here).count()
}
