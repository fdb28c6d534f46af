//! One server, and where on it the content lies.

use super::client::{NamedBy, strip_login};
use super::version::{Digests, Seen, Version};
use base::{FileIndex, Metainfo, Plan, Scope};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A server to fetch from, as a user or a torrent names it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where on it the content lies.
    pub places: Places,
    /// Who named it: what others than the user name is judged before it is contacted.
    pub named_by: NamedBy,
    /// It is known to begin at the beginning only.
    pub from_start: bool,
    /// Connections to it at once; 0: as usual.
    pub lanes_max: u8,
    /// Which version was seen there already, and where that was in the end.
    pub seen: Option<Box<(reqwest::Url, Version)>>,
}

impl Server {
    /// A server that has everything at one URL.
    pub fn whole(url: String) -> Self {
        Server { places: Places::Whole(url), named_by: NamedBy::User, from_start: false, lanes_max: 0, seen: None }
    }

    /// A web seed that a torrent names (BEP 19), which came from somebody in this scope.
    pub fn web_seed(url: String, told_by: Scope) -> Self {
        Server { places: Places::WebSeed(url), named_by: NamedBy::Told(told_by), ..Server::whole(String::new()) }
    }
}

/// Where on a server the content lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// All of it is at this URL.
    Whole(String),
    /// A web seed (BEP 19): a file, or the folder in which the torrent's folder lies.
    WebSeed(String),
    /// Parts of it, each at its own URL.
    Parts(Vec<Part>),
}

/// Where a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At this URL.
    Url(String),
    /// In this file, which may lie on a disk that many machines share.
    File(PathBuf),
}

/// A part of the content, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the content.
    pub offset: u64,
    /// Bytes in it.
    pub len: u64,
    /// Where it is.
    pub at: At,
}

/// What is got with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Bytes of what is at a URL.
    Get {
        /// Where.
        url: String,
        /// Where they begin there.
        offset: u64,
        /// How many.
        len: u64,
        /// How long all of it is there.
        total: u64,
        /// Where they begin in the content.
        at: u64,
    },
    /// Bytes of a file.
    Read {
        /// Which.
        path: PathBuf,
        /// Where they begin in it.
        offset: u64,
        /// How many.
        len: u64,
        /// Where they begin in the content.
        at: u64,
    },
    /// Padding between files: nobody has to send it.
    Zeros(u64),
}

/// A server of one torrent.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) server: Server,
    /// What people call it.
    pub(crate) name: String,
    /// The versions of what is at its URLs.
    seen: Mutex<Seen>,
}

impl Remote {
    pub(crate) fn new(server: Server) -> Self {
        let url = match &server.places {
            Places::Whole(url) | Places::WebSeed(url) => url.clone(),
            Places::Parts(parts) => parts.first().map(|p| whose(&p.at)).unwrap_or_default(),
        };
        let mut seen = Seen::default();
        if let Some((at, version)) = server.seen.as_deref() {
            // It is the first.
            let _ = seen.note(&url, at, version, Digests::OfAll);
        }
        Remote { server, name: without_password(&url), seen: Mutex::new(seen) }
    }

    /// What the engine is told of it.
    pub(crate) fn source(&self, id: u32) -> swarm::HttpSource {
        let parts = match &self.server.places {
            Places::Parts(parts) => parts.iter().map(|p| (p.offset, p.len)).collect(),
            _ => Vec::new(),
        };
        let usual = swarm::HttpSource::new(id, self.name.clone());
        let lanes_max = if self.server.lanes_max == 0 { usual.lanes_max } else { self.server.lanes_max };
        swarm::HttpSource { parts, from_start: self.server.from_start, lanes_max, ..usual }
    }

    /// The requests for `len` bytes of the content at `offset`. None: it does not have all of them.
    pub(crate) fn segments(
        &self,
        plan: &Plan,
        metainfo: Option<&Metainfo>,
        offset: u64,
        len: u64,
    ) -> Option<Vec<Segment>> {
        let end = offset.checked_add(len)?;
        let total = plan.layout.total();
        match &self.server.places {
            Places::Whole(url) => Some(vec![Segment::Get { url: url.clone(), offset, len, total, at: offset }]),
            Places::WebSeed(base) => {
                let mut at = offset;
                let one = |span: base::Span| {
                    let begins = at;
                    at += span.len;
                    if span.pad {
                        return Some(Segment::Zeros(span.len));
                    }
                    let url = match metainfo {
                        Some(metainfo) => metainfo.info.web_seed_url(base, span.file),
                        None => base.clone(),
                    };
                    let total = file_len(plan, span.file);
                    Some(Segment::Get { url, offset: span.offset, len: span.len, total, at: begins })
                };
                plan.layout.spans(offset, len).map(one).collect()
            }
            Places::Parts(parts) => {
                let (mut at, mut out) = (offset, Vec::new());
                while at < end {
                    let part = parts.iter().find(|p| (p.offset..p.offset.saturating_add(p.len)).contains(&at))?;
                    let within = at - part.offset;
                    let n = (part.len - within).min(end - at);
                    out.push(match &part.at {
                        At::Url(url) => Segment::Get { url: url.clone(), offset: within, len: n, total: part.len, at },
                        At::File(path) => Segment::Read { path: path.clone(), offset: within, len: n, at },
                    });
                    at += n;
                }
                Some(out)
            }
        }
    }

    /// What was seen at its URLs.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_len(plan: &Plan, file: FileIndex) -> u64 {
    plan.layout.files().get(file.index()).map_or(0, |f| f.len)
}

/// Whose a part is: the folder at its URL, without a query; or on this machine.
fn whose(at: &At) -> String {
    match at {
        At::Url(url) => {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            path.rfind('/').map_or(path, |at| &path[..=at]).to_owned()
        }
        At::File(path) => path.parent().unwrap_or(path).display().to_string(),
    }
}

/// A URL as it may be shown.
pub fn without_password(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut url) if url.password().is_some() || !url.username().is_empty() => {
            strip_login(&mut url);
            url.to_string()
        }
        _ => url.to_owned(),
    }
}

/// The metainfo is shared, since web seeds need its names.
pub(crate) type Names = Option<Arc<Metainfo>>;

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Checks, FileEntry, FileKind, Geometry, Layout};

    fn plan() -> Plan {
        let file = |(path, len, pad): (&str, u64, bool)| FileEntry {
            path: path.into(),
            offset: 0,
            len,
            kind: if pad { FileKind::Pad } else { FileKind::Content },
            executable: false,
        };
        let files = [("t/a", 100, false), ("t/p", 28, true), ("t/b", 50, false)].map(file);
        let layout = Layout::folder("t".into(), files.into()).unwrap();
        Plan::new(Geometry::new(178, 64, 16).unwrap(), layout, Checks::default())
    }

    #[test]
    fn a_run_becomes_requests_for_files_parts_or_the_whole() {
        let plan = plan();
        let get = |url: &str, offset, len, total, at| Segment::Get { url: url.into(), offset, len, total, at };
        let whole = Remote::new(Server::whole("http://u:p@h/x".into()));
        assert_eq!(whole.name, "http://h/x");
        assert_eq!(whole.segments(&plan, None, 90, 50), Some(vec![get("http://u:p@h/x", 90, 50, 178, 90)]));
        let parts = vec![
            Part { offset: 0, len: 64, at: At::Url("http://h/p/0".into()) },
            Part { offset: 64, len: 64, at: At::Url("http://h/p/1".into()) },
        ];
        let split = Remote::new(Server { places: Places::Parts(parts), ..Server::whole(String::new()) });
        assert_eq!(split.name, "http://h/p/");
        assert_eq!(split.source(3).parts, [(0, 64), (64, 64)]);
        assert_eq!(
            split.segments(&plan, None, 60, 10),
            Some(vec![get("http://h/p/0", 60, 4, 64, 60), get("http://h/p/1", 0, 6, 64, 64)])
        );
        assert_eq!(split.segments(&plan, None, 120, 10), None, "it has no more");
        let seed = Remote::new(Server::web_seed("http://h/".into(), Scope::Loopback));
        assert_eq!(
            seed.segments(&plan, None, 90, 40),
            Some(vec![get("http://h/", 90, 10, 100, 90), Segment::Zeros(28), get("http://h/", 0, 2, 50, 128)])
        );
    }
}
