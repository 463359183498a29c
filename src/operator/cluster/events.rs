//! Events on objects: best effort, few, and never in the way of a pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::core::Status;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::requests::in_time;
use super::trouble::with_cause;
use crate::api::FIELD_MANAGER;
use crate::cloudflare::clean_ends;
use crate::serve::metrics::Metrics;

/// So many Events are on their way at once.
const MAX_IN_FLIGHT: usize = 8;
/// So many at most are on their way, or wait for that. More are dropped, as where the API server does not answer.
const MAX_WAITING: usize = 256;

/// An Event's name begins with so much of that of its object: all of it may have 253 characters.
const LONGEST_NAME: usize = 230;
/// That Events are not published is said so often.
const WARNING_INTERVAL: Duration = Duration::from_secs(600);

/// Each Event is an object of its own. kube's `Recorder` keeps all of the last six minutes, to count those of one reason
/// and object in a series under the first one's text.
pub struct Events {
    kube: kube::Client,
    instance: String,
    metrics: Arc<Metrics>,
    in_flight: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// When it was last said that Events are not published.
    warned: Arc<Mutex<Option<Instant>>>,
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
    pub fn new(kube: kube::Client, instance: Option<String>, metrics: Arc<Metrics>) -> Events {
        Events {
            kube,
            instance: instance.unwrap_or_else(|| FIELD_MANAGER.to_owned()),
            metrics,
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            warned: Arc::default(),
        }
    }

    pub fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note, message: String) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::debug!(reason = note.reason, "an event was dropped, since too many wait for the API server");
            return self.metrics.event_dropped();
        };
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(event_name(&object.name_any(), now)),
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
        let (in_flight, metrics, warned) = (self.in_flight.clone(), self.metrics.clone(), self.warned.clone());
        tokio::spawn(async move {
            let _place = place;
            let params = PostParams::default();
            let published = in_time(async {
                let _turn = in_flight.acquire().await;
                events.create(&params, &event).await
            });
            match published.await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if ends_with_its_namespace(&status) => {}
                Err(error) => {
                    metrics.event_dropped();
                    report(&warned, &error);
                }
            }
        });
    }
}

/// Nobody reads the Events of a namespace that is being deleted, and the API server takes none.
fn ends_with_its_namespace(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

fn report(warned: &Mutex<Option<Instant>>, error: &kube::Error) {
    let (mut warned, error) = (warned.lock(), with_cause(error));
    if warned.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
        return tracing::debug!(error, "an Event was not published");
    }
    *warned = Some(Instant::now());
    tracing::warn!(
        error,
        "an Event was not published; cfshare_events_dropped_total counts how many are not. If the API server refuses them, \
         grant cfshare create on events.events.k8s.io in that namespace"
    );
}

/// A name that no other Event has. That of the object may be as long as a name can be.
fn event_name(object: &str, now: Timestamp) -> String {
    let object: String = object.chars().take(LONGEST_NAME).collect();
    format!("{}.{:x}", object.trim_end_matches(['-', '.']), now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::api::{Reason, ShareRecipient};

    fn object() -> ShareRecipient {
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient",
            "metadata": {"name": "one", "namespace": "a"},
            "spec": {"shareRef": {"name": "waf"}, "accountID": "023e105f4ecef8ad9ca31a8372d0c353"},
        });
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn the_longest_name_of_an_object_makes_a_valid_name_of_an_event() {
        let now = Timestamp::MAX;
        assert!(event_name("one", now).starts_with("one."));
        let long = format!("{}.-.{}", "a".repeat(228), "b".repeat(22));
        let name = event_name(&long, now);
        assert!(name.len() <= 253 && !name.contains("..") && !name.contains("-."), "{name}");
    }

    #[tokio::test]
    async fn events_that_the_api_server_refuses_are_counted_and_told_once_in_a_while() {
        let refusal = |reason: &str| {
            let details = json!({"causes": [{"reason": reason, "message": "no"}]});
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": "no", "details": details})
        };
        for (reason, counted) in [("Other", "cfshare_events_dropped_total 3\n"), ("NamespaceTerminating", "_total 0\n")]
        {
            let (metrics, body) = (Arc::new(Metrics::default()), refusal(reason).to_string());
            let refusing = tower::service_fn(move |_: http::Request<Body>| {
                let answer = http::Response::builder().status(403).body(Body::from(body.clone().into_bytes()));
                async move { Ok::<_, std::io::Error>(answer.expect("an answer")) }
            });
            let events = Events::new(kube::Client::new(refusing, "default"), None, metrics.clone());
            for _ in 0..3 {
                events.publish(&object(), Note::normal(Reason::Associated), String::new());
            }
            let all = events.places.acquire_many(u32::try_from(MAX_WAITING).expect("few")).await;
            drop(all.expect("they all end"));
            assert_eq!(events.warned.lock().is_some(), reason == "Other");
            let shown = metrics.render();
            let shown = shown.lines().find(|line| line.starts_with("cfshare_events_dropped_total ")).expect("it");
            assert!(format!("{shown}\n").ends_with(counted), "{reason}: {shown}");
        }
    }

    #[tokio::test]
    async fn events_that_the_api_server_does_not_take_are_few_and_those_dropped_are_counted() {
        let arrived = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (came, metrics) = (arrived.clone(), Arc::new(Metrics::default()));
        let silent = tower::service_fn(move |_: http::Request<Body>| {
            came.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::future::pending::<Result<http::Response<Body>, std::io::Error>>()
        });
        let events = Events::new(kube::Client::new(silent, "default"), None, metrics.clone());
        let object = object();
        for _ in 0..MAX_WAITING + 3 {
            events.publish(&object, Note::normal(Reason::Associated), String::new());
        }
        for _ in 0..10 * MAX_WAITING {
            tokio::task::yield_now().await;
        }
        assert!((1..=MAX_IN_FLIGHT).contains(&arrived.load(std::sync::atomic::Ordering::SeqCst)), "{arrived:?}");
        let shown = metrics.render();
        assert!(shown.contains("cfshare_events_dropped_total 3\n"), "{shown}");
    }
}
