//! How a pass ends that could not do its work: without a credential, or with a failed call.

use std::time::Duration;

use super::Pass;
use super::verdict::Verdict;
use crate::api::{Name, Reason};
use crate::cloudflare::{Error, ErrorClass};
use crate::core::failure::{self, Bounds, Cause, Facts, Failures, Judgement};
use crate::core::time::At;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::remote::credentials::NoCredential;
use crate::operator::remote::session::Session;
use crate::operator::stop::Stop;
use crate::operator::{clock, delays};

impl<K: Reconciled> Pass<K> {
    /// Ends a pass that has no credential; `made`: what it has at Cloudflare, which stays there though the object is
    /// being deleted.
    pub async fn without_credential(
        self,
        problem: NoCredential,
        made: Option<String>,
    ) -> Result<Option<Duration>, Stop> {
        let now = self.now();
        if matches!(problem, NoCredential::Unreadable(..)) && self.was_ready() {
            let read_lag = self.context.settings.read_lag();
            if !self.count_failure(now).persist_for(read_lag, now) {
                return Ok(Some(delays::TRANSIENT));
            }
        }
        let may_pass = problem.usually_passes(made.is_some()) && !self.is_deleting();
        let message = match made.filter(|_| self.is_deleting()) {
            Some(made) => format!(
                "{problem}. {made} still exists at Cloudflare, so this object is not removed. If the Secret cannot be \
                 restored, as in a namespace that is being deleted, delete it at Cloudflare and release the object: {}",
                self.key.retain(),
            ),
            None => problem.to_string(),
        };
        let verdict = Verdict::unknown_stalled(Reason::CredentialsNotFound, message).requeue_after(delays::SECRET);
        if !may_pass {
            return self.finish(verdict).await;
        }
        let verdict = self.awaited(verdict);
        self.finish(verdict).await
    }

    /// Ends a pass that Cloudflare stopped.
    pub async fn fail(mut self, error: Error, session: &Session, secret: &Name) -> Result<Option<Duration>, Stop> {
        let class = error.class();
        if class == ErrorClass::Denied {
            self.context.remote.credentials.suspect(secret);
        }
        let now = self.now();
        let failures = self.count_failure(now);
        let settings = &self.context.settings;
        let bounds = Bounds { read_lag: settings.read_lag(), denial: settings.passing_time() };
        let facts = Facts {
            class,
            now,
            failures,
            was_ready: self.was_ready(),
            denied_elsewhere: session.account.is_denied(now, bounds.denial),
            closed_for: session.account.limiter.closed_until().map(|until| until.since(now)),
        };
        let Judgement { cause, reported, retry_after } = failure::judge(&facts, &bounds);
        if !reported && self.alarm.is_none() {
            return Ok(Some(retry_after));
        }
        let verdict = self.failed(cause, &error, session, secret).requeue_after(retry_after);
        let verdict = self.with_alarm(verdict);
        self.end(verdict, Some(failures)).await
    }

    /// What is said of a failed call.
    fn failed(&self, cause: Cause, error: &Error, session: &Session, secret: &Name) -> Verdict {
        let unread = self.unread(session);
        let denied = || {
            format!(
                "{error}: the credential in the Secret {} is invalid or lacks a permission. It needs permission to edit \
                 Resource Sharing in account {}, or to read it if cfshare only observes{}{}",
                secret.name,
                session.account.id,
                error.blocked(),
                self.release_hint(),
            )
        };
        match cause {
            Cause::Throttled => {
                let message = format!(
                    "Cloudflare's rate limit is reached{unread}. All requests of the token's user count towards it, whatever \
                     program or token makes them. cfshare retries automatically"
                );
                Verdict { shared: !unread.is_empty(), ..Verdict::unknown(Reason::Throttled, message) }
            }
            Cause::Denied { for_long: true } => Verdict::unknown_stalled(Reason::Denied, denied()).shared(),
            Cause::Denied { for_long: false } => Verdict::unknown(Reason::Denied, denied()),
            Cause::Unavailable if unread.is_empty() => Verdict::unknown(Reason::Unavailable, error.to_string()),
            Cause::Unavailable => {
                let message = format!("{error}{unread}. cfshare retries automatically");
                Verdict::unknown(Reason::Unavailable, message).shared()
            }
            Cause::Rejected => {
                let message = format!(
                    "{error}: check the ids. spec.accountID cannot be changed: if it is wrong, set deletionPolicy: Retain, so that \
                     nothing ends at Cloudflare, delete this object, and apply it again{}",
                    self.release_hint(),
                );
                Verdict::unknown_stalled(Reason::Rejected, message)
            }
        }
    }

    /// How an object that is being deleted goes although nothing can be removed at Cloudflare.
    fn release_hint(&self) -> String {
        if !self.is_deleting() {
            return String::new();
        }
        format!(
            ". Until then this object is not removed, and what it declares may still be shared; to release it, which leaves that \
             at Cloudflare: {}",
            self.key.retain()
        )
    }

    fn count_failure(&self, now: At) -> Failures {
        self.memory(|memory| {
            let failing = memory.tries.failing.get_or_insert(Failures { count: 0, since: now });
            failing.count += 1;
            *failing
        })
    }

    /// Fails where nothing could be read of the account for long.
    pub fn check_readable(&self, session: &Session) -> Result<(), Stop> {
        let passing_time = self.context.settings.passing_time();
        session.account.why_unreadable(self.now(), passing_time).map_or(Ok(()), |error| Err(Stop::Cloudflare(error)))
    }

    /// Where the account has not been read for long: since when nothing is known of its shares.
    fn unread(&self, session: &Session) -> String {
        if self.check_readable(session).is_ok() {
            return String::new();
        }
        let account = &session.account;
        format!(
            ", so the state of the shares of account {} has been unknown since {}",
            account.id,
            clock::time(account.read_at()).0
        )
    }
}
