//! No Rust file of ours reaches 1,000 lines: a file that long holds more than one idea.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::run;

/// The first length that is too long.
const LINES_MAX: usize = 1_000;

/// Checks every `.rs` file that git knows or would add.
pub(crate) fn check() -> Result<()> {
    let mut long = Vec::new();
    let list = run::output(&mut run::command("git", &["ls-files", "-co", "--exclude-standard", "-z", "*.rs"]))?;
    for name in list.split('\0').filter(|n| !n.is_empty()) {
        let path = run::root().join(name);
        if !path.exists() {
            continue; // deleted, and not committed yet
        }
        let lines = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?.lines().count();
        if lines >= LINES_MAX {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    ensure!(long.is_empty(), "files of {LINES_MAX} lines or more, which need to be split:\n  {}", long.join("\n  "));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_is_short_enough() {
        super::check().unwrap();
    }
}
