//! A person's first requests, all at once.

use std::{collections::HashSet, time::Duration};

use vestibule_sandbox::{Endpoint, Fault};

use crate::world::{Answer, World, eventually};

const REQUESTS: usize = 200;
/// Half of the requests share one token.
const TOKENS: usize = REQUESTS / 2 + 1;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_over_two_servers_make_one_user() {
    let world = World::new(&[]).await;
    let sandbox = &world.sandbox;
    let servers = [world.place.serve(), world.place.serve()];
    // Nobody is answered before both servers have asked, first for the user, then for the tenant.
    sandbox.fail(Endpoint::User, Fault::Hang);
    sandbox.fail(Endpoint::Tenant, Fault::Hang);
    let shared = world.user("user_ada");
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let token = if number < REQUESTS / 2 {
                shared.clone()
            } else {
                sandbox.user_token("user_ada").claim("jti", number).mint()
            };
            let url = format!("{}/v1/me", servers[number % 2].public);
            tokio::spawn(Answer::of(world.http.get(url).bearer_auth(token)))
        })
        .collect();
    assert!(sandbox.wait_for_calls(Endpoint::User, 2).await);
    sandbox.heal_only(Endpoint::User);
    assert!(sandbox.wait_for_calls(Endpoint::Tenant, 2).await);
    assert!(requests.iter().all(|request| !request.is_finished()));
    sandbox.heal();

    let mut ids = HashSet::new();
    for request in requests {
        let me = request.await.unwrap().expect_ok().json();
        assert_eq!(me["account"]["id"], world.acme.as_str());
        ids.insert(me["user"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1);
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    assert_eq!(users["items"].as_array().unwrap().len(), 1, "{users}");
    assert!(ids.contains(users["items"][0]["id"].as_str().unwrap()));

    // Once per process, for all of them together.
    assert_eq!(sandbox.calls(Endpoint::User), 2);
    assert_eq!(sandbox.calls(Endpoint::Tenant), 2);
    assert_eq!(sandbox.calls(Endpoint::Jwks), 2);
    let mut provisioned = 0;
    for server in &servers {
        let metrics = world.http.get(format!("{}/metrics", server.admin));
        let metrics = Answer::of(metrics).await.text;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("vestibule_users_provisioned_total "));
        provisioned += line.map_or(0, |count| count.parse::<u32>().unwrap());
    }
    assert_eq!(provisioned, 1, "one of the two made him");

    // A token's first use is one sign-in, also where two servers saw it first.
    eventually(
        Duration::from_secs(3),
        "all sign-ins are noted",
        async || {
            let activity = world.get(&servers[0], "/v1/activity?limit=200", &shared);
            activity.await.json()["items"].as_array().unwrap().len() == TOKENS
        },
    )
    .await;
}
