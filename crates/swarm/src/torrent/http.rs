//! What is fetched from HTTP servers.
//!
//! A server has lanes, each with one stream under way: the server sends, block after block, and the lane claims the blocks
//! that are about to come ([`crate::picker::Stretch`]). It claims for half a second ahead: what it has not claimed stays free
//! for others, and a server that dies or dawdles holds little. When the next block belongs to somebody else, the stream is
//! ended and another one begins where the most is missing. Once nothing is free, a lane asks for what others were asked for,
//! the part that they would come to last, as peers do in the end game.
//!
//! Here is what a stream brings, and how it ends.
//!
//! - `server`: what a server has, and when it may be asked;
//! - `begin`: where streams begin, and when;
//! - `lane`: a stream and its claims;
//! - `holders`: how many servers have a piece;
//! - `trial`: whether one more lane to a server helps.

mod begin;
mod holders;
mod lane;
mod server;
#[cfg(test)]
mod tests;
mod trial;

use super::{Open, Torrent};
use crate::http::{HttpSource, HttpState, HttpStatus, SERVERS_MAX, StreamError};
use crate::pieces::{PeerSlot, Pieces};
use crate::{Event, Output};
use base::{BlockIndex, Geometry, Instant, Payload, PieceIndex};
use holders::Holders;
use lane::{Claim, Lane, give_back, wanted_until};
use server::{Server, pieces_of};
use std::time::Duration;

/// A stream that has brought so much has mended what its server failed at before.
const FORGIVEN_AFTER: u64 = 1 << 20;

/// The servers of a torrent, and what is under way from them.
pub(super) struct Http<P> {
    servers: Vec<Server>,
    lanes: Vec<Lane<P>>,
    next_stream: u64,
    due: Instant,
    holders: Holders,
    /// A server was left, or lost something, since somebody looked whether enough are left.
    fewer: bool,
}

impl<P> Default for Http<P> {
    fn default() -> Self {
        Http {
            servers: Vec::new(),
            lanes: Vec::new(),
            next_stream: 0,
            due: Instant::NEVER,
            holders: Holders::default(),
            fewer: false,
        }
    }
}

impl<P> Http<P> {
    /// The server that picker and blame know by this.
    fn by_slot(&self, slot: PeerSlot) -> Option<usize> {
        self.servers.iter().position(|s| s.slot == slot)
    }

    fn lanes_of(&self, server: usize) -> usize {
        self.lanes.iter().filter(|l| l.server == server).count()
    }

    /// Adds to what a server gave that was of use, if this is one.
    pub(super) fn credit(&mut self, slot: PeerSlot, bytes: i64) {
        if let Some(server) = self.by_slot(slot) {
            self.servers[server].given += bytes;
        }
    }

    /// Blocks that servers are asked for.
    pub(super) fn asked(&self) -> usize {
        self.lanes.iter().flat_map(|l| &l.claims).filter(|c| c.wanted).count()
    }

    /// Bytes a second of all.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        self.lanes.iter().map(|l| l.down.per_second(now)).sum()
    }

    /// Streams under way.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn status(&self, now: Instant) -> Vec<HttpStatus> {
        let status = |(at, s): (usize, &Server)| HttpStatus {
            id: s.source.id,
            name: s.source.name.clone(),
            lanes: self.lanes_of(at) as u32,
            rate: self.lanes.iter().filter(|l| l.server == at).map(|l| l.down.per_second(now)).sum(),
            bytes: u64::try_from(s.given).unwrap_or(0),
            state: match (&s.why, s.dropped) {
                (why, true) => HttpState::Dropped { why: why.clone().unwrap_or_default() },
                (Some(why), false) if s.wait > now => HttpState::Waits { why: why.clone() },
                _ => HttpState::Fine,
            },
            trouble: s.why.clone(),
        };
        self.servers.iter().enumerate().map(status).collect()
    }

    /// True if a server that is in use has this piece.
    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        self.servers.iter().any(|s| !s.dropped && s.has.has(piece))
    }
}

impl<P: Payload> Torrent<P> {
    /// A server to fetch from.
    pub(super) fn add_server(&mut self, source: HttpSource) {
        let http = self.http.get_or_insert_default();
        let at = http.servers.iter().position(|s| s.source.id == source.id);
        if at.is_none() && http.servers.len() >= SERVERS_MAX {
            return;
        }
        let slot = PeerSlot(self.slots_used);
        self.slots_used += 1;
        let has = self.open.as_ref().map_or(Pieces::None, |open| pieces_of(&source, &open.plan.geometry));
        let mut server = Server::new(source, slot, has);
        match at {
            Some(at) => {
                self.end_lanes(|lane| lane.server == at);
                let Some(http) = &mut self.http else { return };
                // What the former one gave stays with the number.
                server.given = http.servers[at].given;
                http.servers[at] = server;
            }
            None => http.servers.push(server),
        }
        self.poke = true;
    }

    /// A server is not to be used any more.
    pub(super) fn drop_server(&mut self, id: u32, why: String) {
        let at = self.http.as_ref().and_then(|h| h.servers.iter().position(|s| s.source.id == id && !s.dropped));
        if let Some(at) = at {
            self.leave_server(at, why);
        }
    }

    /// The plan is known: so is what the servers have of it.
    pub(super) fn servers_meet_plan(&mut self) {
        let (Some(http), Some(open)) = (&mut self.http, &self.open) else { return };
        http.holders = Holders::default();
        for server in &mut http.servers {
            server.has = pieces_of(&server.source, &open.plan.geometry);
        }
    }

    /// Bans the server that picker and blame know by this. False if there is none.
    pub(super) fn ban_server(&mut self, slot: PeerSlot, why: &str) -> bool {
        let Some(at) = self.http.as_mut().and_then(|h| h.by_slot(slot)) else { return false };
        if self.http.as_ref().is_some_and(|h| !h.servers[at].dropped) {
            self.leave_server(at, why.to_owned());
        }
        true
    }

    fn leave_server(&mut self, at: usize, why: String) {
        self.end_lanes(|lane| lane.server == at);
        let Some(http) = &mut self.http else { return };
        let server = &mut http.servers[at];
        server.dropped = true;
        server.has = Pieces::None;
        server.why = Some(why.clone());
        http.fewer = true;
        let name = server.source.name.clone();
        self.event(Event::ServerDropped { name, why });
        self.poke = true;
    }

    /// Ends streams, and gives back what they have claimed.
    fn end_lanes(&mut self, which: impl Fn(&Lane<P>) -> bool) {
        let Some(http) = &mut self.http else { return };
        let mut at = 0;
        while at < http.lanes.len() {
            if !which(&http.lanes[at]) {
                at += 1;
                continue;
            }
            let lane = http.lanes.swap_remove(at);
            self.out.push_back(Output::EndStream { stream: lane.stream });
            give_back(&mut self.open, &http.servers[lane.server], &lane);
            self.totals.wasted += lane.buf.len() as u64;
            self.poke = true;
        }
    }

    /// All streams end: nothing is fetched for now.
    pub(super) fn end_all_lanes(&mut self) {
        self.end_lanes(|_| true);
    }

    /// Streams end that are in none of these pieces, which are in order.
    pub(super) fn end_lanes_beyond(&mut self, geometry: &Geometry, pieces: &[PieceIndex]) {
        self.end_lanes(|lane| {
            geometry.block_at(lane.at).is_none_or(|(piece, _)| pieces.binary_search(&piece).is_err())
        });
    }

    /// Somebody else was faster with a block that a server was asked for. False if it is no server's slot.
    pub(super) fn server_was_slower(&mut self, slot: PeerSlot, piece: PieceIndex, block: BlockIndex) -> bool {
        let Some(http) = &mut self.http else { return false };
        let Some(server) = http.by_slot(slot) else { return false };
        let mut lanes = http.lanes.iter_mut().filter(|l| l.server == server);
        let freed = lanes.find_map(|l| l.let_go(piece, block).then_some((l.stream, l.has_wanted())));
        if let Some((stream, false)) = freed {
            self.settle_lane(stream);
        }
        true
    }

    /// Bytes of a stream.
    pub(super) fn streamed(&mut self, now: Instant, stream: u64, data: P) {
        let len = data.len() as u64;
        let Some(http) = &mut self.http else { return };
        let Some(lane) = http.lanes.iter_mut().find(|l| l.stream == stream) else { return };
        let server = &mut http.servers[lane.server];
        lane.buf.append(data);
        lane.down.add(now, len);
        server.down.add(now, len);
        server.trial.bytes += len;
        if lane.at - lane.from >= FORGIVEN_AFTER {
            server.failures = 0;
        }
        self.totals.downloaded += len;
        while self.next_block(now, stream) {}
        self.settle_lane(stream);
    }

    /// Bytes of a stream that came before what was asked for: they count, and are of no use.
    pub(super) fn skipped(&mut self, now: Instant, stream: u64, bytes: u64) {
        let Some(http) = &mut self.http else { return };
        let Some(lane) = http.lanes.iter_mut().find(|l| l.stream == stream) else { return };
        lane.down.add(now, bytes);
        http.servers[lane.server].down.add(now, bytes);
        self.totals.downloaded += bytes;
        self.totals.wasted += bytes;
    }

    /// Takes the next block out of what a stream has brought, if it is whole.
    fn next_block(&mut self, now: Instant, stream: u64) -> bool {
        let (Some(http), Some(open)) = (&mut self.http, &mut self.open) else { return false };
        let Some(lane) = http.lanes.iter_mut().find(|l| l.stream == stream) else { return false };
        let g = open.plan.geometry;
        let Some((piece, block)) = g.block_at(lane.at).filter(|_| lane.at < lane.end) else { return false };
        let len = g.block_len(piece, block);
        if lane.buf.len() < len as usize {
            return false;
        }
        let server = &http.servers[lane.server];
        let claimed = lane.claims.front().is_some_and(|c| (c.piece, c.block) == (piece, block));
        if !claimed {
            if !lane.from_start {
                // It belongs to somebody else by now.
                return false;
            }
            lane.buf.advance(len as usize);
            lane.at += u64::from(len);
            lane.claim_more(server, open, now);
            self.totals.wasted += u64::from(len);
            return true;
        }
        let wanted = lane.claims.pop_front().is_some_and(|c| c.wanted);
        let data = lane.buf.split_to(len as usize);
        lane.at += u64::from(len);
        lane.claim_more(server, open, now);
        let slot = server.slot;
        if wanted {
            self.take_block(now, slot, piece, block, data);
        } else {
            self.totals.wasted += u64::from(len);
        }
        true
    }

    /// Ends a stream that has brought all, or whose next block is not its own.
    fn settle_lane(&mut self, stream: u64) {
        let Some(http) = &self.http else { return };
        let Some(lane) = http.lanes.iter().find(|l| l.stream == stream) else { return };
        // The hands say so, and the connection can be used again.
        let done = lane.at >= lane.end;
        let passes = |open: &Open| lane.from_start && !lane.copies && wanted_until(open, lane.at, lane.end).is_some();
        let goes_on = lane.has_wanted() || (self.is_fetching() && self.open.as_deref().is_some_and(passes));
        if !done && !goes_on {
            self.end_lanes(|lane| lane.stream == stream);
        }
    }

    /// A stream has ended.
    pub(super) fn stream_ended(&mut self, now: Instant, stream: u64, end: Result<(), StreamError>) {
        let Some(http) = &mut self.http else { return };
        let Some(at) = http.lanes.iter().position(|l| l.stream == stream) else { return };
        let lane = http.lanes.swap_remove(at);
        let at = lane.server;
        let server = &mut http.servers[at];
        give_back(&mut self.open, server, &lane);
        self.totals.wasted += lane.buf.len() as u64;
        self.poke = true;
        let end = match end {
            Ok(()) if lane.at < lane.end => Err(StreamError::Broken { why: "the stream ended too early".into() }),
            other => other,
        };
        match end {
            Ok(()) => (server.failures, server.unreached, server.misses) = (0, 0, 0),
            Err(StreamError::NoRanges) if lane.from_start => {
                self.leave_server(at, "it sends other parts than it is asked for".into());
            }
            Err(StreamError::NoRanges) => {
                server.source.from_start = true;
                server.lanes_wanted = 1;
            }
            Err(StreamError::Missing { at: byte, why }) => {
                let had = self.open.as_ref().map_or(0, |open| server.has.count(open.plan.geometry.piece_count()));
                let left = self.open.as_ref().map_or(0, |open| server.lose(&open.plan, byte));
                http.holders = Holders::default();
                // Who begins at the beginning may come to what is missing again and again.
                if left == 0 || (lane.from_start && left == had) {
                    self.leave_server(at, why);
                } else {
                    server.miss(now, lane.at > lane.from, why);
                    http.fewer = true;
                }
            }
            Err(StreamError::Wrong { why }) => self.leave_server(at, why),
            Err(StreamError::Busy { seconds, why }) => {
                server.lanes_wanted = server.lanes_wanted.saturating_sub(1).max(1);
                server.trial.pause(now);
                server.fail(now, Duration::from_secs(seconds.into()), why);
            }
            Err(StreamError::Broken { why }) => {
                server.broke(now, why);
                http.fewer |= server.is_hopeless();
            }
        }
    }

    /// What must hold of servers.
    pub(super) fn check_servers(&self) -> Result<(), String> {
        let (Some(http), Some(open)) = (&self.http, &self.open) else { return Ok(()) };
        for lane in &http.lanes {
            let slot = http.servers[lane.server].slot;
            let lost = |c: &&Claim| c.wanted && !open.picker.is_requested(c.piece, c.block, slot);
            if let Some(claim) = lane.claims.iter().find(lost) {
                return Err(format!("stream {}: {claim:?} is unknown to the picker", lane.stream));
            }
            if lane.at > lane.end || lane.claimed > lane.end {
                return Err(format!(
                    "stream {}: at {}, claimed {}, of {}",
                    lane.stream, lane.at, lane.claimed, lane.end
                ));
            }
        }
        Ok(())
    }
}
