//! 5. The directory: accounts, users, service clients and what belongs to them.
//!
//! One SQL text for every database; what differs is apart.

mod error;
mod records;

pub use self::error::StoreError;
pub use self::records::{
    Account, Change, KeptFact, NewUser, Page, PageOf, Profile, Provisioned, ServiceClient, Status,
    User,
};

mod directory;
pub use self::directory::Directory;
