//! Signals and addresses.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use vestibule_sandbox::{Endpoint, Fault, Target};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight() {
    finishes_what_is_in_flight("-TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_finishes_what_is_in_flight() {
    finishes_what_is_in_flight("-INT").await;
}

async fn finishes_what_is_in_flight(signal: &str) {
    let world = World::new(&[]).await;
    let mut server = world.place.serve();
    let address = server.address().to_owned();
    let mut idle = TcpStream::connect(&address).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    let silent = TcpStream::connect(&address).unwrap();

    let ask = |user: &str| {
        let request = world.http.get(format!("{}/v1/me", server.public));
        tokio::spawn(request.bearer_auth(world.user(user)).send())
    };
    let slow = Fault::Delay(Duration::from_millis(400));
    world.sandbox.fail(Target::path("/v1/users/user_ada"), slow);
    world
        .sandbox
        .fail(Target::path("/v1/users/user_alan"), Fault::Hang);
    let slow = ask("user_ada");
    let hanging = ask("user_alan");
    assert!(world.sandbox.wait_for_calls(Endpoint::User, 2).await);

    let signal = signal.to_owned();
    let stopped = tokio::task::spawn_blocking(move || (server.stop(&signal), server));
    let me = slow.await.unwrap().unwrap();
    assert_eq!(me.status(), 200);
    let me: serde_json::Value = me.json().await.unwrap();
    let ((code, took), server) = stopped.await.unwrap();
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < Duration::from_secs(2), "{took:?}");
    // What hangs at the provider is not waited for; nobody is told that it went well.
    let hung = hanging.await.unwrap();
    assert!(hung.map_or(true, |answer| answer.status() != 200));
    drop((idle, silent));

    // The next start finds what this one made, also what was written at the last moment.
    world.sandbox.heal();
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let again = world.me(&server, &ada).await;
    assert_eq!(again.expect_ok().json()["user"]["id"], me["user"]["id"]);
    let activity = world.get(&server, "/v1/activity", &ada).await.expect_ok();
    let activity = activity.json();
    assert_eq!(activity["items"][0]["kind"], "sign_in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_admin_address_is_named() {
    let world = World::new(&[("VESTIBULE_LISTEN", "127.0.0.1:0")]).await;
    let mut place = world.place;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.set("VESTIBULE_ADMIN_LISTEN", &address);
    let said = place.run(&["serve"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
    for hint in [&address, "VESTIBULE_ADMIN_LISTEN", "taken"] {
        assert!(said.stderr.contains(hint), "{hint}: {said:?}");
    }
}
