//! A site that shares a folder and a file.

use crate::common::{self, Reply};
use base::metainfo::create::{Draft, Facts, Format, Source};
use base::{InfoHashes, Metainfo, PieceHasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use web::{Answer, Hashed, Item, Live, Serving, Site, Swarm, SwarmPeer};

pub(crate) const NASTY: &str = "<b>&\"'.html";

pub(crate) struct Fake;

impl Live for Fake {
    fn swarm(&self, _: InfoHashes) -> Answer<'_, Option<Swarm>> {
        let peer = SwarmPeer {
            address: "192.0.2.77:5".into(),
            client: "<script>alert(1)</script>".into(),
            percent: 50.0,
            uploaded: 1,
            rate_up: 2,
        };
        Box::pin(async { Some(Swarm { uploaded: 1, rate_up: 2, peers: vec![peer] }) })
    }

    fn announce(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>> {
        let answer = format!("announce {query} {}", from.ip()).into_bytes();
        Box::pin(async { answer })
    }

    fn scrape(&self, query: &str, _: SocketAddr) -> Answer<'_, Vec<u8>> {
        let answer = format!("scrape {query}").into_bytes();
        Box::pin(async { answer })
    }
}

/// What is shared, and where it is served.
pub(crate) struct Yard {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) addr: SocketAddr,
    pub(crate) site: Arc<Site>,
}

pub(crate) fn content(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ n).collect()
}

/// The torrent of these files, hashed in memory.
pub(crate) fn torrent(name: &str, files: &[(&str, Vec<u8>)], single: bool) -> Metainfo {
    let mut sorted: Vec<_> = files.to_vec();
    sorted.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
    let source = |(path, bytes): &(&str, Vec<u8>)| Source {
        path: path.split('/').map(|p| p.as_bytes().to_vec()).collect(),
        len: bytes.len() as u64,
        ..Source::default()
    };
    let facts = Facts {
        name: name.as_bytes().to_vec(),
        single,
        sources: sorted.iter().map(source).collect(),
        format: Format::V1,
        ..Facts::default()
    };
    let draft = Draft::new(facts).unwrap();
    let all: Vec<u8> = sorted.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let plan = draft.plan();
    let digest = |piece| {
        let at = plan.geometry.piece_offset(piece) as usize;
        let mut hasher = PieceHasher::new(plan, piece);
        hasher.update(&all[at..at + plan.geometry.piece_len(piece) as usize]);
        hasher.digest(plan, piece)
    };
    draft.finish(&plan.geometry.pieces().map(digest).collect::<Vec<_>>()).unwrap()
}

pub(crate) fn item(name: &str, metainfo: &Metainfo, root: &Path) -> Item {
    let bytes = metainfo.encode().into();
    let files = metainfo.info.layout.content().map(|(_, file)| match metainfo.info.layout.is_single() {
        true => root.to_owned(),
        false => root.parent().unwrap().join(&file.path),
    });
    let files: Vec<_> = files.collect();
    let hashed = Hashed {
        files: files.iter().map(|path| std::fs::metadata(path).unwrap()).collect(),
        digests: files.iter().map(|path| hash::Sha256::digest(&std::fs::read(path).unwrap())).collect(),
    };
    Item::new(name.into(), metainfo, bytes, metainfo.magnet().to_string(), root, &hashed).unwrap()
}

pub(crate) async fn yard() -> Yard {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("a.txt", content(1, 100)),
        ("sub/b b.bin", content(2, 2_000_000)),
        ("sub/empty", vec![]),
        (NASTY, content(3, 9)),
    ];
    for (path, bytes) in &files {
        let path = dir.path().join("tree").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(dir.path().join("one.bin"), content(4, 1000)).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let site = Arc::new(Site::new(Arc::new(Fake), "http://h.example:1".into()));
    site.add(item("tree", &torrent("tree", &files, false), &dir.path().join("tree")));
    let one = torrent("one.bin", &[("one.bin", content(4, 1000))], true);
    site.add(item("one.bin", &one, &dir.path().join("one.bin")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(web::serve(Serving::new(site.clone()), vec![listener], std::future::pending()));
    Yard { dir, addr, site }
}

impl Yard {
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        common::ask(self.addr, method, path, headers).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

/// The base64 of a SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(hash::Sha256::digest(bytes))
}
