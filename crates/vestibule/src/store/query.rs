//! Statements put together at run time, so that one SQL text serves every database and no caller
//! has a type parameter for it.
//!
//! Texts use what all databases share: `$1` placeholders, `RETURNING`, `ON CONFLICT`. Times are
//! whole milliseconds (`BIGINT`): RFC 3339 text sorts wrongly.

use futures_util::TryStreamExt;
use sqlx::{
    Arguments, AssertSqlSafe, Either, Executor, FromRow, SqlSafeStr, SqlStr,
    error::BoxDynError,
    sqlite::{SqliteArguments, SqliteConnection, SqliteRow},
};
use uuid::Uuid;

use super::Status;
use crate::clock::Timestamp;

/// A row of any of the databases becomes this. `#[derive(sqlx::FromRow)]` is all it takes; tuples
/// such as `(i64,)` serve too.
pub trait FromDatabaseRow: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

impl<T> FromDatabaseRow for T where T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

/// A parameter of a statement. A NULL keeps its type, because not every database can guess it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `BOOLEAN`.
    Bool(Option<bool>),
    /// `INTEGER`.
    Integer(Option<i32>),
    /// `BIGINT`; also a [`Timestamp`], in milliseconds.
    BigInt(Option<i64>),
    /// `DOUBLE PRECISION`.
    Double(Option<f64>),
    /// `TEXT`.
    Text(Option<String>),
    /// `UUID`.
    Uuid(Option<Uuid>),
    /// `BYTEA`.
    Bytes(Option<Vec<u8>>),
}

/// Makes a [`Value`] of each type and of its `Option`.
macro_rules! values {
    ($($from:ty => $variant:ident, $convert:expr;)+) => { $(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(Some($convert(value)))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )+ };
}

values! {
    bool => Bool, std::convert::identity;
    i32 => Integer, std::convert::identity;
    i64 => BigInt, std::convert::identity;
    u32 => BigInt, i64::from;
    f64 => Double, std::convert::identity;
    String => Text, std::convert::identity;
    &String => Text, String::clone;
    &str => Text, str::to_owned;
    Uuid => Uuid, std::convert::identity;
    Vec<u8> => Bytes, std::convert::identity;
    &[u8] => Bytes, <[u8]>::to_vec;
    Timestamp => BigInt, Timestamp::as_millis;
    Status => Text, |status: Status| status.as_str().to_owned();
}

/// A connection to one of the databases. Another database is one more variant.
pub(crate) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
}

/// One statement with its parameters.
#[derive(Debug)]
pub(crate) struct Query {
    sql: SqlStr,
    values: Vec<Value>,
}

/// Rows of one of the databases, not yet looked into.
#[derive(Debug)]
pub(crate) enum Rows {
    Sqlite(Vec<SqliteRow>),
}

impl Query {
    pub(crate) fn new(sql: impl SqlSafeStr) -> Self {
        Self {
            sql: sql.into_sql_str(),
            values: Vec::new(),
        }
    }

    /// The value of the next placeholder.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(crate) fn sql(&self) -> &str {
        self.sql.as_str()
    }

    /// Runs the statement; how many rows it touched.
    pub(crate) async fn execute(self, on: Connection<'_>) -> Result<u64, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let arguments = sqlite_arguments(self.values)?;
                let done = sqlx::query_with(self.sql, arguments)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Runs the statement; all of its rows.
    pub(crate) async fn rows(self, on: Connection<'_>) -> Result<Rows, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let arguments = sqlite_arguments(self.values)?;
                sqlx::query_with(self.sql, arguments)
                    .fetch_all(connection)
                    .await
                    .map(Rows::Sqlite)
            }
        }
    }

    /// Runs the statement to its end; its first row, if any.
    ///
    /// To its end: an `INSERT … RETURNING` that is left at its first row has not been checked.
    pub(crate) async fn first_row(self, on: Connection<'_>) -> Result<Rows, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let arguments = sqlite_arguments(self.values)?;
                let mut results = connection.fetch_many(sqlx::query_with(self.sql, arguments));
                let mut first = Vec::new();
                while let Some(result) = results.try_next().await? {
                    if let Either::Right(row) = result
                        && first.is_empty()
                    {
                        first.push(row);
                    }
                }
                drop(results);
                Ok(Rows::Sqlite(first))
            }
        }
    }

    pub(crate) async fn fetch_all<T: FromDatabaseRow>(
        self,
        on: Connection<'_>,
    ) -> Result<Vec<T>, sqlx::Error> {
        self.rows(on).await?.into_all()
    }

    pub(crate) async fn fetch_optional<T: FromDatabaseRow>(
        self,
        on: Connection<'_>,
    ) -> Result<Option<T>, sqlx::Error> {
        self.first_row(on).await?.into_first()
    }
}

impl Rows {
    pub(crate) fn into_all<T: FromDatabaseRow>(self) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Self::Sqlite(rows) => rows.iter().map(T::from_row).collect(),
        }
    }

    pub(crate) fn into_first<T: FromDatabaseRow>(self) -> Result<Option<T>, sqlx::Error> {
        match self {
            Self::Sqlite(rows) => rows.first().map(T::from_row).transpose(),
        }
    }
}

/// Runs a script of several statements without parameters.
pub(crate) async fn run_script(on: Connection<'_>, sql: &str) -> Result<(), sqlx::Error> {
    match on {
        Connection::Sqlite(connection) => {
            // Ours, or a migration that the application's developer wrote: never a caller's text.
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

fn sqlite_arguments(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Bool(value) => arguments.add(value),
            Value::Integer(value) => arguments.add(value),
            Value::BigInt(value) => arguments.add(value),
            Value::Double(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// A column of milliseconds is read as a [`Timestamp`].
impl<DB: sqlx::Database> sqlx::Type<DB> for Timestamp
where
    i64: sqlx::Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        i64::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        i64::compatible(ty)
    }
}

impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for Timestamp
where
    i64: sqlx::Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        i64::decode(value).map(Self::from_millis)
    }
}

/// A column with `active` or `suspended`; anything else is an error, not a guess.
impl<DB: sqlx::Database> sqlx::Type<DB> for Status
where
    String: sqlx::Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        String::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        String::compatible(ty)
    }
}

impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for Status
where
    String: sqlx::Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        match String::decode(value)?.as_str() {
            "active" => Ok(Self::Active),
            "suspended" => Ok(Self::Suspended),
            other => Err(format!("unknown status {other:?}").into()),
        }
    }
}
