//! What goes into the announcing client and what comes out of it.

use std::net::{IpAddr, SocketAddr};

use base::{InfoHash, Instant, JobId, PeerId, Scope};

/// What a client is born with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The names of the torrent: one, or for a hybrid the v1 hash and the truncated v2 hash, each announced by itself.
    pub hashes: Vec<InfoHash>,
    /// Trackers in tiers (BEP 12), as the metainfo or the magnet lists them.
    pub tiers: Vec<Vec<String>>,
    /// This peer's id, the same as in its handshakes.
    pub peer_id: PeerId,
    /// Port on which this peer accepts connections over IPv4.
    pub port_v4: u16,
    /// Port on which this peer accepts connections over IPv6.
    pub port_v6: u16,
    /// Random number that proves this peer's identity to trackers when its address changes.
    pub key: u32,
    /// Peers asked for in one announce while more are wanted.
    pub numwant: u32,
}

/// Figures of one torrent, as announces report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of payload sent since Start.
    pub uploaded: u64,
    /// Bytes of payload received since Start.
    pub downloaded: u64,
    /// Bytes still missing; 0 makes this peer a seeder to the tracker. Say 16 KiB while the metadata of a magnet is unknown.
    pub left: u64,
    /// All that was selected is here, though not all of the torrent (BEP 21): announced as `paused`.
    pub partial_seed: bool,
    /// False when there are peers enough: the tracker is asked for none.
    pub wants_peers: bool,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin to announce.
    Start,
    /// Say good-bye to every tracker that knows us, then [`Output::Stopped`].
    Stop,
    /// The download was just completed.
    Completed,
    /// New figures, used from the next announce on.
    Stats(Stats),
    /// The hands found out under which ports we are reached.
    Ports {
        /// Over IPv4.
        v4: u16,
        /// Over IPv6.
        v6: u16,
    },
    /// More peers would help: announce earlier, as far as the tracker's minimum allows. May be said at any time.
    NeedPeers,
    /// Ask the working trackers for their counts.
    Scrape,
    /// One more tracker, as a tier of its own.
    AddTracker(String),
    /// The second hash of a hybrid became known (a magnet named only one).
    AddHash(InfoHash),
    /// Answer to [`Output::Fetch`].
    Fetched {
        /// The job answered.
        job: JobId,
        /// The reply, or why there is none.
        result: Result<HttpReply, String>,
    },
    /// Answer to [`Output::Resolve`].
    Resolved {
        /// The job answered.
        job: JobId,
        /// Addresses of the host, or why there are none.
        result: Result<Vec<SocketAddr>, String>,
    },
    /// A datagram came. [`super::Client::owns`] tells cheaply for which client it is.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// The deadline passed.
    Tick,
}

/// A reply over HTTP, whatever its status: trackers explain refusals in bodies of 4xx too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// The `Location` header, if there is one.
    pub location: Option<String>,
    /// The body, decompressed, cut off at `wire`'s limit for tracker replies.
    pub body: Vec<u8>,
}

/// One thing to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Fetch `url` by GET and answer with [`Input::Fetched`]. The connection goes to `to` and nowhere else, with the
    /// host of the URL as `Host` and TLS name, and redirects are answered instead of followed: which addresses may be
    /// contacted is judged here, where a second look-up or a redirect could not slip past.
    Fetch {
        /// Job to answer.
        job: JobId,
        /// What to fetch.
        url: String,
        /// Where to connect to.
        to: SocketAddr,
    },
    /// Look up `host` and answer with [`Input::Resolved`].
    Resolve {
        /// Job to answer.
        job: JobId,
        /// Name of the host.
        host: String,
        /// Port to put into the addresses.
        port: u16,
    },
    /// Send a datagram from the peer's own UDP port.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// A tracker told of peers. Those that it has no business to name are left out already ([`base::may_use`]).
    Peers {
        /// The tracker.
        url: String,
        /// How far the tracker's address reaches.
        told_by: Scope,
        /// The hash under which these peers announced themselves.
        info_hash: InfoHash,
        /// Their addresses, without repetition.
        addrs: Vec<SocketAddr>,
    },
    /// A tracker says what our address looks like from outside (BEP 24).
    ExternalIp {
        /// Our address.
        ip: IpAddr,
        /// The tracker's address, whose word it is.
        from: SocketAddr,
    },
    /// The state of a tracker changed.
    Status(Status),
    /// Counts that were asked for by [`Input::Scrape`].
    Scraped {
        /// The tracker.
        url: String,
        /// The torrent.
        info_hash: InfoHash,
        /// Peers that have everything.
        seeders: u32,
        /// Peers that don't.
        leechers: u32,
        /// Completed downloads in all.
        downloads: u32,
    },
    /// The good-byes are said, or had no more time. Nothing follows until the next Start.
    Stopped,
}

/// How one tracker does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its URL.
    pub url: String,
    /// Its tier, 0 first.
    pub tier: usize,
    /// What is going on.
    pub state: State,
    /// What the tracker, or the attempt to reach it, last said.
    pub message: Option<String>,
    /// Seeders it counts.
    pub seeders: Option<u32>,
    /// Leechers it counts.
    pub leechers: Option<u32>,
    /// When it is announced to next; [`Instant::NEVER`] if that is not planned.
    pub next: Instant,
}

/// What is going on with one tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not asked yet, or another of its tier works.
    Idle,
    /// A look-up or an announce is under way.
    Asking,
    /// The last announce was answered.
    Working,
    /// The last announce failed; `message` says why.
    Failed,
    /// Its URL can't be used, or policy forbids to contact it.
    Refused,
}
