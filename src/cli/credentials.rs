//! With which credential do the commands read Cloudflare: the environment's, or that of a Secret?

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::Arc;

use anyhow::Context as _;

use super::cluster::{Cluster, Kube, Scope};
use super::output::causes;
use super::remote::{Endpoint, Remote};
use crate::api::{Name, Share, secret_of};
use crate::cloudflare::{Credential, CredentialError, Names};
use crate::operator::{NoCredential, ResolvedCredential};

/// A credential's parts in the environment.
const VARIABLES: Names = Names { token: "CLOUDFLARE_API_TOKEN", email: "CLOUDFLARE_EMAIL", key: "CLOUDFLARE_API_KEY" };

/// What to say where there is no credential at all.
pub const NO_CREDENTIAL: &str = "set CLOUDFLARE_API_TOKEN, or CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY";

/// The credential that the environment gives, if it gives one.
pub fn credential_of_environment() -> anyhow::Result<Option<ResolvedCredential>> {
    credential_of(|name| std::env::var_os(name).map(OsString::into_encoded_bytes))
}

fn credential_of(variable: impl Fn(&str) -> Option<Vec<u8>>) -> anyhow::Result<Option<ResolvedCredential>> {
    let credential = match Credential::read(&VARIABLES, variable) {
        Ok(credential) => credential,
        Err(CredentialError::Missing(..)) => return Ok(None),
        Err(error) => anyhow::bail!("the environment cannot be used: {error}"),
    };
    Ok(Some(ResolvedCredential::new(credential)))
}

/// The environment's credential, or that of a Secret where there is a cluster.
async fn credential(cluster: Option<&Cluster>, secret: &Name) -> anyhow::Result<ResolvedCredential> {
    match (credential_of_environment()?, cluster) {
        (Some(known), _) => Ok(known),
        (None, Some(cluster)) => cluster.secret(secret).await.map_err(|problem| missing(secret, problem)),
        (None, None) => anyhow::bail!("no credential: {NO_CREDENTIAL}"),
    }
}

/// It is the person who may not read it, whatever the operator may.
pub fn not_allowed(secret: &Name) -> String {
    format!("you are not allowed to read Secret {secret}")
}

fn missing(secret: &Name, problem: NoCredential) -> anyhow::Error {
    match problem {
        NoCredential::Forbidden(_) => anyhow::anyhow!("{}: {NO_CREDENTIAL}", not_allowed(secret)),
        problem @ (NoCredential::Missing(_)
        | NoCredential::Empty(..)
        | NoCredential::Unusable(..)
        | NoCredential::Unreadable(..)) => {
            anyhow::Error::new(problem).context(format!("no credential: {NO_CREDENTIAL}"))
        }
    }
}

/// Cloudflare with the credential of the environment, else with a Secret of the namespace.
pub async fn remote(
    endpoint: &Endpoint,
    kube: &Kube,
    namespace: Option<String>,
    secret: &str,
) -> anyhow::Result<Remote> {
    if let Some(known) = credential_of_environment()? {
        return endpoint.remote(&known);
    }
    let scope = Scope { namespace, all_namespaces: false, selector: None, kube: kube.clone() };
    let cluster = scope.cluster().await.with_context(|| format!("no credential: {NO_CREDENTIAL}"))?;
    let namespace = cluster.namespace.clone().unwrap_or_default();
    let known = credential(Some(&cluster), &Name::new(namespace.clone(), secret)).await;
    let known = known.map_err(|problem| {
        anyhow::anyhow!("{} (namespace {namespace}; choose another one with -n)", causes(&problem))
    })?;
    endpoint.remote(&known)
}

/// Cloudflare as the credentials of Shares see it, each set up once.
pub struct Remotes<'a> {
    cluster: Option<&'a Cluster>,
    endpoint: &'a Endpoint,
    /// None of the credentials may hold up what is read with the others.
    has_several: bool,
    by_secret: HashMap<Name, Arc<Remote>>,
}

impl<'a> Remotes<'a> {
    pub fn new<'b>(
        cluster: Option<&'a Cluster>,
        endpoint: &'a Endpoint,
        shares: impl IntoIterator<Item = &'b Share>,
    ) -> Remotes<'a> {
        let secrets: HashSet<Name> = shares.into_iter().map(secret_of).collect();
        let has_several = secrets.len() > 1 && matches!(credential_of_environment(), Ok(None));
        Remotes { cluster, endpoint, has_several, by_secret: HashMap::new() }
    }

    pub async fn of(&mut self, share: &Share) -> anyhow::Result<Arc<Remote>> {
        let secret = secret_of(share);
        if let Some(remote) = self.by_secret.get(&secret) {
            return Ok(remote.clone());
        }
        let known = credential(self.cluster, &secret).await?;
        // Secrets may have the same credential, and then have one limit.
        let same = self.by_secret.values().find(|remote| remote.fingerprint() == known.fingerprint()).cloned();
        let remote = match same {
            Some(remote) => remote,
            None => {
                let remote = self.endpoint.remote(&known)?;
                Arc::new(if self.has_several { remote.beside_others() } else { remote })
            }
        };
        self.by_secret.insert(secret, remote.clone());
        Ok(remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<bool, String> {
        let variable =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes().to_vec());
        credential_of(variable).map(|known| known.is_some()).map_err(|error| error.to_string())
    }

    const TOKEN: &str = VARIABLES.token;
    const EMAIL: &str = VARIABLES.email;
    const KEY: &str = VARIABLES.key;

    #[test]
    fn the_environment_gives_one_kind_of_credential_or_none() {
        assert_eq!(of(&[]), Ok(false));
        assert_eq!(of(&[(TOKEN, ""), (EMAIL, " "), (KEY, "\n")]), Ok(false));
        assert_eq!(of(&[(TOKEN, "canary-1\n")]), Ok(true));
        assert_eq!(of(&[(TOKEN, "canary-1"), (EMAIL, ""), (KEY, "")]), Ok(true));
        assert_eq!(of(&[(TOKEN, "canary-1"), (KEY, "can ary")]), Ok(true));
        assert_eq!(of(&[(TOKEN, ""), (EMAIL, "a@example.com"), (KEY, "canary-2")]), Ok(true));
        for set in [&[(EMAIL, "canary")][..], &[(KEY, "canary")]] {
            let error = of(set).unwrap_err();
            assert!(error.contains(KEY) && error.contains(": ") && !error.contains("canary"), "{error}");
        }
        for (value, kind) in [
            ("can\u{7}ary", "control character"),
            ("canary ", "blanks"),
            ("\"canary\"", "quotation marks"),
            ("Bearer canary", "Bearer"),
        ] {
            let error = of(&[(TOKEN, value)]).unwrap_err();
            assert!(error.contains(TOKEN) && error.contains(kind) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn who_may_not_read_a_secret_is_not_told_of_the_operator_s_rights() {
        let said = |problem| format!("{:#}", missing(&Name::new("sec-a", "token"), problem));
        let forbidden = said(NoCredential::Forbidden("token".into()));
        assert_eq!(forbidden, format!("you are not allowed to read Secret sec-a/token: {NO_CREDENTIAL}"));
        let absent = said(NoCredential::Missing("token".into()));
        assert!(absent.starts_with("no credential: set CLOUDFLARE_API_TOKEN, "), "{absent}");
        assert!(absent.contains(": the Secret token does not exist"), "{absent}");
    }
}
