//! A split manifest as a source: each folder or server that holds parts is a server to fetch from.

use super::{Source, What};
use anyhow::bail;
use base::manifest::Place;
use base::{Manifest, Scope};
use node::Plain;
use node::http::client::NamedBy;
use node::http::{At, Part, Places, Server};
use std::path::Path;

/// Where a manifest comes from, which is where its relative places begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// A folder of the user's.
    Folder(&'a Path),
    /// A URL.
    Url {
        /// Which.
        url: &'a str,
        /// How near the server is.
        told_by: Scope,
    },
}

/// What a manifest leads to.
pub(super) fn source(manifest: &Manifest, origin: Origin<'_>) -> anyhow::Result<Source> {
    let at = |place: &Place| match (place, origin) {
        (Place::Url(url), _) => Some(At::Url(url.clone())),
        (Place::Path(path), Origin::Folder(folder)) => Some(At::File(folder.join(path))),
        (place, Origin::Url { url, .. }) => place.url(url).map(At::Url),
    };
    let named_by = match origin {
        Origin::Folder(_) => NamedBy::Told(Scope::Loopback),
        Origin::Url { told_by, .. } => NamedBy::Told(told_by),
    };
    let mut servers = Vec::new();
    for places in manifest.by_folder().into_values() {
        let part = |(number, place): (usize, &Place)| {
            let part = &manifest.parts[number];
            Some(Part { offset: part.offset, len: part.bytes, at: at(place)? })
        };
        let parts: Vec<Part> = places.into_iter().filter_map(part).collect();
        if !parts.is_empty() {
            servers.push(Server { places: Places::Parts(parts), named_by, ..Server::whole(String::new()) });
        }
    }
    if let Some(lost) = manifest.parts.iter().position(|p| p.places.iter().all(|place| at(place).is_none())) {
        let name = &manifest.name;
        if manifest.parts[lost].places.is_empty() {
            bail!(
                "part {lost} of {name} is lost: the manifest names no place of it; `shoal split repair --from FILE` restores it from the file"
            );
        }
        bail!(
            "part {lost} of {name} is in folders of another machine only; fetch it there, or repair it there with a server among its targets"
        );
    }
    let told_by = match origin {
        Origin::Folder(_) => Scope::Loopback,
        Origin::Url { told_by, .. } => told_by,
    };
    Ok(Source::new(What::Plain(Box::new(Plain::new(manifest.plan(), ""))), servers, told_by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_nowhere_are_named() {
        let fault = |places: &str, origin: Origin<'_>| {
            let text = format!(
                r#"{{"format": "shoal-split", "version": 1, "name": "f", "bytes": 1, "piece_length": 1, "sha256": "{0}", "pieces": "{0}",
                "parts": [{{"number": 0, "offset": 0, "bytes": 1, "places": [{places}]}}]}}"#,
                "ab".repeat(32)
            );
            let manifest = Manifest::parse(text.as_bytes()).unwrap();
            source(&manifest, origin).map(|found| found.servers.len()).map_err(|e| e.to_string())
        };
        let here = || Origin::Folder(Path::new("/x"));
        let there = || Origin::Url { url: "http://h/m.json", told_by: Scope::Global };
        assert_eq!(fault(r#""/y/f", "a/f", "http://h/f""#, here()), Ok(3));
        let lost = fault("", here()).unwrap_err();
        assert!(lost.contains("part 0 of f is lost") && lost.contains("repair --from"), "{lost}");
        let theirs = fault(r#""/y/f""#, there()).unwrap_err();
        assert!(theirs.contains("part 0 of f is in folders of another machine"), "{theirs}");
        assert_eq!(fault(r#""/y/f", "a/f""#, there()), Ok(1), "what they have on disk is not ours to open");
    }
}
