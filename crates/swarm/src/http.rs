//! HTTP servers as sources of a torrent: what the torrent is told of them, and what it tells.
//!
//! The torrent knows of a server which parts of the content it has; where they are, and how they are asked for, the hands know.
//! It asks for one run of bytes at a time ([`crate::Output::Stream`]), which come as one stream, and ends streams early
//! ([`crate::Output::EndStream`]) when others were faster. The same is true of an origin, a mirror, a server with some parts
//! of a split file, and a web seed (BEP 19).

/// Servers of one torrent; more are not taken.
pub const SERVERS_MAX: usize = 256;

/// A server that has the content, or parts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSource {
    /// Its number within the torrent, chosen by the hands; a second one with the same number replaces the first.
    pub id: u32,
    /// What people call it: its URL, without passwords.
    pub name: String,
    /// The parts of the content that it has, as (offset, length). Empty: all of it.
    pub parts: Vec<(u64, u64)>,
    /// It can't begin anywhere but at the beginning: of a part, where it has parts, else of a file.
    pub from_start: bool,
    /// Connections to it at once, at most.
    pub lanes_max: u8,
}

impl HttpSource {
    /// Connections to one server at once at most, where nobody says otherwise.
    pub const LANES_MAX: u8 = 4;

    /// A server that has everything.
    pub fn new(id: u32, name: String) -> Self {
        HttpSource { id, name, parts: Vec::new(), from_start: false, lanes_max: Self::LANES_MAX }
    }
}

/// Why a stream has ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The server begins at the beginning of a file or part, whatever it is asked for.
    NoRanges,
    /// It does not have the part in which this byte lies, or has something else there: another length, or it has changed.
    Missing {
        /// The byte, as an offset of the content.
        at: u64,
        /// What it said, or has.
        why: String,
    },
    /// It must not be asked, or sends what can't be used. It is not asked again.
    Wrong {
        /// What is wrong with it.
        why: String,
    },
    /// It has too much to do.
    Busy {
        /// Seconds that it wants to be left alone; 0: it did not say.
        seconds: u32,
        /// What it said.
        why: String,
    },
    /// It can't be reached, or the connection broke. It is asked again, later and later.
    Broken {
        /// What happened.
        why: String,
    },
}

/// A server at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpStatus {
    /// Its number.
    pub id: u32,
    /// What people call it.
    pub name: String,
    /// Streams under way.
    pub lanes: u32,
    /// Bytes a second from it.
    pub rate: u64,
    /// Bytes from it in this run that were of use.
    pub bytes: u64,
    /// Whether it is used.
    pub state: HttpState,
    /// What went wrong last, if something did.
    pub trouble: Option<String>,
}

/// Whether a server is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpState {
    /// It is, if there is something to fetch from it.
    Fine,
    /// It has failed, and is asked again after a while.
    Waits {
        /// Its last failure.
        why: String,
    },
    /// It is not asked any more.
    Dropped {
        /// Why not.
        why: String,
    },
}
