//! `--explain`: the one thing that limits a download now, with the evidence, in a sentence.
//!
//! The rules go from certain to likely; the first that holds is told.

use crate::units;
use node::Status;
use swarm::{PeerStatus, Phase};

/// What limits it now.
pub fn sentence(status: &Status, peers: &[PeerStatus], limit_down: Option<u64>) -> String {
    let t = &status.torrent;
    if let Some((done, all)) = status.checking {
        return format!(
            "the disk: {} of {} that were there already are checked",
            units::bytes(done),
            units::bytes(all)
        );
    }
    if peers.is_empty() {
        return match t.candidates {
            0 => "nobody to fetch from: no tracker or peer has named anybody yet".into(),
            n => format!("nobody is connected: {n} addresses are known, and none has answered yet"),
        };
    }
    if t.phase == Phase::Metadata {
        return format!("the description of the torrent has not arrived: {} peers are asked for it", peers.len());
    }
    if let Some(limit) = limit_down.filter(|limit| t.rate_down * 10 >= limit * 9) {
        return format!("your own limit: {} of {} (--limit-down)", units::rate(t.rate_down), units::rate(limit));
    }
    let useful: Vec<&PeerStatus> = peers.iter().filter(|p| p.am_interested).collect();
    if useful.is_empty() {
        return format!(
            "nobody has what is missing: {} peers are connected, and we have all that they have",
            peers.len()
        );
    }
    let serving: Vec<&&PeerStatus> = useful.iter().filter(|p| !p.peer_choking).collect();
    if serving.is_empty() {
        return format!(
            "waiting for a turn: {} peers have what is missing, and all of them serve others",
            useful.len()
        );
    }
    let snubbed = serving.iter().filter(|p| p.snubbed).count();
    if snubbed == serving.len() {
        return format!("the peers have gone silent: all {snubbed} that should serve have sent nothing for a while");
    }
    let sum: u64 = serving.iter().map(|p| p.rate_down).sum();
    match serving.iter().max_by_key(|p| p.rate_down) {
        Some(best) if serving.len() == 1 || best.rate_down * 10 >= sum * 9 => {
            format!("one source: {} sends {}, nearly all that comes", best.addr, units::rate(best.rate_down))
        }
        _ => format!(
            "the uplinks of the peers: {} of {} serve, {} each on average",
            serving.len(),
            peers.len(),
            units::rate(sum / serving.len() as u64)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ConnId;
    use swarm::TorrentStatus;

    fn peer(rate_down: u64, peer_choking: bool, am_interested: bool) -> PeerStatus {
        PeerStatus {
            conn: ConnId(1),
            addr: "192.0.2.1:5".parse().unwrap(),
            outgoing: true,
            client: String::new(),
            pieces: 1,
            downloaded: 0,
            uploaded: 0,
            rate_down,
            rate_up: 0,
            peer_choking,
            am_interested,
            am_choking: true,
            peer_interested: false,
            requests: 0,
            snubbed: false,
        }
    }

    #[test]
    fn one_sentence_names_the_limit() {
        let torrent = TorrentStatus { phase: Phase::Downloading, rate_down: 95, ..TorrentStatus::default() };
        let status = Status { torrent, checking: None, complete: false, error: None };
        let say = |peers: &[PeerStatus], limit| sentence(&status, peers, limit);
        assert!(say(&[], None).contains("nobody"));
        assert!(say(&[peer(95, false, true)], Some(100)).contains("your own limit"));
        assert!(say(&[peer(0, true, false)], None).contains("nobody has what is missing"));
        assert!(say(&[peer(0, true, true)], None).contains("waiting for a turn"));
        assert!(say(&[peer(95, false, true)], None).contains("one source: 192.0.2.1:5 sends 95 B/s"));
        assert!(say(&[peer(50, false, true), peer(45, false, true)], None).contains("uplinks"));
        let checking = Status { checking: Some((1, 2)), ..status.clone() };
        assert!(sentence(&checking, &[], None).contains("the disk"));
    }
}
