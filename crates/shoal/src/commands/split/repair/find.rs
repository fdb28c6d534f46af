//! The manifest to repair: in a file of the user's, or on a server, where it says less about this machine.

use crate::args::RepairArgs;
use crate::commands::split::{home, may_replace, read};
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::source::is_url;
use anyhow::Context as _;
use base::Scope;
use base::manifest::{Manifest, Place};
use base::metainfo::names::{self, Rules};
use node::http::client::{NamedBy, Web};
use node::http::netrc::Netrc;
use node::http::probe::{Read, read_all};
use node::http::without_password;
use node::split::Target;
use std::path::{Path, PathBuf};

/// What there is to repair.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) manifest: Manifest,
    /// Where the new manifest goes.
    pub(super) output: PathBuf,
    /// The folder that relative places begin in.
    pub(super) home: PathBuf,
    /// What the user has named.
    pub(super) across: Vec<Target>,
    /// How near whoever wrote the manifest is.
    pub(super) told_by: Scope,
}

/// Finds it.
pub(super) async fn find(args: &RepairArgs, logins: &Netrc, voice: Voice) -> Result<Found, Failure> {
    let targets = |home: &Path| args.across.iter().map(|text| Target::parse(text, home)).collect::<Result<Vec<_>, _>>();
    if !is_url(&args.manifest) {
        let path = PathBuf::from(&args.manifest);
        let (manifest, folder) = (read(&path)?, home(&path)?);
        let output = args.output.clone().unwrap_or(path);
        if home(&output)? != folder {
            return Err(Failure::usage(format!(
                "-o {}: its places begin in the folder of the manifest; name a file there",
                output.display()
            )));
        }
        if args.output.is_some() {
            may_replace(&output, &manifest)?;
        }
        return Ok(Found { manifest, output, across: targets(&folder)?, home: folder, told_by: Scope::Loopback });
    }
    let shown = without_password(&args.manifest);
    let web = Web::with(logins.clone());
    let limit = Manifest::BYTES_MAX as u64;
    let got = read_all(&web, &args.manifest, NamedBy::User, limit).await;
    let Read { body, scope: told_by, at } = got.with_context(|| format!("can't fetch {shown}"))?;
    let mut manifest = Manifest::parse(&body).with_context(|| shown.clone())?;
    let name = names::component(manifest.name.as_bytes(), Rules::HERE, names::TOP_MAX);
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.split.json")));
    may_replace(&output, &manifest)?;
    let home = home(&output)?;
    let across = targets(&home)?;
    let refused = settle(&mut manifest, &without_password(at.as_str()), &across, &home);
    if !refused.is_empty() {
        let named: Vec<String> = refused.iter().take(3).map(|folder| printable(folder)).collect();
        voice.warn(&format!(
            "a manifest from elsewhere names no folders of this machine, so that parts in {} are left out; if they are yours, name them with --across",
            named.join(", ")
        ));
    }
    Ok(Found { manifest, output, home, across, told_by })
}

/// Makes the places of a manifest at `url` those that the user's copy of it will have. Folders here are left out unless the user has
/// named them; those that were are returned.
fn settle(manifest: &mut Manifest, url: &str, across: &[Target], home: &Path) -> Vec<String> {
    // As the user's manifest names the folder, which is from its own.
    let named = |place: &Place| {
        let target = across.iter().find(|target| home.join(&target.folder) == Path::new(place.folder()))?;
        let file = place.to_string().strip_prefix(place.folder())?.to_owned();
        Some(Place::Path(format!("{}{file}", target.folder.strip_prefix("./").unwrap_or(&target.folder))))
    };
    let mut refused = Vec::new();
    for part in &mut manifest.parts {
        part.places.retain_mut(|place| {
            if let Some(at) = place.url(url) {
                *place = Place::Url(at);
            } else if let Some(here) = named(place) {
                *place = here;
            } else {
                if !refused.iter().any(|folder| folder == place.folder()) {
                    refused.push(place.folder().to_owned());
                }
                return false;
            }
            true
        });
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_from_elsewhere_names_no_folders_here() {
        let dir = tempfile::tempdir().unwrap();
        let mine = Target::parse(dir.path().to_str().unwrap(), Path::new("/none")).unwrap();
        let text = format!(
            r#"{{"format": "shoal-split", "version": 1, "name": "f", "bytes": 1, "piece_length": 1, "sha256": "{0}", "pieces": "{0}",
            "parts": [{{"number": 0, "offset": 0, "bytes": 1, "places": ["p/x y", "/etc/x", "{1}x", "/etc/y", "http://h/x"]}}]}}"#,
            "ab".repeat(32),
            mine.folder
        );
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        let kept = format!("{}x", mine.folder);
        assert_eq!(settle(&mut manifest, "http://far/a/m.json?q", &[mine], Path::new("/none")), ["/etc/"]);
        let places: Vec<String> = manifest.parts[0].places.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["http://far/a/p/x%20y", &*kept, "http://h/x"]);
    }
}
