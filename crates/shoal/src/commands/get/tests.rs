//! What a download misses, it asks for.

use super::*;
use base::{Checks, Geometry, Layout, Plan};
use node::{NodeConfig, Plain};

#[tokio::test]
async fn an_end_that_was_missed_is_noticed() {
    use clap::Parser as _;
    let dir = tempfile::tempdir().unwrap();
    let listen = Listen::At("127.0.0.1:0".parse().unwrap());
    let config = NodeConfig { data_dir: Some(dir.path().join("data")), listen, ..NodeConfig::default() };
    let node = Arc::new(Node::start(config).await.unwrap());
    // Something else is there, so it fails at once.
    std::fs::write(dir.path().join("x"), "mine").unwrap();
    let plan = Plan::new(
        Geometry::new(100, 64, 64).unwrap(),
        Layout::single("x".into(), 100, false),
        Checks { sha256: Some(Box::new([[1; 32]; 2])), ..Checks::default() },
    );
    let target = Target::Get { dir: dir.path().to_owned(), in_place: false };
    let mut events = node.events();
    let id = node.add(Add::new(What::Plain(Plain::new(plan, "")), target)).await.unwrap();
    while !matches!(events.recv().await.unwrap().event, Event::Failed { .. }) {}
    let voice = Voice { json: false, quiet: true };
    let shown = Shown::new(voice);
    let crate::args::Command::Get(args) = crate::args::Cli::parse_from(["shoal", "get", "x"]).command else {
        panic!("that is get")
    };
    let selection = Selection::new(&[]).unwrap();
    let complaints = Complaints::default();
    let mut all = Transfers {
        node: node.clone(),
        args: &args,
        selection: &selection,
        voice,
        shown,
        complaints,
        map: BTreeMap::new(),
    };
    all.map.insert(id, Transfer::new(id, "x".into(), &all.shown));
    // All that is left to hear is that something was missed.
    let (tx, mut rx) = broadcast::channel(1);
    for _ in 0..3 {
        let event = Event::PieceBad(base::PieceIndex(0));
        tx.send(NodeEvent { torrent: TorrentId(77), event }).unwrap();
    }
    let ended = tokio::time::timeout(Duration::from_secs(20), all.run(&mut rx)).await;
    assert!(matches!(ended.expect("it ends"), Err(Failure::Said)));
    node.shutdown().await;
}
