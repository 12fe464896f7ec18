//! The directory's records, in the contract's words.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use uuid::Uuid;

use crate::clock::Timestamp;

/// Whether somebody may come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// May come in.
    #[default]
    Active,
    /// Is refused until resumed.
    Suspended,
}

impl Status {
    /// `active` or `suspended`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A customer of the platform: the owner of one tenant data space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// UUIDv7.
    pub id: Uuid,
    /// The customer's name.
    pub name: String,
    /// The Authress tenant that this account is, one to one.
    pub authress_tenant_id: String,
    /// Whether its callers may come in.
    pub status: Status,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// UUIDv7.
    pub id: Uuid,
    /// The subject at the provider.
    pub authress_user_id: String,
    /// As the provider has it; never used to find anybody.
    pub email: Option<String>,
    /// As the provider has it.
    pub name: Option<String>,
    /// As the provider has it.
    pub picture: Option<String>,
    /// Local: `member` for new users.
    pub role: String,
    /// Local.
    pub status: Status,
    /// The account that the user belongs to.
    pub account_id: Uuid,
}

impl Serialize for User {
    /// The wire form of contract §4, which does not repeat the account.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut user = serializer.serialize_struct("User", 7)?;
        user.serialize_field("id", &self.id)?;
        user.serialize_field("authress_user_id", &self.authress_user_id)?;
        user.serialize_field("email", &self.email)?;
        user.serialize_field("name", &self.name)?;
        user.serialize_field("picture", &self.picture)?;
        user.serialize_field("role", &self.role)?;
        user.serialize_field("status", &self.status)?;
        user.end()
    }
}

/// A piece of software, which signs its own tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClient {
    /// UUIDv7.
    pub id: Uuid,
    /// The id at the provider; belongs to one account only.
    pub client_id: String,
    /// For people.
    pub name: String,
    /// What it may do here.
    pub scopes: Vec<String>,
    /// Whether it may come in.
    pub status: Status,
    /// The account that it belongs to.
    pub account_id: Uuid,
}

/// What the provider says of a person, in the directory's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// E-mail.
    pub email: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Picture.
    pub picture: Option<String>,
}

/// A person who comes for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The account whose tenant vouches for the person.
    pub account_id: Uuid,
    /// The provider.
    pub provider: String,
    /// The subject at the provider.
    pub subject: String,
    /// What the provider says of the person.
    pub profile: Profile,
}

/// The user that a first visit ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// New, or made by a parallel first visit.
    pub user: User,
    /// Whether this call made it.
    pub created: bool,
}

/// What a cut-off is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CutOffTarget {
    /// One token, by the first 16 bytes of its SHA-256.
    Token([u8; 16]),
    /// A user's tokens, by his local id.
    User(Uuid),
    /// The tokens of all callers of an account, by its id.
    Account(Uuid),
    /// What was signed with one key of a service client. Its holder writes any time of issue, so no
    /// time can be the limit.
    Key {
        /// The service client.
        client_id: String,
        /// Its key's name.
        kid: String,
    },
    /// The user tokens of one of the provider's names.
    Issuer(String),
}

/// Something counts no more: a token, a key, or what was issued before a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// What.
    pub target: CutOffTarget,
    /// Nothing that was issued earlier counts; a token's and a key's say only when it was made.
    pub issued_before: Timestamp,
    /// From when on nothing can match, where that is known: the end of a token.
    pub ends_at: Option<Timestamp>,
}

/// Something in the directory changed; what is remembered of it is worthless now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An account, and with it all of its callers.
    Account(Uuid),
    /// A user.
    User {
        /// The provider.
        provider: String,
        /// The subject at the provider.
        subject: String,
    },
    /// A service client, by its `client_id`.
    Client(String),
    /// Something was cut off.
    CutOff(CutOff),
    /// Too much to name, or changes may have been missed.
    Everything,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 1 to 200.
    pub limit: u16,
    /// `next_cursor` of the page before; none for the first page.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageOf<T> {
    /// The part.
    pub items: Vec<T>,
    /// Where the next part begins; none where this is the last.
    pub next_cursor: Option<String>,
}

/// What was kept of the provider's answers, opaque to the store: whoever reads it checks `proof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFact {
    /// The answer.
    pub body: Vec<u8>,
    /// When the provider gave it.
    pub fetched_at: Timestamp,
    /// Made and checked with a key that the database does not know.
    pub proof: Vec<u8>,
}
