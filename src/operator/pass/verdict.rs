//! What a pass says about its object, and the conditions that follow from it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::status::DriftEntry;
use crate::api::{ConditionType, Reason};
use crate::cloudflare::clean_ends;
use crate::core::time::At;
use crate::operator::delays;

/// How an error cites the id of the answer.
const RAY: &str = "(ray ";
/// Why nothing is changed though the manifest allows it.
pub const READ_ONLY: &str = "the operator runs with --read-only";
/// Longest message of a condition: where two things are wrong, each with a command, both are said.
const MAX_MESSAGE: usize = 1500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    True,
    False,
    /// It cannot be read, so nobody can say.
    Unknown,
}

/// Whether anything goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Resting,
    Reconciling,
    /// Somebody has to do something.
    Stalled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub ready: Readiness,
    pub course: Course,
    pub reason: Reason,
    pub message: String,
    /// When to look again without being woken.
    pub requeue_after: Option<Duration>,
    /// It is about the whole credential, so that many objects say it at once.
    pub shared: bool,
    /// The Event that tells of it is another object's.
    pub no_event: bool,
}

impl Verdict {
    fn new(ready: Readiness, course: Course, reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict { ready, course, reason, message: message.into(), requeue_after: None, shared: false, no_event: false }
    }

    pub fn ready(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(Readiness::True, Course::Resting, reason, message)
    }

    pub fn working(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(Readiness::False, Course::Reconciling, reason, message)
    }

    pub fn stalled(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(Readiness::False, Course::Stalled, reason, message)
    }

    /// It cannot be read, and is tried again.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(Readiness::Unknown, Course::Reconciling, reason, message)
    }

    /// It cannot be read until somebody does something.
    pub fn unknown_stalled(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(Readiness::Unknown, Course::Stalled, reason, message)
    }

    pub fn suspended() -> Verdict {
        let message =
            "suspended: cfshare neither compares nor changes anything for this object until spec.suspend is false";
        Verdict::unknown(Reason::Suspended, message).resting()
    }

    /// It took more steps than are taken in one pass.
    pub fn unfinished() -> Verdict {
        Verdict::working(Reason::Progressing, "reconciling is not finished yet; continuing")
            .requeue_after(delays::TRANSIENT)
    }

    pub fn shared(self) -> Verdict {
        Verdict { shared: true, ..self }
    }

    pub fn without_event(self) -> Verdict {
        Verdict { no_event: true, ..self }
    }

    pub fn resting(mut self) -> Verdict {
        self.course = Course::Resting;
        self
    }

    /// This verdict where `rest` is true as well, and is said after it unless it is Ready: what is under way goes on.
    pub fn with(self, rest: Verdict) -> Verdict {
        let (message, course) = match rest.ready {
            Readiness::True => (self.message, self.course),
            Readiness::False | Readiness::Unknown => {
                let goes_on = self.course == Course::Reconciling || rest.course == Course::Reconciling;
                let course = if goes_on { Course::Reconciling } else { Course::Stalled };
                (format!("{}. {}", self.message, rest.message), course)
            }
        };
        Verdict { message, course, ..self }.requeue_within(rest.requeue_after)
    }

    pub fn requeue_after(self, after: Duration) -> Verdict {
        self.requeue_within([after])
    }

    /// Looks again after the shortest of these times, or the one that it has.
    pub fn requeue_within(mut self, times: impl IntoIterator<Item = Duration>) -> Verdict {
        self.requeue_after = self.requeue_after.into_iter().chain(times).min();
        self
    }
}

/// Brings conditions in line with the verdict; times move only where the truth does, or to when a loss is
/// first said.
pub fn set_conditions(
    conditions: &mut Vec<Condition>,
    verdict: &Verdict,
    drifted: Option<String>,
    generation: i64,
    now: &Time,
) {
    let status = match verdict.ready {
        Readiness::True => "True",
        Readiness::False => "False",
        Readiness::Unknown => "Unknown",
    };
    let (reason, message) = (verdict.reason.as_str(), verdict.message.as_str());
    let on = |course| (verdict.course == course).then_some(("True", reason, message));
    let all = [
        (ConditionType::Ready, Some((status, reason, message))),
        (ConditionType::Reconciling, on(Course::Reconciling)),
        (ConditionType::Stalled, on(Course::Stalled)),
        (ConditionType::Drifted, drifted.as_deref().map(|message| ("True", "Drifted", message))),
    ];
    for (kind, condition) in all {
        set(conditions, kind, condition, generation, now);
    }
}

/// What a condition says of drift.
pub fn drift_message(drift: &[DriftEntry]) -> Option<String> {
    let first = difference(drift.first()?);
    Some(match drift.len() {
        1 => first,
        n => format!("{first}, and {} more", n - 1),
    })
}

/// One difference at Cloudflare, in words.
pub fn difference(entry: &DriftEntry) -> String {
    format!("{}: {} instead of {}", entry.path, entry.observed, entry.desired)
}

fn set(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    condition: Option<(&str, &str, &str)>,
    generation: i64,
    now: &Time,
) {
    let Some((status, reason, message)) = condition else {
        conditions.retain(|condition| condition.type_ != kind.as_str());
        return;
    };
    let fresh = Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: as_written(message),
        observed_generation: Some(generation),
        last_transition_time: now.clone(),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind.as_str()) {
        Some(old) => {
            let message = latest(&old.message, fresh.message);
            let is_as_before = old.status == status && (old.reason == reason || !is_dated(kind, reason));
            let since = if is_as_before { old.last_transition_time.clone() } else { now.clone() };
            *old = Condition { last_transition_time: since, message, ..fresh };
        }
        None => conditions.push(fresh),
    }
}

/// A message as a condition has it: some of it may be Cloudflare's, or somebody's there.
pub fn as_written(message: &str) -> String {
    clean_ends(message, MAX_MESSAGE)
}

/// Whether the time is also that of the reason: what dates a loss, or a person's word on one, must not be as old as
/// another trouble before it.
fn is_dated(kind: ConditionType, reason: &str) -> bool {
    let losses = [Reason::BreakerOpen, Reason::ShareNotFound];
    kind == ConditionType::Stalled && losses.iter().any(|loss| loss.as_str() == reason)
}

/// What is written: the old message where the new one says the same of another answer, or nothing would come to rest.
pub fn latest(old: &str, fresh: String) -> String {
    if without_rays(old) == without_rays(&fresh) { old.to_owned() } else { fresh }
}

/// A text without the ids of the answers that it cites.
fn without_rays(text: &str) -> String {
    let mut parts = text.split(RAY);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}

/// For something that usually arrives by itself, such as a Secret: `Reconciling` for a while, then `Stalled`.
pub fn awaited(verdict: Verdict, since: At, now: At) -> Verdict {
    let left = delays::ARRIVAL.saturating_sub(now.since(since));
    if left.is_zero() {
        return Verdict { course: Course::Stalled, ..verdict };
    }
    Verdict { course: Course::Reconciling, ..verdict }.requeue_after(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::conditions::said_since;
    use k8s_openapi::jiff::Timestamp;

    fn time(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("a time"))
    }

    #[test]
    fn reconciling_and_stalled_stand_only_while_true_and_never_together() {
        let mut conditions = Vec::new();
        let verdicts = [
            Verdict::working(Reason::Associating, "a"),
            Verdict::stalled(Reason::Rejected, "b"),
            Verdict::ready(Reason::Associated, "c"),
            Verdict::unknown(Reason::Unavailable, "d"),
        ];
        for verdict in verdicts {
            set_conditions(&mut conditions, &verdict, None, 1, &time(1));
            let has = |kind: ConditionType| conditions.iter().any(|c: &Condition| c.type_ == kind.as_str());
            assert!(has(ConditionType::Ready));
            assert_eq!(has(ConditionType::Reconciling), verdict.course == Course::Reconciling);
            assert_eq!(has(ConditionType::Stalled), verdict.course == Course::Stalled);
        }
    }

    #[test]
    fn what_must_not_be_hidden_is_reported_first_and_never_as_ready() {
        let alarm = || Verdict::stalled(Reason::ExclusionsNotInForce, "a").requeue_after(Duration::from_secs(60));
        let combined = alarm().with(Verdict::ready(Reason::Associated, "b"));
        assert_eq!(
            (combined.message.as_str(), combined.ready, combined.course),
            ("a", Readiness::False, Course::Stalled)
        );
        let rest = Verdict::unknown(Reason::Unavailable, "b").requeue_after(Duration::from_secs(2));
        let combined = alarm().with(rest);
        assert_eq!(
            (combined.message.as_str(), combined.ready, combined.course),
            ("a. b", Readiness::False, Course::Reconciling)
        );
        assert_eq!(
            (combined.reason, combined.requeue_after),
            (Reason::ExclusionsNotInForce, Some(Duration::from_secs(2)))
        );
        let combined = alarm().with(Verdict::unknown_stalled(Reason::Denied, "b"));
        assert_eq!((combined.ready, combined.course), (Readiness::False, Course::Stalled));
    }

    #[test]
    fn no_message_loses_its_command() {
        let (names, error) = ("x".repeat(400), "y".repeat(300));
        let retry = "kubectl annotate shares.cfshare.dev waf -n ns retry";
        let confirm = "kubectl annotate shares.cfshare.dev waf -n ns cfshare.dev/confirm-removals=3 --overwrite; keep";
        let alarm = Verdict::stalled(Reason::ExclusionsNotInForce, format!("{names} receive it: {error}: {retry}"));
        let combined = alarm.with(Verdict::stalled(Reason::RemovalBlocked, format!("{names}: {confirm}")));
        assert!(combined.message.chars().count() > 1000);
        let mut conditions = Vec::new();
        set_conditions(&mut conditions, &combined, None, 1, &time(1));
        assert!(conditions[0].message.contains(retry) && conditions[0].message.ends_with(confirm));
        let endless = Verdict::stalled(Reason::RemovalBlocked, format!("{} {confirm}", names.repeat(9)));
        set_conditions(&mut conditions, &endless, None, 1, &time(1));
        assert!(conditions[0].message.chars().count() == MAX_MESSAGE && conditions[0].message.ends_with(confirm));
    }

    #[test]
    fn the_same_refusal_with_another_ray_is_the_same_message() {
        let mut conditions = Vec::new();
        let verdict = |message: &str| Verdict::unknown_stalled(Reason::Denied, message);
        set_conditions(&mut conditions, &verdict("no (ray a1): see (b)"), None, 1, &time(1));
        let before = conditions.clone();
        set_conditions(&mut conditions, &verdict("no (ray c2): see (b)"), None, 1, &time(2));
        assert_eq!(conditions, before);
        set_conditions(&mut conditions, &verdict("no (ray c2): see (d)"), None, 1, &time(3));
        assert_eq!(conditions[0].message, "no (ray c2): see (d)");
    }

    #[test]
    fn what_usually_arrives_is_awaited_for_two_minutes_from_when_it_was_first_said() {
        let verdict = || Verdict::unknown_stalled(Reason::CredentialsNotFound, "no Secret");
        let mut conditions = Vec::new();
        // Seconds since the first pass, and what is reported then: also by a process that began in between.
        for (second, stalled) in [(100, false), (101, false), (219, false), (220, true), (900, true)] {
            let now = At(second * 1000);
            let since = said_since(&conditions, Reason::CredentialsNotFound, now, At(0));
            let verdict = awaited(verdict(), since, now);
            assert_eq!(verdict.course == Course::Stalled, stalled, "{second}");
            assert!(stalled || verdict.requeue_after.is_some_and(|again| again <= delays::ARRIVAL), "{second}");
            set_conditions(&mut conditions, &verdict, None, 1, &time(second));
        }
        assert_eq!(said_since(&conditions, Reason::Denied, At(7), At(0)), At(7));
    }

    #[test]
    fn the_time_of_a_transition_moves_only_with_the_truth() {
        let mut conditions = Vec::new();
        set_conditions(&mut conditions, &Verdict::working(Reason::Creating, "a"), None, 1, &time(1));
        set_conditions(&mut conditions, &Verdict::working(Reason::Associating, "b"), None, 2, &time(2));
        assert_eq!(conditions[0].last_transition_time, time(1));
        set_conditions(&mut conditions, &Verdict::ready(Reason::Associated, "c"), None, 2, &time(3));
        assert_eq!(conditions[0].last_transition_time, time(3));
    }

    #[test]
    fn a_missing_share_is_not_as_old_as_what_was_wrong_with_it_before() {
        let (mut conditions, stalled) = (Vec::new(), ConditionType::Stalled.as_str());
        let words = [
            (Reason::RecipientFailed, 1),
            (Reason::Rejected, 1),
            (Reason::BreakerOpen, 3),
            (Reason::BreakerOpen, 3),
            (Reason::ShareNotFound, 5),
            (Reason::ShareNotFound, 5),
            (Reason::RecipientFailed, 5),
        ];
        for (second, (reason, since)) in (1..).zip(words) {
            set_conditions(&mut conditions, &Verdict::stalled(reason, "a"), None, 1, &time(second));
            let said = conditions.iter().find(|condition| condition.type_ == stalled).expect("it");
            assert_eq!(said.last_transition_time, time(since), "{second}: {reason:?}");
        }
    }
}
