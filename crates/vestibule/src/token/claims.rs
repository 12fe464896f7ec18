//! The claims (RFC 7519 §4), read into the forms that the rules in [`policy`](super::policy)
//! ask for. What a claim may say is decided there; here only what it can be.

use std::sync::Arc;

use super::json::{Json, Members, read_object};
use crate::{clock::Timestamp, error::Reason};

/// The last second of the year 9999, the last that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;
/// The most values of one list.
const MAX_VALUES: usize = 64;
/// The longest text value of a claim; URLs among the audiences are the longest that we know.
const MAX_VALUE_BYTES: usize = 512;

/// The claims of interest of one token.
#[derive(Debug)]
pub(super) struct Claims {
    iss: Option<Json>,
    sub: Option<Json>,
    aud: Option<Json>,
    exp: Option<Json>,
    nbf: Option<Json>,
    iat: Option<Json>,
    client_id: Option<Json>,
    azp: Option<Json>,
    scope: Option<Json>,
    tenant: Option<Json>,
    /// The name of the claim that names the tenant; kept in `tenant` if it has no place above.
    tenant_claim: Arc<str>,
}

impl Members for Claims {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Json>> {
        match name {
            "iss" => Some(&mut self.iss),
            "sub" => Some(&mut self.sub),
            "aud" => Some(&mut self.aud),
            "exp" => Some(&mut self.exp),
            "nbf" => Some(&mut self.nbf),
            "iat" => Some(&mut self.iat),
            "client_id" => Some(&mut self.client_id),
            "azp" => Some(&mut self.azp),
            "scope" => Some(&mut self.scope),
            _ if *name == *self.tenant_claim => Some(&mut self.tenant),
            _ => None,
        }
    }
}

impl Claims {
    /// Reads the text of the claims; `tenant_claim` is the claim that names the tenant.
    pub(super) fn read(text: &str, tenant_claim: &Arc<str>) -> Result<Self, Reason> {
        let mut claims = Self {
            iss: None,
            sub: None,
            aud: None,
            exp: None,
            nbf: None,
            iat: None,
            client_id: None,
            azp: None,
            scope: None,
            tenant: None,
            tenant_claim: Arc::clone(tenant_claim),
        };
        read_object(text, &mut claims)?;
        Ok(claims)
    }

    /// `iss`.
    pub(super) fn issuer(&self) -> Result<&str, Reason> {
        text(&self.iss)?.ok_or(Reason::MissingIssuer)
    }

    /// `sub`.
    pub(super) fn subject(&self) -> Result<&str, Reason> {
        required(text(&self.sub)?)
    }

    /// `client_id`.
    pub(super) fn client_id(&self) -> Result<Option<&str>, Reason> {
        text(&self.client_id)
    }

    /// `azp`.
    pub(super) fn authorized_party(&self) -> Result<Option<&str>, Reason> {
        text(&self.azp)
    }

    /// `scope`.
    pub(super) fn scope(&self) -> Result<Option<&str>, Reason> {
        match &self.scope {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Reason::BadClaim),
        }
    }

    /// The values of `aud`; none where the claim is missing.
    pub(super) fn audiences(&self) -> Result<Option<Vec<&str>>, Reason> {
        texts(&self.aud)
    }

    /// The values of the claim that names the tenant; none where it is missing.
    pub(super) fn tenants(&self) -> Result<Option<Vec<&str>>, Reason> {
        texts(match &*self.tenant_claim {
            "aud" => &self.aud,
            "client_id" => &self.client_id,
            "azp" => &self.azp,
            "scope" => &self.scope,
            _ => &self.tenant,
        })
    }

    /// `exp`.
    pub(super) fn expires_at(&self) -> Result<Timestamp, Reason> {
        required(moment(&self.exp)?)
    }

    /// `iat`.
    pub(super) fn issued_at(&self) -> Result<Timestamp, Reason> {
        required(moment(&self.iat)?)
    }

    /// `nbf`.
    pub(super) fn not_before(&self) -> Result<Option<Timestamp>, Reason> {
        moment(&self.nbf)
    }
}

pub(crate) fn required<T>(claim: Option<T>) -> Result<T, Reason> {
    claim.ok_or(Reason::MissingClaim)
}

/// A non-empty text without control characters. `null` is no text: it is refused, not missing.
pub(crate) fn text(claim: &Option<Json>) -> Result<Option<&str>, Reason> {
    claim.as_ref().map(one_text).transpose()
}

fn one_text(value: &Json) -> Result<&str, Reason> {
    match value {
        Json::Text(text) if is_value(text) => Ok(text),
        _ => Err(Reason::BadClaim),
    }
}

fn is_value(text: &str) -> bool {
    (1..=MAX_VALUE_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// One text, or a list of them (RFC 7519 §4.1.3).
fn texts(claim: &Option<Json>) -> Result<Option<Vec<&str>>, Reason> {
    match claim {
        None => Ok(None),
        Some(Json::List(values)) if values.len() > MAX_VALUES => Err(Reason::BadClaim),
        Some(Json::List(values)) => values
            .iter()
            .map(one_text)
            .collect::<Result<_, _>>()
            .map(Some),
        Some(value) => Ok(Some(vec![one_text(value)?])),
    }
}

/// RFC 7519 §2, NumericDate: seconds since the epoch, with or without a fraction. Kept to the
/// millisecond, rounded towards the past. What lies outside the years 1970 to 9999 is refused,
/// so that no later sum can overflow.
pub(crate) fn moment(claim: &Option<Json>) -> Result<Option<Timestamp>, Reason> {
    match claim {
        None => Ok(None),
        Some(Json::Integer(seconds)) if (0..=LAST_SECOND).contains(seconds) => {
            Ok(Some(Timestamp::from_secs(*seconds)))
        }
        Some(Json::Number(seconds)) if (0.0..=LAST_SECOND as f64).contains(seconds) => Ok(Some(
            Timestamp::from_millis((seconds * 1_000.0).floor() as i64),
        )),
        Some(_) => Err(Reason::BadClaim),
    }
}
