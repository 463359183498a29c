//! `cfshare explain`: what conditions, reasons and Events mean, and the page of the documentation that says so.

use std::io::{self, Write};

use clap::Args;

use super::run::Run;
use crate::api::{ConditionType, EventReason, Reason};

/// Explain the conditions and reasons in the status of objects, and the reasons of Events
#[derive(Args, Debug, Clone)]
pub struct Explain {
    /// Condition, or reason of a condition or an Event; default: all
    pub word: Option<String>,
    /// Print docs/reference.md: conditions, reasons, Events and the operator's flags
    #[arg(long, conflicts_with = "word")]
    pub markdown: bool,
}

impl Explain {
    pub fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        if self.markdown {
            out.write_all(reference().as_bytes())?;
            return Ok(());
        }
        let all: Vec<(&str, &str)> = types().chain(reasons()).chain(events()).collect();
        match &self.word {
            None => all.iter().try_for_each(|(word, meaning)| print(out, word, meaning))?,
            Some(asked) => {
                // A word may be a condition and the reason of an Event.
                let found = all.iter().filter(|(word, _)| word.eq_ignore_ascii_case(asked));
                let found: Vec<_> = found.collect();
                if found.is_empty() {
                    let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
                    anyhow::bail!("there is no condition or reason {asked}. Known: {}", words.join(", "));
                }
                found.iter().try_for_each(|(word, meaning)| print(out, word, meaning))?;
            }
        }
        Ok(())
    }
}

fn types() -> impl Iterator<Item = (&'static str, &'static str)> {
    ConditionType::ALL.iter().map(|kind| (kind.as_str(), kind.meaning()))
}

fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
    Reason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning()))
}

fn events() -> impl Iterator<Item = (&'static str, &'static str)> {
    EventReason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning()))
}

fn print(out: &mut impl Write, word: &str, meaning: &str) -> io::Result<()> {
    writeln!(out, "{word}\n    {meaning}")
}

/// The text of docs/reference.md.
fn reference() -> String {
    let words = |rows: &mut dyn Iterator<Item = (&str, &str)>| -> String {
        rows.map(|(word, meaning)| row(&[&format!("`{word}`"), meaning])).collect()
    };
    format!(
        "# Reference\n\n\
         `cfshare explain <word>` prints any of these; `kubectl explain cfs.spec` explains every field.\n\n\
         ## Conditions\n\n| condition | meaning |\n|---|---|\n{}\n\
         ## Reasons\n\nThe reason of `Ready`, in one word. The message of the condition has the details.\n\n\
         | reason | meaning, and what to do |\n|---|---|\n{}\n\
         ## Events\n\nWhen an object becomes Ready or is `Stalled`, an Event has the reason of `Ready`, from the table above. \
         What concerns all objects of an account, such as a refused credential, is in the Event of the first of them only. \
         Other Events:\n\n| reason | meaning, and what to do |\n|---|---|\n{}\n\
         ## Flags of `cfshare run`\n\n\
         Each can also be set with an environment variable. A time is written as `500ms`, `90s`, `10m` or `1h`.\n\n{}",
        words(&mut types()),
        words(&mut reasons()),
        words(&mut events()),
        flags(),
    )
}

/// The operator's flags as a table.
fn flags() -> String {
    let command = Run::augment_args(clap::Command::new("run"));
    let rows = command.get_arguments().filter_map(|flag| {
        let name = flag.get_long()?;
        let value = flag.get_value_names().filter(|_| flag.get_action().takes_values());
        let value = value.map_or(String::new(), |names| format!(" {}", names[0]));
        let default: Vec<String> =
            flag.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        let variable = flag.get_env()?.to_string_lossy();
        let meaning = flag.get_help()?.to_string();
        Some(row(&[&format!("`--{name}{value}`"), &format!("`{variable}`"), &default.join(", "), &meaning]))
    });
    format!("| flag | environment | default | meaning |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

/// One row of a table. A vertical line within a cell would end it, also within backticks.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', r"\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn page(name: &str) -> String {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_default()
    }

    #[test]
    fn the_reference_is_what_the_code_says() {
        assert!(
            page("docs/reference.md") == reference(),
            "docs/reference.md is stale: run `cargo run --bin cfshare -- explain --markdown >docs/reference.md`"
        );
    }

    #[test]
    fn the_readme_has_the_flags_as_they_are() {
        assert!(
            page("README.md").contains(&flags()),
            "README.md has another table of flags than docs/reference.md: copy it from there"
        );
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_header() {
        let width = |line: &str| line.replace(r"\|", "").matches('|').count();
        let text = reference();
        let mut header = None;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix('|') else {
                header = None;
                continue;
            };
            assert!(rest.ends_with('|'), "{line}");
            assert_eq!(width(line), *header.get_or_insert(width(line)), "{line}");
        }
        assert_eq!(row(&["`A|B`", "c"]), "| `A\\|B` | c |\n");
    }

    #[test]
    fn every_flag_has_a_name_in_the_environment_and_a_meaning() {
        let command = Run::augment_args(clap::Command::new("run"));
        for flag in command.get_arguments() {
            let (name, env) = (flag.get_long().expect("a flag"), flag.get_env().expect("a variable"));
            let expected = match name {
                // OpenTelemetry's own.
                "otlp-endpoint" => "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
                _ => format!("CFSHARE_{}", name.replace('-', "_").to_uppercase()),
            };
            assert_eq!(env.to_string_lossy(), expected);
            assert!(flag.get_help().is_some_and(|help| help.to_string().len() > 10), "--{name}");
        }
    }
}
