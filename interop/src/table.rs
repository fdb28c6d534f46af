//! docs/INTEROP.md, made from the list of cells: each cell in it is tried by a test, so the page cannot promise more than is true.

use std::fmt::Write as _;

use crate::cell::{Cell, Format, Role};
use crate::client::Kind;
use crate::content::{Empty, Shape};

const HEAD: &str = "# Interoperation\n\n\
    Made by `cargo test -p interop` from the cells that it tries, each on every run of `cargo xtask test`: content made from a seed, the\n\
    .torrent made by `shoal torrent create`, peers brought together by `shoal tracker` (hybrids over UDP, the others over HTTP), the result\n\
    compared byte for byte. A test compares this page with the cells; `SHOAL_BLESS=1 cargo test -p interop page` writes it anew.\n\n\
    *file* is one file; *tree* is a folder with empty files, odd names, folders in folders and, in a hybrid, pad files.\n\n";

const NOTES: &str = "\n¹ Knows no pad files (BEP 47): it stores them in `.pad` and needs them there to seed. Shoal needs none, sends zeros for them and\n\
    never asks for them.\n\n\
    ² Makes no empty files (all others are equal).\n\n\
    ³ Knows no BitTorrent v2 (BEP 52) and refuses the .torrent, which is tested too. That is why `--format auto` never makes v2 alone.\n\n\
    ⁴ Transmission 3.00 takes no .torrent in which a dictionary has an empty key, and every v2 file tree has one, that of other programs\n\
    too; 4.0 reads hybrids. For users of the old one: `--format v1`.\n\n\
    ⁵ aria2 drops these empty keys and takes the info-hash over what is left (`aria2c -S` shows it, with hybrids of other programs too), so\n\
    that it asks for a torrent that nobody has. For its users: `--format v1`, or the link of `shoal share`, which it fetches over HTTP.\n";

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (role, title) in
        [(Role::Seeds, "They seed, `shoal get` fetches"), (Role::Leeches, "`shoal seed` seeds, they fetch")]
    {
        let _ = write!(page, "## {title}\n\n| client |");
        for (format, shape) in columns() {
            let shape = if shape == Shape::File { "file" } else { "tree" };
            let _ = write!(page, " {} {shape} |", format.name());
        }
        page.push_str("\n|---|---|---|---|---|---|---|\n");
        for client in Kind::ALL {
            let _ = write!(page, "| {} |", client.title());
            for (format, shape) in columns() {
                let _ = write!(page, " {} |", verdict(Cell { client, role, format, shape }));
            }
            page.push('\n');
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page.push_str(NOTES);
    page
}

fn columns() -> impl Iterator<Item = (Format, Shape)> {
    let formats = [Format::V1, Format::Hybrid, Format::V2];
    formats.into_iter().flat_map(|f| [Shape::File, Shape::Tree].map(|s| (f, s)))
}

fn verdict(cell: Cell) -> &'static str {
    if !cell.works() {
        return match (cell.format, cell.client) {
            (Format::V2, _) => "no ³",
            (_, Kind::Transmission) => "no ⁴",
            _ => "no ⁵",
        };
    }
    let no_empty =
        cell.role == Role::Leeches && cell.shape == Shape::Tree && cell.client.makes_empty_files() == Empty::MayMiss;
    match (cell.stores_pads(), no_empty) {
        (false, false) => "yes",
        (true, false) => "yes ¹",
        (false, true) => "yes ²",
        (true, true) => "yes ¹ ²",
    }
}
