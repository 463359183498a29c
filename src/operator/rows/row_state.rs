//! How one row stands, and what messages call it.

use crate::api::status::RecipientCounts;
use crate::api::{ObjectKey, REQUESTED_AT, int32};
use crate::cloudflare::{AssociationStatus, Recipient, RecipientError, ResourceStatus, clean};
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::operator::remote::observed_share::ObservedShare;

/// The word for an account that receives a share of its organization though it is excluded.
pub const NOT_EXCLUDED: &str = "not excluded";
/// The same, because a person has to confirm the exclusion first.
pub const EXCLUSION_BLOCKED: &str = "exclusion blocked";
/// Of an account that is not excluded yet, in a share that has nothing yet that it could receive.
pub const EXCLUSION_PENDING: &str = "exclusion pending";
/// The word for a row of which Cloudflare tells no status.
const NO_STATUS: &str = "without a status";
/// Cloudflare refused the call that adds the row.
pub const REFUSED: &str = "refused";
/// It was written twice and did not stay.
pub const NOT_CONVERGING: &str = "not converging";

/// Longest text of Cloudflare in a message, so that what to do about it fits in, too.
const MAX_TEXT: usize = 300;
const MAX_ID: usize = 128;

/// How one declared row stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RowState {
    pub key: RowKey,
    pub state: State,
    /// Cloudflare's own word, or ours where it has none.
    pub word: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    InPlace,
    Pending,
    /// It failed, and Cloudflare tries again.
    Failing,
    /// It failed for good.
    Failed,
    /// Cloudflare refused the call.
    Refused,
}

/// Whether this is how an account stands that is to be excluded, and is not: a ShareRecipient may declare the same account.
pub fn is_about_exclusion(word: &str) -> bool {
    [NOT_EXCLUDED, EXCLUSION_BLOCKED, EXCLUSION_PENDING].contains(&word)
}

impl RowState {
    pub fn of(key: &RowKey, state: State, word: impl Into<String>, message: impl Into<String>) -> RowState {
        RowState { key: key.clone(), state, word: word.into(), message: message.into() }
    }

    /// Of a row that Cloudflare refused to add.
    pub fn refused(key: &RowKey, message: impl Into<String>) -> RowState {
        RowState::of(key, State::Refused, REFUSED, message)
    }

    pub fn is_in_place(&self) -> bool {
        self.state == State::InPlace
    }

    /// The message about a row that failed for good; `object`: whose it is, `more`: that there are others. The command is its
    /// end, so that it can be pasted.
    pub fn given_up(&self, name: &str, object: &ObjectKey, more: &str) -> String {
        format!(
            "{name} failed: {}{more}. Cloudflare does not retry. Fix the cause in the Cloudflare account, then run: {}",
            self.message,
            object.annotate_now(REQUESTED_AT),
        )
    }

    /// What a message says of a row that is on its way, with what is wrong with it.
    pub fn so_far(&self, name: &str) -> String {
        let detail = if self.message.is_empty() { String::new() } else { format!(": {}", self.message) };
        format!("{name} is {}{detail}", self.word)
    }
}

/// How a row stands, by what was seen of it alone.
pub fn row_state(key: &RowKey, seen: &ObservedShare, step: Option<Step>) -> RowState {
    // What was announced may come by a request that got no response.
    let may_come = if step == Some(Step::Wait) { "the request that adds it may still take effect" } else { "" };
    let absent = || RowState::of(key, State::Pending, "absent", may_come);
    match key {
        RowKey::Recipient(account) => seen.recipient(account).map_or_else(absent, |row| recipient_state(key, row)),
        RowKey::Excluded(account) => match seen.excluded(account) {
            None => RowState::of(key, State::Pending, NOT_EXCLUDED, ""),
            Some(_) => RowState::of(key, State::InPlace, "excluded", ""),
        },
        RowKey::Resource { .. } => {
            if let Some(held) = of_another_account(key, seen) {
                return held;
            }
            let Some(row) = seen.resource(key) else { return absent() };
            let word = or_no_status(row.status.to_string());
            match row.status {
                _ if step == Some(Step::Update) => {
                    RowState::of(key, State::Pending, word, "its meta differs from the manifest")
                }
                ResourceStatus::Active => RowState::of(key, State::InPlace, word, ""),
                ResourceStatus::Deleting | ResourceStatus::Deleted | ResourceStatus::Other(_) => {
                    RowState::of(key, State::Pending, word, "")
                }
            }
        }
    }
}

/// How a recipient stands that was listed.
pub fn recipient_state(key: &RowKey, row: &Recipient) -> RowState {
    let word = or_no_status(row.association_status.to_string());
    if let Some(error) = row.errors.iter().find(|e| e.terminal).or_else(|| row.errors.first()) {
        let state = if error.terminal { State::Failed } else { State::Failing };
        return RowState::of(key, state, word, reported(error));
    }
    let state = match row.association_status {
        AssociationStatus::Associated => State::InPlace,
        AssociationStatus::Associating
        | AssociationStatus::Disassociating
        | AssociationStatus::Disassociated
        | AssociationStatus::Other(_) => State::Pending,
    };
    RowState::of(key, state, word, "")
}

/// How a resource stands that the share has as one of another account: it is not added before that row is gone.
pub fn of_another_account(key: &RowKey, seen: &ObservedShare) -> Option<RowState> {
    let row = seen.under_another_account(key)?;
    let account = &row.resource_account_id;
    if row.status == ResourceStatus::Deleting {
        let message = format!("the same resource of account {account} is still being removed");
        return Some(RowState::of(key, State::Pending, "absent", message));
    }
    let last =
        if seen.live_resources() <= 1 { ", which Cloudflare allows once the share has another resource" } else { "" };
    let message = format!(
        "share {} already has {}, as one of account {account}: declare it with accountID: {account}, or remove that row at \
         Cloudflare{last}",
        seen.share.id,
        label(key, None),
    );
    Some(RowState::refused(key, message))
}

fn or_no_status(word: String) -> String {
    if word.is_empty() { NO_STATUS.to_owned() } else { word }
}

fn reported(error: &RecipientError) -> String {
    let text = if error.error.is_empty() { "Cloudflare reports an error without a text" } else { &error.error };
    let text = clean(text, MAX_TEXT);
    match error.resource_id.as_str() {
        "" => text,
        id => format!("{text} (resource {})", clean(id, MAX_ID)),
    }
}

/// How many recipients of a share are how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    associated: i32,
    disassociated: i32,
    /// On their way in or out.
    moving: i32,
}

impl Totals {
    /// As the status of a Share that is Ready says.
    pub fn recorded(counts: &RecipientCounts) -> Totals {
        Totals { associated: counts.in_place, disassociated: counts.disassociated, moving: 0 }
    }

    pub fn observed(seen: &ObservedShare) -> Totals {
        let counts = seen.counts.unwrap_or_default();
        Totals {
            associated: int32(counts.associated),
            disassociated: int32(counts.disassociated),
            moving: int32(counts.associating.saturating_add(counts.disassociating)),
        }
    }
}

/// A row's name in messages, by its label where there is one.
pub fn label(key: &RowKey, label: Option<&str>) -> String {
    let (what, id) = key.words();
    match label {
        Some(label) => format!("{what} {label} ({id})"),
        None => format!("{what} {id}"),
    }
}

/// The first of these names, and whether there are more.
pub fn first_of(mut names: impl Iterator<Item = String>, most: usize, separator: &str) -> String {
    let named: Vec<String> = names.by_ref().take(most).collect();
    let more = if names.next().is_some() { ", …" } else { "" };
    format!("{}{more}", named.join(separator))
}

/// The first of these names, and how many more there are.
pub fn first_and_more(names: &[String], most: usize) -> String {
    let named = names[..names.len().min(most)].join(", ");
    if names.len() > most { format!("{named} and {} more", names.len() - most) } else { named }
}

/// A message about the first of so many rows, and where to find the others.
pub fn with_more(message: &str, count: usize) -> String {
    match count {
        0 | 1 => message.to_owned(),
        n => format!("{message} (and {} more, see status.exceptions)", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::core::id::{AccountId, SourceId};
    use crate::core::time::At;

    #[test]
    fn a_row_on_its_way_says_what_is_wrong_even_if_cloudflare_sends_no_text() {
        let error = |text: &str, id: &str| RecipientError {
            resource_id: id.to_owned(),
            error: text.to_owned(),
            terminal: false,
        };
        let key = RowKey::Recipient(AccountId::parse("a").expect("an id"));
        let told =
            |message: String| RowState::of(&key, State::Failing, "associated", message).so_far("recipient pay (a)");
        assert_eq!(told(String::new()), "recipient pay (a) is associated");
        assert_eq!(told(reported(&error("no plan", "x"))), "recipient pay (a) is associated: no plan (resource x)");
        assert_eq!(
            told(reported(&error("", ""))),
            "recipient pay (a) is associated: Cloudflare reports an error without a text"
        );
        let endless = reported(&error(&"x".repeat(9_000), &"y".repeat(9_000)));
        assert!(endless.chars().count() < 450, "what to do about it comes after it: {endless}");
    }

    #[test]
    fn a_resource_that_the_share_has_under_another_account_is_refused_until_that_row_goes() {
        let row = |account: &str, status: &str| {
            json!({
                "id": format!("{account}-{status}"), "resource_account_id": account, "resource_id": "2F2FEA20",
                "resource_type": "gateway-policy", "status": status,
            })
        };
        let other = json!({
            "id": "o", "resource_account_id": "acc", "resource_id": "3a", "resource_type": "gateway-policy",
            "status": "active",
        });
        let told = |account: &str, rows: &[serde_json::Value]| {
            let share = json!({
                "id": "s1", "account_id": "acc", "name": "waf", "status": "active", "resources": rows,
            });
            let seen = ObservedShare::new(serde_json::from_value(share).expect("a share"), At(1_000));
            let key = RowKey::Resource {
                kind: "gateway-policy".into(),
                id: SourceId::parse("2f2fea20").expect("an id"),
                account: AccountId::parse(account).expect("an id"),
            };
            let state = row_state(&key, &seen, Some(Step::Add));
            (state.state, state.message)
        };
        let has = "share s1 already has resource gateway-policy/2f2fea20, as one of account acc: declare it with \
                   accountID: acc, or remove that row at Cloudflare";
        let alone = format!("{has}, which Cloudflare allows once the share has another resource");
        assert_eq!(told("bee", &[row("acc", "active"), other.clone()]), (State::Refused, has.to_owned()));
        assert_eq!(told("bee", &[row("acc", "deleting"), row("acc", "active"), other.clone()]).0, State::Refused);
        assert_eq!(told("bee", &[row("acc", "active")]), (State::Refused, alone));
        let leaves = "the same resource of account acc is still being removed";
        assert_eq!(told("bee", &[row("acc", "deleting"), other.clone()]), (State::Pending, leaves.to_owned()));
        assert_eq!(told("bee", &[row("acc", "deleted"), other.clone()]), (State::Pending, String::new()));
        assert_eq!(told("ACC", &[row("acc", "active"), other.clone()]).0, State::InPlace);
        assert_eq!(told("bee", &[row("acc", "active"), row("bee", "active")]).0, State::InPlace);
        assert_eq!(told("bee", &[other]), (State::Pending, String::new()));
    }

    #[test]
    fn an_absent_row_says_whether_a_request_may_still_add_it() {
        let share = json!({
            "id": "s1", "account_id": "acc", "account_name": "Security", "organization_id": "org", "name": "waf",
            "status": "active", "target_type": "account",
        });
        let mut seen = ObservedShare::new(serde_json::from_value(share).expect("a share"), At(1_000));
        seen.read_recipients(Vec::new(), At(2_000), Duration::ZERO);
        let key = RowKey::Recipient(AccountId::parse("a").expect("an id"));
        let told = |step| row_state(&key, &seen, step).so_far("recipient pay (a)");
        assert_eq!(told(Some(Step::Add)), "recipient pay (a) is absent");
        assert_eq!(
            told(Some(Step::Wait)),
            "recipient pay (a) is absent: the request that adds it may still take effect"
        );
    }
}
