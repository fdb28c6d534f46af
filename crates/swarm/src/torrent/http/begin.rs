//! Where streams begin, and when: on events, and by the clock.

use super::lane::{CLAIM_MIN, Lane, block_end, bounds, wanted_until};
use crate::picker::{Claimant, Order, Rival};
use crate::rate::Rate;
use crate::torrent::{Life, Torrent};
use crate::{Event, Output};
use base::{Instant, Payload, PieceIndex};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes asked for at once while pieces are fetched in order.
const IN_ORDER_MS: u64 = 2_000;
/// Between timers while there are servers and something is missing.
const TICK: Duration = Duration::from_secs(1);
/// Servers whose failures are told when none is left.
const TROUBLES_TOLD: usize = 8;

impl<P: Payload> Torrent<P> {
    /// Begins streams where there is room for them.
    pub(in crate::torrent) fn fill_servers(&mut self, now: Instant) {
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
        let hoped = |p: PieceIndex| http.servers.iter().any(|s| !s.dropped && !s.is_hopeless() && s.has.has(p));
        let may_come = |p: &PieceIndex| hoped(*p) || on_disk(*p);
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
            // All of it comes in one run, as far as something is wanted.
            end = wanted_until(open, from, block_end(&g, ends)).unwrap_or(end);
            // Between what begins within a block and that block's end, the hands have to read.
            block_end(&g, begins).min(from)
        } else {
            from
        };
        if !from_start && open.picker.order() == Order::Sequential {
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
        };
        lane.claim_more(server, open, now);
        if lane.claims.is_empty() && !from_start {
            return;
        }
        self.out.push_back(Output::Stream { stream, source: server.source.id, offset: first, len: end - first });
        http.lanes.push(lane);
    }

    /// What is due for servers.
    pub(in crate::torrent) fn time_servers(&mut self, now: Instant) {
        let Some(http) = &mut self.http else { return };
        if http.due > now {
            self.tick_at = self.tick_at.min(http.due);
            return;
        }
        http.due = Instant::NEVER;
        if !self.is_fetching() {
            return;
        }
        self.try_lanes(now);
        self.fill_servers(now);
    }
}
