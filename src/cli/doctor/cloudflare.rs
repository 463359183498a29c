//! Whether Cloudflare answers each credential in use, for each account that it is used for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Doctor, Findings};
use crate::api::{DEFAULT_SECRET, Name, Share, is_deleting, own_record, secret_of};
use crate::cli::cluster::Cluster;
use crate::cli::credentials::{NO_CREDENTIAL, credential_of_environment, not_allowed};
use crate::cli::output::count;
use crate::cli::remote::{Remote, advice};
use crate::cloudflare::{Credential, ErrorClass, ResponseHead, TokenState, clean};
use crate::core::id::{AccountId, ShareId};
use crate::operator::{Clock, NoCredential, ResolvedCredential, preview};

/// A clock that is this far off confuses people who compare times, in seconds.
const MUCH: i64 = 30;
/// A token that ends within this time should be replaced.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// So many missing shares are named.
const NAMED: usize = 5;

/// A share that a Share has, by its status.
struct Recorded {
    id: ShareId,
    object: Name,
    /// The hash of the credential that last showed it.
    seen_with: Option<String>,
}

/// The accounts that a credential is used for, each with the shares in it that Shares have.
type Uses = BTreeMap<String, Vec<Recorded>>;

impl Doctor {
    /// Each Secret in use, and each account with it.
    pub(super) async fn check_cloudflare(&self, cluster: Option<&Cluster>, shares: &[Share], findings: &mut Findings) {
        let mut uses: BTreeMap<Name, Uses> = BTreeMap::new();
        for share in shares {
            match preview::owner(share) {
                Ok(owner) => {
                    let accounts = uses.entry(secret_of(share)).or_default();
                    accounts.entry(owner.to_string()).or_default().extend(recorded(share));
                }
                Err(problem) => findings.fail(format!("Share {}: {problem}", Name::of(share))),
            }
        }
        let environment = credential_of_environment();
        if let (Ok(None), false) = (&environment, self.accounts.is_empty()) {
            match cluster.and_then(|cluster| cluster.namespace.clone()) {
                Some(namespace) => {
                    let secret = Name::new(namespace, DEFAULT_SECRET);
                    let accounts = uses.entry(secret).or_default();
                    for account in &self.accounts {
                        accounts.entry(account.clone()).or_default();
                    }
                }
                None => findings.fail(format!("--account: choose a namespace with -n, or {NO_CREDENTIAL}")),
            }
        }
        let mut said = None;
        for (secret, accounts) in &uses {
            let Some(cluster) = cluster else { continue };
            match cluster.secret(secret).await {
                Ok(known) => {
                    findings.ok(format!(
                        "Secret {secret}: present and well-formed ({}; credential=\"{}\" in metrics)",
                        form(known.credential()),
                        known.fingerprint()
                    ));
                    self.check_accounts(&format!("Secret {secret}"), &known, accounts, &mut said, findings).await;
                }
                Err(NoCredential::Forbidden(_)) => findings.fail(format!(
                    "{}: ask for that permission, or check the account with a credential in the environment and --account",
                    not_allowed(secret)
                )),
                Err(problem) => findings.fail(format!("Secret {secret}: {problem}")),
            }
        }
        match environment {
            Ok(Some(known)) => {
                findings.ok(format!("environment: a credential is set ({})", form(known.credential())));
                let accounts = self.accounts.iter().map(|account| (account.clone(), Vec::new())).collect();
                self.check_accounts("the environment's credential", &known, &accounts, &mut said, findings).await;
            }
            Ok(None) => {}
            Err(problem) => findings.fail(format!("environment: {problem:#}")),
        }
        if said.is_none() {
            self.check_reach(findings).await;
        }
    }

    async fn check_accounts(
        &self,
        whose: &str,
        known: &ResolvedCredential,
        accounts: &Uses,
        said: &mut Option<()>,
        findings: &mut Findings,
    ) {
        let remote = match self.endpoint.remote(known) {
            Ok(remote) => remote,
            Err(problem) => return findings.fail(format!("Cloudflare: {problem:#}")),
        };
        let mut told = false;
        for (account, recorded) in accounts {
            let id = match AccountId::parse(account) {
                Ok(id) => id,
                Err(problem) => {
                    findings.fail(format!("account {account}: {problem}"));
                    continue;
                }
            };
            match glance(&remote, &id, said, findings).await {
                Ok(total) => {
                    if !told && let Credential::Token(_) = **known.credential() {
                        told = true;
                        remote
                            .token_state(&id)
                            .await
                            .iter()
                            .for_each(|state| check_token(whose, state, Timestamp::now(), findings));
                    }
                    let total = total.map_or(String::new(), |total| format!(", {total} live"));
                    findings.ok(format!("account {account}: {whose} can list its shares{total}"));
                    if !recorded.is_empty() {
                        let fingerprint = known.fingerprint().to_string();
                        match remote.shares(&id).await {
                            Ok(live) => {
                                let live = live.into_iter().map(|share| share.id).collect();
                                check_shown(account, whose, &fingerprint, recorded, &live, findings);
                            }
                            Err(error) => findings.fail(format!(
                                "account {account}: {whose} cannot list all its shares: {}",
                                advice(&error)
                            )),
                        }
                    }
                }
                Err(problem) => findings.fail(format!("account {account}: {whose} cannot list its shares: {problem}")),
            }
        }
    }

    /// No credential is at hand: whether anybody answers at all.
    async fn check_reach(&self, findings: &mut Findings) {
        let nobody = Credential::Token("no-credential".into());
        let known = ResolvedCredential::new(nobody);
        let (Ok(remote), Ok(account)) = (self.endpoint.remote(&known), AccountId::parse(&"0".repeat(32))) else {
            return findings.fail("Cloudflare: --cloudflare-url or --ca-bundle cannot be used");
        };
        let mut said = None;
        if let (Err(problem), None) = (glance(&remote, &account, &mut said, findings).await, said) {
            findings.fail(format!("Cloudflare: {problem}"));
        }
    }
}

/// Lists shares of the account; the first answer of all tells that Cloudflare is there, and its time.
async fn glance(
    remote: &Remote,
    account: &AccountId,
    said: &mut Option<()>,
    findings: &mut Findings,
) -> Result<Option<u64>, String> {
    let began = Clock::SYSTEM.now();
    let outcome = remote.glance(account).await;
    let head = match &outcome {
        Ok(reply) => Some(&reply.head),
        // Somebody else's page is not Cloudflare.
        Err(error) if error.class() == ErrorClass::Retry => None,
        Err(error) => error.head(),
    };
    if let (Some(head), None) = (head, &said) {
        *said = Some(());
        findings.ok("Cloudflare: reachable");
        check_clock(head, began.0, findings);
    }
    outcome.map(|reply| reply.body).map_err(|error| advice(&error))
}

/// The share that is expected to be live because of this object.
fn recorded(share: &Share) -> Option<Recorded> {
    let status = own_record(share).filter(|_| !is_deleting(&share.metadata))?;
    let seen_with = status.seen_with.as_ref().map(ToString::to_string);
    Some(Recorded { id: status.recorded_share()?, object: Name::of(share), seen_with })
}

/// Whether the credential shows the shares that Shares have in the account: one of another account lists its shares, too.
fn check_shown(
    account: &str,
    whose: &str,
    fingerprint: &str,
    recorded: &[Recorded],
    live: &BTreeSet<ShareId>,
    findings: &mut Findings,
) {
    let missing: Vec<&Recorded> = recorded.iter().filter(|recorded| !live.contains(&recorded.id)).collect();
    if missing.is_empty() {
        return;
    }
    let named = missing.iter().take(NAMED).map(|missing| format!("{} of Share {}", missing.id, missing.object));
    let mut named: Vec<String> = named.collect();
    if missing.len() > NAMED {
        named.push(format!("{} more", missing.len() - NAMED));
    }
    let named = named.join(", ");
    let (some, all) = (missing.len(), count(recorded.len(), "share"));
    let other = |missing: &&Recorded| missing.seen_with.as_deref().is_some_and(|seen_with| seen_with != fingerprint);
    let is_stranger = missing.iter().all(other);
    let deleted = "most likely they were deleted at Cloudflare";
    if some < recorded.len() {
        return findings.warn(format!(
            "account {account}: {whose} does not show {some} of the {all} that Shares have ({named}): {deleted}"
        ));
    }
    let why = if is_stranger {
        "it has never shown them, so most likely it belongs to another account: put the right one back".to_owned()
    } else if missing.iter().any(other) {
        deleted.to_owned()
    } else {
        format!("it has shown them before, so {deleted}")
    };
    findings.fail(format!("account {account}: {whose} shows none of the {all} that Shares have ({named}): {why}"));
}

/// What Cloudflare says of the token, and when it ends.
fn check_token(whose: &str, state: &TokenState, now: Timestamp, findings: &mut Findings) {
    if state.status != "active" {
        return findings.fail(format!("{whose}: Cloudflare calls the token {}", clean(&state.status, 64)));
    }
    let Some(end) = state.expires_on else {
        return findings.ok(format!("{whose}: the token has no expiry date"));
    };
    let left = end.duration_since(now);
    let line = format!("{whose}: the token expires on {end}");
    if left < SOON { findings.warn(format!("{line}: create a new one and replace it")) } else { findings.ok(line) }
}

fn check_clock(head: &ResponseHead, began: i64, findings: &mut Findings) {
    let date = head.date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
    let Some(date) = date.and_then(|date| i64::try_from(date.as_secs()).ok()) else {
        return findings.warn("clock: not compared, because the response has no date");
    };
    let ahead = began.div_euclid(1000) - date;
    if ahead.abs() < MUCH {
        findings.ok("clock: agrees with Cloudflare's");
    } else {
        let word = if ahead > 0 { "ahead of" } else { "behind" };
        findings.warn(format!("clock: {} s {word} Cloudflare's: set it with NTP", ahead.abs()));
    }
}

fn form(credential: &Credential) -> &'static str {
    match credential {
        Credential::Token(_) => "API token",
        Credential::Key { .. } => "e-mail address and global API key",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::cli::doctor::Outcome;

    #[test]
    fn a_token_that_shows_none_of_the_recorded_shares_is_most_likely_another_account_s() {
        let id = |text: &str| ShareId::parse(text).expect("an id");
        let recorded = |seen_with: &str| {
            ["5e1f", "5e2f"].map(|text| Recorded {
                id: id(text),
                object: Name::new("ns", text),
                seen_with: Some(seen_with.to_owned()),
            })
        };
        let lines = |seen_with: &str, live: &[&str]| {
            let (mut findings, live) = (Findings::default(), live.iter().map(|text| id(text)).collect());
            check_shown("acc", "it", "own", &recorded(seen_with), &live, &mut findings);
            findings.lines
        };
        assert_eq!(lines("another", &["5e1f", "5e2f", "5e3f"]), []);
        let none = "account acc: it shows none of the 2 shares that Shares have (5e1f of Share ns/5e1f, 5e2f of Share ns/5e2f)";
        let stranger = format!(
            "{none}: it has never shown them, so most likely it belongs to another account: put the right one back"
        );
        assert_eq!(lines("another", &["5e3f"]), [(Outcome::Fail, stranger)]);
        let deleted = format!("{none}: it has shown them before, so most likely they were deleted at Cloudflare");
        assert_eq!(lines("own", &[]), [(Outcome::Fail, deleted)]);
        let one = lines("own", &["5e1f"]);
        assert_eq!(one[0].0, Outcome::Warn);
        assert!(
            one[0].1.contains("it does not show 1 of the 2 shares that Shares have (5e2f of Share ns/5e2f)"),
            "{one:?}"
        );
    }

    #[test]
    fn the_end_of_a_token_is_told_in_time() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let line = |status: &str, end: Option<&str>| {
            let expires_on = end.map(|end| end.parse().expect("a time"));
            let mut findings = Findings::default();
            check_token("it", &TokenState { status: status.into(), expires_on }, now, &mut findings);
            findings.lines.remove(0)
        };
        assert_eq!(line("active", None).1, "it: the token has no expiry date");
        assert_eq!(line("active", Some("2026-02-01T00:00:00Z")).0, Outcome::Ok);
        let soon = line("active", Some("2026-01-08T00:00:00Z"));
        assert_eq!(soon.0, Outcome::Warn);
        assert_eq!(soon.1, "it: the token expires on 2026-01-08T00:00:00Z: create a new one and replace it");
        assert_eq!(line("disabled", None).0, Outcome::Fail);
    }

    #[test]
    fn a_clock_is_compared_with_the_date_of_an_answer() {
        let line = |date: Option<SystemTime>| {
            let mut findings = Findings::default();
            let head = ResponseHead { status: 200, date, ray: None, limits: Default::default() };
            check_clock(&head, 1_000_000_000, &mut findings);
            findings.lines.remove(0).1
        };
        let at = |second| Some(UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(line(at(1_000_001)), "clock: agrees with Cloudflare's");
        assert_eq!(line(at(999_900)), "clock: 100 s ahead of Cloudflare's: set it with NTP");
        assert_eq!(line(at(1_000_060)), "clock: 60 s behind Cloudflare's: set it with NTP");
        assert_eq!(line(None), "clock: not compared, because the response has no date");
    }
}
