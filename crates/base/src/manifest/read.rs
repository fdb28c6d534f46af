//! Reading manifests: first what JSON makes of them, within limits, then whether it can be true.

use super::{Manifest, ManifestError, Part, Place};
use crate::Geometry;
use crate::ids::from_hex;
use crate::metainfo::names::{self, Rules};
use hash::Sha256;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

/// What is read first: nothing else means anything in another format or version.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u64,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    bytes: u64,
    piece_length: u64,
    #[serde(borrow)]
    sha256: Cow<'a, str>,
    #[serde(borrow)]
    pieces: Cow<'a, str>,
    parts: AtMost<RawPart, { Manifest::PARTS_MAX }>,
}

#[derive(Deserialize)]
struct RawPart {
    number: u64,
    offset: u64,
    bytes: u64,
    places: AtMost<String, { Manifest::REPLICAS_MAX }>,
}

/// A list of at most `N`: no memory is taken for more.
struct AtMost<T, const N: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if list.len() == N {
                        return Err(serde::de::Error::custom(format_args!("more than {N} in a list")));
                    }
                    list.push(item);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(List::<T, N>(PhantomData)).map(AtMost)
    }
}

/// The beginning of what a stranger wrote, for an error.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn json(error: &serde_json::Error) -> ManifestError {
    // It may quote what a stranger wrote.
    ManifestError::Json(error.to_string().chars().take(300).collect())
}

pub(super) fn manifest(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    if bytes.len() > Manifest::BYTES_MAX {
        return Err(ManifestError::Long(bytes.len()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head: Head<'_> = serde_json::from_slice(bytes).map_err(|e| json(&e))?;
    if head.format != "shoal-split" {
        return Err(ManifestError::NotAManifest(shown(&head.format)));
    }
    if head.version != Manifest::VERSION {
        return Err(ManifestError::Version(head.version));
    }
    let raw: Raw<'_> = serde_json::from_slice(bytes).map_err(|e| json(&e))?;
    if raw.name.len() > Manifest::NAME_LEN_MAX {
        return Err(ManifestError::Json(format!("the name is longer than {} bytes", Manifest::NAME_LEN_MAX)));
    }
    let name = names::component(raw.name.as_bytes(), Rules::HERE, names::TOP_MAX);
    let geometry = Manifest::geometry(raw.bytes, raw.piece_length)?;
    let sha256 = from_hex(raw.sha256.as_bytes()).ok_or_else(|| ManifestError::Whole(shown(&raw.sha256)))?;
    let pieces = digests(&raw.pieces, &geometry)?;
    let only = match &pieces[..] {
        [] => Some(Sha256::digest(b"")),
        [only] => Some(*only),
        _ => None,
    };
    if only.is_some_and(|only| only != sha256) {
        return Err(ManifestError::Disagree);
    }
    let parts = parts(raw.parts.0, &geometry)?;
    Ok(Manifest { name, geometry, sha256, pieces, parts })
}

fn digests(text: &str, geometry: &Geometry) -> Result<Box<[[u8; 32]]>, ManifestError> {
    let pieces = geometry.piece_count();
    if text.len() != pieces as usize * 64 {
        return Err(ManifestError::DigestsLength { digits: text.len(), pieces });
    }
    let digest = |(i, digits)| from_hex(digits).ok_or(ManifestError::Digest(i as u32));
    text.as_bytes().chunks_exact(64).enumerate().map(digest).collect()
}

fn parts(raw: Vec<RawPart>, geometry: &Geometry) -> Result<Vec<Part>, ManifestError> {
    let total = geometry.total();
    let (mut at, mut parts, mut folders, mut all) =
        (0, Vec::with_capacity(raw.len()), BTreeSet::new(), BTreeSet::new());
    for (part, raw) in (0u32..).zip(raw) {
        let RawPart { number, offset, bytes, places } = raw;
        if number != u64::from(part) {
            return Err(ManifestError::Number { should: part, is: number });
        }
        if offset != at {
            return Err(ManifestError::Offset { part, should: at, is: offset });
        }
        let end = offset.checked_add(bytes).filter(|end| *end <= total);
        let fault = |why| ManifestError::PartBytes { part, offset, bytes, why };
        let end = end.ok_or_else(|| fault("goes beyond the end of the file"))?;
        if bytes == 0 {
            return Err(fault("is empty"));
        }
        if end != total && !end.is_multiple_of(geometry.piece_length().into()) {
            return Err(fault("does not end where a piece ends"));
        }
        let mut kept = Vec::with_capacity(places.0.len());
        for text in places.0 {
            let place = Place::parse(&text);
            let place = place.map_err(|fault| ManifestError::Place { part, place: shown(&text), fault })?;
            if !folders.contains(place.folder()) && folders.len() == Manifest::TARGETS_MAX {
                return Err(ManifestError::Targets(Manifest::TARGETS_MAX + 1));
            }
            folders.insert(place.folder().to_owned());
            if !all.insert(place.clone()) {
                return Err(ManifestError::Twice { part, place: shown(&text) });
            }
            kept.push(place);
        }
        parts.push(Part { offset, bytes, places: kept });
        at = end;
    }
    match at == total {
        true => Ok(parts),
        false => Err(ManifestError::Sum { should: total, is: at }),
    }
}
