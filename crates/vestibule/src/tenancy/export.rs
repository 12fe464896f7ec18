//! Everything that is kept of one account, as JSON lines.

use std::{collections::HashMap, io};

use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use sqlx::{
    AssertSqlSafe, Column, Executor, Row, TypeInfo, Value as _, ValueRef,
    sqlite::{SqliteRow, SqliteValueRef},
};
use uuid::Uuid;

use super::{SessionError, TenantSpaces, places::Place, space_file::SpaceFile};
use crate::store::{Connection, Page, Query, StoreError};

/// One line of an export.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a, T> {
    Account { value: &'a T },
    User { value: &'a T },
    ServiceClient { value: &'a T },
    Row { table: &'a str, value: &'a T },
}

impl TenantSpaces {
    /// Writes the account, its users, its service clients and all rows of its data space, one
    /// JSON object per line; how many lines these were.
    ///
    /// The rows are those of one moment. UUIDs are text, times of ours milliseconds; bytes are
    /// base64 on SQLite and as PostgreSQL writes them there (`\\x…`). The account's sessions go on
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Unavailable`] where `out` fails; others where a
    /// database fails.
    pub async fn export_account(
        &self,
        id: Uuid,
        out: &mut (dyn io::Write + Send),
    ) -> Result<u64, StoreError> {
        let directory = self.directory();
        let account = directory.account(id).await?;
        let account = account.ok_or_else(|| StoreError::NotFound(format!("account {id}")))?;
        let mut lines = Lines { out, count: 0 };
        lines.write(&Line::Account { value: &account })?;
        let mut page = first_page();
        loop {
            let users = directory.users(id, &page).await?;
            for user in &users.items {
                lines.write(&Line::User { value: user })?;
            }
            page.cursor = users.next_cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        loop {
            let clients = directory.clients(id, &page).await?;
            for client in &clients.items {
                lines.write(&Line::ServiceClient { value: client })?;
            }
            page.cursor = clients.next_cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        match self.place() {
            Place::Files(_) => {
                let mut file = SpaceFile::open(&self.file_of(id), id, self.timeout()).await?;
                let exported = export_rows(file.connection(), &mut lines).await;
                file.close().await;
                exported?;
            }
            Place::Postgres(clusters) => {
                let cluster = clusters.cluster_of(self.directory(), id).await?;
                clusters
                    .export(&cluster, id, |table, value| {
                        lines.write(&Line::Row { table, value })
                    })
                    .await?;
            }
        }
        lines.out.flush()?;
        Ok(lines.count)
    }
}

struct Lines<'o> {
    out: &'o mut (dyn io::Write + Send),
    count: u64,
}

impl Lines<'_> {
    fn write<T: Serialize>(&mut self, line: &Line<'_, T>) -> Result<(), StoreError> {
        serde_json::to_writer(&mut *self.out, line).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        self.count += 1;
        Ok(())
    }
}

const fn first_page() -> Page {
    Page {
        limit: 200,
        cursor: None,
    }
}

async fn export_rows(on: Connection<'_>, lines: &mut Lines<'_>) -> Result<(), StoreError> {
    let Connection::Sqlite(connection) = on else {
        // A file is SQLite's.
        return Ok(());
    };
    // Not immediate: a reader sees one moment of the file and keeps no writer waiting.
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    let tables: Vec<(String,)> = Query::new(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY name",
    )
    .fetch_all(Connection::Sqlite(&mut *connection))
    .await?;
    for (table,) in tables {
        let columns: Vec<(String, String)> =
            Query::new("SELECT name, type FROM pragma_table_info($1)")
                .bind(&table)
                .fetch_all(Connection::Sqlite(&mut *connection))
                .await?;
        let declared: HashMap<_, _> = columns
            .into_iter()
            .map(|(name, kind)| (name, kind.to_ascii_uppercase()))
            .collect();
        // The name of a table that is there, as a quoted identifier.
        let sql = format!("SELECT * FROM \"{}\"", table.replace('"', "\"\""));
        let mut rows = connection.fetch(AssertSqlSafe(sql));
        while let Some(row) = rows.try_next().await? {
            let value = json_of_row(&row, &declared)?;
            lines.write(&Line::Row {
                table: &table,
                value: &value,
            })?;
        }
    }
    Ok(())
}

fn json_of_row(
    row: &SqliteRow,
    declared: &HashMap<String, String>,
) -> Result<Map<String, Json>, StoreError> {
    let mut object = Map::new();
    for column in row.columns() {
        let kind = declared.get(column.name()).map_or("", String::as_str);
        let value = json_of(row.try_get_raw(column.ordinal())?, kind)?;
        object.insert(column.name().to_owned(), value);
    }
    Ok(object)
}

fn json_of(value: SqliteValueRef<'_>, declared: &str) -> Result<Json, StoreError> {
    if value.is_null() {
        return Ok(Json::Null);
    }
    let value = value.to_owned();
    let kind = value.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" | "BOOLEAN" if declared.contains("BOOL") => {
            Json::from(value.try_decode_unchecked::<i64>().map_err(decode)? != 0)
        }
        "INTEGER" | "BOOLEAN" => value.try_decode_unchecked::<i64>().map_err(decode)?.into(),
        // What JSON has no number for is null.
        "REAL" => value.try_decode_unchecked::<f64>().map_err(decode)?.into(),
        "BLOB" => {
            let bytes = value.try_decode_unchecked::<Vec<u8>>().map_err(decode)?;
            match Uuid::from_slice(&bytes) {
                Ok(id) if declared.contains("UUID") => id.to_string().into(),
                _ => base64_of(&bytes).into(),
            }
        }
        _ => value
            .try_decode_unchecked::<String>()
            .map_err(decode)?
            .into(),
    })
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

fn decode(error: sqlx::Error) -> StoreError {
    StoreError::from(SessionError::from(error))
}
