//! Byte ranges (RFC 9110, section 14).
//!
//! One range is answered as asked. Several are answered with the whole, as the RFC allows: nobody who fetches files
//! needs them, and they are a way to make a server work hard for a short request.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: there is no header, or none that is understood.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes that are not there: 416.
    Nothing,
}

/// Reads a `Range` header for something of `len` bytes.
pub(crate) fn parse(header: Option<&str>, len: u64) -> Asked {
    let Some(header) = header else { return Asked::Whole };
    let Some((unit, set)) = header.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Asked::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    let (first, last) = (first.trim(), last.trim());
    let range = match (number(first), number(last)) {
        // The last so many bytes.
        (None, Some(count)) if first.is_empty() => len.saturating_sub(count)..len,
        (Some(from), None) if last.is_empty() => from..len,
        (Some(from), Some(to)) if from <= to => from..to.saturating_add(1).min(len),
        _ => return Asked::Whole,
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Nothing }
}

/// Digits alone; what is beyond 64 bits is as far as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_the_rfc_says() {
        let ask = |header: &str| parse(Some(header), 100);
        assert_eq!(parse(None, 100), Asked::Whole);
        assert_eq!(ask("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(ask("Bytes = 10 - 19"), Asked::Part(10..20));
        assert_eq!(ask("bytes=90-"), Asked::Part(90..100));
        assert_eq!(ask("bytes=-10"), Asked::Part(90..100));
        assert_eq!(ask("bytes=-1000"), Asked::Part(0..100));
        assert_eq!(ask("bytes=50-99999999999999999999999"), Asked::Part(50..100));
        assert_eq!(ask("bytes=100-"), Asked::Nothing);
        assert_eq!(ask("bytes=-0"), Asked::Nothing);
        assert_eq!(parse(Some("bytes=0-"), 0), Asked::Nothing);
        for not_understood in
            ["bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes", "bytes=0-1,5-6", "bytes=+1-2"]
        {
            assert_eq!(ask(not_understood), Asked::Whole, "{not_understood}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within(header in "bytes=[0-9]{0,20}-[0-9]{0,20}|\\PC{0,30}", len: u64) {
            if let Asked::Part(r) = parse(Some(&header), len) {
                prop_assert!(r.start < r.end && r.end <= len);
            }
        }
    }
}
