//! The objects of a cluster, for tests without an API server.

use std::sync::Arc;

use super::Cluster;
use super::events::Events;
use super::index::Index;
use super::outside::Outside;
use super::served::ServedShards;
use super::work_queue::Requeuer;
use crate::api::Share;
use crate::operator::clock::Clock;
use crate::serve::metrics::Metrics;

/// One shard of these Shares, which came long ago; whatever is asked of the API server, `kube` is asked.
pub fn cluster(kube: kube::Client, shares: &[Share], metrics: Arc<Metrics>, clock: Clock) -> Cluster {
    Cluster {
        clock,
        index: Index::of(shares, &[], &[], Default::default()),
        outside: Outside::new(kube.clone(), &[None], clock),
        kube: kube.clone(),
        events: Events::new(kube, None, metrics),
        requeuer: Arc::new(Requeuer::new(Vec::new())),
        shards: ServedShards::new(1, clock.now()),
        answers: Default::default(),
    }
}
