//! What would have to change for a request not to be refused for a reason again, and which setting
//! decides. The texts are those of docs/refusals.md, which says more; a test holds them together.

use vestibule::error::Reason;

/// What is said of a reason.
pub(super) struct Remedy {
    /// The setting that decides; none where no setting does.
    pub(super) setting: Option<&'static str>,
    /// Who has to do what.
    pub(super) text: &'static str,
}

/// What is said of this one; none of a reason that is younger than this list, which a test would not
/// let through.
pub(super) fn of(reason: Reason) -> Option<&'static Remedy> {
    let found = REMEDIES.iter().find(|(of, _)| *of == reason);
    found.map(|(_, remedy)| remedy)
}

const fn remedy(setting: Option<&'static str>, text: &'static str) -> Remedy {
    Remedy { setting, text }
}

static REMEDIES: &[(Reason, Remedy)] = &[
    (
        Reason::MissingToken,
        remedy(
            None,
            "Caller: send Authorization: Bearer <token>. Operator: if all callers meet \
             it, a proxy in front takes the header away.",
        ),
    ),
    (
        Reason::MalformedAuthorization,
        remedy(
            None,
            "Caller: send one header, Bearer, a space, the token. Operator: see whether a \
             proxy adds a header of its own.",
        ),
    ),
    (
        Reason::TwoCredentials,
        remedy(
            Some("VESTIBULE_ACCEPT_ASSERTIONS"),
            "Operator: let the proxy take Authorization away; \
             VESTIBULE_ACCEPT_ASSERTIONS.",
        ),
    ),
    (
        Reason::MalformedAssertion,
        remedy(
            None,
            "Operator: let the proxy replace the client's copy by what /v1/authorize \
             answered.",
        ),
    ),
    (
        Reason::TokenTooLong,
        remedy(None, "Caller: ask for fewer claims or scopes."),
    ),
    (
        Reason::NotThreeParts,
        remedy(
            None,
            "Caller: send the whole access token, and nothing else.",
        ),
    ),
    (
        Reason::BadBase64,
        remedy(
            None,
            "Caller: send the token as it came: something has cut or re-encoded it.",
        ),
    ),
    (Reason::BadJson, remedy(None, "Caller: as above.")),
    (
        Reason::DuplicateMember,
        remedy(None, "Caller: correct what signs the token."),
    ),
    (
        Reason::AccessKeyShaped,
        remedy(
            None,
            "Operator: withdraw that key at Authress: it has left its owner. Caller: sign \
             a token with the new one.",
        ),
    ),
    (
        Reason::UnsupportedAlgorithm,
        remedy(None, "Caller: have Authress or its SDK sign the token."),
    ),
    (
        Reason::CriticalHeader,
        remedy(None, "Caller: sign without it."),
    ),
    (
        Reason::EmbeddedKey,
        remedy(None, "Caller: sign without it."),
    ),
    (
        Reason::BadKeyId,
        remedy(None, "Caller: name the key as Authress does."),
    ),
    (
        Reason::WrongType,
        remedy(None, "Caller: send the access token."),
    ),
    (
        Reason::MissingIssuer,
        remedy(None, "Caller: send a token of Authress."),
    ),
    (
        Reason::UnknownIssuer,
        remedy(
            Some("AUTHRESS_ISSUERS"),
            "Operator: put it into AUTHRESS_ISSUERS if it is yours, exactly as the token \
             has it. A machine's is {origin of AUTHRESS_API_URL}/v1/clients/{client id}, \
             with an authress.io host also https://{account \
             id}.api.authress.io/v1/clients/{client id}.",
        ),
    ),
    (
        Reason::UnknownKey,
        remedy(
            Some("JWKS_REFRESH"),
            "Caller: get a new token; a machine: use a key that its client has at \
             Authress. Operator: vestibule doctor, keys. For an assertion: server and \
             application need the same AUTHRESS_ACCESS_KEY.",
        ),
    ),
    (
        Reason::BadSignature,
        remedy(
            None,
            "Caller: send the token unchanged. Operator: many of them are forgeries: \
             TOKEN_REFUSAL_LIMIT.",
        ),
    ),
    (
        Reason::MissingClaim,
        remedy(None, "Caller: correct what signs the token."),
    ),
    (
        Reason::BadClaim,
        remedy(None, "Caller: correct what signs the token."),
    ),
    (
        Reason::WrongAudience,
        remedy(
            Some("API_AUDIENCES"),
            "Caller: ask for a token of this API. Operator: vestibule config check shows \
             the three.",
        ),
    ),
    (
        Reason::SubjectMismatch,
        remedy(
            None,
            "Caller: correct what signs the token; software signs as its own client.",
        ),
    ),
    (
        Reason::ClientIdMismatch,
        remedy(None, "Caller: leave client_id out, or name the own one."),
    ),
    (
        Reason::NotAnApplication,
        remedy(
            Some("AUTHRESS_APPLICATIONS"),
            "Operator: add the application there if it may send its users here.",
        ),
    ),
    (
        Reason::ClientIssuedUser,
        remedy(
            Some("AUTHRESS_ALLOW_CLIENT_ISSUED_USERS"),
            "Operator: AUTHRESS_ALLOW_CLIENT_ISSUED_USERS=true if it may speak for users.",
        ),
    ),
    (
        Reason::OwnClient,
        remedy(
            Some("AUTHRESS_ACCESS_KEY"),
            "Caller: use a service client of your own. Operator: register it with \
             vestibule client add.",
        ),
    ),
    (
        Reason::UnregisteredClient,
        remedy(
            None,
            "Operator: vestibule client add --client-id sc_robot01 --account <id> --name \
             \"CI robot\".",
        ),
    ),
    (
        Reason::NotYetValid,
        remedy(Some("TOKEN_LEEWAY"), "Caller, operator: set the clocks."),
    ),
    (
        Reason::LifetimeTooLong,
        remedy(
            Some("TOKEN_MAX_LIFETIME"),
            "Caller: sign tokens that end sooner. Operator: raise TOKEN_MAX_LIFETIME.",
        ),
    ),
    (
        Reason::Expired,
        remedy(
            Some("TOKEN_LEEWAY"),
            "Caller: get a new token. Operator: if fresh tokens meet it, set the server's \
             clock.",
        ),
    ),
    (
        Reason::Revoked,
        remedy(
            None,
            "Caller: sign in again; a machine: use another key. Operator: vestibule \
             revoke --list shows what is cut off.",
        ),
    ),
    (
        Reason::ProviderUnavailable,
        remedy(
            Some("JWKS_MAX_AGE"),
            "Caller: try again in a few seconds; the token may be good. Operator: \
             vestibule doctor; log lines a call to the provider failed have \
             provider.endpoint, error and cause; vestibule_provider_requests_total has \
             endpoint and outcome. Check AUTHRESS_API_URL, AUTHRESS_ACCESS_KEY, \
             PROVIDER_PROXY, SSL_CERT_FILE and the network.",
        ),
    ),
    (
        Reason::UnknownUser,
        remedy(
            None,
            "Caller: sign in again. Operator: see whether the user is there at Authress; \
             for assertions: server and application need the same database.",
        ),
    ),
    (
        Reason::ProvisioningOff,
        remedy(
            Some("USER_PROVISIONING"),
            "Operator: USER_PROVISIONING=connection or tenant lets people in on their \
             first visit.",
        ),
    ),
    (
        Reason::NoTenant,
        remedy(
            Some("AUTHRESS_TENANT_CLAIM"),
            "Caller: sign in to a tenant. Operator: correct AUTHRESS_TENANT_CLAIM or \
             API_AUDIENCES; AUTHRESS_REQUIRE_TENANT=false lets known users in without.",
        ),
    ),
    (
        Reason::SeveralTenants,
        remedy(
            Some("API_AUDIENCES"),
            "Caller: sign in to one tenant. Operator: put values that are APIs into \
             API_AUDIENCES.",
        ),
    ),
    (
        Reason::UnknownTenant,
        remedy(
            Some("AUTHRESS_TENANT_CLAIM"),
            "Operator: make the tenant at Authress, or correct AUTHRESS_TENANT_CLAIM.",
        ),
    ),
    (
        Reason::ConnectionMismatch,
        remedy(
            Some("USER_PROVISIONING"),
            "Caller: sign in through the tenant's own connection. Operator: correct the \
             tenant's connection at Authress; USER_PROVISIONING=tenant asks for none.",
        ),
    ),
    (
        Reason::UnknownAccount,
        remedy(
            None,
            "Operator: vestibule account create --name Acme --tenant tenant_acme; \
             vestibule account list shows those that there are.",
        ),
    ),
    (
        Reason::UnknownClient,
        remedy(
            None,
            "Operator: vestibule client list; vestibule client add registers it again.",
        ),
    ),
    (
        Reason::TenantMismatch,
        remedy(
            None,
            "Caller: sign in to the own tenant. Operator: vestibule user show <id> has \
             the user's account, vestibule account show <id> its tenant. Has he changed \
             accounts, then vestibule user remove <id>, and his next visit makes him a \
             user of the other.",
        ),
    ),
    (
        Reason::UserSuspended,
        remedy(None, "Operator: vestibule user resume <id>."),
    ),
    (
        Reason::AccountSuspended,
        remedy(None, "Operator: vestibule account resume <id>."),
    ),
    (
        Reason::ClientSuspended,
        remedy(None, "Operator: vestibule client resume sc_robot01."),
    ),
    (
        Reason::InsufficientRole,
        remedy(
            None,
            "Operator: vestibule user set-role <id> admin; vestibule config check POST \
             https://api.acme.example/orders says what the rule demands.",
        ),
    ),
    (
        Reason::InsufficientScope,
        remedy(
            None,
            "Caller: ask for a token with the scope. Operator: for a machine vestibule \
             client remove, then vestibule client add … --scope orders:write.",
        ),
    ),
    (
        Reason::NoRule,
        remedy(
            Some("VESTIBULE_TRUSTED_PROXIES"),
            "Operator: vestibule config check POST https://api.acme.example/orders; add a \
             rule. If the log has there are rules, but the proxy does not say what was \
             asked for, set VESTIBULE_TRUSTED_PROXIES.",
        ),
    ),
    (
        Reason::PermissionLacking,
        remedy(
            None,
            "Operator: grant it at Authress; it works here within ten seconds.",
        ),
    ),
    (
        Reason::SourceOverLimit,
        remedy(
            Some("TOKEN_REFUSAL_LIMIT"),
            "Caller: stop sending the bad token; after 20 s at most new ones are looked \
             at. Operator: behind a proxy set VESTIBULE_TRUSTED_PROXIES, or all callers \
             count as one; raise TOKEN_REFUSAL_LIMIT.",
        ),
    ),
    (
        Reason::VerifierBusy,
        remedy(
            None,
            "Caller: try again. Operator: set TOKEN_REFUSAL_LIMIT against floods of bad \
             tokens; for good ones raise TOKEN_CACHE_SIZE and TOKEN_CACHE_TTL, have \
             callers use a token more than once, or add processors or servers.",
        ),
    ),
    (
        Reason::StorageUnavailable,
        remedy(
            Some("DATABASE_TIMEOUT"),
            "Caller: try again. Operator: /readyz and vestibule doctor say whether the \
             database answers; look at the database.",
        ),
    ),
    (
        Reason::Internal,
        remedy(
            None,
            "Operator: report it, with the log lines around the request_id.",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of a table, without its marks.
    fn documented(reason: Reason) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/refusals.md");
        let page = std::fs::read_to_string(path).unwrap();
        let row = format!("| `{reason}` | ");
        let line = page.lines().find(|line| line.starts_with(&row));
        let line = line.unwrap_or_else(|| panic!("{reason}"));
        let fix = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        fix.replace("**", "").replace('`', "")
    }

    #[test]
    fn every_reason_has_the_remedy_of_its_page() {
        for reason in Reason::ALL {
            let remedy = of(*reason).unwrap_or_else(|| panic!("{reason}"));
            assert_eq!(remedy.text, documented(*reason), "{reason}");
            let known = |name| {
                vestibule::settings::SETTINGS
                    .iter()
                    .any(|it| it.name == name)
            };
            assert!(remedy.setting.is_none_or(known), "{reason}");
        }
    }
}
