//! The loop: one thread owns a part of the engine and the sockets of its peers, and nothing that it does waits. There is one
//! for each shard; the first one has the gate, too ([`doors`]), and they write letters to each other ([`post`]).
//!
//! It sleeps in the kernel until a socket, the disk, a message or the engine's clock wakes it; then everything that is
//! ready gets a turn of bounded size, and the disk gets one batch. It stands on mio, the same floor that tokio stands on,
//! rather than on tokio's tasks: with readiness in hand, no block changes threads or waits in a task's queue.
//!
//! What is slow or rare goes out as [`News`] to the runtime of whoever started the node.

mod conn;
mod doors;
mod post;
mod reader;
mod write;

use crate::clock::Clock;
use crate::disk::Storage;
use crate::disk::gather::{Gather, ReadDone};
use crate::disk::mailbox::Inbox;
use crate::disk::worker::{Disk, Work};
use crate::http::{Errand, Tap};
use crate::net;
use crate::rope::Rope;
use base::{ConnId, Instant, JobId, ShardIndex, TorrentId};
use conn::Conn;
pub(crate) use doors::Doors;
use engine::{Input, Letter, Output, Part, TorrentEvent, Transmit};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
pub(crate) use post::Post;
use reader::{Got, Reader};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm::disk::DiskDone;
use tokio::sync::mpsc;

/// News that wait to be taken up; the loop waits when there are more.
pub(crate) const NEWS_MAX: usize = 4096;

const EVENTS_MAX: usize = 512;
/// Time between two looks at what can be freed.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);
const WAKER: Token = Token(usize::MAX);

/// A question to a part of the engine, which carries its own way back.
pub(crate) type Question = Box<dyn FnOnce(&Part<Rope>, Instant) + Send>;

/// A message to the loop.
pub(crate) enum Msg {
    /// For the engine.
    Input(Input<Rope>),
    /// A question to the part of the engine that has this torrent.
    Ask(TorrentId, Question),
    /// Work for the disk, before anything that comes later.
    Disk(Work),
    /// From another loop, perhaps with a connection that lives here from now on.
    Letter(Letter<Rope>, Option<Box<Conn>>),
    /// Blocks of this torrent are read from here; None: no more.
    Storage(TorrentId, Option<Arc<Storage>>),
    /// End now, without a good-bye.
    Halt,
}

/// What the loop has to tell or leaves to others.
#[derive(Debug)]
pub(crate) enum News {
    /// From the engine.
    Event(TorrentId, TorrentEvent),
    /// An HTTP GET to make.
    Fetch { job: JobId, url: String, to: SocketAddr },
    /// A stream of a server to bring. What comes goes to the loop's inbox.
    Stream { torrent: TorrentId, source: u32, errand: Errand },
    /// A name to look up.
    Resolve { job: JobId, host: String, port: u16 },
    /// The loop has ended in order.
    Finished,
}

/// How a loop hears of others, and they of it.
pub(crate) struct Ways {
    /// What comes.
    pub(crate) inbox: Arc<Inbox<Msg>>,
    /// What goes to other loops.
    pub(crate) post: Post,
    /// What goes out.
    pub(crate) news: mpsc::Sender<News>,
}

/// The loop's state.
pub(crate) struct Driver {
    engine: Part<Rope>,
    clock: Clock,
    poll: Poll,
    doors: Doors,
    post: Post,
    inbox: Arc<Inbox<Msg>>,
    news: mpsc::Sender<News>,
    disk: Disk,
    storages: HashMap<TorrentId, Arc<Storage>>,
    conns: Slab<Conn>,
    slots: HashMap<ConnId, usize>,
    /// What may be read of the streams of servers.
    taps: HashMap<ConnId, Tap>,
    /// Connections that have something to read, and those that have something to write, in turn.
    to_read: VecDeque<usize>,
    to_write: VecDeque<usize>,
    reader: Reader,
    #[expect(clippy::vec_box, reason = "they move between here and the connections")]
    gathers: Vec<Box<Gather>>,
    transmit: Transmit,
    trimmed: Instant,
    finished: bool,
}

impl Driver {
    /// Puts the loop together.
    pub(crate) fn new(engine: Part<Rope>, clock: Clock, poll: Poll, doors: Doors, ways: Ways, disk: Disk) -> Self {
        let Ways { inbox, post, news } = ways;
        Driver {
            engine,
            clock,
            poll,
            doors,
            post,
            inbox,
            news,
            disk,
            storages: HashMap::new(),
            conns: Slab::new(),
            slots: HashMap::new(),
            taps: HashMap::new(),
            to_read: VecDeque::new(),
            to_write: VecDeque::new(),
            reader: Reader::default(),
            gathers: Vec::new(),
            transmit: Transmit::default(),
            trimmed: clock.now(),
            finished: false,
        }
    }

    /// The waker token of the poll that [`Driver::new`] takes.
    pub(crate) fn waker(poll: &Poll) -> io::Result<mio::Waker> {
        mio::Waker::new(poll.registry(), WAKER)
    }

    /// Runs until the engine has finished, or it is told to end.
    ///
    /// # Errors
    /// If the kernel does not let us wait for sockets.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let (mut messages, mut done, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        while !self.finished {
            match self.poll.poll(&mut events, self.sleep()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = self.clock.now();
            events.iter().for_each(|event| self.ready(now, event));
            self.inbox.take(&mut messages);
            messages.drain(..).for_each(|msg| self.message(now, msg));
            self.disk.take_done(&mut done);
            if !done.is_empty() {
                self.handle(now, Input::Disk(std::mem::take(&mut done)));
            }
            self.disk.take_read(&mut reads);
            reads.drain(..).for_each(|read| self.read_done(now, read));
            self.doors_again(now);
            if self.engine.deadline().is_some_and(|at| at <= now) {
                self.handle(now, Input::Tick);
            }
            // One turn for each that waits now; those that want another come next time.
            for _ in 0..self.to_read.len() {
                let Some(slot) = self.to_read.pop_front() else { break };
                self.read_turn(now, slot);
            }
            for _ in 0..self.to_write.len() {
                let Some(slot) = self.to_write.pop_front() else { break };
                self.write_turn(now, slot);
            }
            self.disk.submit();
            self.post.send();
            if now.since(self.trimmed) >= TRIM_INTERVAL {
                self.trimmed = now;
                self.reader.trim();
                self.gathers.truncate(1);
            }
        }
        self.disk.stop();
        self.post.send();
        if self.engine.index() == ShardIndex(0) {
            self.tell(News::Finished);
        }
        Ok(())
    }

    fn sleep(&self) -> Option<Duration> {
        if !self.to_read.is_empty() || !self.to_write.is_empty() || self.doors.is_busy() {
            return Some(Duration::ZERO);
        }
        [self.engine.deadline(), self.doors.deadline()].into_iter().flatten().min().map(|at| self.clock.until(at))
    }

    /// Tells the engine one thing, and does what it says.
    fn handle(&mut self, now: Instant, input: Input<Rope>) {
        self.engine.handle(now, input);
        self.obey(now);
    }

    fn obey(&mut self, now: Instant) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Dial { conn, to } => {
                    if self.dial(conn, to).is_err() {
                        self.engine.handle(now, Input::Closed { conn });
                    }
                }
                Output::Close { conn } => match self.taps.remove(&conn) {
                    Some(tap) => tap.close(),
                    None => drop(self.remove(conn)),
                },
                Output::Wake { conn } => {
                    if let Some(slot) = self.slots.get(&conn).copied() {
                        self.conns[slot].flags.wants = true;
                        self.queue_write(slot);
                    }
                }
                Output::Credit { conn, bytes } => {
                    if let Some(slot) = self.slots.get(&conn).copied() {
                        self.conns[slot].credit += bytes;
                        self.queue_read(slot);
                    } else if let Some(tap) = self.taps.get(&conn) {
                        tap.open(bytes);
                    }
                }
                Output::Stream { conn, torrent, source, offset, len, credit } => {
                    let tap = Tap::new(credit);
                    self.taps.insert(conn, tap.clone());
                    let errand = Errand { conn, offset, len, tap, inbox: self.inbox.clone() };
                    self.tell(News::Stream { torrent, source, errand });
                }
                Output::Disk { torrent, job } => self.disk.add(Work::Job(torrent, job)),
                Output::Fetch { job, url, to } => self.tell(News::Fetch { job, url, to }),
                Output::Resolve { job, host, port } => self.tell(News::Resolve { job, host, port }),
                Output::Datagram { to, data } => self.send_datagram(to, &data),
                // There are many of them, and the disk knows first.
                Output::Event(_, TorrentEvent::Swarm(swarm::Event::PieceGood(_))) => {}
                Output::Event(torrent, event) => self.tell(News::Event(torrent, event)),
                Output::Finished => self.finished = true,
                Output::Letter(letter) => self.post(letter),
            }
        }
    }

    fn tell(&self, news: News) {
        // If nobody listens any more, nobody has to know.
        let _ = self.news.blocking_send(news);
    }

    fn message(&mut self, now: Instant, msg: Msg) {
        match msg {
            Msg::Input(input) => {
                if let Input::StreamEnded { conn, .. } = &input {
                    self.taps.remove(conn);
                }
                self.handle(now, input);
            }
            Msg::Ask(_, question) => question(&self.engine, now),
            Msg::Letter(letter, conn) => self.letter(now, letter, conn),
            Msg::Disk(work) => self.disk.add(work),
            Msg::Storage(torrent, Some(storage)) => drop(self.storages.insert(torrent, storage)),
            Msg::Storage(torrent, None) => drop(self.storages.remove(&torrent)),
            Msg::Halt => self.finished = true,
        }
    }

    /// Notes what the kernel says of a socket.
    fn ready(&mut self, now: Instant, event: &mio::event::Event) {
        match event.token() {
            WAKER => {}
            token if self.at_the_door(now, token) => {}
            Token(slot) => {
                let Some(conn) = self.conns.get_mut(slot) else { return };
                conn.flags.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                conn.flags.writable |= event.is_writable() || event.is_error();
                conn.flags.hung_up |= event.is_read_closed() || event.is_error();
                if conn.flags.connecting {
                    self.connected(now, slot);
                }
                self.queue_read(slot);
                self.queue_write(slot);
            }
        }
    }

    fn queue_read(&mut self, slot: usize) {
        if let Some(conn) = self.conns.get_mut(slot)
            && conn.can_read()
            && !std::mem::replace(&mut conn.flags.read_queued, true)
        {
            self.to_read.push_back(slot);
        }
    }

    fn queue_write(&mut self, slot: usize) {
        if let Some(conn) = self.conns.get_mut(slot)
            && conn.can_write()
            && !std::mem::replace(&mut conn.flags.write_queued, true)
        {
            self.to_write.push_back(slot);
        }
    }

    fn dial(&mut self, conn: ConnId, to: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::from_std(net::dial(to)?);
        self.insert(Conn::new(conn, stream, true)).map(drop)
    }

    fn insert(&mut self, mut conn: Conn) -> io::Result<usize> {
        let entry = self.conns.vacant_entry();
        let (slot, id) = (entry.key(), conn.id);
        self.poll.registry().register(&mut conn.stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(conn);
        self.slots.insert(id, slot);
        Ok(slot)
    }

    fn connected(&mut self, now: Instant, slot: usize) {
        let conn = &mut self.conns[slot];
        let id = conn.id;
        let failed = conn.stream.take_error().map_or(true, |e| e.is_some());
        if failed {
            self.lost(now, id);
        } else if conn.flags.writable && conn.stream.peer_addr().is_ok() {
            conn.flags.connecting = false;
            self.handle(now, Input::Connected { conn: id });
        }
    }

    /// Takes a connection out; its socket closes when the answer is dropped.
    fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let mut conn = self.take_out(conn)?;
        if let Some(gather) = conn.out.take() {
            self.recycle(gather);
        }
        Some(conn)
    }

    fn take_out(&mut self, conn: ConnId) -> Option<Conn> {
        Some(self.conns.remove(self.slots.remove(&conn)?))
    }

    /// A connection has ended by itself.
    fn lost(&mut self, now: Instant, conn: ConnId) {
        if self.remove(conn).is_some() {
            self.handle(now, Input::Closed { conn });
        }
    }

    fn read_turn(&mut self, now: Instant, slot: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.flags.read_queued = false;
        if !conn.can_read() {
            return;
        }
        let (id, limit) = (conn.id, usize::try_from(conn.credit).unwrap_or(usize::MAX));
        match self.reader.read(&mut conn.stream, limit) {
            Got::Bytes { data, drained } => {
                conn.credit -= base::Payload::len(&data) as u64;
                conn.flags.readable = !drained || conn.flags.hung_up;
                self.handle(now, Input::Received { conn: id, data });
                self.queue_read(slot);
            }
            Got::Nothing => conn.flags.readable = false,
            Got::End => self.lost(now, id),
        }
    }

    fn read_done(&mut self, now: Instant, done: ReadDone) {
        let ours = self.conns.get_mut(done.slot).filter(|c| c.id == done.conn);
        match (ours, done.failed) {
            (Some(conn), None) => {
                conn.flags.reading = false;
                conn.out = Some(done.gather);
                self.queue_write(done.slot);
            }
            (ours, Some((piece, error))) => {
                let gone = ours.is_none();
                self.recycle(done.gather);
                let failed = DiskDone::Failed { piece, error: error.to_string() };
                self.handle(now, Input::Disk(vec![(done.torrent, failed)]));
                if !gone {
                    self.lost(now, done.conn);
                }
            }
            (None, None) => self.recycle(done.gather),
        }
    }
}
