//! Refusals: what the wire says ([`Code`]), and why it really happened ([`Reason`]).
//!
//! The two are apart on purpose. A caller who has proven nothing yet learns `invalid_token` and
//! nothing more; the operator reads the exact reason in the log, the metrics and `token explain`.

use std::{fmt, sync::Arc};

use http::StatusCode;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// Declares an enum together with the list of all its members, so that neither can miss one.
macro_rules! listed {
    ($(#[$about:meta])* $name:ident { $($member:ident = $text:literal, $doc:literal;)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $(#[doc = $doc] $member,)+ }

        impl $name {
            /// Every member.
            pub const ALL: &[Self] = &[$(Self::$member,)+];

            /// The member's name in `snake_case`: bounded, fit for a metric's label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$member => $text,)+ }
            }

            /// What it means, in words for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$member => $doc,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

listed! {
    /// A code as the wire shows it, in the body's `code` and in `X-Vestibule-Code`.
    Code {
        InvalidRequest = "invalid_request", "The request cannot be understood";
        MethodNotAllowed = "method_not_allowed", "The path does not know this method";
        RequestTooLarge = "request_too_large", "The request is too large";
        MissingToken = "missing_token", "The request carries no bearer token";
        MalformedAuthorization = "malformed_authorization", "The request does not carry one credential of the right form";
        InvalidToken = "invalid_token", "The token is not acceptable";
        TokenExpired = "token_expired", "The token has expired";
        UnknownUser = "unknown_user", "The user is not known";
        UnknownTenant = "unknown_tenant", "The token names no tenant that can be used";
        UnknownAccount = "unknown_account", "No account belongs to the tenant";
        UnknownClient = "unknown_client", "The service client is not known";
        TenantMismatch = "tenant_mismatch", "The token is for another tenant";
        ProviderUnavailable = "provider_unavailable", "The identity provider cannot be asked";
        UserSuspended = "user_suspended", "The user is suspended";
        AccountSuspended = "account_suspended", "The account is suspended";
        ClientSuspended = "client_suspended", "The service client is suspended";
        InsufficientRole = "insufficient_role", "The caller's role does not allow this";
        InsufficientScope = "insufficient_scope", "The caller's scopes do not allow this";
        NotFound = "not_found", "There is nothing here";
        Conflict = "conflict", "Things are not as the request needs them";
        TooManyRequests = "too_many_requests", "Too many requests";
        InternalError = "internal_error", "Something went wrong on our side";
        StorageUnavailable = "storage_unavailable", "The database cannot be reached";
    }
}

/// The status of an answer that fails because the provider cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutageStatus {
    /// 401, as any other failure of authentication.
    #[default]
    Unauthorized,
    /// 503 with `Retry-After`.
    ServiceUnavailable,
}

impl Code {
    /// The status of the answer, where an outage of the provider is a 401.
    pub const fn status(self) -> StatusCode {
        self.status_with(OutageStatus::Unauthorized)
    }

    /// The status of the answer, where an outage of the provider has the status `outage`.
    pub const fn status_with(self, outage: OutageStatus) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MissingToken
            | Self::MalformedAuthorization
            | Self::InvalidToken
            | Self::TokenExpired
            | Self::UnknownUser
            | Self::UnknownTenant
            | Self::UnknownAccount
            | Self::UnknownClient
            | Self::TenantMismatch => StatusCode::UNAUTHORIZED,
            Self::ProviderUnavailable => match outage {
                OutageStatus::Unauthorized => StatusCode::UNAUTHORIZED,
                OutageStatus::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::UserSuspended
            | Self::AccountSuspended
            | Self::ClientSuspended
            | Self::InsufficientRole
            | Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The `title` of the problem.
    pub const fn title(self) -> &'static str {
        self.meaning()
    }

    /// The value of `WWW-Authenticate`, where an outage of the provider is a 401.
    ///
    /// `token_sent`: the request carried a bearer token, so RFC 6750 wants to know what is wrong
    /// with it.
    pub const fn challenge(self, token_sent: bool) -> Option<&'static str> {
        self.challenge_with(OutageStatus::Unauthorized, token_sent)
    }

    /// The value of `WWW-Authenticate`, where an outage of the provider has the status `outage`.
    pub const fn challenge_with(
        self,
        outage: OutageStatus,
        token_sent: bool,
    ) -> Option<&'static str> {
        const BARE: &str = r#"Bearer realm="vestibule""#;
        const INVALID_REQUEST: &str = r#"Bearer realm="vestibule", error="invalid_request""#;
        const INVALID_TOKEN: &str = r#"Bearer realm="vestibule", error="invalid_token""#;
        const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="vestibule", error="insufficient_scope""#;
        match self {
            Self::MissingToken => Some(BARE),
            // Another scheme is malformed, not missing, whatever it carried.
            Self::MalformedAuthorization => Some(INVALID_REQUEST),
            Self::InsufficientScope => Some(INSUFFICIENT_SCOPE),
            _ => match (self.status_with(outage), token_sent) {
                (StatusCode::UNAUTHORIZED, true) => Some(INVALID_TOKEN),
                (StatusCode::UNAUTHORIZED, false) => Some(BARE),
                _ => None,
            },
        }
    }

    /// The value of `Retry-After` in seconds for an answer with `status`.
    pub const fn retry_after(status: StatusCode) -> Option<u32> {
        match status {
            StatusCode::SERVICE_UNAVAILABLE => Some(5),
            StatusCode::TOO_MANY_REQUESTS => Some(1),
            _ => None,
        }
    }
}

listed! {
    /// Why a request was refused, exactly. For log, metric and `token explain`; never on the wire.
    Reason {
        MissingToken = "missing_token", "the request has no Authorization header";
        MalformedAuthorization = "malformed_authorization", "the Authorization header is not exactly one bearer token";
        TwoCredentials = "two_credentials", "the request has an Authorization header and an assertion (see VESTIBULE_ACCEPT_ASSERTIONS): the proxy must take the first away";
        MalformedAssertion = "malformed_assertion", "the X-Vestibule-Assertion header is there twice, or holds bytes that no assertion has";
        TokenTooLong = "token_too_long", "the token or assertion is longer than 8,192 bytes";
        NotThreeParts = "not_three_parts", "the token is not three parts separated by dots";
        BadBase64 = "bad_base64", "a part of the token is not canonical base64url without padding";
        BadJson = "bad_json", "the header or the claims are not a JSON object of the expected form";
        DuplicateMember = "duplicate_member", "a member occurs twice in the header or the claims";
        AccessKeyShaped = "access_key_shaped", "an access key was sent in place of a token: withdraw that key, it has left its owner";
        UnsupportedAlgorithm = "unsupported_algorithm", "the header's alg is not EdDSA";
        CriticalHeader = "critical_header", "the header has crit, whose extensions are not known here";
        EmbeddedKey = "embedded_key", "the header brings or points to a key of its own (jwk, jku, x5u, x5c)";
        BadKeyId = "bad_key_id", "the header's kid is missing or not 1 to 64 characters of A-Z a-z 0-9 _ -";
        WrongType = "wrong_type", "the header's typ is not that of an access token of this class";
        MissingIssuer = "missing_issuer", "the token names no issuer";
        UnknownIssuer = "unknown_issuer", "the issuer is not one of the accepted issuers, byte for byte";
        UnknownKey = "unknown_key", "the issuer's key set has no usable key with this kid";
        BadSignature = "bad_signature", "the signature does not fit the issuer's key";
        MissingClaim = "missing_claim", "a required claim is missing";
        BadClaim = "bad_claim", "a claim has a form or a value that it cannot have";
        WrongAudience = "wrong_audience", "the audience does not name this API";
        SubjectMismatch = "subject_mismatch", "the subject does not fit the issuer or the client id";
        ClientIdMismatch = "client_id_mismatch", "the client id does not fit the issuer";
        NotAnApplication = "not_an_application", "the client id of a user token is not an accepted application";
        ClientIssuedUser = "client_issued_user", "a service client obtained this user token (see AUTHRESS_ALLOW_CLIENT_ISSUED_USERS)";
        OwnClient = "own_client", "the token belongs to the service client of our own access key";
        UnregisteredClient = "unregistered_client", "the service client is not registered here";
        NotYetValid = "not_yet_valid", "the token is not valid yet, or was issued in the future";
        LifetimeTooLong = "lifetime_too_long", "the token lives longer than TOKEN_MAX_LIFETIME";
        Expired = "expired", "the token has expired";
        Revoked = "revoked", "the token was cut off: itself, its key, or everything issued to its caller until a moment (see `vestibule revoke`)";
        ProviderUnavailable = "provider_unavailable", "the identity provider could not be asked and nothing usable is kept";
        UnknownUser = "unknown_user", "the identity provider does not know the user, or the directory does not know an asserted one";
        ProvisioningOff = "provisioning_off", "the user is not known here and USER_PROVISIONING is off";
        NoTenant = "no_tenant", "the token names no tenant";
        SeveralTenants = "several_tenants", "the token of a new user names several tenants";
        UnknownTenant = "unknown_tenant", "the identity provider does not know the tenant";
        ConnectionMismatch = "connection_mismatch", "the user did not sign in through the tenant's own connection";
        UnknownAccount = "unknown_account", "no account belongs to the tenant";
        UnknownClient = "unknown_client", "the service client of a verified token or assertion is gone";
        TenantMismatch = "tenant_mismatch", "the token's tenants do not include that of the user's account";
        UserSuspended = "user_suspended", "the user is suspended";
        AccountSuspended = "account_suspended", "the account is suspended";
        ClientSuspended = "client_suspended", "the service client is suspended";
        InsufficientRole = "insufficient_role", "the caller's role does not allow this";
        InsufficientScope = "insufficient_scope", "the caller's scopes do not allow this";
        NoRule = "no_rule", "no rule lets anybody do this";
        PermissionLacking = "permission_lacking", "the identity provider says that the caller may not do this";
        SourceOverLimit = "source_over_limit", "too many tokens from this source address were refused lately (see TOKEN_REFUSAL_LIMIT); this one was not looked at";
        VerifierBusy = "verifier_busy", "too many new tokens wait to be verified; this one was not looked at";
        StorageUnavailable = "storage_unavailable", "the database could not be reached";
        Internal = "internal", "something went wrong on our side";
    }
}

impl Reason {
    /// What the wire says.
    ///
    /// Until the signature is proven it says only `invalid_token` and `provider_unavailable`:
    /// anything finer would let a stranger ask what is registered here.
    pub const fn code(self) -> Code {
        match self {
            Self::MissingToken => Code::MissingToken,
            Self::MalformedAuthorization | Self::TwoCredentials | Self::MalformedAssertion => {
                Code::MalformedAuthorization
            }
            Self::TokenTooLong
            | Self::NotThreeParts
            | Self::BadBase64
            | Self::BadJson
            | Self::DuplicateMember
            | Self::AccessKeyShaped
            | Self::UnsupportedAlgorithm
            | Self::CriticalHeader
            | Self::EmbeddedKey
            | Self::BadKeyId
            | Self::WrongType
            | Self::MissingIssuer
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::BadSignature
            | Self::MissingClaim
            | Self::BadClaim
            | Self::WrongAudience
            | Self::SubjectMismatch
            | Self::ClientIdMismatch
            | Self::NotAnApplication
            | Self::ClientIssuedUser
            | Self::OwnClient
            | Self::UnregisteredClient
            | Self::NotYetValid
            | Self::LifetimeTooLong
            | Self::Revoked => Code::InvalidToken,
            Self::Expired => Code::TokenExpired,
            Self::ProviderUnavailable => Code::ProviderUnavailable,
            Self::UnknownUser | Self::ProvisioningOff => Code::UnknownUser,
            Self::NoTenant
            | Self::SeveralTenants
            | Self::UnknownTenant
            | Self::ConnectionMismatch => Code::UnknownTenant,
            Self::UnknownAccount => Code::UnknownAccount,
            Self::UnknownClient => Code::UnknownClient,
            Self::TenantMismatch => Code::TenantMismatch,
            Self::UserSuspended => Code::UserSuspended,
            Self::AccountSuspended => Code::AccountSuspended,
            Self::ClientSuspended => Code::ClientSuspended,
            Self::InsufficientRole => Code::InsufficientRole,
            Self::InsufficientScope | Self::NoRule | Self::PermissionLacking => {
                Code::InsufficientScope
            }
            Self::SourceOverLimit | Self::VerifierBusy => Code::TooManyRequests,
            Self::StorageUnavailable => Code::StorageUnavailable,
            Self::Internal => Code::InternalError,
        }
    }

    /// Whether the request carried a bearer token: what [`Code::challenge`] asks.
    pub const fn token_sent(self) -> bool {
        !matches!(
            self.code(),
            Code::MissingToken | Code::MalformedAuthorization
        )
    }
}

impl std::error::Error for Reason {}

/// A refusal, with what is known about the caller.
///
/// Its `Display` is the reason; it never holds a piece of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Who, where a verified token belongs to somebody known here: the refusal is then written
    /// to that account's activity, and to no other's.
    pub caller: Option<RefusedCaller>,
}

/// The known caller of a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCaller {
    /// The caller's own account, never one that the token merely names.
    pub account_id: Uuid,
    /// The user, where it was one.
    pub user_id: Option<Uuid>,
    /// The service client's `client_id`, where it was one.
    pub client_id: Option<Arc<str>>,
}

impl Refusal {
    /// A refusal of somebody known.
    pub const fn of(reason: Reason, caller: RefusedCaller) -> Self {
        Self {
            reason,
            caller: Some(caller),
        }
    }

    /// What the wire says.
    pub const fn code(&self) -> Code {
        self.reason.code()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            caller: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_name(text: &str) -> bool {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }

    #[test]
    fn names_are_distinct_labels() {
        let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let mut reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        for names in [&mut codes, &mut reasons] {
            assert!(names.iter().all(|name| is_name(name)), "{names:?}");
            let before = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), before);
        }
    }

    #[test]
    fn statuses() {
        let with = |status: u16| -> Vec<&str> {
            Code::ALL
                .iter()
                .filter(|c| c.status().as_u16() == status)
                .map(|c| c.as_str())
                .collect()
        };
        assert_eq!(with(400), ["invalid_request"]);
        assert_eq!(with(405), ["method_not_allowed"]);
        assert_eq!(with(413), ["request_too_large"]);
        assert_eq!(
            with(401),
            [
                "missing_token",
                "malformed_authorization",
                "invalid_token",
                "token_expired",
                "unknown_user",
                "unknown_tenant",
                "unknown_account",
                "unknown_client",
                "tenant_mismatch",
                "provider_unavailable"
            ]
        );
        assert_eq!(
            with(403),
            [
                "user_suspended",
                "account_suspended",
                "client_suspended",
                "insufficient_role",
                "insufficient_scope"
            ]
        );
        assert_eq!(with(404), ["not_found"]);
        assert_eq!(with(429), ["too_many_requests"]);
        assert_eq!(with(500), ["internal_error"]);
        assert_eq!(with(503), ["storage_unavailable"]);
    }

    #[test]
    fn only_an_outage_of_the_provider_changes_its_status() {
        for code in Code::ALL {
            let changed = code.status_with(OutageStatus::ServiceUnavailable) != code.status();
            assert_eq!(changed, *code == Code::ProviderUnavailable, "{code}");
        }
        let outage = OutageStatus::ServiceUnavailable;
        assert_eq!(Code::ProviderUnavailable.status_with(outage), 503);
        assert_eq!(Code::ProviderUnavailable.challenge_with(outage, true), None);
        assert_eq!(Code::retry_after(StatusCode::SERVICE_UNAVAILABLE), Some(5));
        assert_eq!(Code::retry_after(StatusCode::UNAUTHORIZED), None);
    }

    #[test]
    fn challenges() {
        for code in Code::ALL {
            for token_sent in [false, true] {
                let expected = match (code, code.status().as_u16()) {
                    (Code::MalformedAuthorization, _) => {
                        Some(r#"Bearer realm="vestibule", error="invalid_request""#)
                    }
                    (Code::InsufficientScope, _) => {
                        Some(r#"Bearer realm="vestibule", error="insufficient_scope""#)
                    }
                    (Code::MissingToken, _) => Some(r#"Bearer realm="vestibule""#),
                    (_, 401) if token_sent => {
                        Some(r#"Bearer realm="vestibule", error="invalid_token""#)
                    }
                    (_, 401) => Some(r#"Bearer realm="vestibule""#),
                    _ => None,
                };
                assert_eq!(code.challenge(token_sent), expected, "{code}");
            }
        }
    }

    #[test]
    fn a_stranger_learns_nothing() {
        // What can be found out before the signature is proven.
        for reason in [
            Reason::TokenTooLong,
            Reason::AccessKeyShaped,
            Reason::UnknownIssuer,
            Reason::UnknownKey,
            Reason::BadSignature,
            Reason::OwnClient,
            Reason::UnregisteredClient,
        ] {
            assert_eq!(reason.code(), Code::InvalidToken, "{reason}");
        }
        assert_eq!(Reason::Expired.code(), Code::TokenExpired);
        assert_eq!(Reason::UnknownClient.code(), Code::UnknownClient);
    }

    #[test]
    fn a_refusal_shows_its_reason() {
        let refusal = Refusal::from(Reason::BadSignature);
        assert_eq!(refusal.to_string(), "bad_signature");
        assert_eq!(refusal.code(), Code::InvalidToken);
        assert!(refusal.caller.is_none());
        assert_eq!(
            serde_json::to_string(&Reason::Expired).unwrap(),
            r#""expired""#
        );
    }
}
