//! New settings while the server serves, and servers that are replaced: nobody is refused for it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::{
    support::Running,
    world::{Answer, World, eventually, http},
};

/// Callers who never stop asking, and what they were told that was not 200.
struct Callers {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    wrong: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Asks whichever server `pick` gives, as fast as it answers.
    fn start(tokens: &[String], pick: impl Fn(usize) -> String + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let tasks = tokens
            .iter()
            .enumerate()
            .map(|(number, token)| {
                let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
                let (wrong, token, pick) = (Arc::clone(&wrong), token.clone(), pick.clone());
                tokio::spawn(async move {
                    let http = http();
                    let mut turn = number;
                    while !stop.load(Ordering::Relaxed) {
                        turn += 1;
                        // Now over kept connections, now over new ones.
                        let path = ["/v1/me", "/v1/authorize", "/v1/users"][turn % 3];
                        let mut request = http.get(format!("{}{path}", pick(turn)));
                        if turn % 7 == 0 {
                            request = request.header("connection", "close");
                        }
                        let said = match request.bearer_auth(&token).send().await {
                            Ok(answer) if answer.status() == 200 => match answer.bytes().await {
                                Ok(_) => None,
                                Err(error) => Some(format!("{error:?}")),
                            },
                            Ok(answer) => Some(format!("{path}: {answer:?}")),
                            Err(error) => Some(format!("{path}: {error:?}")),
                        };
                        asked.fetch_add(1, Ordering::Relaxed);
                        if let Some(said) = said {
                            wrong.lock().unwrap().push(said);
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            asked,
            wrong,
            tasks,
        }
    }

    /// How many requests there were; none of them may have failed.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{}: {:?}", wrong.len(), wrong.first());
        self.asked.load(Ordering::Relaxed)
    }
}

fn config(world: &World) -> PathBuf {
    world.place.path().join("vestibule.toml")
}

fn serve(world: &World) -> Running {
    world
        .place
        .serve_with(&["--config", config(world).to_str().unwrap()])
}

fn taken_over(server: &Running) -> usize {
    server.log().matches("\"new settings\"").count()
}

fn refused(server: &Running) -> usize {
    server.log().matches("the old ones stay").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_times_under_load() {
    let world = World::new(&[]).await;
    std::fs::write(config(&world), "").unwrap();
    let server = serve(&world);
    let tokens = ["user_ada", "user_alan", "user_grace"].map(|user| world.user(user));
    for token in &tokens {
        world.me(&server, token).await.expect_ok();
    }
    let public = server.public.clone();
    let callers = Callers::start(&tokens, move |_| public.clone());
    for turn in 1..=100_u32 {
        // Every fourth the library's own, so that it is opened anew.
        let text = format!(
            "vestibule_decision_max_age = {}\ntoken_leeway = {}\n",
            turn % 5,
            30 + turn / 4
        );
        // At once: who reads it in the middle of writing finds less.
        let new = config(&world).with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, config(&world)).unwrap();
        server.signal("-HUP");
        eventually(Duration::from_secs(10), "they are taken over", async || {
            taken_over(&server) >= turn as usize
        })
        .await;
    }
    let asked = callers.end().await;
    assert!(asked > 500, "{asked}");
    let log = server.log();
    assert_eq!(refused(&server), 0, "{log}");
    // The first time names what was left to its default. Who looks at the file himself may have been
    // faster than the signal, and then one of the others counted for two.
    let opened_anew = log.matches("\"library\":true").count();
    assert!((13..=26).contains(&opened_anew), "{opened_anew}: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_changes_nothing() {
    let world = World::new(&[]).await;
    let rule = |callers: &str| format!("[[rules]]\npath = \"/v1/*\"\ncallers = \"{callers}\"\n");
    std::fs::write(config(&world), "").unwrap();
    let server = serve(&world);
    let ada = world.user("user_ada");
    let authorized = async || {
        let request = world.http.get(format!("{}/v1/authorize", server.public));
        Answer::of(request.bearer_auth(&ada)).await.status
    };
    assert_eq!(authorized().await, 200);
    for (number, wrong) in [
        "token_leeway = \"soon\"\n".to_owned(),
        "no toml at all".to_owned(),
        rule("nobody"),
        "database_url = \"sqlite:/nowhere/at/all.db\"\n".to_owned(),
        "authress_issuers = \"http://evil.example\"\n".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        std::fs::write(config(&world), wrong).unwrap();
        server.signal("-HUP");
        eventually(Duration::from_secs(10), wrong, async || {
            refused(&server) > number || taken_over(&server) > 0
        })
        .await;
        // The environment has its own word on two of them.
        assert_eq!(authorized().await, 200, "{wrong}");
    }
    // Nobody has to say so: the file is looked at.
    let before = taken_over(&server);
    std::fs::write(config(&world), rule("machine")).unwrap();
    eventually(Duration::from_secs(4), "the rule counts", async || {
        authorized().await == 403
    })
    .await;
    assert_eq!(taken_over(&server), before + 1, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_log_lines() {
    let world = World::new(&[]).await;
    std::fs::write(config(&world), "").unwrap();
    let server = serve(&world);
    std::fs::write(
        config(&world),
        "vestibule_grpc_listen = \"127.0.0.1:1\"\nvestibule_log = \"warn\"\n",
    )
    .unwrap();
    server.signal("-HUP");
    eventually(Duration::from_secs(5), "it is said", async || {
        server.log().contains("change with the next start")
    })
    .await;
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    world
        .me(&server, "nobody")
        .await
        .expect(401, "invalid_token");
    // Lines of the access log are of the level info.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.access_lines(0).is_empty(), "{}", server.log());
}

/// A server that somebody else may stop, and its address.
type Replaceable = (Arc<Mutex<Option<Running>>>, String);

/// Whoever balances looks at `/readyz`, and sends to those that are ready.
struct Balancer {
    servers: Mutex<Vec<Replaceable>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_are_replaced_one_after_another() {
    let world = World::new(&[("VESTIBULE_DRAIN", "2")]).await;
    let start = || {
        let server = world.place.serve();
        let public = server.public.clone();
        (Arc::new(Mutex::new(Some(server))), public)
    };
    let balancer = Arc::new(Balancer {
        servers: Mutex::new((0..3).map(|_| start()).collect()),
    });
    let ready: Arc<Mutex<Vec<String>>> = Arc::default();
    let looking = {
        let (balancer, ready) = (Arc::clone(&balancer), Arc::clone(&ready));
        tokio::spawn(async move {
            let http = http();
            loop {
                let all: Vec<String> = balancer
                    .servers
                    .lock()
                    .unwrap()
                    .iter()
                    .map(|(_, public)| public.clone())
                    .collect();
                let mut found = Vec::new();
                for public in all {
                    let answer = http.get(format!("{public}/readyz")).send().await;
                    if answer.is_ok_and(|answer| answer.status() == 200) {
                        found.push(public);
                    }
                }
                *ready.lock().unwrap() = found;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    eventually(Duration::from_secs(10), "all are ready", async || {
        ready.lock().unwrap().len() == 3
    })
    .await;
    let tokens = ["user_ada", "user_alan", "user_grace"].map(|user| world.user(user));
    let picked = Arc::clone(&ready);
    let callers = Callers::start(&tokens, move |turn| {
        let ready = picked.lock().unwrap();
        ready[turn % ready.len()].clone()
    });
    for number in 0..3 {
        let (old, _) = balancer.servers.lock().unwrap()[number].clone();
        let stopping = tokio::task::spawn_blocking(move || {
            let mut server = old.lock().unwrap().take().unwrap();
            let begun = Instant::now();
            let (code, _) = server.stop("-TERM");
            (code, begun.elapsed())
        });
        let (code, took) = stopping.await.unwrap();
        assert_eq!(code, Some(0));
        let expected = Duration::from_secs(2)..Duration::from_secs(5);
        assert!(expected.contains(&took), "{took:?}");
        let new = start();
        let public = new.1.clone();
        balancer.servers.lock().unwrap()[number] = new;
        eventually(
            Duration::from_secs(10),
            "the new one is ready",
            async || ready.lock().unwrap().contains(&public),
        )
        .await;
    }
    let asked = callers.end().await;
    looking.abort();
    assert!(asked > 500, "{asked}");
}
