//! What the chart installs: is it valid, restricted, sufficient, and does it come and go without harm?

mod collision;
mod definitions;
mod golden;
mod kustomize;
mod life;
mod namespaces;
mod node;
mod observability;
mod olm;
mod rendered;
mod restricted;
mod rights;
mod site;
pub mod suite;
mod upgrade;
mod waiting;

use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::Test;

pub const TESTS: &[Test] = &[
    ("install: the linter finds nothing", rendered::linted),
    ("install: a strict API server takes every rendered object and every example", rendered::strictly_valid),
    ("install: a misspelt value is refused", rendered::misspelt),
    ("install: whatever a release and its values are called, the API server takes it", rendered::odd_names),
    ("install: the plain manifests and the chart's CRDs are fresh", rendered::copies),
    ("install: alerts and dashboard ask for what the operator serves", observability::served),
    ("install: the dashboard describes its panels and variables", observability::explained),
    ("install: a namespace that enforces restricted takes the pod", restricted::accepted),
    ("install: a pod that is weaker in any one setting is refused", restricted::weakened),
    ("install: objects that earlier versions stored are taken", golden::taken),
    ("install: kustomize follows the names of Shares and Secrets", kustomize::names),
    ("install: a kustomize patch that adds one recipient keeps the others", kustomize::lists),
    ("install: the CRDs are kept unless the values say otherwise", rendered::kept),
    ("install: a platform team's shared values are rendered", rendered::platform),
    ("install: two replicas prefer two nodes, unless the values say otherwise", rendered::replicas),
    ("install: each value is described, and turned on for the tests", rendered::described),
    ("install: the bundle for OLM says the same as the chart", olm::fresh),
    ("install: the bundle for OLM is valid to its own library", olm::valid),
    ("install: helm waits until a share of another chart is ready", waiting::returns_when_ready),
    ("install: helm fails with the message of a stalled share", waiting::fails_with_the_message_of_a_stalled_share),
];

/// Builds the programs in Go that judge what we ship, and fetches the modules that they and the tests read. Where that fails,
/// the tests that need them say so.
pub fn build_judges() {
    for judge in ["argocd", "olm", "promql"] {
        let mut build = Command::new("go");
        build.args(["build", "-o", "/dev/null", "."]);
        let _ = build.current_dir(format!("{}/tests/chart/{judge}", env!("CARGO_MANIFEST_DIR"))).status();
    }
    let mut fetch = Command::new("go");
    let _ = fetch.args(["mod", "download"]).args(rendered::MODULES).stdout(Stdio::null()).status();
}

/// Tests that install a release of their own, into a cluster of their own.
const ALONE: &[(&str, fn())] = &[
    ("install: with defaults, upgraded, uninstalled, installed again, removed", life::defaults),
    ("install: with every value turned on", life::every_value),
    ("install: an upgrade from 0.1.0 loses nothing and interrupts nobody", upgrade::from_0_1_0),
    ("install: a deleted CRD is refused, and without the policy spares protected Shares", definitions::deleted),
    ("install: CRDs that were lost and applied again outlive an upgrade without them", definitions::applied_again),
    ("install: the manifests work in another namespace under another name", kustomize::elsewhere),
    ("install: every command names the kind with its group", collision::named),
    ("install: every command reaches our kind where another operator has one of the same plural", collision::reach),
    ("install: a namespace is deleted though the rights in it go first", namespaces::deleted),
    ("install: the rights that are used are the rights that are granted", rights::used_are_granted),
];

pub fn trials() -> Vec<Trial> {
    let trial = |(name, test): &(&str, fn())| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    ALONE.iter().map(trial).collect()
}
