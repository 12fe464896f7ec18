//! Many users or service clients at once, as a file brings them; for the owner's login.
//!
//! What is here already stays as it is, unless it may be changed. What another account has is never
//! touched. A preview decides by the same functions as what writes, which decides inside of its
//! transaction.

mod clients;
mod users;

use std::{collections::HashSet, time::Duration};

use uuid::Uuid;

use super::{Directory, Writing};
use crate::store::{
    Profile, Status, StoreError,
    names::{check_id, check_name, check_profile, check_role, check_subject, checked_scopes},
    query::{Query, listed},
};

/// The most of one call, which is one transaction. More: others wait longer for their turn to write;
/// fewer: each transaction has its price.
pub const IMPORT_LIMIT: usize = 500;

/// So many rows may take longer than one caller waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked again where somebody else was faster.
const ROUNDS: usize = 3;

/// A person who is to be a user here before he comes, or is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedUser {
    /// The subject at the provider.
    pub subject: String,
    /// For whoever is new. Of a user who is here, the provider's word stands.
    pub profile: Profile,
    /// None: that of a new user, or the one he has.
    pub role: Option<String>,
    /// None: active, or the one he has.
    pub status: Option<Status>,
}

/// A service client that is to be let in, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedClient {
    /// The id at the provider.
    pub client_id: String,
    /// For people.
    pub name: String,
    /// What it may do here. None: nothing, or what it may do already.
    pub scopes: Option<Vec<String>>,
    /// None: active, or the one it has.
    pub status: Option<Status>,
}

/// What became of one of them, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// New here, or back after its removal.
    Created,
    /// It was here with other values.
    Changed,
    /// It is here with these values.
    Unchanged,
    /// It is here with other values, and stays so.
    Differs(Vec<Difference>),
    /// It belongs to another account, and stays there.
    Elsewhere(Uuid),
    /// Its account is not there.
    NoAccount,
}

/// A value that is another one here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `name`, `role`, `scopes` or `status`.
    pub what: &'static str,
    /// The value here.
    pub here: String,
    /// The value that was to be.
    pub wanted: String,
}

/// What is to be done about one of them.
enum Step<Change> {
    Insert,
    Change(Change),
    Leave(Imported),
}

impl ImportedUser {
    /// Whether a user can have these values.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], which says what to write and repeats no value.
    pub fn check(&self) -> Result<(), StoreError> {
        check_subject(&self.subject)?;
        check_profile(&self.profile)?;
        self.role.as_deref().map_or(Ok(()), check_role)
    }
}

impl ImportedClient {
    /// With each scope once, where a service client can have these values.
    ///
    /// # Errors
    /// As [`ImportedUser::check`].
    pub fn checked(mut self) -> Result<Self, StoreError> {
        check_id("a client id", &self.client_id)?;
        check_name(&self.name)?;
        if let Some(scopes) = &mut self.scopes {
            *scopes = checked_scopes(scopes)?;
        }
        Ok(self)
    }
}

impl Difference {
    /// Something that is one value here and was to be another; none where both are the same.
    pub fn between(what: &'static str, here: &str, wanted: &str) -> Option<Self> {
        (here != wanted).then(|| Self {
            what,
            here: here.to_owned(),
            wanted: wanted.to_owned(),
        })
    }
}

fn require_batch(number: usize) -> Result<(), StoreError> {
    if number <= IMPORT_LIMIT {
        Ok(())
    } else {
        Err(StoreError::Invalid(format!(
            "at most {IMPORT_LIMIT} are imported at once"
        )))
    }
}

fn somebody_was_faster() -> StoreError {
    StoreError::Unavailable("others change the same users or clients: try again".to_owned())
}

impl Writing {
    /// Those of the accounts that are there.
    async fn accounts_among(
        &mut self,
        accounts: impl Iterator<Item = Uuid>,
    ) -> Result<HashSet<Uuid>, StoreError> {
        let wanted: HashSet<Uuid> = accounts.collect();
        let sql = format!(
            "SELECT id FROM accounts WHERE id IN ({})",
            listed(1, wanted.len())
        );
        let query = wanted.into_iter().fold(Query::once(sql), Query::bind);
        let rows: Vec<(Uuid,)> = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}
