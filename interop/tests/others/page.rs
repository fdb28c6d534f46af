//! Is docs/INTEROP.md what the cells say?

use std::fs;

use anyhow::{Context, Result, ensure};
use interop::{place, table};
use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![crate::trial("page/matches_the_cells", page_matches_the_cells)]
}

fn page_matches_the_cells() -> Result<()> {
    let path = place::source("../docs/INTEROP.md");
    if std::env::var_os("SHOAL_BLESS").is_some() {
        return fs::write(&path, table::page()).context("cannot write docs/INTEROP.md");
    }
    let page = fs::read_to_string(&path).context("cannot read docs/INTEROP.md")?;
    ensure!(
        page == table::page(),
        "docs/INTEROP.md is out of date; to write it anew: SHOAL_BLESS=1 cargo test -p interop page"
    );
    Ok(())
}
