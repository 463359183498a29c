//! How the environment is read: an empty variable is absent, and a boolean may be written as people write it.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

/// Where Kubernetes puts the namespace of a pod.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where the operator is installed unless somebody chooses another namespace.
const USUAL_NAMESPACE: &str = "cfshare-system";

/// The same command line, with the rules of this file for all of its variables, those of its subcommands included.
pub fn with_rules(command: Command) -> Command {
    with_rules_for(command, &|name| std::env::var_os(name))
}

fn with_rules_for(command: Command, variable: &dyn Fn(&str) -> Option<OsString>) -> Command {
    command.mut_args(|arg| ruled(arg, variable)).mut_subcommands(|command| with_rules_for(command, variable))
}

fn ruled(arg: Arg, variable: &dyn Fn(&str) -> Option<OsString>) -> Arg {
    let Some(name) = arg.get_env().and_then(|name| name.to_str()).map(str::to_owned) else { return arg };
    let arg = match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse => arg.value_parser(boolean),
        _ => arg,
    };
    let is_empty = |value: OsString| value.to_str().is_some_and(|value| value.trim().is_empty());
    if variable(&name).is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// A variable's value; an empty one is absent.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().and_then(|value| present(&value))
}

/// What a flag or a variable says, if it says anything.
pub fn present(value: &str) -> Option<String> {
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The namespace that the process runs in, or else the usual one of the operator.
pub fn own_namespace() -> String {
    namespace_of(variable("POD_NAMESPACE"), Path::new(NAMESPACE_FILE))
}

fn namespace_of(variable: Option<String>, file: &Path) -> String {
    let mounted = || std::fs::read_to_string(file).ok().and_then(|text| present(&text));
    variable.or_else(mounted).unwrap_or_else(|| USUAL_NAMESPACE.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Args, Parser, Subcommand};

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(Subcommand, Debug)]
    enum Sub {
        Run(Flags),
    }

    #[derive(Args, Debug)]
    struct Flags {
        #[arg(long, env = "CFSHARE_TEST_UNSET_BOOLEAN")]
        read_only: bool,
        #[arg(long, env = "CFSHARE_TEST_UNSET_TEXT")]
        identity: Option<String>,
    }

    #[test]
    fn an_empty_variable_leaves_its_flag_as_it_is() {
        for (value, absent) in [("", true), ("  ", true), ("x", false)] {
            let command = with_rules_for(<Line as clap::CommandFactory>::command(), &|name| {
                (name == "CFSHARE_TEST_UNSET_TEXT").then(|| value.into())
            });
            let run = command.find_subcommand("run").expect("the subcommand").clone();
            let arg = run.get_arguments().find(|arg| arg.get_id() == "identity").expect("the flag").clone();
            assert_eq!(arg.get_env().is_none(), absent, "{value:?}");
            let arg = run.get_arguments().find(|arg| arg.get_id() == "read_only").expect("the flag").clone();
            assert!(arg.get_env().is_some());
        }
    }

    #[test]
    fn a_boolean_is_what_people_write_or_an_error() {
        for word in ["1", "true", "TRUE", "yes", "Yes", "on", " true\n"] {
            assert_eq!(boolean(word), Ok(true), "{word}");
        }
        for word in ["0", "false", "False", "no", "off"] {
            assert_eq!(boolean(word), Ok(false), "{word}");
        }
        for word in ["2", "maybe", "truee", ""] {
            assert!(boolean(word).is_err(), "{word}");
        }
    }

    #[test]
    fn the_namespace_is_that_of_the_pod_or_else_the_usual_one() {
        let file = std::env::temp_dir().join(format!("cfshare-namespace-{}", std::process::id()));
        assert_eq!(namespace_of(None, &file), "cfshare-system");
        std::fs::write(&file, "platform\n").expect("a file");
        assert_eq!(namespace_of(None, &file), "platform");
        assert_eq!(namespace_of(Some("other".into()), &file), "other");
        std::fs::remove_file(&file).expect("it goes");
    }
}
