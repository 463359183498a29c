//! `cfshare received`: what an account receives, from whom, and how far it is.

use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::cluster::{Kube, namespace};
use super::credentials::remote;
use super::output::{Exit, print_json, table};
use super::remote::{Endpoint, advice};
use crate::cloudflare::{Share, clean};
use crate::core::id::AccountId;

/// Longest name that a table shows.
const LONGEST: usize = 100;

/// Show which shares an account receives, and from which accounts, as Cloudflare reports it now
///
/// It needs no cluster, only a token that may read Resource Sharing in the receiving account. Whether a policy is in
/// force there also depends on the account: Cloudflare takes up to about two minutes, and some policies need an
/// entitlement.
///
/// Exit code 0: success, even if nothing is received. 1: error.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Received {
    /// ID of the receiving account
    #[arg(long, value_name = "ID")]
    account: String,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// Namespace of the Secret
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,
    /// Secret in that namespace with the credential, used if the environment has none
    #[arg(long, value_name = "NAME", default_value = "cloudflare-credentials")]
    secret: String,
    #[command(flatten)]
    kube: Kube,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Format {
    Table,
    Json,
}

impl Received {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let account = AccountId::parse(&self.account).map_err(|error| anyhow::anyhow!("--account: {error}"))?;
        let remote = remote(&self.endpoint, &self.kube, self.namespace.clone(), &self.secret).await?;
        let shares = remote.received(&account).await.map_err(|error| anyhow::anyhow!("{}", advice(&error)))?;
        match self.output {
            Format::Table if shares.is_empty() => writeln!(out, "account {account} receives no share")?,
            Format::Table => out.write_all(lines(&shares).as_bytes())?,
            Format::Json => print_json(out, &Value::Array(shares.iter().map(object).collect()))?,
        }
        Ok(Exit::Good)
    }
}

fn lines(shares: &[Share]) -> String {
    let mut rows = vec![["FROM", "ACCOUNT", "SHARE", "ID", "STATUS", "RESOURCES"].map(str::to_owned).to_vec()];
    for share in shares {
        let resources = share.resources.iter().flatten();
        let resources: Vec<String> = resources
            .map(|row| {
                let word = row.status.to_string();
                let state = if word == "active" { String::new() } else { format!(" ({})", clean(&word, LONGEST)) };
                format!("{}/{}{state}", clean(&row.resource_type, LONGEST), row.resource_id)
            })
            .collect();
        rows.push(vec![
            Some(clean(&share.account_name, LONGEST)).filter(|name| !name.is_empty()).unwrap_or_else(|| "-".into()),
            share.account_id.to_string(),
            clean(&share.name, LONGEST),
            share.id.to_string(),
            share.status.to_string(),
            resources.join(", "),
        ]);
    }
    table(&rows)
}

fn object(share: &Share) -> Value {
    let resources = share
        .resources
        .iter()
        .flatten()
        .map(|row| json!({ "type": row.resource_type, "id": row.resource_id, "status": row.status.to_string() }));
    json!({
        "fromAccountID": share.account_id, "fromAccountName": share.account_name, "shareID": share.id,
        "name": share.name, "status": share.status.to_string(), "targetType": share.target_type.to_string(),
        "resources": resources.collect::<Vec<_>>(),
    })
}
