//! Words of programs and strangers, as they may stand in a log.

/// Text without anything that a terminal would obey, or that would look like a line of its own.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.trim_ascii_end());
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
