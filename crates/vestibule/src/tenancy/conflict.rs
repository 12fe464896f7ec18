//! `ON CONFLICT (…)` where accounts share tables.
//!
//! There every unique key begins with the account (`postgres/tables.sql`), so that one account's
//! values neither meet nor betray another's. An application writes its keys as if there were one
//! account; so its conflict targets are completed here: `ON CONFLICT (key)` becomes
//! `ON CONFLICT (account_id, key)`.

/// The text with the account in every conflict target; none where there is no target.
pub(super) fn with_account(sql: &str) -> Option<String> {
    let mut completed = String::new();
    let mut copied = 0;
    let mut scanner = Scanner {
        text: sql.as_bytes(),
        at: 0,
    };
    let mut after_on = false;
    while let Some(token) = scanner.next_token() {
        match token {
            Token::Word(word) if after_on && word.eq_ignore_ascii_case(b"conflict") => {
                if let Some(Token::Other(b'(')) = scanner.next_token() {
                    completed.push_str(sql.get(copied..scanner.at)?);
                    completed.push_str("account_id, ");
                    copied = scanner.at;
                }
                after_on = false;
            }
            Token::Word(word) => after_on = word.eq_ignore_ascii_case(b"on"),
            Token::Quoted | Token::Other(_) => after_on = false,
        }
    }
    if copied == 0 {
        return None;
    }
    completed.push_str(sql.get(copied..)?);
    Some(completed)
}

/// What matters of PostgreSQL's lexical structure (its manual, chapter 4.1).
enum Token<'t> {
    Word(&'t [u8]),
    /// A string or a quoted name.
    Quoted,
    Other(u8),
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next token that is neither blank nor comment.
    fn next_token(&mut self) -> Option<Token<'t>> {
        loop {
            match self.rest() {
                [] => return None,
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => self.at += 1,
                [b'-', b'-', ..] => self.skip_to(b"\n", 2),
                [b'/', b'*', ..] => self.skip_comment(),
                [b'e' | b'E', b'\'', ..] => {
                    self.at += 1;
                    self.skip_string(true);
                    return Some(Token::Quoted);
                }
                [b'\'', ..] => {
                    self.skip_string(false);
                    return Some(Token::Quoted);
                }
                [b'"', ..] => {
                    self.skip_to(b"\"", 1);
                    return Some(Token::Quoted);
                }
                [b'$', ..] => return Some(self.dollar()),
                [first, ..] if is_letter(*first) => return Some(self.word()),
                [other, ..] => {
                    self.at += 1;
                    return Some(Token::Other(*other));
                }
            }
        }
    }

    fn word(&mut self) -> Token<'t> {
        let rest = self.rest();
        let part = |byte: &u8| is_letter(*byte) || byte.is_ascii_digit() || *byte == b'$';
        let length = rest.iter().take_while(|byte| part(byte)).count();
        self.at += length;
        Token::Word(rest.get(..length).unwrap_or_default())
    }

    /// `$1` or `$tag$…$tag$`.
    fn dollar(&mut self) -> Token<'t> {
        let rest = self.rest();
        let name = rest.iter().skip(1);
        let name = name.take_while(|byte| is_letter(**byte) || byte.is_ascii_digit());
        let end = 1 + name.count();
        let numbered = rest.get(1).is_some_and(u8::is_ascii_digit);
        match rest.get(..=end) {
            Some(tag @ [.., b'$']) if !numbered => {
                self.skip_to(tag, tag.len());
                Token::Quoted
            }
            _ => {
                self.at += 1;
                Token::Other(b'$')
            }
        }
    }

    /// Past the next `end` that begins `from` bytes on.
    fn skip_to(&mut self, end: &[u8], from: usize) {
        self.at += from;
        let found = self
            .rest()
            .windows(end.len())
            .position(|window| window == end);
        self.at = match found {
            Some(position) => self.at + position + end.len(),
            None => self.text.len(),
        };
    }

    /// A doubled quote reads as two strings, which end at the same place.
    fn skip_string(&mut self, escapes: bool) {
        self.at += 1;
        loop {
            match self.rest() {
                [] => return,
                [b'\\', ..] if escapes => self.at = (self.at + 2).min(self.text.len()),
                [b'\'', ..] => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.rest() {
                [] => return,
                [b'/', b'*', ..] => {
                    depth += 1;
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conflict_targets_get_the_account() {
        for (sql, expected) in [
            (
                "INSERT INTO keys VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET a = excluded.a",
                "INSERT INTO keys VALUES ($1, $2) ON CONFLICT (account_id, key) DO UPDATE SET a = excluded.a",
            ),
            (
                "insert into k values (1) on /* ( */ conflict\n -- (\n ( a, lower(b) ) do nothing",
                "insert into k values (1) on /* ( */ conflict\n -- (\n (account_id,  a, lower(b) ) do nothing",
            ),
            (
                "WITH x AS (INSERT INTO a VALUES ('é') ON CONFLICT(b) DO NOTHING) \
                 INSERT INTO c VALUES (1) ON CONFLICT(d) DO NOTHING",
                "WITH x AS (INSERT INTO a VALUES ('é') ON CONFLICT(account_id, b) DO NOTHING) \
                 INSERT INTO c VALUES (1) ON CONFLICT(account_id, d) DO NOTHING",
            ),
        ] {
            assert_eq!(with_account(sql).as_deref(), Some(expected));
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for sql in [
            "",
            "SELECT 1",
            "INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO a VALUES (1) ON CONFLICT ON CONSTRAINT k DO NOTHING",
            "SELECT ' ON CONFLICT (a)'",
            "SELECT E'\\' ON CONFLICT (a)'",
            "SELECT \"ON CONFLICT (a)\"",
            "SELECT $$ ON CONFLICT (a) $$",
            "SELECT $x$ $y$ ON CONFLICT (a) $x$",
            "SELECT 1 -- ON CONFLICT (a)",
            "SELECT 1 /* /* */ ON CONFLICT (a) */",
            "SELECT a.on_conflict (1), $1",
            "SELECT xon conflict (a)",
        ] {
            assert_eq!(with_account(sql), None, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_is_lost(sql in ".*(ON CONFLICT \\(|'|\\$a\\$|/\\*)?.*") {
            if let Some(completed) = with_account(&sql) {
                prop_assert_eq!(completed.replace("account_id, ", ""), sql.replace("account_id, ", ""));
            }
        }
    }
}
