//! The extended handshake (BEP 10), and the info dictionary, given and fetched (BEP 9).

use super::Torrent;
use super::messages::Violation;
use crate::pieces::PeerSlot;
use crate::session::{Extensions, UPLOAD_QUEUE_MAX};
use crate::{Event, Source};
use base::{Instant, Payload};
use std::sync::Arc;
use wire::extended::{
    ExtendedHandshake, Extension, HANDSHAKE_ID, METADATA_PIECE_LEN, Metadata, PeerIds, metadata_piece_count,
    metadata_piece_len,
};
use wire::message::Message;

/// Times that the whole dictionary is served to one connection.
const METADATA_SERVED_MAX: u32 = 3;
/// Refusals after which a peer that goes on asking is dropped.
const METADATA_REFUSED_MAX: u16 = 256;

impl<P: Payload> Torrent<P> {
    /// The first words of a session: what we have, and what we can.
    pub(super) fn greet(&mut self, slot: PeerSlot) {
        let pex = self.exchanges().then_some(Extension::Pex);
        let upload_only = self.is_complete();
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.extended {
            let hello = ExtendedHandshake {
                ids: PeerIds::local([Extension::Metadata].into_iter().chain(pex)),
                port: (self.settings.port != 0).then_some(self.settings.port),
                client: Some(self.settings.client.clone()),
                your_ip: Some(s.addr.ip()),
                request_queue: Some(UPLOAD_QUEUE_MAX as u32),
                metadata_size: self.info.as_ref().and_then(|i| u32::try_from(i.len()).ok()),
                upload_only: upload_only.then_some(true),
                ..Default::default()
            };
            s.say(&Message::Extended { id: HANDSHAKE_ID, payload: hello.encode().into() });
        }
        let have = self.open.as_ref().map(|o| o.picker.have());
        match have {
            Some(have) if have.is_full() && s.fast => s.say(&Message::HaveAll),
            Some(have) if have.count() > 0 => s.say(&Message::Bitfield(have.as_bytes().into())),
            _ if s.fast => s.say(&Message::HaveNone),
            _ => {}
        }
    }

    /// All who can hear it are told whether we want anything (BEP 21): a seed of a part looks like somebody who fetches.
    pub(super) fn tell_upload_only(&mut self, upload_only: bool) {
        let hello = ExtendedHandshake { upload_only: Some(upload_only), ..Default::default() };
        let payload: Box<[u8]> = hello.encode().into();
        let mut woken = Vec::new();
        for s in self.sessions.values_mut().filter(|s| s.ext.is_some()) {
            s.say(&Message::Extended { id: HANDSHAKE_ID, payload: payload.clone() });
            woken.push(s.slot);
        }
        woken.into_iter().for_each(|slot| self.wake(slot));
    }

    /// An extended message.
    pub(super) fn extended(&mut self, now: Instant, slot: PeerSlot, id: u8, payload: &[u8]) -> Result<(), Violation> {
        if id == HANDSHAKE_ID {
            return self.extended_handshake(now, slot, payload);
        }
        match Extension::from_local(id) {
            Some(Extension::Metadata) => match Metadata::parse(payload) {
                Ok(Metadata::Request { piece }) => self.metadata_asked(slot, piece),
                Ok(Metadata::Data { piece, data, .. }) => {
                    self.metadata_came(now, slot, piece, data);
                    Ok(())
                }
                Ok(Metadata::Reject { .. }) => {
                    self.metadata.gone(slot);
                    if let Some(ext) = self.sessions.get_mut(slot).and_then(|s| s.ext.as_mut()) {
                        ext.metadata_size = None;
                    }
                    self.ask_metadata_of_all(now);
                    Ok(())
                }
                Ok(Metadata::Unknown) => Ok(()),
                Err(_) => Err(Violation),
            },
            Some(Extension::Pex) if self.exchanges() => self.told_of_peers(now, slot, payload),
            // Not offered by us: whoever sends it anyway is not listened to.
            _ => Ok(()),
        }
    }

    fn extended_handshake(&mut self, now: Instant, slot: PeerSlot, payload: &[u8]) -> Result<(), Violation> {
        let hello = ExtendedHandshake::parse(payload).map_err(|_| Violation)?;
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        if let Some(n) = hello.request_queue {
            s.reqq = n.clamp(1, u32::from(u16::MAX)) as u16;
        }
        let ext = s.ext.get_or_insert_with(Box::<Extensions>::default);
        ext.ids.update(hello.ids);
        if let Some(client) = hello.client {
            ext.client = client.into();
        }
        if hello.metadata_size.is_some() {
            ext.metadata_size = hello.metadata_size;
        }
        if let Some(only) = hello.upload_only {
            ext.upload_only = only;
        }
        // Where an incoming peer listens, for later.
        if let (false, Some(port)) = (s.outgoing, hello.port) {
            s.listen_port = port;
            let addr = std::net::SocketAddr::new(s.addr.ip(), port);
            self.candidates.add_connected(addr, Source::Incoming);
        }
        self.begin_exchange(now, slot);
        self.ask_metadata(now, slot);
        self.close_if_both_seeds(now, slot);
        Ok(())
    }

    fn metadata_asked(&mut self, slot: PeerSlot, piece: u32) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let Some(ext) = &mut s.ext else { return Ok(()) };
        let Some(id) = ext.ids.id(Extension::Metadata) else { return Ok(()) };
        let info = self.info.as_deref().unwrap_or_default();
        let size = info.len() as u32;
        let most = metadata_piece_count(size).saturating_mul(METADATA_SERVED_MAX);
        let len = metadata_piece_len(size, piece).filter(|_| ext.metadata_served < most);
        let answer = match len {
            Some(len) => {
                ext.metadata_served += 1;
                let from = (piece * METADATA_PIECE_LEN) as usize;
                Metadata::Data { piece, total_size: size, data: &info[from..from + len as usize] }.encode()
            }
            None => {
                ext.metadata_refused += 1;
                if ext.metadata_refused > METADATA_REFUSED_MAX {
                    return Err(Violation);
                }
                Metadata::Reject { piece }.encode()
            }
        };
        s.say(&Message::Extended { id, payload: answer.into() });
        Ok(())
    }

    /// Asks every peer that has the info dictionary for parts of it, if we lack it.
    pub(super) fn ask_metadata_of_all(&mut self, now: Instant) {
        if self.info.is_none() {
            self.metadata.forget_late(now);
            let slots: Vec<PeerSlot> = self.sessions.keys().collect();
            for slot in slots {
                self.ask_metadata(now, slot);
            }
        }
    }

    fn ask_metadata(&mut self, now: Instant, slot: PeerSlot) {
        let Some(s) = self.sessions.get_mut(slot).filter(|_| self.info.is_none()) else { return };
        let Some(ext) = &s.ext else { return };
        let (Some(id), Some(size)) = (ext.ids.id(Extension::Metadata), ext.metadata_size) else { return };
        for piece in self.metadata.ask(now, slot, size) {
            let ask = Metadata::Request { piece }.encode();
            s.say(&Message::Extended { id, payload: ask.into() });
        }
        if !s.out.is_empty() {
            self.wake(slot);
        }
    }

    fn metadata_came(&mut self, now: Instant, slot: PeerSlot, piece: u32, data: &[u8]) {
        if self.info.is_some() {
            return;
        }
        let Some(whole) = self.metadata.received(slot, piece, data) else {
            self.ask_metadata(now, slot);
            return;
        };
        if self.hashes.match_info(&whole.bytes) {
            let info: Arc<[u8]> = whole.bytes.into();
            if base::Info::is_private(&info) {
                self.became_private(now);
            }
            self.info = Some(info.clone());
            self.metadata = Default::default();
            self.event(Event::Metadata(info));
            return;
        }
        self.metadata.was_bad();
        if let Some(liar) = whole.sender {
            self.ban(now, liar, "sent a wrong info dictionary".into());
        }
        self.ask_metadata_of_all(now);
    }
}
