//! Everything that an account's data space holds, as JSON: for `account export`.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};
use uuid::Uuid;

use super::{SessionError, TenantSpaces, spaces::Lease};
use crate::store::{Query, Rows};

impl TenantSpaces {
    /// The rows of all tables of the account, the application's and ours, by table, as they were
    /// at one moment: `{"notes": [{"id": "…", "text": "…"}, …], …}`.
    ///
    /// A `UUID` is written as text, other bytes as base64.
    ///
    /// # Errors
    /// As for opening a session of the account.
    pub async fn export(&self, account: Uuid) -> Result<Map<String, Value>, SessionError> {
        let mut lease = self.begin(account).await?;
        let exported = export_tables(&mut lease).await;
        lease.rollback().await;
        exported
    }
}

async fn export_tables(lease: &mut Lease) -> Result<Map<String, Value>, SessionError> {
    let tables: Vec<(String,)> = Query::new(
        "SELECT name FROM sqlite_master
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(lease.connection()?)
    .await?;
    let mut exported = Map::new();
    for (table,) in tables {
        let types: Vec<(String, String)> =
            Query::new("SELECT name, type FROM pragma_table_info($1)")
                .bind(&table)
                .fetch_all(lease.connection()?)
                .await?;
        let types: HashMap<String, String> = types.into_iter().collect();
        // A name from the database's own list, quoted as SQL quotes names.
        let sql = format!("SELECT * FROM \"{}\"", table.replace('"', "\"\""));
        let Rows::Sqlite(rows) = Query::new(AssertSqlSafe(sql))
            .rows(lease.connection()?)
            .await?;
        let rows = rows
            .iter()
            .map(|row| object(row, &types))
            .collect::<Result<_, _>>()?;
        exported.insert(table, Value::Array(rows));
    }
    Ok(exported)
}

fn object(row: &SqliteRow, types: &HashMap<String, String>) -> Result<Value, sqlx::Error> {
    let mut members = Map::new();
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let value = if raw.is_null() {
            Value::Null
        } else {
            match raw.type_info().name() {
                "INTEGER" => row.try_get_unchecked::<i64, _>(at)?.into(),
                "REAL" => row.try_get_unchecked::<f64, _>(at)?.into(),
                "TEXT" => row.try_get_unchecked::<String, _>(at)?.into(),
                _ => {
                    let bytes = row.try_get_unchecked::<Vec<u8>, _>(at)?;
                    let declared = types.get(column.name()).map_or("", String::as_str);
                    match Uuid::from_slice(&bytes) {
                        Ok(id) if declared.eq_ignore_ascii_case("UUID") => id.to_string().into(),
                        _ => STANDARD.encode(bytes).into(),
                    }
                }
            }
        };
        members.insert(column.name().to_owned(), value);
    }
    Ok(Value::Object(members))
}
