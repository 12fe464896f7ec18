//! The names of all settings: the reference that the settings file and the docs are held against.

/// A setting's name, its default as people read it, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// In the environment; in the file the same in lower case.
    pub name: &'static str,
    /// As text; `required` where there is none.
    pub default: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// Whether its value is a secret, which may also come as `NAME_FILE`.
    pub secret: bool,
}

const fn open(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting {
        name,
        default,
        meaning,
        secret: false,
    }
}

const fn secret(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting {
        name,
        default,
        meaning,
        secret: true,
    }
}

/// Every setting of the library and the server, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    open(
        "AUTHRESS_API_URL",
        "required",
        "Authress: your custom domain or API host",
    ),
    secret(
        "AUTHRESS_ACCESS_KEY",
        "required",
        "service-client access key used to call Authress",
    ),
    open(
        "AUTHRESS_ISSUERS",
        "origin of the API URL",
        "accepted issuers of user tokens, comma-separated",
    ),
    open(
        "AUTHRESS_MACHINE_AUDIENCE",
        "{account id}.accounts.authress.io",
        "required `aud` of machine tokens",
    ),
    open(
        "AUTHRESS_TENANT_CLAIM",
        "aud",
        "claim that names the tenant",
    ),
    open(
        "API_AUDIENCES",
        "empty",
        "values of `aud` that are APIs, not tenants; when set, user tokens must carry one",
    ),
    open(
        "AUTHRESS_APPLICATIONS",
        "empty",
        "accepted `client_id`s of user tokens; when set, one must match",
    ),
    open(
        "AUTHRESS_REQUIRE_TENANT",
        "true",
        "known users' tokens must name their tenant",
    ),
    open(
        "AUTHRESS_ALLOW_CLIENT_ISSUED_USERS",
        "false",
        "accept user tokens that a service client obtained",
    ),
    open(
        "USER_PROVISIONING",
        "connection",
        "who becomes a user on a first visit: connection, tenant or off",
    ),
    secret("DATABASE_URL", "sqlite:vestibule.db", "the main database"),
    secret(
        "DATABASE_ADMIN_URL",
        "DATABASE_URL",
        "PostgreSQL: the owner's login, for commands that make and change tables",
    ),
    secret(
        "VESTIBULE_BINDING_KEY",
        "required on PostgreSQL in row and schema",
        "32 random bytes in base64, which bind a transaction to its account; two, separated by a \
         comma, during a change",
    ),
    open(
        "TENANCY",
        "database on SQLite, row on PostgreSQL",
        "how accounts are kept apart: database, schema or row",
    ),
    open(
        "TENANT_DATABASE_DIR",
        "tenants/ beside the main file",
        "SQLite: where each account's file lies",
    ),
    secret(
        "VESTIBULE_CLUSTERS",
        "empty",
        "PostgreSQL: further clusters, as eu=postgres://…;us=postgres://…",
    ),
    secret(
        "VESTIBULE_ADMIN_CLUSTERS",
        "empty",
        "PostgreSQL: the owners' logins of further clusters, in the same form",
    ),
    open(
        "DATABASE_POOL_SIZE",
        "10",
        "connections in all; on PostgreSQL at least 3",
    ),
    open(
        "DATABASE_TIMEOUT",
        "5",
        "longest wait for a connection or a statement, in seconds",
    ),
    open(
        "ACTIVITY_KEEP",
        "10000",
        "entries of activity that each account keeps, the newest; 0: none are written",
    ),
    open(
        "ACTIVITY_MAX_AGE",
        "0",
        "age past which an entry of activity is neither shown nor kept, in seconds; 0: any age",
    ),
    open(
        "PRINCIPAL_MAX_STALE",
        "60",
        "how long remembered callers are believed while changes cannot be read, in seconds",
    ),
    open("TOKEN_CACHE_SIZE", "10000", "verified tokens kept"),
    open(
        "TOKEN_CACHE_TTL",
        "300",
        "longest time between verifications of one token, in seconds",
    ),
    open("TOKEN_LEEWAY", "30", "clock difference allowed, in seconds"),
    open(
        "TOKEN_MAX_LIFETIME",
        "86400",
        "largest `exp` − `iat`, in seconds; the leeway is added",
    ),
    open(
        "TOKEN_REFUSAL_LIMIT",
        "0: no limit",
        "refused tokens per second and source address (IPv6: /64); past it, and ten seconds' worth \
         at once, new tokens from there are answered 429",
    ),
    open(
        "USER_CACHE_TTL",
        "60",
        "age in seconds at which a fetched user is fetched again",
    ),
    open(
        "USER_CACHE_MAX_AGE",
        "3600",
        "age in seconds past which a fetched user may not be used while Authress is down",
    ),
    open(
        "JWKS_REFRESH",
        "300",
        "age in seconds at which keys are fetched again",
    ),
    open(
        "JWKS_MAX_AGE",
        "3600",
        "age in seconds past which keys may not be used while Authress is down",
    ),
    open(
        "PROVIDER_TIMEOUT",
        "5",
        "one call to Authress, in all, in seconds",
    ),
    open(
        "PROVIDER_OUTAGE_STATUS",
        "401",
        "401 or 503: the answer when Authress is needed and cannot be asked",
    ),
    secret("PROVIDER_PROXY", "none", "proxy for calls to Authress"),
    open("VESTIBULE_LISTEN", "127.0.0.1:8080", "public API"),
    open(
        "VESTIBULE_TRUSTED_PROXIES",
        "empty",
        "networks whose `X-Forwarded-…` headers are believed, comma-separated",
    ),
    open(
        "VESTIBULE_DECISION_MAX_AGE",
        "0: not at all",
        "how many seconds, at most 5, a proxy may remember that a request may go on; a suspension \
         takes so much longer there",
    ),
    open(
        "VESTIBULE_GRPC_LISTEN",
        "none",
        "Envoy's ext_authz over gRPC",
    ),
    open(
        "VESTIBULE_ASSERTION_AUDIENCES",
        "empty",
        "applications that X-Vestibule-Assertion is signed for, comma-separated; empty: no assertions",
    ),
    open(
        "VESTIBULE_ASSERTION_ISSUER",
        "vestibule",
        "`iss` of assertions",
    ),
    open(
        "VESTIBULE_ACCEPT_ASSERTIONS",
        "empty",
        "an application with the library, behind a proxy: the audience under which it accepts \
         X-Vestibule-Assertion in place of a bearer token; empty: the header is not looked at",
    ),
    open(
        "VESTIBULE_ADMIN_LISTEN",
        "127.0.0.1:9090",
        "metrics, admin API, console",
    ),
    open(
        "VESTIBULE_ADMIN_HOSTS",
        "empty",
        "further Host names that the admin listener answers to",
    ),
    secret(
        "VESTIBULE_ADMIN_TOKEN",
        "none",
        "bearer token of the admin API and the console, for everything; none: both are off",
    ),
    open(
        "VESTIBULE_DRAIN",
        "0",
        "how many seconds, at most 300, the server goes on after it was told to stop, with /readyz 503, \
         so that a balancer sends nobody any more",
    ),
    open(
        "VESTIBULE_ACCESS_LOG",
        "refusals",
        "one line per request: refusals, all, or a share such as 0.01",
    ),
    open("VESTIBULE_LOG", "info", "log filter"),
    open(
        "VESTIBULE_LOG_FORMAT",
        "text on a terminal, else json",
        "text or json",
    ),
    open(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "none: no traces",
        "collector of OpenTelemetry that traces are exported to, by OTLP over HTTP; /v1/traces is added",
    ),
    open(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces",
        "the same for traces alone, taken as it is",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "none",
        "headers that the collector asks for, as api-key=…,x-tenant=acme",
    ),
    open(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "the one that is spoken; for a platform that sets another for everybody",
    ),
    open(
        "OTEL_SERVICE_NAME",
        "vestibule",
        "name of this server in traces",
    ),
    open(
        "OTEL_RESOURCE_ATTRIBUTES",
        "empty",
        "what else traces say of this server, as deployment.environment.name=production,…",
    ),
    open(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "which traces are recorded: always_on, always_off, traceidratio, or as a trusted proxy has          decided and else as these say: parentbased_always_on, …",
    ),
    open(
        "OTEL_TRACES_SAMPLER_ARG",
        "1",
        "the share for traceidratio and parentbased_traceidratio, such as 0.01",
    ),
    open(
        "OTEL_SDK_DISABLED",
        "false",
        "true: no traces, and no other OTEL_ setting is looked at",
    ),
];

/// What only the file can have: lists of tables, in lower case, and what they mean.
pub const TABLES: &[(&str, &str)] = &[
    ("rules", "what `/v1/authorize` demands of whom"),
    (
        "admin_tokens",
        "further admin tokens, with a name, the SHA-256 and scopes ([admin.md](admin.md))",
    ),
];

/// Whether `name`, in upper case, is a setting or the file form of a secret.
pub(crate) fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting.name == name || (setting.secret && name.strip_suffix("_FILE") == Some(setting.name))
    })
}
