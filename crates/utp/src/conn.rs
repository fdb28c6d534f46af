//! One connection: the two halves, and what makes them move.

mod transmit;

use crate::delay::Delays;
use crate::inbox::{Inbox, Taken};
use crate::io::{Cause, Status};
use crate::ledbat::Ledbat;
use crate::mtu::Mtu;
use crate::outbox::{Acked, Outbox, PACKETS_MAX, REORDER, Unbelievable, What};
use crate::rtt::Rtt;
use crate::seq::Seq;
use base::{ConnId, Instant, Payload};
use std::net::SocketAddr;
use std::time::Duration;
use wire::utp::{Header, Kind, Packet};

/// How long the acknowledgement of a lone packet waits for something to ride on.
pub const ACK_DELAY: Duration = Duration::from_millis(10);
/// After so long a silence of ours something is said, so that address translators on the way remember the connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(29);
/// Bytes that are welcome for sending on any connection.
pub const SEND_BUFFER_MIN: usize = 128 * 1024;
/// Bytes that are welcome for sending on a fast one.
pub const SEND_BUFFER_MAX: usize = 1 << 20;

/// Packets after which an acknowledgement does not wait any more.
const ACK_PACKETS: u32 = 2;
/// Timeouts without a word of the peer after which a connection is given up.
const TIMEOUTS_MAX: u32 = 6;
/// Times that a SYN is sent.
const SYNS_MAX: u32 = 4;
/// How long a finished connection answers those who have not heard of it.
const LINGER: Duration = Duration::from_secs(3);
/// How long a closed connection may take to send what was given.
const CLOSE_MAX: Duration = Duration::from_secs(30);
/// Shortest time after which an unanswered packet is sent again to ask how things stand.
const ASK_MIN: Duration = Duration::from_millis(10);
/// Our clock is not believed to have drifted by more than this at a time, in microseconds.
const DRIFT_MAX_US: u32 = 10_000;
/// A base delay that would rise by more than this is looked into first.
const RISE_MAX: Duration = Duration::from_millis(5);
/// A window smaller than this is as good as none.
const WINDOW_TINY: u32 = crate::PACKET_MIN as u32;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A SYN was sent.
    Opening,
    /// Bytes go both ways.
    Open,
    /// Both ways have ended.
    Lingering,
}

/// Something to be told to whoever uses the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// It is open.
    Connected,
    /// The peer will send nothing more.
    Finished,
    /// There is room for more to send.
    Room,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn<P> {
    pub(crate) id: ConnId,
    pub(crate) remote: SocketAddr,
    /// The number in packets to us, and in packets to the peer.
    pub(crate) recv_id: u16,
    pub(crate) send_id: u16,
    phase: Phase,
    outbox: Outbox<P>,
    inbox: Inbox<P>,
    rtt: Rtt,
    ledbat: Ledbat,
    mtu: Mtu,
    /// Delays of our packets, as the peer tells them, and of the peer's.
    ours: Delays,
    theirs: Delays,
    /// To be told to the peer: how our clock differs from the timestamp of its last packet.
    reply_delay: u32,
    peer_window: u32,
    /// What the peer may send, as far as we have told it.
    told_window: u32,
    /// An acknowledgement is due now, or then; packets since the last one.
    ack_now: bool,
    ack_at: Option<Instant>,
    ack_packets: u32,
    duplicates: u32,
    /// When to give up on what is on the way, and how often that was done since something arrived.
    timeout_at: Option<Instant>,
    doublings: u32,
    /// Timeouts since the peer said anything.
    silent: u32,
    ask_at: Option<Instant>,
    /// That was done, and nothing has arrived since.
    asked: bool,
    /// When to try whether a closed window has opened; the peer has no room for what is on the way.
    persist_at: Option<Instant>,
    persisting: bool,
    spoken: Instant,
    /// Nobody here listens any more; until then the connection may end in order.
    deaf_until: Option<Instant>,
    linger_until: Option<Instant>,
    told_end: bool,
    /// There was no room for more to send.
    full: bool,
    /// Bytes to send until a packet is held back as a trap for liars; 0 when one is due.
    trap_in: usize,
    /// The trap comes back after so many bytes.
    trap_every: usize,
    sent: u64,
    resent: u64,
    happenings: Vec<Happening>,
    /// It is in the queue of those that may send.
    pub(crate) queued: bool,
    /// When the endpoint will look at it.
    pub(crate) timer: Option<Instant>,
}

/// What a new connection is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) id: ConnId,
    pub(crate) remote: SocketAddr,
    pub(crate) recv_id: u16,
    pub(crate) send_id: u16,
    /// The number of our first packet.
    pub(crate) first: Seq,
    pub(crate) credit: u64,
    pub(crate) datagram_max: usize,
    pub(crate) trap_every: usize,
}

impl<P: Payload> Conn<P> {
    fn new(now: Instant, birth: Birth, phase: Phase, acked: Seq) -> Self {
        let Birth { id, remote, recv_id, send_id, first, credit, datagram_max, trap_every } = birth;
        Conn {
            id,
            remote,
            recv_id,
            send_id,
            phase,
            outbox: Outbox::new(first),
            inbox: Inbox::new(acked, credit),
            rtt: Rtt::default(),
            ledbat: Ledbat::default(),
            mtu: Mtu::new(now, remote, datagram_max),
            ours: Delays::default(),
            theirs: Delays::default(),
            reply_delay: 0,
            peer_window: 0,
            told_window: u32::try_from(credit).unwrap_or(u32::MAX),
            ack_now: false,
            ack_at: None,
            ack_packets: 0,
            duplicates: 0,
            timeout_at: None,
            doublings: 0,
            silent: 0,
            ask_at: None,
            asked: false,
            persist_at: None,
            persisting: false,
            spoken: now,
            deaf_until: None,
            linger_until: None,
            told_end: false,
            full: false,
            trap_in: trap_every,
            trap_every,
            sent: 0,
            resent: 0,
            happenings: Vec::new(),
            queued: false,
            timer: None,
        }
    }

    /// One that we open.
    pub(crate) fn open(now: Instant, birth: Birth) -> Self {
        let mut conn = Conn::new(now, birth, Phase::Opening, Seq(0));
        conn.outbox.cut(What::Syn, 0);
        conn
    }

    /// One whose peer has proven its address. `acked` is the number of its SYN.
    pub(crate) fn accept(now: Instant, birth: Birth, acked: Seq) -> Self {
        Conn::new(now, birth, Phase::Open, acked)
    }

    /// A packet for this connection has come.
    pub(crate) fn packet(&mut self, now: Instant, packet: &Packet<'_>, data: P) -> Result<(), Cause> {
        let Header { kind, ack, .. } = packet.header;
        match kind {
            Kind::Reset => return self.reset(Seq(ack)),
            // The answer to its SYN was lost, and this is what the answer would say.
            Kind::Syn => {
                self.ack_now = self.phase == Phase::Open && Seq(packet.header.seq) == self.inbox.acked();
                return Ok(());
            }
            Kind::State | Kind::Data | Kind::Fin => {}
        }
        if self.phase == Phase::Opening && !self.opened(packet) {
            return Ok(());
        }
        if !self.acknowledged(now, packet)? {
            return Ok(());
        }
        self.received(now, packet, data);
        self.settle(now);
        Ok(())
    }

    /// A reset counts if it answers something that we may have sent lately: others are guesses of strangers. A packet without
    /// payload has the number of the next one with payload.
    fn reset(&self, ack: Seq) -> Result<(), Cause> {
        let back = usize::from(self.outbox.next().since(ack));
        if back <= PACKETS_MAX { Err(Cause::Reset) } else { Ok(()) }
    }

    /// True if the packet is the answer to our SYN. Its number is the one that the first packet with payload will have.
    fn opened(&mut self, packet: &Packet<'_>) -> bool {
        if packet.header.kind != Kind::State || Seq(packet.header.ack) != self.outbox.next().minus(1) {
            return false;
        }
        self.phase = Phase::Open;
        self.inbox = Inbox::new(Seq(packet.header.seq).minus(1), self.inbox.window().into());
        // The peer must hear of us before it may say anything, even if we have nothing to say.
        self.ack_packets = 1;
        self.ack_at = Some(Instant::ZERO);
        self.happenings.push(Happening::Connected);
        true
    }

    /// Takes in what the packet acknowledges. False if the whole packet is not to be believed.
    fn acknowledged(&mut self, now: Instant, packet: &Packet<'_>) -> Result<bool, Cause> {
        let Header { kind, ack, window, .. } = packet.header;
        let distances = packet.sack.into_iter().flat_map(|sack| sack.distances());
        let acked = match self.outbox.acked(now, Seq(ack), distances) {
            Ok(acked) => acked,
            Err(Unbelievable::Lie) => return Err(Cause::Lied),
            // An old packet that comes late may bring bytes all the same.
            Err(Unbelievable::OutOfRange) => {
                return Ok(usize::from(self.outbox.acked_to().since(Seq(ack))) <= PACKETS_MAX);
            }
        };
        self.silent = 0;
        self.measure(now, &packet.header, acked.packets > 0);
        if acked.packets > 0 {
            self.arrived(now, &acked);
        } else if kind == Kind::State
            && packet.sack.is_none()
            && window == self.peer_window
            && self.outbox.unacked() > 0
        {
            self.duplicates += 1;
            if self.duplicates == REORDER && self.outbox.first_lost() {
                self.ledbat.lost(now, self.rtt.mean().unwrap_or(Duration::MAX / 2));
            }
        }
        if let Some((seq, arrived)) = acked.probe {
            if arrived { self.mtu.arrived(seq) } else { self.mtu.lost(seq) }
        }
        let opened = self.persisting && window >= WINDOW_TINY;
        self.peer_window = window;
        if opened {
            // What was dropped for lack of room is not lost for lack of a way.
            self.persisting = false;
            self.doublings = 0;
            self.outbox.all_lost();
        }
        if window >= WINDOW_TINY {
            self.persist_at = None;
        }
        Ok(true)
    }

    /// Packets of ours arrived, or were found to be lost.
    fn arrived(&mut self, now: Instant, acked: &Acked) {
        (self.duplicates, self.doublings, self.asked) = (0, 0, false);
        if let Some(rtt) = acked.rtt {
            self.rtt.add(rtt);
        }
        let queueing = self.ours.queueing().min(acked.rtt.unwrap_or(Duration::MAX));
        let full = acked.in_flight + 2 * self.packet_size() >= self.ledbat.window();
        self.ledbat.acked(now, acked.bytes, acked.in_flight, queueing, full);
        if acked.loss {
            self.ledbat.lost(now, self.rtt.mean().unwrap_or(Duration::MAX / 2));
        }
        self.timeout_at = (self.outbox.unacked() > 0).then(|| now + self.rtt.timeout(0));
        self.ask_at = self.timeout_at.map(|_| now + self.patience());
    }

    /// How long to wait for an answer before asking for it.
    fn patience(&self) -> Duration {
        self.rtt.mean().map_or(Duration::from_secs(1), |rtt| 2 * rtt).max(ASK_MIN) + ACK_DELAY
    }

    fn measure(&mut self, now: Instant, header: &Header, news: bool) {
        if header.timestamp_us != 0 {
            let before = self.theirs.is_known().then(|| self.theirs.base());
            self.reply_delay = (now.as_micros() as u32).wrapping_sub(header.timestamp_us);
            self.theirs.add(now, self.reply_delay);
            // If the peer's packets seem to get faster than ever, its clock runs faster than ours, and ours seem to get slower.
            let sooner = before.map_or(0, |before| before.wrapping_sub(self.theirs.base()));
            if (1..=DRIFT_MAX_US).contains(&sooner) && self.ours.is_known() {
                self.ours.shift(sooner);
            }
        }
        if news && header.delay_us != 0 && self.ours.add(now, header.delay_us) > RISE_MAX {
            let drain = 2 * self.rtt.mean().unwrap_or(ASK_MIN);
            self.ledbat.drain(now + drain);
        }
    }

    fn received(&mut self, now: Instant, packet: &Packet<'_>, data: P) {
        let Header { kind, seq, .. } = packet.header;
        let taken = match kind {
            Kind::Fin => self.inbox.put(Seq(seq), P::default(), true),
            Kind::Data if self.deaf_until.is_some() => {
                let len = data.len() as u64;
                let taken = self.inbox.put(Seq(seq), data, false);
                self.inbox.take();
                self.inbox.grant(if taken == Taken::Dropped { 0 } else { len });
                taken
            }
            Kind::Data => {
                self.told_window = self.told_window.saturating_sub(data.len() as u32);
                self.inbox.put(Seq(seq), data, false)
            }
            _ => return,
        };
        self.ack_packets += 1;
        match taken {
            Taken::InOrder if kind == Kind::Data => {
                self.ack_now |= self.ack_packets >= ACK_PACKETS;
                self.ack_at.get_or_insert(now + ACK_DELAY);
            }
            _ => self.ack_now = true,
        }
    }

    /// Draws conclusions after anything that may have ended something.
    fn settle(&mut self, now: Instant) {
        if self.inbox.is_finished() && !self.told_end {
            self.told_end = true;
            self.happenings.push(Happening::Finished);
        }
        if self.phase == Phase::Open && self.outbox.is_finished() {
            (self.timeout_at, self.ask_at, self.persist_at) = (None, None, None);
            if self.inbox.is_finished() || self.deaf_until.is_some() {
                self.phase = Phase::Lingering;
                self.linger_until = Some(now + LINGER);
            }
        }
    }

    /// True if both ways have ended: it is only there to tell the peer.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Lingering
    }

    /// True if nobody here wants to hear of it.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf_until.is_some()
    }

    /// True if it was closed before it was open: nobody has to be told.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_deaf() && self.phase == Phase::Opening
    }

    /// Bytes in order, if any.
    pub(crate) fn take(&mut self) -> Option<P> {
        self.inbox.is_ready().then(|| self.inbox.take())
    }

    /// What happened since it was asked last.
    pub(crate) fn happened(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// More to send. Nothing is taken after the end was asked for.
    pub(crate) fn append(&mut self, data: P) {
        if !self.outbox.fin_wanted {
            self.outbox.append(data);
            self.full = self.room() == 0;
        }
    }

    /// Bytes to send that are welcome.
    pub(crate) fn room(&self) -> usize {
        if self.outbox.fin_wanted {
            return 0;
        }
        self.ledbat.window().clamp(SEND_BUFFER_MIN, SEND_BUFFER_MAX).saturating_sub(self.outbox.unsent())
    }

    /// More may be received; the peer is told when it makes a difference.
    pub(crate) fn grant(&mut self, bytes: u64) {
        self.inbox.grant(bytes);
        let window = self.inbox.window();
        if self.phase == Phase::Open && self.told_window < window / 2 && !self.inbox.is_finished() {
            self.ack_now = true;
        }
    }

    /// Nothing will be sent after what was.
    pub(crate) fn shutdown(&mut self) {
        self.outbox.fin_wanted = true;
    }

    /// Nobody listens any more.
    pub(crate) fn close(&mut self, now: Instant) {
        self.shutdown();
        self.inbox.take();
        self.deaf_until.get_or_insert(now + CLOSE_MAX);
        self.settle(now);
    }

    /// When to call [`Conn::tick`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let keep_alive = (self.phase == Phase::Open).then(|| self.spoken + KEEP_ALIVE);
        let all = [self.ack_at, self.timeout_at, self.ask_at, self.persist_at, keep_alive];
        all.into_iter().chain([self.deaf_until, self.linger_until]).flatten().min()
    }

    fn timers(&self) -> impl std::fmt::Debug {
        (self.ack_at, self.timeout_at, self.ask_at, self.persist_at, self.deaf_until, self.linger_until)
    }

    /// Time has passed. An error: the connection is over.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), Cause> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.linger_until) {
            return Err(Cause::Finished);
        }
        if due(self.deaf_until) {
            return Err(Cause::TimedOut);
        }
        if due(self.ack_at) {
            (self.ack_now, self.ack_at) = (true, None);
        }
        if due(self.timeout_at) {
            self.timed_out(now)?;
        } else if due(self.ask_at) {
            (self.ask_at, self.asked) = (None, true);
            self.outbox.ask();
        }
        if due(self.persist_at) {
            (self.persist_at, self.persisting) = (None, true);
        }
        if self.phase == Phase::Open && self.spoken + KEEP_ALIVE <= now {
            (self.ack_now, self.spoken) = (true, now);
        }
        debug_assert!(self.deadline().is_none_or(|at| at > now), "{:?} at {now:?}", self.timers());
        Ok(())
    }

    fn timed_out(&mut self, now: Instant) -> Result<(), Cause> {
        self.doublings += 1;
        self.silent += 1;
        let most = if self.phase == Phase::Opening { SYNS_MAX - 1 } else { TIMEOUTS_MAX };
        if self.silent > most {
            return Err(Cause::TimedOut);
        }
        if let Some(probe) = self.outbox.all_lost() {
            self.mtu.lost(probe);
        }
        if self.phase == Phase::Open && !self.persisting {
            self.ledbat.timed_out(now, self.mtu.size());
        }
        (self.duplicates, self.ask_at) = (0, None);
        self.timeout_at = Some(now + self.rtt.timeout(self.doublings));
        Ok(())
    }

    /// How it does.
    pub(crate) fn status(&self) -> Status {
        Status {
            window: self.ledbat.window(),
            peer_window: self.peer_window,
            in_flight: self.outbox.in_flight(),
            rtt: self.rtt.mean(),
            queueing: self.ours.queueing(),
            datagram: self.mtu.size(),
            sent: self.sent,
            resent: self.resent,
        }
    }

    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        self.outbox.check_invariants();
        self.inbox.check_invariants();
    }
}
