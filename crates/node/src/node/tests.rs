mod places;
mod servers;

use super::*;
use crate::create::{CreateOptions, create};
use crate::disk::check::Meter;
use crate::net::Listen;
use crate::site;
use base::metainfo::create::Format;
use base::{Magnet, Metainfo};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

async fn node(data: &Path) -> Node {
    let config = NodeConfig {
        data_dir: Some(data.to_owned()),
        listen: Listen::At("127.0.0.1:0".parse().unwrap()),
        threads: 2,
        ..NodeConfig::default()
    };
    Node::start(config).await.unwrap()
}

/// A folder with odd sizes, and its torrent.
fn content(dir: &Path, format: Format, piece_length: u64) -> Metainfo {
    let top = dir.join("tree");
    std::fs::create_dir_all(top.join("sub")).unwrap();
    let bytes =
        |n: usize, salt: u64| (0..n as u64).map(|i| ((i * 2_654_435_761 + salt) >> 7) as u8 | 1).collect::<Vec<u8>>();
    std::fs::write(top.join("a"), bytes(700_001, 1)).unwrap();
    std::fs::write(top.join("empty"), "").unwrap();
    std::fs::write(top.join("sub/b"), bytes(1_234_567, 2)).unwrap();
    std::fs::write(top.join("sub/c"), bytes(5, 3)).unwrap();
    let options = CreateOptions { format, piece_length: Some(piece_length), threads: 1, ..Default::default() };
    create(&top, &options, &Meter::default(), |_| {}).unwrap().metainfo
}

fn same(a: &Path, b: &Path) {
    for file in ["a", "empty", "sub/b", "sub/c"] {
        assert!(std::fs::read(a.join(file)).unwrap() == std::fs::read(b.join(file)).unwrap(), "{file} differs");
    }
}

/// Waits for the end of a torrent: where it is, or what failed.
async fn end(events: &mut broadcast::Receiver<NodeEvent>, id: TorrentId) -> Result<PathBuf, String> {
    let wait = async {
        loop {
            let news = events.recv().await.unwrap();
            match news.event {
                Event::Complete { path } if news.torrent == id => return Ok(path),
                Event::Failed { error } if news.torrent == id => return Err(error),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("it ends")
}

async fn run(node: &Node, add: Add) -> Result<PathBuf, String> {
    let mut events = node.events();
    let id = node.add(add).await.unwrap();
    end(&mut events, id).await
}

fn torrent(m: &Metainfo) -> What {
    What::Torrent(Box::new(m.clone()))
}

fn get(m: &Metainfo, dir: &Path, peers: &[SocketAddr]) -> Add {
    let target = Target::Get { dir: dir.to_owned(), in_place: false };
    Add { peers: peers.to_vec(), ..Add::new(torrent(m), target) }
}

/// The same over what is there.
fn mend(m: &Metainfo, dir: &Path, peers: &[SocketAddr]) -> Add {
    Add { target: Target::Get { dir: dir.to_owned(), in_place: true }, ..get(m, dir, peers) }
}

fn seed(m: &Metainfo, path: &Path) -> Add {
    Add::new(torrent(m), Target::Seed { path: path.to_owned() })
}

/// A folder under which a test has everything.
struct Yard(tempfile::TempDir);

impl Yard {
    fn new() -> Self {
        Yard(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[tokio::test]
async fn a_folder_goes_from_one_to_the_other_in_all_formats() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let yard = Yard::new();
        let m = content(&yard.at("from"), format, 32 << 10);
        let (a, b) = (node(&yard.at("a")).await, node(&yard.at("b")).await);
        assert_eq!(
            run(&a, seed(&m, &yard.at("from/tree"))).await.unwrap(),
            yard.at("from/tree").canonicalize().unwrap()
        );
        let path = run(&b, get(&m, &yard.at("to"), a.listen_addrs())).await.unwrap();
        assert_eq!(path, yard.at("to/tree"));
        same(&yard.at("from/tree"), &yard.at("to/tree"));
        assert!(!yard.at("to/tree.part").exists());
        let id = b.torrents()[0];
        let status = b.status(id).await.unwrap();
        assert!(status.complete && status.torrent.done == status.torrent.wanted, "{status:?}");
        assert_eq!(status.torrent.wasted, 0);
        assert_eq!(b.sources(id).await.len(), 1);
        // The same again: verified from the record, without a peer; then by hash, by a node that knows nothing of it.
        b.shutdown().await;
        drop(b);
        for data in ["b", "new"] {
            let again = node(&yard.at(data)).await;
            assert_eq!(run(&again, get(&m, &yard.at("to"), &[])).await.unwrap(), yard.at("to/tree"));
            again.shutdown().await;
        }
        a.shutdown().await;
    }
}

#[tokio::test]
async fn two_torrents_move_in_two_threads() {
    let yard = Yard::new();
    let two = async |name: &str| {
        let engine = engine::Config { shards: 2, limit_up: Some(1 << 30), ..engine::Config::default() };
        let listen = Listen::At("127.0.0.1:0".parse().unwrap());
        let config = NodeConfig { data_dir: Some(yard.at(name)), listen, engine, threads: 1, ..NodeConfig::default() };
        Node::start(config).await.unwrap()
    };
    let (a, b) = (two("a").await, two("b").await);
    let torrents = [("x", 32 << 10), ("y", 64 << 10)].map(|(dir, piece)| content(&yard.at(dir), Format::Hybrid, piece));
    for (m, dir) in torrents.iter().zip(["x", "y"]) {
        run(&a, seed(m, &yard.at(dir).join("tree"))).await.unwrap();
    }
    // At once; the second by magnet, whose size is not known when it is placed.
    let first = run(&b, get(&torrents[0], &yard.at("to-x"), a.listen_addrs()));
    let target = Target::Get { dir: yard.at("to-y"), in_place: false };
    let magnet = What::Magnet(Magnet::new(torrents[1].info.hashes));
    let second = run(&b, Add { peers: a.listen_addrs().to_vec(), ..Add::new(magnet, target) });
    let (first, second) = tokio::join!(first, second);
    for (path, dir) in [(first, "x"), (second, "y")] {
        same(&yard.at(dir).join("tree"), &path.unwrap());
    }
    for node in [&a, &b] {
        let ids = node.torrents();
        let mut homes = Vec::new();
        for id in &ids {
            let others = ids.clone();
            let asked = node.ask(*id, move |part, now| {
                let here: Vec<TorrentId> = others.into_iter().filter(|t| part.status(now, *t).is_some()).collect();
                (std::thread::current().id(), part.index(), here)
            });
            let (thread, shard, here) = asked.await.unwrap();
            assert_eq!(here, [*id], "it lives there alone");
            homes.push((thread, shard));
            assert!(node.status(*id).await.unwrap().complete);
        }
        assert!(homes[0].0 != homes[1].0 && homes[0].1 != homes[1].1, "{homes:?}");
    }
    // Where one was, the next one has room.
    let id = a.torrents()[0];
    a.remove(id).await;
    run(&a, seed(&torrents[0], &yard.at("x/tree"))).await.unwrap();
    let index = a.ask(a.torrents()[1], |part, _| part.index()).await.unwrap();
    assert_eq!(index, base::ShardIndex(0));
    b.shutdown().await;
    a.shutdown().await;
}

#[tokio::test]
async fn by_magnet() {
    for format in [Format::V1, Format::Hybrid] {
        let yard = Yard::new();
        let m = content(&yard.at("from"), format, 64 << 10);
        let (a, b) = (node(&yard.at("a")).await, node(&yard.at("b")).await);
        run(&a, seed(&m, &yard.at("from/tree"))).await.unwrap();
        let what = What::Magnet(Magnet::new(m.info.hashes));
        let target = Target::Get { dir: yard.at("to"), in_place: true };
        let add = Add { peers: a.listen_addrs().to_vec(), ..Add::new(what, target) };
        run(&b, add).await.unwrap();
        same(&yard.at("from/tree"), &yard.at("to/tree"));
        assert_eq!(b.metainfo(b.torrents()[0]).await.unwrap().info.hashes, m.info.hashes);
    }
}

#[tokio::test]
async fn what_a_killed_node_left_is_found_again() {
    let yard = Yard::new();
    let m = content(&yard.at("from"), Format::V1, 64 << 10);
    // As if killed: no record at all, and of the file what was written. Piece 2 lacks blocks, pieces 5 to 7 were never there.
    let part = yard.at("to/tree.part");
    std::fs::create_dir_all(part.join("sub")).unwrap();
    let mut a = std::fs::read(yard.at("from/tree/a")).unwrap();
    a[(2 << 16) + (32 << 10)..3 << 16].fill(0);
    a[5 << 16..8 << 16].fill(0);
    std::fs::write(part.join("a"), &a).unwrap();
    // A bit of piece 3 flips, and the second file is cut off.
    a[(3 << 16) + 7] ^= 1;
    std::fs::write(part.join("a"), &a).unwrap();
    let b = std::fs::read(yard.at("from/tree/sub/b")).unwrap();
    std::fs::write(part.join("sub/b"), &b[..600_000]).unwrap();
    let (x, y) = (node(&yard.at("x")).await, node(&yard.at("y")).await);
    run(&x, seed(&m, &yard.at("from/tree"))).await.unwrap();
    run(&y, get(&m, &yard.at("to"), x.listen_addrs())).await.unwrap();
    same(&yard.at("from/tree"), &yard.at("to/tree"));
    let status = y.status(y.torrents()[0]).await.unwrap().torrent;
    let kept = m.info.layout.total() - status.downloaded;
    // Whole pieces of the first file, those of the second up to the cut, and half of piece 2.
    assert!(kept >= (4 << 16) + (32 << 10) + 500_000, "{kept}");
}

#[tokio::test]
async fn what_was_changed_is_left_alone_or_mended_where_that_is_wanted() {
    let yard = Yard::new();
    let m = content(&yard.at("from"), Format::Hybrid, 64 << 10);
    let x = node(&yard.at("x")).await;
    run(&x, seed(&m, &yard.at("from/tree"))).await.unwrap();
    let y = node(&yard.at("y")).await;
    run(&y, get(&m, &yard.at("to"), x.listen_addrs())).await.unwrap();
    y.shutdown().await;
    drop(y);
    let path = yard.at("to/tree/sub/b");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[99_999] ^= 8;
    bytes.truncate(1_000_000);
    std::fs::write(&path, &bytes).unwrap();
    // Another node does not know it as its own, and does not touch it.
    let z = node(&yard.at("z")).await;
    let error = run(&z, get(&m, &yard.at("to"), x.listen_addrs())).await.unwrap_err();
    assert!(error.contains("to/tree exists"), "{error}");
    assert!(std::fs::read(&path).unwrap() == bytes);
    // Nor does its own: whoever changed it may need it.
    let again = async |add: fn(&Metainfo, &Path, &[SocketAddr]) -> Add| {
        let y = node(&yard.at("y")).await;
        let ended = run(&y, add(&m, &yard.at("to"), x.listen_addrs())).await;
        let downloaded = y.status(y.torrents()[0]).await.map_or(0, |status| status.torrent.downloaded);
        y.shutdown().await;
        ended.map(|_| downloaded)
    };
    assert!(again(get).await.unwrap_err().contains("to/tree exists"));
    assert!(std::fs::read(&path).unwrap() == bytes);
    let downloaded = again(mend).await.unwrap();
    assert!(downloaded < 400_000, "{downloaded}");
    same(&yard.at("from/tree"), &yard.at("to/tree"));
    // More bytes behind those of the content.
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"mine").unwrap();
    assert!(again(get).await.unwrap_err().contains("to/tree exists"));
    assert_eq!(again(mend).await, Ok(0));
    same(&yard.at("from/tree"), &yard.at("to/tree"));
    // What is only gone comes again.
    std::fs::remove_file(&path).unwrap();
    assert!(again(get).await.unwrap() > 0);
    same(&yard.at("from/tree"), &yard.at("to/tree"));
}

#[tokio::test]
async fn what_is_done_to_files_before_they_are_synced_is_not_ours() {
    let yard = Yard::new();
    let m = content(&yard.at("from"), Format::Hybrid, 64 << 10);
    let x = node(&yard.at("x")).await;
    run(&x, seed(&m, &yard.at("from/tree"))).await.unwrap();
    let y = node(&yard.at("y")).await;
    run(&y, get(&m, &yard.at("to"), x.listen_addrs())).await.unwrap();
    let complete = |node: &Node| {
        let torrent = node.inner.lock().all.values().next().cloned().unwrap();
        let stamps = save::stamps_of(&torrent.state().open.as_ref().unwrap().storage);
        vec![(torrent, stamps)]
    };
    let then = complete(&y);
    let path = yard.at("to/tree/sub/b");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(1_000_000);
    std::fs::write(&path, &bytes).unwrap();
    open::sync(&y.inner, then).await;
    y.shutdown().await;
    drop(y);
    let y = node(&yard.at("y")).await;
    run(&y, mend(&m, &yard.at("to"), x.listen_addrs())).await.unwrap();
    same(&yard.at("from/tree"), &yard.at("to/tree"));
    // Of what was removed meanwhile nothing is noted.
    let (then, end) = (complete(&y), yard.at("to/tree"));
    assert!(y.inner.store.load(std::slice::from_ref(&end)).await.unwrap().contains_key(&end));
    y.remove(y.torrents()[0]).await;
    open::sync(&y.inner, then).await;
    assert!(y.inner.store.load(&[end]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_done_to_files_while_they_are_hashed_is_seen_the_next_time() {
    let yard = Yard::new();
    let path = yard.at("x");
    // Long enough that somebody can be at it meanwhile.
    let len = 256 << 20;
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(len).unwrap();
    let geometry = base::Geometry::new(len, 16 << 20, base::BLOCK_SIZE).unwrap();
    let sha256 = Some(vec![hash::Sha256::digest(&vec![0; 16 << 20]); 16].into());
    let checks = base::Checks { sha256, ..base::Checks::default() };
    let plan = base::Plan::new(geometry, base::Layout::single("x".into(), len, false), checks);
    let seed = || Add::new(What::Plain(Plain::new(plan.clone(), "")), Target::Seed { path: path.clone() });
    let x = node(&yard.at("n")).await;
    let mut events = x.events();
    let id = x.add(seed()).await.unwrap();
    let status = async || x.status(id).await.unwrap();
    while !matches!(status().await.checking, Some((64.., _))) && !status().await.complete {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 0).unwrap();
    end(&mut events, id).await.expect("it was hashed before");
    x.shutdown().await;
    drop(x);
    let x = node(&yard.at("n")).await;
    assert!(run(&x, seed()).await.unwrap_err().contains("1 of 16 pieces"), "it is hashed again");
}

#[tokio::test]
async fn a_seed_must_be_whole_and_two_nodes_need_two_folders() {
    let yard = Yard::new();
    let m = content(&yard.at("from"), Format::V1, 64 << 10);
    let x = node(&yard.at("x")).await;
    let config = NodeConfig { data_dir: Some(yard.at("x")), listen: Listen::Any, ..NodeConfig::default() };
    assert!(matches!(Node::start(config).await, Err(NodeError::State(StateError::Locked(_)))));
    std::fs::write(yard.at("from/tree/sub/c"), "other").unwrap();
    let error = run(&x, seed(&m, &yard.at("from/tree"))).await.unwrap_err();
    assert!(error.contains("1 of 30 pieces"), "{error}");
    let again = x.add(seed(&m, &yard.at("from/tree"))).await;
    assert!(matches!(again, Err(NodeError::Twice(name)) if name == "tree"));
    x.remove(x.torrents()[0]).await;
    let error = run(&x, seed(&m, &yard.at("from/tree/a"))).await.unwrap_err();
    assert!(error.contains("is one file"), "{error}");
}

#[tokio::test]
async fn only_what_is_selected_is_shown() {
    for (format, hidden) in [(Format::V1, true), (Format::Hybrid, false)] {
        let yard = Yard::new();
        let m = content(&yard.at("from"), format, 64 << 10);
        let x = node(&yard.at("x")).await;
        run(&x, seed(&m, &yard.at("from/tree"))).await.unwrap();
        let select: Select = Arc::new(|layout| {
            let wanted = |f: &base::FileEntry| {
                if f.path == "tree/a" { swarm::FilePriority::Normal } else { swarm::FilePriority::Skip }
            };
            layout.files().iter().map(wanted).collect()
        });
        // The second time there is nobody to ask, and no need to.
        for peers in [x.listen_addrs(), &[]] {
            let y = node(&yard.at("y")).await;
            run(&y, Add { select: Some(select.clone()), ..get(&m, &yard.at("to"), peers) }).await.unwrap();
            y.shutdown().await;
            let shown: Vec<_> =
                std::fs::read_dir(yard.at("to/tree")).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(shown, ["a"]);
            assert_eq!(yard.at("to/.tree.parts").exists(), hidden);
            assert!(std::fs::read(yard.at("to/tree/a")).unwrap() == std::fs::read(yard.at("from/tree/a")).unwrap());
        }
    }
}

#[tokio::test]
async fn a_tracker_brings_them_together() {
    for udp in [false, true] {
        let yard = Yard::new();
        let m = content(&yard.at("from"), Format::Hybrid, 64 << 10);
        let tracker = crate::tracker_server::TrackerServer::start(tracker::server::Config::small()).unwrap();
        let url = if udp {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let url = format!("udp://{}/announce", socket.local_addr().unwrap());
            tokio::spawn(tracker.clone().serve_udp(socket));
            url
        } else {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/announce", listener.local_addr().unwrap());
            tokio::spawn(tracker.clone().serve_http(listener));
            url
        };
        let told = |add| Add { trackers: vec![url.clone()], ..add };
        let (a, b) = (node(&yard.at("a")).await, node(&yard.at("b")).await);
        run(&a, told(seed(&m, &yard.at("from/tree")))).await.unwrap();
        // Whichever of them the tracker hears first.
        run(&b, told(get(&m, &yard.at("to"), &[]))).await.unwrap();
        same(&yard.at("from/tree"), &yard.at("to/tree"));
        // They say good-bye.
        a.shutdown().await;
        b.shutdown().await;
        assert_eq!(tracker.lock().totals().peers, 0);
    }
}

/// Small torrents in a folder.
fn many(dir: &Path, count: usize) -> Vec<(Metainfo, PathBuf)> {
    std::fs::create_dir_all(dir).unwrap();
    let one = |i: usize| {
        let path = dir.join(format!("{i}"));
        std::fs::write(&path, i.to_le_bytes().repeat(50)).unwrap();
        let options = CreateOptions { format: Format::V1, threads: 1, ..Default::default() };
        (create(&path, &options, &Meter::default(), |_| {}).unwrap().metainfo, path)
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn many_open_together_and_what_is_known_is_neither_hashed_nor_written_again() {
    use std::sync::atomic::Ordering::Relaxed;
    let yard = Yard::new();
    let count = 300;
    let mut torrents = many(&yard.at("data"), count);
    for (round, most) in [("new", 100), ("known", 1), ("known, of another .torrent", 2), ("one changed", 3)] {
        if round == "one changed" {
            std::fs::write(yard.at("data/7"), "something else").unwrap();
        } else if round.ends_with("another .torrent") {
            torrents.iter_mut().for_each(|(m, _)| m.comment = Some("new".into()));
        }
        let node = node(&yard.at("a")).await;
        let mut events = node.events();
        let before = node.inner.store.statements.load(Relaxed);
        let ids: Vec<_> = node.add_all(torrents.iter().map(|(m, path)| seed(m, path)).collect());
        let (mut complete, mut failed) = (0, 0);
        while complete + failed < count {
            match tokio::time::timeout(LIMIT, events.recv()).await.unwrap().unwrap().event {
                Event::Complete { .. } => complete += 1,
                Event::Failed { .. } => failed += 1,
                _ => {}
            }
        }
        assert_eq!(failed, usize::from(round == "one changed"), "{round}");
        let statements = node.inner.store.statements.load(Relaxed) - before;
        assert!(statements <= most, "{round}: {statements} statements for {count} torrents");
        let id = *ids[1].as_ref().unwrap();
        assert!(matches!(node.outcome(id), Some(Event::Complete { .. })));
        assert_eq!(*node.metainfo(id).await.unwrap(), torrents[1].0, "{round}: read from the saved state");
        assert!(
            matches!(node.add(seed(&torrents[1].0, &torrents[1].1)).await, Err(NodeError::Twice(name)) if name == "1")
        );
        // As if it had lived until the sync: then a restart of the machine changes nothing, and nothing is left to write.
        if round == "new" {
            for torrent in node.inner.lock().all.values() {
                torrent.state().open.as_mut().unwrap().synced = true;
            }
        }
        node.shutdown().await;
    }
}
