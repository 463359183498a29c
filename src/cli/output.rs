//! What all commands print alike: tables, JSON, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::operator::with_cause;

/// How a command ended that could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing to do.
    Good,
    /// Something fails.
    Failed,
    /// Something is not as it should be.
    Differs,
    /// What was shown may not be true any more.
    Stale,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Differs => 2,
            Exit::Stale => 3,
        })
    }
}

pub fn print_json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Columns side by side, two blanks between them, the last one as long as it is.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1 share`, `2 shares`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// An error and its causes, each said once: many say their cause themselves.
pub fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        // Its own text has the whole answer of the API server in the notation of Rust.
        let refused = cause.downcast_ref::<kube::Error>();
        let cause = refused.map_or_else(|| cause.to_string(), with_cause);
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        if refused.is_some() {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("refused").context("no way: refused").context("not reached");
        assert_eq!(causes(&error), "not reached: no way: refused");
    }

    #[test]
    fn what_the_api_server_refuses_is_said_in_its_own_words() {
        let status = kube::core::Status::failure("no such thing", "Forbidden").with_code(403);
        let refused = kube::Error::Api(Box::new(status));
        let said = causes(&anyhow::Error::new(refused).context("Shares cannot be listed"));
        assert_eq!(said, "Shares cannot be listed: no such thing (403)");
    }

    #[test]
    fn a_table_lines_up_whatever_the_letters() {
        let rows = [["NAME", "STATE"], ["für-alle", "ready"], ["a", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "NAME      STATE\nfür-alle  ready\na\n");
        assert_eq!(count(1, "share"), "1 share");
        assert_eq!(count(0, "share"), "0 shares");
    }
}
