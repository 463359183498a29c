//! How the demonstration looks on a terminal, and in a file.

use std::cell::Cell;
use std::env;
use std::io::{self, IsTerminal, Write};

pub struct Terminal {
    colours: bool,
    steps: Cell<usize>,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const CYAN: &str = "36";

impl Terminal {
    pub fn new() -> Terminal {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Terminal { colours: io::stdout().is_terminal() && !refused, steps: Cell::new(0) }
    }

    /// How many steps were begun.
    pub fn steps(&self) -> usize {
        self.steps.get()
    }

    pub fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        self.heading(&format!("{}. {title}", self.steps.get()));
    }

    pub fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, text)));
    }

    pub fn say(&self, text: &str) {
        self.line(text);
    }

    pub fn command(&self, command: &str) {
        self.line(&self.paint(CYAN, &format!("$ {command}")));
    }

    /// What a program printed.
    pub fn output(&self, text: &str) {
        let text = text.trim_end();
        if !text.is_empty() {
            self.line(text);
        }
    }

    /// What was going on beside.
    pub fn aside(&self, text: &str) {
        self.line(&self.paint(DIM, &format!("  {text}")));
    }

    pub fn complain(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(RED, &format!("demo: {text}"))));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A reader that closed the pipe is no reason to fail.
    fn line(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }
}
