//! `cargo model`: explores all scenarios, and shows that crippled designs are found wrong.

use std::process::ExitCode;

use cfshare_model::design::Design;
use cfshare_model::explore::{Outcome, explore};
use cfshare_model::model::Bounds;
use cfshare_model::scenario::Scenario;
use clap::Parser;

#[derive(Parser)]
#[command(args_override_self = true, about = "Explores what the operator decides, in all small worlds that its surroundings may make of it")]
struct Args {
    /// Only this scenario
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Only this design
    #[arg(long)]
    design: Option<Design>,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long)]
    crashes: Option<u8>,
    #[arg(long)]
    takeovers: Option<u8>,
    #[arg(long)]
    losses: Option<u8>,
    #[arg(long)]
    unheard: Option<u8>,
    #[arg(long)]
    edits: Option<u8>,
    #[arg(long)]
    deletions: Option<u8>,
    #[arg(long)]
    makes: Option<u8>,
    #[arg(long)]
    removals: Option<u8>,
}

impl Args {
    fn bounds(&self, scenario: Scenario, design: Design) -> Bounds {
        let mut bounds = scenario.bounds(design);
        let budget = &mut bounds.budget;
        for (given, bound) in [
            (self.crashes, &mut budget.crashes),
            (self.takeovers, &mut budget.takeovers),
            (self.losses, &mut budget.losses),
            (self.unheard, &mut budget.unheard),
            (self.edits, &mut budget.edits),
            (self.deletions, &mut budget.deletions),
            (self.makes, &mut budget.makes),
            (self.removals, &mut budget.removals),
        ] {
            *bound = given.unwrap_or(*bound);
        }
        bounds
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut wrong = 0;
    let scenarios: Vec<Scenario> = args.scenario.map_or(Scenario::ALL.to_vec(), |only| vec![only]);
    for scenario in scenarios {
        let design = args.design.unwrap_or(Design::Sound);
        let outcome = explore(args.bounds(scenario, design), args.threads);
        row(scenario, &outcome);
        if let Some(violation) = &outcome.violation {
            println!("{}\n{:#?}", violation.tell(), violation.end);
            wrong += 1;
        }
    }
    if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn row(scenario: Scenario, outcome: &Outcome) {
    println!(
        "{:<10} {:>10} states, depth {:>3}, {:>7} at rest, {:>6.1} s",
        scenario.name(),
        outcome.states,
        outcome.depth,
        outcome.at_rest,
        outcome.time.as_secs_f64(),
    );
}
