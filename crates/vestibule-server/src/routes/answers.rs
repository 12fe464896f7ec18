//! What is the same in all answers about a caller, written once and kept with him: the larger part
//! of `/v1/me`, and seven of the eight identity headers.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use vestibule::{
    error::Code,
    http::Problem,
    principal::{Principal, PrincipalKind, UserWithAccount},
};

use super::authorize::{
    ACCOUNT_ID, AUTHRESS_USER_ID, EMAIL, IDENTITY_HEADERS, KIND, ROLE, SCOPES, TENANT_ID, USER_ID,
};

/// All identity headers together, as they are on the wire, are below this.
const LIMIT: usize = 6 * 1024;

/// `%`, space and everything outside printable ASCII; bytes above 0x7f always are.
const VALUE: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// The comma separates scopes, so one inside a scope must not.
const SCOPE: &AsciiSet = &VALUE.add(b',');

/// The parts about one caller. Each is made when first sent.
#[derive(Default)]
struct Parts {
    described: OnceLock<Option<Box<[u8]>>>,
    identity: OnceLock<Option<Identity>>,
}

/// The eight headers without the scopes, and how many bytes are left for these.
#[derive(Clone)]
struct Identity {
    headers: HeaderMap,
    left: usize,
}

/// The body of `GET /v1/me`: the principal as JSON.
pub(super) fn described(principal: &Principal) -> Result<Vec<u8>, Problem> {
    let token = principal.token();
    with_parts(principal, |parts| {
        let caller = || described_caller(principal.kind(), principal.user_with_account());
        let caller = parts.described.get_or_init(caller).as_deref()?;
        // Room for an ordinary token's part.
        let mut body = Vec::with_capacity(caller.len() + 256);
        body.extend_from_slice(caller);
        body.extend_from_slice(b",\"token\":");
        serde_json::to_writer(&mut body, token).ok()?;
        body.push(b'}');
        Some(body)
    })
    .ok_or_else(|| {
        tracing::error!("a principal cannot be written as JSON");
        Problem::new(Code::InternalError)
    })
}

/// The identity headers of a caller; where what may not be left out does not fit, a refusal.
pub(super) fn identity(principal: &Principal) -> Result<HeaderMap, Problem> {
    with_parts(principal, |parts| {
        let make = || Identity::of(principal.kind(), principal.user_with_account());
        let identity = parts.identity.get_or_init(make).as_ref()?;
        identity.with_scopes(&principal.token().scopes)
    })
    .ok_or_else(|| {
        let account = principal.account().id;
        tracing::error!(account.id = %account, "the identity headers do not fit into {LIMIT} bytes");
        Problem::new(Code::InternalError)
    })
}

fn with_parts<T>(principal: &Principal, read: impl FnOnce(&Parts) -> T) -> T {
    match principal.derived(|_, _| Parts::default()) {
        Some(parts) => read(parts),
        None => read(&Parts::default()),
    }
}

/// The principal's JSON up to its token.
fn described_caller(kind: PrincipalKind, identity: &UserWithAccount) -> Option<Box<[u8]>> {
    #[derive(Serialize)]
    struct Described<'a> {
        kind: PrincipalKind,
        #[serde(flatten)]
        identity: &'a UserWithAccount,
    }
    let mut json = serde_json::to_vec(&Described { kind, identity }).ok()?;
    // The object goes on.
    json.pop()?;
    Some(json.into())
}

impl Identity {
    fn of(kind: PrincipalKind, identity: &UserWithAccount) -> Option<Self> {
        let UserWithAccount { user, account } = identity;
        let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + 2);
        let mut left = LIMIT;
        let values = [
            (KIND, encoded(kind.as_str())),
            (USER_ID, encoded(&user.id.to_string())),
            (AUTHRESS_USER_ID, encoded(&user.authress_user_id)),
            (ROLE, encoded(&user.role)),
            (ACCOUNT_ID, encoded(&account.id.to_string())),
            (TENANT_ID, encoded(&account.authress_tenant_id)),
            (EMAIL, String::new()),
            (SCOPES, String::new()),
        ];
        for (name, value) in values {
            // `name: value\r\n`
            left = left.checked_sub(name.as_str().len() + value.len() + 4)?;
            headers.insert(name, HeaderValue::try_from(value).ok()?);
        }
        // Below the limit, not at it.
        left = left.checked_sub(1)?;
        let email = encoded(user.email.as_deref().unwrap_or_default());
        if let Some(rest) = left.checked_sub(email.len()) {
            left = rest;
            headers.insert(EMAIL, HeaderValue::try_from(email).ok()?);
        }
        Some(Self { headers, left })
    }

    /// With as many of the scopes as there is room for, in their order.
    fn with_scopes(&self, scopes: &[Arc<str>]) -> Option<HeaderMap> {
        let mut headers = self.headers.clone();
        if scopes.is_empty() {
            return Some(headers);
        }
        let mut left = self.left;
        let mut value = String::new();
        for scope in scopes {
            let comma = usize::from(!value.is_empty());
            let scope = utf8_percent_encode(scope, SCOPE);
            let length: usize = scope.clone().map(str::len).sum();
            let Some(rest) = left.checked_sub(comma + length) else {
                break;
            };
            left = rest;
            if comma == 1 {
                value.push(',');
            }
            value.extend(scope);
        }
        headers.insert(SCOPES, HeaderValue::try_from(value).ok()?);
        Some(headers)
    }
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use uuid::uuid;
    use vestibule::store::{Account, Status, User};

    use super::*;

    fn someone(email: &str) -> UserWithAccount {
        let account_id = uuid!("0190a8f2-0000-7000-8000-000000000002");
        UserWithAccount {
            user: User {
                id: uuid!("0190a8f2-0000-7000-8000-000000000001"),
                authress_user_id: "user_ada".to_owned(),
                email: Some(email.to_owned()),
                name: None,
                picture: None,
                role: "member".to_owned(),
                status: Status::Active,
                account_id,
            },
            account: Account {
                id: account_id,
                name: "Acme".to_owned(),
                authress_tenant_id: "tenant_acme".to_owned(),
                status: Status::Active,
            },
        }
    }

    fn headers(email: &str, scopes: &[Arc<str>]) -> HeaderMap {
        let identity = Identity::of(PrincipalKind::User, &someone(email)).unwrap();
        identity.with_scopes(scopes).unwrap()
    }

    fn scopes(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn size(headers: &HeaderMap) -> usize {
        headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum()
    }

    #[test]
    fn all_are_sent_even_if_empty() {
        let headers = headers("", &[]);
        assert_eq!(headers.len(), 8);
        assert_eq!(headers["x-vestibule-kind"], "user");
        assert_eq!(
            headers["x-vestibule-user-id"],
            "0190a8f2-0000-7000-8000-000000000001"
        );
        assert_eq!(headers["x-vestibule-authress-user-id"], "user_ada");
        assert_eq!(headers["x-vestibule-email"], "");
        assert_eq!(headers["x-vestibule-role"], "member");
        assert_eq!(
            headers["x-vestibule-account-id"],
            "0190a8f2-0000-7000-8000-000000000002"
        );
        assert_eq!(headers["x-vestibule-tenant-id"], "tenant_acme");
        assert_eq!(headers["x-vestibule-scopes"], "");
    }

    #[test]
    fn values_are_encoded() {
        let scopes = scopes(&["openid", "a b", "x,admin", "50%", "é"]);
        let headers = headers("a\r\nX-Vestibule-Role: owner@acme.example\u{7f}", &scopes);
        assert_eq!(
            headers["x-vestibule-email"],
            "a%0D%0AX-Vestibule-Role:%20owner@acme.example%7F"
        );
        assert_eq!(
            headers["x-vestibule-scopes"],
            "openid,a%20b,x%2Cadmin,50%25,%C3%A9"
        );
    }

    #[test]
    fn what_is_too_long_gives_way_whole() {
        let long: Vec<Arc<str>> = (0..2_000).map(|n| format!("scope{n:04}").into()).collect();
        let sent = headers("ada@acme.example", &long);
        assert!(size(&sent) < LIMIT);
        assert!(size(&sent) > LIMIT - 11, "as many as fit");
        assert_eq!(sent["x-vestibule-email"], "ada@acme.example");
        let sent = sent["x-vestibule-scopes"].to_str().unwrap();
        assert!(
            sent.split(',')
                .zip(&long)
                .all(|(sent, scope)| sent == &**scope)
        );

        let email = "é".repeat(1_000);
        let some = scopes(&["openid"]);
        let sent = headers(&email, &some);
        assert_eq!(sent["x-vestibule-email"], "");
        assert_eq!(sent["x-vestibule-scopes"], "openid");

        // A long scope in between ends the list: nothing is taken out of its order.
        let odd = scopes(&["openid", &"x".repeat(LIMIT), "profile"]);
        let sent = headers("", &odd);
        assert_eq!(sent["x-vestibule-scopes"], "openid");
    }

    #[test]
    fn what_may_not_be_left_out_must_fit() {
        let role = "r".repeat(LIMIT);
        let mut whole = someone("");
        whole.user.role = role;
        assert!(Identity::of(PrincipalKind::User, &whole).is_none());
    }
}
