//! Whether a target is there, before much is done for it.

use super::folder::Draft;
use super::location::{Location, Reader, Trouble, blocking};
use super::server::Server;
use super::{SplitError, Target, Targets};
use std::io::ErrorKind;
use std::path::Path;

/// Can a file of this name be put there, as far as can be told without doing it? A folder that is not there yet is made, if there is one to
/// make it in.
///
/// # Errors
/// If nobody answers there, nothing may be read there, or a folder can't be made or written to.
pub async fn reach(targets: &Targets, target: &Target, name: &str) -> Result<(), SplitError> {
    let result = match targets.locate(&target.place(name)) {
        Location::File(path) => blocking(move || ready(&path)).await,
        location @ Location::Url(_) => {
            match (Reader { server: Server::new(targets.logins().clone()) }).len(&location).await {
                Err(trouble @ (Trouble::Unreachable(_) | Trouble::Refused(_))) => Err(trouble),
                _ => Ok(()),
            }
        }
    };
    result.map_err(|trouble| SplitError::Target(format!("can't place parts on {}: {trouble}", target.folder)))
}

/// Makes the folder of `path`, and tries to write to it.
fn ready(path: &Path) -> Result<(), Trouble> {
    if let Some(folder) = path.parent()
        && let Err(error) = std::fs::create_dir(folder)
        && error.kind() != ErrorKind::AlreadyExists
        && !folder.is_dir()
    {
        return Err(Trouble::Refused(format!("can't make that folder: {error}")));
    }
    Draft::new(path).map(drop)
}
