//! JSON objects in which every member occurs once (RFC 7515 §4, RFC 7519 §4, RFC 8725 §2.4).
//!
//! Two readers of a repeated member may each believe the other one, so a repetition is refused:
//! in the header or the claims themselves and in whatever lies inside them, also under names
//! that nobody here asks for. A map that keeps the last of them could not tell.

use std::{borrow::Cow, cell::Cell, collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::error::Reason;

/// A value, as far as any check here looks into it.
#[derive(Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    /// A number without fraction and exponent that fits.
    Integer(i64),
    /// Any other number; always finite.
    Number(f64),
    Text(String),
    List(Vec<Json>),
    /// Its members were looked at, and not kept.
    Object,
}

/// The members that a reader wants of an object.
pub(crate) trait Members {
    /// Where the value of `name` goes; none: it is read, and not kept.
    fn slot(&mut self, name: &str) -> Option<&mut Option<Json>>;
}

/// Fills `members` from the text of one object.
///
/// # Errors
///
/// [`Reason::DuplicateMember`], or [`Reason::BadJson`] where the text is not one JSON object.
pub(crate) fn read_object(text: &str, members: &mut impl Members) -> Result<(), Reason> {
    let repeated = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = Object {
        members,
        repeated: &repeated,
    };
    let read = reader
        .deserialize_map(object)
        .and_then(|()| reader.end())
        .map_err(|_| Reason::BadJson);
    if repeated.get() {
        return Err(Reason::DuplicateMember);
    }
    read
}

struct Object<'r, M> {
    members: &'r mut M,
    repeated: &'r Cell<bool>,
}

#[derive(Clone, Copy)]
struct Value<'r> {
    repeated: &'r Cell<bool>,
}

struct Nothing;

/// Borrowed where the text has no escapes; compared as what the escapes mean.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

impl Members for Nothing {
    fn slot(&mut self, _: &str) -> Option<&mut Option<Json>> {
        None
    }
}

impl<'t, M: Members> Visitor<'t> for Object<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<(), A::Error> {
        let value = Value {
            repeated: self.repeated,
        };
        let mut seen = BTreeSet::new();
        while let Some(name) = map.next_key::<Name<'t>>()? {
            let read = map.next_value_seed(value)?;
            if let Some(slot) = self.members.slot(&name.0) {
                *slot = Some(read);
            }
            if !seen.insert(name) {
                self.repeated.set(true);
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(())
    }
}

impl<'t> DeserializeSeed<'t> for Value<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Value<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::Number(number as f64), Json::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'t>>(self, map: A) -> Result<Json, A::Error> {
        let object = Object {
            members: &mut Nothing,
            repeated: self.repeated,
        };
        object.visit_map(map)?;
        Ok(Json::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct OnlyA(Option<Json>);

    impl Members for OnlyA {
        fn slot(&mut self, name: &str) -> Option<&mut Option<Json>> {
            (name == "a").then_some(&mut self.0)
        }
    }

    fn read(text: &str) -> Result<Option<Json>, Reason> {
        let mut members = OnlyA::default();
        read_object(text, &mut members).map(|()| members.0)
    }

    #[test]
    fn keeps_what_is_wanted() {
        for (text, expected) in [
            ("{}", None),
            (r#"{"b":1}"#, None),
            (r#"{"a":null}"#, Some(Json::Null)),
            (r#"{"a":true}"#, Some(Json::Bool)),
            (r#"{"a":-7}"#, Some(Json::Integer(-7))),
            (r#"{"a":1.5}"#, Some(Json::Number(1.5))),
            (
                r#"{"a":18446744073709551615}"#,
                Some(Json::Number(18_446_744_073_709_551_615.0)),
            ),
            (r#"{"a":"\u0062"}"#, Some(Json::Text("b".into()))),
            (r#"{"a":{"a":1}}"#, Some(Json::Object)),
            (
                r#"{"a":["x",[]]}"#,
                Some(Json::List(vec![
                    Json::Text("x".into()),
                    Json::List(Vec::new()),
                ])),
            ),
            (r#" {"\u0061" : 1 } "#, Some(Json::Integer(1))),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_member_occurs_once_wherever_it_is() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":1,"a":1,"b":2}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"":1,"":1}"#,
            r#"{"b":{"c":1,"c":1}}"#,
            r#"{"b":[{"c":{"d":[{"e":1,"e":1}]}}]}"#,
            r#"{"a":{"c":1,"c":1}}"#,
        ] {
            assert_eq!(read(text), Err(Reason::DuplicateMember), "{text}");
        }
        for text in [
            r#"{"a":1,"A":1}"#,
            r#"{"a":1,"b":{"a":1}}"#,
            r#"{"b":[{"c":1},{"c":1}]}"#,
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        let deep = format!("{{\"b\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000));
        for text in [
            "",
            " ",
            "null",
            "[]",
            "\"a\"",
            "1",
            "{",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            "{'a':1}",
            "{a:1}",
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\u{1}\"}",
            "{/**/}",
            &deep,
        ] {
            assert_eq!(read(text), Err(Reason::BadJson), "{text:.40}");
        }
    }
}
