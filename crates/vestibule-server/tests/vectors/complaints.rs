//! What did not go as written.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    support::Running,
    vector::{Base, Vector},
    world::Answer,
};

/// What did not go as written, all of it at once.
#[derive(Default)]
pub(crate) struct Complaints(String);

impl Complaints {
    pub(crate) fn unless(&mut self, fine: bool, vector: &Vector, what: impl FnOnce() -> String) {
        if !fine {
            let because = &vector.because;
            writeln!(self.0, "{}: {} ({because})", vector.name, what()).unwrap();
        }
    }

    /// What every client sees (contract §5).
    pub(crate) fn wire(&mut self, vector: &Vector, answer: &Answer, status: u16, code: &str) {
        let header = |name: &str| {
            let value = answer
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let shown = |answer: &Answer| {
            let body = &answer.body;
            format!(
                "{} {} in place of {status} {code}",
                answer.status, body["code"]
            )
        };
        let right = answer.status == status && header("x-vestibule-code") == code;
        self.unless(right, vector, || shown(answer));
        if status == 200 {
            let id = match vector.base {
                Base::Machine => "sc_robot01",
                _ => "user_ada",
            };
            let said = answer.body.to_string();
            self.unless(said.contains(id), vector, || format!("not {id}: {said}"));
            return;
        }
        let challenge = match code {
            "missing_token" => r#"Bearer realm="vestibule""#,
            "malformed_authorization" => r#"Bearer realm="vestibule", error="invalid_request""#,
            _ => r#"Bearer realm="vestibule", error="invalid_token""#,
        };
        if status == 401 {
            let said = header("www-authenticate");
            self.unless(said == challenge, vector, || {
                format!("WWW-Authenticate: {said}")
            });
        }
        let said = header("content-type");
        self.unless(said == "application/problem+json", vector, || {
            format!("Content-Type: {said}")
        });
        let said = header("cache-control");
        self.unless(said == "no-store", vector, || {
            format!("Cache-Control: {said}")
        });
        let body = &answer.body;
        let fits =
            body["code"] == code && body["status"] == status && body["request_id"].is_string();
        self.unless(fits, vector, || format!("body: {body}"));
    }

    /// The access log says these reasons, by request.
    pub(crate) fn log(
        &mut self,
        server: &Running,
        mut reasons: BTreeMap<String, (Vector, String)>,
    ) {
        for line in server.access_lines(reasons.len()) {
            let id = line["request_id"].as_str().unwrap();
            if let Some((vector, reason)) = reasons.remove(id) {
                self.unless(line["reason"] == *reason, &vector, || {
                    format!("reason {} in place of {reason}", line["reason"])
                });
            }
        }
        for (vector, _) in reasons.values() {
            self.unless(false, vector, || "no line in the access log".to_owned());
        }
    }

    pub(crate) fn end(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}
