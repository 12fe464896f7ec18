//! A server program that a test starts, stops and hangs.

use std::{
    env,
    fs::{self, File},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// How long a program may take to start or to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often we look whether it has.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// How long the end of a test waits for a program.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// A program with its children. It is in the test's process group, so whatever ends the test by
/// a signal ends it too; what is left then, `scripts/postgres` finds by its directory.
#[derive(Debug)]
pub(crate) struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    /// The signal that ends it at once, but not without tidying up.
    end: Signal,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// A program that works in the directory, as the directory's owner.
    pub(crate) fn new(program: PathBuf, directory: PathBuf, log: PathBuf, end: Signal) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            directory,
            log,
            end,
            child: Mutex::new(None),
        }
    }

    pub(crate) fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Starts it. Its log begins anew.
    pub(crate) fn start(&self) {
        let mut child = self.child();
        assert!(child.is_none(), "{} runs already", self.program.display());
        let log = File::create(&self.log).expect("a log");
        let owner = fs::metadata(&self.directory).expect("the directory");
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        // A developer's PGPORT, PGOPTIONS and the like are for his own server.
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if geteuid().is_root() {
            command.gid(owner.gid()).uid(owner.uid());
        }
        *child = Some(command.spawn().expect("the program starts"));
    }

    /// Whether it runs; where it has ended by itself, it may be started again.
    pub(crate) fn runs(&self) -> bool {
        let mut child = self.child();
        let ended = match child.as_mut() {
            None => return false,
            Some(child) => child.try_wait().expect("a child of ours").is_some(),
        };
        if ended {
            *child = None;
        }
        !ended
    }

    /// Sends the signal that is to end it and waits until it has ended.
    pub(crate) async fn stop(&self, signal: Signal) {
        self.resume();
        self.signal(signal);
        let begin = Instant::now();
        while self.runs() {
            assert!(
                begin.elapsed() < PATIENCE,
                "{} does not stop: {}",
                self.program.display(),
                self.log_end()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Stops it and its children where they are. Their connections stay open, new ones are
    /// accepted by the kernel, and nobody answers.
    pub(crate) async fn hang(&self) {
        let pid = self.pid().expect("a program that runs");
        // It first: then there are no further children.
        for stage in [vec![pid], children(pid)] {
            for process in &stage {
                let _ = kill_process(*process, Signal::STOP);
            }
            while stage.iter().any(|process| moves(*process)) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Ends [`Process::hang`].
    pub(crate) fn resume(&self) {
        if let Some(pid) = self.pid() {
            for process in children(pid).into_iter().chain([pid]) {
                let _ = kill_process(process, Signal::CONT);
            }
        }
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// What it has logged since its last start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// `None` when it does not run. The number stays ours until we have waited for it.
    fn pid(&self) -> Option<Pid> {
        let child = self.child();
        child.as_ref().map(Pid::from_child)
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.resume();
        self.signal(self.end);
        let begin = Instant::now();
        while self.runs() {
            if begin.elapsed() > LAST_PATIENCE {
                self.signal(Signal::KILL);
            }
            thread::sleep(LOOK);
        }
    }
}

/// The children of a process.
fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_pid().to_string();
    fs::read_dir("/proc")
        .expect("/proc: this is for Linux only")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let (_, parent) = state_and_parent(&path)?;
            if parent != of {
                return None;
            }
            Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)
        })
        .collect()
}

/// Whether a process is there and not stopped.
fn moves(process: Pid) -> bool {
    let path = Path::new("/proc").join(process.as_raw_pid().to_string());
    state_and_parent(&path).is_some_and(|(state, _)| !matches!(state.as_str(), "T" | "Z" | "X"))
}

/// From `/proc/<pid>/stat`: `pid (name) state parent …`; a name may hold anything.
fn state_and_parent(process: &Path) -> Option<(String, String)> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.to_owned(), rest.next()?.to_owned()))
}
