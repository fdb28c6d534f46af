//! The pages: what is shared, and all about one thing. They work without JavaScript, and everything in them is escaped.

use crate::item::Item;
use crate::live::Swarm;
use crate::mirrors::Mirrors;
use crate::site::Unmade;
use askama::Template;
use base::size::bytes;
use base::{Hex, percent};
use std::sync::Arc;

/// Most files listed on a page.
const FILES_MAX: usize = 5_000;

/// Most peers listed on a page.
pub(crate) const PEERS_MAX: usize = 200;

#[derive(Template)]
#[template(path = "item.html")]
struct ItemPage<'a> {
    name: &'a str,
    size: String,
    single: bool,
    file_count: usize,
    comment: Option<&'a str>,
    href: String,
    torrent_href: String,
    meta4_href: String,
    sha256: Option<String>,
    peers_href: String,
    magnet: &'a str,
    link: &'a str,
    curl: String,
    peers: Vec<PeerRow>,
    servers: Vec<String>,
    files: Vec<FileRow<'a>>,
    more: usize,
    v1: Option<String>,
    v2: Option<String>,
    piece_length: String,
}

struct PeerRow {
    address: String,
    client: String,
    percent: String,
    uploaded: String,
    rate: String,
}

struct FileRow<'a> {
    path: &'a str,
    href: String,
    size: String,
    sha256: Option<String>,
}

#[derive(Template)]
#[template(path = "unmade.html")]
struct UnmadePage<'a> {
    name: &'a str,
    single: bool,
    href: String,
}

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage<'a> {
    items: Vec<ListRow<'a>>,
    unmade: Vec<UnmadeRow<'a>>,
}

struct UnmadeRow<'a> {
    name: &'a str,
    href: String,
}

struct ListRow<'a> {
    name: &'a str,
    href: String,
    file_count: usize,
    size: String,
    magnet: &'a str,
}

/// The page of one item; `link` is its address as others reach it.
pub(crate) fn item(item: &Item, link: &str, swarm: &Swarm, mirrors: &Mirrors) -> Result<String, askama::Error> {
    let href = format!("/f/{}", segment(&item.name));
    let sha256 = |file: &crate::item::ItemFile| file.sha256.map(|d| Hex(&d).to_string());
    let page = ItemPage {
        name: &item.name,
        size: bytes(item.bytes),
        single: item.single,
        file_count: item.files.len(),
        comment: item.comment.as_deref(),
        torrent_href: format!("{href}.torrent"),
        meta4_href: format!("{href}.meta4"),
        sha256: item.files.first().filter(|_| item.single).and_then(sha256),
        peers_href: format!("/~/peers/{}", segment(&item.name)),
        magnet: &item.magnet,
        link,
        curl: match item.single {
            // By its header curl would call it by ASCII alone.
            true if is_plain(&item.name) => format!("curl -OJ {}", word(link)),
            true => format!("curl -o {} {}", word(&file_name(&item.name)), word(link)),
            false => format!("curl {} | tar x", word(link)),
        },
        peers: swarm.peers.iter().map(peer).collect(),
        servers: servers(item, mirrors),
        files: item
            .files
            .iter()
            .take(FILES_MAX)
            .map(|f| FileRow {
                path: &f.path,
                href: crate::mirrors::path(&item.name, Some(&f.path)),
                size: bytes(f.len),
                sha256: sha256(f),
            })
            .collect(),
        more: item.files.len().saturating_sub(FILES_MAX),
        v1: item.hashes.v1.map(|h| h.to_string()),
        v2: item.hashes.v2.map(|h| Hex(&h).to_string()),
        piece_length: bytes(u64::from(item.piece_length)),
        href,
    };
    page.render()
}

/// Where else an item is.
pub(crate) fn servers(item: &Item, mirrors: &Mirrors) -> Vec<String> {
    mirrors.0.iter().map(|mirror| crate::mirrors::link(&mirror.base, &item.name)).collect()
}

/// The page of what has no torrent yet.
pub(crate) fn unmade(unmade: &Unmade) -> Result<String, askama::Error> {
    let href = crate::mirrors::path(&unmade.name, None);
    UnmadePage { name: &unmade.name, single: unmade.single, href }.render()
}

/// The list of all items, and of what has no torrent yet.
pub(crate) fn list<'a>(
    items: impl Iterator<Item = &'a Item>,
    unmade: &'a [Arc<Unmade>],
) -> Result<String, askama::Error> {
    let row = |item: &'a Item| ListRow {
        name: &item.name,
        href: format!("/f/{}", segment(&item.name)),
        file_count: item.files.len(),
        size: bytes(item.bytes),
        magnet: &item.magnet,
    };
    let waiting = |u: &'a Arc<Unmade>| UnmadeRow { name: &u.name, href: crate::mirrors::path(&u.name, None) };
    ListPage { items: items.map(row).collect(), unmade: unmade.iter().map(waiting).collect() }.render()
}

/// Whether it is the same in the plain form of `Content-Disposition`.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && !"\"\\%/;".contains(c))
}

/// A name that is one to a program that would take a dash for something else, and to whoever copies a line.
fn file_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    if name.starts_with('-') { format!("./{name}") } else { name }
}

/// A word of a shell's line.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn peer(peer: &crate::live::SwarmPeer) -> PeerRow {
    PeerRow {
        address: peer.address.clone(),
        client: peer.client.clone(),
        percent: format!("{:.0} %", peer.percent),
        uploaded: bytes(peer.uploaded),
        rate: format!("{}/s", bytes(peer.rate_up)),
    }
}

/// A name as one segment of a path; nothing in it means anything to a shell either.
pub(crate) fn segment(name: &str) -> String {
    percent::encode(name.as_bytes(), b"+,=:@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_takes_as_they_are() {
        assert_eq!(word("http://192.0.2.7:8080/f/M%C3%A4rz.txt"), "http://192.0.2.7:8080/f/M%C3%A4rz.txt");
        assert_eq!(word("http://[::1]:8080/f/a"), "'http://[::1]:8080/f/a'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(file_name("-\n"), "./-_");
        assert!(is_plain("a b+c.txt") && !is_plain("M\u{e4}rz") && !is_plain("50%"));
        // A shell says so, too.
        for text in ["M\u{e4}rz 'n $(x) `y` \"z\" \\ !", "", "a&b;c|d", "*?[a]{b,c}~"] {
            let printed = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", word(text))]).output();
            assert_eq!(String::from_utf8(printed.unwrap().stdout).unwrap(), text);
        }
    }
}
