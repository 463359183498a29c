//! Events on objects: best effort, few, and never in the way of a pass.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::api::Reason;
use crate::cloudflare::clean;

pub struct Events {
    recorder: Recorder,
}

/// What kind of thing happened.
#[derive(Debug, Clone)]
pub struct Note {
    kind: EventType,
    reason: String,
}

impl Note {
    pub fn normal(reason: Reason) -> Note {
        Note { kind: EventType::Normal, reason: reason.as_str().to_owned() }
    }

    pub fn warning(reason: Reason) -> Note {
        Note { kind: EventType::Warning, reason: reason.as_str().to_owned() }
    }

    /// A word that is no condition's reason.
    pub fn warning_of(reason: &str) -> Note {
        Note { kind: EventType::Warning, reason: reason.to_owned() }
    }

    pub fn normal_of(reason: &str) -> Note {
        Note { kind: EventType::Normal, reason: reason.to_owned() }
    }
}

impl Events {
    pub fn new(kube: kube::Client, instance: Option<String>) -> Events {
        Events { recorder: Recorder::new(kube, Reporter { controller: "cfshare".into(), instance }) }
    }

    pub fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note, message: String) {
        let recorder = self.recorder.clone();
        let reference = object.object_ref(&());
        let event = Event {
            type_: note.kind,
            reason: note.reason,
            note: Some(clean(&message, 1000)),
            action: "Reconcile".into(),
            secondary: None,
        };
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::debug!(%error, "an event was not published");
            }
        });
    }
}
