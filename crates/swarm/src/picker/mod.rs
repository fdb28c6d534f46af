//! The picker: which block to ask of whom (BEP 3; "Rarest First and Choke Algorithms Are Enough", Legout 2006).
//!
//! A piece is *fresh* (wanted, untouched), *open* (some block was asked for or came), *had*, or *skipped*. Fresh pieces
//! stand in order of priority, then availability (`buckets`); a change of availability takes constant time. Open
//! pieces alone have a state for each block (`partial`). All others cost eight bytes, or four once nothing is missing.
//!
//! How many peers have a piece is kept in two parts: those who told so piece by piece, and a number of seeds that
//! counts for every piece. That number may be negative: a peer who got its last piece was counted piece by piece and
//! leaves as a seed, and both sums stay right without touching every piece.
//!
//! What is asked for next is in `pick`. Deliberately not here: rates, timeouts and pipelines (the session knows them
//! and says what follows from them in [`PickOpts`]), hashing, and who gets banned ([`crate::blame`]).

mod buckets;
mod cell;
mod check;
mod life;
mod partial;
mod pick;
mod stretch;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use cell::Priority;
pub use life::Received;
pub use partial::BlockState;
pub use pick::{Affinity, Order, PickOpts};
pub use stretch::{Claimant, Rival, Stretch};

use crate::pieces::{Pieces, any_common, ones_common};
use base::{Bitfield, Geometry, PieceIndex};
use buckets::Buckets;
use cell::{Cell, State};
use partial::Partial;
use std::collections::BTreeMap;

/// Decides which block to ask of whom, and remembers what was asked and what came.
pub struct Picker {
    geometry: Geometry,
    /// One for each piece.
    cells: Vec<Cell>,
    /// Fresh pieces by priority: low, normal, high.
    fresh: [Buckets; 3],
    /// Open pieces, in no order.
    open: Vec<Partial>,
    /// Blocks of all open pieces.
    open_blocks: u32,
    have: Bitfield,
    /// Missing and not skipped, open ones included.
    want: Bitfield,
    /// The first wanted piece; the number of pieces if there is none.
    first_wanted: u32,
    /// Peers known to be there, seeds included.
    peers: u32,
    /// Added to each piece's own count of peers; see above.
    seeds: i32,
    order: Order,
    /// Bytes of padding at the end of those pieces that have some.
    padding: BTreeMap<u32, u32>,
}

/// When the number of seeds falls this far below zero, the counts of all pieces are brought down together.
const SEEDS_BELOW_ZERO_MAX: i32 = 256;

impl Picker {
    /// A picker for pieces of which `have` (of the right length; nothing if None) are there already. All others are
    /// wanted with normal priority.
    pub fn new(geometry: Geometry, have: Option<Bitfield>) -> Self {
        let count = geometry.piece_count();
        let have = have.filter(|have| have.len() == count).unwrap_or_else(|| Bitfield::new(count));
        let mut want = Bitfield::new(count);
        let mut cells = Vec::with_capacity(count as usize);
        let mut order = Vec::with_capacity((count - have.count()) as usize);
        for piece in 0..count {
            cells.push(if have.has(piece) {
                Cell::new(State::Idle, Priority::Normal, 0)
            } else {
                want.set(piece);
                order.push(piece);
                Cell::new(State::Fresh, Priority::Normal, order.len() as u32 - 1)
            });
        }
        let first_wanted = order.first().copied().unwrap_or(count);
        Picker {
            geometry,
            cells,
            fresh: [Buckets::default(), Buckets::new(order), Buckets::default()],
            open: Vec::new(),
            open_blocks: 0,
            have,
            want,
            first_wanted,
            peers: 0,
            seeds: 0,
            order: Order::default(),
            padding: BTreeMap::new(),
        }
    }

    /// How everything is cut.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The order in which fresh pieces are opened.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Changes the order in which fresh pieces are opened.
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// Says that the last `bytes` of `piece` are padding between files (BEP 47, BEP 52). Blocks of nothing but padding
    /// are never asked for: they count as received from nobody, and the disk fills them in. For pieces that aren't open.
    /// The first block of a piece is always asked for.
    pub fn set_padding(&mut self, piece: PieceIndex, bytes: u32) {
        if bytes == 0 || piece.0 >= self.geometry.piece_count() {
            // An empty map would keep room for some.
            self.padding.remove(&piece.0);
            return;
        }
        self.padding.insert(piece.0, bytes);
        if self.data_blocks(piece) == self.geometry.block_count(piece) {
            self.padding.remove(&piece.0);
        }
    }

    // What is there and what is missing.

    /// The pieces that we have.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// True if we have `piece`.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.have.has(piece.0)
    }

    /// True if `piece` is missing and not skipped.
    pub fn is_wanted(&self, piece: PieceIndex) -> bool {
        self.want.has(piece.0)
    }

    /// Pieces that are missing and not skipped.
    pub fn wanted_count(&self) -> u32 {
        self.want.count()
    }

    /// True if nothing wanted is missing; skipped pieces may be.
    pub fn is_finished(&self) -> bool {
        self.want.count() == 0
    }

    /// Bytes of wanted pieces that did not come yet.
    pub fn bytes_left(&self) -> u64 {
        let mut bytes = u64::from(self.want.count()) * u64::from(self.geometry.piece_length());
        if let Some(last) = self.geometry.piece_count().checked_sub(1).filter(|last| self.want.has(*last)) {
            bytes -= u64::from(self.geometry.piece_length() - self.geometry.piece_len(PieceIndex(last)));
        }
        let here = self.open.iter().filter(|p| self.want.has(p.piece.0)).map(|p| p.received_bytes(&self.geometry));
        bytes.saturating_sub(here.sum())
    }

    /// True if a peer with these pieces has one that is wanted. Word by word, most often decided by the first.
    pub fn is_interesting(&self, pieces: &Pieces) -> bool {
        match pieces {
            Pieces::None => false,
            Pieces::All => self.want.count() > 0,
            Pieces::Some(bits) => any_common(&self.want, bits),
        }
    }

    /// How much `piece` is wanted.
    pub fn priority(&self, piece: PieceIndex) -> Priority {
        self.cells[piece.index()].priority()
    }

    /// Changes how much `piece` is wanted. Blocks already asked for are still welcome when it is skipped.
    pub fn set_priority(&mut self, piece: PieceIndex, priority: Priority) {
        let Some(cell) = self.cells.get(piece.index()).copied().filter(|cell| cell.priority() != priority) else {
            return;
        };
        match cell.state() {
            State::Open => self.cells[piece.index()] = Cell::new(State::Open, priority, cell.place()),
            State::Fresh | State::Idle => {
                let availability = self.take_out(piece.0);
                self.cells[piece.index()] = Cell::new(State::Idle, priority, availability);
                self.put_back(piece.0);
            }
        }
        self.update_want(piece.0);
    }

    // Who has what.

    /// A peer came with `pieces`. Tell later ones by [`Picker::peer_has`], and all of them when it goes.
    pub fn add_peer(&mut self, pieces: &Pieces) {
        self.peers += 1;
        match pieces {
            Pieces::None => {}
            Pieces::All => self.seeds += 1,
            Pieces::Some(bits) => ones_common(bits, None, 0).for_each(|piece| self.raise(piece)),
        }
    }

    /// A peer went that has `pieces`, those included that it got while it was here.
    pub fn remove_peer(&mut self, pieces: &Pieces) {
        self.peers = self.peers.saturating_sub(1);
        match pieces {
            Pieces::None => {}
            Pieces::All => {
                self.seeds -= 1;
                if self.seeds < -SEEDS_BELOW_ZERO_MAX {
                    self.settle();
                }
            }
            Pieces::Some(bits) => ones_common(bits, None, 0).for_each(|piece| self.lower(piece)),
        }
    }

    /// A peer with every piece came.
    pub fn add_seed(&mut self) {
        self.add_peer(&Pieces::All);
    }

    /// A peer with every piece went.
    pub fn remove_seed(&mut self) {
        self.remove_peer(&Pieces::All);
    }

    /// A peer that is here told all it has, instead of having told nothing (a bitfield message).
    pub fn peer_pieces(&mut self, pieces: &Pieces) {
        self.add_peer(pieces);
        self.peers -= 1;
    }

    /// A peer that is here got `piece`.
    pub fn peer_has(&mut self, piece: PieceIndex) {
        if piece.0 < self.geometry.piece_count() {
            self.raise(piece.0);
        }
    }

    /// A peer that is here lost `piece` (BEP 54).
    pub fn peer_lost(&mut self, piece: PieceIndex) {
        if piece.0 < self.geometry.piece_count() {
            self.lower(piece.0);
        }
    }

    /// How many peers have `piece`, seeds included.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.own_count(piece.0).saturating_add_signed(self.seeds)
    }

    /// Peers counted piece by piece.
    fn own_count(&self, piece: u32) -> u32 {
        let cell = self.cells[piece as usize];
        match cell.state() {
            State::Idle => cell.place(),
            State::Fresh => self.fresh_of(cell).availability_at(cell.place()),
            State::Open => self.open[cell.place() as usize].availability,
        }
    }

    fn raise(&mut self, piece: u32) {
        let cell = &mut self.cells[piece as usize];
        let place = cell.place();
        match cell.state() {
            State::Idle => cell.set_place((place + 1).min(Cell::PLACE_MAX)),
            State::Open => self.open[place as usize].availability += 1,
            State::Fresh => {
                let class = class_of(*cell);
                self.fresh[class].raise(&mut self.cells, place);
            }
        }
    }

    fn lower(&mut self, piece: u32) {
        if self.own_count(piece) == 0 {
            self.lift();
        }
        let cell = &mut self.cells[piece as usize];
        let place = cell.place();
        match cell.state() {
            State::Idle => cell.set_place(place - 1),
            State::Open => self.open[place as usize].availability -= 1,
            State::Fresh => {
                let class = class_of(*cell);
                self.fresh[class].lower(&mut self.cells, place);
            }
        }
    }

    /// Counts one seed piece by piece from now on: it lost a piece.
    fn lift(&mut self) {
        self.seeds -= 1;
        self.fresh.iter_mut().for_each(Buckets::raise_all);
        self.open.iter_mut().for_each(|partial| partial.availability += 1);
        for cell in self.cells.iter_mut().filter(|cell| cell.state() == State::Idle) {
            cell.set_place((cell.place() + 1).min(Cell::PLACE_MAX));
        }
    }

    /// Brings all counts down by what the number of seeds is below zero. Once in hundreds of peers.
    fn settle(&mut self) {
        let idle = self.cells.iter().filter(|cell| cell.state() == State::Idle).map(|cell| cell.place());
        let fresh = self.fresh.iter().filter_map(Buckets::availability_min);
        let open = self.open.iter().map(|partial| partial.availability);
        let by = idle.chain(fresh).chain(open).min().unwrap_or(0).min(self.seeds.min(0).unsigned_abs());
        self.seeds += by as i32;
        self.fresh.iter_mut().for_each(|buckets| buckets.lower_all(by));
        self.open.iter_mut().for_each(|partial| partial.availability -= by);
        for cell in self.cells.iter_mut().filter(|cell| cell.state() == State::Idle) {
            cell.set_place(cell.place() - by);
        }
    }

    // Moves between the states of a piece.

    fn fresh_of(&self, cell: Cell) -> &Buckets {
        &self.fresh[class_of(cell)]
    }

    /// Takes a fresh or idle piece out of wherever it stands; says its count.
    fn take_out(&mut self, piece: u32) -> u32 {
        let cell = self.cells[piece as usize];
        match cell.state() {
            State::Fresh => self.fresh[class_of(cell)].remove(&mut self.cells, cell.place()),
            _ => cell.place(),
        }
    }

    /// Makes an idle piece fresh, if it is missing and not skipped.
    fn put_back(&mut self, piece: u32) {
        let cell = self.cells[piece as usize];
        if self.have.has(piece) || cell.priority() == Priority::Skip {
            return;
        }
        self.cells[piece as usize] = Cell::new(State::Fresh, cell.priority(), 0);
        self.fresh[class_of(cell)].insert(&mut self.cells, piece, cell.place());
    }

    fn update_want(&mut self, piece: u32) {
        if self.have.has(piece) || self.cells[piece as usize].priority() == Priority::Skip {
            self.want.clear(piece);
            if piece == self.first_wanted {
                self.first_wanted = ones_common(&self.want, None, piece).next().unwrap_or(self.want.len());
            }
        } else {
            self.want.set(piece);
            self.first_wanted = self.first_wanted.min(piece);
        }
    }

    fn open_at(&self, piece: PieceIndex) -> Option<usize> {
        let cell = self.cells.get(piece.index())?;
        (cell.state() == State::Open).then_some(cell.place() as usize)
    }
}

/// Which of the three orders a wanted piece stands in.
fn class_of(cell: Cell) -> usize {
    (cell.priority() as usize).saturating_sub(1)
}

impl std::fmt::Debug for Picker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Picker { have, want, seeds, peers, .. } = self;
        write!(f, "Picker(have {have:?}, want {want:?}, {} open, {peers} peers, seeds {seeds})", self.open.len())
    }
}
