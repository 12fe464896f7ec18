//! A local Authress for tests and first steps: users, tenants, service clients and their keys,
//! tokens good and bad, outages at will, and a count of what was asked.
//!
//! It is a stand-in for the provider, seen from outside over HTTP. It shares no code with the
//! `vestibule` library, so a mistake there is not repeated here, and it is never linked into the
//! server. It listens on the loopback interface only.
//!
//! # A test
//!
//! ```
//! use vestibule_sandbox::{Client, Endpoint, Fault, Sandbox, Tenant, User};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::builder().start().await?;
//! sandbox.add_tenant(Tenant::new("tenant_acme").name("Acme").connection("con_acme"));
//! sandbox.add_user(User::new("user_ada").name("Ada").tenant("tenant_acme"));
//! sandbox.add_client(Client::new("sc_robot01").name("Robot"));
//!
//! // What the server under test needs: AUTHRESS_API_URL, AUTHRESS_ACCESS_KEY.
//! for (name, value) in sandbox.environment() { /* command.env(name, value); */ }
//!
//! // Tokens that are accepted, and one that must not be.
//! let ada = sandbox.user_token("user_ada").mint();
//! let robot = sandbox.client_token("sc_robot01").mint();
//! let elsewhere = sandbox.user_token("user_ada").issuer("https://elsewhere.example").mint();
//!
//! // An outage of the keys, and its end.
//! sandbox.fail(Endpoint::Jwks, Fault::Status(503));
//! sandbox.heal();
//!
//! // How often the server asked.
//! assert_eq!(sandbox.calls(Endpoint::User), 0);
//! # Ok(())
//! # }
//! ```
//!
//! The sandbox runs on the Tokio runtime that started it and stops with its last clone. In a
//! test on a single-threaded runtime, ask it with asynchronous clients: one that blocks the
//! thread waits for an answer that cannot be written.
//!
//! - **Break one thing.** [`TokenBuilder`] starts from a token that is right in everything; each
//!   method changes one member. [`Sandbox::login_code`], [`Sandbox::id_token`] and
//!   [`Sandbox::oauth_token`] give the kinds that are no access tokens, or doubtful ones.
//! - **Keys.** The account has a set, and so has each service client. Rotate, withdraw, publish
//!   unusable ones, or sign with [`SigningKey::stranger`].
//! - **Faults.** [`Fault`] lists them, [`Target`] says whom they befall. [`Fault::Hang`] with
//!   [`Sandbox::wait_for_calls`] holds callers at one point without any sleeping.
//! - **Time.** [`SandboxBuilder::clock`] shares a manual clock with what is tested.
//! - **Restarts.** With [`SandboxBuilder::seed`] or [`SandboxBuilder::keep_in`] on the same port,
//!   access keys and tokens stay good.
//! - **No secrets.** Keys are throw-away ones, and an access key's text is kept outside the
//!   published form that secret scanners look for.
//!
//! # What it answers
//!
//! | request | |
//! | --- | --- |
//! | `GET /.well-known/openid-configuration/jwks` | keys of user tokens; public |
//! | `GET /v1/clients/{id}/.well-known/openid-configuration/jwks` | keys of one client; 404 for an unknown one; public |
//! | `GET /.well-known/openid-configuration` | discovery; public |
//! | `GET`, `DELETE /v1/users/{id}` · `GET /v1/users` | `limit` (100), `cursor`, `filter`, `tenantId` |
//! | `GET /v1/users/{id}/resources/{uri}/permissions/{permission}` | 200 without a body, or 404 |
//! | `GET`, `PUT`, `DELETE /v1/tenants/{id}` · `GET`, `POST /v1/tenants` · `PATCH /v1/tenants/{id}/users` | |
//! | `GET`, `DELETE /v1/clients/{id}` · `GET /v1/clients` | `limit` (20), `cursor` |
//! | `POST /v1/clients/{id}/access-keys` · `DELETE …/access-keys/{kid}` | at most five keys |
//! | `POST /api/authentication/oauth/tokens` | `client_credentials`, as JSON or a form |
//!
//! Callers send a token of their own: a service client with [`Client::api_access`] may everything,
//! one with [`Client::grant_user_permissions_access`] may check permissions, a user may see
//! himself. Anything else is 401 or 403 with the provider's body `{title, errorCode, errorId}`.
//! Path segments are percent-decoded exactly once.
//!
//! # Control over HTTP
//!
//! For the binary `sandbox` and for other languages. Loopback names only, and no web page: a
//! request with an `Origin` is refused. Bodies are JSON; 204 means done.
//!
//! | request | |
//! | --- | --- |
//! | `GET /_sandbox` | this list as text |
//! | `GET /_sandbox/environment` | what a server needs |
//! | `GET /_sandbox/tokens/{id}` | a token of a user or client as bare text: `"Bearer $(curl -s …)"` |
//! | `POST /_sandbox/tokens` | `user` or `client`, and optionally `kind` (`access`, `oauth`, `login_code`, `id_token`), `tenant`, `at`, `expiresIn`, `header` and `claims` (members to set; null leaves one out), `rawHeader`, `rawClaims`, `signWith` (`account`, `stranger`, a client id), `tamperSignature`, `unsigned`; answers `{"token"}` |
//! | `POST /_sandbox/users`, `DELETE …/users/{id}` | `userId`, `name`, `email`, `picture`, `tenantId`, `members` |
//! | `POST /_sandbox/tenants`, `DELETE …/tenants/{id}` | `tenantId`, `name`, `connectionId`, `tenantLookupIdentifier`, `domains`, `members` |
//! | `POST /_sandbox/clients`, `DELETE …/clients/{id}` | `clientId`, `name`, `grantTokenGeneration`, `grantUserPermissionsAccess`, `apiAccess`, `tags`, `members` |
//! | `POST`, `DELETE /_sandbox/permissions` | `userId`, `resourceUri`, `permission` |
//! | `POST /_sandbox/keys/rotate` | `clientId` (else the account's), `dropOld`; answers `{"kid"}` |
//! | `DELETE /_sandbox/keys/{kid}?clientId=` | |
//! | `POST /_sandbox/faults`, `DELETE …` | `endpoint` or `path` or neither (all), `fault` (see [`Fault`]), `times`; `DELETE` heals all |
//! | `GET`, `DELETE /_sandbox/calls` | counters by endpoint and the latest calls |
//! | `GET`, `POST`, `DELETE /_sandbox/now` | stops the time at `seconds`; `DELETE` lets it run |

mod api;
mod calls;
mod clock;
mod control;
mod demo;
mod faults;
mod handle;
mod kept;
mod keys;
mod listener;
mod records;
mod sandbox;
mod tls;
mod token;
mod tokens;
mod world;

pub use calls::{Call, Endpoint};
pub use demo::{DEMO_WORLD, DemoClient, DemoTenant, DemoUser};
pub use faults::{Fault, Target};
pub use keys::SigningKey;
pub use records::{Client, Tenant, User};
pub use sandbox::{Sandbox, SandboxBuilder, StartError};
pub use token::TokenBuilder;
pub use world::Unknown;
