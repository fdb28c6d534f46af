//! Every crate that we link has a licence from the list in deny.toml, and comes from the registry.
//!
//! `cargo deny` reads the same file and knows more, but takes minutes to build; this needs nothing but `cargo metadata`.
//! It deliberately knows only as much of SPDX expressions as crates use: AND, OR, WITH, parentheses and the old slash.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{metadata, run};

/// Checks all dependencies; the error lists every fault, a line each.
pub(crate) fn check() -> Result<()> {
    let allowed = allowed()?;
    let mut faults = Vec::new();
    for package in metadata::packages(true)?.iter().filter(|p| p.foreign) {
        let fine = package.licence.as_deref().is_some_and(|licence| satisfied(licence, &allowed));
        if !fine {
            let licence = package.licence.as_deref().unwrap_or("none named");
            faults.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    ensure!(faults.is_empty(), "licences that deny.toml does not allow:\n  {}", faults.join("\n  "));
    let lock = fs::read_to_string(run::root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let elsewhere = lock.lines().filter(|l| l.starts_with("source = ")).find(|l| !l.contains("\"registry+"));
    ensure!(elsewhere.is_none(), "a dependency that is not from the registry: {}", elsewhere.unwrap_or_default());
    Ok(())
}

/// The `allow` list of deny.toml: quoted strings up to the closing bracket.
fn allowed() -> Result<Vec<String>> {
    let text = fs::read_to_string(run::root().join("deny.toml")).context("cannot read deny.toml")?;
    let (_, list) = text.split_once("\nallow = [").context("deny.toml has no list `allow`")?;
    let (list, _) = list.split_once(']').context("the list `allow` in deny.toml has no end")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Is the expression true when the allowed licences are true and all others false?
fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let value = any(&mut rest, allowed);
    value && rest.is_empty()
}

fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut value = all(words, allowed);
    while let [word, rest @ ..] = *words
        && word.eq_ignore_ascii_case("OR")
    {
        *words = rest;
        value |= all(words, allowed);
    }
    value
}

fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut value = one(words, allowed);
    while let [word, rest @ ..] = *words
        && word.eq_ignore_ascii_case("AND")
    {
        *words = rest;
        value &= one(words, allowed);
    }
    value
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let value = any(words, allowed);
            let [")", rest @ ..] = *words else { return false };
            *words = rest;
            value
        }
        [name, with, exception, rest @ ..] if with.eq_ignore_ascii_case("WITH") => {
            *words = rest;
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        [name, rest @ ..] => {
            *words = rest;
            allowed.iter().any(|a| a == name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT AND (GPL-3.0 OR Apache-2.0)", true),
            ("(MIT OR GPL-3.0) AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH LLVM-exception", false),
            ("(MIT", false),
            ("MIT Apache-2.0", false),
            ("", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn all_dependencies_are_allowed() {
        check().unwrap();
    }
}
