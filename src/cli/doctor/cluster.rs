//! Whether the cluster has what cfshare needs: CRDs, rights, somebody who leads.

use std::collections::BTreeSet;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::owners::check_owners;
use super::policy::check_self_restriction;
use super::watched::Installed;
use super::{Doctor, Findings};
use crate::api::{Kind, Name, Share, crd, secret_of};
use crate::cli::cluster::Cluster;
use crate::cli::lease::{self, Leader};
use crate::cli::output::causes;
use crate::core::health::place;
use crate::core::shard;
use crate::operator::{SWEEPS, sweeps, with_cause};

/// A Lease that the operator should have, and what was read of it.
type ReadLease = (String, Result<Option<Lease>, kube::Error>);

impl Doctor {
    /// Returns the Shares, for what comes next.
    pub(super) async fn check_cluster(&self, cluster: &Cluster, findings: &mut Findings) -> Vec<Share> {
        match cluster.kube.apiserver_version().await {
            Ok(version) => findings.ok(format!("cluster: Kubernetes {}", version.git_version)),
            Err(error) => {
                let error = causes(&error.into());
                findings.fail(format!("cluster: cannot be reached ({error}): check KUBECONFIG and the network"));
                return Vec::new();
            }
        }
        check_crds(cluster, findings).await;
        let scope = place(cluster.namespace.as_deref());
        let shares: Vec<Share> = match cluster.list().await {
            Ok(shares) => {
                if shares.is_empty()
                    && let Err(missing) = cluster.must_exist().await
                {
                    findings.fail(format!("Shares: {missing}"));
                } else {
                    findings.ok(format!("Shares: {} in {scope}", shares.len()));
                }
                shares
            }
            // The operator itself watches, and does not list.
            Err(error) if self.cluster_only => {
                findings.warn(format!("Shares: {}", causes(&error)));
                Vec::new()
            }
            Err(error) => {
                findings.fail(format!("Shares: {}", causes(&error)));
                Vec::new()
            }
        };
        check_owners(&shares, findings);
        let installed = self.installed(cluster, findings).await;
        let leases = self.leases(cluster).await;
        self.check_rights(cluster, &installed, &shares, &leases, findings).await;
        for (name, read) in leases {
            check_lease(&format!("{}/{name}", self.lease_namespace()), read, findings);
        }
        shares
    }

    async fn check_rights(
        &self,
        cluster: &Cluster,
        installed: &Installed,
        shares: &[Share],
        leases: &[ReadLease],
        findings: &mut Findings,
    ) {
        let Some(account) = &installed.service_account else {
            return findings.warn(
                "rights: not checked, because it is not known which ServiceAccount is the operator's: specify it with \
                 --service-account NAMESPACE/NAME",
            );
        };
        let Some((namespace, name)) = account.split_once('/') else {
            return findings.fail("rights: --service-account is not NAMESPACE/NAME");
        };
        // The operator itself may not ask about users, only about itself.
        let user = Some(format!("system:serviceaccount:{namespace}:{name}"));
        let user = if who_asks(cluster).await == user { None } else { user };
        let mut missing = Vec::new();
        for needed in self.needed_rights(cluster, installed, shares, leases) {
            match allowed(cluster, user.as_deref(), needed.clone()).await {
                Ok(true) => {}
                Ok(false) => missing.push(describe(needed)),
                Err(error) => return findings.warn(format!("rights: cannot be checked ({})", with_cause(&error))),
            }
        }
        if missing.is_empty() {
            findings.ok("rights: the operator has all permissions that it uses");
        } else {
            let missing = missing.join(", ");
            findings.fail(format!(
                "rights: the operator may not {missing}: install the chart's RBAC in each namespace that it watches, and \
                 list Secrets in secretNames"
            ));
        }
        check_self_restriction(cluster, user.as_deref(), shares, findings).await;
    }

    fn needed_rights(
        &self,
        cluster: &Cluster,
        installed: &Installed,
        shares: &[Share],
        leases: &[ReadLease],
    ) -> Vec<ResourceAttributes> {
        let watched: Vec<Option<String>> = match installed.namespaces.as_deref() {
            None => vec![cluster.namespace.clone()],
            Some([]) => vec![None],
            Some(names) => names.iter().cloned().map(Some).collect(),
        };
        let mut needed: Vec<_> = watched.into_iter().flat_map(rights_in).collect();
        let on_leases = |verb: &str, name: Option<&String>| ResourceAttributes {
            namespace: Some(self.lease_namespace()),
            name: name.cloned(),
            ..right(verb, "coordination.k8s.io", "leases")
        };
        needed.push(on_leases("create", None));
        needed.extend(leases.iter().flat_map(|(name, _)| ["get", "update"].map(|verb| on_leases(verb, Some(name)))));
        let secrets: BTreeSet<Name> = shares.iter().map(secret_of).collect();
        needed.extend(secrets.into_iter().map(|Name { namespace, name }| ResourceAttributes {
            namespace: Some(namespace.to_string()),
            name: Some(name.to_string()),
            ..right("get", "", "secrets")
        }));
        needed
    }

    /// The Leases that the operator has: one, or those of its shards too.
    async fn leases(&self, cluster: &Cluster) -> Vec<ReadLease> {
        let api: Api<Lease> = Api::namespaced(cluster.kube.clone(), &self.lease_namespace());
        let common = api.get_opt(&self.lease_name).await;
        let shards = common.as_ref().ok().and_then(Option::as_ref).and_then(lease::shards).unwrap_or(0);
        let mut leases = vec![(self.lease_name.clone(), common)];
        for name in (0..shards).map(|shard| shard::lease_name(&self.lease_name, shard)) {
            let read = api.get_opt(&name).await;
            leases.push((name, read));
        }
        leases
    }
}

fn check_lease(name: &str, read: Result<Option<Lease>, kube::Error>, findings: &mut Findings) {
    match read {
        Ok(Some(lease)) => match lease::leader(name, &lease, k8s_openapi::jiff::Timestamp::now()) {
            Leader::Leads(holder) => {
                findings.ok(format!("lease {name}: held by {holder}"));
                check_calls_left(name, &lease, findings);
            }
            Leader::Nobody(why) | Leader::Unknown(why) => findings.fail(format!("lease: {why}")),
            Leader::Partly(_) => {}
        },
        Ok(None) => findings.warn(format!(
            "lease {name}: not found: the operator does not run, or runs without --leader-elect, or has another \
             --lease-namespace or --lease-name"
        )),
        Err(error) => findings.warn(format!("lease: {}", lease::unreadable(name, &error))),
    }
}

/// Credentials whose rate limit is used up, as who holds the Lease says.
fn check_calls_left(name: &str, lease: &Lease, findings: &mut Findings) {
    let sweeps = sweeps::parse(lease.annotations().get(SWEEPS).map(String::as_str));
    let spent = sweeps.iter().filter(|(_, sweep)| sweep.left == Some(0));
    let credentials: BTreeSet<&str> =
        spent.filter_map(|(key, _)| key.rsplit_once('@')).map(|(_, credential)| credential).collect();
    for credential in credentials {
        findings.warn(format!(
            "rate limit: the operator cannot make a call immediately with credential=\"{credential}\" (in metrics), as of the \
             last renewal of Lease {name}, so changes wait: see docs/credentials.md#rate-limits"
        ));
    }
}

/// The user's name, if the API server tells it.
async fn who_asks(cluster: &Cluster) -> Option<String> {
    let whoami = Api::<SelfSubjectReview>::all(cluster.kube.clone());
    let review = whoami.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    review.ok()?.status?.user_info?.username
}

/// `resource` may name a subresource after a slash.
fn right(verb: &str, group: &str, resource: &str) -> ResourceAttributes {
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(of, sub)| (of, Some(sub)));
    ResourceAttributes {
        verb: Some(verb.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: subresource.map(str::to_owned),
        ..ResourceAttributes::default()
    }
}

/// What the operator needs in a namespace, or in all of them.
fn rights_in(namespace: Option<String>) -> Vec<ResourceAttributes> {
    let mut rights = Vec::new();
    for kind in Kind::ALL {
        let plural = kind.plural();
        rights.extend(["get", "list", "watch", "patch"].map(|verb| right(verb, "cfshare.dev", &plural)));
        rights.push(right("patch", "cfshare.dev", &format!("{plural}/status")));
    }
    rights.push(right("create", "events.k8s.io", "events"));
    rights.into_iter().map(|right| ResourceAttributes { namespace: namespace.clone(), ..right }).collect()
}

fn describe(right: ResourceAttributes) -> String {
    let text = |before: &str, part: Option<String>| part.map_or(String::new(), |part| format!("{before}{part}"));
    text("", right.verb)
        + &text(" ", right.resource)
        + &text("/", right.subresource)
        + &text(" ", right.name)
        + &text(" in ", right.namespace)
}

async fn allowed(cluster: &Cluster, user: Option<&str>, attributes: ResourceAttributes) -> Result<bool, kube::Error> {
    let said = |status: Option<SubjectAccessReviewStatus>| status.is_some_and(|status| status.allowed);
    let params = PostParams::default();
    let resource_attributes = Some(attributes);
    match user {
        None => {
            let spec = SelfSubjectAccessReviewSpec { resource_attributes, ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            Ok(said(Api::all(cluster.kube.clone()).create(&params, &review).await?.status))
        }
        Some(user) => {
            let spec =
                SubjectAccessReviewSpec { resource_attributes, user: Some(user.to_owned()), ..Default::default() };
            let review = SubjectAccessReview { spec, ..Default::default() };
            Ok(said(Api::all(cluster.kube.clone()).create(&params, &review).await?.status))
        }
    }
}

async fn check_crds(cluster: &Cluster, findings: &mut Findings) {
    let api =
        Api::<DynamicObject>::all_with(cluster.kube.clone(), &ApiResource::erase::<CustomResourceDefinition>(&()));
    for ours in crd::definitions() {
        let name = ours.metadata.name.clone().unwrap_or_default();
        match api.get_opt(&name).await {
            Ok(None) => findings.fail(format!(
                "CRD {name}: not found: install it with `cfshare crds | kubectl apply --server-side -f -`"
            )),
            Ok(Some(theirs)) => {
                let conditions = theirs.data["status"]["conditions"].as_array();
                let established =
                    |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
                let ours = serde_json::to_value(&ours.spec.versions).unwrap_or_default();
                if !conditions.is_some_and(|conditions| conditions.iter().any(established)) {
                    findings.fail(format!("CRD {name}: not established: see `kubectl describe crd {name}`"));
                } else if holds(&theirs.data["spec"]["versions"], &ours) {
                    findings.ok(format!("CRD {name}: matches this version"));
                } else {
                    findings.fail(differs(&name));
                }
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                findings.warn(format!("CRD {name}: you are not allowed to read it, so its version is not checked"));
            }
            Err(error) => findings.fail(format!("CRD {name}: cannot be read ({})", with_cause(&error))),
        }
    }
}

/// An older program must not talk anybody into older CRDs: the API server drops the fields that they do not know.
fn differs(name: &str) -> String {
    format!(
        "CRD {name}: does not match this program. If this program is older than the operator, upgrade the program, and leave \
         the CRD as it is. If the chart installed the CRDs, upgrade the chart; without Helm: \
         `cfshare crds | kubectl apply --server-side --force-conflicts -f -`"
    )
}

/// Whether one value has all that the other has; the API server adds defaults of its own.
fn holds(value: &Value, all: &Value) -> bool {
    match (value, all) {
        (Value::Object(value), Value::Object(all)) => {
            all.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| holds(value, wanted)))
        }
        (Value::Array(value), Value::Array(all)) => {
            value.len() == all.len() && value.iter().zip(all).all(|(value, wanted)| holds(value, wanted))
        }
        // What is written 0.0 comes back as 0.
        (Value::Number(value), Value::Number(all)) => value.as_f64() == all.as_f64(),
        _ => value == all,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_program_advises_first_to_upgrade_itself() {
        let said = differs("shares.cfshare.dev");
        let places = ["upgrade the program", "upgrade the chart", "kubectl apply"].map(|part| said.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said}");
    }

    #[test]
    fn a_credential_without_calls_left_is_warned_of_once() {
        let sweeps = r#"{"a@f1":{"at":1,"every":1,"left":0},"b@f1":{"at":1,"every":1,"left":0},"c@f2":{"at":1,"every":1,"left":9}}"#;
        let lease = json!({"metadata": {"name": "l", "annotations": {SWEEPS: sweeps}}});
        let lease: Lease = serde_json::from_value(lease).expect("a Lease");
        let mut findings = Findings::default();
        check_calls_left("ns/l", &lease, &mut findings);
        assert!(findings.lines.len() == 1 && findings.lines[0].1.contains("credential=\"f1\""), "{:?}", findings.lines);
    }

    #[test]
    fn who_may_not_read_the_lease_is_told_so() {
        let status = kube::core::Status::failure("leases is forbidden", "Forbidden").with_code(403);
        let mut findings = Findings::default();
        check_lease("ns/l", Err(kube::Error::Api(Box::new(status))), &mut findings);
        assert!(
            findings.lines[0].1.starts_with("lease: you are not allowed to read Lease ns/l, "),
            "{:?}",
            findings.lines
        );
    }

    #[test]
    fn defaults_of_the_server_are_no_difference_and_changes_are() {
        let ours = json!([{"name": "v1", "schema": {"a": 1}}]);
        assert!(holds(&json!([{"name": "v1", "schema": {"a": 1, "b": 2}}]), &ours));
        assert!(!holds(&json!([{"name": "v1", "schema": {"a": 2}}]), &ours));
        assert!(holds(&json!({"minimum": 0}), &json!({"minimum": 0.0})));
        assert!(!holds(&json!([]), &ours));
    }
}
