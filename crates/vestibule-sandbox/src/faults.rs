//! Ways for a provider to fail, and the book of those that are in force.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

use crate::calls::Endpoint;

/// What goes wrong with an answer.
///
/// Over HTTP a fault is written in snake case: `"hang"`, `{"status": 503}`, `{"delay_ms": 200}`,
/// `{"redirect": "https://elsewhere.example/"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// This status, with the error body that belongs to it.
    Status(u16),
    /// No answer until the fault is healed, and then the true one.
    ///
    /// This is also how a test holds callers together at one point: hang, start them all,
    /// [`wait_for_calls`](crate::Sandbox::wait_for_calls), count, heal.
    Hang,
    /// The true answer, this much later.
    #[serde(rename = "delay_ms", deserialize_with = "millis")]
    Delay(Duration),
    /// The connection is closed without an answer.
    Reset,
    /// The true answer's head with its true length, half of its body, then the end of the
    /// connection.
    Truncated,
    /// The true answer with 8 MiB of spaces behind it: valid JSON, for whoever reads it all.
    Oversized,
    /// The true answer byte by byte, with this pause before each.
    #[serde(rename = "trickle_ms", deserialize_with = "millis")]
    Trickle(Duration),
    /// 200 and a page for people, as a captive portal or a misled load balancer sends it.
    Html,
    /// 200, `application/json`, and text that is no JSON.
    NotJson,
    /// 302 to this address.
    Redirect(String),
    /// 200 and `{"keys":[]}`.
    EmptyKeys,
    /// 200 and this text as `application/json`.
    Body(String),
    /// The true answer about somebody else: another `userId`, `tenantId`, `clientId`, and in a key
    /// set another `kid` for each key.
    WrongId,
    /// The true answer with this header (name, value) added.
    Header(String, String),
}

/// Which calls a fault befalls. The narrowest in force wins: path, then endpoint, then all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every call but those under `/_sandbox`.
    All,
    /// The calls of one kind.
    Endpoint(Endpoint),
    /// The calls to one path, written as it is sent: percent-encoded, without the query.
    Path(String),
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Vec<Rule>>,
}

/// A fault about to happen to one call.
#[derive(Debug)]
pub(crate) struct Mishap {
    pub(crate) fault: Fault,
    /// Cancelled when the fault is healed or replaced.
    pub(crate) healed: CancellationToken,
}

#[derive(Debug)]
struct Rule {
    target: Target,
    fault: Fault,
    /// Calls still to befall; `None` means all. A rule that is used up stays until it is healed,
    /// because calls may be hanging on it.
    left: Option<u64>,
    healed: CancellationToken,
}

impl Target {
    /// The calls to one path, written as it is sent: percent-encoded, without the query.
    pub fn path(path: impl Into<String>) -> Self {
        Self::Path(path.into())
    }

    fn covers(&self, endpoint: Endpoint, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Endpoint(kind) => *kind == endpoint,
            Self::Path(wanted) => wanted == path,
        }
    }

    fn narrowness(&self) -> u8 {
        match self {
            Self::All => 0,
            Self::Endpoint(_) => 1,
            Self::Path(_) => 2,
        }
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Self::Endpoint(endpoint)
    }
}

impl Faults {
    /// Puts a fault in force, in place of the one on the same target.
    pub(crate) fn set(&self, target: Target, fault: Fault, times: Option<u64>) {
        self.heal(&target);
        self.lock().push(Rule {
            target,
            fault,
            left: times,
            healed: CancellationToken::new(),
        });
    }

    /// Ends the fault on this very target.
    pub(crate) fn heal(&self, target: &Target) {
        self.end(|rule| rule.target == *target);
    }

    pub(crate) fn heal_all(&self) {
        self.end(|_| true);
    }

    /// The fault that befalls this call, if any.
    pub(crate) fn befall(&self, endpoint: Endpoint, path: &str) -> Option<Mishap> {
        let mut rules = self.lock();
        let rule = rules
            .iter_mut()
            .filter(|rule| rule.left != Some(0) && rule.target.covers(endpoint, path))
            .max_by_key(|rule| rule.target.narrowness())?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(Mishap {
            fault: rule.fault.clone(),
            healed: rule.healed.clone(),
        })
    }

    fn end(&self, ends: impl Fn(&Rule) -> bool) {
        self.lock().retain(|rule| {
            let ending = ends(rule);
            if ending {
                rule.healed.cancel();
            }
            !ending
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(mishap: Option<Mishap>) -> Option<Fault> {
        mishap.map(|mishap| mishap.fault)
    }

    #[test]
    fn the_narrowest_fault_wins_and_the_last_on_a_target_replaces() {
        let faults = Faults::default();
        faults.set(Target::All, Fault::Reset, None);
        faults.set(Endpoint::User.into(), Fault::Html, None);
        faults.set(Target::path("/v1/users/user_ada"), Fault::NotJson, None);
        let at = |path| kind(faults.befall(Endpoint::User, path));
        assert_eq!(at("/v1/users/user_ada"), Some(Fault::NotJson));
        assert_eq!(at("/v1/users/user_alan"), Some(Fault::Html));
        assert_eq!(kind(faults.befall(Endpoint::Jwks, "/")), Some(Fault::Reset));
        faults.set(Endpoint::User.into(), Fault::Status(503), None);
        assert_eq!(at("/v1/users/user_alan"), Some(Fault::Status(503)));
        faults.heal(&Endpoint::User.into());
        assert_eq!(at("/v1/users/user_alan"), Some(Fault::Reset));
        faults.heal_all();
        assert_eq!(at("/v1/users/user_ada"), None);
    }

    #[test]
    fn a_counted_fault_ends_by_itself_and_releases_on_heal() {
        let faults = Faults::default();
        faults.set(Endpoint::Jwks.into(), Fault::Hang, Some(1));
        let mishap = faults.befall(Endpoint::Jwks, "/").unwrap();
        assert!(faults.befall(Endpoint::Jwks, "/").is_none());
        assert!(!mishap.healed.is_cancelled());
        faults.heal_all();
        assert!(mishap.healed.is_cancelled());
    }

    #[test]
    fn faults_can_be_written_as_json() {
        for (text, fault) in [
            ("\"hang\"", Fault::Hang),
            ("{\"status\":503}", Fault::Status(503)),
            ("{\"delay_ms\":20}", Fault::Delay(Duration::from_millis(20))),
            (
                "{\"header\":[\"cache-control\",\"no-store\"]}",
                Fault::Header("cache-control".into(), "no-store".into()),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Fault>(text).unwrap(), fault);
        }
    }
}
