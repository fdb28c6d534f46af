//! What a torrent tells about itself, and what must always hold.

use super::{Life, Torrent};
use crate::{HttpStatus, PeerStatus, Phase, SourceKind, SourceStatus, TorrentStatus};
use base::{Bitfield, Instant, Payload, PieceIndex};

/// With fewer sessions than this a seed asks trackers for peers, too: who came just before it would not hear of it until
/// its next announce.
const SEED_SESSIONS_FEW: usize = 10;

impl<P: Payload> Torrent<P> {
    /// What it is called.
    pub fn hashes(&self) -> base::InfoHashes {
        self.hashes
    }

    /// How it is doing.
    pub fn status(&self, now: Instant) -> TorrentStatus {
        let mut status = TorrentStatus {
            phase: self.phase(),
            downloaded: self.totals.downloaded,
            uploaded: self.totals.uploaded,
            wasted: self.totals.wasted,
            rotten: self.totals.rotten,
            rate_down: self.sessions.values().map(|s| s.down.per_second(now)).sum::<u64>()
                + self.http.as_ref().map_or(0, |h| h.rate(now)),
            rate_up: self.sessions.values().map(|s| s.up.per_second(now)).sum(),
            peers: self.sessions.len() as u32,
            seeds: self.sessions.values().filter(|s| s.pieces.is_all()).count() as u32,
            candidates: self.candidates.idle() as u32,
            streams: self.http.as_ref().map_or(0, |h| h.lanes() as u32),
            ..TorrentStatus::default()
        };
        if let Some(open) = &self.open {
            let g = &open.plan.geometry;
            let len = |i: u32| u64::from(g.piece_len(PieceIndex(i)));
            let have = open.picker.have();
            let missing: u64 = g.pieces().filter(|p| open.picker.is_wanted(*p)).map(|p| len(p.0)).sum();
            let content = |i: u32| open.plan.layout.content_in(g.piece_offset(PieceIndex(i)), len(i));
            let lacking = g.pieces().filter(|p| open.picker.is_wanted(*p)).map(|p| content(p.0));
            status.done = have.ones().map(content).sum();
            status.wanted = status.done + lacking.sum::<u64>();
            status.partial = missing.saturating_sub(open.picker.bytes_left());
            status.pieces_good = have.count();
            status.pieces = g.piece_count();
        }
        status
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match (self.life, &self.open) {
            (Life::Failed, _) => Phase::Failed,
            (Life::Paused, _) => Phase::Paused,
            (Life::Running, None) if self.info.is_none() => Phase::Metadata,
            (Life::Running, None) => Phase::Ready,
            (Life::Running, Some(o)) if o.to_check.is_some() => Phase::Checking,
            (Life::Running, Some(o)) if o.picker.is_finished() => Phase::Seeding,
            (Life::Running, Some(_)) => Phase::Downloading,
        }
    }

    /// Its peers.
    pub fn peers(&self, now: Instant) -> Vec<PeerStatus> {
        let pieces = self.open.as_ref().map_or(0, |o| o.plan.geometry.piece_count());
        let status = |s: &crate::session::Session<P>| PeerStatus {
            conn: s.conn,
            addr: s.addr,
            outgoing: s.outgoing,
            client: s
                .ext
                .as_ref()
                .map(|e| e.client.to_string())
                .filter(|c| !c.is_empty())
                .unwrap_or_else(|| format!("{:?}", s.peer_id)),
            pieces: s.pieces.count(pieces),
            downloaded: s.downloaded,
            uploaded: s.uploaded,
            rate_down: s.down.per_second(now),
            rate_up: s.up.per_second(now),
            peer_choking: s.peer_choking,
            am_interested: s.am_interested,
            am_choking: s.am_choking,
            peer_interested: s.peer_interested,
            requests: s.requests.len() as u32,
            snubbed: s.snubbed,
        };
        self.sessions.values().map(status).collect()
    }

    /// Who gave how much that was of use in this run.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let peer = |(addr, bytes): (&std::net::SocketAddr, &u64)| SourceStatus {
            kind: SourceKind::Peer(*addr),
            bytes: *bytes,
        };
        let server = |s: HttpStatus| SourceStatus { kind: SourceKind::Http(s.name), bytes: s.bytes };
        let servers = self.servers(Instant::ZERO).into_iter().filter(|s| s.bytes > 0).map(server);
        self.given.iter().map(peer).chain(servers).collect()
    }

    /// The HTTP servers that it was told of.
    pub fn servers(&self, now: Instant) -> Vec<HttpStatus> {
        self.http.as_ref().map(|h| h.status(now)).unwrap_or_default()
    }

    /// A wanted piece that nobody has who is here, if there is one.
    pub fn missing_piece(&self) -> Option<PieceIndex> {
        let open = self.open.as_ref()?;
        let here = |p: &PieceIndex| open.picker.availability(*p) > 0 || self.http.as_ref().is_some_and(|h| h.has(*p));
        open.plan.geometry.pieces().filter(|p| open.picker.is_wanted(*p)).find(|p| !here(p))
    }

    /// The pieces that are good, once the torrent is open.
    pub fn have(&self) -> Option<&Bitfield> {
        self.open.as_ref().map(|o| o.picker.have())
    }

    /// Bytes of wanted pieces still missing; None while the plan is not known.
    pub fn left(&self) -> Option<u64> {
        self.open.as_ref().map(|o| o.picker.bytes_left())
    }

    /// Bytes of all pieces that are not here, wanted or not; None while the plan is not known.
    pub fn missing(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let g = &open.plan.geometry;
        Some(open.picker.have().zeros().map(|i| u64::from(g.piece_len(PieceIndex(i)))).sum())
    }

    /// More peers would help: an announce asks for some.
    pub fn wants_peers(&self) -> bool {
        self.needs_peers() || (self.life == Life::Running && self.sessions.len() < SEED_SESSIONS_FEW)
    }

    /// It lacks content, and has room for peers who may have it: worth asking trackers before their time.
    pub fn needs_peers(&self) -> bool {
        self.life == Life::Running
            && (self.open.is_none() || self.is_fetching())
            && self.sessions.len() < self.settings.connections_max
    }

    /// Peers connected.
    pub fn peer_count(&self) -> u32 {
        self.sessions.len() as u32
    }

    /// Payload bytes sent and received in this run.
    pub fn traffic(&self) -> (u64, u64) {
        (self.totals.uploaded, self.totals.downloaded)
    }

    /// The raw info dictionary, once it is known.
    pub fn info(&self) -> Option<&std::sync::Arc<[u8]>> {
        self.info.as_ref()
    }

    /// What is wrong, if anything. The lab asks after every step.
    pub fn check_invariants(&self) -> Result<(), String> {
        if self.by_conn.len() != self.sessions.len() {
            return Err(format!("{} connections for {} sessions", self.by_conn.len(), self.sessions.len()));
        }
        if self.sessions.len() > self.settings.connections_max {
            return Err(format!("{} sessions", self.sessions.len()));
        }
        for s in self.sessions.values() {
            let who = format!("session {:?} of {}", s.slot, s.addr);
            if s.am_choking && !s.upload_queue.is_empty() {
                return Err(format!("{who}: choked, and served"));
            }
            if s.requests.len() > usize::from(self.settings.requests_max.max(s.reqq)) {
                return Err(format!("{who}: {} requests", s.requests.len()));
            }
            if s.has_output() && !self.sessions.is_awake(s.slot) {
                return Err(format!("{who}: has something to say and nobody was told"));
            }
            let patient = s.peer_interested && s.am_choking;
            if patient != self.sessions.is_patient(s.slot) {
                return Err(format!("{who}: patient for haves: {}", !patient));
            }
            if let Some(open) = &self.open {
                let waits = (s.have_cursor as usize) < open.have_log.len() && !s.pieces.is_all();
                if waits && self.news.due == Instant::NEVER && !self.sessions.is_awake(s.slot) {
                    return Err(format!("{who}: haves wait for nothing"));
                }
                let lost = s.requests.iter().find(|r| !open.picker.is_requested(r.piece, r.block, s.slot));
                if let Some(r) = lost {
                    return Err(format!("{who}: asked for {:?} of {:?}, unknown to the picker", r.block, r.piece));
                }
            }
        }
        let Some(open) = &self.open else { return Ok(()) };
        open.picker.check_invariants()?;
        let asked: usize = self.sessions.values().map(|s| s.requests.len()).sum();
        let asked = asked + self.http.as_ref().map_or(0, |h| h.asked());
        self.check_servers()?;
        if open.picker.asked() != asked {
            return Err(format!("{} blocks count as asked for, {asked} are", open.picker.asked()));
        }
        open.picker.check_availability(self.sessions.values().filter(|s| s.counted).map(|s| &s.pieces))?;
        open.blame.check_invariants()
    }
}
