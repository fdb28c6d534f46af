//! A whole engine in one thread: all of its parts, and the mail between them.

use crate::letter::Letter;
use crate::part::Part;
use crate::{Config, Input, Output};
use base::{ConnId, Instant, JobId, Payload, Rng, TorrentId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use swarm::{PeerStatus, SourceStatus, TorrentStatus, Transmit};

/// One whole peer. `P` is how the hands hold payload. Torrents are spread over the shards by their numbers.
#[derive(Debug)]
pub struct Engine<P> {
    parts: Vec<Part<P>>,
    /// With more than one part: what they said, and what is under way between them.
    more: Option<Box<Several<P>>>,
}

/// What there is only with more than one part.
#[derive(Debug)]
struct Several<P> {
    out: VecDeque<Output<P>>,
    /// Letters under way, and what happened to connections that are: part, and when it arrives.
    mail: VecDeque<(Instant, usize, Input<P>)>,
    lag: Duration,
    /// Connections under way, and to which part.
    moving: BTreeMap<ConnId, usize>,
    /// Of these, those that have ended meanwhile.
    ended: BTreeSet<ConnId>,
}

impl<P: Payload> Engine<P> {
    /// An engine without torrents. `rng` is its only source of chance.
    pub fn new(now: Instant, config: Config, rng: Rng) -> Self {
        Self::with_lag(now, config, rng, Duration::ZERO)
    }

    /// The same, whose letters take their time, as they do between threads.
    pub fn with_lag(now: Instant, config: Config, rng: Rng, lag: Duration) -> Self {
        let parts = Part::all(now, config, rng);
        let several = || Several {
            out: VecDeque::new(),
            mail: VecDeque::new(),
            lag,
            moving: BTreeMap::new(),
            ended: BTreeSet::new(),
        };
        let more = (parts.len() > 1).then(|| Box::new(several()));
        Engine { parts, more }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input<P>) {
        match &self.more {
            None => self.parts[0].handle(now, input),
            Some(_) => {
                self.mail_due(now);
                self.route(now, input);
                self.collect(now);
            }
        }
    }

    fn route(&mut self, now: Instant, input: Input<P>) {
        let part = match &input {
            Input::Tick => {
                self.parts.iter_mut().for_each(|part| part.handle(now, Input::Tick));
                return;
            }
            Input::Disk(_) => return self.disk(now, input),
            Input::Received { conn, .. } | Input::Closed { conn } => {
                let conn = *conn;
                let ended = matches!(input, Input::Closed { .. });
                if let Some(more) = &mut self.more
                    && let Some(part) = more.moving.get(&conn).copied()
                {
                    if ended {
                        more.ended.insert(conn);
                    }
                    more.mail.push_back((now + more.lag, part, input));
                    return;
                }
                self.part_of(conn)
            }
            Input::Skipped { conn, .. } | Input::StreamEnded { conn, .. } => self.part_of(*conn),
            Input::Accepted { .. } | Input::Connected { .. } | Input::Datagram { .. } | Input::Shutdown => 0,
            Input::Fetched { job, .. } | Input::Resolved { job, .. } => self.asked(*job),
            Input::Add(id, _) | Input::Command(id, _) => self.home(*id),
            Input::Letter(letter) => letter.to().index(),
        };
        self.parts[part].handle(now, input);
    }

    fn disk(&mut self, now: Instant, input: Input<P>) {
        let Input::Disk(done) = input else { return };
        for part in 0..self.parts.len() {
            let here: Vec<_> = done.iter().filter(|(id, _)| self.home(*id) == part).cloned().collect();
            if !here.is_empty() {
                self.parts[part].handle(now, Input::Disk(here));
            }
        }
    }

    /// The part where a torrent lives.
    fn home(&self, id: TorrentId) -> usize {
        id.index() % self.parts.len()
    }

    /// The part that a job belongs to.
    fn asked(&self, job: JobId) -> usize {
        job.index() % self.parts.len()
    }

    /// The part that a connection belongs to; the gate's, until it has a torrent.
    fn part_of(&self, conn: ConnId) -> usize {
        self.parts.iter().position(|part| part.torrent_of(conn).is_some()).unwrap_or(0)
    }

    /// Gathers what the parts say, and carries letters, until there is nothing to do now.
    fn collect(&mut self, now: Instant) {
        loop {
            for i in 0..self.parts.len() {
                while let Some(output) = self.parts[i].poll() {
                    let Some(more) = &mut self.more else { return };
                    match output {
                        Output::Letter(letter) => more.post(now, letter),
                        // The hands know already.
                        Output::Close { conn } if more.ended.contains(&conn) => {}
                        output => more.out.push_back(output),
                    }
                }
            }
            if !self.mail_due(now) {
                break;
            }
        }
    }

    /// Delivers what has arrived. False if there was nothing.
    fn mail_due(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(more) = &mut self.more
            && let Some((_, part, input)) = more.mail.pop_front_if(|(at, ..)| *at <= now)
        {
            any = true;
            match &input {
                Input::Letter(letter) => {
                    if let Some(conn) = letter.conn() {
                        more.moving.remove(&conn);
                    }
                }
                Input::Closed { conn } => {
                    more.ended.remove(conn);
                }
                _ => {}
            }
            self.parts[part].handle(now, input);
        }
        any
    }

    /// The next thing to do for the hands.
    pub fn poll(&mut self) -> Option<Output<P>> {
        match &mut self.more {
            None => self.parts[0].poll(),
            Some(more) => base::pop_or_trim(&mut more.out),
        }
    }

    /// When to handle [`Input::Tick`], if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let mail = self.more.as_ref().and_then(|more| more.mail.front()).map(|(at, ..)| *at);
        self.parts.iter().map(Part::deadline).chain([mail]).flatten().min()
    }

    /// What `conn` has to send, about `room` bytes of it (a message more at most). Nothing: it is drained, and a
    /// [`Output::Wake`] comes when there is more. Blocks belong to the torrent of [`Engine::torrent_of`].
    pub fn poll_transmit(&mut self, now: Instant, conn: ConnId, room: usize, out: &mut Transmit) {
        if self.more.is_none() {
            self.parts[0].poll_transmit(now, conn, room, out);
        } else {
            let part = self.part_of(conn);
            self.parts[part].poll_transmit(now, conn, room, out);
            self.collect(now);
        }
    }

    /// The torrent that a connection belongs to, once its handshake is done.
    pub fn torrent_of(&self, conn: ConnId) -> Option<TorrentId> {
        self.parts.iter().find_map(|part| part.torrent_of(conn))
    }

    /// How a torrent is doing.
    pub fn status(&self, now: Instant, torrent: TorrentId) -> Option<TorrentStatus> {
        self.parts[self.home(torrent)].status(now, torrent)
    }

    /// The peers of a torrent.
    pub fn peers(&self, now: Instant, torrent: TorrentId) -> Vec<PeerStatus> {
        self.parts[self.home(torrent)].peers(now, torrent)
    }

    /// Who gave how much in this run.
    pub fn sources(&self, torrent: TorrentId) -> Vec<SourceStatus> {
        self.parts[self.home(torrent)].sources(torrent)
    }

    /// The pieces of a torrent that are good; None while it is not open.
    pub fn have(&self, torrent: TorrentId) -> Option<base::Bitfield> {
        self.parts[self.home(torrent)].have(torrent)
    }

    /// What is wrong, if anything. For the lab, after every step: it is slow.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.parts.iter().try_for_each(Part::check_invariants)?;
        let under_way = self.more.as_ref().is_some_and(|more| !more.mail.is_empty());
        let here: usize = self.parts.iter().map(|part| part.connections().0).sum();
        let thought = self.parts[0].connections().1;
        if !under_way && here != thought {
            return Err(format!("shards have {here} connections, the gate thinks {thought}"));
        }
        Ok(())
    }
}

impl<P> Several<P> {
    fn post(&mut self, now: Instant, letter: Letter<P>) {
        let to = letter.to().index();
        if let Some(conn) = letter.conn() {
            self.moving.insert(conn, to);
        }
        self.mail.push_back((now + self.lag, to, Input::Letter(letter)));
    }
}
