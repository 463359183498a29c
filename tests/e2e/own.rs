//! An operator that belongs to one test: it can be killed, paused and started again.

use std::process::Command;
use std::time::Duration;

use cfshare_testbed::Process;

use crate::scene::{self, Scene};

/// The operator of a scene made with `World::own_scene`, with further flags.
pub fn start(scene: &Scene<'_>, flags: &[(&str, &str)]) -> Process {
    launch(scene, "operator.log", flags)
}

/// The same with a log of its own, for scenes with several operators.
pub fn launch(scene: &Scene<'_>, log: &str, flags: &[(&str, &str)]) -> Process {
    Process::start(command(scene, flags), scene.file(log)).expect("the operator starts")
}

/// Flags given twice count as given last.
fn command(scene: &Scene<'_>, flags: &[(&str, &str)]) -> Command {
    let quick = scene::operator(&scene.world.cluster, &scene.world.simulator);
    let mut command = Command::new(quick.get_program());
    for (name, value) in quick.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let words: Vec<String> = quick.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if flags.iter().any(|(flag, _)| *flag == word) {
            words.next();
            continue;
        }
        command.arg(word);
    }
    command.args(["--namespace", &scene.namespace, "--watch-label-selector", scene::OWN_LABEL]);
    for (flag, value) in flags {
        command.arg(flag);
        if !value.is_empty() {
            command.arg(value);
        }
    }
    command
}

/// Ends an operator as a node that loses power does.
pub fn crash(operator: Process) {
    operator.kill();
    operator.wait(Duration::from_secs(5));
}
