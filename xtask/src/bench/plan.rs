//! Which comparisons there are, and which cases each of them has.

use anyhow::{Context, Result};

use super::clients::{Kind, Programs};
use super::data::{self, Set};
use super::options::Options;
use super::record::Figures;
use super::swarm;
use super::transfer::Transfer;

use Kind::{Aria2, Libtorrent, LibtorrentTuned, Ours, Rqbit, Rqbit1};

/// Names, and what they compare.
pub(super) const BENCHES: &[(&str, &str)] = &[
    ("pair", "one seed to one leecher, 2 GiB in tmpfs, pieces of 1 MiB"),
    ("pieces256", "the same with pieces of 256 KiB"),
    ("disk", "the same with pieces of 1 MiB, the leecher writing to a disk"),
    ("small", "a file of 1 MiB, one to one"),
    ("swarm", "one seed and eight leechers, 256 MiB"),
    ("two", "two torrents of 1 GiB at once, one seed to one leecher"),
];

/// One thing to run again and again.
pub(super) struct Case {
    /// Its name within the comparison.
    pub(super) name: String,
    /// The data it needs.
    pub(super) sets: Vec<Set>,
    body: Body,
}

enum Body {
    Transfer(Transfer),
    Swarm(Kind, Set),
}

impl Case {
    /// Runs it once.
    pub(super) fn run(&self, programs: &Programs) -> Result<Figures> {
        match &self.body {
            Body::Transfer(transfer) => transfer.run(programs),
            Body::Swarm(kind, set) => swarm::run(*kind, set, programs),
        }
    }
}

/// Both ends by the same program.
const BOTH: &[(Kind, Kind)] = &[
    (Ours, Ours),
    (Libtorrent, Libtorrent),
    (LibtorrentTuned, LibtorrentTuned),
    (Rqbit, Rqbit),
    (Rqbit1, Rqbit1),
    (Aria2, Aria2),
];

/// Different seeds to the same leecher, and the same seed to different leechers.
const CROSSED: &[(Kind, Kind)] = &[
    (Rqbit1, LibtorrentTuned),
    (Ours, LibtorrentTuned),
    (Libtorrent, LibtorrentTuned),
    (Rqbit1, Ours),
    (Rqbit1, Libtorrent),
    (Rqbit1, Aria2),
];

/// The main ones.
const MAIN: &[(Kind, Kind)] = &[
    (Ours, Ours),
    (Libtorrent, Libtorrent),
    (LibtorrentTuned, LibtorrentTuned),
    (Rqbit1, Rqbit1),
    (Rqbit1, LibtorrentTuned),
    (Rqbit1, Ours),
    (Ours, LibtorrentTuned),
];

/// For what writes to a disk: leechers fed by the same seed, and ours by ours.
const TO_DISK: &[(Kind, Kind)] = &[
    (Ours, Ours),
    (LibtorrentTuned, LibtorrentTuned),
    (Rqbit1, Ours),
    (Rqbit1, Libtorrent),
    (Rqbit1, LibtorrentTuned),
    (Rqbit1, Rqbit1),
];

const TWICE: &[(Kind, Kind)] = &[(Ours, Ours), (LibtorrentTuned, LibtorrentTuned), (Rqbit, Rqbit), (Rqbit1, Rqbit1)];

/// The cases of a comparison that are wanted.
pub(super) fn cases(bench: &str, options: &Options, programs: &Programs) -> Result<Vec<Case>> {
    let place = &programs.place;
    let memory = place.memory("leech");
    let mut cases = match bench {
        "pair" => pairs(&[BOTH, CROSSED].concat(), options, &[data::BIG], &memory),
        "pieces256" => pairs(MAIN, options, &[data::BIG_256K], &memory),
        "disk" => pairs(TO_DISK, options, &[data::BIG], &place.disk("leech")),
        "small" => pairs(BOTH, options, &[data::SMALL], &memory),
        "two" => pairs(TWICE, options, &data::TWO, &memory),
        "swarm" => {
            let usual = BOTH.iter().map(|(kind, _)| *kind).collect();
            let kinds: Vec<Kind> =
                if options.pairs.is_empty() { usual } else { options.pairs.iter().map(|(k, _)| *k).collect() };
            let case = |kind: Kind| Case {
                name: kind.name().to_owned(),
                sets: vec![data::MIDDLE],
                body: Body::Swarm(kind, data::MIDDLE),
            };
            kinds.into_iter().map(case).collect()
        }
        _ => None.with_context(|| format!("no comparison {bench:?}"))?,
    };
    cases.retain(|case| options.wants(&case.name));
    Ok(cases)
}

fn pairs(usual: &[(Kind, Kind)], options: &Options, sets: &[Set], out: &std::path::Path) -> Vec<Case> {
    let pairs = if options.pairs.is_empty() { usual } else { &options.pairs };
    let case = |&(seed, leecher): &(Kind, Kind)| Case {
        name: format!("{}:{}", seed.name(), leecher.name()),
        sets: sets.to_vec(),
        body: Body::Transfer(Transfer { seed, leecher, sets: sets.to_vec(), out: out.to_owned() }),
    };
    pairs.iter().map(case).collect()
}
