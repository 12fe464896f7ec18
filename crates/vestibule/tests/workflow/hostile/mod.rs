//! Tokens that must not be accepted. Each starts as one that is, and breaks one thing; expected
//! is the exact reason, so that none is refused for another one by chance.
//!
//! Whatever is refused before its signature is proven says `invalid_token` and nothing finer on
//! the wire, and makes us call nobody. Both are looked at for every row.

mod claims;
mod forms;
mod headers;
mod issuers;
mod kinds;
mod signatures;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use vestibule::{Code, Reason};
use vestibule_sandbox::TokenBuilder;

use crate::app::App;

/// Goes through tokens and remembers which of them did not fare as expected.
struct Table<'a> {
    app: &'a App,
    rows: usize,
    failures: Vec<String>,
}

impl<'a> Table<'a> {
    /// Everybody was here before: from now on a call to Authress is one too many.
    async fn new(app: &'a App) -> Self {
        for who in ["user_ada", "user_grace"] {
            app.user(who).me().await.ok();
        }
        for what in ["sc_robot01", "sc_robot02"] {
            app.client(what).me().await.ok();
        }
        Self {
            app,
            rows: 0,
            failures: Vec::new(),
        }
    }

    /// One row; `name` says what is broken.
    async fn refused(&mut self, name: &str, token: impl AsRef<str>, reason: Reason) {
        self.rows += 1;
        let before = self.app.sandbox.all_calls();
        let answer = self.app.bearer(token).me().await;
        if let Err(problem) = answer.try_refused(reason) {
            self.failures.push(format!("{name}: {problem}"));
        }
        if !is_told_after_proof(reason) && reason.code() != Code::InvalidToken {
            self.failures
                .push(format!("{name}: the wire says {}", reason.code()));
        }
        let calls = self.app.sandbox.all_calls() - before;
        // A key that is not known is worth one look at a set of ours.
        if calls > u64::from(reason == Reason::UnknownKey) {
            self.failures.push(format!("{name}: {calls} calls"));
        }
    }

    /// A row that shows that the rule does not refuse too much.
    async fn accepted(&mut self, name: &str, token: impl AsRef<str>) {
        self.rows += 1;
        let answer = self.app.bearer(token).me().await;
        if !answer.is_ok() {
            self.failures.push(format!("{name}: {}", answer.shown()));
        }
    }

    /// Fails where a row did; also where those who were broken into are no longer let in.
    async fn end(mut self) {
        for (name, token) in [("a person", ada(self.app)), ("a machine", robot(self.app))] {
            self.accepted(name, token.claim("after", "all").mint())
                .await;
        }
        let failed = self.failures.len();
        assert!(
            failed == 0,
            "{failed} of {}:\n{}",
            self.rows,
            self.failures.join("\n")
        );
    }
}

/// What the wire may say only of a token whose signature is proven.
fn is_told_after_proof(reason: Reason) -> bool {
    matches!(reason, Reason::Expired | Reason::TenantMismatch)
}

/// A token of Ada's, right in everything.
fn ada(app: &App) -> TokenBuilder {
    app.sandbox.user_token("user_ada")
}

/// A token of Acme's robot, right in everything.
fn robot(app: &App) -> TokenBuilder {
    app.sandbox.client_token("sc_robot01")
}

/// Header, claims and signature of a token, as they were sent.
fn parts(token: &str) -> [String; 3] {
    let mut parts = token.split('.').map(str::to_owned);
    [(); 3].map(|()| parts.next().unwrap())
}

/// The text of a part.
fn text(part: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The text of a token's claims with `member` written before all others.
fn claims_with(token: &TokenBuilder, member: &str) -> String {
    let [_, claims, _] = parts(&token.mint());
    text(&claims).replacen('{', &format!("{{{member},"), 1)
}

/// The text of a token's header with `member` written before all others.
fn header_with(token: &TokenBuilder, member: &str) -> String {
    let [header, _, _] = parts(&token.mint());
    text(&header).replacen('{', &format!("{{{member},"), 1)
}
