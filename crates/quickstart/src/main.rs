//! `cargo run`: a sandbox Authress and a server in one process, with people to try it.
//!
//! Everything lies under `sandbox/` of the build directory (`target/sandbox/`). A second start
//! has the same keys, accounts and users; deleting the directory begins anew. Of the environment
//! only the settings of the listeners and the log count: a `DATABASE_URL` or an access key that
//! is set for something else is not touched.

mod screen;

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use uuid::Uuid;
use vestibule::{
    Vestibule,
    clock::SystemClock,
    settings::{DatabaseSettings, SettingsReader},
    store::{Account, Directory, StoreError},
    tenancy::TenantSpaces,
};
use vestibule_sandbox::{DemoTenant, Sandbox};
use vestibule_server::{
    serve::{Server, stop_signal},
    settings::ServeSettings,
    telemetry::{logs, metrics::Metrics},
};

use crate::screen::Screen;

/// Settings that the environment may give.
const OPEN: &[&str] = &[
    "VESTIBULE_LISTEN",
    "VESTIBULE_ADMIN_LISTEN",
    "VESTIBULE_ADMIN_HOSTS",
    "VESTIBULE_ACCESS_LOG",
    "VESTIBULE_LOG",
    "VESTIBULE_LOG_FORMAT",
];

/// Refusals with their exact reasons, and what is wrong; the rest would push the screen away.
const LOG: &str = "warn,vestibule::access=info";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::complain(&format!("cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(run());
    // What still runs in the background has been told to stop; it is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen::complain(&failure.to_string());
            ExitCode::from(1)
        }
    }
}

async fn run() -> Result<(), Failure> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let directory = data_directory()?;
    let metrics = Metrics::install();
    let (sandbox, moved) = start_sandbox(&directory).await?;
    let world = sandbox.add_demo_world();
    let admin_token = Uuid::new_v4().simple().to_string();
    let settings = ServeSettings::read(reader(&sandbox, &directory, admin_token.clone()))?;
    logs::start(&settings.log);
    let accounts = set_up(&settings.library.database, world).await?;

    let mut builder = Vestibule::builder(settings.library);
    if moved {
        // The sandbox's port is part of its name; behind the new one are the same people.
        builder = builder.allow_other_provider();
    }
    let vestibule = builder.build().await?;
    let server = Server::bind(settings.server, vestibule, metrics).await?;
    Screen {
        public: server.public_address(),
        admin: server.admin_address(),
        admin_token: &admin_token,
        sandbox: &sandbox,
        directory: &directory,
        accounts: &accounts,
    }
    .show();
    server.run(stop).await;
    sandbox.stop();
    Ok(())
}

/// `sandbox/` in the build directory, which is where this program lies: `target/release/…`.
fn data_directory() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let build = program
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let directory = build.join("sandbox");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    Ok(directory)
}

/// Starts the sandbox on the port of the last time: it is part of issuers, so tokens stay good
/// and the database knows its provider again. True: another port had to be taken.
async fn start_sandbox(directory: &Path) -> Result<(Sandbox, bool), Failure> {
    let kept = directory.join("port");
    let before = fs::read_to_string(&kept)
        .ok()
        .and_then(|text| text.trim().parse::<u16>().ok());
    let start = |port| {
        Sandbox::builder()
            .keep_in(directory.join("authress"))
            .port(port)
            .start()
    };
    let sandbox = match before {
        None => start(0).await?,
        Some(port) => match start(port).await {
            Ok(sandbox) => sandbox,
            Err(_) => start(0).await?,
        },
    };
    fs::write(&kept, sandbox.port().to_string())?;
    let moved = before.is_some_and(|port| port != sandbox.port());
    Ok((sandbox, moved))
}

/// The sandbox's settings, a database beside it, and the environment's listeners.
fn reader(sandbox: &Sandbox, directory: &Path, admin_token: String) -> SettingsReader {
    let mut own: Vec<(&str, String)> = sandbox.environment();
    own.push(("VESTIBULE_ADMIN_TOKEN", admin_token));
    own.push((
        "DATABASE_URL",
        format!("sqlite:{}", directory.join("vestibule.db").display()),
    ));
    SettingsReader::from_lookup(move |name| {
        if let Some((_, value)) = own.iter().find(|(known, _)| *known == name) {
            return Some(value.into());
        }
        let given = OPEN.contains(&name).then(|| env::var_os(name)).flatten();
        match name {
            "VESTIBULE_LOG" => given.or_else(|| Some(LOG.into())),
            "VESTIBULE_LOG_FORMAT" => given.or_else(|| Some("text".into())),
            _ => given,
        }
    })
}

/// The accounts and service clients of the demo world; those that are there already stay.
async fn set_up(
    settings: &DatabaseSettings,
    world: &'static [DemoTenant],
) -> Result<Vec<(Account, &'static DemoTenant)>, StoreError> {
    let clock = Arc::new(SystemClock);
    let directory = Directory::open(settings, clock.clone()).await?;
    let spaces = TenantSpaces::open(settings, &directory, clock)?;
    let mut accounts = Vec::new();
    for tenant in world {
        let account = match directory.find_account_by_tenant(tenant.id).await? {
            Some(account) => account,
            None => spaces.create_account(tenant.name, tenant.id).await?,
        };
        for client in tenant.clients {
            if directory.find_client(client.id).await?.is_none() {
                directory
                    .add_client(account.id, client.id, client.name, &[])
                    .await?;
            }
        }
        accounts.push((account, tenant));
    }
    spaces.close().await;
    directory.close().await;
    Ok(accounts)
}
