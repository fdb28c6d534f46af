//! What theory says that a distribution takes at least, and how large a swarm in balance is.
//!
//! A measured time below a bound means that the lab cheats; far above it, that the engine wastes something. Sizes and
//! rates may be in any unit as long as both are in the same; times come out in seconds if the rates are a second.
//! The formulas are for flows without latency: flow-level links differ from packets by at most about 30% (Eger et al.).

/// Who wants to download, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Receivers {
    /// How many.
    pub count: u64,
    /// The slowest downlink among them.
    pub down_min: f64,
    /// The uplinks of all of them together.
    pub up_sum: f64,
}

/// Client and server: one uplink serves everybody. max{NF/us, F/dmin}.
pub fn client_server(size: f64, server_up: f64, to: Receivers) -> f64 {
    replicas(size, server_up, 1, to)
}

/// `servers` equal servers that hold everything, or a file split evenly over them: max{NF/(k us), F/dmin}.
pub fn replicas(size: f64, server_up: f64, servers: u64, to: Receivers) -> f64 {
    (to.count as f64 * size / (servers as f64 * server_up)).max(size / to.down_min)
}

/// Peers that serve each other: max{F/us, F/dmin, NF/(us + sum u)}.
pub fn peer_to_peer(size: f64, server_up: f64, to: Receivers) -> f64 {
    let all = to.count as f64 * size / (server_up + to.up_sum);
    (size / server_up).max(size / to.down_min).max(all)
}

/// Rounds that the best schedule takes to bring `parts` parts to `peers` peers where everybody, the server included,
/// uploads one part a round (Mundinger, Weber, Weiss): M + floor(log2 N).
pub fn schedule_rounds(parts: u64, peers: u64) -> u64 {
    parts + u64::from(peers.max(1).ilog2())
}

/// The same in units of the time that the whole file takes over one uplink: 1 + floor(log2 N)/M.
pub fn schedule_file_times(parts: u64, peers: u64) -> f64 {
    schedule_rounds(parts, peers) as f64 / parts.max(1) as f64
}

/// A swarm with arrivals, as a fluid (Qiu, Srikant). Rates are files a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fluid {
    /// Peers that arrive a second.
    pub lambda: f64,
    /// Rate at which a downloader gives up.
    pub theta: f64,
    /// Rate at which a seed leaves.
    pub gamma: f64,
    /// Upload rate of a peer.
    pub mu: f64,
    /// Download rate of a peer at most.
    pub c: f64,
    /// Share of a downloader's uplink that it can use.
    pub eta: f64,
}

/// The balance of a [`Fluid`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    /// Downloaders.
    pub downloaders: f64,
    /// Seeds.
    pub seeds: f64,
    /// Seconds that a download takes.
    pub seconds: f64,
}

impl Fluid {
    /// Where it settles: 1/beta = max{1/c, (1/eta)(1/mu - 1/gamma)}, x = lambda/(beta(1 + theta/beta)),
    /// y = lambda/(gamma(1 + theta/beta)), T = 1/(theta + beta).
    pub fn steady(&self) -> Steady {
        let beta = 1.0 / (1.0 / self.c).max((1.0 / self.mu - 1.0 / self.gamma) / self.eta);
        let stay = 1.0 + self.theta / beta;
        Steady {
            downloaders: self.lambda / (beta * stay),
            seeds: self.lambda / (self.gamma * stay),
            seconds: 1.0 / (self.theta + beta),
        }
    }
}

/// Peers a second by which a swarm grows in which everybody lacks the same one piece (Hajek, Zhu): arrivals `lambda`
/// against what a fixed seed of `seed_rate` pieces a second cures, finishers who upload at `mu` and leave at rate
/// `gamma` helping. Above zero it grows without end, whatever the order of pieces; infinite negative if finishers stay
/// long enough to cure any crowd.
pub fn one_club_drift(lambda: f64, seed_rate: f64, mu: f64, gamma: f64) -> f64 {
    if gamma <= mu { f64::NEG_INFINITY } else { lambda - seed_rate / (1.0 - mu / gamma) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 MB in kbit, and the usual mix of access links in kbit/s.
    const F: f64 = 8e5;

    fn mix(count: u64) -> Receivers {
        let classes = [(784.0, 128.0, 0.2), (1500.0, 384.0, 0.4), (3000.0, 1000.0, 0.25), (10_000.0, 5000.0, 0.15)];
        let up: f64 = classes.iter().map(|(_, up, share)| up * share).sum();
        let down: f64 = classes.iter().map(|(down, _, share)| down * share).sum();
        assert!((up - 1179.0).abs() < 1.0 && (down - 3007.0).abs() < 1.0);
        Receivers { count, down_min: 784.0, up_sum: up * count as f64 }
    }

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() <= want.abs() * 0.002, "{got} is not {want}");
    }

    #[test]
    fn distribution_times() {
        for (up, n, server, peers) in [
            (400.0, 1000, 2.0e6, 2000.0),
            (6000.0, 1000, 133_333.0, 1020.0),
            (6000.0, 100_000, 1.333e7, 1020.0),
            (100_000.0, 1000, 8000.0, 1020.0),
        ] {
            close(client_server(F, up, mix(n)), server);
            close(replicas(F, up, 4, mix(n)), server / 4.0);
            close(peer_to_peer(F, up, mix(n)), peers);
        }
        let unmasked = Receivers { down_min: f64::INFINITY, ..mix(1_000_000_000) };
        close(peer_to_peer(F, 6000.0, unmasked), 678.0);
    }

    #[test]
    fn best_schedule() {
        close(schedule_file_times(400, 1000), 1.0225);
        close(schedule_file_times(400, 100_000), 1.04);
        close(schedule_file_times(1, 1000), 10.0);
        assert_eq!(schedule_rounds(1, 1), 1);
    }

    #[test]
    fn fluid_balance() {
        for (lambda, theta, gamma, x, y, t) in [
            (0.04, 0.0, 0.005, 24.0, 8.0, 600.0),
            (0.4, 0.001, 0.001, 133.3, 266.7, 333.3),
            (0.4, 0.0, 0.001, 200.0, 400.0, 500.0),
        ] {
            let s = Fluid { lambda, theta, gamma, mu: 0.00125, c: 0.002, eta: 1.0 }.steady();
            close(s.downloaders, x);
            close(s.seeds, y);
            close(s.seconds, t);
        }
    }

    #[test]
    fn missing_piece_syndrome() {
        let inf = f64::INFINITY;
        for (lambda, us, gamma, drift) in
            [(3.0, 1.0, inf, 2.0), (1.0, 2.0, inf, -1.0), (3.0, 1.0, 2.0, 1.0), (1.5, 1.0, 2.0, -0.5)]
        {
            close(one_club_drift(lambda, us, 1.0, gamma), drift);
        }
        assert_eq!(one_club_drift(100.0, 0.1, 1.0, 1.0), f64::NEG_INFINITY);
    }
}
