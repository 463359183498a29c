//! How is the API server asked: in one namespace or all of them, for how long at most, and when again?

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// Longest that one call may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Objects of one namespace, or of all of them.
pub fn api_in<K>(kube: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(kube.clone(), namespace),
        None => Api::all(kube.clone()),
    }
}

/// Up to a half more, so that replicas and kinds do not ask all at once.
pub fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    wait + wait.mul_f64((random % 1000) as f64 / 2000.0)
}

/// A call that hangs must not hang its object.
pub async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = || kube::Error::Service("the API server did not answer in time".into());
    tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(late()))
}
