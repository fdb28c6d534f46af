//! Which comparisons there are, and which cases each of them has.

use anyhow::{Context, Result};

use super::clients::{Kind, Programs};
use super::command::{self, Tool};
use super::data::{self, Set};
use super::options::Options;
use super::record::Figures;
use super::transfer::Transfer;
use super::web::{self, Web};
use super::{idle, many, swarm};

use Kind::{Aria2, Libtorrent, LibtorrentTuned, Ours, Rqbit, Rqbit1};

/// Names, and what they compare.
pub(super) const BENCHES: &[(&str, &str)] = &[
    ("pair", "one seed to one leecher, 2 GiB in tmpfs, pieces of 1 MiB"),
    ("pieces256", "the same with pieces of 256 KiB"),
    ("disk", "the same with pieces of 1 MiB, the leecher writing to a disk"),
    ("small", "a file of 1 MiB, one to one"),
    ("swarm", "one seed and eight leechers, 256 MiB"),
    ("create", "a torrent of 2 GiB in tmpfs, pieces of 1 MiB; the number is of threads"),
    ("verify", "2 GiB in tmpfs checked against a torrent; the number is of threads"),
    ("many", "5,000 torrents of 16 KiB, seeding"),
    ("idle", "2,000 connected peers that do nothing"),
    ("two", "two torrents of 1 GiB at once, one seed to one leecher"),
    (
        "lab",
        "the lab on one core: 1,000 peers x 400 pieces, a block is a piece; and 10,000 engines, a virtual second long",
    ),
    ("web-small", "a file of 1 KiB from a server with one thread, 64 connections that are kept"),
    ("web-large", "2 GiB in tmpfs from a server with one thread to one client"),
    ("web-php", "a page that PHP makes, through FastCGI, 16 connections that are kept"),
    ("web-slow", "1,000 clients that read, or write the heads of their requests, a few bytes at a time"),
    ("get-one", "1 GiB from one web server behind a wire of 500 MiB/s, to tmpfs"),
    ("get-four", "128 MiB from four web servers behind wires of 4 MiB/s each"),
];

/// Is it one of servers, and of downloads from them?
pub(super) fn is_web(bench: &str) -> bool {
    bench.starts_with("web-") || bench.starts_with("get-")
}

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
    Create(Tool),
    Verify(Tool),
    Many(Kind),
    Idle(Kind),
    Lab(&'static [&'static str]),
    Web(Web),
}

impl Case {
    /// Runs it once.
    pub(super) fn run(&self, programs: &Programs) -> Result<Figures> {
        match &self.body {
            Body::Transfer(transfer) => transfer.run(programs),
            Body::Swarm(kind, set) => swarm::run(*kind, set, programs),
            Body::Create(tool) => command::create(*tool, programs),
            Body::Verify(tool) => command::verify(*tool, programs),
            Body::Many(kind) => many::run(*kind, programs),
            Body::Idle(kind) => idle::run(*kind, programs),
            Body::Lab(args) => command::lab(args, programs),
            Body::Web(web) => web.run(programs),
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

/// Runs of `shoal lab`. The second is cut off after a virtual second, before anything is exchanged, and says so.
const LAB: &[(&str, &[&str])] = &[
    ("blocks-1000x400", &["run", "large"]),
    ("engines-10000", &["run", "large", "--leechers", "9999", "--limit", "1"]),
];

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
            let usual: Vec<Kind> = BOTH.iter().map(|(kind, _)| *kind).collect();
            alone(&usual, options, data::MIDDLE, |kind| Body::Swarm(kind, data::MIDDLE))
        }
        "create" => tools(command::CREATE, Body::Create),
        "verify" => tools(command::VERIFY, Body::Verify),
        "many" => alone(&[Ours, Libtorrent, Rqbit], options, data::SMALL, Body::Many),
        "lab" => LAB.iter().map(|(name, args)| lab(name, args)).collect(),
        "idle" => alone(&[Ours, Libtorrent, Rqbit], options, data::MIDDLE, Body::Idle),
        "web-small" => servers(web::SMALL, programs, &[], Web::Small),
        "web-large" => servers(web::LARGE, programs, &[data::BIG], Web::Large),
        "web-php" => servers(web::PHP, programs, &[], Web::Php),
        "web-slow" => web::SLOW.iter().map(|&(kind, slow)| web_case(Web::Slow(kind, slow), &[data::MIDDLE])).collect(),
        "get-one" => {
            let before = programs.before.is_some().then_some(&web::Fetch::Before);
            let all = web::ONE.iter().chain(before);
            all.map(|&fetch| web_case(Web::Fetch(fetch), &[data::TWO[0]])).collect()
        }
        "get-four" => web::FOUR.iter().map(|&fetch| web_case(Web::Fetch(fetch), &[data::MIDDLE])).collect(),
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

/// Cases of one client each; of pairs that were asked for, the seed counts.
fn alone(usual: &[Kind], options: &Options, set: Set, body: fn(Kind) -> Body) -> Vec<Case> {
    let asked: Vec<Kind> = options.pairs.iter().map(|(kind, _)| *kind).collect();
    let kinds = if asked.is_empty() { usual } else { &asked };
    kinds.iter().map(|&kind| Case { name: kind.name().to_owned(), sets: vec![set], body: body(kind) }).collect()
}

fn tools(tools: &[Tool], body: fn(Tool) -> Body) -> Vec<Case> {
    tools.iter().map(|&tool| Case { name: tool.name(), sets: vec![data::BIG], body: body(tool) }).collect()
}

fn web_case(web: Web, sets: &[Set]) -> Case {
    Case { name: web.name(), sets: sets.to_vec(), body: Body::Web(web) }
}

/// A case for each server; another build of ours is one more.
fn servers(kinds: &[web::Kind], programs: &Programs, sets: &[Set], body: fn(web::Kind) -> Web) -> Vec<Case> {
    let before = programs.before.is_some().then_some(&web::Kind::Before);
    kinds.iter().chain(before).map(|&kind| web_case(body(kind), sets)).collect()
}

fn lab(name: &str, args: &'static [&'static str]) -> Case {
    Case { name: name.to_owned(), sets: Vec::new(), body: Body::Lab(args) }
}
