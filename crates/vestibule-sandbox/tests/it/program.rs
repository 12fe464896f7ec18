//! The binary: what it prints and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (Program, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    for line in out.lines().map_while(Result::ok) {
        let last = line.starts_with("# Everything else:");
        lines.push(line);
        if last {
            break;
        }
    }
    (Program(child), lines)
}

fn variable<'a>(lines: &'a [String], name: &str) -> &'a str {
    let start = format!("export {name}='");
    let line = lines.iter().find_map(|line| line.strip_prefix(&start));
    line.unwrap().strip_suffix('\'').unwrap()
}

#[test]
fn it_prints_what_a_shell_can_source_and_ends_at_once() {
    let (mut program, lines) = start(&["--port", "0"]);
    let code = lines.iter().filter(|line| !line.starts_with('#'));
    assert!(code.clone().all(|line| line.starts_with("export ")));
    assert_eq!(code.count(), 2);
    let url = variable(&lines, "AUTHRESS_API_URL");
    assert!(url.starts_with("http://127.0.0.1:"));
    let text = lines.join("\n");
    for id in [
        "user_ada",
        "user_alan",
        "user_grace",
        "sc_robot01",
        "sc_robot02",
    ] {
        assert!(
            text.contains(&format!("curl -s {url}/_sandbox/tokens/{id}")),
            "{text}"
        );
    }
    let start = Instant::now();
    let interrupt = Command::new("sh")
        .args(["-c", &format!("kill -INT {}", program.0.id())])
        .status();
    assert!(interrupt.unwrap().success());
    assert!(program.0.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn its_data_outlives_it() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data").display().to_string();
    let access_key = || {
        let (_program, lines) = start(&["--port", "0", "--data", &data, "--tls"]);
        let ca = variable(&lines, "SSL_CERT_FILE");
        assert_eq!(ca, format!("{data}/ca.pem"));
        assert!(variable(&lines, "AUTHRESS_API_URL").starts_with("https://localhost:"));
        variable(&lines, "AUTHRESS_ACCESS_KEY").to_owned()
    };
    assert_eq!(access_key(), access_key());
}

#[test]
fn a_taken_port_is_named() {
    let (_first, lines) = start(&["--port", "0"]);
    let port = variable(&lines, "AUTHRESS_API_URL")
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let (mut second, lines) = start(&["--port", &port]);
    assert!(lines.is_empty());
    assert_eq!(second.0.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    second
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
}
