//! `cfshare import`: manifests for what an account already shares.

mod into;
mod objects;
mod tfstate;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::accounts;
use super::cluster::{Kube, Scope, namespace};
use super::credentials::remote;
use super::output::{Exit, count};
use super::remote::{Endpoint, Remote, advice, words};
use crate::api::{self, Name, own_record};
use crate::cloudflare::{Share, clean};
use crate::core::id::{AccountId, ShareId};
use objects::Writer;

/// How long it may take to see which shares are managed already: no cluster is needed for an import.
const QUICK: Duration = Duration::from_secs(5);

/// Print manifests that adopt the existing shares of an account, ready to commit
///
/// When applied, they adopt each share as it is, and nothing is written to Cloudflare. When they are deleted, the shares
/// and their recipients stay at Cloudflare (`deletionPolicy: Retain`). Do not apply them over Shares that already manage
/// these shares: `shareID` cannot be removed from a Share. Labels (the `name` of an entry) come from --accounts, or else from
/// Cloudflare, where the token may read the names of accounts.
///
/// With --from-tfstate, it imports the shares in a Terraform or OpenTofu state, and prints how to remove them from the
/// state without destroying them. With --into, it prints no manifests, but writes the ids of shares into existing
/// manifests that have none.
///
/// The credential comes from CLOUDFLARE_API_TOKEN, or CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY, or else from the Secret
/// in the namespace. Exit code 0: success. 2: --into left some manifests without an id. 1: error, and the output is
/// incomplete.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Import {
    /// ID of the account that owns the shares; default: the accounts in the state
    #[arg(long, value_name = "ID", required_unless_present = "from_tfstate")]
    account: Option<String>,
    /// Only this share; may be repeated
    #[arg(long = "share", value_name = "ID")]
    shares: Vec<String>,
    /// Write a ShareRecipient or ShareResource object for each recipient and resource, even if there are few
    #[arg(long)]
    objects: bool,
    /// File with ids and names of accounts (CSV or JSON), used as labels
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
    /// Terraform or OpenTofu state: import only its shares, named after their addresses
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shares", "into"])]
    from_tfstate: Option<PathBuf>,
    /// Directory of manifests: write shareID into each Share that has none, if exactly one share has its name and resources
    #[arg(long, value_name = "DIR", conflicts_with_all = ["shares", "objects", "accounts"])]
    into: Option<PathBuf>,
    /// Namespace for the manifests; default: manifests without a namespace
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

impl Import {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let account = self.account.as_deref().map(AccountId::parse).transpose();
        let account = account.map_err(|error| anyhow::anyhow!("--account: {error}"))?;
        let wanted: BTreeSet<ShareId> = self
            .shares
            .iter()
            .map(|id| ShareId::parse(id).map_err(|error| anyhow::anyhow!("--share: {error}")))
            .collect::<Result<_, _>>()?;
        let labels = self.accounts.as_deref().map(accounts::read).transpose()?;
        let state = self.from_tfstate.as_deref().map(tfstate::read).transpose()?;
        let remote = remote(&self.endpoint, &self.kube, self.namespace.clone(), &self.secret).await?;
        let mut writer = Writer::new(self.namespace.clone(), self.objects);
        writer.labels = match labels {
            Some(labels) => labels,
            None if self.into.is_some() => Default::default(),
            None => names(&remote).await,
        };
        match (account, &state, &self.into) {
            (Some(account), None, Some(folder)) => return fill(&remote, &account, folder).await,
            (account, Some(state), _) => self.of_state(&remote, account, state, writer, out).await?,
            (Some(account), None, None) => {
                writer.managed = managed(&self.kube).await;
                let shares = live(&remote, &account).await?;
                for id in &wanted {
                    if !shares.iter().any(|share| share.id == *id) {
                        anyhow::bail!("account {account} owns no live share {id}: check --share and --account");
                    }
                }
                let chosen = shares.into_iter().filter(|share| wanted.is_empty() || wanted.contains(&share.id));
                write(&remote, &account, chosen.collect(), &mut writer, out).await?;
            }
            (None, None, _) => anyhow::bail!("specify the account with --account"),
        }
        Ok(Exit::Good)
    }

    /// The shares of a state, and what it has to forget.
    async fn of_state(
        &self,
        remote: &Remote,
        only: Option<AccountId>,
        state: &tfstate::State,
        mut writer: Writer,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let mut accounts: BTreeMap<AccountId, BTreeSet<ShareId>> = BTreeMap::new();
        for (id, managed) in &state.shares {
            let (Ok(id), Ok(account)) = (ShareId::parse(id), AccountId::parse(&managed.account)) else {
                eprintln!(
                    "cfshare: {} has no valid id of a share and an account in the state, and is skipped",
                    managed.name
                );
                continue;
            };
            writer.names.insert(id.clone(), managed.name.clone());
            accounts.entry(account).or_default().insert(id);
        }
        writer.managed = managed(&self.kube).await;
        accounts.retain(|account, _| only.as_ref().is_none_or(|only| only == account));
        let mut written = BTreeSet::new();
        for (account, mut ids) in accounts {
            let mut shares = live(remote, &account).await?;
            shares.retain(|share| ids.remove(&share.id));
            written.extend(shares.iter().map(|share| share.id.clone()));
            for id in ids {
                eprintln!("cfshare: share {id} of the state is not a live share of account {account}, and is skipped");
            }
            write(remote, &account, shares, &mut writer, out).await?;
        }
        for id in &state.parts_only {
            eprintln!(
                "cfshare: the state has recipients or resources of share {id}, and not the share itself: it is left out; \
                 import it with --account and --share before Terraform forgets them"
            );
        }
        if !written.is_empty() {
            eprint!("\nOnce the manifests are applied and Ready:\n{}", state.steps(&written));
        }
        Ok(())
    }
}

/// Names of accounts, where the credential may read them.
async fn names(remote: &Remote) -> accounts::Accounts {
    remote.account_names().await.unwrap_or_else(|_| {
        eprintln!("cfshare: names of accounts cannot be read with this credential; for labels, use --accounts FILE");
        Default::default()
    })
}

/// The Shares that manage a share without naming its id, where a cluster can be read.
async fn managed(kube: &Kube) -> BTreeMap<ShareId, Name> {
    let scope = Scope { namespace: None, all_namespaces: true, selector: None, kube: kube.clone() };
    let read = async { scope.cluster().await?.shares().await };
    let shares: Vec<api::Share> = timeout(QUICK, read).await.ok().and_then(Result::ok).unwrap_or_default();
    let created = shares.iter().filter(|share| share.spec.share_id.is_none());
    created.filter_map(|share| Some((own_record(share)?.recorded_share()?, Name::of(share)))).collect()
}

async fn live(remote: &Remote, account: &AccountId) -> anyhow::Result<Vec<Share>> {
    remote.shares(account).await.map_err(|error| anyhow::anyhow!("{}", advice(&error)))
}

async fn write(
    remote: &Remote,
    account: &AccountId,
    shares: Vec<Share>,
    writer: &mut Writer,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let total = count(shares.len(), "share");
    for share in shares {
        let found = remote.read_rows(account, share).await.map_err(|error| anyhow::anyhow!("{}", words(&error)))?;
        let comment = format!("share {}: {}", found.share.id, clean(&found.share.name, 100));
        if let Some(object) = writer.managed.get(&found.share.id) {
            eprintln!(
                "cfshare: share {} is already managed by Share {object}: leave its manifest out. Applied over that Share, it \
                 sets shareID, which cannot be removed again; as another Share, it is refused (Claimed)",
                found.share.id
            );
        }
        for (at, manifest) in writer.manifests(&found).iter().enumerate() {
            let comment = (at == 0).then_some(comment.as_str());
            out.write_all(yaml::document(manifest, comment).as_bytes())?;
        }
    }
    eprintln!("cfshare: {total} of account {account}");
    Ok(())
}

async fn fill(remote: &Remote, account: &AccountId, folder: &Path) -> anyhow::Result<Exit> {
    let filled = into::fill(folder, account.as_str(), &live(remote, account).await?)?;
    filled.done.iter().chain(&filled.left).for_each(|line| eprintln!("cfshare: {line}"));
    eprintln!("cfshare: {} filled, {} left", count(filled.done.len(), "Share"), filled.left.len());
    Ok(if filled.left.is_empty() { Exit::Good } else { Exit::Differs })
}
