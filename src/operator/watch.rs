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
use super::objects;
use super::record::Recorded;

/// The stream that feeds one controller. Objects that do not decode are logged and passed over: they stop nobody.
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
    watch(api, config)
        .default_backoff()
        .filter_map(|event| async move {
            match event {
                Ok(event) => decoded(event).map(Ok),
                Err(error) => {
                    tracing::warn!(%error, kind = %K::kind(&()), "the watch was interrupted");
                    Some(Err(error))
                }
            }
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

fn decoded<K: Recorded>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    let open = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            tracing::error!(
                object = %invalid.metadata.name.clone().unwrap_or_default(),
                namespace = %invalid.metadata.namespace.clone().unwrap_or_default(),
                kind = %K::kind(&()),
                error = %invalid.error,
                "an object cannot be read and is left alone: apply it again as the current CRD says"
            );
            None
        }
    };
    match event {
        Event::Apply(guard) => open(guard).map(Event::Apply),
        Event::Delete(guard) => open(guard).map(Event::Delete),
        Event::InitApply(guard) => open(guard).map(Event::InitApply),
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
    }
}

fn take_note<K: Recorded>(event: &Event<K>, writer: &std::sync::Mutex<Writer<K>>, context: &Context) {
    let now = context.clock.now();
    writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).apply_watcher_event(event);
    let touched = match event {
        Event::Apply(object) | Event::InitApply(object) => context.objects.came(object, now),
        Event::Delete(object) => {
            let key = K::key(super::key::Name::of(object));
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
