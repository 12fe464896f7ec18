//! Sequences: the account is given no number again that it has had.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    super::{
        Cluster,
        making::{plain, script},
        space_of,
    },
    Moving,
};
use crate::store::{
    Query, StoreError,
    postgres::{close, literal},
};

#[derive(Debug, sqlx::FromRow)]
struct Sequence {
    name: String,
    increment: i64,
    cycles: bool,
}

/// So many numbers are drawn one by one where others draw too.
const DRAWN: i128 = 100_000;
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

impl Moving<'_> {
    /// Sets the sequences of the new place by those of the old one.
    pub(super) async fn set_numbers(
        &self,
        target: &Cluster,
        old: &mut PgConnection,
        new: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let sequences: Vec<Sequence> = Query::new(
            "SELECT c.relname::text AS name, s.seqincrement AS increment, s.seqcycle AS cycles
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 ORDER BY c.relname",
        )
        .bind(space_of(self.clusters.tenancy, self.account))
        .fetch_all(plain(old))
        .await?;
        let mut shared = if self.shares_tables() {
            Some(self.connection(target).await?)
        } else {
            None
        };
        for sequence in sequences {
            let name = self.full_name(&sequence.name);
            let Some((last, called)) = state(old, &name).await? else {
                continue;
            };
            match &mut shared {
                None => {
                    let set = format!("SELECT setval({}, {last}, {called})", literal(&name));
                    script(new, &set).await?;
                }
                // One that begins again gives every number again anyway.
                Some(on) if called && !sequence.cycles => {
                    advance(on, &name, last, sequence.increment).await?;
                }
                Some(_) => {}
            }
        }
        if let Some(shared) = shared {
            close(shared).await;
        }
        Ok(())
    }
}

/// Lets a sequence that others use give only numbers beyond `last`. It is never set back: others
/// may have drawn numbers since one has looked.
async fn advance(
    on: &mut PgConnection,
    name: &str,
    last: i64,
    increment: i64,
) -> Result<(), StoreError> {
    let Some((now, called)) = state(on, name).await? else {
        return Ok(());
    };
    let draws = draws(now, called, last, increment);
    if draws <= DRAWN {
        // Drawing never goes back, whoever draws too.
        let draw = format!(
            "SELECT count(nextval({})) FROM generate_series(1, {draws})",
            literal(name)
        );
        return script(on, &draw).await;
    }
    // Nobody can draw between looking and setting. Whoever waits for it waits a second at most.
    let set = format!(
        "BEGIN; SET LOCAL lock_timeout TO '1s'; ALTER SEQUENCE {name} INCREMENT BY {increment};
         SELECT setval({}, {last}) FROM {name} WHERE sign({last} - last_value) = sign({increment});
         COMMIT",
        literal(name)
    );
    let mut tries = 0;
    loop {
        tries += 1;
        match script(on, &set).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                script(on, "ROLLBACK").await?;
                if tries >= TRIES {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// How many numbers are to be drawn so that the next one is beyond `last`.
fn draws(now: i64, called: bool, last: i64, increment: i64) -> i128 {
    let (now, last, increment) = (i128::from(now), i128::from(last), i128::from(increment));
    let gap = (last - now) * increment.signum();
    let step = increment.abs().max(1);
    // The first one to be drawn is the one where it stands.
    gap.max(0) / step + i128::from(!called && gap >= 0)
}

async fn state(on: &mut PgConnection, name: &str) -> Result<Option<(i64, bool)>, StoreError> {
    let sql = format!("SELECT last_value, is_called FROM {name}");
    let query = Query::new(AssertSqlSafe(sql));
    Ok(query.fetch_optional(plain(on)).await?)
}

#[cfg(test)]
mod tests {
    use super::draws;

    /// Draws as PostgreSQL does.
    fn next_after(mut now: i64, mut called: bool, increment: i64, draws: i128) -> i64 {
        for _ in 0..draws {
            if called {
                now += increment;
            }
            called = true;
        }
        if called { now + increment } else { now }
    }

    #[test]
    fn the_next_number_is_beyond_and_none_is_left_out_for_nothing() {
        for increment in [1, 3, -1, -4] {
            for last in [-7, 0, 1, 9] {
                for (now, called) in [(1, false), (1, true), (9, false), (9, true), (-7, true)] {
                    let draws = draws(now, called, last, increment);
                    let beyond = |number: i64| (number - last) * increment.signum() > 0;
                    let next = next_after(now, called, increment, draws);
                    assert!(beyond(next), "{now} {called} {last} {increment}");
                    if draws > 0 {
                        let before = next_after(now, called, increment, draws - 1);
                        assert!(!beyond(before), "{now} {called} {last} {increment}");
                    }
                }
            }
        }
    }
}
