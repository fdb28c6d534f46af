//! What trackers and their clients send one another, over HTTP and UDP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base::{InfoHash, Instant, PeerId, Rng};
use tracker::Server;
use wire::tracker::{Announce, AnnounceEvent, Counts, http, udp};

use super::words;

const HASH: InfoHash = InfoHash([9; 20]);
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

fn announce() -> Announce {
    Announce {
        info_hash: HASH,
        peer_id: PeerId([8; 20]),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 4,
        numwant: Some(50),
    }
}

pub(super) fn http_reply_examples() -> Vec<Vec<u8>> {
    [
        &b"d8:completei1e10:incompletei2e8:intervali1800e12:min intervali60e5:peers6:\x01\x02\x03\x04\x1a\xe16:peers60:e"[..],
        b"d8:intervali1800e5:peersld2:ip9:127.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eeee",
        b"d14:failure reason7:refused8:retry in5:nevere",
        b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3eeee",
    ]
    .map(<[u8]>::to_vec)
    .into()
}

pub(super) fn http_reply(input: &[u8]) -> Result<String, String> {
    let announce = http::parse_announce_reply(input);
    let scrape = http::parse_scrape_reply(input);
    match &announce {
        Ok(http::Reply::Answer(answer)) => {
            assert!(answer.warning.as_ref().is_none_or(|w| !w.contains(char::is_control)), "fit to be shown");
        }
        Ok(http::Reply::Failure(failure)) => {
            assert!(!failure.reason.contains(char::is_control), "fit to be shown");
            let mut written = Vec::new();
            http::write_failure(failure, &mut written);
            assert!(
                matches!(http::parse_announce_reply(&written), Ok(http::Reply::Failure(f)) if f.reason == failure.reason)
            );
        }
        Err(error) => return Err(words(error)),
    }
    Ok(format!("{} {}", matches!(announce, Ok(http::Reply::Answer(a)) if !a.peers.is_empty()), scrape.is_ok()))
}

pub(super) fn http_request_examples() -> Vec<Vec<u8>> {
    let query = |url: String| url.split_once('?').map(|(_, query)| query.as_bytes().to_vec()).unwrap_or_default();
    let scrape = http::scrape_url("http://a/announce", &[HASH, InfoHash([1; 20])]).unwrap_or_default();
    vec![query(http::announce_url("http://a/announce", &announce(), Some(b"id"))), query(scrape)]
}

pub(super) fn http_request(input: &[u8]) -> Result<String, String> {
    let query = std::str::from_utf8(input).map_err(|_| "no text".to_owned())?;
    let read = http::parse_announce(query);
    let scraped = http::parse_scrape(query);
    if let Ok(request) = &read {
        let url = http::announce_url("http://a/announce", &request.announce, None);
        let (_, query) = url.split_once('?').expect("a query of ours");
        assert_eq!(http::parse_announce(query).map(|r| r.announce), Ok(request.announce), "written and read again");
    }
    // The whole tracker answers, whatever it is, with a dictionary.
    let mut server = server();
    let replies =
        [server.announce_http(Instant::ZERO, query, IpAddr::V4(CLIENT)), server.scrape_http(query, IpAddr::V4(CLIENT))];
    for reply in replies {
        assert!(reply.starts_with(b"d") && reply.ends_with(b"e"));
    }
    match (read, scraped) {
        (Ok(request), _) => Ok(format!("{:?} {}", request.announce.event, request.compact)),
        (_, Ok(hashes)) => Ok(format!("scrape {}", hashes.is_empty())),
        (Err(error), Err(_)) => Err(words(error)),
    }
}

pub(super) fn udp_reply_examples() -> Vec<Vec<u8>> {
    let mut announce = Vec::new();
    udp::write_announce_reply(7, Duration::from_secs(1800), 2, 1, &mut announce);
    announce.extend([1, 2, 3, 4, 0x1a, 0xe1]);
    let mut scrape = Vec::new();
    udp::write_scrape_reply(7, [Counts { seeders: 1, leechers: 2, downloads: 3 }], &mut scrape);
    let mut error = Vec::new();
    udp::write_error(7, "refused", &mut error);
    vec![udp::connect_reply(7, 8).to_vec(), announce, scrape, error]
}

pub(super) fn udp_reply(input: &[u8]) -> Result<String, String> {
    let reply = udp::Response::parse(input, IpAddr::V4(CLIENT)).map_err(words)?;
    assert_eq!(reply.transaction().to_be_bytes(), input[4..8]);
    Ok(match reply {
        udp::Response::Connect { .. } => "connect".into(),
        udp::Response::Announce { peers, .. } => format!("announce {}", peers.is_empty()),
        udp::Response::Scrape { counts, .. } => format!("scrape {}", counts.is_empty()),
        udp::Response::Error { message, .. } => {
            assert!(!message.contains(char::is_control), "fit to be shown");
            format!("error {}", message.is_empty())
        }
    })
}

pub(super) fn udp_request_examples() -> Vec<Vec<u8>> {
    let (mut announced, mut scraped) = (Vec::new(), Vec::new());
    udp::write_announce_request(5, 6, &announce(), b"/announce?key=1", &mut announced);
    udp::write_scrape_request(5, 6, &[HASH], &mut scraped);
    vec![udp::connect_request(7).to_vec(), announced, scraped]
}

pub(super) fn udp_request(input: &[u8]) -> Result<String, String> {
    // Whoever has not proven its address gets no more bytes than it sent; after that, the answers are bounded too.
    let from = SocketAddr::from((CLIENT, 999));
    let mut server = server();
    let mut reply = Vec::new();
    if server.udp(Instant::ZERO, from, input, &mut reply) {
        assert!(reply.len() <= input.len(), "{} bytes for {} of a stranger", reply.len(), input.len());
    }
    reply.clear();
    server.udp(Instant::ZERO, from, &udp::connect_request(1), &mut reply);
    if let (Some(connection), true) = (reply.get(8..16), input.len() >= 16) {
        let mut proven = input.to_vec();
        proven[..8].copy_from_slice(connection);
        let mut answer = Vec::new();
        server.udp(Instant::ZERO, from, &proven, &mut answer);
        assert!(answer.len() <= 2_048, "an answer of {} bytes", answer.len());
    }
    match udp::Request::parse(input).map_err(words)? {
        udp::Request::Connect { .. } => Ok("connect".into()),
        udp::Request::Announce { announce, options, .. } => {
            let url = options.url_data().map(|u| u.len().min(1));
            Ok(format!("{:?} {url:?} {}", announce.event, announce.numwant.is_some()))
        }
        udp::Request::Scrape { hashes, .. } => Ok(format!("scrape {}", hashes.is_empty())),
    }
}

fn server() -> Server {
    let mut server = Server::new(tracker::server::Config::small(), Rng::from_seed(1));
    let other = Announce { peer_id: PeerId([1; 20]), left: 0, ..announce() };
    let url = http::announce_url("http://a/announce", &other, None);
    let (_, query) = url.split_once('?').expect("a query of ours");
    server.announce_http(Instant::ZERO, query, IpAddr::V4(Ipv4Addr::new(203, 0, 113, 6)));
    server
}
