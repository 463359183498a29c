//! Events on objects: best effort, few, and never in the way of a pass.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};

use crate::api::FIELD_MANAGER;
use crate::cloudflare::clean_ends;

/// Each Event is an object of its own. kube's `Recorder` keeps all of the last six minutes, to count those of one reason
/// and object in a series under the first one's text.
pub struct Events {
    kube: kube::Client,
    instance: String,
}

/// What kind of thing happened.
#[derive(Debug, Clone)]
pub struct Note {
    kind: &'static str,
    reason: &'static str,
}

impl Note {
    /// The object became Ready, or something was done.
    pub fn normal(reason: impl Into<&'static str>) -> Note {
        Note { kind: "Normal", reason: reason.into() }
    }

    /// The object needs somebody, or something is wrong.
    pub fn warning(reason: impl Into<&'static str>) -> Note {
        Note { kind: "Warning", reason: reason.into() }
    }
}

impl Events {
    pub fn new(kube: kube::Client, instance: Option<String>) -> Events {
        Events { kube, instance: instance.unwrap_or_else(|| FIELD_MANAGER.to_owned()) }
    }

    pub fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note, message: String) {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", object.name_any(), now.as_nanosecond())),
                namespace: object.namespace(),
                ..ObjectMeta::default()
            },
            regarding: Some(object.object_ref(&())),
            type_: Some(note.kind.to_owned()),
            reason: Some(note.reason.to_owned()),
            note: Some(clean_ends(&message, 1000)),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.kube.clone(), &object.namespace().unwrap_or_default());
        tokio::spawn(async move {
            if let Err(error) = events.create(&PostParams::default(), &event).await {
                tracing::debug!(%error, "an event was not published");
            }
        });
    }
}
