//! What is told where nothing may be written?

use super::share_pass::SharePass;
use crate::api::Reason;
use crate::operator::pass::breaker;
use crate::operator::pass::verdict::Verdict;

pub fn frozen(share: &SharePass, what: &str) -> Verdict {
    match share.session.account.breaker() {
        Some(cause) => breaker::open(&cause, &share.pass.key.name),
        None if share.pass.context.settings.read_only => {
            Verdict::stalled(Reason::Observed, format!("the operator runs with --read-only: {what}"))
        }
        None => Verdict::stalled(Reason::Observed, format!("managementPolicy is Observe: {what}")),
    }
}
