//! `doctor`: looks for what is wrong, names it, and says what to do.
//!
//! Every finding has a name that stays the same, for programs that watch for it. A problem makes
//! the exit code 1; a warning does not.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use clap::Args;
use serde::Serialize;
use serde_json::json;
use vestibule::{
    Vestibule,
    provider::{AuthressApi, Found, ProviderError},
    settings::{DatabaseSettings, Settings},
    store::{self, Danger, Directory, StoreError},
    tenancy::{TenantSpaces, attach_is_impossible},
};

use super::{
    Global, all_pages, clock,
    output::{Answer, Failure, Table, shown},
};
use crate::{
    settings::{ServeSettings, ServerSettings},
    telemetry::logs,
};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A service client that may obtain tokens of any user; once for each
    #[arg(long = "allow-token-generation", value_name = "CLIENT_ID")]
    allowed: Vec<String>,
    /// PostgreSQL: look into the data of so many accounts, chosen at random, instead of all
    #[arg(long, value_name = "NUMBER")]
    accounts: Option<u32>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    level: Level,
    /// What was found.
    message: String,
    /// What to do; none where nothing is.
    fix: Option<String>,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

pub(crate) async fn run(global: &Global, arguments: &DoctorArgs) -> Result<Answer, Failure> {
    // Wrong settings are told as every command tells them: all at once, code 2.
    let settings = ServeSettings::read(global.reader())?;
    logs::start(&settings.log);
    let mut findings = Findings::default();
    findings.ok("settings", "all settings can be used");
    accepted_tokens(&settings.library, &mut findings);
    admin_listener(&settings.server, &mut findings);
    let directory = database(&settings.library, &mut findings).await;
    if let Some(servers) = settings.library.database.postgres() {
        if let Some(directory) = &directory {
            login(&settings.library.database, directory, &mut findings).await;
        }
        // Also where the application's login cannot open it: the owner's sees why.
        if servers.main.owner.is_some() {
            spaces(
                &settings.library.database,
                arguments.accounts,
                &mut findings,
            )
            .await;
        } else {
            findings.warning(
                "spaces_unseen",
                "tables, policies and migrations were not looked at: only their owner can",
                "set DATABASE_ADMIN_URL for this command",
            );
        }
    }
    let api = AuthressApi::new(&settings.library.provider, clock())?;
    let accepted = provider(&settings.library, &api, &mut findings).await;
    if let Some(directory) = &directory {
        entrance(&settings.library, accepted, directory, &mut findings).await?;
    }
    if let Some(directory) = all_seeing(&settings.library.database, directory).await {
        clients(
            &settings.library,
            accepted.then_some(&api),
            &arguments.allowed,
            &directory,
            &mut findings,
        )
        .await?;
    }
    Ok(findings.answer())
}

/// The directory for whoever may list what is in it: on PostgreSQL the owner alone. Where there is
/// none, a finding says so already.
async fn all_seeing(settings: &DatabaseSettings, own: Option<Directory>) -> Option<Directory> {
    match settings.postgres() {
        None => own,
        Some(servers) => {
            servers.main.owner.as_ref()?;
            Directory::open_as_owner(settings, clock()).await.ok()
        }
    }
}

/// Security rule 2.
fn accepted_tokens(settings: &Settings, findings: &mut Findings) {
    let provider = &settings.provider;
    if provider.applications.is_empty() && provider.api_audiences.is_empty() {
        findings.warning(
            "applications",
            "every application of the Authress account may send its users here",
            "set AUTHRESS_APPLICATIONS to the applications that may, or API_AUDIENCES to this \
             API's audience",
        );
    } else {
        findings.ok(
            "applications",
            "user tokens of other applications are refused",
        );
    }
}

fn admin_listener(server: &ServerSettings, findings: &mut Findings) {
    if server.admin_listen.ip().is_loopback() {
        findings.ok(
            "admin_listener",
            "the admin listener is on a loopback address",
        );
    } else {
        findings.warning(
            "admin_listener",
            format!("{} can be reached from other machines", server.admin_listen),
            "set VESTIBULE_ADMIN_LISTEN to a loopback address, or keep strangers from it",
        );
    }
}

async fn database(settings: &Settings, findings: &mut Findings) -> Option<Directory> {
    let directory = match Directory::open(&settings.database, clock()).await {
        Ok(directory) => directory,
        Err(error) => {
            findings.problem("database", error.to_string(), "see DATABASE_URL");
            return None;
        }
    };
    match directory.ping().await {
        Ok(()) => findings.ok("database", "the database answers"),
        Err(error) => findings.problem("database", error.to_string(), "see DATABASE_URL"),
    }
    if settings.database.postgres().is_some() {
        return Some(directory);
    }
    if attach_is_impossible().await {
        findings.ok("attach", "one database file cannot reach another");
    } else {
        findings.problem(
            "attach",
            "SQLite lets one account's statements open another account's file",
            "build with LIBSQLITE3_FLAGS=-DSQLITE_MAX_ATTACHED=0, as .cargo/config.toml does",
        );
    }
    file_modes(settings, findings);
    Some(directory)
}

/// What the application's login may do, and the way to the servers.
async fn login(settings: &DatabaseSettings, directory: &Directory, findings: &mut Findings) {
    let seen = async {
        let spaces = TenantSpaces::open(settings, directory, clock())?;
        let seen = spaces.audit_login().await;
        spaces.close().await;
        seen
    };
    findings.add(
        seen.await,
        "login",
        "the application's login owns nothing and may do no more than it needs",
    );
}

/// What only the owner sees: every account's tables, policies, rights and migrations.
async fn spaces(settings: &DatabaseSettings, accounts: Option<u32>, findings: &mut Findings) {
    let seen = async {
        let directory = Directory::open_as_owner(settings, clock()).await?;
        let spaces = TenantSpaces::open(settings, &directory, clock())?;
        let seen = spaces.audit(accounts).await;
        spaces.close().await;
        directory.close().await;
        seen
    };
    findings.add(
        seen.await,
        "spaces",
        "accounts' tables, policies, rights and migrations are as `migrate` leaves them",
    );
}

/// Database files are their owner's only; so are the files beside them.
fn file_modes(settings: &Settings, findings: &mut Findings) {
    let Some(files) = settings.database.sqlite() else {
        return;
    };
    let main = &files.file;
    let mut open = Vec::new();
    let mut look = |path: &Path| {
        // What is not there cannot be read.
        let Ok(metadata) = fs::metadata(path) else {
            return;
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            open.push(path.display().to_string());
        }
    };
    look(main);
    for suffix in ["-wal", "-shm"] {
        let mut beside = main.clone().into_os_string();
        beside.push(suffix);
        look(Path::new(&beside));
    }
    look(&files.tenant_dir);
    if let Ok(entries) = fs::read_dir(&files.tenant_dir) {
        for entry in entries.flatten() {
            look(&entry.path());
        }
    }
    if open.is_empty() {
        findings.ok("file_modes", "only their owner can read the database files");
    } else {
        let paths = open.join(" ");
        findings.problem(
            "file_modes",
            format!("other users of this machine can read: {}", shown(&paths)),
            format!("chmod go= {}", shown(&paths)),
        );
    }
}

/// Whether Authress answers and takes our key. Asks about our own service client, which exists.
async fn provider(settings: &Settings, api: &AuthressApi, findings: &mut Findings) -> bool {
    let own = settings.provider.access_key.client_id();
    match api.get_client(own).await {
        Ok(Found::Present(_)) => {
            findings.ok("provider", "Authress answers and accepts the access key");
            true
        }
        Ok(Found::Gone) => {
            findings.problem(
                "provider",
                format!(
                    "Authress does not know {}, the client of AUTHRESS_ACCESS_KEY",
                    shown(own)
                ),
                "check that AUTHRESS_API_URL and AUTHRESS_ACCESS_KEY are of the same account",
            );
            false
        }
        Err(ProviderError::Status(401 | 403)) => {
            findings.problem(
                "provider",
                "Authress refuses the access key, or lets it not read service clients",
                "make a new access key, and grant its client to read users, tenants and clients",
            );
            false
        }
        Err(error) => {
            findings.problem(
                "provider",
                error.to_string(),
                "check AUTHRESS_API_URL, PROVIDER_PROXY, SSL_CERT_FILE and the network",
            );
            false
        }
    }
}

/// The database's own provider, and then keys, which only an opened entrance can fetch.
async fn entrance(
    settings: &Settings,
    accepted: bool,
    directory: &Directory,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let origin = settings.provider.origin();
    match directory.provider().await? {
        Some(bound) if bound == origin => {
            findings.ok("provider_origin", "the database belongs to this provider");
        }
        Some(bound) => {
            findings.problem(
                "provider_origin",
                format!(
                    "the database belongs to the provider {}, AUTHRESS_API_URL names {origin}",
                    shown(&bound)
                ),
                "correct AUTHRESS_API_URL or DATABASE_URL; if the change is meant, start with \
                 `serve --allow other-provider`",
            );
            return Ok(());
        }
        // To open the entrance would bind the database to what may be a mistake.
        None if !accepted => return Ok(()),
        None => findings.ok(
            "provider_origin",
            "the database is new and takes this provider",
        ),
    }
    // What is dangerous is named elsewhere.
    let builder = Danger::all().fold(Vestibule::builder(settings.clone()), |builder, danger| {
        builder.allow(danger)
    });
    let vestibule = match builder.build().await {
        Ok(vestibule) => vestibule,
        Err(error) => {
            findings.problem("start", error.to_string(), "`serve` would not start either");
            return Ok(());
        }
    };
    if keys_arrive(&vestibule, settings.provider.timeout).await {
        findings.ok("keys", "every issuer has usable keys");
    } else {
        findings.problem(
            "keys",
            "an issuer has no usable key: no token of it can be accepted",
            "check AUTHRESS_ISSUERS; {issuer}/.well-known/openid-configuration/jwks must answer",
        );
    }
    vestibule.shutdown().await;
    Ok(())
}

/// Keys are fetched in the background: gives them as long as one call may take.
async fn keys_arrive(vestibule: &Vestibule, patience: Duration) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let looking = async {
        while !vestibule.readiness().await.keys {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(patience, looking).await.is_ok()
}

/// Security rule 3, for clients that were registered when Authress could not be asked, and for
/// those that changed since.
async fn clients(
    settings: &Settings,
    api: Option<&AuthressApi>,
    allowed: &[String],
    directory: &Directory,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let own = settings.provider.access_key.client_id();
    let before = findings.0.len();
    let clients = all_pages(|page| async move { directory.all_clients(&page).await }).await?;
    for client in &clients {
        let id = shown(&client.client_id);
        if client.client_id == own {
            findings.problem(
                "own_client",
                format!(
                    "{id} is the client of AUTHRESS_ACCESS_KEY, and never accepted as a caller"
                ),
                format!("vestibule client remove {id}"),
            );
            continue;
        }
        let Some(api) = api else {
            continue;
        };
        match api.get_client(&client.client_id).await {
            Ok(Found::Present(found)) if found.grant_token_generation => {
                let message = format!("{id} can obtain tokens of any user");
                let fix = "turn options.grantTokenGeneration off at Authress";
                if allowed.contains(&client.client_id) {
                    findings.warning("client_token_generation", message, fix);
                } else {
                    findings.problem("client_token_generation", message, fix);
                }
            }
            Ok(Found::Present(_)) => {}
            Ok(Found::Gone) => findings.warning(
                "client_gone",
                format!("Authress does not know {id}: its tokens are refused"),
                format!("vestibule client remove {id}"),
            ),
            Err(error) => findings.warning(
                "client_unseen",
                format!("{id} could not be looked up: {error}"),
                "run `vestibule doctor` again",
            ),
        }
    }
    if api.is_none() && !clients.is_empty() {
        findings.warning(
            "client_unseen",
            "the service clients could not be looked up at Authress",
            "run `vestibule doctor` again when Authress answers",
        );
    }
    if findings.0.len() == before {
        findings.ok("clients", "no service client can obtain tokens of users");
    }
    Ok(())
}

impl Findings {
    fn ok(&mut self, name: &'static str, message: impl Into<String>) {
        self.0.push(Finding {
            name: name.to_owned(),
            level: Level::Ok,
            message: message.into(),
            fix: None,
        });
    }

    fn warning(&mut self, name: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            name: name.to_owned(),
            level: Level::Warning,
            message: message.into(),
            fix: Some(fix.into()),
        });
    }

    fn problem(&mut self, name: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            name: name.to_owned(),
            level: Level::Problem,
            message: message.into(),
            fix: Some(fix.into()),
        });
    }

    /// What the library found; one good word where nothing is wrong.
    fn add(
        &mut self,
        seen: Result<Vec<store::Finding>, StoreError>,
        name: &'static str,
        all_well: &str,
    ) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                let fix = "see DATABASE_URL, DATABASE_ADMIN_URL and VESTIBULE_CLUSTERS";
                return self.problem(name, error.to_string(), fix);
            }
        };
        if seen.iter().all(|found| found.level == store::Level::Ok) {
            self.ok(name, all_well);
        }
        self.0.extend(seen.into_iter().map(|found| Finding {
            name: found.name,
            level: match found.level {
                store::Level::Ok => Level::Ok,
                store::Level::Warning => Level::Warning,
                store::Level::Problem => Level::Problem,
            },
            message: found.message,
            fix: Some(found.fix).filter(|fix| !fix.is_empty()),
        }));
    }

    fn answer(self) -> Answer {
        let wrong = self.0.iter().any(|finding| finding.level == Level::Problem);
        let mut table = Table::new(&["", "FINDING", "WHAT", "WHAT TO DO"]);
        for finding in &self.0 {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Problem => "PROBLEM",
            };
            let fix = finding.fix.as_deref().unwrap_or("-");
            table.row(&[level, &finding.name, &finding.message, fix]);
        }
        let document = json!({ "healthy": !wrong, "findings": self.0 });
        Answer::new(&document, table.to_string()).with_findings(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_not_wrong() {
        let mut findings = Findings::default();
        findings.ok("settings", "fine");
        findings.warning("applications", "open", "set it");
        let shown = format!("{:?}", findings.answer());
        assert!(
            shown.contains("findings: false") && shown.contains("healthy\": Bool(true)"),
            "{shown}"
        );
        let mut findings = Findings::default();
        findings.problem("keys", "none", "look");
        let shown = format!("{:?}", findings.answer());
        assert!(
            shown.contains("findings: true") && shown.contains("healthy\": Bool(false)"),
            "{shown}"
        );
    }
}
