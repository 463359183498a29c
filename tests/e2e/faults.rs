//! The most telling part of the fault matrix, and a small storm of kills; `cargo fault-matrix` has all of it.

use std::sync::Arc;
use std::time::Duration;

use cfshare_faults::{Choice, Kube, Matrix, Stage, Storm};
use cfshare_simulator::{Config, Limits, Simulator};

use crate::Test;
use crate::scene::World;

pub const TESTS: &[Test] = &[
    ("faults: the most telling points of a life survive what goes wrong there", telling),
    ("faults: a dozen kills at random moments lose and double nothing", storm),
];

/// Each names one fault, or the first of several actions at one point.
const TELLING: [&str; 19] = [
    "create PATCH share waf #1 500-after",
    "create PATCH share/status waf #2 kill-after",
    "create POST shares #1 kill-before",
    "create POST shares #1 kill-after",
    "create POST shares #1 terminate",
    "create POST shares #1 drop",
    "create POST shares #1 apply-drop",
    "create POST shares #1 late",
    "create POST shares #1 500-after",
    "create PATCH share/status waf #3 drop",
    "edit POST shares/*/recipients c #1 apply-drop",
    "edit POST shares/*/recipients c #1 late",
    "edit POST shares/*/recipients e #1 kill-after",
    "edit POST shares/*/recipients c #1 terminate",
    "edit DELETE shares/*/recipients/* a #1 late",
    "children PATCH sharerecipient d #1 kill-before",
    "children DELETE shares/*/resources/* 3 #1 apply-drop",
    "delete DELETE shares/* #1 kill-after",
    "delete PATCH share waf #1 500-after",
];

fn stage(world: &World) -> Stage {
    let config = Config { limits: Limits { requests: 0, ..Limits::default() }, ..Config::default() };
    Stage {
        kube: Kube::new(&world.cluster).expect("an API server"),
        simulator: Arc::new(Simulator::start(config).expect("a simulator")),
        binary: env!("CARGO_BIN_EXE_cfshare").into(),
        folder: world.cluster.folder().to_owned(),
        others: Vec::new(),
        patience: Duration::from_secs(120),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn telling(world: &World) {
    let only = TELLING.map(str::to_owned).to_vec();
    let matrix = Matrix { stage: stage(world), choice: Choice { only, learn: 1, ..Choice::default() } };
    let summary = runtime().block_on(matrix.run(|_| {}));
    let failures: Vec<String> =
        summary.failures().map(|run| format!("{}\n{}", run.report(), run.outcome.story.join("\n"))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let tried = summary.runs.iter().filter(|run| run.fault.is_some()).count();
    assert_eq!(tried, TELLING.len(), "some of the points do not come any more:\n{summary}");
}

fn storm(world: &World) {
    let storm = Storm { stage: stage(world), kills: 12, shares: 4, seed: 1 };
    let wreckage = runtime().block_on(storm.run());
    assert!(wreckage.passed(), "{wreckage}");
}
