//! Service clients.

use uuid::Uuid;

use super::{Directory, Kind, Operation};
use crate::store::{
    Account, Change, Page, PageOf, ServiceClient, Status, StoreError,
    names::{check_id, check_name, checked_scopes},
    oldest_first,
    query::Query,
};

#[derive(sqlx::FromRow)]
struct ClientRow {
    id: Uuid,
    client_id: String,
    name: String,
    scopes: String,
    status: Status,
    account_id: Uuid,
}

#[derive(sqlx::FromRow)]
struct ClientAndAccountRow {
    #[sqlx(flatten)]
    client: ClientRow,
    account_name: String,
    account_tenant: String,
    account_status: Status,
}

impl From<ClientRow> for ServiceClient {
    fn from(row: ClientRow) -> Self {
        Self {
            id: row.id,
            client_id: row.client_id,
            name: row.name,
            scopes: row
                .scopes
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
            status: row.status,
            account_id: row.account_id,
        }
    }
}

pub(super) const OPERATIONS: &[&Operation] = &[&FIND_CLIENT];

static FIND_CLIENT: Operation = Operation {
    name: "find_client",
    takes: &[Kind::Text],
    gives: &[
        ("id", Kind::Uuid),
        ("client_id", Kind::Text),
        ("name", Kind::Text),
        ("scopes", Kind::Text),
        ("status", Kind::Text),
        ("account_id", Kind::Uuid),
        ("account_name", Kind::Text),
        ("account_tenant", Kind::Text),
        ("account_status", Kind::Text),
    ],
    sql: "SELECT c.id, c.client_id, c.name, c.scopes, c.status, c.account_id,
                 a.name AS account_name, a.authress_tenant_id AS account_tenant,
                 a.status AS account_status
          FROM service_clients c JOIN accounts a ON a.id = c.account_id
          WHERE c.client_id = $1",
};

impl Directory {
    /// The service client with this `client_id`, and its account.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn find_client(
        &self,
        client_id: &str,
    ) -> Result<Option<(ServiceClient, Account)>, StoreError> {
        let query = Query::of(&FIND_CLIENT).bind(client_id);
        let row: Option<ClientAndAccountRow> = self.fetch_optional(query).await?;
        Ok(row.map(|row| {
            let account = Account {
                id: row.client.account_id,
                name: row.account_name,
                authress_tenant_id: row.account_tenant,
                status: row.account_status,
            };
            (row.client.into(), account)
        }))
    }

    /// The service clients of an account, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn clients(
        &self,
        account_id: Uuid,
        page: &Page,
    ) -> Result<PageOf<ServiceClient>, StoreError> {
        let bounds = oldest_first(page)?;
        let query = Query::new(
            "SELECT id, client_id, name, scopes, status, account_id FROM service_clients
             WHERE account_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(account_id)
        .bind(bounds.beyond)
        .bind(bounds.rows());
        let rows: Vec<ClientRow> = self.fetch_all(query).await?;
        let clients = rows.into_iter().map(ServiceClient::from).collect();
        Ok(bounds.page(clients, |client: &ServiceClient| client.id))
    }

    /// The service clients of all accounts, the oldest first; for the owner's login.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`]; others where the database fails.
    pub async fn all_clients(&self, page: &Page) -> Result<PageOf<ServiceClient>, StoreError> {
        let bounds = oldest_first(page)?;
        let query = Query::new(
            "SELECT id, client_id, name, scopes, status, account_id FROM service_clients
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(bounds.beyond)
        .bind(bounds.rows());
        let rows: Vec<ClientRow> = self.fetch_all(query).await?;
        let clients = rows.into_iter().map(ServiceClient::from).collect();
        Ok(bounds.page(clients, |client: &ServiceClient| client.id))
    }

    /// The service client with this id of ours; for the owner's login.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn client(&self, id: Uuid) -> Result<Option<ServiceClient>, StoreError> {
        let query = Query::new(
            "SELECT id, client_id, name, scopes, status, account_id FROM service_clients
             WHERE id = $1",
        )
        .bind(id);
        let row: Option<ClientRow> = self.fetch_optional(query).await?;
        Ok(row.map(ServiceClient::from))
    }

    /// Registers a service client for an account, with the scopes that its tokens have here.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError::NotFound`] for an account that is not there;
    /// [`StoreError::AlreadyExists`] for a `client_id` that any account has; others where the
    /// database fails.
    pub async fn add_client(
        &self,
        account_id: Uuid,
        client_id: &str,
        name: &str,
        scopes: &[String],
    ) -> Result<ServiceClient, StoreError> {
        check_id("a client id", client_id)?;
        check_name(name)?;
        let (client_id, name) = (client_id.to_owned(), name.to_owned());
        let scopes = checked_scopes(scopes)?;
        self.write(move |writing| {
            Box::pin(async move {
                writing.require_account(account_id).await?;
                let client = ServiceClient {
                    id: writing.new_id(),
                    client_id,
                    name,
                    scopes,
                    status: Status::Active,
                    account_id,
                };
                let query = Query::new(
                    "INSERT INTO service_clients
                         (id, account_id, client_id, name, scopes, status, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(client.id)
                .bind(client.account_id)
                .bind(&client.client_id)
                .bind(&client.name)
                .bind(client.scopes.join(" "))
                .bind(client.status)
                .bind(writing.now());
                writing.execute(query).await.map_err(|error| {
                    error.or_exists(|| format!("service client {}", client.client_id))
                })?;
                let change = Change::Client(client.client_id.clone());
                writing.announce(change);
                Ok(client)
            })
        })
        .await
    }

    /// Refuses the service client from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn suspend_client(&self, client_id: &str) -> Result<ServiceClient, StoreError> {
        self.set_client_status(client_id, Status::Suspended).await
    }

    /// Lets the service client in again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn resume_client(&self, client_id: &str) -> Result<ServiceClient, StoreError> {
        self.set_client_status(client_id, Status::Active).await
    }

    async fn set_client_status(
        &self,
        client_id: &str,
        status: Status,
    ) -> Result<ServiceClient, StoreError> {
        let query = Query::new(
            "UPDATE service_clients SET status = $2 WHERE client_id = $1
             RETURNING id, client_id, name, scopes, status, account_id",
        )
        .bind(client_id)
        .bind(status);
        self.change_client(client_id, query).await
    }

    /// Ends the registration of the service client.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn remove_client(&self, client_id: &str) -> Result<ServiceClient, StoreError> {
        let query = Query::new(
            "DELETE FROM service_clients WHERE client_id = $1
             RETURNING id, client_id, name, scopes, status, account_id",
        )
        .bind(client_id);
        self.change_client(client_id, query).await
    }

    async fn change_client(
        &self,
        client_id: &str,
        query: Query,
    ) -> Result<ServiceClient, StoreError> {
        let client_id = client_id.to_owned();
        self.write(move |writing| {
            Box::pin(async move {
                let row: Option<ClientRow> = writing.fetch_optional(query).await?;
                let row =
                    row.ok_or_else(|| StoreError::NotFound(format!("service client {client_id}")))?;
                writing.announce(Change::Client(client_id));
                Ok(row.into())
            })
        })
        .await
    }
}
