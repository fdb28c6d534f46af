use super::*;
use crate::session::OURS;
use crate::torrent::tests::{Desk, SECOND, addr};
use crate::{Birth, CloseReason, Input, NewPeer, Settings};
use base::{ConnId, PeerId};
use std::net::SocketAddr;
use std::sync::Arc;
use wire::extended::{ExtendedHandshake, HANDSHAKE_ID, PeerIds};

fn open(birth: impl FnOnce(&mut Birth)) -> Desk {
    let mut desk = Desk::new(birth);
    desk.open(super::super::tests::plan(), None);
    desk
}

/// A peer that comes from, or is dialled at, this address, and speaks peer exchange.
fn meet(desk: &mut Desk, n: u64, addr: SocketAddr, outgoing: bool, listens: Option<u16>) -> ConnId {
    let conn = ConnId(n);
    let (peer_id, reserved) = (PeerId([n as u8; 20]), OURS);
    desk.handle(Input::Peer(NewPeer { conn, addr, peer_id, reserved, outgoing, unsent: Vec::new() }));
    desk.said(conn);
    let hello = ExtendedHandshake { ids: PeerIds::local([Extension::Pex]), port: listens, ..Default::default() };
    desk.hear(conn, &[Message::Extended { id: HANDSHAKE_ID, payload: hello.encode().into() }]);
    conn
}

/// What a peer was told of others.
fn told(desk: &mut Desk, conn: ConnId) -> Option<Pex> {
    let pex = |m: &Message| match m {
        Message::Extended { id, payload } if *id == Extension::Pex.local() => Pex::parse(payload).ok(),
        _ => None,
    };
    let said = desk.said(conn);
    assert!(said.iter().filter_map(pex).count() <= 1);
    said.iter().find_map(pex)
}

fn tell(desk: &mut Desk, conn: ConnId, added: &[(SocketAddr, PexFlags)]) {
    let added = added.iter().map(|(addr, flags)| PexPeer { addr: *addr, flags: *flags }).collect();
    let payload = Pex { added, dropped: Vec::new() }.encode().into();
    desk.hear(conn, &[Message::Extended { id: Extension::Pex.local(), payload }]);
}

#[test]
fn peers_hear_of_each_other_when_they_come_and_each_minute() {
    let mut desk = open(|_| {});
    let a = meet(&mut desk, 1, addr(1), true, None);
    assert_eq!(told(&mut desk, a), None, "there is nobody yet");
    // One that says where it listens, and one that does not.
    let b = meet(&mut desk, 2, SocketAddr::new(addr(2).ip(), 50_000), false, Some(7000));
    let c = meet(&mut desk, 3, SocketAddr::new(addr(3).ip(), 50_000), false, None);
    let named = |pex: Option<Pex>| pex.map(|p| p.added.iter().map(|p| p.addr).collect::<Vec<_>>()).unwrap_or_default();
    let listens = SocketAddr::new(addr(2).ip(), 7000);
    assert_eq!(named(told(&mut desk, b)), [addr(1)]);
    let mut both = named(told(&mut desk, c));
    both.sort();
    assert_eq!(both, [addr(1), listens]);
    assert_eq!(told(&mut desk, a), None);
    desk.pass(61 * SECOND);
    let pex = told(&mut desk, a).unwrap();
    let flags = |at: SocketAddr| pex.added.iter().find(|p| p.addr == at).unwrap().flags;
    assert!(flags(addr(1)).has(PexFlags::REACHABLE) && !flags(listens).has(PexFlags::REACHABLE));
    [b, c].into_iter().for_each(|conn| drop(desk.said(conn)));
    desk.handle(Input::Closed { conn: b });
    desk.pass(61 * SECOND);
    let pex = told(&mut desk, a).unwrap();
    assert_eq!((pex.added.len(), &*pex.dropped), (0, &[listens][..]));
    desk.said(c);
    // Whoever has heard all hears no more.
    desk.pass(61 * SECOND);
    assert_eq!((told(&mut desk, a), told(&mut desk, c)), (None, None));
}

#[test]
fn who_is_told_is_told_what_it_can_use_and_believed_as_far_as_it_is_near() {
    let mut desk = open(|_| {});
    let outside: SocketAddr = "8.8.8.8:6881".parse().unwrap();
    meet(&mut desk, 1, addr(1), true, None);
    let stranger = meet(&mut desk, 2, outside, true, None);
    assert_eq!(told(&mut desk, stranger), None, "the other one is inside");
    let other: SocketAddr = "1.2.3.4:5".parse().unwrap();
    let lan: SocketAddr = "10.1.1.1:1".parse().unwrap();
    let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
    tell(&mut desk, stranger, &[(lan, PexFlags(0)), (here, PexFlags(0)), (other, PexFlags(0))]);
    desk.pass(3 * SECOND);
    assert_eq!(desk.dials, [other]);
    // One's own network is told by who is in it.
    tell(&mut desk, ConnId(1), &[(lan, PexFlags(0)), (here, PexFlags(0))]);
    desk.pass(3 * SECOND);
    assert_eq!(desk.dials, [other, lan]);
    // Not as often as it likes.
    let more = |n: u64| (addr(n), PexFlags(0));
    tell(&mut desk, ConnId(1), &[more(9)]);
    desk.pass(3 * SECOND);
    assert_eq!(desk.dials.len(), 2);
    desk.pass(60 * SECOND);
    tell(&mut desk, ConnId(1), &(10..200).map(more).collect::<Vec<_>>());
    let known = desk.torrent.status(desk.now).candidates as usize + desk.dials.len() - 2;
    assert_eq!(known, PEX_PEERS_MAX);
}

#[test]
fn private_torrents_have_none_of_it() {
    for private in [false, true] {
        for off in [false, true] {
            let mut desk = open(|b| {
                b.private = private;
                b.settings = Arc::new(Settings { pex: !off, ..Settings::default() });
            });
            let a = meet(&mut desk, 1, addr(1), true, None);
            let b = meet(&mut desk, 2, addr(2), true, None);
            assert_eq!(told(&mut desk, b).is_some(), !private && !off);
            tell(&mut desk, a, &[(addr(7), PexFlags(0))]);
            desk.pass(3 * SECOND);
            assert_eq!(desk.dials.contains(&addr(7)), !private && !off);
        }
    }
}

#[test]
fn who_was_named_by_strangers_goes_when_it_turns_out_to_be_private() {
    let info: Vec<u8> =
        b"d6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa7:privatei1ee".into();
    let hashes = base::Info::parse(&info).unwrap().hashes;
    let mut desk = Desk::new(|b| {
        b.info = None;
        b.hashes = hashes;
    });
    let a = meet(&mut desk, 1, addr(1), true, None);
    tell(&mut desk, a, &[(addr(7), PexFlags(0)), (addr(8), PexFlags(0))]);
    desk.pass(3 * SECOND);
    assert!(desk.dials.contains(&addr(7)));
    let b = meet(&mut desk, 7, addr(7), true, None);
    let hello = ExtendedHandshake {
        ids: PeerIds::local([Extension::Metadata]),
        metadata_size: Some(info.len() as u32),
        ..Default::default()
    };
    desk.hear(a, &[Message::Extended { id: HANDSHAKE_ID, payload: hello.encode().into() }]);
    let data = wire::extended::Metadata::Data { piece: 0, total_size: info.len() as u32, data: &info };
    desk.hear(a, &[Message::Extended { id: Extension::Metadata.local(), payload: data.encode().into() }]);
    assert!(desk.events.iter().any(|e| matches!(e, crate::Event::Metadata(_))));
    assert_eq!((desk.reason(a), desk.reason(b)), (None, Some(CloseReason::Private)));
    assert_eq!(desk.torrent.status(desk.now).candidates, 0);
}

#[test]
fn seeds_are_not_dialled_by_seeds() {
    let mut desk = Desk::seed();
    let a = meet(&mut desk, 1, addr(1), true, None);
    tell(&mut desk, a, &[(addr(7), PexFlags::SEED), (addr(8), PexFlags(0))]);
    desk.pass(3 * SECOND);
    assert_eq!(desk.dials, [addr(8)]);
}

#[test]
fn a_seed_of_a_part_says_so_and_leaves_those_who_want_nothing() {
    let told = |desk: &mut Desk, conn| {
        let only = |m: &Message| match m {
            Message::Extended { id: HANDSHAKE_ID, payload } => ExtendedHandshake::parse(payload).unwrap().upload_only,
            _ => None,
        };
        desk.said(conn).iter().filter_map(only).next_back()
    };
    let mut desk = open(|_| {});
    let fetches = meet(&mut desk, 1, addr(1), true, None);
    let upload_only = meet(&mut desk, 2, addr(2), true, None);
    let hello = ExtendedHandshake { upload_only: Some(true), ..Default::default() };
    desk.hear(upload_only, &[Message::Extended { id: HANDSHAKE_ID, payload: hello.encode().into() }]);
    assert_eq!((told(&mut desk, fetches), desk.reason(upload_only)), (None, None));
    desk.handle(Input::Priorities(vec![crate::FilePriority::Skip]));
    assert_eq!(told(&mut desk, fetches), Some(true));
    assert_eq!((desk.reason(fetches), desk.reason(upload_only)), (None, Some(CloseReason::BothSeeds)));
    // Who comes now hears it at once, and who wants nothing either goes.
    let conn = ConnId(3);
    let (peer_id, reserved) = (PeerId([3; 20]), OURS);
    desk.handle(Input::Peer(NewPeer { conn, addr: addr(3), peer_id, reserved, outgoing: true, unsent: Vec::new() }));
    assert_eq!(told(&mut desk, conn), Some(true));
    desk.hear(conn, &[Message::Extended { id: HANDSHAKE_ID, payload: hello.encode().into() }]);
    assert_eq!(desk.reason(conn), Some(CloseReason::BothSeeds));
    desk.handle(Input::Priorities(vec![crate::FilePriority::Normal]));
    assert_eq!(told(&mut desk, fetches), Some(false));
}
