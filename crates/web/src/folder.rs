//! A folder on the web: files as they lie there, index pages, listings (RFC 9110).
//!
//! A path is decoded once, split, and opened beneath the folder: neither `..` nor, unless the user wants it, a symbolic link leads out of it. Names that
//! begin with a dot are not served, but for `.well-known` (RFC 8615).

mod encoding;
mod hot;
mod listing;
mod path;
mod put;

use crate::answer::{self, Facts, kind};
use crate::beneath::Root;
use crate::body::Source;
use crate::conditions::Version;
use crate::promise::Outbox;
use crate::serve::Handler;
use crate::stamp::Stamp;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, request};
use axum::response::Response;
use encoding::Coding;
pub(crate) use path::Place;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Files up to this size are read at once and sent from memory.
const SMALL: u64 = 64 << 10;
/// The page of a folder that has one.
const INDEX: [&str; 2] = ["index.html", "index.htm"];
/// The listing's style, under a name that no folder serves.
const STYLE: &str = "/.shoal/page.css";
/// What is allowed on everything, and where files are taken.
const ALLOW: &str = "GET, HEAD, OPTIONS";
const ALLOW_WRITE: &str = "GET, HEAD, OPTIONS, PUT";

/// How a folder is served.
#[derive(Clone, Copy, Debug)]
pub struct FolderOptions {
    /// Folders without an index page show what is in them.
    pub listing: bool,
    /// Symbolic links may lead out of the folder.
    pub follow: bool,
    /// Files up to so many bytes are taken (PUT).
    pub write: Option<u64>,
}

impl Default for FolderOptions {
    fn default() -> Self {
        FolderOptions { listing: true, follow: false, write: None }
    }
}

/// A folder that is served.
#[derive(Clone, Debug)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: Root,
    options: FolderOptions,
    writing: Option<put::Writing>,
    hot: hot::Hot,
}

impl Handler for Folder {
    async fn answer(&self, request: Request, _: SocketAddr) -> Response {
        let (parts, body) = request.into_parts();
        self.act(&parts, body).await
    }
}

/// Why there is no file.
enum Trouble {
    Missing,
    Forbidden,
    Other(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            // A link that leads out, or in circles, is like nothing to whoever asks.
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV | Errno::NXIO) => {
                Trouble::Missing
            }
            Some(Errno::ACCESS | Errno::PERM) => Trouble::Forbidden,
            _ => Trouble::Other(error),
        }
    }
}

impl From<Trouble> for Response {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing => answer::nothing(),
            Trouble::Forbidden => answer::refuse(StatusCode::FORBIDDEN, "this can't be read here"),
            Trouble::Other(error) => {
                tracing::warn!("can't serve a file: {error}");
                answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, "this can't be read now")
            }
        }
    }
}

impl Folder {
    /// The folder `path`. Blocking.
    ///
    /// # Errors
    /// If it is none, or can't be opened.
    pub fn new(path: &Path, options: FolderOptions) -> io::Result<Self> {
        let root = if options.follow { Root::loose(path)? } else { Root::new(path)? };
        Ok(Folder(Arc::new(Inner {
            root,
            options,
            writing: options.write.map(put::Writing::new),
            hot: hot::Hot::new(),
        })))
    }

    /// Where its files are opened.
    pub(crate) fn root(&self) -> &Root {
        &self.0.root
    }

    /// Answers a request.
    pub(crate) async fn act(&self, parts: &request::Parts, body: Body) -> Response {
        match &self.0.writing {
            Some(writing) if parts.method == Method::PUT => match Place::parse(parts.uri.path()) {
                Some(place) if !place.is_hidden() => {
                    Box::pin(writing.put(&self.0.root, &place, &parts.headers, body)).await
                }
                _ => answer::refuse(StatusCode::FORBIDDEN, "nothing can be written there"),
            },
            _ if parts.method == Method::HEAD => {
                // Ranges are for GET alone (section 14.2).
                let mut parts = parts.clone();
                parts.headers.remove(header::RANGE);
                answer::without_body(self.look(&parts).await)
            }
            _ => self.look(parts).await,
        }
    }

    /// Files are looked up at once, which takes microseconds; reading what is in a folder may take longer.
    async fn look(&self, parts: &request::Parts) -> Response {
        if parts.method == Method::GET || parts.method == Method::HEAD {
            let kept = self.0.hot.answer(&self.0.root, parts.uri.path(), &parts.headers);
            if let Some(response) = kept {
                return response;
            }
        }
        if !parts.uri.path().ends_with('/') {
            return self.0.respond(parts);
        }
        let (inner, parts) = (self.0.clone(), parts.clone());
        let listed = tokio::task::spawn_blocking(move || inner.respond(&parts)).await;
        listed.unwrap_or_else(|_| answer::refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is closing"))
    }
}

impl Inner {
    fn respond(&self, parts: &request::Parts) -> Response {
        let allowed = if self.writing.is_some() { ALLOW_WRITE } else { ALLOW };
        match parts.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return answer::allows(StatusCode::NO_CONTENT, allowed),
            Method::POST | Method::PUT | Method::DELETE | Method::PATCH | Method::TRACE | Method::CONNECT => {
                return answer::allows(StatusCode::METHOD_NOT_ALLOWED, allowed);
            }
            _ => return answer::refuse(StatusCode::NOT_IMPLEMENTED, "this method is not known here"),
        }
        if parts.uri.path() == STYLE {
            return answer::asset("text/css; charset=utf-8", include_str!("../assets/page.css"));
        }
        let Some(place) = Place::parse(parts.uri.path()) else {
            return answer::refuse(StatusCode::BAD_REQUEST, "this is no path");
        };
        self.get(&place, parts).unwrap_or_else(Response::from)
    }

    fn get(&self, place: &Place, parts: &request::Parts) -> Result<Response, Trouble> {
        if place.is_hidden() {
            return Err(Trouble::Missing);
        }
        let file = self.root.open(place.path())?;
        let metadata = file.metadata()?;
        match (metadata.is_dir(), metadata.is_file(), place.is_folder()) {
            (true, _, true) => self.folder(place, &file, parts),
            (true, _, false) => Ok(answer::moved(&place.as_folder(parts.uri.query()))),
            (false, true, false) => self.file(place.path(), file, &metadata, parts),
            _ => Err(Trouble::Missing),
        }
    }

    fn folder(&self, place: &Place, folder: &File, parts: &request::Parts) -> Result<Response, Trouble> {
        for name in INDEX {
            let path = place.path().join(name);
            match self.root.open(&path).map_err(Trouble::from) {
                Ok(file) => {
                    let metadata = file.metadata()?;
                    if metadata.is_file() {
                        return self.file(&path, file, &metadata, parts);
                    }
                }
                Err(Trouble::Missing) => {}
                Err(other) => return Err(other),
            }
        }
        if !self.options.listing {
            return Err(Trouble::Forbidden);
        }
        listing::answer(&self.root, place, folder, parts)
    }

    /// Answers with a file, or with the best of its compressed forms that lie beside it.
    fn file(&self, path: &Path, file: File, metadata: &Metadata, parts: &request::Parts) -> Result<Response, Trouble> {
        let accepted = encoding::Accepted::of(&parts.headers);
        let (mut best, mut varies) = (None, false);
        for coding in encoding::CODINGS {
            // Of a form that is older than the file nobody knows what it is of.
            let form = self.root.open(&coding.beside(path)).ok().and_then(|f| f.metadata().ok().map(|m| (f, m)));
            let Some((form, about)) = form.filter(|(_, m)| m.is_file() && newer(m, metadata)) else { continue };
            varies = true;
            if best.is_none() && accepted.allows(coding) {
                best = Some((coding, form, about));
            }
        }
        let now = SystemTime::now();
        let settled = metadata.len() <= SMALL && Stamp::of(metadata).is_settled(now);
        if settled && self.hot.is_wanted(parts.uri.path()) {
            self.hot.keep(&self.root, parts.uri.path(), path, now);
        }
        let (coding, file, metadata) = match &best {
            Some((coding, form, about)) => (Some(*coding), form.try_clone()?, about),
            None => (None, file, metadata),
        };
        let kind = kind(&path.to_string_lossy());
        let facts = Facts { version: version(metadata), kind, len: metadata.len() };
        if facts.len > SMALL {
            let source = Source::Stored(Arc::new(file), parts.extensions.get::<Outbox>().cloned());
            return Ok(present(&parts.headers, varies, coding, &facts, source));
        }
        let mut bytes = Vec::with_capacity(facts.len as usize);
        file.take(facts.len).read_to_end(&mut bytes)?;
        // One that has become shorter since it was opened has the length that it has.
        let facts = Facts { len: bytes.len() as u64, ..facts };
        Ok(present(&parts.headers, varies, coding, &facts, Source::Memory(bytes.into())))
    }
}

/// One form of a file; whether there are others, too, caches must know.
fn present(headers: &HeaderMap, varies: bool, coding: Option<&Coding>, facts: &Facts, source: Source) -> Response {
    let mut builder = axum::http::Response::builder();
    if varies {
        builder = builder.header(header::VARY, "accept-encoding");
    }
    if let Some(coding) = coding {
        builder = builder.header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name));
    }
    answer::deliver(headers, builder, facts, source)
}

fn newer(form: &Metadata, original: &Metadata) -> bool {
    form.mtime() >= original.mtime()
}

/// A file is another one when it was written, replaced or resized.
pub(crate) fn version(metadata: &Metadata) -> Version {
    let written = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
    Version {
        etag: format!("\"{written:x}-{:x}-{:x}\"", metadata.len(), metadata.ino()),
        modified: metadata.modified().ok(),
    }
}
