//! How far an import is: one line that is written over on a terminal, else a line now and then.

use std::io::{self, IsTerminal as _, Write as _};

#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    of: u64,
    done: u64,
    /// Number between two lines where nobody watches.
    step: u64,
    terminal: bool,
    shown: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str, of: u64, step: u64) -> Self {
        Self {
            what,
            of,
            done: 0,
            step,
            terminal: io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// So many more are done.
    pub(super) fn add(&mut self, number: u64) {
        const CELLS: u64 = 24;
        let before = self.done / self.step;
        self.done += number;
        let mut stderr = io::stderr().lock();
        // Nobody waits for these lines.
        if self.terminal {
            let full = (self.done * CELLS).checked_div(self.of).unwrap_or(CELLS);
            let full = usize::try_from(full.min(CELLS)).unwrap_or(0);
            let rest = "-".repeat(24 - full);
            drop(write!(
                stderr,
                "\r[{}{rest}] {}/{} {}\x1b[K",
                "#".repeat(full),
                self.done,
                self.of,
                self.what
            ));
            drop(stderr.flush());
            self.shown = true;
        } else if self.done / self.step > before {
            drop(writeln!(
                stderr,
                "{} of {} {}",
                self.done, self.of, self.what
            ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            drop(writeln!(io::stderr().lock()));
        }
    }
}
