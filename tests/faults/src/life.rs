//! How is one life lived, from an empty namespace to nothing left?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cfshare_simulator::{PostedAgain, Seed, SeedResource, SeedShare, Simulator, random_id};

use crate::canary;
use crate::cast;
use crate::kube::Kube;
use crate::ledger::Ledger;
use crate::operator::{Operator, Settings};
use crate::point::{Fault, Phase, Point, Side};
use crate::proxy::{Proxy, Upstream, Victim};
use crate::script::Script;

/// What all lives have in common.
#[derive(Clone)]
pub struct Stage {
    pub kube: Kube,
    pub simulator: Arc<Simulator>,
    /// The operator's program.
    pub binary: PathBuf,
    /// For logs and kubeconfigs.
    pub folder: PathBuf,
    /// Namespaces that each operator watches besides the one of its life.
    pub others: Vec<String>,
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
        others: stage.others.clone(),
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
