//! What a newcomer sees: where everything listens, who there is, and lines to paste.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::Path,
};

use vestibule::store::Account;
use vestibule_sandbox::{DemoTenant, Sandbox};

/// The facts on the screen.
pub(crate) struct Screen<'a> {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// New at each start.
    pub(crate) admin_token: &'a str,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) directory: &'a Path,
    pub(crate) accounts: &'a [(Account, &'static DemoTenant)],
}

/// One thing to try.
struct Line {
    title: String,
    command: String,
}

impl Screen<'_> {
    /// Prints it on standard output.
    pub(crate) fn show(&self) {
        let mut stdout = io::stdout().lock();
        let text = self.text(stdout.is_terminal());
        // Where nobody looks there is nobody to tell.
        drop(
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush()),
        );
    }

    fn text(&self, styled: bool) -> String {
        let (bold, faint, plain) = if styled {
            ("\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m")
        } else {
            ("", "", "")
        };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, bold, faint, plain);
        text
    }

    fn write(&self, text: &mut String, bold: &str, faint: &str, plain: &str) -> std::fmt::Result {
        writeln!(
            text,
            "\n{bold}Vestibule is running{plain}, with a sandbox in Authress' place. Ctrl-C stops both.\n"
        )?;
        writeln!(text, "  public API   http://{}", reachable(self.public))?;
        writeln!(
            text,
            "  admin        http://{}/metrics",
            reachable(self.admin)
        )?;
        writeln!(
            text,
            "  console      http://{}/console  {faint}(admin token{plain} {}{faint}){plain}",
            reachable(self.admin),
            self.admin_token
        )?;
        writeln!(text, "  sandbox      {}", self.sandbox.url())?;
        writeln!(
            text,
            "  data         {}  {faint}(delete it to begin anew){plain}\n",
            self.directory.display()
        )?;
        writeln!(text, "{bold}Accounts{plain}\n")?;
        for (account, tenant) in self.accounts {
            let users: Vec<&str> = tenant.users.iter().map(|user| user.name).collect();
            let clients: Vec<&str> = tenant.clients.iter().map(|client| client.id).collect();
            writeln!(
                text,
                "  {:<8} {}  {:<14}  users {}; service client {}",
                account.name,
                account.id,
                account.authress_tenant_id,
                users.join(", "),
                clients.join(", ")
            )?;
        }
        writeln!(
            text,
            "\n{bold}Try{plain} {faint}(each line is complete; tokens last 24 hours){plain}"
        )?;
        for line in self.lines() {
            writeln!(text, "\n  {faint}# {}{plain}\n{}", line.title, line.command)?;
        }
        writeln!(text)
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let public = reachable(self.public);
        let url = |path: &str| format!("http://{public}{path}");
        let with = |token: &str, path: &str| {
            format!(
                "curl -sS -w '\\n' -H 'Authorization: Bearer {token}' {}",
                url(path)
            )
        };
        // One person of each account, so that the two can be compared.
        for (account, tenant) in self.accounts {
            if let Some(user) = tenant.users.first() {
                let token = self.sandbox.user_token(user.id).mint();
                lines.push(Line {
                    title: format!("{} of {}: who am I?", user.name, account.name),
                    command: with(&token, "/v1/me"),
                });
            }
        }
        for (account, tenant) in self.accounts.iter().take(1) {
            if let Some(client) = tenant.clients.first() {
                let token = self.sandbox.client_token(client.id).mint();
                lines.push(Line {
                    title: format!(
                        "{} of {}, a service client: who am I?",
                        client.id, account.name
                    ),
                    command: with(&token, "/v1/me"),
                });
            }
        }
        for (account, tenant) in self.accounts {
            if let Some(user) = tenant.users.last() {
                let token = self.sandbox.user_token(user.id).mint();
                lines.push(Line {
                    title: format!(
                        "{} sees the users of {} who came so far, and no others",
                        user.name, account.name
                    ),
                    command: with(&token, "/v1/users"),
                });
            }
        }
        lines.push(Line {
            title: "no token".to_owned(),
            command: format!("curl -sS -i -w '\\n' {}", url("/v1/me")),
        });
        if let Some(user) = self
            .accounts
            .first()
            .and_then(|(_, tenant)| tenant.users.first())
        {
            let token = self.sandbox.user_token(user.id).tamper_signature().mint();
            lines.push(Line {
                title: "a broken token; the exact reason is in the log, not in the answer"
                    .to_owned(),
                command: format!(
                    "curl -sS -i -w '\\n' -H 'Authorization: Bearer {token}' {}",
                    url("/v1/me")
                ),
            });
        }
        lines
    }
}

/// Says on standard error why there is nothing to see.
pub(crate) fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "\n{text}\n"));
}

/// An address to connect to: a server that listens on every address is here too.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let here = if address.is_ipv6() {
            std::net::Ipv6Addr::LOCALHOST.into()
        } else {
            std::net::Ipv4Addr::LOCALHOST.into()
        };
        SocketAddr::new(here, address.port())
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_here() {
        for (listening, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let listening: SocketAddr = listening.parse().unwrap();
            assert_eq!(reachable(listening).to_string(), reached);
        }
    }
}
