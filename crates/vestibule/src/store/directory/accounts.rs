//! Accounts.

use uuid::Uuid;

use super::{Directory, Kind, Operation, Writing};
use crate::{
    clock::Timestamp,
    store::{
        Account, Change, Page, PageOf, Status, StoreError, beginning,
        names::{check_account, check_name},
        oldest_first,
        query::{Query, Value, listed},
    },
};

#[derive(sqlx::FromRow)]
struct AccountRow {
    id: Uuid,
    name: String,
    authress_tenant_id: String,
    status: Status,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            authress_tenant_id: row.authress_tenant_id,
            status: row.status,
        }
    }
}

/// Values that one statement looks for.
const AT_ONCE: usize = 500;

pub(super) const OPERATIONS: &[&Operation] = &[&ACCOUNT, &ACCOUNT_OF_TENANT, &ACCOUNT_STATUS];

const COLUMNS: &[(&str, Kind)] = &[
    ("id", Kind::Uuid),
    ("name", Kind::Text),
    ("authress_tenant_id", Kind::Text),
    ("status", Kind::Text),
];

static ACCOUNT: Operation = Operation {
    name: "account",
    takes: &[Kind::Uuid],
    gives: COLUMNS,
    sql: "SELECT id, name, authress_tenant_id, status FROM accounts WHERE id = $1",
};

static ACCOUNT_OF_TENANT: Operation = Operation {
    name: "account_of_tenant",
    takes: &[Kind::Text],
    gives: COLUMNS,
    sql: "SELECT id, name, authress_tenant_id, status FROM accounts WHERE authress_tenant_id = $1",
};

static ACCOUNT_STATUS: Operation = Operation {
    name: "account_status",
    takes: &[Kind::Uuid],
    gives: &[("status", Kind::Text)],
    sql: "SELECT status FROM accounts WHERE id = $1",
};

impl Directory {
    /// The account with this id.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn account(&self, id: Uuid) -> Result<Option<Account>, StoreError> {
        let query = Query::of(&ACCOUNT).bind(id);
        let row: Option<AccountRow> = self.fetch_optional(query).await?;
        Ok(row.map(Account::from))
    }

    /// The account that is this tenant.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn find_account_by_tenant(
        &self,
        tenant_id: &str,
    ) -> Result<Option<Account>, StoreError> {
        let query = Query::of(&ACCOUNT_OF_TENANT).bind(tenant_id);
        let row: Option<AccountRow> = self.fetch_optional(query).await?;
        Ok(row.map(Account::from))
    }

    /// The accounts that are these tenants, in no order; for the owner's login.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn accounts_of_tenants(
        &self,
        tenants: impl IntoIterator<Item = String>,
    ) -> Result<Vec<Account>, StoreError> {
        self.accounts_with("authress_tenant_id", tenants).await
    }

    /// The accounts with these ids, in no order; for the owner's login.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn accounts_with_ids(
        &self,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Vec<Account>, StoreError> {
        self.accounts_with("id", ids).await
    }

    async fn accounts_with(
        &self,
        column: &'static str,
        values: impl IntoIterator<Item = impl Into<Value>>,
    ) -> Result<Vec<Account>, StoreError> {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        let mut accounts = Vec::new();
        for part in values.chunks(AT_ONCE) {
            let sql = format!(
                "SELECT id, name, authress_tenant_id, status FROM accounts WHERE {column} IN ({})",
                listed(1, part.len())
            );
            let query = part.iter().cloned().fold(Query::once(sql), Query::bind);
            let rows: Vec<AccountRow> = self.fetch_all(query).await?;
            accounts.extend(rows.into_iter().map(Account::from));
        }
        Ok(accounts)
    }

    /// All accounts, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn accounts(&self, page: &Page) -> Result<PageOf<Account>, StoreError> {
        let bounds = oldest_first(page)?;
        let query = Query::new(
            "SELECT id, name, authress_tenant_id, status FROM accounts
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(bounds.beyond)
        .bind(bounds.rows());
        let rows: Vec<AccountRow> = self.fetch_all(query).await?;
        let accounts = rows.into_iter().map(Account::from).collect();
        Ok(bounds.page(accounts, |account: &Account| account.id))
    }

    /// Accounts with `text` in their name, without regard to case, or with it as their id or tenant:
    /// the oldest first. Looks at all of them; for the owner's login.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn search_accounts(
        &self,
        text: &str,
        page: &Page,
    ) -> Result<PageOf<Account>, StoreError> {
        let bounds = oldest_first(page)?;
        let query = Query::new(
            "SELECT id, name, authress_tenant_id, status FROM accounts
             WHERE id > $1
                 AND (LOWER(name) LIKE $2 ESCAPE '!' OR authress_tenant_id = $3 OR id = $4)
             ORDER BY id LIMIT $5",
        )
        .bind(bounds.beyond)
        .bind(format!("%{}", beginning(text)))
        .bind(text)
        .bind(text.parse::<Uuid>().unwrap_or_default())
        .bind(bounds.rows());
        let rows: Vec<AccountRow> = self.fetch_all(query).await?;
        let accounts = rows.into_iter().map(Account::from).collect();
        Ok(bounds.page(accounts, |account: &Account| account.id))
    }

    /// When the account was created.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn account_created_at(&self, id: Uuid) -> Result<Timestamp, StoreError> {
        let query = Query::new("SELECT created_at FROM accounts WHERE id = $1").bind(id);
        let row: Option<(Timestamp,)> = self.fetch_optional(query).await?;
        row.map(|(at,)| at).ok_or_else(|| no_account(id))
    }

    /// Gives the account another name.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], [`StoreError::NotFound`]; others where the database fails.
    pub async fn rename_account(&self, id: Uuid, name: &str) -> Result<Account, StoreError> {
        check_name(name)?;
        let query = Query::new(
            "UPDATE accounts SET name = $2 WHERE id = $1
             RETURNING id, name, authress_tenant_id, status",
        )
        .bind(id)
        .bind(name);
        self.change_account(id, query).await
    }

    /// Refuses all callers of the account from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn suspend_account(&self, id: Uuid) -> Result<Account, StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let account = writing.set_account_status(id, Status::Suspended).await?;
                writing.announce(Change::Account(id));
                Ok(account)
            })
        })
        .await
    }

    /// Lets the account's callers in again; it is not to end any more, where it was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn resume_account(&self, id: Uuid) -> Result<Account, StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                writing.forget_ending_of(id).await?;
                let account = writing.set_account_status(id, Status::Active).await?;
                writing.announce(Change::Account(id));
                Ok(account)
            })
        })
        .await
    }

    async fn change_account(&self, id: Uuid, query: Query) -> Result<Account, StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let row: Option<AccountRow> = writing.fetch_optional(query).await?;
                let row = row.ok_or_else(|| no_account(id))?;
                writing.announce(Change::Account(id));
                Ok(row.into())
            })
        })
        .await
    }
}

impl Writing {
    /// The row of a new account. Its data space is made by `tenancy::spaces`.
    pub(crate) async fn insert_account(
        &mut self,
        name: &str,
        tenant_id: &str,
        status: Status,
    ) -> Result<Account, StoreError> {
        check_account(name, tenant_id)?;
        let id = self.new_id();
        let query = Query::new(
            "INSERT INTO accounts (id, name, authress_tenant_id, status, created_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(name)
        .bind(tenant_id)
        .bind(status)
        .bind(self.now());
        self.execute(query)
            .await
            .map_err(|error| error.or_exists(|| format!("an account for tenant {tenant_id}")))?;
        self.announce(Change::Account(id));
        Ok(Account {
            id,
            name: name.to_owned(),
            authress_tenant_id: tenant_id.to_owned(),
            status,
        })
    }

    /// The account with another status; who asks announces it.
    pub(super) async fn set_account_status(
        &mut self,
        id: Uuid,
        status: Status,
    ) -> Result<Account, StoreError> {
        let query = Query::new(
            "UPDATE accounts SET status = $2 WHERE id = $1
             RETURNING id, name, authress_tenant_id, status",
        )
        .bind(id)
        .bind(status);
        let row: Option<AccountRow> = self.fetch_optional(query).await?;
        row.map(Account::from).ok_or_else(|| no_account(id))
    }

    /// Removes the account with all of its registrations, what the provider said of them, and what
    /// was cut off of them.
    pub(crate) async fn delete_account(&mut self, id: Uuid) -> Result<(), StoreError> {
        self.forget_cut_offs_of(id).await?;
        self.forget_ending_of(id).await?;
        for sql in [
            "DELETE FROM kept_facts WHERE kind = 'user'
                 AND key IN (SELECT subject FROM users WHERE account_id = $1)",
            "DELETE FROM kept_facts WHERE kind = 'client_keys'
                 AND key IN (SELECT client_id FROM service_clients WHERE account_id = $1)",
            "DELETE FROM users WHERE account_id = $1",
            "DELETE FROM service_clients WHERE account_id = $1",
        ] {
            self.execute(Query::new(sql).bind(id)).await?;
        }
        let deleted = self
            .execute(Query::new("DELETE FROM accounts WHERE id = $1").bind(id))
            .await?;
        if deleted == 0 {
            return Err(no_account(id));
        }
        // All of its callers at once.
        self.announce(Change::Account(id));
        Ok(())
    }

    /// Fails where the account does not exist.
    pub(super) async fn require_account(&mut self, id: Uuid) -> Result<Status, StoreError> {
        let query = Query::of(&ACCOUNT_STATUS).bind(id);
        let row: Option<(Status,)> = self.fetch_optional(query).await?;
        row.map(|(status,)| status).ok_or_else(|| no_account(id))
    }
}

pub(crate) fn no_account(id: Uuid) -> StoreError {
    StoreError::NotFound(format!("account {id}"))
}
