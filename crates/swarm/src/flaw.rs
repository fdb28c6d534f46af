//! Deliberate mistakes, for the lab: a checker that finds none of them would find no mistake of ours either.
//!
//! Torrents have flaws only with the cargo feature `flaws`, which nothing but tests turns on; without it the question
//! whether there is one is answered at compile time.

/// A mistake that a torrent makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Picker: asks peers that choke it.
    AsksWhileChoked,
    /// Picker: everybody fetches the pieces in order.
    EverybodyInOrder,
    /// Picker: what a lost or silent peer was asked for is never asked of another.
    ForgetsWhatWasAsked,
    /// Picker: who was asked for what somebody else has sent meanwhile is not told so.
    NeverCancels,
    /// Choker: goes on sending to a peer that it has choked.
    ServesTheChoked,
    /// Choker: the first who want something keep their slots for ever.
    NeverRotates,
    /// Choker: everybody has a slot.
    UnchokesAll,
    /// Blame: nobody is ever banned.
    BansNobody,
    /// Blame: who completed a bad piece is banned for it.
    BansTheLast,
    /// Blame: bad pieces pass for good.
    TrustsEverybody,
    /// Pieces are told to others before they were checked.
    TellsTooEarly,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Flaw; 11] = [
        Flaw::AsksWhileChoked,
        Flaw::EverybodyInOrder,
        Flaw::ForgetsWhatWasAsked,
        Flaw::NeverCancels,
        Flaw::ServesTheChoked,
        Flaw::NeverRotates,
        Flaw::UnchokesAll,
        Flaw::BansNobody,
        Flaw::BansTheLast,
        Flaw::TrustsEverybody,
        Flaw::TellsTooEarly,
    ];
}
