//! How a share that is there comes to an end, and when it is believed that it has.

use super::work::Work;
use crate::api::Reason;
use crate::cloudflare::ErrorClass;
use crate::core::id::ShareId;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::apply::{Apply, Change};
use crate::operator::remote::view::Picture;
use crate::operator::stop::Stop;

impl Work {
    pub(super) async fn delete(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(id) = self.share_id() else { return Ok(None) };
        let now = self.pass.now();
        if let Some(verdict) = self.pass.refusal("delete", Reason::Rejected) {
            return Ok(Some(verdict));
        }
        if let Some(verdict) = self.withheld_deletion().await? {
            return Ok(Some(verdict));
        }
        let apply = Apply { remote: &self.pass.context.remote, access: &self.access };
        match apply.delete_share(&id).await? {
            Change::Done(()) => Ok(None),
            Change::Unsure(error) => {
                // Read it before it is sent once more.
                self.access.account.picture().forget(&id);
                Err(Stop::Cloudflare(error))
            }
            Change::Not(error) => match error.class() {
                ErrorClass::Rejected => {
                    let message = format!("Cloudflare refuses to delete share {id}: {error}");
                    self.pass.notes(|notes| notes.refuse("delete", message, now));
                    Ok(None)
                }
                // Most likely it is being deleted already.
                ErrorClass::Conflict => {
                    self.access.read_share(&id).await?;
                    let live = self.access.account.picture().seen(&id).is_some_and(|seen| seen.is_live());
                    if live { Err(Stop::Cloudflare(error)) } else { Ok(None) }
                }
                ErrorClass::Retry | ErrorClass::Throttled | ErrorClass::Denied | ErrorClass::Gone => {
                    Err(Stop::Cloudflare(error))
                }
            },
        }
    }

    /// Cloudflare is deleting the share: look now and then whether it is gone.
    pub(super) async fn await_leaving(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(id) = self.share_id() else { return Ok(None) };
        let now = self.pass.now();
        self.have_loss_counted(&id);
        if let Some(since) = self.pass.due().filter(|due| *due <= now) {
            if self.access.account.picture().leaving.as_ref().is_none_or(|(at, _)| *at < since) {
                self.access.read_leaving().await?;
            }
            let gone_from_list = {
                let picture = self.access.account.picture();
                picture.leaving.as_ref().is_some_and(|(_, ids)| !ids.contains(&id))
            };
            if gone_from_list {
                self.access.read_share(&id).await?;
                let picture = self.access.account.picture();
                if picture.seen(&id).is_none_or(|seen| !seen.is_leaving()) {
                    return Ok(None);
                }
                if self.is_gone(&picture, &id) {
                    return Ok(None);
                }
            }
        }
        let wait = self.pass.plan_poll(u64::MAX);
        self.pass.status.remote_status = Some("deleting".into());
        let message = format!("share {id} is being deleted by Cloudflare");
        let reason = if self.pass.is_doomed() { Reason::Deleting } else { Reason::Progressing };
        Ok(Some(Verdict::working(reason, message).again(wait)))
    }

    fn is_gone(&self, picture: &Picture, id: &ShareId) -> bool {
        let patience = self.pass.context.settings.patience();
        if self.pass.is_doomed() { picture.is_gone(id, patience) } else { picture.is_lost(id, patience) }
    }

    /// Somebody else deletes the share, or it disappeared: nothing is created in its place before a complete list has
    /// shown how many more there are.
    fn have_loss_counted(&self, id: &ShareId) {
        let since = self.access.account.picture().uncounted(id);
        if let Some(since) = since.filter(|_| !self.pass.is_doomed()) {
            self.access.account.demand_sweep(self.pass.key.clone(), since);
        }
    }

    /// The share was not there: look again after a while before that is believed.
    pub(super) async fn confirm(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(id) = self.share_id() else { return Ok(None) };
        let patience = self.pass.context.settings.patience();
        self.have_loss_counted(&id);
        let expected = self.pass.is_doomed() && self.access.account.picture().was_expected_to_go(&id);
        if expected && !self.access.account.picture().is_gone(&id, patience) {
            self.access.read_leaving().await?;
            if self.access.account.picture().is_gone(&id, patience) {
                return Ok(None);
            }
        }
        let now = self.pass.now();
        if self.pass.is_poll_due() {
            self.access.read_share(&id).await?;
            let (missing, gone, first) = {
                let picture = self.access.account.picture();
                let live = picture.seen(&id).is_some_and(|seen| !seen.is_leaving());
                (!live, self.is_gone(&picture, &id), picture.missing_since(&id))
            };
            if !missing || gone {
                return Ok(None);
            }
            // Twice not there, a while apart: only a complete list can still say otherwise.
            if let Some(first) = first.filter(|first| now.since(*first) >= patience) {
                self.access.account.demand_sweep(self.pass.key.clone(), first);
            }
        }
        self.pass.notes(|notes| {
            if !notes.following || notes.due <= now {
                notes.following = true;
                notes.due = now.plus(patience);
            }
        });
        let message = format!("share {id} is not there any more; looking again before that is believed");
        let verdict = if self.pass.is_doomed() {
            Verdict::working(Reason::Deleting, message)
        } else {
            Verdict::unknown(Reason::ShareNotFound, message)
        };
        Ok(Some(verdict.again(patience)))
    }
}
