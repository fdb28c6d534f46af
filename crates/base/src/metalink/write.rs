//! Writing Metalinks.

use super::{Metalink, MetalinkFile, MetalinkPieces, PieceHashes};
use crate::Hex;
use std::fmt::Write;

impl Metalink {
    /// The Metalink as a file.
    pub fn to_xml(&self) -> String {
        let mut out = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n",
        );
        element(&mut out, 1, "generator", &[], self.generator.as_deref());
        if let Some(origin) = &self.origin {
            let dynamic = origin.dynamic.then(|| "true".to_owned());
            element(&mut out, 1, "origin", &[("dynamic", dynamic)], Some(&origin.url));
        }
        element(&mut out, 1, "published", &[], self.published.as_deref());
        self.files.iter().for_each(|file| file.write(&mut out));
        out.push_str("</metalink>\n");
        out
    }
}

impl MetalinkFile {
    fn write(&self, out: &mut String) {
        open(out, 1, "file", &[("name", Some(self.path.clone()))]);
        out.push('\n');
        let kind = |kind: &str| [("type", Some(kind.to_owned()))];
        element(out, 2, "size", &[], self.size.map(|size| size.to_string()).as_deref());
        element(out, 2, "hash", &kind("sha-256"), self.sha256.map(|d| Hex(&d).to_string()).as_deref());
        element(out, 2, "hash", &kind("sha-1"), self.sha1.map(|d| Hex(&d).to_string()).as_deref());
        for (name, value) in &self.hashes {
            element(out, 2, "hash", &kind(name), Some(value));
        }
        if let Some(pieces) = &self.pieces {
            pieces.write(out);
        }
        for url in &self.urls {
            let priority = url.priority.map(|p| p.to_string());
            element(out, 2, "url", &[("location", url.location.clone()), ("priority", priority)], Some(&url.url));
        }
        for torrent in &self.torrents {
            let (kind, priority) = (Some("torrent".to_owned()), torrent.priority.map(|p| p.to_string()));
            let attributes = [("mediatype", kind), ("name", torrent.name.clone()), ("priority", priority)];
            element(out, 2, "metaurl", &attributes, Some(&torrent.url));
        }
        out.push_str("  </file>\n");
    }
}

impl MetalinkPieces {
    fn write(&self, out: &mut String) {
        let kind = match self.hashes {
            PieceHashes::Sha1(_) => "sha-1",
            PieceHashes::Sha256(_) => "sha-256",
        };
        open(out, 2, "pieces", &[("length", Some(self.length.to_string())), ("type", Some(kind.to_owned()))]);
        out.push('\n');
        match &self.hashes {
            PieceHashes::Sha1(all) => all.iter().for_each(|digest| piece(out, digest)),
            PieceHashes::Sha256(all) => all.iter().for_each(|digest| piece(out, digest)),
        }
        out.push_str("    </pieces>\n");
    }
}

fn piece(out: &mut String, digest: &[u8]) {
    // Nothing fails that is written to a string.
    let _ = writeln!(out, "      <hash>{}</hash>", Hex(digest));
}

/// An element with a text, if there is one.
fn element(out: &mut String, depth: usize, name: &str, attributes: &[(&str, Option<String>)], text: Option<&str>) {
    let Some(text) = text else { return };
    open(out, depth, name, attributes);
    escape(out, text);
    let _ = writeln!(out, "</{name}>");
}

fn open(out: &mut String, depth: usize, name: &str, attributes: &[(&str, Option<String>)]) {
    out.extend(std::iter::repeat_n("  ", depth));
    let _ = write!(out, "<{name}");
    for (key, value) in attributes {
        if let Some(value) = value {
            let _ = write!(out, " {key}=\"");
            escape(out, value);
            out.push('"');
        }
    }
    out.push('>');
}

/// What means something to XML is written in its other form; what XML can't hold at all is replaced.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = (era * 400 + year_of_era + next).min(9999);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}
