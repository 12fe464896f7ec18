//! Two accounts, whatever they do in whatever order, against a model of what they should see.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::application::{Caller, Place};

const OPERATIONS: usize = 100;

/// A note as its account should see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    id: String,
    text: String,
    author: String,
}

/// A small generator (xorshift): the same seed gives the same story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.roll(from.len())])
    }
}

/// Callers of one account, and its notes, the oldest first.
struct Account {
    callers: Vec<(&'static str, Caller)>,
    notes: Vec<Note>,
}

#[tokio::test]
async fn interleaved_operations_agree_with_the_model() {
    let (place, ..) = Place::with_accounts().await;
    let notes = place.start().await;
    let user = |id| (id, place.user(&notes, id));
    let machine = |id| (id, place.machine(&notes, id));
    let account = |callers| Account {
        callers,
        notes: Vec::new(),
    };
    let mut accounts = [
        account(vec![
            user("user_ada"),
            user("user_alan"),
            machine("sc_robot01"),
        ]),
        account(vec![user("user_grace"), machine("sc_robot02")]),
    ];
    let seed = Uuid::new_v4().as_u64_pair().0 | 1;
    let mut dice = Dice(seed);
    let mut authors: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut done: BTreeMap<&'static str, usize> = BTreeMap::new();
    for step in 0..OPERATIONS {
        let context = format!("seed {seed}, step {step}");
        let (mine, other) = {
            let at = dice.roll(2);
            let (left, right) = accounts.split_at_mut(1);
            match at {
                0 => (&mut left[0], &right[0]),
                _ => (&mut right[0], &left[0]),
            }
        };
        let (name, caller) = dice.pick(&mine.callers).unwrap().clone();
        let operation = match dice.roll(10) {
            0..=3 => {
                let text = format!("{name} {step}");
                let body = json!({ "text": text }).to_string();
                let answer = caller.ask(Method::POST, "/notes", Some(&body)).await;
                assert_eq!(answer.status, 201, "{context}: {answer:?}");
                let field = |name: &str| answer.body[name].as_str().unwrap().to_owned();
                let note = Note {
                    id: field("id"),
                    text: field("text"),
                    author: field("created_by"),
                };
                assert_eq!(note.text, text, "{context}");
                let author = authors.entry(name).or_insert_with(|| note.author.clone());
                assert_eq!(*author, note.author, "{context}");
                mine.notes.push(note);
                "create"
            }
            4 => {
                let answer = caller.ask(Method::POST, "/notes", Some(r#"{"text":""}"#));
                answer.await.expect_problem(400, "invalid_request");
                "create badly"
            }
            5 => match dice.pick(&mine.notes) {
                Some(note) => {
                    let answer = caller.get(&format!("/notes/{}", note.id)).await;
                    assert_eq!(answer.body, shown(note), "{context}");
                    "read"
                }
                None => "nothing",
            },
            6 if !mine.notes.is_empty() => {
                let gone = mine.notes.remove(dice.roll(mine.notes.len()));
                let path = format!("/notes/{}", gone.id);
                let answer = caller.ask(Method::DELETE, &path, None).await;
                assert_eq!(answer.status, 204, "{context}");
                let again = caller.get(&path).await;
                again.expect_problem(404, "not_found");
                "delete"
            }
            7 | 8 => match dice.pick(&other.notes) {
                Some(note) => {
                    let path = format!("/notes/{}", note.id);
                    let method = [Method::GET, Method::DELETE][dice.roll(2)].clone();
                    let answer = caller.ask(method, &path, None).await;
                    answer.expect_problem(404, "not_found");
                    "reach over"
                }
                None => "nothing",
            },
            _ => "list",
        };
        *done.entry(operation).or_default() += 1;
        // Whatever happened, both accounts see what they should.
        for account in &accounts {
            let (_, caller) = dice.pick(&account.callers).unwrap();
            let shown: Vec<_> = account.notes.iter().map(shown).collect();
            let answer = caller.get("/notes").await;
            assert_eq!(answer.body, json!(shown), "{context} ({operation})");
        }
    }
    // Nobody is somebody else, and the story had something of everything.
    let mut names: Vec<_> = authors.values().collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), authors.len(), "seed {seed}");
    assert!(
        done.contains_key("reach over") && done.contains_key("delete"),
        "{done:?}"
    );
}

fn shown(note: &Note) -> serde_json::Value {
    json!({ "id": note.id, "text": note.text, "created_by": note.author })
}
