//! The bytes of what has no torrent yet, or not again since it changed: as they are now, without digests, torrent or
//! Metalink, which would speak of other bytes.

use super::elsewhere::Asker;
use super::slots::Unmade;
use crate::answer;
use crate::beneath::{open_fenced, open_file};
use crate::body::Source;
use crate::folder::version;
use axum::http::StatusCode;
use axum::response::Response;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Seconds after which who wants the torrent may ask again.
pub(super) const RETRY: u32 = 2;

/// What has to wait for the torrent.
pub(super) fn later(name: &str) -> Response {
    let why = format!("the torrent of {name} is being made; ask again in some seconds");
    answer::busy(&why, RETRY)
}

/// The bytes of a file, or of the file at `path` in a folder. What was found beneath `fence` stays there, whatever became of it since.
pub(super) async fn bytes(
    unmade: Arc<Unmade>,
    path: Option<&str>,
    fence: Option<Arc<Path>>,
    asker: &Asker<'_>,
) -> Response {
    let inside = |path| inside(path, unmade.leave_hidden);
    let Some(relative) = path.map_or(Some(PathBuf::new()), inside) else { return answer::not_found() };
    let name = path.unwrap_or(&unmade.name).rsplit('/').next().unwrap_or_default().to_owned();
    let open = tokio::task::spawn_blocking(move || {
        let file = match fence {
            Some(fence) => open_fenced(&fence, &unmade.root, &relative)?,
            None => open_file(&unmade.root, &relative)?,
        };
        file.metadata().map(|metadata| (file, metadata))
    });
    match open.await {
        Ok(Ok((file, metadata))) => {
            let facts = answer::Facts { version: version(&metadata), kind: answer::kind(&name), len: metadata.len() };
            let source = Source::Stored(Arc::new(file), asker.outbox.cloned());
            answer::deliver(asker.headers, answer::file_headers(&facts.kind, &name, asker.download), &facts, source)
        }
        Ok(Err(_)) => answer::not_found(),
        Err(_) => answer::refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is closing"),
    }
}

/// A path of a request that stays in its folder.
fn inside(path: &str, leave_hidden: bool) -> Option<PathBuf> {
    let plain = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let plain = plain && !(leave_hidden && path.split('/').any(|part| part.starts_with('.')));
    let path = Path::new(path);
    (plain && path.components().all(|c| matches!(c, Component::Normal(_)))).then(|| path.to_owned())
}
