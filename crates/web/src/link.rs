//! What a link tells programs: where its torrent, its Metalink and its mirrors are, and what its bytes add up to (RFC 6249,
//! RFC 3230, RFC 9530, RFC 5854).

use crate::item::Item;
use crate::mirrors::{self, Mirrors};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{StatusCode, header};
use axum::response::Response;
use base::Metainfo;
use base::metalink::{
    self, Metalink, MetalinkFile, MetalinkOrigin, MetalinkPieces, MetalinkTorrent, MetalinkUrl, PieceHashes,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

const DIGEST: HeaderName = HeaderName::from_static("digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Tells what describes an answer, and who else gives it. `path` is that of a file in a folder.
pub(crate) fn describe(response: &mut Response, item: &Item, path: Option<&str>, mirrors: &Mirrors) {
    let name = mirrors::path(&item.name, None);
    let mut links = format!("<{name}.torrent>; rel=describedby; type=\"application/x-bittorrent\"");
    match path {
        None => links.push_str(&format!(", <{name}.meta4>; rel=describedby; type=\"{}\"", metalink::MEDIA_TYPE)),
        // Which of the torrent's files it is. There is no Metalink of it alone.
        Some(path) if path.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != '"' && c != '\\') => {
            links.push_str(&format!("; name=\"{path}\""));
        }
        Some(_) => {}
    }
    links.push_str(&mirrors.links(&mirrors::path(&item.name, path)));
    if let Ok(links) = HeaderValue::from_str(&links) {
        response.headers_mut().insert(header::LINK, links);
    }
}

/// Tells the digest of the whole, also where only a part of it is sent.
pub(crate) fn digest(response: &mut Response, sha256: [u8; 32]) {
    if !matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return;
    }
    let text = BASE64_STANDARD.encode(sha256);
    for (name, value) in [(DIGEST, format!("SHA-256={text}")), (REPR_DIGEST, format!("sha-256=:{text}:"))] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// The Metalink of an item. None if it has more files than Metalinks may have here.
pub(crate) fn metalink(item: &Item, base: &str, mirrors: &Mirrors) -> Option<Metalink> {
    if item.files.len() > Metalink::FILES_MAX {
        return None;
    }
    let link = format!("{base}{}", mirrors::path(&item.name, None));
    let torrent = Metainfo::parse(&item.torrent).ok();
    let file = |index: usize| {
        let file = &item.files[index];
        let path = (!item.single).then_some(&*file.path);
        let at = mirrors::path(&item.name, path);
        let mut urls: Vec<_> = mirrors
            .0
            .iter()
            .map(|m| MetalinkUrl { url: format!("{}{at}", m.base), priority: m.priority, location: m.location.clone() })
            .collect();
        urls.push(MetalinkUrl { url: format!("{base}{at}"), ..MetalinkUrl::default() });
        MetalinkFile {
            path: path.map_or_else(|| item.title.clone(), |path| format!("{}/{path}", item.title)),
            size: Some(file.len),
            sha256: file.sha256,
            // The pieces of a folder's torrent are not those of its files.
            pieces: torrent.as_ref().filter(|_| item.single).and_then(pieces),
            urls,
            torrents: vec![MetalinkTorrent {
                url: format!("{link}.torrent"),
                priority: None,
                // As the torrent has it, its own name in front.
                name: path.map(|path| format!("{}/{path}", item.title)),
            }],
            ..MetalinkFile::default()
        }
    };
    Some(Metalink {
        files: (0..item.files.len()).map(file).collect(),
        generator: Some(concat!("Shoal/", env!("CARGO_PKG_VERSION")).to_owned()),
        published: torrent.as_ref().and_then(|t| t.creation_date).map(metalink::date),
        origin: Some(MetalinkOrigin { url: format!("{link}.meta4"), dynamic: true }),
    })
}

/// The digests of pieces that a torrent with a v1 half has.
fn pieces(torrent: &Metainfo) -> Option<MetalinkPieces> {
    let plan = torrent.plan()?;
    Some(MetalinkPieces { length: plan.geometry.piece_length(), hashes: PieceHashes::Sha1(plan.checks.sha1?) })
}
