//! The sessions of a torrent by slot, and which of them are awake.
//!
//! What decides whether a session hears of a piece stands beside the sessions, not in them: with each piece all of them are asked,
//! and most need not be touched: they are awake already, or can wait.

use crate::pieces::PeerSlot;
use crate::session::Session;
use base::{ConnId, FlatMap};

#[derive(Debug)]
struct Seat<P> {
    /// A Wake was said and the connection is not drained yet.
    awake: bool,
    /// It is interested and choked: it can do nothing with a have.
    patient: bool,
    session: Box<Session<P>>,
}

/// Sessions in the order in which they came.
#[derive(Debug)]
pub(super) struct Sessions<P> {
    seats: FlatMap<PeerSlot, Seat<P>>,
}

impl<P> Sessions<P> {
    pub(super) const fn new() -> Self {
        Sessions { seats: FlatMap::new() }
    }

    pub(super) fn insert(&mut self, slot: PeerSlot, session: Box<Session<P>>) {
        self.seats.insert(slot, Seat { awake: false, patient: false, session });
    }

    pub(super) fn remove(&mut self, slot: PeerSlot) -> Option<Box<Session<P>>> {
        self.seats.remove(slot).map(|seat| seat.session)
    }

    pub(super) fn get(&self, slot: PeerSlot) -> Option<&Session<P>> {
        self.seats.get(slot).map(|seat| &*seat.session)
    }

    pub(super) fn get_mut(&mut self, slot: PeerSlot) -> Option<&mut Session<P>> {
        self.seats.get_mut(slot).map(|seat| &mut *seat.session)
    }

    /// The session at this place of the order. For loops in which sessions come and go.
    pub(super) fn at_mut(&mut self, at: usize) -> Option<(PeerSlot, &mut Session<P>)> {
        self.seats.at_mut(at).map(|(slot, seat)| (slot, &mut *seat.session))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = PeerSlot> + '_ {
        self.seats.keys()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Session<P>> {
        self.seats.values().map(|seat| &*seat.session)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Session<P>> {
        self.seats.values_mut().map(|seat| &mut *seat.session)
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub(super) fn is_awake(&self, slot: PeerSlot) -> bool {
        self.seats.get(slot).is_some_and(|seat| seat.awake)
    }

    /// Wakes a session: its connection, if it slept.
    pub(super) fn wake(&mut self, slot: PeerSlot) -> Option<ConnId> {
        let seat = self.seats.get_mut(slot)?;
        (!std::mem::replace(&mut seat.awake, true)).then_some(seat.session.conn)
    }

    /// Takes note of whether a session is interested and choked.
    pub(super) fn note_patience(&mut self, slot: PeerSlot) {
        if let Some(seat) = self.seats.get_mut(slot) {
            seat.patient = seat.session.peer_interested && seat.session.am_choking;
        }
    }

    pub(super) fn is_patient(&self, slot: PeerSlot) -> bool {
        self.seats.get(slot).is_some_and(|seat| seat.patient)
    }

    /// Wakes those who sleep and pass `who`, with or without the patient ones; says their connections.
    pub(super) fn wake_all(
        &mut self,
        patient: bool,
        who: impl Fn(&Session<P>) -> bool,
    ) -> impl Iterator<Item = ConnId> {
        let asked = move |seat: &&mut Seat<P>| !seat.awake && (patient || !seat.patient);
        self.seats.values_mut().filter(asked).filter_map(move |seat| {
            seat.awake = who(&seat.session);
            seat.awake.then_some(seat.session.conn)
        })
    }

    /// A session has said everything.
    pub(super) fn sleep(&mut self, slot: PeerSlot) {
        if let Some(seat) = self.seats.get_mut(slot) {
            seat.awake = false;
        }
    }
}
