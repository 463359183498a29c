//! An operator that belongs to one test: it can be killed, paused and started again.

use std::process::Command;
use std::time::Duration;

use cfshare_testbed::Process;

use crate::scene::{self, Scene};

/// The operator of a scene made with `World::own_scene`, with other flags than the usual; an empty value is none.
pub fn start(scene: &Scene<'_>, flags: &[(&str, &str)]) -> Process {
    launch(scene, "operator.log", flags)
}

/// The same with a log of its own, for scenes with several operators.
pub fn launch(scene: &Scene<'_>, log: &str, flags: &[(&str, &str)]) -> Process {
    Process::start(command(scene, &scene.namespace, flags), scene.file(log)).expect("the operator starts")
}

/// The same over several namespaces, separated by commas.
pub fn across(scene: &Scene<'_>, namespaces: &str, flags: &[(&str, &str)]) -> Process {
    Process::start(command(scene, namespaces, flags), scene.file("operator.log")).expect("the operator starts")
}

/// An operator of everything, as tests run it.
pub fn bare_command(scene: &Scene<'_>) -> Command {
    scene::operator(&scene.world.cluster, &scene.world.simulator)
}

/// The command of such an operator.
pub fn command(scene: &Scene<'_>, namespaces: &str, flags: &[(&str, &str)]) -> Command {
    let (bare, valued): (Vec<_>, Vec<_>) = flags.iter().copied().partition(|(_, value)| value.is_empty());
    let mut command = scene::operator_with(&scene.world.cluster, &scene.world.simulator, &valued);
    command.args(["--namespace", namespaces]);
    if flags.iter().all(|(flag, _)| *flag != "--watch-label-selector") {
        command.args(["--watch-label-selector", scene::OWN_LABEL]);
    }
    command.args(bare.iter().map(|(flag, _)| flag));
    command
}

/// Ends an operator as a node that loses power does.
pub fn crash(operator: Process) {
    operator.kill();
    operator.wait(Duration::from_secs(5));
}
