//! Sources that turn out to be the same content are one download, with the servers of all.

use super::{Source, What};
use base::{InfoHashes, Metainfo, WholeDigest};
use node::http::Server;

/// Puts together what is the same. `found` is what each word of the command line led to; who names several files wants several files.
pub fn together(found: Vec<Vec<Source>>) -> Vec<Source> {
    let (mut all, mut alone): (Vec<Source>, Vec<usize>) = (Vec::new(), Vec::new());
    for sources in found {
        let one = sources.len() == 1;
        for source in sources {
            let same = alone.iter().copied().find(|&at| one && is_same(&all[at], &source));
            match same {
                Some(at) => join(&mut all[at], source),
                None => {
                    if one {
                        alone.push(all.len());
                    }
                    all.push(source);
                }
            }
        }
    }
    all
}

fn is_same(a: &Source, b: &Source) -> bool {
    if let (What::Torrent(a), What::Torrent(b)) = (&a.what, &b.what)
        && shares_hash(a.metainfo.info.hashes, b.metainfo.info.hashes)
    {
        return true;
    }
    let fits = a.folder == b.folder && name(a).is_some() && name(a) == name(b);
    fits && a.digest.is_some() && a.digest == b.digest
}

fn shares_hash(a: InfoHashes, b: InfoHashes) -> bool {
    (a.v1.is_some() && a.v1 == b.v1) || (a.v2.is_some() && a.v2 == b.v2)
}

fn name(source: &Source) -> Option<&str> {
    match &source.what {
        What::Torrent(torrent) => Some(torrent.metainfo.info.layout.name()),
        What::Plain(plain) => Some(plain.plan.layout.name()),
        What::Magnet(_) | What::Endless { .. } => None,
    }
}

/// Keeps the one that says more of the content, with the servers of both.
fn join(best: &mut Source, mut other: Source) {
    if rank(&other) > rank(best) {
        std::mem::swap(best, &mut other);
    }
    let named = |metainfo: &Metainfo, told_by| -> Vec<Server> {
        metainfo.web_seeds.iter().map(|url| Server::web_seed(url.clone(), told_by)).collect()
    };
    let mut servers = other.servers;
    if let What::Torrent(torrent) = &other.what {
        servers.extend(named(&torrent.metainfo, other.told_by));
    }
    if let What::Torrent(torrent) = &best.what {
        // Those it names itself already.
        let known = named(&torrent.metainfo, best.told_by);
        servers.retain(|server| known.iter().all(|known| known.places != server.places));
    }
    for server in servers {
        if best.servers.iter().all(|known| known.places != server.places) {
            best.servers.push(server);
        }
    }
    best.notes.extend(other.notes);
}

/// Torrents bring peers, too; then what checks each piece.
fn rank(source: &Source) -> u8 {
    match &source.what {
        What::Torrent(_) => 2,
        What::Plain(plain) => u8::from(plain.plan.checks_pieces()),
        What::Magnet(_) | What::Endless { .. } => 0,
    }
}

/// What says that two are the same, beside their name: length, and SHA-256 of the whole.
pub(super) fn digest(len: u64, whole: Option<WholeDigest>) -> Option<(u64, [u8; 32])> {
    match whole? {
        WholeDigest::Sha256(digest) => Some((len, digest)),
        // It can be forged.
        WholeDigest::Sha1(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{BLOCK_SIZE, Checks, Geometry, Layout, Plan, Scope};
    use node::Plain;

    fn plain(name: &str, digest: u8, checks: Checks, url: &str) -> Source {
        let geometry = Geometry::new(100, 1 << 14, BLOCK_SIZE).unwrap();
        let whole = Some(WholeDigest::Sha256([digest; 32]));
        let plan = Plan { whole, ..Plan::new(geometry, Layout::single(name.into(), 100, false), checks) };
        let what = What::Plain(Box::new(Plain::new(plan, "")));
        Source::new(what, vec![Server::whole(url.into())], Scope::Loopback)
    }

    #[test]
    fn the_same_content_is_one_with_all_its_servers() {
        let checks = Checks { sha256: Some(vec![[1; 32]].into()), ..Checks::default() };
        let one = |name, digest, url| vec![plain(name, digest, Checks::default(), url)];
        let found = vec![
            one("a", 1, "http://h/1"),
            one("a", 2, "http://h/2"),
            one("b", 1, "http://h/3"),
            vec![plain("a", 1, checks, "http://h/4")],
            one("a", 1, "http://h/1"),
            // A folder may have the same file twice.
            vec![plain("a", 1, Checks::default(), "http://h/5"), plain("a", 1, Checks::default(), "http://h/6")],
        ];
        let all = together(found);
        let servers: Vec<usize> = all.iter().map(|source| source.servers.len()).collect();
        assert_eq!(servers, [2, 1, 1, 1, 1]);
        assert_eq!(rank(&all[0]), 1, "the one that checks pieces stays");
    }
}
