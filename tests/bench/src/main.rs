//! `cargo bench-scale`: what shares, recipients, objects and credentials cost, measured on the real operator, and
//! whether that is within the goals.

mod account;
mod audit;
mod bulk;
mod burst;
mod credentials;
mod figure;
mod grow;
mod objects;
mod plot;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use cfshare_testbed::wait;
use clap::{Parser, ValueEnum};

use figure::Figures;
use plot::Plot;
use world::World;

/// Measures the operator with many shares, on a real API server and the simulator, and prints a table of figures and
/// goals
#[derive(Parser)]
struct Arguments {
    /// Numbers of shares to grow to, one after the other; the restart is measured at each
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000", value_name = "N,...")]
    shares: Vec<usize>,
    /// Shares that are applied at once under Cloudflare's real limits
    #[arg(long, default_value_t = 200, value_name = "N")]
    burst: usize,
    /// Numbers of recipients that a share of one recipient gets at once; a Share lists at most 1000
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000", value_name = "N,...")]
    recipients: Vec<usize>,
    /// Numbers of shares that get eight ShareRecipient and ShareResource objects each
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000", value_name = "N,...")]
    parents: Vec<usize>,
    /// Numbers of accounts with a credential of their own
    #[arg(long, value_delimiter = ',', default_value = "1,10,100", value_name = "N,...")]
    credentials: Vec<usize>,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART,...")]
    only: Vec<Part>,
    /// Write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw calls, memory and time over the numbers of shares, recipients, objects and credentials
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The operator's program; if left out, it is built as it is released
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Growing, restarting, editing, resting
    Grow,
    /// Many shares at once under the real limits
    Burst,
    /// Many recipients of one share
    Bulk,
    /// Many objects
    Objects,
    /// Many credentials
    Credentials,
}

fn main() -> ExitCode {
    wait::catch_signals();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(figures) => {
            print!("{figures}");
            if figures.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("bench-scale: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Figures, String> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let world = World::start(arguments.operator.as_deref())?;
    let mut figures = Figures::new();
    let mut plot = Plot::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    runtime.block_on(async {
        world.established().await?;
        if wanted(Part::Grow) {
            grow::measure(&world, &arguments.shares, &mut figures, &mut plot).await?;
        }
        if wanted(Part::Bulk) {
            for &count in &arguments.recipients {
                bulk::measure(&world, count, &mut figures, &mut plot).await?;
            }
        }
        if wanted(Part::Objects) {
            for &parents in &arguments.parents {
                objects::measure(&world, parents, &mut figures, &mut plot).await?;
            }
        }
        if wanted(Part::Credentials) {
            for &count in &arguments.credentials {
                credentials::measure(&world, count, &mut figures, &mut plot).await?;
            }
        }
        if wanted(Part::Burst) {
            burst::measure(&world, arguments.burst, &mut figures).await?;
        }
        Ok::<_, String>(())
    })?;
    if let Some(file) = &arguments.json {
        figures.write(file)?;
    }
    if let Some(file) = &arguments.plot {
        plot.draw(file)?;
    }
    Ok(figures)
}
