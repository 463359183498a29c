//! How the commands reach the cluster, and read objects of one namespace or of all.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use super::{kube_client, progress, proxy};
use crate::api::{ChildObject, FIELD_MANAGER, Kind, Name, Share, ShareRecipient, ShareResource};
use crate::operator::preview::Fleet;
use crate::operator::{Clock, Credentials, NoCredential, ResolvedCredential};

/// Objects are listed in pages of so many.
const PAGE: u32 = 500;

/// Shares and their children.
#[derive(Debug, Default)]
pub struct Objects {
    pub shares: Vec<Share>,
    pub recipients: Vec<ShareRecipient>,
    pub resources: Vec<ShareResource>,
}

impl Objects {
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty() && self.recipients.is_empty() && self.resources.is_empty()
    }

    pub fn children(&self) -> impl Iterator<Item = &dyn ChildObject> {
        let recipients = self.recipients.iter().map(|child| child as &dyn ChildObject);
        recipients.chain(self.resources.iter().map(|child| child as &dyn ChildObject))
    }
}

/// Which cluster, and as whom. The flags are those of kubectl.
#[derive(Args, Debug, Clone, Default)]
pub struct Kube {
    /// Kubeconfig file to use instead of KUBECONFIG
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; default: the current context
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster in the kubeconfig; default: the cluster of the context
    #[arg(id = "kube_cluster", long = "cluster", value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub cluster: Option<String>,
    /// User in the kubeconfig; default: the user of the context
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// User to impersonate, such as system:serviceaccount:cfshare-system:cfshare
    #[arg(long = "as", value_name = "USER")]
    pub impersonate: Option<String>,
    /// How long to wait for a response from the API server, such as 30s; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub request_timeout: Duration,
}

/// Which objects of which cluster.
#[derive(Args, Debug, Clone)]
pub struct Scope {
    /// Namespace; default: the namespace of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Only Shares with these labels, and their ShareRecipients and ShareResources
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    #[command(flatten)]
    pub kube: Kube,
}

/// A cluster, and the namespace of interest in it.
pub struct Cluster {
    pub kube: Client,
    /// `None`: all.
    pub namespace: Option<String>,
    selector: Option<String>,
    credentials: Credentials,
}

impl Scope {
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        let config = self.kube.config().await?;
        let namespace = match (&self.namespace, self.all_namespaces) {
            (_, true) => None,
            (Some(namespace), false) => Some(namespace.clone()),
            (None, false) => Some(config.default_namespace.clone()),
        };
        let kube = client(config)?;
        let credentials = Credentials::new(kube.clone(), Clock::SYSTEM);
        Ok(Cluster { credentials, kube, namespace, selector: self.selector.clone() })
    }
}

impl Kube {
    /// The cluster of the kubeconfig, or the one that the process runs in.
    pub async fn config(&self) -> anyhow::Result<Config> {
        let missing = "no Kubernetes cluster: set KUBECONFIG to a kubeconfig file, or run inside a cluster with a \
                       ServiceAccount";
        let cluster = self.cluster.clone().filter(|name| !name.is_empty());
        let options = KubeConfigOptions { context: self.context.clone(), cluster, user: self.user.clone() };
        let chosen = options.context.is_some() || options.cluster.is_some() || options.user.is_some();
        let kubeconfig = match &self.kubeconfig {
            Some(file) => Ok(Kubeconfig::read_from(file)
                .with_context(|| format!("--kubeconfig: {} cannot be used", file.display()))?),
            None => Kubeconfig::read(),
        };
        if let (Some(user), Ok(kubeconfig)) = (&self.user, &kubeconfig)
            && !kubeconfig.auth_infos.iter().any(|named| named.name == *user)
        {
            // kube would go on as nobody.
            anyhow::bail!("--user: the kubeconfig has no user {user}");
        }
        let own_proxy = kubeconfig.as_ref().ok().and_then(|kubeconfig| proxy_of(kubeconfig, &options));
        let mut config = if chosen || self.kubeconfig.is_some() {
            let config = Config::from_custom_kubeconfig(kubeconfig.context(missing)?, &options).await;
            config.with_context(|| match &self.context {
                Some(name) => format!("--context: {name} cannot be used: `kubectl config get-contexts` lists all"),
                None => "the kubeconfig cannot be used".to_owned(),
            })?
        } else {
            Config::infer().await.context(missing)?
        };
        // kube compares NO_PROXY with the proxy itself, and inside a cluster passes the variables over.
        config.proxy_url = proxy::choose(own_proxy.as_deref(), &config.cluster_url, |name| std::env::var(name).ok())?;
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
        }
        config.read_timeout = Some(self.request_timeout).filter(|time| !time.is_zero());
        Ok(config)
    }
}

/// A name that a namespace can have.
pub fn namespace(text: &str) -> Result<String, String> {
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let is_name = (1..=63).contains(&text.len())
        && text.as_bytes().iter().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    let message =
        "a namespace has up to 63 lower case letters, digits and hyphens, and neither begins nor ends with a hyphen";
    is_name.then(|| text.to_owned()).ok_or_else(|| message.to_owned())
}

/// A namespace to watch. An environment variable that is set to nothing names none.
pub fn watched_namespace(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { namespace(text) }
}

/// A time as kubectl takes it: a bare number is seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let time = text.parse::<kube::core::Duration>().map(Duration::from);
    time.map_err(|_| format!("{text} is not a time: write for example 30s, 2m or 0"))
}

/// The cluster of KUBECONFIG, or the one that the process runs in, for the operator.
pub async fn config() -> anyhow::Result<Config> {
    Kube::default().config().await
}

/// The `proxy-url` that a kubeconfig names for the cluster of the chosen context.
fn proxy_of(kubeconfig: &Kubeconfig, options: &KubeConfigOptions) -> Option<String> {
    let name = options.context.as_ref().or(kubeconfig.current_context.as_ref());
    let context = || kubeconfig.contexts.iter().find(|named| Some(&named.name) == name)?.context.as_ref();
    let name = options.cluster.as_ref().or_else(|| Some(&context()?.cluster))?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == *name)?;
    cluster.cluster.as_ref()?.proxy_url.clone()
}

pub fn client(mut config: Config) -> anyhow::Result<Client> {
    // A retry hidden in a layer below turns an applied write into a conflict.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    let agent = format!("{FIELD_MANAGER}/{}", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, agent.parse().context("a user agent")?));
    kube_client::client(config).context("the client for Kubernetes cannot be set up")
}

impl Cluster {
    pub fn within(&self, namespace: &str) -> Cluster {
        let credentials = Credentials::new(self.kube.clone(), Clock::SYSTEM);
        Cluster { kube: self.kube.clone(), namespace: Some(namespace.to_owned()), selector: None, credentials }
    }

    pub async fn list<K>(&self) -> anyhow::Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        self.list_with(None).await
    }

    async fn list_with<K>(&self, selector: Option<&str>) -> anyhow::Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.kube.clone(), namespace),
            None => Api::all(self.kube.clone()),
        };
        let plural = K::plural(&()).into_owned();
        let mut objects = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector = selector.map(str::to_owned);
        loop {
            let what = || format!("reading {plural} of the cluster, {} so far", objects.len());
            let page = match progress::shown(what, api.list(&params)).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 => anyhow::bail!(
                    "the CRD {plural}.cfshare.dev is not installed in the cluster: install it with \
                     `cfshare crds | kubectl apply --server-side -f -`"
                ),
                Err(kube::Error::Api(status)) if status.code == 403 => anyhow::bail!(
                    "you are not allowed to list {plural}: ask for that permission, or choose another namespace with -n ({})",
                    status.message
                ),
                Err(kube::Error::Api(status)) if status.code == 400 => {
                    anyhow::bail!("the API server does not accept this: {}", status.message)
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("{plural} cannot be listed: check KUBECONFIG and the cluster"));
                }
            };
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// The objects of this part of the cluster that have these labels.
    pub async fn names_with(&self, selector: &str) -> anyhow::Result<HashSet<(Kind, Name)>> {
        let selector = Some(selector);
        let shares = self.list_with::<Share>(selector).await?;
        let recipients = self.list_with::<ShareRecipient>(selector).await?;
        let resources = self.list_with::<ShareResource>(selector).await?;
        let shares = shares.iter().map(|share| (Kind::Share, Name::of(share)));
        let recipients = recipients.iter().map(|child| (Kind::ShareRecipient, Name::of(child)));
        let resources = resources.iter().map(|child| (Kind::ShareResource, Name::of(child)));
        Ok(shares.chain(recipients).chain(resources).collect())
    }

    /// All of the cluster.
    pub fn whole(&self) -> Cluster {
        let credentials = Credentials::new(self.kube.clone(), Clock::SYSTEM);
        Cluster { kube: self.kube.clone(), namespace: None, selector: None, credentials }
    }

    /// The Shares that are meant.
    pub async fn shares(&self) -> anyhow::Result<Vec<Share>> {
        self.list_with(self.selector.as_deref()).await
    }

    pub async fn share(&self, namespace: &str, name: &str) -> anyhow::Result<Option<Share>> {
        let api: Api<Share> = Api::namespaced(self.kube.clone(), namespace);
        api.get_opt(name).await.with_context(|| format!("Share {name} cannot be read"))
    }

    /// The Shares that are meant, with all their children; without a selector also children that have no Share.
    pub async fn objects(&self) -> anyhow::Result<Objects> {
        let shares = self.shares().await?;
        let (mut recipients, mut resources): (Vec<ShareRecipient>, Vec<ShareResource>) =
            (self.list().await?, self.list().await?);
        if self.selector.is_some() {
            let names: HashSet<Name> = shares.iter().map(Name::of).collect();
            recipients.retain(|child| names.contains(&child.share()));
            resources.retain(|child| names.contains(&child.share()));
        }
        Ok(Objects { shares, recipients, resources })
    }

    /// All objects, since what one of them owns depends on the others.
    pub async fn fleet(&self) -> anyhow::Result<Fleet> {
        let (shares, recipients, resources) = (self.list().await?, self.list().await?, self.list().await?);
        Ok(Fleet::new(shares, recipients, resources))
    }

    /// The names of the Shares that the selector picks; `None`: there is no selector.
    pub async fn selected(&self) -> anyhow::Result<Option<BTreeSet<Name>>> {
        if self.selector.is_none() {
            return Ok(None);
        }
        Ok(Some(self.shares().await?.iter().map(Name::of).collect()))
    }

    /// Which part of the cluster is meant, as words; `None`: all of it.
    pub fn part(&self) -> Option<String> {
        let with = self.selector.as_ref().map(|selector| format!("with the labels {selector}"));
        let within = self.namespace.as_ref().map(|namespace| format!("in namespace {namespace}"));
        let parts: Vec<String> = with.into_iter().chain(within).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// Fails if the namespace is known not to exist.
    pub async fn must_exist(&self) -> anyhow::Result<()> {
        let Some(namespace) = &self.namespace else { return Ok(()) };
        // Who may not read namespaces reads what is in them all the same.
        if let Ok(None) = Api::<Namespace>::all(self.kube.clone()).get_opt(namespace).await {
            anyhow::bail!("namespace {namespace} does not exist: choose another one with -n, or use -A");
        }
        Ok(())
    }

    /// Why nothing was found.
    pub async fn nothing(&self) -> anyhow::Error {
        match (self.must_exist().await, self.part()) {
            (Err(missing), _) => missing,
            (Ok(()), Some(part)) => anyhow::anyhow!("no Shares {part}: choose another one with -n, or use -A"),
            (Ok(()), None) => anyhow::anyhow!("no Shares in any namespace"),
        }
    }

    pub async fn secret(&self, name: &Name) -> Result<ResolvedCredential, NoCredential> {
        self.credentials.resolve(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_what_the_api_server_takes_for_one() {
        let good = ["a", "0", "team-a", &"a".repeat(63)].map(namespace);
        assert!(good.iter().all(Result::is_ok), "{good:?}");
        let bad = ["", "A", "a b", "-a", "a-", "a.b", "a/b", "\u{e4}", &"a".repeat(64)].map(namespace);
        assert!(bad.iter().all(Result::is_err), "{bad:?}");
    }
}
