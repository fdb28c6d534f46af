//! What goes into the machine and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::{InfoHash, JobId, NodeId, Scope};

use crate::items::Item;

/// What a node is born with.
#[derive(Clone, Debug)]
pub struct Config {
    /// There is a socket for IPv4.
    pub v4: bool,
    /// There is a socket for IPv6.
    pub v6: bool,
    /// Ask only, answer nobody, and say so (BEP 43): for a command that looks something up and ends, or who can't be reached.
    pub read_only: bool,
    /// Questions of one lookup that are out at once. Kademlia has 3, libtorrent 5.
    pub alpha: usize,
    /// Keep more nodes in the buckets near the top (see the module `table`); false is for experiments.
    pub wide: bool,
    /// Count and store only at nodes whose id fits their address (BEP 42). Off, as in other clients: too many do not comply.
    pub enforce_ids: bool,
    /// Bytes of answers a second, in all.
    pub answer_bytes_per_s: u64,
    /// Client and version, as messages name them.
    pub version: Option<[u8; 4]>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            v4: true,
            v6: true,
            read_only: false,
            alpha: 5,
            wide: true,
            enforce_ids: false,
            answer_bytes_per_s: 100_000,
            version: Some(*b"SH\0\x01"),
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram came for which [`wire::krpc::is_krpc`] is true.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// The deadline passed.
    Tick,
    /// Find peers of a torrent. With an announce, be one of them, again every 15 minutes until [`Input::Stop`].
    Lookup {
        /// Names this job in outputs. One of the same name is replaced.
        job: JobId,
        /// The torrent.
        info_hash: InfoHash,
        /// How to be found.
        announce: Option<Announce>,
        /// Ask for the filters of all peers, too (BEP 33): [`Summary::seeds`] and [`Summary::peers`].
        scrape: bool,
    },
    /// Find the nodes that are closest to a point.
    FindNode {
        /// Names this job in outputs.
        job: JobId,
        /// The point.
        target: NodeId,
    },
    /// Find a stored item (BEP 44).
    Get {
        /// Names this job in outputs.
        job: JobId,
        /// What to find.
        item: Name,
    },
    /// Store an item (BEP 44), again every hour until [`Input::Stop`].
    Put {
        /// Names this job in outputs. One of the same name is replaced.
        job: JobId,
        /// The item.
        item: Item,
        /// Only over the value with this number, the first time.
        cas: Option<i64>,
    },
    /// End a job. Nothing more is said of it.
    Stop {
        /// The job.
        job: JobId,
    },
    /// Nodes that the user or the program names, looked up already. They are asked only while the table is poor.
    Bootstrap(Vec<SocketAddr>),
    /// Addresses of which peers say that a node is there (the PORT message). Whoever names one of a nearer scope than his own has
    /// been judged before.
    Nodes(Vec<SocketAddr>),
    /// Our address as the world sees it, from somebody who must know: a router, a tracker of our own.
    External(IpAddr),
    /// Nothing is said or answered any more.
    Shutdown,
}

/// What to find in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An immutable item.
    Immutable(NodeId),
    /// A mutable one.
    Mutable {
        /// The public key.
        key: [u8; 32],
        /// The salt, mostly empty.
        salt: Vec<u8>,
    },
}

/// How to be found as a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The port that accepts connections; None for the one of the datagrams, as others see it (`implied_port`).
    pub port: Option<u16>,
    /// We have everything (BEP 33).
    pub seed: bool,
}

/// One thing to do, or to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a datagram from the port of the node.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// Peers of a torrent, as they are found; none twice for one run of a job. Those that the teller has no business to name are left out already
    /// ([`base::may_use`]).
    Peers {
        /// The job.
        job: JobId,
        /// The torrent.
        info_hash: InfoHash,
        /// Their addresses.
        addrs: Vec<SocketAddr>,
        /// How far the teller's address reaches.
        told_by: Scope,
    },
    /// The item that was looked for: its name and signature are checked. Of a mutable one the newest that was found.
    Item {
        /// The job.
        job: JobId,
        /// The item.
        item: Item,
    },
    /// A run of a job is over. What is repeated says so each time.
    Done {
        /// The job.
        job: JobId,
        /// How it went.
        summary: Summary,
    },
    /// Our address as most of those see it who answered; the id of the node follows it (BEP 42).
    External {
        /// The address.
        ip: IpAddr,
    },
}

/// How a run of a job went, over both families.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Questions asked.
    pub queries: u32,
    /// Answers to them.
    pub answers: u32,
    /// Answers that led, one to the next, to the closest node.
    pub rounds: u32,
    /// Time until the closest nodes were known, without storing.
    pub time: Duration,
    /// The closest nodes that answered.
    pub closest: Vec<(NodeId, SocketAddr)>,
    /// Different peers found.
    pub found: u32,
    /// Nodes that stored what they were given.
    pub stored: u32,
    /// About how many seeds there are, where that was asked.
    pub seeds: Option<f64>,
    /// About how many other peers.
    pub peers: Option<f64>,
    /// What the last node said that refused to store.
    pub refused: Option<(i64, String)>,
}

/// How a node does, for a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// IPv4, if there is a socket for it.
    pub v4: Option<FamilyStats>,
    /// IPv6.
    pub v6: Option<FamilyStats>,
    /// Questions that are out.
    pub queries: usize,
    /// Lookups under way, of jobs and for upkeep.
    pub lookups: usize,
    /// Jobs.
    pub jobs: usize,
    /// Torrents of which this node keeps peers for others.
    pub stored_torrents: usize,
    /// Those peers.
    pub stored_peers: usize,
    /// Items that this node keeps for others.
    pub stored_items: usize,
    /// After which time a question is late, as answers go.
    pub soft_timeout: Duration,
    /// What happened since birth.
    pub counts: Counts,
}

/// How a node does in one family.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilyStats {
    /// Our id.
    pub id: NodeId,
    /// Our address, once it is known.
    pub external: Option<IpAddr>,
    /// Nodes in the table.
    pub nodes: usize,
    /// Those that answered within 15 minutes.
    pub good: usize,
    /// Those that wait for a place.
    pub spares: usize,
    /// Buckets.
    pub buckets: usize,
}

/// What happened since birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Questions of others that were answered.
    pub answered: u64,
    /// Questions of others beyond what one address or all may ask.
    pub limited: u64,
    /// Datagrams that were no message.
    pub malformed: u64,
    /// Answers that nobody was asked for.
    pub unasked: u64,
    /// Datagrams from where no node can be.
    pub nowhere: u64,
    /// Addresses that somebody named who has no business to.
    pub refused_addrs: u64,
}
