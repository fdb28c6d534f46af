//! The way out: ask the engine what a connection has to send, lay it into one buffer, write it in one call.

use super::Driver;
use crate::disk::Patience;
use crate::disk::gather::{Gather, ReadJob};
use base::{ConnId, Instant, TorrentId};
use engine::Input;
use std::io::{self, Write};
use swarm::disk::DiskDone;

/// Bytes that the engine is asked for at once; a message more may come.
const ROOM: usize = 256 * 1024;
/// Buffers filled for one connection before the next one has its turn.
const FILLS: usize = 2;
/// Buffers kept for reuse.
const GATHERS_MAX: usize = 16;

/// What filling a buffer came to.
enum Filled {
    /// There is something to send.
    Yes,
    /// The engine has nothing to send.
    Empty,
    /// The disk is asked; go on when it has answered.
    Later,
    /// The connection is gone.
    Gone,
}

impl Driver {
    /// Sends what the socket has room for, up to a few buffers.
    pub(super) fn write_turn(&mut self, now: Instant, slot: usize) {
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.flags.write_queued = false;
        }
        let mut fills = 0;
        loop {
            let Some(conn) = self.conns.get_mut(slot).filter(|c| c.can_write()) else { return };
            let id = conn.id;
            match &mut conn.out {
                Some(out) if !out.is_sent() => match conn.stream.write(out.unsent()) {
                    Ok(0) => return self.lost(now, id),
                    Ok(n) => out.advance(n),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        conn.flags.writable = false;
                        return;
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return self.lost(now, id),
                },
                _ if fills == FILLS => break,
                _ => {
                    fills += 1;
                    match self.fill(now, slot, id) {
                        Filled::Yes => {}
                        Filled::Empty | Filled::Later | Filled::Gone => return,
                    }
                }
            }
        }
        self.queue_write(slot);
    }

    fn fill(&mut self, now: Instant, slot: usize, id: ConnId) -> Filled {
        let mut transmit = std::mem::take(&mut self.transmit);
        (transmit.bytes, _) = (0, transmit.segments.clear());
        self.engine.poll_transmit(now, id, ROOM, &mut transmit);
        let filled = self.lay_out(now, slot, id, &transmit);
        self.transmit = transmit;
        self.obey(now);
        filled
    }

    fn lay_out(&mut self, now: Instant, slot: usize, id: ConnId, transmit: &engine::Transmit) -> Filled {
        let Some(conn) = self.conns.get_mut(slot).filter(|c| c.id == id) else { return Filled::Gone };
        let mut gather = conn.out.take().or_else(|| self.gathers.pop()).unwrap_or_default();
        if transmit.is_empty() {
            conn.flags.wants = false;
            self.recycle(gather);
            return Filled::Empty;
        }
        let torrent = self.engine.torrent_of(id);
        let storage = torrent.and_then(|t| self.storages.get(&t)).cloned();
        if !gather.fill(transmit, storage.as_deref()) {
            self.recycle(gather);
            self.lost(now, id);
            return Filled::Gone;
        }
        let (Some(torrent), Some(storage), false) = (torrent, storage, gather.is_read()) else {
            conn.out = Some(gather);
            return Filled::Yes;
        };
        match gather.read(&storage, Patience::None) {
            Ok(true) => {
                conn.out = Some(gather);
                Filled::Yes
            }
            Ok(false) => {
                conn.flags.reading = true;
                self.disk.read(ReadJob { slot, conn: id, torrent, storage, gather });
                Filled::Later
            }
            Err(error) => {
                self.unreadable(now, torrent, &gather, error.to_string());
                self.recycle(gather);
                self.lost(now, id);
                Filled::Gone
            }
        }
    }

    /// What was promised to peers can't be read: the torrent stops, and says why.
    fn unreadable(&mut self, now: Instant, torrent: TorrentId, gather: &Gather, error: String) {
        let failed = DiskDone::Failed { piece: gather.piece(), error };
        self.handle(now, Input::Disk(vec![(torrent, failed)]));
    }

    /// Keeps a buffer for the next who needs one.
    pub(super) fn recycle(&mut self, mut gather: Box<Gather>) {
        if self.gathers.len() < GATHERS_MAX {
            gather.reset();
            self.gathers.push(gather);
        }
    }
}
