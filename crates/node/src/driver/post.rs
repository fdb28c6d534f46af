//! Letters between the loops. Those of one turn go together, with one wake-up for all; a connection that moves takes its
//! socket along, and what is half sent of it.

use super::conn::{Conn, Flags};
use super::{Driver, Msg};
use crate::disk::mailbox::Inbox;
use crate::rope::Rope;
use base::Instant;
use engine::{Input, Letter};
use std::sync::Arc;

/// The ways to all loops of a node, and what is to go there at the end of the turn.
pub(crate) struct Post {
    boxes: Arc<[Arc<Inbox<Msg>>]>,
    bags: Vec<Vec<Msg>>,
}

impl Post {
    pub(crate) fn new(boxes: Arc<[Arc<Inbox<Msg>>]>) -> Self {
        Post { bags: boxes.iter().map(|_| Vec::new()).collect(), boxes }
    }

    /// Sends what was written in this turn.
    pub(super) fn send(&mut self) {
        for (inbox, bag) in self.boxes.iter().zip(&mut self.bags).filter(|(_, bag)| !bag.is_empty()) {
            inbox.put(bag);
        }
    }
}

impl Driver {
    /// Puts a letter into the bag, with the connection that goes along.
    pub(super) fn post(&mut self, letter: Letter<Rope>) {
        let mut conn = letter.conn().and_then(|id| self.take_out(id));
        if let Some(conn) = &mut conn {
            // What can't be taken off the list here is put on none there, and ends.
            let _ = self.poll.registry().deregister(&mut conn.stream);
            let Flags { readable, writable, hung_up, wants, .. } = conn.flags;
            conn.flags = Flags { readable, writable, hung_up, wants, ..Flags::default() };
        }
        let to = letter.to().index();
        if let Some(bag) = self.post.bags.get_mut(to) {
            bag.push(Msg::Letter(letter, conn.map(Box::new)));
        }
    }

    /// A letter has come, perhaps with a connection.
    pub(super) fn letter(&mut self, now: Instant, letter: Letter<Rope>, conn: Option<Box<Conn>>) {
        let id = letter.conn();
        let slot = conn.and_then(|conn| self.insert(*conn).ok());
        self.handle(now, Input::Letter(letter));
        match (slot, id) {
            (Some(slot), _) => {
                self.queue_read(slot);
                self.queue_write(slot);
            }
            // Its socket did not make it.
            (None, Some(conn)) => self.handle(now, Input::Closed { conn }),
            (None, None) => {}
        }
    }
}
