//! The desk through which the torrents of a shard ask trackers over UDP (BEP 15): it knows whom an answer is for, and
//! shares connection ids.
//!
//! Each torrent asks for a connection id of its own before it announces. Of many torrents that ask the same tracker, one
//! question goes out and its answer is for all; while that is fresh, nobody needs to ask. Repeating what was lost remains
//! with those who ask. It deliberately knows nothing of what is announced.

use base::{Instant, TorrentId};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use wire::tracker::udp::{Request, Response, connect_reply};

/// A connection id is good for a minute (BEP 15). Torrents keep theirs as long again, and trackers know them for two.
const CONNECTION_LIFE: Duration = Duration::from_secs(55);
/// Others wait so long for the answer to one question: then it is asked again, by whoever repeats itself first.
const ASKED_LIFE: Duration = Duration::from_secs(14);
/// An answer is expected so long; the torrent that asks gives up before.
const ANSWER_LIFE: Duration = Duration::from_secs(60);
/// Answers expected at once. Beyond, the oldest is forgotten: it is asked again.
const EXPECTED_MAX: usize = 16 * 1024;
/// Trackers whose connection ids are kept; beyond, one is forgotten.
const CONNECTIONS_MAX: usize = 1024;

/// One torrent's question: which tracker, and the number that its answer has.
type Key = (SocketAddr, u32);

/// What is known of one tracker.
#[derive(Debug)]
struct Connection {
    /// Its connection id, once it has answered.
    id: Option<u64>,
    until: Instant,
    /// Who waits for the answer that another one asked for.
    waiting: Vec<u32>,
}

/// What becomes of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is sent.
    Out(Vec<u8>),
    /// The answer is known.
    Answer(Vec<u8>),
    /// Its answer comes with another's.
    Held,
}

/// The desk.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    expected: BTreeMap<Key, TorrentId>,
    order: VecDeque<(Instant, Key)>,
    connections: BTreeMap<SocketAddr, Connection>,
}

impl Desk {
    /// A torrent sends a datagram to a tracker.
    pub(crate) fn send(&mut self, now: Instant, torrent: TorrentId, to: SocketAddr, data: Vec<u8>) -> Sent {
        let Ok(request) = Request::parse(&data) else { return Sent::Out(data) };
        let transaction = request.transaction();
        let connect = matches!(request, Request::Connect { .. });
        if connect && let Some(connection) = self.connections.get_mut(&to).filter(|c| now < c.until) {
            if let Some(id) = connection.id {
                return Sent::Answer(connect_reply(transaction, id).to_vec());
            }
            connection.waiting.push(transaction);
            self.expect(now, (to, transaction), torrent);
            return Sent::Held;
        }
        if connect {
            // Who waited for an answer that did not come has the next one.
            let waiting = self.connections.remove(&to).map(|c| c.waiting).unwrap_or_default();
            let asked = Connection { id: None, until: now + ASKED_LIFE, waiting };
            if self.connections.len() >= CONNECTIONS_MAX {
                self.connections.retain(|_, c| now < c.until);
            }
            if self.connections.len() >= CONNECTIONS_MAX {
                self.connections.pop_first();
            }
            self.connections.insert(to, asked);
        }
        self.expect(now, (to, transaction), torrent);
        Sent::Out(data)
    }

    fn expect(&mut self, now: Instant, key: Key, torrent: TorrentId) {
        while self.order.front().is_some_and(|(at, _)| *at + ANSWER_LIFE <= now) || self.order.len() >= EXPECTED_MAX {
            let Some((_, key)) = self.order.pop_front() else { break };
            self.expected.remove(&key);
        }
        // What is repeated keeps its number, and the place that it has.
        if self.expected.insert(key, torrent).is_none() {
            self.order.push_back((now, key));
        }
    }

    /// A datagram came: whom it is for, and what each of them is told. Nobody: nobody asked.
    pub(crate) fn received(&mut self, now: Instant, from: SocketAddr, data: Vec<u8>) -> Vec<(TorrentId, Vec<u8>)> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Ok(response) = Response::parse(&data, from.ip()) else { return Vec::new() };
        let Some(torrent) = self.expected.remove(&(from, response.transaction())) else { return Vec::new() };
        let mut answers = vec![(torrent, data)];
        match response {
            Response::Connect { connection: id, .. } => {
                let until = now + CONNECTION_LIFE;
                let fresh = Connection { id: Some(id), until, waiting: Vec::new() };
                let waiting = self.connections.insert(from, fresh).map(|c| c.waiting).unwrap_or_default();
                for transaction in waiting {
                    if let Some(torrent) = self.expected.remove(&(from, transaction)) {
                        answers.push((torrent, connect_reply(transaction, id).to_vec()));
                    }
                }
            }
            // It may have been restarted, and know our connection id no more.
            Response::Error { .. } => drop(self.connections.remove(&from)),
            Response::Announce { .. } | Response::Scrape { .. } => {}
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::tracker::udp::{connect_request, write_error, write_scrape_request};

    const A: TorrentId = TorrentId(1);
    const B: TorrentId = TorrentId(2);

    fn tracker() -> SocketAddr {
        "192.0.2.1:6969".parse().expect("an address")
    }

    fn ask(desk: &mut Desk, at: u64, torrent: TorrentId, transaction: u32) -> Sent {
        desk.send(Instant::from_secs(at), torrent, tracker(), connect_request(transaction).to_vec())
    }

    #[test]
    fn one_question_answers_all_and_its_answer_serves_for_a_while() {
        let mut desk = Desk::default();
        assert_eq!(ask(&mut desk, 0, A, 10), Sent::Out(connect_request(10).to_vec()));
        assert_eq!(ask(&mut desk, 0, B, 20), Sent::Held);
        let (reply, now) = (connect_reply(10, 77).to_vec(), Instant::from_secs(1));
        let elsewhere = "192.0.2.2:6969".parse().expect("an address");
        assert_eq!(desk.received(now, elsewhere, reply.clone()), []);
        let answers = desk.received(now, tracker(), reply.clone());
        assert_eq!(answers, [(A, reply.clone()), (B, connect_reply(20, 77).to_vec())]);
        assert_eq!(desk.received(now, tracker(), reply), [], "twice");
        assert_eq!(ask(&mut desk, 50, B, 21), Sent::Answer(connect_reply(21, 77).to_vec()));
        assert_eq!(ask(&mut desk, 57, B, 22), Sent::Out(connect_request(22).to_vec()));
    }

    #[test]
    fn a_lost_question_is_asked_again_and_an_error_ends_the_connection() {
        let mut desk = Desk::default();
        ask(&mut desk, 0, A, 10);
        assert_eq!(ask(&mut desk, 1, B, 20), Sent::Held);
        assert_eq!(ask(&mut desk, 15, A, 10), Sent::Out(connect_request(10).to_vec()), "repeated");
        let now = Instant::from_secs(16);
        assert_eq!(desk.received(now, tracker(), connect_reply(10, 5).to_vec()).len(), 2, "B waited, too");
        let mut scrape = Vec::new();
        write_scrape_request(5, 30, &[], &mut scrape);
        assert_eq!(desk.send(now, B, tracker(), scrape.clone()), Sent::Out(scrape));
        let mut error = Vec::new();
        write_error(30, "who are you?", &mut error);
        assert_eq!(desk.received(now, tracker(), error.clone()), [(B, error)]);
        assert_eq!(ask(&mut desk, 16, A, 11), Sent::Out(connect_request(11).to_vec()));
    }

    #[test]
    fn what_is_expected_is_bounded() {
        let mut desk = Desk::default();
        for i in 0..2 * EXPECTED_MAX as u32 {
            ask(&mut desk, 0, A, i);
        }
        assert!(desk.expected.len() <= EXPECTED_MAX && desk.order.len() <= EXPECTED_MAX);
        ask(&mut desk, 100, A, 7);
        assert_eq!((desk.expected.len(), desk.order.len()), (1, 1));
    }
}
