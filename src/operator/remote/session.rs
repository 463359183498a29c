//! All reads of Cloudflare that a pass makes, each with a permit, each updating the account's cache.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::Remote;
use super::account::Account;
use super::call_log::CallLog;
use super::credentials::ResolvedCredential;
use super::limiters::{Caller, Permit, Requester};
use super::observed_share::ObservedShare;
use super::pages::{MAX_PAGES, PageError, Pages, Place, read_pages};
use crate::api::ObjectKey;
use crate::cloudflare::{
    self, Api, Error, ErrorClass, ExcludedRecipient, FULL_PAGE, Kind as ShareKind, Object, Order, Page, Recipient,
    Reply, Share, ShareQuery, ShareStatus, WHOLE,
};
use crate::core::id::{AccountId, ShareId};
use crate::core::limiter::Priority;
use crate::core::row_key::RowKey;
use crate::core::row_step::Observed;
use crate::core::time::At;
use crate::operator::clock::Clock;
use crate::operator::stop::Stop;

/// How long a pass waits for another one to look for new shares.
const LOOK_TIMEOUT: Duration = Duration::from_millis(250);

/// The list of the newest shares, back to a create; its length is remembered.
const NEWEST: &str = "newest shares since a create";

/// So many pages of an organization's recipients are read: it may have 20,000 accounts.
pub const MEMBER_PAGES: u32 = 10;

/// One account, for one object's pass.
pub struct Session {
    pub(super) remote: Arc<Remote>,
    pub account: Arc<Account>,
    object: ObjectKey,
    requester: Requester,
    /// Calls of this pass that it makes again if it ends without a permit: those since its last changing call.
    made: AtomicU32,
    /// Changing calls, for the object's status.
    pub(super) calls: Arc<CallLog>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.account.limiter.release(&self.requester);
    }
}

impl Session {
    /// The account, for one pass over an object.
    pub fn open(
        remote: Arc<Remote>,
        credential: &ResolvedCredential,
        account: &AccountId,
        object: ObjectKey,
        priority: Priority,
        calls: Arc<CallLog>,
    ) -> Session {
        // Its sweeps begin with the first use.
        let account = remote.accounts.open(&remote.limiters, credential, account, remote.clock.now());
        let requester = Requester { caller: Caller::Object(object.clone()), priority };
        Session { remote, account, object, requester, made: AtomicU32::default(), calls }
    }

    pub fn clock(&self) -> Clock {
        self.remote.clock
    }

    pub fn read_lag(&self) -> Duration {
        self.remote.settings.read_lag()
    }

    /// Looks at the newest shares are at least so far apart.
    fn look_gap(&self) -> Duration {
        Duration::from_secs_f64(3.0 / self.remote.settings.calls_per_second)
    }

    pub fn priority(&self) -> Priority {
        self.requester.priority
    }

    pub(super) fn api(&self) -> Api<'_> {
        self.remote.client.api(&self.account.credential, &self.account.id)
    }

    /// After a start the first sweep answers for all.
    pub fn await_first_sweep(&self) -> Result<(), Stop> {
        if self.account.cache().swept.is_some() {
            return Ok(());
        }
        self.account.demand_sweep(self.object.clone(), At::default());
        Err(self.account.sweep_error().map_or(Stop::Queued, Stop::Cloudflare))
    }

    pub fn permit(&self, calls: usize) -> Result<Permit, Stop> {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let made = self.made.load(Ordering::Relaxed);
        let permit = self.account.limiter.ask(&self.requester, made, calls).ok_or(Stop::Queued)?;
        self.made.store(made.saturating_add(calls), Ordering::Relaxed);
        Ok(permit)
    }

    /// A permit for calls that change something, as long as any may begin.
    pub fn write_permit(&self, calls: usize) -> Result<Permit, Stop> {
        let permit = self.permit(calls)?;
        self.remote.may_write(&self.account.id)?;
        Ok(permit)
    }

    /// A changing call was answered. It is not made again, and what was read before stays fresh for the next pass.
    pub fn wrote(&self) {
        self.made.store(0, Ordering::Relaxed);
    }

    /// Makes a call that has a permit, and learns from its answer.
    pub async fn call<T>(&self, call: impl Future<Output = Result<Reply<T>, Error>>) -> Result<T, Error> {
        self.reply(call).await.map(|reply| reply.body)
    }

    /// The same, with what the answer says in addition to its body.
    pub async fn reply<T>(&self, call: impl Future<Output = Result<Reply<T>, Error>>) -> Result<Reply<T>, Error> {
        make(&self.account, &self.requester.caller, self.clock(), call).await
    }

    /// Reads one share with its resources and counts.
    pub async fn read_share(&self, id: &ShareId) -> Result<(), Stop> {
        let permit = self.permit(1)?;
        let began = self.clock().now();
        let answer = self.call(self.api().share(id)).await;
        drop(permit);
        match answer {
            Ok(share) => {
                let lacks_resources = share.is_live() && share.resources.is_none();
                self.account.cache().read(share, began, self.read_lag());
                if self.account.cache().seen(id).is_some_and(ObservedShare::is_live) {
                    self.account.share_came_back(id.as_str());
                }
                if lacks_resources { self.list_resources(id).await } else { Ok(()) }
            }
            Err(error) if error.class() == ErrorClass::Gone => {
                self.account.cache().absent(id, began, self.read_lag());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub async fn read_resources(&self, id: &ShareId) -> Result<(), Stop> {
        let began = self.clock().now();
        self.read_share(id).await?;
        let is_unread = self.account.cache().seen(id).is_some_and(|seen| seen.resources_read_at() < began);
        if is_unread { Err(Stop::Cloudflare(not_readable_yet(id))) } else { Ok(()) }
    }

    /// Reads the resources for one row, which is known to be absent only if their own list lacks it.
    pub async fn read_resource(&self, id: &ShareId, row: &RowKey) -> Result<(), Stop> {
        self.read_resources(id).await?;
        let may_be_there =
            self.account.cache().seen(id).is_some_and(|seen| seen.is_live() && seen.may_lack_resource(row, true));
        if may_be_there { self.list_resources(id).await } else { Ok(()) }
    }

    /// Asks for what the answer with the share left out, which may mean that there is none.
    async fn list_resources(&self, id: &ShareId) -> Result<(), Stop> {
        let began = self.clock().now();
        match self.pages(&format!("resources of {id}"), 1, |page| self.api().list_resources(id, page)).await {
            Ok(rows) => {
                if let Some(seen) = self.account.cache().seen_mut(id) {
                    seen.list_resources(rows, began, self.read_lag());
                }
                Ok(())
            }
            Err(Stop::Cloudflare(error)) if error.class() == ErrorClass::Gone => {
                let cause = format!("the resources of share {id} cannot be listed, though the share is there");
                Err(Stop::Cloudflare(Error::Lost { cause }))
            }
            Err(stop) => Err(stop),
        }
    }

    /// Reads all recipients of a share, with their errors, and once more where Cloudflare counts more than it lists, now and
    /// not only in an earlier read.
    pub async fn read_recipients(&self, id: &ShareId) -> Result<(), Stop> {
        self.list_recipients(id).await?;
        if self.has_short_list(id) {
            self.read_share(id).await?;
        }
        if self.has_short_list(id) {
            self.list_recipients(id).await?;
        }
        Ok(())
    }

    /// Reads the first recipients of an organization's share, to learn which members it does not reach, and why. Nothing else
    /// depends on it, so the pass goes on if that fails.
    pub async fn read_members(&self, id: &ShareId) -> Result<(), Stop> {
        let began = self.clock().now();
        let rows = match self.first_recipients(id).await {
            Err(Stop::Cloudflare(error)) => {
                tracing::warn!(share = %id, "cannot read which members do not receive the share: {error}");
                None
            }
            read => Some(read?),
        };
        if let Some(members) = self.account.cache().seen_mut(id).and_then(|seen| seen.members.as_mut()) {
            members.read(rows, began);
        }
        Ok(())
    }

    async fn first_recipients(&self, id: &ShareId) -> Result<Vec<Recipient>, Stop> {
        let (mut pages, mut rows) = (Pages::default(), Vec::new());
        for page in 1..=MEMBER_PAGES {
            let _permit = self.permit(1)?;
            let answer = match self.call(self.api().list_recipients(id, page)).await {
                // The page does not exist.
                Err(error) if page > 1 && matches!(error.class(), ErrorClass::Rejected | ErrorClass::Gone) => break,
                answer => answer?,
            };
            let place = match pages.take(&answer) {
                // What was read so far tells something.
                Err(_) if page > 1 => break,
                place => place?,
            };
            rows.extend(answer.rows);
            if place != Place::Within {
                break;
            }
        }
        Ok(rows)
    }

    fn has_short_list(&self, id: &ShareId) -> bool {
        self.account.cache().seen(id).is_some_and(|seen| seen.short_list().is_some())
    }

    async fn list_recipients(&self, id: &ShareId) -> Result<(), Stop> {
        let total = self.account.cache().seen(id).map_or(0, ObservedShare::list_rows);
        let pages = total.div_ceil(u64::from(FULL_PAGE)).max(1) as u32;
        let began = self.clock().now();
        let list = |page| self.api().list_recipients(id, page);
        let is_short = |rows: &[Recipient]| {
            self.account.cache().seen(id).is_some_and(|seen| seen.counts.is_none() && seen.lacks_recipients(rows))
        };
        match self.pages_twice(&format!("recipients of {id}"), pages, list, is_short).await {
            Ok(rows) => {
                if let Some(seen) = self.account.cache().seen_mut(id) {
                    seen.read_recipients(rows, began, self.read_lag());
                }
                Ok(())
            }
            Err(Stop::Cloudflare(error)) if error.class() == ErrorClass::Gone => {
                self.list_not_found(id, format!("the recipients of share {id} were not found: {error}")).await
            }
            Err(stop) => Err(stop),
        }
    }

    /// A list of the share was not found: only the share itself tells whether it is gone.
    async fn list_not_found(&self, id: &ShareId, cause: String) -> Result<(), Stop> {
        self.read_share(id).await?;
        let is_live = self.account.cache().seen(id).is_some_and(ObservedShare::is_live);
        // Nothing was read: without an error the caller would ask again, without a pause.
        if is_live { Err(Stop::Cloudflare(Error::Lost { cause })) } else { Ok(()) }
    }

    /// Reads the recipients for one row, which is not known to be absent while the list is short.
    pub async fn read_recipient(&self, id: &ShareId, row: &RowKey) -> Result<(), Stop> {
        self.read_recipients(id).await?;
        let cache = self.account.cache();
        let unread = cache.seen(id).filter(|seen| seen.row(row, |_| false) == Observed::Unread);
        unread.and_then(ObservedShare::short_list).map_or(Ok(()), |error| Err(Stop::Cloudflare(error)))
    }

    /// All pages of a list, and once more where it may lack rows: what either of the two shows is there.
    async fn pages_twice<T, F>(
        &self,
        list: &str,
        at_least: u32,
        ask: impl Fn(u32) -> F,
        is_short: impl Fn(&[T]) -> bool,
    ) -> Result<Vec<T>, Stop>
    where
        T: Object,
        F: Future<Output = Result<Reply<Page<T>>, Error>>,
    {
        let first = self.pages(list, at_least, &ask).await?;
        if !is_short(&first) {
            return Ok(first);
        }
        let mut rows = self.pages(list, at_least, &ask).await?;
        let listed: HashSet<String> = rows.iter().map(|row| row.id().to_owned()).collect();
        rows.extend(first.into_iter().filter(|row| !listed.contains(row.id())));
        Ok(rows)
    }

    /// All pages of a list, with a permit for as many calls as it took last time, and at least so many.
    async fn pages<T, F>(&self, list: &str, at_least: u32, ask: impl Fn(u32) -> F) -> Result<Vec<T>, Stop>
    where
        T: Object,
        F: Future<Output = Result<Reply<Page<T>>, Error>>,
    {
        let expected = self.account.pages_of(list).max(at_least).min(MAX_PAGES);
        let _permit = self.permit(expected as usize)?;
        let mut paid = expected;
        let ask = &ask;
        let rows = read_pages(|page| {
            let unpaid = paid == 0 || self.account.limiter.must_ask_again();
            let more = if unpaid { self.permit(1).map(Some) } else { Ok(None) };
            paid = paid.saturating_sub(1);
            async move {
                if more.is_err() {
                    // Next time the whole list is paid for at once.
                    self.account.note_pages(list, page);
                }
                let _permit = more?;
                let answer = self.call(ask(page)).await?;
                if page != WHOLE {
                    self.account.note_pages(list, page);
                }
                Ok::<_, Stop>(answer)
            }
        });
        let changed = || Error::Lost { cause: "the list changed while it was read".into() };
        Ok(rows.await?.ok_or_else(changed)?)
    }

    /// Reads the accounts that a share of an organization leaves out; `recorded`: some were in place once. Nothing counts
    /// them, so a list that lacks any is read once more.
    pub async fn read_excluded(&self, id: &ShareId, recorded: bool) -> Result<(), Stop> {
        let began = self.clock().now();
        let list = |page| self.api().list_excluded(id, page);
        let is_short = |rows: &[ExcludedRecipient]| {
            self.account.cache().seen(id).is_some_and(|seen| seen.lacks_excluded(rows, recorded))
        };
        match self.pages_twice(&format!("excluded of {id}"), 1, list, is_short).await {
            Ok(rows) => {
                if let Some(seen) = self.account.cache().seen_mut(id) {
                    seen.read_excluded(rows, began, self.read_lag());
                }
                Ok(())
            }
            Err(Stop::Cloudflare(error)) if error.class() == ErrorClass::Gone => {
                self.list_not_found(id, format!("the accounts excluded from share {id} were not found: {error}")).await
            }
            Err(stop) => Err(stop),
        }
    }

    /// Asks for the newest shares, so that one that somebody just made is known. One look serves all who wait for it.
    pub async fn look(&self, since: At) -> Result<(), Stop> {
        // Each pass that waits takes the place of another one, and the look may hang.
        let Ok(_alone) = tokio::time::timeout(LOOK_TIMEOUT, self.account.looking.lock()).await else {
            return Err(Stop::Crowded);
        };
        if self.account.cache().looked.is_some_and(|looked| looked >= since) {
            return Ok(());
        }
        let last = self.account.cache().looked.unwrap_or_default();
        if self.clock().now().since(last) < self.look_gap() {
            // In a burst of new objects the next look serves many.
            return Err(Stop::Crowded);
        }
        let permit = self.permit(1)?;
        let began = self.clock().now();
        let page = self.call(self.newest(1)).await?;
        drop(permit);
        let shares = match Pages::default().take(&page) {
            Ok(_) => page.rows,
            // It is null, or another page. In one piece the list may be readable all the same.
            Err(_) => self.pages("newest shares", 1, |page| self.newest(page)).await?,
        };
        let mut cache = self.account.cache();
        cache.read_all(shares, began, self.read_lag());
        cache.looked = cache.looked.max(Some(began));
        Ok(())
    }

    async fn newest(&self, page: u32) -> Result<Reply<Page<Share>>, Error> {
        // Also those that have a word for their status which is newer than this program.
        let query = ShareQuery { status: None, order: Some(Order::NewestFirst), page, ..live() };
        self.api().list_shares(query).await
    }

    /// Reads the sent shares, complete back to that time: newest first as far as needed, or all of them where the pages
    /// are not in that order, or one of them is refused, or not the one that was asked for.
    pub async fn look_back(&self, since: At) -> Result<(), Stop> {
        let began = self.clock().now();
        let has_no_order = self.account.cache().has_no_order;
        if has_no_order || !self.read_newest(since, began).await? {
            // If there is no permit for the list now, the next pass needs all that are set aside for that.
            self.account.cache().has_no_order = true;
            let shares = self.pages("shares since a create", 1, |page| self.newest(page)).await?;
            self.account.cache().read_all(shares, began, self.read_lag());
        }
        let mut cache = self.account.cache();
        cache.looked = cache.looked.max(Some(began));
        cache.has_no_order = false;
        Ok(())
    }

    /// Whether the pages showed every share that was made since then.
    async fn read_newest(&self, since: At, began: At) -> Result<bool, Stop> {
        let paid = self.account.pages_of(NEWEST);
        let mut permit = self.permit(paid as usize)?;
        let mut pages = Pages::default();
        let is_older = |created: &Timestamp| created.as_millisecond() < since.0;
        // Nothing that is known and older may be younger than the first one.
        let known = self.account.cache().live().filter_map(|seen| seen.share.created).filter(is_older).max();
        let (mut first, mut before) = (true, None);
        loop {
            let page = pages.next()?;
            // Where there is no permit for it, the next pass asks for that of all pages at once.
            self.account.note_pages(NEWEST, page);
            if page > paid || self.account.limiter.must_ask_again() {
                drop(permit);
                permit = self.permit(1)?;
            }
            let answer = match self.call(self.newest(page)).await {
                Err(error) if page > 1 && error.refuses_page() => return Ok(false),
                answer => answer?,
            };
            let Ok(place) = pages.take(&answer) else { return Ok(false) };
            for created in answer.rows.iter().map(|share| share.created) {
                let is_misplaced = if first { created < known } else { created > before };
                if created.is_none() || is_misplaced {
                    return Ok(false);
                }
                (first, before) = (false, created);
            }
            let total = answer.total_count;
            self.account.cache().read_all(answer.rows, began, self.read_lag());
            if before.as_ref().is_some_and(is_older) {
                return Ok(true);
            }
            match place {
                Place::Within => {}
                Place::Last | Place::Beyond => return Ok(pages.has_all(total)),
                Place::Whole => return Ok(true),
            }
        }
    }

    /// Lists what Cloudflare is deleting.
    pub async fn read_leaving(&self) -> Result<(), Stop> {
        let began = self.clock().now();
        let (status, order) = (Some(ShareStatus::Deleting), Some(Order::NewestFirst));
        let query = |page| ShareQuery { status: status.clone(), order, include: false, page, ..live() };
        let rows = self.pages("shares being deleted", 1, |page| self.api().list_shares(query(page))).await?;
        let ids: HashSet<ShareId> =
            rows.into_iter().filter(|share| share.status == ShareStatus::Deleting).map(|share| share.id).collect();
        self.account.cache().leaving = Some((began, ids));
        Ok(())
    }

    /// A read of this share that is younger than `since`: by itself, or with the sweep, whichever costs fewer calls.
    pub async fn refresh_share(&self, id: &ShareId, since: At) -> Result<(), Stop> {
        let (is_fresh, is_whole, swept) = {
            let cache = self.account.cache();
            let seen = cache.seen(id);
            let is_fresh = seen.is_some_and(|seen| seen.read_at >= since && seen.read_at != At::default());
            (is_fresh, seen.is_some_and(|seen| !seen.lacks_resources()), cache.swept)
        };
        if is_fresh && is_whole {
            return Ok(());
        }
        // What a sweep as young as that did not bring, another one will not bring either.
        let may_bring = !is_fresh && swept.is_none_or(|swept| swept < since);
        if self.priority() != Priority::Edit && may_bring && self.account.is_busy() {
            self.account.demand_sweep(self.object.clone(), since);
            return Err(Stop::Queued);
        }
        self.read_share(id).await
    }
}

/// What is asked of the list of shares, but for page and order.
pub fn live() -> ShareQuery {
    ShareQuery {
        kind: Some(ShareKind::Sent),
        status: Some(ShareStatus::Active),
        order: Some(Order::OldestFirst),
        include: true,
        ..ShareQuery::default()
    }
}

/// Makes a call of the caller's, and learns from its answer.
pub async fn make<T>(
    account: &Account,
    caller: &Caller,
    clock: Clock,
    call: impl Future<Output = Result<Reply<T>, Error>>,
) -> Result<Reply<T>, Error> {
    let sent = account.limiter.send(caller);
    let answer = call.await;
    account.learn(sent, cloudflare::head(&answer), answer.as_ref().err().map(Error::class), clock.now());
    answer
}

/// Just written, so that a 404 is not believed.
fn not_readable_yet(id: &ShareId) -> Error {
    Error::Lost { cause: format!("share {id} was written a moment ago, and cannot be read yet") }
}
