//! What is special about SQLite: files, how they are opened, and what its errors mean.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use super::trouble::Trouble;

/// Readable and writable by the owner only. SQLite gives its `-wal` and `-shm` files the same
/// mode.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Options for an existing file, with everything off that reaches beyond it.
///
/// Journal mode is a property of the file ([`use_wal`]). `busy` bounds one wait for another
/// process's lock.
pub(crate) fn options(file: &Path, busy: Duration) -> SqliteConnectOptions {
    // Extension loading is off: this build never registers one, and SQLite refuses the SQL
    // function `load_extension` unless it was enabled by hand.
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(busy)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// An absolute path: SQLite would take a relative one that begins with `file:` for a URI.
pub(crate) fn absolute(file: &Path) -> io::Result<PathBuf> {
    std::path::absolute(file)
}

/// Creates the directory for its owner only, with those above it. An existing one stays.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)
}

/// Creates an empty file for its owner only; fails where there is one.
pub(crate) fn create_private(file: &Path) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(file)
        .map(drop)
}

/// Creates the file where it is missing, and takes it away from everybody but its owner.
pub(crate) fn ensure_private(file: &Path) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        create_private_dir(dir)?;
    }
    match create_private(file) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(file, fs::Permissions::from_mode(FILE_MODE))?;
    }
    Ok(())
}

/// The file itself and those that SQLite may have put beside it.
pub(crate) fn with_companions(file: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Makes what was done in the directory last: a created or removed name.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Puts the file into write-ahead mode, in which readers do not wait for a writer.
///
/// SQLite answers "busy" at once when two processes do this together, whatever the busy timeout:
/// hence the loop, up to `limit`.
pub(crate) async fn use_wal(
    connection: &mut sqlx::SqliteConnection,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    let give_up = tokio::time::Instant::now() + limit;
    loop {
        let done = sqlx::raw_sql("PRAGMA journal_mode = WAL")
            .execute(&mut *connection)
            .await;
        match done {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            done => return done.map(drop),
        }
    }
}

/// Opens a connection, patiently: while another process closes the last connection to the file,
/// SQLite may answer "busy" for a moment.
pub(crate) async fn connect(
    options: &SqliteConnectOptions,
    limit: Duration,
) -> Result<sqlx::SqliteConnection, sqlx::Error> {
    let give_up = tokio::time::Instant::now() + limit;
    loop {
        match options.connect().await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Another connection holds a lock.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    // SQLITE_BUSY, SQLITE_LOCKED.
    matches!(primary_code(error), Some(5 | 6))
}

/// What SQLite's result code, as text, means.
pub(super) fn trouble_of(code: &str) -> Trouble {
    match code.parse::<i32>().map(|code| code & 0xff) {
        // PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, AUTH
        Ok(3 | 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15 | 23) => Trouble::Passing,
        // CORRUPT, NOTADB
        Ok(11 | 26) => Trouble::NotADatabase,
        _ => Trouble::Statement,
    }
}

/// SQLite's result code without its extension.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::trouble::trouble;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b/main.db");
        ensure_private(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        assert!(create_private(&file).is_err());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        ensure_private(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[tokio::test]
    async fn a_missing_file_is_never_created() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("missing.db");
        let error = options(&file, Duration::ZERO).connect().await.unwrap_err();
        assert_eq!(trouble(&error), Trouble::Passing);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn sql_cannot_load_extensions() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("main.db");
        ensure_private(&file).unwrap();
        let mut connection = options(&file, Duration::ZERO).connect().await.unwrap();
        let error = sqlx::raw_sql("SELECT load_extension('x')")
            .execute(&mut connection)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("not authorized"), "{error}");
    }
}
