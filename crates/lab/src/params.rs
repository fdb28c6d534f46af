//! What a run may be told on the command line, by name.

use std::fmt::Write as _;

/// Why a parameter is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// There is none of this name.
    #[error("no parameter of this scenario is called {name:?}; there are {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The value is no number, or not in the range.
    #[error("{name} can't be {value:?}; a whole number from {min} to {max} with K, M, G, KiB, MiB or GiB behind it is")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it was to be.
        value: String,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

macro_rules! params {
    ($(#[doc = $about:literal])* $params:ident; $($(#[doc = $doc:literal])* $field:ident: $name:literal, $min:expr, $max:expr;)*) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $params {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl $params {
            /// Name, least value, most value and meaning of each parameter.
            pub const ALL: &[(&str, u64, u64, &str)] = &[$(($name, $min, $max, concat!($($doc),*)),)*];

            /// Sets one by its name.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), ParamError> {
                let name = name.trim_start_matches('-');
                match name {
                    $($name => {
                        let bad = || ParamError::Value { name: $name, value: value.into(), min: $min, max: $max };
                        self.$field = number(value).filter(|n| ($min..=$max).contains(n)).ok_or_else(bad)?;
                    })*
                    _ => {
                        let known = Self::ALL.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
                        return Err(ParamError::Unknown { name: name.into(), known });
                    }
                }
                Ok(())
            }

            /// What must be said to get from `default` to these.
            pub fn flags(&self, default: &Self) -> String {
                let mut out = String::new();
                $(if self.$field != default.$field {
                    // Writing to a string can't fail.
                    let _ = write!(out, " --{} {}", $name, self.$field);
                })*
                out
            }
        }
    };
}

params! {
    /// The size of a run. What a seed draws beyond it is in [`crate::Features`].
    Params;
    /// Peers that come without anything.
    leechers: "leechers", 1, 200_000;
    /// Peers that come with everything.
    seeds: "seeds", 1, 1_000;
    /// Pieces.
    pieces: "pieces", 1, 100_000;
    /// Bytes in a piece.
    piece_length: "piece-length", 1 << 14, 1 << 24;
    /// Bytes in a block.
    block: "block", 1 << 14, 1 << 24;
    /// Uplink of a leecher, bytes a second.
    up: "up", 1_000, 10_000_000_000;
    /// Downlink of a leecher, bytes a second.
    down: "down", 1_000, 10_000_000_000;
    /// Up- and downlink of a seed, bytes a second.
    seed_up: "seed-up", 1_000, 10_000_000_000;
    /// Virtual seconds after which it counts as stuck.
    limit: "limit", 1, 10_000_000;
    /// 1: the seed draws features and weather, too. 0: a plain run.
    draw: "draw", 0, 1;
    /// 1: every sentence is checked against the protocol, and every engine after each step. 0: for large runs.
    watch: "watch", 0, 1;
}

params! {
    /// The size of a run in the DHT.
    DhtParams;
    /// Nodes of the network.
    nodes: "nodes", 10, 1_000_000;
    /// Lookups, each of a point drawn by chance, by somebody else.
    lookups: "lookups", 1, 100_000;
    /// Questions of one lookup that are out at once.
    alpha: "alpha", 1, 16;
    /// 1: buckets near the top hold more nodes, as in production. 0: eight, as in the paper.
    wide: "wide", 0, 1;
    /// Percent of the nodes that everybody has in his table and that don't answer.
    dead: "dead", 0, 90;
    /// Percent of the datagrams that are lost.
    loss: "loss", 0, 50;
    /// Half of all round trips take so many milliseconds at most.
    rtt: "rtt", 1, 10_000;
    /// 1: round trips differ as they do between homes. 0: each takes as long.
    spread: "spread", 0, 1;
}

impl Default for DhtParams {
    fn default() -> Self {
        DhtParams { nodes: 1_000, lookups: 500, alpha: 5, wide: 1, dead: 0, loss: 0, rtt: 120, spread: 1 }
    }
}

impl Default for Params {
    fn default() -> Self {
        Params {
            leechers: 100,
            seeds: 1,
            pieces: 80,
            piece_length: 64 << 10,
            block: 16 << 10,
            up: 250_000,
            down: 1_000_000,
            seed_up: 1_000_000,
            limit: 3_600,
            draw: 1,
            watch: 1,
        }
    }
}

impl Params {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.pieces * self.piece_length
    }
}

/// Reads 250000, 250K, 16KiB.
fn number(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[digits..] {
        "" => 1,
        "K" | "k" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_by_name_and_said_again() {
        let (default, mut p) = (Params::default(), Params::default());
        p.set("leechers", "1000").unwrap();
        p.set("--up", "2M").unwrap();
        assert_eq!(p.flags(&default), " --leechers 1000 --up 2000000");
        assert!(matches!(p.set("colour", "1"), Err(ParamError::Unknown { known, .. }) if known.contains("seeds")));
        assert!(matches!(p.set("seeds", "0"), Err(ParamError::Value { .. })));
        assert!(matches!(p.set("seeds", "-1"), Err(ParamError::Value { .. })));
        assert_eq!(number("16KiB"), Some(16384));
        assert_eq!(number("99999999999G"), None);
    }
}
