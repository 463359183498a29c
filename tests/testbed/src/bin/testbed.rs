//! The program for a person: a control plane to play with, until Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cfshare_testbed::{Cluster, Error, Options, Programs, wait};
use clap::{Parser, Subcommand};

/// A real Kubernetes control plane on loopback, without nodes; ends with Ctrl-C and leaves nothing
#[derive(Parser)]
#[command(name = "testbed")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
    /// Also make a kubeconfig for this service account, which is created where missing
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = account)]
    service_account: Option<(String, String)>,
    /// Keep data, logs and kubeconfigs in this folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Build etcd, Kubernetes and helm now, if this machine has none
    Build,
    /// Print the folders of kubectl, helm and the others, in the form of PATH
    Bin,
}

fn main() -> ExitCode {
    wait::catch_signals();
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Action::Build | Action::Bin) => {
            Programs::find().map(|programs| println!("{}", programs.search_path().display()))
        }
        None => stay(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stay(arguments: &Arguments) -> Result<(), Error> {
    let start = Instant::now();
    let cluster = Cluster::start(&Options { folder: arguments.folder.clone(), ..Options::default() })?;
    println!("# ready after {:.1} s at {}", start.elapsed().as_secs_f32(), cluster.server());
    println!("export PATH=\"{}:$PATH\"", cluster.programs().search_path().display());
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    if let Some((namespace, name)) = &arguments.service_account {
        // Either may be there already.
        let _ = cluster.run(&["create", "namespace", namespace], None);
        let _ = cluster.run(&["create", "serviceaccount", name, "--namespace", namespace], None);
        println!("# as {namespace}/{name}:");
        println!("# export KUBECONFIG={}", cluster.kubeconfig_for(namespace, name)?.display());
    }
    println!("# logs and audit.log are in {}", cluster.folder().display());
    println!("# Ctrl-C ends it");
    let ended = wait::until(Duration::MAX, || (!cluster.running_all()).then_some(()));
    match ended {
        Some(()) => Err(Error::new("a component ended by itself")),
        None => Ok(()),
    }
}

fn account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok((namespace.into(), name.into())),
        Some(_) | None => Err("write it as namespace/name".into()),
    }
}
