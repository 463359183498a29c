//! How the objects of one kind in one scope are listed and watched, whatever the API server or a proxy can do.
//!
//! A streaming list comes first, since it needs the least memory. Where it is refused, or does not end, pages are
//! listed instead from then on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, Stream, StreamExt, TryStreamExt, future, stream};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event as WatcherEvent;
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use super::feed::Feed;
use super::reconciled::Reconciled;
use super::requests::jittered;
use super::trouble::Trouble;
use crate::core::health::{Sign, place};

/// A streaming list that brings nothing for so long is given up.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that one page of a list, or the start of a watch, may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The API server ends a watch after so long.
const WATCH_TIMEOUT_SECONDS: u32 = 290;
/// It sends a bookmark about every minute: a watch that brings nothing for so long may be dead, and is opened again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(130);
const PAGE_SIZE: u32 = 500;
const MIN_RETRY_WAIT: Duration = Duration::from_millis(500);
const MAX_RETRY_WAIT: Duration = Duration::from_secs(15);
/// A watch that ended sooner is a failure, however it ended. One that lasts so long works as far as can be seen.
const MIN_WATCH_TIME: Duration = Duration::from_secs(1);
/// So many failures in a row, and the watch begins with a new list.
const MAX_FAILURES: u32 = 5;
/// Failures before a watch that lasted so long have nothing to do with those after it, however it ended.
const STABLE_WATCH_TIME: Duration = Duration::from_secs(30);

type Event<K> = WatcherEvent<DeserializeGuard<K>>;
type WatchStream<K> = BoxStream<'static, kube::Result<WatchEvent<DeserializeGuard<K>>>>;

/// The events, without end. The feed hears what becomes of the list and the watch; that a list is complete is known to the
/// one that takes its last event. Whenever another list is wanted, everything is listed again.
pub fn events<K: Reconciled>(
    api: Api<DeserializeGuard<K>>,
    selector: Option<String>,
    feed: Arc<Feed<K>>,
) -> impl Stream<Item = Event<K>> + Send {
    let (events, receiver) = mpsc::channel(0);
    let (place, wanted) = (place(feed.scope.as_deref()), feed.cluster.shards.wanted());
    let follower = Follower { api, place, selector, events, feed, wanted, streaming: true, failures: 0, logged: None };
    // Part of the stream, so that it ends with it.
    let work = follower.run().into_stream().filter_map(|()| future::ready(None)).boxed();
    stream::select(receiver, work)
}

struct Follower<K: Reconciled> {
    api: Api<DeserializeGuard<K>>,
    /// Where the objects are, for messages.
    place: String,
    selector: Option<String>,
    events: mpsc::Sender<Event<K>>,
    feed: Arc<Feed<K>>,
    wanted: watch::Receiver<u64>,
    /// Streaming lists have not failed yet.
    streaming: bool,
    failures: u32,
    logged: Option<(String, Instant)>,
}

/// A complete list: its version, and the watch that follows where the list was its beginning.
struct Listed<K> {
    version: String,
    stream: Option<WatchStream<K>>,
}

impl<K: Reconciled> Follower<K> {
    async fn run(mut self) {
        loop {
            match self.list().await {
                Ok(listed) => self.watch(listed).await,
                Err(trouble) => self.failed(trouble, Duration::ZERO).await,
            }
        }
    }

    async fn send(&mut self, event: Event<K>) {
        // Nobody listens any more only while the process ends.
        let _ = self.events.send(event).await;
    }

    async fn list(&mut self) -> Result<Listed<K>, Trouble> {
        let number = *self.wanted.borrow_and_update();
        self.feed.list_begins(number);
        if !self.streaming {
            return self.paged_list().await;
        }
        match self.streaming_list().await {
            Err(trouble) if trouble.speaks_against_streaming() => {
                let listed = self.paged_list().await?;
                tracing::warn!(
                    kind = %K::kind(&()), place = self.place, %trouble,
                    "the API server does not support streaming lists; listing in pages from now on"
                );
                self.streaming = false;
                Ok(listed)
            }
            outcome => outcome,
        }
    }

    fn watch_params(&self, initial: bool) -> WatchParams {
        WatchParams {
            label_selector: self.selector.clone(),
            timeout: Some(WATCH_TIMEOUT_SECONDS),
            send_initial_events: initial,
            ..WatchParams::default()
        }
    }

    async fn streaming_list(&mut self) -> Result<Listed<K>, Trouble> {
        // Without a version, the list shows all that was written before it began. Any version would do for "0", also an old
        // one that lacks objects which are there.
        let stream = tokio::time::timeout(STREAM_TIMEOUT, self.open(true, "")).await;
        let mut stream = stream.map_err(|_| Trouble::Unfinished)??;
        self.send(Event::Init).await;
        loop {
            let next =
                tokio::time::timeout(STREAM_TIMEOUT, stream.try_next()).await.map_err(|_| Trouble::Unfinished)?;
            self.feed.report(Sign::Progress);
            match next.map_err(|_| Trouble::Unfinished)? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.send(Event::InitApply(object)).await;
                }
                Some(WatchEvent::Bookmark(mark))
                    if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") =>
                {
                    self.send(Event::InitDone).await;
                    return Ok(Listed { version: mark.metadata.resource_version, stream: Some(stream) });
                }
                Some(WatchEvent::Bookmark(_)) => {}
                // Where others delete while the list goes on, pages tell what is left.
                Some(WatchEvent::Deleted(_)) | None => return Err(Trouble::Unfinished),
                Some(WatchEvent::Error(status)) => return Err(Trouble::Status(status)),
            }
        }
    }

    async fn paged_list(&mut self) -> Result<Listed<K>, Trouble> {
        let mut params = ListParams { label_selector: self.selector.clone(), ..ListParams::default() }.limit(PAGE_SIZE);
        let mut started = false;
        loop {
            let page =
                tokio::time::timeout(REQUEST_TIMEOUT, self.api.list(&params)).await.map_err(|_| Trouble::Late)??;
            self.feed.report(Sign::Progress);
            if !std::mem::replace(&mut started, true) {
                self.send(Event::Init).await;
            }
            for object in page.items {
                self.send(Event::InitApply(object)).await;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => {
                    let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                    let version = version.ok_or(Trouble::Unfinished)?;
                    self.send(Event::InitDone).await;
                    return Ok(Listed { version, stream: None });
                }
            }
        }
    }

    async fn open(&self, initial: bool, version: &str) -> Result<WatchStream<K>, Trouble> {
        let params = self.watch_params(initial);
        let stream = tokio::time::timeout(REQUEST_TIMEOUT, self.api.watch(&params, version)).await;
        Ok(stream.map_err(|_| Trouble::Late)??.boxed())
    }

    /// Follows on from that version. Where the API server has not come so far, as after etcd was restored from a backup,
    /// everything is listed again: a watch would bring nothing until it has.
    async fn reopen(&self, version: &str) -> Result<WatchStream<K>, Trouble> {
        let params = ListParams { label_selector: self.selector.clone(), ..ListParams::default() }.limit(1);
        let newest =
            tokio::time::timeout(REQUEST_TIMEOUT, self.api.list(&params)).await.map_err(|_| Trouble::Late)??;
        let newest = newest.metadata.resource_version.unwrap_or_default();
        if is_earlier(&newest, version) {
            tracing::warn!(
                kind = %K::kind(&()), place = self.place, version, newest,
                "the API server went back to an earlier state, as after etcd was restored; listing everything again"
            );
            return Err(Trouble::Expired);
        }
        self.open(false, version).await
    }

    /// Follows what happens after a list, until another list is needed.
    async fn watch(&mut self, listed: Listed<K>) {
        let Listed { mut version, mut stream } = listed;
        loop {
            let outcome = match stream.take() {
                Some(stream) => Ok(stream),
                None => self.reopen(&version).await,
            };
            let began = Instant::now();
            let end = match outcome {
                Ok(stream) => self.stream(stream, &mut version).await,
                Err(trouble) => Err(trouble),
            };
            if self.wanted.has_changed().unwrap_or_default() {
                return;
            }
            let lasted = began.elapsed();
            // A quiet watch may be cut by what idles between us and the API server, again and again.
            if lasted > STABLE_WATCH_TIME || end.is_ok() && lasted >= MIN_WATCH_TIME {
                self.failures = 0;
            }
            let (next, trouble) = after(end, lasted, self.failures);
            if let Some(trouble) = trouble {
                self.failed(trouble, lasted).await;
            }
            match next {
                Next::Watch => {}
                Next::List => return,
            }
        }
    }

    /// One watch, to its end, or until another list is wanted. It works once it has brought something, or lasts.
    async fn stream(&mut self, mut stream: WatchStream<K>, version: &mut String) -> Result<(), Trouble> {
        let mut wanted = self.wanted.clone();
        let mut works = false;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(if works { IDLE_TIMEOUT } else { MIN_WATCH_TIME }, stream.next()) => next,
                Ok(()) = wanted.changed() => return Ok(()),
            };
            let event = match next {
                Ok(Some(event)) => Some(event?),
                Err(_) if !works => None,
                Ok(None) | Err(_) => return Ok(()),
            };
            let failed = matches!(event, Some(WatchEvent::Error(_)));
            if !works && !failed {
                works = true;
                self.feed.report(Sign::Watching);
            }
            let Some(event) = event else { continue };
            let event = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    *version = object.resource_version().unwrap_or_default();
                    Event::Apply(object)
                }
                WatchEvent::Deleted(object) => {
                    *version = object.resource_version().unwrap_or_default();
                    Event::Delete(object)
                }
                WatchEvent::Bookmark(mark) => {
                    *version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(Trouble::Status(status)),
            };
            self.send(event).await;
            if version.is_empty() {
                return Err(Trouble::Expired);
            }
        }
    }

    /// Takes note of a failure, and waits a while before the next try; `lasted`: as much of that has passed already.
    async fn failed(&mut self, trouble: Trouble, lasted: Duration) {
        self.feed.report(Sign::Failed(trouble.cause()));
        let text = trouble.message(&K::plural(&()), &self.place);
        let fresh = |(logged, at): &(String, Instant)| *logged == text && at.elapsed() < Duration::from_secs(60);
        if !self.logged.as_ref().is_some_and(fresh) {
            tracing::warn!("{text}");
            self.logged = Some((text, Instant::now()));
        }
        let wait = MIN_RETRY_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_RETRY_WAIT);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(jittered(wait).saturating_sub(lasted)).await;
    }
}

#[derive(Debug, PartialEq)]
enum Next {
    Watch,
    List,
}

/// What follows a watch that `lasted` so long, and whether its end counts as a failure. It may have ended as it should and
/// be none all the same: something between us and the API server may answer in its place.
fn after(end: Result<(), Trouble>, lasted: Duration, failures: u32) -> (Next, Option<Trouble>) {
    let next = |needs_list: bool| if needs_list || failures >= MAX_FAILURES { Next::List } else { Next::Watch };
    match end {
        Ok(()) if lasted < MIN_WATCH_TIME => (next(false), Some(Trouble::Unfinished)),
        Ok(()) => (Next::Watch, None),
        // A version that the API server does not know any more has many faces.
        Err(trouble) if trouble.needs_list() && lasted >= MIN_WATCH_TIME => (Next::List, None),
        Err(trouble) => (next(trouble.needs_list()), Some(trouble)),
    }
}

/// Versions are numbers that grow, since Kubernetes 1.35 by promise and before that in fact.
fn is_earlier(version: &str, than: &str) -> bool {
    matches!((version.parse::<u64>(), than.parse::<u64>()), (Ok(version), Ok(than)) if version < than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_version_is_a_smaller_number_and_nothing_else() {
        assert!(is_earlier("999", "1000"));
        assert!(!is_earlier("1000", "1000") && !is_earlier("1001", "1000"));
        assert!(!is_earlier("", "1000") && !is_earlier("999", "") && !is_earlier("a", "b"));
    }

    #[test]
    fn a_watch_that_ends_too_soon_is_a_failure_and_after_some_everything_is_listed_again() {
        let second = Duration::from_secs;
        let told = |end: Result<(), Trouble>, lasted, failures| {
            let (next, trouble) = after(end, lasted, failures);
            (next, trouble.is_some())
        };
        for (lasted, is_failure) in
            [(Duration::ZERO, true), (second(1), false), (second(20), false), (second(290), false)]
        {
            let lists = if is_failure { Next::List } else { Next::Watch };
            assert_eq!(told(Ok(()), lasted, MAX_FAILURES - 1), (Next::Watch, is_failure), "{lasted:?}");
            assert_eq!(told(Ok(()), lasted, MAX_FAILURES), (lists, is_failure), "{lasted:?}");
        }
        assert_eq!(told(Err(Trouble::Expired), Duration::ZERO, 0), (Next::List, true), "not in a hot loop");
        assert_eq!(told(Err(Trouble::Expired), second(100), 0), (Next::List, false));
        assert_eq!(told(Err(Trouble::Late), Duration::ZERO, 0), (Next::Watch, true));
        assert_eq!(told(Err(Trouble::Late), Duration::ZERO, MAX_FAILURES), (Next::List, true));
    }
}
