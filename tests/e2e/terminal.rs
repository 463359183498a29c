//! What a person sees on a terminal while a command takes long, and what is left of it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cfshare_simulator::{Action, Rule};

use crate::Test;
use crate::cli::{alone, at_home};
use crate::scene::{Scene, World};

pub const TESTS: &[Test] = &[
    ("terminal: what takes long is shown in one line, and leaves nothing behind", progress),
    ("terminal: Ctrl-C leaves nothing behind", interrupted),
];

const WIDTH: usize = 24;
/// A key, as a terminal sends it.
const CTRL_C: &[u8] = b"\x03";
const ESCAPE: char = '\x1b';

/// A command on a terminal, with its output in a file; `key`: pressed as soon as something is shown. What the terminal
/// received, and the exit code; `None`: there is no `script` of util-linux to make a terminal with.
fn on_terminal(scene: &Scene, term: &str, key: Option<&[u8]>) -> Option<(String, i32)> {
    if !cfg!(target_os = "linux") || !Path::new("/usr/bin/script").exists() {
        eprintln!("skipped: there is no /usr/bin/script to make a terminal with (package bsdutils)");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_cfshare");
    let out = scene.file("out");
    let line =
        format!("stty cols {WIDTH}; exec {program} received --account {} >{}", scene.account, out.to_string_lossy());
    let mut command = at_home(scene, "/usr/bin/script");
    command.env("PATH", "/usr/bin:/bin").env("TERM", term).env("CLOUDFLARE_API_TOKEN", &scene.token);
    command.args(["-q", "-e", "-c", &line, "/dev/null"]);
    Some(watch(command, key))
}

fn watch(mut command: Command, key: Option<&[u8]>) -> (String, i32) {
    let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a terminal");
    let (mut keyboard, mut output) = (terminal.stdin.take().expect("a pipe"), terminal.stdout.take().expect("a pipe"));
    let (mut received, mut some) = (Vec::new(), [0; 256]);
    let mut key = key;
    loop {
        let count = output.read(&mut some).expect("what the terminal receives");
        if count == 0 {
            break;
        }
        received.extend_from_slice(&some[..count]);
        if let Some(key) = key.take() {
            keyboard.write_all(key).expect("a key");
        }
    }
    let code = terminal.wait().expect("its end").code();
    (String::from_utf8(received).expect("text"), code.unwrap_or(-1))
}

/// What such a terminal shows in the end.
fn screen(received: &str) -> Vec<String> {
    let (mut rows, mut row, mut column, mut wraps) = (vec![Vec::new()], 0, 0, true);
    let mut letters = received.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => column = 0,
            '\n' => row += 1,
            ESCAPE => {
                let mut sequence: String = letters.by_ref().take(2).collect();
                while !sequence.ends_with(|end: char| end.is_ascii_alphabetic()) {
                    sequence.extend(letters.next());
                }
                match sequence.as_str() {
                    "[K" => rows[row].truncate(column),
                    "[?7l" => wraps = false,
                    "[?7h" => wraps = true,
                    other => panic!("{other:?} in {received:?}"),
                }
            }
            letter => {
                if column == WIDTH {
                    (row, column) = if wraps { (row + 1, 0) } else { (row, WIDTH - 1) };
                }
                rows.resize(rows.len().max(row + 1), Vec::new());
                let length = rows[row].len().max(column + 1);
                rows[row].resize(length, ' ');
                rows[row][column] = letter;
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), Vec::new());
    }
    let text = rows.into_iter().map(|row| row.into_iter().collect::<String>().trim_end().to_owned());
    text.filter(|row| !row.is_empty()).collect()
}

/// Cloudflare takes longer than a person waits without asking why.
fn slow(scene: &Scene) {
    let late = Rule::always("GET", "/accounts/*/shares", Action::DelayAfter { ms: 2500 });
    scene.world.simulator.fault(late.account(&scene.account));
}

fn progress(world: &World) {
    let scene = world.scene();
    slow(&scene);
    let expected = alone(&scene, &["received", "--account", &scene.account], "");
    assert!(!expected.err.contains(ESCAPE) && !expected.err.contains("reading"), "{}", expected.err);
    let Some((received, code)) = on_terminal(&scene, "xterm", None) else { return };
    assert!(received.contains("reading Cloudflare, 0 calls so far"), "{received:?}");
    assert_eq!((screen(&received), code), (Vec::<String>::new(), expected.code), "{received:?}");
    let out = std::fs::read_to_string(scene.file("out")).expect("its output");
    assert_eq!(out, expected.out);
    // A terminal that cannot clear a line.
    assert_eq!(on_terminal(&scene, "dumb", None), Some((String::new(), expected.code)));
}

fn interrupted(world: &World) {
    let scene = world.scene();
    slow(&scene);
    let Some((received, code)) = on_terminal(&scene, "xterm", Some(CTRL_C)) else { return };
    assert!(received.contains("reading Cloudflare"), "{received:?}");
    assert_eq!((screen(&received), code), (Vec::<String>::new(), 130), "{received:?}");
}
