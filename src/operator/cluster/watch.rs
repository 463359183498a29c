//! How objects of one kind come in: listed, watched, trimmed, kept, and related to each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::Event;

use super::Cluster;
use super::record::Recorded;
use super::store::Store;
use super::{listwatch, object_cache, revoked};
use crate::api::{Name, ObjectKey};
use crate::core::health::{Cause, Sign};

/// The objects of one kind that are new or were changed by others. An object that does not decode is logged and stops nobody. What was read of it
/// before stays, so that what it declares is not taken for undeclared. Every sign of life goes to
/// `report`, and each object that is gone to `deleted`.
pub fn stream<K: Recorded>(
    api: Api<DeserializeGuard<K>>,
    scope: Option<String>,
    selector: Option<String>,
    store: Arc<Store<K>>,
    cluster: Arc<Cluster>,
    report: impl Fn(Sign) + Clone + Send + Sync + 'static,
    deleted: impl Fn(&ObjectKey) + Clone + Send + Sync + 'static,
) -> impl Stream<Item = Name> + Send {
    let (decoding, mut listed_unreadable) = (cluster.clone(), HashSet::new());
    let namespace = scope.clone();
    let (known, busy) = ((cluster.clone(), scope.clone(), store.clone()), Arc::new(AtomicBool::new(false)));
    let (told, gone) = (report.clone(), deleted.clone());
    let follow = move |sign: Sign| {
        told(sign);
        if let (cluster, Some(namespace), store) = &known
            && sign == Sign::Failed(Cause::Forbidden)
        {
            let (noting, within, store) = (cluster.clone(), namespace.clone(), store.clone());
            let deleted = gone.clone();
            revoked::read_known::<K>(cluster, namespace, &busy, move |event| {
                take_note(event, Some(&within), &store, &noting, &deleted);
            });
        }
    };
    let place = scope.as_ref().map_or("all namespaces".to_owned(), |name| format!("namespace {name}"));
    listwatch::events(api, place, selector, Box::new(follow))
        .filter_map(move |event| {
            let kept = K::cache(&decoding.index);
            match &event {
                Event::Init => listed_unreadable.clear(),
                Event::InitDone => {
                    kept.only_unreadable(scope.as_deref(), std::mem::take(&mut listed_unreadable));
                }
                Event::InitApply(guard) => listed_unreadable.extend(guard.0.as_ref().err().map(name_of)),
                Event::Apply(_) | Event::Delete(_) => {}
            }
            std::future::ready(decoded(event, &decoding))
        })
        .filter_map(move |mut event| {
            if let Event::Apply(object) | Event::InitApply(object) = &mut event {
                object_cache::trim(object);
            }
            let news = take_note(&event, namespace.as_deref(), &store, &cluster, &deleted);
            if matches!(event, Event::InitDone) {
                report(Sign::Listed);
            }
            std::future::ready(news)
        })
}

fn name_of(invalid: &InvalidObject) -> Name {
    let ObjectMeta { namespace, name, .. } = invalid.metadata.clone();
    Name::new(namespace.unwrap_or_default(), name.unwrap_or_default())
}

/// The event of an object that can be read, or of what is kept of it.
fn decoded<K: Recorded>(event: Event<DeserializeGuard<K>>, cluster: &Cluster) -> Option<Event<K>> {
    let kept = K::cache(&cluster.index);
    let last = |name: &Name| kept.find(name).map(|object| object.as_ref().clone());
    // The last that came of the object can be read, or it went.
    let readable = |name: Name| {
        if kept.became_readable(&name) {
            // Whoever waited for that, and the object itself though nothing else of it may have changed.
            cluster.requeuer.requeue(&K::key(name.clone()));
            cluster.requeue_family(&name);
        }
    };
    let unreadable = |invalid: InvalidObject| {
        let name = name_of(&invalid);
        tracing::error!(
            object = %K::key(name.clone()),
            error = %invalid.error,
            "an object does not match the current CRD and is skipped: fix it and apply it again"
        );
        kept.became_unreadable(name.clone());
        name
    };
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::Apply(guard) => match guard.0 {
            Ok(object) => {
                readable(Name::of(&object));
                Some(Event::Apply(object))
            }
            // The store keeps what it has.
            Err(invalid) => {
                unreadable(invalid);
                None
            }
        },
        Event::InitApply(guard) => match guard.0 {
            Ok(object) => {
                readable(Name::of(&object));
                Some(Event::InitApply(object))
            }
            Err(invalid) => last(&unreadable(invalid)).map(Event::InitApply),
        },
        Event::Delete(guard) => {
            let (name, object) = match guard.0 {
                Ok(object) => (Name::of(&object), Some(object)),
                Err(invalid) => {
                    let name = name_of(&invalid);
                    (name.clone(), last(&name))
                }
            };
            readable(name);
            object.map(Event::Delete)
        }
    }
}

/// Returns the object if it is new, or others changed it.
fn take_note<K: Recorded>(
    event: &Event<K>,
    scope: Option<&str>,
    store: &Store<K>,
    cluster: &Cluster,
    deleted: &impl Fn(&ObjectKey),
) -> Option<Name> {
    let now = cluster.clock.now();
    let is_news = store.take(event);
    let touched = match event {
        Event::Apply(object) | Event::InitApply(object) => cluster.index.applied(object, now),
        Event::Delete(object) => {
            deleted(&K::key(Name::of(object)));
            cluster.index.deleted(object, now)
        }
        Event::InitDone => cluster.index.relisted::<K>(scope, now),
        Event::Init => Vec::new(),
    };
    for key in touched {
        cluster.requeuer.requeue(&key);
    }
    match event {
        Event::Apply(object) | Event::InitApply(object) if is_news => Some(Name::of(object)),
        Event::Apply(_) | Event::InitApply(_) | Event::Delete(_) | Event::Init | Event::InitDone => None,
    }
}
