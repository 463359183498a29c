//! Whether Cloudflare answers each credential in use, for each account that it is used for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Doctor, Findings};
use crate::api::{DEFAULT_SECRET, Name, Share, secret_of};
use crate::cli::cluster::Cluster;
use crate::cli::remote::{NO_CREDENTIAL, Remote, advice, credential_of_environment};
use crate::cloudflare::{Credential, ErrorClass, ResponseHead, TokenState, clean};
use crate::core::id::AccountId;
use crate::operator::{Clock, ResolvedCredential, preview};

/// A clock that is this far off confuses people who compare times, in seconds.
const MUCH: i64 = 30;
/// A token that ends within this time should be replaced.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Doctor {
    /// Each Secret in use, and each account with it.
    pub(super) async fn check_cloudflare(&self, cluster: Option<&Cluster>, shares: &[Share], findings: &mut Findings) {
        let mut uses: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        for share in shares {
            match preview::owner(share) {
                Ok(owner) => drop(uses.entry(secret_of(share)).or_default().insert(owner.to_string())),
                Err(problem) => findings.fail(format!("Share {}: {problem}", Name::of(share))),
            }
        }
        let environment = credential_of_environment();
        if let (Ok(None), false) = (&environment, self.accounts.is_empty()) {
            match cluster.and_then(|cluster| cluster.namespace.clone()) {
                Some(namespace) => {
                    let secret = Name::new(namespace, DEFAULT_SECRET);
                    uses.entry(secret).or_default().extend(self.accounts.iter().cloned());
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
                Err(problem) => findings.fail(format!("Secret {secret}: {problem:#}")),
            }
        }
        match environment {
            Ok(Some(known)) => {
                findings.ok(format!("environment: a credential is set ({})", form(known.credential())));
                let accounts = self.accounts.iter().cloned().collect();
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
        accounts: &BTreeSet<String>,
        said: &mut Option<()>,
        findings: &mut Findings,
    ) {
        let remote = match self.endpoint.remote(known) {
            Ok(remote) => remote,
            Err(problem) => return findings.fail(format!("Cloudflare: {problem:#}")),
        };
        let mut told = false;
        for account in accounts {
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
