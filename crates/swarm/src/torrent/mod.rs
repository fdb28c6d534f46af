//! One torrent as a machine: sessions, picker, choker, metadata, and what goes to the disk.
//!
//! Each thing that happens is one [`Input`]; what follows from it is polled as [`Output`]s. Stream bytes are not outputs:
//! a connection that has something to say is named once ([`Output::Wake`]) and asked while its socket has room
//! ([`Torrent::poll_transmit`]), so that what is said is decided as late as possible.
//!
//! - `peers`: who comes and goes, who is dialled, timers;
//! - `messages`: what peers say;
//! - `fetch`: what we ask for, what comes, what the disk thinks of it, who is to blame;
//! - `http`: what servers send, and which parts they are asked for;
//! - `serve`: what we give, and to whom;
//! - `exchange`: what peers tell each other of each other;
//! - `news`: when peers hear of our pieces;
//! - `meta`: the info dictionary, both ways.
//!
//! Not here: handshakes, trackers, rates and limits over all torrents (the engine), hashing and files (the hands).

mod exchange;
mod fetch;
mod http;
mod messages;
mod meta;
mod news;
mod opening;
mod peers;
mod serve;
mod sessions;
mod view;

#[cfg(test)]
mod tests;

use crate::blame::Blame;
use crate::candidates::Candidates;
use crate::choker::Choker;
use crate::disk::{BlockDigest, DiskJob};
use crate::metadata::MetadataFetch;
use crate::picker::{Picker, Priority};
use crate::pieces::PeerSlot;
use crate::{CloseReason, Event, Input, Output, Source};
use base::{Bitfield, BlockIndex, ConnMap, InfoHashes, Instant, Payload, PieceIndex, Plan, Rng};
use exchange::Exchange;
use http::Http;
use news::News;
use sessions::Sessions;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Settings that all torrents of an engine share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are.
    pub peer_id: base::PeerId,
    /// Name and version, told to peers.
    pub client: String,
    /// The port that peers can reach us on; 0: none.
    pub port: u16,
    /// Connections of one torrent.
    pub connections_max: usize,
    /// Peers unchoked at once, the optimistic one included.
    pub unchoke_slots: usize,
    /// Requests open to one peer at most.
    pub requests_max: u16,
    /// Peers hear of each other (BEP 11).
    pub pex: bool,
    /// A deliberate mistake.
    #[cfg(feature = "flaws")]
    pub flaw: Option<crate::Flaw>,
}

impl Settings {
    /// Does this torrent make this mistake on purpose? Never, outside of tests.
    #[cfg(feature = "flaws")]
    fn has(&self, flaw: crate::Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    #[cfg(not(feature = "flaws"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    const fn has(&self, _flaw: crate::Flaw) -> bool {
        false
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            peer_id: base::PeerId([0; 20]),
            client: "Shoal".into(),
            port: 0,
            connections_max: 50,
            unchoke_slots: 8,
            requests_max: 500,
            pex: true,
            #[cfg(feature = "flaws")]
            flaw: None,
        }
    }
}

/// What a torrent is born with.
#[derive(Debug)]
pub struct Birth {
    /// Settings shared with the other torrents.
    pub settings: Arc<Settings>,
    /// What it is called.
    pub hashes: InfoHashes,
    /// The raw info dictionary, if it is known.
    pub info: Option<Arc<[u8]>>,
    /// Only trackers and the user may name peers (BEP 27).
    pub private: bool,
    /// Decides whom to upload to. None: tit-for-tat while leeching, the seeding choker after.
    pub choker: Option<Box<dyn Choker + Send>>,
}

/// One torrent. `P` is how the hands hold payload.
pub struct Torrent<P> {
    settings: Arc<Settings>,
    hashes: InfoHashes,
    private: bool,
    info: Option<Arc<[u8]>>,
    metadata: MetadataFetch,
    open: Option<Box<Open>>,
    life: Life,
    sessions: Sessions<P>,
    by_conn: ConnMap<PeerSlot>,
    slots_used: u32,
    candidates: Candidates,
    dialling: usize,
    /// Peers that turned out to have everything, or came to, as we have, since we dialled one that has not.
    vain_dials: u8,
    /// Where they were too many, nobody is dialled before.
    dial_at: Instant,
    choker: Box<dyn Choker + Send>,
    choker_is_given: bool,
    rng: Rng,
    out: VecDeque<Output<P>>,
    /// Peers that could be asked for more should be: blocks were freed.
    poke: bool,
    tick_at: Instant,
    /// When the first session that has nothing to do may have to say so, or has been silent for too long.
    quiet_at: Instant,
    /// Sessions that are asked for something, or could be: they have something due every second.
    timed: Vec<PeerSlot>,
    /// Haves that wait to be said together.
    news: News,
    exchange: Exchange,
    rechoke_at: Instant,
    turnover_at: Instant,
    totals: Totals,
    /// Bytes given to the disk and not yet written.
    backlog: u64,
    /// Useful bytes by address, of sessions that are gone.
    given: BTreeMap<SocketAddr, u64>,
    /// Addresses of sessions that are gone, for blame.
    former: BTreeMap<PeerSlot, SocketAddr>,
    scratch: Vec<(PieceIndex, BlockIndex)>,
    /// HTTP servers; most torrents have none.
    http: Option<Box<Http<P>>>,
}

/// Most addresses kept in [`Torrent::given`] and [`Torrent::former`].
const FORMER_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Failed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    /// The rotten part of them.
    rotten: u64,
}

/// What exists once the plan is known and the files are open.
struct Open {
    plan: Arc<Plan>,
    picker: Picker,
    blame: Blame<PeerSlot, BlockDigest>,
    /// Pieces to be hashed before anything is fetched, and how many of them are with the disk.
    to_check: Option<Checking>,
    /// Pieces that became good since the torrent was opened, in order: what sessions have yet to say.
    have_log: Vec<PieceIndex>,
    /// Pieces that somebody waits for, and how much they are wanted otherwise.
    first: Vec<(PieceIndex, Priority)>,
    complete_told: bool,
}

struct Checking {
    left: Bitfield,
    next: u32,
    with_disk: u32,
}

impl<P: Payload> Torrent<P> {
    /// A torrent that waits for its info dictionary, or, if that is known, to be opened.
    pub fn new(now: Instant, birth: Birth, rng: Rng) -> Self {
        let choker_is_given = birth.choker.is_some();
        let choker = birth.choker.unwrap_or_else(|| serve::leeching_choker(birth.settings.unchoke_slots));
        Torrent {
            settings: birth.settings,
            hashes: birth.hashes,
            private: birth.private,
            info: birth.info,
            metadata: MetadataFetch::default(),
            open: None,
            life: Life::Running,
            sessions: Sessions::new(),
            by_conn: ConnMap::new(),
            slots_used: 0,
            candidates: Candidates::default(),
            dialling: 0,
            vain_dials: 0,
            dial_at: Instant::ZERO,
            choker,
            choker_is_given,
            rng,
            out: VecDeque::new(),
            poke: false,
            tick_at: Instant::NEVER,
            quiet_at: Instant::NEVER,
            timed: Vec::new(),
            news: News::NONE,
            exchange: Exchange::NONE,
            rechoke_at: now,
            turnover_at: now,
            totals: Totals::default(),
            backlog: 0,
            given: BTreeMap::new(),
            former: BTreeMap::new(),
            scratch: Vec::new(),
            http: None,
        }
    }

    /// Takes in one thing that happened. Unknown connections are ignored: closing and receiving cross each other.
    pub fn handle(&mut self, now: Instant, input: Input<P>) {
        match input {
            Input::Received { conn, data } => {
                if let Some(slot) = self.by_conn.get(conn) {
                    self.received(now, slot, data);
                }
            }
            Input::Disk(done) => self.disk_done(now, done),
            Input::Peer(peer) => self.peer_joined(now, peer),
            Input::Closed { conn } => {
                if let Some(slot) = self.by_conn.get(conn) {
                    self.remove_session(now, slot, false);
                }
            }
            Input::DialFailed { addr, postponed } => self.dial_failed(now, addr, postponed),
            Input::Candidates { source, addrs } => self.add_candidates(now, source, addrs),
            Input::Open { plan, resume, priorities } => self.open(now, plan, resume, &priorities),
            Input::Server(source) => self.add_server(source),
            Input::DropServer { id, why } => self.drop_server(id, why),
            Input::Streamed { stream, data } => self.streamed(now, stream, data),
            Input::Skipped { stream, bytes } => self.skipped(now, stream, bytes),
            Input::StreamEnded { stream, end } => self.stream_ended(now, stream, end),
            Input::Priorities(priorities) => self.set_priorities(now, &priorities),
            Input::Sequential(on) => self.set_sequential(on),
            Input::First(pieces) => self.set_first(&pieces),
            Input::Pause => self.stop(now, Life::Paused),
            Input::Resume => self.resume(now),
            Input::Tick => base::trim(&mut self.out),
        }
        self.run_timers(now);
        self.poke_if_needed(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<P>> {
        let output = base::pop_or_trim(&mut self.out);
        if output.is_none() && self.sessions.is_empty() && self.out.capacity() > 0 {
            // Thousands of torrents have nobody, and nothing to say for hours.
            self.out = VecDeque::new();
        }
        output
    }

    /// When to handle [`Input::Tick`], if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        (self.tick_at != Instant::NEVER).then_some(self.tick_at)
    }

    /// Bytes given to the disk and not yet written.
    pub fn backlog(&self) -> u64 {
        self.backlog
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn write(&mut self, piece: PieceIndex, begin: u32, data: P) {
        self.backlog += data.len() as u64;
        self.out.push_back(Output::Disk(DiskJob::Write { piece, begin, data }));
    }

    /// Says once that a session has something to send.
    fn wake(&mut self, slot: PeerSlot) {
        if let Some(conn) = self.sessions.wake(slot) {
            self.out.push_back(Output::Wake { conn });
        }
    }

    /// Adds to what an address gave that was of use.
    fn credit(&mut self, slot: PeerSlot, bytes: i64) {
        let addr = match self.sessions.get(slot) {
            Some(s) => s.addr,
            None => match self.former.get(&slot) {
                Some(addr) => *addr,
                None => {
                    if let Some(http) = &mut self.http {
                        http.credit(slot, bytes);
                    }
                    return;
                }
            },
        };
        if self.given.len() < FORMER_MAX || self.given.contains_key(&addr) {
            let sum = self.given.entry(addr).or_default();
            *sum = sum.saturating_add_signed(bytes);
        }
    }

    /// True if pieces may be fetched now.
    fn is_fetching(&self) -> bool {
        self.life == Life::Running
            && self.open.as_ref().is_some_and(|o| o.to_check.is_none() && !o.picker.is_finished())
    }

    fn is_complete(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.to_check.is_none() && o.picker.is_finished())
    }

    /// No transfers and no connections until resumed.
    fn stop(&mut self, now: Instant, life: Life) {
        self.life = life;
        self.end_all_lanes();
        let slots: Vec<PeerSlot> = self.sessions.keys().collect();
        for slot in slots {
            self.close(now, slot, CloseReason::Stopped);
        }
    }

    fn resume(&mut self, now: Instant) {
        self.life = Life::Running;
        self.tick_at = now;
        self.poke = true;
    }
}

impl<P> std::fmt::Debug for Torrent<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let picker = self.open.as_ref().map(|o| &o.picker);
        write!(f, "Torrent({:?}, {:?}, {} sessions, {picker:?})", self.hashes, self.life, self.sessions.len())
    }
}

/// Who may name peers of a private torrent (BEP 27).
fn source_is_allowed(private: bool, source: Source) -> bool {
    match source {
        Source::User | Source::Incoming | Source::Tracker | Source::Resume => true,
        Source::Exchange => !private,
    }
}
