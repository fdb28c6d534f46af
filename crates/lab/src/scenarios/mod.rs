//! The scenarios: worlds worth running, with what must hold in each of them.
//!
//! Every scenario is one function from seed and parameters to a world. First comes safety, checked at every step by the
//! world itself; then liveness: all who can finish do so by the limit; then what the scenario says of its own. A failure
//! names its seed and the command that replays it.

mod faults;
#[cfg(test)]
mod flaws;
mod peers;
mod shards;
#[cfg(test)]
mod tests;

use crate::features::Features;
use crate::params::{ParamError, Params};
use crate::report::Report;
use crate::trace::Sink;
use crate::world::{PeerSpec, Violation, World, WorldSpec};
use base::{GeometryError, Instant, Rng};
use std::time::Duration;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it, in a line.
    pub about: &'static str,
    /// What is other than in [`Params::default`].
    params: fn(&mut Params),
    /// Makes the world of it.
    build: fn(&mut Stage) -> World,
    /// What must hold at the end, beyond what holds in each world.
    verdict: fn(&World, &Report) -> Result<(), String>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scenario({})", self.name)
    }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    peers::SWARM,
    peers::LIARS,
    peers::STALLERS,
    peers::ORIGIN_LEAVES,
    peers::FREE_RIDERS,
    peers::ONE_SOURCE,
    faults::CRASH,
    faults::DISKS,
    faults::WEATHER,
    shards::SHARDS,
    peers::LARGE,
];

/// The scenario of this name.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|s| s.name == name)
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The parameters make no torrent.
    #[error("these parameters make no torrent: {0}")]
    Geometry(#[from] GeometryError),
    /// A parameter is not accepted.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// Something happened that must not.
    #[error("{scenario}, seed {seed}: {violation}\nreplay it with: {replay}")]
    Violation {
        /// The scenario.
        scenario: &'static str,
        /// Its seed.
        seed: u64,
        /// What happened.
        violation: Violation,
        /// The command that shows it again.
        replay: String,
    },
    /// The run ended well, but not with what it should have shown.
    #[error("{scenario}, seed {seed}: {what}\nreplay it with: {replay}")]
    Verdict {
        /// The scenario.
        scenario: &'static str,
        /// Its seed.
        seed: u64,
        /// What is missing.
        what: String,
        /// The command that shows it again.
        replay: String,
    },
}

/// What a scenario is built from.
pub(crate) struct Stage {
    pub(crate) params: Params,
    pub(crate) features: Features,
    pub(crate) spec: WorldSpec,
    pub(crate) rng: Rng,
    /// Changes every peer before it comes; for experiments and tests.
    pub(crate) tweak: Tweak,
}

/// Changes a peer.
pub(crate) type Tweak = Box<dyn Fn(&mut PeerSpec)>;

impl Stage {
    /// Seeds first, then leechers.
    pub(crate) fn peers(&mut self) -> Vec<PeerSpec> {
        let mut peers = Vec::new();
        for _ in 0..self.params.seeds {
            peers.push(self.features.seed(&self.params, &mut self.rng));
        }
        for _ in 0..self.params.leechers {
            peers.push(self.features.leecher(&self.params, &mut self.rng));
        }
        peers
    }

    /// The numbers of the leechers.
    pub(crate) fn leechers(&self) -> std::ops::Range<usize> {
        self.params.seeds as usize..(self.params.seeds + self.params.leechers) as usize
    }

    /// About how long the swarm will be busy: twice the time of the mean uplink.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_secs(self.features.arrival_s)
            + Duration::from_secs(2 * self.params.bytes() / self.params.up + 10)
    }

    /// A world of these peers, with the weather that was drawn.
    pub(crate) fn world(&mut self, mut peers: Vec<PeerSpec>) -> World {
        peers.iter_mut().for_each(&self.tweak);
        let weather = self.features.weather(peers.len(), self.busy(), &mut self.rng);
        let mut world = World::new(self.spec.clone(), peers);
        weather.into_iter().for_each(|(at, action)| world.at(at, action));
        world
    }
}

impl Scenario {
    /// Its parameters, to be changed before a run.
    pub fn params(&self) -> Params {
        let mut params = Params::default();
        (self.params)(&mut params);
        params
    }

    /// Runs it.
    pub fn run(&self, seed: u64, params: &Params) -> Result<Report, Failure> {
        self.run_with(seed, params, Box::new(|_| {}), None)
    }

    /// Runs it, and hands every line of the trace to `sink`.
    pub fn run_traced(&self, seed: u64, params: &Params, sink: Sink) -> Result<Report, Failure> {
        self.run_with(seed, params, Box::new(|_| {}), Some(sink))
    }

    pub(crate) fn run_with(
        &self,
        seed: u64,
        params: &Params,
        tweak: Tweak,
        sink: Option<Sink>,
    ) -> Result<Report, Failure> {
        let block = params.block.min(params.piece_length) as u32;
        let mut spec = WorldSpec::new(seed, params.pieces as u32, params.piece_length, block)?;
        let features = Features::of(seed, params);
        features.world(&mut spec);
        spec.watch = params.watch == 1;
        spec.invariants_every = params.watch as u32;
        let rng = Rng::from_seed(seed);
        let mut stage = Stage { params: params.clone(), features, spec, rng, tweak };
        let mut world = (self.build)(&mut stage);
        if let Some(sink) = sink {
            world.trace_to(sink);
        }
        let replay = || format!("shoal lab run {} --seed {seed}{}", self.name, params.flags(&self.params()));
        world.run(Instant::from_secs(params.limit)).map_err(|violation| Failure::Violation {
            scenario: self.name,
            seed,
            violation,
            replay: replay(),
        })?;
        let report = Report::of(self.name, seed, params, &stage.features, &world);
        let verdict = sane(&report).and_then(|()| (self.verdict)(&world, &report));
        match verdict {
            Ok(()) => Ok(report),
            Err(what) => Err(Failure::Verdict { scenario: self.name, seed, what, replay: replay() }),
        }
    }
}

/// What every run must show.
fn sane(report: &Report) -> Result<(), String> {
    // Peers that come one by one, with what others have fetched, may be faster than all at once.
    let all_at_once = report.features.arrival_s == 0;
    match report.results.seconds_last {
        Some(last) if all_at_once && report.results.completed == report.results.leechers => {
            let bound = report.bounds.peer_to_peer;
            let message = || format!("all were done after {last:.1} s, faster than the bound of {bound:.1} s");
            (last >= bound * 0.99).then_some(()).ok_or_else(message)
        }
        _ => Ok(()),
    }
}
