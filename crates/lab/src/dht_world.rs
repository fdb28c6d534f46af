//! The production DHT in virtual time: lookups in networks of up to a million nodes.
//!
//! What is asked is how fast a lookup is, not how a network grows: tables are given and do not change (static), as in the table that
//! this is compared with. A node shares a bucket with nodes drawn by chance among those that belong there; where there are no more
//! than fit, with all of them. Some are dead, though everybody has them in his table, which is harder than life: a table in use
//! forgets the dead.
//!
//! Who looks something up is one more node, for that alone, that answers nobody ([`dht::Config::read_only`]). Nodes are made when the first
//! datagram reaches them, from the seed, so that a million of them cost what a few thousand do.
//!
//! **The network.** A round trip between two nodes takes what the pair draws, once for all, from the distribution [`RTT`]; half of it
//! in each direction. There are no queues: a lookup sends a few hundred bytes.

mod report;
mod world;

#[cfg(test)]
mod tests;

pub use report::{DhtBounds, DhtReport, DhtResults};

use crate::params::DhtParams;
use crate::scenarios::Failure;

/// What a round trip takes, in parts of 120 of the median: at each of these percentiles, straight lines between them. A log-normal
/// distribution with sigma 0.6, cut off at a second where the median is 120 ms. Our own choice after what is published of residential
/// nodes: a median near 120 ms and a long tail.
pub const RTT: &[(u64, u64)] =
    &[(0, 20), (10, 56), (25, 80), (50, 120), (75, 180), (90, 259), (95, 322), (99, 485), (100, 1_000)];

/// One scenario.
#[derive(Clone, Copy)]
pub struct DhtScenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it, in a line.
    pub about: &'static str,
    params: fn(&mut DhtParams),
    verdict: fn(&DhtReport) -> Result<(), String>,
}

impl std::fmt::Debug for DhtScenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DhtScenario({})", self.name)
    }
}

/// All scenarios of the DHT.
pub const DHT_SCENARIOS: &[DhtScenario] = &[
    DhtScenario {
        name: "dht-paper",
        about: "lookups as in the paper: buckets of 8, three questions at once, everybody alive and equally far",
        params: |p| (p.alpha, p.wide, p.spread) = (3, 0, 0),
        verdict: |report| {
            report.finds_the_closest(0.99)?;
            report.meets_the_table(1.1)
        },
    },
    DhtScenario {
        name: "dht",
        about: "lookups as in production: large buckets near the top, five questions at once, everybody alive",
        params: |_| {},
        verdict: |report| {
            report.finds_the_closest(0.97)?;
            report.median_at_most(1.0)
        },
    },
    DhtScenario {
        name: "dht-dead",
        about: "the same with one node in five dead in every table, and one datagram in a hundred lost",
        params: |p| (p.dead, p.loss) = (20, 1),
        verdict: |report| {
            report.finds_the_closest(0.93)?;
            report.median_at_most(1.0)
        },
    },
];

/// The scenario of this name.
pub fn dht_scenario(name: &str) -> Option<&'static DhtScenario> {
    DHT_SCENARIOS.iter().find(|s| s.name == name)
}

impl DhtScenario {
    /// Its parameters, to be changed before a run.
    pub fn params(&self) -> DhtParams {
        let mut params = DhtParams::default();
        (self.params)(&mut params);
        params
    }

    /// Runs it.
    pub fn run(&self, seed: u64, params: &DhtParams) -> Result<DhtReport, Failure> {
        let report = DhtReport::of(self.name, seed, params, world::run(seed, params));
        (self.verdict)(&report).map(|()| report).map_err(|what| Failure::Verdict {
            scenario: self.name,
            seed,
            what,
            replay: format!("shoal lab run {} --seed {seed}{}", self.name, params.flags(&self.params())),
        })
    }
}
