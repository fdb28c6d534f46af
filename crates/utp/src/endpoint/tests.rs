use super::*;
use crate::{ACK_DELAY, KEEP_ALIVE};
use std::time::Duration;

/// Two endpoints that reach each other at once, and what they have said.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [Endpoint<Vec<u8>>; 2],
    pub(super) said: [Vec<Output<Vec<u8>>>; 2],
    /// Datagrams of each that were sent.
    pub(super) sent: [Vec<Vec<u8>>; 2],
    /// What they send is lost.
    pub(super) cut: bool,
    /// They give credit for what came.
    pub(super) reads: bool,
}

pub(super) const A: ConnId = ConnId(1);
pub(super) const B: ConnId = ConnId(1 << 63);

pub(super) fn addr(n: usize) -> SocketAddr {
    format!("192.0.2.{}:6881", n + 1).parse().unwrap()
}

impl Pair {
    pub(super) fn new(seed: u64) -> Pair {
        let mut rng = Rng::from_seed(seed);
        let ends = [0, 1].map(|n| Endpoint::new(Config::default(), rng.fork(n)));
        let (said, sent) = Default::default();
        Pair { now: Instant::from_secs(10), ends, said, sent, cut: false, reads: true }
    }

    /// One with a connection from the first to the second.
    pub(super) fn connected(seed: u64) -> Pair {
        let mut pair = Pair::new(seed);
        pair.tell(0, Input::Connect { conn: A, to: addr(1) });
        pair.tell(0, Input::Send { conn: A, data: vec![0; 10] });
        pair.pass(ms(100));
        assert_eq!(pair.take(0), [Output::Connected { conn: A }]);
        assert_eq!(pair.take(1), [Output::Accepted { conn: B, from: addr(0) }, received(B, vec![0; 10])]);
        pair.sent = Default::default();
        pair
    }

    pub(super) fn tell(&mut self, n: usize, input: Input<Vec<u8>>) {
        self.ends[n].handle(self.now, input);
        self.settle();
    }

    /// Everything that is sent now arrives now.
    pub(super) fn settle(&mut self) {
        let mut buf = vec![0; 65_536];
        loop {
            let mut quiet = true;
            for n in 0..2 {
                while let Some(output) = self.ends[n].poll() {
                    if let Output::Received { conn, data } = &output
                        && self.reads
                    {
                        let bytes = data.len() as u64;
                        self.ends[n].handle(self.now, Input::Credit { conn: *conn, bytes });
                    }
                    self.said[n].push(output);
                }
                while let Some(out) = self.ends[n].transmit(self.now, &mut buf, 64) {
                    let data = buf[..out.len].to_vec();
                    self.sent[n].extend(data.chunks(out.stride).map(<[u8]>::to_vec));
                    self.ends[n].conns.iter().for_each(|(_, c)| c.check_invariants());
                    if !self.cut && out.to == addr(1 - n) {
                        let stride = out.stride;
                        self.ends[1 - n].handle(self.now, Input::Datagrams { from: addr(n), stride, data });
                    }
                    quiet = false;
                }
            }
            if quiet {
                break;
            }
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadlines = self.ends.each_ref().map(Endpoint::deadline);
            let next = deadlines.into_iter().flatten().min().unwrap_or(Instant::NEVER);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            for n in 0..2 {
                self.ends[n].handle(self.now, Input::Tick);
            }
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn take(&mut self, n: usize) -> Vec<Output<Vec<u8>>> {
        std::mem::take(&mut self.said[n])
    }

    /// Packets that one has sent since it was asked last.
    pub(super) fn packets(&mut self, n: usize) -> Vec<Header> {
        let sent = std::mem::take(&mut self.sent[n]);
        sent.iter().map(|d| Packet::parse(d).unwrap().header).collect()
    }
}

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn received(conn: ConnId, data: Vec<u8>) -> Output<Vec<u8>> {
    Output::Received { conn, data }
}

fn kinds(packets: &[Header]) -> Vec<Kind> {
    packets.iter().map(|h| h.kind).collect()
}

#[test]
fn a_connection_is_opened_as_others_do_it() {
    let mut pair = Pair::new(1);
    pair.tell(0, Input::Connect { conn: A, to: addr(1) });
    let (syn, state) = (pair.packets(0)[0], pair.packets(1)[0]);
    assert_eq!((syn.kind, state.kind), (Kind::Syn, Kind::State));
    assert_eq!((state.connection, state.ack), (syn.connection, syn.seq));
    assert_eq!(pair.take(0), [Output::Connected { conn: A }]);
    // Nothing is known of it at the other end until it has proven that it got the answer, which takes nothing but time.
    assert!(pair.take(1).is_empty() && pair.ends[1].is_empty());
    pair.pass(ACK_DELAY);
    let proof = pair.packets(0)[0];
    assert_eq!(
        (proof.kind, proof.connection, proof.ack),
        (Kind::State, syn.connection.wrapping_add(1), state.seq.wrapping_sub(1))
    );
    assert_eq!(pair.take(1), [Output::Accepted { conn: B, from: addr(0) }]);
    // The first payload has the number after the SYN, and at the other end that of the answer.
    pair.tell(0, Input::Send { conn: A, data: vec![1] });
    pair.tell(1, Input::Send { conn: B, data: vec![2] });
    assert_eq!(pair.packets(0)[0].seq, syn.seq.wrapping_add(1));
    assert_eq!(pair.packets(1)[0].seq, state.seq);
    assert_eq!(pair.take(0), [received(A, vec![2])]);
    assert_eq!(pair.take(1), [received(B, vec![1])]);
}

#[test]
fn a_syn_is_sent_four_times_and_then_given_up() {
    let mut pair = Pair::new(2);
    pair.cut = true;
    let start = pair.now;
    pair.tell(0, Input::Connect { conn: A, to: addr(1) });
    let mut sent = Vec::new();
    for s in 0..16 {
        pair.pass((start + Duration::from_secs(s)) - pair.now);
        let syns = pair.packets(0);
        assert!(syns.iter().all(|h| h.kind == Kind::Syn));
        sent.extend(syns.iter().map(|_| s));
    }
    assert_eq!(sent, [0, 1, 3, 7]);
    assert_eq!(pair.take(0), [Output::Closed { conn: A, why: Cause::TimedOut }]);
    assert!(pair.ends[0].is_empty() && pair.ends[0].deadline().is_none());
}

#[test]
fn lost_answers_and_repeated_syns_make_one_connection() {
    let mut pair = Pair::new(3);
    pair.tell(0, Input::Connect { conn: A, to: addr(1) });
    let syn = pair.sent[0][0].clone();
    for _ in 0..3 {
        pair.tell(1, Input::Datagrams { from: addr(0), stride: 20, data: syn.clone() });
    }
    let answers = pair.packets(1);
    assert!(answers.iter().all(|h| (h.kind, h.seq) == (Kind::State, answers[0].seq)), "the same answer each time");
    pair.tell(0, Input::Send { conn: A, data: vec![5] });
    // A late one is answered as well, by the connection.
    pair.tell(1, Input::Datagrams { from: addr(0), stride: 20, data: syn });
    assert_eq!(pair.take(1), [Output::Accepted { conn: B, from: addr(0) }, received(B, vec![5])]);
    assert_eq!((pair.ends[0].len(), pair.ends[1].len()), (1, 1));
}

#[test]
fn two_who_dial_each_other_at_once_have_two_connections() {
    let mut pair = Pair::new(4);
    let to = addr(1);
    pair.ends[0].handle(pair.now, Input::Connect { conn: A, to });
    pair.ends[1].handle(pair.now, Input::Connect { conn: ConnId(2), to: addr(0) });
    pair.settle();
    pair.pass(ACK_DELAY);
    assert_eq!((pair.ends[0].len(), pair.ends[1].len()), (2, 2));
    for (n, conn, byte) in [(0, A, 1), (1, ConnId(2), 2), (0, B, 3), (1, B, 4)] {
        pair.tell(n, Input::Send { conn, data: vec![byte] });
    }
    assert!(pair.take(0).ends_with(&[received(B, vec![2]), received(A, vec![4])]));
    assert!(pair.take(1).ends_with(&[received(B, vec![1]), received(ConnId(2), vec![3])]));
}

#[test]
fn a_lone_packet_is_acknowledged_later_and_a_batch_once() {
    let mut pair = Pair::connected(5);
    pair.tell(0, Input::Send { conn: A, data: vec![1; 100] });
    assert!(pair.packets(1).is_empty());
    pair.pass(ACK_DELAY);
    assert_eq!(kinds(&pair.packets(1)), [Kind::State]);
    // A burst that comes in one call: one acknowledgement, of the last.
    pair.tell(0, Input::Send { conn: A, data: vec![1; 4_000] });
    let (data, acks) = (pair.packets(0), pair.packets(1));
    assert!(data.len() > 2 && acks.len() < data.len(), "{} for {}", acks.len(), data.len());
    assert_eq!(acks.last().unwrap().ack, data.last().unwrap().seq);
    // An answer carries it.
    pair.tell(0, Input::Send { conn: A, data: vec![1; 100] });
    pair.tell(1, Input::Send { conn: B, data: vec![1; 100] });
    pair.pass(ms(5));
    assert_eq!(kinds(&pair.packets(1)), [Kind::Data]);
}

#[test]
fn datagrams_of_a_batch_are_equally_long() {
    let mut pair = Pair::connected(6);
    // Until the window has grown.
    (0..8).for_each(|_| pair.tell(0, Input::Send { conn: A, data: vec![1; 100_000] }));
    pair.pass(ms(10));
    pair.ends[0].handle(pair.now, Input::Send { conn: A, data: vec![2; 50_000] });
    let mut buf = vec![0; 65_536];
    let out = pair.ends[0].transmit(pair.now, &mut buf, 64).unwrap();
    assert_eq!((out.stride, out.len), (1_472, 34 * 1_472 + 50_000 - 34 * 1_452 + 20));
    // No more than were asked for, nor than there is room for.
    pair.ends[0].handle(pair.now, Input::Send { conn: A, data: vec![2; 50_000] });
    let few = pair.ends[0].transmit(pair.now, &mut buf, 3).unwrap();
    assert_eq!(few.len, 3 * 1_472);
    let small = pair.ends[0].transmit(pair.now, &mut buf[..5_000], 64).unwrap();
    assert_eq!(small.len, 3 * 1_472);
}

#[test]
fn short_packets_wait_for_company() {
    let mut pair = Pair::connected(7);
    pair.cut = true;
    for byte in 0..5 {
        pair.tell(0, Input::Send { conn: A, data: vec![byte; 10] });
    }
    assert_eq!(pair.sent[0].len(), 1, "the first leaves at once, the others wait for it to arrive");
    pair.cut = false;
    pair.pass(Duration::from_secs(1));
    let got: Vec<_> =
        pair.take(1).into_iter().map(|o| if let Output::Received { data, .. } = o { data } else { vec![] }).collect();
    assert_eq!(got.concat().len(), 50);
    assert_eq!(got.len(), 2);
}

#[test]
fn one_half_may_end_before_the_other() {
    let mut pair = Pair::connected(8);
    pair.tell(0, Input::Send { conn: A, data: vec![1; 100] });
    pair.tell(0, Input::Shutdown { conn: A });
    pair.tell(0, Input::Send { conn: A, data: vec![9] });
    assert_eq!(pair.take(1), [received(B, vec![1; 100]), Output::Finished { conn: B }]);
    pair.pass(Duration::from_secs(40));
    for _ in 0..5 {
        pair.tell(1, Input::Send { conn: B, data: vec![2; 10_000] });
        pair.pass(ms(100));
    }
    let got: usize =
        pair.take(0).iter().map(|o| if let Output::Received { data, .. } = o { data.len() } else { 0 }).sum();
    assert_eq!(got, 50_000);
    pair.tell(1, Input::Shutdown { conn: B });
    pair.pass(ms(100));
    let end = |conn| [Output::Finished { conn }, Output::Closed { conn, why: Cause::Finished }];
    assert_eq!(pair.take(0), end(A));
    assert_eq!(pair.take(1), [Output::Closed { conn: B, why: Cause::Finished }]);
    pair.pass(Duration::from_secs(4));
    assert!(pair.ends.iter().all(|e| e.is_empty() && e.deadline().is_none()));
}

#[test]
fn what_was_closed_is_still_sent_and_nothing_is_said_of_it() {
    let mut pair = Pair::connected(9);
    pair.tell(0, Input::Send { conn: A, data: vec![1; 5_000] });
    pair.tell(1, Input::Send { conn: B, data: vec![2; 5_000] });
    pair.take(0);
    pair.tell(0, Input::Close { conn: A });
    pair.tell(1, Input::Send { conn: B, data: vec![3; 5_000] });
    assert!(pair.take(1).contains(&Output::Finished { conn: B }));
    pair.tell(1, Input::Close { conn: B });
    pair.pass(Duration::from_secs(4));
    assert!(pair.take(0).is_empty());
    assert!(pair.ends.iter().all(Endpoint::is_empty));
    // One whose peer does not answer is gone after a while.
    let mut pair = Pair::connected(10);
    pair.cut = true;
    pair.tell(0, Input::Close { conn: A });
    pair.pass(Duration::from_secs(31));
    assert!(pair.ends[0].is_empty() && pair.take(0).is_empty());
    // One that was not open yet is gone at once.
    let mut pair = Pair::new(11);
    pair.cut = true;
    pair.tell(0, Input::Connect { conn: A, to: addr(1) });
    pair.tell(0, Input::Close { conn: A });
    assert!(pair.ends[0].is_empty() && pair.ends[0].deadline().is_none());
}

#[test]
fn a_peer_that_is_gone_is_noticed() {
    let mut pair = Pair::connected(12);
    pair.cut = true;
    pair.tell(0, Input::Send { conn: A, data: vec![1; 100] });
    pair.pass(Duration::from_secs(30));
    assert!(pair.take(0).is_empty(), "patience");
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.take(0), [Output::Closed { conn: A, why: Cause::TimedOut }]);
    let sent = pair.packets(0);
    assert!(sent.len() <= 10, "{sent:?}");
    // One that has forgotten us says so.
    let mut pair = Pair::connected(13);
    pair.ends[1] = Endpoint::new(Config::default(), Rng::from_seed(5));
    pair.tell(0, Input::Send { conn: A, data: vec![1; 100] });
    assert_eq!(pair.take(0), [Output::Closed { conn: A, why: Cause::Reset }]);
}

#[test]
fn silence_is_broken_now_and_then() {
    let mut pair = Pair::connected(14);
    pair.pass(Duration::from_secs(290));
    for n in 0..2 {
        let packets = pair.packets(n);
        assert!((9..=11).contains(&packets.len()), "{}", packets.len());
        assert!(packets.iter().all(|h| h.kind == Kind::State));
    }
    assert!(pair.take(0).is_empty() && pair.take(1).is_empty());
    assert_eq!(KEEP_ALIVE, Duration::from_secs(29));
}

#[test]
fn the_window_is_the_credit() {
    let mut pair = Pair::connected(15);
    pair.reads = false;
    let credit = Config::default().credit as usize;
    for _ in 0..30 {
        pair.tell(0, Input::Send { conn: A, data: vec![1; 100_000] });
        pair.pass(ms(50));
    }
    let got = |pair: &mut Pair| -> usize {
        pair.take(1).iter().map(|o| if let Output::Received { data, .. } = o { data.len() } else { 0 }).sum()
    };
    let first = got(&mut pair);
    assert!(first <= credit && first + 1_472 > credit, "{first} of {credit}");
    assert!(pair.ends[0].status(A).unwrap().peer_window < 1_472);
    pair.tell(1, Input::Credit { conn: B, bytes: 500_000 });
    pair.pass(ms(50));
    let second = got(&mut pair);
    assert!(first + second <= credit + 500_000 && second + 2 * 1_472 > 500_000, "{second}");
    assert_eq!(pair.ends[0].room(A), 0);
}

#[test]
fn there_are_only_so_many_connections() {
    let mut pair = Pair::new(16);
    pair.ends = [2, 1].map(|connections_max| {
        let config = Config { connections_max, ..Config::default() };
        Endpoint::new(config, Rng::from_seed(connections_max as u64))
    });
    for n in 1..=3 {
        pair.tell(0, Input::Connect { conn: ConnId(n), to: addr(1) });
    }
    assert_eq!(pair.take(0).iter().filter(|o| **o == Output::Closed { conn: ConnId(3), why: Cause::Full }).count(), 1);
    pair.pass(ms(50));
    assert_eq!((pair.ends[0].len(), pair.ends[1].len()), (1, 1));
    // The one that comes too late is refused.
    assert_eq!(pair.take(0).iter().filter(|o| matches!(o, Output::Closed { why: Cause::Reset, .. })).count(), 1);
}
