//! Percent-encoding (RFC 3986) of binary values in query strings.

/// Appends `bytes` to `out`; what is not unreserved is escaped.
pub(crate) fn encode(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &b in bytes {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.extend(['%', char::from(HEX[usize::from(b >> 4)]), char::from(HEX[usize::from(b & 15)])]);
        }
    }
}

/// The bytes that `text` stands for. `+` is a space, as form encoders write it; a `%` without two hex digits is an
/// error, and ends the bytes with None.
pub(crate) fn decode(text: &str) -> impl Iterator<Item = Option<u8>> + '_ {
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        Some(match bytes.next()? {
            b'%' => hex(bytes.next()).zip(hex(bytes.next())).map(|(high, low)| high << 4 | low),
            b'+' => Some(b' '),
            b => Some(b),
        })
    })
}

/// The `N` bytes that `text` stands for; None if it stands for more or fewer.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut bytes = decode(text);
    for slot in &mut out {
        *slot = bytes.next()??;
    }
    bytes.next().is_none().then_some(out)
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = String::new();
        encode(bytes, &mut out);
        out
    }

    #[test]
    fn golden_text() {
        let hash = b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a";
        assert_eq!(encoded(hash), "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A");
        assert_eq!(decode_array::<20>("%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9A"), Some(*hash));
        assert_eq!(decode_array::<3>("a+b"), Some(*b"a b"));
        assert_eq!(decode_array::<3>("ab"), None);
        assert_eq!(decode_array::<3>("abcd"), None);
        assert_eq!(decode_array::<1>("%4"), None);
        assert_eq!(decode_array::<1>("%g0"), None);
        assert_eq!(decode_array::<1>("%"), None);
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 20]) {
            prop_assert_eq!(decode_array::<20>(&encoded(&bytes)), Some(bytes));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = decode(&text).count();
        }
    }
}
