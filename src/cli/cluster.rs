//! How the commands reach the cluster, and read objects of one namespace or of all.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use super::proxy;
use super::remote::{NO_CREDENTIAL, credential_of_environment};
use crate::api::{FIELD_MANAGER, Share, ShareRecipient, ShareResource};
use crate::operator::preview::Fleet;
use crate::operator::{Clock, Credentials, Known, Name};

/// Objects are listed in pages of so many.
const PAGE: u32 = 500;

/// Which objects of which cluster.
#[derive(Args, Debug, Clone)]
pub struct Scope {
    /// Namespace; that of the kubeconfig's context if left out
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Context of the kubeconfig; its current one if left out
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// A cluster, and the namespace of interest in it.
pub struct Cluster {
    pub kube: Client,
    /// `None`: all.
    pub namespace: Option<String>,
    credentials: Credentials,
}

impl Scope {
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        let config = config(self.context.as_deref()).await?;
        let namespace = match (&self.namespace, self.all_namespaces) {
            (_, true) => None,
            (Some(namespace), false) => Some(namespace.clone()),
            (None, false) => Some(config.default_namespace.clone()),
        };
        let kube = client(config)?;
        Ok(Cluster { credentials: Credentials::new(kube.clone(), Clock::SYSTEM), kube, namespace })
    }
}

/// The cluster of KUBECONFIG, or the one that the process runs in.
pub async fn config(context: Option<&str>) -> anyhow::Result<Config> {
    let missing = "no Kubernetes cluster: set KUBECONFIG to a kubeconfig file, or run inside a cluster with a \
                   ServiceAccount";
    let kubeconfig = Kubeconfig::read();
    let own_proxy = kubeconfig.as_ref().ok().and_then(|kubeconfig| proxy_of(kubeconfig, context));
    let mut config = match context {
        None => Config::infer().await.context(missing)?,
        Some(name) => {
            let options = KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
            let config = Config::from_custom_kubeconfig(kubeconfig.context(missing)?, &options).await;
            config.with_context(|| format!("--context: {name} cannot be used"))?
        }
    };
    // kube compares NO_PROXY with the proxy itself, and inside a cluster passes the variables over.
    config.proxy_url = proxy::choose(own_proxy.as_deref(), &config.cluster_url, |name| std::env::var(name).ok())?;
    Ok(config)
}

/// The `proxy-url` that a kubeconfig names for the cluster of a context.
fn proxy_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone()
}

pub fn client(mut config: Config) -> anyhow::Result<Client> {
    // A retry hidden in a layer below turns an applied write into a conflict.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    let agent = format!("{FIELD_MANAGER}/{}", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, agent.parse().context("a user agent")?));
    Client::try_from(config).context("the client for Kubernetes cannot be set up")
}

impl Cluster {
    pub fn within(&self, namespace: &str) -> Cluster {
        let credentials = Credentials::new(self.kube.clone(), Clock::SYSTEM);
        Cluster { kube: self.kube.clone(), namespace: Some(namespace.to_owned()), credentials }
    }

    pub async fn list<K>(&self) -> anyhow::Result<Vec<K>>
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
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 => anyhow::bail!(
                    "the cluster does not know {plural}: install the CRDs with \
                     `cfshare crds | kubectl apply --server-side -f -`"
                ),
                Err(kube::Error::Api(status)) if status.code == 403 => anyhow::bail!(
                    "you may not list {plural}: ask for the right, or name another namespace with -n ({})",
                    status.message
                ),
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

    pub async fn objects(&self) -> anyhow::Result<(Vec<Share>, Vec<ShareRecipient>, Vec<ShareResource>)> {
        Ok((self.list().await?, self.list().await?, self.list().await?))
    }

    pub async fn fleet(&self) -> anyhow::Result<Fleet> {
        let (shares, recipients, resources) = self.objects().await?;
        Ok(Fleet::new(shares, recipients, resources))
    }

    pub async fn secret(&self, name: &Name) -> anyhow::Result<Known> {
        Ok(self.credentials.resolve(name).await?)
    }
}

/// The environment's credential, or that of a Secret where there is a cluster.
pub async fn credential(cluster: Option<&Cluster>, secret: &Name) -> anyhow::Result<Known> {
    match (credential_of_environment()?, cluster) {
        (Some(known), _) => Ok(known),
        (None, Some(cluster)) => {
            cluster.secret(secret).await.with_context(|| format!("no credential: {NO_CREDENTIAL}"))
        }
        (None, None) => anyhow::bail!("no credential: {NO_CREDENTIAL}"),
    }
}
