//! A whole request, given to the real listeners.

use crate::world::{RUNTIME, WORLD, exchange};

/// Answers of these need no caller.
const OPEN: &[&str] = &["/healthz", "/readyz", "/openapi.json"];

/// The headers that stand for the caller.
pub(crate) const IDENTITY: &[&str] = &[
    "x-vestibule-kind",
    "x-vestibule-user-id",
    "x-vestibule-authress-user-id",
    "x-vestibule-email",
    "x-vestibule-role",
    "x-vestibule-account-id",
    "x-vestibule-tenant-id",
    "x-vestibule-scopes",
];

/// Lines of a request's head; `{token}` in them is a good token. A head that begins with `!` goes
/// to the admin listener.
///
/// The answer is one HTTP response, never a server's error. A caller's answer comes out only where
/// a good token came in; identity headers only with it, and then all of them; a refusal says its
/// code in the header and in the body; and a 401 says how to do better (RFC 9110 §15.5.2).
pub fn request(bytes: &[u8]) {
    let (admin, head) = match bytes.strip_prefix(b"!") {
        Some(head) => (true, head),
        None => (false, bytes),
    };
    let Some(head) = Head::new(head) else {
        return;
    };
    let world = &*WORLD;
    let address = if admin { world.admin } else { world.public };
    let answer = RUNTIME.block_on(exchange(address, &head.written()));
    let Some(answer) = Answer::read(&answer) else {
        panic!("no answer: {:?}", String::from_utf8_lossy(&answer));
    };
    if admin {
        answer.is_of_the_admin_listener(&head);
    } else {
        answer.is_of_the_public_listener(&head);
    }
}

/// The lines of a head, without those that say how long the request is: what is tried here is what
/// the server makes of heads, and a body that never comes would only be waited for.
struct Head {
    first: Vec<u8>,
    fields: Vec<Vec<u8>>,
    has_token: bool,
}

impl Head {
    fn new(bytes: &[u8]) -> Option<Self> {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let mut lines = bytes.split(ends).filter(|line| !line.is_empty());
        let first = lines.next()?.to_vec();
        // A second version of HTTP is announced so (RFC 9113 §3.4); it is not spoken here.
        if first.starts_with(b"PRI ") || first.starts_with(b"CONNECT ") {
            return None;
        }
        let fields: Vec<Vec<u8>> = lines
            .filter(|line| {
                let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
                let name = name.trim_ascii().to_ascii_lowercase();
                !matches!(
                    name.as_slice(),
                    b"content-length"
                        | b"transfer-encoding"
                        | b"expect"
                        | b"connection"
                        | b"upgrade"
                )
            })
            .map(<[u8]>::to_vec)
            .collect();
        let has_token = fields
            .iter()
            .any(|field| field.windows(7).any(|part| part == b"{token}"));
        Some(Self {
            first,
            fields,
            has_token,
        })
    }

    fn written(&self) -> Vec<u8> {
        let mut head = self.first.clone();
        for field in &self.fields {
            head.extend(b"\r\n");
            head.extend(field);
        }
        head.extend(b"\r\nConnection: close\r\n\r\n");
        let text = String::from_utf8(head);
        match text {
            Ok(text) => text.replace("{token}", &WORLD.token).into_bytes(),
            Err(error) => error.into_bytes(),
        }
    }

    /// The path of the target, without its query.
    fn path(&self) -> Option<&str> {
        let target = std::str::from_utf8(&self.first).ok()?.split(' ').nth(1)?;
        // RFC 9112 §3.2: the path itself, or all of the address.
        let path = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find(['/', '?']).map_or("/", |end| &rest[end..])
            }
            _ => target,
        };
        path.split(['?', '#']).next()
    }
}

struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?;
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Self {
            status: status.parse().ok()?,
            fields: fields.collect::<Option<_>>()?,
            body: body.to_owned(),
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(known, _)| known == name);
        let first = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "{name} twice");
        first
    }

    fn is_of_the_public_listener(&self, head: &Head) {
        // The HTTP library answers what is no request, or too large for one.
        if self.get("x-vestibule-code").is_none() && matches!(self.status, 400 | 414 | 431) {
            return;
        }
        let path = head.path().unwrap_or_default();
        if path == "/readyz" && self.status == 503 {
            // It says so while the provider or the database is slow, and not because of the head.
            return;
        }
        assert!(self.status < 500, "{} for a head", self.status);
        let identities = IDENTITY
            .iter()
            .filter(|name| self.get(name).is_some())
            .count();
        if self.status < 400 {
            let open = OPEN.contains(&path);
            assert!(open || head.has_token, "an answer without a token: {path}");
            let asks = path == "/v1/authorize" || path.starts_with("/v1/authorize/");
            assert_eq!(identities, if asks { IDENTITY.len() } else { 0 }, "{path}");
            if asks {
                assert_eq!(self.get("x-vestibule-email"), Some("ada@acme.example"));
            }
            if !open {
                assert_eq!(self.get("cache-control"), Some("no-store"), "{path}");
            }
            return;
        }
        assert_eq!(identities, 0, "a refusal with an identity");
        self.is_a_problem(head);
        let challenge = self.get("www-authenticate");
        if self.status == 401 {
            let challenge = challenge.expect("a challenge");
            assert!(
                challenge.starts_with("Bearer realm=\"vestibule\""),
                "{challenge}"
            );
            assert_eq!(self.get("cache-control"), Some("no-store"));
        } else {
            assert_eq!(challenge, None);
        }
    }

    fn is_of_the_admin_listener(&self, head: &Head) {
        if self.get("x-vestibule-code").is_none() && matches!(self.status, 400 | 414 | 431) {
            return;
        }
        assert!(self.status < 500, "{} for a head", self.status);
        if self.status >= 400 {
            self.is_a_problem(head);
            return;
        }
        assert_eq!(head.path(), Some("/metrics"));
        let hosts: Vec<_> = head
            .fields
            .iter()
            .filter_map(|field| std::str::from_utf8(field).ok()?.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map(|(_, host)| host.trim().to_ascii_lowercase())
            .collect();
        let [host] = hosts.as_slice() else {
            panic!("{} names of this host", hosts.len());
        };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let ours = name == "localhost"
            || name.ends_with(".localhost")
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback());
        assert!(ours, "answered to {host:?}");
    }

    fn is_a_problem(&self, head: &Head) {
        let code = self.get("x-vestibule-code").expect("a code");
        assert_eq!(self.get("content-type"), Some("application/problem+json"));
        if !head.first.starts_with(b"HEAD ") {
            let body: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
            assert_eq!(body["code"], code);
            assert_eq!(body["status"], self.status);
            assert!(body["request_id"].is_string());
        }
    }
}
