//! Does every command that we tell people reach our objects where another operator has a kind with the same plural?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cfshare_simulator::random_id;
use cfshare_testbed::Process;

use super::site::{Site, share, tenant};
use super::suite;
use crate::scene::{message, operator};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Its group sorts before ours, so kubectl prefers it.
const OTHER: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
    metadata: {name: shares.aaa.example.com}\nspec:\n  group: aaa.example.com\n  scope: Namespaced\n  \
    names: {kind: Share, plural: shares, singular: share, listKind: ShareList}\n  \
    versions:\n  - name: v1\n    served: true\n    storage: true\n    \
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n";

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Lines with a kubectl command about our kinds, in all that people read and in what the program says.
fn commands() -> Vec<(String, String)> {
    let mut paths = vec![Path::new(ROOT).join("README.md")];
    for folder in ["docs", "deploy", "src", "tests/testbed/src"] {
        files(&Path::new(ROOT).join(folder), &mut paths);
    }
    let mut found = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in text.replace("\\\n", " ").lines() {
            for command in line.split("kubectl ").skip(1) {
                let command = command.split(['`', '|', '#', ';']).next().unwrap_or_default();
                found.push((path.display().to_string(), command.trim().to_owned()));
            }
        }
    }
    found
}

/// Words that kubectl would look up by name alone.
fn bare(command: &str) -> bool {
    let words = command.split([' ', ',', '/', '"', '\'']).take_while(|word| *word != "--");
    let mut kinds = words.filter(|word| {
        let kind = word.split('.').next().unwrap_or_default().trim_end_matches('s');
        ["share", "sharerecipient", "shareresource"].contains(&kind) && !word.contains(".cfshare.dev")
    });
    // What a file or a chart is called is no kind.
    kinds.any(|word| !word.ends_with(".yaml"))
}

pub fn named() {
    let commands = commands();
    let ours = commands.iter().filter(|(_, command)| command.contains("shares.cfshare.dev")).count();
    assert!(ours > 15, "{commands:#?}");
    let wrong: Vec<_> = commands
        .iter()
        .filter(|(_, command)| {
            let verb = command.split(' ').find(|word| VERBS.contains(word));
            verb.is_some() && bare(command)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(bare("get share waf") && bare("wait --for=delete share/waf") && !bare("get shares.cfshare.dev waf"));
}

const VERBS: [&str; 10] =
    ["get", "describe", "delete", "annotate", "label", "patch", "wait", "explain", "events", "edit"];

/// A cluster with both kinds, and an operator.
fn both() -> (Site, Process) {
    let site = Site::start();
    site.kubectl(&["apply", "--server-side", "-f", &format!("{ROOT}/crds")]);
    site.try_kubectl(&["apply", "-f", "-"], Some(OTHER)).expect("another kind");
    for name in ["shares.aaa.example.com", "shares.cfshare.dev"] {
        site.kubectl(&["wait", "--for=condition=Established", "crd", name, "--timeout=60s"]);
    }
    suite::install(&site.cluster).expect("rights");
    let log = site.cluster.folder().join("operator.log");
    let operator = Process::start(operator(&site.cluster, &site.simulator), log).expect("the operator");
    (site, operator)
}

fn shell(site: &Site, command: &str) -> Result<String, String> {
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).env("KUBECONFIG", site.cluster.kubeconfig());
    let old = std::env::var("PATH").unwrap_or_default();
    let programs = site.cluster.programs().search_path();
    let output = shell.env("PATH", format!("{}:{old}", programs.display())).output().expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub fn reach() {
    let (site, _operator) = both();
    let namespace = "security-baseline";
    tenant(&site, namespace, "cloudflare-credentials");
    let account = random_id();
    let many: Vec<String> = (0..20).map(|_| random_id()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    site.apply(namespace, &share("waf-baseline", &account, &many, ""));
    site.wait_ready(namespace, "shares.cfshare.dev", "waf-baseline");
    // Without the group it is the other operator's.
    assert_eq!(shell(&site, "kubectl get shares -A -o name").expect("none"), "");

    let mut ran = BTreeSet::new();
    for (file, command) in commands() {
        let Some(command) = runnable(&file, &command) else { continue };
        if ran.insert(command.clone()) {
            shell(&site, &format!("kubectl {command}")).unwrap_or_else(|error| panic!("{file}: {command}: {error}"));
        }
    }
    assert!(ran.len() >= 8, "{ran:#?}");
    for verb in ["annotate", "explain", "get", "describe", "wait"] {
        assert!(ran.iter().any(|command| command.contains(verb)), "{verb}: {ran:#?}");
    }
    let explained = shell(&site, "kubectl explain cfs.spec").expect("it explains");
    assert!(explained.contains("accountID"), "{explained}");

    // A message's own command, as it stands there.
    site.apply(namespace, &share("waf-baseline", &account, &many[..2], ""));
    let blocked = site.wait_object(namespace, "shares.cfshare.dev", "waf-baseline", "blocked", |share| {
        message(share).contains("kubectl annotate")
    });
    let message = message(&blocked);
    let command = message.split("kubectl ").nth(1).and_then(|rest| rest.split(';').next()).expect("a command");
    shell(&site, &format!("kubectl {command}")).unwrap_or_else(|error| panic!("{message}: {error}"));
    site.wait_object(namespace, "shares.cfshare.dev", "waf-baseline", "confirmed", |share| {
        share["status"]["recipients"]["summary"] == "2/2"
    });
    // And nobody asked for the other operator's objects but the one who meant to.
    let audit = fs::read_to_string(site.cluster.audit_path()).expect("an audit log");
    let asked = audit.lines().filter(|line| line.contains("/apis/aaa.example.com/v1/")).count();
    assert_eq!(asked, 1, "a command reached the other kind");
}

/// A command that only reads, or annotates, as it can be run here; `None`: it needs what is not here.
fn runnable(file: &str, command: &str) -> Option<String> {
    let ours = command.contains(".cfshare.dev") || command.contains("cfs.");
    let harmless = ["get", "describe", "explain", "annotate", "wait"];
    let verb = command.split(' ').find(|word| VERBS.contains(word))?;
    let filled = command.contains(['{', '<', '…']);
    // Those of the runbook name objects by variables, and run in tests of their own.
    let elsewhere = file.contains("/docs/runbook/");
    if !ours || elsewhere || !harmless.contains(&verb) || filled || file.ends_with(".rs") || command.contains("crd ") {
        return None;
    }
    let command = command.replace(" --watch", "").replace(" -w", "").replace("--timeout=5m", "--timeout=60s");
    let closing = if command.contains("$(") { &['.', ','][..] } else { &['.', ',', ')'][..] };
    let command = command.trim_end_matches(closing).to_owned();
    Some(if command.contains("-n ") || command.contains("--all-namespaces") || verb == "explain" {
        command
    } else {
        format!("{command} -n security-baseline")
    })
}
