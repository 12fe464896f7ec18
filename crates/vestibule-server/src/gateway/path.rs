//! The path of a request as the application behind the proxy will see it.
//!
//! Proxy, rules and application each read a path by themselves, and where they read it
//! differently, a rule for one path lets another in. What common servers disagree about is
//! therefore named here, and refused unless the rule that applies allows it. Dot segments, NUL and
//! what is no UTF-8 are always refused: nobody needs them, and no rule could say what they mean.

use std::fmt;

use percent_encoding::percent_decode_str;

/// A path without query, decoded once; segments stay apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPath {
    segments: Vec<String>,
    oddities: Oddities,
}

/// What servers disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// `%2F`: some servers take it for a `/`.
    EncodedSlash,
    /// `\` or `%5C`: some take it for a `/`.
    Backslash,
    /// `;` or `%3B`: some cut the segment there.
    Semicolon,
    /// `//`: some take it for one `/`.
    DoubledSlash,
    /// Decoded, it has a `%` before two hexadecimal digits: some decode twice.
    EncodedPercent,
}

/// A set of oddities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities(u8);

/// Why a path cannot be judged at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// It does not begin with `/`.
    #[error("does not begin with a slash")]
    NoSlash,
    /// `%` without two hexadecimal digits.
    #[error("has a % without two hexadecimal digits behind it")]
    BadEncoding,
    /// Not UTF-8 when decoded.
    #[error("is not UTF-8")]
    NotUtf8,
    /// NUL or another control character, as it is or encoded.
    #[error("has a control character")]
    Control,
    /// `.` or `..`, as they are or encoded.
    #[error("has a segment `.` or `..`")]
    DotSegment,
    /// `#`, which a request never has (RFC 9112 §3.2): some cut the path there.
    #[error("has a #")]
    Fragment,
}

impl RequestPath {
    /// Reads a request target's path; what follows `?` does not count.
    pub(crate) fn parse(target: &str) -> Result<Self, BadPath> {
        if target.contains('#') {
            return Err(BadPath::Fragment);
        }
        let path = target.split('?').next().unwrap_or_default();
        let path = path.strip_prefix('/').ok_or(BadPath::NoSlash)?;
        let mut oddities = Oddities::default();
        // A backslash may be a separator to somebody: dots between such are segments to him.
        let separators = ['/', '\\'];
        if path.contains('\\') {
            oddities.add(Oddity::Backslash);
        }
        let segments = path
            .split('/')
            .map(|segment| read_segment(segment, &mut oddities))
            .collect::<Result<Vec<_>, _>>()?;
        for segment in &segments {
            if segment
                .split(separators)
                // What stands before a `;` is the segment to some.
                .flat_map(|part| [part, part.split(';').next().unwrap_or_default()])
                .any(|part| matches!(part, "." | ".."))
            {
                return Err(BadPath::DotSegment);
            }
        }
        // The last one is empty where the path ends with a slash.
        let inner = segments.len().saturating_sub(1);
        if segments.iter().take(inner).any(String::is_empty) {
            oddities.add(Oddity::DoubledSlash);
        }
        Ok(Self { segments, oddities })
    }

    /// What servers would disagree about.
    pub(crate) const fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// The path as the most liberal of servers reads it: decoded again, `\\` as `/`, cut at `;`,
    /// many slashes as one. None where everybody reads it alike.
    ///
    /// # Errors
    /// A dot segment or a control character that only he sees.
    pub(crate) fn read_liberally(&self) -> Result<Option<Self>, BadPath> {
        if self.oddities == Oddities::default() {
            return Ok(None);
        }
        let joined = self.segments.join("/");
        // Whoever decodes twice may also let pass what is no UTF-8.
        let joined = percent_decode_str(&joined).decode_utf8_lossy();
        if joined.chars().any(char::is_control) {
            return Err(BadPath::Control);
        }
        let segments: Vec<_> = joined
            .split(['/', '\\'])
            .map(|segment| segment.split(';').next().unwrap_or_default())
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect();
        if segments
            .iter()
            .any(|segment| segment == "." || segment == "..")
        {
            return Err(BadPath::DotSegment);
        }
        Ok(Some(Self {
            segments,
            oddities: Oddities::default(),
        }))
    }

    /// Whether the path is `prefix` or lies below it. A prefix ends at a segment.
    pub(crate) fn is_below(&self, prefix: &Self) -> bool {
        self.segments.starts_with(prefix.without_last_slash())
    }

    /// How many segments have to be the same: the longer prefix says more.
    pub(crate) fn depth(&self) -> usize {
        self.without_last_slash().len()
    }

    fn without_last_slash(&self) -> &[String] {
        match self.segments.as_slice() {
            [rest @ .., last] if last.is_empty() => rest,
            all => all,
        }
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))
    }
}

fn read_segment(segment: &str, oddities: &mut Oddities) -> Result<String, BadPath> {
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = match rest.get(at..) {
            Some([b'%', high, low, behind @ ..]) if are_digits(*high, *low) => behind,
            _ => return Err(BadPath::BadEncoding),
        };
    }
    let decoded = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| BadPath::NotUtf8)?;
    if decoded.chars().any(char::is_control) {
        return Err(BadPath::Control);
    }
    // Not only behind `%25`: the digits may have been encoded as well.
    let is_encoding = |three: &[u8]| matches!(three, [b'%', high, low] if are_digits(*high, *low));
    if decoded.as_bytes().windows(3).any(is_encoding) {
        oddities.add(Oddity::EncodedPercent);
    }
    // There is no other way for one to be inside a segment.
    if decoded.contains('/') {
        oddities.add(Oddity::EncodedSlash);
    }
    if decoded.contains('\\') {
        oddities.add(Oddity::Backslash);
    }
    if decoded.contains(';') {
        oddities.add(Oddity::Semicolon);
    }
    Ok(decoded.into_owned())
}

fn are_digits(high: u8, low: u8) -> bool {
    high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
}

impl Oddity {
    pub(crate) const ALL: [Self; 5] = [
        Self::EncodedSlash,
        Self::Backslash,
        Self::Semicolon,
        Self::DoubledSlash,
        Self::EncodedPercent,
    ];

    /// As a rule names it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EncodedSlash => "encoded_slash",
            Self::Backslash => "backslash",
            Self::Semicolon => "semicolon",
            Self::DoubledSlash => "doubled_slash",
            Self::EncodedPercent => "encoded_percent",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Oddities {
    pub(crate) const fn add(&mut self, oddity: Oddity) {
        self.0 |= oddity.bit();
    }

    /// Those that `allowed` does not have.
    pub(crate) fn beyond(self, allowed: Self) -> impl Iterator<Item = Oddity> {
        let left = self.0 & !allowed.0;
        Oddity::ALL
            .into_iter()
            .filter(move |oddity| left & oddity.bit() != 0)
    }
}

impl FromIterator<Oddity> for Oddities {
    fn from_iter<I: IntoIterator<Item = Oddity>>(oddities: I) -> Self {
        let mut all = Self::default();
        oddities.into_iter().for_each(|oddity| all.add(oddity));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(target: &str) -> RequestPath {
        RequestPath::parse(target).unwrap()
    }

    fn oddities(target: &str) -> Vec<&'static str> {
        path(target)
            .oddities()
            .beyond(Oddities::default())
            .map(Oddity::as_str)
            .collect()
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        for (target, prefix, below) in [
            ("/admin", "/admin", true),
            ("/admin/", "/admin", true),
            ("/admin/users?x=/..", "/admin", true),
            ("/admin", "/admin/", true),
            ("/administrator", "/admin", false),
            ("/%61dmin", "/admin", true),
            ("/Admin", "/admin", false),
            ("/anything", "/", true),
            ("/", "/", true),
            ("/", "/admin", false),
            ("/admin%2Fusers", "/admin/users", false),
            ("//admin", "/admin", false),
        ] {
            assert_eq!(
                path(target).is_below(&path(prefix)),
                below,
                "{target} {prefix}"
            );
        }
    }

    #[test]
    fn what_servers_disagree_about_is_named() {
        for (target, expected) in [
            ("/a/b", &[][..]),
            ("/a/", &[]),
            ("/100%25", &[]),
            ("/a%2Fb", &["encoded_slash"]),
            ("/a%2fb", &["encoded_slash"]),
            ("/a\\b", &["backslash"]),
            ("/a%5cb", &["backslash"]),
            ("/a;b=1/c", &["semicolon"]),
            ("/a%3Bb", &["semicolon"]),
            ("//a", &["doubled_slash"]),
            ("/a//b", &["doubled_slash"]),
            ("/a//", &["doubled_slash"]),
            ("/%252e%252e/a", &["encoded_percent"]),
            ("/%25%36%31dmin", &["encoded_percent"]),
            ("/%256%31dmin", &["encoded_percent"]),
            ("/%25%36x", &[]),
        ] {
            assert_eq!(oddities(target), expected, "{target}");
        }
    }

    #[test]
    fn what_nobody_needs_is_refused() {
        for (target, expected) in [
            ("", BadPath::NoSlash),
            ("*", BadPath::NoSlash),
            ("?/a", BadPath::NoSlash),
            ("http://acme.example/a", BadPath::NoSlash),
            ("/a/../b", BadPath::DotSegment),
            ("/a/..", BadPath::DotSegment),
            ("/./a", BadPath::DotSegment),
            ("/%2e%2E/a", BadPath::DotSegment),
            ("/.%2e/a", BadPath::DotSegment),
            ("/a/..;/b", BadPath::DotSegment),
            ("/a%2F..%2Fb", BadPath::DotSegment),
            ("/a\\..\\b", BadPath::DotSegment),
            ("/a%00", BadPath::Control),
            ("/a\tb", BadPath::Control),
            ("/a%0d%0ab", BadPath::Control),
            ("/%ff", BadPath::NotUtf8),
            ("/%c0%ae%c0%ae/", BadPath::NotUtf8),
            ("/a%", BadPath::BadEncoding),
            ("/a%2", BadPath::BadEncoding),
            ("/a%zz", BadPath::BadEncoding),
            ("/a%u002e", BadPath::BadEncoding),
            ("/a#/../b", BadPath::Fragment),
            ("/a?b#c", BadPath::Fragment),
        ] {
            let found = RequestPath::parse(target).unwrap_err();
            assert_eq!(found, expected, "{target}");
        }
    }

    #[test]
    fn what_only_the_most_liberal_sees_is_refused_too() {
        for (target, expected) in [
            ("/%252e%252e/a", BadPath::DotSegment),
            ("/a/%252e;x/b", BadPath::DotSegment),
            ("/a%2500", BadPath::Control),
            ("/a%250d%250ab", BadPath::Control),
        ] {
            assert_eq!(path(target).read_liberally(), Err(expected), "{target}");
        }
    }

    proptest! {
        /// A path without oddities means the same to everybody: decoded and written again, it is
        /// read as the same.
        #[test]
        fn a_plain_path_has_one_meaning(target in "/[a-z%./;\\\\0-9]{0,24}") {
            let Ok(read) = RequestPath::parse(&target) else { return Ok(()) };
            if read.oddities() == Oddities::default() {
                let written = read.to_string();
                // `%` itself has to be written as it was sent.
                let again = RequestPath::parse(&written.replace('%', "%25")).unwrap();
                prop_assert_eq!(&again, &read);
                prop_assert!(!written.contains("//") && !written.contains("/../"));
            }
        }

        #[test]
        fn nothing_panics(target in any::<String>()) {
            drop(RequestPath::parse(&target));
        }
    }
}
