//! How does what is counted now and then become gauges?
//!
//! It is kept as it was counted and becomes text only when somebody asks: every Share has some of it, and a `Family` would
//! keep the labels of each once more. Which labels there may be is said in `metrics.rs`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::api::{Kind, Name};
use crate::cloudflare::Fingerprint;
use crate::core::id::AccountId;
use crate::core::interned::Interned;
use crate::core::time::At;

/// The last that was counted. Each part is replaced as a whole, also for a scrape meanwhile.
#[derive(Debug, Default)]
pub struct Sampled {
    pub ready: Mutex<ReadyCounts>,
    pub views: Mutex<Views>,
    pub calls_left: Mutex<Vec<CallsLeft>>,
}

/// How many objects are Ready, and which Shares are not.
#[derive(Debug, Default)]
pub struct ReadyCounts {
    /// Objects by kind, and status and reason of their Ready condition.
    pub objects: Vec<ReadyCount>,
    pub unready_shares: Vec<UnreadyShare>,
    /// Excluded accounts that receive a share, by Share.
    pub not_excluded: Vec<(Name, i64)>,
    /// Deleted Shares whose share stays at Cloudflare until a person acts, and the reason.
    pub blocked_deletions: Vec<(Name, String)>,
    /// Waivers in force that end within a week, by Share.
    pub waivers_ending: Vec<(Name, i64)>,
    /// Declared recipients by Share and state.
    pub recipients: Vec<(Name, &'static str, i64)>,
    /// Which Secret each credential is from, and which account it is used for.
    pub credentials: BTreeSet<UsedCredential>,
    /// Rows that stay until a person confirms their removal, by Share.
    pub blocked_removals: Vec<(Name, i64)>,
    /// Rows that no manifest declares, by Share.
    pub unmanaged: Vec<(Name, i64)>,
    /// For how long the oldest edit waits.
    pub oldest_edit: Duration,
}

/// How many objects of a kind have that status and reason in their Ready condition.
#[derive(Debug)]
pub struct ReadyCount {
    kind: Kind,
    status: String,
    reason: String,
    count: i64,
}

impl ReadyCounts {
    /// Counts one more object.
    pub fn add(&mut self, kind: Kind, status: &str, reason: &str) {
        let is_same =
            |so_far: &&mut ReadyCount| so_far.kind == kind && so_far.reason == reason && so_far.status == status;
        // They are few, and ten thousand objects are counted.
        match self.objects.iter_mut().find(is_same) {
            Some(so_far) => so_far.count += 1,
            None => {
                let (status, reason) = (status.to_owned(), reason.to_owned());
                self.objects.push(ReadyCount { kind, status, reason, count: 1 });
            }
        }
    }
}

/// A Share that is not Ready.
#[derive(Debug)]
pub struct UnreadyShare {
    pub share: Name,
    /// The account that owns the share.
    pub account: Interned,
    /// The Secret with the credentials.
    pub secret: Interned,
    pub reason: String,
}

/// A credential in use: its short hash, the Secret that it is from, and the account whose shares it is for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedCredential {
    pub credential: Interned,
    pub secret: Name,
    pub account: Interned,
}

/// How accounts are read.
#[derive(Debug, Default)]
pub struct Views {
    /// By credential when the account that was listed longest ago was listed, or the process began.
    pub swept: HashMap<Fingerprint, At>,
    /// How often each account is listed.
    pub intervals: Vec<(Fingerprint, AccountId, Duration)>,
    /// Accounts whose breaker is open.
    pub breakers: usize,
}

/// A credential, how many calls are left with it, and how many objects and sweeps wait for one.
pub type CallsLeft = (Fingerprint, f64, usize);

impl Collector for Sampled {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut shown = Shown(encoder);
        shown.calls_left(&self.calls_left.lock())?;
        shown.views(&self.views.lock())?;
        shown.ready(&self.ready.lock())
    }
}

/// What a scrape is shown.
struct Shown<'a>(DescriptorEncoder<'a>);

/// `namespace` would be taken for the one of the scraped Pod.
fn of_share(share: &Name) -> [(&'static str, &str); 2] {
    [("share_namespace", &share.namespace), ("share", &share.name)]
}

impl Shown<'_> {
    /// One gauge for each row; nothing at all where there is none.
    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        rows: impl Iterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        rows.try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn calls_left(&mut self, levels: &[CallsLeft]) -> fmt::Result {
        let credential = |credential: &Fingerprint| [("credential", credential.to_string())];
        self.gauges(
            "budget_tokens",
            None,
            "Calls to Cloudflare that can be made now, by credential.",
            levels.iter().map(|(by, tokens, _)| (credential(by), *tokens)),
        )?;
        self.gauges(
            "budget_waiting",
            None,
            "Objects and sweeps waiting for a call, by credential.",
            levels.iter().map(|(by, _, waiting)| (credential(by), *waiting)),
        )
    }

    fn views(&mut self, views: &Views) -> fmt::Result {
        self.gauges(
            "last_sweep_timestamp",
            Some(&Unit::Seconds),
            "Time of the last complete list of the shares of an account, by credential; its oldest account.",
            views.swept.iter().map(|(by, at)| ([("credential", by.to_string())], at.0 as f64 / 1000.0)),
        )?;
        self.gauges(
            "account_sweep_interval",
            Some(&Unit::Seconds),
            "Interval between complete lists of the account's shares: longer than configured where they would take more \
             than a tenth of the calls.",
            views.intervals.iter().map(|(by, account, interval)| {
                ([("credential", by.to_string()), ("account", account.to_string())], interval.as_secs_f64())
            }),
        )
    }

    fn ready(&mut self, counts: &ReadyCounts) -> fmt::Result {
        self.gauges(
            "objects",
            None,
            "Watched objects, by kind, and status and reason of their Ready condition.",
            counts.objects.iter().map(|of| {
                let condition = [("ready", &*of.status), ("reason", &*of.reason)];
                (([("kind", of.kind.to_string())], condition), of.count)
            }),
        )?;
        self.gauges(
            "share_unready",
            None,
            "1 for each Share that is not Ready, with the reason.",
            counts.unready_shares.iter().map(|of| {
                let more = [("reason", &*of.reason), ("account", &*of.account), ("secret", &*of.secret)];
                ((of_share(&of.share), more), 1)
            }),
        )?;
        self.gauges(
            "blocked_deletions",
            None,
            "1 for each deleted Share whose share is kept at Cloudflare until somebody acts, with the reason.",
            counts.blocked_deletions.iter().map(|(share, reason)| ((of_share(share), [("reason", &**reason)]), 1)),
        )?;
        self.by_share(
            "exclusions_not_in_force",
            "Excluded accounts that receive an organization's share all the same, by Share.",
            &counts.not_excluded,
        )?;
        self.by_share(
            "blocked_removals",
            "Recipients and resources not removed, and accounts not excluded, until somebody confirms, by Share.",
            &counts.blocked_removals,
        )?;
        self.by_share(
            "unmanaged",
            "Recipients and resources in a managed share that no manifest declares, by Share.",
            &counts.unmanaged,
        )?;
        self.by_share(
            "waivers_ending",
            "Waivers of failed recipients that end within 7 days, by Share.",
            &counts.waivers_ending,
        )?;
        self.gauges(
            "recipients",
            None,
            "Declared recipients by Share and state; a state that none is in is left out.",
            counts.recipients.iter().map(|(share, state, count)| ((of_share(share), [("state", *state)]), *count)),
        )?;
        self.gauges(
            "credential_info",
            None,
            "1 for each credential in use, with the Secret that it is from and the account that it is used for.",
            counts.credentials.iter().map(|used| {
                let labels = [
                    ("credential", &*used.credential),
                    ("secret_namespace", &*used.secret.namespace),
                    ("secret", &*used.secret.name),
                    ("account", &*used.account),
                ];
                (labels, 1)
            }),
        )
    }

    fn by_share(&mut self, name: &str, help: &str, counts: &[(Name, i64)]) -> fmt::Result {
        self.gauges(name, None, help, counts.iter().map(|(share, count)| (of_share(share), *count)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::cloudflare::Credential;

    fn some() -> Sampled {
        let credential = Credential::Token("canary".into()).fingerprint();
        let account = AccountId::parse("a1").expect("an id");
        let name = |name: &str| Name::new("security", name);
        let mut ready = ReadyCounts {
            objects: Vec::new(),
            unready_shares: vec![UnreadyShare {
                share: name("waf"),
                account: "a1".into(),
                secret: "token".into(),
                reason: "DeletionBlocked".to_owned(),
            }],
            not_excluded: vec![(name("waf"), 2)],
            blocked_deletions: vec![(name("waf"), "DeletionBlocked".to_owned())],
            waivers_ending: vec![(name("waf"), 3)],
            recipients: vec![(name("waf"), "associated", 4), (name("waf"), "failed", 5)],
            credentials: [UsedCredential { credential: "c1".into(), secret: name("token"), account: "a1".into() }]
                .into(),
            blocked_removals: vec![(name("waf"), 6), (name("dns"), 7)],
            unmanaged: vec![(name("dns"), 9)],
            oldest_edit: Duration::ZERO,
        };
        for (kind, status, reason) in [
            (Kind::Share, "True", "Associated"),
            (Kind::Share, "True", "Associated"),
            (Kind::Share, "False", "Deleting"),
        ] {
            ready.add(kind, status, reason);
        }
        let views = Views {
            swept: [(credential, At(1_700_000_000_500))].into(),
            intervals: vec![(credential, account, Duration::from_secs(600))],
            breakers: 0,
        };
        let calls_left = vec![(credential, 2.5, 8)];
        Sampled { ready: ready.into(), views: views.into(), calls_left: calls_left.into() }
    }

    #[test]
    fn what_was_counted_is_shown_until_it_is_counted_again() {
        let (mut registry, sampled) = (Registry::default(), Arc::<Sampled>::default());
        registry.sub_registry_with_prefix("cfshare").register_collector(Box::new(sampled.clone()));
        let shown = |counted: Sampled| {
            *sampled.ready.lock() = counted.ready.into_inner();
            *sampled.views.lock() = counted.views.into_inner();
            *sampled.calls_left.lock() = counted.calls_left.into_inner();
            let mut text = String::new();
            encode(&mut text, &registry).expect("text");
            text.split_inclusive('\n').filter(|line| !line.starts_with("# HELP")).collect::<String>()
        };
        assert_eq!(shown(some()), EXPECTED);
        assert_eq!(shown(Sampled::default()), "# EOF\n", "and nothing of a family without rows");
    }

    const EXPECTED: &str = r#"# TYPE cfshare_budget_tokens gauge
cfshare_budget_tokens{credential="e17f0ee6b12d054b"} 2.5
# TYPE cfshare_budget_waiting gauge
cfshare_budget_waiting{credential="e17f0ee6b12d054b"} 8
# TYPE cfshare_last_sweep_timestamp_seconds gauge
# UNIT cfshare_last_sweep_timestamp_seconds seconds
cfshare_last_sweep_timestamp_seconds{credential="e17f0ee6b12d054b"} 1700000000.5
# TYPE cfshare_account_sweep_interval_seconds gauge
# UNIT cfshare_account_sweep_interval_seconds seconds
cfshare_account_sweep_interval_seconds{credential="e17f0ee6b12d054b",account="a1"} 600.0
# TYPE cfshare_objects gauge
cfshare_objects{kind="Share",ready="True",reason="Associated"} 2
cfshare_objects{kind="Share",ready="False",reason="Deleting"} 1
# TYPE cfshare_share_unready gauge
cfshare_share_unready{share_namespace="security",share="waf",reason="DeletionBlocked",account="a1",secret="token"} 1
# TYPE cfshare_blocked_deletions gauge
cfshare_blocked_deletions{share_namespace="security",share="waf",reason="DeletionBlocked"} 1
# TYPE cfshare_exclusions_not_in_force gauge
cfshare_exclusions_not_in_force{share_namespace="security",share="waf"} 2
# TYPE cfshare_blocked_removals gauge
cfshare_blocked_removals{share_namespace="security",share="waf"} 6
cfshare_blocked_removals{share_namespace="security",share="dns"} 7
# TYPE cfshare_unmanaged gauge
cfshare_unmanaged{share_namespace="security",share="dns"} 9
# TYPE cfshare_waivers_ending gauge
cfshare_waivers_ending{share_namespace="security",share="waf"} 3
# TYPE cfshare_recipients gauge
cfshare_recipients{share_namespace="security",share="waf",state="associated"} 4
cfshare_recipients{share_namespace="security",share="waf",state="failed"} 5
# TYPE cfshare_credential_info gauge
cfshare_credential_info{credential="c1",secret_namespace="security",secret="token",account="a1"} 1
# EOF
"#;
}
