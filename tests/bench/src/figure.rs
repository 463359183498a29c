//! What was measured, what the goal is, and whether it is met.

use std::fmt::{self, Display};
use std::path::Path;

use serde::Serialize;

#[derive(Serialize)]
pub struct Figure {
    what: String,
    seen: f64,
    unit: &'static str,
    /// At most so much; absent where the figure is only told.
    goal: Option<f64>,
}

#[derive(Serialize)]
pub struct Figures {
    machine: String,
    figures: Vec<Figure>,
}

impl Figure {
    fn met(&self) -> Option<bool> {
        self.goal.map(|goal| self.seen <= goal)
    }
}

impl Figures {
    pub fn new() -> Figures {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH);
        Figures { machine, figures: Vec::new() }
    }

    /// Notes a figure, and prints it at once, since the next one may take minutes.
    pub fn note(&mut self, what: impl Into<String>, seen: f64, unit: &'static str, goal: Option<f64>) {
        let figure = Figure { what: what.into(), seen, unit, goal };
        eprintln!("  {}: {} {unit}", figure.what, number(seen));
        self.figures.push(figure);
    }

    pub fn all_met(&self) -> bool {
        self.figures.iter().all(|figure| figure.met() != Some(false))
    }

    pub fn write(&self, file: &Path) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        std::fs::write(file, json + "\n").map_err(|e| format!("{}: {e}", file.display()))
    }
}

fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

impl Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n{}", self.machine)?;
        let width = self.figures.iter().map(|figure| figure.what.len()).max().unwrap_or_default();
        writeln!(out, "{:width$}  {:>10}  {:>10}", "FIGURE", "SEEN", "GOAL")?;
        for figure in &self.figures {
            let goal = figure.goal.map_or_else(|| "-".to_owned(), |goal| format!("<= {}", number(goal)));
            let verdict = match figure.met() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let line = format!(
                "{:width$}  {:>10}  {:>10}  {:8} {verdict}",
                figure.what,
                number(figure.seen),
                goal,
                figure.unit
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
