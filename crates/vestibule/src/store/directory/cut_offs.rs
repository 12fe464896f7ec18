//! Cut-offs: what counts no more.

use std::fmt::Write as _;

use uuid::Uuid;

use super::{Directory, Kind, Operation, Writing};
use crate::{
    clock::Timestamp,
    store::{Change, CutOff, CutOffTarget, StoreError, names::check_id, query::Query},
};

/// Read at a time.
const PAGE: i64 = 5_000;

/// An issuer and the like: longer is none.
const LONGEST: usize = 2_048;

#[derive(sqlx::FromRow)]
struct CutOffRow {
    kind: String,
    key: String,
    issued_before: Timestamp,
    ends_at: Option<Timestamp>,
}

pub(super) const OPERATIONS: &[&Operation] = &[&CUT_OFFS, &FORGET_CUT_OFFS];

static CUT_OFFS: Operation = Operation {
    name: "cut_offs",
    takes: &[Kind::Text, Kind::Text, Kind::BigInt],
    gives: &[
        ("kind", Kind::Text),
        ("key", Kind::Text),
        ("issued_before", Kind::BigInt),
        ("ends_at", Kind::BigInt),
    ],
    sql: "SELECT kind, key, issued_before, ends_at FROM cut_offs
          WHERE (kind, key) > ($1, $2) ORDER BY kind, key LIMIT $3",
};

/// Those that nothing can match any more; a key's never ends.
static FORGET_CUT_OFFS: Operation = Operation {
    name: "forget_cut_offs",
    takes: &[Kind::BigInt, Kind::BigInt],
    gives: &[],
    sql: "DELETE FROM cut_offs WHERE ends_at < $1
              OR ends_at IS NULL AND kind <> 'key' AND issued_before < $2",
};

impl Directory {
    /// Cuts something off, on every replica within a second. Of two cut-offs of the same, the later
    /// one counts.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError::NotFound`] for a user or an account that is not there;
    /// others where the database fails.
    pub async fn cut_off(&self, cut_off: &CutOff) -> Result<(), StoreError> {
        cut_off.target.check()?;
        let cut_off = cut_off.clone();
        self.write(move |writing| {
            Box::pin(async move {
                let missing = match cut_off.target {
                    CutOffTarget::User(id) => writing
                        .fetch_optional::<(i64,)>(
                            Query::new("SELECT created_at FROM users WHERE id = $1").bind(id),
                        )
                        .await?
                        .is_none()
                        .then(|| format!("user {id}")),
                    CutOffTarget::Account(id) => {
                        writing.require_account(id).await?;
                        None
                    }
                    _ => None,
                };
                if let Some(missing) = missing {
                    return Err(StoreError::NotFound(missing));
                }
                let (kind, key) = cut_off.target.kind_and_key();
                let query = Query::new(
                    "INSERT INTO cut_offs (kind, key, issued_before, ends_at)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (kind, key) DO UPDATE
                     SET issued_before = excluded.issued_before, ends_at = excluded.ends_at
                     WHERE cut_offs.issued_before < excluded.issued_before",
                )
                .bind(kind)
                .bind(key)
                .bind(cut_off.issued_before)
                .bind(cut_off.ends_at);
                writing.execute(query).await?;
                writing.announce(Change::CutOff(cut_off));
                Ok(())
            })
        })
        .await
    }

    /// All cut-offs, in no order that means anything.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn cut_offs(&self) -> Result<Vec<CutOff>, StoreError> {
        let mut all = Vec::new();
        let mut last = (String::new(), String::new());
        loop {
            let query = Query::of(&CUT_OFFS).bind(&last.0).bind(&last.1).bind(PAGE);
            let rows: Vec<CutOffRow> = self.fetch_all(query).await?;
            let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) == PAGE;
            if let Some(row) = rows.last() {
                last = (row.kind.clone(), row.key.clone());
            }
            all.extend(rows.into_iter().filter_map(CutOffRow::into_cut_off));
            if !more {
                return Ok(all);
            }
        }
    }

    /// Forgets the cut-offs that nothing can match any more: those that ended before `now`, and
    /// those of users, accounts and issuers before `issued_before`. How many these were.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub(crate) async fn forget_cut_offs(
        &self,
        now: Timestamp,
        issued_before: Timestamp,
    ) -> Result<u64, StoreError> {
        let query = Query::of(&FORGET_CUT_OFFS).bind(now).bind(issued_before);
        self.write(move |writing| Box::pin(async move { writing.execute(query).await }))
            .await
    }
}

impl Writing {
    /// Forgets what was cut off of an account and its users, whose ids nobody will have again. A
    /// service client may be registered again, so that what was cut off of its keys stays.
    pub(super) async fn forget_cut_offs_of(&mut self, account: Uuid) -> Result<(), StoreError> {
        let rows: Vec<CutOffRow> = self
            .fetch_all(Query::new(
                "SELECT kind, key, issued_before, ends_at FROM cut_offs
                 WHERE kind IN ('user', 'account')",
            ))
            .await?;
        for row in rows {
            let (kind, key) = (row.kind.clone(), row.key.clone());
            let theirs = match row.into_cut_off().map(|cut_off| cut_off.target) {
                Some(CutOffTarget::Account(id)) => id == account,
                Some(CutOffTarget::User(id)) => {
                    let query = Query::new(
                        "SELECT created_at FROM users WHERE id = $1 AND account_id = $2",
                    );
                    let found: Option<(i64,)> =
                        self.fetch_optional(query.bind(id).bind(account)).await?;
                    found.is_some()
                }
                _ => false,
            };
            if theirs {
                let query = Query::new("DELETE FROM cut_offs WHERE kind = $1 AND key = $2");
                self.execute(query.bind(kind).bind(key)).await?;
            }
        }
        Ok(())
    }
}

impl CutOffRow {
    /// A newer version may know more kinds.
    fn into_cut_off(self) -> Option<CutOff> {
        Some(CutOff {
            target: CutOffTarget::read(&self.kind, &self.key)?,
            issued_before: self.issued_before,
            ends_at: self.ends_at,
        })
    }
}

impl CutOff {
    /// As a change tells it to other processes: no part holds a space.
    pub(super) fn to_line(&self) -> String {
        let (kind, key) = self.target.kind_and_key();
        let mut line = format!("{kind} {key} {}", self.issued_before.as_millis());
        if let Some(end) = self.ends_at {
            // Writing to a string cannot fail.
            let _ = write!(line, " {}", end.as_millis());
        }
        line
    }

    pub(super) fn from_line(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let target = CutOffTarget::read(parts.next()?, parts.next()?)?;
        let mut time = || {
            parts
                .next()
                .map(|text| text.parse().ok().map(Timestamp::from_millis))
        };
        let issued_before = time()??;
        let ends_at = match time() {
            None => None,
            Some(end) => Some(end?),
        };
        Some(Self {
            target,
            issued_before,
            ends_at,
        })
    }
}

impl CutOffTarget {
    fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Token(_) | Self::User(_) | Self::Account(_) => Ok(()),
            Self::Key { client_id, kid } => {
                check_id("a client id", client_id)?;
                // Neither has the `/` that stands between them in a row's key.
                check_id("a kid", kid)
            }
            Self::Issuer(issuer) => {
                let plain = issuer.bytes().all(|byte| byte.is_ascii_graphic());
                if plain && (1..=LONGEST).contains(&issuer.len()) {
                    Ok(())
                } else {
                    Err(StoreError::Invalid(
                        "an issuer is an address without spaces, as in AUTHRESS_ISSUERS".to_owned(),
                    ))
                }
            }
        }
    }

    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.kind_and_key().0
    }

    fn kind_and_key(&self) -> (&'static str, String) {
        match self {
            Self::Token(digest) => ("token", hexadecimal(digest)),
            Self::User(id) => ("user", id.to_string()),
            Self::Account(id) => ("account", id.to_string()),
            Self::Key { client_id, kid } => ("key", format!("{client_id}/{kid}")),
            Self::Issuer(issuer) => ("issuer", issuer.clone()),
        }
    }

    fn read(kind: &str, key: &str) -> Option<Self> {
        Some(match kind {
            "token" => Self::Token(u128::from_str_radix(key, 16).ok()?.to_be_bytes()),
            "user" => Self::User(Uuid::parse_str(key).ok()?),
            "account" => Self::Account(Uuid::parse_str(key).ok()?),
            "key" => {
                let (client_id, kid) = key.split_once('/')?;
                Self::Key {
                    client_id: client_id.to_owned(),
                    kid: kid.to_owned(),
                }
            }
            "issuer" => Self::Issuer(key.to_owned()),
            _ => return None,
        })
    }
}

fn hexadecimal(digest: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_all_of_it() {
        let at = Timestamp::from_millis(1_750_000_000_123);
        let targets = [
            CutOffTarget::Token([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]),
            CutOffTarget::User(Uuid::from_u128(7)),
            CutOffTarget::Account(Uuid::from_u128(u128::MAX)),
            CutOffTarget::Key {
                client_id: "sc_robot01".to_owned(),
                kid: "k-1_A".to_owned(),
            },
            CutOffTarget::Issuer("https://auth.example.com/a".to_owned()),
        ];
        for target in targets {
            for ends_at in [None, Some(Timestamp::from_millis(1_750_000_060_000))] {
                let cut_off = CutOff {
                    target: target.clone(),
                    issued_before: at,
                    ends_at,
                };
                assert!(cut_off.target.check().is_ok());
                assert_eq!(
                    CutOff::from_line(&cut_off.to_line()).as_ref(),
                    Some(&cut_off)
                );
            }
        }
    }

    /// Whoever cannot read a line takes everything for changed, and reads all cut-offs.
    #[test]
    fn other_lines_are_nothing() {
        for line in [
            "",
            "user",
            "user x 5",
            "robot 5 5",
            "issuer a",
            "issuer a b",
            "issuer a 5 c",
        ] {
            assert_eq!(CutOff::from_line(line), None, "{line}");
        }
    }

    #[test]
    fn what_would_not_fit_into_a_line_is_refused() {
        let key = |client_id: &str, kid: &str| CutOffTarget::Key {
            client_id: client_id.to_owned(),
            kid: kid.to_owned(),
        };
        for target in [
            key("", "k"),
            key("sc_robot01", ""),
            key("sc_robot01/k", "k"),
            key("sc_robot01", "k/1"),
            key("sc robot", "k"),
            CutOffTarget::Issuer(String::new()),
            CutOffTarget::Issuer("https://a b".to_owned()),
            CutOffTarget::Issuer("x".repeat(LONGEST + 1)),
        ] {
            assert!(target.check().is_err(), "{target:?}");
        }
    }
}
