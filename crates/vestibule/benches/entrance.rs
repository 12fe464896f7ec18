//! What it costs to find out who calls, from the request's headers to the principal, without a
//! network and without a server.
//!
//! | name | what it is |
//! | --- | --- |
//! | `lookup` | one `quick_cache` lookup of the same token among as many entries: the yardstick of a hit |
//! | `hit` | a token that was verified before |
//! | `verified` | the same, as far as the verified token: no principal |
//! | `signature` | the bare Ed25519 check of the same token: the yardstick of a miss |
//! | `miss` | a token that nobody has seen |
//! | `refused` | a token that was refused before |
//!
//! Tokens are taken in an order of chance, so that each finds the processor's caches as it would
//! among many callers. All in turn, in one run, on one thread; medians of rounds.
//!
//! `cargo bench -p vestibule --bench entrance`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use quick_cache::sync::Cache;
use tokio::runtime::{Builder, Runtime};
use vestibule::{
    Authenticator, Settings, Vestibule, bearer::BearerToken, clock::SystemClock,
    settings::SettingsReader, store::Directory, tenancy::TenantSpaces,
};
use vestibule_sandbox::{Sandbox, User};

/// Tokens that are remembered.
const TOKENS: usize = 100_000;
/// Their owners.
const USERS: usize = 10_000;
/// Tokens that come for the first time.
const STRANGE: usize = 4_000;

const ROUNDS: usize = 40;
/// Of each round, and of a round of what costs a signature.
const BATCH: usize = TOKENS / ROUNDS;
const SLOW_BATCH: usize = STRANGE / ROUNDS;

/// For how long two threads are measured.
const SCALING: Duration = Duration::from_millis(1_500);

fn main() {
    // One thread, so that all of what is allocated is seen.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::open());
    // What a background task wakes is woken within it.
    let _within = runtime.enter();
    world.compare(&runtime);
    world.allocations(&runtime);
    world.memory(&runtime);
    world.scaling();
}

struct World {
    vestibule: Vestibule,
    requests: Vec<HeaderMap>,
    strange: Vec<HeaderMap>,
    /// As strange, for the last.
    kept: Vec<HeaderMap>,
    garbage: Vec<HeaderMap>,
    yardstick: Cache<Box<str>, Arc<str>>,
    key: VerifyingKey,
    _sandbox: Sandbox,
    _files: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        let files = tempfile::tempdir().unwrap();
        let mut pairs = sandbox.environment();
        let database = format!("sqlite:{}", files.path().join("vestibule.db").display());
        pairs.push(("DATABASE_URL", database));
        pairs.push(("TOKEN_CACHE_SIZE", (2 * TOKENS).to_string()));
        // Nothing is asked again while it runs.
        for age in ["TOKEN_CACHE_TTL", "USER_CACHE_TTL", "JWKS_REFRESH"] {
            pairs.push((age, "3600".to_owned()));
        }
        let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
        let clock = Arc::new(SystemClock);
        let directory = Directory::migrate(&settings.database, clock.clone())
            .await
            .unwrap();
        let spaces = TenantSpaces::open(&settings.database, &directory, clock).unwrap();
        spaces.create_account("Acme", "tenant_acme").await.unwrap();
        let vestibule = Vestibule::builder(settings).build().await.unwrap();

        for number in 0..USERS {
            let user = User::new(format!("user_{number:06}")).tenant("tenant_acme");
            sandbox.add_user(user.name("A user").email("user@acme.example"));
        }
        let token = |number: usize, life: usize| {
            let user = format!("user_{:06}", number % USERS);
            let life = i64::try_from(life).unwrap();
            sandbox.user_token(&user).expires_in(life).mint()
        };
        let tokens: Vec<String> = shuffled(TOKENS)
            .into_iter()
            .map(|number| token(number, 40_000 + number / USERS))
            .collect();
        let strange: Vec<_> = (0..STRANGE).map(|number| token(number, 80_000)).collect();
        let garbage = tokens.iter().take(BATCH).map(|token| {
            let (signed, _) = token.rsplit_once('.').unwrap();
            headers(&format!("{signed}.{}", "A".repeat(86)))
        });
        let garbage: Vec<HeaderMap> = garbage.collect();
        let requests: Vec<HeaderMap> = tokens.iter().map(|token| headers(token)).collect();
        // Twice: the first visit of a user makes him one.
        for requests in [&requests, &requests, &garbage] {
            for request in requests {
                let first = vestibule.authenticator().validate_token(request).await;
                black_box(first.is_ok());
            }
        }
        let yardstick = Cache::new(TOKENS);
        for token in &tokens {
            yardstick.insert(token.as_str().into(), Arc::from("a principal"));
        }
        Self {
            key: VerifyingKey::from_bytes(&sandbox.account_key().public_key()).unwrap(),
            requests,
            kept: (0..STRANGE)
                .map(|number| headers(&token(number, 70_000)))
                .collect(),
            strange: strange.iter().map(|token| headers(token)).collect(),
            garbage,
            yardstick,
            vestibule,
            _sandbox: sandbox,
            _files: files,
        }
    }

    fn authenticator(&self) -> &Authenticator {
        self.vestibule.authenticator()
    }

    fn compare(&self, runtime: &Runtime) {
        let mut times: [Vec<f64>; 6] = Default::default();
        for (round, requests) in self.requests.chunks(BATCH).enumerate() {
            let strange = &self.strange[round * SLOW_BATCH..][..SLOW_BATCH];
            rest(runtime);
            let in_turn = [
                each(requests, |request| {
                    black_box(self.yardstick.get(token(request)));
                }),
                each(requests, |request| self.hit(request)),
                each(requests, |request| {
                    let token = BearerToken::parse(token(request)).unwrap();
                    let verified = self.authenticator().cached_verify_token(&token);
                    black_box(verified.now_or_never().unwrap().unwrap());
                }),
                each(strange, |request| self.signature(request)),
                runtime.block_on(async {
                    let begun = Instant::now();
                    for request in strange {
                        let principal = self.authenticator().validate_token(request).await;
                        black_box(principal.unwrap());
                    }
                    nanoseconds(begun.elapsed(), strange.len())
                }),
                each(&self.garbage, |request| {
                    let refusal = self.authenticator().validate_token(request);
                    black_box(refusal.now_or_never().unwrap().unwrap_err());
                }),
            ];
            for (all, one) in times.iter_mut().zip(in_turn) {
                all.push(one);
            }
        }
        let names = ["lookup", "hit", "verified", "signature", "miss", "refused"];
        for (name, times) in names.into_iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            say(name, times[times.len() / 2], times);
        }
        for (ours, yardstick, most, aim) in [
            (1, 0, 2.0, "a hit is at most 2 lookups"),
            (4, 3, 1.15, "a miss is at most 1.15 signature checks"),
        ] {
            let median = |which: usize| times[which][times[which].len() / 2];
            let ratio = median(ours) / median(yardstick);
            aim_at(aim, ratio, "times", ratio <= most);
        }
    }

    fn hit(&self, request: &HeaderMap) {
        let principal = self.authenticator().validate_token(request);
        black_box(principal.now_or_never().unwrap().unwrap());
    }

    fn signature(&self, request: &HeaderMap) {
        let (signed, signature) = token(request).rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        self.key
            .verify_strict(signed.as_bytes(), &signature)
            .unwrap();
    }

    fn allocations(&self, runtime: &Runtime) {
        rest(runtime);
        let hits = || {
            for request in &self.requests[..BATCH] {
                self.hit(request);
            }
        };
        // Some have come to the end of their time bucket meanwhile, and are verified again.
        hits();
        let counted = allocation_counter::measure(hits);
        let count = counted.count_total;
        aim_at(
            "a hit allocates nothing",
            count as f64,
            "allocations",
            count == 0,
        );
    }

    /// What a remembered token of a known user takes, once it was used.
    fn memory(&self, runtime: &Runtime) {
        rest(runtime);
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async {
                for request in &self.kept {
                    let principal = self.authenticator().validate_token(request).await;
                    black_box(principal.unwrap());
                }
            });
        });
        let claims = self.kept.iter().map(|request| {
            let payload = token(request).split('.').nth(1).unwrap();
            URL_SAFE_NO_PAD.decode(payload).unwrap().len()
        });
        let claims = claims.sum::<usize>() as f64 / STRANGE as f64;
        let all = counted.bytes_current as f64 / STRANGE as f64;
        println!(
            "bench: {{\"name\": \"memory of a remembered token\", \"bytes\": {all:.0}, \"claims\": {claims:.0}, \
             \"beyond\": {:.0}}}",
            all - claims
        );
    }

    /// Hits in a second, on one thread and on two.
    fn scaling(&self) {
        let hits = |threads: usize| {
            let start = Barrier::new(threads);
            thread::scope(|scope| {
                let running: Vec<_> = (0..threads)
                    .map(|thread| {
                        let start = &start;
                        scope.spawn(move || {
                            start.wait();
                            let begun = Instant::now();
                            let own = self.requests.iter().skip(thread).step_by(threads);
                            let mut count = 0_u32;
                            for request in own.cycle() {
                                self.hit(request);
                                count += 1;
                                if count.is_multiple_of(256) && begun.elapsed() > SCALING {
                                    break;
                                }
                            }
                            f64::from(count) / begun.elapsed().as_secs_f64()
                        })
                    })
                    .collect();
                let counts = running.into_iter().map(|thread| thread.join().unwrap());
                counts.sum::<f64>()
            })
        };
        let [one, two, again] = [hits(1), hits(2), hits(1)];
        let ratio = 2.0 * two / (one + again);
        let aim = "two threads do at least 1.8 times the hits of one";
        aim_at(aim, ratio, "times", ratio >= 1.8);
    }
}

/// What runs beside requests has its turn: what it would have heard of is asked for at every use
/// where it has not listened for a while.
fn rest(runtime: &Runtime) {
    runtime.block_on(tokio::time::sleep(Duration::from_millis(50)));
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, value);
    headers
}

fn token(request: &HeaderMap) -> &str {
    let value = request[AUTHORIZATION].to_str().unwrap();
    value.strip_prefix("Bearer ").unwrap()
}

/// All numbers below `count`, once each: a full period of a linear congruence.
fn shuffled(count: usize) -> Vec<usize> {
    (0..count).map(|n| (n * 61_803 + 12_345) % count).collect()
}

fn each<T>(batch: &[T], mut run: impl FnMut(&T)) -> f64 {
    let begun = Instant::now();
    for one in batch {
        run(one);
    }
    nanoseconds(begun.elapsed(), batch.len())
}

fn nanoseconds(all: Duration, count: usize) -> f64 {
    all.as_secs_f64() * 1e9 / count as f64
}

fn aim_at(aim: &str, value: f64, unit: &str, holds: bool) {
    println!(
        "bench: {{\"name\": \"{aim}\", \"aim\": \"{aim}\", \"value\": {value:.3}, \"unit\": \"{unit}\", \"holds\": {holds}}}"
    );
}

fn say(name: &str, median: f64, sorted: &[f64]) {
    let (low, high) = (sorted[sorted.len() / 10], sorted[sorted.len() * 9 / 10]);
    println!(
        "bench: {{\"name\": \"{name}\", \"median_ns\": {median:.1}, \"low_ns\": {low:.1}, \"high_ns\": {high:.1}}}"
    );
}
