//! The folders and servers that parts go to.

use super::server::{Address, take_login};
use super::{Location, SplitError};
use crate::http::client::NamedBy;
use crate::http::netrc::{Login, Netrc};
use base::manifest::{Manifest, Place};
use base::{Scope, percent};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where parts go: a folder here, or one on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As manifests write it, with a `/` at the end and without a password.
    pub folder: String,
    login: Option<Login>,
}

impl Target {
    /// Reads a target as the user names it: a URL, perhaps with a name and a password, or the path of a folder that is there or can be made
    /// where it should be ([`super::reach()`] does so). Folders within that of the manifest (`home`) are named from there, so that they can be moved together.
    ///
    /// # Errors
    /// If it is neither, or can't be written to a manifest.
    pub fn parse(text: &str, home: &Path) -> Result<Self, SplitError> {
        let fault = |why: &str| SplitError::Target(format!("{}: {why}", shown(text)));
        let target = match text.split_once("://") {
            Some((scheme, _)) if ["http", "https"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) => {
                let mut url = reqwest::Url::parse(text).map_err(|e| fault(&format!("broken URL: {e}")))?;
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(fault("parts are put below it, so that it can't have a ? or a #"));
                }
                let login = take_login(&mut url);
                let slash = if url.path().ends_with('/') { "" } else { "/" };
                Target { folder: format!("{url}{slash}"), login }
            }
            Some((scheme, _)) if !scheme.is_empty() && !scheme.contains('/') && !Path::new(text).exists() => {
                return Err(fault("a target is a folder, or a server at an http or https URL"));
            }
            _ => Target { folder: folder(Path::new(text), home).map_err(|why| fault(&why))?, login: None },
        };
        // What can't be read again must not be written.
        let longest = target.place("x".repeat(255).as_str());
        match Place::parse(&longest.to_string()) {
            Ok(place) if place == longest => Ok(target),
            Ok(_) => Err(fault("a manifest can't name it")),
            Err(e) => Err(fault(&format!("a manifest can't name it: {e}"))),
        }
    }

    /// The target of a folder that a manifest names.
    pub(super) fn at(folder: &str) -> Self {
        Target { folder: folder.to_owned(), login: None }
    }

    /// Where a part with this name goes.
    #[must_use]
    pub fn place(&self, name: &str) -> Place {
        if self.folder.contains("://") {
            return Place::Url(format!("{}{}", self.folder, percent::encode(name.as_bytes(), b"")));
        }
        Place::Path(format!("{}{name}", self.folder.strip_prefix("./").unwrap_or(&self.folder)))
    }
}

/// A folder as a manifest in `home` names it.
fn folder(path: &Path, home: &Path) -> Result<String, String> {
    let path = match path.canonicalize() {
        Ok(path) if path.is_dir() => path,
        Ok(_) => return Err("it is no folder".into()),
        Err(e) if e.kind() == ErrorKind::NotFound => to_make(path)?,
        Err(e) => return Err(e.to_string()),
    };
    let named = match path.strip_prefix(home) {
        Ok(inside) if inside.as_os_str().is_empty() => return Ok("./".into()),
        Ok(inside) => inside,
        Err(_) => &path,
    };
    let named = named.to_str().ok_or("its name is no UTF-8, which manifests are")?;
    Ok(if named == "/" { named.to_owned() } else { format!("{named}/") })
}

/// A folder that is not there yet, in one that is.
fn to_make(path: &Path) -> Result<PathBuf, String> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent_there = parent.canonicalize().ok().filter(|p| p.is_dir());
    match (parent_there, path.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Err(format!(
            "there is no such folder, and none to make it in; a target is a folder: make {} first",
            parent.display()
        )),
    }
}

/// A URL as it may be shown: what stands before an @ may be a password.
fn shown(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(at), Some(end)) if at < end => format!("{}{}", &text[..at + 3], &text[end + 1..]),
        _ => text.to_owned(),
    }
}

/// Finds the places of a manifest: relative ones from its folder, servers with the passwords that the user has named.
#[derive(Clone, Debug)]
pub struct Targets {
    home: PathBuf,
    /// What the user has named, and with which password.
    named: BTreeMap<String, Option<Login>>,
    /// How near whoever names everything else is.
    told_by: Scope,
    /// Passwords for whichever of them.
    logins: Netrc,
}

impl Targets {
    /// For a manifest in the folder `home`, and what the user named beside it.
    ///
    /// # Errors
    /// If two of them are the same.
    pub fn new(home: &Path, targets: &[Target]) -> Result<Self, SplitError> {
        for (i, target) in targets.iter().enumerate() {
            if targets[..i].iter().any(|other| other.folder == target.folder) {
                return Err(SplitError::Target(format!(
                    "{} is named twice; replicas there would die together",
                    target.folder
                )));
            }
        }
        if targets.len() > Manifest::TARGETS_MAX {
            let (is, max) = (targets.len(), Manifest::TARGETS_MAX);
            return Err(SplitError::Target(format!("{is} targets; the limit is {max}")));
        }
        let named = targets.iter().map(|target| (target.folder.clone(), target.login.clone())).collect();
        Ok(Targets { home: home.to_owned(), named, told_by: Scope::Loopback, logins: Netrc::default() })
    }

    /// The same for a manifest that came from a server so near. What the user has in a file counts as being on this machine.
    #[must_use]
    pub fn told_by(self, told_by: Scope) -> Self {
        Targets { told_by, ..self }
    }

    /// The same with these passwords.
    #[must_use]
    pub fn with_logins(self, logins: Netrc) -> Self {
        Targets { logins, ..self }
    }

    pub(super) fn logins(&self) -> &Netrc {
        &self.logins
    }

    /// May something be written there, whatever is there now? What the user has named, and what lies below the manifest.
    pub(super) fn may_write(&self, place: &Place) -> bool {
        match place {
            Place::Url(_) => self.named.contains_key(place.folder()),
            Place::Path(path) if !path.starts_with('/') => true,
            // One folder may be written in two ways.
            Place::Path(_) => self.named.keys().any(|named| self.home.join(named) == Path::new(place.folder())),
        }
    }

    /// Where a place is.
    #[must_use]
    pub fn locate(&self, place: &Place) -> Location {
        match place {
            Place::Url(url) => {
                let (named_by, login) = match self.named.get(place.folder()) {
                    Some(login) => (NamedBy::User, login.clone()),
                    None => (NamedBy::Told(self.told_by), None),
                };
                Location::Url(Address { url: url.clone(), login, named_by })
            }
            Place::Path(path) => Location::File(self.home.join(path)),
        }
    }
}
