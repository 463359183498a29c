//! The demonstration: the operator's whole job in a minute, against a real API server and a simulated Cloudflare.

mod others;
mod stage;
mod story;
mod terminal;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cfshare_testbed::{Error, wait};
use clap::Parser;

use stage::Stage;
use terminal::Terminal;

/// Shows what the operator does, step by step, as the commands that a person types. Needs no cluster and no network
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// Leave everything running at the end, to look around with kubectl, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    wait::catch_signals();
    let arguments = Arguments::parse();
    let terminal = Terminal::new();
    let start = Instant::now();
    let mut stage = match Stage::set(&terminal) {
        Ok(stage) => stage,
        Err(error) => return fail(&terminal, &error),
    };
    let set_up = start.elapsed();
    let told = story::tell(&mut stage).and_then(|()| others::tell(&mut stage));
    let told = told.and_then(|()| story::end(&stage));
    let code = match told {
        Ok(()) => {
            let steps = terminal.steps();
            terminal.heading(&format!("All {steps} steps came true"));
            let seconds = |time: Duration| time.as_secs_f32();
            terminal.say(&format!(
                "{:.0} s to set up, {:.0} s for the steps; {} calls to Cloudflare, {} of them changes.",
                seconds(set_up),
                seconds(start.elapsed() - set_up),
                stage.journal(0).len(),
                stage.changes(0).len(),
            ));
            ExitCode::SUCCESS
        }
        Err(_) if wait::interrupted() => return ExitCode::from(130),
        Err(error) => {
            stage.show_evidence();
            fail(&terminal, &error)
        }
    };
    if arguments.keep {
        stage.stay();
    }
    code
}

fn fail(terminal: &Terminal, error: &Error) -> ExitCode {
    if wait::interrupted() {
        return ExitCode::from(130);
    }
    terminal.complain(&error.to_string());
    ExitCode::FAILURE
}
