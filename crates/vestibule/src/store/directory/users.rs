//! Users.
//!
//! A removed user leaves a row behind, so that neither his role nor his suspension is lost when
//! he comes back: see [`Directory::provision_user`].

use uuid::Uuid;

use super::{Directory, Kind, Operation, Writing};
use crate::store::{
    Account, Change, NewUser, Page, PageOf, Profile, Provisioned, Status, StoreError, User,
    beginning, names::check_role, oldest_first, query::Query,
};

/// The role of a new user.
pub(super) const NEW_ROLE: &str = "member";

#[derive(sqlx::FromRow)]
struct UserRow {
    id: Uuid,
    subject: String,
    email: Option<String>,
    name: Option<String>,
    picture: Option<String>,
    role: String,
    status: Status,
    account_id: Uuid,
}

#[derive(sqlx::FromRow)]
struct UserAndAccountRow {
    #[sqlx(flatten)]
    user: UserRow,
    account_name: String,
    account_tenant: String,
    account_status: Status,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id,
            authress_user_id: row.subject,
            email: row.email,
            name: row.name,
            picture: row.picture,
            role: row.role,
            status: row.status,
            account_id: row.account_id,
        }
    }
}

pub(super) const OPERATIONS: &[&Operation] = &[
    &FIND_USER,
    &USER,
    &USERS,
    &USER_OF_SUBJECT,
    &INSERT_USER,
    &REVIVE_USER,
    &REFRESH_PROFILE,
];

const COLUMNS: &[(&str, Kind)] = &[
    ("id", Kind::Uuid),
    ("subject", Kind::Text),
    ("email", Kind::Text),
    ("name", Kind::Text),
    ("picture", Kind::Text),
    ("role", Kind::Text),
    ("status", Kind::Text),
    ("account_id", Kind::Uuid),
];

static FIND_USER: Operation = Operation {
    name: "find_user",
    takes: &[Kind::Text, Kind::Text],
    gives: &[
        ("id", Kind::Uuid),
        ("subject", Kind::Text),
        ("email", Kind::Text),
        ("name", Kind::Text),
        ("picture", Kind::Text),
        ("role", Kind::Text),
        ("status", Kind::Text),
        ("account_id", Kind::Uuid),
        ("account_name", Kind::Text),
        ("account_tenant", Kind::Text),
        ("account_status", Kind::Text),
    ],
    sql: "SELECT u.id, u.subject, u.email, u.name, u.picture, u.role, u.status, u.account_id,
                 a.name AS account_name, a.authress_tenant_id AS account_tenant,
                 a.status AS account_status
          FROM users u JOIN accounts a ON a.id = u.account_id
          WHERE u.provider = $1 AND u.subject = $2 AND u.removed_at IS NULL",
};

static USER: Operation = Operation {
    name: "user_by_id",
    takes: &[Kind::Uuid],
    gives: COLUMNS,
    sql: "SELECT id, subject, email, name, picture, role, status, account_id FROM users
          WHERE id = $1 AND removed_at IS NULL",
};

static USERS: Operation = Operation {
    name: "users_of_account",
    takes: &[Kind::Uuid, Kind::Uuid, Kind::BigInt],
    gives: COLUMNS,
    sql: "SELECT id, subject, email, name, picture, role, status, account_id FROM users
          WHERE account_id = $1 AND id > $2 AND removed_at IS NULL ORDER BY id LIMIT $3",
};

static USER_OF_SUBJECT: Operation = Operation {
    name: "user_of_subject",
    takes: &[Kind::Text, Kind::Text],
    gives: COLUMNS,
    sql: "SELECT id, subject, email, name, picture, role, status, account_id FROM users
          WHERE provider = $1 AND subject = $2 AND removed_at IS NULL",
};

static INSERT_USER: Operation = Operation {
    name: "insert_user",
    takes: &[
        Kind::Uuid,
        Kind::Uuid,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::BigInt,
    ],
    gives: COLUMNS,
    sql: "INSERT INTO users
              (id, account_id, provider, subject, email, name, picture, role, status, created_at)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
          ON CONFLICT (provider, subject) DO NOTHING
          RETURNING id, subject, email, name, picture, role, status, account_id",
};

static REVIVE_USER: Operation = Operation {
    name: "revive_user",
    takes: &[
        Kind::Text,
        Kind::Text,
        Kind::Uuid,
        Kind::Uuid,
        Kind::Text,
        Kind::BigInt,
        Kind::Text,
        Kind::Text,
        Kind::Text,
    ],
    gives: COLUMNS,
    sql: "UPDATE users SET
              id = CASE WHEN account_id = $3 THEN id ELSE $4 END,
              role = CASE WHEN account_id = $3 THEN role ELSE $5 END,
              created_at = CASE WHEN account_id = $3 THEN created_at ELSE $6 END,
              account_id = $3, email = $7, name = $8, picture = $9, removed_at = NULL
          WHERE provider = $1 AND subject = $2 AND removed_at IS NOT NULL
          RETURNING id, subject, email, name, picture, role, status, account_id",
};

static REFRESH_PROFILE: Operation = Operation {
    name: "refresh_profile",
    takes: &[Kind::Uuid, Kind::Text, Kind::Text, Kind::Text],
    gives: &[("provider", Kind::Text), ("subject", Kind::Text)],
    sql: "UPDATE users SET email = $2, name = $3, picture = $4
          WHERE id = $1 AND removed_at IS NULL
          RETURNING provider, subject",
};

/// The users of one account; another account's cannot be reached through it.
#[derive(Clone, Debug)]
pub struct AccountUsers {
    directory: Directory,
    account_id: Uuid,
}

impl AccountUsers {
    /// The users, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn list(&self, page: &Page) -> Result<PageOf<User>, StoreError> {
        self.directory.users(self.account_id, page).await
    }

    /// The user with this id; none where it is another account's.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn get(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        let user = self.directory.user(id).await?;
        Ok(user.filter(|user| user.account_id == self.account_id))
    }
}

impl Directory {
    /// The users of one account, for somebody of it.
    pub(crate) fn users_of(&self, account_id: Uuid) -> AccountUsers {
        AccountUsers {
            directory: self.clone(),
            account_id,
        }
    }

    /// The user with this subject at the provider, and his account.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn find_user(
        &self,
        provider: &str,
        subject: &str,
    ) -> Result<Option<(User, Account)>, StoreError> {
        let query = Query::of(&FIND_USER).bind(provider).bind(subject);
        let row: Option<UserAndAccountRow> = self.fetch_optional(query).await?;
        Ok(row.map(|row| {
            let account = Account {
                id: row.user.account_id,
                name: row.account_name,
                authress_tenant_id: row.account_tenant,
                status: row.account_status,
            };
            (row.user.into(), account)
        }))
    }

    /// The user with this id.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn user(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        let query = Query::of(&USER).bind(id);
        let row: Option<UserRow> = self.fetch_optional(query).await?;
        Ok(row.map(User::from))
    }

    /// The users of an account, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn users(&self, account_id: Uuid, page: &Page) -> Result<PageOf<User>, StoreError> {
        let bounds = oldest_first(page)?;
        let query = Query::of(&USERS)
            .bind(account_id)
            .bind(bounds.beyond)
            .bind(bounds.rows());
        let rows: Vec<UserRow> = self.fetch_all(query).await?;
        let users = rows.into_iter().map(User::from).collect();
        Ok(bounds.page(users, |user: &User| user.id))
    }

    /// Users of all accounts whose e-mail or name begins with `text`, without regard to case, or
    /// who have it as their id or subject: the oldest first. Looks at all of them; for the owner's
    /// login.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn search_users(&self, text: &str, page: &Page) -> Result<PageOf<User>, StoreError> {
        let bounds = oldest_first(page)?;
        let query = Query::new(
            "SELECT id, subject, email, name, picture, role, status, account_id FROM users
             WHERE id > $1 AND removed_at IS NULL
                 AND (LOWER(email) LIKE $2 ESCAPE '!' OR LOWER(name) LIKE $2 ESCAPE '!'
                      OR subject = $3 OR id = $4)
             ORDER BY id LIMIT $5",
        )
        .bind(bounds.beyond)
        .bind(beginning(text))
        .bind(text)
        .bind(text.parse::<Uuid>().unwrap_or_default())
        .bind(bounds.rows());
        let rows: Vec<UserRow> = self.fetch_all(query).await?;
        let users = rows.into_iter().map(User::from).collect();
        Ok(bounds.page(users, |user: &User| user.id))
    }

    /// Makes the local user of a person who comes for the first time, or finds the one that a
    /// parallel first visit made, in this process or another: all of them succeed with one row.
    ///
    /// A person who was removed and returns to the same account gets the same id, role and
    /// status back. One who comes by another account gets a new id there and the role of a new
    /// user, but stays suspended if he was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the account is gone or suspended; others where the
    /// database fails.
    pub async fn provision_user(&self, new: &NewUser) -> Result<Provisioned, StoreError> {
        // Most parallel visits come second; they need no lock.
        if let Some((user, _)) = self.find_user(&new.provider, &new.subject).await? {
            return Ok(Provisioned {
                user,
                created: false,
            });
        }
        let new = new.clone();
        self.write(move |writing| Box::pin(async move { writing.provision(new).await }))
            .await
    }

    /// Takes over what the provider says of the user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn refresh_profile(
        &self,
        user_id: Uuid,
        profile: &Profile,
    ) -> Result<(), StoreError> {
        let query = Query::of(&REFRESH_PROFILE)
            .bind(user_id)
            .bind(profile.email.clone())
            .bind(profile.name.clone())
            .bind(profile.picture.clone());
        self.write(move |writing| {
            Box::pin(async move { writing.change_user(user_id, query).await })
        })
        .await
    }

    /// Gives the user another role.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], [`StoreError::NotFound`]; others where the database fails.
    pub async fn set_user_role(&self, id: Uuid, role: &str) -> Result<User, StoreError> {
        check_role(role)?;
        let query = Query::new(
            "UPDATE users SET role = $2 WHERE id = $1 AND removed_at IS NULL
             RETURNING provider, subject",
        )
        .bind(id)
        .bind(role);
        self.changed_user(id, query).await
    }

    /// Refuses the user from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn suspend_user(&self, id: Uuid) -> Result<User, StoreError> {
        self.set_user_status(id, Status::Suspended).await
    }

    /// Lets the user in again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn resume_user(&self, id: Uuid) -> Result<User, StoreError> {
        self.set_user_status(id, Status::Active).await
    }

    async fn set_user_status(&self, id: Uuid, status: Status) -> Result<User, StoreError> {
        let query = Query::new(
            "UPDATE users SET status = $2 WHERE id = $1 AND removed_at IS NULL
             RETURNING provider, subject",
        )
        .bind(id)
        .bind(status);
        self.changed_user(id, query).await
    }

    /// Removes the user and what the provider said of him. Role and status are kept for a
    /// return.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn remove_user(&self, id: Uuid) -> Result<(), StoreError> {
        let query = Query::new(
            "UPDATE users SET removed_at = $2, email = NULL, name = NULL, picture = NULL
             WHERE id = $1 AND removed_at IS NULL
             RETURNING provider, subject",
        )
        .bind(id)
        .bind(self.now());
        self.write(move |writing| Box::pin(async move { writing.change_user(id, query).await }))
            .await
    }

    async fn changed_user(&self, id: Uuid, query: Query) -> Result<User, StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                writing.change_user(id, query).await?;
                let query = Query::new(
                    "SELECT id, subject, email, name, picture, role, status, account_id
                     FROM users WHERE id = $1",
                )
                .bind(id);
                let row: Option<UserRow> = writing.fetch_optional(query).await?;
                row.map(User::from).ok_or_else(|| no_user(id))
            })
        })
        .await
    }
}

impl Writing {
    /// Runs a change of one user that returns provider and subject, and announces it.
    async fn change_user(&mut self, id: Uuid, query: Query) -> Result<(), StoreError> {
        let row: Option<(String, String)> = self.fetch_optional(query).await?;
        let (provider, subject) = row.ok_or_else(|| no_user(id))?;
        self.announce(Change::User { provider, subject });
        Ok(())
    }

    async fn provision(&mut self, new: NewUser) -> Result<Provisioned, StoreError> {
        // Asked again, inside the transaction: the account may have been suspended or deleted
        // since the caller looked.
        if self.require_account(new.account_id).await? != Status::Active {
            return Err(StoreError::NotFound(format!(
                "an active account {}",
                new.account_id
            )));
        }
        // Whoever inserts or revives the row made the user; everybody else finds him.
        let mut made = self.insert_user(&new).await?;
        if made.is_none() {
            made = self.revive_user(&new).await?;
        }
        if let Some(row) = made {
            let change = Change::User {
                provider: new.provider,
                subject: new.subject,
            };
            self.announce(change);
            return Ok(Provisioned {
                user: row.into(),
                created: true,
            });
        }
        let query = Query::of(&USER_OF_SUBJECT)
            .bind(new.provider)
            .bind(new.subject);
        let row: Option<UserRow> = self.fetch_optional(query).await?;
        let user = row.ok_or_else(|| {
            StoreError::Unavailable("the user was removed at the same moment".to_owned())
        })?;
        Ok(Provisioned {
            user: user.into(),
            created: false,
        })
    }

    async fn insert_user(&mut self, new: &NewUser) -> Result<Option<UserRow>, StoreError> {
        let query = Query::of(&INSERT_USER)
            .bind(self.new_id())
            .bind(new.account_id)
            .bind(&new.provider)
            .bind(&new.subject)
            .bind(new.profile.email.clone())
            .bind(new.profile.name.clone())
            .bind(new.profile.picture.clone())
            .bind(NEW_ROLE)
            .bind(Status::Active)
            .bind(self.now());
        self.fetch_optional(query).await
    }

    /// Brings a removed user back: as he was in the same account, as a new user in another,
    /// and suspended in either if he was.
    async fn revive_user(&mut self, new: &NewUser) -> Result<Option<UserRow>, StoreError> {
        let query = Query::of(&REVIVE_USER)
            .bind(&new.provider)
            .bind(&new.subject)
            .bind(new.account_id)
            .bind(self.new_id())
            .bind(NEW_ROLE)
            .bind(self.now())
            .bind(new.profile.email.clone())
            .bind(new.profile.name.clone())
            .bind(new.profile.picture.clone());
        self.fetch_optional(query).await
    }
}

fn no_user(id: Uuid) -> StoreError {
    StoreError::NotFound(format!("user {id}"))
}
