//! No route of one account reaches what belongs to another.

use std::collections::BTreeSet;

use reqwest::Method;

use crate::application::Place;

/// What a route could give away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// One note, by its id.
    One,
    /// All notes of the account.
    All,
    /// The note that the request brings.
    Own,
}

/// Every route of the application. One that is missing here is found by the test below.
const ROUTES: [(&str, &str, Gives); 4] = [
    ("GET", "/notes", Gives::All),
    ("POST", "/notes", Gives::Own),
    ("GET", "/notes/{id}", Gives::One),
    ("DELETE", "/notes/{id}", Gives::One),
];

#[test]
fn every_route_is_tested() {
    let source = include_str!("../../src/main.rs");
    let mut routes = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, handlers) = route.split_once("\",").unwrap();
        let (handlers, _) = handlers.split_once('\n').unwrap();
        let methods = handlers.split('(').map(|text| {
            let name = text.rsplit(|byte: char| !byte.is_alphanumeric());
            name.into_iter().next().unwrap().to_uppercase()
        });
        // What stands after the last bracket is a handler.
        let methods: Vec<String> = methods.filter(|method| is_method(method)).collect();
        assert!(!methods.is_empty(), "{handlers}");
        routes.extend(methods.into_iter().map(|method| (method, path.to_owned())));
    }
    let tested = ROUTES.map(|(method, path, _)| (method.to_owned(), path.to_owned()));
    assert_eq!(routes, BTreeSet::from(tested), "routes against ROUTES");
}

fn is_method(text: &str) -> bool {
    let methods = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "ANY", "ON",
    ];
    methods.contains(&text)
}

#[tokio::test]
async fn no_route_reaches_another_account() {
    let (place, ..) = Place::with_accounts().await;
    let notes = place.start().await;
    let callers = [
        (
            place.user(&notes, "user_ada"),
            place.user(&notes, "user_grace"),
        ),
        (
            place.user(&notes, "user_grace"),
            place.machine(&notes, "sc_robot01"),
        ),
        (
            place.machine(&notes, "sc_robot02"),
            place.user(&notes, "user_alan"),
        ),
    ];
    for (number, (owner, stranger)) in callers.iter().enumerate() {
        let text = format!("secret {number}");
        let id = owner.write(&text).await;
        for (method, path, gives) in ROUTES {
            let method: Method = method.parse().unwrap();
            let own = path.replace("{id}", &id);
            match gives {
                Gives::One => {
                    let answer = stranger.ask(method.clone(), &own, None).await;
                    answer.expect_problem(404, "not_found");
                    // As if it were not there: the same as for an id that nobody has.
                    let nobody = uuid::Uuid::now_v7().to_string();
                    let nobody = path.replace("{id}", &nobody);
                    let nobody = stranger.ask(method, &nobody, None).await;
                    nobody.expect_problem(404, "not_found");
                }
                Gives::All => {
                    let answer = stranger.ask(method, &own, None).await;
                    assert_eq!(answer.status, 200);
                    assert!(!answer.body.to_string().contains(&text), "{answer:?}");
                }
                Gives::Own => {
                    // An id in the body is not taken, so it cannot be somebody else's.
                    let body = format!(r#"{{"text":"mine","id":"{id}"}}"#);
                    let answer = stranger.ask(method, &own, Some(&body)).await;
                    assert_eq!(answer.status, 201);
                    assert_ne!(answer.body["id"], id.as_str());
                }
            }
        }
        // It is still there, and as it was.
        let answer = owner.get(&format!("/notes/{id}")).await;
        assert_eq!((answer.status, &answer.body["text"]), (200, &text.into()));
    }
}

#[tokio::test]
async fn nobody_comes_in_without_a_token() {
    let (place, ..) = Place::with_accounts().await;
    let notes = place.start().await;
    let ada = place.user(&notes, "user_ada");
    let id = ada.write("secret").await;
    let anybody = ada.with_token("");
    let forger = ada.with_token(&format!("{}x", ada.token));
    for (method, path, _) in ROUTES {
        let method: Method = method.parse().unwrap();
        let path = path.replace("{id}", &id);
        // A bad body is not looked at before the caller is.
        let body = (method == Method::POST).then_some("{");
        let answer = anybody.ask(method.clone(), &path, body).await;
        answer.expect_problem(401, "missing_token");
        let answer = forger.ask(method, &path, body).await;
        answer.expect_problem(401, "invalid_token");
    }
    assert_eq!(ada.texts().await, ["secret"]);
}

#[tokio::test]
async fn an_account_shares_its_notes_and_knows_who_wrote_them() {
    let (place, ..) = Place::with_accounts().await;
    let notes = place.start().await;
    let callers = [
        place.user(&notes, "user_ada"),
        place.user(&notes, "user_alan"),
        place.machine(&notes, "sc_robot01"),
    ];
    let mut authors = BTreeSet::new();
    for (number, caller) in callers.iter().enumerate() {
        let id = caller.write(&number.to_string()).await;
        let seen = callers[0].get(&format!("/notes/{id}")).await;
        assert_eq!(seen.body["id"], id.as_str());
        let author = seen.body["created_by"].as_str().unwrap().to_owned();
        assert!(authors.insert(author), "{seen:?}");
        // The same caller keeps his id.
        let again = caller.write("again").await;
        let again = callers[1].get(&format!("/notes/{again}")).await;
        assert_eq!(again.body["created_by"], seen.body["created_by"]);
    }
    for caller in &callers {
        let texts = caller.texts().await;
        assert_eq!(texts, ["0", "again", "1", "again", "2", "again"]);
    }
    let grace = place.user(&notes, "user_grace");
    assert!(grace.texts().await.is_empty());
}
