//! What is left of many shares when the operator is killed again and again at random moments?

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cfshare_simulator::{Entry, Life, PostedAgain, ShareState, random_id};
use serde_json::{Value, json};

use crate::cast;
use crate::kube::Kube;
use crate::life::Stage;
use crate::matrix::Dice;
use crate::operator::{Operator, Settings};

/// Longest pause between two kills, in milliseconds.
const LONGEST: u64 = 1500;
/// What Cloudflare allows. A storm of few shares does not come near: that starts alone do not overspend, the tests of the
/// budget say.
const CALLS: usize = 1200;
const WINDOW: i64 = 300_000_000;

pub struct Storm {
    pub stage: Stage,
    pub kills: usize,
    pub shares: usize,
    pub seed: u64,
}

/// What a storm left.
#[derive(Debug)]
pub struct Wreckage {
    pub seed: u64,
    pub kills: usize,
    pub calls: usize,
    /// Most calls within five minutes.
    pub busiest: usize,
    pub violations: Vec<String>,
    pub took: Duration,
    /// Every call.
    pub story: Vec<String>,
    pub log: PathBuf,
}

impl Wreckage {
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Wreckage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} kills in {} s, {} calls, at most {} within 300 s, {} violations",
            self.seed,
            self.kills,
            self.took.as_secs(),
            self.calls,
            self.busiest,
            self.violations.len()
        )?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

impl Storm {
    pub async fn run(&self) -> Wreckage {
        let started = Instant::now();
        let namespace = format!("storm-{}", &random_id()[..12]);
        let account = random_id();
        let mut wreckage = Wreckage {
            seed: self.seed,
            kills: 0,
            calls: 0,
            busiest: 0,
            violations: Vec::new(),
            took: Duration::ZERO,
            story: Vec::new(),
            log: self.stage.folder.join(format!("{namespace}.log")),
        };
        if let Err(problem) = self.rage(&namespace, &account, &mut wreckage).await {
            wreckage.violations.push(problem);
        }
        let journal = self.stage.simulator.journal(Some(&account), 0);
        wreckage.calls = journal.len();
        wreckage.busiest = busiest(&journal);
        if wreckage.busiest > CALLS {
            wreckage.violations.push(format!("{} calls within 300 s", wreckage.busiest));
        }
        wreckage.violations.extend(doubles(&self.stage.simulator.state(&account), self.shares));
        wreckage.story = journal.iter().map(told).collect();
        wreckage.took = started.elapsed();
        wreckage
    }

    async fn rage(&self, namespace: &str, account: &str, wreckage: &mut Wreckage) -> Result<(), String> {
        let Stage { kube, simulator, binary, folder, others, .. } = &self.stage;
        simulator.switches(Some(account), |switches| {
            switches.live_recipient_again = PostedAgain::SecondRow;
            switches.resource_again = PostedAgain::SecondRow;
        });
        kube.make_namespace(namespace).await?;
        kube.put_token(namespace, &format!("token-{}", random_id())).await?;
        let way = Way::open(kube).await?;
        let flags = [
            ("--sweep-interval", "10s"),
            ("--poll-min", "500ms"),
            ("--poll-max", "5s"),
            ("--settle-time", "4s"),
            ("--call-timeout", "2s"),
            ("--log-filter", "cfshare=debug,info"),
        ];
        let operator = Operator::start(Settings {
            binary: binary.clone(),
            folder: folder.clone(),
            namespace: namespace.to_owned(),
            others: others.clone(),
            kubernetes: way.url.clone(),
            cloudflare: simulator.base_url().to_owned(),
            flags: flags.map(|(flag, value)| (flag, value.to_owned())).to_vec(),
        })?;
        let operator = Arc::new(operator);
        let mut dice = Dice(self.seed);
        let third = self.kills / 3;
        for (stage, kills) in [(0, third), (1, third), (2, self.kills - 2 * third)] {
            for number in 0..self.shares {
                let path = cast::path(namespace, "Share", &name(number));
                if stage < 2 {
                    kube.apply(&path, &manifest(account, number, stage)).await?;
                } else {
                    delete(kube, &path).await?;
                }
            }
            for _ in 0..kills {
                tokio::time::sleep(Duration::from_millis(dice.below(LONGEST))).await;
                let operator = operator.clone();
                tokio::task::spawn_blocking(move || operator.replace()).await.map_err(|e| e.to_string())??;
                wreckage.kills += 1;
            }
            self.settle(namespace, account, stage).await?;
        }
        operator.kill();
        Ok(())
    }

    /// Waits until everything is as declared.
    async fn settle(&self, namespace: &str, account: &str, stage: usize) -> Result<(), String> {
        let Stage { kube, simulator, patience, .. } = &self.stage;
        let end = Instant::now() + *patience * 5;
        loop {
            let objects = kube.list(namespace, "shares").await?;
            let ready = objects.iter().all(cast::is_ready) && objects.len() == if stage < 2 { self.shares } else { 0 };
            let live: Vec<ShareState> =
                simulator.state(account).into_iter().filter(|s| s.status != Life::Deleted).collect();
            let gap = if stage < 2 {
                gap(&live, self.shares, stage)
            } else {
                (!live.is_empty()).then(|| "shares are left".to_owned())
            };
            match gap {
                None if ready => return Ok(()),
                gap if Instant::now() > end => {
                    let waiting: Vec<&Value> = objects.iter().filter(|o| !cast::is_ready(o)).take(3).collect();
                    return Err(format!("stage {stage} did not end: {gap:?}, {} objects, {waiting:?}", objects.len()));
                }
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("share-{number}")
}

/// Recipients or resources of a share: four, two of which the edit exchanges.
fn rows(number: usize, stage: usize) -> Vec<String> {
    let first = 2 * stage;
    (first..first + 4).map(|row| format!("{:032x}", 0x1000 * (number + 1) + row)).collect()
}

fn manifest(account: &str, number: usize, stage: usize) -> Value {
    let recipients: Vec<Value> = rows(number, stage).iter().map(|id| json!({"accountID": id})).collect();
    let resources: Vec<Value> =
        rows(number, stage).iter().map(|id| json!({"type": "custom-ruleset", "id": id})).collect();
    json!({
        "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
        "metadata": {"name": name(number), "labels": {crate::LABEL: "true"}},
        "spec": {"accountID": account, "recipients": recipients, "resources": resources},
    })
}

/// What is missing.
fn gap(live: &[ShareState], shares: usize, stage: usize) -> Option<String> {
    if live.len() != shares {
        return Some(format!("{} shares instead of {shares}", live.len()));
    }
    (0..shares).find_map(|number| {
        let share = live.iter().find(|share| share.name == name(number));
        let Some(share) = share else { return Some(format!("no {}", name(number))) };
        let mut recipients: Vec<String> = share.live_recipients().iter().map(|r| r.account_id.clone()).collect();
        let mut resources: Vec<String> = share.live_resources().iter().map(|r| r.resource_id.clone()).collect();
        recipients.sort();
        resources.sort();
        let wanted = rows(number, stage);
        (recipients != wanted || resources != wanted)
            .then(|| format!("{} has {recipients:?} {resources:?}", share.name))
    })
}

/// Nobody removed anything by hand: what was made twice was doubled.
fn doubles(shares: &[ShareState], wanted: usize) -> Vec<String> {
    let mut found = Vec::new();
    for number in 0..wanted {
        let made: Vec<&ShareState> = shares.iter().filter(|share| share.name == name(number)).collect();
        if made.len() != 1 {
            found.push(format!("{} was made {} times", name(number), made.len()));
        }
        for share in made {
            let recipients = share.recipients.iter().map(|r| r.account_id.as_str());
            let resources = share.resources.iter().map(|r| r.resource_id.as_str());
            for rows in [recipients.collect::<Vec<_>>(), resources.collect()] {
                let mut counts: HashMap<&str, usize> = HashMap::new();
                rows.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
                let twice = counts.into_iter().filter(|(_, count)| *count > 1);
                found.extend(twice.map(|(row, count)| format!("{}: {row} was added {count} times", share.name)));
            }
        }
    }
    found
}

fn told(entry: &Entry) -> String {
    let Entry { time, method, path, query, body, status, .. } = entry;
    format!("{time} {method} {path}?{query} {body} -> {status:?}")
}

/// Most calls in any five minutes.
fn busiest(journal: &[Entry]) -> usize {
    let times: Vec<i64> = journal.iter().map(|entry| entry.at).collect();
    (0..times.len()).map(|i| times[i..].iter().take_while(|at| **at < times[i] + WINDOW).count()).max().unwrap_or(0)
}

/// A plain way to the API server: no fault, no token to hand out.
struct Way {
    url: String,
    _proxy: crate::proxy::Proxy,
}

impl Way {
    async fn open(kube: &Kube) -> Result<Way, String> {
        let proxy = crate::proxy::Proxy::plain(crate::proxy::Upstream {
            side: crate::point::Side::Kubernetes,
            http: kube.http.clone(),
            server: kube.server.clone(),
            token: Some(kube.token.clone()),
        });
        let proxy = proxy.await.map_err(|e| e.to_string())?;
        Ok(Way { url: proxy.url.clone(), _proxy: proxy })
    }
}

/// Deletes a Share, and confirms that its share goes: all of an account at once would wait for a person.
async fn delete(kube: &Kube, path: &str) -> Result<(), String> {
    let left = kube.delete(path).await?;
    let Some(deleted) = left["metadata"]["deletionTimestamp"].as_str() else { return Ok(()) };
    let confirmed = json!({"cfshare.dev/confirm-deletion": deleted});
    let patch = json!([{"op": "add", "path": "/metadata/annotations", "value": confirmed}]);
    match kube.patch(path, &patch).await {
        Err(error) if kube.get(path).await.is_ok() => Err(error),
        _ => Ok(()),
    }
}
