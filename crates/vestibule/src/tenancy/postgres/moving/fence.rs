//! The fence: who is kept away, who is waited for, and how the move itself passes.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Cluster, Clusters, database_of,
        making::{bind, plain, script},
        space_of,
    },
    Moving,
};
use crate::{
    settings::Tenancy,
    store::{
        Query, StoreError,
        postgres::{close, connect, literal},
    },
};

/// Whoever was killed is noticed by the server a moment later.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);
/// Sessions that are ended are gone within this, or do not end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Values have the same text on both sides, and nothing ends the transaction but its own end. What
/// is not known to all versions of the server is set where it is there.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
 SET LOCAL client_min_messages TO warning; SET LOCAL extra_float_digits TO 3;
 SET LOCAL DateStyle TO ISO, YMD; SET LOCAL IntervalStyle TO postgres; SET LOCAL TimeZone TO 'UTC';
 SET LOCAL bytea_output TO hex; SET LOCAL xmloption TO content; SET LOCAL lc_monetary TO 'C';
 SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings
 WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
 SET LOCAL lock_timeout TO '60s'";

impl Clusters {
    /// Keeps other moves of the account, and its deletion, away until the connection closes.
    pub(in crate::tenancy) async fn hold_account(
        &self,
        account: Uuid,
    ) -> Result<PgConnection, StoreError> {
        let mut connection = self.owner_connection(self.main(), None).await?;
        script(&mut connection, BEGIN).await?;
        let until = Instant::now() + LOCK_PATIENCE;
        loop {
            let sql = "SELECT pg_catalog.pg_try_advisory_xact_lock(7012853, hashtext($1))";
            let lock = Query::new(sql).bind(account.to_string());
            if lock.fetch_optional(plain(&mut connection)).await? == Some((true,)) {
                return Ok(connection);
            }
            if Instant::now() > until {
                return Err(StoreError::Refused(format!(
                    "account {account} is being moved, or deleted, by another process just now"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Moving<'_> {
    /// The owner's connection to the database that holds, or is to hold, the account.
    pub(super) async fn connection(&self, cluster: &Cluster) -> Result<PgConnection, StoreError> {
        let own = database_of(self.account);
        let own = self.is_own_database().then_some(own.as_str());
        self.clusters.owner_connection(cluster, own).await
    }

    /// The same with a transaction.
    pub(super) async fn transaction(&self, cluster: &Cluster) -> Result<PgConnection, StoreError> {
        let mut connection = self.connection(cluster).await?;
        script(&mut connection, BEGIN).await?;
        Ok(connection)
    }

    /// A transaction that no migration of the account's place on the cluster runs beside.
    pub(super) async fn keep_migrations_away(
        &self,
        cluster: &Cluster,
    ) -> Result<PgConnection, StoreError> {
        let mut connection = self.transaction(cluster).await?;
        let space = space_of(self.clusters.tenancy, self.account);
        // As migrations have it, but moves do not keep each other away.
        let lock = format!(
            "SELECT pg_catalog.pg_advisory_xact_lock_shared(7012851, hashtext({}))",
            literal(&space)
        );
        script(&mut connection, &lock).await.map_err(|error| {
            error.or_refused("55P03", || {
                format!("a migration runs on {}: try again", cluster.shown())
            })
        })?;
        Ok(connection)
    }

    /// Puts the fence up, or takes it over. From here on it is this run's.
    pub(super) async fn fence(&self, cluster: &Cluster, to: &str) -> Result<(), StoreError> {
        let mut on = self.transaction(cluster).await?;
        // One fence after the other, so that the number of the latest is the highest.
        script(
            &mut on,
            "SELECT pg_catalog.pg_advisory_xact_lock(7012855, 0);
             SELECT pg_catalog.setval('vestibule.latest_fence',
                 pg_catalog.pg_current_xact_id()::text::bigint)",
        )
        .await?;
        self.put_up(&mut on, to).await?;
        script(&mut on, "COMMIT").await?;
        close(on).await;
        Ok(())
    }

    async fn put_up(&self, on: &mut PgConnection, to: &str) -> Result<(), StoreError> {
        Query::new(
            "INSERT INTO vestibule.fences (account_id, moved_to, run) VALUES ($1, $2, $3)
             ON CONFLICT (account_id)
             DO UPDATE SET moved_to = excluded.moved_to, run = excluded.run",
        )
        .bind(self.account)
        .bind(to)
        .bind(self.run)
        .execute(plain(on))
        .await?;
        Ok(())
    }

    /// From here on this transaction passes the fence and sees the account, and it alone does: the
    /// fence is put back by [`Moving::leave`], or by its end.
    pub(super) async fn enter(&self, on: &mut PgConnection) -> Result<(), StoreError> {
        let query = Query::new("DELETE FROM vestibule.fences WHERE account_id = $1 AND run = $2");
        let mine = query.bind(self.account).bind(self.run);
        if mine.execute(plain(on)).await? != 1 {
            return Err(StoreError::Refused(
                "somebody else goes on with the move".to_owned(),
            ));
        }
        self.bind(on).await
    }

    /// Names and rows are the account's.
    pub(super) async fn bind(&self, on: &mut PgConnection) -> Result<(), StoreError> {
        let space = space_of(self.clusters.tenancy, self.account);
        if self.is_own_database() {
            return super::super::making::use_space(on, &space).await;
        }
        let signer = self.clusters.owner_signer(on).await?;
        bind(on, &signer, self.account, &space).await?;
        let query = Query::new("SELECT vestibule.bound_account()");
        let bound: Option<(Option<Uuid>,)> = query.fetch_optional(plain(on)).await?;
        // Else there would seem to be no rows.
        if bound != Some((Some(self.account),)) {
            return Err(StoreError::Refused(
                "the database does not know the first key of VESTIBULE_BINDING_KEY: run \
                 `vestibule migrate`"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Ends a transaction that passed the fence: what it did stays, and so does the fence.
    pub(super) async fn leave(&self, on: &mut PgConnection, to: &str) -> Result<(), StoreError> {
        self.put_up(on, to).await?;
        script(on, "COMMIT").await
    }

    /// Takes the fence down, whichever run put it up: the directory says that the account lies
    /// here.
    pub(super) async fn open(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let mut on = self.transaction(cluster).await?;
        super::super::making::lift_fence(&mut on, self.account).await?;
        script(&mut on, "COMMIT").await?;
        close(on).await;
        Ok(())
    }

    /// Waits until every transaction is over that did not see the fence. What it waits for longer
    /// than `DATABASE_TIMEOUT` is ended.
    pub(super) async fn wait_until_quiet(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let mut on = self.connection(cluster).await?;
        // All at once: who comes later has seen the fence.
        let mut open = self.open_sessions(&mut on, None).await?;
        let ending = Instant::now() + self.clusters.timeout;
        let mut ended = false;
        while !open.is_empty() {
            if Instant::now() > ending && !ended {
                self.end(cluster, &open).await?;
                ended = true;
            }
            if Instant::now() > ending + END_PATIENCE {
                return Err(StoreError::Refused(format!(
                    "transactions that began before the move do not end on {} ({})",
                    cluster.shown(),
                    open.join(", ")
                )));
            }
            tokio::time::sleep(LOOK).await;
            open = self.open_sessions(&mut on, Some(&open)).await?;
        }
        close(on).await;
        Ok(())
    }

    /// The transactions that have asked for the fence of this account, or cannot be told from
    /// such; or those of them that are among `these`.
    ///
    /// Without a mark of an account are, for one, statements of the owner and of whoever makes a
    /// backup: they are no sessions. A session has no mark where another holds its lock.
    async fn open_sessions(
        &self,
        on: &mut PgConnection,
        these: Option<&[String]>,
    ) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String,)> = Query::new(
            "WITH asked AS (
                 SELECT DISTINCT l.virtualtransaction, l.pid FROM pg_catalog.pg_locks l
                 WHERE l.relation = 'vestibule.fences'::pg_catalog.regclass
                   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                       WHERE datname = current_database())
                   AND l.granted AND l.mode = 'AccessShareLock'
                   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
             ), mark AS (
                 SELECT l.virtualtransaction, bool_or(l.objid = hashtext($1)::bit(32)::bigint) AS ours
                 FROM pg_catalog.pg_locks l
                 WHERE l.locktype = 'advisory' AND l.classid = 7012852 AND l.objsubid = 2
                   AND l.mode = 'ShareLock' AND l.granted
                   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                       WHERE datname = current_database())
                 GROUP BY l.virtualtransaction
             )
             SELECT a.virtualtransaction FROM asked a
             LEFT JOIN mark m ON m.virtualtransaction = a.virtualtransaction
             LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = a.pid
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.usesysid
             WHERE ($2 IS NULL OR a.virtualtransaction = ANY (string_to_array($2, ',')))
               AND COALESCE(m.ours, NOT COALESCE(r.rolsuper OR r.rolname = current_user
                   OR NOT pg_catalog.has_function_privilege(
                       r.oid, 'vestibule.require_unfenced(uuid)', 'EXECUTE'), false))",
        )
        .bind(self.account.to_string())
        .bind(these.map(|these| these.join(",")))
        .fetch_all(plain(on))
        .await?;
        Ok(found
            .into_iter()
            .map(|(transaction,)| transaction)
            .collect())
    }

    /// Ends these transactions, by the login whose they are.
    async fn end(&self, cluster: &Cluster, these: &[String]) -> Result<(), StoreError> {
        let mut url = cluster.logins.application.clone();
        if self.clusters.tenancy == Tenancy::Database {
            url = url.with_database(&database_of(self.account));
        }
        let mut on = connect(&url, self.clusters.timeout)
            .await
            .map_err(|error| StoreError::Unavailable(format!("{url}: {error}")))?;
        // In one message: behind a pooler, what is prepared on one server connection may be run on
        // another.
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
             JOIN pg_catalog.pg_locks l ON l.pid = a.pid AND l.locktype = 'virtualxid'
             WHERE a.usename = current_user AND a.pid <> pg_catalog.pg_backend_pid()
               AND l.virtualtransaction = ANY (string_to_array({}, ','))",
            literal(&these.join(","))
        );
        script(&mut on, &end).await?;
        close(on).await;
        Ok(())
    }
}
