//! Scenarios whose trouble is other peers.

use super::{Scenario, Stage};
use crate::params::Params;
use crate::report::Report;
use crate::world::{Action, Role, World};
use base::Instant;

/// One seed and many leechers.
pub(super) const SWARM: Scenario = Scenario {
    name: "swarm",
    about: "one seed, 100 leechers, nobody means harm",
    params: |_| {},
    build: |stage| {
        let peers = stage.peers();
        stage.world(peers)
    },
    verdict: |_, report| {
        waste_at_most(report, 0.1)?;
        let bounds = &report.bounds;
        // Plain runs are measured against theory; what a seed draws may slow a run down as far as the limit allows.
        let last = report.results.seconds_last.unwrap_or_default();
        if report.parameters.draw == 0 && last > 3.0 * bounds.peer_to_peer {
            return Err(format!("{last:.1} s is more than three times the bound of {:.1} s", bounds.peer_to_peer));
        }
        Ok(())
    },
};

/// Peers that spoil what they send.
pub(super) const LIARS: Scenario = Scenario {
    name: "liars",
    about: "one leecher in ten spoils every third block that it sends, and is to be found and banned",
    params: |p| p.leechers = 50,
    build: |stage| {
        let mut peers = stage.peers();
        for ix in stage.leechers().filter(|ix| ix % 10 == 0) {
            peers[ix].role = Role::Liar { one_in: 3 };
        }
        stage.world(peers)
    },
    verdict: |_, report| {
        // Each liar may spoil some pieces for each of the others before it is known for what it is.
        waste_at_most(report, 0.25)?;
        if report.results.pieces_bad > 0 && report.results.banned == 0 {
            return Err("bad pieces came, and nobody was banned".into());
        }
        Ok(())
    },
};

/// Peers that promise and do not keep.
pub(super) const STALLERS: Scenario = Scenario {
    name: "stallers",
    about: "one leecher in five falls silent with the first block it should send, and stays connected",
    params: |p| p.leechers = 50,
    build: |stage| {
        let mut peers = stage.peers();
        for ix in stage.leechers().filter(|ix| ix % 5 == 0) {
            peers[ix].role = Role::Staller;
            // Its own requests fall silent with the rest.
            peers[ix].must_finish = false;
        }
        stage.world(peers)
    },
    verdict: |_, report| waste_at_most(report, 0.15),
};

/// The seed leaves as early as it can.
pub(super) const ORIGIN_LEAVES: Scenario = Scenario {
    name: "origin-leaves",
    about: "the seed leaves as soon as one copy of everything is spread over the others",
    params: |p| p.leechers = 50,
    build: |stage: &mut Stage| {
        let peers = stage.peers();
        let seeds = 0..stage.params.seeds as usize;
        let mut world = stage.world(peers);
        seeds.for_each(|ix| world.at(Instant::from_secs(1), Action::LeaveWhenCovered(ix)));
        world
    },
    verdict: |world: &World, report| {
        waste_at_most(report, 0.1)?;
        let stayed = world.stats().any(|(spec, stats)| spec.have == crate::Have::All && stats.left_at.is_none());
        if stayed && report.results.leechers > 1 {
            return Err("the seed was needed to the end".into());
        }
        let given: u64 = world.stats().filter(|(s, _)| s.have == crate::Have::All).map(|(_, s)| s.sent).sum();
        let copies = given as f64 / report.parameters.bytes() as f64;
        // Rarest first spreads what nobody else has yet: about two copies leave the seed where order would take a copy for
        // each of its slots.
        if report.parameters.draw == 0 && copies > 4.0 {
            return Err(format!("the seed gave {copies:.1} copies until one was spread"));
        }
        Ok(())
    },
};

/// Peers that give nothing.
pub(super) const FREE_RIDERS: Scenario = Scenario {
    name: "free-riders",
    about: "every second leecher gives next to nothing, and is to be served behind those who give",
    params: |p| (p.leechers, p.pieces, p.down) = (40, 160, 2_000_000),
    build: |stage| {
        let mut peers = stage.peers();
        for ix in stage.leechers().filter(|ix| ix % 2 == 0) {
            peers[ix].link.up = FREE_RIDER_UP;
        }
        stage.world(peers)
    },
    verdict: |world, report| {
        waste_at_most(report, 0.1)?;
        let median = |rides: bool| {
            let leechers = world.stats().filter(|(spec, _)| spec.have != crate::Have::All);
            let these = leechers.filter(|(spec, _)| (spec.link.up == FREE_RIDER_UP) == rides);
            let mut times: Vec<_> =
                these.filter_map(|(_, s)| Some((s.complete_at? - s.started_at?).as_secs_f64())).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        let (give, ride) = (median(false), median(true));
        if report.parameters.draw == 0 && ride < 1.3 * give {
            return Err(format!("who gives was done after {give:.1} s, who does not after {ride:.1} s"));
        }
        Ok(())
    },
};

/// Uplink of who gives nothing: just enough to ask for things.
const FREE_RIDER_UP: u64 = 3_000;

/// Peers that have nobody but the seed.
pub(super) const ONE_SOURCE: Scenario = Scenario {
    name: "one-source",
    about: "leechers that can't be dialled have the seed alone: its slots go round, nobody waits for others to be served",
    params: |p| (p.leechers, p.pieces, p.block) = (30, 1_280, 64 << 10),
    build: |stage| {
        let mut peers = stage.peers();
        stage.leechers().for_each(|ix| peers[ix].reachable = false);
        stage.world(peers)
    },
    verdict: |world, report| {
        waste_at_most(report, 0.1)?;
        let leechers = world.stats().filter(|(spec, _)| spec.have != crate::Have::All);
        let waits = leechers.filter_map(|(_, s)| Some((s.first_block_at? - s.started_at?).as_secs_f64()));
        let (wait, last) = (waits.fold(0.0, f64::max), report.results.seconds_last.unwrap_or_default());
        if report.parameters.draw == 0 && wait > 0.25 * last {
            return Err(format!("all were done after {last:.1} s, and one waited {wait:.1} s for its first block"));
        }
        Ok(())
    },
};

/// The run of Bharambe et al., for speed.
pub(super) const LARGE: Scenario = Scenario {
    name: "large",
    about: "1,000 leechers, 400 pieces of 256 KiB, a block is a piece; nothing is checked but the outcome",
    params: |p: &mut Params| {
        *p = Params {
            leechers: 1000,
            pieces: 400,
            piece_length: 256 << 10,
            block: 256 << 10,
            up: 150_000,
            down: 400_000,
            seed_up: 750_000,
            draw: 0,
            watch: 0,
            limit: 20_000,
            ..Params::default()
        }
    },
    build: |stage| {
        let peers = stage.peers();
        stage.world(peers)
    },
    verdict: |_, report| waste_at_most(report, 0.1),
};

/// Wasted bytes, as a share of what came.
pub(super) fn waste_at_most(report: &Report, share: f64) -> Result<(), String> {
    let (wasted, bytes) = (report.results.bytes_wasted, report.results.bytes);
    if wasted as f64 > share * bytes as f64 {
        return Err(format!("{wasted} of {bytes} bytes were wasted, more than {:.0}%", share * 100.0));
    }
    Ok(())
}
