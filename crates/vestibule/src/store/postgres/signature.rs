//! Bindings and proofs: what a transaction shows so that the database knows whose it is.
//!
//! Both are HMAC-SHA-256 (RFC 2104) with a key that the server holds and that the database keeps
//! where the application's login cannot read. SQL that runs inside a session can make neither.
//! They are good for the minute that they name and for the next, by the database's clock.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use quick_cache::sync::Cache;
use sha2::Sha256;
use uuid::Uuid;

use crate::{
    settings::BindingKey,
    store::{Operation, Value},
};

/// The first line of what is signed: a binding is no proof, and the other way round.
const BINDING: &str = "vestibule binding";
const PROOF: &str = "vestibule proof";

/// SHA-256 works on blocks of 64 bytes.
const BLOCK: usize = 64;

/// Accounts whose binding of this minute is kept: some 150 bytes each.
const BINDINGS: usize = 4_096;

/// Makes bindings and proofs for one server.
pub(crate) struct Signer {
    /// Of the first of the keys, which signs; none in the tenancy `database` without a key.
    mac: Option<Hmac<Sha256>>,
    clock: DatabaseClock,
    /// By account: the minute, and the binding for it.
    bindings: Cache<Uuid, (i64, Arc<str>)>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new(keys: &[BindingKey]) -> Self {
        Self {
            mac: keys
                .first()
                // An HMAC takes keys of every length.
                .and_then(|key| Hmac::new_from_slice(key.expose()).ok()),
            clock: DatabaseClock::default(),
            bindings: Cache::new(BINDINGS),
        }
    }

    /// For one connection, whose server's clock it takes.
    pub(crate) async fn with_clock_of(
        keys: &[BindingKey],
        connection: &mut sqlx::PgConnection,
    ) -> Result<Self, sqlx::Error> {
        let signer = Self::new(keys);
        super::look(&signer, connection).await?;
        Ok(signer)
    }

    pub(crate) fn clock(&self) -> &DatabaseClock {
        &self.clock
    }

    /// The value of `vestibule.binding` for a transaction of `account`. An account's transactions
    /// of one minute have the same.
    pub(crate) fn binding(&self, account: Uuid) -> Arc<str> {
        let minute = self.clock.minute();
        if let Some((of, binding)) = self.bindings.get(&account)
            && of == minute
        {
            return binding;
        }
        let mut binding = format!("{}.{minute}", account.hyphenated());
        let signature = self.sign(&[BINDING, "\n", &binding]);
        binding.push('.');
        push_hex(&mut binding, &signature);
        let binding: Arc<str> = binding.into();
        self.bindings
            .insert(account, (minute, Arc::clone(&binding)));
        binding
    }

    /// Minute and proof for a call of the operation's function with these arguments.
    pub(crate) fn proof(&self, operation: &Operation, arguments: &[Value]) -> (i64, Vec<u8>) {
        let minute = self.clock.minute();
        let mut message = format!("{PROOF}\n{}\n{minute}\n", operation.name);
        for argument in arguments {
            match text_of(argument) {
                None => message.push('-'),
                // The length in front: no two lists of arguments give the same message.
                Some(text) => {
                    let _ = write!(message, "{}:{text}", text.len());
                }
            }
        }
        (minute, self.sign(&[&message]))
    }

    fn sign(&self, message: &[&str]) -> Vec<u8> {
        let Some(mut mac) = self.mac.clone() else {
            return Vec::new();
        };
        for part in message {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().to_vec()
    }
}

/// Digit by digit: `write!` takes longer than the signature, on the way of every transaction.
fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    text.reserve(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(DIGITS.get(usize::from(digit)));
        }
    }
}

/// The argument as the function writes it (`functions.rs`).
fn text_of(argument: &Value) -> Option<String> {
    match argument {
        Value::Bool(value) => value.map(|value| value.to_string()),
        Value::Integer(value) => value.map(|value| value.to_string()),
        Value::BigInt(value) => value.map(|value| value.to_string()),
        // No operation takes one: its text depends on a setting.
        Value::Double(_) => None,
        Value::Text(value) => value.clone(),
        Value::Uuid(value) => value.map(|value| value.hyphenated().to_string()),
        Value::Bytes(value) => value.as_ref().map(|bytes| {
            let mut text = String::with_capacity(bytes.len() * 2);
            push_hex(&mut text, bytes);
            text
        }),
    }
}

/// The key with the paddings of RFC 2104, so that PostgreSQL needs nothing but `sha256()`.
pub(super) fn padded(key: &BindingKey) -> ([u8; BLOCK], [u8; BLOCK]) {
    let (mut inner, mut outer) = ([0x36; BLOCK], [0x5c; BLOCK]);
    for ((inner, outer), byte) in inner.iter_mut().zip(&mut outer).zip(key.expose()) {
        *inner ^= byte;
        *outer ^= byte;
    }
    (inner, outer)
}

/// The database's clock, as far as we know it. Ours may differ, and only the database's counts.
#[derive(Debug)]
pub(crate) struct DatabaseClock {
    start: Instant,
    /// Milliseconds since 1970 at `start`, by the database's clock.
    at_start: AtomicI64,
    /// When the database was asked last, in milliseconds since `start`.
    asked: AtomicI64,
}

impl Default for DatabaseClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            at_start: AtomicI64::new(0),
            asked: AtomicI64::new(0),
        }
    }
}

impl DatabaseClock {
    /// So much earlier than it should be is what we take for the time: a minute that the database
    /// has not reached yet is refused, one that has just passed is not.
    const BEHIND: i64 = 2_000;

    /// The database said that it was `now` when it was asked.
    pub(super) fn set(&self, now: i64, asked: Instant) {
        let since = asked.saturating_duration_since(self.start).as_millis();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        self.at_start
            .store(now.saturating_sub(since), Ordering::Relaxed);
        self.asked.store(since, Ordering::Relaxed);
    }

    /// How long ago the database was asked.
    pub(crate) fn age(&self) -> Duration {
        let asked = u64::try_from(self.asked.load(Ordering::Relaxed)).unwrap_or(0);
        self.start
            .elapsed()
            .saturating_sub(Duration::from_millis(asked))
    }

    /// Milliseconds since 1970, by the database's clock.
    pub(crate) fn now(&self) -> i64 {
        let since = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.at_start.load(Ordering::Relaxed).saturating_add(since)
    }

    fn minute(&self) -> i64 {
        self.now().saturating_sub(Self::BEHIND).div_euclid(60_000)
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn key() -> BindingKey {
        std::array::from_fn(|index| u8::try_from(index * 7).unwrap()).into()
    }

    /// The way in which the database checks is the way in which we sign.
    #[test]
    fn the_padded_key_gives_the_same_signature() {
        let signer = Signer::new(&[key()]);
        let (inner, outer) = padded(&key());
        let message = b"some message";
        let hash = Sha256::new().chain_update(inner).chain_update(message);
        let hash = Sha256::new()
            .chain_update(outer)
            .chain_update(hash.finalize());
        assert_eq!(hash.finalize().to_vec(), signer.sign(&["some message"]));
    }

    #[test]
    fn a_minute_is_never_ahead_of_the_database() {
        let clock = DatabaseClock::default();
        clock.set(60_000 * 30_000_000 + 1_000, Instant::now());
        assert_eq!(clock.minute(), 29_999_999);
        clock.set(60_000 * 30_000_000 + 2_500, Instant::now());
        assert_eq!(clock.minute(), 30_000_000);
    }

    #[test]
    fn a_binding_is_its_accounts_and_its_minutes() {
        let signer = Signer::new(&[key()]);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let at = |minute: i64| signer.clock.set(60_000 * minute + 30_000, Instant::now());
        let mut seen = std::collections::HashSet::new();
        for minute in [29_999_999, 30_000_000, 29_999_998] {
            at(minute);
            for account in [one, other] {
                let binding = signer.binding(account);
                assert!(
                    binding.starts_with(&format!("{account}.{minute}.")),
                    "{binding}"
                );
                assert_eq!(signer.binding(account), binding);
                let fresh = Signer::new(&[key()]);
                fresh.clock.set(60_000 * minute + 30_000, Instant::now());
                assert_eq!(fresh.binding(account), binding);
                assert!(seen.insert(binding));
            }
        }
    }

    #[test]
    fn arguments_cannot_be_moved_about() {
        static OPERATION: Operation = Operation {
            name: "f",
            takes: &[],
            gives: &[],
            sql: "",
        };
        let signer = Signer::new(&[key()]);
        let proof = |arguments: &[Value]| signer.proof(&OPERATION, arguments).1;
        assert_eq!(
            proof(&["a".into(), "b".into()]),
            proof(&["a".into(), "b".into()])
        );
        let lists: [&[Value]; 6] = [
            &["ab".into(), "".into()],
            &["a".into(), "b".into()],
            &["a1:b".into()],
            &["".into(), "ab".into()],
            &[Value::Text(None), "ab".into()],
            &["-".into(), "ab".into()],
        ];
        for (index, one) in lists.iter().enumerate() {
            for other in &lists[..index] {
                assert_ne!(proof(one), proof(other), "{one:?} {other:?}");
            }
        }
    }
}
