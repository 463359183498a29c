//! `cargo fault-matrix`: every fault at every point of a share's life, or a chosen part, and a table of what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cfshare_faults::{Action, Choice, Kube, Matrix, Stage, Storm};
use cfshare_simulator::{Config, Simulator};
use cfshare_testbed::{Cluster, Options, build_operator, wait};
use clap::Parser;

/// Kills, losses and lies at every request of a share's life, with a real operator and a real API server
#[derive(Parser)]
struct Arguments {
    /// Only faults whose name contains this, such as 'POST shares #1 kill-after'; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only this action; may be repeated
    #[arg(long, value_name = "ACTION")]
    action: Vec<Action>,
    /// Only so many faults, chosen by the seed
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many namespaces each operator watches
    #[arg(long, default_value_t = 1, value_name = "N")]
    namespaces: usize,
    /// Lives at a time
    #[arg(long, default_value_t = 8)]
    jobs: usize,
    /// Lives without a fault that the points are learned from
    #[arg(long, default_value_t = 8)]
    learn: usize,
    /// Longest time until a phase of a life comes to rest, in seconds
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Keep the story of each life here, and the logs of those that failed
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Instead: so many kills at random moments, while 20 shares are made, edited and deleted
    #[arg(long, value_name = "N")]
    kills: Option<usize>,
    /// The operator's program; built if left out
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,
}

fn main() -> ExitCode {
    wait::catch_signals();
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("fault-matrix: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let binary = match &arguments.operator {
        Some(path) => path.clone(),
        None => build_operator().map_err(|e| e.to_string())?,
    };
    let cluster = Cluster::start(&Options::default()).map_err(|e| e.to_string())?;
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds");
    cluster.run(&["apply", "--server-side", "-f", crds], None).map_err(|e| e.to_string())?;
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", crds];
    cluster.run(&established, None).map_err(|e| e.to_string())?;
    let simulator = Arc::new(Simulator::start(Config::default()).map_err(|e| e.to_string())?);
    let folder = arguments.keep.clone().unwrap_or_else(|| cluster.folder().to_owned());
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    // The same program to the end, whatever is built meanwhile.
    let copy = cluster.folder().join("cfshare");
    std::fs::copy(&binary, &copy).map_err(|e| format!("{}: {e}", binary.display()))?;
    let others: Vec<String> = (1..arguments.namespaces).map(|number| format!("other-{number}")).collect();
    for namespace in &others {
        cluster.run(&["create", "namespace", namespace], None).map_err(|e| e.to_string())?;
    }
    let stage = Stage {
        kube: Kube::new(&cluster)?,
        simulator,
        others,
        binary: copy,
        folder: folder.clone(),
        patience: Duration::from_secs(arguments.patience),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    if let Some(kills) = arguments.kills {
        let storm = Storm { stage, kills, shares: 20, seed: arguments.seed };
        let told = runtime.block_on(storm.run());
        println!("{told}");
        if arguments.keep.is_some() {
            let _ = std::fs::write(told.log.with_extension("story"), told.story.join("\n"));
        }
        return Ok(told.passed());
    }
    let choice = Choice {
        only: arguments.only.clone(),
        actions: if arguments.action.is_empty() { Action::ALL.to_vec() } else { arguments.action.clone() },
        sample: arguments.sample,
        seed: arguments.seed,
        jobs: arguments.jobs,
        learn: arguments.learn,
    };
    let matrix = Matrix { stage, choice };
    let mut ended = 0;
    let summary = runtime.block_on(matrix.run(|run| {
        ended += 1;
        if arguments.keep.is_some() {
            let _ = std::fs::write(run.outcome.log.with_extension("story"), run.outcome.story.join("\n"));
        }
        if !run.passed() {
            println!("{}", run.report());
        } else if ended % 50 == 0 {
            println!("{ended} lives lived");
        }
    }));
    println!("{summary}");
    for run in summary.failures() {
        println!("{}", run.report());
    }
    Ok(summary.passed())
}
