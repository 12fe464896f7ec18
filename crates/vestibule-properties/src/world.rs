//! A provider, a server, and a token that is good for as long as the clock stands still.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};
use vestibule::{
    Clock as _, Settings, Timestamp, Vestibule,
    clock::ManualClock,
    settings::{AdmissionSettings, DatabaseSettings, ProviderSettings, SettingsReader},
    store::Directory,
    tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;
use vestibule_server::{serve::Server, settings::ServerSettings, telemetry::metrics::Metrics};

/// 2026-11-23T10:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_795_428_000);

/// What all of it runs on.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
});

/// All of it, for the life of the process.
pub(crate) struct World {
    pub(crate) vestibule: Vestibule,
    /// What it was started with.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Ada's, a member at Acme.
    pub(crate) token: String,
    /// For files.
    pub(crate) directory: TempDir,
    _sandbox: Sandbox,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| RUNTIME.block_on(start()));

pub(crate) async fn exchange(address: SocketAddr, head: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // It may answer before it has read all, and close.
    drop(stream.write_all(head).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    answer
}

async fn start() -> World {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(NOW);
    let time = clock.clone();
    let sandbox = Sandbox::builder()
        .clock(move || time.now().as_secs())
        .start()
        .await
        .expect("a sandbox");
    sandbox.add_demo_world();
    let mut environment: Vec<(&str, String)> = sandbox.environment();
    let database = directory.path().join("vestibule.db");
    environment.extend([
        ("DATABASE_URL", format!("sqlite:{}", database.display())),
        ("VESTIBULE_LISTEN", "127.0.0.1:0".to_owned()),
        ("VESTIBULE_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
    ]);
    let mut reader = SettingsReader::from_pairs(environment.clone());
    let server = ServerSettings::read(&mut reader, None).expect("sound settings");
    let settings = Settings {
        provider: ProviderSettings::read(&mut reader).expect("sound settings"),
        database: DatabaseSettings::read(&mut reader).expect("sound settings"),
        admission: AdmissionSettings::read(&mut reader).expect("sound settings"),
        assertions: None,
    };
    let shared = Arc::new(clock);
    let accounts = Directory::migrate(&settings.database, shared.clone())
        .await
        .expect("a directory");
    let spaces = TenantSpaces::open(&settings.database, &accounts, shared.clone()).expect("places");
    spaces
        .create_account("Acme", "tenant_acme")
        .await
        .expect("an account");
    let vestibule = Vestibule::builder(settings)
        .clock(shared)
        .build()
        .await
        .expect("an entrance");
    while !vestibule.readiness().await.keys {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let server = Server::bind(server, vestibule.clone(), Metrics::install())
        .await
        .expect("free ports");
    let (public, admin) = (server.public_address(), server.admin_address());
    tokio::spawn(server.run(std::future::pending()));
    let token = sandbox.user_token("user_ada").mint();
    World {
        vestibule,
        environment,
        public,
        admin,
        token,
        directory,
        _sandbox: sandbox,
    }
}
