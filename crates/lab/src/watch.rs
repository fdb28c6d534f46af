//! Reads along on every connection, and knows the protocol (BEP 3, BEP 6) better than it was asked to.
//!
//! Each direction is followed twice: as it was said, and as it was heard, which is later. A peer is judged by what it
//! had heard when it spoke. What is checked:
//!
//! - asking: only for whole blocks of pieces that the other has and that one lacks, when interested, not while choked
//!   (allowed fast pieces excepted), not twice at once, and not without end;
//! - answering: only what was asked for and is still wanted, and not to whom one chokes;
//! - telling: have, bitfield and their like only of pieces that are good on the disk, each once, bitfields first.

use crate::net::{ConnKey, Side};
use crate::payload::Payload;
use crate::queue::PeerIx;
use base::{Bitfield, Geometry, Payload as _, Plan};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wire::{Decoder, Handshake, Limits, Message};

/// Requests that may be open on one connection: what we tell others that we take, and accept ourselves.
const REQUESTS_MAX: usize = 2000;

/// What was said, as far as it matters here.
#[derive(Clone, Debug)]
enum Line {
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bits(Bitfield),
    Request(u32, u32, u32),
    Cancel(u32, u32),
    Reject(u32, u32),
    Allowed(u32),
    Block(u32, u32, u32),
}

/// What somebody has made known up to some point of the stream.
#[derive(Debug, Default)]
struct Known {
    choking: bool,
    interested: bool,
    have: Option<Bitfield>,
    allowed: BTreeSet<u32>,
    /// Open requests: piece, begin and length, and how often; one may be made again before the reject of a first that
    /// was taken back has arrived.
    requests: BTreeMap<(u32, u32, u32), u32>,
}

/// One direction of a connection.
#[derive(Debug)]
struct Voice {
    greeting: Vec<u8>,
    fast: bool,
    decoder: Decoder<Payload>,
    /// A message that must come first has not been ruled out yet.
    fresh: bool,
    said_bytes: u64,
    heard_bytes: u64,
    under_way: VecDeque<(u64, Line)>,
    said: Known,
    heard: Known,
}

impl Voice {
    fn new(geometry: &Geometry) -> Self {
        let limits = Limits::of_torrent(geometry.piece_count(), geometry.block_size());
        let known = || Known { choking: true, ..Known::default() };
        Voice {
            greeting: Vec::new(),
            fast: false,
            decoder: Decoder::new(limits),
            fresh: true,
            said_bytes: 0,
            heard_bytes: 0,
            under_way: VecDeque::new(),
            said: known(),
            heard: known(),
        }
    }
}

/// Both directions: what the dialler says, and what the dialled says.
#[derive(Debug)]
struct Talk {
    voices: [Voice; 2],
}

/// The reader.
#[derive(Debug)]
pub(crate) struct Watch {
    plan: Arc<Plan>,
    talks: BTreeMap<ConnKey, Talk>,
}

impl Watch {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Watch { plan, talks: BTreeMap::new() }
    }

    /// A connection is there.
    pub(crate) fn open(&mut self, key: ConnKey, _peers: [PeerIx; 2]) {
        let voice = || Voice::new(&self.plan.geometry);
        self.talks.insert(key, Talk { voices: [voice(), voice()] });
    }

    /// A connection is gone.
    pub(crate) fn close(&mut self, key: ConnKey) {
        self.talks.remove(&key);
    }

    /// `data` leaves on this side, whose disk holds `good`. The error says what is wrong with it.
    pub(crate) fn said(
        &mut self,
        key: ConnKey,
        side: Side,
        data: &Payload,
        good: &Bitfield,
        rotted: bool,
    ) -> Result<(), String> {
        let Some(talk) = self.talks.get_mut(&key) else { return Ok(()) };
        let voice = &mut talk.voices[side as usize];
        let mut data = data.clone();
        voice.said_bytes += data.len() as u64;
        let end = voice.said_bytes;
        if voice.greeting.len() < Handshake::LEN {
            let mut head = vec![0; data.len().min(Handshake::LEN - voice.greeting.len())];
            data.split_to(head.len()).copy_prefix(&mut head);
            voice.greeting.extend(head);
            match Handshake::parse(&voice.greeting) {
                Ok(None) => return Ok(()),
                Ok(Some(handshake)) => voice.fast = handshake.reserved.fast(),
                Err(e) => return Err(e.to_string()),
            }
        }
        voice.decoder.feed(data);
        loop {
            let voice = &mut talk.voices[side as usize];
            let Some(event) = voice.decoder.poll().map_err(|e| format!("says nonsense: {e}"))? else { break };
            // Where this message ends, as far back as what is still undecoded.
            let at = end - (voice.decoder.buffered() as u64).min(end);
            let first = voice.fresh;
            let Some(line) = line(event, &mut voice.fresh, &self.plan.geometry)? else { continue };
            talk.judge(side, &line, first, &self.plan.geometry, (!rotted).then_some(good))?;
            talk.say(side, &line);
            talk.voices[side as usize].under_way.push_back((at, line));
        }
        Ok(())
    }

    /// The other side has read `bytes` more.
    pub(crate) fn heard(&mut self, key: ConnKey, side: Side, bytes: usize) {
        let Some(talk) = self.talks.get_mut(&key) else { return };
        let voice = &mut talk.voices[side as usize];
        voice.heard_bytes += bytes as u64;
        while let Some((_, line)) = talk.voices[side as usize].next_heard() {
            talk.hear(side, line);
        }
    }
}

impl Voice {
    fn next_heard(&mut self) -> Option<(u64, Line)> {
        let heard = self.heard_bytes;
        self.under_way.pop_front_if(|(at, _)| *at <= heard)
    }
}

impl Talk {
    /// Is `line` right, said from this side now?
    fn judge(
        &self,
        side: Side,
        line: &Line,
        first: bool,
        geometry: &Geometry,
        good: Option<&Bitfield>,
    ) -> Result<(), String> {
        let me = &self.voices[side as usize];
        let other = &self.voices[side.other() as usize];
        let truly = |p: u32| good.is_none_or(|good| good.has(p));
        match line {
            Line::Request(p, b, len) => {
                if geometry.block(*p, *b, *len).is_none() {
                    return Err(format!("asks for {len} bytes at {b} of piece {p}, which is no block"));
                }
                if !other.heard.has(*p) {
                    return Err(format!("asks for piece {p}, which the other does not have"));
                }
                if me.said.has(*p) {
                    return Err(format!("asks for piece {p}, which it has"));
                }
                if other.heard.choking && !other.heard.allowed.contains(p) {
                    return Err(format!("asks for piece {p} while it is choked"));
                }
                if !me.said.interested {
                    return Err(format!("asks for piece {p} without being interested"));
                }
                if me.said.requests.contains_key(&(*p, *b, *len)) {
                    return Err(format!("asks twice for the block at {b} of piece {p}"));
                }
                if me.said.requests.len() >= REQUESTS_MAX {
                    return Err(format!("has {} requests open", me.said.requests.len()));
                }
            }
            Line::Block(p, b, len) => {
                if !other.heard.requests.contains_key(&(*p, *b, *len)) {
                    return Err(format!("sends {len} bytes at {b} of piece {p}, which nobody asked for"));
                }
                if me.said.choking && !me.said.allowed.contains(p) {
                    return Err(format!("sends piece {p} to a peer that it chokes"));
                }
            }
            Line::Have(p) if !truly(*p) => return Err(format!("says that it has piece {p}, which it has not")),
            Line::Have(p) if me.said.has(*p) => return Err(format!("says twice that it has piece {p}")),
            Line::Bits(bits) => {
                if !first {
                    return Err("sends a bitfield later than at first".into());
                }
                if let Some(p) = bits.ones().find(|p| !truly(*p)) {
                    return Err(format!("says that it has piece {p}, which it has not"));
                }
            }
            Line::Reject(..) | Line::Allowed(_) if !me.fast || !other.fast => {
                return Err("uses the fast extension, which the other lacks".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// `line` was said.
    fn say(&mut self, side: Side, line: &Line) {
        let fast = self.voices.iter().all(|v| v.fast);
        self.voices[side as usize].said.learn(line);
        match line {
            // What the other asked for is answered.
            Line::Block(p, b, _) | Line::Reject(p, b) => {
                answered(&mut self.voices[side.other() as usize].heard.requests, *p, *b);
            }
            Line::Choke if !fast => self.voices[side.other() as usize].heard.requests.clear(),
            Line::Cancel(p, b) => {
                answered(&mut self.voices[side as usize].said.requests, *p, *b);
            }
            _ => {}
        }
    }

    /// `line` from this side was heard at the other.
    fn hear(&mut self, side: Side, line: Line) {
        let fast = self.voices.iter().all(|v| v.fast);
        self.voices[side as usize].heard.learn(&line);
        let mine = &mut self.voices[side.other() as usize].said.requests;
        match line {
            Line::Block(p, b, _) | Line::Reject(p, b) => answered(mine, p, b),
            Line::Choke if !fast => mine.clear(),
            _ => {}
        }
    }
}

impl Known {
    fn has(&self, piece: u32) -> bool {
        self.have.as_ref().is_some_and(|have| have.has(piece))
    }

    fn learn(&mut self, line: &Line) {
        match line {
            Line::Choke => self.choking = true,
            Line::Unchoke => self.choking = false,
            Line::Interested => self.interested = true,
            Line::NotInterested => self.interested = false,
            Line::Have(p) => {
                let need = (*p + 1).max(self.have.as_ref().map_or(0, Bitfield::len));
                let have = self.have.get_or_insert_with(|| Bitfield::new(need));
                if have.len() < need {
                    let mut wider = Bitfield::new(need);
                    have.ones().for_each(|p| {
                        wider.set(p);
                    });
                    *have = wider;
                }
                have.set(*p);
            }
            Line::Bits(bits) => self.have = Some(bits.clone()),
            Line::Request(p, b, len) => {
                *self.requests.entry((*p, *b, *len)).or_default() += 1;
            }
            Line::Allowed(p) => {
                self.allowed.insert(*p);
            }
            Line::Cancel(..) | Line::Reject(..) | Line::Block(..) => {}
        }
    }
}

/// One request for the block at `begin` of `piece` is done with.
fn answered(requests: &mut BTreeMap<(u32, u32, u32), u32>, piece: u32, begin: u32) {
    let key = requests.range((piece, begin, 0)..=(piece, begin, u32::MAX)).next().map(|(key, _)| *key);
    if let Some(key) = key
        && let Some(count) = requests.get_mut(&key)
    {
        *count -= 1;
        if *count == 0 {
            requests.remove(&key);
        }
    }
}

/// What an event says, if it matters here. `fresh` is cleared by anything behind which a bitfield may not come.
fn line(event: wire::Event<Payload>, fresh: &mut bool, geometry: &Geometry) -> Result<Option<Line>, String> {
    let pieces = geometry.piece_count();
    let line = match event {
        wire::Event::Block { piece, begin, data } => Some(Line::Block(piece, begin, data.len() as u32)),
        wire::Event::Message(message) => match message {
            Message::Choke => Some(Line::Choke),
            Message::Unchoke => Some(Line::Unchoke),
            Message::Interested => Some(Line::Interested),
            Message::NotInterested => Some(Line::NotInterested),
            Message::Have(p) => Some(Line::Have(p)),
            Message::Bitfield(bytes) => {
                Some(Line::Bits(Bitfield::from_bytes(&bytes, pieces).ok_or("sends a bitfield that does not fit")?))
            }
            Message::HaveAll => Some(Line::Bits(Bitfield::full(pieces))),
            Message::HaveNone => Some(Line::Bits(Bitfield::new(pieces))),
            Message::Request { piece, begin, len } => Some(Line::Request(piece, begin, len)),
            Message::Cancel { piece, begin, .. } => Some(Line::Cancel(piece, begin)),
            Message::Reject { piece, begin, .. } => Some(Line::Reject(piece, begin)),
            Message::AllowedFast(p) => Some(Line::Allowed(p)),
            Message::Extended { .. } => return Ok(None),
            _ => None,
        },
    };
    *fresh = false;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Taint;
    use base::{Checks, InfoHash, Layout, PeerId, PieceIndex};
    use wire::{Reserved, block_header, encode};

    const KEY: ConnKey = ConnKey { index: 0, made: 1 };

    struct Scene {
        watch: Watch,
        good: [Bitfield; 2],
    }

    fn scene() -> Scene {
        let geometry = Geometry::new(64, 16, 16).unwrap();
        let plan = Plan::new(geometry, Layout::single("x".into(), 64, false), Checks::default());
        let mut watch = Watch::new(Arc::new(plan));
        watch.open(KEY, [0, 1]);
        let mut scene = Scene { watch, good: [Bitfield::new(4), Bitfield::full(4)] };
        let reserved = Reserved::NONE.with_fast();
        let greeting = Handshake { reserved, info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]) }.encode();
        for side in [Side::Dialler, Side::Dialled] {
            scene.say(side, Payload::real(greeting.to_vec())).unwrap();
        }
        scene
    }

    impl Scene {
        fn say(&mut self, side: Side, data: Payload) -> Result<(), String> {
            let n = data.len();
            self.watch.said(KEY, side, &data, &self.good[side as usize], false)?;
            self.watch.heard(KEY, side, n);
            Ok(())
        }

        fn tell(&mut self, side: Side, message: &Message) -> Result<(), String> {
            let mut bytes = Vec::new();
            encode(message, &mut bytes);
            self.say(side, Payload::real(bytes))
        }

        fn block(&mut self, side: Side, piece: u32) -> Result<(), String> {
            let mut data = Payload::real(block_header(piece, 0, 16).to_vec());
            data.append(Payload::block(PieceIndex(piece), 0, 16, Taint::NONE));
            self.say(side, data)
        }
    }

    fn request(piece: u32) -> Message {
        Message::Request { piece, begin: 0, len: 16 }
    }

    #[test]
    fn a_proper_exchange_passes() {
        let mut s = scene();
        let (leecher, seed) = (Side::Dialler, Side::Dialled);
        s.tell(leecher, &Message::HaveNone).unwrap();
        s.tell(seed, &Message::HaveAll).unwrap();
        s.tell(leecher, &Message::Interested).unwrap();
        s.tell(seed, &Message::AllowedFast(3)).unwrap();
        s.tell(leecher, &request(3)).unwrap();
        s.block(seed, 3).unwrap();
        s.good[0].set(3);
        s.tell(leecher, &Message::Have(3)).unwrap();
        s.tell(seed, &Message::Unchoke).unwrap();
        s.tell(leecher, &request(0)).unwrap();
        s.block(seed, 0).unwrap();
        s.tell(leecher, &request(1)).unwrap();
        s.tell(leecher, &Message::Cancel { piece: 1, begin: 0, len: 16 }).unwrap();
        s.tell(seed, &Message::Reject { piece: 1, begin: 0, len: 16 }).unwrap();
        s.tell(leecher, &request(1)).unwrap();
    }

    #[test]
    fn offences_are_named() {
        let (leecher, seed) = (Side::Dialler, Side::Dialled);
        let check = |acts: &[(Side, Message)], want: &str| {
            let mut s = scene();
            s.tell(leecher, &Message::HaveNone).unwrap();
            s.tell(seed, &Message::HaveAll).unwrap();
            let (last, before) = acts.split_last().unwrap();
            before.iter().for_each(|(side, m)| s.tell(*side, m).unwrap());
            let error = s.tell(last.0, &last.1).unwrap_err();
            assert!(error.contains(want), "{error:?} does not say {want:?}");
        };
        check(&[(leecher, Message::Interested), (leecher, request(0))], "while it is choked");
        check(&[(seed, Message::Unchoke), (leecher, request(0))], "without being interested");
        check(
            &[(seed, Message::Unchoke), (leecher, Message::Interested), (leecher, request(0)), (leecher, request(0))],
            "twice",
        );
        check(&[(leecher, Message::Have(1))], "which it has not");
        check(&[(seed, Message::Have(1))], "twice");
        check(&[(seed, Message::Interested), (leecher, Message::Unchoke), (seed, request(1))], "does not have");
        check(&[(seed, Message::Unchoke), (seed, Message::HaveAll)], "later");
        let wrong = Message::Request { piece: 0, begin: 1, len: 15 };
        check(&[(seed, Message::Unchoke), (leecher, Message::Interested), (leecher, wrong)], "no block");

        let mut s = scene();
        assert!(s.block(seed, 0).unwrap_err().contains("nobody asked"));
        let mut s = scene();
        s.tell(seed, &Message::HaveAll).unwrap();
        for (side, m) in
            [(seed, Message::Unchoke), (leecher, Message::Interested), (leecher, request(0)), (seed, Message::Choke)]
        {
            s.tell(side, &m).unwrap();
        }
        assert!(s.block(seed, 0).unwrap_err().contains("chokes"));
    }
}
