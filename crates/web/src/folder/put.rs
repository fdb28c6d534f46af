//! Files that clients write (PUT, RFC 9110, section 9.3.4): whole or not at all, and never over what they did not know of.

use super::path::Place;
use super::{Trouble, version};
use crate::answer;
use crate::beneath::Root;
use crate::chance::chance;
use crate::conditions::{self, Version};
use crate::pace::{Late, Pace};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, fdatasync, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Bytes collected before they are written.
const CHUNK: usize = 128 << 10;
/// Time in which a client must send some of what it announced; on average it has a rate to keep besides.
const PATIENCE: Duration = Duration::from_secs(60);
/// Folders that are made for one file.
const DEPTH_MAX: usize = 64;

/// What writing needs.
#[derive(Debug)]
pub(super) struct Writing {
    /// Bytes of one file.
    pub(super) max: u64,
    /// Draws of another process, or another life of this one, lie elsewhere.
    draw: u64,
    number: AtomicU64,
    /// Conditions hold until the file has its name.
    naming: Mutex<()>,
}

impl Writing {
    pub(super) fn new(max: u64) -> Self {
        Writing { max, draw: chance(), number: AtomicU64::new(0), naming: Mutex::new(()) }
    }

    /// Writes a file, and says how that went.
    pub(super) async fn put(&self, root: &Root, place: &Place, headers: &HeaderMap, body: Body) -> Response {
        self.try_put(root, place, headers, body).await.unwrap_or_else(|response| *response)
    }

    async fn try_put(
        &self,
        root: &Root,
        place: &Place,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Box<Response>> {
        let refuse = |status, why| Box::new(answer::refuse(status, why));
        if place.is_folder() || place.names().len() > DEPTH_MAX {
            return Err(refuse(StatusCode::CONFLICT, "a file can't have this name"));
        }
        // Who sends a part means to change a part (section 14.5).
        if headers.contains_key(header::CONTENT_RANGE) {
            return Err(refuse(StatusCode::BAD_REQUEST, "send the whole file: parts are not taken"));
        }
        // It would be served without its coding, as what it is not.
        if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
            let mut refusal = refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the file without a coding");
            refusal.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            return Err(refusal);
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|len| len > self.max) {
            return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the file is too large"));
        }
        let Some((name, parents)) = place.names().split_last() else {
            return Err(refuse(StatusCode::CONFLICT, "a file can't have this name"));
        };
        // Nothing is made for what is not going to be written.
        if headers.contains_key(header::IF_MATCH) && root.open(place.path()).is_err() {
            return Err(refuse(StatusCode::PRECONDITION_FAILED, "there is no such file"));
        }
        let (near, missing) = nearest(root, parents).map_err(trouble)?;
        if missing.is_empty() {
            check(root, place, &near, name, headers)?;
        }
        let temporary = format!(".shoal-put-{:x}-{}", self.draw, self.number.fetch_add(1, Ordering::Relaxed));
        let draft = Draft::new(&near, temporary).map_err(trouble)?;
        let draft = self.receive(draft, body).await?;
        let _naming = self.naming.lock().await;
        let made = Made::new(root, &near, missing).map_err(trouble)?;
        let new = check(root, place, made.folder(), name, headers)?;
        let written = draft.name(made.folder(), name).map_err(trouble)?;
        made.stays();
        let status = if new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        Ok(answer::written(status, &written.etag))
    }

    /// Takes the body in.
    async fn receive<'a>(&self, mut draft: Draft<'a>, mut body: Body) -> Result<Draft<'a>, Box<Response>> {
        let refuse = |status, why| Box::new(answer::refuse(status, why));
        let (mut waiting, mut all, mut pace) = (Vec::new(), 0, Pace::new(PATIENCE));
        loop {
            let next = pace.next(&mut body).await.map_err(|late| match late {
                Late::Broken(_) => refuse(StatusCode::BAD_REQUEST, "the file did not arrive whole"),
                Late::Slow => refuse(StatusCode::REQUEST_TIMEOUT, "the file comes too slowly, or not at all"),
            })?;
            let end = next.is_none();
            if let Some(bytes) = next {
                all += bytes.len() as u64;
                if all > self.max {
                    return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the file is too large"));
                }
                waiting.extend_from_slice(&bytes);
            }
            if waiting.len() >= CHUNK || end {
                let mut file = draft.file.try_clone().map_err(trouble)?;
                let bytes = std::mem::take(&mut waiting);
                let write =
                    move || file.write_all(&bytes).and_then(|()| if end { Ok(fdatasync(&file)?) } else { Ok(()) });
                let done = tokio::task::spawn_blocking(write).await.map_err(|e| trouble(io::Error::other(e)))?;
                done.map_err(trouble)?;
            }
            if end {
                draft.whole = true;
                return Ok(draft);
            }
        }
    }
}

/// The folder, or as much of the way there as is there, and the names of what is missing. No symbolic link on the way is followed out.
fn nearest<'a>(root: &Root, names: &'a [Vec<u8>]) -> io::Result<(OwnedFd, &'a [Vec<u8>])> {
    let mut folder = root.folder()?;
    for (i, name) in names.iter().enumerate() {
        folder = match root.step(&folder, name) {
            Err(Errno::NOENT) => return Ok((folder, &names[i..])),
            opened => opened?,
        };
    }
    Ok((folder, &[]))
}

/// Folders that were made for a file. Unless they stay, those in which there is nothing are removed.
struct Made<'a> {
    near: &'a OwnedFd,
    names: &'a [Vec<u8>],
    /// Each in the one before it, and whether it was made here.
    folders: Vec<(OwnedFd, bool)>,
}

impl<'a> Made<'a> {
    fn new(root: &Root, near: &'a OwnedFd, names: &'a [Vec<u8>]) -> io::Result<Self> {
        let mut made = Made { near, names, folders: Vec::new() };
        for name in names {
            let new = match mkdirat(made.folder(), &name[..], Mode::from(0o777)) {
                Ok(()) => true,
                // Somebody else was faster.
                Err(Errno::EXIST) => false,
                Err(e) => return Err(e.into()),
            };
            let folder = root.step(made.folder(), name)?;
            made.folders.push((folder, new));
        }
        Ok(made)
    }

    /// The last of them.
    fn folder(&self) -> &OwnedFd {
        self.folders.last().map_or(self.near, |(folder, _)| folder)
    }

    fn stays(mut self) {
        self.folders.clear();
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        while let Some((_, new)) = self.folders.pop() {
            if new {
                // One in which there is something by now stays.
                let _ = unlinkat(self.folder(), &self.names[self.folders.len()][..], AtFlags::REMOVEDIR);
            }
        }
    }
}

/// May the file be written, as far as conditions say? True if there is none yet.
fn check(
    root: &Root,
    place: &Place,
    folder: &OwnedFd,
    name: &[u8],
    headers: &HeaderMap,
) -> Result<bool, Box<Response>> {
    let failed = || Box::new(answer::refuse(StatusCode::PRECONDITION_FAILED, "the file is not what you take it for"));
    match existing(root, place, folder, name).map_err(trouble)? {
        Some(version) => match conditions::may_write(headers, &version) {
            true => Ok(false),
            false => Err(failed()),
        },
        // Nothing is like any tag, and nothing is what `*` would find.
        None if headers.contains_key(header::IF_MATCH) => Err(failed()),
        None => Ok(true),
    }
}

/// What is there. Of a symbolic link that is followed it is what it leads to, as for those who read it; what is written takes the place of the link.
fn existing(root: &Root, place: &Place, folder: &OwnedFd, name: &[u8]) -> io::Result<Option<Version>> {
    match openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => {
            let mut metadata = File::from(file).metadata()?;
            if metadata.is_symlink()
                && let Ok(target) = root.open(place.path()).and_then(|file| file.metadata())
            {
                metadata = target;
            }
            if metadata.is_dir() {
                return Err(Errno::ISDIR.into());
            }
            Ok(Some(version(&metadata)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// A file that has no name yet which anybody would be served under. Unless it gets one, it is removed.
struct Draft<'a> {
    folder: &'a OwnedFd,
    temporary: String,
    file: File,
    whole: bool,
    named: bool,
}

impl<'a> Draft<'a> {
    fn new(folder: &'a OwnedFd, temporary: String) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, temporary.as_str(), flags, Mode::from(0o666))?.into();
        Ok(Draft { folder, temporary, file, whole: false, named: false })
    }

    /// Gives it its name, in this folder.
    fn name(mut self, folder: &OwnedFd, name: &[u8]) -> io::Result<Version> {
        debug_assert!(self.whole);
        renameat(self.folder, self.temporary.as_str(), folder, name)?;
        self.named = true;
        Ok(version(&self.file.metadata()?))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.named {
            // What can't be removed stays hidden.
            let _ = unlinkat(self.folder, self.temporary.as_str(), AtFlags::empty());
        }
    }
}

fn trouble(error: io::Error) -> Box<Response> {
    Box::new(match Errno::from_io_error(&error) {
        Some(Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => answer::refuse(
            StatusCode::CONFLICT,
            "there is a folder where a file should be, or a file where a folder should",
        ),
        Some(Errno::NOSPC | Errno::DQUOT) => {
            answer::refuse(StatusCode::INSUFFICIENT_STORAGE, "there is no room for the file")
        }
        Some(Errno::NAMETOOLONG | Errno::INVAL) => answer::refuse(StatusCode::CONFLICT, "a file can't have this name"),
        Some(Errno::ROFS) => answer::refuse(StatusCode::FORBIDDEN, "this can't be written here"),
        _ => Trouble::from(error).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use futures_util::{StreamExt as _, stream};

    #[tokio::test(start_paused = true)]
    async fn files_that_trickle_in_are_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (root, writing) = (Root::new(dir.path()).unwrap(), Writing::new(1 << 20));
        let place = Place::parse("/new/file").unwrap();
        // Never silent for long.
        let put = async |bytes: usize| {
            let parts = stream::iter(0..20).then(move |_| async move {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok::<_, io::Error>(Bytes::from(vec![0; bytes]))
            });
            writing.put(&root, &place, &HeaderMap::new(), Body::from_stream(parts)).await.status()
        };
        assert_eq!(put(1).await, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of it");
        assert_eq!(put(10 << 10).await, StatusCode::CREATED);
    }
}
