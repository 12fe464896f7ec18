//! Every way in which a server may read a path.
//!
//! Five habits, each of which a server has or has not: thirty-two readings. What a habit changes is
//! an oddity of the path, by the name that a rule's `allow` gives it.

/// Stands for a slash that was encoded, until somebody takes it for one.
const ENCODED_SLASH: char = '\u{e000}';

/// A habit, as a rule names it.
const HABITS: [&str; 5] = [
    "encoded_slash",
    "backslash",
    "semicolon",
    "doubled_slash",
    "encoded_percent",
];

/// Segments, in order.
pub(super) type Segments = Vec<String>;

/// Nobody should answer for it.
#[derive(Debug)]
pub(super) struct Bad;

/// What all servers make of a path.
pub(super) struct Readings {
    /// As a server without any of the habits reads it.
    pub(super) plain: Segments,
    /// Of servers with one or more of them.
    pub(super) others: Vec<Segments>,
    /// The habits that alone make a difference.
    pub(super) oddities: Vec<&'static str>,
}

impl Readings {
    pub(super) fn of(target: &str) -> Result<Self, Bad> {
        // RFC 9112 §3.2: a target has no fragment. To some it is one nevertheless.
        if target.contains('#') || !target.starts_with('/') {
            return Err(Bad);
        }
        let path = target.split('?').next().unwrap_or_default();
        let text = decoded(path, true)?;
        let readings: Vec<_> = (0..1_u8 << HABITS.len())
            .map(|habits| read(&text, habits))
            .collect::<Result<_, _>>()?;
        let plain = readings[0].clone();
        let oddities = HABITS
            .iter()
            .enumerate()
            .filter(|(place, _)| readings[1 << place] != plain)
            .map(|(_, name)| *name);
        Ok(Self {
            oddities: oddities.collect(),
            others: readings[1..].to_vec(),
            plain,
        })
    }
}

/// Decoded once; `strictly`: what cannot be decoded is bad, else it stays.
fn decoded(path: &str, strictly: bool) -> Result<String, Bad> {
    let bytes = path.as_bytes();
    let mut out = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let code = bytes
            .get(place + 1..place + 3)
            .and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok())
            .filter(|_| {
                bytes[place + 1..place + 3]
                    .iter()
                    .all(u8::is_ascii_hexdigit)
            });
        match (bytes[place], code) {
            (b'%', Some(b'/')) => {
                out.extend(ENCODED_SLASH.to_string().bytes());
                place += 3;
            }
            (b'%', Some(code)) => {
                out.push(code);
                place += 3;
            }
            (b'%', None) if strictly => return Err(Bad),
            (byte, _) => {
                out.push(byte);
                place += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(text) => Ok(text),
        Err(_) if strictly => Err(Bad),
        Err(error) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn read(text: &str, habits: u8) -> Result<Segments, Bad> {
    let has = |name: &str| {
        let place = HABITS.iter().position(|habit| *habit == name);
        place.is_some_and(|place| habits & (1 << place) != 0)
    };
    let mut text = match has("encoded_percent") {
        true => decoded(text, false)?,
        false => text.to_owned(),
    };
    // A line feed in a log, or the end of a text in C.
    if text.chars().any(char::is_control) {
        return Err(Bad);
    }
    if has("encoded_slash") {
        text = text.replace(ENCODED_SLASH, "/");
    }
    if has("backslash") {
        text = text.replace('\\', "/");
    }
    let mut segments: Segments = text
        .split('/')
        .skip(1)
        .map(|segment| match has("semicolon") {
            true => segment.split(';').next().unwrap_or_default(),
            false => segment,
        })
        .map(str::to_owned)
        .collect();
    // RFC 3986 §5.2.4 would take them out, and another path would be left.
    if segments
        .iter()
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(Bad);
    }
    // A slash at the end is no segment.
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    if has("doubled_slash") {
        segments.retain(|segment| !segment.is_empty());
    }
    for segment in &mut segments {
        *segment = segment.replace(ENCODED_SLASH, "/");
    }
    Ok(segments)
}
