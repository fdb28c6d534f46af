//! A running hash of everything that engines were told, and the same as lines for people.

use crate::payload::{Block, Payload, Run};
use crate::queue::PeerIx;
use base::Instant;
use engine::Input;

/// Takes the lines of a trace.
pub type Sink = Box<dyn FnMut(&str) + Send>;

/// Hash, and somebody who may read along.
#[derive(Default)]
pub(crate) struct Trace {
    hash: u64,
    sink: Option<Sink>,
}

impl Trace {
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn set_sink(&mut self, sink: Sink) {
        self.sink = Some(sink);
    }

    /// Notes that `peer` was told `input`.
    pub(crate) fn input(&mut self, now: Instant, peer: PeerIx, input: &Input<Payload>) {
        self.mix(now.as_micros());
        let (kind, a, b) = numbers(input);
        self.mix(u64::from(peer) << 8 | kind);
        self.mix(a);
        self.mix(b);
        if let Input::Received { data, .. } = input {
            self.payload(data);
        }
        if let Some(sink) = &mut self.sink {
            sink(&line(now, peer, input));
        }
    }

    /// Notes that something happened to `peer`.
    pub(crate) fn mark(&mut self, now: Instant, peer: PeerIx, what: &str) {
        self.mix(now.as_micros());
        self.mix(u64::from(peer) << 8 | 0xff);
        if let Some(sink) = &mut self.sink {
            sink(&format!("{now:?} {peer} {what}"));
        }
    }

    fn payload(&mut self, data: &Payload) {
        for run in data.runs() {
            match run {
                Run::Real(bytes) => {
                    let (words, rest) = bytes.as_chunks::<8>();
                    words.iter().for_each(|w| self.mix(u64::from_le_bytes(*w)));
                    rest.iter().for_each(|b| self.mix(u64::from(*b)));
                }
                Run::Block(Block { piece, begin, len, taint }) => {
                    self.mix(u64::from(piece) << 32 | u64::from(begin));
                    self.mix(u64::from(len) << 32 | u64::from(taint.0));
                }
            }
        }
    }

    /// One round of a multiplicative hash: not against enemies, only against accidents.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

/// What tells two inputs of the same time and peer apart.
fn numbers(input: &Input<Payload>) -> (u64, u64, u64) {
    match input {
        Input::Tick => (0, 0, 0),
        Input::Accepted { conn, .. } => (1, conn.0, 0),
        Input::Connected { conn } => (2, conn.0, 0),
        Input::Received { conn, data } => (3, conn.0, base::Payload::len(data) as u64),
        Input::Closed { conn } => (4, conn.0, 0),
        Input::Disk(done) => (5, done.len() as u64, 0),
        Input::Fetched { job, result } => (6, job.0, result.as_ref().map_or(0, |reply| reply.body.len() as u64)),
        Input::Resolved { job, .. } => (7, job.0, 0),
        Input::Datagram { data, .. } => (8, data.len() as u64, 0),
        Input::Add(torrent, _) => (9, u64::from(torrent.0), 0),
        Input::Command(torrent, _) => (10, u64::from(torrent.0), 0),
        Input::Shutdown => (11, 0, 0),
        Input::StreamEnded { conn, end } => (13, conn.0, end.is_ok().into()),
        Input::Skipped { conn, bytes } => (14, conn.0, *bytes),
        // Parts of an engine write to each other within it.
        Input::Letter(letter) => (12, u64::from(letter.to().0), 0),
    }
}

fn line(now: Instant, peer: PeerIx, input: &Input<Payload>) -> String {
    match input {
        Input::Add(torrent, _) => format!("{now:?} {peer} Add({torrent})"),
        Input::Command(torrent, command) => {
            let name = format!("{command:?}");
            let name = name.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
            format!("{now:?} {peer} Command({torrent}, {name})")
        }
        input => format!("{now:?} {peer} {input:?}"),
    }
}
