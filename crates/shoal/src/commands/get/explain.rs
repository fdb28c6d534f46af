//! `--explain`: the one thing that limits a download now, with the evidence, in a sentence.
//!
//! The rules go from certain to likely; the first that holds is told.

use crate::units;
use base::PieceIndex;
use node::Status;
use swarm::{HttpState, HttpStatus, PeerStatus, Phase};

/// What is known of a download at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How it is doing.
    pub status: &'a Status,
    /// Its peers.
    pub peers: &'a [PeerStatus],
    /// Its HTTP servers.
    pub servers: &'a [HttpStatus],
    /// A piece that nobody has who is here.
    pub missing: Option<PieceIndex>,
    /// The user's own limit, in bytes a second, if it holds anything back.
    pub limit: Option<u64>,
    /// Of the time since the last look, what the disk's thread spent on hashing and on writing, in percent.
    pub labour: (u64, u64),
}

/// The disk's thread is what binds when it works for so much of the time, in percent.
const BUSY: u64 = 85;

/// What limits it now.
pub fn sentence(facts: &Facts<'_>) -> String {
    let Facts { status, peers, servers, missing, limit, labour } = *facts;
    let t = &status.torrent;
    if let Some((done, all)) = status.checking {
        return format!("the disk: {} of {} that are there are checked", units::bytes(done), units::bytes(all));
    }
    let alive = servers.iter().any(|s| s.lanes > 0);
    if peers.is_empty() && !alive {
        let failed = servers.iter().find_map(|s| match &s.state {
            HttpState::Waits { why } => Some(format!("no server answers: {} waits, since {why}", s.name)),
            HttpState::Dropped { why } => {
                Some(format!("no server is left: {} is not used any more, since {why}; if it has changed there, the same command gets what is there now", s.name))
            }
            HttpState::Fine => None,
        });
        let lacks = || {
            let trouble = servers.iter().find_map(|s| Some(format!("{}: {}", s.name, s.trouble.as_ref()?)))?;
            let piece = missing.map(|p| format!(", piece {} for example", p.0)).unwrap_or_default();
            Some(format!("no server has what is missing{piece}; {trouble}"))
        };
        return match (failed.or_else(lacks), t.candidates) {
            (Some(failed), 0) => failed,
            (None, 0) if !servers.is_empty() => {
                format!("the first bytes are awaited: {} asked", be(servers.len()))
            }
            (None, 0) => "nobody to fetch from: no tracker or peer has named anybody yet".into(),
            (_, n) => format!("nobody is connected: {n} addresses are known, and none has answered yet"),
        };
    }
    if t.phase == Phase::Metadata {
        return format!("the description of the torrent has not arrived: {} peers are asked for it", peers.len());
    }
    if let Some(limit) = limit {
        return format!("your own limit: {} for all that comes (--limit-down)", units::rate(limit));
    }
    match labour {
        (hashing, writing) if hashing + writing < BUSY => {}
        (hashing, writing) if writing >= hashing => {
            return format!(
                "the disk: {writing} % of the time goes into writing to it, at {}",
                units::rate(t.rate_down)
            );
        }
        (hashing, _) => {
            return format!("hashing: {hashing} % of a core's time goes into it, at {}", units::rate(t.rate_down));
        }
    }
    let sending: Vec<&HttpStatus> = servers.iter().filter(|s| s.lanes > 0).collect();
    let useful: Vec<&PeerStatus> = peers.iter().filter(|p| p.am_interested).collect();
    if useful.is_empty() && sending.is_empty() {
        let piece = missing.map(|p| format!(", piece {} for example", p.0)).unwrap_or_default();
        return format!(
            "nobody has what is missing{piece}: {} are connected, and we have all that they have",
            count(peers.len(), "peer")
        );
    }
    let serving: Vec<&&PeerStatus> = useful.iter().filter(|p| !p.peer_choking).collect();
    if serving.is_empty() && sending.is_empty() {
        return format!(
            "waiting for a turn: {} have what is missing, and all of them choke us",
            count(useful.len(), "peer")
        );
    }
    let snubbed = serving.iter().filter(|p| p.snubbed).count();
    if snubbed == serving.len() && sending.is_empty() {
        return format!("the peers have gone silent: all {snubbed} that should serve have sent nothing for a while");
    }
    let of_peers = serving.iter().map(|p| (p.addr.to_string(), p.rate_down));
    let rates: Vec<(String, u64)> = of_peers.chain(sending.iter().map(|s| (s.name.clone(), s.rate))).collect();
    let sum: u64 = rates.iter().map(|(_, rate)| rate).sum();
    if sum == 0 {
        let all = [(sending.len(), "server"), (serving.len(), "peer")];
        let asked: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, one)| count(*n, one)).collect();
        return format!(
            "the first bytes are awaited: nothing has come from {} yet, or for a while",
            asked.join(" and ")
        );
    }
    match rates.iter().max_by_key(|(_, rate)| *rate) {
        Some((best, rate)) if rates.len() == 1 || rate * 10 >= sum * 9 => {
            format!("one source: the uplink of {best} gives {}, nearly all that comes", units::rate(*rate))
        }
        _ if sending.is_empty() => format!(
            "the uplinks of the peers: {} of {} serve, {} each on average",
            serving.len(),
            peers.len(),
            units::rate(sum / serving.len().max(1) as u64)
        ),
        _ => format!(
            "the uplinks of the sources: {} and {} serve, {} each on average",
            count(sending.len(), "server"),
            count(serving.len(), "peer"),
            units::rate(sum / rates.len().max(1) as u64)
        ),
    }
}

fn be(servers: usize) -> String {
    format!("{} {}", count(servers, "server"), if servers == 1 { "is" } else { "are" })
}

fn count(n: usize, one: &str) -> String {
    units::count(n as u64, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ConnId;
    use node::disk::Labour;
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
        let status = Status { torrent, checking: None, complete: false, error: None, labour: Labour::default() };
        let facts = |status, peers, limit| Facts {
            status,
            peers,
            servers: &[],
            missing: Some(PieceIndex(7)),
            limit,
            labour: (10, 20),
        };
        let say =
            |peers: &[PeerStatus], limit| sentence(&Facts { status: &status, peers, ..facts(&status, &[], limit) });
        assert!(say(&[], None).contains("nobody"));
        assert!(say(&[peer(95, false, true)], Some(100)).contains("your own limit: 100 B/s"));
        assert!(say(&[peer(0, true, false)], None).contains("nobody has what is missing, piece 7"));
        assert!(say(&[peer(0, true, true)], None).contains("waiting for a turn"));
        let silent = say(&[peer(0, false, true)], None);
        assert!(silent.contains("awaited: nothing has come from 1 peer yet"), "{silent}");
        assert!(say(&[peer(95, false, true)], None).contains("one source: the uplink of 192.0.2.1:5 gives 95 B/s"));
        assert!(say(&[peer(50, false, true), peer(45, false, true)], None).contains("uplinks"));
        let one = [peer(95, false, true)];
        let busy = |labour| sentence(&Facts { labour, ..facts(&status, &one, None) });
        assert!(busy((5, 90)).contains("the disk: 90 %"));
        assert!(busy((60, 30)).contains("hashing: 60 %"));
        let server = |state, lanes, trouble| HttpStatus {
            id: 0,
            name: "http://h/".into(),
            lanes,
            rate: 95,
            bytes: 0,
            state,
            trouble,
        };
        let of = |server: &HttpStatus| {
            sentence(&Facts { servers: std::slice::from_ref(server), ..facts(&status, &[], None) })
        };
        assert!(of(&server(HttpState::Fine, 1, None)).contains("one source: the uplink of http://h/ gives 95 B/s"));
        let waits = HttpState::Waits { why: "refused".into() };
        assert!(of(&server(waits, 0, None)).contains("no server answers: http://h/ waits, since refused"));
        assert!(of(&server(HttpState::Fine, 0, None)).contains("awaited: 1 server is asked"));
        let lacks = of(&server(HttpState::Fine, 0, Some("404".into())));
        assert!(lacks.contains("piece 7") && lacks.contains("http://h/: 404"), "{lacks}");
        let checking = Status { checking: Some((1, 2)), ..status.clone() };
        assert!(sentence(&facts(&checking, &[], None)).contains("the disk"));
    }
}
