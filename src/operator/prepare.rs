//! Whether a replica that does not lead could do the work: so that a rollout does not replace one that can by one that
//! cannot.

use std::time::Duration;

use kube::Api;
use kube::api::{ListParams, WatchParams};

use crate::api::{Share, ShareRecipient, ShareResource};
use crate::core::health::place;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::cluster::requests::{DEADLINE, api_in};
use crate::operator::cluster::trouble::Trouble;
use crate::serve::Health;

/// How often it is tried while it fails, and afterwards.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const RECHECK_INTERVAL: Duration = Duration::from_secs(600);

/// Tries now and then to list and watch, until this replica leads: at least one scope must let it.
pub async fn keep(kube: kube::Client, scopes: Vec<Option<String>>, health: Health) {
    loop {
        let mut could = false;
        for scope in &scopes {
            let place = place(scope.as_deref());
            let outcome = async {
                attempt::<Share>(&kube, scope.as_deref(), &place).await?;
                attempt::<ShareRecipient>(&kube, scope.as_deref(), &place).await?;
                attempt::<ShareResource>(&kube, scope.as_deref(), &place).await
            };
            match outcome.await {
                // The other scopes may take long, and one is enough.
                Ok(()) => {
                    could = true;
                    health.note(|health, _| health.prepared(true));
                }
                Err(message) => tracing::warn!("{message}"),
            }
        }
        if !could {
            health.note(|health, _| health.prepared(false));
        }
        if health.ask(|health, _| !health.scopes().is_empty()) {
            // It leads, and shows itself what it can.
            return;
        }
        tokio::time::sleep(if could { RECHECK_INTERVAL } else { RETRY_INTERVAL }).await;
    }
}

/// The beginning of a list, and of the watch that follows.
async fn attempt<K: Reconciled>(kube: &kube::Client, scope: Option<&str>, place: &str) -> Result<(), String> {
    let api: Api<kube::core::PartialObjectMeta<K>> = api_in(kube, scope);
    let calls = async {
        let list = ListParams::default().limit(1);
        let version = api.list_metadata(&list).await?.metadata.resource_version.unwrap_or_default();
        api.watch_metadata(&WatchParams::default().timeout(1), &version).await.map(drop)?;
        Ok::<(), Trouble>(())
    };
    let outcome = tokio::time::timeout(DEADLINE, calls).await.unwrap_or(Err(Trouble::Late));
    outcome.map_err(|trouble| trouble.message(&K::plural(&()), place))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn one_namespace_that_can_be_listed_is_enough_though_another_one_does_not_answer() {
        let server = tower::service_fn(|request: Request<Body>| async move {
            if request.uri().path().contains("/namespaces/silent/") {
                std::future::pending::<()>().await;
            }
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let list = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {"resourceVersion": "1"}, "items": [],
            });
            let body = if is_watch { String::new() } else { list.to_string() };
            Ok::<_, std::io::Error>(Response::new(Body::from(body.into_bytes())))
        });
        let health = Health::default();
        health.note(|health, now| {
            health.competes(Duration::from_secs(60));
            health.lease("the election", true, now);
        });
        let scopes = ["open", "silent"].map(|name| Some(name.to_owned())).to_vec();
        let kept = tokio::spawn(keep(kube::Client::new(server, "default"), scopes, health.clone()));
        let ready = async {
            while health.ask(|health, now| health.ready(now)).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE / 2, ready).await.expect("it is ready");
        kept.abort();
    }
}
