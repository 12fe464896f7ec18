//! What can be found in the memory of a server after a thousand requests: none of their tokens, and
//! the access key in one place. The allocator clears what is freed, so that only what somebody
//! still holds is found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod support;

use std::{
    alloc::System,
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::FileExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use support::Place;
use vestibule_sandbox::Sandbox;
use vestibule_server::{
    serve::{Server, stop_signal},
    settings::ServeSettings,
    telemetry::metrics::Metrics,
};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static CLEARING: ZeroAlloc<System> = ZeroAlloc(System);

/// Marks the line that names the server's address.
const READY: &str = "the server to be searched listens on ";

/// The server, in a process of its own: settings come on standard input, one to a line, so that
/// the access key is in no environment.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below"]
async fn the_server_to_be_searched() {
    let server = {
        let text = fs::read_to_string("/dev/stdin").unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs: Vec<_> = pairs.collect();
        let reader = vestibule::settings::SettingsReader::from_pairs(pairs);
        let settings = ServeSettings::read(reader).unwrap();
        let builder = vestibule::Vestibule::builder(settings.library);
        let vestibule = builder.build().await.unwrap();
        Server::bind(settings.server, vestibule, Metrics::install())
            .await
            .unwrap()
    };
    println!("{READY}{}", server.public_address());
    server.run(stop_signal().unwrap()).await;
}

struct Searched(Child);

impl Drop for Searched {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// How often each of these is in what the process can write to.
fn find(process: u32, needles: &[Vec<u8>]) -> Vec<usize> {
    const BEGIN: usize = 8;
    let mut by_beginning: HashMap<[u8; BEGIN], Vec<usize>> = HashMap::new();
    let mut first = [false; 256];
    for (index, needle) in needles.iter().enumerate() {
        let beginning: [u8; BEGIN] = needle[..BEGIN].try_into().unwrap();
        first[usize::from(beginning[0])] = true;
        by_beginning.entry(beginning).or_default().push(index);
    }
    let mut found = vec![0; needles.len()];
    let memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut searched = 0;
    for map in maps.lines() {
        let mut fields = map.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        searched += bytes.len();
        for at in 0..bytes.len().saturating_sub(BEGIN) {
            if !first[usize::from(bytes[at])] {
                continue;
            }
            let Some(indices) = by_beginning.get(&bytes[at..at + BEGIN]) else {
                continue;
            };
            for &index in indices {
                if bytes[at..].starts_with(&needles[index]) {
                    found[index] += 1;
                }
            }
        }
    }
    assert!(searched > 1 << 20, "{searched} bytes");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_stays_and_the_access_key_is_in_one_place() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let place = Place::new().with_sandbox(&sandbox);
    let account = place.account("Acme", "tenant_acme");
    let add = [
        "client",
        "add",
        "--client-id",
        "sc_robot01",
        "--name",
        "Robot",
    ];
    place.json(&[&add[..], &["--account", &account]].concat());

    let mut settings = sandbox.environment();
    settings.extend([
        (
            "DATABASE_URL",
            format!("sqlite:{}", place.database().display()),
        ),
        ("VESTIBULE_LISTEN", "127.0.0.1:0".to_owned()),
        ("VESTIBULE_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
    ]);
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "the_server_to_be_searched",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Searched(child);
    {
        let mut stdin = server.0.stdin.take().unwrap();
        for (name, value) in &settings {
            writeln!(stdin, "{name}={value}").unwrap();
        }
    }
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once(READY)?.1.to_owned()))
        .unwrap();

    let http = http();
    let ask = async |token: &str| {
        let request = http
            .get(format!("http://{address}/v1/me"))
            .bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    let mut tokens = Vec::new();
    for number in 0..200 {
        let (user, robot) = (
            sandbox.user_token("user_ada").claim("jti", number),
            sandbox.client_token("sc_robot01").claim("jti", number),
        );
        let (token, expected) = match number % 4 {
            0 => (robot.mint(), 200),
            1 => (user.tamper_signature().mint(), 401),
            _ => (user.mint(), 200),
        };
        for _ in 0..5 {
            assert_eq!(ask(&token).await, expected);
        }
        tokens.push(token);
    }
    // While the connection is open its buffer may hold the last request.
    drop(http);

    let key = sandbox.access_key();
    let secret = key.rsplit_once('.').unwrap().1;
    let der = STANDARD.decode(secret).unwrap();
    let mut needles = vec![secret.as_bytes().to_vec(), der[16..48].to_vec()];
    for token in &tokens {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        needles.push(signed.as_bytes().to_vec());
        needles.push(signature.as_bytes().to_vec());
    }
    // The other side needs a moment to notice that the connection is closed.
    let begun = Instant::now();
    let found = loop {
        let found = find(server.0.id(), &needles);
        if found[2..].iter().all(|count| *count == 0) || begun.elapsed() > Duration::from_secs(5) {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let tokens_found: usize = found[2..].iter().sum();
    assert_eq!(tokens_found, 0, "parts of tokens in memory: {found:?}");
    assert_eq!(found[0], 0, "the text of the access key");
    assert_eq!(found[1], 1, "the access key, in the one object that signs");
    // The search finds what is there.
    let subject = find(
        server.0.id(),
        &[b"user_ada\0".to_vec(), b"sc_robot01".to_vec()],
    );
    assert!(subject[1] > 0, "{subject:?}");
}

fn http() -> reqwest::Client {
    // An error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
