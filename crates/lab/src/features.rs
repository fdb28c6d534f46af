//! What a seed draws: which of all features and faults a run has, so that many seeds see many mixtures of them.

use crate::disk::DiskSpec;
use crate::net::LinkSpec;
use crate::params::Params;
use crate::world::{Action, Discovery, PeerSpec, WorldSpec};
use base::{Instant, Rng};
use serde::Serialize;
use std::time::Duration;

/// Down- and uplinks of the usual mix of access links, relative to the slowest downlink, and their shares in percent.
const MIX: [(u64, u64, u64); 4] = [(784, 128, 20), (1500, 384, 40), (3000, 1000, 25), (10_000, 5000, 15)];

/// What is on in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Peers find each other by the tracker; else they are told of each other.
    pub tracker: bool,
    /// Access links differ (the mix of Bharambe et al.), scaled to the mean uplink asked for; else they are equal.
    pub mixed_links: bool,
    /// Longest latency between a peer and the middle of the network, in milliseconds.
    pub latency_ms_max: u64,
    /// Leechers come one by one over so many seconds.
    pub arrival_s: u64,
    /// One in so many leechers can't be dialled; 0: none.
    pub unreachable_one_in: u64,
    /// One in so many leechers begins with the info-hash alone; 0: none.
    pub magnet_one_in: u64,
    /// Disks take their time.
    pub slow_disks: bool,
    /// Connections are lost after so many seconds on average; 0: never.
    pub conn_life_s: u64,
    /// Some links are clogged for some time.
    pub clogs: bool,
    /// A third of the peers is cut off from the others for some time.
    pub cut: bool,
    /// Upload slots of each peer.
    pub slots: usize,
    /// Connections of each peer.
    pub connections: usize,
}

impl Features {
    /// A plain run: equal links, told of each other, all at once, nothing fails.
    pub fn plain() -> Self {
        Features { latency_ms_max: 25, slots: 8, connections: 50, ..Features::default() }
    }

    /// What `seed` draws.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed ^ 0x5eed_fea7);
        let mut one_of = |list: &[u64]| list[rng.index(list.len())];
        Features {
            tracker: one_of(&[0, 1]) == 1,
            mixed_links: one_of(&[0, 1]) == 1,
            latency_ms_max: one_of(&[1, 25, 100, 300]),
            arrival_s: one_of(&[0, 0, 10, 60]),
            unreachable_one_in: one_of(&[0, 0, 4, 2]),
            magnet_one_in: one_of(&[0, 0, 3, 1]),
            slow_disks: one_of(&[0, 1]) == 1,
            conn_life_s: one_of(&[0, 0, 60, 300]),
            clogs: one_of(&[0, 1]) == 1,
            cut: one_of(&[0, 0, 1]) == 1,
            slots: one_of(&[3, 4, 8]) as usize,
            connections: one_of(&[10, 20, 50]) as usize,
        }
    }

    /// The features of a run.
    pub fn of(seed: u64, params: &Params) -> Self {
        if params.draw == 1 { Features::draw(seed) } else { Features::plain() }
    }

    /// Puts them into a world.
    pub fn world(&self, spec: &mut WorldSpec) {
        spec.discovery = if self.tracker { Discovery::Tracker } else { Discovery::Told(self.connections) };
        spec.conn_life = (self.conn_life_s > 0).then(|| Duration::from_secs(self.conn_life_s));
    }

    /// One leecher.
    pub fn leecher(&self, params: &Params, rng: &mut Rng) -> PeerSpec {
        let (down, up) = if self.mixed_links { mixed(params, rng) } else { (params.down, params.up) };
        let one_in = |rng: &mut Rng, n: u64| n > 0 && rng.one_in(n);
        let mut spec = PeerSpec::leecher(LinkSpec { up, down, latency: self.latency(rng) });
        spec.reachable = !one_in(rng, self.unreachable_one_in);
        spec.magnet = one_in(rng, self.magnet_one_in);
        spec.start = Instant::from_millis(rng.below(self.arrival_s * 1000 + 1));
        self.common(&mut spec, rng);
        spec
    }

    /// One seed.
    pub fn seed(&self, params: &Params, rng: &mut Rng) -> PeerSpec {
        let mut spec =
            PeerSpec::seed(LinkSpec { up: params.seed_up, down: params.seed_up, latency: self.latency(rng) });
        self.common(&mut spec, rng);
        spec
    }

    fn common(&self, spec: &mut PeerSpec, rng: &mut Rng) {
        if self.slow_disks {
            let seek = Duration::from_micros(100 + rng.below(10_000));
            spec.disk = DiskSpec { seek, rate: 20_000_000, ..DiskSpec::INSTANT };
        }
        spec.config.unchoke_slots = self.slots;
        spec.config.torrent_connections_max = self.connections;
    }

    fn latency(&self, rng: &mut Rng) -> Duration {
        Duration::from_micros(500 + rng.below(self.latency_ms_max * 1000))
    }

    /// The weather of a run in which `peers` peers are busy for about `busy`.
    pub fn weather(&self, peers: usize, busy: Duration, rng: &mut Rng) -> Vec<(Instant, Action)> {
        let mut script = Vec::new();
        let moment = |rng: &mut Rng| Instant::ZERO + busy.mul_f64(rng.unit());
        if self.clogs {
            for _ in 0..peers / 10 {
                let (ix, at) = (rng.index(peers), moment(rng));
                script.push((at, Action::Clog(ix, 2 + rng.below(50))));
                script.push((at + busy.mul_f64(rng.unit() / 4.0), Action::Clog(ix, 1)));
            }
        }
        if self.cut {
            let group = (0..peers).filter(|_| rng.one_in(3)).collect();
            script.push((moment(rng), Action::Cut(group, busy.mul_f64(rng.unit() / 4.0))));
        }
        script
    }
}

/// A link from the mix, scaled so that the mean uplink is the one asked for.
fn mixed(params: &Params, rng: &mut Rng) -> (u64, u64) {
    let mean = MIX.iter().map(|(_, up, share)| up * share).sum::<u64>() / 100;
    let mut at = rng.below(100);
    for (down, up, share) in MIX {
        if at < share {
            return (down * params.up / mean, up * params.up / mean);
        }
        at -= share;
    }
    (params.down, params.up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_draw_different_things_and_the_same_again() {
        let drawn: Vec<Features> = (0..32).map(Features::draw).collect();
        assert_eq!(drawn[7], Features::draw(7));
        assert!(drawn.iter().any(|f| f.tracker) && drawn.iter().any(|f| !f.tracker));
        assert!(drawn.iter().any(|f| f.cut) && drawn.iter().any(|f| f.conn_life_s > 0));
    }

    #[test]
    fn the_mix_has_the_mean_that_was_asked_for() {
        let (params, mut rng) = (Params::default(), Rng::from_seed(1));
        let sum: u64 = (0..10_000).map(|_| mixed(&params, &mut rng).1).sum();
        assert!((sum / 10_000).abs_diff(params.up) < params.up / 20);
    }
}
