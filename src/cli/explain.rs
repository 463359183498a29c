//! `cfshare explain`: what conditions and reasons mean.

use std::io::{self, Write};

use clap::Args;

use crate::api::{ConditionType, Reason};

/// Explain the conditions and reasons that objects show
#[derive(Args, Debug, Clone)]
pub struct Explain {
    /// One reason or condition type; all of them if left out
    pub word: Option<String>,
}

impl Explain {
    pub fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let types = ConditionType::ALL.iter().map(|t| (t.as_str(), t.meaning()));
        let reasons = Reason::ALL.iter().map(|r| (r.as_str(), r.meaning()));
        let all: Vec<(&str, &str)> = types.chain(reasons).collect();
        match &self.word {
            None => all.iter().try_for_each(|(word, meaning)| print(out, word, meaning))?,
            Some(asked) => match all.iter().find(|(word, _)| word.eq_ignore_ascii_case(asked)) {
                Some((word, meaning)) => print(out, word, meaning)?,
                None => {
                    let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
                    anyhow::bail!("no condition or reason is called {asked}: there are {}", words.join(", "));
                }
            },
        }
        Ok(())
    }
}

fn print(out: &mut impl Write, word: &str, meaning: &str) -> io::Result<()> {
    writeln!(out, "{word}\n    {meaning}")
}
