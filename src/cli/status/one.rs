//! One Share on one screen: what is wrong, what it means, what to do.

use std::iter;

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::api::condition::ready;
use crate::api::status::{EffectivePolicies, ExceptionEntry, RecentCall, RecipientCounts, ShareStatus, UnmanagedEntry};
use crate::api::{CONFIRM_REMOVALS, Name, ObjectKey, REQUESTED_AT, Share, int32, is_deleting};
use crate::cli::lease::{Leader, Pulse, age, is_stale};
use crate::cli::matrix::{Receiver, Rows, State, said};
use crate::cli::output::{count, table};
use crate::cli::signs;
use crate::cloudflare::{clean, clean_ends};
use crate::operator::{EXCLUSION_BLOCKED, Sweep, next_confirmation, sweeps};

const LONGEST: usize = 400;
/// Longest message of a condition, with its reason.
const LONGEST_CONDITION: usize = 1600;

/// Calls that are shown.
const CALLS: usize = 10;

/// `calls`: those that its ShareRecipient and ShareResource objects made.
pub fn screen(rows: &Rows, calls: &[&RecentCall], pulse: &Pulse, now: Timestamp) -> String {
    let mut text = head(rows, pulse, now);
    for (title, lines) in [
        ("Not in place", exceptions(rows, now)),
        ("Removals that wait for confirmation", blocked(rows)),
        ("Not declared by any manifest (unmanaged)", unmanaged(rows)),
        ("Changed at Cloudflare (drift)", drift(rows)),
        ("Last calls that change something at Cloudflare", lines(&recent_calls(rows.share, calls))),
        ("Declared", declared(rows)),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    text
}

/// What the screen shows of calls, for programs; `calls` as above.
pub fn calls(share: &Share, calls: &[&RecentCall], pulse: &Pulse) -> [(&'static str, Value); 2] {
    [("callsLeft", json!(calls_left(share, pulse))), ("recentCalls", json!(recent_calls(share, calls)))]
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(now.duration_since(at)))
}

fn head(rows: &Rows, pulse: &Pulse, now: Timestamp) -> String {
    let (share, status) = (rows.share, &rows.status);
    let mut lines = vec![
        ("Share", Name::of(share).to_string()),
        ("Account", account(share, status)),
        ("At Cloudflare", at_cloudflare(status)),
    ];
    lines.extend(iter::once("Ready").chain(iter::repeat("")).zip(readiness(rows, now)));
    if let Some(asked) = &share.metadata.deletion_timestamp {
        lines.push(("Deleting", format!("requested {}", ago(asked.0, now))));
    }
    lines.push(("Account listed", listed(rows, pulse, now)));
    lines.extend(calls_left(share, pulse).map(|left| {
        let calls = count(usize::try_from(left).unwrap_or(usize::MAX), "call");
        let text = "can be made immediately with this credential, as of the last renewal of the operator's Lease";
        ("Calls left", format!("{calls} {text}"))
    }));
    lines.extend(status.recipients.as_ref().map(|counts| ("Recipients", recipients(counts))));
    lines.extend(status.resources.as_ref().map(|counts| ("Resources", format!("{} active", counts.summary))));
    lines.extend(status.effective.as_ref().map(|effective| ("Policies", policies(effective))));
    table(&lines.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect::<Vec<_>>())
}

fn account(share: &Share, status: &ShareStatus) -> String {
    match &status.account_name {
        Some(name) => format!("{} ({})", share.spec.account_id, clean(name, LONGEST)),
        None => share.spec.account_id.to_string(),
    }
}

fn at_cloudflare(status: &ShareStatus) -> String {
    match &status.share_id {
        Some(id) => {
            let word = status.remote_status.as_deref().unwrap_or("unknown");
            let name = status.share_name.as_deref().map_or(String::new(), |name| format!(", \"{}\"", clean(name, 100)));
            format!("{word}, id {id}{name}")
        }
        None if status.intent.is_some() => "a create request was sent, but its result is not known yet".into(),
        None => "no share yet".into(),
    }
}

fn readiness(rows: &Rows, now: Timestamp) -> Vec<String> {
    let common = &rows.status.common;
    let mut lines = match (rows.beyond(), ready(&common.conditions)) {
        (Some(why), _) => vec![format!("Unknown: {why}"), "what follows is as cfshare left it".into()],
        (None, Some(ready)) => {
            let lasting = age(now.duration_since(ready.last_transition_time.0));
            vec![format!("{} for {lasting}", ready.status), clean_ends(&said(ready), LONGEST_CONDITION)]
        }
        (None, None) => vec!["Unknown: cfshare has not processed this Share yet".into()],
    };
    if Some(common.observed_generation) != rows.share.metadata.generation {
        lines.push("cfshare has not processed the last change of the manifest yet".into());
    }
    lines
}

fn recipients(counts: &RecipientCounts) -> String {
    let mut text = format!("{} associated", counts.summary);
    for (n, word) in [(counts.pending, "pending"), (counts.failed, "failed"), (counts.waived, "of them waived")] {
        if n > 0 {
            text.push_str(&format!(", {n} {word}"));
        }
    }
    format!("{text}; {} associated at Cloudflare", counts.in_place)
}

fn policies(effective: &EffectivePolicies) -> String {
    let EffectivePolicies { management_policy, deletion_policy, max_removals } = effective;
    let removals = count(usize::try_from(*max_removals).unwrap_or_default(), "removal");
    format!("managementPolicy {management_policy}, deletionPolicy {deletion_policy}, at most {removals} in 10 minutes")
}

fn sweep<'a>(share: &Share, pulse: &'a Pulse) -> Option<&'a Sweep> {
    let credential = share.status.as_ref()?.seen_with.as_ref()?;
    pulse.sweeps.get(&sweeps::key(&share.spec.account_id, credential))
}

/// What an operator that does not lead any more had left says nothing.
fn calls_left(share: &Share, pulse: &Pulse) -> Option<u32> {
    match pulse.leader {
        Leader::Leads(_) | Leader::Partly(_) => sweep(share, pulse)?.left,
        Leader::Nobody(_) | Leader::Unknown(_) => None,
    }
}

/// When all shares of the account were last listed; what is on its way is read more often.
fn listed(rows: &Rows, pulse: &Pulse, now: Timestamp) -> String {
    // Its account is read for other Shares, and compared with them alone.
    let Some(sweep) = sweep(rows.share, pulse).filter(|_| rows.beyond().is_none()) else {
        let written = signs::written(rows.share.meta());
        let written = written.map_or(String::new(), |at| format!("; the status was written {}", ago(at, now)));
        return format!("it is not known when{written}");
    };
    let Ok(at) = Timestamp::from_second(sweep.at) else { return "unknown".into() };
    let left = sweep.at + i64::try_from(sweep.every).unwrap_or(0) - now.as_second();
    let next = match (is_stale(sweep, now), left) {
        (true, left) if left > i64::try_from(sweep.every).unwrap_or(0) => {
            "by a clock that is ahead of this machine's: the states below may be out of date".to_owned()
        }
        (true, _) => "overdue by more than two sweeps: the states below may be out of date".to_owned(),
        (false, left) if left > 0 => {
            format!("next in about {}", age(k8s_openapi::jiff::SignedDuration::from_secs(left)))
        }
        (false, _) => "next is due".to_owned(),
    };
    format!("{}; {next}", ago(at, now))
}

fn what(entry: &ExceptionEntry) -> String {
    let ExceptionEntry { row, name, .. } = entry;
    name.as_ref().map_or(row.to_string(), |name| format!("{} ({row})", clean(name, 100)))
}

fn exceptions(rows: &Rows, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let mut retry = false;
    for entry in &rows.status.exceptions {
        let message =
            if entry.message.is_empty() { String::new() } else { format!(": {}", clean(&entry.message, LONGEST)) };
        lines.push(format!(
            "{} has been {} for {}{message}",
            what(entry),
            entry.state,
            age(now.duration_since(entry.since.0))
        ));
        lines.push(format!(
            "  -> {}",
            match (entry.terminal, entry.message.is_empty()) {
                (true, _) if entry.waiver.is_some() => {
                    "Cloudflare does not retry, and cfshare makes no other attempt while the waiver holds"
                }
                (true, _) if rows.share.spec.organization.is_some() => {
                    "Cloudflare does not retry: fix the cause there, then exclude the account in \
                     spec.organization.excluded and include it again; or leave it excluded"
                }
                (true, _) => {
                    retry = true;
                    "Cloudflare does not retry: fix the cause there, then request another attempt (below)"
                }
                (false, _) if entry.state == EXCLUSION_BLOCKED => {
                    "confirm the exclusion with the command in the message above, or take the account out of \
                     spec.organization.excluded"
                }
                (false, false) => "fix the manifest or the account at Cloudflare; cfshare retries automatically",
                (false, true) => "nothing to do: this takes up to about two minutes",
            }
        ));
        if let Some(waiver) = &entry.waiver {
            lines.push(format!("  -> {}", clean(&waiver.to_string(), LONGEST)));
        }
    }
    if rows.status.exceptions_omitted > 0 {
        lines.push(format!("and {} more", rows.status.exceptions_omitted));
    }
    if retry {
        lines.push(format!(
            "Another attempt, which removes what failed and adds it again: {}",
            ObjectKey::share(Name::of(rows.share)).annotate_now(REQUESTED_AT)
        ));
    }
    lines
}

fn blocked(rows: &Rows) -> Vec<String> {
    let found = rows.all();
    let mut lines: Vec<String> = Vec::new();
    for row in found.iter().filter(|row| row.cell.state == State::Blocked) {
        let Receiver::Account(id) = &row.receiver else { continue };
        lines.push(row.label.as_ref().map_or(id.to_string(), |label| format!("{} ({id})", clean(label, 100))));
    }
    let others = usize::try_from(rows.status.blocked_removals).unwrap_or_default().saturating_sub(lines.len());
    if others > 0 {
        let more = if lines.is_empty() { "" } else { "and " };
        lines.push(format!("{more}{} that the message above names", count(others, "removal")));
    }
    if !lines.is_empty() && !is_deleting(&rows.share.metadata) {
        let name = Name::of(rows.share);
        lines.push(format!(
            "To confirm: kubectl annotate shares.cfshare.dev {} -n {} --overwrite {CONFIRM_REMOVALS}={}",
            name.name,
            name.namespace,
            next_confirmation(rows.share)
        ));
        if others == 0 {
            lines.push("To keep them: put their entries back".into());
        }
    }
    lines
}

fn unmanaged(rows: &Rows) -> Vec<String> {
    let status = &rows.status;
    let mut lines: Vec<String> = status
        .unmanaged
        .iter()
        .map(|UnmanagedEntry { row, state }| {
            let what = if row.account_id.is_some() { "account" } else { "resource" };
            format!("{what} {row} is {state}")
        })
        .collect();
    let more = status.unmanaged_count - int32(status.unmanaged.len());
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn drift(rows: &Rows) -> Vec<String> {
    let drift = rows.status.common.drift.iter();
    drift.map(|entry| format!("{} is {} instead of {}", entry.path, entry.observed, entry.desired)).collect()
}

/// The newest last, whichever object made them.
fn recent_calls<'a>(share: &'a Share, of_children: &[&'a RecentCall]) -> Vec<&'a RecentCall> {
    let own = share.status.iter().flat_map(|status| &status.common.recent_calls);
    let mut calls: Vec<&RecentCall> = own.chain(of_children.iter().copied()).collect();
    calls.sort_by_key(|call| call.at.0);
    calls.split_off(calls.len().saturating_sub(CALLS))
}

fn lines(calls: &[&RecentCall]) -> Vec<String> {
    let line = |call: &&RecentCall| {
        let ray =
            call.ray.as_ref().map_or("no response, so no ray".to_owned(), |ray| format!("ray {}", clean(ray, 64)));
        vec![call.at.0.to_string(), clean(&call.call, LONGEST), clean(&call.result, 40), ray]
    };
    table(&calls.iter().map(line).collect::<Vec<_>>()).lines().map(str::to_owned).collect()
}

/// Who declares what, in numbers where one object declares much.
fn declared(rows: &Rows) -> Vec<String> {
    let spec = &rows.share.spec;
    let mut lines = Vec::new();
    if let Some(organization) = &spec.organization {
        lines.push(format!("organization {}, {} excluded: Share", organization.id, organization.excluded.len()));
    }
    let inline = spec.recipients.as_ref().map_or(0, Vec::len);
    lines.push(format!("{inline} recipients, {} resources: Share", spec.resources.len()));
    for child in &rows.children {
        let label = child.spec.name.as_ref().map_or(String::new(), |name| format!(" ({})", clean(name, 100)));
        let ready = child.status.as_ref().and_then(|status| ready(&status.child.common.conditions));
        let ready = ready.map_or("not processed yet".to_owned(), |ready| format!("{} {}", ready.status, ready.reason));
        lines.push(format!(
            "recipient {}{label}: ShareRecipient {}, Ready {ready}",
            child.spec.account_id,
            child.name_any()
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::reach::Reach;

    #[test]
    fn blocked_removals_are_named_and_what_nobody_reconciles_is_unknown() {
        let share = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": "waf", "namespace": "ns", "generation": 4},
            "spec": {"accountID": "acc", "recipients": [{"accountID": "a1"}]},
            "status": {"observedGeneration": 4, "shareID": "s1", "remoteStatus": "active", "seenWith": "f",
                "inventory": {"recipients": [{"accountID": "a1"}, {"accountID": "a2"}]},
                "exceptions": [{"accountID": "a1", "name": "pay", "state": "associating", "terminal": true,
                                "message": "no entitlement", "since": "2026-01-01T00:30:00Z"}],
                "recentCalls": [
                    {"at": "2026-01-01T00:00:00Z", "call": "create share waf", "result": "done", "ray": "r1"},
                    {"at": "2026-01-01T00:20:00Z", "call": "add recipient a1", "result": "unknown"}],
                "conditions": [{"type": "Ready", "status": "False", "reason": "RemovalBlocked", "message": "m",
                                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        let share: Share = serde_json::from_value(share).expect("a Share");
        let add = json!({"at": "2026-01-01T00:10:00Z", "call": "add recipient a3", "result": "done", "ray": "r2"});
        let add: RecentCall = serde_json::from_value(add).expect("a call");
        let sweep = crate::operator::Sweep { at: 1_767_229_140, every: 600, left: Some(238) };
        let mut pulse =
            Pulse { sweeps: [(sweeps::key("acc", "f"), sweep)].into(), ..Pulse::unknown("no Lease".into()) };
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let reach = Reach::default();
        let rows = |share| Rows::new(share, Vec::new(), &reach);
        let text = screen(&rows(&share), &[&add], &pulse, now);
        assert!(text.starts_with("Share           ns/waf\n"), "{text}");
        for line in [
            "\nReady           False for 60m\n",
            "\nAccount listed  60s ago; next in about 9m\n",
            "  pay (a1) has been associating for 30m: no entitlement\n",
            "Another attempt, which removes what failed and adds it again: \
             kubectl annotate --overwrite shares.cfshare.dev waf -n ns cfshare.dev/requestedAt=",
            "\nLast calls that change something at Cloudflare\n  \
             2026-01-01T00:00:00Z  create share waf  done     ray r1\n  \
             2026-01-01T00:10:00Z  add recipient a3  done     ray r2\n  \
             2026-01-01T00:20:00Z  add recipient a1  unknown  no response, so no ray\n",
            "\nRemovals that wait for confirmation\n  a2\n",
            "kubectl annotate shares.cfshare.dev waf -n ns --overwrite cfshare.dev/confirm-removals=4\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("Calls left"), "nobody knows it now: {text}");
        assert!(!text.contains("Deleting"), "{text}");
        let mut leaving = share.clone();
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:59:56Z")).expect("a time");
        let leaving = screen(&rows(&leaving), &[], &pulse, now);
        assert!(leaving.contains("\nDeleting        requested 4s ago\n"), "{leaving}");
        let mut later = share.clone();
        let status = later.status.as_mut().expect("a status");
        let confirmed = json!({"generation": 4, "number": 1, "open": false, "rows": []});
        status.confirmed_removals = Some(serde_json::from_value(confirmed).expect("a confirmation"));
        status.inventory.recipients.clear();
        status.blocked_removals = 3;
        let text_later = screen(&rows(&later), &[], &pulse, now);
        assert!(
            text_later.contains("\nRemovals that wait for confirmation\n  3 removals that the message above names\n"),
            "{text_later}"
        );
        assert!(text_later.contains("cfshare.dev/confirm-removals=4-2\n"), "{text_later}");
        let [(_, left), (_, recent)] = calls(&share, &[&add], &pulse);
        assert_eq!((&left, &recent[1]["ray"]), (&Value::Null, &json!("r2")), "{recent:#}");
        pulse.leader = Leader::Leads("one".into());
        let text = screen(&rows(&share), &[], &pulse, now);
        assert!(
            text.contains("\nCalls left      238 calls can be made immediately with this credential, as of"),
            "{text}"
        );
        assert_eq!(calls(&share, &[], &pulse)[0], ("callsLeft", json!(238)));
        let reach = crate::cli::reach::tests::only("dns");
        let text = screen(&Rows::new(&share, Vec::new(), &reach), &[], &pulse, now);
        assert!(
            text.contains("\nReady           Unknown: not reconciled by this cfshare, which watches only"),
            "{text}"
        );
        assert!(text.contains("\nAccount listed  it is not known when"), "{text}");
    }
}
