//! What a URL leads to. The headers of what is there may name a torrent, a Metalink and mirrors; all of them together become one
//! source, as far as they speak of the same bytes.

use super::split::Origin;
use super::{Kind, Source, TORRENT_MAX, Torrent, What, kind};
use anyhow::{Context as _, bail};
use base::metalink::MetalinkFile;
use base::{BLOCK_SIZE, Checks, Geometry, Layout, Manifest, Metainfo, Metalink, Plan, Scope};
use node::Plain;
use node::http::client::{NamedBy, Web};
use node::http::headers::Link;
use node::http::probe::{Probe, Read, probe, read_all};
use node::http::{Places, Server};

/// Looks at what is at `url`, which the user has named.
pub(super) async fn find(web: &Web, url: &str) -> anyhow::Result<Vec<Source>> {
    let found = probe(web, url, NamedBy::User).await.map_err(|e| anyhow::anyhow!("can't fetch {}: {e}", shown(url)))?;
    let by_content = match kind(&found.beginning) {
        Kind::Torrent | Kind::Metalink | Kind::Manifest => found.size.is_none_or(|n| n <= TORRENT_MAX),
        Kind::Other(_) => false,
    };
    if by_content && let Some(sources) = described(web, url, &found).await? {
        return Ok(sources);
    }
    // Who describes the bytes is believed if it is who has them.
    let here = |link: &&Link| found.url.join(&link.target).is_ok_and(|at| at.origin() == found.url.origin());
    let describes = |kind: &str| {
        let fits = |l: &&Link| l.rel.iter().any(|r| r == "describedby") && l.kind.as_deref() == Some(kind);
        found.links.iter().filter(fits).find(here).and_then(|l| found.url.join(&l.target).ok())
    };
    let mut notes = Vec::new();
    if let Some(at) = describes("application/x-bittorrent") {
        match torrent_at(web, at.as_str(), NamedBy::Told(found.scope)).await {
            // Of the folder that this file is in.
            Ok((metainfo, _)) if !metainfo.info.layout.is_single() && !is_folder(&found, &metainfo) => {}
            Ok((metainfo, told_by)) => match of_torrent(url, &found, metainfo, told_by) {
                Some(source) => return Ok(vec![source]),
                None => notes.push(format!("can't use the torrent of {}: it describes other bytes", shown(url))),
            },
            Err(error) => notes.push(format!("can't use the torrent of {}: {error:#}", shown(url))),
        }
    }
    if let Some(at) = describes(base::metalink::MEDIA_TYPE) {
        match metalink_of(web, at.as_str(), &found).await {
            Ok(mut sources) => {
                sources.iter_mut().for_each(|s| also_at(s, url, &found));
                return Ok(sources);
            }
            Err(error) => notes.push(format!("can't use the Metalink of {}: {error:#}", shown(url))),
        }
    }
    Ok(vec![Source { notes, ..plain(url, &found)? }])
}

/// What is at the URL is itself a description. None: it only looked like one.
async fn described(web: &Web, url: &str, found: &Probe) -> anyhow::Result<Option<Vec<Source>>> {
    let Read { body: content, scope: told_by, .. } = read_all(web, url, NamedBy::User, TORRENT_MAX)
        .await
        .map_err(|e| anyhow::anyhow!("can't fetch {}: {e}", shown(url)))?;
    let said = |wanted: &str| found.kind.as_deref().is_some_and(|kind| kind.starts_with(wanted));
    match kind(&content) {
        Kind::Torrent => match Metainfo::parse(&content) {
            Ok(metainfo) => {
                let what = What::Torrent(Box::new(Torrent { metainfo }));
                Ok(Some(vec![Source::new(what, Vec::new(), told_by)]))
            }
            Err(error) if said("application/x-bittorrent") || url_ends(found, ".torrent") => {
                Err(error).with_context(|| shown(url))
            }
            Err(_) => Ok(None),
        },
        Kind::Metalink => match Metalink::parse(&content) {
            Ok(metalink) => Ok(Some(of_metalink(web, metalink, told_by).await?)),
            Err(error) if said("application/metalink") || url_ends(found, ".meta4") => {
                Err(error).with_context(|| shown(url))
            }
            Err(_) => Ok(None),
        },
        Kind::Manifest => match Manifest::parse(&content) {
            Ok(manifest) => {
                let origin = Origin::Url { url: found.url.as_str(), told_by };
                Ok(Some(vec![super::split::source(&manifest, origin).with_context(|| shown(url))?]))
            }
            // Whatever begins like this is meant to be one.
            Err(error) => Err(error).with_context(|| shown(url)),
        },
        Kind::Other(_) => Ok(None),
    }
}

fn url_ends(found: &Probe, end: &str) -> bool {
    found.url.path().ends_with(end)
}

/// The torrent at a URL.
async fn torrent_at(web: &Web, url: &str, named_by: NamedBy) -> anyhow::Result<(Metainfo, Scope)> {
    let got = read_all(web, url, named_by, TORRENT_MAX).await?;
    Ok((Metainfo::parse(&got.body)?, got.scope))
}

/// What the Metalink that an answer names says, if it is of the same file.
async fn metalink_of(web: &Web, url: &str, found: &Probe) -> anyhow::Result<Vec<Source>> {
    let Read { body, scope, .. } = read_all(web, url, NamedBy::Told(found.scope), TORRENT_MAX).await?;
    let metalink = Metalink::parse(&body)?;
    let fits = |f: &MetalinkFile| f.size.is_none_or(|n| Some(n) == found.size);
    if metalink.files.len() != 1 || !metalink.files.iter().all(fits) {
        bail!("it describes other bytes");
    }
    of_metalink(web, metalink, scope).await
}

/// A torrent that the headers of a URL name. None: it speaks of other bytes.
fn of_torrent(url: &str, found: &Probe, metainfo: Metainfo, told_by: Scope) -> Option<Source> {
    let layout = &metainfo.info.layout;
    let single = layout.is_single();
    if single && found.size.is_some_and(|size| size != layout.content_len()) {
        return None;
    }
    let len = layout.content_len();
    let folder = if single { None } else { folder_at(found, layout.name()) };
    let known = folder.as_ref().is_some_and(|folder| metainfo.web_seeds.contains(folder));
    let what = What::Torrent(Box::new(Torrent { metainfo }));
    let mut source = Source::new(what, Vec::new(), told_by);
    if single {
        source.digest = super::together::digest(len, found.digest);
        also_at(&mut source, url, found);
    }
    if let Some(folder) = folder.filter(|_| !known) {
        source.servers.push(Server { places: Places::WebSeed(folder), ..Server::whole(String::new()) });
    }
    Some(source)
}

/// Whether a URL is that of the folder which a torrent describes, rather than of something in it.
fn is_folder(found: &Probe, metainfo: &Metainfo) -> bool {
    let archive = found.kind.as_deref().is_some_and(|kind| kind.starts_with("application/x-tar"));
    archive || found.url.path().ends_with('/') || folder_at(found, metainfo.info.layout.name()).is_some()
}

/// Where a folder that is called so is a web seed, if it lies under this URL: what leads to a copy should not only ask the original.
fn folder_at(found: &Probe, name: &str) -> Option<String> {
    let mut url = found.url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let last = url.path_segments()?.next_back()?.as_bytes().to_owned();
    (base::percent::decode(&last) == name.as_bytes()).then_some(())?;
    url.join("./").ok().map(String::from)
}

/// The same bytes are at this URL, and at the mirrors that it names (RFC 6249).
fn also_at(source: &mut Source, url: &str, found: &Probe) {
    let from_start = !found.ranges;
    let seen = Some(Box::new((found.url.clone(), found.version.clone())));
    let mut servers = vec![Server { from_start, seen, ..Server::whole(url.to_owned()) }];
    servers.extend(mirrors(found));
    for server in servers {
        let known = |url: &str| match &source.what {
            What::Torrent(t) => t.metainfo.web_seeds.iter().any(|w| w == url),
            _ => false,
        };
        let again = source.servers.iter().any(|s| s.places == server.places);
        let Places::Whole(url) = &server.places else { continue };
        if !again && !known(url) {
            source.servers.push(server);
        }
    }
}

/// The mirrors that an answer names, best first.
fn mirrors(found: &Probe) -> Vec<Server> {
    let mut links: Vec<&Link> = found.links.iter().filter(|l| l.rel.iter().any(|r| r == "duplicate")).collect();
    links.sort_by_key(|l| l.pri.unwrap_or(u32::MAX));
    let urls = links.into_iter().filter_map(|l| found.url.join(&l.target).ok());
    urls.map(|at| Server { named_by: NamedBy::Told(found.scope), ..Server::whole(at.into()) }).collect()
}

/// A file of which nothing is known but what its server says.
fn plain(url: &str, found: &Probe) -> anyhow::Result<Source> {
    let Some(size) = found.size else {
        let what = What::Endless { url: url.to_owned(), name: found.name.clone() };
        return Ok(Source::new(what, Vec::new(), found.scope));
    };
    let length = base::metainfo::create::usual_piece_length(size);
    let geometry = Geometry::new(size, length, BLOCK_SIZE).with_context(|| format!("can't fetch {}", shown(url)))?;
    let layout = Layout::single(found.name.clone(), size, false);
    let plan = Plan { whole: found.digest, ..Plan::new(geometry, layout, Checks::default()) };
    let version = format!("{} {}", found.url, found.version.strong().map_or_else(unlike_any, str::to_owned));
    let checked = plan.whole.is_some();
    let what = What::Plain(Box::new(Plain::new(plan, &version)));
    let mut source = Source::new(what, Vec::new(), found.scope);
    also_at(&mut source, url, found);
    if !checked {
        // Nothing would tell whether a mirror has the same.
        source.servers.truncate(1);
    }
    Ok(source)
}

/// The version of what can't be told from other versions: another one each time, so that none is taken for the rest of another.
fn unlike_any() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("as it was at {} for {}", now.as_nanos(), std::process::id())
}

/// The files that a Metalink names.
pub(super) async fn of_metalink(web: &Web, metalink: Metalink, told_by: Scope) -> anyhow::Result<Vec<Source>> {
    let alone = metalink.files.len() == 1;
    let mut sources = Vec::new();
    for file in metalink.files {
        let http = |url: &str| super::is_url(url);
        let servers: Vec<Server> = file
            .urls
            .iter()
            .filter(|u| http(&u.url))
            .map(|u| Server { named_by: NamedBy::Told(told_by), ..Server::whole(u.url.clone()) })
            .collect();
        let torrent = if alone { torrent_of(web, &file, told_by).await } else { None };
        let mut folder = None;
        let what = match torrent {
            Some(torrent) => What::Torrent(Box::new(torrent)),
            None if servers.is_empty() => bail!("{}: the Metalink names no server for it that can be used", file.path),
            None => {
                let size = match file.size {
                    Some(size) => size,
                    None => size_of(web, &servers, told_by).await.map_err(|why| {
                        anyhow::anyhow!("{}: neither the Metalink nor a server says how long it is: {why}", file.path)
                    })?,
                };
                let plan = file.plan(size).with_context(|| format!("{}: broken Metalink", file.path))?;
                folder = file.folder().map(str::to_owned);
                let version: Vec<&str> = file.urls.iter().map(|u| &*u.url).collect();
                What::Plain(Box::new(Plain::new(plan, &version.join(" "))))
            }
        };
        let mut source = Source { folder, ..Source::new(what, servers, told_by) };
        if let Some(size) = file.size {
            let whole = file.plan(size).ok().and_then(|plan| plan.whole);
            source.digest = source.digest.or(super::together::digest(size, whole));
        }
        sources.push(source);
    }
    if sources.is_empty() {
        bail!("the Metalink names no files");
    }
    Ok(sources)
}

/// The torrent that a Metalink names for a file, if it can be had and speaks of the same file.
async fn torrent_of(web: &Web, file: &MetalinkFile, told_by: Scope) -> Option<Torrent> {
    for torrent in file.torrents.iter().filter(|t| super::is_url(&t.url)) {
        match torrent_at(web, &torrent.url, NamedBy::Told(told_by)).await {
            Ok((metainfo, _)) => {
                let layout = &metainfo.info.layout;
                if layout.is_single() && file.size.is_none_or(|size| size == layout.content_len()) {
                    return Some(Torrent { metainfo });
                }
                tracing::warn!("{} describes something else than the Metalink; it is left out", torrent.url);
            }
            Err(error) => tracing::warn!("can't use the torrent {}: {error:#}", torrent.url),
        }
    }
    None
}

/// What the first server that answers says of the size; or why none does.
async fn size_of(web: &Web, servers: &[Server], told_by: Scope) -> Result<u64, String> {
    let mut troubles = Vec::new();
    for server in servers {
        let Places::Whole(url) = &server.places else { continue };
        let why = match probe(web, url, NamedBy::Told(told_by)).await {
            Ok(Probe { size: Some(size), .. }) => return Ok(size),
            Ok(_) => "does not say it".to_owned(),
            Err(error) => error.to_string(),
        };
        if troubles.len() < TROUBLES_TOLD {
            troubles.push(format!("{}: {why}", shown(url)));
        }
    }
    Err(troubles.join("; "))
}

/// Servers whose failures are told.
const TROUBLES_TOLD: usize = 5;

/// A URL without its password.
fn shown(url: &str) -> String {
    node::http::without_password(url)
}
