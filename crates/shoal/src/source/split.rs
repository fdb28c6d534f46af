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
        bail!(
            "part {lost} of {} is nowhere that this machine can reach; `shoal split repair` may restore it",
            manifest.name
        );
    }
    let told_by = match origin {
        Origin::Folder(_) => Scope::Loopback,
        Origin::Url { told_by, .. } => told_by,
    };
    Ok(Source::new(What::Plain(Box::new(Plain::new(manifest.plan(), ""))), servers, told_by))
}
