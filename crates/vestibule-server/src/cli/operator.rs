//! Who carries out what the command line asks for: the admin API, in this process on the database, or
//! at a server (`--server`).

use std::net::IpAddr;

use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes},
};
use futures_util::StreamExt as _;
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower::ServiceExt as _;
use vestibule::{
    provider::tls_of_the_system,
    settings::{DatabaseSettings, ProviderSettings, Secret, SettingsError, SettingsReader},
    store::PageOf,
};

use super::{
    Global,
    output::{Failure, shown},
};
use crate::{
    admin::{
        api::{self, Operations, OperationsSettings},
        tokens::Administrator,
    },
    settings::LogSettings,
    telemetry::logs,
};

/// Whoever carries it out.
pub(super) enum Operator {
    /// This process.
    Here(Operations),
    /// A server.
    There {
        http: Client,
        base: Url,
        token: Secret,
    },
}

/// What an answer says that went wrong (RFC 9457).
#[derive(Deserialize)]
struct ProblemDocument {
    title: String,
    detail: Option<String>,
}

impl Global {
    /// Whoever carries out what is asked for. Service clients are looked up at Authress where
    /// `with_provider` and its settings are there.
    pub(super) fn operator(&self, with_provider: bool) -> Result<Operator, Failure> {
        let Some(server) = &self.server else {
            let settings = self.operations(with_provider)?;
            return Ok(Operator::Here(Operations::new(settings)));
        };
        let mut reader = self.reader();
        let base = usable(server).map_err(Failure::Usage)?;
        let token = reader.secret("VESTIBULE_ADMIN_TOKEN");
        if token.is_none() {
            reader.missing_secret(
                "VESTIBULE_ADMIN_TOKEN",
                "an admin token of the server that --server names",
            );
        }
        let log = LogSettings::read(&mut reader, "warn");
        reader.finish()?;
        let (Some(token), Some(log)) = (token, log) else {
            return Err(Failure::Settings(SettingsError::default()));
        };
        logs::start(&log);
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls_of_the_system()?)
            .build()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Operator::There { http, base, token })
    }

    /// What is needed to work on the database, and to look up service clients; starts logging.
    pub(super) fn operations(&self, with_provider: bool) -> Result<OperationsSettings, Failure> {
        let mut reader = self.reader();
        let settings = operations(&mut reader, with_provider);
        let log = LogSettings::read(&mut reader, "warn");
        reader.finish()?;
        let wrong = || Failure::Settings(SettingsError::default());
        logs::start(&log.ok_or_else(wrong)?);
        settings.ok_or_else(wrong)
    }

    /// For what needs the database itself.
    pub(super) fn require_no_server(&self, what: &str) -> Result<(), Failure> {
        match &self.server {
            None => Ok(()),
            Some(_) => Err(Failure::Usage(format!(
                "{what} works on the database itself: leave out --server"
            ))),
        }
    }
}

impl Operator {
    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.ask(Method::GET, path, None).await?)
    }

    /// Does something.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Failed(error.to_string()))?;
        read(&self.ask(method, path, Some(body)).await?)
    }

    /// All pages of a list.
    pub(super) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let mut wanted = format!("{path}?limit=200");
            if let Some(cursor) = &cursor {
                wanted.push_str("&cursor=");
                wanted.push_str(&segment(cursor));
            }
            let page: PageOf<T> = self.get(&wanted).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    /// The answer's body as it is.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Failure> {
        let mut answer = Vec::new();
        let each = |part: &[u8]| {
            answer.extend_from_slice(part);
            Ok(())
        };
        self.take(method, path, body, each).await?;
        Ok(answer)
    }

    /// The answer's body in parts, as they come: it may be longer than memory.
    pub(super) async fn take(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut answer = match self {
            Self::Here(operations) => {
                ask_here(api::router(operations.clone(), None), method, path, body).await?
            }
            Self::There { http, base, token } => {
                let mut url = base.clone();
                let (path, query) = path
                    .split_once('?')
                    .map_or((path, None), |(path, query)| (path, Some(query)));
                url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
                url.set_query(query);
                let mut request = http.request(method, url).bearer_auth(token.expose());
                if let Some(body) = body {
                    request = request.header(CONTENT_TYPE, "application/json").body(body);
                }
                let sent = request.send().await.map_err(|error| cannot(base, &error))?;
                Reply::There(sent, base)
            }
        };
        let status = answer.status();
        if status.is_success() {
            while let Some(part) = answer.part().await? {
                each(&part)?;
            }
            return Ok(());
        }
        let mut told = Vec::new();
        while let Some(part) = answer.part().await? {
            told.extend_from_slice(&part);
        }
        Err(self.failure(status, &told))
    }

    /// Writes down what is still to be.
    pub(super) async fn close(self) {
        if let Self::Here(operations) = self {
            operations.close().await;
        }
    }

    fn failure(&self, status: StatusCode, answer: &[u8]) -> Failure {
        let problem = serde_json::from_slice(answer).ok();
        let told = problem.map(|ProblemDocument { title, detail }| detail.unwrap_or(title));
        let told = told.map(|text| shown(&text));
        match (self, status) {
            (Self::There { base, .. }, StatusCode::UNAUTHORIZED) => {
                Failure::Failed(format!("{base} does not take this VESTIBULE_ADMIN_TOKEN"))
            }
            (Self::There { base, .. }, StatusCode::NOT_FOUND)
                if told.as_deref() == Some("There is nothing here") =>
            {
                Failure::Failed(format!(
                    "{base} has no admin API: it is the address of the admin listener, of a server \
                     with VESTIBULE_ADMIN_TOKEN"
                ))
            }
            (_, StatusCode::BAD_REQUEST) => {
                Failure::Usage(told.unwrap_or_else(|| status.to_string()))
            }
            _ => Failure::Failed(told.unwrap_or_else(|| format!("the answer is {status}"))),
        }
    }
}

/// A part of a path, or a parameter's value.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An answer whose body is still to come.
enum Reply<'o> {
    Here(StatusCode, BodyDataStream),
    There(reqwest::Response, &'o Url),
}

impl Reply<'_> {
    fn status(&self) -> StatusCode {
        match self {
            Self::Here(status, _) => *status,
            Self::There(answer, _) => answer.status(),
        }
    }

    async fn part(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Here(_, body) => {
                let part = body.next().await.transpose();
                part.map_err(|error| Failure::Failed(cause(&error)))
            }
            Self::There(answer, base) => answer.chunk().await.map_err(|error| cannot(base, &error)),
        }
    }
}

fn cannot(base: &Url, error: &reqwest::Error) -> Failure {
    Failure::Failed(format!("{base} cannot be asked: {}", cause(error)))
}

async fn ask_here(
    router: Router,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Reply<'static>, Failure> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .extension(Administrator::at_the_command_line())
        .body(body.map_or_else(Body::empty, Body::from))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let Ok(answer) = router.oneshot(request).await;
    Ok(Reply::Here(
        answer.status(),
        answer.into_body().into_data_stream(),
    ))
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Failed(format!("the answer cannot be read: {error}")))
}

/// The database's settings, and the provider's where there are any: without them a client is
/// registered unseen.
fn operations(reader: &mut SettingsReader, with_provider: bool) -> Option<OperationsSettings> {
    let database = DatabaseSettings::read(reader);
    let named = with_provider
        && [
            "AUTHRESS_API_URL",
            "AUTHRESS_ACCESS_KEY",
            "AUTHRESS_ACCESS_KEY_FILE",
        ]
        .iter()
        .any(|name| reader.text(name).is_some());
    let provider = match named {
        true => Some(ProviderSettings::read(reader)?),
        false => None,
    };
    Some(OperationsSettings {
        database: database?,
        provider,
    })
}

/// The address of an admin listener: over TLS, unless it is this machine's own.
fn usable(text: &str) -> Result<Url, String> {
    const FORM: &str =
        "--server is the address of an admin listener, such as http://127.0.0.1:9090";
    let url = Url::parse(text).map_err(|_| FORM.to_owned())?;
    let host = url.host_str().ok_or(FORM)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || url.fragment().is_some() {
        return Err(FORM.to_owned());
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let own = host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match (url.scheme(), own) {
        ("https", _) | ("http", true) => Ok(url),
        ("http", false) => Err(format!(
            "the admin token would go to {host} in the clear: --server takes https, or http to this \
             machine"
        )),
        _ => Err(FORM.to_owned()),
    }
}

/// The innermost cause, which says what happened; the rest repeats the address.
fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_nobody_in_the_clear() {
        for good in [
            "http://127.0.0.1:9090",
            "http://localhost:9090/",
            "http://[::1]:9090",
            "https://admin.example.com",
            "https://ops.example.com/vestibule/",
        ] {
            assert!(usable(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "127.0.0.1:9090",
            "http://admin.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "https://user:password@admin.example.com",
            "https://admin.example.com/?a",
            "https://admin.example.com/#a",
        ] {
            assert!(usable(wrong).is_err(), "{wrong}");
        }
    }
}
