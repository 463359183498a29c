//! `cfshare doctor`: whether everything is there that cfshare needs.

mod cloudflare;
mod cluster;
mod owners;
mod policy;
mod watched;

use std::io::{self, Write};

use clap::Args;

use super::cluster::{Scope, watched_namespace};
use super::environment::{own_namespace, present};
use super::output::{Exit, causes, count};
use super::progress;
use super::remote::Endpoint;

/// Check the cluster, permissions, Secrets and Cloudflare, and suggest fixes
///
/// Each line starts with `ok`, `warn` or `fail`. Nothing is changed, and no credential is shown. Exit code 0: no check
/// fails. 1: at least one does.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Doctor {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    endpoint: Endpoint,
    /// Also check this account, with the credential from the environment, or else from the Secret cloudflare-credentials
    /// in the namespace; may be repeated
    #[arg(long = "account", value_name = "ID")]
    accounts: Vec<String>,
    /// Namespace that the operator watches; may be repeated; default: read from its Deployment
    #[arg(long, env = "CFSHARE_NAMESPACE", value_delimiter = ',', value_parser = watched_namespace, value_name = "NAMESPACE")]
    watched: Vec<String>,
    /// ServiceAccount of the operator, whose permissions are checked; default: read from its Deployment
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service_account: Option<String>,
    /// Namespace of the operator's Lease; default: the namespace of --service-account, of the pod, or cfshare-system
    #[arg(long, env = "CFSHARE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of the operator's Lease
    #[arg(long, env = "CFSHARE_LEASE_NAME", default_value = "cfshare", value_name = "NAME")]
    lease_name: String,
    /// Check only the cluster: read no Secret, and send no request to Cloudflare
    #[arg(long)]
    cluster_only: bool,
}

/// What one check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Warn,
    Fail,
}

/// The lines so far.
#[derive(Default)]
struct Findings {
    lines: Vec<(Outcome, String)>,
}

impl Findings {
    fn ok(&mut self, what: impl Into<String>) {
        self.lines.push((Outcome::Ok, what.into()));
    }

    fn warn(&mut self, what: impl Into<String>) {
        self.lines.push((Outcome::Warn, what.into()));
    }

    fn fail(&mut self, what: impl Into<String>) {
        self.lines.push((Outcome::Fail, what.into()));
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for (outcome, line) in &self.lines {
            let word = match outcome {
                Outcome::Ok => "ok",
                Outcome::Warn => "warn",
                Outcome::Fail => "fail",
            };
            writeln!(out, "{word:4}  {line}")?;
        }
        let of = |wanted: Outcome| self.lines.iter().filter(|(outcome, _)| *outcome == wanted).count();
        let (failures, warnings) = (count(of(Outcome::Fail), "failure"), count(of(Outcome::Warn), "warning"));
        writeln!(out, "\n{}: {failures}, {warnings}", count(self.lines.len(), "check"))
    }
}

impl Doctor {
    fn lease_namespace(&self) -> String {
        let of_account = || self.service_account.as_deref()?.split_once('/').map(|(namespace, _)| namespace.to_owned());
        self.lease_namespace.as_deref().and_then(present).or_else(of_account).unwrap_or_else(own_namespace)
    }

    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let mut findings = Findings::default();
        match self.scope.cluster().await {
            Ok(cluster) => {
                let checks = self.check_cluster(&cluster, &mut findings);
                let shares = progress::shown(|| "checking the cluster".into(), checks).await;
                if !self.cluster_only {
                    self.check_cloudflare(Some(&cluster), &shares, &mut findings).await;
                }
            }
            Err(error) => {
                findings.fail(format!("cluster: {}", causes(&error)));
                if !self.cluster_only {
                    self.check_cloudflare(None, &[], &mut findings).await;
                }
            }
        }
        findings.print(out)?;
        let failed = findings.lines.iter().any(|(outcome, _)| *outcome == Outcome::Fail);
        Ok(if failed { Exit::Failed } else { Exit::Good })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line() {
        let mut findings = Findings::default();
        findings.ok("cluster: v1.36.3");
        findings.warn("lease: nobody");
        findings.fail("CRDs: missing");
        let mut out = Vec::new();
        findings.print(&mut out).expect("it prints");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "ok    cluster: v1.36.3\nwarn  lease: nobody\nfail  CRDs: missing\n\n3 checks: 1 failure, 1 warning\n"
        );
    }
}
