//! `cargo model`: explores all scenarios, and shows that crippled designs are found wrong.

use std::process::ExitCode;
use std::time::Instant;

use cfshare_model::deletions;
use cfshare_model::design::Design;
use cfshare_model::explore::{Outcome, explore};
use cfshare_model::guarded::{self, Guard};
use cfshare_model::life;
use cfshare_model::model::Bounds;
use cfshare_model::scenario::{Scenario, exposing};
use clap::Parser;

/// Explores what the operator decides, in all small worlds that its surroundings may make of it.
///
/// Without flags: every scenario must pass, and every crippled design must be found wrong. A bound that is given
/// replaces that of each scenario.
#[derive(Parser)]
#[command(name = "cargo model", args_override_self = true)]
struct Args {
    /// Only this scenario, and no crippled designs
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Only this crippled design
    #[arg(long, conflicts_with = "scenario")]
    design: Option<Design>,
    /// Only this scenario of a child's life
    #[arg(long, conflicts_with_all = ["scenario", "design"])]
    life: Option<life::Scenario>,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Ticks until a call that was announced cannot take effect any more; for less than one, reads lag behind
    #[arg(long)]
    settle: Option<u8>,
    /// Processes that die
    #[arg(long)]
    crashes: Option<u8>,
    /// Times that the other operator gets the lease
    #[arg(long)]
    takeovers: Option<u8>,
    /// Requests and answers that get lost, are refused, or come late
    #[arg(long)]
    losses: Option<u8>,
    /// Writes to the API server that are applied without an answer
    #[arg(long)]
    unheard: Option<u8>,
    /// Rows that are declared, or declared no longer
    #[arg(long)]
    edits: Option<u8>,
    /// Deletions of the object
    #[arg(long)]
    deletions: Option<u8>,
    /// Shares that a person makes
    #[arg(long)]
    makes: Option<u8>,
    /// Shares and rows that a person removes
    #[arg(long)]
    removals: Option<u8>,
}

impl Args {
    fn bounds(&self, scenario: Scenario) -> Bounds {
        let mut bounds = scenario.bounds();
        bounds.settle = self.settle.unwrap_or(bounds.settle);
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
    if let Some(scenario) = args.life {
        return if life(scenario) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let scenarios = match (args.scenario, args.design) {
        (Some(only), _) => vec![only],
        (None, Some(_)) => Vec::new(),
        (None, None) => Scenario::ALL.to_vec(),
    };
    let designs = match (args.scenario, args.design) {
        (Some(_), _) => Vec::new(),
        (None, Some(only)) => vec![only],
        (None, None) => Design::CRIPPLED.to_vec(),
    };
    let mut wrong = 0;
    let (mut states, mut seconds) = (0, 0.0);
    println!(
        "{:<10} {:>12} {:>10} {:>6} {:>9} {:>10}",
        "scenario", "states", "at rest", "depth", "seconds", "violations"
    );
    for scenario in scenarios {
        let outcome = explore(args.bounds(scenario), args.threads);
        println!("{:<10} {}", scenario.name(), columns(&outcome));
        states += outcome.states;
        seconds += outcome.time.as_secs_f64();
        if let Some(violation) = &outcome.violation {
            println!("\n{}\nwhich ends in\n{:#?}\n", violation.tell(), violation.end);
            wrong += 1;
        }
    }
    println!("{:<10} {states:>12} {:>10} {:>6} {seconds:>9.1} {wrong:>10}\n", "all", "", "");
    for design in designs {
        let outcome = explore(exposing(design), 1);
        let what = design.describe();
        match &outcome.violation {
            Some(violation) => println!("{what}: caught, {} states\n{}", outcome.states, violation.tell()),
            None if design == Design::Sound => println!("{what}: passes, {} states", outcome.states),
            None => {
                println!("{what}: NOT CAUGHT in {} states", outcome.states);
                wrong += 1;
            }
        }
    }
    if args.scenario.is_none() && args.design.is_none() {
        wrong += lives();
        wrong += guards();
        wrong += guard_of_deletions();
    }
    if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A child's life in one of its worlds; whether nothing is broken.
fn life(scenario: life::Scenario) -> bool {
    let began = Instant::now();
    let outcome = life::explore(scenario.bounds());
    let seconds = began.elapsed().as_secs_f64();
    println!("child, {scenario:?}: {} states, {} at rest, {seconds:.1} s", outcome.states, outcome.at_rest);
    if outcome.violation.is_some() {
        println!("{}", outcome.tell());
    }
    outcome.violation.is_none()
}

/// A child's life: as it is in each of its worlds, and crippled. Returns how many were not as expected.
fn lives() -> usize {
    let mut wrong = life::Scenario::ALL.into_iter().filter(|scenario| !life(*scenario)).count();
    for design in life::Design::CRIPPLED {
        let bounds = life::exposing(design);
        let sound = life::explore(life::Bounds { design: life::Design::Sound, ..bounds });
        if sound.violation.is_some() {
            println!("as it is, where one {}: {}", design.describe(), sound.tell());
            wrong += 1;
        }
        let outcome = life::explore(bounds);
        let (what, states) = (design.describe(), outcome.states);
        match outcome.violation {
            Some(_) => println!("{what}: caught, {states} states\n{}", outcome.tell()),
            None => {
                println!("{what}: NOT CAUGHT in {states} states");
                wrong += 1;
            }
        }
    }
    wrong
}

/// The removal guard: as it is in each of its worlds, and crippled. Returns how many were not as expected.
fn guards() -> usize {
    let mut wrong = 0;
    for bounds in guarded::SOUND {
        let outcome = guarded::explore(bounds);
        println!("removals, {:?}: {} states", bounds.limit, outcome.states);
        if outcome.way.is_some() {
            println!("more is removed than may be:\n{}", outcome.tell());
            wrong += 1;
        }
    }
    for guard in Guard::CRIPPLED {
        let outcome = guarded::explore(guarded::exposing(guard));
        match outcome.way {
            Some(_) => println!("{}: caught, {} states\n{}", guard.describe(), outcome.states, outcome.tell()),
            None => {
                println!("{}: NOT CAUGHT in {} states", guard.describe(), outcome.states);
                wrong += 1;
            }
        }
    }
    wrong
}

/// The scenario of the guard for deleted Shares, and its crippled designs. Returns how many came out wrong.
fn guard_of_deletions() -> usize {
    let mut wrong = 0;
    for design in [&[deletions::Design::Sound][..], &deletions::Design::CRIPPLED].concat() {
        let outcome = deletions::explore(design);
        let (what, states) = (design.describe(), outcome.states);
        let sound = design == deletions::Design::Sound;
        wrong += usize::from(sound == outcome.violation.is_some());
        match outcome.violation {
            Some((law, actions)) => println!("{what}: {law}, broken in {states} states by {actions:?}"),
            None if sound => println!("{what}: passes, {states} states"),
            None => println!("{what}: NOT CAUGHT in {states} states"),
        }
    }
    wrong
}

fn columns(outcome: &Outcome) -> String {
    format!(
        "{:>12} {:>10} {:>6} {:>9.1} {:>10}",
        outcome.states,
        outcome.at_rest,
        outcome.depth,
        outcome.time.as_secs_f64(),
        usize::from(outcome.violation.is_some()),
    )
}
