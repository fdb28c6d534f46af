//! What one torrent does with what peers say, well-meant or not. Whole swarms are tried in the lab.

use super::*;
use crate::disk::DiskDone;
use crate::session::{OURS, UNASKED_MAX, UPLOAD_QUEUE_MAX};
use crate::{NewPeer, Resume, Transmit};
use base::{BLOCK_SIZE, Checks, ConnId, FileEntry, FileKind, Geometry, InfoHash, Layout, PeerId};
use std::time::Duration;
use wire::extended::{ExtendedHandshake, Extension, HANDSHAKE_ID, Metadata, PeerIds};
use wire::handshake::Reserved;
use wire::message::{Decoder, Event as Decoded, Limits, Message, block_header};

const PIECE: u32 = 4 * BLOCK_SIZE;
const SLOW: Reserved = Reserved::NONE.with_extended();

/// A torrent of ten pieces of four blocks, and what it has said.
pub(super) struct Desk {
    pub(super) torrent: Torrent<Vec<u8>>,
    pub(super) now: Instant,
    pub(super) closed: Vec<(ConnId, CloseReason)>,
    pub(super) events: Vec<Event>,
    jobs: Vec<DiskJob<Vec<u8>>>,
    pub(super) dials: Vec<SocketAddr>,
}

pub(super) fn addr(n: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8], 6881))
}

pub(super) fn plan() -> Plan {
    let total = 10 * u64::from(PIECE);
    let geometry = Geometry::new(total, u64::from(PIECE), BLOCK_SIZE).unwrap();
    Plan::new(geometry, Layout::single("t".into(), total, false), Checks::default())
}

impl Desk {
    pub(super) fn new(birth: impl FnOnce(&mut Birth)) -> Self {
        let hashes = InfoHashes { v1: Some(InfoHash([7; 20])), v2: None };
        let mut it = Birth {
            settings: Arc::default(),
            hashes,
            info: Some(vec![1; 20_000].into()),
            private: false,
            choker: None,
        };
        birth(&mut it);
        let now = Instant::from_secs(1000);
        let torrent = Torrent::new(now, it, Rng::from_seed(1));
        let (closed, events, jobs, dials) = Default::default();
        Desk { torrent, now, closed, events, jobs, dials }
    }

    fn leech() -> Self {
        let mut desk = Desk::new(|_| {});
        desk.open(plan(), None);
        desk
    }

    pub(super) fn seed() -> Self {
        let mut desk = Desk::new(|_| {});
        desk.open(plan(), Some(Bitfield::full(10)));
        desk
    }

    pub(super) fn open(&mut self, plan: Plan, have: Option<Bitfield>) {
        let resume = Resume { have, ..Resume::default() };
        self.handle(Input::Open { plan: Arc::new(plan), resume, priorities: Vec::new() });
    }

    pub(super) fn handle(&mut self, input: Input<Vec<u8>>) {
        self.torrent.handle(self.now, input);
        while let Some(output) = self.torrent.poll() {
            match output {
                Output::Close { conn, reason } => self.closed.push((conn, reason)),
                Output::Event(event) => self.events.push(event),
                Output::Disk(job) => self.jobs.push(job),
                Output::Dial { addr } => self.dials.push(addr),
                Output::Wake { .. } => {}
                Output::Stream { .. } | Output::EndStream { .. } => panic!("nobody has named a server"),
            }
        }
        self.torrent.check_invariants().unwrap();
    }

    fn join(&mut self, n: u64, reserved: Reserved) -> ConnId {
        let (conn, peer_id) = (ConnId(n), PeerId([n as u8; 20]));
        self.handle(Input::Peer(NewPeer {
            conn,
            addr: addr(n),
            peer_id,
            reserved,
            outgoing: false,
            unsent: Vec::new(),
        }));
        self.said(conn);
        conn
    }

    /// A seed that serves us.
    fn join_seed(&mut self, n: u64, reserved: Reserved) -> ConnId {
        let conn = self.join(n, reserved);
        self.hear(conn, &[Message::Bitfield(Bitfield::full(10).as_bytes().into()), Message::Unchoke]);
        conn
    }

    pub(super) fn hear(&mut self, conn: ConnId, messages: &[Message]) {
        let mut data = Vec::new();
        messages.iter().for_each(|m| wire::message::encode(m, &mut data));
        self.handle(Input::Received { conn, data });
    }

    fn block(&mut self, conn: ConnId, piece: u32, begin: u32, len: u32) {
        let mut data = block_header(piece, begin, len).to_vec();
        data.resize(data.len() + len as usize, 5);
        self.handle(Input::Received { conn, data });
    }

    /// What is said on a connection now.
    pub(super) fn said(&mut self, conn: ConnId) -> Vec<Message> {
        let mut decoder = Decoder::new(Limits::default());
        let mut out = Transmit::default();
        loop {
            let before = out.bytes;
            self.torrent.poll_transmit(self.now, conn, usize::MAX, u64::MAX, &mut out);
            if out.bytes == before {
                break;
            }
        }
        for segment in out.segments {
            match segment {
                crate::Segment::Bytes(b) => decoder.feed(b),
                crate::Segment::Block { len, .. } => decoder.feed(vec![0; len as usize]),
            }
        }
        let mut said = Vec::new();
        while let Some(event) = decoder.poll().unwrap() {
            said.push(match event {
                Decoded::Message(m) => m,
                Decoded::Block { piece, begin, data } => Message::Request { piece, begin, len: data.len() as u32 },
            });
        }
        said
    }

    fn asked(&mut self, conn: ConnId) -> Vec<(u32, u32)> {
        let request = |m: &Message| match m {
            Message::Request { piece, begin, .. } => Some((*piece, *begin)),
            _ => None,
        };
        self.said(conn).iter().filter_map(request).collect()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.torrent.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle(Input::Tick);
        }
        self.now = end;
    }

    pub(super) fn reason(&self, conn: ConnId) -> Option<CloseReason> {
        self.closed.iter().find(|(c, _)| *c == conn).map(|(_, r)| *r)
    }
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_bitfield_after_the_first_counts_as_haves_and_spare_bits_end_it() {
    let mut desk = Desk::leech();
    let conn = desk.join(1, SLOW);
    desk.hear(conn, &[Message::Bitfield(Box::new([0x80, 0]))]);
    desk.hear(conn, &[Message::Bitfield(Box::new([0xc0, 0x40]))]);
    let pieces = desk.torrent.peers(desk.now)[0].pieces;
    assert_eq!((pieces, desk.reason(conn)), (3, None));
    desk.hear(conn, &[Message::Bitfield(Box::new([0xc0, 0x20]))]);
    assert_eq!(desk.reason(conn), Some(CloseReason::Protocol));
}

#[test]
fn floods_of_haves_change_nothing_and_pieces_that_are_not_end_it() {
    let mut desk = Desk::leech();
    let conn = desk.join(1, SLOW);
    desk.hear(conn, &vec![Message::Have(3); 10_000]);
    assert_eq!(desk.torrent.peers(desk.now)[0].pieces, 1);
    desk.hear(conn, &[Message::Have(10)]);
    assert_eq!(desk.reason(conn), Some(CloseReason::Protocol));
}

#[test]
fn blocks_never_asked_for_are_not_written_and_too_many_end_it() {
    let mut desk = Desk::leech();
    let conn = desk.join(1, SLOW);
    for _ in 0..UNASKED_MAX {
        desk.block(conn, 0, 0, BLOCK_SIZE);
    }
    assert!(desk.jobs.is_empty());
    assert_eq!(desk.reason(conn), None);
    assert_eq!(desk.torrent.status(desk.now).wasted, u64::from(UNASKED_MAX) * u64::from(BLOCK_SIZE));
    desk.block(conn, 0, 0, BLOCK_SIZE);
    assert_eq!(desk.reason(conn), Some(CloseReason::Protocol));
}

#[test]
fn blocks_of_a_wrong_length_end_it() {
    for (begin, len) in [(0, 100), (1, BLOCK_SIZE), (PIECE, BLOCK_SIZE), (u32::MAX - 5, 10)] {
        let mut desk = Desk::leech();
        let conn = desk.join_seed(1, SLOW);
        desk.block(conn, 0, begin, len);
        assert_eq!(desk.reason(conn), Some(CloseReason::Protocol), "{len} bytes at {begin}");
        assert!(desk.jobs.is_empty());
    }
}

#[test]
fn what_is_asked_for_is_written_and_checked_and_told_to_those_who_lack_it() {
    let mut desk = Desk::leech();
    let seed = desk.join_seed(1, OURS);
    let other = desk.join(2, OURS);
    let first = desk.asked(seed);
    let piece = first[0].0;
    assert_eq!(first[..4], [0, 1, 2, 3].map(|b| (piece, b * BLOCK_SIZE)), "a piece in order");
    for begin in (0..4).map(|b| b * BLOCK_SIZE) {
        desk.block(seed, piece, begin, BLOCK_SIZE);
    }
    let p = PieceIndex(piece);
    assert_eq!(desk.jobs.len(), 5);
    assert_eq!(desk.jobs[4], DiskJob::Check { piece: p, digests: false });
    assert_eq!(desk.torrent.backlog(), u64::from(PIECE));
    desk.handle(Input::Disk(DiskDone::Written { piece: p, begin: 0, len: PIECE }));
    assert_eq!(desk.torrent.backlog(), 0);
    desk.handle(Input::Disk(DiskDone::Checked { piece: p, ok: true, digests: Vec::new() }));
    assert!(desk.events.contains(&Event::PieceGood(p)));
    assert!(desk.said(other).contains(&Message::Have(piece)));
}

#[test]
fn a_choke_frees_what_was_asked_for_and_others_are_asked() {
    let mut desk = Desk::leech();
    let one = desk.join_seed(1, SLOW);
    let asked = desk.asked(one);
    assert!(!asked.is_empty());
    desk.hear(one, &[Message::Choke]);
    assert_eq!(desk.torrent.peers(desk.now)[0].requests, 0);
    let two = desk.join(2, SLOW);
    desk.hear(two, &[Message::Have(asked[0].0), Message::Unchoke]);
    assert!(desk.asked(two).contains(&asked[0]));
    // What was on its way when it choked is welcome all the same, once.
    desk.block(one, asked[0].0, asked[0].1, BLOCK_SIZE);
    assert!(matches!(desk.jobs[..], [DiskJob::Write { .. }]));
}

#[test]
fn a_rejected_request_is_not_made_again_at_once() {
    let mut desk = Desk::leech();
    let conn = desk.join_seed(1, OURS);
    for (piece, begin) in desk.asked(conn) {
        desk.hear(conn, &[Message::Reject { piece, begin, len: BLOCK_SIZE }]);
    }
    assert_eq!(desk.asked(conn), []);
    desk.pass(2 * SECOND);
    assert_eq!(desk.asked(conn), []);
    desk.pass(3 * SECOND);
    assert!(!desk.asked(conn).is_empty());
}

#[test]
fn who_stalls_is_passed_over_and_who_is_silent_is_dropped() {
    let mut desk = Desk::leech();
    let lame = desk.join_seed(1, SLOW);
    let asked = desk.asked(lame);
    let two = desk.join(2, SLOW);
    desk.hear(two, &[Message::Have(asked[0].0)]);
    desk.pass(21 * SECOND);
    assert!(desk.torrent.peers(desk.now)[0].requests <= 1);
    desk.hear(two, &[Message::Unchoke]);
    let instead = desk.asked(two);
    assert!(!instead.is_empty() && instead.iter().all(|block| asked.contains(block)));
    desk.pass(45 * SECOND);
    assert!(desk.torrent.peers(desk.now)[0].snubbed);
    desk.pass(120 * SECOND);
    assert_eq!(desk.reason(lame), Some(CloseReason::Timeout));
}

#[test]
fn an_idle_connection_is_kept_alive() {
    let mut desk = Desk::seed();
    let conn = desk.join(1, SLOW);
    desk.pass(95 * SECOND);
    assert_eq!(desk.said(conn), []);
    desk.pass(16 * SECOND);
    assert_eq!(desk.said(conn), [Message::KeepAlive]);
}

#[test]
fn who_is_choked_gets_nothing_and_requests_outside_of_pieces_end_it() {
    let ask = |piece, begin, len| Message::Request { piece, begin, len };
    let mut desk = Desk::seed();
    let (fast, slow) = (desk.join(1, OURS), desk.join(2, SLOW));
    desk.hear(fast, &[ask(0, 0, BLOCK_SIZE)]);
    desk.hear(slow, &[ask(0, 0, BLOCK_SIZE)]);
    assert_eq!(desk.said(fast), [Message::Reject { piece: 0, begin: 0, len: BLOCK_SIZE }]);
    assert_eq!(desk.said(slow), []);
    for bad in
        [ask(10, 0, 1), ask(0, PIECE - 1, 2), ask(0, 0, PIECE + BLOCK_SIZE), ask(0, u32::MAX, u32::MAX), ask(0, 0, 0)]
    {
        let mut desk = Desk::seed();
        let conn = desk.join(1, OURS);
        desk.hear(conn, std::slice::from_ref(&bad));
        assert_eq!(desk.reason(conn), Some(CloseReason::Protocol), "{bad:?}");
    }
}

#[test]
fn a_queue_is_served_in_order_within_its_limit_and_without_what_was_cancelled() {
    let mut desk = Desk::seed();
    let conn = desk.join(1, OURS);
    desk.hear(conn, &[Message::Interested]);
    assert_eq!(desk.said(conn), [Message::Unchoke], "a free slot need not wait");
    let ask = |i: u32| Message::Request { piece: i % 10, begin: 0, len: 100 + i / 10 };
    desk.hear(conn, &(0..UPLOAD_QUEUE_MAX as u32 + 5).map(ask).collect::<Vec<_>>());
    let Message::Request { piece, begin, len } = ask(1) else { unreachable!() };
    desk.hear(conn, &[Message::Cancel { piece, begin, len }]);
    let said = desk.said(conn);
    let rejects = said.iter().filter(|m| matches!(m, Message::Reject { .. })).count();
    let served: Vec<_> = said.iter().filter(|m| matches!(m, Message::Request { .. })).cloned().collect();
    assert_eq!((rejects, served.len()), (6, UPLOAD_QUEUE_MAX - 1));
    assert_eq!(served[..2], [ask(0), ask(2)]);
}

#[test]
fn what_lies_behind_the_last_file_of_a_v2_torrent_is_served_as_padding() {
    let mut desk = Desk::new(|_| {});
    let total = u64::from(PIECE) + 100;
    let mut plan = plan();
    plan.geometry = Geometry::new(total, u64::from(PIECE), BLOCK_SIZE).unwrap();
    plan.layout = Layout::single("t".into(), total, false);
    plan.checks = Checks { merkle: Some(Box::new([[0; 32]; 2])), ..Checks::default() };
    desk.open(plan, Some(Bitfield::full(2)));
    let conn = desk.join(1, OURS);
    desk.hear(conn, &[Message::Interested, Message::Request { piece: 1, begin: 0, len: BLOCK_SIZE }]);
    assert_eq!(desk.reason(conn), None);
}

#[test]
fn padding_is_never_asked_for() {
    let file = |path: &str, len, kind| FileEntry { path: path.into(), offset: 0, len, kind, executable: false };
    let files = vec![
        file("t/a", 100, FileKind::Content),
        file("t/.pad/1", u64::from(PIECE) - 100, FileKind::Pad),
        file("t/b", 50, FileKind::Content),
    ];
    let layout = Layout::folder("t".into(), files).unwrap();
    let geometry = Geometry::new(layout.total(), u64::from(PIECE), BLOCK_SIZE).unwrap();
    let mut desk = Desk::new(|_| {});
    desk.open(Plan::new(geometry, layout, Checks::default()), None);
    let conn = desk.join(1, SLOW);
    desk.hear(conn, &[Message::Bitfield(Box::new([0xc0])), Message::Unchoke]);
    let mut asked = desk.asked(conn);
    asked.sort_unstable();
    assert_eq!(asked, [(0, 0), (1, 0)]);
    desk.block(conn, 0, 0, BLOCK_SIZE);
    assert!(matches!(desk.jobs[..], [DiskJob::Write { .. }, DiskJob::Check { .. }]), "the piece is all there");
    let status = desk.torrent.status(desk.now);
    assert_eq!(
        (desk.torrent.sources()[0].bytes, status.wanted, status.done),
        (100, 150, 0),
        "padding counts for nobody"
    );
}

#[test]
fn metadata_is_served_piece_by_piece_and_no_further() {
    let mut desk = Desk::seed();
    let conn = desk.join(1, OURS);
    let hello = ExtendedHandshake { ids: PeerIds::local([Extension::Metadata]), ..Default::default() };
    let ask = |piece| Message::Extended {
        id: Extension::Metadata.local(),
        payload: Metadata::Request { piece }.encode().into(),
    };
    desk.hear(conn, &[Message::Extended { id: HANDSHAKE_ID, payload: hello.encode().into() }]);
    // Of 20,000 bytes there are two pieces; index 2 is the count, one too far.
    desk.hear(conn, &[ask(1), ask(2), ask(u32::MAX)]);
    let answers: Vec<_> = desk
        .said(conn)
        .into_iter()
        .filter_map(|m| match m {
            Message::Extended { payload, .. } => Some(match Metadata::parse(&payload).unwrap() {
                Metadata::Data { piece, data, .. } => (piece, data.len()),
                Metadata::Reject { piece } => (piece, 0),
                other => panic!("{other:?}"),
            }),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [(1, 20_000 - 16_384), (2, 0), (u32::MAX, 0)]);
    desk.hear(conn, &vec![ask(9); 300]);
    assert_eq!(desk.reason(conn), Some(CloseReason::Protocol), "who goes on asking is dropped");
}

/// Both ends have to keep the same one of two connections, in whatever order they see them.
#[test]
fn who_dial_each_other_at_once_keep_one_connection() {
    let (low, high) = (PeerId([1; 20]), PeerId([2; 20]));
    // Ports and ids of the two, and whose dial is kept.
    for (ports, ids, first_dials) in
        [([6881, 6882], [high, low], true), ([6882, 6881], [low, high], false), ([6881, 6881], [low, high], true)]
    {
        for me in 0..2 {
            for mine_is_first in [true, false] {
                let settings = Settings { port: ports[me], peer_id: ids[me], ..Settings::default() };
                let mut desk = Desk::new(|b| b.settings = Arc::new(settings));
                desk.open(plan(), None);
                let meet = |desk: &mut Desk, outgoing: bool| {
                    let conn = ConnId(if outgoing { 1 } else { 2 });
                    let port = if outgoing { ports[1 - me] } else { 40_000 };
                    let addr = SocketAddr::from(([10, 0, 0, 9], port));
                    let peer_id = ids[1 - me];
                    desk.handle(Input::Peer(NewPeer {
                        conn,
                        addr,
                        peer_id,
                        reserved: SLOW,
                        outgoing,
                        unsent: Vec::new(),
                    }));
                };
                meet(&mut desk, mine_is_first);
                meet(&mut desk, !mine_is_first);
                let mine_is_kept = first_dials == (me == 0);
                let gone = ConnId(if mine_is_kept { 2 } else { 1 });
                let kept = ConnId(if mine_is_kept { 1 } else { 2 });
                assert_eq!(desk.reason(gone), Some(CloseReason::Duplicate));
                assert_eq!(desk.reason(kept), None);
            }
        }
    }
}

#[test]
fn one_session_a_peer_and_no_more_than_there_is_room_for() {
    let mut desk = Desk::new(|b| b.settings = Arc::new(Settings { connections_max: 2, ..Settings::default() }));
    desk.open(plan(), None);
    desk.join(1, SLOW);
    let again = NewPeer {
        conn: ConnId(9),
        addr: addr(9),
        peer_id: PeerId([1; 20]),
        reserved: SLOW,
        outgoing: false,
        unsent: Vec::new(),
    };
    desk.handle(Input::Peer(again));
    assert_eq!(desk.reason(ConnId(9)), Some(CloseReason::Duplicate));
    desk.join(2, SLOW);
    let third = desk.join(3, SLOW);
    assert_eq!(desk.reason(third), Some(CloseReason::Limit));
    // After its time, who neither gives nor takes makes room.
    desk.pass(40 * SECOND);
    let fourth = desk.join(4, SLOW);
    assert_eq!(desk.reason(fourth), None);
    assert_eq!(desk.torrent.peers(desk.now).len(), 2);
}

#[test]
fn a_private_torrent_hears_of_peers_from_trackers_alone() {
    for (private, dialled) in [(true, vec![addr(2)]), (false, vec![addr(1), addr(2)])] {
        let mut desk = Desk::new(|b| b.private = private);
        desk.open(plan(), None);
        desk.handle(Input::Candidates { source: Source::Exchange, addrs: vec![addr(1)] });
        desk.handle(Input::Candidates { source: Source::Tracker, addrs: vec![addr(2)] });
        desk.pass(2 * SECOND);
        desk.dials.sort_unstable();
        assert_eq!(desk.dials, dialled);
    }
}

#[test]
fn a_failing_disk_stops_it_with_a_reason_and_it_can_be_resumed() {
    let mut desk = Desk::leech();
    let conn = desk.join_seed(1, SLOW);
    let failed = || Input::Disk(DiskDone::Failed { piece: PieceIndex(0), error: "disk full".into() });
    desk.handle(failed());
    desk.handle(failed());
    let stopped: Vec<_> = desk.events.iter().filter(|e| matches!(e, Event::Stopped { .. })).collect();
    assert_eq!(stopped, [&Event::Stopped { error: "disk full".into() }]);
    assert_eq!(desk.reason(conn), Some(CloseReason::Stopped));
    desk.handle(Input::Resume);
    let again = desk.join_seed(2, SLOW);
    assert!(!desk.asked(again).is_empty());
}

#[test]
fn what_a_failed_disk_was_given_is_fetched_again_and_nobody_is_blamed() {
    let mut desk = Desk::leech();
    let conn = desk.join_seed(1, OURS);
    let piece = desk.asked(conn)[0].0;
    for begin in (0..4).map(|b| b * BLOCK_SIZE) {
        desk.block(conn, piece, begin, BLOCK_SIZE);
    }
    let p = PieceIndex(piece);
    desk.handle(Input::Disk(DiskDone::Failed { piece: p, error: "disk full".into() }));
    assert!(desk.jobs.contains(&DiskJob::Forget { piece: p }));
    // The check was under way, and has digests of what was never written.
    desk.handle(Input::Disk(DiskDone::Checked { piece: p, ok: false, digests: vec![[0; 8]; 4] }));
    assert!(!desk.events.iter().any(|e| matches!(e, Event::Banned { .. } | Event::Complete)), "{:?}", desk.events);
    desk.handle(Input::Resume);
    let again = desk.join(2, SLOW);
    desk.hear(again, &[Message::Have(piece), Message::Unchoke]);
    assert_eq!(desk.asked(again).len(), 4);
}

/// A leecher of 320 pieces that unchokes nobody: one peer is interested, one is not, and `seeds` peers have everything.
fn teller(seeds: u64) -> (Desk, ConnId, ConnId) {
    let mut desk = Desk::new(|birth| {
        birth.settings = Arc::new(Settings { unchoke_slots: 0, ..Settings::default() });
    });
    let total = 320 * u64::from(BLOCK_SIZE);
    let geometry = Geometry::new(total, u64::from(BLOCK_SIZE), BLOCK_SIZE).unwrap();
    let layout = Layout::single("t".into(), total, false);
    desk.open(Plan::new(geometry, layout, Checks::default()), None);
    for n in 10..10 + seeds {
        let conn = desk.join(n, OURS);
        desk.hear(conn, &[Message::HaveAll]);
    }
    let (eager, idle) = (desk.join(1, OURS), desk.join(2, OURS));
    desk.hear(eager, &[Message::HaveNone, Message::Interested]);
    desk.hear(idle, &[Message::HaveNone]);
    (desk, eager, idle)
}

impl Desk {
    fn got(&mut self, piece: u32) {
        self.handle(Input::Disk(DiskDone::Checked { piece: PieceIndex(piece), ok: true, digests: Vec::new() }));
    }

    /// What a connection says that was woken; nothing if it sleeps.
    fn said_awake(&mut self, conn: ConnId) -> Vec<Message> {
        let awake = self.torrent.by_conn.get(conn).is_some_and(|slot| self.torrent.sessions.is_awake(slot));
        if awake { self.said(conn) } else { Vec::new() }
    }
}

#[test]
fn haves_wait_for_company_where_nobody_can_act_on_them() {
    let (mut desk, eager, idle) = teller(5);
    desk.got(0);
    assert_eq!(desk.said_awake(idle), [Message::Have(0)], "it may become interested");
    assert_eq!(desk.said_awake(eager), [], "it is, and is choked");
    desk.got(1);
    desk.pass(news::NEWS_WAIT);
    assert_eq!(desk.said_awake(eager), [Message::Have(0), Message::Have(1)], "but not for ever");
    (2..21).for_each(|piece| desk.got(piece));
    assert_eq!(desk.said_awake(eager), []);
    desk.got(21);
    assert_eq!(desk.said_awake(eager).len(), 20, "several are said at once");
    desk.got(22);
    desk.hear(eager, &[Message::NotInterested]);
    assert_eq!(desk.said_awake(eager), [Message::Have(22)], "it does not know all");
    desk.hear(eager, &[Message::Interested]);
    (23..40).for_each(|piece| desk.got(piece));
    desk.said(eager);
    (40..320).for_each(|piece| desk.got(piece));
    let last = desk.said_awake(eager).into_iter().rev().find(|m| matches!(m, Message::Have(_)));
    assert_eq!(last, Some(Message::Have(319)), "all is said by one who is complete");
}

#[test]
fn of_a_rare_piece_all_hear_at_once() {
    let (mut desk, eager, _) = teller(1);
    desk.got(7);
    assert_eq!(desk.said_awake(eager), [Message::Have(7)]);
}
