//! How much of an account's activity is kept, and how the rest goes.
//!
//! On PostgreSQL the application's login may read entries, and no more: what is to go is removed by
//! a function of the owner (`postgres/activity.sql`), which keeps at least what `migrate` was told
//! to keep, whoever calls it.

use std::time::Duration;

use tokio::time::{interval, sleep};
use uuid::Uuid;

use super::{SessionError, TenantSpaces};
use crate::{
    clock::Timestamp,
    settings::DatabaseSettings,
    store::{Connection, Query, StoreError},
};

/// The round of the accounts to which nothing is written.
const ROUND: &str = "activity";
/// Between two rounds.
const ROUND_EVERY: Duration = Duration::from_secs(3_600);
/// How often a replica asks whether a round is due.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// Accounts that are read at a time.
const ACCOUNTS: i64 = 200;
/// Between two accounts: nobody waits for a round, and nobody should wait because of it.
const PAUSE: Duration = Duration::from_millis(20);

/// How much is kept: `ACTIVITY_KEEP` and `ACTIVITY_MAX_AGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    keep: u32,
    max_age: Option<Duration>,
}

impl Retention {
    pub(super) fn of(settings: &DatabaseSettings) -> Self {
        Self {
            keep: settings.activity_keep,
            max_age: settings.activity_max_age,
        }
    }

    /// Whether anything is written down at all.
    pub(super) fn writes(self) -> bool {
        self.keep > 0
    }

    /// How many entries stay at least. Where none are written, those that are there stay: their
    /// number is not what is limited then.
    pub(super) fn keeps(self) -> i64 {
        match self.keep {
            0 => i64::MAX,
            keep => i64::from(keep),
        }
    }

    /// The longest age in milliseconds; 0: any.
    pub(super) fn max_age_millis(self) -> i64 {
        self.max_age.map_or(0, |age| {
            i64::try_from(age.as_millis()).unwrap_or(i64::MAX).max(1)
        })
    }

    /// What comes before this id is too old; none: nothing is.
    fn first_kept(self, now: Timestamp) -> Option<Uuid> {
        self.max_age.map(|age| first_id_at(now.saturating_sub(age)))
    }

    /// The first id that is shown.
    pub(super) fn first_shown(self, now: Timestamp) -> Uuid {
        self.first_kept(now).unwrap_or(Uuid::nil())
    }
}

/// Ids of this moment or a later one are not smaller: an entry's id carries its time.
pub(super) fn first_id_at(at: Timestamp) -> Uuid {
    // 48 bits of milliseconds stand first (RFC 9562, 5.7).
    const MOST: i64 = (1 << 48) - 1;
    let millis = u128::try_from(at.as_millis().clamp(0, MOST)).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// Removes what the account has too much of; how many entries these were.
pub(super) async fn prune(spaces: &TenantSpaces, account: Uuid) -> Result<u64, SessionError> {
    let mut lease = spaces.begin(account).await?;
    let removed = remove_old(lease.connection()?, spaces.retention(), spaces.now()).await?;
    lease.commit().await?;
    Ok(removed)
}

pub(super) async fn remove_old(
    mut on: Connection<'_>,
    retention: Retention,
    now: Timestamp,
) -> Result<u64, SessionError> {
    let (keep, first_kept) = (retention.keeps(), retention.first_kept(now));
    if matches!(on, Connection::Postgres(_)) {
        let remove = Query::new("SELECT vestibule.remove_old_activity($1, $2)")
            .bind(keep)
            .bind(first_kept);
        let removed: Option<(i64,)> = remove.fetch_optional(on).await?;
        return Ok(removed.map_or(0, |(removed,)| u64::try_from(removed).unwrap_or(0)));
    }
    let mut removed = Query::new(
        "DELETE FROM vestibule_activity WHERE id <= (
             SELECT id FROM vestibule_activity ORDER BY id DESC LIMIT 1 OFFSET $1
         )",
    )
    .bind(keep)
    .execute(on.reborrow())
    .await?;
    if let Some(first) = first_kept {
        removed += Query::new("DELETE FROM vestibule_activity WHERE id < $1")
            .bind(first)
            .execute(on)
            .await?;
    }
    Ok(removed)
}

/// Removes what became too old in accounts to which nothing is written, for ever: one replica goes
/// from account to account, slowly.
pub(super) async fn go_round(spaces: TenantSpaces) {
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        if let Err(error) = round(&spaces).await {
            tracing::warn!(%error, "old activity could not be looked for");
        }
    }
}

/// One round, where one is due; how many accounts were looked at.
pub(super) async fn round(spaces: &TenantSpaces) -> Result<u64, StoreError> {
    let directory = spaces.directory();
    let mut before = spaces.now().saturating_sub(ROUND_EVERY);
    let (mut after, mut seen) = (Uuid::nil(), 0);
    // Taken again at each page: a round that takes longer than the time between two is not begun
    // by another replica meanwhile.
    while directory.take_round(ROUND, spaces.now(), before).await? {
        let accounts = directory.account_ids(after, ACCOUNTS).await?;
        let Some(last) = accounts.last() else {
            break;
        };
        after = *last;
        for account in accounts {
            seen += 1;
            if let Err(error) = prune(spaces, account).await {
                tracing::debug!(account.id = %account, %error, "old activity was not removed");
            }
            sleep(PAUSE).await;
        }
        before = Timestamp::from_millis(i64::MAX);
    }
    Ok(seen)
}

#[cfg(test)]
impl Retention {
    pub(super) fn new(keep: u32, max_age: Option<Duration>) -> Self {
        Self { keep, max_age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_moment_is_not_before_the_first_of_it() {
        let at = Timestamp::from_millis(1_750_000_000_123);
        let first = first_id_at(at);
        assert_eq!(first.to_string(), "01977420-dc7b-0000-0000-000000000000");
        assert!(first_id_at(Timestamp::from_millis(1_750_000_000_124)) > first);
        assert_eq!(first_id_at(Timestamp::from_millis(-5)), Uuid::nil());
        assert!(first_id_at(Timestamp::from_millis(i64::MAX)) < Uuid::max());
    }
}
