//! The whole operator: the real process, against a real API server and the Cloudflare simulator, over HTTP.

mod adopt;
mod alerts;
mod apiserver;
mod browser;
mod budget;
mod bulk;
mod calls;
mod children;
mod claims;
mod cli;
mod client;
mod crds;
mod create;
mod credentials;
mod deletions;
mod docs;
mod doubts;
mod drift;
mod everyone;
mod exclusions;
mod expect;
mod faults;
mod follow;
mod gitops;
mod guards;
mod health;
mod hostile;
mod import;
mod incidents;
mod install;
mod interceptor;
mod leader;
mod lifecycle;
mod manifests;
mod matrix;
mod observe;
mod organization;
mod own;
mod page;
mod paging;
mod proxies;
mod quiet;
mod reader;
mod refusals;
mod removals;
mod rows;
mod runbook;
mod scale;
mod scene;
mod scopes;
mod shards;
mod switches;
mod terminal;
mod tokens;
mod traces;
mod trust;
mod unheard;
mod unread;
mod waivers;
mod words;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use cfshare_testbed::wait;
use libtest_mimic::{Arguments, Failed, Trial};

use scene::World;

/// The world is made when the first test needs it, and ends with the last.
#[derive(Clone, Default)]
struct Lazy(Arc<OnceLock<Result<World, String>>>);

impl Lazy {
    fn world(&self) -> Result<&World, Failed> {
        self.0.get_or_init(World::start).as_ref().map_err(Failed::from)
    }
}

impl std::ops::Deref for Lazy {
    type Target = cfshare_testbed::Cluster;

    fn deref(&self) -> &Self::Target {
        match self.world() {
            Ok(world) => &world.cluster,
            Err(failed) => panic!("{failed:?}"),
        }
    }
}

type Test = (&'static str, fn(&World));

fn staged(lazy: &Lazy, tests: &[Test]) -> Vec<Trial> {
    let trial = |(name, test): &Test| {
        let (lazy, test) = (lazy.clone(), *test);
        Trial::test(*name, move || {
            test(lazy.world()?);
            Ok(())
        })
    };
    tests.iter().map(trial).collect()
}

/// Puts those that start clusters of their own evenly among the first half of the others: many at once would take all of the machine,
/// and leave most of it idle later.
fn spread(own_clusters: Vec<Trial>, others: Vec<Trial>) -> Vec<Trial> {
    let every = (others.len() / 2 / own_clusters.len()).max(1);
    let (mut own_clusters, mut trials) = (own_clusters.into_iter(), Vec::new());
    for (index, trial) in others.into_iter().enumerate() {
        if index % every == 0 {
            trials.extend(own_clusters.next());
        }
        trials.push(trial);
    }
    trials.extend(own_clusters);
    trials
}

fn main() -> ExitCode {
    wait::catch_signals();
    let mut arguments = Arguments::from_args();
    if arguments.filter.is_none() && !arguments.list {
        // Building these while tests run would slow down those with a time limit.
        install::build_judges();
    }
    // Tests wait far more than they work.
    arguments.test_threads.get_or_insert(12);
    let lazy = Lazy::default();
    // The longest first, so that none of them ends alone.
    let mut trials = staged(&lazy, shards::TESTS);
    trials.extend(staged(&lazy, scopes::TESTS));
    trials.extend(staged(&lazy, install::TESTS));
    trials.extend(staged(&lazy, incidents::TESTS));
    trials.extend(staged(&lazy, matrix::TESTS));
    trials.extend(staged(&lazy, leader::TESTS));
    trials.extend(client::trials());
    trials.extend(manifests::trials(lazy.clone()));
    trials.extend(staged(&lazy, docs::TESTS));
    trials.extend(staged(&lazy, lifecycle::TESTS));
    trials.extend(staged(&lazy, cli::TESTS));
    trials.extend(staged(&lazy, calls::TESTS));
    trials.extend(staged(&lazy, terminal::TESTS));
    trials.extend(staged(&lazy, traces::TESTS));
    trials.extend(staged(&lazy, import::TESTS));
    trials.extend(staged(&lazy, everyone::TESTS));
    trials.extend(staged(&lazy, page::TESTS));
    trials.extend(staged(&lazy, children::TESTS));
    trials.extend(staged(&lazy, adopt::TESTS));
    trials.extend(staged(&lazy, observe::TESTS));
    trials.extend(staged(&lazy, organization::TESTS));
    trials.extend(staged(&lazy, exclusions::TESTS));
    trials.extend(staged(&lazy, follow::TESTS));
    trials.extend(staged(&lazy, drift::TESTS));
    trials.extend(staged(&lazy, refusals::TESTS));
    trials.extend(staged(&lazy, quiet::TESTS));
    trials.extend(staged(&lazy, credentials::TESTS));
    trials.extend(staged(&lazy, switches::TESTS));
    trials.extend(staged(&lazy, create::TESTS));
    trials.extend(staged(&lazy, faults::TESTS));
    trials.extend(staged(&lazy, gitops::TESTS));
    trials.extend(staged(&lazy, guards::TESTS));
    trials.extend(staged(&lazy, removals::TESTS));
    trials.extend(staged(&lazy, deletions::TESTS));
    trials.extend(staged(&lazy, rows::TESTS));
    trials.extend(staged(&lazy, doubts::TESTS));
    trials.extend(staged(&lazy, bulk::TESTS));
    trials.extend(staged(&lazy, runbook::TESTS));
    trials.extend(staged(&lazy, tokens::TESTS));
    trials.extend(staged(&lazy, apiserver::TESTS));
    trials.extend(staged(&lazy, crds::TESTS));
    trials.extend(staged(&lazy, hostile::TESTS));
    trials.extend(staged(&lazy, proxies::TESTS));
    trials.extend(staged(&lazy, paging::TESTS));
    trials.extend(staged(&lazy, waivers::TESTS));
    trials.extend(staged(&lazy, words::TESTS));
    trials.extend(staged(&lazy, health::TESTS));
    trials.extend(staged(&lazy, trust::TESTS));
    trials.extend(staged(&lazy, unread::TESTS));
    trials.extend(staged(&lazy, unheard::TESTS));
    trials.extend(staged(&lazy, claims::TESTS));
    let conclusion = libtest_mimic::run(&arguments, spread(install::trials(), trials));
    // What measures time, or counts what polls ask for, must not share the machine with the others. What waits for a budget
    // hardly uses it.
    arguments.test_threads = Some(3);
    let budget = libtest_mimic::run(&arguments, staged(&lazy, budget::TESTS));
    arguments.test_threads = Some(1);
    let mut alone = staged(&lazy, scale::TESTS);
    alone.extend(staged(&lazy, removals::ALONE));
    let alone = libtest_mimic::run(&arguments, alone);
    let refused =
        lazy.0.get().and_then(|world| world.as_ref().ok()).map(|world| install::suite::refused(&world.cluster));
    drop(lazy);
    if let Some(refused) = refused.filter(|refused| !refused.is_empty()) {
        eprintln!("the operator asked for what the chart does not grant:\n{}", refused.join("\n"));
        return ExitCode::FAILURE;
    }
    let failed = [&conclusion, &budget].into_iter().find(|ran| ran.has_failed());
    failed.unwrap_or(&alone).exit_code()
}
