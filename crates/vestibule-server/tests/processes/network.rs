//! The way to the provider: TLS by the system's or a named authority, proxies only where named.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use vestibule_sandbox::Sandbox;

use crate::{
    support::{Place, Running},
    world::{Answer, World, eventually},
};

/// A proxy that connects where it is told (RFC 9110 §9.3.6), and counts.
struct Proxy {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    tunnels: Arc<AtomicU64>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            tunnels: Arc::default(),
        };
        let (connections, tunnels) = (Arc::clone(&proxy.connections), Arc::clone(&proxy.tunnels));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(tunnel(client, Arc::clone(&tunnels)));
            }
        });
        proxy
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    fn tunnels(&self) -> u64 {
        self.tunnels.load(Ordering::SeqCst)
    }
}

async fn tunnel(client: TcpStream, tunnels: Arc<AtomicU64>) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while client.read_line(&mut head).await.ok()? > 2 {}
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    // The user and password of the setting, and nothing of ours.
    assert!(!head.to_ascii_lowercase().contains("\r\nauthorization:"));
    if !head.contains("Basic cHJveHktdXNlcjpwcm94eS1wYXNz") {
        let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        return client.write_all(refused).await.ok();
    }
    let mut server = TcpStream::connect(target).await.ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    tunnels.fetch_add(1, Ordering::SeqCst);
    tokio::io::copy_bidirectional(&mut client, &mut server)
        .await
        .ok()?;
    Some(())
}

async fn over_tls() -> World {
    let sandbox = Sandbox::builder().tls(true).start().await.unwrap();
    let world = World::beside(sandbox, &[]);
    assert!(world.sandbox.url().starts_with("https://"));
    world
}

async fn ready(world: &World, server: &Running) -> Answer {
    Answer::of(world.http.get(format!("{}/readyz", server.public))).await
}

async fn becomes_ready(world: &World, server: &Running) {
    eventually(Duration::from_secs(5), "is ready", async || {
        ready(world, server).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_named_authority_is_believed_and_no_other() {
    let mut world = over_tls().await;
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    let before = world.sandbox.all_calls();
    // A file without an authority is a mistake like any other in the settings.
    let authority = world.place.set("SSL_CERT_FILE", "nowhere").unwrap();
    let mut nowhere = Place::new().with_sandbox(&world.sandbox);
    nowhere.set("SSL_CERT_FILE", "nowhere");
    let said = nowhere.run(&["serve"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{said:?}");
    assert!(said.stderr.contains("  SSL_CERT_FILE: "), "{said:?}");
    assert!(nowhere.is_untouched());

    let other = Sandbox::builder().tls(true).start().await.unwrap();
    let others = other.ca_pem_path().unwrap().to_str().unwrap();
    for not_it in [None, Some(others)] {
        match not_it {
            None => world.place.unset("SSL_CERT_FILE"),
            Some(file) => drop(world.place.set("SSL_CERT_FILE", file)),
        }
        let server = world.place.serve();
        world.me(&server, &ada).await.expect_undecided();
        world.me(&server, &robot).await.expect_undecided();
        let not_ready = ready(&world, &server).await;
        assert_eq!(not_ready.status, 503);
        assert_eq!(not_ready.json()["missing"], serde_json::json!(["keys"]));
        assert!(not_ready.header("retry-after").is_some());
    }
    assert_eq!(world.sandbox.all_calls(), before, "nothing was asked");

    world.place.set("SSL_CERT_FILE", &authority);
    let server = world.place.serve();
    becomes_ready(&world, &server).await;
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();
}

/// They are set for other programs on the machine, or by whoever may set a variable.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = Proxy::start().await;
    let url = format!("http://{}", proxy.address);
    let over_http = World::new(&[]).await;
    for mut world in [over_http, over_tls().await] {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            world.place.set(name, &url);
            world.place.set(&name.to_ascii_lowercase(), &url);
        }
        let server = world.place.serve();
        becomes_ready(&world, &server).await;
        for token in [world.user("user_ada"), world.robot("sc_robot01")] {
            world.me(&server, &token).await.expect_ok();
        }
    }
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_proxy_is_used_for_everything() {
    let proxy = Proxy::start().await;
    let mut world = over_tls().await;
    let wrong = format!("http://{}", proxy.address);
    world.place.set("PROVIDER_PROXY", &wrong);
    let before = world.sandbox.connections();
    let ada = world.user("user_ada");
    let server = world.place.serve();
    world.me(&server, &ada).await.expect_undecided();
    assert_eq!((proxy.tunnels(), world.sandbox.connections()), (0, before));
    drop(server);

    let right = format!("http://proxy-user:proxy-pass@{}", proxy.address);
    world.place.set("PROVIDER_PROXY", &right);
    world.place.set("VESTIBULE_LOG", "trace");
    let mut server = world.place.serve();
    becomes_ready(&world, &server).await;
    for token in [ada, world.robot("sc_robot01")] {
        world.me(&server, &token).await.expect_ok();
    }
    assert!(proxy.tunnels() > 0);
    assert_eq!(world.sandbox.connections(), before + proxy.tunnels());
    let log = server.whole_log();
    for secret in ["proxy-pass", "cHJveHktdXNlcjpwcm94eS1wYXNz"] {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
}

/// The database remembers whose users it holds.
#[tokio::test(flavor = "multi_thread")]
async fn another_provider_must_be_allowed_by_name() {
    let first = World::new(&[]).await;
    let mut server = first.place.serve();
    let ada = first.me(&server, &first.user("user_ada")).await;
    let ada = ada.expect_ok().json()["user"]["id"].clone();
    server.stop("-TERM");
    let World {
        sandbox: old,
        place,
        http,
        acme,
        globex,
    } = first;
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let second = World {
        place: place.with_sandbox(&sandbox),
        sandbox,
        http,
        acme,
        globex,
    };
    let said = second.place.run(&["serve"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
    for hint in [old.url(), second.sandbox.url(), "AUTHRESS_API_URL"] {
        assert!(said.stderr.contains(hint), "{hint}: {said:?}");
    }

    let server = second.place.serve_with(&["--allow", "other-provider"]);
    let by_old = old.user_token("user_ada").mint();
    second
        .me(&server, &by_old)
        .await
        .expect(401, "invalid_token");
    let me = second.me(&server, &second.user("user_ada")).await;
    assert_eq!(me.expect_ok().json()["user"]["id"], ada);
    drop(server);
    // From then on it is the new one's.
    drop(second.place.serve());
    let place = second.place.with_sandbox(&old);
    assert_eq!(place.run(&["serve"]).code, 1);
}
