//! What can go wrong with the database, by who must act.

/// The directory could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, is busy for too long, or its disk is full: try again.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Somebody has it already; the text says what.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// The text says what is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The database, or a file of it, is not what it should be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// A statement failed: ours to mend.
    #[error("a statement failed: {0}")]
    Database(#[source] sqlx::Error),
}
