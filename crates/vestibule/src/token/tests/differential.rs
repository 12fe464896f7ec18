//! A verifier with a memory and one without, side by side through the same random world: keys come
//! and go, clients are registered and removed, the provider fails, clocks jump. At every moment
//! both give the same answer to the same token.
//!
//! `DIFFERENTIAL_SEQUENCES` makes it long.

use std::{
    env,
    sync::{Arc, LazyLock, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::world::{
    ISSUER, Mint, NOW, NOW_SECS, ORIGIN, OTHER_ROBOT, OTHER_ROBOT_KEY, PROVIDER_KEY, ROBOT,
    ROBOT_KEY, SECOND_ISSUER, SECOND_ISSUER_KEY, STRANGERS_KEY, World,
};
use crate::{
    bearer::BearerToken,
    clock::{Clock as _, ManualClock},
    error::Code,
    settings::ProviderSettings,
    token::{CachedVerifier, KeySetId, TokenClass, TokenPolicy, VerifiedToken, Verifier},
};

/// So few that entries are pushed out all the time.
const SIZE: usize = 8;
/// So long that nothing but its own end, its key and its place ends an entry.
const TTL: Duration = Duration::from_secs(10_000_000);

const KIDS: [&str; 3] = ["account1", "second1", "robot1"];
const SEEDS: [u8; 5] = [
    PROVIDER_KEY,
    SECOND_ISSUER_KEY,
    ROBOT_KEY,
    OTHER_ROBOT_KEY,
    STRANGERS_KEY,
];

#[derive(Clone, Debug)]
enum Step {
    /// Somebody comes with this token of the pool.
    Use(usize),
    /// Many come with their own, once: what is remembered is pushed out.
    Crowd,
    Pass(u64),
    SetBack(u64),
    /// A key of a set appears, changes or goes.
    Key(usize, usize, Option<usize>),
    Register(usize, bool),
    Provider(bool),
}

/// Tokens that are nearly alike: most good at some time under some keys, many never.
static POOL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let machine = |robot: &str| {
        Mint::machine()
            .claim("iss", json!(format!("{ORIGIN}/v1/clients/{robot}")))
            .claim("sub", json!(robot))
            .claim("client_id", json!(robot))
    };
    let second = Mint::user()
        .claim("iss", json!(SECOND_ISSUER))
        .header("kid", json!("second1"))
        .signed_by(SECOND_ISSUER_KEY);
    let mut mints = vec![
        Mint::user(),
        second,
        machine(ROBOT),
        machine(OTHER_ROBOT).signed_by(OTHER_ROBOT_KEY),
    ];
    for base in mints.clone() {
        for seed in SEEDS {
            mints.push(base.clone().signed_by(seed));
        }
        for kid in KIDS {
            mints.push(base.clone().header("kid", json!(kid)));
        }
        for (claim, value) in [
            ("scope", json!("openid admin")),
            ("aud", json!(["tenant_globex"])),
            ("aud", json!(["tenant_acme", "https://api.example.com"])),
            ("sub", json!("user_grace")),
            ("client_id", json!("app_other1")),
            ("iss", json!(SECOND_ISSUER)),
            ("exp", json!(NOW_SECS + 50)),
            ("exp", json!(NOW_SECS - 50)),
            ("nbf", json!(NOW_SECS + 200)),
            ("iat", json!(NOW_SECS + 100)),
        ] {
            mints.push(base.clone().claim(claim, value));
        }
    }
    let first = mints[0].signature();
    let mut tokens: Vec<_> = mints.iter().map(Mint::mint).collect();
    // The end of one behind the beginning of another.
    tokens.extend(mints.iter().step_by(5).map(|it| it.with_signature(&first)));
    tokens.extend(
        mints
            .iter()
            .step_by(7)
            .map(|it| format!("{}.", it.signing_input())),
    );
    tokens.extend(["a.b.c", "a.b", "eyJ9.eyJ9.AAAA"].map(str::to_owned));
    tokens
});

static CROWD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let one = |number: usize| Mint::user().claim("jti", json!(number)).mint();
    (0..3 * SIZE).map(one).collect()
});

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Of a few, again and again; of all, now and then.
        12 => (0_usize..6).prop_map(Step::Use),
        12 => (0_usize..POOL.len()).prop_map(Step::Use),
        1 => Just(Step::Crowd),
        2 => prop_oneof![0_u64..1_000, 0_u64..120_000, 0_u64..5_000_000].prop_map(Step::Pass),
        1 => (0_u64..400_000).prop_map(Step::SetBack),
        3 => (0_usize..4, 0..KIDS.len(), proptest::option::of(0..SEEDS.len()))
            .prop_map(|(set, kid, seed)| Step::Key(set, kid, seed)),
        1 => (0_usize..2, any::<bool>()).prop_map(|(robot, on)| Step::Register(robot, on)),
        1 => prop_oneof![2 => Just(true), 1 => Just(false)].prop_map(Step::Provider),
    ]
}

fn policies() -> [fn(&mut ProviderSettings); 4] {
    [
        |_| {},
        |it| it.api_audiences = vec!["https://api.example.com".to_owned()],
        |it| it.applications = vec!["app_other1".to_owned()],
        |it| {
            it.issuers = vec![ISSUER.into()];
            it.token_leeway = Duration::ZERO;
        },
    ]
}

/// What a caller learns, and what the application would be told.
type Answer = Result<String, Code>;

struct Pair {
    world: World,
    clock: ManualClock,
    with: CachedVerifier,
    without: CachedVerifier,
}

impl Pair {
    fn new(policy: usize) -> Self {
        let change = policies()[policy];
        let world = World::with(change);
        let clock = ManualClock::new(NOW);
        let verifier = || {
            let mut settings = super::world::settings();
            change(&mut settings);
            Verifier::new(
                TokenPolicy::new(&settings),
                Arc::clone(&world.keys) as _,
                Arc::clone(&world.clients) as _,
            )
        };
        let cached = |size| CachedVerifier::new(verifier(), size, TTL, Arc::new(clock.clone()));
        let (with, without) = (cached(SIZE), cached(0));
        Self {
            world,
            clock,
            with,
            without,
        }
    }

    fn ask(&self, verifier: &CachedVerifier, token: &str) -> Answer {
        let token = BearerToken::parse(token).unwrap();
        let answer = verifier.cached_verify_token(&token);
        let answer = answer.now_or_never().expect("the fakes answer at once");
        match answer {
            // What the next stage asks of every machine, remembered or not.
            Ok(it) if it.token.class() == TokenClass::Machine && !self.is_known(&it.token) => {
                Err(Code::InvalidToken)
            }
            Ok(it) => Ok(format!("{:?}", it.token.0.facts)),
            Err(reason) => Err(reason.code()),
        }
    }

    fn is_known(&self, token: &VerifiedToken) -> bool {
        let registered = self.world.clients.registered.lock().unwrap();
        registered.contains(&**token.client_id())
    }

    fn both_refuse_or_agree(&self, token: &str) -> Result<bool, TestCaseError> {
        let (with, without) = (self.ask(&self.with, token), self.ask(&self.without, token));
        // A client that is unknown is refused before anybody is asked for its keys; one that was
        // remembered may first be refused because they cannot be had.
        let removed = self.world.clients.registered.lock().unwrap().len() < 3;
        if removed && with.is_err() && without.is_err() {
            return Ok(false);
        }
        let accepted = without.is_ok();
        prop_assert_eq!(with, without, "{}", token);
        Ok(accepted)
    }

    fn take(&self, step: &Step) -> Result<(), TestCaseError> {
        let sets = [
            KeySetId::Issuer(ISSUER.into()),
            KeySetId::Issuer(SECOND_ISSUER.into()),
            KeySetId::Client(ROBOT.into()),
            KeySetId::Client(OTHER_ROBOT.into()),
        ];
        match step {
            Step::Use(token) => drop(self.both_refuse_or_agree(&POOL[*token])?),
            Step::Crowd => {
                for token in CROWD.iter() {
                    self.both_refuse_or_agree(token)?;
                }
            }
            Step::Pass(millis) => self.clock.advance(Duration::from_millis(*millis)),
            Step::SetBack(millis) => {
                let now = self.clock.now();
                self.clock
                    .set(now.saturating_sub(Duration::from_millis(*millis)));
            }
            Step::Key(set, kid, seed) => {
                let seed = seed.map(|seed| SEEDS[seed]);
                self.world.keys.set(&sets[*set], KIDS[*kid], seed);
            }
            Step::Register(robot, on) => {
                let mut registered = self.world.clients.registered.lock().unwrap();
                let robot = [ROBOT, OTHER_ROBOT][*robot];
                match on {
                    true => registered.insert(robot),
                    false => registered.remove(robot),
                };
            }
            Step::Provider(up) => self.world.keys.down.store(!up, SeqCst),
        }
        Ok(())
    }
}

fn sequences() -> ProptestConfig {
    let count = env::var("DIFFERENTIAL_SEQUENCES").ok();
    ProptestConfig {
        cases: count.and_then(|it| it.parse().ok()).unwrap_or(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(sequences())]

    #[test]
    fn a_memory_changes_no_answer(
        policy in 0_usize..4,
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let pair = Pair::new(policy);
        for step in &steps {
            pair.take(step)?;
        }
    }
}

/// Else the test above would compare refusals only.
#[test]
fn the_pool_has_what_is_accepted_and_what_is_not() {
    let pair = Pair::new(0);
    let mut accepted = 0;
    for token in POOL.iter() {
        accepted += usize::from(pair.both_refuse_or_agree(token).unwrap());
    }
    assert!(
        (20..POOL.len() - 20).contains(&accepted),
        "{accepted} of {}",
        POOL.len()
    );
}
