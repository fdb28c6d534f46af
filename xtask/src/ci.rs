//! All that a change has to pass, cheapest first.

use anyhow::Result;

use crate::{http, layers, lengths, licences, pages, run, tests};

/// Formatting, lints, docs, licences, layers, lengths, pages; then the tests.
pub(crate) fn ci() -> Result<()> {
    run::step("formatting", || run::run(&mut run::cargo(&["fmt", "--all", "--check"])))?;
    run::step("layers", layers::check)?;
    run::step("file lengths", lengths::check)?;
    run::step("pages", || pages::check().and_then(|()| http::check()))?;
    run::step("licences", licences::check)?;
    run::step("lints", || {
        run::run(&mut run::cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    run::step("docs", || {
        let mut doc = run::cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
        run::run(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
    })?;
    tests::test(&[])
}
