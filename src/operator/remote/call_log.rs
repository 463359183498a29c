//! Which changing calls did an object make, and what became of them? They wait here until a write of its status lists them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;

use crate::api::status::RecentCall;
use crate::cloudflare::{self, Error, ErrorClass, Reply, WriteOutcome};

/// So many calls are listed.
const MAX_CALLS: usize = 10;
const DONE: &str = "done";

/// Calls that are not in the status yet, the newest last.
#[derive(Debug, Default)]
pub struct CallLog(Mutex<Vec<RecentCall>>);

impl CallLog {
    pub fn note<T>(&self, call: String, answer: &Result<Reply<T>, Error>, at: Time) {
        let head = cloudflare::head(answer);
        let Some(word) = word(answer) else { return };
        let result = match head.filter(|_| word != DONE) {
            Some(head) => format!("{word} {}", head.status).into(),
            None => word.into(),
        };
        let ray = head.and_then(|head| head.ray.clone());
        let mut calls = self.0.lock();
        calls.push(RecentCall { at, call, result, ray });
        forget_old(&mut calls);
    }

    pub fn take(&self) -> Vec<RecentCall> {
        std::mem::take(&mut self.0.lock())
    }

    /// They could not be written.
    pub fn put_back(&self, mut calls: Vec<RecentCall>) {
        let mut newer = self.0.lock();
        calls.append(&mut newer);
        forget_old(&mut calls);
        *newer = calls;
    }

    /// Whether one of them changed something: that is worth a write of the status.
    pub fn has_changes(&self) -> bool {
        self.0.lock().iter().any(|call| call.result == DONE)
    }
}

/// Of two logs: one that is compared with itself would wait for its own lock.
impl PartialEq for CallLog {
    fn eq(&self, other: &CallLog) -> bool {
        *self.0.lock() == *other.0.lock()
    }
}

/// `None`: it did not leave.
fn word<T>(answer: &Result<T, Error>) -> Option<&'static str> {
    let Err(error) = answer else { return Some(DONE) };
    match (error.write_outcome(), error.class()) {
        (WriteOutcome::NotSent, _) => None,
        (WriteOutcome::Rejected, ErrorClass::Gone) => Some("not found"),
        (WriteOutcome::Rejected, _) => Some("refused"),
        (WriteOutcome::Ambiguous, _) => Some("unknown"),
    }
}

/// Adds calls to those that a status lists. A refusal that is listed already is not listed again.
pub fn list(listed: &mut Vec<RecentCall>, calls: &[RecentCall]) {
    for call in calls {
        let last = listed.iter().rev().find(|before| before.call == call.call);
        if call.result == DONE || last.is_none_or(|before| before.result != call.result) {
            listed.push(call.clone());
        }
    }
    forget_old(listed);
}

fn forget_old(calls: &mut Vec<RecentCall>) {
    calls.drain(..calls.len().saturating_sub(MAX_CALLS));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::ResponseHead;
    use crate::core::time::At;
    use crate::operator::clock;

    fn noted(log: &CallLog, call: &str, answer: Result<(), Error>, ray: &str) {
        let head = ResponseHead { status: 200, date: None, ray: Some(ray.into()), limits: Default::default() };
        log.note(call.to_owned(), &answer.map(|body| Reply { body, head }), clock::time(At(5000)));
    }

    fn lines(calls: &[RecentCall]) -> Vec<String> {
        let ray = |call: &RecentCall| call.ray.clone().unwrap_or_default();
        calls.iter().map(|call| format!("{} {} {}", call.call, call.result, ray(call)).trim_end().to_owned()).collect()
    }

    fn refused(ray: &str) -> Error {
        let head = ResponseHead { status: 403, date: None, ray: Some(ray.into()), limits: Default::default() };
        Error::Answered { status: 403, errors: Vec::new(), head: Box::new(head) }
    }

    fn refused_by_a_limiter(ray: &str) -> Error {
        let head = ResponseHead { status: 429, date: None, ray: Some(ray.into()), limits: Default::default() };
        Error::Answered { status: 429, errors: Vec::new(), head: Box::new(head) }
    }

    #[test]
    fn a_call_is_told_with_its_result_and_ray_unless_it_never_left() {
        let log = CallLog::default();
        noted(&log, "add a", Ok(()), "r1");
        noted(&log, "add b", Err(refused_by_a_limiter("r2")), "");
        noted(&log, "add c", Err(Error::NotSent { cause: "dns".into() }), "");
        noted(&log, "add d", Err(Error::Lost { cause: "reset".into() }), "");
        // Without an error of Cloudflare's own nobody knows.
        noted(&log, "add e", Err(refused("r3")), "");
        assert!(log.has_changes());
        let expected = ["add a done r1", "add b refused 429 r2", "add d unknown", "add e unknown 403 r3"];
        assert_eq!(lines(&log.take()), expected);
        assert!(!log.has_changes());
    }

    #[test]
    fn a_refusal_is_told_once_and_every_change_each_time() {
        let (log, mut listed) = (CallLog::default(), Vec::new());
        for (call, answer, ray) in [
            ("add a", Err(refused_by_a_limiter("r1")), ""),
            ("add b", Ok(()), "r2"),
            ("add a", Err(refused_by_a_limiter("r3")), ""),
            ("add b", Ok(()), "r4"),
            ("add a", Ok(()), "r5"),
            ("add a", Err(refused_by_a_limiter("r6")), ""),
        ] {
            noted(&log, call, answer, ray);
            list(&mut listed, &log.take());
        }
        let expected =
            ["add a refused 429 r1", "add b done r2", "add b done r4", "add a done r5", "add a refused 429 r6"];
        assert_eq!(lines(&listed), expected);
    }

    #[test]
    fn the_last_ten_are_kept_in_order_also_where_a_write_failed() {
        let log = CallLog::default();
        (0..8).for_each(|n| noted(&log, "call", Ok(()), &n.to_string()));
        let not_written = log.take();
        (8..12).for_each(|n| noted(&log, "call", Ok(()), &n.to_string()));
        log.put_back(not_written);
        let mut listed = Vec::new();
        list(&mut listed, &log.take());
        let expected: Vec<String> = (2..12).map(|n| format!("call done {n}")).collect();
        assert_eq!(lines(&listed), expected);
    }
}
