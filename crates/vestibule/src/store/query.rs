//! Statements put together at run time, so that one SQL text serves every database and no caller
//! has a type parameter for it.
//!
//! Texts use what all databases share: `$1` placeholders, `RETURNING`, `ON CONFLICT`. Times are
//! whole milliseconds (`BIGINT`): RFC 3339 text sorts wrongly.

use futures_util::{Stream, TryStreamExt};
use sqlx::{
    Arguments, AssertSqlSafe, Either, Executor, FromRow, SqlSafeStr, SqlStr,
    error::BoxDynError,
    postgres::{PgArguments, PgConnection, PgRow},
    sqlite::{SqliteArguments, SqliteConnection, SqliteRow},
};
use uuid::Uuid;

use super::{Status, postgres};
use crate::clock::Timestamp;

/// A row of any of the databases becomes this. `#[derive(sqlx::FromRow)]` is all it takes; tuples
/// such as `(i64,)` serve too.
pub trait FromDatabaseRow:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> FromDatabaseRow for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

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

/// A statement of the directory that the application's login may run on PostgreSQL, where it is a
/// function (`postgres/functions.rs`). On SQLite, and for PostgreSQL's owner, it is its text.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static [Kind],
    /// The columns of its rows; none where it gives no rows.
    pub(crate) gives: &'static [(&'static str, Kind)],
    pub(crate) sql: &'static str,
}

/// The type of an argument or a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BigInt,
    Text,
    Uuid,
    Bytes,
}

impl Kind {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::BigInt => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Bytes => "bytea",
        }
    }
}

/// `$2, $3, $4`: so many placeholders from the first on.
pub(crate) fn listed(first: usize, number: usize) -> String {
    let placeholders: Vec<_> = (first..first + number).map(|at| format!("${at}")).collect();
    placeholders.join(", ")
}

/// `($1, $2), ($3, $4)`: the placeholders of so many rows.
pub(crate) fn rows(number: usize, columns: usize) -> String {
    let rows: Vec<_> = (0..number)
        .map(|row| format!("({})", listed(row * columns + 1, columns)))
        .collect();
    rows.join(", ")
}

/// The values as one database's arguments. A macro, because a function would need a bound for
/// each type.
macro_rules! arguments {
    ($kind:ty, $values:expr) => {{
        let mut arguments = <$kind>::default();
        for value in $values {
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
        arguments
    }};
}

/// A connection to one of the databases.
pub(crate) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(PostgresConnection<'c>),
}

impl Connection<'_> {
    /// The same connection for one more statement.
    pub(crate) fn reborrow(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(connection) => Connection::Sqlite(connection),
            Self::Postgres(on) => Connection::Postgres(PostgresConnection {
                connection: on.connection,
                keeps_statements: on.keeps_statements,
                signer: on.signer,
            }),
        }
    }
}

/// A connection to PostgreSQL, and how statements reach it.
pub(crate) struct PostgresConnection<'c> {
    connection: &'c mut PgConnection,
    /// Statements are prepared once and kept; not through a pooler.
    keeps_statements: bool,
    /// Operations are calls of functions, which demand a proof; none: they are their text.
    signer: Option<&'c postgres::Signer>,
}

impl<'c> PostgresConnection<'c> {
    /// For statements as they are written.
    pub(crate) fn plain(connection: &'c mut PgConnection, keeps_statements: bool) -> Self {
        Self {
            connection,
            keeps_statements,
            signer: None,
        }
    }

    /// For the application's login, which reaches the directory through functions only.
    pub(crate) fn calling(
        connection: &'c mut PgConnection,
        keeps_statements: bool,
        signer: &'c postgres::Signer,
    ) -> Self {
        Self {
            connection,
            keeps_statements,
            signer: Some(signer),
        }
    }

    /// The connection itself, for what no other database has.
    pub(crate) fn into_inner(self) -> &'c mut PgConnection {
        self.connection
    }
}

/// One statement with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    text: Text,
    values: Vec<Value>,
    once: bool,
}

#[derive(Clone, Debug)]
enum Text {
    Sql(SqlStr),
    Operation(&'static Operation),
}

/// Rows of one of the databases, not yet looked into.
#[derive(Debug)]
pub(crate) enum Rows {
    Sqlite(Vec<SqliteRow>),
    Postgres(Vec<PgRow>),
}

impl Query {
    pub(crate) fn new(sql: impl SqlSafeStr) -> Self {
        Self {
            text: Text::Sql(sql.into_sql_str()),
            values: Vec::new(),
            once: false,
        }
    }

    /// A statement that is planned anew each time: one with many values, whose plan would be kept from
    /// when the table was small.
    pub(crate) fn once(sql: String) -> Self {
        Self {
            once: true,
            ..Self::new(AssertSqlSafe(sql))
        }
    }

    /// A call of an operation; its arguments follow with [`Query::bind`].
    pub(crate) fn of(operation: &'static Operation) -> Self {
        Self {
            text: Text::Operation(operation),
            values: Vec::with_capacity(operation.takes.len()),
            once: false,
        }
    }

    /// The value of the next placeholder.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(crate) fn sql(&self) -> &str {
        match &self.text {
            Text::Sql(sql) => sql.as_str(),
            Text::Operation(operation) => operation.sql,
        }
    }

    /// The same with another text.
    pub(crate) fn with_sql(self, sql: String) -> Self {
        Self {
            // What was safe before is made longer by texts of ours.
            text: Text::Sql(AssertSqlSafe(sql).into_sql_str()),
            ..self
        }
    }

    /// Runs the statement; how many rows it touched.
    pub(crate) async fn execute(self, on: Connection<'_>) -> Result<u64, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (sql, arguments) = self.for_sqlite()?;
                let done = sqlx::query_with(sql, arguments).execute(connection).await?;
                Ok(done.rows_affected())
            }
            Connection::Postgres(on) => {
                let call = self.for_postgres(&on)?;
                let query = sqlx::query_with(call.sql, call.arguments);
                let query = query.persistent(call.is_kept);
                if !call.counts {
                    let done = query.execute(on.connection).await?;
                    return Ok(done.rows_affected());
                }
                let row = query.fetch_one(on.connection).await?;
                let (touched,) = <(i64,)>::from_row(&row)?;
                Ok(u64::try_from(touched).unwrap_or(0))
            }
        }
    }

    /// Runs the statement; all of its rows.
    pub(crate) async fn rows(self, on: Connection<'_>) -> Result<Rows, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (sql, arguments) = self.for_sqlite()?;
                sqlx::query_with(sql, arguments)
                    .fetch_all(connection)
                    .await
                    .map(Rows::Sqlite)
            }
            Connection::Postgres(on) => {
                let call = self.for_postgres(&on)?;
                sqlx::query_with(call.sql, call.arguments)
                    .persistent(call.is_kept)
                    .fetch_all(on.connection)
                    .await
                    .map(Rows::Postgres)
            }
        }
    }

    /// Runs the statement to its end; its first row, if any.
    ///
    /// To its end: an `INSERT … RETURNING` that is left at its first row has not been checked.
    pub(crate) async fn first_row(self, on: Connection<'_>) -> Result<Rows, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (sql, arguments) = self.for_sqlite()?;
                let results = connection.fetch_many(sqlx::query_with(sql, arguments));
                first_of(results).await.map(Rows::Sqlite)
            }
            Connection::Postgres(on) => {
                let call = self.for_postgres(&on)?;
                let query = sqlx::query_with(call.sql, call.arguments);
                let query = query.persistent(call.is_kept);
                let results = on.connection.fetch_many(query);
                first_of(results).await.map(Rows::Postgres)
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

    fn for_sqlite(self) -> Result<(SqlStr, SqliteArguments), sqlx::Error> {
        let sql = match self.text {
            Text::Sql(sql) => sql,
            Text::Operation(operation) => operation.sql.into_sql_str(),
        };
        let arguments = arguments!(SqliteArguments, self.values);
        Ok((sql, arguments))
    }

    fn for_postgres(self, on: &PostgresConnection<'_>) -> Result<PostgresCall, sqlx::Error> {
        let is_kept = on.keeps_statements && !self.once;
        let mut values = self.values;
        let (sql, counts) = match (self.text, on.signer) {
            (Text::Sql(sql), _) => (sql, false),
            (Text::Operation(operation), None) => (operation.sql.into_sql_str(), false),
            (Text::Operation(operation), Some(signer)) => {
                let (minute, proof) = signer.proof(operation, &values);
                values.push(minute.into());
                values.push(proof.into());
                let call = AssertSqlSafe(postgres::call(operation)).into_sql_str();
                (call, operation.gives.is_empty())
            }
        };
        let arguments = arguments!(PgArguments, values);
        Ok(PostgresCall {
            sql,
            arguments,
            counts,
            is_kept,
        })
    }
}

/// What is sent to PostgreSQL.
struct PostgresCall {
    sql: SqlStr,
    arguments: PgArguments,
    /// Its only row says how many rows were touched.
    counts: bool,
    /// The statement is prepared once and kept.
    is_kept: bool,
}

async fn first_of<Done, Row>(
    mut results: impl Stream<Item = Result<Either<Done, Row>, sqlx::Error>> + Unpin,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut first = Vec::new();
    while let Some(result) = results.try_next().await? {
        if let Either::Right(row) = result
            && first.is_empty()
        {
            first.push(row);
        }
    }
    Ok(first)
}

impl Rows {
    pub(crate) fn into_all<T: FromDatabaseRow>(self) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Self::Sqlite(rows) => rows.iter().map(T::from_row).collect(),
            Self::Postgres(rows) => rows.iter().map(T::from_row).collect(),
        }
    }

    pub(crate) fn into_first<T: FromDatabaseRow>(self) -> Result<Option<T>, sqlx::Error> {
        match self {
            Self::Sqlite(rows) => rows.first().map(T::from_row).transpose(),
            Self::Postgres(rows) => rows.first().map(T::from_row).transpose(),
        }
    }
}

/// Runs a script of several statements without parameters.
pub(crate) async fn run_script(on: Connection<'_>, sql: &str) -> Result<(), sqlx::Error> {
    // Ours, or a migration that the application's developer wrote: never a caller's text.
    let script = sqlx::raw_sql(AssertSqlSafe(sql));
    match on {
        Connection::Sqlite(connection) => script.execute(connection).await.map(drop),
        Connection::Postgres(on) => script.execute(on.connection).await.map(drop),
    }
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
