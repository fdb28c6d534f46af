//! What strangers and liars do, and what it costs us.

use super::tests::{A, B, Pair, addr, ms, received};
use super::*;
use base::Rng;
use proptest::prelude::*;
use std::time::Duration;

fn header(kind: Kind, connection: u16, seq: u16, ack: u16) -> Header {
    Header { kind, connection, timestamp_us: 77, delay_us: 5, window: 1 << 20, seq, ack }
}

fn endpoint() -> Endpoint<Vec<u8>> {
    Endpoint::new(Config::default(), Rng::from_seed(1))
}

fn hear(endpoint: &mut Endpoint<Vec<u8>>, from: SocketAddr, data: Vec<u8>) -> Vec<(SocketAddr, Vec<u8>)> {
    let now = Instant::from_secs(5);
    endpoint.handle(now, Input::Datagrams { from, stride: data.len(), data });
    answers(endpoint, now)
}

fn answers(endpoint: &mut Endpoint<Vec<u8>>, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut buf = vec![0; 65_536];
    let mut sent = Vec::new();
    while let Some(out) = endpoint.transmit(now, &mut buf, 64) {
        sent.extend(buf[..out.len].chunks(out.stride).map(|d| (out.to, d.to_vec())));
    }
    sent
}

#[test]
fn a_flood_of_syns_costs_a_bounded_table_and_is_not_amplified() {
    let mut endpoint = endpoint();
    for n in 0..20_000u32 {
        let from = SocketAddr::new(std::net::Ipv4Addr::from(0xc633_6400 + n / 100).into(), 1 + (n % 100) as u16);
        let sent = hear(&mut endpoint, from, header(Kind::Syn, n as u16, 1, 0).encode().to_vec());
        assert_eq!(sent.len(), 1);
        assert!(sent[0].0 == from && sent[0].1.len() <= 20);
        assert!(endpoint.half_open.len() <= HALF_OPEN_MAX);
    }
    assert!(endpoint.is_empty() && endpoint.poll().is_none());
    assert_eq!(endpoint.deadline(), None, "no timer for strangers");
    // Where the socket takes nothing, answers are dropped rather than kept.
    for n in 0..5_000 {
        let data = header(Kind::Data, n, 1, 0).encode().to_vec();
        endpoint.handle(Instant::ZERO, Input::Datagrams { from: addr(1), stride: 20, data });
    }
    assert_eq!(endpoint.replies.len(), REPLIES_MAX);
}

#[test]
fn only_who_got_the_answer_gets_a_connection() {
    let mut endpoint = endpoint();
    let state = hear(&mut endpoint, addr(3), header(Kind::Syn, 40, 9, 0).encode().to_vec());
    let ours = Packet::parse(&state[0].1).unwrap().header.seq;
    for wrong in [ours, ours.wrapping_add(1), ours.wrapping_sub(2), 0] {
        let mut guess = header(Kind::Data, 41, 10, wrong).encode().to_vec();
        guess.push(1);
        let sent = hear(&mut endpoint, addr(3), guess);
        assert_eq!(Packet::parse(&sent[0].1).unwrap().header.kind, Kind::Reset);
        assert!(endpoint.is_empty());
    }
    let mut proof = header(Kind::Data, 41, 10, ours.wrapping_sub(1)).encode().to_vec();
    proof.push(7);
    assert!(hear(&mut endpoint, addr(4), proof.clone()).len() == 1, "another address proves nothing");
    assert!(endpoint.is_empty());
    hear(&mut endpoint, addr(3), proof);
    assert_eq!(endpoint.poll(), Some(Output::Accepted { conn: B, from: addr(3) }));
    assert_eq!(endpoint.poll(), Some(received(B, vec![7])));
}

#[test]
fn resets_are_not_answered_and_guessed_ones_not_believed() {
    let mut endpoint = endpoint();
    assert!(hear(&mut endpoint, addr(3), header(Kind::Reset, 1, 2, 3).encode().to_vec()).is_empty());
    let mut pair = Pair::connected(1);
    pair.tell(0, Input::Send { conn: A, data: vec![1] });
    let last = pair.packets(0).last().copied().unwrap();
    let reset = |ack: u16| header(Kind::Reset, last.connection, 0, ack).encode().to_vec();
    for guess in [2, 2_100, 0x8000, 60_000] {
        pair.tell(1, Input::Datagrams { from: addr(0), stride: 20, data: reset(last.ack.wrapping_add(guess)) });
        assert_eq!(pair.ends[1].len(), 1);
    }
    // Nor those of others.
    pair.tell(1, Input::Datagrams { from: addr(5), stride: 20, data: reset(last.ack) });
    assert_eq!(pair.ends[1].len(), 1);
    pair.take(1);
    pair.tell(1, Input::Datagrams { from: addr(0), stride: 20, data: reset(last.ack) });
    assert_eq!(pair.take(1), [Output::Closed { conn: B, why: Cause::Reset }]);
    assert!(pair.ends[1].is_empty());
}

#[test]
fn packets_that_acknowledge_what_was_never_sent_are_dropped() {
    let mut pair = Pair::connected(2);
    pair.tell(0, Input::Send { conn: A, data: vec![1] });
    let last = pair.packets(0).last().copied().unwrap();
    pair.take(1);
    for ahead in [1, 2, 100, 0x7fff] {
        let mut data = header(Kind::Data, last.connection, last.seq.wrapping_add(1), last.ack.wrapping_add(ahead))
            .encode()
            .to_vec();
        data.push(66);
        pair.tell(1, Input::Datagrams { from: addr(0), stride: 21, data });
        assert!(pair.take(1).is_empty(), "{ahead} ahead");
    }
    // One that is old may bring something all the same.
    let mut data =
        header(Kind::Data, last.connection, last.seq.wrapping_add(1), last.ack.wrapping_sub(1)).encode().to_vec();
    data.push(67);
    pair.tell(1, Input::Datagrams { from: addr(0), stride: 21, data });
    assert_eq!(pair.take(1), [received(B, vec![67])]);
}

/// A peer that acknowledges everything that could have been sent, whether it came or not.
#[test]
fn who_acknowledges_ahead_of_what_it_got_is_caught() {
    let mut endpoint = endpoint();
    let mut now = Instant::from_secs(5);
    let state = hear(&mut endpoint, addr(3), header(Kind::Syn, 40, 9, 0).encode().to_vec());
    let ours = Packet::parse(&state[0].1).unwrap().header.seq;
    let ack = |n: u16| header(Kind::State, 41, 10, n).encode().to_vec();
    hear(&mut endpoint, addr(3), ack(ours.wrapping_sub(1)));
    endpoint.poll();
    let (mut highest, mut given) = (ours.wrapping_sub(1), 0u64);
    let caught = (0..200_000).any(|_| {
        now += ms(1);
        let room = endpoint.room(B);
        if room > 0 {
            endpoint.handle(now, Input::Send { conn: B, data: vec![0; room] });
            given += room as u64;
        }
        for (_, datagram) in answers(&mut endpoint, now) {
            let header = Packet::parse(&datagram).unwrap().header;
            if header.kind == Kind::Data && header.seq.wrapping_sub(highest) < 0x8000 {
                highest = header.seq;
            }
        }
        endpoint.handle(now, Input::Datagrams { from: addr(3), stride: 20, data: ack(highest) });
        std::iter::from_fn(|| endpoint.poll()).any(|o| o == Output::Closed { conn: B, why: Cause::Lied })
    });
    assert!(caught, "after {given} bytes");
    assert!(given < 40 << 20, "{given}");
    assert!(endpoint.is_empty());
    let last = answers(&mut endpoint, now).pop().unwrap();
    assert_eq!(Packet::parse(&last.1).unwrap().header.kind, Kind::Reset);
}

#[test]
fn a_window_that_stays_closed_costs_little_for_as_long_as_it_does() {
    let mut pair = Pair::connected(3);
    pair.reads = false;
    for _ in 0..40 {
        pair.tell(0, Input::Send { conn: A, data: vec![1; 50_000] });
        pair.pass(ms(20));
    }
    pair.pass(Duration::from_secs(60));
    pair.sent = Default::default();
    pair.pass(Duration::from_secs(3_600));
    let asked = pair.sent[0].iter().filter(|d| d.len() > 20).count();
    assert!((50..=130).contains(&asked), "{asked} in an hour");
    assert!(pair.sent[0].iter().all(|d| d.len() <= 1_472));
    assert!(pair.ends[0].status(A).is_some(), "who answers is not given up");
    pair.take(1);
    pair.reads = true;
    pair.tell(1, Input::Credit { conn: B, bytes: 1 << 20 });
    pair.pass(ms(200));
    let got: usize =
        pair.take(1).iter().map(|o| if let Output::Received { data, .. } = o { data.len() } else { 0 }).sum();
    assert!(got > 900_000, "{got}");
}

/// One thing that somebody on the way might do to a connection.
#[derive(Clone, Debug)]
enum Deed {
    Packet { kind: u8, seq: u16, ack: u16, window: u32, delay: u32, len: usize, sack: Vec<u8> },
    Send(usize),
    Credit(u64),
    Pass(u64),
    Raw(Vec<u8>),
}

fn deed() -> impl Strategy<Value = Deed> {
    let near = prop_oneof![0u16..5, 0xfff0u16..=0xffff, any::<u16>(), 2_000u16..2_100];
    let packet = (
        0u8..5,
        near.clone(),
        near,
        any::<u32>(),
        any::<u32>(),
        0usize..2_000,
        proptest::collection::vec(any::<u8>(), 0..9),
    );
    prop_oneof![
        6 => packet.prop_map(|(kind, seq, ack, window, delay, len, sack)| Deed::Packet { kind, seq, ack, window, delay, len, sack }),
        2 => (0usize..20_000).prop_map(Deed::Send),
        1 => (0u64..100_000).prop_map(Deed::Credit),
        2 => (0u64..3_000).prop_map(Deed::Pass),
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Deed::Raw),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn forged_packets_break_no_invariant(seed in 0u64..50, deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut pair = Pair::connected(seed);
        pair.tell(0, Input::Send { conn: A, data: vec![0; 3_000] });
        let real = pair.packets(0).last().copied().unwrap();
        for deed in deeds {
            match deed {
                Deed::Packet { kind, seq, ack, window, delay, len, mut sack } => {
                    let kind = [Kind::Data, Kind::Fin, Kind::State, Kind::Syn, Kind::Data][usize::from(kind)];
                    let (seq, ack) = (real.seq.wrapping_add(seq), real.ack.wrapping_add(ack));
                    sack.truncate(sack.len() / 4 * 4);
                    let mut data = Vec::new();
                    Header { window, delay_us: delay, ..header(kind, real.connection, seq, ack) }.encode_sack(&sack, &mut data);
                    data.resize(data.len() + len, 3);
                    pair.tell(1, Input::Datagrams { from: addr(0), stride: data.len(), data });
                }
                Deed::Send(n) => pair.tell(1, Input::Send { conn: B, data: vec![1; n] }),
                Deed::Credit(bytes) => pair.tell(1, Input::Credit { conn: B, bytes }),
                Deed::Pass(n) => pair.pass(ms(n)),
                Deed::Raw(data) => pair.tell(1, Input::Datagrams { from: addr(0), stride: 33, data }),
            }
        }
    }

    #[test]
    fn strangers_get_no_more_than_they_sent(first in 0u8..5, mut data in proptest::collection::vec(any::<u8>(), 0..400), stride in 1usize..400) {
        if let Some(byte) = data.first_mut() {
            *byte = first << 4 | 1;
        }
        let mut endpoint = endpoint();
        let len = data.len();
        endpoint.handle(Instant::ZERO, Input::Datagrams { from: addr(2), stride, data });
        let sent: usize = answers(&mut endpoint, Instant::ZERO).iter().map(|(_, d)| d.len()).sum();
        prop_assert!(sent <= len);
        prop_assert!(endpoint.is_empty());
    }
}
