//! What a child does whose share is not at Cloudflare.

use super::work::Work;
use crate::api::Name;
use crate::api::Reason;
use crate::operator::conditions;
use crate::operator::kinds::Child;
use crate::operator::kinds::ChildTelling;
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::account::CLOCK;
use crate::operator::remote::seen::Seen;
use crate::operator::stop::Stop;

impl<C: Child> Work<C> {
    /// What a child does whose share is not there; `None`: it is let go.
    pub(super) async fn share_gone(&mut self) -> Result<Option<Verdict>, Stop> {
        let patience = self.pass.context.settings.patience();
        let now = self.pass.now();
        let leaving = self.seen().is_some_and(|seen| seen.is_leaving());
        if let (true, false, Some(cause)) = (self.pass.is_doomed(), leaving, self.access.account.breaker()) {
            return Ok(Some(breaker::open(&cause, &self.pass.object.share())));
        }
        if self.pass.is_doomed() && !leaving && self.is_hidden() {
            let secret = Name::new(
                self.pass.key.name.namespace.clone(),
                self.record().credentials_name.clone().unwrap_or_default(),
            );
            return Ok(Some(breaker::hidden(self.pass.object.as_ref(), &format!("share {}", self.id), &secret)));
        }
        if self.pass.is_doomed() {
            let (gone, leaving, first) = {
                let picture = self.access.account.picture();
                (
                    picture.is_gone(&self.id, patience),
                    picture.seen(&self.id).is_some_and(Seen::is_leaving),
                    picture.missing_since(&self.id),
                )
            };
            if gone || leaving {
                self.pass.guard(false).await?;
                return Ok(None);
            }
            if let Some(first) = first.filter(|first| now.since(*first) >= patience) {
                self.access.read_share(&self.id).await?;
                self.access.account.demand_sweep(self.pass.key.clone(), first);
            }
            let verdict = Verdict::working(Reason::Deleting, "the share is not there any more; looking again");
            return Ok(Some(verdict.again(patience)));
        }
        self.pass.status.tell_row(&self.key, None);
        let name = self.pass.object.share().name;
        let message = match &self.parent.share {
            Some(_) => format!("share {} is not there; Share {name} looks after that", self.id),
            None => format!("Share {name} does not exist, and share {} is gone from Cloudflare", self.id),
        };
        Ok(Some(Verdict::working(Reason::WaitingForShare, message).again(patience)))
    }

    /// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
    /// share is meant to be gone.
    fn is_hidden(&mut self) -> bool {
        let confirmed = breaker::vouched(&mut self.pass);
        let record = self.pass.status.child();
        let told = conditions::breaker_told(&record.common.conditions);
        let vouched = confirmed.zip(told).is_some_and(|(confirmed, told)| told <= confirmed.plus(CLOCK));
        self.access.is_stranger(record.seen_with.as_deref())
            && !vouched
            && !self.access.account.is_accepted(self.id.as_str())
    }
}
