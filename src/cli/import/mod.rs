//! `cfshare import`: manifests for what an account already shares.

mod objects;
mod yaml;

use std::io::Write;

use anyhow::Context as _;
use clap::Args;

use super::cluster::{Kube, Scope, credential};
use super::output::{Exit, count};
use super::remote::{Endpoint, Remote, advice, credential_of_environment};
use crate::cloudflare::{Share, TargetType, clean};
use crate::core::id::{AccountId, ShareId};
use crate::operator::Name;
use objects::{Found, Writer};

/// Print manifests for what an account already shares, ready to commit
///
/// Applied, they take over each share as it is, and nothing is written to Cloudflare. Deleting them leaves the shares,
/// and all who receive them, where they are. Labels (`name` beside an id) are yours to add.
///
/// The credential comes from CLOUDFLARE_API_TOKEN, or CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY, else from the Secret in
/// the namespace. Exit code 0: done. 1: it fails, and what was printed is incomplete.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Import {
    /// Account that shares
    #[arg(long, value_name = "ID")]
    account: String,
    /// Only this share; may be repeated
    #[arg(long = "share", value_name = "ID")]
    shares: Vec<String>,
    /// A ShareRecipient and ShareResource for each recipient and resource, however few
    #[arg(long)]
    objects: bool,
    /// Namespace of the manifests; none is written if left out
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Secret in that namespace to read Cloudflare with, where the environment gives no credential
    #[arg(long, value_name = "NAME", default_value = "cloudflare-credentials")]
    secret: String,
    #[command(flatten)]
    kube: Kube,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Import {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let account = AccountId::parse(&self.account).map_err(|error| anyhow::anyhow!("--account: {error}"))?;
        let wanted: Vec<ShareId> = self
            .shares
            .iter()
            .map(|id| ShareId::parse(id).map_err(|error| anyhow::anyhow!("--share: {error}")))
            .collect::<Result<_, _>>()?;
        let remote = self.remote().await?;
        let failed = |error| anyhow::anyhow!("{}", advice(&error));
        let mut shares = remote.shares(&account).await.map_err(failed)?;
        for id in &wanted {
            if !shares.iter().any(|share| share.id == *id) {
                anyhow::bail!("account {account} has no live share {id} that it sends: check --share and --account");
            }
        }
        shares.retain(|share| wanted.is_empty() || wanted.contains(&share.id));
        let mut writer = Writer::new(self.namespace.clone(), self.objects);
        let total = count(shares.len(), "share");
        for share in shares {
            let found = read(&remote, &account, share).await?;
            let comment = format!("share {}: {}", found.share.id, clean(&found.share.name, 100));
            for (at, manifest) in writer.manifests(&found).iter().enumerate() {
                let comment = (at == 0).then_some(comment.as_str());
                out.write_all(yaml::document(manifest, comment).as_bytes())?;
            }
        }
        eprintln!("cfshare: {total} of account {account}");
        Ok(Exit::Good)
    }

    async fn remote(&self) -> anyhow::Result<Remote> {
        if let Some(known) = credential_of_environment()? {
            return self.endpoint.remote(&known);
        }
        let scope =
            Scope { namespace: self.namespace.clone(), all_namespaces: false, selector: None, kube: self.kube.clone() };
        let cluster =
            scope.cluster().await.with_context(|| format!("no credential: {}", super::remote::NO_CREDENTIAL))?;
        let namespace = cluster.namespace.clone().unwrap_or_default();
        let known = credential(Some(&cluster), &Name::new(namespace, self.secret.clone())).await?;
        self.endpoint.remote(&known)
    }
}

async fn read(remote: &Remote, account: &AccountId, share: Share) -> anyhow::Result<Found> {
    let failed = |error| anyhow::anyhow!("share {}: {}", share.id, advice(&error));
    let (mut recipients, mut excluded) = (Vec::new(), Vec::new());
    match &share.target_type {
        TargetType::Organization => excluded = remote.excluded(account, &share.id).await.map_err(failed)?,
        TargetType::Account => recipients = remote.recipients(account, &share.id).await.map_err(failed)?,
        TargetType::Other(word) => {
            anyhow::bail!("share {} has a target of a kind that is not known here: {}", share.id, clean(word, 64))
        }
    }
    Ok(Found { share, recipients, excluded })
}
