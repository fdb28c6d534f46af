//! What is fetched from HTTP servers.
//!
//! A server has lanes, each with one stream under way: the server sends, block after block, and the lane claims the blocks
//! that are about to come ([`crate::picker::Stretch`]). It claims for half a second ahead: what it has not claimed stays free
//! for others, and a server that dies or dawdles holds little. When the next block belongs to somebody else, the stream is
//! ended and another one begins where the most is missing. Once nothing is free, a lane asks for what others were asked for,
//! the part that they would come to last, as peers do in the end game.
//!
//! - `lane`: a stream and its claims;
//! - `trial`: whether one more lane to a server helps.

mod holders;
mod lane;
#[cfg(test)]
mod tests;
mod trial;

use super::{Life, Torrent};
use crate::http::{HttpSource, HttpState, HttpStatus, SERVERS_MAX, StreamError};
use crate::picker::{Claimant, Order, Rival};
use crate::pieces::{PeerSlot, Pieces};
use crate::rate::Rate;
use crate::{Event, Output};
use base::{Bitfield, BlockIndex, Geometry, Instant, Payload, PieceIndex};
use holders::Holders;
use lane::{CLAIM_MIN, Claim, Lane, block_end, bounds, give_back};
use std::collections::VecDeque;
use std::time::Duration;
use trial::Trial;

/// Bytes asked for at once while pieces are fetched in order.
const IN_ORDER_MS: u64 = 2_000;
/// A stream that brings nothing for so long is ended: longer than the hands wait for the head of an answer or the next byte, who
/// can tell why.
const STALL_AFTER: Duration = Duration::from_secs(45);
/// A stream that has brought so much has mended what its server failed at before.
const FORGIVEN_AFTER: u64 = 1 << 20;
/// Between timers while there are servers and something is missing.
const TICK: Duration = Duration::from_secs(1);
/// The first wait after a failure, and the longest.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Servers whose failures are told when none is left.
const TROUBLES_TOLD: usize = 8;

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

struct Server {
    source: HttpSource,
    /// All of its lanes, for picker and blame.
    slot: PeerSlot,
    /// What of the plan it has; none before that is known.
    has: Pieces,
    lanes_wanted: u8,
    trial: Trial,
    /// Not to be asked before.
    wait: Instant,
    failures: u32,
    why: Option<String>,
    dropped: bool,
    down: Rate,
    given: i64,
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

impl Server {
    fn may_be_asked(&self, now: Instant) -> bool {
        !self.dropped && self.wait <= now && !self.has.is_none()
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
        if let Some(at) = at {
            self.end_lanes(|lane| lane.server == at);
        }
        let slot = PeerSlot(self.slots_used);
        self.slots_used += 1;
        let has = self.open.as_ref().map_or(Pieces::None, |open| pieces_of(&source, &open.plan.geometry));
        let server = Server {
            source,
            slot,
            has,
            lanes_wanted: 1,
            trial: Trial::RESTED,
            wait: Instant::ZERO,
            failures: 0,
            why: None,
            dropped: false,
            down: Rate::default(),
            given: 0,
        };
        let http = self.http.get_or_insert_default();
        match at {
            // What the former one gave stays with the number.
            Some(at) => http.servers[at] = Server { given: http.servers[at].given, ..server },
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
        lane.moved_at = now;
        server.down.add(now, len);
        server.trial.bytes += len;
        if lane.at - lane.from >= FORGIVEN_AFTER {
            server.failures = 0;
        }
        self.totals.downloaded += len;
        while self.next_block(now, stream) {}
        self.settle_lane(stream);
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
        let goes_on = lane.has_wanted() || (lane.from_start && !lane.copies && self.is_fetching());
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
            Ok(()) => server.failures = 0,
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
                    server.why = Some(why);
                    http.fewer = true;
                }
            }
            Err(StreamError::Wrong { why }) => self.leave_server(at, why),
            Err(StreamError::Busy { seconds, why }) => {
                server.lanes_wanted = server.lanes_wanted.saturating_sub(1).max(1);
                server.trial.pause(now);
                server.fail(now, Duration::from_secs(seconds.into()), why);
            }
            Err(StreamError::Broken { why }) => server.fail(now, Duration::ZERO, why),
        }
    }

    /// Begins streams where there is room for them.
    pub(super) fn fill_servers(&mut self, now: Instant) {
        if self.http.is_none() || self.life != Life::Running {
            return;
        }
        if !self.is_fetching() {
            self.end_all_lanes();
            return;
        }
        let servers = self.http.as_ref().map_or(0, |h| h.servers.len());
        // One lane for each in turn, so that all have one before some have several.
        for round in 1..=u8::MAX {
            let mut more = false;
            for at in 0..servers {
                let Some(http) = &self.http else { return };
                let server = &http.servers[at];
                if server.may_be_asked(now) && server.lanes_wanted >= round && http.lanes_of(at) < usize::from(round) {
                    self.begin_stream(now, at);
                }
                more |= self.http.as_ref().is_some_and(|h| h.servers[at].lanes_wanted > round);
            }
            if !more {
                break;
            }
        }
        self.stop_if_nobody_is_left(now);
        if let Some(http) = &mut self.http {
            let waits = http.servers.iter().filter(|s| !s.dropped && s.wait > now).map(|s| s.wait).min();
            http.due = http.due.min(now + TICK).min(waits.unwrap_or(Instant::NEVER));
            self.tick_at = self.tick_at.min(http.due);
        }
    }

    /// What no peer can have, since it has no name among peers, comes from servers or not at all. If none of them has anything that
    /// is missing, waiting is in vain.
    fn stop_if_nobody_is_left(&mut self, now: Instant) {
        let (Some(http), Some(open)) = (&mut self.http, &self.open) else { return };
        let among_peers = self.hashes.on_wire().next().is_some() || !self.sessions.is_empty();
        if !http.fewer || !http.lanes.is_empty() || self.backlog > 0 || among_peers || self.life != Life::Running {
            return;
        }
        // What is all here is being checked.
        let on_disk = |p: PieceIndex| open.picker.received_blocks(p).is_some_and(|blocks| blocks.is_full());
        let may_come = |p: &PieceIndex| http.has(*p) || on_disk(*p);
        if open.plan.geometry.pieces().filter(|p| open.picker.is_wanted(*p)).any(|p| may_come(&p)) {
            return;
        }
        http.fewer = false;
        let troubles = http.servers.iter().filter_map(|s| Some(format!("{}: {}", s.source.name, s.why.as_ref()?)));
        let told: Vec<String> = troubles.take(TROUBLES_TOLD).collect();
        let rest = http.servers.len().saturating_sub(told.len());
        let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        let error = format!("no server is left that has what is missing ({}{more})", told.join("; "));
        self.stop(now, Life::Failed);
        self.event(Event::Stopped { error });
    }

    fn begin_stream(&mut self, now: Instant, at: usize) {
        let (Some(http), Some(open)) = (&mut self.http, &mut self.open) else { return };
        let g = open.plan.geometry;
        let server = &http.servers[at];
        let lanes = http.lanes_of(at).max(1) as u64;
        let rate = server.down.per_second(now) / lanes;
        let rivals: Vec<Rival> = http.lanes.iter().filter_map(|l| l.rival(&g, now)).collect();
        let us = Claimant { slot: server.slot, alone: open.blame.is_suspect(server.slot) };
        http.holders.update(&http.servers, now, g.piece_count());
        let holders = |piece: PieceIndex| http.holders.of(piece);
        let found = open.picker.find_stretch(us, &server.has, holders, &rivals, rate);
        let (stretch, copies) = match found {
            Some(stretch) => (stretch, false),
            None if server.source.from_start => return,
            None => match open.picker.find_asked(&server.has, server.slot) {
                Some(stretch) => (stretch, true),
                None => return,
            },
        };
        let (from, mut end) = bounds(&g, stretch);
        let from_start = server.source.from_start;
        let first = if from_start {
            let (begins, ends) = server.source.unit(&open.plan, from);
            end = block_end(&g, ends);
            // Between what begins within a block and that block's end, the hands have to read.
            block_end(&g, begins).min(from)
        } else {
            from
        };
        if from_start {
            // All of it comes in one run.
        } else if open.picker.order() == Order::Sequential {
            end = end.min(from + (rate * IN_ORDER_MS / 1000).max(CLAIM_MIN));
            end = block_end(&g, end);
        }
        let stream = http.next_stream;
        http.next_stream += 1;
        let mut lane = Lane {
            server: at,
            stream,
            from: first,
            at: first,
            end,
            buf: P::default(),
            claims: VecDeque::new(),
            claimed: first,
            copies,
            from_start,
            down: Rate::default(),
            moved_at: now,
        };
        lane.claim_more(server, open, now);
        if lane.claims.is_empty() && !from_start {
            return;
        }
        self.out.push_back(Output::Stream { stream, source: server.source.id, offset: first, len: end - first });
        http.lanes.push(lane);
    }

    /// What is due for servers.
    pub(super) fn time_servers(&mut self, now: Instant) {
        let Some(http) = &mut self.http else { return };
        if http.due > now {
            self.tick_at = self.tick_at.min(http.due);
            return;
        }
        http.due = Instant::NEVER;
        if !self.is_fetching() {
            return;
        }
        self.end_stalled(now);
        self.try_lanes(now);
        self.fill_servers(now);
    }

    /// Streams that bring nothing end, and their servers wait.
    fn end_stalled(&mut self, now: Instant) {
        let Some(http) = &mut self.http else { return };
        let stalled: Vec<(u64, usize)> =
            http.lanes.iter().filter(|l| now - l.moved_at >= STALL_AFTER).map(|l| (l.stream, l.server)).collect();
        for (stream, server) in stalled {
            self.end_lanes(|lane| lane.stream == stream);
            if let Some(http) = &mut self.http {
                http.servers[server].fail(now, Duration::ZERO, "it has sent nothing for a while".into());
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

impl Server {
    /// Something went wrong: it is left alone for a while.
    fn fail(&mut self, now: Instant, at_least: Duration, why: String) {
        let wait = WAIT_MIN.saturating_mul(1 << self.failures.min(6)).min(WAIT_MAX).max(at_least);
        self.failures += 1;
        self.wait = self.wait.max(now + wait);
        self.why = Some(why);
    }

    /// It does not have what lies at `byte`: the part of the server's, or the file. Says how many pieces are left.
    fn lose(&mut self, plan: &base::Plan, byte: u64) -> u32 {
        let g = &plan.geometry;
        let (from, end) = self.source.unit(plan, byte);
        let last = end.max(from + 1).min(g.total()).saturating_sub(1);
        let (Some(first), Some(last)) = (g.piece_at(from), g.piece_at(last)) else { return 0 };
        for piece in first.0..=last.0 {
            self.has.clear(PieceIndex(piece), g.piece_count());
        }
        self.has.count(g.piece_count())
    }
}

impl HttpSource {
    /// What is got with one request: the part in which this byte lies, where the server has parts; else the file. Where it begins,
    /// and where it ends.
    fn unit(&self, plan: &base::Plan, byte: u64) -> (u64, u64) {
        let part =
            self.parts.iter().copied().find(|(offset, len)| (*offset..offset.saturating_add(*len)).contains(&byte));
        let file = || plan.layout.spans(byte, 1).next().map(|s| &plan.layout.files()[s.file.index()]);
        let (from, len) = part.or_else(|| file().map(|f| (f.offset, f.len))).unwrap_or((0, u64::MAX));
        (from, from.saturating_add(len).min(plan.geometry.total()))
    }
}

/// The pieces that lie whole in what a server has.
fn pieces_of(source: &HttpSource, g: &Geometry) -> Pieces {
    if source.parts.is_empty() {
        return Pieces::All;
    }
    let mut parts = source.parts.clone();
    parts.sort_unstable();
    // Parts that follow each other are one.
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (offset, len) in parts {
        let end = offset.saturating_add(len);
        match joined.last_mut().filter(|(_, last)| *last >= offset) {
            Some((_, last)) => *last = (*last).max(end),
            None => joined.push((offset, end)),
        }
    }
    let mut bits = Bitfield::new(g.piece_count());
    let length = u64::from(g.piece_length());
    for (from, to) in joined {
        let first = from.div_ceil(length);
        let last = if to >= g.total() { u64::from(g.piece_count()) } else { to / length };
        for piece in first..last.min(u64::from(g.piece_count())) {
            bits.set(piece as u32);
        }
    }
    Pieces::from_bitfield(bits)
}
