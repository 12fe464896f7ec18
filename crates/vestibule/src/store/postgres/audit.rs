//! What makes an installation on PostgreSQL less safe than it should be, as far as the
//! application's login can see it itself: the attacker whose SQL runs in a session has that login.
//!
//! `serve` refuses to start on the dangers, `doctor` shows all of it.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgSslMode};

use uuid::Uuid;

use super::{Server, close, signature::padded};
use crate::{
    clock::SharedClock,
    settings::{BindingKey, PostgresUrl},
    store::{StoreError, directory::OPERATIONS},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth a look.
    Warning,
    /// Wrong.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stays the same, for programs that watch for it.
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do; empty where nothing is.
    pub fix: String,
    /// Under which name it has to be allowed before a server starts in spite of it.
    pub danger: Option<Danger>,
}

/// Why a server should not start: accounts would not be kept apart as promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Danger {
    /// The application's login is a superuser, or may become one.
    Superuser,
    /// It may go around row-level security.
    BypassRls,
    /// It may give itself other rights.
    CreateRole,
    /// It may copy the whole server.
    Replication,
    /// It is a member of a role that reads or does what no session should.
    PrivilegedRole,
    /// It owns something, and could change it.
    LoginOwns,
    /// It may become the owner of the tables.
    MemberOfOwner,
    /// It may make schemas.
    CreateInDatabase,
    /// It may make temporary tables, which stay behind for the next session.
    TemporaryTables,
    /// It may make tables or functions in a schema.
    CreateInSchema,
    /// It may empty tables, or attach something to them.
    TableRights,
    /// It may add, change or remove entries of accounts' activity by itself.
    ActivityRights,
    /// It reaches the directory's tables without its functions.
    DirectoryTables,
    /// It may call functions that are its owner's.
    DirectoryFunctions,
    /// The server is too old for what we rely on.
    ServerVersion,
    /// The database takes texts that are no Unicode.
    Encoding,
    /// What passes between us and another machine is not encrypted.
    PlainConnection,
}

/// Under which name it is allowed, and the cure, of what `audit.sql` and [`about_connection`] find.
const KNOWN: &[(Danger, &str, &str)] = &[
    (
        Danger::Superuser,
        "superuser",
        "let DATABASE_URL name a login of its own: CREATE ROLE … LOGIN PASSWORD '…', and run \
         `vestibule migrate`",
    ),
    (
        Danger::BypassRls,
        "bypass-rls",
        "as a superuser: ALTER ROLE … NOBYPASSRLS, or REVOKE the role from the login",
    ),
    (
        Danger::CreateRole,
        "create-role",
        "ALTER ROLE … NOCREATEROLE",
    ),
    (
        Danger::Replication,
        "replication",
        "as a superuser: ALTER ROLE … NOREPLICATION",
    ),
    (
        Danger::PrivilegedRole,
        "privileged-role",
        "REVOKE that role FROM the login",
    ),
    (
        Danger::LoginOwns,
        "login-owns",
        "let DATABASE_URL name a login that owns nothing (DATABASE_ADMIN_URL is for the owner), or \
         REASSIGN OWNED BY the login TO the owner's, and run `vestibule migrate`",
    ),
    (
        Danger::MemberOfOwner,
        "member-of-owner",
        "REVOKE the owner's role FROM the login",
    ),
    (
        Danger::CreateInDatabase,
        "create-in-database",
        "REVOKE CREATE ON DATABASE … FROM PUBLIC and from the login",
    ),
    (
        Danger::TemporaryTables,
        "temporary-tables",
        "REVOKE TEMPORARY ON DATABASE … FROM PUBLIC and from the login; `vestibule migrate` does it \
         where DATABASE_ADMIN_URL names the owner of the database",
    ),
    (
        Danger::CreateInSchema,
        "create-in-schema",
        "REVOKE CREATE ON SCHEMA … FROM PUBLIC and from the login",
    ),
    (
        Danger::TableRights,
        "table-rights",
        "REVOKE TRUNCATE, REFERENCES, TRIGGER ON these tables FROM PUBLIC and from the login",
    ),
    (
        Danger::ActivityRights,
        "activity-rights",
        "REVOKE INSERT, UPDATE, DELETE ON these tables FROM PUBLIC and from the login; `vestibule migrate` \
         does it",
    ),
    (
        Danger::DirectoryTables,
        "directory-tables",
        "REVOKE ALL ON ALL TABLES IN SCHEMA vestibule FROM PUBLIC and from the login; `vestibule \
         migrate` does it",
    ),
    (
        Danger::DirectoryFunctions,
        "directory-functions",
        "REVOKE EXECUTE ON these functions FROM PUBLIC and from the login",
    ),
    (
        Danger::ServerVersion,
        "server-version",
        "use PostgreSQL 14 or later",
    ),
    (
        Danger::Encoding,
        "encoding",
        "use a database that was made with ENCODING 'UTF8'",
    ),
    (
        Danger::PlainConnection,
        "plain-connection",
        "leave sslmode out of the URL, or set it to verify-full, with sslrootcert where the \
         server's certificate is your own",
    ),
];

const LOGIN_SETTINGS: &str = "ALTER ROLE … RESET these, and ALTER DATABASE … RESET these: \
                              DATABASE_TIMEOUT is what limits statements";

/// A difference between the clocks that is worth a look, in milliseconds.
const CLOCKS_DIFFER: i64 = 5_000;

impl Danger {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|(danger, ..)| *danger)
    }

    /// The finding's name: with underscores.
    pub fn name(self) -> String {
        self.allowed_as().replace('-', "_")
    }

    /// What it is, in a line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Superuser => "The application's login is a superuser, or may become one",
            Self::BypassRls => "The login may go around row-level security",
            Self::CreateRole => "The login may give itself other rights",
            Self::Replication => "The login may copy the whole server",
            Self::PrivilegedRole => {
                "The login is a member of a role that reads or does what no session should"
            }
            Self::LoginOwns => "The login owns something, and could change it",
            Self::MemberOfOwner => "The login may become the owner of the tables",
            Self::CreateInDatabase => "The login may make schemas",
            Self::TemporaryTables => {
                "The login may make temporary tables, which stay behind for the next session"
            }
            Self::CreateInSchema => "The login may make tables or functions in a schema",
            Self::TableRights => "The login may empty tables, or attach something to them",
            Self::ActivityRights => {
                "The login may add, change or remove entries of accounts' activity by itself"
            }
            Self::DirectoryTables => {
                "The login reaches the directory's tables without its functions"
            }
            Self::DirectoryFunctions => "The login may call functions that are its owner's",
            Self::ServerVersion => "The server is too old for what we rely on",
            Self::Encoding => "The database takes texts that are no Unicode",
            Self::PlainConnection => "What passes between us and another machine is not encrypted",
        }
    }

    /// As it is allowed: with hyphens.
    pub fn allowed_as(self) -> &'static str {
        let mut known = KNOWN.iter();
        let found = known.find(|(danger, ..)| *danger == self);
        found.map_or("", |(_, name, _)| name)
    }
}

impl Finding {
    pub(crate) fn ok(name: &str, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            level: Level::Ok,
            message: message.into(),
            fix: String::new(),
            danger: None,
        }
    }

    pub(crate) fn warning(name: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            fix: fix.into(),
            ..Self::ok(name, message)
        }
    }

    pub(crate) fn problem(name: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            fix: fix.into(),
            ..Self::ok(name, message)
        }
    }

    fn danger(name: &str, message: String) -> Option<Self> {
        let (danger, _, fix) = KNOWN.iter().find(|(danger, ..)| danger.name() == name)?;
        Some(Self {
            danger: Some(*danger),
            ..Self::problem(name, message, *fix)
        })
    }

    /// The same, of this cluster.
    pub(crate) fn of_cluster(mut self, cluster: &str) -> Self {
        self.message = format!("cluster {cluster}: {}", self.message);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        match self.danger {
            Some(danger) => write!(f, " (or --allow {})", danger.allowed_as()),
            None => Ok(()),
        }
    }
}

/// What the login of `server` finds about itself and the way to it. One connection, one
/// transaction. `binds`: sessions there show whose they are.
///
/// # Errors
/// Where the server cannot be reached.
pub(crate) async fn of_login(
    server: &Server,
    binds: bool,
    connections: u32,
    timeout: Duration,
    clock: &SharedClock,
) -> Result<Vec<Finding>, StoreError> {
    let asking = async {
        let mut connection = server.options().connect().await?;
        // Through a pooler the steps of one statement may reach different servers, unless a
        // transaction holds them together.
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        let operations: Vec<&str> = OPERATIONS
            .iter()
            .copied()
            .flatten()
            .map(|operation| operation.name)
            .collect();
        let found: Vec<(String, String)> = sqlx::query_as(include_str!("audit.sql"))
            .persistent(false)
            .bind(operations)
            .bind(i32::try_from(connections).unwrap_or(i32::MAX))
            .bind(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX))
            .fetch_all(&mut connection)
            .await?;
        let refused = binds && binding_is_refused(server, &mut connection).await?;
        sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
        close(connection).await;
        Ok::<_, sqlx::Error>((found, refused))
    };
    let (found, refused) = tokio::time::timeout(timeout, asking)
        .await
        .map_err(|_| StoreError::too_slow())??;
    let mut findings: Vec<_> = found
        .into_iter()
        .map(|(name, message)| finding(&name, message))
        .collect();
    if refused {
        findings.push(Finding::problem(
            "binding_refused",
            format!(
                "{} does not accept what the first key of VESTIBULE_BINDING_KEY signs: no session \
                 sees anything there",
                server.url
            ),
            "`vestibule migrate` with this key, or name the key first that it was run with",
        ));
    }
    findings.extend(about_connection(&server.url));
    findings.push(about_pooler(server.is_direct()));
    findings.extend(about_clocks(
        server.signer().clock().now(),
        clock.now().as_millis(),
    ));
    Ok(findings)
}

/// Whether a binding as sessions show it means nothing to the server. Where it cannot be tried, it
/// was not migrated, which other findings say.
async fn binding_is_refused(
    server: &Server,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let nobody = Uuid::nil();
    sqlx::query("SELECT pg_catalog.set_config('vestibule.binding', $1, true)")
        .persistent(false)
        .bind(&*server.signer().binding(nobody))
        .execute(&mut *connection)
        .await?;
    let bound: Result<Option<Uuid>, _> = sqlx::query_scalar("SELECT vestibule.bound_account()")
        .persistent(false)
        .fetch_one(connection)
        .await;
    match bound {
        Ok(bound) => Ok(bound != Some(nobody)),
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

const MIGRATE: &str = "vestibule migrate";

/// Whether what is signed with our keys, and nothing else, counts in the database.
///
/// # Errors
/// Where the database fails.
pub(crate) async fn about_keys(
    connection: &mut PgConnection,
    keys: &[BindingKey],
) -> Result<Vec<Finding>, StoreError> {
    let kept: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT inner_pad FROM vestibule.binding_keys ORDER BY position")
            .persistent(false)
            .fetch_all(&mut *connection)
            .await?;
    let kept: Vec<Vec<u8>> = kept.into_iter().map(|(pad,)| pad).collect();
    let ours: Vec<Vec<u8>> = keys.iter().map(|key| padded(key).0.to_vec()).collect();
    let mut findings = Vec::new();
    match ours.first() {
        Some(first) if !kept.contains(first) => findings.push(Finding::problem(
            "binding_key_missing",
            "the database does not know the first key of VESTIBULE_BINDING_KEY, which signs",
            MIGRATE,
        )),
        _ if ours.iter().any(|key| !kept.contains(key)) => findings.push(Finding::problem(
            "binding_key_missing",
            "the database does not know the second key of VESTIBULE_BINDING_KEY",
            MIGRATE,
        )),
        _ => {}
    }
    if kept.iter().any(|key| !ours.contains(key)) {
        findings.push(Finding::problem(
            "binding_key_extra",
            "the database accepts a key that VESTIBULE_BINDING_KEY does not hold: whoever has it \
             reaches every account",
            "run `vestibule migrate` once no server has that key any more",
        ));
    }
    Ok(findings)
}

/// What the owner's login sees of what binds transactions on a database, and of the directory
/// where it lies there. `holds_activity`: accounts' data lie there too. `connection` has an open transaction.
///
/// # Errors
/// Where the database fails.
pub(crate) async fn of_owner(
    connection: &mut PgConnection,
    login: &str,
    keys: &[BindingKey],
    holds_directory: bool,
    holds_activity: bool,
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = about_keys(connection, keys).await?;
    let mut wanted = vec!["bound_account", "require_unfenced"];
    if holds_activity {
        wanted.extend(["note_activity", "remove_old_activity"]);
    }
    if holds_directory {
        wanted.extend(OPERATIONS.iter().copied().flatten().map(|it| it.name));
    }
    let found: Vec<(String, String)> = sqlx::query_as(
        "WITH wanted AS (SELECT unnest($1::text[]) AS name),
         function AS (
             SELECT p.oid, p.proname::text AS name, p.prosecdef, p.proowner, p.proacl, p.proconfig
             FROM pg_catalog.pg_proc p
             WHERE p.pronamespace = 'vestibule'::regnamespace
               AND p.prorettype <> 'trigger'::regtype
         )
         SELECT 'directory_function_missing', w.name FROM wanted w
         WHERE NOT EXISTS (SELECT FROM function f WHERE f.name = w.name)
         UNION ALL
         SELECT 'directory_function_changed', f.name FROM function f
         JOIN wanted w ON w.name = f.name
         WHERE NOT f.prosecdef OR NOT EXISTS (
             SELECT FROM unnest(f.proconfig) c WHERE c LIKE 'search_path=%pg_temp')
         UNION ALL
         SELECT 'directory_function_open', f.name FROM function f
         WHERE EXISTS (
             SELECT FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
             WHERE a.privilege_type = 'EXECUTE' AND a.grantee <> f.proowner
               AND (a.grantee = 0 OR a.grantee::regrole::text <> quote_ident($2::text)))
         UNION ALL
         SELECT 'grant_missing', f.name FROM function f JOIN wanted w ON w.name = f.name
         WHERE EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $2::text)
           AND NOT has_function_privilege($2::text, f.oid, 'EXECUTE')
         UNION ALL
         SELECT 'login_missing', $2::text
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $2::text)",
    )
    .persistent(false)
    .bind(wanted)
    .bind(login)
    .fetch_all(&mut *connection)
    .await?;
    findings.extend(found.into_iter().map(|(name, object)| {
        let (message, fix) = match name.as_str() {
            "directory_function_missing" => (
                format!("there is no function vestibule.{object}"),
                MIGRATE.to_owned(),
            ),
            "directory_function_changed" => (
                format!("vestibule.{object} has lost SECURITY DEFINER or its search_path"),
                MIGRATE.to_owned(),
            ),
            "directory_function_open" => (
                format!("others than {login} may call vestibule.{object}"),
                format!("REVOKE EXECUTE ON FUNCTION vestibule.{object} FROM PUBLIC and from them"),
            ),
            "login_missing" => (
                format!("there is no login {object}"),
                "CREATE ROLE … LOGIN PASSWORD '…', then `vestibule migrate`".to_owned(),
            ),
            _ => (
                format!("{login} may not call vestibule.{object}"),
                MIGRATE.to_owned(),
            ),
        };
        Finding::problem(&name, message, fix)
    }));
    Ok(findings)
}

fn finding(name: &str, message: String) -> Finding {
    match name {
        "login_settings" => Finding::problem(name, message, LOGIN_SETTINGS),
        "connections" => Finding::warning(
            name,
            message,
            "raise max_connections or the login's CONNECTION LIMIT, or lower DATABASE_POOL_SIZE",
        ),
        _ => Finding::danger(name, message.clone())
            .unwrap_or_else(|| Finding::problem(name, message, "")),
    }
}

/// To this machine a connection may be plain.
fn about_connection(url: &PostgresUrl) -> Option<Finding> {
    if url.is_local() {
        return None;
    }
    match url.options().get_ssl_mode() {
        PgSslMode::VerifyFull => None,
        PgSslMode::Require | PgSslMode::VerifyCa => Some(Finding::warning(
            "unverified_server",
            format!("whoever stands between us and {url} can pass for it"),
            "leave sslmode out of the URL, or set it to verify-full",
        )),
        _ => Finding::danger(
            "plain_connection",
            format!("the connection to {url} need not be encrypted"),
        ),
    }
}

fn about_pooler(direct: bool) -> Finding {
    Finding::ok(
        "pooler",
        if direct {
            "nothing stands between us and the server: it took our start-up parameter"
        } else {
            "a pooler stands in between: our start-up parameter did not arrive. It must be in \
             transaction or session mode; statements are not kept prepared"
        },
    )
}

fn about_clocks(theirs: i64, ours: i64) -> Option<Finding> {
    let difference = theirs.saturating_sub(ours);
    (difference.abs() > CLOCKS_DIFFER).then(|| {
        Finding::warning(
            "clock_difference",
            format!(
                "the database's clock is {} s {} ours",
                difference.abs() / 1_000,
                if difference > 0 { "before" } else { "behind" }
            ),
            "let both machines keep time (NTP): tokens and records are dated by ours",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{DatabaseSettings, SettingsReader};

    fn url(text: &str) -> PostgresUrl {
        let mut reader = SettingsReader::from_pairs(
            [("DATABASE_URL", text), ("TENANCY", "database")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let settings = DatabaseSettings::read(&mut reader).unwrap();
        settings.postgres().unwrap().main.application.clone()
    }

    #[test]
    fn only_a_plain_connection_to_another_machine_is_a_danger() {
        let danger = |text: &str| about_connection(&url(text)).and_then(|found| found.danger);
        for mode in ["disable", "allow", "prefer"] {
            let text = format!("postgres://a:b@db.example.com/app?sslmode={mode}");
            assert_eq!(danger(&text), Some(Danger::PlainConnection), "{mode}");
            for host in ["127.0.0.1", "localhost", "[::1]"] {
                let text = format!("postgres://a:b@{host}/app?sslmode={mode}");
                assert_eq!(about_connection(&url(&text)), None, "{text}");
            }
        }
        let socket = "postgres:///app?host=/run/postgresql";
        assert_eq!(about_connection(&url(socket)), None);
        assert_eq!(
            about_connection(&url("postgres://a:b@db.example.com/app")),
            None
        );
        let unverified = url("postgres://a:b@db.example.com/app?sslmode=require");
        assert_eq!(
            about_connection(&unverified).unwrap().name,
            "unverified_server"
        );
    }

    #[test]
    fn clocks_may_differ_a_little() {
        assert_eq!(about_clocks(5_000, 0), None);
        assert_eq!(about_clocks(0, 5_000), None);
        for (theirs, ours) in [(5_001, 0), (0, 5_001)] {
            assert_eq!(about_clocks(theirs, ours).unwrap().name, "clock_difference");
        }
    }

    #[test]
    fn every_danger_has_a_name_and_a_cure() {
        for danger in Danger::all() {
            let found = Finding::danger(&danger.name(), String::new()).unwrap();
            assert_eq!(found.danger, Some(danger));
            assert!(!found.fix.is_empty() && !danger.allowed_as().contains('_'));
        }
    }
}
