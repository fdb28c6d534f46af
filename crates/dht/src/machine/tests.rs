//! Whole networks, small and large.

use super::*;
use crate::items::Item;
use crate::world::{World, local, public, public6};
use crate::{Announce, Name, fits};
use base::InfoHash;
use std::time::Duration;

mod hostile;

const HASH: InfoHash = InfoHash([7; 20]);

fn lookup(job: u64) -> Input {
    Input::Lookup { job: JobId(job), info_hash: HASH, announce: None, scrape: false }
}

fn announce(job: u64, port: u16, seed: bool) -> Input {
    let announce = Announce { port: (port != 0).then_some(port), seed };
    Input::Lookup { job: JobId(job), info_hash: HASH, announce: Some(announce), scrape: false }
}

#[test]
fn two_nodes_are_a_network() {
    let mut world = World::new(1);
    let a = world.join(&[local(0)], Config::default(), None);
    let b = world.join(&[local(1)], Config::default(), Some(a));
    world.run_secs(2);
    assert_eq!(world.nodes[b].dht.stats(world.now).v4.unwrap().good, 1);
    world.tell(b, announce(1, 5000, false));
    world.run_secs(2);
    assert_eq!(world.done(b, 1).unwrap().stored, 1);
    // The one that stored it knows it by itself, though it has nobody else to ask.
    world.tell(a, lookup(2));
    world.run_secs(5);
    assert_eq!(world.found(a, 2), ["127.0.0.1:5000".parse().unwrap()]);
    assert_eq!(world.done(a, 2).unwrap().found, 1);
}

#[test]
fn thirty_nodes_on_one_machine() {
    let mut world = World::network(2, 30, local);
    for node in &world.nodes {
        let stats = node.dht.stats(world.now).v4.unwrap();
        assert!(stats.good >= 20, "{stats:?}");
    }
    world.tell(3, announce(1, 0, false));
    world.tell(17, announce(1, 999, true));
    world.run_secs(5);
    assert_eq!(world.done(3, 1).unwrap().stored, 8);
    for i in [0, 9, 29] {
        world.tell(i, Input::Lookup { job: JobId(2), info_hash: HASH, announce: None, scrape: true });
        world.run_secs(5);
        assert_eq!(world.found(i, 2), ["127.0.0.1:999".parse().unwrap(), local(3)], "implied ports, and explicit ones");
        let done = world.done(i, 2).unwrap();
        assert_eq!((done.seeds.map(f64::round), done.peers.map(f64::round)), (Some(1.0), Some(1.0)));
    }
}

#[test]
fn hundreds_with_loss_and_dead_nodes() {
    let mut world = World::network(3, 300, public);
    world.loss_one_in = 50;
    let good: usize = world.nodes.iter().map(|n| n.dht.stats(world.now).v4.unwrap().good).sum();
    assert!(good / 300 >= 60, "{} nodes known on average", good / 300);
    // Ids follow the addresses, which others see (BEP 42).
    let own = world.nodes.iter().filter(|n| fits(&n.dht.stats(world.now).v4.unwrap().id, n.addrs[0].ip())).count();
    assert!(own >= 290, "{own} ids fit their address");

    world.tell(5, announce(1, 4000, false));
    world.run_secs(20);
    assert!(world.done(5, 1).unwrap().stored >= 7, "{:?}", world.done(5, 1));
    // One in five dies without a word.
    let dead: Vec<_> = (0..300).filter(|i| i % 5 == 1).collect();
    dead.iter().for_each(|i| world.kill(*i));
    let peer = SocketAddr::new(public(5).ip(), 4000);
    let mut times = Vec::new();
    for i in (0..300).filter(|i| i % 5 == 2) {
        world.tell(i, lookup(2));
        world.run_secs(20);
        assert_eq!(world.found(i, 2), [peer], "node {i}: {:?}", world.done(i, 2));
        times.push(world.done(i, 2).unwrap().time);
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_secs(1), "the median is {:?}", times[times.len() / 2]);
    // An hour later the dead are forgotten, and the announce was repeated all the time.
    world.run_secs(3_600);
    world.tell(7, lookup(3));
    world.run_secs(20);
    assert_eq!(world.found(7, 3), [peer]);
    let alive = world.nodes.iter().filter(|n| n.alive);
    let known: Vec<_> = alive.flat_map(|n| n.dht.v4.as_ref().unwrap().table.keepsakes().collect::<Vec<_>>()).collect();
    let gone = known.iter().filter(|(_, addr)| dead.iter().any(|i| public(*i) == *addr)).count();
    assert!(gone * 50 < known.len(), "{gone} of {} known nodes are dead", known.len());
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut world = World::network(seed, 40, public);
        world.loss_one_in = 20;
        world.tell(1, announce(1, 0, false));
        world.tell(2, lookup(1));
        world.run_secs(1_000);
        (world.trace, world.delivered)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn both_families_in_one_node() {
    let mut world = World::new(6);
    for i in 0..40 {
        let via = (i > 0).then_some(0);
        // The first knows both; then those of one family and those of both.
        let addrs = match i % 3 {
            0 => vec![public(i), public6(i)],
            1 => vec![public(i)],
            _ => vec![public6(i)],
        };
        world.join(&addrs, Config::default(), via);
        world.run_secs(1);
    }
    world.run_secs(30);
    world.tell(3, announce(1, 4000, false));
    world.run_secs(5);
    assert!(world.done(3, 1).unwrap().stored > 8, "in both networks");
    for (i, expected) in [(4, vec![public(3)]), (5, vec![public6(3)]), (6, vec![public(3), public6(3)])] {
        world.tell(i, lookup(2));
        world.run_secs(5);
        let expected: Vec<_> = expected.iter().map(|a| SocketAddr::new(a.ip(), 4000)).collect();
        assert_eq!(world.found(i, 2), expected);
    }
    let stats = world.nodes[3].dht.stats(world.now);
    assert_ne!(stats.v4.unwrap().id, stats.v6.unwrap().id);
}

#[test]
fn announces_are_repeated_until_they_are_stopped() {
    let mut world = World::network(7, 12, public);
    world.tell(3, announce(1, 0, false));
    world.run_secs(2 * 3_600);
    let runs = |world: &World| world.nodes[3].said.iter().filter(|(_, o)| matches!(o, Output::Done { .. })).count();
    assert!((8..=10).contains(&runs(&world)), "{} in two hours", runs(&world));
    world.tell(3, Input::Stop { job: JobId(1) });
    let before = runs(&world);
    world.run_secs(3_600);
    assert_eq!(runs(&world), before);
    world.tell(4, lookup(2));
    world.run_secs(5);
    assert_eq!(world.found(4, 2), [], "it expired");
}

#[test]
fn immutable_items() {
    let mut world = World::network(8, 40, public);
    let item = Item::immutable(b"12:Hello World!".to_vec()).unwrap();
    world.tell(3, Input::Put { job: JobId(1), item: item.clone(), cas: None });
    world.run_secs(5);
    assert_eq!(world.done(3, 1).unwrap().stored, 8);
    let get = || Input::Get { job: JobId(2), item: Name::Immutable(item.target()) };
    world.tell(30, get());
    world.run_secs(5);
    let found = world.nodes[30].said.iter().any(|(_, o)| *o == Output::Item { job: JobId(2), item: item.clone() });
    assert!(found && world.done(30, 2).is_some());
    // It is put again every hour, and so outlives those who kept it first.
    world.run_secs(4 * 3_600);
    world.tell(31, get());
    world.run_secs(5);
    assert!(world.nodes[31].said.iter().any(|(_, o)| matches!(o, Output::Item { .. })));
    world.tell(32, Input::Get { job: JobId(2), item: Name::Immutable(NodeId([9; 20])) });
    world.run_secs(5);
    assert!(world.nodes[32].said.iter().all(|(_, o)| !matches!(o, Output::Item { .. })) && world.done(32, 2).is_some());
}

#[test]
fn mutable_items_of_any_size_move_forward() {
    let mut world = World::network(9, 40, public);
    let secret = [5; 32];
    // As long as they may be: such an answer does not fit into eight times its question.
    let value = |c: char| format!("996:{}", c.to_string().repeat(996)).into_bytes();
    let item = |seq, c| Item::signed(&secret, b"salt", seq, value(c)).unwrap();
    let key = crate::public_key(&secret);
    let get = |world: &mut World, i: usize| {
        world.nodes[i].said.clear();
        world.tell(i, Input::Get { job: JobId(2), item: Name::Mutable { key, salt: b"salt".to_vec() } });
        world.run_secs(10);
        world.nodes[i].said.iter().find_map(|(_, o)| match o {
            Output::Item { item, .. } => Some(item.clone()),
            _ => None,
        })
    };
    let put = |world: &mut World, i: usize, item: Item, cas| {
        world.tell(i, Input::Put { job: JobId(1), item, cas });
        world.run_secs(5);
        let done = world.done(i, 1).unwrap().clone();
        world.tell(i, Input::Stop { job: JobId(1) });
        (done.stored, done.refused.map(|(code, _)| code))
    };
    assert_eq!(put(&mut world, 1, item(1, 'a'), None), (8, None));
    assert_eq!(get(&mut world, 20), Some(item(1, 'a')));
    assert_eq!(put(&mut world, 1, item(2, 'b'), Some(1)), (8, None));
    assert_eq!(put(&mut world, 1, item(1, 'c'), None), (0, Some(302)));
    assert_eq!(put(&mut world, 1, item(5, 'd'), Some(1)), (0, Some(301)));
    assert_eq!(get(&mut world, 21), Some(item(2, 'b')));
    // A command that only asks gets it as well, though it answers nobody.
    let config = Config { read_only: true, ..Config::default() };
    let reader = world.join(&[public(1_000)], config, Some(0));
    assert_eq!(get(&mut world, reader), Some(item(2, 'b')));
    let known =
        world.nodes.iter().any(|n| n.dht.v4.as_ref().unwrap().table.keepsakes().any(|(_, addr)| addr == public(1_000)));
    assert!(!known, "and nobody remembers it as a node");
}

#[test]
fn a_restart_needs_nobody_to_begin_with() {
    let mut world = World::network(10, 60, public);
    let snapshot = Snapshot::parse(&world.nodes[9].dht.snapshot().encode());
    assert!(snapshot.v4.nodes.len() >= 40);
    let id = world.nodes[9].dht.stats(world.now).v4.unwrap().id;
    world.kill(9);
    world.run_secs(600);
    let again = world.add(&[public(9)], Config::default(), &snapshot);
    world.tell(again, Input::Tick);
    world.run_secs(30);
    let stats = world.nodes[again].dht.stats(world.now).v4.unwrap();
    assert!(stats.good >= 40 && stats.id == id, "{stats:?}");
}

#[test]
fn a_network_that_is_down_empties_no_table() {
    let mut world = World::network(11, 40, public);
    let before = world.nodes[0].dht.stats(world.now).v4.unwrap().nodes;
    (1..40).for_each(|i| world.kill(i));
    world.run_secs(3_600);
    let after = world.nodes[0].dht.stats(world.now).v4.unwrap();
    assert!(after.good == 0 && after.nodes * 10 >= before * 9, "{after:?} of {before}");
    (1..40).for_each(|i| {
        world.nodes[i].alive = true;
        world.tell(i, Input::Tick);
    });
    world.run_secs(400);
    let back = world.nodes[0].dht.stats(world.now).v4.unwrap();
    assert!(back.good * 10 >= before * 8, "{back:?} of {before}");
}

#[test]
fn jobs_wait_for_somebody_to_ask() {
    let mut world = World::network(12, 20, public);
    world.tell(1, announce(1, 4000, false));
    world.run_secs(5);
    let late = world.add(&[public(50)], Config::default(), &Snapshot::default());
    world.tell(late, lookup(1));
    world.run_secs(10);
    assert_eq!(world.done(late, 1), None);
    world.tell(late, Input::Bootstrap(vec![public(3)]));
    world.run_secs(3);
    assert_eq!(world.found(late, 1).len(), 1);
    // Not for ever.
    let alone = world.add(&[public(51)], Config::default(), &Snapshot::default());
    world.tell(alone, lookup(1));
    world.run_secs(40);
    assert_eq!(world.done(alone, 1), Some(&crate::Summary::default()));
    // A node that a peer speaks of is enough.
    world.tell(alone, Input::Nodes(vec![public(4)]));
    world.run_secs(60);
    assert!(world.nodes[alone].dht.stats(world.now).v4.unwrap().good >= 15);
}

#[test]
fn an_idle_node_does_little() {
    let mut world = World::network(13, 100, public);
    world.run_secs(600);
    let before = world.nodes[0].dht.stats(world.now).counts;
    world.run_secs(3_600);
    let after = world.nodes[0].dht.stats(world.now).counts;
    let per_s = (after.sent - before.sent) as f64 / 3_600.0;
    assert!(per_s < 2.0, "{per_s} datagrams a second");
}

#[test]
fn after_a_shutdown_nothing_happens() {
    let mut world = World::network(14, 10, public);
    world.tell(3, lookup(1));
    world.nodes[3].dht.handle(world.now, Input::Shutdown);
    assert_eq!((world.nodes[3].dht.poll(), world.nodes[3].dht.deadline()), (None, None));
    world.nodes[3].dht.handle(world.now, lookup(2));
    assert_eq!(world.nodes[3].dht.poll(), None);
}
