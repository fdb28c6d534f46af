//! The four bytes that the picker keeps for each piece.

/// How much a piece is wanted. Stricter than a weight: every `High` piece is asked for before any `Normal` one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Not wanted.
    Skip,
    /// After all others.
    Low,
    /// As most pieces.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// Which list knows more about a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Had, or skipped: the place is its availability.
    Idle,
    /// Wanted and untouched: the place is its position in the order of its priority.
    Fresh,
    /// Some block was asked for or came: the place is its index among the open pieces.
    Open,
}

/// Place (21 bits, as many as [`base::Geometry::PIECES_MAX`] needs), priority (2 bits) and state (2 bits).
#[derive(Clone, Copy)]
pub(super) struct Cell(u32);

const PLACE_BITS: u32 = 21;
const STATE_SHIFT: u32 = PLACE_BITS + 2;

impl Cell {
    /// Largest place, and so the largest availability that is counted.
    pub(super) const PLACE_MAX: u32 = (1 << PLACE_BITS) - 1;

    pub(super) fn new(state: State, priority: Priority, place: u32) -> Self {
        debug_assert!(place <= Self::PLACE_MAX);
        Cell(place | (priority as u32) << PLACE_BITS | (state as u32) << STATE_SHIFT)
    }

    pub(super) fn place(self) -> u32 {
        self.0 & Self::PLACE_MAX
    }

    pub(super) fn priority(self) -> Priority {
        match self.0 >> PLACE_BITS & 3 {
            0 => Priority::Skip,
            1 => Priority::Low,
            2 => Priority::Normal,
            _ => Priority::High,
        }
    }

    pub(super) fn state(self) -> State {
        match self.0 >> STATE_SHIFT {
            0 => State::Idle,
            1 => State::Fresh,
            _ => State::Open,
        }
    }

    pub(super) fn set_place(&mut self, place: u32) {
        debug_assert!(place <= Self::PLACE_MAX);
        self.0 = self.0 & !Self::PLACE_MAX | place;
    }
}
