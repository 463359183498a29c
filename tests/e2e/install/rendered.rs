//! Is what the chart renders well-formed, refused where it is misspelt, and the same as what lies beside it?

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use cfshare_testbed::Cluster;
use serde::Deserialize;
use serde_json::{Value, json};

use super::site::deploy;
use crate::scene::World;

const ALL: &str = "chart/ci/all-values.yaml";
const PLATFORM: &str = "chart/ci/platform-values.yaml";
const REPLICAS: &str = "chart/ci/replicas-values.yaml";

const PROMETHEUS: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
const ARGO_CD: &str = "github.com/argoproj/argo-cd/v3@v3.5.3";
const KUSTOMIZE: &str = "github.com/fluxcd/kustomize-controller@v1.7.3";
const SOURCE: &str = "github.com/fluxcd/source-controller@v1.9.0";
/// Where other people's definitions are.
pub const MODULES: [&str; 4] = [PROMETHEUS, ARGO_CD, KUSTOMIZE, SOURCE];

pub fn template(cluster: &Cluster, more: &[&str]) -> Result<String, String> {
    let chart = deploy("chart");
    let mut args = vec!["template", "cfshare", &chart, "--namespace", "cfshare-system"];
    args.extend(more);
    cluster.run_helm(&args).map_err(|error| error.to_string())
}

/// All objects, with every value turned on.
pub fn everything(cluster: &Cluster) -> String {
    template(cluster, &["--values", &deploy(ALL)]).expect("it renders")
}

/// The definitions of ServiceMonitor, PodMonitor and PrometheusRule.
pub fn prometheus_definitions() -> [String; 3] {
    ["servicemonitors", "podmonitors", "prometheusrules"].map(|kind| {
        published(PROMETHEUS, &format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"))
    })
}

/// Definitions of other people's kinds, as their authors publish them.
fn definitions() -> [String; 7] {
    let [monitor, pods, rule] = prometheus_definitions();
    [
        monitor,
        pods,
        rule,
        published(ARGO_CD, "manifests/crds/application-crd.yaml"),
        published(KUSTOMIZE, "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"),
        published(SOURCE, "config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"),
        published(SOURCE, "config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml"),
    ]
}

fn published(module: &str, path: &str) -> String {
    let output = Command::new("go").args(["mod", "download", "-json", module]).output().expect("go");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("go prints JSON");
    let folder = found["Dir"].as_str().unwrap_or_else(|| panic!("{found}"));
    format!("{folder}/{path}")
}

pub fn linted(world: &World) {
    let chart = deploy("chart");
    for values in ["chart/values.yaml", ALL, PLATFORM, REPLICAS] {
        world.cluster.run_helm(&["lint", "--strict", &chart, "--values", &deploy(values)]).expect("clean");
    }
}

pub fn strictly_valid(world: &World) {
    let scene = world.scene();
    let cluster = &world.cluster;
    for definition in definitions() {
        cluster.run(&["apply", "--server-side", "-f", &definition], None).expect("a kind");
        cluster.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &definition], None).expect("it");
    }
    for namespace in ["cfshare-system", "security-baseline", "payments", "monitoring", "argocd", "flux-system"] {
        let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        cluster.run(&["apply", "--server-side", "-f", "-"], Some(&yaml)).expect("a namespace");
    }
    // A pod needs one to be judged at all.
    scene.kubectl(&["-n", "cfshare-system", "create", "serviceaccount", "cfshare-operator"]);
    let check = |what: &str, yaml: &str| {
        let args = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"];
        let taken = cluster.run(&args, Some(yaml)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let objects = yaml.lines().filter(|line| line.starts_with("kind: ")).count();
        assert_eq!(taken.lines().filter(|line| line.contains("serverside-applied")).count(), objects, "{taken}");
    };
    check("defaults", &template(cluster, &[]).unwrap());
    check("every value", &everything(cluster));
    let namespaced = ["--set", "rbac.scope=namespaces", "--set", "watchNamespaces={security-baseline,payments}"];
    let pods = ["--set", "serviceMonitor.enabled=false", "--set", "podMonitor.enabled=true", "--values", &deploy(ALL)];
    check("pod monitor", &template(cluster, &pods).unwrap());
    check("platform", &template(cluster, &["--values", &deploy(PLATFORM)]).unwrap());
    check("replicas", &template(cluster, &["--values", &deploy(REPLICAS)]).unwrap());
    check("namespaces", &template(cluster, &namespaced).unwrap());
    for folder in ["examples", "argocd", "flux"] {
        for file in fs::read_dir(deploy(folder)).expect("a folder") {
            let path = file.expect("a file").path();
            // Values of a chart are no objects.
            if path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("argocd-values.yaml") {
                check(&path.display().to_string(), &known(&fs::read_to_string(&path).expect("text")));
            }
        }
    }
    // The check can fail.
    let misspelt = scene.share("x", &["a"], &["b"], "suspended: true");
    let args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let refused = scene.try_kubectl(&args, Some(&misspelt)).expect_err("misspelt");
    assert!(refused.contains("suspended"), "{refused}");
}

/// Without HelmRelease, whose definition is published nowhere that this test can reach.
fn known(yaml: &str) -> String {
    yaml.split("\n---\n").filter(|text| !text.contains("kind: HelmRelease")).collect::<Vec<_>>().join("\n---\n")
}

pub fn misspelt(world: &World) {
    for (value, says) in [
        ("replica=2", "'replica' not allowed"),
        ("image.tags=x", "'tags' not allowed"),
        ("rbac.scope=namespace", "'/rbac/scope'"),
        ("rbac.scope=namespaces", "'/watchNamespaces'"),
        ("watchNamespaces=x", "'/watchNamespaces'"),
        ("secretNames=null", "secretNames is needed"),
        ("readOnly=yes", "'/readOnly'"),
        ("organization.namespaces={A B}", "'/organization/namespaces/0'"),
        ("image.digest=abc", "'/image/digest'"),
        ("cloudflare.callsPerSecond=0", "'/cloudflare/callsPerSecond'"),
        ("sweepInterval=10", "'/sweepInterval'"),
        ("sweepInterval=0m0s", "'/sweepInterval'"),
        ("nameOverride=My_Name", "'/nameOverride'"),
        ("fullnameOverride=a.b", "'/fullnameOverride'"),
        ("podDisruptionBudget.maxUnavailable=", "'/podDisruptionBudget/maxUnavailable'"),
        ("serviceAccount.create=false", "serviceAccount.name is needed"),
        ("caBundle.pem=x,caBundle.configMap=y", "pem or configMap"),
        ("serviceMonitor.enabled=true,service.enabled=false", "needs service.enabled"),
        ("prometheusRule.enabled=true", "needs serviceMonitor.enabled"),
        ("serviceMonitor.enabled=true,podMonitor.enabled=true", "enable one of them"),
        ("serviceMonitor.enabled=true,prometheusRule.enabled=true,prometheusRule.rules.Nope.for=1h", "no alert Nope"),
        ("imagePullSecrets[0].names=x", "'/imagePullSecrets/0'"),
        ("openshift=maybe", "'/openshift'"),
        ("global=null", "use --reset-then-reuse-values"),
        ("rbac=null", "use --reset-then-reuse-values"),
        ("rbac.scope=null", "must be cluster or namespaces"),
        ("hostUsers=yes", "'/hostUsers'"),
        ("service.ipFamilies={IPv5}", "'/service/ipFamilies/0'"),
    ] {
        let refused = template(&world.cluster, &["--set", value]).expect_err(value);
        assert!(refused.contains(says), "{value}: {refused}");
    }
    let taken = "sweepInterval=1h30m,maxDeletions=null,podDisruptionBudget.enabled=true,podDisruptionBudget.maxUnavailable=null";
    let rendered = template(&world.cluster, &["--set", taken]).expect("it renders");
    assert!(!rendered.contains("--max-deletions="), "null is the default: {rendered}");
    assert!(rendered.contains("maxUnavailable: 1\n"), "{rendered}");
    let all = "serviceMonitor.enabled=true,prometheusRule.enabled=true,networkPolicy.enabled=true,test.enabled=null,\
        deletionProtection.enabled=null,organization.namespaces=null,networkPolicy.extraEgress=null,\
        prometheusRule.extraRules=null,prometheusRule.rules=null,prometheusRule.ruleLabels=null,\
        prometheusRule.ruleAnnotations=null,crds.annotations=null";
    template(&world.cluster, &["--set", all]).expect("null takes a default away, and leaves nothing broken");
}

/// What a release or its values may be called, the API server accepts.
pub fn odd_names(world: &World) {
    let long = format!("nameOverride={},networkPolicy.enabled=true", "a".repeat(63));
    let elsewhere = "serviceMonitor.namespace=monitoring,dashboard.enabled=true,dashboard.namespace=monitoring";
    let proxy = "proxy.https=http://proxy:3128,extraEnv[0].name=NO_PROXY,extraEnv[0].value=internal";
    let rendered = |release: &str, namespace: &str, set: &str| {
        // The API server asks for the ServiceAccount of a Pod.
        let account = "serviceAccount.create=false,serviceAccount.name=default";
        let args = ["template", release, &deploy("chart"), "--namespace", namespace, "--set", account, "--set", set];
        world.cluster.run_helm(&args).expect("it renders")
    };
    for (release, set) in [("my.release", ""), ("2024", ""), ("1e3", ""), ("true", ""), ("x", &long), ("x", proxy)] {
        let yaml = rendered(release, "default", set);
        let args = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"];
        world.cluster.run(&args, Some(&yaml)).unwrap_or_else(|error| panic!("{release} {set}: {error}"));
    }
    let names = |namespace: &str| -> Vec<String> {
        let elsewhere = format!("serviceMonitor.enabled=true,{elsewhere}");
        let objects = objects(&rendered("cfshare", namespace, &elsewhere));
        let there = objects.into_iter().filter(|(_, object)| object["metadata"]["namespace"] == "monitoring");
        there.map(|(name, _)| name).collect()
    };
    let (one, other) = (names("a"), names("b"));
    assert_eq!(one.len(), 2, "{one:?}");
    assert!(one.iter().all(|name| !other.contains(name)), "two releases of one name do not meet: {one:?} {other:?}");
    let kept = rendered("x", "default", r"crds.annotations.argocd\.argoproj\.io/sync-options=ServerSideApply=true");
    let options = "argocd.argoproj.io/sync-options: Prune=false,Delete=false,ServerSideApply=true";
    assert_eq!(kept.matches(options).count(), 3, "what protects the CRDs stays beside other options");
}

pub fn kept(world: &World) {
    for (set, annotations) in [
        ("crds.keep=true", ["helm.sh/resource-policy: keep", "kustomize.toolkit.fluxcd.io/prune: disabled"]),
        ("crds.keep=false", ["cfshare.dev/allow-deletion: \"true\"", "kustomize.toolkit.fluxcd.io/prune: disabled"]),
        (
            r"crds.keep=false,crds.annotations.helm\.sh/resource-policy=keep",
            ["helm.sh/resource-policy: keep", "cfshare.dev/allow-deletion: \"true\""],
        ),
    ] {
        let rendered = template(&world.cluster, &["--show-only", "templates/crds.yaml", "--set", set]).unwrap();
        for annotation in annotations {
            assert_eq!(rendered.matches(annotation).count(), 3, "{set}: {annotation}");
        }
        let policies = if annotations.iter().any(|one| one.contains("resource-policy")) { 3 } else { 0 };
        assert_eq!(rendered.matches("helm.sh/resource-policy").count(), policies, "{set}");
    }
}

/// The objects of a rendered chart, by kind and name.
pub fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let documents =
        serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).expect("YAML"));
    let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
    documents.filter(|object| object.is_object()).map(|object| (name(&object), object)).collect()
}

pub fn platform(world: &World) {
    let text = template(&world.cluster, &["--values", &deploy(PLATFORM)]).unwrap();
    let objects = objects(&text);
    let pod = &objects["Deployment cfshare"]["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["team"], "cfshare");
    assert_eq!(objects["Deployment cfshare"]["metadata"]["labels"]["team"], "platform");
    assert_eq!(objects["Deployment cfshare"]["metadata"]["labels"]["app.kubernetes.io/part-of"], "security");
    let spec = &pod["spec"];
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "regcred"}]));
    assert_eq!(spec["securityContext"]["seLinuxOptions"]["level"], "s0:c1,c2");
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    let container = &spec["containers"][0];
    assert_eq!(container["image"], concat!("registry.example/cfshare/cfshare:", env!("CARGO_PKG_VERSION")));
    assert!(container["args"].as_array().expect("arguments").contains(&json!("--api-burst=2000000")));
    assert!(container["securityContext"].get("runAsUser").is_none(), "{container:#}");
    assert_eq!(spec["nodeSelector"], json!({"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}));
    assert_eq!(spec["tolerations"], json!([{"key": "platform", "operator": "Exists"}]));
    assert_eq!(spec["priorityClassName"], "platform");
    let ports = &objects["NetworkPolicy cfshare"]["spec"]["egress"];
    assert_eq!(ports.as_array().map(Vec::len), Some(1), "{ports:#}");
    let endpoint = &objects["ServiceMonitor cfshare.cfshare-system"]["spec"]["endpoints"][0];
    assert_eq!(endpoint["relabelings"], json!([{"targetLabel": "cluster", "replacement": "eu-1"}]));
    assert_eq!(objects["ServiceMonitor cfshare.cfshare-system"]["metadata"]["namespace"], "monitoring");
    let rules =
        objects["PrometheusRule cfshare.cfshare-system"]["spec"]["groups"][0]["rules"].as_array().expect("rules");
    let changed = rules.iter().find(|rule| rule["alert"] == "CfshareShareNotReady").expect("it is there");
    assert_eq!((&changed["for"], &changed["labels"]["severity"]), (&json!("1h"), &json!("info")));
    assert_eq!(objects["ConfigMap cfshare-dashboard"]["metadata"]["annotations"]["grafana_folder"], "Security");
    assert_eq!(objects["ConfigMap extra"]["data"]["a"], "b");
    let recreate = template(&world.cluster, &["--set", "strategy.type=Recreate"]).unwrap();
    assert!(!recreate.contains("rollingUpdate"), "{recreate}");
    // On OpenShift, known from the cluster or by one value: an umbrella chart can set it, which null would not survive.
    for set in [&["--set", "openshift=true"][..], &["--api-versions", "security.openshift.io/v1"]] {
        let rendered = template(&world.cluster, set).unwrap();
        assert!(!rendered.contains("runAsUser") && !rendered.contains("runAsGroup"), "{set:?}");
    }
    // Helm compares kubeVersion with a version of its own where it has no cluster.
    template(&world.cluster, &["--kube-version", "1.20.0"]).expect("without a cluster");
    let old = ["--kube-version", "1.20.0", "--api-versions", "apiregistration.k8s.io/v1"];
    assert!(template(&world.cluster, &old).expect_err("an old cluster").contains("cfshare needs Kubernetes"));
    for values in [PLATFORM, ALL] {
        let text = template(&world.cluster, &["--values", &deploy(values)]).unwrap();
        let scientific = |word: &str| word.parse::<f64>().is_ok() && word.contains("e+");
        let numbers = text.split([' ', '=', '\n', '"']).filter(|word| scientific(word));
        assert_eq!(numbers.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

pub fn replicas(world: &World) {
    let objects = |set: &str| {
        let args = ["--values", &deploy(REPLICAS), "--set", set];
        objects(&template(&world.cluster, &args).unwrap())
    };
    let affinity = |set: &str| objects(set)["Deployment cfshare"]["spec"]["template"]["spec"]["affinity"].clone();
    let two = objects("replicas=2");
    assert_eq!(two["PodDisruptionBudget cfshare"]["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    let preferred = "/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm";
    let term = affinity("replicas=2").pointer(preferred).expect("a preference").clone();
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(term["labelSelector"], two["Deployment cfshare"]["spec"]["selector"]);
    assert_eq!(affinity("replicas=1"), affinity("replicas=2"), "a second replica makes no new pod of the first");
    let spread = "topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].topologyKey=topology.kubernetes.io/zone,\
                  topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule";
    assert_eq!(affinity(spread), Value::Null, "who spreads them has decided");
    let own = "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone";
    assert_eq!(affinity(own).get("podAntiAffinity"), None, "an affinity of one's own is not added to");
}

/// values.yaml, the schema and the chart's README say the same, and the tests turn everything on.
pub fn described(_: &World) {
    let checked = Command::new(deploy("chart-docs")).arg("--check").output().expect("Python");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let read = |path: &str| fs::read_to_string(deploy(path)).expect("a file");
    let defaults: Value = serde_yaml::from_str(&read("chart/values.yaml")).expect("YAML");
    let all: Value = serde_yaml::from_str(&read(ALL)).expect("YAML");
    for (name, value) in defaults.as_object().expect("values") {
        assert!(all.get(name).is_some(), "{name} is not in {ALL}");
        let given =
            ["podSecurityContext", "securityContext", "strategy", "nodeSelector", "livenessProbe", "readinessProbe"];
        for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(
                given.contains(&name.as_str())
                    || (name == "caBundle" && key == "configMap")
                    || all[name].get(key).is_some(),
                "{name}.{key} is not in {ALL}"
            );
        }
    }
}

pub fn copies(world: &World) {
    let folder = world.cluster.folder().join("rendered");
    fs::create_dir_all(&folder).expect("a folder");
    let rendered = Command::new(deploy("manifests/render"))
        .arg(&folder)
        .env("PATH", path_with(&world.cluster.programs().helm))
        .status()
        .expect("sh");
    assert!(rendered.success());
    for file in ["crds.yaml", "operator.yaml"] {
        let stored = fs::read_to_string(deploy("manifests/") + file).unwrap_or_default();
        let fresh = fs::read_to_string(folder.join(file)).expect("it was rendered");
        assert!(stored == fresh, "deploy/manifests/{file} is stale: run deploy/manifests/render");
    }
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    for file in fs::read_dir(crds).expect("crds/") {
        let file = file.expect("a file");
        let copy = fs::read(Path::new(&deploy("chart/files/crds")).join(file.file_name())).unwrap_or_default();
        let name = file.file_name();
        assert!(copy == fs::read(file.path()).expect("text"), "{name:?} is stale: run deploy/manifests/render");
    }
    assert_eq!(
        fs::read_dir(crds).expect("crds/").count(),
        fs::read_dir(deploy("chart/files/crds")).expect("copies").count()
    );
}

fn path_with(program: &Path) -> std::ffi::OsString {
    let mut paths = vec![program.parent().expect("a folder").to_path_buf()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    std::env::join_paths(paths).expect("a path")
}
