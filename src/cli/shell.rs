//! What a shell and `man` learn of the commands: completions and manual pages.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::{Shell, engine, generate};

// Shown to people as it stands: a shell's brackets are no links.
#[allow(rustdoc::broken_intra_doc_links)]
/// Print a shell completion script
///
/// bash: source <(cfshare completion bash); zsh: cfshare completion zsh >"${fpath[1]}/_cfshare"; fish: cfshare completion
/// fish | source; PowerShell: cfshare completion powershell | Out-String | Invoke-Expression.
///
/// For `kubectl cfshare`, create a second link to the program in PATH, named kubectl_complete-cfshare: kubectl runs it to
/// get completions.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Completion {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, or write one for each command into a directory
#[derive(Args, Debug, Clone)]
pub struct Man {
    /// Directory for the pages, such as /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completion {
    pub fn run(&self, mut command: Command, out: &mut impl Write) {
        let name = command.get_name().to_owned();
        generate(self.shell, &mut command, name, out);
    }
}

impl Man {
    pub fn run(&self, command: Command, out: &mut impl Write) -> anyhow::Result<()> {
        match &self.dir {
            None => clap_mangen::Man::new(command).render(out)?,
            Some(dir) => {
                let failed = || format!("--dir: {} cannot be written to", dir.display());
                fs::create_dir_all(dir).with_context(failed)?;
                clap_mangen::generate_to(command, dir).with_context(failed)?;
            }
        }
        Ok(())
    }
}

/// Name of the program that kubectl asks to complete `kubectl cfshare`.
pub const KUBECTL_COMPLETE: &str = "kubectl_complete-cfshare";

/// Answers kubectl, which takes a line for each candidate and at last a directive: 4 is "no names of files".
pub fn complete(mut command: Command, words: Vec<OsString>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut all = vec![OsString::from(command.get_name())];
    all.extend(words);
    let last = all.len().max(2) - 1;
    all.resize(last + 1, OsString::new());
    let here = std::env::current_dir().ok();
    let candidates = engine::complete(&mut command, all, last, here.as_deref())?;
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        match candidate.get_help().map(ToString::to_string).and_then(|help| help.lines().next().map(str::to_owned)) {
            Some(help) => writeln!(out, "{value}\t{help}")?,
            None => writeln!(out, "{value}")?,
        }
    }
    writeln!(out, ":4")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ValueEnum};

    use super::*;

    fn command() -> Command {
        let form = Arg::new("output").long("output").value_parser(["csv", "json"]);
        Command::new("cfshare").subcommand(Command::new("matrix").about("Who receives what").arg(form))
    }

    fn answer(words: &[&str]) -> String {
        let mut out = Vec::new();
        complete(command(), words.iter().map(OsString::from).collect(), &mut out).expect("an answer");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn kubectl_learns_commands_flags_and_values() {
        assert_eq!(answer(&["mat"]), "matrix\tWho receives what\n:4\n");
        assert!(answer(&["matrix", "--ou"]).starts_with("--output"));
        assert_eq!(answer(&["matrix", "--output", "j"]), "json\n:4\n");
        assert!(answer(&[]).contains("matrix\t"));
    }

    #[test]
    fn every_shell_has_a_script_and_the_manual_names_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            Completion { shell: *shell }.run(command(), &mut script);
            assert!(String::from_utf8(script).expect("text").contains("matrix"), "{shell}");
        }
        let mut page = Vec::new();
        Man { dir: None }.run(command(), &mut page).expect("a page");
        assert!(String::from_utf8(page).expect("text").contains("matrix"));
    }
}
