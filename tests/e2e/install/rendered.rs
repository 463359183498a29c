//! Is what the chart renders well-formed, refused where it is misspelt, and the same as what lies beside it?

use std::fs;
use std::path::Path;
use std::process::Command;

use cfshare_testbed::Cluster;

use super::site::deploy;
use crate::scene::World;

const ALL: &str = "chart/ci/all-values.yaml";

fn template(cluster: &Cluster, more: &[&str]) -> Result<String, String> {
    let chart = deploy("chart");
    let mut args = vec!["template", "cfshare", &chart, "--namespace", "cfshare-system"];
    args.extend(more);
    cluster.run_helm(&args).map_err(|error| error.to_string())
}

/// All objects, with every value turned on.
pub fn everything(cluster: &Cluster) -> String {
    template(cluster, &["--values", &deploy(ALL)]).expect("it renders")
}

/// The definitions of ServiceMonitor and PrometheusRule.
pub fn prometheus_definitions() -> [String; 2] {
    ["servicemonitors", "prometheusrules"].map(|kind| {
        published(
            "github.com/prometheus-operator/prometheus-operator@v0.85.0",
            &format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"),
        )
    })
}

/// Definitions of other people's kinds, as their authors publish them.
fn definitions() -> [String; 6] {
    let source = "github.com/fluxcd/source-controller@v1.9.0";
    let [monitor, rule] = prometheus_definitions();
    [
        monitor,
        rule,
        published("github.com/argoproj/argo-cd/v3@v3.5.3", "manifests/crds/application-crd.yaml"),
        published(
            "github.com/fluxcd/kustomize-controller@v1.7.3",
            "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",
        ),
        published(source, "config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"),
        published(source, "config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml"),
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
    for values in ["chart/values.yaml", ALL] {
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
    for namespace in ["cfshare-system", "security-baseline", "payments", "argocd", "flux-system"] {
        let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        cluster.run(&["apply", "--server-side", "-f", "-"], Some(&yaml)).expect("a namespace");
    }
    let check = |what: &str, yaml: &str| {
        let args = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"];
        let taken = cluster.run(&args, Some(yaml)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let objects = yaml.lines().filter(|line| line.starts_with("kind: ")).count();
        assert_eq!(taken.lines().filter(|line| line.contains("serverside-applied")).count(), objects, "{taken}");
    };
    check("defaults", &template(cluster, &[]).unwrap());
    check("every value", &everything(cluster));
    let namespaced = ["--set", "rbac.scope=namespaces", "--set", "watchNamespaces={security-baseline,payments}"];
    check("namespaces", &template(cluster, &namespaced).unwrap());
    for folder in ["examples", "argocd", "flux"] {
        for file in fs::read_dir(deploy(folder)).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
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
        ("secretNames=null", "'secretNames'"),
        ("readOnly=yes", "'/readOnly'"),
        ("organization.namespaces={A B}", "'/organization/namespaces/0'"),
        ("image.digest=abc", "'/image/digest'"),
        ("cloudflare.callsPerSecond=0", "'/cloudflare/callsPerSecond'"),
        ("sweepInterval=10", "'/sweepInterval'"),
        ("serviceAccount.create=false", "serviceAccount.name is needed"),
        ("caBundle.pem=x,caBundle.configMap=y", "pem or configMap"),
        ("serviceMonitor.enabled=true,service.enabled=false", "needs service.enabled"),
        ("prometheusRule.enabled=true", "needs serviceMonitor.enabled"),
    ] {
        let refused = template(&world.cluster, &["--set", value]).expect_err(value);
        assert!(refused.contains(says), "{value}: {refused}");
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
