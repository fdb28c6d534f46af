//! Scenarios whose trouble is machines and lines.

use super::peers::waste_at_most;
use super::{Scenario, Stage};
use crate::disk::DiskSpec;
use crate::world::Action;
use base::{Instant, PieceIndex};
use std::time::Duration;

/// Processes die and come back.
pub(super) const CRASH: Scenario = Scenario {
    name: "crash",
    about: "a third of the leechers is killed or loses power, some of their disks rot, and all come back",
    params: |p| p.leechers = 40,
    build: |stage: &mut Stage| {
        let peers = stage.peers();
        let (leechers, busy, pieces) = (stage.leechers(), stage.busy(), stage.params.pieces);
        let mut world = stage.world(peers);
        for ix in leechers.filter(|ix| ix % 3 == 0) {
            let rng = &mut stage.rng;
            let mut at = Instant::ZERO + busy.mul_f64(0.1 + 0.3 * rng.unit());
            for _ in 0..1 + rng.index(3) {
                let pause = Duration::from_millis(200 + rng.below(30_000));
                let power = rng.one_in(3);
                if power {
                    world.at(at - Duration::from_millis(rng.below(20_000)), Action::Sync(ix));
                    world.at(at, Action::PowerLoss(ix));
                } else {
                    world.at(at, Action::Kill(ix));
                }
                // A disk that rots while nobody looks is found out by a check, so only then it does.
                let rots = rng.one_in(3);
                if rots {
                    let piece = PieceIndex(rng.below(pieces) as u32);
                    world.at(at + pause / 2, Action::Rot(ix, piece, 0));
                }
                let back = if rots || power { Action::StartChecking(ix) } else { Action::Start(ix) };
                world.at(at + pause, back);
                at = at + pause + busy.mul_f64(0.1 + 0.3 * rng.unit());
            }
        }
        world
    },
    verdict: |world, report| {
        waste_at_most(report, 0.15)?;
        // What was written before a kill is not fetched again. Parts of blocks were lost with their connections.
        let size = report.parameters.bytes();
        for (ix, (spec, stats)) in world.stats().enumerate() {
            let lost = stats.received.saturating_sub(size + stats.wasted);
            let excused = size / 20 + u64::from(stats.lives) * 30 * report.parameters.block;
            if spec.have != crate::Have::All && !stats.damaged && lost > excused {
                return Err(format!("peer {ix} fetched {lost} bytes again in {} lives", stats.lives));
            }
        }
        Ok(())
    },
};

/// Disks that fail.
pub(super) const DISKS: Scenario = Scenario {
    name: "disks",
    about: "some disks are full or break in mid-download: these peers stop with a clear error, the others finish",
    params: |p| p.leechers = 40,
    build: |stage: &mut Stage| {
        let mut peers = stage.peers();
        let bytes = stage.params.bytes();
        for ix in stage.leechers() {
            match ix % 8 {
                0 => peers[ix].disk = DiskSpec { space: Some(bytes / 2), ..DiskSpec::INSTANT },
                1 => peers[ix].disk.fails_at_job = Some(1 + stage.rng.below(200)),
                2 => peers[ix].disk = DiskSpec { seek: Duration::from_millis(20), rate: 500_000, ..DiskSpec::INSTANT },
                _ => {}
            }
        }
        stage.world(peers)
    },
    verdict: |world, _| {
        for (ix, (spec, stats)) in world.stats().enumerate() {
            if spec.disk.space.is_some() && stats.stopped.is_none() && stats.complete_at.is_some() {
                return Err(format!("peer {ix} is complete on a disk that is too small"));
            }
        }
        Ok(())
    },
};

/// Bad lines.
pub(super) const WEATHER: Scenario = Scenario {
    name: "weather",
    about: "connections are lost every minute, links clog, and a third of the peers is cut off for some time",
    params: |p| p.leechers = 50,
    build: |stage: &mut Stage| {
        stage.features.conn_life_s = 60;
        stage.features.clogs = true;
        stage.features.cut = true;
        let features = stage.features.clone();
        features.world(&mut stage.spec);
        let peers = stage.peers();
        stage.world(peers)
    },
    verdict: |_, report| waste_at_most(report, 0.15),
};
