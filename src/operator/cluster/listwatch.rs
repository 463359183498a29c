//! How the objects of one kind in one scope are listed and watched, whatever the API server or a proxy can do.
//!
//! A streaming list comes first, since it needs the least memory. Where it is refused, or does not end, pages are
//! listed instead from then on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event as WatcherEvent};
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use super::feed::Feed;
use super::guarded::Guarded;
use super::intake::Intake;
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
/// So many such watches in a row that brought nothing at all, and everything is listed again.
const MAX_SILENT: u32 = 2;
/// What happened before a watch began comes within this part of it, ten seconds: then objects can be counted.
const RECOUNT_PART: u32 = 13;
/// A watch that did not bring what a list then showed is not trusted for so long.
const DISTRUST: Duration = Duration::from_secs(600);
const PAGE_SIZE: u32 = 500;
const MIN_RETRY_WAIT: Duration = Duration::from_millis(500);
const MAX_RETRY_WAIT: Duration = Duration::from_secs(15);
/// A watch that ended sooner is a failure, however it ended. One that lasts so long works as far as can be seen.
const MIN_WATCH_TIME: Duration = Duration::from_secs(1);
/// So many failures in a row, and the watch begins with a new list.
const MAX_FAILURES: u32 = 5;
/// Failures before a watch that lasted so long have nothing to do with those after it, however it ended.
const STABLE_WATCH_TIME: Duration = Duration::from_secs(30);

type Event<K> = WatcherEvent<Guarded<K>>;
type WatchStream<K> = BoxStream<'static, kube::Result<WatchEvent<Guarded<K>>>>;

/// The stream that fills one controller's store, and requeues what is to be looked at; no item comes out. It goes on for as
/// long as it is polled. Whenever another list is wanted, everything is listed again.
pub fn stream<K: Reconciled>(
    api: Api<Guarded<K>>,
    feed: Feed<K>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send {
    Follower::new(api, feed, IDLE_TIMEOUT).run().into_stream().map(|never| match never {})
}

struct Follower<K: Reconciled> {
    api: Api<Guarded<K>>,
    /// Where the objects are, for messages.
    place: String,
    /// Hears what becomes of the list and the watch.
    feed: Arc<Feed<K>>,
    /// Takes each event when it comes.
    intake: Intake<K>,
    wanted: watch::Receiver<u64>,
    /// Streaming lists have not failed yet.
    streaming: bool,
    failures: u32,
    logged: Option<(String, Instant)>,
    /// [`IDLE_TIMEOUT`], but in tests.
    idle: Duration,
    silence: Silence,
}

/// What speaks against a watch that stays open.
#[derive(Debug, Default)]
struct Silence {
    /// So many watches in a row were idle and brought nothing, not even a bookmark.
    ends: u32,
    /// There are more or fewer objects than we know.
    miscounted: bool,
    /// Nothing was missed where the count differed: it is not exact.
    count_is_vague: bool,
    /// When everything was last listed.
    listed: Option<Instant>,
    /// When a list last showed what the watch had not brought.
    missed: Option<Instant>,
}

impl Silence {
    fn is_deaf(&self) -> bool {
        self.missed.is_some_and(|at| at.elapsed() < DISTRUST)
    }

    fn is_suspicious(&self) -> bool {
        self.ends >= MAX_SILENT || self.miscounted
    }

    /// Whether everything is to be listed, and not so often that it is a burden; `every`: how often for a deaf watch.
    fn needs_list(&self, every: Duration) -> bool {
        self.is_suspicious() || self.is_deaf() && self.listed.is_none_or(|at| at.elapsed() >= every)
    }

    /// The list came; `missed`: with what the watch had not brought. Returns whether the watch is trusted.
    fn judge(&mut self, missed: bool) -> bool {
        self.listed = Some(Instant::now());
        if missed && (self.is_suspicious() || self.is_deaf()) {
            self.missed = self.listed;
        }
        self.count_is_vague |= self.miscounted && !missed;
        (self.ends, self.miscounted) = (0, false);
        !self.is_deaf()
    }

    /// The watch brought an object.
    fn heard(&mut self) {
        (self.ends, self.miscounted, self.missed) = (0, false, None);
    }
}

/// A complete list: its version, and the watch that follows where the list was its beginning.
struct Listed<K> {
    version: String,
    stream: Option<WatchStream<K>>,
}

impl<K: Reconciled> Follower<K> {
    fn new(api: Api<Guarded<K>>, feed: Feed<K>, idle: Duration) -> Follower<K> {
        let (place, wanted) = (place(feed.scope.as_deref()), feed.cluster.shards.wanted());
        let feed = Arc::new(feed);
        let (intake, silence) = (Intake::new(feed.clone()), Silence::default());
        Follower { api, place, feed, intake, wanted, streaming: true, failures: 0, logged: None, idle, silence }
    }

    async fn run(mut self) -> Infallible {
        loop {
            match self.list().await {
                Ok(listed) => {
                    if !self.silence.judge(self.intake.has_missed()) {
                        self.tell(&Trouble::Missed);
                    }
                    self.watch(listed).await;
                }
                Err(trouble) => self.failed(trouble, Duration::ZERO).await,
            }
        }
    }

    async fn bring(&mut self, event: Event<K>) {
        self.intake.bring(event);
        // Others use this thread as well, and a page has hundreds of events.
        tokio::task::coop::consume_budget().await;
    }

    async fn list(&mut self) -> Result<Listed<K>, Trouble> {
        let number = *self.wanted.borrow_and_update();
        self.intake.list_begins(number);
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
        WatchParams { timeout: Some(WATCH_TIMEOUT_SECONDS), send_initial_events: initial, ..WatchParams::default() }
    }

    async fn streaming_list(&mut self) -> Result<Listed<K>, Trouble> {
        // Without a version, the list shows all that was written before it began. Any version would do for "0", also an old
        // one that lacks objects which are there.
        let stream = tokio::time::timeout(STREAM_TIMEOUT, self.open(true, "")).await;
        let mut stream = stream.map_err(|_| Trouble::Unfinished)??;
        self.bring(Event::Init).await;
        loop {
            let next =
                tokio::time::timeout(STREAM_TIMEOUT, stream.try_next()).await.map_err(|_| Trouble::Unfinished)?;
            self.feed.report(Sign::Progress);
            match next.map_err(|_| Trouble::Unfinished)? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.bring(Event::InitApply(object)).await;
                }
                Some(WatchEvent::Bookmark(mark))
                    if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") =>
                {
                    self.bring(Event::InitDone).await;
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
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let mut started = false;
        loop {
            let page =
                tokio::time::timeout(REQUEST_TIMEOUT, self.api.list(&params)).await.map_err(|_| Trouble::Late)??;
            self.feed.report(Sign::Progress);
            if !std::mem::replace(&mut started, true) {
                self.bring(Event::Init).await;
            }
            for object in page.items {
                self.bring(Event::InitApply(object)).await;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => {
                    let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                    let version = version.ok_or(Trouble::Unfinished)?;
                    self.bring(Event::InitDone).await;
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

    /// Follows on from that version; also returns how many objects there are, where the API server tells. Where it has not come so
    /// far, as after etcd was restored from a backup, everything is listed again: a watch would bring nothing until it has.
    async fn reopen(&self, version: &str) -> Result<(WatchStream<K>, Option<usize>), Trouble> {
        let params = ListParams::default().limit(1);
        let newest =
            tokio::time::timeout(REQUEST_TIMEOUT, self.api.list(&params)).await.map_err(|_| Trouble::Late)??;
        let count = count(newest.items.len(), &newest.metadata);
        let newest = newest.metadata.resource_version.unwrap_or_default();
        if is_earlier(&newest, version) {
            tracing::warn!(
                kind = %K::kind(&()), place = self.place, version, newest,
                "the API server went back to an earlier state, as after etcd was restored; listing everything again"
            );
            return Err(Trouble::Expired);
        }
        Ok((self.open(false, version).await?, count))
    }

    /// Follows what happens after a list, until another list is needed.
    async fn watch(&mut self, listed: Listed<K>) {
        let Listed { mut version, mut stream } = listed;
        loop {
            let outcome = match stream.take() {
                Some(stream) => Ok((stream, None)),
                None => self.reopen(&version).await,
            };
            let began = Instant::now();
            let end = match outcome {
                Ok((stream, count)) => self.stream(stream, &mut version, count).await,
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
                Next::Watch if !self.silence.needs_list(self.idle / 2) => {}
                Next::Watch | Next::List => return,
            }
        }
    }

    /// One watch, to its end, or until another list is wanted. It works once it has brought something, or lasts; one that is not
    /// trusted has to bring an object, and is soon followed by a list. `count`: so many objects there are.
    async fn stream(
        &mut self,
        mut stream: WatchStream<K>,
        version: &mut String,
        count: Option<usize>,
    ) -> Result<(), Trouble> {
        let mut wanted = self.wanted.clone();
        let (mut works, mut has_brought, is_deaf) = (false, false, self.silence.is_deaf());
        let (began, idle) = (Instant::now(), if is_deaf { self.idle / 2 } else { self.idle });
        let mut counts = !self.silence.count_is_vague && count.is_some_and(|count| count != self.feed.known());
        loop {
            let patience = match (works, is_deaf) {
                (false, _) => MIN_WATCH_TIME,
                (true, false) if counts => idle / RECOUNT_PART,
                (true, false) => idle,
                (true, true) => idle.saturating_sub(began.elapsed()),
            };
            let next = tokio::select! {
                next = tokio::time::timeout(patience, stream.next()) => next,
                Ok(()) = wanted.changed() => return Ok(()),
            };
            let event = match next {
                Ok(Some(event)) => Some(event?),
                Ok(None) => return Ok(()),
                Err(_) if !works => None,
                Err(_) if std::mem::take(&mut counts) && !is_deaf => {
                    if count == Some(self.feed.known()) {
                        continue;
                    }
                    self.silence.miscounted = true;
                    return Ok(());
                }
                Err(_) => {
                    self.silence.ends += u32::from(!has_brought);
                    return Ok(());
                }
            };
            let failed = matches!(event, Some(WatchEvent::Error(_)));
            let is_of_object = event.is_some() && !failed && !matches!(event, Some(WatchEvent::Bookmark(_)));
            if is_of_object {
                self.silence.heard();
                counts = false;
            }
            if !failed && if is_deaf { is_of_object } else { !works } {
                self.feed.report(Sign::Watching);
            }
            works |= !failed;
            let Some(event) = event else { continue };
            (has_brought, self.silence.ends) = (true, 0);
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
            self.bring(event).await;
            if version.is_empty() {
                return Err(Trouble::Expired);
            }
        }
    }

    /// Takes note of a failure, and waits a while before the next try; `lasted`: as much of that has passed already.
    async fn failed(&mut self, trouble: Trouble, lasted: Duration) {
        self.tell(&trouble);
        let wait = MIN_RETRY_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_RETRY_WAIT);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(jittered(wait).saturating_sub(lasted)).await;
    }

    fn tell(&mut self, trouble: &Trouble) {
        self.feed.report(Sign::Failed(trouble.cause()));
        let text = trouble.message(&K::plural(&()), &self.place);
        let fresh = |(logged, at): &(String, Instant)| *logged == text && at.elapsed() < Duration::from_secs(60);
        if !self.logged.as_ref().is_some_and(fresh) {
            tracing::warn!("{text}");
            self.logged = Some((text, Instant::now()));
        }
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

/// How many objects there are, where a list of the first of them tells.
fn count(listed: usize, list: &ListMeta) -> Option<usize> {
    let has_more = list.continue_.as_ref().is_some_and(|token| !token.is_empty());
    let more = if has_more { usize::try_from(list.remaining_item_count?).ok()? } else { 0 };
    Some(listed + more)
}

/// Versions are numbers that grow, since Kubernetes 1.35 by promise and before that in fact.
fn is_earlier(version: &str, than: &str) -> bool {
    matches!((version.parse::<u64>(), than.parse::<u64>()), (Ok(version), Ok(than)) if version < than)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body as AnyBody, Bytes};
    use futures::stream;
    use http::{Request, Response};
    use kube::client::Body;
    use kube::runtime::reflector::{self, Store};
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{Name, Share};
    use crate::operator::clock::Clock;
    use crate::operator::cluster::index::Index;
    use crate::operator::cluster::{Cluster, samples};

    /// What an API server has, and what it was asked for.
    #[derive(Default)]
    struct Served {
        shares: Vec<(&'static str, u64)>,
        lists: usize,
        /// What each watch brings after the list, one line every half second.
        brings: Vec<Value>,
        /// The first watch ends after so long.
        ends: Option<Duration>,
    }

    type Server = Arc<Mutex<Served>>;

    fn share((name, version): (&str, u64)) -> Value {
        json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": name, "namespace": "a", "uid": name, "resourceVersion": version.to_string()},
            "spec": {"accountID": "023e105f4ecef8ad9ca31a8372d0c353", "recipients": [], "resources": []},
        })
    }

    fn bookmark(is_end: bool) -> Value {
        let annotations = if is_end { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
        let metadata = json!({"resourceVersion": "9", "annotations": annotations});
        json!({"type": "BOOKMARK", "object": {"apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": metadata}})
    }

    fn answer(server: &Server, query: &str) -> AnyBody {
        let mut served = server.lock();
        if !query.contains("watch=true") {
            let first: Vec<Value> = served.shares.iter().take(1).map(|one| share(*one)).collect();
            let left = served.shares.len().saturating_sub(1);
            let token = if left > 0 { "more" } else { "" };
            let metadata = json!({"resourceVersion": "9", "continue": token, "remainingItemCount": left});
            let list = json!({
                "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareList", "metadata": metadata, "items": first,
            });
            return AnyBody::from(list.to_string());
        }
        let mut lines = Vec::new();
        if query.contains("sendInitialEvents=true") {
            served.lists += 1;
            lines.extend(served.shares.iter().map(|one| json!({"type": "ADDED", "object": share(*one)})));
            lines.push(bookmark(true));
        }
        let line = |value: Value| Ok::<_, std::io::Error>(Bytes::from(format!("{value}\n")));
        let later = stream::iter(served.brings.clone()).then(|value| async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            value
        });
        let lines = stream::iter(lines).chain(later).map(line);
        match served.ends.take() {
            Some(after) => AnyBody::from_stream(
                lines.chain(stream::once(tokio::time::sleep(after)).filter_map(|()| std::future::ready(None))),
            ),
            None => AnyBody::from_stream(lines.chain(stream::pending())),
        }
    }

    type Signs = Arc<Mutex<Vec<Sign>>>;

    /// Follows what that server has; a watch may be idle for so long.
    fn follow(server: &Server, idle: Duration) -> (Store<Share>, Signs, tokio::task::JoinHandle<Infallible>) {
        let answers = server.clone();
        let api = tower::service_fn(move |request: Request<Body>| {
            let body = answer(&answers, request.uri().query().unwrap_or_default());
            async move { Ok::<_, std::io::Error>(Response::new(body)) }
        });
        let kube = kube::Client::new(api, "a");
        let (store, writer) = reflector::store();
        let cluster = Cluster {
            index: Index::new(vec![store.clone()], Vec::new(), Vec::new()),
            ..samples::cluster(kube.clone(), &[], Arc::default(), Clock::SYSTEM)
        };
        let signs = Signs::default();
        let heard = signs.clone();
        let report = move |sign| heard.lock().push(sign);
        let feed = Feed::new(None, Arc::new(cluster), Arc::new(Mutex::new(writer)), report, |_| ());
        (store, signs, tokio::spawn(Follower::new(Api::all(kube), feed, idle).run()))
    }

    const IDLE: Duration = Duration::from_millis(1300);

    async fn seen(store: &Store<Share>, name: &str, version: u64) {
        let name = Name::new("a", name);
        let is_seen = || {
            let all = store.state();
            all.iter()
                .any(|share| Name::of(share.as_ref()) == name && share.resource_version() == Some(version.to_string()))
        };
        let began = Instant::now();
        while !is_seen() {
            assert!(began.elapsed() < Duration::from_secs(20), "{name:?} {version} is never seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_watch_that_stays_open_and_brings_nothing_is_followed_by_lists_and_fails_once_it_missed_something() {
        let server = Server::default();
        server.lock().shares = vec![("waf", 1)];
        let (store, signs, following) = follow(&server, IDLE);
        seen(&store, "waf", 1).await;
        server.lock().shares = vec![("waf", 2)];
        seen(&store, "waf", 2).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(signs.lock().last(), Some(&Sign::Failed(crate::core::health::Cause::Failed)), "{signs:?}");
        // It goes on being listed, and is not trusted again before it brings an object.
        server.lock().shares = vec![("waf", 3)];
        seen(&store, "waf", 3).await;
        tokio::time::sleep(3 * IDLE).await;
        assert!(
            !signs.lock().iter().rev().take_while(|sign| **sign != Sign::Listed).any(|sign| *sign == Sign::Watching)
        );
        server.lock().brings = vec![json!({"type": "MODIFIED", "object": share(("waf", 4))})];
        seen(&store, "waf", 4).await;
        assert_eq!(signs.lock().last(), Some(&Sign::Watching), "{signs:?}");
        following.abort();
    }

    #[tokio::test]
    async fn a_quiet_watch_with_bookmarks_is_listed_once_and_one_without_them_does_not_fail() {
        for brings in [vec![bookmark(false); 12], Vec::new()] {
            let has_bookmarks = !brings.is_empty();
            let server = Server::default();
            *server.lock() = Served { shares: vec![("waf", 1), ("dns", 2)], brings, ..Served::default() };
            let (store, signs, following) = follow(&server, IDLE);
            seen(&store, "dns", 2).await;
            tokio::time::sleep(4 * IDLE).await;
            let lists = server.lock().lists;
            assert_eq!(lists == 1, has_bookmarks, "{lists} lists");
            assert!(!signs.lock().iter().any(|sign| matches!(sign, Sign::Failed(_))), "{signs:?}");
            following.abort();
        }
    }

    #[tokio::test]
    async fn an_object_that_no_watch_brought_is_found_when_the_next_one_begins() {
        let server = Server::default();
        let ends = Some(Duration::from_millis(1500));
        *server.lock() = Served { shares: vec![("waf", 1)], ends, ..Served::default() };
        let (store, _, following) = follow(&server, 4 * IDLE);
        seen(&store, "waf", 1).await;
        server.lock().shares = vec![("waf", 1), ("dns", 2)];
        let began = Instant::now();
        seen(&store, "dns", 2).await;
        assert!(began.elapsed() < 4 * IDLE, "{:?}", began.elapsed());
        following.abort();
    }

    #[test]
    fn a_watch_is_deaf_once_a_list_that_was_called_for_showed_more_and_until_it_brings_an_object() {
        let long = Duration::from_secs(60);
        let mut silence = Silence::default();
        assert!(silence.judge(true) && !silence.needs_list(Duration::ZERO), "the first list shows much");
        silence.ends = MAX_SILENT;
        assert!(silence.needs_list(long) && silence.judge(false), "a quiet cluster");
        silence.ends = MAX_SILENT;
        assert!(!silence.judge(true) && silence.is_deaf());
        assert!(!silence.needs_list(long) && silence.needs_list(Duration::ZERO), "not as often as watches end");
        assert!(!silence.judge(false), "for a while");
        silence.heard();
        assert!(silence.judge(true) && !silence.needs_list(Duration::ZERO));
        silence.miscounted = true;
        assert!(silence.judge(false) && silence.count_is_vague);
    }

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
