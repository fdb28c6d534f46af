//! Byte ranges (RFC 9110, section 14).
//!
//! Several ranges are answered as asked, too; those that overlap are joined. Where they are very many, or come to more than
//! the whole would, the whole is the answer, as the RFC allows: they are a way to make a server work hard for a short request.

use std::ops::Range;

/// Ranges that are answered in one response.
const RANGES_MAX: usize = 32;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: there is no header, or none that is understood.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// These, two at least; none is empty, none overlaps another.
    Parts(Vec<Range<u64>>),
    /// Bytes that are not there: 416.
    Nothing,
}

/// Reads a `Range` header for something of `len` bytes.
pub(crate) fn parse(header: Option<&str>, len: u64) -> Asked {
    let Some(header) = header else { return Asked::Whole };
    let Some((unit, set)) = header.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.split(',').count() > RANGES_MAX {
        return Asked::Whole;
    }
    let mut parts = Vec::new();
    // Empty elements of a list mean nothing (section 5.6.1).
    for one in set.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let Some(range) = one_range(one, len) else { return Asked::Whole };
        if !range.is_empty() {
            parts.push(range);
        }
    }
    if set.split(',').all(|one| one.trim().is_empty()) {
        return Asked::Whole;
    }
    let overlap = |(i, a): (usize, &Range<u64>)| parts[..i].iter().any(|b| a.start < b.end && b.start < a.end);
    if parts.iter().enumerate().any(overlap) {
        parts.sort_by_key(|r| r.start);
        parts = parts.into_iter().fold(Vec::new(), |mut joined: Vec<Range<u64>>, r| {
            match joined.last_mut().filter(|last| r.start <= last.end) {
                Some(last) => last.end = last.end.max(r.end),
                None => joined.push(r),
            }
            joined
        });
    }
    match &parts[..] {
        [] => Asked::Nothing,
        [one] => Asked::Part(one.clone()),
        _ => Asked::Parts(parts),
    }
}

/// One range, cut to what is there; None: it is not understood.
fn one_range(text: &str, len: u64) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    match (number(first), number(last)) {
        // The last so many bytes.
        (None, Some(count)) if first.is_empty() => Some(len.saturating_sub(count)..len),
        (Some(from), None) if last.is_empty() => Some(from..len.max(from)),
        (Some(from), Some(to)) if from <= to => Some(from..to.saturating_add(1).min(len).max(from)),
        _ => None,
    }
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
        assert_eq!(ask("bytes=0-1,5-6"), Asked::Parts(vec![0..2, 5..7]));
        assert_eq!(ask("bytes=90-, ,0-0"), Asked::Parts(vec![90..100, 0..1]), "in the order that was asked for");
        assert_eq!(ask("bytes=0-9,5-14,10-"), Asked::Part(0..100), "what overlaps is joined");
        assert_eq!(ask("bytes=50-59,0-9,5-14"), Asked::Parts(vec![0..15, 50..60]));
        assert_eq!(ask("bytes=0-1,200-"), Asked::Part(0..2), "what is not there is left out");
        assert_eq!(ask("bytes=100-,200-"), Asked::Nothing);
        assert_eq!(ask(&format!("bytes=0-0{}", ",2-2".repeat(RANGES_MAX))), Asked::Whole, "too many");
        for not_understood in [
            "bytes=5-4",
            "bytes=a-b",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "lines=1-2",
            "bytes",
            "bytes=0-1,x",
            "bytes=+1-2",
        ] {
            assert_eq!(ask(not_understood), Asked::Whole, "{not_understood}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_and_apart(header in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,5}|\\PC{0,30}", len in 0u64..1000) {
            let parts = match parse(Some(&header), len) {
                Asked::Part(r) => vec![r],
                Asked::Parts(parts) => parts,
                _ => vec![],
            };
            for (i, r) in parts.iter().enumerate() {
                prop_assert!(r.start < r.end && r.end <= len);
                prop_assert!(parts[..i].iter().all(|b| r.end <= b.start || b.end <= r.start));
            }
        }
    }
}
