//! What the user sees: results on standard output (text, or JSON objects one a line), the rest on standard error.

use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

/// How to speak, from the flags of every command.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    /// JSON objects on standard output instead of text.
    pub json: bool,
    /// Results and errors only.
    pub quiet: bool,
}

impl Voice {
    /// Prints an object in a line of its own, for programs; nothing if people read. A reader that went away is no error:
    /// what was asked for is done all the same.
    pub fn object(&self, object: &impl Serialize) {
        if self.json
            && let Ok(line) = serde_json::to_string(object)
        {
            self.out(&line);
        }
    }

    /// Prints a result for people; nothing if a program reads.
    pub fn result(&self, line: &str) {
        if !self.json {
            self.out(line);
        }
    }

    /// Tells people how it is going, on standard error.
    pub fn note(&self, line: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr().lock(), "{}", printable(line));
        }
    }

    /// Tells people what they should know although it is no failure, on standard error.
    pub fn warn(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "warning: {}", printable(line));
    }

    /// True if progress bars can be drawn.
    pub fn draws(&self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    fn out(&self, line: &str) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Prints the line that a failed command ends with.
pub fn fail(line: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {line}");
}

/// The text with control characters, and those that turn the direction of writing, escaped: names come from strangers,
/// and terminals obey what is printed.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || is_bidi(c) => {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}c \u{e9}"), "a\\u{1b}[2J\\nb\\u{202e}c \u{e9}");
    }
}
