//! Whether a replica that does not lead could do the work: so that a rollout does not replace one that can by one that
//! cannot.

use std::time::Duration;

use kube::Api;
use kube::api::{ListParams, WatchParams};

use crate::api::{Share, ShareRecipient, ShareResource};
use crate::core::health::place;
use crate::operator::cluster::has_status::HasStatus;
use crate::operator::cluster::requests::{DEADLINE, api_in};
use crate::operator::cluster::trouble::Trouble;
use crate::serve::Health;

/// How often it is tried while it fails, and afterwards.
const RETRY: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(600);

/// Tries now and then to list and watch, until this replica leads: at least one scope must let it.
pub async fn keep(kube: kube::Client, scopes: Vec<Option<String>>, selector: Option<String>, health: Health) {
    let selector = selector.as_deref();
    loop {
        let mut could = false;
        for scope in &scopes {
            let place = place(scope.as_deref());
            let outcome = async {
                attempt::<Share>(&kube, scope.as_deref(), selector, &place).await?;
                attempt::<ShareRecipient>(&kube, scope.as_deref(), selector, &place).await?;
                attempt::<ShareResource>(&kube, scope.as_deref(), selector, &place).await
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
        tokio::time::sleep(if could { AGAIN } else { RETRY }).await;
    }
}

/// The beginning of a list, and of the watch that follows.
async fn attempt<K: HasStatus>(
    kube: &kube::Client,
    scope: Option<&str>,
    selector: Option<&str>,
    place: &str,
) -> Result<(), String> {
    let api: Api<kube::core::PartialObjectMeta<K>> = api_in(kube, scope);
    let calls = async {
        let mut list = ListParams::default().limit(1);
        let mut watch = WatchParams::default().timeout(1);
        (list.label_selector, watch.label_selector) = (selector.map(str::to_owned), selector.map(str::to_owned));
        let version = api.list_metadata(&list).await?.metadata.resource_version.unwrap_or_default();
        api.watch_metadata(&watch, &version).await.map(drop)?;
        Ok::<(), Trouble>(())
    };
    let outcome = tokio::time::timeout(DEADLINE, calls).await.unwrap_or(Err(Trouble::Late));
    outcome.map_err(|trouble| trouble.message(&K::plural(&()), place))
}
