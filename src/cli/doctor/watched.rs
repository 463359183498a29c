//! Which namespaces the operator watches, as its Deployment or a flag says.

use k8s_openapi::api::apps::v1;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, NotUsed, Object};
use serde::Deserialize;

use super::{Doctor, Findings};
use crate::cli::cluster::Cluster;

/// What is known of the operator's installation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    /// `None`: nobody says. Empty: all namespaces.
    pub namespaces: Option<Vec<String>>,
    /// NAMESPACE/NAME.
    pub service_account: Option<String>,
}

/// A Deployment, as far as it says how the operator runs: all of a Pod's fields would be a fiftieth of the program.
type Deployment = Object<DeploymentSpec, NotUsed>;

#[derive(Deserialize, Debug, Clone)]
struct DeploymentSpec {
    template: PodTemplate,
}

#[derive(Deserialize, Debug, Clone)]
struct PodTemplate {
    spec: PodSpec,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    service_account_name: Option<String>,
}

#[derive(Deserialize, Debug, Clone)]
struct Container {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<EnvVar>,
}

#[derive(Deserialize, Debug, Clone)]
struct EnvVar {
    name: String,
    value: Option<String>,
}

impl Doctor {
    /// Flags say more than the Deployment, which need not be there.
    pub(super) async fn installed(&self, cluster: &Cluster, findings: &mut Findings) -> Installed {
        let place = self.lease_namespace();
        let deployments = ApiResource::erase::<v1::Deployment>(&());
        let api: Api<Deployment> = Api::namespaced_with(cluster.kube.clone(), &place, &deployments);
        let mut installed = match api.list(&ListParams::default()).await {
            Ok(list) => list.items.iter().find_map(|found| of(found, &place, &self.lease_name)).unwrap_or_default(),
            Err(_) => Installed::default(),
        };
        if !self.watched.is_empty() {
            installed.namespaces = Some(self.watched.clone());
        }
        if self.service_account.is_some() {
            installed.service_account = self.service_account.clone();
        }
        for name in installed.namespaces.iter().flatten() {
            if let Ok(None) = Api::<Namespace>::all(cluster.kube.clone()).get_opt(name).await {
                findings.fail(format!(
                    "namespace {name}: it does not exist, but the operator watches it: create it, or remove it from \
                     watchNamespaces"
                ));
            }
        }
        installed
    }
}

/// What the Deployment says, if it is the one whose replicas compete for that Lease.
fn of(deployment: &Deployment, namespace: &str, lease: &str) -> Option<Installed> {
    let pod = &deployment.spec.template.spec;
    let runs = |container: &&Container| {
        let runs = container.args.iter().any(|arg| arg == "run");
        runs && values(container, "--lease-name", "CFSHARE_LEASE_NAME").first().map_or("cfshare", String::as_str)
            == lease
    };
    let container = pod.containers.iter().find(runs)?;
    let account = pod.service_account_name.as_ref().map(|name| format!("{namespace}/{name}"));
    Some(Installed {
        namespaces: Some(values(container, "--namespace", "CFSHARE_NAMESPACE")),
        service_account: account,
    })
}

/// All values of a flag; those of its variable where it is not given.
fn values(container: &Container, flag: &str, variable: &str) -> Vec<String> {
    let mut given: Vec<&str> = Vec::new();
    let mut args = container.args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(flag) {
            Some("") => given.extend(args.next().map(String::as_str)),
            Some(rest) => given.extend(rest.strip_prefix('=')),
            None => {}
        }
    }
    if given.is_empty() {
        let of_environment = container.env.iter().filter(|env| env.name == variable);
        given.extend(of_environment.filter_map(|env| env.value.as_deref()));
    }
    let parts = given.iter().flat_map(|value| value.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(args: &[&str], env: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "cfshare"},
            "spec": {"selector": {}, "template": {"spec": {
                "serviceAccountName": "operator",
                "containers": [{"name": "cfshare", "args": args, "env": env}],
            }}},
        }))
        .expect("a Deployment")
    }

    #[test]
    fn the_deployment_says_what_is_watched() {
        let cases: [(&[&str], serde_json::Value, &[&str]); 5] = [
            (&["run"], json!([]), &[]),
            (&["run", "--namespace=a", "--namespace=b"], json!([]), &["a", "b"]),
            (&["run", "--namespace", "a,b"], json!([{"name": "CFSHARE_NAMESPACE", "value": "c"}]), &["a", "b"]),
            (&["run"], json!([{"name": "CFSHARE_NAMESPACE", "value": "c, d"}]), &["c", "d"]),
            (&["run"], json!([{"name": "CFSHARE_NAMESPACE", "value": ""}]), &[]),
        ];
        for (args, env, expected) in cases {
            let installed = of(&deployment(args, env), "system", "cfshare").expect("it runs the operator");
            assert_eq!(
                installed.namespaces.as_deref(),
                Some(expected.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice())
            );
            assert_eq!(installed.service_account.as_deref(), Some("system/operator"));
        }
    }

    #[test]
    fn another_deployment_says_nothing() {
        assert_eq!(of(&deployment(&["serve"], json!([])), "system", "cfshare"), None);
        assert_eq!(of(&deployment(&["run", "--lease-name=other"], json!([])), "system", "cfshare"), None);
        assert!(of(&deployment(&["run", "--lease-name=other"], json!([])), "system", "other").is_some());
    }
}
