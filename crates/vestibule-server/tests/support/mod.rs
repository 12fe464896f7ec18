//! Runs the binary in a directory of its own, with nothing in its environment but what a test
//! gives it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code; each test uses a part of it"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use vestibule_sandbox::Sandbox;

pub const NOBODY: &str = "0190a8f2-0000-7000-8000-000000000001";

/// A directory with a database in it.
pub struct Place {
    pub directory: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A server that ends with the test.
pub struct Running {
    child: Child,
    pub public: String,
    pub admin: String,
    /// Where `VESTIBULE_GRPC_LISTEN` is set.
    pub grpc: Option<String>,
    log: Arc<Mutex<Vec<String>>>,
    logging: Option<JoinHandle<()>>,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vestibule.db");
        let environment = vec![(
            "DATABASE_URL".to_owned(),
            format!("sqlite:{}", file.display()),
        )];
        Self {
            directory,
            environment,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_sandbox(mut self, sandbox: &Sandbox) -> Self {
        for (name, value) in sandbox.environment() {
            self = self.with(name, &value);
        }
        self
    }

    /// Sets a variable from now on; gives what was set before.
    pub fn set(&mut self, name: &str, value: &str) -> Option<String> {
        let mut all = self.environment.iter().rev();
        let before = all.find(|(known, _)| known == name);
        let before = before.map(|(_, value)| value.clone());
        self.unset(name);
        self.environment.push((name.to_owned(), value.to_owned()));
        before
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// What commands are given.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn is_untouched(&self) -> bool {
        std::fs::read_dir(self.path()).unwrap().next().is_none()
    }

    /// The database's main file.
    pub fn database(&self) -> PathBuf {
        self.path().join("vestibule.db")
    }

    /// Starts a command and does not wait for it. It ends with the caller's patience.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null());
        command.spawn().unwrap()
    }

    /// The server as the tests are built, or the one that `VESTIBULE_TEST_BINARY` names: what is
    /// measured is measured on a release.
    fn command(&self, arguments: &[&str]) -> Command {
        let built = || env!("CARGO_BIN_EXE_vestibule").into();
        let mut command =
            Command::new(std::env::var_os("VESTIBULE_TEST_BINARY").unwrap_or_else(built));
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut child = self.command(arguments).spawn().unwrap();
        // A command that does not read has closed it already.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Said {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let said = self.run(&arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.json()
    }

    /// Makes an account; gives its id.
    pub fn account(&self, name: &str, tenant: &str) -> String {
        let account = self.json(&["account", "create", "--name", name, "--tenant", tenant]);
        account["id"].as_str().unwrap().to_owned()
    }

    /// Starts the server on free ports and waits for the line that names them.
    pub fn serve(&self) -> Running {
        self.serve_with(&[])
    }

    /// As [`Place::serve`], with further arguments.
    pub fn serve_with(&self, arguments: &[&str]) -> Running {
        let mut child = self
            .command(&[&["serve"], arguments].concat())
            .env("VESTIBULE_LISTEN", "127.0.0.1:0")
            .env("VESTIBULE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("VESTIBULE_LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let started = lines.by_ref().map_while(Result::ok).find_map(|line| {
            seen.push_str(&line);
            seen.push('\n');
            let line: Value = serde_json::from_str(&line).ok()?;
            (line["message"] == "listening").then_some(line)
        });
        let Some(started) = started else {
            panic!("the server did not start:\n{seen}");
        };
        // Nobody may wait for us to read.
        let log = Arc::new(Mutex::new(seen.lines().map(str::to_owned).collect()));
        let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&log);
        let logging = std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| kept.lock().unwrap().push(line));
        });
        let address = |name: &str| format!("http://{}", started[name].as_str().unwrap());
        Running {
            public: address("public"),
            admin: address("admin"),
            grpc: started["grpc"]
                .as_str()
                .map(|grpc| format!("http://{grpc}")),
            child,
            log,
            logging: Some(logging),
        }
    }
}

impl Said {
    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Running {
    /// Sends a signal; gives the exit code and how long the end took.
    pub fn stop(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        self.signal(signal);
        let status = self.child.wait().unwrap();
        (status.code(), begun.elapsed())
    }

    /// Sends a signal, and does not wait.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args([signal, &pid]).status().unwrap().success());
    }

    /// The lines of the access log so far, once there are `count` of them.
    pub fn access_lines(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let lines: Vec<Value> = self
                .log
                .lock()
                .unwrap()
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|line| line["target"] == "vestibule::access")
                .collect();
            if lines.len() >= count || begun.elapsed() > Duration::from_secs(5) {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Everything that was logged, from the first line to the last: ends the server.
    pub fn whole_log(&mut self) -> String {
        self.stop("-TERM");
        if let Some(logging) = self.logging.take() {
            logging.join().unwrap();
        }
        self.log()
    }

    /// Ends the server as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Host and port of the public API.
    pub fn address(&self) -> &str {
        self.public.strip_prefix("http://").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
