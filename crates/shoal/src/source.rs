//! What a SOURCE is: a magnet, a .torrent in a file or behind a URL, or one of our own links.
//!
//! What a file is, its content tells, never its name. Metalinks, split manifests and bare URLs belong to parts that are
//! not built yet; they are recognised, so that the error can say so.

use anyhow::{Context as _, bail};
use base::{Magnet, Metainfo};
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LINK};
use std::path::Path;
use std::time::Duration;

/// Largest .torrent that is read, in bytes.
const TORRENT_MAX: u64 = 64 << 20;
/// Time to connect to a web server.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// Time without a byte from it.
const SILENCE: Duration = Duration::from_secs(30);

/// A .torrent, read and understood.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// What it says.
    pub metainfo: Metainfo,
}

/// What there is to fetch.
#[derive(Clone, Debug)]
pub enum Source {
    /// A magnet link.
    Magnet(Box<Magnet>),
    /// A .torrent.
    Torrent(Box<Torrent>),
}

/// Finds out what `text` is, and reads it.
pub async fn find(text: &str) -> anyhow::Result<Source> {
    if is_magnet(text) {
        return Ok(Source::Magnet(Box::new(magnet(text)?)));
    }
    if is_url(text) {
        return Ok(Source::Torrent(Box::new(fetch(text).await?)));
    }
    if let Some((scheme, _)) = text.split_once("://").filter(|(_, rest)| !rest.is_empty())
        && !Path::new(text).exists()
    {
        bail!("{text}: can't fetch {scheme}: URLs; magnet:, http: and https: are known");
    }
    Ok(Source::Torrent(Box::new(read(Path::new(text))?)))
}

/// True for a magnet link.
pub fn is_magnet(text: &str) -> bool {
    text.trim_start().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|s| text.get(..s.len()).is_some_and(|head| head.eq_ignore_ascii_case(s)))
}

/// Reads a magnet link.
pub fn magnet(text: &str) -> anyhow::Result<Magnet> {
    text.parse().with_context(|| format!("broken magnet link {:.100}", text))
}

/// Reads a .torrent file.
pub fn read(path: &Path) -> anyhow::Result<Torrent> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("can't read {shown}"))?;
    if metadata.is_dir() {
        bail!("{shown} is a folder; name a .torrent file, a magnet or a link");
    }
    if metadata.len() > TORRENT_MAX {
        bail!(
            "{shown} is no .torrent: it has {}, and {} is the limit",
            crate::units::bytes(metadata.len()),
            crate::units::bytes(TORRENT_MAX)
        );
    }
    let content = std::fs::read(path).with_context(|| format!("can't read {shown}"))?;
    understand(content).with_context(|| shown.to_string())
}

/// Understands the content of a file.
fn understand(content: Vec<u8>) -> anyhow::Result<Torrent> {
    match kind(&content) {
        Kind::Other(what) => bail!("{what}"),
        Kind::Torrent => {
            let metainfo = Metainfo::parse(&content).context("broken .torrent")?;
            Ok(Torrent { metainfo })
        }
    }
}

enum Kind {
    Torrent,
    /// Something else, and what to say of it.
    Other(&'static str),
}

/// Tells by the first bytes what a file is.
fn kind(content: &[u8]) -> Kind {
    let start = content.trim_ascii_start();
    let head = String::from_utf8_lossy(&start[..start.len().min(1024)]);
    match start {
        [] => Kind::Other("is empty; a .torrent is wanted"),
        [b'd', b'0'..=b'9' | b'e', ..] => Kind::Torrent,
        [b'<', ..] if head.contains("<metalink") => {
            Kind::Other("is a Metalink, and those are not built yet; use its .torrent")
        }
        [b'{', ..] if head.contains("pieces") => {
            Kind::Other("looks like a split manifest, and those are not built yet; use a .torrent")
        }
        _ if is_magnet(&head) => Kind::Other("holds a magnet link; give the link itself"),
        _ => Kind::Other("is no .torrent: it does not begin like one"),
    }
}

/// GETs a .torrent: the one at `url`, or the one that describes what is at `url`.
async fn fetch(url: &str) -> anyhow::Result<Torrent> {
    let at: Url = url.parse().with_context(|| format!("broken URL {url}"))?;
    node::fetch::tls_provider();
    let client = reqwest::Client::builder()
        .user_agent(concat!("Shoal/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIME)
        .read_timeout(SILENCE)
        .build()?;
    // A link of ours says in its headers where the torrent is; so the bytes themselves need not be asked for.
    let torrent_at = match client.head(at.clone()).header(ACCEPT, "application/x-bittorrent, */*;q=0.5").send().await {
        Ok(answer) if answer.status().is_success() => {
            let torrent = is_torrent(answer.headers());
            described_by(answer.headers()).filter(|_| !torrent).and_then(|target| answer.url().join(&target).ok())
        }
        // Servers that know no HEAD are asked for the whole.
        Ok(_) => None,
        Err(error) => return Err(anyhow::anyhow!("can't fetch {url}: {}", node::fetch::words(&error))),
    };
    if let Some(torrent_at) = &torrent_at
        && (torrent_at.host_str(), torrent_at.port_or_known_default()) != (at.host_str(), at.port_or_known_default())
    {
        bail!("{url} says that its torrent is at {torrent_at}, another server; fetch that one if you trust it");
    }
    let found = torrent_at.is_some();
    let target = torrent_at.unwrap_or(at);
    let shown = target.to_string();
    let failed = |error: reqwest::Error| anyhow::anyhow!("can't fetch {shown}: {}", node::fetch::words(&error));
    let mut answer = client.get(target).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        bail!("can't fetch {shown}: the server says {}", answer.status());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        let beginning = body.is_empty();
        body.extend_from_slice(&chunk);
        // Nobody should wait for an image of 4 GB to be told that it is none.
        if body.len() as u64 > TORRENT_MAX || (beginning && !found && matches!(kind(&body), Kind::Other(_))) {
            break;
        }
    }
    if !found && matches!(kind(&body), Kind::Other(what) if !what.contains("not built")) {
        bail!("{shown} is no .torrent and names none; fetching other files from the web is not built yet");
    }
    understand(body).with_context(|| shown.clone())
}

fn is_torrent(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-bittorrent"))
}

/// The target of `Link: <...>; rel=describedby; type="application/x-bittorrent"` (RFC 8288).
fn described_by(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(",")).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let has = |key: &str, wanted: &str| {
            parameters.split(';').filter_map(|p| p.split_once('=')).any(|(k, v)| {
                k.trim().eq_ignore_ascii_case(key) && v.trim().trim_matches('"').eq_ignore_ascii_case(wanted)
            })
        };
        (has("rel", "describedby") && has("type", "application/x-bittorrent")).then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn content_tells_what_a_file_is() {
        let say = |content: &[u8]| understand(content.to_vec()).map(drop).unwrap_err().to_string();
        assert!(say(b"").contains("empty"));
        assert!(say(b"d4:infoi1ee").contains("broken .torrent"));
        assert!(say(b"<?xml version=\"1.0\"?>\n<metalink xmlns=\"x\">").contains("Metalink"));
        assert!(say(b"{\"pieces\": []}").contains("manifest"));
        assert!(say(b"magnet:?xt=urn:btih:x").contains("give the link itself"));
        assert!(say(b"\x7fELF").contains("no .torrent"));
    }

    #[test]
    fn links_to_the_torrent() {
        let find = |value: &'static str| described_by(&HeaderMap::from_iter([(LINK, HeaderValue::from_static(value))]));
        let ours = "</f/a%20b.torrent>; rel=describedby; type=\"application/x-bittorrent\"";
        assert_eq!(find(ours).as_deref(), Some("/f/a%20b.torrent"));
        assert_eq!(find("</x>; rel=next, </y>;type=application/x-bittorrent;rel=describedby").as_deref(), Some("/y"));
        assert_eq!(find("</x>; rel=describedby; type=\"application/metalink4+xml\""), None);
    }

    #[test]
    fn schemes() {
        assert!(is_magnet("MAGNET:?xt=x") && !is_magnet("m") && !is_magnet("\u{e9}agnet"));
        assert!(is_url("HTTP://x") && !is_url("ftp://x") && !is_url("http"));
    }
}
