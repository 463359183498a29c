//! Which faults are tried, and what came of all of them?

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::life::{Outcome, Stage, live};
use crate::point::{Action, Fault, Point, Side};

/// Sweeps come with the clock: how many a phase sees is chance, and the third is like the second.
const SWEEPS: u32 = 2;
/// A point that comes a moment too late or early in one life is tried again so often.
const TRIES: u32 = 8;

/// Which part of the matrix is run, and how.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Only faults whose name contains one of these.
    pub only: Vec<String>,
    pub actions: Vec<Action>,
    /// So many of them, chosen by the seed.
    pub sample: Option<usize>,
    pub seed: u64,
    /// Lives at a time.
    pub jobs: usize,
    /// Lives without a fault, to learn the points from.
    pub learn: usize,
}

impl Default for Choice {
    fn default() -> Choice {
        Choice { only: Vec::new(), actions: Action::ALL.to_vec(), sample: None, seed: 1, jobs: 8, learn: 8 }
    }
}

pub struct Matrix {
    pub stage: Stage,
    pub choice: Choice,
}

/// What came of one fault.
#[derive(Debug)]
pub struct Run {
    pub fault: Option<Fault>,
    pub outcome: Outcome,
    pub tries: u32,
}

impl Run {
    pub fn passed(&self) -> bool {
        self.outcome.violations.is_empty() && (self.fault.is_none() || self.outcome.fired)
    }

    /// Everything that is known about it.
    pub fn report(&self) -> String {
        let name = self.fault.as_ref().map_or("a life without a fault".to_owned(), Fault::to_string);
        let mut lines =
            vec![format!("{name}: {:.1} s, log {}", self.outcome.took.as_secs_f64(), self.outcome.log.display())];
        if self.fault.is_some() && !self.outcome.fired {
            lines.push("  it did not fire".to_owned());
        }
        lines.extend(self.outcome.violations.iter().map(|violation| format!("  {violation}")));
        lines.join("\n")
    }
}

impl Matrix {
    /// Runs it; tells each run as it ends.
    pub async fn run(&self, mut tell: impl FnMut(&Run)) -> Summary {
        let started = Instant::now();
        let mut runs = self.lives(vec![None; self.choice.learn.max(1)], &mut tell).await;
        let points = common(runs.iter().map(|run| run.outcome.points.as_slice()));
        let faults = self.choose(&points);
        if runs.iter().all(Run::passed) {
            runs.extend(self.lives(faults.into_iter().map(Some).collect(), &mut tell).await);
        }
        Summary { points, runs, took: started.elapsed() }
    }

    fn choose(&self, points: &[Point]) -> Vec<Fault> {
        let every = points.iter().flat_map(|point| {
            let actions = self.choice.actions.iter();
            actions.map(|action| Fault { point: point.clone(), action: *action })
        });
        let only = &self.choice.only;
        let mut faults: Vec<Fault> = every
            .filter(|fault| only.is_empty() || only.iter().any(|part| fault.to_string().contains(part.as_str())))
            .collect();
        if let Some(count) = self.choice.sample {
            let mut dice = Dice(self.choice.seed);
            while faults.len() > count {
                let out = dice.below(faults.len() as u64) as usize;
                faults.remove(out);
            }
        }
        faults
    }

    async fn lives(&self, faults: Vec<Option<Fault>>, tell: &mut impl FnMut(&Run)) -> Vec<Run> {
        let room = Arc::new(Semaphore::new(self.choice.jobs.max(1)));
        let mut under_way = JoinSet::new();
        for fault in faults {
            let (stage, room) = (self.stage.clone(), room.clone());
            under_way.spawn(async move {
                let _place = room.acquire_owned().await;
                let loud = fault.is_none();
                let mut tries = 0;
                loop {
                    tries += 1;
                    let outcome = live(&stage, fault.as_ref(), loud).await;
                    let missed = fault.is_some() && !outcome.fired && outcome.violations.is_empty();
                    if !missed || tries == TRIES {
                        return Run { fault, outcome, tries };
                    }
                }
            });
        }
        let mut runs = Vec::new();
        while let Some(ended) = under_way.join_next().await {
            if cfshare_testbed::wait::interrupted() {
                under_way.abort_all();
            }
            if let Ok(run) = ended {
                tell(&run);
                runs.push(run);
            }
        }
        runs.sort_by(|a, b| a.fault.cmp(&b.fault));
        runs
    }
}

/// The points that come in every life, in the order of the first.
fn common<'p>(lives: impl Iterator<Item = &'p [Point]>) -> Vec<Point> {
    let lives: Vec<&[Point]> = lives.collect();
    let mut seen: HashMap<&Point, usize> = HashMap::new();
    for point in lives.iter().copied().flatten() {
        *seen.entry(point).or_default() += 1;
    }
    let first = lives.first().copied().unwrap_or_default();
    let certain =
        |point: &&Point| seen.get(point) == Some(&lives.len()) && (point.place.role != "sweep" || point.nth <= SWEEPS);
    first.iter().filter(certain).cloned().collect()
}

/// Random numbers that are the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

pub struct Summary {
    pub points: Vec<Point>,
    pub runs: Vec<Run>,
    pub took: Duration,
}

impl Summary {
    pub fn passed(&self) -> bool {
        self.runs.iter().all(Run::passed) && self.runs.iter().any(|run| run.fault.is_some())
    }

    pub fn failures(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.passed())
    }
}

impl fmt::Display for Summary {
    /// One line for each point, a column for each action, and totals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: Vec<(&Fault, &Run)> = self.runs.iter().filter_map(|run| Some((run.fault.as_ref()?, run))).collect();
        let by_fault: BTreeMap<&Fault, &Run> = runs.iter().copied().collect();
        let width = self.points.iter().map(|point| point.to_string().len()).max().unwrap_or(0);
        write!(f, "{:width$}", "")?;
        Action::ALL.iter().try_for_each(|action| write!(f, " {:>11}", action.word()))?;
        writeln!(f)?;
        for point in &self.points {
            let cell = |action: &Action| {
                let fault = Fault { point: point.clone(), action: *action };
                by_fault.get(&fault).map_or("", |run| {
                    if run.passed() {
                        "ok"
                    } else if run.outcome.fired {
                        "WRONG"
                    } else {
                        "not fired"
                    }
                })
            };
            let cells = Action::ALL.map(|action| cell(&action));
            if cells.iter().any(|cell| !cell.is_empty()) {
                write!(f, "{:width$}", point.to_string())?;
                cells.iter().try_for_each(|cell| write!(f, " {cell:>11}"))?;
                writeln!(f)?;
            }
        }
        writeln!(f, "\n{:12} {:>7} {:>6} {:>6} {:>11} {:>8}", "", "points", "runs", "fired", "violations", "s a life")?;
        for (name, side) in
            [("Cloudflare", Some(Side::Cloudflare)), ("Kubernetes", Some(Side::Kubernetes)), ("all", None)]
        {
            let of = |point: &Point| side.is_none_or(|side| point.place.side == side);
            let part: Vec<&Run> = runs.iter().filter(|(fault, _)| of(&fault.point)).map(|(_, run)| *run).collect();
            let points = self.points.iter().filter(|point| of(point)).count();
            let fired = part.iter().filter(|run| run.outcome.fired).count();
            let violations = part.iter().filter(|run| !run.outcome.violations.is_empty()).count();
            let seconds: f64 = part.iter().map(|run| run.outcome.took.as_secs_f64()).sum();
            let mean = seconds / part.len().max(1) as f64;
            writeln!(f, "{name:12} {points:>7} {:>6} {fired:>6} {violations:>11} {mean:>8.1}", part.len())?;
        }
        let again: u32 = runs.iter().map(|(_, run)| run.tries - 1).sum();
        let learned = self.runs.len() - runs.len();
        write!(
            f,
            "{learned} lives without a fault before; {again} lives repeated because the point did not come; {} s in all",
            self.took.as_secs()
        )
    }
}
