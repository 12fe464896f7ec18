//! The files of a sandbox: its seed and its certificate authority's certificate.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::sandbox::StartError;

pub(crate) const CA_FILE: &str = "ca.pem";
const SEED_FILE: &str = "seed";

/// A directory for the files: one that stays, or one that goes with the sandbox.
#[derive(Debug)]
pub(crate) enum Kept {
    Here(PathBuf),
    /// Made only when something is written: most test sandboxes write nothing.
    Nowhere(std::sync::OnceLock<TempDir>),
}

impl Kept {
    pub(crate) fn open(directory: Option<PathBuf>) -> Result<Self, StartError> {
        match directory {
            Some(path) => {
                fs::create_dir_all(&path).map_err(failed(&path))?;
                Ok(Self::Here(path))
            }
            None => Ok(Self::Nowhere(std::sync::OnceLock::new())),
        }
    }

    /// The kept seed, or a new one, which is kept where there is a place for it.
    pub(crate) fn seed(&self) -> Result<[u8; 32], StartError> {
        let Self::Here(directory) = self else {
            return random();
        };
        let path = directory.join(SEED_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => read_hex(text.trim()).ok_or(StartError::Seed { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = random()?;
                let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
                write_private(&path, &text).map_err(failed(&path))?;
                Ok(seed)
            }
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, StartError> {
        let directory = match self {
            Self::Here(directory) => directory.as_path(),
            Self::Nowhere(cell) => match cell.get() {
                Some(made) => made.path(),
                None => {
                    let made = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
                    cell.get_or_init(|| made).path()
                }
            },
        };
        let path = directory.join(name);
        // Readable by its owner alone, like everything that a sandbox writes.
        let _ = fs::remove_file(&path);
        write_private(&path, text).map_err(failed(&path))?;
        Ok(std::path::absolute(&path).unwrap_or(path))
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn random() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(bytes)
}

fn read_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::File {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_seed_is_found_again_and_a_broken_one_is_named() {
        let place = tempfile::tempdir().unwrap();
        let open = || Kept::open(Some(place.path().join("deeper/still"))).unwrap();
        let first = open().seed().unwrap();
        assert_eq!(open().seed().unwrap(), first);
        let path = place.path().join("deeper/still/seed");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        }
        fs::write(&path, "short").unwrap();
        assert!(matches!(open().seed(), Err(StartError::Seed { .. })));
    }

    #[test]
    fn without_a_place_every_seed_is_new() {
        let nowhere = Kept::open(None).unwrap();
        assert_ne!(nowhere.seed().unwrap(), nowhere.seed().unwrap());
    }
}
