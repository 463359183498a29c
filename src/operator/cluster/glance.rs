//! What is known of an object without unpacking it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{Share, ShareRecipient, ShareResource};
use crate::core::text::Text;
use crate::operator::conditions::readiness;

/// A kind whose objects are kept.
pub trait Kept: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    fn glance(&self) -> Glance;
}

#[derive(Debug, Clone)]
pub struct Glance {
    /// Status and reason of its Ready condition.
    pub ready: Option<(Text, Text)>,
    /// Metrics show more of it than that.
    pub is_notable: bool,
}

impl Glance {
    fn of(conditions: Option<&Vec<Condition>>) -> Glance {
        let ready = conditions.and_then(|conditions| readiness(conditions));
        Glance { ready: ready.map(|(status, reason)| (status.into(), reason.into())), is_notable: false }
    }

    fn is_ready(&self) -> bool {
        self.ready.as_ref().is_some_and(|(status, _)| *status == "True")
    }
}

impl Kept for Share {
    fn glance(&self) -> Glance {
        let status = self.status.as_ref();
        let glance = Glance::of(status.map(|status| &status.common.conditions));
        let is_notable = !glance.is_ready()
            || status.is_some_and(|status| !status.exceptions.is_empty() || status.blocked_removals > 0);
        Glance { is_notable, ..glance }
    }
}

impl Kept for ShareRecipient {
    fn glance(&self) -> Glance {
        Glance::of(self.status.as_ref().map(|status| &status.child.common.conditions))
    }
}

impl Kept for ShareResource {
    fn glance(&self) -> Glance {
        Glance::of(self.status.as_ref().map(|status| &status.child.common.conditions))
    }
}
