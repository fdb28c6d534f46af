//! Text of strangers that people will see: on terminals, in pages, in logs.

/// `bytes` as text of at most `max` characters. What is no UTF-8 becomes U+FFFD; so do control characters and those
/// that turn the direction of writing, or a tracker's message could repaint a terminal.
pub(crate) fn printable(bytes: &[u8], max: usize) -> String {
    // A character takes at most four bytes: what lies behind can't matter, and is not copied.
    let bytes = &bytes[..bytes.len().min(max.saturating_mul(4))];
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .take(max)
        .map(|c| if c.is_control() || is_invisible(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(printable("µTorrent 1.2".as_bytes(), 64), "µTorrent 1.2");
        assert_eq!(printable(b"a\x1b[2Jb\r\nc", 64), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(printable("a\u{202e}b".as_bytes(), 64), "a\u{fffd}b");
        assert_eq!(printable(&[0xff, b'x'], 64), "\u{fffd}x");
        assert_eq!(printable("ääää".as_bytes(), 3), "äää");
        assert_eq!(printable(b"", 3), "");
    }
}
