//! From the elements of a Metalink to what it says.

use super::read::{Walk, shown};
use super::{
    Metalink, MetalinkError, MetalinkFault, MetalinkFile, MetalinkOrigin, MetalinkPieces, MetalinkTorrent, MetalinkUrl,
    PieceHashes,
};
use crate::Geometry;
use crate::ids::from_hex;
use crate::metainfo::names;
use quick_xml::events::BytesStart;

/// The digits of hash functions by the names that IANA gave them (registry "Hash Function Textual Names").
const DIGITS: &[(&str, usize)] =
    &[("md5", 32), ("sha-1", 40), ("sha-224", 56), ("sha-256", 64), ("sha-384", 96), ("sha-512", 128)];
/// Longest name of another hash function, and longest digest of one; what is longer is left out.
const HASH_NAME_MAX: usize = 32;
const HASH_VALUE_MAX: usize = 256;
/// Priorities, as RFC 5854 has them.
const PRIORITY_MAX: u32 = 999_999;

pub(super) fn metalink(bytes: &[u8]) -> Result<Metalink, MetalinkError> {
    if bytes.len() > Metalink::BYTES_MAX {
        return Err(MetalinkFault::Long { is: bytes.len() }.into());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| MetalinkFault::NotUtf8)?;
    let mut walk = Walk::new(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let mut found = Metalink::default();
    while let Some((name, start)) = walk.child()? {
        match &*name {
            "file" if found.files.len() == Metalink::FILES_MAX => return Err(walk.error(MetalinkFault::ManyFiles)),
            "file" => found.files.push(file(&mut walk, &start)?),
            "generator" => found.generator = Some(walk.text("generator")?).filter(|text| is_line(text)),
            "published" => found.published = Some(walk.text("published")?).filter(|text| is_date(text)),
            "origin" => {
                let dynamic = walk.attribute(&start, "dynamic")?.is_some_and(|d| d == "true" || d == "1");
                let url = walk.text("origin")?;
                found.origin = is_url(&url).then_some(MetalinkOrigin { url, dynamic });
            }
            _ => walk.skip()?,
        }
    }
    if found.files.is_empty() {
        return Err(walk.error(MetalinkFault::NoFiles));
    }
    let raw: Vec<Vec<&[u8]>> = found.files.iter().map(|file| parts(&file.path)).collect();
    let paths = names::distinct(&raw, names::Rules::HERE);
    found.files.iter_mut().zip(paths).for_each(|(file, path)| file.path = path.join("/"));
    Ok(found)
}

/// What stands between the slashes; nothing and a single dot lead nowhere.
fn parts(path: &str) -> Vec<&[u8]> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::as_bytes).collect()
}

fn file(walk: &mut Walk<'_>, start: &BytesStart<'_>) -> Result<MetalinkFile, MetalinkError> {
    let path =
        walk.attribute(start, "name")?.ok_or_else(|| walk.error(MetalinkFault::Missing("the name of a file")))?;
    let mut file = MetalinkFile { path, ..MetalinkFile::default() };
    while let Some((name, start)) = walk.child()? {
        match &*name {
            "size" => {
                let size = walk.text("size")?;
                let size = number(walk, "size", &size, 0, u64::MAX)?;
                once(walk, "size", file.size.replace(size))?;
            }
            "hash" => whole_hash(walk, &start, &mut file)?,
            "pieces" => {
                let pieces = pieces(walk, &start)?;
                // The better kind, where there are several.
                let better = |old: &MetalinkPieces, new: &MetalinkPieces| {
                    matches!((&old.hashes, &new.hashes), (PieceHashes::Sha1(_), PieceHashes::Sha256(_)))
                };
                if let Some(new) = pieces
                    && file.pieces.as_ref().is_none_or(|old| better(old, &new))
                {
                    file.pieces = Some(new);
                }
            }
            "url" => {
                let (priority, location) = (priority(walk, &start)?, walk.attribute(&start, "location")?);
                let location = location.filter(|l| l.len() == 2 && l.bytes().all(|b| b.is_ascii_alphabetic()));
                let url = walk.text("url")?;
                if is_url(&url) && file.urls.len() < Metalink::URLS_MAX {
                    file.urls.push(MetalinkUrl { url, priority, location });
                }
            }
            "metaurl" => {
                let (priority, name) = (priority(walk, &start)?, walk.attribute(&start, "name")?);
                let kind = walk.attribute(&start, "mediatype")?;
                let url = walk.text("metaurl")?;
                if kind.is_some_and(|kind| kind == "torrent" || kind == "application/x-bittorrent")
                    && is_url(&url)
                    && file.torrents.len() < Metalink::URLS_MAX
                {
                    file.torrents.push(MetalinkTorrent { url, priority, name: name.filter(|name| is_line(name)) });
                }
            }
            _ => walk.skip()?,
        }
    }
    if let (Some(size), Some(pieces)) = (file.size, &file.pieces) {
        pieces.check(size).map_err(|fault| walk.error(fault))?;
    }
    let order = |priority: &Option<u32>| priority.unwrap_or(PRIORITY_MAX);
    file.urls.sort_by_key(|url| order(&url.priority));
    file.torrents.sort_by_key(|torrent| order(&torrent.priority));
    Ok(file)
}

fn once<T>(walk: &Walk<'_>, what: &str, before: Option<T>) -> Result<(), MetalinkError> {
    match before {
        Some(_) => Err(walk.error(MetalinkFault::Twice(what.to_owned()))),
        None => Ok(()),
    }
}

fn whole_hash(walk: &mut Walk<'_>, start: &BytesStart<'_>, file: &mut MetalinkFile) -> Result<(), MetalinkError> {
    // Without a kind it is one of the pieces of Metalink 3, or of nobody knows what.
    let Some(kind) = walk.attribute(start, "type")? else { return walk.skip() };
    let value = walk.text("hash")?;
    match &*kind {
        "sha-256" => {
            let digest = digest(walk, &kind, &value)?;
            once(walk, "sha-256 hash", file.sha256.replace(digest))
        }
        "sha-1" => {
            let digest = digest(walk, &kind, &value)?;
            once(walk, "sha-1 hash", file.sha1.replace(digest))
        }
        _ => {
            let digits = DIGITS.iter().find(|(name, _)| *name == kind).map(|(_, digits)| *digits);
            if let Some(digits) = digits {
                let right = value.len() == digits && value.bytes().all(|b| b.is_ascii_hexdigit());
                if !right {
                    return Err(walk.error(MetalinkFault::Digest { kind, is: shown(&value), digits }));
                }
            }
            let tidy = |text: &str, max| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            let fits = tidy(&kind, HASH_NAME_MAX) && tidy(&value, HASH_VALUE_MAX);
            if fits && file.hashes.len() < Metalink::HASHES_MAX {
                file.hashes.push((kind, value));
            }
            Ok(())
        }
    }
}

/// The digests of pieces; None if they are of a kind that is not known.
fn pieces(walk: &mut Walk<'_>, start: &BytesStart<'_>) -> Result<Option<MetalinkPieces>, MetalinkError> {
    let missing = |walk: &Walk<'_>, what| walk.error(MetalinkFault::Missing(what));
    let length = walk.attribute(start, "length")?.ok_or_else(|| missing(walk, "the length of pieces"))?;
    let length = number(walk, "the length of pieces", &length, 1, Geometry::PIECE_LENGTH_MAX)? as u32;
    let kind = walk.attribute(start, "type")?.ok_or_else(|| missing(walk, "the type of pieces"))?;
    let hashes = match &*kind {
        "sha-1" => PieceHashes::Sha1(digests(walk, &kind)?),
        "sha-256" => PieceHashes::Sha256(digests(walk, &kind)?),
        _ => {
            walk.skip()?;
            return Ok(None);
        }
    };
    Ok(Some(MetalinkPieces { length, hashes }))
}

fn digests<const N: usize>(walk: &mut Walk<'_>, kind: &str) -> Result<Box<[[u8; N]]>, MetalinkError> {
    let mut all = Vec::new();
    while let Some((name, _)) = walk.child()? {
        if name != "hash" {
            walk.skip()?;
            continue;
        }
        if all.len() as u64 == Geometry::PIECES_MAX {
            return Err(walk.error(crate::GeometryError::Pieces(all.len() as u64 + 1)));
        }
        let value = walk.text("hash")?;
        all.push(digest(walk, kind, &value)?);
    }
    Ok(all.into())
}

fn digest<const N: usize>(walk: &Walk<'_>, kind: &str, value: &str) -> Result<[u8; N], MetalinkError> {
    from_hex(value.as_bytes())
        .ok_or_else(|| walk.error(MetalinkFault::Digest { kind: kind.to_owned(), is: shown(value), digits: 2 * N }))
}

fn number(walk: &Walk<'_>, what: &'static str, text: &str, min: u64, max: u64) -> Result<u64, MetalinkError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = text.parse().ok().filter(|n| digits && (min..=max).contains(n));
    value.ok_or_else(|| walk.error(MetalinkFault::Number { what, is: shown(text), min, max }))
}

/// A priority that is out of range says nothing.
fn priority(walk: &Walk<'_>, start: &BytesStart<'_>) -> Result<Option<u32>, MetalinkError> {
    let text = walk.attribute(start, "priority")?;
    Ok(text.and_then(|text| text.trim().parse().ok()).filter(|n| (1..=PRIORITY_MAX).contains(n)))
}

/// A scheme and more, no blanks or control characters.
fn is_url(text: &str) -> bool {
    let tidy = text.len() <= Metalink::URL_LEN_MAX && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    tidy && text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// As RFC 3339 has it, as far as its characters go.
fn is_date(text: &str) -> bool {
    let shape =
        text.get(..19).map(|t| t.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect::<Vec<_>>());
    text.len() <= 40 && text.is_ascii() && is_line(text) && shape.as_deref() == Some(b"0000-00-00T00:00:00")
}
