//! What a connection sends: packets that were lost, then new ones, then acknowledgements that found nothing to ride on.

use super::{Conn, Happening, Phase, WINDOW_TINY};
use crate::outbox::{Going, PACKETS_MAX, What};
use crate::seq::Seq;
use base::{Instant, Payload};
use wire::utp::{HEADER_LEN, Header, Kind};

/// A packet is at most this part of the window where packets are larger than usual.
const PART: usize = 4;
/// Payload of a packet of the usual size.
const USUAL: usize = 1_452;

/// Room for datagrams of one size, and what is in it.
struct Batch<'a> {
    buf: &'a mut [u8],
    /// How many more there may be.
    left: usize,
    len: usize,
    stride: usize,
    closed: bool,
}

impl Batch<'_> {
    /// True if a datagram of `size` bytes may be the next one.
    fn fits(&self, size: usize) -> bool {
        let alike = self.stride == 0 || size <= self.stride;
        !self.closed && self.left > 0 && alike && self.len + size <= self.buf.len()
    }

    /// Room for the next datagram, which was found to fit.
    fn add(&mut self, size: usize) -> &mut [u8] {
        self.stride = self.stride.max(size);
        // One that is shorter is the last.
        self.closed = size < self.stride;
        (self.left, self.len) = (self.left - 1, self.len + size);
        &mut self.buf[self.len - size..self.len]
    }
}

impl<P: Payload> Conn<P> {
    /// Bytes of payload of a full packet.
    pub(super) fn packet_size(&self) -> usize {
        let largest = self.mtu.size() - HEADER_LEN;
        let window = self.ledbat.window();
        // Small packets for a tiny window, and several packets in any window.
        let wanted = if window < USUAL { window } else { (window / PART).max(USUAL) };
        wanted.clamp(crate::PACKET_MIN - HEADER_LEN, largest)
    }

    /// Lays out datagrams of one size, `most` at most; answers their bytes in all, and the bytes of each. None: nothing is to
    /// be sent now. `scratch` is for headers of unusual length.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        most: usize,
        scratch: &mut Vec<u8>,
    ) -> Option<(usize, usize)> {
        let mut batch = Batch { buf, left: most, len: 0, stride: 0, closed: false };
        if self.ack_now && self.inbox.has_early() {
            // What rides on packets is too short to tell of gaps.
            self.acknowledge(now, &mut batch, scratch);
        } else {
            while self.lost_packet(now, &mut batch) || self.new_packet(now, &mut batch, scratch) {}
            if batch.len == 0 && self.ack_now && self.phase != Phase::Opening {
                self.acknowledge(now, &mut batch, scratch);
            }
        }
        if batch.len == 0 {
            return None;
        }
        self.spoken = now;
        if self.outbox.unacked() > 0 {
            self.timeout_at.get_or_insert(now + self.rtt.timeout(self.doublings));
            if self.phase == Phase::Open && self.doublings == 0 && !self.asked {
                self.ask_at = Some(now + self.patience());
            }
        } else {
            self.outbox.trim();
        }
        if self.full && self.room() * 2 >= super::SEND_BUFFER_MIN {
            self.full = false;
            self.happenings.push(Happening::Room);
        }
        Some((batch.len, batch.stride))
    }

    fn header(&self, now: Instant, kind: Kind, seq: Seq) -> Header {
        Header {
            kind,
            connection: if kind == Kind::Syn { self.recv_id } else { self.send_id },
            timestamp_us: now.as_micros() as u32,
            delay_us: self.reply_delay,
            window: self.inbox.window(),
            seq: seq.0,
            ack: self.inbox.acked().0,
        }
    }

    /// Whatever leaves says what has come.
    fn told(&mut self) {
        self.told_window = self.inbox.window();
        if !self.inbox.has_early() {
            (self.ack_now, self.ack_at) = (false, None);
            self.ack_packets = 0;
        }
    }

    fn acknowledge(&mut self, now: Instant, batch: &mut Batch<'_>, scratch: &mut Vec<u8>) {
        let mut sack = std::mem::take(scratch);
        self.inbox.sack(&mut sack);
        let mut packet = Vec::with_capacity(HEADER_LEN + 2 + sack.len());
        self.header(now, Kind::State, self.outbox.next()).encode_sack(&sack, &mut packet);
        *scratch = sack;
        if batch.fits(packet.len()) {
            batch.add(packet.len()).copy_from_slice(&packet);
            self.told();
            (self.ack_now, self.ack_at, self.ack_packets) = (false, None, 0);
            self.sent += 1;
        }
    }

    /// Sends a packet again that was lost. False if there is none, or not now.
    fn lost_packet(&mut self, now: Instant, batch: &mut Batch<'_>) -> bool {
        let Some(going) = self.outbox.next_lost() else { return false };
        let in_flight = self.outbox.in_flight();
        let allowed = in_flight == 0 || in_flight + going.len <= self.ledbat.window();
        if !allowed || !batch.fits(HEADER_LEN + going.len) {
            return false;
        }
        self.resent += u64::from(self.outbox.was_sent(going.place));
        self.write(now, going, batch);
        true
    }

    /// Sends a packet with what was not sent yet. False if there is nothing, or not now.
    fn new_packet(&mut self, now: Instant, batch: &mut Batch<'_>, scratch: &mut Vec<u8>) -> bool {
        if self.phase != Phase::Open || self.outbox.unacked() >= PACKETS_MAX || self.outbox.has_lost() {
            return false;
        }
        if self.outbox.wants_fin() {
            let fits = batch.fits(HEADER_LEN);
            if fits {
                let going = self.outbox.cut(What::Fin, 0);
                self.write(now, going, batch);
            }
            return fits;
        }
        let (full, unsent, in_flight) = (self.packet_size(), self.outbox.unsent(), self.outbox.in_flight());
        let mut len = full.min(unsent);
        if len == 0 {
            return false;
        }
        // Of several short packets in a row, all but the first wait for more bytes, or for the first to arrive.
        if len < full && !self.outbox.fin_wanted && self.outbox.has_short(full) {
            return false;
        }
        let (window, peer) = (self.ledbat.window(), self.peer_window as usize);
        if in_flight + len > window || self.outbox.missing() + len > peer {
            if self.outbox.missing() > 0 {
                return false;
            }
            // One packet may always be on the way, if the peer has room for it.
            len = len.min(peer);
            if self.peer_window < WINDOW_TINY {
                if !self.persisting {
                    self.persist_at.get_or_insert(now + self.rtt.timeout(self.doublings));
                    return false;
                }
                len = unsent.min(crate::PACKET_MIN - HEADER_LEN);
            }
        }
        if batch.len == 0 && self.probe(now, len, batch, scratch) {
            return false;
        }
        if !batch.fits(HEADER_LEN + len) {
            return false;
        }
        let going = self.outbox.cut(What::Data, len);
        if self.is_trap(len, window) {
            self.outbox.hold();
        } else {
            self.write(now, going, batch);
        }
        true
    }

    /// True if the packet that was just cut is to be held back. Whoever acknowledges it acknowledges what it has not got; who is
    /// honest waits for it a round trip, once in a while.
    fn is_trap(&mut self, len: usize, window: usize) -> bool {
        self.trap_in = self.trap_in.saturating_sub(len);
        // Enough has to follow at once that the gap is told of.
        let follows = self.outbox.unsent() > 8 * len && window > 16 * len;
        if self.trap_in > 0 || !follows || self.outbox.is_holding() {
            return false;
        }
        self.trap_in = self.trap_every;
        true
    }

    /// Sends a larger packet, if it is time to know whether it arrives.
    fn probe(&mut self, now: Instant, len: usize, batch: &mut Batch<'_>, scratch: &mut Vec<u8>) -> bool {
        if self.rtt.mean().is_none() || self.persisting {
            return false;
        }
        let Some(size) = self.mtu.wanted(now) else { return false };
        if !batch.fits(size) || size < HEADER_LEN + len + 2 {
            return false;
        }
        let going = self.outbox.cut(What::Probe, len);
        self.mtu.probing(going.seq, size);
        scratch.clear();
        self.header(now, Kind::Data, going.seq).encode_padded(size - HEADER_LEN - len, scratch);
        let out = batch.add(size);
        out[..scratch.len()].copy_from_slice(scratch);
        self.outbox.copy(going.place, &mut out[scratch.len()..]);
        self.outbox.left(now, going.place);
        self.told();
        self.sent += 1;
        true
    }

    fn write(&mut self, now: Instant, going: Going, batch: &mut Batch<'_>) {
        let kind = match going.what {
            What::Syn => Kind::Syn,
            What::Fin => Kind::Fin,
            What::Data | What::Probe => Kind::Data,
        };
        let header = self.header(now, kind, going.seq);
        let out = batch.add(HEADER_LEN + going.len);
        out[..HEADER_LEN].copy_from_slice(&header.encode());
        self.outbox.copy(going.place, &mut out[HEADER_LEN..]);
        self.outbox.left(now, going.place);
        self.told();
        self.sent += 1;
    }
}
