//! What ours is to reach, each computed from the medians of one record: a share of the best of the others, or a plain number.

use super::super::record::{Record, median};

/// One of them.
pub(super) struct Target {
    /// What is measured, for people.
    pub(super) what: &'static str,
    /// In which comparison.
    pub(super) bench: &'static str,
    /// The case of ours.
    ours: &'static str,
    /// The figure that is to be small.
    figure: &'static str,
    goal: Goal,
}

enum Goal {
    /// At most this share of the smallest of these cases.
    Share(f64, &'static [&'static str]),
    /// At most this.
    Most(f64),
}

/// Pairs of others, both ends.
const PAIRS: &[&str] = &[
    "rqbit-1:libtorrent-tuned",
    "libtorrent-tuned:libtorrent-tuned",
    "libtorrent:libtorrent",
    "libtorrent:libtorrent-tuned",
    "rqbit-1:libtorrent",
    "rqbit-1:rqbit-1",
    "rqbit:rqbit",
    "rqbit-1:aria2",
    "aria2:aria2",
];
/// Leechers of others, fed by the same seed.
const LEECHERS: &[&str] = &["rqbit-1:libtorrent", "rqbit-1:libtorrent-tuned", "rqbit-1:rqbit-1", "rqbit-1:aria2"];
/// Seeds of others that feed the same leecher.
const SEEDS: &[&str] =
    &["rqbit-1:libtorrent-tuned", "libtorrent:libtorrent-tuned", "libtorrent-tuned:libtorrent-tuned"];
/// Swarms of others.
const SWARMS: &[&str] = &["libtorrent", "libtorrent-tuned", "rqbit", "rqbit-1", "aria2"];

/// nginx in all its settings.
const NGINX: &[&str] = &["nginx", "nginx-buffers", "nginx-cache"];

/// All of them.
pub(super) const TARGETS: &[Target] = &[
    target(
        "leecher to tmpfs, same seed: CPU s/GiB",
        "pair",
        "rqbit-1:ours",
        "leecher_cpu_s_gib",
        share(0.75, LEECHERS),
    ),
    target(
        "leecher to a disk, same seed: CPU s/GiB",
        "disk",
        "rqbit-1:ours",
        "leecher_cpu_s_gib",
        share(0.75, LEECHERS),
    ),
    target("leecher to tmpfs: peak memory, MiB", "pair", "ours:ours", "leecher_peak_mib", Goal::Most(32.0)),
    target("leecher to a disk: peak memory, MiB", "disk", "ours:ours", "leecher_peak_mib", Goal::Most(32.0)),
    target("seed, same leecher: CPU s/GiB", "pair", "ours:libtorrent-tuned", "seed_cpu_s_gib", share(0.85, SEEDS)),
    target("one to one, 2 GiB: wall s", "pair", "ours:ours", "wall_s", share(0.85, PAIRS)),
    target("one to one, 1 MiB: wall s", "small", "ours:ours", "wall_s", share(1.0, PAIRS)),
    target("one seed, 8 leechers: wall s", "swarm", "ours", "wall_s", share(0.8, SWARMS)),
    target("one seed, 8 leechers: CPU s of all", "swarm", "ours", "cpu_s", share(0.8, SWARMS)),
    target("create v1, one thread: wall s", "create", "ours-1", "wall_s", share(1.0, &["mktorrent-1"])),
    target("create v1, two threads: wall s", "create", "ours-2", "wall_s", share(1.0, &["mktorrent-2"])),
    target("verify, one thread: wall s", "verify", "ours-1", "wall_s", share(1.0, &["mktorrent-1"])),
    target("verify, two threads: wall s", "verify", "ours-2", "wall_s", share(1.0, &["mktorrent-2"])),
    target("5,000 torrents, first start: KiB each", "many", "ours", "first_kib_each", Goal::Most(6.0)),
    target("5,000 torrents, from saved state: KiB each", "many", "ours", "saved_kib_each", Goal::Most(6.0)),
    target("5,000 torrents, from saved state: ready, s", "many", "ours", "saved_ready_s", Goal::Most(0.5)),
    target("5,000 torrents, idle: cores", "many", "ours", "idle_cores", Goal::Most(0.01)),
    target("2,000 idle peers: KiB each", "idle", "ours", "kib_each", Goal::Most(4.0)),
    target(
        "lab, 10,000 engines with their world after a virtual second: resident MiB",
        "lab",
        "engines-10000",
        "peak_mib",
        Goal::Most(400.0),
    ),
    target("lab, 1,000 peers x 400 pieces: CPU s", "lab", "blocks-1000x400", "cpu_s", Goal::Most(10.0)),
    // 0.9 of their requests a second.
    target("web, files of 1 KiB: us a request", "web-small", "ours", "us_a_request", share(1.0 / 0.9, NGINX)),
    target("web, 2 GiB to one client: CPU s/GiB", "web-large", "ours", "cpu_s_gib", share(1.2, NGINX)),
    target("web, PHP: us a request", "web-php", "ours", "us_a_request", share(1.0 / 0.9, NGINX)),
    target("web, slow readers: KiB each", "web-slow", "ours-reading", "kib_each", Goal::Most(20.0)),
    target("web, slow readers of a link: KiB each", "web-slow", "ours-shared", "kib_each", Goal::Most(20.0)),
    target("web, slow heads of requests: KiB each", "web-slow", "ours-heads", "kib_each", Goal::Most(20.0)),
    target("get from one server of 500 MiB/s: wall s", "get-one", "ours", "wall_s", share(1.05, &["curl"])),
    // 128 MiB at 4 MiB/s take one server 32 s.
    target("get from four mirrors, at 3.7 times one: wall s", "get-four", "mirrors", "wall_s", Goal::Most(32.0 / 3.7)),
    target(
        "get from four split servers, at 3.7 times one: wall s",
        "get-four",
        "split",
        "wall_s",
        Goal::Most(32.0 / 3.7),
    ),
    target(
        "get from four mirrors of which one dies, at 2.7 times one: wall s",
        "get-four",
        "mirrors-one-dies",
        "wall_s",
        Goal::Most(32.0 / 2.7),
    ),
];

const fn share(most: f64, of: &'static [&'static str]) -> Goal {
    Goal::Share(most, of)
}

const fn target(
    what: &'static str,
    bench: &'static str,
    ours: &'static str,
    figure: &'static str,
    goal: Goal,
) -> Target {
    Target { what, bench, ours, figure, goal }
}

/// How it came out.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    /// Ours.
    pub(super) ours: f64,
    /// The best of the others, and who that is.
    pub(super) best: Option<(f64, &'static str)>,
    /// Of how many it is the best.
    pub(super) of: usize,
    /// The most that ours may be.
    pub(super) limit: f64,
}

impl Outcome {
    /// Is it reached?
    pub(super) fn met(&self) -> bool {
        self.ours <= self.limit
    }
}

impl Target {
    /// Compares, if everything that is needed was measured.
    pub(super) fn outcome(&self, record: &Record) -> Option<Outcome> {
        let figure = |case: &str| record.figures(self.bench, case).get(self.figure).map(|all| median(all));
        let ours = figure(self.ours)?;
        Some(match self.goal {
            Goal::Most(limit) => Outcome { ours, best: None, of: 0, limit },
            Goal::Share(most, cases) => {
                let all: Vec<_> = cases.iter().filter_map(|case| Some((figure(case)?, *case))).collect();
                let of = all.len();
                let best = all.into_iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
                Outcome { ours, best: Some(best), of, limit: best.0 * most }
            }
        })
    }

    /// As the page says it.
    pub(super) fn wanted(&self) -> String {
        match self.goal {
            Goal::Most(limit) => format!("at most {}", short(limit)),
            Goal::Share(most, _) => format!("at most {} of the best", short(most)),
        }
    }
}

/// Two places, where they say anything.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::record::Row;
    use super::*;

    fn row(bench: &str, case: &str, name: &str, value: f64) -> Row {
        Row { bench: bench.into(), case: case.into(), figures: [(name.to_owned(), value)].into() }
    }

    #[test]
    fn a_share_is_of_the_best_median() {
        let rows = [("ours", 1.0), ("ours", 3.0), ("ours", 2.0), ("aria2", 5.0), ("rqbit", 2.5), ("rqbit", 3.5)];
        let rows = rows.map(|(case, value)| row("swarm", case, "wall_s", value)).to_vec();
        let record = Record { rows, ..Record::default() };
        let wall = target("", "swarm", "ours", "wall_s", share(0.5, SWARMS)).outcome(&record).unwrap();
        assert_eq!(wall, Outcome { ours: 2.0, best: Some((3.0, "rqbit")), of: 2, limit: 1.5 });
        assert!(!wall.met());
        assert_eq!(target("", "swarm", "ours", "cpu_s", share(0.8, SWARMS)).outcome(&record), None);
    }

    #[test]
    fn a_plain_limit_needs_nobody_else() {
        let record = Record { rows: vec![row("idle", "ours", "kib_each", 4.0)], ..Record::default() };
        let outcome = target("", "idle", "ours", "kib_each", Goal::Most(4.0)).outcome(&record).unwrap();
        assert!(outcome.met() && outcome.best.is_none());
    }

    #[test]
    fn every_target_is_of_a_comparison_that_exists() {
        for target in TARGETS {
            assert!(
                super::super::super::plan::BENCHES.iter().any(|(name, _)| *name == target.bench),
                "{}",
                target.what
            );
        }
    }
}
