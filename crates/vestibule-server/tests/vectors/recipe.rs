//! From a vector to the bytes of a request.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use vestibule_sandbox::{Sandbox, SigningKey, TokenBuilder};

use crate::vector::{Base, SignatureForm, Signer, Step, Vector};

const ROBOT: &str = "sc_robot01";
/// The order of the group (RFC 8032 §5.1), lowest byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) query: Option<String>,
    pub(crate) body: Option<String>,
}

/// Who signs in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// Whom the vector says.
    AsWritten,
    /// A stranger, whatever the vector says.
    Stranger,
}

pub(crate) fn sent(sandbox: &Sandbox, vector: &Vector, hand: Hand) -> Sent {
    let cook = Cook { sandbox };
    let (mut builder, mut key) = cook.base(vector.base);
    for step in &vector.changes {
        (builder, key) = cook.members(builder, key, step);
    }
    if hand == Hand::Stranger {
        key = SigningKey::stranger("k1");
        builder = builder.sign_with(&key);
    }
    let token = cook.written(&builder, &key, &vector.changes);
    let mut sent = Sent::default();
    let mut authorization = match vector.base {
        Base::None => Vec::new(),
        _ => vec!["Bearer {token}".to_owned()],
    };
    for step in &vector.changes {
        let fill = |text: &str| cook.filled(text).replace("{token}", &token);
        match step {
            Step::Authorization(values) => authorization.clone_from(values),
            Step::OtherHeader(name, value) => {
                sent.headers.push((name.clone(), fill(value).into_bytes()));
            }
            Step::Query(text) => sent.query = Some(fill(text)),
            Step::Body(text) => sent.body = Some(fill(text)),
            _ => {}
        }
    }
    for value in authorization {
        let value = cook.filled(&value).replace("{token}", &token);
        sent.headers
            .push(("authorization".to_owned(), value.into_bytes()));
    }
    sent
}

struct Cook<'s> {
    sandbox: &'s Sandbox,
}

impl Cook<'_> {
    fn base(&self, base: Base) -> (TokenBuilder, SigningKey) {
        let sandbox = self.sandbox;
        let own = sandbox.server_client_id();
        let account = || sandbox.account_key();
        match base {
            Base::None | Base::User => (sandbox.user_token("user_ada"), account()),
            Base::Machine => (sandbox.client_token(ROBOT), sandbox.client_key(ROBOT)),
            Base::LoginCode => (
                sandbox.login_code(ROBOT, "user_ada"),
                sandbox.client_key(ROBOT),
            ),
            Base::IdToken => (sandbox.id_token("user_ada"), account()),
            Base::OauthToken => (sandbox.oauth_token(ROBOT), account()),
            Base::OwnClient => (sandbox.client_token(own), sandbox.client_key(own)),
            Base::UnregisteredClient => (
                sandbox.client_token("sc_robot03"),
                sandbox.client_key("sc_robot03"),
            ),
            Base::UnknownClient => (
                sandbox.client_token("sc_nobody1"),
                sandbox.client_key("sc_nobody1"),
            ),
        }
    }

    fn key(&self, signer: &Signer) -> SigningKey {
        match signer {
            Signer::Account => self.sandbox.account_key(),
            Signer::Stranger => SigningKey::stranger("k1"),
            Signer::Client(id) => self.sandbox.client_key(id),
            Signer::Unusable(kid) => SigningKey::stranger(kid),
        }
    }

    fn members(
        &self,
        token: TokenBuilder,
        key: SigningKey,
        step: &Step,
    ) -> (TokenBuilder, SigningKey) {
        let token = match step {
            Step::SetHeader(name, value) => token.header(name, self.value(value)),
            Step::RemoveHeader(name) => token.without_header(name),
            Step::DoubleHeader(name, value) => token.double_header(name, self.value(value)),
            Step::RawHeader(text) => token.raw_header(self.filled(text)),
            Step::SetClaim(name, value) => token.claim(name, self.value(value)),
            Step::SetTime(name, seconds) => token.claim(name, self.sandbox.now() + seconds),
            Step::RemoveClaim(name) => token.without_claim(name),
            Step::DoubleClaim(name, value) => token.double_claim(name, self.value(value)),
            Step::RawClaims(text) => token.raw_claims(self.filled(text)),
            Step::FillTo(length) => filled_to(token, *length).0,
            Step::FillPast(length) => filled_to(token, *length).1,
            Step::KidOf(signer) => {
                let kid = self.key(signer).kid().to_owned();
                token.kid(kid)
            }
            Step::SignWith(signer) => {
                let key = self.key(signer);
                return (token.sign_with(&key), key);
            }
            _ => token,
        };
        (token, key)
    }

    /// The token's text, signed over what is really sent.
    fn written(&self, builder: &TokenBuilder, key: &SigningKey, steps: &[Step]) -> String {
        let mut minted = builder.mint();
        if steps.iter().any(|step| matches!(step, Step::UnusedBit(1)))
            && part(&minted, 1).is_multiple_of(4)
        {
            // One character more gives the last one unused bits.
            minted = builder.clone().claim("pad", "").mint();
            if part(&minted, 1).is_multiple_of(4) {
                minted = builder.clone().claim("pad", "x").mint();
            }
        }
        let mut parts: Vec<String> = minted.split('.').map(str::to_owned).collect();
        for step in steps {
            edit(&mut parts[..2], step);
        }
        let input = format!("{}.{}", parts[0], parts[1]);
        let form = steps.iter().find_map(|step| match step {
            Step::Signature(form) => Some(*form),
            _ => None,
        });
        let signature = self.signature(key, &input, form);
        parts[2] = URL_SAFE_NO_PAD.encode(signature);
        for step in steps {
            edit(&mut parts[2..], &shifted(step));
        }
        let whole = steps.iter().find_map(|step| match step {
            Step::Token(text) => Some(text),
            _ => None,
        });
        match whole {
            None => parts.join("."),
            Some(text) => self
                .filled(text)
                .replace("{header}", &parts[0])
                .replace("{claims}", &parts[1])
                .replace("{signature}", &parts[2]),
        }
    }

    fn signature(&self, key: &SigningKey, input: &str, form: Option<SignatureForm>) -> Vec<u8> {
        let mut bytes = key.sign(input.as_bytes()).to_vec();
        let Some(form) = form else { return bytes };
        // What an attacker knows of the right key.
        let account = self.sandbox.account_key();
        let hmac = |secret: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
            mac.update(input.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        match form {
            SignatureForm::Empty => Vec::new(),
            SignatureForm::Tampered => {
                bytes[0] ^= 1;
                bytes
            }
            SignatureForm::TamperedScalar => {
                bytes[32] ^= 1;
                bytes
            }
            SignatureForm::Short => bytes[..63].to_vec(),
            SignatureForm::Long => [&bytes[..], &[0]].concat(),
            SignatureForm::Twice => bytes.repeat(2),
            SignatureForm::Zeros => vec![0; 64],
            SignatureForm::Ones => vec![0xff; 64],
            SignatureForm::Neutral => {
                let mut neutral = vec![0; 64];
                neutral[0] = 1;
                neutral
            }
            SignatureForm::SecondForm => {
                let mut carry = 0;
                for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
                    let sum = u16::from(*byte) + u16::from(order) + carry;
                    *byte = sum.to_le_bytes()[0];
                    carry = sum >> 8;
                }
                assert_eq!(carry, 0, "S is below the order, so the sum fits");
                bytes
            }
            SignatureForm::Swapped => [&bytes[32..], &bytes[..32]].concat(),
            SignatureForm::Hexadecimal => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                digits.into_bytes()
            }
            SignatureForm::HmacOfPublicKey => hmac(&account.public_key()),
            SignatureForm::HmacOfJwk => hmac(account.jwk().to_string().as_bytes()),
            SignatureForm::HmacOfNothing => hmac(&[]),
            SignatureForm::OverClaims => {
                let claims = input.split('.').nth(1).unwrap();
                key.sign(claims.as_bytes()).to_vec()
            }
            SignatureForm::OverDecoded => {
                let decoded: Vec<_> = input
                    .split('.')
                    .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap())
                    .collect();
                key.sign(&decoded.join(&b'.')).to_vec()
            }
            SignatureForm::WithoutDot => key.sign(input.replace('.', "").as_bytes()).to_vec(),
            SignatureForm::OfOther => {
                let other = self.sandbox.user_token("user_alan").sign_with(key).mint();
                URL_SAFE_NO_PAD
                    .decode(other.rsplit('.').next().unwrap())
                    .unwrap()
            }
        }
    }

    /// Puts the world's own values into a text.
    fn filled(&self, text: &str) -> String {
        let sandbox = self.sandbox;
        if !text.contains('{') {
            return text.to_owned();
        }
        let replacements = [
            ("{issuer}", sandbox.issuer().to_owned()),
            ("{client_issuer}", sandbox.client_issuer(ROBOT)),
            ("{own_issuer}", {
                sandbox.client_issuer(sandbox.server_client_id())
            }),
            ("{port}", sandbox.port().to_string()),
            ("{audience}", sandbox.machine_audience()),
            ("{kid}", sandbox.account_key().kid().to_owned()),
            ("{robot_kid}", sandbox.client_key(ROBOT).kid().to_owned()),
            ("{now}", sandbox.now().to_string()),
            ("{later}", (sandbox.now() + 3_600).to_string()),
            ("{own_client}", sandbox.server_client_id().to_owned()),
            ("{access_key}", sandbox.access_key()),
            ("{client_access_key}", sandbox.client_access_key(ROBOT)),
            ("{other_token}", sandbox.user_token("user_alan").mint()),
        ];
        let mut text = text.to_owned();
        for (name, value) in replacements {
            if text.contains(name) {
                text = text.replace(name, &value);
            }
        }
        text
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match text.as_str() {
                "{stranger_jwk}" => SigningKey::stranger("k1").jwk(),
                "{account_jwk}" => self.sandbox.account_key().jwk(),
                "{long}" => json!("x".repeat(1_000)),
                "{129}" => json!("x".repeat(129)),
                "{128}" => json!("x".repeat(128)),
                "{65}" => json!("x".repeat(65)),
                _ => Value::from(self.filled(text)),
            },
            Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            _ => value.clone(),
        }
    }
}

/// Length of a part.
fn part(token: &str, index: usize) -> usize {
    token.split('.').nth(index).unwrap().len()
}

/// `parts` begins with part 0.
fn edit(parts: &mut [String], step: &Step) {
    let (Step::Replace(index, _)
    | Step::Append(index, _)
    | Step::Prepend(index, _)
    | Step::UnusedBit(index)
    | Step::PlainBase64(index)) = step
    else {
        return;
    };
    let Some(part) = parts.get_mut(*index) else {
        return;
    };
    match step {
        Step::Replace(_, text) => part.clone_from(text),
        Step::Append(_, text) => part.push_str(text),
        Step::Prepend(_, text) => part.insert_str(0, text),
        Step::UnusedBit(_) => {
            const ALPHABET: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            assert_ne!(part.len() % 4, 0, "no unused bits in {part}");
            let last = part.pop().unwrap();
            let value = ALPHABET
                .iter()
                .position(|c| char::from(*c) == last)
                .unwrap();
            part.push(char::from(ALPHABET[value | 1]));
        }
        _ => *part = STANDARD.encode(URL_SAFE_NO_PAD.decode(&*part).unwrap()),
    }
}

/// The same step as the signature alone counts: its part 2 is the first; the others are not there.
fn shifted(step: &Step) -> Step {
    let of = |index: usize| index.checked_sub(2).unwrap_or(usize::MAX);
    match step {
        Step::Replace(index, text) => Step::Replace(of(*index), text.clone()),
        Step::Append(index, text) => Step::Append(of(*index), text.clone()),
        Step::Prepend(index, text) => Step::Prepend(of(*index), text.clone()),
        Step::UnusedBit(index) => Step::UnusedBit(of(*index)),
        Step::PlainBase64(index) => Step::PlainBase64(of(*index)),
        _ => Step::Authorization(Vec::new()),
    }
}

/// The longest token up to `length` bytes, and the next one.
fn filled_to(token: TokenBuilder, length: usize) -> (TokenBuilder, TokenBuilder) {
    let with = |size: usize| token.clone().claim("pad", "x".repeat(size));
    let room = length - token.mint().len();
    let fits = (room / 2..room)
        .take_while(|size| with(*size).mint().len() <= length)
        .last()
        .unwrap();
    (with(fits), with(fits + 1))
}
