//! `sandbox`: a local Authress with the demo world in it, until Ctrl-C.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vestibule_sandbox::{DemoTenant, Sandbox};

/// A local Authress for tests and first steps, on the loopback interface only.
///
/// What it prints on standard output can be sourced by a shell: the environment variables of a
/// server, and comments. GET /_sandbox lists what can be done to it over HTTP.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
struct Options {
    /// Port on 127.0.0.1; 0 takes a free one. Tokens name it, so keep it between starts.
    #[arg(long, default_value_t = 8090)]
    port: u16,

    /// Speak TLS as https://localhost:PORT, with a throw-away certificate authority.
    #[arg(long)]
    tls: bool,

    /// Keep the keys here between starts, so that access keys and tokens stay good.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Start without the demo world.
    #[arg(long)]
    empty: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is announced, so that whoever reads the announcement can end it cleanly.
    let ended = ended()?;
    let mut builder = Sandbox::builder().port(options.port).tls(options.tls);
    if let Some(directory) = options.data {
        builder = builder.keep_in(directory);
    }
    let sandbox = builder.start().await?;
    let world = match options.empty {
        true => &[][..],
        false => sandbox.add_demo_world(),
    };
    announce(&sandbox, world, io::stdout().lock())?;
    ended.await;
    // Closes what is under way, so that nobody's keep-alive connection delays the end.
    sandbox.stop();
    Ok(())
}

/// A future that ends with Ctrl-C or a request to terminate.
#[cfg(unix)]
fn ended() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn ended() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn announce(sandbox: &Sandbox, world: &[DemoTenant], mut out: impl Write) -> io::Result<()> {
    let url = sandbox.url();
    let curl = match sandbox.ca_pem_path() {
        Some(path) => format!("curl -s --cacert {}", quoted(&path.display().to_string())),
        None => "curl -s".to_owned(),
    };
    writeln!(
        out,
        "# A local Authress at {url}, until Ctrl-C. What a server needs:"
    )?;
    for (name, value) in sandbox.environment() {
        writeln!(out, "export {name}={}", quoted(&value))?;
    }
    if !world.is_empty() {
        writeln!(out, "# Tokens:")?;
    }
    for tenant in world {
        for user in tenant.users {
            let who = format!("{} of {}", user.name, tenant.name);
            writeln!(out, "#   {who:15} {curl} {url}/_sandbox/tokens/{}", user.id)?;
        }
        for client in tenant.clients {
            let who = client.name;
            writeln!(
                out,
                "#   {who:15} {curl} {url}/_sandbox/tokens/{}",
                client.id
            )?;
        }
    }
    writeln!(
        out,
        "#   {:15} {curl} {url}/_sandbox/tokens -d '{{\"user\":\"user_ada\",\"expiresIn\":-60}}'",
        "an expired one"
    )?;
    writeln!(out, "# Everything else: {curl} {url}/_sandbox")?;
    out.flush()
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
