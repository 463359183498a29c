//! How the commands read Cloudflare: at which pace, and each list to its end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Mutex;

use super::accounts::Accounts;
use super::ca_bundle;
use super::output::count;
use super::progress;
use crate::cloudflare::{
    self, Api, Client, Counts, Error, ErrorClass, ExcludedRecipient, Fingerprint, Kind, Recipient, Reply, Share,
    ShareQuery, TargetType, TokenState,
};
use crate::core::calls_left::Sent;
use crate::core::id::{AccountId, ShareId};
use crate::core::limiter::{Priority, Rate, RateLimiter};
use crate::operator::{Clock, ResolvedCredential, Vital, live, read_pages};

/// Leaves most of what Cloudflare allows a user to the operator.
const RATE: Rate = Rate { per_second: 2.0, burst: 100, concurrency: 1 };
const ATTEMPTS: u32 = 3;
/// Accounts on a page; Cloudflare allows no more.
const ACCOUNTS_PAGE: u32 = 50;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one of several credentials may hold up what is read with the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Cloudflare is.
#[derive(Args, Debug, Clone)]
pub struct Endpoint {
    /// Base URL of Cloudflare's API
    #[arg(
        long,
        env = "CFSHARE_CLOUDFLARE_URL",
        default_value = "https://api.cloudflare.com/client/v4",
        value_name = "URL"
    )]
    pub cloudflare_url: String,
    /// PEM file with certificate authorities to trust in addition to the system's. The operator reloads it when it changes
    #[arg(long, env = "CFSHARE_CA_BUNDLE", value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
}

impl Endpoint {
    /// A client; `caller` tells at Cloudflare who calls.
    pub fn client(&self, caller: &str, call_timeout: Duration) -> anyhow::Result<Client> {
        let ca_bundle = self.ca_bundle.as_deref().map(ca_bundle::read).transpose()?;
        let connect_timeout = Duration::from_secs(10).min(call_timeout);
        let options = cloudflare::Options {
            base_url: self.cloudflare_url.clone(),
            connect_timeout,
            answer_timeout: call_timeout.saturating_sub(connect_timeout).max(Duration::from_secs(1)),
            total_timeout: call_timeout,
            user_agent: format!("cfshare/{} ({})", env!("CARGO_PKG_VERSION"), product_comment(caller)),
            ca_bundle,
            ..cloudflare::Options::default()
        };
        Client::new(options).with_context(|| match &self.ca_bundle {
            Some(file) => format!("--cloudflare-url {} with --ca-bundle {}", self.cloudflare_url, file.display()),
            None => format!("--cloudflare-url {}", self.cloudflare_url),
        })
    }

    /// As `client`, for a process that outlives its certificates: the file of --ca-bundle is read again when it changes.
    pub fn lasting_client(&self, caller: &str, call_timeout: Duration, vital: &Vital) -> anyhow::Result<Client> {
        let read = self.ca_bundle.as_deref().map(ca_bundle::read).transpose()?;
        let client = self.client(caller, call_timeout)?;
        if let (Some(path), Some(read)) = (self.ca_bundle.clone(), read) {
            tokio::spawn(vital.watch(ca_bundle::follow(path, read, client.clone())));
        }
        Ok(client)
    }

    pub fn remote(&self, known: &ResolvedCredential) -> anyhow::Result<Remote> {
        let limiter = Mutex::new(RateLimiter::new(RATE, RATE.burst, Clock::SYSTEM.now()));
        Ok(Remote {
            client: self.client("command line", CALL_TIMEOUT)?,
            credential: known.clone(),
            limiter,
            made: AtomicUsize::new(0),
            patience: None,
            throttled: Mutex::default(),
        })
    }
}

/// What of a name may stand in a User-Agent.
fn product_comment(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.: ".contains(*c)).take(80).collect()
}

async fn body<T>(answer: impl Future<Output = Result<Reply<T>, Error>>) -> Result<T, Error> {
    Ok(answer.await?.body)
}

/// Cloudflare as one credential sees it. It reads only.
pub struct Remote {
    client: Client,
    credential: ResolvedCredential,
    limiter: Mutex<RateLimiter<()>>,
    /// Calls so far.
    made: AtomicUsize,
    /// `None`: it waits for as long as Cloudflare asks.
    patience: Option<Duration>,
    /// What Cloudflare said last when it asked for a pause.
    throttled: Mutex<Option<Error>>,
}

/// The rows of a share.
pub struct Rows {
    pub recipients: Vec<Recipient>,
    pub excluded: Vec<ExcludedRecipient>,
}

/// A share as it was read, with its rows.
pub struct ReadShare {
    pub share: Share,
    pub recipients: Vec<Recipient>,
    pub excluded: Vec<ExcludedRecipient>,
    /// Why it is not known which accounts are excluded.
    pub exclusions_unread: Option<String>,
    pub at: Timestamp,
}

impl Remote {
    /// The same for one of several credentials: a long pause that Cloudflare asks for is an error.
    pub fn beside_others(self) -> Remote {
        Remote { patience: Some(PATIENCE), ..self }
    }

    fn api<'a>(&'a self, account: &'a AccountId) -> Api<'a> {
        self.client.api(self.credential.credential(), account)
    }

    /// Of its credential.
    pub fn fingerprint(&self) -> Fingerprint {
        self.credential.fingerprint()
    }

    /// All live shares that the account sends, with resources and counts.
    pub async fn shares(&self, account: &AccountId) -> Result<Vec<Share>, Error> {
        let mut shares = self.listed(account, live()).await?;
        // Where Cloudflare passes a filter over, others are among them.
        shares.retain(|share| share.is_live() && share.is_sent_by(account));
        Ok(shares)
    }

    /// All live shares that the account receives, with resources.
    pub async fn received(&self, account: &AccountId) -> Result<Vec<Share>, Error> {
        let mut shares = self.listed(account, ShareQuery { kind: Some(Kind::Received), ..live() }).await?;
        shares.retain(|share| share.is_live() && !share.is_sent_by(account));
        Ok(shares)
    }

    async fn listed(&self, account: &AccountId, query: ShareQuery) -> Result<Vec<Share>, Error> {
        let ask = |page| {
            let query = ShareQuery { page, ..query.clone() };
            self.ask(move || self.api(account).list_shares(query.clone()))
        };
        whole(read_pages(|page| body(ask(page))).await)
    }

    /// One share; `None`: Cloudflare says that it does not exist.
    pub async fn share(&self, account: &AccountId, id: &ShareId) -> Result<Option<Share>, Error> {
        match self.ask(|| self.api(account).share(id)).await {
            Ok(reply) => Ok(Some(reply.body)),
            Err(error) if error.class() == ErrorClass::Gone => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The rows of a share, `counts` of which were read before; `None`: nobody here knows a target of that kind.
    pub async fn rows(
        &self,
        account: &AccountId,
        id: &ShareId,
        target: &TargetType,
        counts: Option<Counts>,
    ) -> Result<Option<Rows>, Error> {
        let (mut recipients, mut excluded) = (Vec::new(), Vec::new());
        match target {
            TargetType::Account => recipients = self.recipients(account, id, counts).await?,
            // Its recipients follow the membership: far too many to list.
            TargetType::Organization => excluded = self.excluded(account, id).await?,
            // An answer that leaves it out says nothing against the usual one.
            TargetType::Other(word) if word.is_empty() => recipients = self.recipients(account, id, counts).await?,
            TargetType::Other(_) => return Ok(None),
        }
        Ok(Some(Rows { recipients, excluded }))
    }

    /// The same, with the share; the error says in words which share it is.
    pub async fn read_rows(&self, account: &AccountId, share: Share) -> anyhow::Result<ReadShare> {
        let read = self.read_for_show(account, share).await?;
        read.exclusions_unread.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}")))?;
        Ok(read)
    }

    /// The same, to be shown: a credential to which only the list of excluded accounts is refused has read all else.
    pub async fn read_for_show(&self, account: &AccountId, share: Share) -> anyhow::Result<ReadShare> {
        let at = Timestamp::now();
        let Share { id, target_type, counts, .. } = &share;
        let (rows, exclusions_unread) = match self.rows(account, id, target_type, *counts).await {
            Err(error) if *target_type == TargetType::Organization && error.class() == ErrorClass::Denied => {
                (Some(Rows { recipients: Vec::new(), excluded: Vec::new() }), Some(exclusions_denied(id, &error)))
            }
            rows => (rows.map_err(|error| explained_of(id, error))?, None),
        };
        let Rows { recipients, excluded } = rows.with_context(|| unknown_target(id, target_type))?;
        Ok(ReadShare { share, recipients, excluded, exclusions_unread, at })
    }

    /// All recipients of a share; an error where there are fewer than Cloudflare counts.
    async fn recipients(
        &self,
        account: &AccountId,
        id: &ShareId,
        counts: Option<Counts>,
    ) -> Result<Vec<Recipient>, Error> {
        let ask = |page| self.ask(move || self.api(account).list_recipients(id, page));
        let rows = whole(read_pages(|page| body(ask(page))).await)?;
        if counts.is_none_or(|counts| counts.contradict(id, &rows).is_none()) {
            return Ok(rows);
        }
        // They may be of different times.
        let counts = self.share(account, id).await?.and_then(|share| share.counts);
        let rows = whole(read_pages(|page| body(ask(page))).await)?;
        counts.and_then(|counts| counts.contradict(id, &rows)).map_or(Ok(rows), Err)
    }

    async fn excluded(&self, account: &AccountId, id: &ShareId) -> Result<Vec<ExcludedRecipient>, Error> {
        let ask = |page| self.ask(move || self.api(account).list_excluded(id, page));
        whole(read_pages(|page| body(ask(page))).await)
    }

    /// The first page of the shares: whether the credential works here, and what the answer's headers say.
    pub async fn glance(&self, account: &AccountId) -> Result<Reply<Option<u64>>, Error> {
        let reply = self.ask(|| self.api(account).list_shares(ShareQuery { per_page: 1, ..live() })).await?;
        Ok(Reply { body: reply.body.total_count, head: reply.head })
    }

    /// Names of the accounts that the credential sees; an error where it may not read them.
    pub async fn account_names(&self) -> Result<Accounts, Error> {
        let ask = |page| self.paced(self.client.list_accounts(self.credential.credential(), page, ACCOUNTS_PAGE));
        let accounts = whole(read_pages(|page| body(ask(page))).await)?;
        Ok(accounts.into_iter().map(|account| (account.id, account.name)).collect())
    }

    /// What Cloudflare says of the token, if it does; `account`: one that may own it.
    pub async fn token_state(&self, account: &AccountId) -> Option<TokenState> {
        if let Ok(reply) = self.paced(self.client.verify_token(self.credential.credential())).await {
            return Some(reply.body);
        }
        self.paced(self.api(account).verify_account_token()).await.ok().map(|reply| reply.body)
    }

    /// Makes a call that only reads, at our pace, and again where that may help.
    async fn ask<T, F>(&self, mut call: impl FnMut() -> F) -> Result<Reply<T>, Error>
    where
        F: Future<Output = Result<Reply<T>, Error>>,
    {
        let mut attempt = 1;
        loop {
            if let Some(error) = self.pause().await {
                return Err(error);
            }
            let made = self.made.fetch_add(1, Ordering::Relaxed);
            let what = || format!("reading Cloudflare, {} so far", count(made, "call"));
            let error = match progress::shown(what, self.paced(call())).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let again = match error.class() {
                ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied => attempt < ATTEMPTS,
                ErrorClass::Gone | ErrorClass::Conflict | ErrorClass::Rejected => false,
            };
            if !again {
                return Err(error);
            }
            if let Some(wait) = retry_after(&error) {
                if self.is_too_long(wait) {
                    *self.throttled.lock().await = Some(error.clone());
                    return Err(error);
                }
                progress::note(&format!(
                    "cfshare: Cloudflare's rate limit is reached; continuing in {} s",
                    wait.as_secs()
                ));
            }
            tokio::time::sleep(Duration::from_millis(500) * attempt).await;
            attempt += 1;
        }
    }

    fn is_too_long(&self, pause: Duration) -> bool {
        self.patience.is_some_and(|patience| pause > patience)
    }

    /// What Cloudflare said when it asked for a pause that is too long, as of now.
    async fn pause(&self) -> Option<Error> {
        let now = Clock::SYSTEM.now();
        let left = self.limiter.lock().await.closed_until(now)?.since(now);
        let error = self.throttled.lock().await.clone().filter(|_| self.is_too_long(left))?;
        Some(with_retry_after(error, left))
    }

    /// Makes a call at our pace.
    async fn paced<T>(&self, call: impl Future<Output = Result<Reply<T>, Error>>) -> Result<Reply<T>, Error> {
        let sent = self.turn().await;
        let outcome = call.await;
        self.learn_limits(sent, &outcome).await;
        outcome
    }

    async fn turn(&self) -> Sent {
        let mut limiter = self.limiter.lock().await;
        while !limiter.ask(&(), "", Priority::Poll, 1, Clock::SYSTEM.now()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            limiter.due(Clock::SYSTEM.now());
        }
        limiter.send(&())
    }

    async fn learn_limits<T>(&self, sent: Sent, outcome: &Result<Reply<T>, Error>) {
        let mut limiter = self.limiter.lock().await;
        limiter.done();
        limiter.learn_limits(sent, cloudflare::head(outcome).map(|head| head.limits), Clock::SYSTEM.now());
    }
}

fn whole<T>(rows: Result<Option<Vec<T>>, Error>) -> Result<Vec<T>, Error> {
    rows?.ok_or_else(|| Error::Lost { cause: "the list changed each time it was read".into() })
}

fn retry_after(error: &Error) -> Option<Duration> {
    error.head().and_then(|head| head.limits.retry_after)
}

fn with_retry_after(mut error: Error, wait: Duration) -> Error {
    match &mut error {
        Error::Answered { head, .. } | Error::Garbled { head, .. } => head.limits.retry_after = Some(wait),
        Error::NotSent { .. } | Error::Withheld | Error::Lost { .. } => {}
    }
    error
}

pub fn unknown_target(id: &ShareId, target: &TargetType) -> String {
    format!("share {id} has the unknown target {target}")
}

fn exclusions_denied(id: &ShareId, error: &Error) -> String {
    format!("share {id} was read, but Cloudflare does not show this credential which accounts it excludes: {error}")
}

/// What failed, and what to do about it.
pub fn advice(error: &Error) -> String {
    match error.class() {
        ErrorClass::Denied => format!(
            "{error}: the credential is invalid or lacks a permission. It needs permission to read Resource Sharing \
             of this account{}",
            error.blocked()
        ),
        ErrorClass::Retry => format!("{error}: check the network and --cloudflare-url, then retry"),
        ErrorClass::Throttled => {
            let when =
                retry_after(error).map_or("five minutes".to_owned(), |wait| format!("{} s", wait.as_secs().max(1)));
            format!("{error}: all requests of the token's user count towards this rate limit; try again in {when}")
        }
        ErrorClass::Gone | ErrorClass::Rejected => format!("{error}: check the ids"),
        ErrorClass::Conflict => error.to_string(),
    }
}

/// What failed of one share, and what to do about it; it remains known what it was.
pub fn explained_of(share: &ShareId, error: Error) -> anyhow::Error {
    let words = format!("share {share}: {}", advice(&error));
    anyhow::Error::new(error).context(words)
}

/// What failed, in words. What Cloudflare says is in them already.
pub fn words(error: &anyhow::Error) -> String {
    if error.is::<Error>() { error.to_string() } else { format!("{error:#}") }
}
