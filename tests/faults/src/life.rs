//! What happens in the life of a share, and what must be true after each of its phases?

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cfshare_simulator::{Edit, Life, Policy, PostedAgain, Seed, SeedResource, SeedShare, Simulator, random_id};
use serde_json::{Value, json};

use crate::canary;
use crate::cast::{self, SHARE, STRANGER, Wanted};
use crate::kube::Kube;
use crate::ledger::{Ledger, Name, text};
use crate::operator::{Operator, Settings};
use crate::point::{Fault, Phase, Point, Side};
use crate::proxy::{Proxy, Upstream, Victim};

/// What all lives have in common.
#[derive(Clone)]
pub struct Stage {
    pub kube: Kube,
    pub simulator: Arc<Simulator>,
    /// The operator's program.
    pub binary: PathBuf,
    /// For logs and kubeconfigs.
    pub folder: PathBuf,
    /// How long a phase may take until everything is at rest.
    pub patience: Duration,
}

/// What became of a life.
#[derive(Debug)]
pub struct Outcome {
    pub points: Vec<Point>,
    pub fired: bool,
    pub violations: Vec<String>,
    pub took: Duration,
    pub story: Vec<String>,
    pub log: PathBuf,
}

/// One life, with at most one fault in it. `loud`: the operator logs everything.
pub async fn live(stage: &Stage, fault: Option<&Fault>, loud: bool) -> Outcome {
    let started = Instant::now();
    let namespace = format!("life-{}", &random_id()[..12]);
    let account = random_id();
    let foreign = stranger_share(&stage.simulator, &account);
    let ledger = Arc::new(Ledger::new(stage.simulator.clone(), &account, &foreign, fault.cloned()));
    if let Err(problem) = run(stage, &namespace, ledger.clone(), loud).await {
        ledger.violate(problem);
    }
    let log = stage.folder.join(format!("{namespace}.log"));
    let story = ledger.story();
    let mut book = ledger.book();
    let outcome = Outcome {
        points: std::mem::take(&mut book.points),
        fired: book.fired,
        violations: std::mem::take(&mut book.violations),
        took: started.elapsed(),
        story,
        log: log.clone(),
    };
    if outcome.violations.is_empty() {
        let _ = std::fs::remove_file(&log);
        let _ = std::fs::remove_file(log.with_extension("kubeconfig"));
    }
    outcome
}

/// A share that was there before, with the same recipients and resources, and is nobody's here.
fn stranger_share(simulator: &Simulator, account: &str) -> String {
    // What is posted twice shows as two rows.
    simulator.switches(Some(account), |switches| {
        switches.live_recipient_again = PostedAgain::SecondRow;
        switches.resource_again = PostedAgain::SecondRow;
    });
    let resource =
        SeedResource { resource_type: "custom-ruleset".to_owned(), id: cast::id("1"), account: None, meta: None };
    let share = SeedShare {
        name: "foreign".to_owned(),
        recipients: vec![cast::id("a"), cast::id("b")],
        resources: vec![resource],
        organization: false,
    };
    let seed = Seed {
        account: account.to_owned(),
        shares: 0,
        recipients: 0,
        resources: 0,
        prefix: String::new(),
        list: vec![share],
    };
    let made = simulator.seed(seed).unwrap_or_default();
    made.into_iter().next().map(|seeded| seeded.id).unwrap_or_default()
}

/// How the operator runs in a life: quick, so that waits for the settle time are short.
const FLAGS: [(&str, &str); 8] = [
    ("--sweep-interval", "1s"),
    ("--poll-min", "100ms"),
    ("--poll-max", "500ms"),
    ("--settle-time", "2s"),
    ("--call-timeout", "1s"),
    ("--api-rate", "100"),
    ("--api-burst", "1000"),
    ("--log-format", "text"),
];

async fn run(stage: &Stage, namespace: &str, ledger: Arc<Ledger>, loud: bool) -> Result<(), String> {
    let tokens = [canary::token(), canary::token()];
    stage.kube.make_namespace(namespace).await?;
    stage.kube.put_token(namespace, &tokens[0]).await?;
    let victim = Victim::default();
    let proxy = |side: Side| {
        let (server, token) = match side {
            Side::Kubernetes => (stage.kube.server.clone(), Some(stage.kube.token.clone())),
            Side::Cloudflare => (stage.simulator.base_url().trim_end_matches("/client/v4").to_owned(), None),
        };
        let upstream = Upstream { side, http: stage.kube.http.clone(), server, token };
        Proxy::start(upstream, ledger.clone(), victim.clone())
    };
    let kubernetes = proxy(Side::Kubernetes).await.map_err(|e| e.to_string())?;
    let cloudflare = proxy(Side::Cloudflare).await.map_err(|e| e.to_string())?;
    let mut flags: Vec<(&str, String)> = FLAGS.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect();
    let filter = if loud { "trace" } else { "cfshare=debug,info" };
    flags.push(("--log-filter", filter.to_owned()));
    let operator = Operator::start(Settings {
        binary: stage.binary.clone(),
        folder: stage.folder.clone(),
        namespace: namespace.to_owned(),
        kubernetes: kubernetes.url.clone(),
        cloudflare: format!("{}/client/v4", cloudflare.url),
        flags,
    })?;
    let operator = Arc::new(operator);
    let _ = victim.set(operator.clone());
    let before = serde_json::to_string(&stage.simulator.share(&ledger.foreign)).map_err(|e| e.to_string())?;
    let script = Script { stage, namespace, ledger: &ledger, tokens: &tokens };
    let mut lived = Ok(());
    for phase in Phase::ALL {
        ledger.begin(phase);
        lived = script.play(phase).await;
        if lived.is_err() {
            break;
        }
    }
    let metrics = metrics(&stage.kube.http, &operator).await;
    if !operator.running() {
        ledger.violate("the operator ended by itself");
    }
    operator.kill();
    let after = serde_json::to_string(&stage.simulator.share(&ledger.foreign)).map_err(|e| e.to_string())?;
    if before != after {
        ledger.violate(format!("the foreign share was {before} and is {after}"));
    }
    let written = ledger.book().written.join("\n");
    for token in &tokens {
        for (place, text) in [("log", &operator.log()), ("Kubernetes", &written), ("metrics", &metrics)] {
            if let Some(form) = canary::found(token, text) {
                ledger.violate(format!("the token is in the {place}, {form}"));
            }
        }
    }
    lived
}

async fn metrics(http: &reqwest::Client, operator: &Operator) -> String {
    let Some(admin) = operator.admin() else { return String::new() };
    match http.get(format!("http://{admin}/metrics")).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

struct Script<'a> {
    stage: &'a Stage,
    namespace: &'a str,
    ledger: &'a Ledger,
    tokens: &'a [String; 2],
}

/// What is to be when a phase is over.
struct Goal {
    /// Rows of the whole share; none: there is no share.
    share: Option<Wanted>,
    objects: BTreeSet<Name>,
}

impl Goal {
    fn new(share: Wanted, objects: &[(&str, &str)]) -> Goal {
        let objects = objects.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect();
        Goal { share: Some(share), objects }
    }
}

impl Script<'_> {
    async fn play(&self, phase: Phase) -> Result<(), String> {
        let old = json!({"mode": "log"});
        let new = json!({"mode": "block", "list": [1, 2]});
        let goal = match phase {
            Phase::Create => {
                self.share("waf", &["a", "b"], &[("1", &old)], json!({})).await?;
                self.apply(&cast::recipient("d")).await?;
                self.apply(&cast::resource("3", &old)).await?;
                let share = Wanted::new("waf", &["a", "b", "d"], &[("1", old.clone()), ("3", old)]);
                Goal::new(share, &[("Share", SHARE), ("ShareRecipient", "d"), ("ShareResource", "3")])
            }
            Phase::Edit => {
                self.add_stranger()?;
                self.share("renamed", &["b", "c"], &[("1", &new), ("2", &old)], json!({})).await?;
                self.apply(&cast::recipient("e")).await?;
                self.apply(&cast::resource("3", &new)).await?;
                let resources = [("1", new.clone()), ("2", old), ("3", new)];
                let share = Wanted::new("renamed", &["b", "c", "d", "e", STRANGER], &resources);
                let objects =
                    [("Share", SHARE), ("ShareRecipient", "d"), ("ShareRecipient", "e"), ("ShareResource", "3")];
                Goal::new(share, &objects)
            }
            Phase::Children => {
                self.delete("ShareRecipient", "d").await?;
                self.delete("ShareResource", "3").await?;
                self.share("renamed", &["b", "c"], &[("1", &new)], json!({})).await?;
                let share = Wanted::new("renamed", &["b", "c", "e", STRANGER], &[("1", new)]);
                Goal::new(share, &[("Share", SHARE), ("ShareRecipient", "e")])
            }
            Phase::Rotate => {
                self.stage.kube.put_token(self.namespace, &self.tokens[1]).await?;
                self.stage.simulator.token(&self.tokens[0], Policy { revoked: true, ..Policy::default() });
                let asked = json!({"cfshare.dev/requestedAt": "now"});
                self.share("again", &["b", "c"], &[("1", &new)], asked).await?;
                let share = Wanted::new("again", &["b", "c", "e", STRANGER], &[("1", new)]);
                Goal::new(share, &[("Share", SHARE), ("ShareRecipient", "e")])
            }
            Phase::Delete => {
                self.delete("Share", SHARE).await?;
                self.delete("ShareRecipient", "e").await?;
                Goal { share: None, objects: BTreeSet::new() }
            }
        };
        self.rest(phase, &goal).await
    }

    async fn share(
        &self,
        name: &str,
        recipients: &[&str],
        resources: &[(&str, &Value)],
        notes: Value,
    ) -> Result<(), String> {
        let resources: Vec<(&str, Value)> = resources.iter().map(|(r, meta)| (*r, (*meta).clone())).collect();
        let wanted = Wanted::new(name, recipients, &resources);
        self.ledger.declare(wanted.clone());
        self.apply(&wanted.manifest(&self.ledger.account, notes)).await
    }

    async fn apply(&self, object: &Value) -> Result<(), String> {
        let path = cast::path(self.namespace, text(&object["kind"]), text(&object["metadata"]["name"]));
        let applied = self.stage.kube.apply(&path, object).await?;
        self.ledger.edited(&applied);
        Ok(())
    }

    async fn delete(&self, kind: &str, name: &str) -> Result<(), String> {
        self.ledger.doom(kind, name);
        let left = self.stage.kube.delete(&cast::path(self.namespace, kind, name)).await?;
        if left["kind"] == "Status" {
            self.ledger.went(kind, name);
        } else {
            self.ledger.edited(&left);
        }
        Ok(())
    }

    /// Somebody else adds a recipient to our share: it must stay.
    fn add_stranger(&self) -> Result<(), String> {
        let share = self.ledger.shares().into_iter().find(|share| share.live()).ok_or("there is no share")?;
        let edit = Edit::AddRecipient { share: share.id, account: cast::id(STRANGER) };
        self.stage.simulator.edit(edit).map(drop)
    }

    /// Waits until the goal is reached and a whole sweep later nothing more was written.
    async fn rest(&self, phase: Phase, goal: &Goal) -> Result<(), String> {
        let end = Instant::now() + self.stage.patience;
        let mut last = String::new();
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let reached = self.ledger.until(left, |ledger| match distance(ledger, goal) {
                None => Some(ledger.book().changes),
                Some(gap) => {
                    last = gap;
                    None
                }
            });
            let Some(changes) = reached.await else { break };
            let mark = Instant::now();
            // Without objects nobody sweeps: what would still be written comes at once.
            let calm = if goal.share.is_none() { Duration::from_millis(600) } else { Duration::from_millis(250) };
            let swept = |ledger: &Ledger| ledger.book().swept.filter(|at| *at >= mark || goal.share.is_none());
            self.ledger.until(Duration::from_secs(5), swept).await;
            tokio::time::sleep(calm).await;
            if self.ledger.book().changes == changes && distance(self.ledger, goal).is_none() {
                return self.verify(goal).await.map_err(|gap| format!("{phase:?}: {gap}"));
            }
            last = "something is still written".to_owned();
        }
        Err(format!("{phase:?} did not come to rest within {:?}: {last}", self.stage.patience))
    }

    /// The API server says the same as the answers that passed by.
    async fn verify(&self, goal: &Goal) -> Result<(), String> {
        let mut there = BTreeSet::new();
        for kind in ["Share", "ShareRecipient", "ShareResource"] {
            for object in self.stage.kube.list(self.namespace, &cast::plural(kind)).await? {
                let name = text(&object["metadata"]["name"]).to_owned();
                if !cast::is_ready(&object) {
                    return Err(format!("{kind} {name} is not ready: {}", object["status"]));
                }
                there.insert((kind.to_owned(), name));
            }
        }
        if there == goal.objects { Ok(()) } else { Err(format!("objects {there:?} instead of {:?}", goal.objects)) }
    }
}

/// What is missing to the goal.
fn distance(ledger: &Ledger, goal: &Goal) -> Option<String> {
    if !ledger.simulator.quiet(&ledger.account) {
        return Some("Cloudflare is at work".to_owned());
    }
    let live: Vec<_> = ledger.shares().into_iter().filter(|share| share.status != Life::Deleted).collect();
    match (&goal.share, live.as_slice()) {
        (None, []) => {}
        (Some(wanted), [share]) => {
            if let Err(gap) = wanted.stands(share) {
                return Some(gap);
            }
            let rows = cast::live_rows(share);
            let expected: (Vec<String>, Vec<String>) =
                (wanted.recipients.iter().cloned().collect(), wanted.resources.keys().cloned().collect());
            if rows != expected {
                return Some(format!("rows {rows:?} instead of {expected:?}"));
            }
        }
        (_, live) => return Some(format!("{} shares", live.len())),
    }
    let book = ledger.book();
    if book.objects.keys().ne(goal.objects.iter()) {
        return Some(format!("objects {:?}", book.objects.keys().collect::<Vec<_>>()));
    }
    let unready = book.objects.iter().find(|(_, object)| !cast::is_ready(object));
    unready.map(|((kind, name), object)| format!("{kind} {name} is not ready: {}", object["status"]["conditions"]))
}
