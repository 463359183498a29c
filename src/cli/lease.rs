//! Whether an operator is alive, and when it last read each account: what the Lease says, or those of all shards.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt};

use super::cluster::Cluster;
use crate::core::shard;
use crate::operator::{SWEEPS, Sweep, Sweeps, WATCHES, Watches, sweeps, with_cause};

/// Where the Lease is.
#[derive(Args, Debug, Clone)]
pub struct LeaseName {
    /// Namespace of the operator's Lease
    #[arg(long, env = "CFSHARE_LEASE_NAMESPACE", default_value = "cfshare-system", value_name = "NAMESPACE")]
    pub lease_namespace: String,
    /// Name of the operator's Lease
    #[arg(long, env = "CFSHARE_LEASE_NAME", default_value = "cfshare", value_name = "NAME")]
    pub lease_name: String,
}

/// Whether somebody leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    Leads(String),
    /// Nobody does, and what to say about it.
    Nobody(String),
    /// Nobody leads some of the shards.
    Partly(Unserved),
    /// It cannot be said, and why.
    Unknown(String),
}

/// Shards that no replica has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unserved {
    /// Of how many.
    pub shards: u16,
    /// What the Lease of each says.
    pub without: BTreeMap<u16, String>,
}

impl Unserved {
    /// What to say where somebody asks for these accounts; `None`: all of them are reconciled.
    pub fn warning<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let of = |account: &&str| self.without.contains_key(&shard::of(account, self.shards));
        let accounts: BTreeSet<&str> = accounts.into_iter().filter(of).collect();
        let shards: BTreeSet<u16> = accounts.iter().map(|account| shard::of(account, self.shards)).collect();
        let (first, more) = (accounts.iter().take(NAMED), accounts.len().saturating_sub(NAMED));
        let mut named = first.copied().collect::<Vec<_>>().join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        let noun = if accounts.len() == 1 { "account" } else { "accounts" };
        let why: Vec<&str> = shards.iter().filter_map(|shard| self.without.get(shard)).map(String::as_str).collect();
        let why = why.join("; ");
        (!accounts.is_empty()).then(|| {
            format!("no cfshare replica reconciles {noun} {named}, and no change there is seen or made: {why}")
        })
    }
}

/// What the Lease says.
pub struct Pulse {
    pub leader: Leader,
    pub sweeps: Sweeps,
    /// `None`: it is not known what is watched.
    pub watches: Option<Watches>,
}

impl Pulse {
    /// Nothing is known of the operator, and why.
    pub fn unknown(why: String) -> Pulse {
        Pulse { leader: Leader::Unknown(why), sweeps: Sweeps::new(), watches: None }
    }

    /// That nobody is active, for one of these accounts at least.
    pub fn warning<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) -> Option<String> {
        match &self.leader {
            Leader::Leads(_) | Leader::Unknown(_) => None,
            Leader::Nobody(why) => Some(why.clone()),
            Leader::Partly(unserved) => unserved.warning(accounts),
        }
    }

    /// Whether a replica is known to reconcile the account.
    pub fn serves(&self, account: &str) -> bool {
        match &self.leader {
            Leader::Leads(_) => true,
            Leader::Nobody(_) | Leader::Unknown(_) => false,
            Leader::Partly(unserved) => unserved.warning([account]).is_none(),
        }
    }
}

/// So many accounts are named.
const NAMED: usize = 10;

/// The Lease is renewed every quarter of its duration, and says a sweep only then.
const RENEWAL: i64 = 60;

impl LeaseName {
    /// What the operator's Lease says, and where the accounts are divided into shards, those of the shards.
    pub async fn read(&self, cluster: &Cluster) -> Pulse {
        let api: Api<Lease> = Api::namespaced(cluster.kube.clone(), &self.lease_namespace);
        let common = match self.lease(&api, &self.lease_name).await {
            Ok(lease) => lease,
            Err(why) => return Pulse::unknown(why),
        };
        let whole = pulse(&self.full(&self.lease_name), common.as_ref(), Timestamp::now());
        let (Some(shards), Leader::Leads(_)) = (common.as_ref().and_then(shards), &whole.leader) else { return whole };
        let api = &api;
        let read = |shard| async move {
            let name = shard::lease_name(&self.lease_name, shard);
            let lease = self.lease(api, &name).await?;
            Ok(lease.map(|lease| pulse(&self.full(&name), Some(&lease), Timestamp::now())))
        };
        Pulse { watches: whole.watches, ..together(shards, futures::future::join_all((0..shards).map(read)).await) }
    }

    fn full(&self, name: &str) -> String {
        format!("{}/{name}", self.lease_namespace)
    }

    async fn lease(&self, api: &Api<Lease>, name: &str) -> Result<Option<Lease>, String> {
        api.get_opt(name).await.map_err(|error| unreadable(&self.full(name), &error))
    }
}

/// Why a Lease cannot be read, and what that means.
pub fn unreadable(name: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("you are not allowed to read Lease {name}, so it is not known whether cfshare runs")
        }
        error => {
            format!("Lease {name} cannot be read ({}), so it is not known whether cfshare runs", with_cause(error))
        }
    }
}

/// Into how many shards the accounts are divided, if they are.
pub fn shards(common: &Lease) -> Option<u16> {
    shard::shards_of_holder(common.spec.as_ref()?.holder_identity.as_deref()?)
}

/// What the Leases of all shards say together: of one without a leader first.
fn together(shards: u16, read: Vec<Result<Option<Pulse>, String>>) -> Pulse {
    let (mut holders, mut without, mut unknown) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    let mut sweeps = Sweeps::new();
    for (shard, read) in (0..shards).zip(read) {
        match read {
            Ok(Some(pulse)) => {
                sweeps.extend(pulse.sweeps);
                match pulse.leader {
                    Leader::Leads(holder) => drop(holders.insert(holder)),
                    Leader::Nobody(why) => {
                        without.insert(shard, format!("shard {shard} of {shards}: {why}"));
                    }
                    Leader::Unknown(why) => unknown.push(why),
                    Leader::Partly(_) => {}
                }
            }
            Ok(None) => {
                without.insert(shard, format!("shard {shard} of {shards}: no replica has taken it yet"));
            }
            Err(why) => unknown.push(why),
        }
    }
    let leader = match (without.is_empty(), unknown.into_iter().next()) {
        (true, None) => Leader::Leads(holders.into_iter().collect::<Vec<_>>().join(", ")),
        (true, Some(why)) => Leader::Unknown(why),
        (false, _) => Leader::Partly(Unserved { shards, without }),
    };
    Pulse { leader, sweeps, watches: None }
}

fn pulse(name: &str, lease: Option<&Lease>, now: Timestamp) -> Pulse {
    let Some(lease) = lease else {
        let why = format!(
            "there is no Lease {name}, so it is not known whether cfshare runs: specify it with --lease-namespace \
             and --lease-name, and start the operator with --leader-elect"
        );
        return Pulse::unknown(why);
    };
    let annotation = |name: &str| lease.annotations().get(name).map(String::as_str);
    let (sweeps, watches) = (sweeps::parse(annotation(SWEEPS)), Watches::parse(annotation(WATCHES)));
    Pulse { leader: leader(name, lease, now), sweeps, watches }
}

/// Whether somebody leads, as one Lease says.
pub fn leader(name: &str, lease: &Lease, now: Timestamp) -> Leader {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let lasts = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or(0)));
    let renewed = spec.renew_time.map(|time| time.0);
    match (holder, renewed) {
        (_, Some(renewed)) if renewed.duration_since(now) > lasts => Leader::Unknown(format!(
            "Lease {name} was renewed at a time that is still {} ahead, so it is not known whether cfshare runs: compare the \
             clock of this machine with that of the operator's node",
            age(renewed.duration_since(now))
        )),
        (Some(holder), Some(renewed)) if now.duration_since(renewed) <= lasts => Leader::Leads(holder),
        (Some(holder), Some(renewed)) => Leader::Nobody(format!(
            "no cfshare replica is active: {holder} last renewed Lease {name} {} ago, and nothing has been read or \
             changed since; look at the operator's pods, and if they run, at the clock of their node",
            age(now.duration_since(renewed))
        )),
        (_, Some(renewed)) => Leader::Nobody(format!(
            "no cfshare replica is active: nobody has held Lease {name} for {}; start the operator",
            age(now.duration_since(renewed))
        )),
        (_, None) => {
            Leader::Nobody(format!("no cfshare replica is active: nobody holds Lease {name}; start the operator"))
        }
    }
}

/// Whether a sweep is older than two intervals, or still to come, so that nobody knows how old it is.
pub fn is_stale(sweep: &Sweep, now: Timestamp) -> bool {
    let allowed = i64::try_from(sweep.every).unwrap_or(i64::MAX / 4).saturating_mul(2).saturating_add(RENEWAL);
    let ago = now.as_second() - sweep.at;
    ago > allowed || ago < -RENEWAL
}

/// A time span as kubectl shows it.
pub fn age(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: serde_json::Value) -> Leader {
        let lease = json!({"metadata": {"name": "l"}, "spec": spec});
        let lease: Lease = serde_json::from_value(lease).expect("a Lease");
        pulse("ns/l", Some(&lease), "2026-01-01T01:00:00Z".parse().expect("a time")).leader
    }

    #[test]
    fn a_lease_leads_only_while_it_is_renewed() {
        let held = |time: &str| of(json!({"holderIdentity": "a", "leaseDurationSeconds": 60, "renewTime": time}));
        assert_eq!(held("2026-01-01T00:59:30.000000Z"), Leader::Leads("a".into()));
        let Leader::Unknown(why) = held("2026-01-01T02:00:00.000000Z") else { panic!("it is known") };
        assert!(why.contains("still 60m ahead"), "{why}");
        let Leader::Nobody(why) = held("2026-01-01T00:10:00.000000Z") else { panic!("it leads") };
        assert!(why.contains("a last renewed Lease ns/l 50m ago"), "{why}");
        assert!(matches!(of(json!({"renewTime": "2026-01-01T00:10:00.000000Z"})), Leader::Nobody(_)));
        assert!(matches!(pulse("ns/l", None, Timestamp::now()).leader, Leader::Unknown(_)));
    }

    #[test]
    fn a_shard_without_a_leader_is_said_first() {
        let held = |holder: &str| {
            Ok(Some(Pulse {
                leader: Leader::Leads(holder.into()),
                sweeps: Sweeps::from([(holder.into(), Sweep { at: 1, every: 1, left: None })]),
                watches: None,
            }))
        };
        let free =
            || Ok(Some(Pulse { leader: Leader::Nobody("nobody holds it".into()), ..Pulse::unknown(String::new()) }));
        let all = together(3, vec![held("b"), held("a"), held("b")]);
        assert_eq!((all.leader, all.sweeps.len()), (Leader::Leads("a, b".into()), 2));
        let some = together(4, vec![held("a"), free(), Ok(None), Err("forbidden".into())]);
        // Their shards of 4, in this order: 0, 1, 2.
        let of = |shard| (0..).map(|n| format!("acc{n}")).find(|account| shard::of(account, 4) == shard).expect("one");
        let (zero, one, two) = (of(0), of(1), of(2));
        assert_eq!(some.warning([zero.as_str()]), None);
        assert!(some.serves(&zero) && !some.serves(&one));
        let why = some.warning([zero.as_str(), one.as_str()]).expect("a warning");
        let said = "and no change there is seen or made: shard 1 of 4: nobody holds it";
        assert_eq!(why, format!("no cfshare replica reconciles account {one}, {said}"));
        let why = some.warning([two.as_str(), one.as_str()]).expect("a warning");
        assert!(why.contains(&one) && why.contains(&two), "{why}");
        assert!(why.ends_with("nobody holds it; shard 2 of 4: no replica has taken it yet"), "{why}");
        assert_eq!(together(2, vec![held("a"), Err("forbidden".into())]).leader, Leader::Unknown("forbidden".into()));
    }

    #[test]
    fn a_sweep_is_stale_after_two_intervals() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let sweep = |ago| Sweep { at: now.as_second() - ago, every: 600, left: None };
        assert!(!is_stale(&sweep(1200), now) && is_stale(&sweep(1261), now));
        assert!(!is_stale(&sweep(-60), now) && is_stale(&sweep(-61), now), "by a clock that is ahead");
    }
}
