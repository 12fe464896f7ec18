//! The console: a page on the admin listener, for administrators.
//!
//! The page's files are part of the program and tell nobody anything; what it shows comes from the
//! admin API. Signing in trades an admin token for a session ([`sessions`]), so that the token is
//! neither kept in the browser nor sent again.

pub(crate) mod sessions;

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::{ConnectInfo, FromRequest, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, SET_COOKIE,
            X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use vestibule::{error::Code, http::Problem};

use self::sessions::COOKIE;
use crate::admin::guard::{Guard, is_of_this_origin};

/// Nothing but our own files, no frames, no forms that leave.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($path:literal $kind:literal $file:literal)*) => {
        &[$(Asset { path: $path, kind: $kind, content: include_str!(concat!("assets/", $file)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "/console" "text/html; charset=utf-8" "index.html"
    "/console/console.css" "text/css; charset=utf-8" "console.css"
    "/console/favicon.svg" "image/svg+xml" "favicon.svg"
    "/console/accounts.js" "text/javascript; charset=utf-8" "accounts.js"
    "/console/actions.js" "text/javascript; charset=utf-8" "actions.js"
    "/console/api.js" "text/javascript; charset=utf-8" "api.js"
    "/console/chart.js" "text/javascript; charset=utf-8" "chart.js"
    "/console/console.js" "text/javascript; charset=utf-8" "console.js"
    "/console/dom.js" "text/javascript; charset=utf-8" "dom.js"
    "/console/explain.js" "text/javascript; charset=utf-8" "explain.js"
    "/console/format.js" "text/javascript; charset=utf-8" "format.js"
    "/console/lists.js" "text/javascript; charset=utf-8" "lists.js"
    "/console/metrics.js" "text/javascript; charset=utf-8" "metrics.js"
    "/console/overview.js" "text/javascript; charset=utf-8" "overview.js"
    "/console/refusals.js" "text/javascript; charset=utf-8" "refusals.js"
    "/console/revocations.js" "text/javascript; charset=utf-8" "revocations.js"
    "/console/users.js" "text/javascript; charset=utf-8" "users.js"
};

/// The page, and the way in.
pub(crate) fn router(guard: Guard) -> Router {
    let assets = ASSETS.iter().fold(Router::new(), |router, asset| {
        let file = async || ([(CONTENT_TYPE, asset.kind)], asset.content);
        router.route(asset.path, get(file))
    });
    let page = assets
        .route("/", get(async || Redirect::temporary("/console")))
        .layer(middleware::map_response(shut_in));
    let session = Router::new()
        .route("/console/session", post(sign_in).delete(sign_out))
        .with_state(guard);
    page.merge(session)
}

/// What a browser must not do with the page.
async fn shut_in(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    // The program's version is the page's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: String,
}

async fn sign_in(State(guard): State<Guard>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers();
    if !is_of_this_origin(headers) {
        return Err(Problem::new(Code::InvalidRequest).with_detail("this is another site's page"));
    }
    let secure = is_over_tls(headers);
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = connection.map(|ConnectInfo(address)| address.ip());
    // Only JSON: a form of another site cannot send it.
    let Json(SignIn { token }) = Json::from_request(request, &()).await?;
    let administrator = guard.find(&token, from)?;
    let session = guard.sessions().begin(administrator.clone());
    let attributes = if secure { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict{attributes}",
        session.cookie
    );
    let document = json!({
        "csrf": session.header,
        "name": administrator.name,
        "scopes": administrator.scopes,
        "ends_at": session.ends_at,
    });
    Ok((
        [(SET_COOKIE, cookie), (CACHE_CONTROL, "no-store".to_owned())],
        Json(document),
    )
        .into_response())
}

async fn sign_out(State(guard): State<Guard>, headers: HeaderMap) -> Result<Response, Problem> {
    guard.by_session(&headers)?;
    guard.sessions().end(&headers);
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// Whether the browser speaks TLS to whoever is in front of us: then the cookie is for TLS only.
fn is_over_tls(headers: &HeaderMap) -> bool {
    let origin = headers.get(axum::http::header::ORIGIN);
    origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_else() {
        for asset in ASSETS {
            for foreign in ["http://", "https://"] {
                let found = asset.content.match_indices(foreign);
                for (at, _) in found {
                    // Names of XML's vocabularies are no addresses.
                    let rest = &asset.content[at..];
                    assert!(
                        rest.starts_with("http://www.w3.org/") || rest.starts_with("https://…"),
                        "{}: {}",
                        asset.path,
                        rest.chars().take(60).collect::<String>()
                    );
                }
            }
            assert!(!asset.content.contains("innerHTML"), "{}", asset.path);
        }
    }

    #[test]
    fn every_file_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console/assets");
        for file in std::fs::read_dir(folder).unwrap() {
            let content = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(ASSETS.iter().any(|asset| asset.content == content));
        }
    }

    #[test]
    fn nothing_is_inline() {
        let page = ASSETS[0].content;
        assert!(
            !page.contains(" style=") && !page.contains("<style"),
            "styles"
        );
        assert!(
            !page.contains(" onclick=") && !page.contains("javascript:"),
            "scripts"
        );
    }
}
