//! `traceparent` and `tracestate`, as W3C trace context (level 1) has them.

use std::{fmt, str::FromStr as _};

use http::{HeaderValue, header::GetAll};
use opentelemetry::trace::TraceState;

/// §3.3.1.1: at least this many characters are to be handed on; nobody has to take more.
const LONGEST_STATE: usize = 512;

/// §3.3.1.1: a list has at most 32 members.
const MOST_MEMBERS: usize = 32;

/// §3.2: the span that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: u128,
    pub(super) parent_id: u64,
    pub(super) is_sampled: bool,
}

impl TraceParent {
    /// None where there is not exactly one header, or not in its form (§3.2.2, §4.3).
    pub(super) fn of<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        match (values.next(), values.next()) {
            (Some(only), None) => Self::read(only.as_bytes()),
            _ => None,
        }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(55)?;
        let version = hex(known.get(..2)?)?;
        // A later version may have more behind a dash; 255 is none, and ours has no more.
        let ends = match version {
            0 => more.is_empty(),
            255 => false,
            _ => more.first().is_none_or(|next| *next == b'-'),
        };
        let dashes = [2, 35, 52].map(|at| known.get(at) == Some(&b'-'));
        if !ends || dashes.contains(&false) {
            return None;
        }
        let trace_id = hex(known.get(3..35)?)?;
        let parent_id = u64::try_from(hex(known.get(36..52)?)?).ok()?;
        let flags = hex(known.get(53..55)?)?;
        (trace_id != 0 && parent_id != 0).then_some(Self {
            trace_id,
            parent_id,
            // The others mean nothing in our version, and nobody is to be told of them.
            is_sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, parent_id) = (self.trace_id, self.parent_id);
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

/// Several headers are one list (§3.3.1). None where there is none, or one that is not to be handed
/// on: it is dropped as a whole, and the parent stays.
pub(super) fn trace_state(values: GetAll<'_, HeaderValue>) -> Option<TraceState> {
    let mut state = String::new();
    for value in values {
        let members = value.to_str().ok()?.split(',').map(str::trim);
        for member in members.filter(|member| !member.is_empty()) {
            if state.len() + member.len() >= LONGEST_STATE {
                return None;
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
        }
    }
    if state.split(',').count() > MOST_MEMBERS {
        return None;
    }
    TraceState::from_str(&state).ok()
}

/// Lower-case digits only (§3.2.2.1), at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(text: &str) -> Option<TraceParent> {
        TraceParent::read(text.as_bytes())
    }

    #[test]
    fn a_parent() {
        let parent = read(GOOD).unwrap();
        assert_eq!(parent.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.parent_id, 0x00f0_67aa_0ba9_02b7);
        assert!(parent.is_sampled);
        assert_eq!(parent.to_string(), GOOD);
        for (flags, is_sampled) in [("00", false), ("02", false), ("ff", true), ("03", true)] {
            let text = format!("{}{flags}", &GOOD[..53]);
            assert_eq!(read(&text).unwrap().is_sampled, is_sampled, "{text}");
        }
        for later in ["01-", "cc-", "fe-"] {
            let later = format!("{later}{}", &GOOD[3..]);
            assert_eq!(read(&later), Some(parent), "{later}");
            let more = format!("{later}-what-the-future-brings");
            assert_eq!(read(&more), Some(parent), "{more}");
            assert_eq!(read(&format!("{later}.more")), None);
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        let zeros = |at: std::ops::Range<usize>| {
            let mut text = GOOD.to_owned();
            let length = at.len();
            text.replace_range(at, &"0".repeat(length));
            text
        };
        for text in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}0"),
            &format!("{GOOD}-"),
            &format!("{GOOD}-00"),
            &format!(" {}", &GOOD[1..]),
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &format!("ff{}", &GOOD[2..]),
            &format!("0x{}", &GOOD[2..]),
            &format!("00-+{}", &GOOD[4..]),
            &zeros(3..35),
            &zeros(36..52),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let value = HeaderValue::from_static(GOOD);
        assert!(TraceParent::of([&value].into_iter()).is_some());
        assert!(TraceParent::of([&value, &value].into_iter()).is_none());
        assert!(TraceParent::of([].into_iter()).is_none());
    }

    fn state(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("tracestate", HeaderValue::from_str(value).unwrap());
        }
        trace_state(headers.get_all("tracestate")).map(|state| state.header())
    }

    #[test]
    fn a_state_is_one_list_within_bounds() {
        assert_eq!(state(&[]).as_deref(), Some(""));
        assert_eq!(
            state(&["a=1, b=2", "", "c=3"]).as_deref(),
            Some("a=1,b=2,c=3")
        );
        assert_eq!(state(&["nonsense"]), None);
        let members = |number: usize| {
            let members: Vec<_> = (0..number).map(|n| format!("k{n}=v")).collect();
            members.join(",")
        };
        assert!(state(&[&members(32)]).is_some());
        assert!(state(&[&members(33)]).is_none());
        assert!(state(&[&format!("a={}", "v".repeat(200))]).is_some());
        let long = "v".repeat(250);
        assert!(state(&[&format!("a={long},b={long},c={long}")]).is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(text in "[0-9a-f-]{50,60}|00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]") {
            if let Some(parent) = read(&text) && text.starts_with("00") {
                let last = parent.to_string();
                prop_assert_eq!(&last[..53], &text[..53]);
                prop_assert_eq!(read(&last), Some(parent));
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceParent::read(&bytes);
        }
    }
}
