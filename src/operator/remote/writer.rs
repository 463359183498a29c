//! The only place that changes anything at Cloudflare.
//!
//! Each call has a permit, is made once, and its answer counts as the read after it.

use super::observed_rows::RowId;
use super::observed_share::ObservedShare;
use super::session::Session;
use crate::cloudflare::{
    Error, ErrorClass, NewResource, NewShare, Recipient, Reply, Share, ShareStatus, WriteOutcome, clean,
};
use crate::core::id::{AccountId, ShareId, ShareResourceId};
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::cluster::current::Current;
use crate::operator::stop::Stop;

#[derive(Debug)]
pub enum Change<T> {
    Done(T),
    /// It was certainly not made.
    Not(Error),
    /// Nobody knows whether it was made.
    Unsure(Error),
}

/// Longest name of a share, and longest words for a call, in a status.
const MAX_NAME: usize = 100;
const MAX_CALL: usize = 200;

fn named(verb: &str, key: &RowKey) -> String {
    let (what, id) = key.words();
    clean(&format!("{verb} {what} {id}"), MAX_CALL)
}

impl Session {
    fn change<T>(&self, outcome: Result<T, Error>) -> Change<T> {
        self.remote.metrics.change(outcome.as_ref().err().map(Error::write_outcome));
        match outcome {
            Ok(body) => Change::Done(body),
            Err(error) => match error.write_outcome() {
                WriteOutcome::NotSent | WriteOutcome::Rejected => Change::Not(error),
                WriteOutcome::Ambiguous => Change::Unsure(error),
            },
        }
    }

    /// The same of a call that changes this share: where nobody knows whether it did, what was read of the share is out of date.
    fn change_of<T>(&self, id: &ShareId, outcome: Result<T, Error>) -> Change<T> {
        let change = self.change(outcome);
        if matches!(change, Change::Unsure(_)) {
            self.stale(id);
        }
        change
    }

    /// Makes a changing call, and takes note of it for the object's status.
    async fn send<T>(&self, what: &str, call: impl Future<Output = Result<Reply<T>, Error>>) -> Result<T, Error> {
        let answer = self.reply(call).await;
        self.wrote();
        self.calls.note(what.to_owned(), &answer, clock::time(self.clock().now()));
        answer.map(|reply| reply.body)
    }

    /// Whether a call may start now: much may have changed since the permit was given.
    fn may_send(&self) -> Result<(), Stop> {
        self.remote.may_write(&self.account.id)?;
        if self.account.limiter.must_ask_again() { self.permit(1).map(drop) } else { Ok(()) }
    }

    /// Whether an announced call may start now. It counts as settled so long after it was announced, so it must not
    /// leave late: the process may have been stopped meanwhile, or the calls before it took long.
    fn may_send_announced(&self, at: At) -> Result<(), Stop> {
        self.may_send()?;
        let late = self.clock().now().since(at) > self.remote.settings.call_timeout;
        if late { Err(Stop::Late) } else { Ok(()) }
    }

    /// The one call that cannot be repeated. The caller holds the permit and has announced it. An answer about another name may
    /// be an answer to another request, so that it does not count as a read.
    pub async fn create_share(&self, share: &NewShare, announced: At) -> Result<Change<Share>, Stop> {
        self.may_send_announced(announced)?;
        let what = format!("create share {}", clean(&share.name, MAX_NAME));
        let answer = self.send(&what, self.api().logged(&what).create_share(share)).await;
        if let Ok(made) = &answer
            && made.name == share.name
        {
            self.account.cache().wrote(made.clone(), self.clock().now());
        }
        Ok(self.change(answer))
    }

    pub async fn rename_share(&self, id: &ShareId, name: &str) -> Result<Change<()>, Stop> {
        let _permit = self.permit(1)?;
        self.may_send()?;
        let what = format!("rename share {id} to {}", clean(name, MAX_NAME));
        let answer = self.send(&what, self.api().logged(&what).rename_share(id, name)).await;
        if answer.as_ref().is_err_and(|error| error.class() == ErrorClass::Gone) {
            // A read says whether it is gone.
            self.stale(id);
        }
        let answer = answer.map(|share| match share {
            Some(share) => self.account.cache().wrote(share, self.clock().now()),
            None => self.stale(id),
        });
        Ok(self.change_of(id, answer))
    }

    /// Deletes a share, for an object that is known to be as it was decided on.
    pub async fn delete_share(&self, id: &ShareId, _: &Current) -> Result<Change<()>, Stop> {
        let _permit = self.permit(1)?;
        self.may_send()?;
        let what = format!("delete share {id}");
        let answer = self.send(&what, self.api().logged(&what).delete_share(id)).await;
        let now = self.clock().now();
        let answer = match answer {
            Ok(share) => {
                let mut cache = self.account.cache();
                let known = cache.seen(id).map(|seen| seen.share.clone());
                if let Some(mut share) = share.or(known) {
                    // Also where Cloudflare has a word for it that is newer than this program.
                    if share.is_live() {
                        share.status = ShareStatus::Deleting;
                    }
                    cache.wrote(share, now);
                }
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Gone => {
                self.account.cache().absent(id, now, self.read_lag());
                Ok(())
            }
            Err(error) => Err(error),
        };
        Ok(self.change(answer))
    }

    /// Adds one recipient, excluded account or resource, and returns whether the answer shows the row: otherwise only a read
    /// can. The caller holds the permit and has announced it.
    pub async fn add(
        &self,
        id: &ShareId,
        key: &RowKey,
        meta: &ResourceMeta,
        announced: At,
    ) -> Result<Change<bool>, Stop> {
        self.may_send_announced(announced)?;
        let what = named("add", key);
        let answer = match key {
            RowKey::Recipient(recipient) => {
                let row = self.send(&what, self.api().logged(&what).add_recipient(id, recipient)).await;
                row.map(|row| self.note_added(id, key, row, ObservedShare::wrote_recipient))
            }
            RowKey::Excluded(excluded) => {
                let row = self.send(&what, self.api().logged(&what).add_excluded(id, excluded)).await;
                row.map(|row| self.note_added(id, key, row, ObservedShare::wrote_excluded))
            }
            RowKey::Resource { kind, id: source, account: owner } => {
                let resource =
                    NewResource { meta: meta.clone(), account: owner.clone(), id: source.clone(), kind: kind.clone() };
                let row = self.send(&what, self.api().logged(&what).add_resource(id, &resource)).await;
                row.map(|row| self.note_added(id, key, row, ObservedShare::wrote_resource))
            }
        };
        Ok(self.change_of(id, answer))
    }

    /// Replaces all recipients of a share; `removed`: the rows that go by it. The caller holds the permit and has
    /// announced it.
    pub async fn replace_recipients(
        &self,
        id: &ShareId,
        recipients: &[AccountId],
        removed: &[Recipient],
        announced: At,
        _: &Current,
    ) -> Result<Change<()>, Stop> {
        self.may_send_announced(announced)?;
        let what = format!("replace the recipients by {}", recipients.len());
        let answer = self.send(&what, self.api().logged(&what).replace_recipients(id, recipients)).await;
        let answer = answer.map(|()| {
            for row in removed {
                self.note_seen(id, |seen, now| seen.removed_recipient(&row.id, None, now));
            }
            // The answer is empty: how far it is, the next list tells.
            self.stale(id);
        });
        Ok(self.change_of(id, answer))
    }

    pub async fn update_resource(
        &self,
        id: &ShareId,
        key: &RowKey,
        row: &ShareResourceId,
        meta: &ResourceMeta,
    ) -> Result<Change<()>, Stop> {
        let _permit = self.permit(1)?;
        self.may_send()?;
        let what = named("change the meta of", key);
        let answer = self.send(&what, self.api().logged(&what).update_resource(id, row, meta)).await;
        let answer = match answer {
            // The row has another id by now, or is gone.
            Err(error) if error.class() == ErrorClass::Gone => {
                self.stale(id);
                Err(error)
            }
            answer => answer.map(|row| match row {
                Some(row) => self.note_seen(id, |seen, now| seen.wrote_resource(row, now)),
                None => self.stale(id),
            }),
        };
        Ok(self.change_of(id, answer))
    }

    /// Removes one row, for an object that is known to be as it was decided on.
    pub async fn remove(&self, id: &ShareId, key: &RowKey, row: &RowId, _: &Current) -> Result<Change<()>, Stop> {
        let _permit = self.permit(1)?;
        self.may_send()?;
        let what = named("remove", key);
        let answer = match row {
            RowId::Recipient(row) => {
                let answer = self.send(&what, self.api().logged(&what).remove_recipient(id, row)).await;
                answer.map(|answer| self.note_seen(id, |seen, now| seen.removed_recipient(row, answer, now)))
            }
            RowId::Excluded(row) => {
                let answer = self.send(&what, self.api().logged(&what).remove_excluded(id, row)).await;
                answer.map(|_| self.note_seen(id, |seen, now| seen.removed_excluded(row, now)))
            }
            RowId::Resource(row) => {
                let answer = self.send(&what, self.api().logged(&what).remove_resource(id, row)).await;
                answer.map(|answer| self.note_seen(id, |seen, now| seen.removed_resource(row, answer, now)))
            }
        };
        let answer = match answer {
            // What is gone already needs no removing; the next read says so too.
            Err(error) if error.class() == ErrorClass::Gone => {
                self.stale(id);
                Ok(())
            }
            other => other,
        };
        Ok(self.change_of(id, answer))
    }

    /// Notes down the row that the answer to our own call shows. Returns whether it does.
    fn note_added<R>(&self, id: &ShareId, key: &RowKey, row: Option<R>, wrote: fn(&mut ObservedShare, R, At)) -> bool {
        let is_shown = row.is_some();
        self.note_seen(id, |seen, now| match row {
            Some(row) => wrote(seen, row, now),
            None => seen.added_unseen(key, now),
        });
        is_shown
    }

    fn note_seen(&self, id: &ShareId, note: impl FnOnce(&mut ObservedShare, At)) {
        if let Some(seen) = self.account.cache().seen_mut(id) {
            note(seen, self.clock().now());
        }
    }

    /// The rows of the share are not what the cache shows.
    pub fn stale(&self, id: &ShareId) {
        self.note_seen(id, |seen, _| seen.outdate());
    }
}
