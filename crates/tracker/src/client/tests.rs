//! The client against trackers in virtual time: timing, tiers, families, good-byes, and answers of people who mean no good.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, JobId, Rng, Scope};
use proptest::prelude::*;

use super::*;
use crate::server;
use crate::world::{HASH, HASH_V2, World, addr, config};

const HTTP: &str = "http://192.0.2.1:80/announce";
const UDP: &str = "udp://192.0.2.1:6969";

fn set(addrs: &[&str]) -> BTreeSet<SocketAddr> {
    addrs.iter().map(|a| addr(a)).collect()
}

fn events(world: &World, i: usize) -> Vec<String> {
    let event = |o: &Output| match o {
        Output::Fetch { url, .. } => {
            let event = url.split("&event=").nth(1).map(|rest| rest.split('&').next().unwrap_or_default());
            Some(event.unwrap_or("none").to_owned())
        }
        _ => None,
    };
    world.peers[i].said.iter().filter_map(|(_, o)| event(o)).collect()
}

fn page(body: &[u8]) -> HttpReply {
    HttpReply { status: 200, location: None, body: body.to_vec() }
}

#[test]
fn peers_meet_over_http_and_udp() {
    for url in [HTTP, UDP] {
        let mut world = World::default();
        world.server(if url == HTTP { "192.0.2.1:80" } else { "192.0.2.1:6969" }, server::Config::default());
        let seed = world.peer(&["198.51.100.1"], config(&[&[url]]), 0);
        let leecher = world.peer(&["198.51.100.2"], config(&[&[url]]), 100);
        assert_eq!(world.told(seed), set(&[]), "{url}");
        assert_eq!(world.told(leecher), set(&["198.51.100.1:6881"]), "{url}");
        let status = world.peers[leecher].client.statuses().next().unwrap();
        assert_eq!((status.state, status.seeders, status.leechers), (State::Working, Some(1), Some(1)));
        assert!(status.next >= Instant::from_secs(1800) && status.next <= Instant::from_secs(1800 * 9 / 8 + 1));
        world.run_secs(3600);
        assert_eq!(world.told(seed), set(&["198.51.100.2:6881"]), "{url}");
    }
}

#[test]
fn started_then_nothing_then_completed_then_stopped() {
    let mut world = World::default();
    world.server("192.0.2.1:80", server::Config::default());
    let i = world.peer(&["198.51.100.1"], config(&[&[HTTP]]), 100);
    world.run_secs(2100);
    world.tell(i, Input::Stats(Stats { left: 0, ..Stats::default() }));
    world.tell(i, Input::Completed);
    world.tell(i, Input::Stop);
    assert_eq!(events(&world, i), ["started", "none", "completed", "stopped"]);
    assert!(matches!(world.peers[i].said.last(), Some((at, Output::Stopped)) if *at == world.now));
    assert_eq!(world.peers[i].client.deadline(), None);
    let server = world.server("192.0.2.1:80", server::Config::default());
    assert_eq!((server.counts(HASH).downloads, server.totals().peers), (1, 0));
    world.tell(i, Input::Start);
    assert_eq!(events(&world, i).last().unwrap(), "started");
}

#[test]
fn stop_says_nothing_to_trackers_that_know_nothing_and_waits_for_nobody_long() {
    let mut world = World::default();
    let i = world.peer(&["198.51.100.1"], config(&[&["http://name.example/announce"]]), 100);
    world.tell(i, Input::Stop);
    assert_eq!(world.asked(i), []);
    assert!(matches!(world.peers[i].said.last(), Some((_, Output::Stopped))));

    let mut world = World::default();
    world.server("192.0.2.1:6969", server::Config::default());
    let i = world.peer(&["198.51.100.1"], config(&[&[UDP]]), 100);
    world.mute.insert(addr("192.0.2.1:6969"));
    world.run_secs(10);
    world.tell(i, Input::Stop);
    assert!(!matches!(world.peers[i].said.last(), Some((_, Output::Stopped))));
    world.run_secs(10);
    let byes: Vec<_> = world.asked(i).iter().map(|a| a.0).filter(|at| *at >= 10).collect();
    assert_eq!(byes, [10, 11], "there is time to repeat it");
    let stopped = world.peers[i].said.last();
    assert!(matches!(stopped, Some((at, Output::Stopped)) if *at == Instant::from_secs(13)), "{stopped:?}");
    world.tell(i, Input::Stop);
    assert!(matches!(world.peers[i].said.last(), Some((_, Output::Stopped))), "each Stop is answered");
}

#[test]
fn failures_are_retried_ever_more_slowly() {
    let mut world = World::default();
    let i = world.peer(&["198.51.100.1"], config(&[&[HTTP]]), 100);
    world.run_secs(600);
    let times: Vec<_> = world.asked(i).iter().map(|a| a.0).collect();
    assert_eq!(times, [0, 17, 72, 190, 395], "17.5, 55, 117.5, 205 s apart");
    assert_eq!(world.states(i)[0], (HTTP.to_owned(), State::Failed, "connection refused".to_owned()));
    assert_eq!(super::tracker::backoff(u32::MAX), RETRY_MAX);
    world.server("192.0.2.1:80", server::Config::default());
    world.run_secs(400);
    assert_eq!(world.states(i)[0].1, State::Working);
}

#[test]
fn udp_is_repeated_once_and_then_retried() {
    let mut world = World::default();
    let i = world.peer(&["198.51.100.1"], config(&[&[UDP]]), 100);
    world.run_secs(70);
    let times: Vec<_> = world.asked(i).iter().map(|a| a.0).collect();
    assert_eq!(times, [0, 15, 62], "15 s, 30 s, then the wait after a failure");
}

#[test]
fn a_tier_promotes_who_answers() {
    let urls = ["http://192.0.2.1/announce", "http://192.0.2.2/announce", "http://192.0.2.3/announce"];
    for seed in 0..8 {
        let mut world = World::default();
        world.server("192.0.2.2:80", server::Config::default());
        (0..seed).for_each(|_| _ = world.peer(&["198.51.100.9"], config(&[]), 1));
        let i = world.peer(&["198.51.100.1"], config(&[&urls]), 100);
        let asked = world.asked(i);
        assert_eq!(asked.last().unwrap().1, addr("192.0.2.2:80"));
        assert!(asked.iter().all(|a| a.0 == 0), "the next one is tried at once");
        world.run_secs(5000);
        assert!(world.asked(i)[asked.len()..].iter().all(|a| a.1 == addr("192.0.2.2:80")), "the others are left alone");
        world.servers.clear();
        world.server("192.0.2.3:80", server::Config::default());
        world.run_secs(5000);
        assert_eq!(world.asked(i).last().unwrap().1, addr("192.0.2.3:80"));
        assert_eq!(world.states(i)[2].1, State::Working);
        // The second knew us, and the third does: both get a good-bye.
        world.tell(i, Input::Stop);
        let last: BTreeSet<_> = world.asked(i).iter().rev().take(2).map(|a| a.1).collect();
        assert_eq!(last, set(&["192.0.2.2:80", "192.0.2.3:80"]));
    }
}

#[test]
fn every_tier_is_announced_to() {
    let mut world = World::default();
    world.server("192.0.2.1:80", server::Config::default());
    world.server("192.0.2.2:80", server::Config::default());
    let i = world.peer(&["198.51.100.1"], config(&[&[HTTP], &["http://192.0.2.2/announce"]]), 100);
    assert_eq!(world.asked(i).len(), 2);
    world.tell(i, Input::AddTracker("http://192.0.2.3/announce".into()));
    world.tell(i, Input::AddTracker("http://192.0.2.3/announce".into()));
    assert_eq!(world.asked(i).len(), 3);
}

#[test]
fn both_families_and_both_hashes() {
    for scheme in ["http://t.example:80/announce", "udp://t.example:80"] {
        let mut world = World::default();
        world.server("192.0.2.1:80", server::Config::default());
        world.server("[2001:db8::1]:80", server::Config::default());
        world.names.insert("t.example".into(), vec![addr("192.0.2.1:0"), addr("[2001:db8::1]:0")]);
        let hybrid = Config { hashes: vec![HASH, HASH_V2], ..config(&[&[scheme]]) };
        world.peer(&["198.51.100.1", "2001:db8::99"], Config { hashes: vec![HASH_V2], ..hybrid.clone() }, 0);
        let i = world.peer(&["198.51.100.2", "2001:db8::98"], hybrid, 100);
        assert_eq!(world.told(i), set(&["198.51.100.1:6881", "[2001:db8::99]:6881"]), "{scheme}");
        for server in world.servers.values() {
            assert_eq!((server.totals().swarms, server.totals().peers), (2, 3), "{scheme}");
        }
        // A broken family does not hold up the other one.
        world.mute.insert(addr("[2001:db8::1]:80"));
        world.run_secs(6000);
        assert_eq!(world.states(i)[0].1, State::Working);
        assert_eq!(world.servers[&addr("192.0.2.1:80")].totals().peers, 3);
    }
}

#[test]
fn the_next_address_is_tried_when_one_does_not_answer() {
    let mut world = World::default();
    world.server("192.0.2.2:80", server::Config::default());
    world.names.insert("t.example".into(), vec![addr("192.0.2.1:0"), addr("192.0.2.2:0")]);
    let i = world.peer(&["198.51.100.1"], config(&[&["http://t.example/announce"]]), 100);
    world.run_secs(20);
    assert_eq!(world.asked(i), [(0, addr("192.0.2.1:80")), (17, addr("192.0.2.2:80"))]);
    assert_eq!(world.states(i)[0].1, State::Working);
}

#[test]
fn whoever_lacks_peers_asks_earlier_but_not_at_any_rate() {
    let ask = |tracker: &str, me: &str, server: server::Config| {
        let mut world = World::default();
        world.server(tracker, server);
        let url = format!("http://{tracker}/announce");
        let i = world.peer(&[me], config(&[&[&url]]), 100);
        for _ in 0..200 {
            world.tell(i, Input::NeedPeers);
            world.run_secs(1);
        }
        world.asked(i).iter().map(|a| a.0).collect::<Vec<_>>()
    };
    assert_eq!(ask("127.0.0.1:8080", "127.0.0.1", server::Config::small())[..4], [0, 5, 10, 15]);
    assert_eq!(ask("192.0.2.1:80", "198.51.100.1", server::Config::small())[..4], [0, 60, 120, 180]);
    let slow = server::Config { interval_min: Duration::from_secs(90), ..server::Config::small() };
    let slow = server::Config { interval: Duration::from_secs(900), ..slow };
    assert_eq!(ask("127.0.0.1:8080", "127.0.0.1", slow)[..], [0, 90, 180]);
}

#[test]
fn peers_inside_are_named_by_trackers_inside_only() {
    let body = b"d8:intervali1800e5:peers24:\x7f\0\0\x01\x1a\xe1\x0a\0\0\x01\x1a\xe1\x08\x08\x08\x08\0\0\x08\x08\x08\x08\0\x05e";
    let told_by = |tracker: &str| {
        let mut world = World::default();
        world.pages.insert(addr(tracker), page(body));
        let i = world.peer(&["198.51.100.1"], config(&[&[&format!("http://{tracker}/announce")]]), 100);
        let scope = world.peers[i].said.iter().find_map(|(_, o)| match o {
            Output::Peers { told_by, .. } => Some(*told_by),
            _ => None,
        });
        (scope.unwrap(), world.told(i))
    };
    assert_eq!(told_by("192.0.2.1:80"), (Scope::Global, set(&["8.8.8.8:5"])));
    assert_eq!(told_by("10.0.0.9:80"), (Scope::Private, set(&["8.8.8.8:5", "10.0.0.1:6881"])));
    let all = set(&["8.8.8.8:5", "10.0.0.1:6881", "127.0.0.1:6881"]);
    assert_eq!(told_by("127.0.0.1:80"), (Scope::Loopback, all));
}

#[test]
fn nothing_inside_is_fetched_that_is_no_tracker() {
    let try_url = |url: &str| {
        let mut world = World::default();
        world.names.insert("inside.example".into(), vec![addr("10.0.0.1:0")]);
        world.names.insert("metadata.example".into(), vec![addr("169.254.169.254:0")]);
        let i = world.peer(&["198.51.100.1"], config(&[&[url]]), 100);
        (world.asked(i).len(), world.states(i)[0].1)
    };
    for url in [
        "http://127.0.0.1/reboot",
        "http://inside.example/x?y=/announce",
        "http://metadata.example/latest",
        "http://[::ffff:127.0.0.1]/",
    ] {
        assert_eq!(try_url(url), (0, State::Refused), "{url}");
    }
    assert_eq!(try_url("http://127.0.0.1/announce"), (1, State::Failed));
    assert_eq!(try_url("http://inside.example/key/announce"), (1, State::Failed));
    assert_eq!(try_url("http://0.0.0.0/announce"), (0, State::Refused));
    assert_eq!(try_url("wss://t.example/announce"), (0, State::Refused));
}

#[test]
fn redirects_lead_nowhere_inside() {
    let follow = |location: &str| {
        let mut world = World::default();
        world.names.insert("inside.example".into(), vec![addr("10.0.0.1:0")]);
        world.names.insert("other.example".into(), vec![addr("192.0.2.7:0")]);
        let redirect = HttpReply { status: 302, location: Some(location.to_owned()), body: Vec::new() };
        world.pages.insert(addr("192.0.2.1:80"), redirect);
        world.pages.insert(addr("192.0.2.7:80"), page(b"d8:intervali1800e5:peers0:e"));
        let i = world.peer(&["198.51.100.1"], config(&[&[HTTP]]), 100);
        (world.asked(i).len(), world.states(i)[0].1)
    };
    assert_eq!(follow("http://192.0.2.7/announce?x"), (2, State::Working));
    assert_eq!(follow("http://other.example/announce?x"), (2, State::Working));
    assert_eq!(follow("http://127.0.0.1/announce"), (1, State::Failed));
    assert_eq!(follow("http://inside.example/announce"), (1, State::Failed));
    assert_eq!(follow("http://nowhere.example/"), (1, State::Failed));
    assert_eq!(follow("/announce"), (6, State::Failed), "in circles");
    assert_eq!(follow("ftp://192.0.2.7/"), (1, State::Failed));
}

#[test]
fn refusals_are_shown_and_obeyed() {
    let refuse = |reply: HttpReply| {
        let mut world = World::default();
        world.pages.insert(addr("192.0.2.1:80"), reply);
        let i = world.peer(&["198.51.100.1"], config(&[&[HTTP]]), 100);
        world.run_secs(1000);
        (world.states(i)[0].2.clone(), world.asked(i).len())
    };
    assert_eq!(refuse(page(b"d14:failure reason2:no8:retry in5:nevere")), ("no".into(), 1));
    assert_eq!(refuse(page(b"d14:failure reason2:no8:retry ini10ee")), ("no".into(), 2));
    assert_eq!(refuse(page(b"d14:failure reason2:noe")).0, "no");
    assert_eq!(refuse(HttpReply { status: 404, body: b"<html>".to_vec(), location: None }).0, "HTTP status 404");
    assert_eq!(refuse(HttpReply { status: 403, ..page(b"d14:failure reason2:noe") }).0, "no");
    assert!(refuse(page(b"<html>")).1 > 2);
}

#[test]
fn intervals_of_strangers_are_bounded() {
    let next = |interval: &str, tracker: &str| {
        let mut world = World::default();
        let body = format!("d8:intervali{interval}e5:peers0:e");
        world.pages.insert(addr(tracker), page(body.as_bytes()));
        let i = world.peer(&["198.51.100.1"], config(&[&[&format!("http://{tracker}/announce")]]), 100);
        world.peers[i].client.statuses().next().unwrap().next.since(Instant::ZERO)
    };
    assert_eq!(next("0", "192.0.2.1:80"), INTERVAL_MIN);
    assert_eq!(next("0", "127.0.0.1:80"), INTERVAL_MIN_LOCAL);
    assert_eq!(next("99999999999", "192.0.2.1:80"), INTERVAL_MAX);
    assert_eq!(next("-5", "192.0.2.1:80"), Duration::from_secs(1800));
}

#[test]
fn spoofed_datagrams_count_for_nothing() {
    let mut client = Client::new(config(&[&[UDP]]), Rng::from_seed(1));
    let now = Instant::from_secs(1);
    client.handle(now, Input::Start);
    let sent = std::iter::from_fn(|| client.poll()).find_map(|o| match o {
        Output::Datagram { to, data } => Some((to, data)),
        _ => None,
    });
    let (to, data) = sent.unwrap();
    let reply = wire::tracker::udp::connect_reply(u32::from_be_bytes(data[12..16].try_into().unwrap()), 5);
    let mut guessed = reply;
    guessed[4] ^= 1;
    assert!(client.owns(to, &reply));
    for (from, data) in [
        (addr("192.0.2.1:6970"), &reply[..]),
        (addr("192.0.2.2:6969"), &reply[..]),
        (to, &guessed[..]),
        (to, &reply[..7]),
    ] {
        assert!(!client.owns(from, data));
        client.handle(now, Input::Datagram { from, data: data.to_vec() });
        assert_eq!(client.poll(), None);
    }
    // An announce is no answer to a connect, and a short one none to anything.
    let mut announced = Vec::new();
    wire::tracker::udp::write_announce_reply(
        u32::from_be_bytes(reply[4..8].try_into().unwrap()),
        Duration::from_secs(9),
        1,
        1,
        &mut announced,
    );
    client.handle(now, Input::Datagram { from: to, data: announced });
    client.handle(now, Input::Datagram { from: to, data: reply[..12].to_vec() });
    assert_eq!(client.poll(), None);
    let mapped = SocketAddr::new(addr("[::ffff:192.0.2.1]:0").ip(), 6969);
    client.handle(now, Input::Datagram { from: mapped, data: reply.to_vec() });
    assert!(matches!(client.poll(), Some(Output::Datagram { .. })), "a socket of both families");
    client.handle(now, Input::Datagram { from: to, data: reply.to_vec() });
    assert_eq!(client.poll(), None, "an answer counts once");
}

#[test]
fn connection_ids_are_used_for_a_minute() {
    let mut world = World::default();
    world.server("127.0.0.1:6969", server::Config::small());
    let i = world.peer(&["127.0.0.1"], config(&[&["udp://127.0.0.1:6969"]]), 100);
    let lens = |world: &mut World| {
        let said = std::mem::take(&mut world.peers[i].said);
        let len = |o: &Output| if let Output::Datagram { data, .. } = o { Some(data.len()) } else { None };
        said.iter().filter_map(|(_, o)| len(o)).collect::<Vec<_>>()
    };
    assert_eq!(lens(&mut world), [16, 98]);
    world.run_secs(10);
    world.tell(i, Input::NeedPeers);
    assert_eq!(lens(&mut world), [98]);
    world.run_secs(70);
    assert_eq!(lens(&mut world), [16, 98]);
}

#[test]
fn scrapes() {
    for url in [HTTP, "udp://192.0.2.1:80"] {
        let mut world = World::default();
        world.server("192.0.2.1:80", server::Config::default());
        world.peer(&["198.51.100.1"], config(&[&[url]]), 0);
        let i = world.peer(&["198.51.100.2"], config(&[&[url]]), 100);
        world.tell(i, Input::Scrape);
        let scraped = world.peers[i].said.iter().find_map(|(_, o)| match o {
            Output::Scraped { info_hash, seeders, leechers, downloads, .. } => {
                Some((*info_hash, *seeders, *leechers, *downloads))
            }
            _ => None,
        });
        assert_eq!(scraped, Some((HASH, 1, 1, 0)), "{url}");
        assert_eq!(world.servers[&addr("192.0.2.1:80")].totals().scrapes, 1);
    }
}

#[test]
fn a_second_hash_is_announced_once_it_is_known() {
    let mut world = World::default();
    world.server("192.0.2.1:80", server::Config::default());
    let i = world.peer(&["198.51.100.1"], config(&[&[HTTP]]), 100);
    world.tell(i, Input::AddHash(HASH_V2));
    world.tell(i, Input::AddHash(HASH_V2));
    assert_eq!(world.asked(i).len(), 2);
    assert_eq!(world.servers[&addr("192.0.2.1:80")].totals().swarms, 2);
}

#[test]
fn external_addresses_and_paused() {
    let mut world = World::default();
    world.server("192.0.2.1:80", server::Config::default());
    let i = world.peer(&["198.51.100.1"], config(&[&[HTTP]]), 100);
    let external = Output::ExternalIp { ip: addr("198.51.100.1:0").ip(), from: addr("192.0.2.1:80") };
    assert!(world.peers[i].said.iter().any(|(_, o)| *o == external));
    world.tell(i, Input::Stats(Stats { left: 100, partial_seed: true, ..Stats::default() }));
    world.run_secs(2100);
    assert_eq!(events(&world, i), ["started", "paused"]);
}

#[test]
fn limits() {
    let urls: Vec<String> = (0..300).map(|i| format!("http://192.0.2.1:{}/announce", 1000 + i)).collect();
    let many = Config { tiers: urls.iter().map(|u| vec![u.clone()]).collect(), ..config(&[]) };
    let client = Client::new(many, Rng::from_seed(0));
    assert_eq!(client.statuses().count(), TRACKERS_MAX);
    let mut world = World::default();
    world.names.insert("t.example".into(), (1..250).map(|i| addr(&format!("192.0.2.{i}:0"))).collect());
    let i = world.peer(&["198.51.100.1"], config(&[&["http://t.example/announce"]]), 100);
    world.run_secs(3600);
    let hosts: BTreeSet<_> = world.asked(i).into_iter().map(|a| a.1).collect();
    assert_eq!(hosts.len(), ADDRESSES_MAX);
}

fn any_input() -> impl Strategy<Value = Input> {
    let from = prop_oneof![Just(addr("192.0.2.1:6969")), Just(addr("127.0.0.1:80"))];
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        Just(b"d8:intervali1e5:peers6:\x08\x08\x08\x08\0\x05e".to_vec()),
        Just(b"d14:failure reason2:no8:retry ini10ee".to_vec()),
    ];
    let location = proptest::option::of(prop_oneof![
        Just("/announce".to_owned()),
        Just("http://x/announce".to_owned()),
        ".{0,10}"
    ]);
    let reply = (0u16..600, location, body).prop_map(|(status, location, body)| HttpReply { status, location, body });
    let job = (0u64..30).prop_map(JobId);
    prop_oneof![
        Just(Input::Start),
        Just(Input::Stop),
        Just(Input::Completed),
        Just(Input::NeedPeers),
        Just(Input::Scrape),
        Just(Input::AddHash(HASH_V2)),
        Just(Input::Tick),
        Just(Input::Tick),
        "(http|udp)://[a-z:/1.]{0,12}".prop_map(Input::AddTracker),
        (job.clone(), proptest::result::maybe_ok(reply, "no")).prop_map(|(job, result)| Input::Fetched { job, result }),
        (job, proptest::result::maybe_ok(proptest::collection::vec(any::<SocketAddr>(), 0..4), "no"))
            .prop_map(|(job, result)| Input::Resolved { job, result }),
        (from, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(from, data)| Input::Datagram { from, data }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
    #[test]
    fn never_panics_nor_stands_still(inputs in proptest::collection::vec((any_input(), 0u64..100, any::<bool>()), 0..60)) {
        let tiers: &[&[&str]] = &[&[UDP, "http://x.example/announce"], &["http://127.0.0.1/announce"]];
        let mut client = Client::new(config(tiers), Rng::from_seed(1));
        let mut now = Instant::from_secs(1);
        let mut sent: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        for (input, wait, echo) in inputs {
            let input = match (input, sent.last()) {
                // An answer with the right transaction, so that more than the front door is tried.
                (Input::Datagram { mut data, .. }, Some((to, asked))) if echo && data.len() >= 8 => {
                    data[4..8].copy_from_slice(&asked[12..16]);
                    let action = data[0] % 4;
                    data[..4].copy_from_slice(&[0, 0, 0, action]);
                    Input::Datagram { from: *to, data }
                }
                (input, _) => input,
            };
            client.handle(now, input);
            let mut outputs = 0;
            while let Some(output) = client.poll() {
                outputs += 1;
                if let Output::Datagram { to, data } = output {
                    sent.push((to, data));
                }
            }
            prop_assert!(outputs < 100);
            prop_assert!(client.deadline().is_none_or(|t| t > now), "{:?} at {:?}", client.deadline(), now);
            now += Duration::from_secs(wait);
            if client.deadline().is_some_and(|t| t <= now) {
                client.handle(now, Input::Tick);
            }
        }
    }
}
