//! What comes out of a run: numbers for people and programs, beside what theory says.

use crate::bounds::{self, Receivers};
use crate::features::Features;
use crate::params::Params;
use crate::world::{World, WorldSpec};
use serde::Serialize;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: &'static str,
    /// Its seed.
    pub seed: u64,
    /// Its size.
    pub parameters: Params,
    /// What the seed drew.
    pub features: Features,
    /// What came out.
    pub results: Results,
    /// What theory says.
    pub bounds: Bounds,
    /// Equal for equal seeds, as 16 hexadecimal digits.
    pub trace_hash: String,
}

/// What came out. Seconds are virtual, each peer's own from when it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Results {
    /// Peers that came without everything.
    pub leechers: u64,
    /// Those of them that have everything now.
    pub completed: u64,
    /// The first was done after so many seconds.
    pub seconds_min: Option<f64>,
    /// Half of them were.
    pub seconds_median: Option<f64>,
    /// 95 in 100 were.
    pub seconds_p95: Option<f64>,
    /// All of them were.
    pub seconds_last: Option<f64>,
    /// Bytes of blocks that leechers received.
    pub bytes: u64,
    /// Of those, from seeds.
    pub bytes_from_seeds: u64,
    /// Of those, from each other.
    pub bytes_from_peers: u64,
    /// Of those, received twice, unasked or rotten.
    pub bytes_wasted: u64,
    /// Pieces that failed their hash.
    pub pieces_bad: u64,
    /// Peers banned, counted by each who did.
    pub banned: u64,
    /// Virtual seconds in all.
    pub seconds_run: f64,
    /// Things that happened.
    pub events: u64,
    /// Deadlines of engines among them.
    pub ticks: u64,
}

/// What theory says of the same peers, all of them there from the beginning, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// If the seeds alone served.
    pub client_server: f64,
    /// Under which no peer-to-peer distribution can be.
    pub peer_to_peer: f64,
    /// The best schedule of pieces, had everybody the mean uplink.
    pub schedule: f64,
}

impl Report {
    /// Looks at a world after its run.
    pub(crate) fn of(scenario: &'static str, seed: u64, params: &Params, features: &Features, world: &World) -> Self {
        Report {
            scenario,
            seed,
            parameters: params.clone(),
            features: features.clone(),
            results: Results::of(world),
            bounds: Bounds::of(world.spec(), world),
            trace_hash: format!("{:016x}", world.trace_hash()),
        }
    }
}

impl Results {
    fn of(world: &World) -> Self {
        let mut r = Results {
            events: world.steps(),
            ticks: world.ticks(),
            seconds_run: world.now().as_secs_f64(),
            ..Results::default()
        };
        let mut times: Vec<f64> = Vec::new();
        for (spec, stats) in world.stats() {
            r.pieces_bad += u64::from(stats.pieces_bad);
            r.banned += stats.banned.len() as u64;
            if spec.have == crate::Have::All {
                continue;
            }
            r.leechers += 1;
            r.bytes += stats.received;
            r.bytes_from_seeds += stats.received_from_seeds;
            r.bytes_wasted += stats.wasted;
            if let (Some(from), Some(to)) = (stats.started_at, stats.complete_at) {
                r.completed += 1;
                times.push((to - from).as_secs_f64());
            }
        }
        r.bytes_from_peers = r.bytes - r.bytes_from_seeds;
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied()
        };
        (r.seconds_min, r.seconds_median, r.seconds_p95, r.seconds_last) = (at(0.0), at(0.5), at(0.95), at(1.0));
        r
    }
}

impl Bounds {
    fn of(spec: &WorldSpec, world: &World) -> Self {
        let size = spec.plan.geometry.total() as f64;
        let (mut to, mut seeds) = (Receivers { count: 0, down_min: f64::INFINITY, up_sum: 0.0 }, 0.0);
        for (peer, _) in world.stats() {
            if peer.have == crate::Have::All {
                seeds += peer.link.up as f64;
            } else {
                to.count += 1;
                to.down_min = to.down_min.min(peer.link.down as f64);
                to.up_sum += peer.link.up as f64;
            }
        }
        let mean_up = (to.up_sum + seeds) / (to.count + 1) as f64;
        let file_times = bounds::schedule_file_times(spec.plan.geometry.piece_count().into(), to.count);
        Bounds {
            client_server: bounds::client_server(size, seeds, to),
            peer_to_peer: bounds::peer_to_peer(size, seeds, to),
            schedule: (size / mean_up * file_times).max(size / to.down_min),
        }
    }
}
