//! What is sent and not acknowledged yet, and what waits to be sent.
//!
//! A packet keeps its number and its bytes until it is acknowledged. Each transmission gets a number of its own, as in QUIC
//! (RFC 9002): a packet is lost when something that was sent [`REORDER`] transmissions later has arrived, so that lost
//! retransmissions are noticed, too. What is known of a packet and its bytes lie in two queues: looking for losses touches
//! the first alone.

use crate::seq::Seq;
use base::{Instant, Payload};
use std::collections::VecDeque;
use std::time::Duration;

/// Packets that may be on the way: as many as a selective acknowledgement can tell of.
pub(crate) const PACKETS_MAX: usize = wire::utp::SACK_LEN_MAX * 8;
/// A packet is lost when one that left so many transmissions later has arrived, or after so many duplicate acknowledgements.
pub(crate) const REORDER: u32 = 3;

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// When it left last.
    at: Instant,
    /// Numbers of its first and its last transmission.
    first: u32,
    last: u32,
    /// Bytes of payload.
    len: u32,
    state: State,
    what: What,
    resent: bool,
}

/// Where a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// On the way.
    Flying,
    /// It has arrived beyond something that has not.
    Arrived,
    /// To be sent again.
    Lost,
    /// Held back, to see whether it is acknowledged all the same.
    Held,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The opening one.
    Syn,
    /// Payload.
    Data,
    /// Payload that is padded, to probe the size of the path.
    Probe,
    /// The end.
    Fin,
}

impl Sent {
    /// True if it has never left: nobody can have got it.
    fn is_unseen(&self) -> bool {
        self.at == Instant::ZERO
    }
}

/// What an acknowledgement brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// Packets that it is the first to acknowledge.
    pub(crate) packets: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Bytes that were on the way before.
    pub(crate) in_flight: usize,
    /// How long the last of them took, if it was sent once.
    pub(crate) rtt: Option<Duration>,
    /// Something that is not a probe was lost.
    pub(crate) loss: bool,
    /// A probe arrived, or was lost.
    pub(crate) probe: Option<(Seq, bool)>,
    /// Our FIN arrived.
    pub(crate) fin: bool,
}

/// Why an acknowledgement is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbelievable {
    /// It is older than others, or for what was never sent: not to be looked at.
    OutOfRange,
    /// It acknowledges a packet that was held back.
    Lie,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) struct Outbox<P> {
    /// The number of the next packet.
    next: Seq,
    sent: VecDeque<Sent>,
    payloads: VecDeque<P>,
    unsent: P,
    /// Number of the next transmission.
    transmission: u32,
    /// The latest transmission that is known to have arrived.
    newest: u32,
    /// Losses of transmissions before this one are not news: the window was halved since.
    recovered: u32,
    in_flight: usize,
    /// Bytes of packets that the peer has not got.
    missing: usize,
    lost: usize,
    held: usize,
    /// What was sent after the end was asked for.
    pub(crate) fin_wanted: bool,
    fin_sent: bool,
}

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Going {
    /// Its number.
    pub(crate) seq: Seq,
    /// Its place among those on the way.
    pub(crate) place: usize,
    /// What it is.
    pub(crate) what: What,
    /// Bytes of payload.
    pub(crate) len: usize,
}

impl<P: Payload> Outbox<P> {
    /// One whose first packet has the number `first`.
    pub(crate) fn new(first: Seq) -> Self {
        Outbox {
            next: first,
            sent: VecDeque::new(),
            payloads: VecDeque::new(),
            unsent: P::default(),
            transmission: REORDER,
            newest: 0,
            recovered: 0,
            in_flight: 0,
            missing: 0,
            lost: 0,
            held: 0,
            fin_wanted: false,
            fin_sent: false,
        }
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> Seq {
        self.next
    }

    /// The last packet before which all have arrived.
    pub(crate) fn acked_to(&self) -> Seq {
        self.next.minus(self.sent.len() as u16 + 1)
    }

    /// Bytes on the way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes of packets that were made and that the peer has not got: it needs room for them.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// Packets that are not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        self.sent.len()
    }

    /// Bytes that wait to be sent for the first time.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// True if packets wait to be sent again.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// True if everything, the end too, has arrived.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin_sent && self.sent.is_empty()
    }

    /// True if a FIN is due.
    pub(crate) fn wants_fin(&self) -> bool {
        self.fin_wanted && !self.fin_sent && self.unsent.is_empty()
    }

    /// True if a packet shorter than `full` is on the way.
    pub(crate) fn has_short(&self, full: usize) -> bool {
        self.sent.back().is_some_and(|s| (s.len as usize) < full && s.state != State::Arrived)
    }

    /// More to send.
    pub(crate) fn append(&mut self, data: P) {
        self.unsent.append(data);
    }

    /// Takes in an acknowledgement of all packets up to `ack`, and of those at `distances` from it.
    pub(crate) fn acked(
        &mut self,
        now: Instant,
        ack: Seq,
        distances: impl Iterator<Item = u16>,
    ) -> Result<Acked, Unbelievable> {
        let count = usize::from(ack.since(self.acked_to()));
        if count > self.sent.len() {
            return Err(Unbelievable::OutOfRange);
        }
        let mut acked = Acked { in_flight: self.in_flight, ..Acked::default() };
        // The time of the packet that left last.
        let mut latest: Option<Sent> = None;
        for _ in 0..count {
            let (Some(sent), Some(_)) = (self.sent.front().copied(), self.payloads.front()) else { break };
            if sent.is_unseen() {
                return Err(Unbelievable::Lie);
            }
            self.payloads.pop_front();
            self.sent.pop_front();
            if sent.state != State::Arrived {
                self.arrive(&sent, self.acked_to(), &mut acked);
                latest = Some(sent);
            }
        }
        for distance in distances {
            let place = usize::from(distance) - 1;
            let Some(sent) = self.sent.get_mut(place) else { break };
            if sent.is_unseen() {
                return Err(Unbelievable::Lie);
            }
            if sent.state == State::Arrived {
                continue;
            }
            let before = *sent;
            sent.state = State::Arrived;
            self.arrive(&before, ack.plus(distance), &mut acked);
            latest = Some(before);
        }
        acked.rtt = latest.filter(|sent| !sent.resent).map(|sent| now.since(sent.at));
        if acked.packets > 0 {
            self.find_losses(&mut acked);
        }
        Ok(acked)
    }

    fn arrive(&mut self, sent: &Sent, seq: Seq, acked: &mut Acked) {
        acked.packets += 1;
        acked.bytes += sent.len as usize;
        self.missing -= sent.len as usize;
        match sent.state {
            State::Lost => self.lost -= 1,
            _ => self.in_flight -= sent.len as usize,
        }
        // Which transmission of it arrived is not known: the first, at least.
        self.newest = self.newest.max(sent.first);
        match sent.what {
            What::Probe => acked.probe = Some((seq, true)),
            What::Fin => acked.fin = true,
            What::Syn | What::Data => {}
        }
    }

    fn find_losses(&mut self, acked: &mut Acked) {
        let base = self.acked_to().plus(1);
        let (newest, mut released) = (self.newest, 0);
        for (place, sent) in self.sent.iter_mut().enumerate() {
            if !sent.resent && sent.state != State::Held && sent.first > newest {
                break;
            }
            match sent.state {
                State::Flying if sent.last + REORDER <= newest => {
                    sent.state = State::Lost;
                    self.in_flight -= sent.len as usize;
                    self.lost += 1;
                    if sent.what == What::Probe {
                        acked.probe = Some((base.plus(place as u16), false));
                        sent.what = What::Data;
                    } else if sent.last >= self.recovered {
                        acked.loss = true;
                    }
                }
                // Something behind it has arrived, and the gap was noticed: it was honest.
                State::Held if self.held > 0 && sent.first + REORDER <= newest => {
                    sent.state = State::Lost;
                    released += 1;
                }
                _ => {}
            }
        }
        self.held -= released;
        self.lost += released;
        if acked.loss {
            self.recovered = self.transmission;
        }
    }

    /// The first packet was asked for again and again: it is lost. True if that is news.
    pub(crate) fn first_lost(&mut self) -> bool {
        match self.sent.front_mut() {
            Some(sent) if sent.state == State::Flying && !sent.resent => {
                sent.state = State::Lost;
                self.in_flight -= sent.len as usize;
                self.lost += 1;
                let news = sent.last >= self.recovered;
                self.recovered = self.transmission;
                news
            }
            Some(sent) if sent.state == State::Held => {
                sent.state = State::Lost;
                (self.held, self.lost) = (self.held - 1, self.lost + 1);
                false
            }
            _ => false,
        }
    }

    /// No answer came in time: everything on the way is lost. Answers the probe that was among it.
    pub(crate) fn all_lost(&mut self) -> Option<Seq> {
        let base = self.acked_to().plus(1);
        let mut probe = None;
        for (place, sent) in self.sent.iter_mut().enumerate() {
            if sent.what == What::Probe {
                sent.what = What::Data;
                probe = Some(base.plus(place as u16));
            }
            match sent.state {
                State::Flying => self.in_flight -= sent.len as usize,
                State::Held => self.held -= 1,
                State::Arrived | State::Lost => continue,
            }
            sent.state = State::Lost;
            self.lost += 1;
        }
        debug_assert_eq!((self.in_flight, self.held), (0, 0));
        self.recovered = self.transmission;
        probe
    }

    /// Nothing was heard for a while: the last packet on the way is sent again, so that its acknowledgement tells of the
    /// others. False if there is none.
    pub(crate) fn ask(&mut self) -> bool {
        match self.sent.iter_mut().rev().find(|s| matches!(s.state, State::Flying | State::Held)) {
            Some(sent) if sent.state == State::Held => {
                sent.state = State::Lost;
                (self.held, self.lost) = (self.held - 1, self.lost + 1);
                true
            }
            Some(sent) => {
                sent.state = State::Lost;
                if sent.what == What::Probe {
                    sent.what = What::Data;
                }
                self.in_flight -= sent.len as usize;
                self.lost += 1;
                true
            }
            None => false,
        }
    }

    /// The next packet to be sent again.
    pub(crate) fn next_lost(&self) -> Option<Going> {
        if self.lost == 0 {
            return None;
        }
        let place = self.sent.iter().position(|s| s.state == State::Lost)?;
        let Sent { what, len, .. } = self.sent[place];
        Some(Going { seq: self.acked_to().plus(1 + place as u16), place, what, len: len as usize })
    }

    /// Makes a new packet of the next `len` bytes, which counts as on the way once [`Outbox::left`] is told of it.
    pub(crate) fn cut(&mut self, what: What, len: usize) -> Going {
        debug_assert!(len <= self.unsent.len() && self.sent.len() < PACKETS_MAX);
        let (seq, place) = (self.next, self.sent.len());
        let payload = if len == 0 { P::default() } else { self.unsent.split_to(len) };
        self.payloads.push_back(payload);
        let transmission = self.transmission;
        self.sent.push_back(Sent {
            at: Instant::ZERO,
            first: transmission,
            last: transmission,
            len: len as u32,
            state: State::Lost,
            what,
            resent: false,
        });
        self.lost += 1;
        self.missing += len;
        self.next = self.next.plus(1);
        self.fin_sent |= what == What::Fin;
        Going { seq, place, what, len }
    }

    /// Holds back the packet that was just cut: whoever acknowledges it is lying.
    pub(crate) fn hold(&mut self) {
        if let Some(sent) = self.sent.back_mut() {
            sent.state = State::Held;
            (self.lost, self.held) = (self.lost - 1, self.held + 1);
        }
    }

    /// True if a packet is held back.
    pub(crate) fn is_holding(&self) -> bool {
        self.held > 0
    }

    /// True if the packet at `place` has left before.
    pub(crate) fn was_sent(&self, place: usize) -> bool {
        self.sent.get(place).is_some_and(|sent| !sent.is_unseen())
    }

    /// The packet at `place` leaves.
    pub(crate) fn left(&mut self, now: Instant, place: usize) {
        let Some(sent) = self.sent.get_mut(place) else { return };
        debug_assert_eq!(sent.state, State::Lost);
        let again = !sent.is_unseen();
        sent.resent |= again;
        if !again {
            sent.first = self.transmission;
        }
        (sent.at, sent.last, sent.state) = (now.max(Instant::from_micros(1)), self.transmission, State::Flying);
        self.transmission += 1;
        self.lost -= 1;
        self.in_flight += sent.len as usize;
    }

    /// Copies the bytes of the packet at `place` to `out`, which is as long as they are.
    pub(crate) fn copy(&self, place: usize, out: &mut [u8]) {
        if let Some(payload) = self.payloads.get(place) {
            payload.copy_prefix(out);
        }
    }

    /// Gives back what the queues have kept, where there is nothing to keep.
    pub(crate) fn trim(&mut self) {
        if self.sent.is_empty() {
            (self.sent, self.payloads) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// What has to hold at any time.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.sent.len(), self.payloads.len());
        assert!(self.sent.len() <= PACKETS_MAX);
        let count = |state| self.sent.iter().filter(|s| s.state == state).count();
        assert_eq!((self.lost, self.held), (count(State::Lost), count(State::Held)));
        let flying = self.sent.iter().filter(|s| s.state == State::Flying);
        assert_eq!(self.in_flight, flying.map(|s| s.len as usize).sum::<usize>());
        let missing = self.sent.iter().filter(|s| s.state != State::Arrived);
        assert_eq!(self.missing, missing.map(|s| s.len as usize).sum::<usize>());
        assert!(self.sent.iter().zip(&self.payloads).all(|(s, p)| s.len as usize == p.len()));
    }
}
