//! What both wrong sessions do in the same way, each on its own database.

/// The transaction of a wrong session. A macro, because sqlx has no one type for both databases.
macro_rules! careless_session {
    ($session:ty, $upsert:expr) => {
        impl $session {
            async fn end(self, sql: &'static str) -> Option<()> {
                let mut connection = self.connection.into_inner();
                sqlx::raw_sql(sql).execute(&mut connection).await.ok()?;
                self.idle.lock().unwrap().push(connection);
                Some(())
            }
        }

        impl crate::storm::Session for $session {
            async fn write(&self, id: uuid::Uuid, owner: &str) -> Option<()> {
                sqlx::query("INSERT INTO rows (id, owner) VALUES ($1, $2)")
                    .bind(id)
                    .bind(owner)
                    .execute(&mut *self.connection.lock().await)
                    .await
                    .ok()
                    .map(drop)
            }

            async fn upsert(&self, key: i64, owner: &str) -> Option<()> {
                sqlx::query($upsert)
                    .bind(key)
                    .bind(owner)
                    .execute(&mut *self.connection.lock().await)
                    .await
                    .ok()
                    .map(drop)
            }

            async fn refer(&self, id: uuid::Uuid, target: uuid::Uuid) -> Option<()> {
                sqlx::query("INSERT INTO refs (id, target) VALUES ($1, $2)")
                    .bind(id)
                    .bind(target)
                    .execute(&mut *self.connection.lock().await)
                    .await
                    .ok()
                    .map(drop)
            }

            async fn owners(&self) -> Option<Vec<String>> {
                sqlx::query_scalar("SELECT owner FROM rows UNION SELECT owner FROM keys")
                    .fetch_all(&mut *self.connection.lock().await)
                    .await
                    .ok()
            }

            async fn run(&self, sql: String) -> Option<Vec<String>> {
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                    .fetch_all(&mut *self.connection.lock().await)
                    .await
                    .ok()
            }

            async fn commit(self) -> Option<()> {
                self.end("COMMIT").await
            }

            async fn rollback(self) -> Option<()> {
                self.end("ROLLBACK").await
            }
        }
    };
}
