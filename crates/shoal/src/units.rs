//! Sizes, rates and times as people write and read them: `20M`, `500KiB/s`, `100 Mbit/s`, `1h30m`.
//!
//! Prefixes are those of GNU tools: `K` and `KiB` are 1,024, `KB` is 1,000, and bits are always decimal (`100 Mbit/s` is
//! 12,500,000 bytes a second). A bare number is bytes, or seconds. What could mean two things (`Mb`) is refused.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A number of bytes a second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// Why a text is no size, rate or time. Completes the sentence that clap begins with the value and the flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a number.
    #[error("it must begin with a number, as in {0}")]
    Number(&'static str),
    /// The unit is unknown.
    #[error("unknown unit {unit:?}; write for example {examples}")]
    Unit {
        /// What was written.
        unit: String,
        /// What could be.
        examples: &'static str,
    },
    /// The unit may mean bits or bytes.
    #[error("{0:?} may mean bits or bytes; write MB for bytes or Mbit for bits")]
    Ambiguous(String),
    /// It does not fit into 64 bits.
    #[error("too large")]
    Large,
    /// A rate of nothing.
    #[error("a rate of 0 would stop everything; leave the flag away for no limit")]
    Zero,
}

const SIZES: &str = "20M, 500KiB or 1.5GB";
const RATES: &str = "20M, 500KiB/s or 100 Mbit/s";
const TIMES: &str = "90, 10m or 1h30m";

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = Number::take(text.trim()).ok_or(UnitError::Number(SIZES))?;
        let (factor, bits) = factor(unit.trim(), SIZES)?;
        if bits {
            return Err(UnitError::Unit { unit: unit.trim().into(), examples: SIZES });
        }
        number.times(factor).map(Size).ok_or(UnitError::Large)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, whole) = Number::take(text.trim()).ok_or(UnitError::Number(RATES))?;
        let whole = whole.trim();
        let lower = whole.to_ascii_lowercase();
        let unit = match ["/s", "/sec", "/second", "ps"].iter().find(|end| lower.ends_with(**end)) {
            Some(end) => whole[..whole.len() - end.len()].trim_end(),
            None => whole,
        };
        // "mbps" is megabits wherever it is written; "MBps" is bytes.
        let per_second_bits = lower.ends_with("bps") && unit.ends_with('b');
        let (factor, bits) = match per_second_bits {
            true => (prefix(&unit[..unit.len() - 1], true).ok_or_else(|| unknown(whole, RATES))?, true),
            false => factor(unit, RATES).map_err(|e| match e {
                UnitError::Unit { .. } => unknown(whole, RATES),
                other => other,
            })?,
        };
        let value = number.times(factor).ok_or(UnitError::Large)?;
        match if bits { value / 8 } else { value } {
            0 => Err(UnitError::Zero),
            rate => Ok(Rate(rate)),
        }
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        let mut millis: u64 = 0;
        loop {
            let (number, tail) = Number::take(rest).ok_or(UnitError::Number(TIMES))?;
            let tail = tail.trim_start();
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let factor = match &*unit.to_ascii_lowercase() {
                "" | "s" | "sec" | "second" | "seconds" => 1_000,
                "ms" => 1,
                "m" | "min" | "minute" | "minutes" => 60_000,
                "h" | "hour" | "hours" => 3_600_000,
                "d" | "day" | "days" => 86_400_000,
                "w" | "week" | "weeks" => 7 * 86_400_000,
                _ => return Err(unknown(unit, TIMES)),
            };
            let part = number.times(factor).ok_or(UnitError::Large)?;
            millis = millis.checked_add(part).ok_or(UnitError::Large)?;
            rest = tail.trim_start();
            if rest.is_empty() {
                return Ok(Span(Duration::from_millis(millis)));
            }
        }
    }
}

/// A decimal number, exact: digits without their point, and how many of them stood behind it.
struct Number {
    digits: u128,
    behind: u32,
}

impl Number {
    /// The number at the beginning of a text, and what follows. Underscores and thousands' commas are no part of numbers.
    fn take(text: &str) -> Option<(Number, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let sound = !whole.is_empty() && number.len() <= 30 && !part.contains('.') && number != ".";
        let digits = if sound { format!("{whole}{part}").parse().ok()? } else { return None };
        Some((Number { digits, behind: part.len() as u32 }, rest))
    }

    /// The number times `factor`, cut off to a whole one.
    fn times(&self, factor: u64) -> Option<u64> {
        let product = self.digits.checked_mul(u128::from(factor))?;
        u64::try_from(product / 10u128.checked_pow(self.behind)?).ok()
    }
}

fn unknown(unit: &str, examples: &'static str) -> UnitError {
    UnitError::Unit { unit: unit.chars().take(20).collect(), examples }
}

/// What a unit multiplies by, and whether it counts bits.
fn factor(unit: &str, examples: &'static str) -> Result<(u64, bool), UnitError> {
    let lower = unit.to_ascii_lowercase();
    if let Some(stem) = lower.strip_suffix("bits").or_else(|| lower.strip_suffix("bit")) {
        return prefix(stem.trim_end(), true).map(|f| (f, true)).ok_or_else(|| unknown(unit, examples));
    }
    if let Some(stem) = lower.strip_suffix("bytes").or_else(|| lower.strip_suffix("byte")) {
        return prefix(stem.trim_end(), true).map(|f| (f, false)).ok_or_else(|| unknown(unit, examples));
    }
    if unit.len() > 1
        && unit.ends_with('b')
        && !lower.ends_with("ib")
        && prefix(&lower[..lower.len() - 1], true).is_some()
    {
        return Err(UnitError::Ambiguous(unit.into()));
    }
    let (stem, decimal) = match lower.strip_suffix('b') {
        Some(stem) => (stem, true),
        None => (&*lower, false),
    };
    prefix(stem, decimal).map(|f| (f, false)).ok_or_else(|| unknown(unit, examples))
}

/// `k` is 1,000 if `decimal` and 1,024 if not; `ki` is always 1,024.
fn prefix(text: &str, decimal: bool) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (letter, base) = match lower.strip_suffix('i') {
        Some(letter) if !letter.is_empty() => (letter, 1024u64),
        _ => (&*lower, if decimal { 1000 } else { 1024 }),
    };
    let power = match letter {
        "" => 0,
        "k" | "kilo" => 1,
        "m" | "mega" => 2,
        "g" | "giga" => 3,
        "t" | "tera" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(base.pow(power))
}

pub use base::size::bytes;

/// `1.4 MiB/s`.
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// So many of these: `1 peer`, `2 peers`.
pub fn count(n: impl Into<u64>, one: &str) -> String {
    let n = n.into();
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// `1 h 5 min`, `12 s`, `0.3 s`: the two units that matter.
pub fn time(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds < 10 {
        return format!("{:.1} s", span.as_secs_f64());
    }
    let mut out = String::new();
    let mut parts = 0;
    for (name, length) in [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)] {
        let amount = if length == 86_400 { seconds / length } else { seconds / length % (next_unit(length) / length) };
        if amount == 0 && parts == 0 {
            continue;
        }
        parts += 1;
        if amount > 0 {
            // Writing to a string can't fail.
            let _ = write!(out, "{}{amount} {name}", if out.is_empty() { "" } else { " " });
        }
        if parts == 2 {
            break;
        }
    }
    out
}

fn next_unit(length: u64) -> u64 {
    match length {
        1 => 60,
        60 => 3_600,
        _ => 86_400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_people_write_them() {
        let size = |text: &str| text.parse::<Size>().map(|s| s.0);
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("16384"), Ok(16384));
        assert_eq!(size("20M"), Ok(20 << 20));
        assert_eq!(size("20 MiB"), Ok(20 << 20));
        assert_eq!(size("20MB"), Ok(20_000_000));
        assert_eq!(size("1.5k"), Ok(1536));
        assert_eq!(size("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(size("12 bytes"), Ok(12));
        assert_eq!(size("12B"), Ok(12));
        assert_eq!(size("3 kilobytes"), Ok(3000));
        assert_eq!(size("16777216T"), Err(UnitError::Large));
        assert_eq!(size("20Mb"), Err(UnitError::Ambiguous("Mb".into())));
        assert!(matches!(size("20Mbit"), Err(UnitError::Unit { .. })));
        assert!(matches!(size("20X"), Err(UnitError::Unit { .. })));
        for bad in ["", "M", "-1", ".5", "1.2.3", "1e5", "1,000", "0x10"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rates_as_people_write_them() {
        let rate = |text: &str| text.parse::<Rate>().map(|r| r.0);
        assert_eq!(rate("20M"), Ok(20 << 20));
        assert_eq!(rate("500KiB/s"), Ok(500 << 10));
        assert_eq!(rate("100 Mbit/s"), Ok(12_500_000));
        assert_eq!(rate("100mbit"), Ok(12_500_000));
        assert_eq!(rate("100 Mbps"), Ok(12_500_000));
        assert_eq!(rate("8 kbps"), Ok(1_000));
        assert_eq!(rate("8 bit/s"), Ok(1));
        assert_eq!(rate("1 MBps"), Ok(1_000_000));
        assert_eq!(rate("1 Gibit/s"), Ok(1 << 27));
        assert_eq!(rate("1000"), Ok(1000));
        assert_eq!(rate("10/s"), Ok(10));
        assert_eq!(rate("0"), Err(UnitError::Zero));
        assert_eq!(rate("1 bit"), Err(UnitError::Zero));
        assert!(matches!(rate("100 Mb/s"), Err(UnitError::Ambiguous(_))));
        assert!(matches!(rate("5 M/min"), Err(UnitError::Unit { .. })));
    }

    #[test]
    fn times_as_people_write_them() {
        let time = |text: &str| text.parse::<Span>().map(|s| s.0.as_millis());
        assert_eq!(time("90"), Ok(90_000));
        assert_eq!(time("1.5"), Ok(1_500));
        assert_eq!(time("10m"), Ok(600_000));
        assert_eq!(time("1h30m"), Ok(5_400_000));
        assert_eq!(time("1 day 2 hours"), Ok(93_600_000));
        assert_eq!(time("20ms"), Ok(20));
        for bad in ["", "m", "1x", "5 fortnights", "h1", "99999999999999999999d"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "0.98 KiB");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(20 << 20), "20.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(rate(1 << 30), "1.00 GiB/s");
        assert_eq!(time(Duration::from_millis(340)), "0.3 s");
        assert_eq!(time(Duration::from_secs(65)), "1 min 5 s");
        assert_eq!(time(Duration::from_secs(3600)), "1 h");
        assert_eq!(time(Duration::from_secs(3 * 86_400 + 7_300)), "3 d 2 h");
    }

    proptest! {
        #[test]
        fn a_bare_number_is_bytes(n: u64) {
            prop_assert_eq!(n.to_string().parse::<Size>(), Ok(Size(n)));
            prop_assert_eq!(format!(" {n} B ").parse::<Size>(), Ok(Size(n)));
        }

        #[test]
        fn units_multiply(n in 0u64..1 << 20, unit in 0usize..5, blank in " ?") {
            let (short, bin, dec) = [("k", "KiB", "KB"), ("M", "MiB", "MB"), ("G", "gib", "GB"), ("T", "TiB", "tB"), ("", "B", "")][unit];
            let power = [1, 2, 3, 4, 0][unit];
            prop_assert_eq!(format!("{n}{blank}{short}").parse(), Ok(Size(n * 1024u64.pow(power))));
            prop_assert_eq!(format!("{n}{blank}{bin}").parse(), Ok(Size(n * 1024u64.pow(power))));
            prop_assert_eq!(format!("{n}{blank}{dec}").parse(), Ok(Size(n * 1000u64.pow(power))));
        }

        #[test]
        fn bits_are_an_eighth(n in 1u64..1 << 30) {
            prop_assert_eq!(format!("{n} kbit/s").parse(), Ok(Rate(n * 125)));
            prop_assert_eq!(format!("{n}MB/s").parse(), Ok(Rate(n * 1_000_000)));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,20}|[0-9.]{0,40}[ kKmMgGibBtps/]{0,8}") {
            let _ = (text.parse::<Size>(), text.parse::<Rate>(), text.parse::<Span>());
        }

        #[test]
        fn figures_stay_short(n: u64, s in 0u64..1 << 40) {
            prop_assert!(bytes(n).len() <= 8, "{}", bytes(n));
            prop_assert!(!time(Duration::from_secs(s)).is_empty());
        }
    }
}
