//! How objects of one kind come in: listed, watched, trimmed, kept, and related to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, StreamExt};
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};

use super::context::Context;
use super::key::Name;
use super::objects::{self, Kept};
use super::record::Recorded;

/// The stream that feeds one controller. An object that does not decode is logged and stops nobody; one that did decode
/// before counts as gone, so that nothing is done on an old manifest's word.
pub fn stream<K: Recorded>(
    api: Api<DeserializeGuard<K>>,
    selector: Option<&str>,
    writer: Arc<std::sync::Mutex<Writer<K>>>,
    context: Arc<Context>,
    listed: Arc<AtomicBool>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K> {
    let mut config = watch::Config::default().streaming_lists();
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    let kept = context.clone();
    watch(api, config)
        .default_backoff()
        .filter_map(move |event| {
            let event = match event {
                Ok(event) => decoded(event, K::kept(&kept.objects)).map(Ok),
                Err(error) => {
                    tracing::warn!(%error, kind = %K::kind(&()), "the watch was interrupted");
                    Some(Err(error))
                }
            };
            std::future::ready(event)
        })
        .map(move |event| {
            event.map(|mut event| {
                if let Event::Apply(object) | Event::InitApply(object) = &mut event {
                    objects::trim(object);
                }
                take_note(&event, &writer, &context);
                if matches!(event, Event::InitDone) {
                    listed.store(true, Ordering::Release);
                }
                event
            })
        })
        .touched_objects()
}

/// The event of an object that can be read. Of one that cannot, what is kept goes.
fn decoded<K: Recorded>(event: Event<DeserializeGuard<K>>, kept: &Kept<K>) -> Option<Event<K>> {
    let (guard, told): (_, fn(K) -> Event<K>) = match event {
        Event::Apply(guard) => (guard, Event::Apply),
        Event::Delete(guard) => (guard, Event::Delete),
        Event::InitApply(guard) => (guard, Event::InitApply),
        Event::Init => return Some(Event::Init),
        Event::InitDone => return Some(Event::InitDone),
    };
    let invalid = match guard.0 {
        Ok(object) => return Some(told(object)),
        Err(invalid) => invalid,
    };
    let name = Name::new(invalid.metadata.namespace.unwrap_or_default(), invalid.metadata.name.unwrap_or_default());
    tracing::error!(
        object = %K::key(name.clone()),
        error = %invalid.error,
        "an object cannot be read and is left alone: apply it again as the current CRD says"
    );
    kept.find(&name).map(|object| Event::Delete(object.as_ref().clone()))
}

fn take_note<K: Recorded>(event: &Event<K>, writer: &std::sync::Mutex<Writer<K>>, context: &Context) {
    let now = context.clock.now();
    writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).apply_watcher_event(event);
    let touched = match event {
        Event::Apply(object) | Event::InitApply(object) => context.objects.came(object, now),
        Event::Delete(object) => {
            let key = K::key(Name::of(object));
            context.notebook.forget(&key);
            context.unfollow(&key);
            context.objects.went(object, now)
        }
        Event::InitDone => context.objects.listed::<K>(now),
        Event::Init => Vec::new(),
    };
    for key in touched {
        context.wakes.wake(&key);
    }
}
