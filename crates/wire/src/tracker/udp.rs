//! Trackers over UDP (BEP 15), with the path and query of the URL that BEP 41 adds.
//!
//! Requests are read without allocating, because a tracker reads hundreds of thousands of them a second, and replies
//! are written into a buffer of the caller. Packets may be longer than they need to be. Whether a connection id is
//! genuine, a transaction ours and an answer small enough for an unproven address is decided in the room `tracker`.

#[cfg(test)]
mod tests;

use super::{Announce, AnnounceEvent, Counts, MESSAGE_CHARS_MAX, PEERS_MAX};
use crate::{compact, text};
use base::{InfoHash, PeerId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What stands for the connection id in a connect request.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// Bytes of a connect request, and of its reply.
pub const CONNECT_LEN: usize = 16;
/// Bytes of an announce request without options.
pub const ANNOUNCE_LEN: usize = 98;
/// Bytes of the reply to an announce before the peers.
pub const ANNOUNCE_REPLY_LEN: usize = 20;
/// Most torrents in one scrape; further ones are not answered.
pub const SCRAPE_HASHES_MAX: usize = 74;
/// Most bytes of path and query that are sent and read (BEP 41).
pub const URL_DATA_BYTES_MAX: usize = 4 * 255;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

const END_OF_OPTIONS: u8 = 0;
const NOP: u8 = 1;
const URL_DATA: u8 = 2;

/// A request, as a tracker receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Asks for a connection id.
    Connect {
        /// To be repeated in the reply.
        transaction: u32,
    },
    /// Announces a torrent.
    Announce {
        /// Proof that the sender reads what is sent to its address.
        connection: u64,
        /// To be repeated in the reply.
        transaction: u32,
        /// What is announced.
        announce: Announce,
        /// The address that the client says it has; see [`super::http::AnnounceRequest::ip`].
        ip: Option<Ipv4Addr>,
        /// What follows (BEP 41).
        options: Options<'a>,
    },
    /// Asks how big swarms are.
    Scrape {
        /// Proof that the sender reads what is sent to its address.
        connection: u64,
        /// To be repeated in the reply.
        transaction: u32,
        /// Info-hashes, [`SCRAPE_HASHES_MAX`] at most.
        hashes: &'a [[u8; 20]],
    },
}

/// The options behind an announce (BEP 41), unparsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

/// A reply, as a client receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The connection id that was asked for.
    Connect {
        /// That of the request.
        transaction: u32,
        /// Good for a minute.
        connection: u64,
    },
    /// The answer to an announce.
    Announce {
        /// That of the request.
        transaction: u32,
        /// Time to the next announce.
        interval: Duration,
        /// Peers that don't have everything.
        leechers: u32,
        /// Peers that do.
        seeders: u32,
        /// Peers, of the family of the packet.
        peers: Vec<SocketAddr>,
    },
    /// The answer to a scrape, in the order of the request.
    Scrape {
        /// That of the request.
        transaction: u32,
        /// [`SCRAPE_HASHES_MAX`] at most.
        counts: Vec<Counts>,
    },
    /// The tracker refuses.
    Error {
        /// That of the request.
        transaction: u32,
        /// Why, fit to be shown.
        message: String,
    },
}

/// Why a datagram is no packet of this protocol. The sender's fault; such datagrams are not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UdpError {
    /// Shorter than its action needs.
    #[error("tracker packet of {0} bytes is too short")]
    Short(usize),
    /// An action that does not exist, or does not belong here.
    #[error("tracker packet with unknown action {0}")]
    Action(u32),
    /// A connect request without [`PROTOCOL_ID`].
    #[error("connect request of another protocol")]
    Protocol,
}

impl<'a> Request<'a> {
    /// Reads a datagram that a tracker received.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, UdpError> {
        let mut at = Reader(datagram, datagram.len());
        let (connection, action, transaction) = (at.u64()?, at.u32()?, at.u32()?);
        match action {
            CONNECT if connection == PROTOCOL_ID => Ok(Request::Connect { transaction }),
            CONNECT => Err(UdpError::Protocol),
            ANNOUNCE => {
                let (info_hash, peer_id) = (InfoHash(at.array()?), PeerId(at.array()?));
                let (downloaded, left, uploaded) = (at.u64()?, at.u64()?, at.u64()?);
                let event = match at.u32()? {
                    1 => AnnounceEvent::Completed,
                    2 => AnnounceEvent::Started,
                    3 => AnnounceEvent::Stopped,
                    4 => AnnounceEvent::Paused,
                    _ => AnnounceEvent::None,
                };
                let ip = Some(Ipv4Addr::from(at.u32()?)).filter(|ip| !ip.is_unspecified());
                let key = at.u32()?;
                // -1 stands for the tracker's default; so do other negative numbers.
                let numwant = Some(at.u32()?).filter(|n| *n <= i32::MAX as u32);
                let port = u16::from_be_bytes(at.array()?);
                let announce = Announce { info_hash, peer_id, port, uploaded, downloaded, left, event, key, numwant };
                Ok(Request::Announce { connection, transaction, announce, ip, options: Options(at.0) })
            }
            SCRAPE => {
                let hashes = at.0.as_chunks::<20>().0;
                Ok(Request::Scrape { connection, transaction, hashes: &hashes[..hashes.len().min(SCRAPE_HASHES_MAX)] })
            }
            action => Err(UdpError::Action(action)),
        }
    }

    /// That of the request.
    pub fn transaction(&self) -> u32 {
        match *self {
            Request::Connect { transaction }
            | Request::Announce { transaction, .. }
            | Request::Scrape { transaction, .. } => transaction,
        }
    }
}

impl Options<'_> {
    /// Path and query of the URL that the client was given; None if it does not say. Cut off at
    /// [`URL_DATA_BYTES_MAX`]; what follows a malformed option is ignored.
    pub fn url_data(self) -> Option<Vec<u8>> {
        let mut url = None;
        let mut rest = self.0;
        while let [kind, tail @ ..] = rest {
            match *kind {
                END_OF_OPTIONS => break,
                NOP => rest = tail,
                kind => {
                    let Some((len, tail)) = tail.split_first() else { break };
                    let Some((data, tail)) = tail.split_at_checked(usize::from(*len)) else { break };
                    if kind == URL_DATA {
                        let url: &mut Vec<u8> = url.get_or_insert_default();
                        url.extend(data.iter().take(URL_DATA_BYTES_MAX - url.len()));
                    }
                    rest = tail;
                }
            }
        }
        url
    }
}

impl Response {
    /// Reads a datagram that came `from` a tracker; the family of that address says how long the peers are.
    pub fn parse(datagram: &[u8], from: IpAddr) -> Result<Self, UdpError> {
        let mut at = Reader(datagram, datagram.len());
        let (action, transaction) = (at.u32()?, at.u32()?);
        Ok(match action {
            CONNECT => Response::Connect { transaction, connection: at.u64()? },
            ANNOUNCE => {
                let interval = Duration::from_secs(at.u32()?.into());
                let (leechers, seeders) = (at.u32()?, at.u32()?);
                let peers = match from.to_canonical() {
                    IpAddr::V4(_) => compact::parse_v4(at.0).take(PEERS_MAX).collect(),
                    IpAddr::V6(_) => compact::parse_v6(at.0).take(PEERS_MAX).collect(),
                };
                Response::Announce { transaction, interval, leechers, seeders, peers }
            }
            SCRAPE => {
                let mut counts = Vec::new();
                while counts.len() < SCRAPE_HASHES_MAX && at.0.len() >= 12 {
                    let (seeders, downloads, leechers) = (at.u32()?, at.u32()?, at.u32()?);
                    counts.push(Counts { seeders, leechers, downloads });
                }
                Response::Scrape { transaction, counts }
            }
            ERROR => Response::Error { transaction, message: text::printable(at.0, MESSAGE_CHARS_MAX) },
            action => return Err(UdpError::Action(action)),
        })
    }

    /// That of the request.
    pub fn transaction(&self) -> u32 {
        match *self {
            Response::Connect { transaction, .. }
            | Response::Announce { transaction, .. }
            | Response::Scrape { transaction, .. }
            | Response::Error { transaction, .. } => transaction,
        }
    }
}

/// A connect request.
pub fn connect_request(transaction: u32) -> [u8; CONNECT_LEN] {
    let mut out = [0; CONNECT_LEN];
    out[..8].copy_from_slice(&PROTOCOL_ID.to_be_bytes());
    out[8..12].copy_from_slice(&CONNECT.to_be_bytes());
    out[12..].copy_from_slice(&transaction.to_be_bytes());
    out
}

/// Appends an announce request. `url_data` is path and query of the tracker's URL, cut off at
/// [`URL_DATA_BYTES_MAX`]; where it is empty no option is sent, so that the oldest trackers understand it.
pub fn write_announce_request(
    connection: u64,
    transaction: u32,
    announce: &Announce,
    url_data: &[u8],
    out: &mut Vec<u8>,
) {
    let event: u32 = match announce.event {
        AnnounceEvent::None => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
        AnnounceEvent::Paused => 4,
    };
    write_head(connection, ANNOUNCE, transaction, out);
    out.extend(announce.info_hash.0);
    out.extend(announce.peer_id.0);
    out.extend([announce.downloaded, announce.left, announce.uploaded].into_iter().flat_map(u64::to_be_bytes));
    let numwant = announce.numwant.map_or(u32::MAX, |n| n.min(i32::MAX as u32));
    // No address: the tracker sees it, and none of them should believe us another.
    out.extend([event, 0, announce.key, numwant].into_iter().flat_map(u32::to_be_bytes));
    out.extend(announce.port.to_be_bytes());
    for chunk in url_data[..url_data.len().min(URL_DATA_BYTES_MAX)].chunks(255) {
        out.extend([URL_DATA, chunk.len() as u8]);
        out.extend_from_slice(chunk);
    }
}

/// Appends a scrape request for the first [`SCRAPE_HASHES_MAX`] of `hashes`.
pub fn write_scrape_request(connection: u64, transaction: u32, hashes: &[InfoHash], out: &mut Vec<u8>) {
    write_head(connection, SCRAPE, transaction, out);
    out.extend(hashes.iter().take(SCRAPE_HASHES_MAX).flat_map(|hash| hash.0));
}

fn write_head(connection: u64, action: u32, transaction: u32, out: &mut Vec<u8>) {
    out.extend(connection.to_be_bytes());
    out.extend(action.to_be_bytes());
    out.extend(transaction.to_be_bytes());
}

/// The reply to a connect request: no longer than the request.
pub fn connect_reply(transaction: u32, connection: u64) -> [u8; CONNECT_LEN] {
    let mut out = [0; CONNECT_LEN];
    out[..4].copy_from_slice(&CONNECT.to_be_bytes());
    out[4..8].copy_from_slice(&transaction.to_be_bytes());
    out[8..].copy_from_slice(&connection.to_be_bytes());
    out
}

/// Appends the reply to an announce up to the peers. Those follow in 6 bytes each if the packet goes over IPv4 and in
/// 18 if it goes over IPv6: [`compact::v4`], [`compact::v6`].
pub fn write_announce_reply(transaction: u32, interval: Duration, leechers: u32, seeders: u32, out: &mut Vec<u8>) {
    let interval = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
    out.extend([ANNOUNCE, transaction, interval, leechers, seeders].into_iter().flat_map(u32::to_be_bytes));
}

/// Appends the reply to a scrape, in the order of the request.
pub fn write_scrape_reply(transaction: u32, counts: impl IntoIterator<Item = Counts>, out: &mut Vec<u8>) {
    out.extend([SCRAPE, transaction].into_iter().flat_map(u32::to_be_bytes));
    for Counts { seeders, leechers, downloads } in counts {
        out.extend([seeders, downloads, leechers].into_iter().flat_map(u32::to_be_bytes));
    }
}

/// Appends a refusal.
pub fn write_error(transaction: u32, message: &str, out: &mut Vec<u8>) {
    out.extend([ERROR, transaction].into_iter().flat_map(u32::to_be_bytes));
    out.extend_from_slice(message.as_bytes());
}

/// What is left of a datagram, and how long all of it is.
struct Reader<'a>(&'a [u8], usize);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], UdpError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(UdpError::Short(self.1))?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, UdpError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, UdpError> {
        self.array().map(u64::from_be_bytes)
    }
}
