//! A database of one test, its logins, and the ways to it.

use std::{fmt, net::SocketAddr, thread, time::Duration};

use uuid::Uuid;

use crate::Postgres;

/// How long a database's end may keep a test that is over.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// A fresh database and two fresh logins: an **owner**, who owns the database and may create
/// further ones, and an **application** login, who may nothing but connect.
///
/// Neither is a superuser, and nothing else is changed: what PostgreSQL grants to `PUBLIC` in a
/// new database is granted here.
///
/// All names and passwords are random, so tests do not meet. When the value goes out of scope, a
/// panic included, the database is dropped, with every other that the owner owns then and with
/// both logins, whoever is still connected.
pub struct TestDatabase {
    server: Postgres,
    logins: Option<Logins>,
    direct: Route,
}

/// One way to a [`TestDatabase`]: direct, through PgBouncer, or through a [`Link`](crate::Link).
#[derive(Clone)]
pub struct Route {
    address: SocketAddr,
    superuser_password: String,
    logins: Logins,
}

#[derive(Clone)]
pub(crate) struct Logins {
    name: String,
    owner_password: String,
    application_password: String,
}

impl TestDatabase {
    pub(crate) fn new(server: Postgres, logins: Logins) -> Self {
        let direct = Route {
            address: server.address(),
            superuser_password: server.superuser_password().to_owned(),
            logins: logins.clone(),
        };
        Self {
            server,
            logins: Some(logins),
            direct,
        }
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.direct.logins.name()
    }

    /// The owner's login: owns the database, has `CREATEDB`.
    #[must_use]
    pub fn owner(&self) -> String {
        self.direct.logins.owner()
    }

    /// The application's login: owns nothing.
    #[must_use]
    pub fn application(&self) -> String {
        self.direct.logins.application()
    }

    /// `DATABASE_ADMIN_URL`.
    #[must_use]
    pub fn owner_url(&self) -> String {
        self.direct.owner_url()
    }

    /// `DATABASE_URL`.
    #[must_use]
    pub fn application_url(&self) -> String {
        self.direct.application_url()
    }

    /// The superuser's URL of this database.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.direct.superuser_url()
    }

    /// The server that the database is on.
    #[must_use]
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// The same URLs, through the server's PgBouncer.
    ///
    /// # Panics
    ///
    /// When the server has no PgBouncer.
    #[must_use]
    pub fn through_pgbouncer(&self) -> Route {
        self.through(self.server.pgbouncer_address())
    }

    /// The same URLs, with another `host:port`: a [`Link`](crate::Link)'s.
    #[must_use]
    pub fn through(&self, address: SocketAddr) -> Route {
        Route {
            address,
            ..self.direct.clone()
        }
    }

    /// Drops the database, every other that the owner owns, and both logins. Going out of scope
    /// does the same, but keeps errors to itself.
    ///
    /// # Panics
    ///
    /// When something is left.
    pub async fn drop(mut self) {
        if let Some(logins) = self.logins.take() {
            self.server
                .remove(&logins)
                .await
                .expect("the database can be dropped");
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(logins) = self.logins.take() else {
            return;
        };
        if self.server.is_of_test() {
            return;
        }
        let server = self.server.clone();
        // A thread of its own: the test's runtime is blocked here, or is gone.
        let _ = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let _ = tokio::time::timeout(DROP_TIMEOUT, server.remove(&logins)).await;
            });
            std::io::Result::Ok(())
        })
        .join();
    }
}

impl Route {
    /// `DATABASE_ADMIN_URL`.
    #[must_use]
    pub fn owner_url(&self) -> String {
        self.url(&self.logins.owner(), &self.logins.owner_password)
    }

    /// `DATABASE_URL`.
    #[must_use]
    pub fn application_url(&self) -> String {
        self.url(
            &self.logins.application(),
            &self.logins.application_password,
        )
    }

    /// The superuser's URL of this database.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.url("postgres", &self.superuser_password)
    }

    fn url(&self, login: &str, password: &str) -> String {
        // Names and passwords are of letters, digits and `_`: nothing has to be encoded.
        format!(
            "postgres://{login}:{password}@{}/{}",
            self.address,
            self.logins.name()
        )
    }
}

impl Logins {
    pub(crate) fn random() -> Self {
        let random = || Uuid::new_v4().simple();
        Self {
            name: format!("test_{}", random()),
            owner_password: random().to_string(),
            application_password: random().to_string(),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn owner(&self) -> String {
        format!("{}_owner", self.name)
    }

    fn application(&self) -> String {
        format!("{}_application", self.name)
    }

    pub(crate) fn create(&self) -> [String; 3] {
        let (name, owner, application) = (self.name(), self.owner(), self.application());
        [
            format!(
                "CREATE ROLE {owner} LOGIN CREATEDB PASSWORD '{}'",
                self.owner_password
            ),
            format!(
                "CREATE ROLE {application} LOGIN PASSWORD '{}'",
                self.application_password
            ),
            // `template1` cannot be copied while somebody looks into it.
            format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0"),
        ]
    }

    pub(crate) fn drop(&self) -> [String; 2] {
        [
            format!("DROP ROLE IF EXISTS {}", self.application()),
            format!("DROP ROLE IF EXISTS {}", self.owner()),
        ]
    }
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.direct.fmt(f)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("address", &self.address)
            .field("database", &self.logins.name)
            .finish_non_exhaustive()
    }
}
