//! Engines of several shards, as they run on several cores: what crosses on the way between them must hurt nobody.

use super::peers::waste_at_most;
use super::{Scenario, Stage};
use crate::world::{Action, Role};
use base::Instant;
use std::time::Duration;

/// Letters between gate and shards that take their time.
pub(super) const SHARDS: Scenario = Scenario {
    name: "shards",
    about: "engines of one to three shards that hear late of each other, with narrow limits, lost connections, liars and kills",
    params: |p| p.leechers = 40,
    build: |stage: &mut Stage| {
        stage.features.conn_life_s = 60;
        stage.features.cut = true;
        let features = stage.features.clone();
        features.world(&mut stage.spec);
        let mut peers = stage.peers();
        for (ix, peer) in peers.iter_mut().enumerate() {
            peer.config.shards = 1 + ix % 3;
            peer.lag = Duration::from_micros(stage.rng.below(20_000));
            // The gate has to say no now and then, and to share out the rates.
            peer.config.connections_max = 15;
            peer.config.dials_max = 3;
            if ix % 4 == 2 {
                peer.config.limit_up = Some(peer.link.up / 2);
                peer.config.limit_down = Some(peer.link.down / 2);
            }
            if ix % 10 == 7 {
                peer.role = Role::Liar { one_in: 3 };
            }
        }
        let (leechers, busy) = (stage.leechers(), stage.busy());
        let mut world = stage.world(peers);
        for ix in leechers.filter(|ix| ix % 5 == 1) {
            let at = Instant::ZERO + busy.mul_f64(0.1 + 0.6 * stage.rng.unit());
            world.at(at, Action::Kill(ix));
            world.at(at + Duration::from_secs(5), Action::Start(ix));
        }
        world
    },
    verdict: |_, report| waste_at_most(report, 0.3),
};
