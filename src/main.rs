//! The program: one command line, one exit code.

use std::io;
use std::process::ExitCode;

use cfshare::cli::{crds::Crds, explain::Explain, run::Run};
use clap::{Parser, Subcommand};

/// Keeps Cloudflare Resource Sharing in step with Kubernetes manifests
#[derive(Parser)]
#[command(name = "cfshare", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<Run>),
    Crds(Crds),
    Explain(Explain),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => operate(*run),
        Command::Crds(crds) => crds.run(&mut io::stdout().lock()).map_err(Into::into),
        Command::Explain(explain) => explain.run(&mut io::stdout().lock()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cfshare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn operate(run: Run) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run.run())
}
