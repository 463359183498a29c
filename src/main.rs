//! The program: one command line, one exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use cfshare::cli::output::{Exit, causes};
use cfshare::cli::{
    crds::Crds,
    doctor::Doctor,
    environment,
    explain::Explain,
    import::Import,
    matrix::Matrix,
    plan::Plan,
    received::Received,
    run::Run,
    shell::{self, Completion, Man},
    status::Status,
};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Keeps Cloudflare Resource Sharing in step with Kubernetes manifests
///
/// `run` is the operator. The other commands read the cluster of KUBECONFIG, Cloudflare, or both, and change nothing.
/// Installed as kubectl-cfshare, the program is the kubectl plugin `kubectl cfshare`.
#[derive(Parser)]
#[command(name = "cfshare", version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<Run>),
    Plan(Box<Plan>),
    Import(Box<Import>),
    Status(Box<Status>),
    Matrix(Box<Matrix>),
    Received(Box<Received>),
    Doctor(Box<Doctor>),
    Crds(Crds),
    Explain(Explain),
    Completion(Completion),
    Man(Man),
}

fn main() -> ExitCode {
    if let Some(words) = asked_by_kubectl() {
        let answered = shell::complete(Cli::command(), words, &mut io::stdout());
        return if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let parsed = environment::with_rules(Cli::command()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // 2 is the answer of commands that find something to do.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match carry_out(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cfshare: {}", causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<Exit> {
    let mut out = io::stdout();
    let exit = match command {
        Command::Run(run) => wait_for(run.run()).map(|()| Exit::Good),
        Command::Plan(plan) => wait_for(plan.run(&mut out)),
        Command::Import(import) => wait_for(import.run(&mut out)),
        Command::Status(status) => wait_for(status.run(&mut out)),
        Command::Matrix(matrix) => wait_for(matrix.run(&mut out)),
        Command::Received(received) => wait_for(received.run(&mut out)),
        Command::Doctor(doctor) => wait_for(doctor.run(&mut out)),
        Command::Crds(crds) => crds.run(&mut out).map(|()| Exit::Good),
        Command::Explain(explain) => explain.run(&mut out).map(|()| Exit::Good),
        Command::Completion(completion) => {
            completion.run(Cli::command(), &mut out);
            Ok(Exit::Good)
        }
        Command::Man(man) => man.run(Cli::command(), &mut out).map(|()| Exit::Good),
    }?;
    out.flush()?;
    Ok(exit)
}

fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// The words that kubectl wants to have completed, where it calls the program for that.
fn asked_by_kubectl() -> Option<Vec<OsString>> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    let is_asked = Path::new(&name).file_stem().is_some_and(|name| name == shell::KUBECTL_COMPLETE);
    is_asked.then(|| words.collect())
}

/// Whoever read the output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.into_iter().any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
