//! Whether the API server keeps the operator from changing more of a Share than its own finalizer and status.

use http::header::{HeaderName, HeaderValue};
use kube::api::{Patch, PatchParams, Request};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::Findings;
use crate::api::{FINALIZER, Share, is_deleting};
use crate::cli::cluster::Cluster;
use crate::operator::with_cause;

const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// Has the API server judge a change of labels by the operator, without storing it. `user`: whom to speak for; `None`:
/// this is the operator's own ServiceAccount.
pub async fn check_self_restriction(cluster: &Cluster, user: Option<&str>, shares: &[Share], findings: &mut Findings) {
    // Labels of an object that is being deleted may change.
    let Some(share) = shares.iter().find(|share| !is_deleting(&share.metadata)) else {
        return findings.warn("policy self-restriction: not checked, because there is no Share to check it with");
    };
    match try_to_change(cluster, user, share).await {
        Ok(_) => findings.warn(
            "policy self-restriction: the operator's ServiceAccount may change specs and labels of Shares. Install the \
             chart with selfRestriction.enabled, or deploy/manifests, and do not bind the ServiceAccount to further roles",
        ),
        // With the prefix of an overlay, the name ends like that as well.
        Err(kube::Error::Api(status)) if status.message.contains("self-restriction.") => {
            findings.ok("policy self-restriction: in force for the operator");
        }
        Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
            findings.warn("policy self-restriction: not checked, because another policy refused the check");
        }
        Err(kube::Error::Api(status)) if status.message.contains("cannot impersonate") => {
            findings.warn("policy self-restriction: not checked, because you are not allowed to impersonate the operator");
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            findings.ok("policy self-restriction: the operator may not change this Share at all");
        }
        Err(error) => {
            findings.warn(format!("policy self-restriction: cannot be checked ({})", with_cause(&error)));
        }
    }
}

async fn try_to_change(cluster: &Cluster, user: Option<&str>, share: &Share) -> Result<Value, kube::Error> {
    let change = json!({ "metadata": { "labels": { FINALIZER: "checked-by-doctor" } } });
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let path = Share::url_path(&(), share.namespace().as_deref());
    let built = Request::new(path).patch(&share.name_any(), &params, &Patch::Merge(change));
    let mut request = built.map_err(kube::Error::BuildRequest)?;
    request.extensions_mut().insert("patch");
    if let Some(Ok(user)) = user.map(HeaderValue::from_str) {
        request.headers_mut().insert(IMPERSONATE, user);
    }
    cluster.kube.request(request).await
}
