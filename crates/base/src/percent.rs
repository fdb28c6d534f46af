//! Percent-encoding of URLs and magnets (RFC 3986).

use std::fmt::Write as _;

/// True for the bytes that never need encoding.
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Encodes every byte but the unreserved ones and those in `keep`.
pub fn encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if is_unreserved(byte) || (byte.is_ascii() && keep.contains(&byte)) {
            out.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Decodes once. A percent sign without two hexadecimal digits behind it stands for itself, as in browsers.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [a, b, tail @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                out.push(digit(*a) << 4 | digit(*b));
                tail
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> u8 {
    char::from(byte).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_once_and_keeps_what_is_no_escape() {
        assert_eq!(decode(b"a%20b%2520+%zz%4"), b"a b%20+%zz%4");
        assert_eq!(encode("a b/\u{e9}".as_bytes(), b"/"), "a%20b/%C3%A9");
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(decode(encode(&bytes, b"/:").as_bytes()), bytes);
        }
    }
}
