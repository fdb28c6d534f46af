//! ARCHITECTURE.md names symbols in its two walks; a symbol that no longer exists makes the page a lie, so it is checked.
//!
//! Checked is every `symbol` in backquotes under a heading that begins with "The way of". `Type::method` asks for both parts in one
//! file; a file path has to exist.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::run;

/// Checks that each symbol of the walks stands in some source.
pub(crate) fn check() -> Result<()> {
    let page = fs::read_to_string(run::root().join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    let symbols = symbols(&page);
    ensure!(symbols.len() >= 20, "ARCHITECTURE.md names only {} symbols in its walks", symbols.len());
    let sources = sources()?;
    let missing: Vec<&str> = symbols.into_iter().filter(|s| !exists(s, &sources)).collect();
    ensure!(missing.is_empty(), "ARCHITECTURE.md names symbols that no source defines: {}", missing.join(", "));
    Ok(())
}

/// What stands in backquotes in the sections that walk.
fn symbols(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut walking = false;
    for line in page.lines() {
        if line.starts_with('#') {
            walking = line.trim_start_matches('#').trim().starts_with("The way of");
        } else if walking {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

fn sources() -> Result<Vec<(String, String)>> {
    let list = run::output(&mut run::command("git", &["ls-files", "-co", "--exclude-standard", "-z", "crates/*.rs"]))?;
    let names = list.split('\0').filter(|n| !n.is_empty());
    Ok(names.filter_map(|n| Some((n.to_owned(), fs::read_to_string(run::root().join(n)).ok()?))).collect())
}

fn exists(symbol: &str, sources: &[(String, String)]) -> bool {
    if symbol.contains('/') {
        return run::root().join(symbol).exists();
    }
    let symbol = symbol.trim_end_matches("()");
    let parts: Vec<&str> = symbol.split("::").collect();
    // A leading lower-case part is the room, as in `swarm::Torrent`; a leading upper-case one is the type.
    let (room, rest) = match parts.as_slice() {
        [room, rest @ ..] if !rest.is_empty() && room.starts_with(char::is_lowercase) => (Some(*room), rest),
        all => (None, all),
    };
    let mut files = sources.iter().filter(|(name, _)| room.is_none_or(|r| name.starts_with(&format!("crates/{r}/"))));
    files.any(|(_, text)| rest.iter().all(|part| defines(text, part) || (rest.len() > 1 && mentions(text, part))))
        && sources.iter().any(|(_, text)| rest.last().is_some_and(|last| defines(text, last)))
}

/// Does the text define the word: as a function, a type, a constant, a variant or a field?
fn defines(text: &str, word: &str) -> bool {
    let keyword = ["fn ", "struct ", "enum ", "trait ", "const ", "type ", "mod "];
    let at = |i: usize| {
        let before = &text[..i];
        let after = text[i + word.len()..].chars().next().unwrap_or(' ');
        if after.is_alphanumeric() || after == '_' {
            return false;
        }
        let indented = before.rsplit('\n').next().is_some_and(|line| !line.is_empty() && line.trim().is_empty());
        keyword.iter().any(|k| before.ends_with(k)) || (indented && matches!(after, ',' | '(' | '{' | ' ' | ':'))
    };
    text.match_indices(word).any(|(i, _)| at(i))
}

fn mentions(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(i, _)| {
        let before = text[..i].chars().next_back().unwrap_or(' ');
        let after = text[i + word.len()..].chars().next().unwrap_or(' ');
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !part(before) && !part(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walks_name_what_exists() {
        check().unwrap();
    }

    #[test]
    fn only_the_walks_are_read() {
        let page = "# A\n`x`\n## The way of one block\nfirst `a::B`, then `c`\n## Else\n`y`\n";
        assert_eq!(symbols(page), ["a::B", "c"]);
    }

    #[test]
    fn a_symbol_is_found_where_it_is_defined() {
        let text = "pub struct Torrent { }\nimpl Torrent {\n    pub fn handle(&mut self) {}\n}\nenum E {\n    Received { n: u8 },\n}\n";
        let sources = [("crates/swarm/src/lib.rs".to_owned(), text.to_owned())];
        for (symbol, expected) in [
            ("swarm::Torrent", true),
            ("Torrent::handle", true),
            ("E::Received", true),
            ("wire::Torrent", false),
            ("Torrent::forget", false),
            ("Torren", false),
        ] {
            assert_eq!(exists(symbol, &sources), expected, "{symbol}");
        }
    }
}
