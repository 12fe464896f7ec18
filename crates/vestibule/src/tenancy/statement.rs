//! What a session's SQL may be: one statement that reads or writes rows.
//!
//! A transaction of an account must not end unnoticed in the middle of a request, and nothing of
//! it may stay behind on the connection. So the text of transaction control, `PRAGMA`, `ATTACH`,
//! temporary tables and the like is not filtered out; only the statements that a session is for
//! are let in. Tables are made by migrations.

use super::SessionError;

/// The statements that read or write rows.
const ALLOWED: [&str; 7] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "VALUES", "WITH",
];

/// The names of our own tables in the account's data space begin so.
pub(super) const RESERVED: &str = "vestibule_";

/// Statements that would end or nest a transaction that is not theirs.
const TRANSACTION_CONTROL: [&str; 6] = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "ATTACH",
];

/// Refuses what is not one statement of the application on the application's rows.
pub(super) fn check(sql: &str) -> Result<(), SessionError> {
    let refuse = |text: &str| Err(SessionError::Refused(text.to_owned()));
    if sql.contains('\0') {
        return refuse("a statement holds no NUL");
    }
    if begins_with_nested_comment(sql.as_bytes()) {
        // What follows it depends on the database.
        return refuse("comments do not nest");
    }
    if has_lone_return(sql.as_bytes()) {
        // It ends a comment on PostgreSQL and does not on SQLite: `-- \rCOMMIT /* \n SELECT 1 */`.
        return refuse("lines end with a line feed");
    }
    if has_escaped_name(sql.as_bytes()) {
        // It could spell any name, ours among them.
        return refuse("names are not written with U&");
    }
    if mentions_reserved(sql) {
        return refuse("tables named vestibule_… are not the application's");
    }
    let mut statements = Statements(sql.as_bytes());
    let Some(first) = statements.next() else {
        return refuse("the statement is empty");
    };
    if !ALLOWED.iter().any(|allowed| first.begins_with(allowed)) {
        return refuse(
            "a session runs SELECT, INSERT, UPDATE, DELETE, REPLACE, VALUES and WITH; the request \
             ends its transaction, and tables are made by migrations",
        );
    }
    if statements.next().is_some() {
        return refuse("one call runs one statement");
    }
    Ok(())
}

/// Refuses a migration that touches our tables, or that would end the transaction it runs in.
pub(super) fn check_migration(sql: &str) -> Result<(), String> {
    if sql.contains('\0') {
        return Err("holds a NUL".to_owned());
    }
    if mentions_reserved(sql) {
        return Err("names a table vestibule_…, which are reserved".to_owned());
    }
    for statement in Statements(sql.as_bytes()) {
        for word in TRANSACTION_CONTROL {
            if statement.begins_with(word) {
                return Err(format!(
                    "holds {word}: all migrations of an account run in one transaction"
                ));
            }
        }
    }
    Ok(())
}

/// PostgreSQL nests comments, SQLite does not: they would see different statements behind one.
fn begins_with_nested_comment(mut text: &[u8]) -> bool {
    loop {
        text = skip_blank_but_comments(text);
        let [b'/', b'*', comment @ ..] = text else {
            return false;
        };
        let rest = after_comment(comment);
        let body = comment.len() - rest.len();
        let body = comment.get(..body).unwrap_or_default();
        if body.windows(2).any(|pair| pair == b"/*") {
            return true;
        }
        text = rest;
    }
}

/// A carriage return that no line feed follows.
fn has_lone_return(text: &[u8]) -> bool {
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        if *byte == b'\r' && bytes.peek() != Some(&&b'\n') {
            return true;
        }
    }
    false
}

/// PostgreSQL's `U&"…"`.
fn has_escaped_name(text: &[u8]) -> bool {
    text.windows(3)
        .any(|window| window.eq_ignore_ascii_case(b"u&\""))
}

fn skip_blank_but_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r', rest @ ..] => rest,
            [b'-', b'-', comment @ ..] => after(comment, b'\n'),
            _ => return text,
        };
    }
}

fn mentions_reserved(sql: &str) -> bool {
    sql.as_bytes()
        .windows(RESERVED.len())
        .any(|window| window.eq_ignore_ascii_case(RESERVED.as_bytes()))
}

/// The statements of a text, cut at semicolons outside of quotes and comments, as SQLite cuts.
struct Statements<'a>(&'a [u8]);

struct Statement<'a>(&'a [u8]);

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        let start = loop {
            self.0 = skip_blank(self.0);
            match self.0 {
                [] => return None,
                [b';', rest @ ..] => self.0 = rest,
                start => break start,
            }
        };
        let mut rest = start;
        loop {
            rest = match rest {
                [] | [b';', ..] => break,
                [quote @ (b'\'' | b'"' | b'`'), inside @ ..] => after(inside, *quote),
                [b'[', inside @ ..] => after(inside, b']'),
                [_, next @ ..] => {
                    let blank = skip_blank(rest);
                    if blank.len() < rest.len() {
                        blank
                    } else {
                        next
                    }
                }
            };
        }
        self.0 = rest;
        Some(Statement(start))
    }
}

impl Statement<'_> {
    /// Whether the statement's first word is this one.
    fn begins_with(&self, word: &str) -> bool {
        match self.0.split_at_checked(word.len()) {
            Some((first, rest)) => {
                first.eq_ignore_ascii_case(word.as_bytes())
                    && !rest.first().is_some_and(|byte| is_word(*byte))
            }
            None => false,
        }
    }
}

/// Letters, digits and all that SQLite takes for a part of a name.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// What follows the next `end`. A doubled quote inside a string reads as two strings, which cuts
/// at the same places.
fn after(text: &[u8], end: u8) -> &[u8] {
    let at = text.iter().position(|byte| *byte == end);
    at.and_then(|at| text.get(at + 1..)).unwrap_or(&[])
}

fn skip_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b' ' | b'\t' | b'\n' | b'\x0c' | b'\r', rest @ ..] => rest,
            [b'-', b'-', comment @ ..] => after(comment, b'\n'),
            [b'/', b'*', comment @ ..] => after_comment(comment),
            _ => return text,
        };
    }
}

fn after_comment(text: &[u8]) -> &[u8] {
    let at = text.windows(2).position(|window| window == b"*/");
    at.and_then(|at| text.get(at + 2..)).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_on_rows_are_let_in() {
        for sql in [
            "SELECT 1",
            "select id from notes where text = ';' and x = \"a;b\" -- ; DROP",
            "  /* ; */ INSERT INTO notes (text) VALUES ($1) RETURNING id ; -- end",
            "UPDATE notes SET text = 'it''s; fine'",
            "DELETE FROM [odd;name]",
            "WITH n AS (SELECT 1) SELECT * FROM n;",
            "REPLACE INTO notes VALUES ('--')",
            "VALUES (1), (2);;",
            "SELECT `a;b` FROM t",
            "SELECT(1)",
            "SELECT a-1, b/2 FROM t",
            "-- x\r\nSELECT 1\r\nFROM t -- y\r\n",
        ] {
            assert!(check(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for sql in [
            "",
            "  -- nothing",
            ";",
            "COMMIT",
            "-- x\ncommit",
            "/* x */ ROLLBACK",
            "BEGIN",
            "END",
            "SAVEPOINT a",
            "RELEASE a",
            "PRAGMA foreign_keys = OFF",
            "ATTACH 'x' AS y",
            "DETACH y",
            "VACUUM INTO 'x'",
            "CREATE TEMP TABLE t (id)",
            "CREATE TABLE t (id)",
            "DROP TABLE notes",
            "EXPLAIN SELECT 1",
            "SELECTED",
            "SELECT_1",
            "SELECT 1; COMMIT",
            "SELECT 1; SELECT 2",
            "SELECT ';' ; COMMIT",
            "SELECT 1 /* ; */ ; COMMIT",
            "SELECT 1 -- ' \n; COMMIT",
            "SELECT 1 /* unended ' */; COMMIT",
            "SELECT 'it''s'; COMMIT",
            "SELECT 1\0; COMMIT",
            "SELECT * FROM vestibule_activity",
            "DELETE FROM \"Vestibule_Account\"",
            "\u{feff}COMMIT",
            "/* /* */ SELECT 1 */ COMMIT",
            "-- x\n/* a *//* /* */ SELECT 1 */ COMMIT",
            "-- \rCOMMIT /* \n SELECT 1 */",
            "SELECT 1 -- \r; COMMIT",
            "DELETE FROM u&\"vestibule\\005Factivity\"",
        ] {
            assert!(
                matches!(check(sql), Err(SessionError::Refused(_))),
                "{sql:?}"
            );
        }
    }

    #[test]
    fn migrations() {
        for sql in [
            "CREATE TABLE notes (id UUID PRIMARY KEY); CREATE INDEX i ON notes (id);",
            "CREATE TRIGGER t AFTER INSERT ON n BEGIN UPDATE n SET a = 1; END;",
            "-- COMMIT\nCREATE TABLE beginnings (id)",
        ] {
            assert_eq!(check_migration(sql), Ok(()), "{sql}");
        }
        for sql in [
            "CREATE TABLE a (id); COMMIT; CREATE TABLE b (id)",
            "BEGIN; CREATE TABLE a (id); END",
            "/* x */ rollback",
            "ATTACH 'x' AS y",
            "DROP TABLE vestibule_activity",
            "CREATE TABLE \"VESTIBULE_own\" (id)",
        ] {
            assert!(check_migration(sql).is_err(), "{sql}");
        }
    }

    proptest! {
        /// Whatever stands around it, a second statement outside of quotes is seen.
        #[test]
        fn a_second_statement_is_seen(
            before in "(SELECT|select) ('([^']|'')*'|\"[^\"]*\"|`[^`]*`|/\\*[a-z;' ]*\\*/|[a-z0-9 +]|--[a-z;' ]*\n){0,6}",
            between in "[ \n\t]{0,3}(/\\*[a-z']*\\*/)?",
        ) {
            prop_assume!(!before.contains('\0'));
            let two = format!("{before};{between}COMMIT");
            prop_assert!(check(&two).is_err(), "{two:?}");
        }

        #[test]
        fn nothing_panics(sql in any::<String>()) {
            let _ = check(&sql);
            let _ = check_migration(&sql);
        }
    }
}
