//! The settings of an engine, with their defaults and units.

use base::PeerId;

/// Bytes that may be read from a new connection before the engine grants more; of a stream only where there is no limit.
pub const CREDIT: u64 = 32 << 10;

/// Settings of one engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The id of this node (BEP 20).
    pub peer_id: PeerId,
    /// The port that peers can reach us on; told to trackers and peers.
    pub port: u16,
    /// Name and version, told to peers (BEP 10).
    pub client: String,
    /// Connections in all, those in handshake included.
    pub connections_max: usize,
    /// Connections of one torrent.
    pub torrent_connections_max: usize,
    /// Dials under way at once.
    pub dials_max: usize,
    /// Bytes a second to download over all torrents. None: no limit.
    pub limit_down: Option<u64>,
    /// Bytes a second to upload over all torrents. None: no limit.
    pub limit_up: Option<u64>,
    /// Bytes given to the disk and not yet written at which reading from peers stops.
    pub disk_backlog_max: u64,
    /// Peers that are unchoked at once in a torrent, the optimistic one included.
    pub unchoke_slots: usize,
    /// Requests kept open to one peer at most.
    pub requests_max: u16,
    /// Peers hear of each other (BEP 11).
    pub pex: bool,
    /// The port that peers can reach us on over IPv6, where it is another one.
    pub port_v6: Option<u16>,
    /// Number of shards that torrents are spread over.
    pub shards: usize,
    /// A deliberate mistake of all torrents.
    #[cfg(feature = "flaws")]
    pub flaw: Option<swarm::Flaw>,
}

impl Config {
    /// Most shards of one engine.
    pub const SHARDS_MAX: usize = 256;
}

impl Default for Config {
    fn default() -> Self {
        Config {
            peer_id: PeerId(*b"-SH0010-000000000000"),
            port: 0,
            client: concat!("Shoal ", env!("CARGO_PKG_VERSION")).into(),
            connections_max: 200,
            torrent_connections_max: 50,
            dials_max: 30,
            limit_down: None,
            limit_up: None,
            disk_backlog_max: 8 << 20,
            unchoke_slots: 8,
            requests_max: 500,
            pex: true,
            port_v6: None,
            shards: 1,
            #[cfg(feature = "flaws")]
            flaw: None,
        }
    }
}
