//! Writing manifests: a line for each part, so that people and their tools see what has changed.

use super::{Manifest, Part};
use crate::Hex;
use std::fmt::Write;

/// The manifest as JSON. Nothing fails that is written to a string.
pub(super) fn json(manifest: &Manifest) -> String {
    let mut out = String::with_capacity(manifest.pieces.len() * 64 + manifest.parts.len() * 200 + 512);
    let _ = writeln!(out, "{{\n \"format\": \"shoal-split\",\n \"version\": {},", Manifest::VERSION);
    let _ = writeln!(out, " \"name\": {},", text(&manifest.name));
    let _ = writeln!(out, " \"bytes\": {},", manifest.geometry.total());
    let _ = writeln!(out, " \"piece_length\": {},", manifest.geometry.piece_length());
    let _ = write!(out, " \"sha256\": \"{}\",\n \"pieces\": \"", Hex(&manifest.sha256));
    for digest in &manifest.pieces {
        let _ = write!(out, "{}", Hex(digest));
    }
    out.push_str("\",\n \"parts\": [");
    for (number, part) in manifest.parts.iter().enumerate() {
        out.push_str(if number == 0 { "\n  " } else { ",\n  " });
        write_part(&mut out, number, part);
    }
    out.push_str("\n ]\n}\n");
    out
}

fn write_part(out: &mut String, number: usize, part: &Part) {
    let Part { offset, bytes, places } = part;
    let places: Vec<String> = places.iter().map(|place| text(&place.written())).collect();
    let places = places.join(", ");
    let _ = write!(out, "{{\"number\": {number}, \"offset\": {offset}, \"bytes\": {bytes}, \"places\": [{places}]}}");
}

/// A string of JSON.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
