//! Floods from one address: whoever calls from elsewhere notices little, memory stays flat, and the
//! provider is not asked. `ATTACK_SECONDS` makes them long; they print what they measured.

use std::{
    env, fs,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use vestibule_sandbox::{Endpoint, TokenBuilder};

use crate::{
    support::Running,
    world::{Answer, World},
};

const ATTACKER: &str = "127.0.0.66:0";
const GOOD: &str = "127.0.0.1:0";
const LINES: usize = 16;

/// 20,000 in a second, or what one core can send and the server answers.
const HARD: Duration = Duration::from_micros(50 * LINES as u64);

/// No line for each refusal: reading them would cost the test more than sending.
const QUIET: (&str, &str) = ("VESTIBULE_LOG", "vestibule_server=info");

/// A connection that is kept, from an address of the test's choice.
struct Line(BufReader<TcpStream>);

impl Line {
    async fn open(server: SocketAddr, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        let stream = socket.connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Asks who it is; gives the status, and whether it was told when to come again.
    async fn ask(&mut self, token: &str) -> (u16, bool) {
        let request = format!(
            "GET /v1/authorize HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        let (mut status, mut length, mut again) = (0, 0, false);
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).await.unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if line.starts_with("retry-after: ") {
                again = true;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (status, again)
    }
}

/// What a flood got.
#[derive(Debug, Default)]
struct Flood {
    refused: AtomicU64,
    not_looked_at: AtomicU64,
    other: AtomicU64,
    ended: AtomicBool,
}

/// Tokens that differ in their last claim and have some other token's signature. Only the end is made
/// anew: what the sender does, it takes from the server on a machine of two cores.
fn distinct(like: &TokenBuilder, line: usize) -> impl FnMut() -> String + Send + 'static {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = like.mint();
    let mut parts = token.split('.').map(str::to_owned);
    let (head, claims, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let claims = claims.strip_suffix('}').unwrap();
    // Three bytes are four characters.
    let begin = |blank| format!("{claims},{blank}\"jti\":\"{line}.");
    let begin = ["", " ", "  "].map(begin);
    let begin = begin.iter().find(|begin| begin.len() % 3 == 0).unwrap();
    let begin = format!("{head}.{}", URL_SAFE_NO_PAD.encode(begin));
    let mut number = 0_u64;
    move || {
        number += 1;
        let end = URL_SAFE_NO_PAD.encode(format!("{number}\"}}"));
        format!("{begin}{end}.{signature}")
    }
}

/// Sends from all lines, `pace` apart on each, until the flood has ended: from one thread, which makes
/// way for everybody. Who is late hurries.
fn flood(
    server: SocketAddr,
    tokens: Vec<Box<dyn FnMut() -> String + Send>>,
    pace: Duration,
) -> (Arc<Flood>, thread::JoinHandle<()>) {
    let seen = Arc::new(Flood::default());
    let all = Arc::clone(&seen);
    let sender = thread::spawn(move || {
        make_way();
        alone(async move {
            let mut senders = JoinSet::new();
            for next in tokens {
                senders.spawn(send(server, next, pace, Arc::clone(&all)));
            }
            senders.join_all().await;
        });
    });
    (seen, sender)
}

/// This thread runs where nobody else wants to: an attacker's work is not done on the server's
/// processors. Beside other tests it would then not run at all, and is only as polite as can be.
fn make_way() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let idle = || {
        Command::new("chrt")
            .args(["--idle", "--pid", "0", &thread])
            .status()
    };
    if seconds().is_none() || !idle().is_ok_and(|status| status.success()) {
        rustix::process::nice(19).unwrap();
    }
}

async fn send(
    server: SocketAddr,
    mut next: Box<dyn FnMut() -> String + Send>,
    pace: Duration,
    seen: Arc<Flood>,
) {
    let mut line = Line::open(server, ATTACKER).await;
    let mut due = tokio::time::Instant::now();
    while !seen.ended.load(Ordering::Relaxed) {
        let count = match line.ask(&next()).await {
            (401, _) => &seen.refused,
            (429, true) => &seen.not_looked_at,
            _ => &seen.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
        due += pace;
        tokio::time::sleep_until(due).await;
    }
}

/// Runs it on a runtime of its own, on this thread.
fn alone<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// The flood is over.
async fn end(flood: &Flood, sender: thread::JoinHandle<()>) {
    flood.ended.store(true, Ordering::Relaxed);
    let ended = tokio::task::spawn_blocking(move || sender.join());
    ended.await.unwrap().unwrap();
}

/// Good callers with known tokens, for so long: how long each answer took, in order. On a thread of
/// their own: they do not wait for those who attack.
async fn at_work(server: SocketAddr, tokens: &[String], time: Duration) -> Vec<Duration> {
    let tokens = tokens.to_vec();
    let work = move || alone(async move { called(server, &tokens, time).await });
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn called(server: SocketAddr, tokens: &[String], time: Duration) -> Vec<Duration> {
    let mut line = Line::open(server, GOOD).await;
    let begun = Instant::now();
    let mut took = Vec::new();
    for token in tokens.iter().cycle() {
        if begun.elapsed() > time {
            break;
        }
        let asked = Instant::now();
        assert_eq!(line.ask(token).await.0, 200);
        took.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort_unstable();
    took
}

fn percentile(took: &[Duration], hundredths: usize) -> Duration {
    took[(took.len() - 1) * hundredths / 100]
}

fn seconds() -> Option<u64> {
    env::var("ATTACK_SECONDS").ok()?.parse().ok()
}

async fn metric(world: &World, server: &Running, name: &str) -> f64 {
    let answer = Answer::of(world.http.get(format!("{}/metrics", server.admin))).await;
    let lines = answer.text.lines().filter_map(|line| line.rsplit_once(' '));
    let of_name = lines.filter(|(series, _)| series.starts_with(name));
    of_name
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

/// Resident memory, in KiB.
fn memory(server: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_signatures_from_one_address() {
    let settings = [
        ("TOKEN_REFUSAL_LIMIT", "20"),
        ("USER_CACHE_TTL", "3600"),
        QUIET,
    ];
    let world = World::new(&settings).await;
    let server = world.place.serve();
    let address = server.address().parse().unwrap();
    let time = Duration::from_secs(seconds().unwrap_or(3));
    let good = |n: usize| world.sandbox.user_token("user_ada").claim("jti", n).mint();
    let known: Vec<_> = (0..50).map(good).collect();
    for token in &known {
        world.me(&server, token).await.expect_ok();
    }
    let some_time = time.min(Duration::from_secs(10));
    let idle = at_work(address, &known, some_time).await;
    // As many requests from the same place that are no attack: what the sender's own work and the
    // connections cost.
    let harmless = |line: usize| {
        let token = known[line].clone();
        Box::new(move || token.clone()) as Box<dyn FnMut() -> String + Send>
    };
    let (crowd, senders) = flood(address, (0..LINES).map(harmless).collect(), HARD);
    let crowded = at_work(address, &known, some_time).await;
    end(&crowd, senders).await;
    let hits_before = metric(&world, &server, "vestibule_token_cache_hits_total").await;
    let calls_before = world.sandbox.all_calls();
    let memory_before = memory(&server);

    let like = world.sandbox.user_token("user_ada");
    let tokens = (0..LINES).map(|line| Box::new(distinct(&like, line)) as _);
    let (flood, senders) = flood(address, tokens.collect(), HARD);
    let begun = Instant::now();
    let during = at_work(address, &known, time).await;
    // New good tokens from elsewhere pass while it lasts; from the attacker's address none do, and
    // who is known there goes on.
    for n in 1_000..1_020 {
        world.me(&server, &good(n)).await.expect_ok();
    }
    let mut there = Line::open(address, ATTACKER).await;
    assert_eq!(there.ask(&known[0]).await.0, 200);
    let took = begun.elapsed();
    end(&flood, senders).await;

    let sent = [&flood.refused, &flood.not_looked_at, &flood.other]
        .map(|count| count.load(Ordering::Relaxed));
    let hits = metric(&world, &server, "vestibule_token_cache_hits_total").await - hits_before;
    let expected = during.len() + 1;
    let [p99_idle, p99_crowded, p99] = [&idle, &crowded, &during].map(|it| percentile(it, 99));
    let grown = memory(&server).saturating_sub(memory_before);
    let calls = world.sandbox.all_calls() - calls_before;
    println!(
        "flood: {:.0}/s for {took:.1?}; refused, not looked at, other: {sent:?}; good callers: \
         {hits} of {expected} remembered; p99 idle {p99_idle:?}, beside as many good requests \
         {p99_crowded:?}, beside the flood {p99:?}; memory +{grown} KiB; calls {calls}",
        sent.iter().sum::<u64>() as f64 / took.as_secs_f64(),
    );
    let looked_at = 20.0 * (10.0 + took.as_secs_f64()) + LINES as f64;
    assert!(sent[0] as f64 <= looked_at, "{sent:?} of {looked_at}");
    assert!(sent[1] > sent[0] && sent[2] == 0, "{sent:?}");
    assert!(hits >= 0.95 * expected as f64, "{hits} of {expected}");
    assert_eq!(calls, 0);
    assert!(grown < 8 * 1024, "{grown} KiB");
    let most = match seconds() {
        Some(_) => p99_idle * 3,
        // Where other tests run beside it, an idle server is no measure.
        None => (p99_idle.max(p99_crowded) * 3).max(Duration::from_millis(20)),
    };
    assert!(p99 <= most, "{p99_idle:?}, {p99_crowded:?} -> {p99:?}");
}

/// Invented keys and invented clients, 50,000 each in a minute where it is long: the provider is
/// asked once a second at most, never about somebody unknown here, and a key that is really new
/// works within two seconds at any moment of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_keys_and_clients() {
    let world = World::new(&[QUIET]).await;
    let server = world.place.serve();
    let address = server.address().parse().unwrap();
    let time = Duration::from_secs(seconds().unwrap_or(4));
    world.me(&server, &world.user("user_ada")).await.expect_ok();
    let sandbox = &world.sandbox;
    let calls = |kind| sandbox.calls(kind);
    let (keys_before, clients_before) = (calls(Endpoint::Jwks), calls(Endpoint::ClientJwks));
    let mut tokens: Vec<Box<dyn FnMut() -> String + Send>> = Vec::new();
    for line in 0..LINES {
        let (user, robot) = (
            sandbox.user_token("user_ada"),
            sandbox.client_token("sc_robot01"),
        );
        let mut number = 0;
        let issuer = sandbox.issuer().to_owned();
        tokens.push(Box::new(move || {
            number += 1;
            let token = if line % 2 == 0 {
                user.clone().kid(format!("invented{line}-{number}"))
            } else {
                let id = format!("sc_x{line}x{number}");
                robot
                    .clone()
                    .issuer(format!("{issuer}/v1/clients/{id}"))
                    .sub(id)
            };
            token.raw_signature([7; 64]).mint()
        }));
    }
    // 100,000 in a minute.
    let pace = Duration::from_millis(7);
    let (flood, senders) = flood(address, tokens, pace);
    let begun = Instant::now();
    let mut worst = Duration::ZERO;
    while begun.elapsed() < time {
        sandbox.rotate_account_key();
        let rotated = Instant::now();
        let token = world.user("user_ada");
        world
            .is_let_in(&server, &token, Duration::from_secs(2))
            .await;
        worst = worst.max(rotated.elapsed());
        tokio::time::sleep(Duration::from_millis(170)).await;
    }
    let took = begun.elapsed();
    end(&flood, senders).await;
    let sent = flood.refused.load(Ordering::Relaxed);
    let asked = calls(Endpoint::Jwks) - keys_before;
    println!(
        "invented: {sent} tokens in {took:.1?}; {asked} calls for keys; a new key works within {worst:?}"
    );
    assert_eq!(flood.other.load(Ordering::Relaxed), 0);
    assert_eq!(flood.not_looked_at.load(Ordering::Relaxed), 0);
    assert!(sent as f64 > 100.0 * took.as_secs_f64(), "{sent}");
    assert!(asked <= took.as_secs() + 2, "{asked} in {took:?}");
    assert_eq!(calls(Endpoint::ClientJwks), clients_before);
}
