//! A namespace with an account of its own: objects are made in it, and awaited.

use std::time::{Duration, Instant};

use cfshare_simulator::{Limits, Policy, random_id};
use cfshare_testbed::wait;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::world::World;

/// Objects that are written at once.
const WRITERS: usize = 8;

pub struct Account<'a> {
    world: &'a World,
    pub namespace: String,
    pub id: String,
    secret: String,
}

impl<'a> Account<'a> {
    /// `limits`: whether Cloudflare's real limits hold for its token.
    pub async fn new(world: &'a World, namespace: &str, limits: bool) -> Result<Account<'a>, String> {
        world.kube.make_namespace(namespace).await?;
        Account::with_secret(world, namespace, "cloudflare-credentials", limits).await
    }

    /// Another account in a namespace that is there, with a Secret of that name.
    pub async fn with_secret(
        world: &'a World,
        namespace: &str,
        secret: &str,
        limits: bool,
    ) -> Result<Account<'a>, String> {
        let token = format!("token-{}", random_id());
        world.kube.put_secret(namespace, secret, &token).await?;
        let limits = if limits { Limits::default() } else { Limits { requests: 0, ..Limits::default() } };
        world.simulator.token(&token, Policy { limits: Some(limits), ..Policy::default() });
        Ok(Account { world, namespace: namespace.to_owned(), id: random_id(), secret: secret.to_owned() })
    }

    pub fn path(&self, plural: &str, name: &str) -> String {
        format!("{}/namespaces/{}/{plural}/{name}", cfshare_faults::GROUP, self.namespace)
    }

    pub fn share(&self, name: &str, recipients: &[String], resources: &[String], prune: bool) -> Value {
        let recipients: Vec<Value> = recipients.iter().map(|id| json!({"accountID": id})).collect();
        let resources: Vec<Value> = resources.iter().map(|id| self.resource(id)).collect();
        json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": name},
            "spec": {
                "accountID": self.id, "credentialsRef": {"name": self.secret}, "prune": prune, "recipients": recipients, "resources": resources,
            },
        })
    }

    pub fn resource(&self, id: &str) -> Value {
        json!({"type": "custom-ruleset", "id": id})
    }

    pub async fn apply(&self, plural: &str, object: &Value) -> Result<Value, String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.world.kube.apply(&self.path(plural, name), object).await
    }

    /// Applies many objects, several at a time.
    pub async fn apply_all(&self, plural: &str, objects: impl Iterator<Item = Value>) -> Result<(), String> {
        stream::iter(objects)
            .map(|object| async move { self.apply(plural, &object).await.map(drop) })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    /// Waits until so many objects are Ready.
    pub async fn ready(&self, plural: &str, count: usize, within: Duration) -> Result<(), String> {
        let (start, mut said) = (Instant::now(), Instant::now());
        // Listing thousands of objects takes the time of a core from the operator.
        let pause = Duration::from_millis(200 + count as u64 / 2);
        loop {
            let items = self.world.kube.list(&self.namespace, plural).await?;
            let ready = items.iter().filter(|item| is_ready(item)).count();
            if ready == count && items.len() == count {
                return Ok(());
            }
            if start.elapsed() > within {
                let example = items.iter().find(|item| !is_ready(item)).map(|item| item["status"].to_string());
                let example = example.unwrap_or_default();
                return Err(format!(
                    "{ready} of {count} {plural} are Ready after {within:?}; one of the others: {example}"
                ));
            }
            if wait::interrupted() {
                return Err("interrupted".to_owned());
            }
            if said.elapsed() > Duration::from_secs(15) {
                said = Instant::now();
                eprintln!("  {ready} of {count} {plural} are Ready after {:.0} s", start.elapsed().as_secs_f64());
            }
            tokio::time::sleep(pause).await;
        }
    }

    pub async fn add_recipient(&self, share: &str, id: &str) -> Result<(), String> {
        let patch = json!([{"op": "add", "path": "/spec/recipients/-", "value": {"accountID": id}}]);
        self.world.kube.patch(&self.path("shares", share), &patch).await.map(drop)
    }

    /// How many calls were made for the account after that request.
    pub fn calls_since(&self, request: u64) -> usize {
        self.world.simulator.journal(Some(&self.id), request).len()
    }
}

pub fn ids(count: usize) -> Vec<String> {
    (0..count).map(|_| random_id()).collect()
}

fn is_ready(object: &Value) -> bool {
    let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array();
    let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
    current && conditions.is_some_and(|conditions| conditions.iter().any(ready))
}

/// The value below which so large a part of the sorted values lies.
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
