//! Users.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    Difference, Directory, Imported, ImportedUser, PATIENCE, ROUNDS, Step, Writing, require_batch,
    somebody_was_faster,
};
use crate::store::{
    Change, Status, StoreError,
    directory::users::NEW_ROLE,
    query::{Query, listed, rows},
};

/// A user of any account, removed or not.
#[derive(sqlx::FromRow)]
struct Here {
    id: Uuid,
    account_id: Uuid,
    subject: String,
    role: String,
    status: Status,
    removed_at: Option<i64>,
}

/// What is written over a user's row.
struct Becomes {
    row: Uuid,
    from: Uuid,
    role: String,
    status: Status,
    returns: bool,
}

impl Directory {
    /// Makes these users of the provider, each in its account, in one transaction; with `update`, gives
    /// those who are here other roles and statuses where they differ. What became of each, in the order
    /// given.
    ///
    /// Whoever was removed comes back as with [`Directory::provision_user`]: in the same account with his
    /// id, his role and his status, in another one as a new user who is still suspended if he was.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for more than [`IMPORT_LIMIT`](super::IMPORT_LIMIT), or a value that no
    /// user can have; others where the database fails. Nothing is changed then.
    pub async fn import_users(
        &self,
        provider: &str,
        users: Vec<(Uuid, ImportedUser)>,
        update: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        require_batch(users.len())?;
        if users.is_empty() {
            return Ok(Vec::new());
        }
        users.iter().try_for_each(|(_, user)| user.check())?;
        let provider = provider.to_owned();
        self.write_within(PATIENCE, move |writing| {
            Box::pin(async move { writing.import_users(&provider, &users, update).await })
        })
        .await
    }

    /// What [`Directory::import_users`] would come to. An account need not be there yet.
    ///
    /// # Errors
    /// As [`Directory::import_users`].
    pub async fn preview_users(
        &self,
        provider: &str,
        users: &[(Uuid, ImportedUser)],
        update: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        require_batch(users.len())?;
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let subjects = users.iter().map(|(_, user)| user.subject.as_str());
        let here = by_subject(self.fetch_all(who_is_here(provider, subjects)).await?);
        let outcomes = users.iter().map(|(account, user)| {
            match step(here.get(&user.subject), *account, user, update) {
                Step::Insert => Imported::Created,
                Step::Change(becomes) => becomes.outcome(),
                Step::Leave(outcome) => outcome,
            }
        });
        Ok(outcomes.collect())
    }
}

fn step(here: Option<&Here>, account: Uuid, user: &ImportedUser, update: bool) -> Step<Becomes> {
    let Some(here) = here else {
        return Step::Insert;
    };
    let (same, returns) = (here.account_id == account, here.removed_at.is_some());
    if !same && !returns {
        return Step::Leave(Imported::Elsewhere(here.account_id));
    }
    // A role is one in an account; a suspension is not left behind.
    let role_here = if same { &here.role } else { NEW_ROLE };
    let role = user.role.as_deref().unwrap_or(role_here);
    let status = user.status.unwrap_or(here.status);
    let differences: Vec<_> = [
        Difference::between("role", role_here, role).filter(|_| same),
        Difference::between("status", here.status.as_str(), status.as_str()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !differences.is_empty() && !update {
        return Step::Leave(Imported::Differs(differences));
    }
    if differences.is_empty() && !returns {
        return Step::Leave(Imported::Unchanged);
    }
    Step::Change(Becomes {
        row: here.id,
        from: here.account_id,
        role: role.to_owned(),
        status,
        returns,
    })
}

impl Becomes {
    fn outcome(&self) -> Imported {
        if self.returns {
            Imported::Created
        } else {
            Imported::Changed
        }
    }
}

fn who_is_here<'a>(provider: &str, subjects: impl ExactSizeIterator<Item = &'a str>) -> Query {
    let sql = format!(
        "SELECT id, account_id, subject, role, status, removed_at FROM users
         WHERE provider = $1 AND subject IN ({})",
        listed(2, subjects.len())
    );
    subjects.fold(Query::once(sql).bind(provider), Query::bind)
}

fn by_subject(rows: Vec<Here>) -> HashMap<String, Here> {
    rows.into_iter()
        .map(|row| (row.subject.clone(), row))
        .collect()
}

type Numbered<'a> = (usize, &'a (Uuid, ImportedUser));

impl Writing {
    async fn import_users(
        &mut self,
        provider: &str,
        users: &[(Uuid, ImportedUser)],
        update: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        let accounts = users.iter().map(|(account, _)| *account);
        let accounts = self.accounts_among(accounts).await?;
        let mut done: Vec<(usize, Imported)> = Vec::with_capacity(users.len());
        let (mut open, lost): (Vec<Numbered<'_>>, Vec<Numbered<'_>>) = users
            .iter()
            .enumerate()
            .partition(|(_, (account, _))| accounts.contains(account));
        done.extend(
            lost.iter()
                .map(|(number, _)| (*number, Imported::NoAccount)),
        );
        for _ in 0..ROUNDS {
            if open.is_empty() {
                break;
            }
            let subjects = open.iter().map(|(_, (_, user))| user.subject.as_str());
            let here = by_subject(self.fetch_all(who_is_here(provider, subjects)).await?);
            let (mut new, mut late) = (Vec::new(), Vec::new());
            for one in open {
                let (number, (account, user)) = one;
                match step(here.get(&user.subject), *account, user, update) {
                    Step::Insert => new.push(one),
                    Step::Leave(outcome) => done.push((number, outcome)),
                    Step::Change(becomes) => {
                        let written = match becomes.returns {
                            true => self.bring_back(*account, user, &becomes).await?,
                            false => self.change_imported(&becomes).await?,
                        };
                        if written {
                            self.announce(changed(provider, user));
                            done.push((number, becomes.outcome()));
                        } else {
                            late.push(one);
                        }
                    }
                }
            }
            let mut made = self.insert_users(provider, &new).await?;
            for one in new {
                let (number, (_, user)) = one;
                // Each subject once: whoever names it twice finds it here in the next round.
                if made.remove(&user.subject) {
                    self.announce(changed(provider, user));
                    done.push((number, Imported::Created));
                } else {
                    late.push(one);
                }
            }
            open = late;
        }
        if !open.is_empty() {
            return Err(somebody_was_faster());
        }
        done.sort_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// Inserts those who are not there; their subjects.
    async fn insert_users(
        &mut self,
        provider: &str,
        new: &[Numbered<'_>],
    ) -> Result<HashSet<String>, StoreError> {
        const COLUMNS: usize = 10;
        if new.is_empty() {
            return Ok(HashSet::new());
        }
        // Ids in the order given, by which users are listed; rows in an order that is the same for all,
        // so that nobody waits for somebody who waits for him.
        let mut new: Vec<_> = new
            .iter()
            .map(|(_, (account, user))| (self.new_id(), *account, user))
            .collect();
        new.sort_by(|(_, _, one), (_, _, other)| one.subject.cmp(&other.subject));
        let sql = format!(
            "INSERT INTO users
                 (id, account_id, provider, subject, email, name, picture, role, status, created_at)
             VALUES {}
             ON CONFLICT (provider, subject) DO NOTHING
             RETURNING subject",
            rows(new.len(), COLUMNS)
        );
        let now = self.now();
        let query = new
            .into_iter()
            .fold(Query::once(sql), |query, (id, account, user)| {
                query
                    .bind(id)
                    .bind(account)
                    .bind(provider)
                    .bind(&user.subject)
                    .bind(user.profile.email.clone())
                    .bind(user.profile.name.clone())
                    .bind(user.profile.picture.clone())
                    .bind(user.role.as_deref().unwrap_or(NEW_ROLE))
                    .bind(user.status.unwrap_or_default())
                    .bind(now)
            });
        let made: Vec<(String,)> = self.fetch_all(query).await?;
        Ok(made.into_iter().map(|(subject,)| subject).collect())
    }

    async fn change_imported(&mut self, becomes: &Becomes) -> Result<bool, StoreError> {
        let query = Query::new(
            "UPDATE users SET role = $3, status = $4
             WHERE id = $1 AND account_id = $2 AND removed_at IS NULL",
        )
        .bind(becomes.row)
        .bind(becomes.from)
        .bind(&becomes.role)
        .bind(becomes.status);
        Ok(self.execute(query).await? == 1)
    }

    async fn bring_back(
        &mut self,
        account: Uuid,
        user: &ImportedUser,
        becomes: &Becomes,
    ) -> Result<bool, StoreError> {
        let query = Query::new(
            "UPDATE users SET
                 id = CASE WHEN account_id = $3 THEN id ELSE $4 END,
                 created_at = CASE WHEN account_id = $3 THEN created_at ELSE $5 END,
                 account_id = $3, role = $6, status = $7, email = $8, name = $9, picture = $10,
                 removed_at = NULL
             WHERE id = $1 AND account_id = $2 AND removed_at IS NOT NULL",
        )
        .bind(becomes.row)
        .bind(becomes.from)
        .bind(account)
        .bind(self.new_id())
        .bind(self.now())
        .bind(&becomes.role)
        .bind(becomes.status)
        .bind(user.profile.email.clone())
        .bind(user.profile.name.clone())
        .bind(user.profile.picture.clone());
        Ok(self.execute(query).await? == 1)
    }
}

fn changed(provider: &str, user: &ImportedUser) -> Change {
    Change::User {
        provider: provider.to_owned(),
        subject: user.subject.clone(),
    }
}
