//! Is a replica still what it should be?

use super::location::{Location, Trouble, pause};
use super::{Content, TRIES};
use crate::entropy;
use base::manifest::Part;

/// How a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be, as far as was looked.
    Good,
    /// It is not there.
    Missing,
    /// Something else is there, in words.
    Altered(String),
    /// Nobody could say, in words.
    Unreachable(String),
}

impl Content {
    /// Looks at a replica: how long it is, and one piece of it by chance, or all with `deep`.
    pub(super) async fn look(&self, part: &Part, location: &Location, deep: bool) -> State {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.try_look(part, location, deep).await {
                Ok(state) => return state,
                Err(Trouble::Missing) => return State::Missing,
                Err(Trouble::Other(why)) => return State::Altered(why),
                Err(trouble) if !trouble.may_pass() || tried == TRIES => {
                    return State::Unreachable(trouble.to_string());
                }
                Err(_) => pause(tried).await,
            }
        }
    }

    pub(super) async fn try_look(&self, part: &Part, location: &Location, deep: bool) -> Result<State, Trouble> {
        let len = self.reader.len(location).await?;
        if len != part.bytes {
            return Ok(State::Altered(format!("it has {len} bytes, and should have {}", part.bytes)));
        }
        let mut pieces = self.pieces(part);
        if !deep {
            let mut rng = entropy::rng().map_err(|e| Trouble::Other(e.to_string()))?;
            let one = pieces.start + rng.below(u64::from(pieces.end - pieces.start)) as u32;
            pieces = one..one + 1;
        }
        let geometry = &self.manifest.geometry;
        for piece in pieces.filter_map(|index| geometry.piece(index)) {
            let (offset, len) = (geometry.piece_offset(piece) - part.offset, u64::from(geometry.piece_len(piece)));
            let bytes = self.reader.read(location, offset, len).await?;
            if !self.is_good(piece, &bytes).await {
                return Ok(State::Altered(format!("piece {piece} has another digest")));
            }
        }
        Ok(State::Good)
    }
}
