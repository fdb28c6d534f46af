//! Whether a target is there, before much is done for it.

use super::folder::Draft;
use super::location::{Location, Reader, Trouble, blocking};
use super::server::Server;
use super::{SplitError, Target, Targets};

/// Can a file of this name be put there, as far as can be told without doing it?
///
/// # Errors
/// If nobody answers there, nothing may be read there, or a folder can't be written to.
pub async fn reach(targets: &Targets, target: &Target, name: &str) -> Result<(), SplitError> {
    let result = match targets.locate(&target.place(name)) {
        Location::File(path) => blocking(move || Draft::new(&path).map(drop)).await,
        location @ Location::Url(..) => match Server::new() {
            Err(trouble) => Err(trouble),
            Ok(server) => match (Reader { server }).len(&location).await {
                Err(trouble @ (Trouble::Unreachable(_) | Trouble::Refused(_))) => Err(trouble),
                _ => Ok(()),
            },
        },
    };
    result.map_err(|trouble| SplitError::Target(format!("can't place parts on {}: {trouble}", target.folder)))
}
