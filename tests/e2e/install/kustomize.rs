//! Do kustomize's own ways of changing manifests keep what belongs together: names, lists, the operator's namespace?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cfshare_simulator::random_id;
use cfshare_testbed::Cluster;

use super::node::Node;
use super::site::{Site, deploy, share, tenant};
use crate::scene::{Scene, World, ids};

/// A folder with what the project ships for kustomizations, and these files.
fn folder(parent: &Path, files: &[(&str, &str)]) -> PathBuf {
    let root = parent.join(format!("kustomize-{}", random_id()));
    for name in ["kustomize", "manifests"] {
        fs::create_dir_all(root.join(name)).expect("a folder");
        for file in fs::read_dir(deploy(name)).expect("a folder") {
            let file = file.expect("a file");
            fs::copy(file.path(), root.join(name).join(file.file_name())).expect("a copy");
        }
    }
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    root
}

fn build(cluster: &Cluster, folder: &Path) -> String {
    cluster.run(&["kustomize", &folder.display().to_string()], None).unwrap_or_else(|error| panic!("{error}"))
}

/// Builds the overlay `over` of these objects.
fn overlay(scene: &Scene<'_>, objects: &str, kustomization: &str, patch: &str) -> String {
    let merge_keys = fs::read_to_string(deploy("kustomize/merge-keys.json")).expect("it is shipped");
    let files = [
        ("over/objects.yaml", objects),
        ("over/patch.yaml", patch),
        ("over/merge-keys.json", &merge_keys),
        ("over/kustomization.yaml", kustomization),
    ];
    let root = folder(scene.world.cluster.folder(), &files);
    build(&scene.world.cluster, &root.join("over"))
}

pub fn names(world: &World) {
    let scene = world.scene();
    let [account, resource] = ids();
    let objects = format!(
        "{}  credentialsRef: {{name: cloudflare-credentials}}\n---\n{}---\n{}",
        scene.share("zero-trust", &[], &[], ""),
        scene.recipient("payments", "zero-trust", &account, ""),
        scene.resource("rules", "zero-trust", &resource, ""),
    );
    let kustomization = format!(
        "namePrefix: staging-\nresources: [objects.yaml]\ncomponents: [../kustomize]\nsecretGenerator:\n- name: \
         cloudflare-credentials\n  literals: [apiToken={}]\n",
        scene.token
    );
    let built = overlay(&scene, &objects, &kustomization, "");
    assert_eq!(built.matches("shareRef:\n    name: staging-zero-trust\n").count(), 2, "{built}");
    let secret = built.split("name: ").find(|rest| rest.starts_with("staging-cloudflare-credentials-"));
    let secret = secret.and_then(|rest| rest.lines().next()).expect("a name with a hash");
    assert!(built.contains(&format!("credentialsRef:\n    name: {secret}\n")), "{built}");
    scene.try_kubectl(&["apply", "--server-side", "--dry-run=server", "-f", "-"], Some(&built)).expect("valid");
}

pub fn lists(world: &World) {
    let scene = world.scene();
    let [one, two, three, four, five] = ids();
    let [added, x] = ids();
    let base = scene.share("baseline", &[&one, &two, &three, &four, &five], &[&x], "");
    let patch = format!(
        "apiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata: {{name: baseline}}\nspec:\n  recipients:\n  - \
         {{accountID: {added}}}\n"
    );
    let kustomization = "resources: [objects.yaml]\nopenapi: {path: merge-keys.json}\npatches: [{path: patch.yaml}]\n";
    scene.apply(&base);
    scene.wait_ready("shares.cfshare.dev", "baseline");
    let before = scene.changes().len();
    scene.apply(&overlay(&scene, &base, kustomization, &patch));
    scene.wait_for("shares.cfshare.dev", "baseline", "with one recipient more", |share| {
        share["status"]["recipients"]["summary"] == "6/6" && crate::scene::is_ready(share)
    });
    let changes = scene.changes_since(before);
    assert!(changes.len() == 1 && changes[0].starts_with("POST "), "{changes:#?}");
}

/// The overlay that the documentation shows, of the manifests here; patches come last.
fn documented() -> String {
    let page = fs::read_to_string(deploy("../docs/kustomize.md")).expect("the page");
    let blocks = page.split("```yaml\n").filter_map(|block| block.split("```").next());
    let mut overlays = blocks.filter(|block| block.starts_with("namespace: platform\n"));
    let overlay = overlays.next().expect("the overlay");
    overlay.replace("- github.com/cfshare/cfshare//deploy/manifests?ref=v0.1.0", "- ../manifests")
}

/// An overlay that gives all of `deploy/manifests` another namespace and another name.
pub fn elsewhere() {
    let site = Site::start();
    let kustomization = format!(
        "namePrefix: x-\n{}- target: {{kind: Deployment}}\n  \
         patch: '[{{\"op\":\"add\",\"path\":\"/spec/template/spec/containers/0/args/-\",\"value\":\
         \"--cloudflare-url={}\"}}]'\n",
        documented(),
        site.simulator.base_url()
    );
    site.kubectl(&["create", "namespace", "platform"]);
    let root = folder(site.cluster.folder(), &[("over/kustomization.yaml", &kustomization)]);
    let built = build(&site.cluster, &root.join("over"));
    site.try_kubectl(&["apply", "--server-side", "-f", "-"], Some(&built)).expect("it is applied");
    let mut node = Node::within(&site, "platform");
    assert_eq!(node.settle(), 1);
    let labels = &site.get("", "namespace", "platform").expect("it was there")["metadata"]["labels"];
    assert!(!labels.to_string().contains("pod-security"), "the namespace is the others' as it was: {labels}");

    // It leads, with the Lease of its own namespace.
    let [account, first] = [random_id(), random_id()];
    tenant(&site, "team", "cloudflare-credentials");
    site.apply("team", &share("waf", &account, &[&first], ""));
    site.wait_ready("team", "shares.cfshare.dev", "waf");
    let lease = site.get("platform", "lease", "cfshare").expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().split('-').next(), Some("x"), "{lease}");

    // The policy recognizes it.
    let user = "--as=system:serviceaccount:platform:x-cfshare";
    let patch = |user: &str| {
        let patch = ["--type=merge", "--dry-run=server", "-p", r#"{"spec":{"suspend":true}}"#, user];
        site.try_kubectl(&[&["-n", "team", "patch", "shares.cfshare.dev", "waf"], &patch[..]].concat(), None)
    };
    site.wait("the policy is in force", || patch(user).is_err());
    let refused = patch(user).expect_err("refused");
    assert!(refused.contains("the operator may not change the spec"), "{refused}");

    // What another policy adds to the object when the operator writes is taken for the operator's: that must not keep an
    // object in deletion for ever.
    let label = |name: &str| {
        let patch = ["--type=merge", "--dry-run=server", "-p", r#"{"metadata":{"labels":{"cost-center":"7"}}}"#, user];
        site.try_kubectl(&[&["-n", "team", "patch", "shares.cfshare.dev", name], &patch[..]].concat(), None)
    };
    let refused = label("waf").expect_err("refused");
    assert!(refused.contains("exempt the operator's ServiceAccount from it"), "{refused}");
    let leaving = share("leaving", &account, &[&random_id()], "")
        .replace("metadata: {name: leaving", "metadata: {finalizers: [example.com/keep], name: leaving");
    assert!(leaving.contains("example.com/keep"), "{leaving}");
    site.apply("team", &leaving);
    site.kubectl(&["-n", "team", "delete", "--wait=false", "shares.cfshare.dev", "leaving"]);
    label("leaving").expect("it is being deleted");
    site.kubectl(&[
        "-n",
        "team",
        "patch",
        "shares.cfshare.dev",
        "leaving",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);

    // Others with such rights are not taken for it: Kubernetes' garbage collector, who may create Shares, a person with
    // all rights.
    patch("--as=system:serviceaccount:kube-system:generic-garbage-collector").expect("the garbage collector");
    site.kubectl(&["-n", "team", "create", "serviceaccount", "cfshare"]);
    let bind =
        ["create", "clusterrolebinding", "gitops", "--clusterrole=cluster-admin", "--serviceaccount=team:cfshare"];
    site.kubectl(&bind);
    site.wait("the rights are granted", || patch("--as=system:serviceaccount:team:cfshare").is_ok());
    patch("--as-group=system:masters").unwrap_err();
    patch("-o=name").expect("a person");

    doctored(&site);
}

/// The doctor finds the Lease and the policy there, and says so when either is missing.
fn doctored(site: &Site) {
    let doctor = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cfshare"));
        command.env_clear().env("KUBECONFIG", site.cluster.kubeconfig());
        command.args(["doctor", "--cluster-only", "-n", "team", "--service-account", "platform/x-cfshare"]);
        String::from_utf8(command.output().expect("it runs").stdout).expect("text")
    };
    let found = doctor();
    for line in [
        "ok    rights: the operator has all permissions that it uses",
        "ok    policy self-restriction: in force for the operator",
        "ok    lease platform/cfshare: held by x-cfshare-",
    ] {
        assert!(found.lines().any(|found| found.starts_with(line)), "{line}\n{found}");
    }
    site.kubectl(&["delete", "validatingadmissionpolicybinding", "x-self-restriction.cfshare.cfshare-system"]);
    site.kubectl(&["-n", "platform", "delete", "rolebinding", "x-cfshare-lease"]);
    let missing = [
        "warn  policy self-restriction: the operator's ServiceAccount may change specs",
        "fail  rights: the operator may not create leases in platform, get leases cfshare in platform, update leases",
    ];
    site.wait("the doctor finds both missing", || {
        let found = doctor();
        missing.iter().all(|line| found.lines().any(|found| found.starts_with(line)))
    });
}
