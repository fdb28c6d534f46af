//! One peer of one torrent: what both sides have said, what is asked and owed. A plain struct: decisions that need the
//! torrent are made in [`crate::Torrent`].
//!
//! Idle sessions are many, so they are small: everything that only a busy session needs is empty or boxed until then.

use crate::pieces::{PeerSlot, Pieces};
use crate::rate::Rate;
use base::{BlockIndex, ConnId, Instant, Payload, PeerId, PieceIndex};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use wire::handshake::Reserved;
use wire::message::{Decoder, Limits, Message};

/// Requests that one peer may have waiting with us; told as `reqq` (BEP 10).
pub(crate) const UPLOAD_QUEUE_MAX: usize = 2_000;
/// What a peer that says no `reqq` may be asked for at once.
pub(crate) const REQQ_DEFAULT: u16 = 250;
/// Messages that wait for the socket, in bytes: a peer that makes us talk and never reads is dropped here.
pub(crate) const OUT_BYTES_MAX: usize = 4 << 20;
/// Blocks nobody asked for, beyond those that crossed a cancel, before the peer is dropped.
pub(crate) const UNASKED_MAX: u16 = 64;

/// A block that we asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) piece: PieceIndex,
    pub(crate) block: BlockIndex,
}

/// A part of a piece that we were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) piece: PieceIndex,
    pub(crate) begin: u32,
    pub(crate) len: u32,
}

/// What the extended handshake told (BEP 10).
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    /// The ids of its extensions.
    pub(crate) ids: wire::extended::PeerIds,
    /// Bytes of its info dictionary.
    pub(crate) metadata_size: Option<u32>,
    /// What it calls itself.
    pub(crate) client: Box<str>,
    /// Metadata pieces served to it.
    pub(crate) metadata_served: u32,
    /// Requests for metadata that were refused.
    pub(crate) metadata_refused: u16,
    /// It knows of the others, and hears who comes and goes (BEP 11).
    pub(crate) pex_told: bool,
    /// When it told us of others.
    pub(crate) pex_heard: Instant,
    /// It won't download anything (BEP 21).
    pub(crate) upload_only: bool,
}

/// What a peer said of its pieces before the number of pieces was known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Early {
    pub(crate) bits: Option<Box<[u8]>>,
    pub(crate) all: bool,
    pub(crate) haves: Vec<u32>,
}

/// Most haves kept in [`Early`].
pub(crate) const EARLY_HAVES_MAX: usize = 4_096;

/// How deep the request queue of one peer should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipeline {
    pub(crate) target: u16,
    slow_start: bool,
    last_rate: u32,
    /// When the rate was looked at.
    ticked_at: Instant,
}

/// In the order of the fields: what every message touches lies together, since with thousands of sessions none of it is in the
/// cache when one comes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Session<P> {
    pub(crate) conn: ConnId,
    pub(crate) received_at: Instant,
    pub(crate) sent_at: Instant,
    pub(crate) slot: PeerSlot,
    /// Haves before this place of the torrent's log were said.
    pub(crate) have_cursor: u32,
    /// It is among those that have something due every second.
    pub(crate) timed: bool,
    pub(crate) am_choking: bool,
    pub(crate) am_interested: bool,
    pub(crate) peer_choking: bool,
    pub(crate) peer_interested: bool,
    /// Its first message about pieces has come.
    pub(crate) told_pieces: bool,
    /// The upload budget is spent; the hands are woken when there is more.
    pub(crate) throttled: bool,
    /// Nothing that was asked for came for a while: ask for one block at a time.
    pub(crate) stalled: bool,
    pub(crate) snubbed: bool,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    /// The picker counts its pieces.
    pub(crate) counted: bool,
    pub(crate) outgoing: bool,
    /// The others know that it is here (BEP 11).
    pub(crate) named: bool,
    /// Requests at the end of that queue that wait for the socket: who is choked meanwhile does not say them.
    pub(crate) unsaid: u16,
    pub(crate) pieces: Pieces,
    pub(crate) out: Vec<u8>,
    pub(crate) requests: VecDeque<Request>,
    pub(crate) upload_queue: VecDeque<Asked>,
    pub(crate) early: Option<Box<Early>>,
    pub(crate) decoder: Decoder<P>,
    // From here on: for blocks, and now and then.
    /// When the last block came, or the first request of the queue was made.
    pub(crate) progress_at: Instant,
    /// Ask it for nothing before: it rejected what we asked for.
    pub(crate) hold_until: Instant,
    /// The piece that was asked for last.
    pub(crate) last_piece: Option<PieceIndex>,
    /// Requests taken back (cancel, timeout, choke) whose blocks may still arrive.
    pub(crate) stale: u16,
    pub(crate) unasked: u16,
    pub(crate) reqq: u16,
    /// The port it listens on, if it came in and told so.
    pub(crate) listen_port: u16,
    pub(crate) pipeline: Pipeline,
    pub(crate) down: Rate,
    pub(crate) up: Rate,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) uploaded_at_unchoke: u64,
    pub(crate) unchoked_at: Instant,
    pub(crate) connected_at: Instant,
    pub(crate) ext: Option<Box<Extensions>>,
    pub(crate) peer_id: PeerId,
    pub(crate) addr: SocketAddr,
}

impl<P: Payload> Session<P> {
    pub(crate) fn new(now: Instant, slot: PeerSlot, peer: crate::NewPeer, limits: Limits, have_cursor: u32) -> Self {
        Session {
            slot,
            conn: peer.conn,
            addr: peer.addr,
            peer_id: peer.peer_id,
            outgoing: peer.outgoing,
            named: false,
            listen_port: 0,
            fast: peer.reserved.fast() && OURS.fast(),
            extended: peer.reserved.extended(),
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            snubbed: false,
            told_pieces: false,
            counted: false,
            stalled: false,
            timed: false,
            last_piece: None,
            throttled: false,
            decoder: Decoder::new(limits),
            out: peer.unsent,
            pieces: Pieces::None,
            early: None,
            upload_queue: VecDeque::new(),
            requests: VecDeque::new(),
            unsaid: 0,
            stale: 0,
            unasked: 0,
            reqq: REQQ_DEFAULT,
            pipeline: Pipeline::new(),
            down: Rate::default(),
            up: Rate::default(),
            downloaded: 0,
            uploaded: 0,
            uploaded_at_unchoke: 0,
            ext: None,
            have_cursor,
            connected_at: now,
            unchoked_at: Instant::ZERO,
            received_at: now,
            sent_at: now,
            progress_at: now,
            hold_until: Instant::ZERO,
        }
    }

    /// Where others reach it, if that is known.
    pub(crate) fn listens_at(&self) -> Option<SocketAddr> {
        match (self.outgoing, self.listen_port) {
            (true, _) => Some(self.addr),
            (false, 0) => None,
            (false, port) => Some(SocketAddr::new(self.addr.ip(), port)),
        }
    }

    /// It has everything, or all that it wants.
    pub(crate) fn is_seed(&self) -> bool {
        self.pieces.is_all() || self.ext.as_ref().is_some_and(|ext| ext.upload_only)
    }

    /// Puts a message in the queue to the socket.
    pub(crate) fn say(&mut self, message: &Message) {
        wire::message::encode(message, &mut self.out);
    }

    /// True if there is anything to send. Haves wait for company or for a wake-up that the torrent decides on.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty() || self.unsaid > 0 || (!self.upload_queue.is_empty() && !self.throttled)
    }

    /// How many requests may be open.
    pub(crate) fn requests_max(&self) -> usize {
        if self.snubbed || self.stalled { 1 } else { usize::from(self.pipeline.target.min(self.reqq)).max(1) }
    }

    /// Takes back all requests. The blocks of those that were said may still come.
    pub(crate) fn take_requests(&mut self) -> VecDeque<Request> {
        let said = self.requests.len() as u16 - std::mem::take(&mut self.unsaid);
        self.stale = self.stale.saturating_add(said);
        std::mem::take(&mut self.requests)
    }

    /// Takes one request out of the queue. With it comes whether it was said.
    pub(crate) fn remove_request(&mut self, at: usize) -> Option<(Request, bool)> {
        let said = at + usize::from(self.unsaid) < self.requests.len();
        let request = self.requests.remove(at)?;
        self.unsaid -= u16::from(!said);
        Some((request, said))
    }

    /// Takes back the requests that were not said.
    pub(crate) fn take_unsaid(&mut self) -> VecDeque<Request> {
        let said = self.requests.len() - usize::from(std::mem::take(&mut self.unsaid));
        self.requests.split_off(said)
    }

    /// Says the requests that were not said.
    pub(crate) fn say_requests(&mut self, geometry: &base::Geometry) {
        let said = self.requests.len() - usize::from(std::mem::take(&mut self.unsaid));
        for r in self.requests.iter().skip(said) {
            let (begin, len) = (geometry.block_begin(r.block), geometry.block_len(r.piece, r.block));
            wire::message::encode(&Message::Request { piece: r.piece.0, begin, len }, &mut self.out);
        }
    }
}

/// What our handshakes offer: extensions (BEP 10) and the fast extension (BEP 6).
pub const OURS: Reserved = Reserved::NONE.with_extended().with_fast();

impl Pipeline {
    /// Requests to begin with. More would wait long behind a slow uplink, fewer leave a fast one idle.
    const FIRST: u16 = 16;
    /// Fewest requests once the rate is known.
    const LEAST: u16 = 4;
    /// Between two looks at the rate.
    const PAUSE: Duration = Duration::from_secs(1);
    /// Seconds of data on the way.
    const SECONDS: u64 = 3;

    pub(crate) fn new() -> Self {
        Pipeline { target: Self::FIRST, slow_start: true, last_rate: 0, ticked_at: Instant::ZERO }
    }

    /// A block arrived: in slow start, one more may be open.
    pub(crate) fn block_arrived(&mut self, max: u16) {
        if self.slow_start {
            self.target = self.target.saturating_add(1).min(max);
        }
    }

    /// In slow start the rate is to be looked at every second, blocks or not.
    pub(crate) fn is_growing(&self) -> bool {
        self.slow_start
    }

    /// True if the rate is to be looked at now: once a second at most.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = now - self.ticked_at >= Self::PAUSE;
        if due {
            self.ticked_at = now;
        }
        due
    }

    /// Has the rate stopped growing? Then the queue follows it.
    pub(crate) fn tick(&mut self, rate: u64, block_size: u32, max: u16) {
        let rate32 = u32::try_from(rate).unwrap_or(u32::MAX);
        if self.slow_start && self.last_rate > 0 && rate32 < self.last_rate.saturating_add(self.last_rate / 8) {
            self.slow_start = false;
        }
        self.last_rate = rate32;
        if !self.slow_start {
            let blocks = Self::SECONDS * rate / u64::from(block_size.max(1));
            self.target = u16::try_from(blocks).unwrap_or(u16::MAX).clamp(Self::LEAST, max.max(Self::LEAST));
        }
    }

    /// A snubbed or choking peer begins anew.
    pub(crate) fn reset(&mut self) {
        *self = Pipeline::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_grows_until_the_rate_does_not_and_follows_it_then() {
        let mut p = Pipeline::new();
        (0..100).for_each(|_| p.block_arrived(500));
        assert_eq!(p.target, 116);
        p.tick(1 << 20, 16 << 10, 500);
        p.tick(2 << 20, 16 << 10, 500);
        assert_eq!(p.target, 116);
        p.tick(2 << 20, 16 << 10, 500);
        assert_eq!(p.target, 384);
        p.tick(1 << 30, 16 << 10, 500);
        assert_eq!(p.target, 500);
        p.tick(10, 16 << 10, 500);
        assert_eq!(p.target, 4);
    }

    #[test]
    fn a_session_is_small() {
        let size = std::mem::size_of::<Session<[usize; 4]>>();
        assert!(size <= 560, "{size} bytes");
    }
}
