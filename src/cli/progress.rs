//! What is a command doing, where that takes longer than a second? One line on a terminal, which goes when it is done.
//!
//! The line has no colour. A terminal that cannot clear a line (`TERM=dumb`) gets none.

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::pin::pin;
use std::process::exit;
use std::sync::Once;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, interval_at};

/// How long nothing is shown, and how often the line is renewed after that.
const PATIENCE: Duration = Duration::from_secs(1);
/// What follows so soon belongs to the same piece of work.
const GAP: Duration = Duration::from_millis(500);
const CLEAR: &str = "\r\x1b[K";
/// What is longer than the terminal is wide is cut off, or only its last row could be cleared.
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// What shells say of a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The piece of work that this process is at, or was at last.
static WORK: Mutex<Work> = Mutex::new(Work { began: None, ended: None, steps: 0, is_shown: false });

struct Work {
    began: Option<Instant>,
    ended: Option<Instant>,
    /// Steps under way: only the outermost is shown.
    steps: usize,
    /// The line is on the terminal now.
    is_shown: bool,
}

impl Work {
    /// What takes the line away, if it is there.
    fn clear(&self) -> &'static str {
        if self.is_shown { CLEAR } else { "" }
    }
}

/// A step of a piece of work, until it is dropped.
struct Step {
    began: Instant,
    inner: bool,
}

impl Step {
    fn begin() -> Step {
        let (mut work, now) = (WORK.lock(), Instant::now());
        let goes_on = work.steps > 0 || work.ended.is_some_and(|ended| now < ended + GAP);
        let began = work.began.filter(|_| goes_on).unwrap_or(now);
        work.began = Some(began);
        work.steps += 1;
        Step { began, inner: work.steps > 1 }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let mut work = WORK.lock();
        work.steps -= 1;
        work.ended = Some(Instant::now());
    }
}

/// Does a step of a piece of work, and says on a terminal what it is if the piece takes long.
pub async fn shown<T>(what: impl Fn() -> String, step: impl Future<Output = T>) -> T {
    if !stderr().is_terminal() || env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return step.await;
    }
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| drop(tokio::spawn(clear_when_interrupted())));
    let under_way = Step::begin();
    if under_way.inner {
        return step.await;
    }
    shown_on(&mut stderr(), (under_way.began, PATIENCE), what, step).await
}

async fn shown_on<T>(
    terminal: &mut impl Write,
    (began, patience): (Instant, Duration),
    what: impl Fn() -> String,
    step: impl Future<Output = T>,
) -> T {
    let mut ticks = interval_at(began + patience, PATIENCE);
    let mut step = pin!(step);
    let mut put = |text: String, is_shown: bool| {
        let mut work = WORK.lock();
        work.is_shown = is_shown;
        let _ = terminal.write_all(text.as_bytes());
        let _ = terminal.flush();
    };
    let mut line = false;
    let done = loop {
        tokio::select! {
            biased;
            done = &mut step => break done,
            _ = ticks.tick() => {
                line = true;
                // The cursor goes back, so that an echoed ^C does not begin another row.
                put(format!("{CLEAR}{CUT}{} ({} s){WRAP}\r", what(), began.elapsed().as_secs()), true);
            }
        }
    };
    if line {
        put(CLEAR.to_owned(), false);
    }
    done
}

/// Says something in place of the line, which comes back below.
pub fn note(text: &str) {
    let work = WORK.lock();
    eprintln!("{}{text}", work.clear());
}

/// A shell that goes on in the middle of a line looks broken.
async fn clear_when_interrupted() {
    if tokio::signal::ctrl_c().await.is_ok() {
        let work = WORK.lock();
        eprint!("{}", work.clear());
        exit(INTERRUPTED);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::io;
    use std::task::Poll;

    use super::*;

    /// A terminal that the work can look at.
    #[derive(Default)]
    struct Screen(RefCell<String>);

    impl Write for &Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_takes_long_is_shown_and_leaves_nothing_behind() {
        let screen = Screen::default();
        let seen = poll_fn(|context| {
            context.waker().wake_by_ref();
            if screen.0.borrow().is_empty() { Poll::Pending } else { Poll::Ready(7) }
        });
        let at_once = (Instant::now(), Duration::ZERO);
        let done = shown_on(&mut &screen, at_once, || "reading shares".into(), seen).await;
        assert_eq!(done, 7);
        assert_eq!(*screen.0.borrow(), format!("{CLEAR}{CUT}reading shares (0 s){WRAP}\r{CLEAR}"));
    }

    #[tokio::test]
    async fn what_is_done_soon_is_not_shown() {
        let screen = Screen::default();
        let soon = (Instant::now(), Duration::from_secs(3600));
        shown_on(&mut &screen, soon, || "reading shares".into(), tokio::task::yield_now()).await;
        assert_eq!(*screen.0.borrow(), "");
    }

    #[test]
    fn steps_that_follow_each_other_are_one_piece_of_work() {
        let first = Step::begin();
        let within = Step::begin();
        assert_eq!((first.inner, within.inner, within.began), (false, true, first.began));
        let began = first.began;
        drop(within);
        drop(first);
        assert_eq!(Step::begin().began, began);
    }
}
