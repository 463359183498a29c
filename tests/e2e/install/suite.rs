//! How the operator of all these tests runs: as its own ServiceAccount, with the chart's rights and no others.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cfshare_testbed::Cluster;
use serde_json::Value;

use super::site::{SYSTEM, deploy};

const ACCOUNT: &str = "cfshare";

/// What the tests call their Secrets. A Secret of another name cannot be read, as in any installation.
const SECRETS: &str = "secretNames={cloudflare-credentials,leading-blank,trailing-blank,quoted,bearer,not-ascii,empty-pair,full-pair,\
                       cloudflare-readonly,the-key,legacy,another,never,missing,\
                       empty,misspelt,half,blank,control}";

/// Installs what the chart has but the pod, and makes the kubeconfig of its ServiceAccount.
pub fn install(cluster: &Cluster) -> Result<(), String> {
    let chart = deploy("chart");
    let mut args = vec!["template", "cfshare", &chart, "--namespace", SYSTEM, "--set", SECRETS];
    args.extend(["--set", "watchLabelSelector=tests"]);
    for template in ["templates/serviceaccount.yaml", "templates/rbac.yaml", "templates/policies.yaml"] {
        args.extend(["--show-only", template]);
    }
    let yaml = cluster.run_helm(&args).map_err(|error| error.to_string())?;
    let apply = |yaml: &str| cluster.run(&["apply", "--server-side", "-f", "-"], Some(yaml));
    apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n")).map_err(|e| e.to_string())?;
    apply(&yaml).map_err(|error| error.to_string())?;
    cluster.kubeconfig_for(SYSTEM, ACCOUNT).map_err(|error| error.to_string())?;
    await_rights(cluster)
}

/// The API server learns of new roles by a watch.
fn await_rights(cluster: &Cluster) -> Result<(), String> {
    let user = format!("--as=system:serviceaccount:{SYSTEM}:{ACCOUNT}");
    let end = Instant::now() + Duration::from_secs(60);
    let may = |verb: &str, what: &str| cluster.run(&["auth", "can-i", verb, what, "-A", &user], None).is_ok();
    while !(may("watch", "shares.cfshare.dev") && may("create", "events.events.k8s.io")) {
        if Instant::now() > end {
            return Err(format!("{SYSTEM}/{ACCOUNT} was granted nothing"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Where `install` left it.
pub fn kubeconfig(cluster: &Cluster) -> PathBuf {
    cluster.folder().join(format!("{SYSTEM}.{ACCOUNT}.kubeconfig"))
}

/// What the operator asked for and the chart does not grant.
pub fn refused(cluster: &Cluster) -> Vec<String> {
    let user = format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}");
    let Ok(file) = std::fs::File::open(cluster.audit_path()) else { return Vec::new() };
    let mut refused: Vec<String> = BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.contains(&user) && line.contains("\"forbid\""))
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .map(|entry| format!("{} {}", entry["verb"], entry["requestURI"]))
        .collect();
    refused.sort();
    refused.dedup();
    refused
}
